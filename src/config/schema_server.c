/* Field tables of server and auth, and their rules. */
#include "config/check.h"
#include "config/decode.h"

#define SERVER(member) offsetof(struct server_config, member)
#define LIMITS(member) offsetof(struct limits_config, member)
#define TIMEOUTS(member) offsetof(struct timeouts_config, member)
#define AUTH(member) offsetof(struct auth_config, member)

static const struct field tls_fields[] = {
    {.name = "cert",
     .kind = FIELD_PATH,
     .at = SERVER(tls.cert) - SERVER(tls),
     .reload = RELOAD_PROCESS,
     .doc = "PEM file with the certificate and those that vouch for it."},
    {.name = "key",
     .kind = FIELD_PATH,
     .at = SERVER(tls.key) - SERVER(tls),
     .reload = RELOAD_PROCESS,
     .doc = "PEM file with its private key."},
};

static void tls_finish(struct decoder *d, const struct node *n, void *value)
{
    bool cert = !node_is_null(node_get(n, STR("cert"))), key = !node_is_null(node_get(n, STR("key")));
    if (cert != key)
        decode_report(d, SEVERITY_ERROR, n, NULL, "needs both cert and key; %s is missing",
                      cert ? "key" : "cert");
}

static const struct table schema_server_tls = {
    .name = "server_tls",
    .title = "server.tls",
    .doc = "HTTPS instead of plain HTTP on every TCP listener. Both files or none.",
    TABLE_FIELDS(tls_fields),
    .size = sizeof(((struct server_config *)0)->tls),
    .finish = tls_finish,
};

static const struct field limits_fields[] = {
    {.name = "target",
     .kind = FIELD_SIZE,
     .at = LIMITS(target),
     .fallback = "8KiB",
     .min = 64,
     .max = 1 << 16,
     .doc = "Longest request target; beyond it 414."},
    {.name = "field",
     .kind = FIELD_SIZE,
     .at = LIMITS(field),
     .fallback = "16KiB",
     .min = 256,
     .max = 1 << 16,
     .doc = "Longest header line; beyond it 431."},
    {.name = "head",
     .kind = FIELD_SIZE,
     .at = LIMITS(head),
     .fallback = "32KiB",
     .min = 1024,
     .max = 1 << 17,
     .doc = "Longest request head; beyond it 431."},
    {.name = "fields",
     .kind = FIELD_COUNT,
     .at = LIMITS(fields),
     .fallback = "128",
     .min = 8,
     .max = 256,
     .doc = "Most header lines; beyond it 431."},
    {.name = "body",
     .kind = FIELD_SIZE,
     .at = LIMITS(body),
     .fallback = "0",
     .doc = "Longest request body on streamed routes; 0 = no limit."},
    {.name = "llm_body",
     .kind = FIELD_SIZE,
     .at = LIMITS(llm_body),
     .fallback = "32MiB",
     .min = 1024,
     .doc = "Longest request body on the LLM routes, which are read whole."},
    {.name = "connections",
     .kind = FIELD_COUNT,
     .at = LIMITS(connections),
     .fallback = "10000",
     .min = 1,
     .doc = "Most client connections at once, all workers together."},
    {.name = "keepalive_requests",
     .kind = FIELD_COUNT,
     .at = LIMITS(keepalive_requests),
     .fallback = "10000",
     .min = 1,
     .doc = "Most requests on one connection."},
};

static const struct table schema_limits = {
    .name = "server_limits",
    .title = "server.limits",
    .doc = "Bounds of what a client may send.",
    TABLE_FIELDS(limits_fields),
    .size = sizeof(struct limits_config),
};

static const struct field timeouts_fields[] = {
    {.name = "head",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = TIMEOUTS(head),
     .fallback = "10s",
     .min = 0.001,
     .doc = "For a request's head to arrive; beyond it 408."},
    {.name = "keepalive",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = TIMEOUTS(keepalive),
     .fallback = "60s",
     .doc = "How long an idle connection stays open."},
    {.name = "body_min_rate",
     .kind = FIELD_RATE,
     .at = TIMEOUTS(body_min_rate),
     .fallback = "1KiB/s",
     .doc = "Slowest request body, after 10 s of grace; 0 = any."},
    {.name = "stream_idle",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = TIMEOUTS(stream_idle),
     .fallback = "120s",
     .min = 0.001,
     .doc = "Longest silence within an answer."},
};

