/*
 * Field tables of strategies, in both dialects (LlamaFarm: components, chains, rules, checked and not active
 * yet; LocalRouter: allowed models, auto-routing, rate limits). They also read the management API's JSON; the
 * rules are in check_books.c.
 */
#include "config/check.h"

#define STRATEGY(member) offsetof(struct strategy_config, member)
#define ALLOWED(member) (STRATEGY(allowed.member) - STRATEGY(allowed))
#define AUTO(member) (STRATEGY(auto_config.member) - STRATEGY(auto_config))
#define LIMIT(member) offsetof(struct rate_limit_config, member)

static const char *const priorities[] = {"low", "normal", "high", "critical", NULL};
static const char *const levels[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", NULL};
static const char *const formats[] = {"json", "text", NULL};
static const char *const privacy_modes[] = {"public", "private", "local_only", NULL};
static const char *const limit_types[] = {"requests",     "input_tokens", "output_tokens",
                                          "total_tokens", "cost",         NULL};
static const char *const windows[] = {"minute", "hour", "day", NULL};
static const char *const permissions[] = {"allow", "ask", "off", NULL};

#define SECONDS .kind = FIELD_DURATION, .unit = 1000

/* ---- LlamaFarm ----------------------------------------------------------------------------------------- */

static const struct field component_fields[] = {
    {.name = "type",
     .kind = FIELD_TEXT,
     .doc = "Kind of component: openai_compatible, ollama, pytorch, huggingface and others."},
    {.name = "config", .kind = FIELD_ANY, .doc = "Its own settings."},
};

static const struct table schema_component = {
    .name = "component",
    .title = "strategies[].components.*",
    .doc = "A model source, trainer or store.",
    TABLE_FIELDS(component_fields),
    .unit = "component",
};

static const struct field components_fields[] = {
    {.name = "cloud_api", .kind = FIELD_TABLE, .table = &schema_component, .doc = "A hosted provider."},
    {.name = "model_app", .kind = FIELD_TABLE, .table = &schema_component, .doc = "A local model server."},
    {.name = "fine_tuner", .kind = FIELD_TABLE, .table = &schema_component, .doc = "Training."},
    {.name = "repository",
     .kind = FIELD_TABLE,
     .table = &schema_component,
     .doc = "Where models are stored."},
};

static const struct table schema_components = {
    .name = "components",
    .title = "strategies[].components",
    .doc = "What the strategy is made of.",
    TABLE_FIELDS(components_fields),
};

static const struct field fallback_fields[] = {
    {.name = "name", .kind = FIELD_TEXT, .doc = "What routing rules call it."},
    {.name = "type",
     .kind = FIELD_TEXT,
     .doc = "Like a component's; `cloud_api` or `model_app` alone means the component above."},
    {.name = "config", .kind = FIELD_ANY, .doc = "Its own settings."},
};

static const struct table schema_fallback = {
    .name = "fallback",
    .title = "strategies[].fallback_chain[]",
    .doc = "Tried in order when the one before failed.",
    TABLE_FIELDS(fallback_fields),
    .unit = "fallback entry",
    .item_id = "name",
};

static const struct field rule_fields[] = {
    {.name = "condition",
     .kind = FIELD_TEXT,
     .flags = F_REQUIRED,
     .doc = "Such as `input.length > 2000`, or a tag."},
    {.name = "target", .kind = FIELD_TEXT, .flags = F_REQUIRED, .doc = "Entry of the chain, or a label."},
    {.name = "priority",
     .kind = FIELD_WORD,
     .words = priorities,
     .fallback = "normal",
     .doc = "Which rules are looked at first."},
};

static const struct table schema_rule = {
    .name = "routing_rule",
    .title = "strategies[].routing_rules[]",
    .doc = "The first rule that holds names who is tried first.",
    TABLE_FIELDS(rule_fields),
};

static const struct field retry_fields[] = {
    {.name = "max_attempts", .kind = FIELD_COUNT, .min = 1, .doc = "Attempts altogether."},
    {.name = "backoff_multiplier", .kind = FIELD_NUMBER, .min = 1, .doc = "Growth of the pause."},
    {.name = "max_backoff", SECONDS, .doc = "Longest pause."},
};

static const struct table schema_retry = {
    .name = "retry_policy",
    .title = "strategies[].optimization.retry_policy",
    .doc = "Trying again.",
    TABLE_FIELDS(retry_fields),
};

static const struct field optimization_fields[] = {
    {.name = "cache_enabled", .kind = FIELD_BOOL, .doc = "Keep answers."},
    {.name = "cache_ttl", SECONDS, .doc = "How long they are kept."},
    {.name = "batch_size", .kind = FIELD_COUNT, .min = 1, .doc = "Requests in a batch."},
    {.name = "batch_timeout",
     .kind = FIELD_DURATION,
     .unit = 1,
     .doc = "Longest wait for a batch; a bare number is milliseconds."},
    {.name = "timeout_seconds", SECONDS, .min = 0.001, .doc = "Longest request."},
    {.name = "parallel_requests", .kind = FIELD_COUNT, .min = 1, .doc = "Requests at once."},
    {.name = "retry_policy", .kind = FIELD_TABLE, .table = &schema_retry, .doc = "Trying again."},
};

static const struct table schema_optimization = {
    .name = "optimization",
    .title = "strategies[].optimization",
    .doc = "Speed and reliability.",
    TABLE_FIELDS(optimization_fields),
};

static const struct field alert_fields[] = {
    {.name = "type",
     .kind = FIELD_TEXT,
     .flags = F_REQUIRED,
     .doc = "`latency` (milliseconds) or `error_rate` (fraction)."},
    {.name = "threshold", .kind = FIELD_NUMBER, .flags = F_REQUIRED, .doc = "Beyond it there is an alert."},
};

static const struct table schema_alert = {
    .name = "alert",
    .title = "strategies[].monitoring.alerts[]",
    .doc = "When to raise an alert.",
    TABLE_FIELDS(alert_fields),
};

static const struct field monitoring_fields[] = {
    {.name = "log_level",
     .kind = FIELD_WORD,
     .words = levels,
     .doc = "Least level logged for this strategy."},
    {.name = "log_format", .kind = FIELD_WORD, .words = formats, .doc = "Shape of the log."},
    {.name = "metrics_enabled", .kind = FIELD_BOOL, .doc = "Count and measure."},
    {.name = "metrics_port", .kind = FIELD_COUNT, .min = 1, .max = 65535, .doc = "Port of the metrics."},
    {.name = "trace_enabled", .kind = FIELD_BOOL, .doc = "Trace requests."},
    {.name = "trace_sample_rate", .kind = FIELD_NUMBER, .max = 1, .doc = "Share of requests traced."},
    {.name = "alerts", .kind = FIELD_ITEMS, .table = &schema_alert, .doc = "When to raise an alert."},
};

static const struct table schema_strategy_monitoring = {
    .name = "strategy_monitoring",
    .title = "strategies[].monitoring",
    .doc = "Log, metrics, alerts of this strategy.",
    TABLE_FIELDS(monitoring_fields),
};

static const struct field constraint_fields[] = {
    {.name = "max_tokens", .kind = FIELD_COUNT, .min = 1, .doc = "Tokens of a request altogether."},
    {.name = "max_input_tokens", .kind = FIELD_COUNT, .min = 1, .doc = "Tokens in."},
    {.name = "max_output_tokens", .kind = FIELD_COUNT, .min = 1, .doc = "Tokens out."},
    {.name = "max_cost_per_request", .kind = FIELD_NUMBER, .doc = "US dollars."},
    {.name = "daily_budget", .kind = FIELD_NUMBER, .doc = "US dollars."},
    {.name = "monthly_budget", .kind = FIELD_NUMBER, .doc = "US dollars."},
    {.name = "allowed_models", .kind = FIELD_TEXTS, .doc = "Only these."},
    {.name = "blocked_models", .kind = FIELD_TEXTS, .doc = "All but these."},
    {.name = "requires_gpu", .kind = FIELD_BOOL, .doc = "Only where there is one."},
    {.name = "min_gpu_memory", .kind = FIELD_NUMBER, .doc = "GB."},
    {.name = "privacy_mode", .kind = FIELD_WORD, .words = privacy_modes, .doc = "Where prompts may go."},
};

static const struct table schema_constraints = {
    .name = "constraints",
    .title = "strategies[].constraints",
    .doc = "Limits and policy.",
    TABLE_FIELDS(constraint_fields),
};

/* ---- LocalRouter --------------------------------------------------------------------------------------- */

static const struct field allowed_fields[] = {
    {.name = "selected_all",
     .kind = FIELD_BOOL,
     .at = ALLOWED(selected_all),
     .doc = "Every model, future ones too; the lists are not looked at then."},
    {.name = "all_provider_models",
     .kind = FIELD_TEXTS,
     .at = ALLOWED(providers),
     .doc = "Providers of which every model is allowed, future ones too."},
    {.name = "individual_models",
     .kind = FIELD_MODELS,
     .at = ALLOWED(models),
     .doc = "[provider, model] pairs, or `provider/model`."},
    {.name = "selected_providers",
     .kind = FIELD_TEXTS,
     .at = ALLOWED(providers),
     .flags = F_JOIN,
     .doc = "As all_provider_models."},
    {.name = "selected_models",
     .kind = FIELD_MODELS,
     .at = ALLOWED(models),
     .flags = F_JOIN,
     .doc = "As individual_models."},
};

const struct table schema_allowed = {
    .name = "allowed_models",
    .title = "strategies[].allowed_models",
    .doc = "What clients of the strategy may use; upper and lower case are the same. Not given: every model. "
           "Given without `selected_all`: only what is listed, so nothing when nothing is listed.",
    TABLE_FIELDS(allowed_fields),
    .size = sizeof(((struct strategy_config *)0)->allowed),
    .finish = allowed_finish,
};

static const struct field routellm_fields[] = {
    {.name = "enabled", .kind = FIELD_BOOL, .doc = "Let a classifier choose; not active yet."},
    {.name = "threshold",
     .kind = FIELD_NUMBER,
     .fallback = "0.3",
     .max = 1,
     .doc = "From which score on the strong ones."},
    {.name = "strong_models", .kind = FIELD_MODELS, .doc = "For hard prompts."},
    {.name = "weak_models", .kind = FIELD_MODELS, .doc = "For the others."},
};

const struct table schema_routellm = {
    .name = "routellm_config",
    .title = "strategies[].auto_config.routellm_config",
    .doc = "Choosing by difficulty: checked and accepted, not active yet.",
    TABLE_FIELDS(routellm_fields),
    .finish = routellm_finish,
};

static const struct field auto_fields[] = {
    {.name = "enabled", .kind = FIELD_BOOL, .at = AUTO(enabled), .doc = "Offer `localrouter/auto`."},
    {.name = "permission",
     .kind = FIELD_WORD,
     .words = permissions,
     .flags = F_UNBOUND,
     .doc = "Newer form of `enabled`: `allow` is true; nobody can be asked, so `ask` is `off`."},
    {.name = "model_name",
     .kind = FIELD_TEXT,
     .at = AUTO(model_name),
     .fallback = "auto",
     .min = 1,
     .doc = "Name after `localrouter/`."},
    {.name = "prioritized_models",
     .kind = FIELD_MODELS,
     .at = AUTO(prioritized),
     .doc = "Tried in this order, as far as they are allowed."},
    {.name = "available_models",
     .kind = FIELD_MODELS,
     .at = AUTO(available),
     .doc = "Known, not tried; none of the prioritized ones."},
    {.name = "routellm_config",
     .kind = FIELD_TABLE,
     .table = &schema_routellm,
     .flags = F_UNBOUND,
     .doc = "Choosing by difficulty."},
};

const struct table schema_auto = {
    .name = "auto_config",
    .title = "strategies[].auto_config",
    .doc = "The virtual model that tries several.",
    TABLE_FIELDS(auto_fields),
    .size = sizeof(((struct strategy_config *)0)->auto_config),
    .finish = auto_finish,
};

static const struct field limit_fields[] = {
    {.name = "limit_type",
     .kind = FIELD_WORD,
     .words = limit_types,
     .at = LIMIT(kind),
     .flags = F_REQUIRED,
     .doc = "What is counted; cost in US dollars."},
    {.name = "value",
     .kind = FIELD_LIMIT,
     .at = LIMIT(value),
     .flags = F_REQUIRED,
     .min = 1e-12,
     .doc = "Most within the window: a whole number of requests or tokens, or US dollars (`0.5`)."},
    {.name = "time_window",
     .kind = FIELD_WORD,
     .words = windows,
     .at = LIMIT(window),
     .flags = F_REQUIRED,
     .doc = "The last minute, hour or day."},
    {.name = "enabled",
     .kind = FIELD_BOOL,
     .at = LIMIT(enabled),
     .fallback = "true",
     .doc = "Off without being deleted."},
};

static const struct table schema_limit = {
    .name = "rate_limit",
    .title = "strategies[].rate_limits[]",
    .doc = "All of them hold at once; one of each type and window.",
    TABLE_FIELDS(limit_fields),
    .size = sizeof(struct rate_limit_config),
};

#define LATER(feature) .flags = F_UNBOUND, .later = feature " of strategies"

static const struct field strategy_fields[] = {
    {.name = "id",
     .kind = FIELD_TEXT,
     .at = STRATEGY(id),
     .min = 1,
     .doc = "Unique; the name when not given. `default` always exists, also when no file has it."},
    {.name = "name",
     .kind = FIELD_TEXT,
     .at = STRATEGY(name),
     .min = 1,
     .doc = "For people; the id when not given."},
    {.name = "description", .kind = FIELD_TEXT, .flags = F_UNBOUND, .doc = "For people."},
    {.name = "parent",
     .kind = FIELD_TEXT,
     .at = STRATEGY(parent),
     .doc = "Id of the client that owns it; none = shared."},
    {.name = "allowed_models",
     .kind = FIELD_TABLE,
     .at = STRATEGY(allowed),
     .table = &schema_allowed,
     .doc = "What clients of it may use."},
    {.name = "auto_config",
     .kind = FIELD_TABLE,
     .at = STRATEGY(auto_config),
     .table = &schema_auto,
     .doc = "The virtual model that tries several."},
    {.name = "rate_limits",
     .kind = FIELD_ITEMS,
     .at = STRATEGY(limits),
     .count_at = STRATEGY(limit_count),
     .table = &schema_limit,
     .doc = "How much may be used."},
    {.name = "fallback_on_other",
     .kind = FIELD_BOOL,
     .at = STRATEGY(fallback_on_other),
     .fallback = "true",
     .doc = "Try the next model also after errors of no known class."},
    {.name = "components",
     .kind = FIELD_TABLE,
     .table = &schema_components,
     LATER("components"),
     .doc = "What it is made of."},
    {.name = "fallback_chain",
     .kind = FIELD_ITEMS,
     .table = &schema_fallback,
     LATER("fallback chains"),
     .doc = "Who is tried next."},
    {.name = "routing_rules",
     .kind = FIELD_ITEMS,
     .table = &schema_rule,
     LATER("routing rules"),
     .doc = "Who is tried first, by condition."},
    {.name = "optimization",
     .kind = FIELD_TABLE,
     .table = &schema_optimization,
     LATER("optimization"),
     .doc = "Speed and reliability."},
    {.name = "monitoring",
     .kind = FIELD_TABLE,
     .table = &schema_strategy_monitoring,
     LATER("monitoring"),
     .doc = "Log, metrics, alerts."},
    {.name = "constraints",
     .kind = FIELD_TABLE,
     .table = &schema_constraints,
     LATER("constraints"),
     .doc = "Limits and policy."},
};

/* No unit: a limit whose variable is not set must not vanish with a warning. */
const struct table schema_strategy = {
    .name = "strategy",
    .title = "strategies[]",
    .doc = "Named recipes; the keys of LlamaFarm's and of LocalRouter's strategies may be mixed.",
    TABLE_FIELDS(strategy_fields),
    .size = sizeof(struct strategy_config),
    .item_id = "id",
    .ids_decoded = true,
    .finish = strategy_finish,
};
