/* The JSON form of a service's status. Pure. */
#ifndef HESTIA_ADMIN_STATUS_H
#define HESTIA_ADMIN_STATUS_H

#include "base/json.h"
#include "service/service.h"

/* One object: the five keys of the quickstart, and what was added later. */
void status_write(struct json *j, const struct service_status *status);

#endif
