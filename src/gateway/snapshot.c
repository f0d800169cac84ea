/* Building and sharing snapshots. Built on the control thread, read everywhere. */
#include "gateway/snapshot.h"

#include "base/mem.h"
#include "base/metric.h"
#include "base/num.h"

/* ---- trusted proxies ------------------------------------------------------------------------------------
 */

static bool network_parse(struct str text, struct network *network)
{
    struct address address;
    uint64_t bits = UINT64_MAX;
    struct str rest = text;
    struct str host = str_cut(&rest, '/');
    if (rest.n && !num_parse_u64(rest, &bits))
        return false;
    if (!address_parse_ip(host, 0, &address))
        return false;
    network->length = address_bytes(&address, network->bytes);
    network->bits = bits == UINT64_MAX ? network->length * 8 : (int)bits;
    return network->bits <= network->length * 8;
}

static bool network_has(const struct network *n, const uint8_t *bytes, int length)
{
    int whole = n->bits / 8, rest = n->bits % 8;
    if (n->length != length || memcmp(n->bytes, bytes, (size_t)whole) != 0)
        return false;
    return rest == 0 || (n->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

bool snapshot_trusts(const struct snapshot *s, const struct address *peer)
{
    uint8_t bytes[16];
    int length = s->trusted_count ? address_bytes(peer, bytes) : 0;
    for (size_t i = 0; length && i < s->trusted_count; i++)
        if (network_has(&s->trusted[i], bytes, length))
            return true;
    return false;
}

static bool is_reachable(const struct config *c)
{
    for (size_t i = 0; i < c->server.listen.count; i++)
        if (!config_listen_is_local(c->server.listen.items[i]))
            return true;
    return false;
}

/* ---- building -------------------------------------------------------------------------------------------
 */

static enum err add_trusted(struct snapshot *s, struct error *error)
{
    const struct strs *list = &s->config->server.trusted_proxies;
    s->trusted = mem_alloc(list->count * sizeof *s->trusted);
    if (!s->trusted)
        return ERR_NOMEM;
    for (size_t i = 0; i < list->count; i++)
        if (!network_parse(list->items[i], &s->trusted[s->trusted_count++]))
            return error_set(error, ERR_CONFIG, "server.trusted_proxies: %.*s is no address or CIDR network",
                             STR_ARG(list->items[i]));
    return OK;
}

static const struct origin *fallback_origin(const struct service_config *config, struct error *error)
{
    struct tls_client_options tls = {config->tls.ca, config->tls.insecure_skip_verify,
                                     config->tls.allow_unclean_close};
    return origin_intern(&config->fallback_url, &tls, error);
}

static enum err add_service(struct snapshot *s, const struct service_config *config,
                            struct services *services, struct error *error)
{
    struct snapshot_service *entry = &s->services[s->service_count];
    entry->config = config;
    entry->service = services_get(services, config->id);
    if (!entry->service)
        return error_set(error, ERR_INTERNAL, "service %.*s is missing", STR_ARG(config->id));
    s->service_count++;
    entry->label = service_label(entry->service);
    if (config->fallback_url.host.n && !(entry->fallback = fallback_origin(config, error)))
        return error->err;
    return map_put(&s->by_id, config->id, entry);
}

static enum err add_hosts(struct snapshot *s, struct snapshot_service *entry)
{
    for (size_t i = 0; i < entry->config->hosts.count; i++)
        TRY(map_put(&s->by_host, entry->config->hosts.items[i], entry));
    return OK;
}

static void add_settings(struct snapshot *s)
{
    const struct server_config *server = &s->config->server;
    s->settings = (struct server_settings){
        .limits = {server->limits.target, server->limits.field, server->limits.head,
                   (int)server->limits.fields},
        .body_max = server->limits.body,
        .head_timeout_ms = server->timeouts.head,
        .keepalive_timeout_ms = server->timeouts.keepalive,
        .stream_idle_ms = server->timeouts.stream_idle,
        .body_min_rate = server->timeouts.body_min_rate,
        .keepalive_requests = server->limits.keepalive_requests,
        .connection_age_ms = server->limits.connection_age_ms,
        .abort_on_half_close = server->abort_on_half_close,
    };
}

static void add_peer_limits(struct snapshot *s)
{
    const struct limits_config *limits = &s->config->server.limits;
    s->peer_limits = (struct peer_limits){
        .connections = limits->connections_per_ip,
        .rate = limits->connection_rate_per_ip,
        .burst = limits->connection_burst_per_ip,
        .errors = limits->errors_per_minute_per_ip,
        .auth_failures = limits->auth_failures_per_minute_per_ip,
    };
}

static void use_book(struct snapshot *s, struct book *book)
{
    const struct auth_config *auth = &s->config->auth;
    bool has_keys = auth->api_key_count || auth->admin_key_count;
    s->book = book;
    s->operators_strategy = book_strategy(book, STR("default"));
    s->open_strategy = book_anonymous(book);
    if (!s->open_strategy)
        s->open_strategy = s->operators_strategy;
    s->needs_key = has_keys || (book_needs_keys(book) && is_reachable(s->config) && !auth->allow_open);
    s->llm_needs_key = has_keys || book_needs_keys(book);
}

static enum err add_books(struct snapshot *s, struct books *books, struct error *error)
{
    struct book *book = books_apply(books, s->config, error);
    if (!book)
        return error->err;
    use_book(s, book);
    return OK;
}

/* Of each fallback and provider: those of services are made when they start. They stay interned, so that
   snapshot_complete finds them. */
static enum err find_origins(const struct config *config, struct error *error)
{
    for (size_t i = 0; i < config->service_count; i++)
        if (config->services[i].fallback_url.host.n && !fallback_origin(&config->services[i], error))
            return error->err;
    for (size_t i = 0; i < config->provider_count; i++)
        if (provider_has_origin(&config->providers[i]) &&
            !provider_config_origin(&config->providers[i], error))
            return error->err;
    return OK;
}

static enum err snapshot_prepare(struct snapshot *s, struct error *error)
{
    const struct server_config *server = &s->config->server;
    TRY(add_trusted(s, error));
    TRY(find_origins(s->config, error));
    add_settings(s);
    add_peer_limits(s);
    if (!(s->prices = prices_new(&s->config->pricing, error)))
        return error->err;
    if (server->tls.cert.n && !(s->tls = tls_context_server(server->tls.cert, server->tls.key, error)))
        return error->err;
    return OK;
}

static uint64_t epochs; /* control thread only */

struct snapshot *snapshot_new(struct config *config, struct error *error)
{
    struct snapshot *s = mem_alloc(sizeof *s);
    error_set(error, ERR_NOMEM, "out of memory");
    if (!s)
        return NULL;
    atomic_init(&s->references, 1);
    s->epoch = ++epochs;
    s->config = config_ref(config);
    if (snapshot_prepare(s, error) == OK)
        return s;
    snapshot_unref(s);
    return NULL;
}

enum err snapshot_complete(struct snapshot *s, const struct snapshot_sources *from, struct error *error)
{
    error_set(error, ERR_NOMEM, "out of memory");
    TRY(services_apply(from->services, s->config));
    s->services = mem_alloc(s->config->service_count * sizeof *s->services);
    if (!s->services)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->config->service_count; i++)
        TRY(add_service(s, &s->config->services[i], from->services, error));
    for (size_t i = 0; i < s->service_count; i++)
        TRY(add_hosts(s, &s->services[i]));
    if (s->config->server.default_service.n)
        s->default_service = map_get(&s->by_id, s->config->server.default_service);
    if (!(s->providers = providers_apply(from->providers, s->config, error)))
        return error->err;
    return add_books(s, from->books, error);
}

struct snapshot *snapshot_with_book(struct snapshot *old, struct book *book)
{
    struct snapshot *s = mem_alloc(sizeof *s);
    if (!s)
        return NULL;
    *s = *old;
    atomic_init(&s->references, 1);
    s->epoch = ++epochs;
    s->base = snapshot_ref(old->base ? old->base : old);
    use_book(s, book_ref(book));
    return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add(&s->references, 1);
    return s;
}

void snapshot_unref(struct snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->references, 1) != 1)
        return;
    book_unref(s->book);
    if (s->base) {
        snapshot_unref(s->base);
        mem_free(s);
        return;
    }
    for (size_t i = 0; i < s->service_count; i++)
        service_unref(s->services[i].service);
    map_free(&s->by_id);
    map_free(&s->by_host);
    provider_pool_unref(s->providers);
    prices_unref(s->prices);
    tls_context_unref(s->tls);
    mem_free(s->services);
    mem_free(s->trusted);
    config_unref(s->config);
    mem_free(s);
}
