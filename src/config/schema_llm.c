/* Field tables of the provider pool: providers, routing, timeouts, queue; the rules are in check_provider.c.
 */
#include "config/check.h"

#define PROVIDER(member) offsetof(struct provider_config, member)
#define TLS(member) offsetof(struct tls_options, member)
#define ROUTING(member) offsetof(struct routing_config, member)
#define HEALTH(member) (ROUTING(health_check.member) - ROUTING(health_check))
#define BREAKER(member) (ROUTING(circuit_breaker.member) - ROUTING(circuit_breaker))
#define TIMEOUTS(member) offsetof(struct llm_timeouts_config, member)
#define QUEUE(member) offsetof(struct llm_queue_config, member)

static const char *const provider_types[] = {"openai", "azure", NULL};
static const char *const usage_modes[] = {"never", "auto", NULL};
static const char *const routing_strategies[] = {"round_robin", "weighted", "failover",
                                                 "least_busy",  "latency",  NULL};

static const struct field tls_fields[] = {
    {.name = "ca",
     .kind = FIELD_PATH,
     .at = TLS(ca),
     .doc = "PEM file with the authorities to trust; else the system's."},
    {.name = "insecure_skip_verify",
     .kind = FIELD_BOOL,
     .at = TLS(insecure_skip_verify),
     .fallback = "false",
     .doc = "Take any certificate."},
    {.name = "allow_unclean_close",
     .kind = FIELD_BOOL,
     .at = TLS(allow_unclean_close),
     .fallback = "false",
     .doc = "Take an answer as whole when the connection ends without TLS's own good-bye."},
};

static const struct table schema_provider_tls = {
    .name = "provider_tls",
    .title = "providers[].tls",
    .doc = "How an https provider is verified.",
    TABLE_FIELDS(tls_fields),
    .size = sizeof(struct tls_options),
};

static const struct field provider_fields[] = {
    {.name = "name",
     .kind = FIELD_TEXT,
     .at = PROVIDER(name),
     .min = 1,
     .doc = "Its unique name; `provider_0`, … when not given."},
    {.name = "base_url",
     .kind = FIELD_URL,
     .at = PROVIDER(base_url_text),
     .url_at = PROVIDER(base_url),
     .doc = "Endpoint, usually ending in `/v1`; not needed with `service`."},
    {.name = "api_key",
     .kind = FIELD_TEXT,
     .at = PROVIDER(api_key),
     .flags = F_SECRET,
     .doc = "Key sent to it, usually `${VARIABLE}`; any text where it asks for none. Not needed with "
            "`service`."},
    {.name = "type",
     .kind = FIELD_WORD,
     .words = provider_types,
     .at = PROVIDER(type),
     .fallback = "openai",
     .doc = "Dialect; where none is given, `*.openai.azure.com` is azure."},
    {.name = "api_version",
     .kind = FIELD_TEXT,
     .at = PROVIDER(api_version),
     .fallback = "2024-02-01",
     .min = 1,
     .doc = "For azure."},
    {.name = "service",
     .kind = FIELD_TEXT,
     .at = PROVIDER(service),
     .doc = "Id of the service it stands on, started on demand; its `/v1` is used."},
    {.name = "models",
     .kind = FIELD_TEXTS,
     .at = PROVIDER(models),
     .doc = "What it serves; asked from it when not given."},
    {.name = "headers",
     .kind = FIELD_PAIRS,
     .at = PROVIDER(headers),
     .count_at = PROVIDER(header_count),
     .flags = F_SECRET,
     .doc = "Header fields added to its requests."},
    {.name = "weight",
     .kind = FIELD_COUNT,
     .at = PROVIDER(weight),
     .fallback = "1",
     .min = 1,
     .max = 1000000,
     .doc = "Its share of the requests under `weighted`."},
    {.name = "fallback_only",
     .kind = FIELD_BOOL,
     .at = PROVIDER(fallback_only),
     .fallback = "false",
     .doc = "Used only when the others fail."},
    {.name = "max_concurrent",
     .kind = FIELD_COUNT,
     .at = PROVIDER(max_concurrent),
     .min = 1,
     .doc = "Most requests at once; no limit when not given."},
    {.name = "model_map",
     .kind = FIELD_PAIRS,
     .at = PROVIDER(model_map),
     .count_at = PROVIDER(model_map_count),
     .doc = "Requested model → its name there."},
    {.name = "stream_usage",
     .kind = FIELD_WORD,
     .at = PROVIDER(stream_usage),
     .words = usage_modes,
     .fallback = "auto",
     .doc = "Ask for usage in streams."},
    {.name = "tls",
     .kind = FIELD_TABLE,
     .at = PROVIDER(tls),
     .table = &schema_provider_tls,
     .doc = "How an https provider is verified."},
};

const struct table schema_provider = {
    .name = "provider",
    .title = "providers[]",
    .doc = "OpenAI-compatible endpoints that share the LLM requests.",
    TABLE_FIELDS(provider_fields),
    .size = sizeof(struct provider_config),
    .unit = "provider",
    .unnamed = "provider_",
    .finish = provider_finish,
};

