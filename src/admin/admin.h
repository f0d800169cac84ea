/*
 * The management answers of the gateway: services, logs, metrics, health, openapi.json. main/ registers the
 * table with the gateway, which matches, authorises and calls the handlers on the worker's thread.
 */
#ifndef HESTIA_ADMIN_ADMIN_H
#define HESTIA_ADMIN_ADMIN_H

#include "gateway/routes.h"

/* Ends with a row whose path is NULL. */
extern const struct api_route admin_routes[];

#endif
