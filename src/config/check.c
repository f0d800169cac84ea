/* Rules over several sections: listeners and keys, hosts, the default service. Runs at the end of a load. */
#include "config/check.h"

#include "base/num.h"

#include <arpa/inet.h>
#include <stdio.h>

/* "HOST:PORT" or "[ADDRESS]:PORT" into host (without brackets) and port. */
static bool address_split(struct str text, struct str *host, uint64_t *port)
{
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon < 2)
        return false;
    *host = str_first(text, colon - 1);
    if (!num_parse_u64(str_from(text, colon), port) || *port > 65535)
        return false;
    if (host->p[0] == '[' && host->n > 2 && host->p[host->n - 1] == ']') {
        *host = str_make(host->p + 1, host->n - 2);
        return true;
    }
    return str_find(*host, ':') == host->n && str_find(*host, '/') == host->n;
}

bool config_listen_is_local(struct str address)
{
    struct str host;
    uint64_t port;
    if (str_starts(address, STR("unix:")))
        return true;
    if (!address_split(address, &host, &port))
        return false;
    char text[64];
    struct in_addr v4;
    struct in6_addr v6;
    str_to_c(host, text, sizeof text);
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, text, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return str_eq_nocase(host, STR("localhost"));
}

bool config_listen_is_valid(struct str address)
{
    struct str host;
    uint64_t port;
    if (str_starts(address, STR("unix:")))
        return address.n > 6 && address.n < 5 + 108 && address.p[5] == '/';
    return address_split(address, &host, &port);
}

/* An address, or an address and the length of its network: "10.0.0.0/8". */
static bool network_is_valid(struct str text)
{
    char address[64];
    unsigned char bytes[16];
    uint64_t bits = 0;
    struct str rest = text, host = str_cut(&rest, '/');
    bool has_length = host.n < text.n;
    str_to_c(host, address, sizeof address);
    bool v4 = inet_pton(AF_INET, address, bytes) == 1;
    if (!v4 && inet_pton(AF_INET6, address, bytes) != 1)
        return false;
    return !has_length || (num_parse_u64(rest, &bits) && bits <= (v4 ? 32u : 128u));
}

void server_check(struct decoder *d, const struct node *n, void *value)
{
    const struct server_config *s = value;
    for (size_t i = 0; i < s->listen.count; i++)
        if (!config_listen_is_valid(s->listen.items[i]))
            decode_report(d, SEVERITY_ERROR, node_get(n, STR("listen")), "listen",
                          "\"%.*s\" is no address; write HOST:PORT, [ADDRESS]:PORT or unix:/path",
                          (int)MIN(s->listen.items[i].n, (size_t)80), s->listen.items[i].p);
    if (s->listen.count == 0)
        decode_report(d, SEVERITY_ERROR, node_get(n, STR("listen")), "listen", "needs at least one address");
    for (size_t i = 0; i < s->trusted_proxies.count; i++)
        if (!network_is_valid(s->trusted_proxies.items[i]))
            decode_report(d, SEVERITY_ERROR, node_get(n, STR("trusted_proxies")), "trusted_proxies",
                          "\"%.*s\" is neither an address nor a network such as 10.0.0.0/8",
                          (int)MIN(s->trusted_proxies.items[i].n, (size_t)80), s->trusted_proxies.items[i].p);
}

/* ---- services ------------------------------------------------------------------------------------------ */

static void hosts_index(struct decoder *d, const struct node *services, struct config *c,
                        struct service_config *s)
{
    for (size_t i = 0; i < s->hosts.count; i++) {
        struct service_config *other = map_get(&c->services_by_host, s->hosts.items[i]);
        if (!other) {
            if (map_put(&c->services_by_host, s->hosts.items[i], s) != OK)
                finding_no_memory(d->findings);
            continue;
        }
        size_t mark = decode_enter(d, s->id);
        decode_report(d, SEVERITY_ERROR, node_get(node_get(services, s->id), STR("hosts")), "hosts",
                      "\"%.*s\" belongs to the service \"%.*s\" already", STR_ARG(s->hosts.items[i]),
                      STR_ARG(other->id));
        decode_leave(d, mark);
    }
}

static void services_index(struct decoder *d, const struct node *root, struct config *c)
{
    const struct node *services = node_get(root, STR("services"));
    size_t mark = decode_enter(d, STR("services"));
    for (size_t i = 0; i < c->service_count; i++) {
        struct service_config *s = &c->services[i];
        if (map_put(&c->services_by_id, s->id, s) != OK)
            finding_no_memory(d->findings);
        hosts_index(d, services, c, s);
    }
    decode_leave(d, mark);
}

void service_missing(struct decoder *d, const struct node *at, const char *key, const struct config *c,
                     struct str id)
{
    struct str nearest = STR_NONE;
    int best = 4;
    for (size_t i = 0; i < c->service_count; i++) {
        int distance = str_distance(id, c->services[i].id, best);
        if (distance < best) {
            best = distance;
            nearest = c->services[i].id;
        }
    }
    if (nearest.n)
        decode_report(d, SEVERITY_ERROR, at, key, "there is no service \"%.*s\"; did you mean %.*s?",
                      STR_ARG(id), STR_ARG(nearest));
    else
        decode_report(d, SEVERITY_ERROR, at, key, "there is no service \"%.*s\"", STR_ARG(id));
}

static void default_service_check(struct decoder *d, const struct node *root, const struct config *c)
{
    struct str id = c->server.default_service;
    if (id.n && !map_get(&c->services_by_id, id))
        service_missing(d, node_find(root, "server", "default_service", NULL), "server.default_service", c,
                        id);
}

/* ---- the open door ------------------------------------------------------------------------------------- */

static void public_check(struct decoder *d, const struct node *root, const struct config *c)
{
    /* Keys that are there but wrong have their own error already. */
    bool guarded = !node_is_null(node_find(root, "auth", "api_keys", NULL)) ||
                   !node_is_null(node_find(root, "auth", "admin_keys", NULL)) || c->has_clients;
    if (guarded || c->auth.allow_open)
        return;
    for (size_t i = 0; i < c->server.listen.count; i++) {
        struct str address = c->server.listen.items[i];
        if (!config_listen_is_valid(address) || config_listen_is_local(address))
            continue;
        decode_report(d, SEVERITY_ERROR, node_find(root, "server", "listen", NULL), "server.listen",
                      "%.*s can be reached by others and there are no keys; give auth.api_keys, or say "
                      "auth.allow_open: true",
                      STR_ARG(address));
    }
}

void config_check(struct decoder *d, const struct node *root, struct config *c)
{
    const struct node *clients = node_get(root, STR("clients")),
                      *providers = node_get(root, STR("providers"));
    c->has_clients = clients && clients->count > 0;
    c->has_providers = providers && providers->count > 0;
    services_index(d, root, c);
    default_service_check(d, root, c);
    providers_check(d, root, c);
    books_check(d, root, c);
    public_check(d, root, c);
}