static const struct field health_fields[] = {
    {.name = "enabled",
     .kind = FIELD_BOOL,
     .at = HEALTH(enabled),
     .fallback = "true",
     .doc = "Check providers actively."},
    {.name = "interval",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = HEALTH(interval_ms),
     .fallback = "30",
     .min = 0.001,
     .doc = "Pause between checks."},
    {.name = "timeout",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = HEALTH(timeout_ms),
     .fallback = "5",
     .min = 0.001,
     .doc = "Longest check."},
    {.name = "path",
     .kind = FIELD_TEXT,
     .at = HEALTH(path),
     .fallback = "/models",
     .doc = "What is fetched, below base_url."},
};

static const struct table schema_health_check = {
    .name = "health_check",
    .title = "routing.health_check",
    .doc = "Active checks; they never wake a cold service and cost nothing.",
    TABLE_FIELDS(health_fields),
    .size = sizeof(((struct routing_config *)0)->health_check),
    .finish = health_check_finish,
};

static const struct field breaker_fields[] = {
    {.name = "failures",
     .kind = FIELD_COUNT,
     .at = BREAKER(failures),
     .fallback = "5",
     .min = 1,
     .max = 1000000,
     .doc = "Failures that open it."},
    {.name = "window",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = BREAKER(window_ms),
     .fallback = "30",
     .min = 0.001,
     .doc = "Within this time."},
    {.name = "open",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = BREAKER(open_ms),
     .fallback = "30",
     .min = 0.001,
     .doc = "How long it stays open before a trial."},
};

static const struct table schema_breaker = {
    .name = "circuit_breaker",
    .title = "routing.circuit_breaker",
    .doc = "Keeps requests away from a provider that fails.",
    TABLE_FIELDS(breaker_fields),
    .size = sizeof(((struct routing_config *)0)->circuit_breaker),
};

static const struct field routing_fields[] = {
    {.name = "strategy",
     .kind = FIELD_WORD,
     .words = routing_strategies,
     .at = ROUTING(strategy),
     .fallback = "round_robin",
     .doc = "Which provider comes first."},
    {.name = "health_check",
     .kind = FIELD_TABLE,
     .at = ROUTING(health_check),
     .table = &schema_health_check,
     .doc = "Active checks."},
    {.name = "circuit_breaker",
     .kind = FIELD_TABLE,
     .at = ROUTING(circuit_breaker),
     .table = &schema_breaker,
     .doc = "Passive protection."},
};

const struct table schema_routing = {
    .name = "routing",
    .title = "routing",
    .doc = "How a provider is picked.",
    TABLE_FIELDS(routing_fields),
    .size = sizeof(struct routing_config),
};

static const struct field timeouts_fields[] = {
    {.name = "request",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = TIMEOUTS(request),
     .fallback = "30",
     .min = 0.001,
     .doc = "Longest plain answer, start to end."},
    {.name = "connect",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = TIMEOUTS(connect),
     .fallback = "5",
     .min = 0.001,
     .doc = "Longest connect."},
    {.name = "first_byte",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = TIMEOUTS(first_byte),
     .min = 0.001,
     .doc = "Of streams; as `request` when not given."},
    {.name = "stream_idle",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = TIMEOUTS(stream_idle),
     .fallback = "120",
     .min = 0.001,
     .doc = "Longest silence in a stream."},
};

static void timeouts_finish(struct decoder *d, const struct node *n, void *value)
{
    struct llm_timeouts_config *t = value;
    if (!t->first_byte)
        t->first_byte = t->request;
}

const struct table schema_timeouts = {
    .name = "timeouts",
    .title = "timeouts",
    .doc = "Of requests to providers; bare numbers are seconds.",
    TABLE_FIELDS(timeouts_fields),
    .size = sizeof(struct llm_timeouts_config),
    .finish = timeouts_finish,
};

static const struct field queue_fields[] = {
    {.name = "max_concurrent",
     .kind = FIELD_COUNT,
     .at = QUEUE(max_concurrent),
     .fallback = "100",
     .min = 1,
     .doc = "Most LLM requests at once."},
    {.name = "timeout",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = QUEUE(timeout_ms),
     .fallback = "60",
     .doc = "Longest wait before 503."},
    {.name = "slot_wait",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = QUEUE(slot_wait_ms),
     .fallback = "0.5",
     .doc = "Wait for a provider's slot when no other has one."},
    {.name = "keepalive_seconds",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = QUEUE(keepalive_ms),
     .fallback = "15",
     .doc = "Comments on a waiting stream after this long; 0 = never."},
};

const struct table schema_queue = {
    .name = "queue",
    .title = "queue",
    .doc = "How many LLM requests run at once.",
    TABLE_FIELDS(queue_fields),
    .size = sizeof(struct llm_queue_config),
};
