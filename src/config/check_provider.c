/*
 * What follows from a provider's keys together: its name, dialect, whether it can be used at all, and its
 * fingerprint; and that nothing of it can split a request's head or line. Runs while the load decodes, once
 * per provider, and at its end over all of them.
 */
#include "config/check.h"

#include "base/num.h"
#include "loop/crypto.h"

#include <ctype.h>

enum { NAME_MAX_BYTES = 100 };

/* ---- texts that go into a head ---------------------------------------------------------------------------
 */

static bool is_head_value(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_head_name(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!isalnum((unsigned char)c) && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return text.n > 0;
}

/* Fields that frame a message or belong to one connection; and Accept-Encoding, as usage is read from plain
 * answers. */
static bool is_own_header(struct str name)
{
    static const struct str own[] = {STR("Host"),       STR("Content-Length"), STR("Transfer-Encoding"),
                                     STR("Connection"), STR("Keep-Alive"),     STR("Proxy-Connection"),
                                     STR("TE"),         STR("Trailer"),        STR("Upgrade"),
                                     STR("Expect"),     STR("Accept-Encoding")};
    for (size_t i = 0; i < COUNT_OF(own); i++)
        if (str_eq_nocase(name, own[i]))
            return true;
    return false;
}

static void headers_check(struct decoder *d, const struct node *n, const struct provider_config *p)
{
    const struct node *headers = node_get(n, STR("headers"));
    for (size_t i = 0; i < p->header_count; i++) {
        const struct env_pair *h = &p->headers[i];
        const struct node *at = node_get(headers, h->name);
        if (!is_head_name(h->name))
            decode_report(d, SEVERITY_ERROR, at, "headers", "\"%.*s\" cannot be the name of a header field",
                          (int)MIN(h->name.n, (size_t)60), h->name.p);
        else if (is_own_header(h->name))
            decode_report(d, SEVERITY_ERROR, at, "headers", "%.*s is the gateway's own: it cannot be given",
                          STR_ARG(h->name));
        else if (!is_head_value(h->value))
            decode_report(d, SEVERITY_ERROR, at, "headers",
                          "the value of %.*s has a line break or another character that cannot stand in a "
                          "header field",
                          (int)MIN(h->name.n, (size_t)60), h->name.p);
    }
}

static bool is_version(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!isalnum((unsigned char)text.p[i]) && (text.p[i] == '\0' || !strchr("-._", text.p[i])))
            return false;
    return true;
}

static void texts_check(struct decoder *d, const struct node *n, const struct provider_config *p)
{
    if (p->name.n > NAME_MAX_BYTES || !is_head_value(p->name))
        decode_report(d, SEVERITY_ERROR, node_get(n, STR("name")), "name",
                      "a provider's name has up to %d bytes and no control characters", NAME_MAX_BYTES);
    if (!is_head_value(p->api_key))
        decode_report(d, SEVERITY_ERROR, node_get(n, STR("api_key")), "api_key",
                      "has a line break or another character that cannot stand in a header field");
    if (!is_version(p->api_version))
        decode_report(d, SEVERITY_ERROR, node_get(n, STR("api_version")), "api_version",
                      "expected a version such as 2024-02-01");
    for (size_t i = 0; i < p->model_map_count; i++)
        if (p->model_map[i].value.n == 0)
            decode_report(d, SEVERITY_ERROR, node_get(n, STR("model_map")), "model_map",
                          "\"%.*s\" has no model to be mapped to",
                          (int)MIN(p->model_map[i].name.n, (size_t)60), p->model_map[i].name.p);
}

/* ---- derived values --------------------------------------------------------------------------------------
 */

static void type_settle(const struct node *n, struct provider_config *p)
{
    if (node_is_null(node_get(n, STR("type"))) && str_ends(p->base_url.host, STR(".openai.azure.com")))
        p->type = PROVIDER_AZURE;
}

/* A provider on a service goes where the service is. */
static void service_settle(struct decoder *d, const struct node *n, struct provider_config *p)
{
    static const char *const unused[] = {"base_url", "tls"};
    for (size_t i = 0; i < COUNT_OF(unused); i++) {
        const struct node *given = node_get(n, str_from_c(unused[i]));
        if (!node_is_null(given))
            decode_report(d, SEVERITY_WARNING, given, unused[i],
                          "is not used: the provider stands on a service");
    }
    p->base_url_text = STR_NONE;
    p->base_url = (struct url){0};
    p->tls = (struct tls_options){0};
}

static void disabled_settle(struct decoder *d, const struct node *n, struct provider_config *p)
{
    const char *missing = p->base_url_text.n == 0 ? "base_url" : p->api_key.n == 0 ? "api_key" : NULL;
    if (d->unit->disabled) {
        p->disabled = true;
        p->disabled_why = d->unit->why;
    } else if (!p->service.n && missing) {
        decode_report(d, SEVERITY_WARNING, n, NULL, "has no %s: the provider is disabled", missing);
        p->disabled = true;
        p->disabled_why = arena_printf(d->arena, "it has no %s", missing);
    }
}

