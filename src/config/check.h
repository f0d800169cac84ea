/* Rules that no single field can say. Run by the tables' finish functions and at the end of a load. */
#ifndef HESTIA_CONFIG_CHECK_H
#define HESTIA_CONFIG_CHECK_H

#include "config/decode.h"

/* HOST:PORT, [ADDRESS]:PORT or unix:/path. */
bool config_listen_is_valid(struct str address);
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
/* struct strategy_config and its parts, struct client_config, struct price_config and its section, struct
 * storage_config: derived values and rules. check_books.c. */
void allowed_finish(struct decoder *d, const struct node *n, void *value);
void routellm_finish(struct decoder *d, const struct node *n, void *value);
void auto_finish(struct decoder *d, const struct node *n, void *value);
void strategy_finish(struct decoder *d, const struct node *n, void *value);
void client_finish(struct decoder *d, const struct node *n, void *value);
void price_finish(struct decoder *d, const struct node *n, void *value);
void pricing_finish(struct decoder *d, const struct node *n, void *value);
void storage_finish(struct decoder *d, const struct node *n, void *value);
/* Of all strategies and clients together: unique ids and keys, and what they name exists. */
void books_check(struct decoder *d, const struct node *root, const struct config *c);
/* The whole: the maps of services, unique hosts, the default service, the providers, the books, keys
 * for public listeners. */
void config_check(struct decoder *d, const struct node *root, struct config *c);

#endif