static const struct table schema_server_timeouts = {
    .name = "server_timeouts",
    .title = "server.timeouts",
    .doc = "Bare numbers are seconds.",
    TABLE_FIELDS(timeouts_fields),
    .size = sizeof(struct timeouts_config),
};

static const struct field server_fields[] = {
    {.name = "listen",
     .kind = FIELD_TEXTS,
     .at = SERVER(listen),
     .fallback = "127.0.0.1:8080",
     .reload = RELOAD_PROCESS,
     .doc = "Where clients connect: `HOST:PORT`, `[ADDRESS]:PORT`, `unix:/path`; port 0 takes a free one. An "
            "address that others can reach needs keys (see auth)."},
    {.name = "workers",
     .kind = FIELD_COUNT,
     .at = SERVER(workers),
     .fallback = "0",
     .max = 256,
     .reload = RELOAD_PROCESS,
     .doc = "Threads that serve; 0 = one per core."},
    {.name = "tls",
     .kind = FIELD_TABLE,
     .at = SERVER(tls),
     .table = &schema_server_tls,
     .reload = RELOAD_PROCESS,
     .doc = "Certificate and key."},
    {.name = "trusted_proxies",
     .kind = FIELD_TEXTS,
     .at = SERVER(trusted_proxies),
     .doc = "Addresses or networks (`10.0.0.0/8`) whose X-Forwarded-For is believed."},
    {.name = "default_service",
     .kind = FIELD_TEXT,
     .at = SERVER(default_service),
     .doc = "Id of the service that takes what no route and no host matches."},
    {.name = "abort_on_half_close",
     .kind = FIELD_BOOL,
     .at = SERVER(abort_on_half_close),
     .fallback = "true",
     .doc =
         "A client that closes its sending side has left: its request is cancelled. False delivers in full."},
    {.name = "drain_seconds",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = SERVER(drain_ms),
     .fallback = "30",
     .doc = "After SIGTERM: how long running requests may take to end."},
    {.name = "limits",
     .kind = FIELD_TABLE,
     .at = SERVER(limits),
     .table = &schema_limits,
     .doc = "Bounds of what a client may send."},
    {.name = "timeouts",
     .kind = FIELD_TABLE,
     .at = SERVER(timeouts),
     .table = &schema_server_timeouts,
     .doc = "How long to wait for clients."},
};

const struct table schema_server = {
    .name = "server",
    .title = "server",
    .doc = "The gateway itself.",
    TABLE_FIELDS(server_fields),
    .size = sizeof(struct server_config),
    .finish = server_check,
};

static const struct field auth_fields[] = {
    {.name = "api_keys",
     .kind = FIELD_KEYS,
     .at = AUTH(api_keys),
     .count_at = AUTH(api_key_count),
     .flags = F_SECRET,
     .doc =
         "Keys of operators, for services and management: `${VAR}`, `sha256:HEX` or `{name, hash}`. Sent as "
         "`X-API-Key` or `Authorization: Bearer`. None = no key is asked for."},
    {.name = "admin_keys",
     .kind = FIELD_KEYS,
     .at = AUTH(admin_keys),
     .count_at = AUTH(admin_key_count),
     .flags = F_SECRET,
     .doc = "Keys for `/admin/v1`, written likewise."},
    {.name = "allow_open",
     .kind = FIELD_BOOL,
     .at = AUTH(allow_open),
     .fallback = "false",
     .doc = "Serve on a public address without any key."},
    {.name = "public_metrics",
     .kind = FIELD_BOOL,
     .at = AUTH(public_metrics),
     .fallback = "false",
     .doc = "`/metrics` needs no key."},
    {.name = "anonymous",
     .kind = FIELD_TEXT,
     .at = AUTH(anonymous),
     .later = "strategies",
     .doc = "Id of the strategy for LLM requests without a key."},
};

const struct table schema_auth = {
    .name = "auth",
    .title = "auth",
    .doc = "Keys are kept as hashes only; a key in plain text is refused. `hestia hash-key` makes a hash.",
    TABLE_FIELDS(auth_fields),
    .size = sizeof(struct auth_config),
};