/* ---- the fingerprint -------------------------------------------------------------------------------------
 */

static void part_add(struct buf *out, const char *key, struct str value)
{
    buf_addf(out, "%s=%zu:", key, value.n); /* the length keeps values apart */
    buf_add_str(out, value);
    buf_add_char(out, '\n');
}

static void part_add_hashed(struct buf *out, const char *key, struct str secret)
{
    uint8_t hash[SHA256_SIZE];
    char hex[2 * SHA256_SIZE];
    crypto_sha256(secret, hash);
    num_to_hex(hash, sizeof hash, hex);
    part_add(out, key, str_make(hex, sizeof hex));
}

static void fingerprint_keep(struct decoder *d, struct provider_config *p)
{
    bool azure = p->type == PROVIDER_AZURE;
    struct buf out CLEANUP(buf_free) = BUF(0);
    part_add(&out, "name", p->name);
    part_add(&out, "type", azure ? STR("azure") : STR("openai"));
    part_add(&out, "service", p->service);
    part_add(&out, "origin", p->base_url.is_unix ? p->base_url.host : p->base_url.origin);
    part_add(&out, "prefix", p->base_url.prefix);
    part_add_hashed(&out, "api_key", p->api_key);
    part_add(&out, "api_version", azure ? p->api_version : STR_NONE);
    for (size_t i = 0; i < p->header_count; i++) {
        part_add(&out, "header", p->headers[i].name);
        part_add_hashed(&out, "is", p->headers[i].value);
    }
    part_add(&out, "ca", p->tls.ca);
    part_add(&out, "verify", p->tls.insecure_skip_verify ? STR("no") : STR("yes"));
    if (buf_err(&out) != OK)
        finding_no_memory(d->findings);
    p->fingerprint = decode_keep(d, buf_str(&out));
}

void provider_finish(struct decoder *d, const struct node *n, void *value)
{
    struct provider_config *p = value;
    if (p->name.n == 0)
        p->name = decode_keep(d, d->unit->name);
    texts_check(d, n, p);
    headers_check(d, n, p);
    type_settle(n, p);
    if (p->service.n)
        service_settle(d, n, p);
    disabled_settle(d, n, p);
    fingerprint_keep(d, p);
}

/* ---- routing and the whole -------------------------------------------------------------------------------
 */

void health_check_finish(struct decoder *d, const struct node *n, void *value)
{
    __typeof__(((struct routing_config *)0)->health_check) *check = value;
    struct error error = {0};
    struct url parsed;
    const struct node *at = node_get(n, STR("path"));
    if (check->path.n == 0 || check->path.p[0] != '/') {
        decode_report(d, SEVERITY_ERROR, at, "path", "expected a path that begins with /");
        return;
    }
    struct str whole = arena_printf(d->arena, "http://provider%.*s", STR_ARG(check->path));
    if (url_parse(d->arena, whole, &parsed, &error) != OK)
        decode_report(d, SEVERITY_ERROR, at, "path", "%s", error_text(&error));
}

/* Decoded names: those that were not given and those with variables count too. */
static void name_check(struct decoder *d, const struct node *n, struct str name, struct map *seen)
{
    const struct node *earlier = map_get(seen, name);
    if (earlier)
        decode_report(d, SEVERITY_ERROR, n, NULL, "\"%.*s\" was already given at %.*s:%u:%u", STR_ARG(name),
                      STR_ARG(earlier->source->name), earlier->line, earlier->column);
    else if (name.n && map_put(seen, name, (void *)(uintptr_t)n) != OK)
        finding_no_memory(d->findings);
}

void providers_check(struct decoder *d, const struct node *root, const struct config *c)
{
    const struct node *list = node_get(root, STR("providers"));
    struct map seen CLEANUP(map_free) = {0};
    size_t mark = decode_enter(d, STR("providers")), k = 0;
    if (c->provider_count > PROVIDERS_MAX)
        decode_report(d, SEVERITY_ERROR, list, NULL, "at most %d providers", PROVIDERS_MAX);
    for (size_t i = 0; k < c->provider_count; i++) {
        const struct node *n = list->items[i];
        if (node_is_ellipsis(n))
            continue;
        const struct provider_config *p = &c->providers[k++];
        size_t item = decode_enter_index(d, i);
        if (p->service.n && !map_get(&c->services_by_id, p->service))
            service_missing(d, node_get(n, STR("service")), "service", c, p->service);
        decode_leave(d, item);
        name_check(d, n, p->name, &seen);
    }
    decode_leave(d, mark);
}
