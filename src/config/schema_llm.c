/* Field tables of the provider pool: providers, routing, timeouts, queue. Checked, not active yet. */
#include "config/decode.h"

static const char *const provider_types[] = {"openai", "azure", NULL};
static const char *const usage_modes[] = {"auto", "never", NULL};
static const char *const routing_strategies[] = {"round_robin", "weighted", "failover",
                                                 "least_busy",  "latency",  NULL};

static const struct field tls_fields[] = {
    {.name = "ca", .kind = FIELD_PATH, .doc = "PEM file with the authorities to trust; else the system's."},
    {.name = "insecure_skip_verify", .kind = FIELD_BOOL, .fallback = "false", .doc = "Take any certificate."},
    {.name = "allow_unclean_close",
     .kind = FIELD_BOOL,
     .fallback = "false",
     .doc = "Take an answer as whole when the connection ends without TLS's own good-bye."},
};

static const struct table schema_provider_tls = {
    .name = "provider_tls",
    .title = "providers[].tls",
    .doc = "How an https provider is verified.",
    TABLE_FIELDS(tls_fields),
};

static const struct field provider_fields[] = {
    {.name = "name", .kind = FIELD_TEXT, .min = 1, .doc = "Its unique name; `provider_0`, … when not given."},
    {.name = "base_url",
     .kind = FIELD_URL,
     .doc = "Endpoint, usually ending in /v1; not needed with `service`."},
    {.name = "api_key",
     .kind = FIELD_TEXT,
     .flags = F_SECRET,
     .doc = "Key sent to it; usually `${VARIABLE}`."},
    {.name = "type",
     .kind = FIELD_WORD,
     .words = provider_types,
     .fallback = "openai",
     .doc = "Dialect; `*.openai.azure.com` is azure by itself."},
    {.name = "api_version", .kind = FIELD_TEXT, .doc = "For azure."},
    {.name = "service", .kind = FIELD_TEXT, .doc = "Id of the service it stands on, started on demand."},
    {.name = "models", .kind = FIELD_TEXTS, .doc = "What it serves; asked from it when not given."},
    {.name = "headers",
     .kind = FIELD_PAIRS,
     .flags = F_SECRET,
     .doc = "Header fields added to its requests."},
    {.name = "weight",
     .kind = FIELD_COUNT,
     .fallback = "1",
     .min = 1,
     .max = 1000000,
     .doc = "Its share of the requests under `weighted`."},
    {.name = "fallback_only",
     .kind = FIELD_BOOL,
     .fallback = "false",
     .doc = "Used only when the others fail."},
    {.name = "max_concurrent",
     .kind = FIELD_COUNT,
     .min = 1,
     .doc = "Most requests at once; no limit when not given."},
    {.name = "model_map", .kind = FIELD_PAIRS, .doc = "Requested model → its name there."},
    {.name = "stream_usage",
     .kind = FIELD_WORD,
     .words = usage_modes,
     .fallback = "auto",
     .doc = "Ask for usage in streams."},
    {.name = "tls",
     .kind = FIELD_TABLE,
     .table = &schema_provider_tls,
     .doc = "How an https provider is verified."},
};

static void provider_check(struct decoder *d, const struct node *n, void *value)
{
    bool on_service = !node_is_null(node_get(n, STR("service")));
    const char *missing = NULL;
    if (d->unit->disabled)
        return;
    if (!on_service && node_is_null(node_get(n, STR("base_url"))))
        missing = "base_url";
    else if (!on_service && node_is_null(node_get(n, STR("api_key"))))
        missing = "api_key";
    if (missing)
        decode_report(d, SEVERITY_WARNING, n, NULL, "has no %s: the provider is disabled", missing);
}

const struct table schema_provider = {
    .name = "provider",
    .title = "providers[]",
    .doc = "OpenAI-compatible endpoints that share the LLM requests.",
    TABLE_FIELDS(provider_fields),
    .unit = "provider",
    .item_id = "name",
    .finish = provider_check,
};

static const struct field health_fields[] = {
    {.name = "enabled", .kind = FIELD_BOOL, .fallback = "true", .doc = "Check providers actively."},
    {.name = "interval",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "30",
     .min = 0.001,
     .doc = "Pause between checks."},
    {.name = "timeout",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "5",
     .min = 0.001,
     .doc = "Longest check."},
    {.name = "path", .kind = FIELD_TEXT, .fallback = "/models", .doc = "What is fetched, below base_url."},
};

static const struct table schema_health_check = {
    .name = "health_check",
    .title = "routing.health_check",
    .doc = "Active checks; they never wake a cold service and cost nothing.",
    TABLE_FIELDS(health_fields),
};

static const struct field breaker_fields[] = {
    {.name = "failures", .kind = FIELD_COUNT, .fallback = "5", .min = 1, .doc = "Failures that open it."},
    {.name = "window",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "30",
     .min = 0.001,
     .doc = "Within this time."},
    {.name = "open",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "30",
     .min = 0.001,
     .doc = "How long it stays open before a trial."},
};

static const struct table schema_breaker = {
    .name = "circuit_breaker",
    .title = "routing.circuit_breaker",
    .doc = "Keeps requests away from a provider that fails.",
    TABLE_FIELDS(breaker_fields),
};

static const struct field routing_fields[] = {
    {.name = "strategy",
     .kind = FIELD_WORD,
     .words = routing_strategies,
     .fallback = "round_robin",
     .doc = "Which provider comes first."},
    {.name = "health_check", .kind = FIELD_TABLE, .table = &schema_health_check, .doc = "Active checks."},
    {.name = "circuit_breaker", .kind = FIELD_TABLE, .table = &schema_breaker, .doc = "Passive protection."},
};

const struct table schema_routing = {
    .name = "routing",
    .title = "routing",
    .doc = "How a provider is picked.",
    TABLE_FIELDS(routing_fields),
};

static const struct field timeouts_fields[] = {
    {.name = "request",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "30",
     .min = 0.001,
     .doc = "Longest plain answer, start to end."},
    {.name = "connect",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "5",
     .min = 0.001,
     .doc = "Longest connect."},
    {.name = "first_byte",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .min = 0.001,
     .doc = "Of streams; as `request` when not given."},
    {.name = "stream_idle",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "120",
     .min = 0.001,
     .doc = "Longest silence in a stream."},
};

const struct table schema_timeouts = {
    .name = "timeouts",
    .title = "timeouts",
    .doc = "Of requests to providers; bare numbers are seconds.",
    TABLE_FIELDS(timeouts_fields),
};

static const struct field queue_fields[] = {
    {.name = "max_concurrent",
     .kind = FIELD_COUNT,
     .fallback = "100",
     .min = 1,
     .doc = "Most LLM requests at once."},
    {.name = "timeout",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "60",
     .doc = "Longest wait before 503."},
    {.name = "slot_wait",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "0.5",
     .doc = "Wait for a provider's slot when no other has one."},
    {.name = "keepalive_seconds",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "15",
     .doc = "Comments on a waiting stream after this long; 0 = never."},
};

const struct table schema_queue = {
    .name = "queue",
    .title = "queue",
    .doc = "How many LLM requests run at once.",
    TABLE_FIELDS(queue_fields),
};
