/* Rules that no single field can say. Run by the tables' finish functions and at the end of a load. */
#ifndef HESTIA_CONFIG_CHECK_H
#define HESTIA_CONFIG_CHECK_H

#include "config/decode.h"

/* struct server_config: addresses are well formed. */
void server_check(struct decoder *d, const struct node *n, void *value);
/* struct provider_config: derived values (name, type, disabled, fingerprint) and rules. */
void provider_finish(struct decoder *d, const struct node *n, void *value);
/* The health check of struct routing_config: the path can be appended to a URL. */
void health_check_finish(struct decoder *d, const struct node *n, void *value);
/* Of all providers together: their number, unique names, services that exist. The maps of services are
 * filled.
 */
void providers_check(struct decoder *d, const struct node *root, const struct config *c);
/* Reports that `id` is no service, with the id that may be meant. */
void service_missing(struct decoder *d, const struct node *at, const char *key, const struct config *c,
                     struct str id);
/* struct service_config: derived values (URLs, orchestrator, disabled, fingerprints) and rules. */
void service_finish(struct decoder *d, const struct node *n, void *value);
/* The whole: the maps of services, unique hosts, the default service, the providers, keys for public
 * listeners. */
void config_check(struct decoder *d, const struct node *root, struct config *c);

#endif
