/* Rules that no single field can say. Run by the tables' finish functions and at the end of a load. */
#ifndef HESTIA_CONFIG_CHECK_H
#define HESTIA_CONFIG_CHECK_H

#include "config/decode.h"

/* struct server_config: addresses are well formed. */
void server_check(struct decoder *d, const struct node *n, void *value);
/* struct service_config: derived values (URLs, orchestrator, disabled, fingerprints) and rules. */
void service_finish(struct decoder *d, const struct node *n, void *value);
/* The whole: the maps of services, unique hosts, the default service, keys for public listeners. */
void config_check(struct decoder *d, const struct node *root, struct config *c);

#endif
