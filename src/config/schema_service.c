/* Field tables of services.ID; the rules are in check_service.c. */
#include "config/check.h"

#define SERVICE(member) offsetof(struct service_config, member)
#define INSTANCE(member) offsetof(struct instance_config, member)
#define WAKE(member) offsetof(struct wake_ignore, member)
#define TLS(member) offsetof(struct tls_options, member)
#define LATER_STRATEGY .later = "strategies of services", .flags = F_UNBOUND
#define LATER_SEMAPHORE .later = "starting services through Semaphore"

static const struct field instance_fields[] = {
    {.name = "url",
     .kind = FIELD_URL,
     .at = INSTANCE(url_text),
     .url_at = INSTANCE(url),
     .flags = F_REQUIRED,
     .min = 1,
     .doc = "Base URL of this instance."},
    {.name = "weight",
     .kind = FIELD_COUNT,
     .at = INSTANCE(weight),
     .fallback = "1",
     .min = 1,
     .max = 1000,
     .doc = "Its share of the requests, relative to the others'."},
    {.name = "region", .kind = FIELD_TEXT, .at = INSTANCE(region), .doc = "Label for regional preference."},
    {.name = "models",
     .kind = FIELD_TEXTS,
     .doc = "Models that it serves.",
     .later = "strategies of services",
     .flags = F_UNBOUND},
};

static const struct table schema_instance = {
    .name = "instance",
    .title = "services.ID.instances[]",
    .doc = "Several equal upstreams of one service; requests go round by weight.",
    TABLE_FIELDS(instance_fields),
    .size = sizeof(struct instance_config),
};

static const struct field wake_fields[] = {
    {.name = "paths",
     .kind = FIELD_TEXTS,
     .at = WAKE(paths),
     .doc = "Paths under the service; `*` stands for anything."},
    {.name = "methods", .kind = FIELD_TEXTS, .at = WAKE(methods), .doc = "Methods, such as HEAD."},
    {.name = "user_agents",
     .kind = FIELD_TEXTS,
     .at = WAKE(user_agents),
     .doc = "Parts of User-Agent, in any case, such as `uptime-kuma`."},
};

static const struct table schema_wake_ignore = {
    .name = "wake_ignore",
    .title = "services.ID.wake_ignore",
    .doc = "Requests of monitors: they never start a cold service (503 `service_cold`) and do not keep a hot "
           "one.",
    TABLE_FIELDS(wake_fields),
    .size = sizeof(struct wake_ignore),
};

static const struct field tls_fields[] = {
    {.name = "ca",
     .kind = FIELD_PATH,
     .at = TLS(ca),
     .doc = "PEM file with the authorities to trust; the system's when not given."},
    {.name = "insecure_skip_verify",
     .kind = FIELD_BOOL,
     .at = TLS(insecure_skip_verify),
     .fallback = "false",
     .doc = "Take any certificate: only for tests."},
    {.name = "allow_unclean_close",
     .kind = FIELD_BOOL,
     .at = TLS(allow_unclean_close),
     .fallback = "false",
     .doc = "Take an answer as whole when the connection ends without TLS's own good-bye."},
};

const struct table schema_service_tls = {
    .name = "upstream_tls",
    .title = "services.ID.tls",
    .doc = "How an https upstream is verified.",
    TABLE_FIELDS(tls_fields),
    .size = sizeof(struct tls_options),
};

/* ---- strategies of a service (Hestia's seed): checked, not active yet -----------------------------------
 */

static const struct field by_model_routing_fields[] = {
    {.name = "model_key",
     .kind = FIELD_TEXT,
     .fallback = "model",
     .doc = "Field of the JSON body that decides."},
    {.name = "by_model", .kind = FIELD_PAIRS, .doc = "Model → URL of the instance that serves it."},
    {.name = "algorithm", .kind = FIELD_TEXT, .doc = "How the other models are spread."},
};

static const struct table schema_service_routing = {
    .name = "service_routing",
    .title = "services.ID.routing",
    .doc = "For `strategy: model_router`.",
    TABLE_FIELDS(by_model_routing_fields),
};

static const struct field balancer_fields[] = {
    {.name = "algorithm", .kind = FIELD_TEXT, .fallback = "round_robin", .doc = "How instances take turns."},
    {.name = "health_check_interval",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "30",
     .doc = "Pause before a failed instance is tried again."},
};

static const struct table schema_balancer = {
    .name = "load_balancer",
    .title = "services.ID.strategies.load_balancer",
    .doc = "Balancing over instances.",
    TABLE_FIELDS(balancer_fields),
    .open = true,
};

static const struct field endpoint_fields[] = {
    {.name = "url", .kind = FIELD_TEXT, .flags = F_REQUIRED, .doc = "What to fetch."},
    {.name = "type", .kind = FIELD_TEXT, .fallback = "http", .doc = "`http` or `metrics`."},
};

static const struct table schema_endpoint = {
    .name = "health_endpoint",
    .title = "services.ID.strategies.health_checker.endpoints[]",
    .doc = "One address to check.",
    TABLE_FIELDS(endpoint_fields),
};

static const struct field checker_fields[] = {
    {.name = "endpoints", .kind = FIELD_ITEMS, .table = &schema_endpoint, .doc = "Addresses to check."},
    {.name = "failure_threshold",
     .kind = FIELD_COUNT,
     .fallback = "3",
     .min = 1,
     .doc = "Failures in a row until it counts as down."},
    {.name = "validation", .kind = FIELD_ANY, .doc = "What a good answer is."},
    {.name = "recovery", .kind = FIELD_ANY, .doc = "What to do when it is down."},
};

static const struct table schema_checker = {
    .name = "health_checker",
    .title = "services.ID.strategies.health_checker",
    .doc = "Active checks.",
    TABLE_FIELDS(checker_fields),
    .open = true,
};

static const struct field variant_fields[] = {
    {.name = "name", .kind = FIELD_TEXT, .flags = F_REQUIRED, .doc = "Its name in logs."},
    {.name = "target", .kind = FIELD_TEXT, .flags = F_REQUIRED, .doc = "URL of the instance."},
    {.name = "traffic",
     .kind = FIELD_NUMBER,
     .flags = F_REQUIRED,
     .max = 100,
     .doc = "Share of the users, in percent."},
};

static const struct table schema_variant = {
    .name = "ab_variant",
    .title = "services.ID.strategies.custom_routing.ab_tests[].variants[]",
    .doc = "One side of a test.",
    TABLE_FIELDS(variant_fields),
    .item_id = "name",
};

static const struct field ab_test_fields[] = {
    {.name = "name", .kind = FIELD_TEXT, .flags = F_REQUIRED, .doc = "Its name in logs."},
    {.name = "variants", .kind = FIELD_ITEMS, .table = &schema_variant, .doc = "The sides of the test."},
    {.name = "user_assignment",
     .kind = FIELD_TEXT,
     .fallback = "hash_based",
     .doc = "How users are assigned."},
    {.name = "start_time", .kind = FIELD_TEXT, .doc = "ISO 8601 or seconds since 1970."},
    {.name = "end_time", .kind = FIELD_TEXT, .doc = "Likewise."},
    {.name = "metrics", .kind = FIELD_ANY, .doc = "What is compared."},
};

static const struct table schema_ab_test = {
    .name = "ab_test",
    .title = "services.ID.strategies.custom_routing.ab_tests[]",
    .doc = "A test of one variant against another.",
    TABLE_FIELDS(ab_test_fields),
    .item_id = "name",
};

static const struct field custom_routing_fields[] = {
    {.name = "ab_tests", .kind = FIELD_ITEMS, .table = &schema_ab_test, .doc = "Tests of variants."},
    {.name = "rules", .kind = FIELD_ANY, .doc = "Conditions and targets, in order."},
};

static const struct table schema_custom_routing = {
    .name = "custom_routing",
    .title = "services.ID.strategies.custom_routing",
    .doc = "Rules and A/B tests.",
    TABLE_FIELDS(custom_routing_fields),
    .open = true,
};

static const struct field strategies_fields[] = {
    {.name = "load_balancer",
     .kind = FIELD_TABLE,
     .table = &schema_balancer,
     .doc = "Balancing over instances."},
    {.name = "health_checker", .kind = FIELD_TABLE, .table = &schema_checker, .doc = "Active checks."},
    {.name = "custom_routing",
     .kind = FIELD_TABLE,
     .table = &schema_custom_routing,
     .doc = "Rules and A/B tests."},
};

static const struct table schema_service_strategies = {
    .name = "service_strategies",
    .title = "services.ID.strategies",
    .doc = "Settings of strategies, by the strategy's name; other names belong to strategies of one's own.",
    TABLE_FIELDS(strategies_fields),
    .open = true,
};

/* ---- the service --------------------------------------------------------------------------------------- */

static const char *const orchestrators[] = {"none",    "process",   "docker",      "kubernetes",
                                            "systemd", "semaphore", "wake_on_lan", NULL};

static const struct field service_fields[] = {
    {.name = "base_url",
     .kind = FIELD_URL,
     .at = SERVICE(base_url_text),
     .url_at = SERVICE(base_url),
     .flags = F_ENV | F_KEEP_PORT,
     .reload = RELOAD_SERVICE,
     .doc =
         "Where the service answers: `http://`, `https://` or `unix:/path.sock[:/prefix]`. `${PORT}` is the "
         "port of the started process; a process without base_url answers at `http://127.0.0.1:${PORT}`."},
    {.name = "health_url",
     .kind = FIELD_URL,
     .at = SERVICE(health_url_text),
     .url_at = SERVICE(health_url),
     .flags = F_ENV | F_KEEP_PORT | F_QUERY,
     .doc =
         "Polled during a start: any 2xx means ready. Without it `warmup_ms` counts, else a TCP connect, of "
         "which one instance is enough."},
    {.name = "fallback_url",
     .kind = FIELD_URL,
     .at = SERVICE(fallback_url_text),
     .url_at = SERVICE(fallback_url),
     .flags = F_ENV,
     .doc = "Tried once when every attempt failed, also after a final 5xx."},
    {.name = "instances",
     .kind = FIELD_ITEMS,
     .at = SERVICE(instances),
     .count_at = SERVICE(instance_count),
     .table = &schema_instance,
     .doc = "Several upstreams instead of base_url, which is then not used; at most 256."},
    {.name = "orchestrator",
     .kind = FIELD_WORD,
     .words = orchestrators,
     .at = SERVICE(orchestrator),
     .reload = RELOAD_SERVICE,
     .doc = "What starts and stops it; `process` when there is a command, else `none`. The others answer 501 "
            "until they are built."},
    {.name = "command",
     .kind = FIELD_COMMAND,
     .at = SERVICE(command),
     .flags = F_KEEP_PORT,
     .reload = RELOAD_SERVICE,
     .doc =
         "Program and arguments, as a list or as one text that is split at blanks and quotes. `${PORT}` is a "
         "free port, `${HESTIA}` this program."},
    {.name = "shell",
     .kind = FIELD_BOOL,
     .at = SERVICE(shell),
     .fallback = "false",
     .reload = RELOAD_SERVICE,
     .doc = "Give the command, one text, to `/bin/sh -c`."},
    {.name = "env",
     .kind = FIELD_PAIRS,
     .at = SERVICE(env),
     .count_at = SERVICE(env_count),
     .flags = F_KEEP_PORT,
     .reload = RELOAD_SERVICE,
     .doc = "Variables of the process, besides PORT and a few that are always passed on."},
    {.name = "env_inherit",
     .kind = FIELD_TEXTS,
     .at = SERVICE(env_inherit),
     .reload = RELOAD_SERVICE,
     .doc = "Names of the gateway's own variables to pass on."},
    {.name = "workdir",
     .kind = FIELD_PATH,
     .at = SERVICE(workdir),
     .reload = RELOAD_SERVICE,
     .doc = "Working directory of the process; the config file's folder when not given."},
    {.name = "retry_count",
     .kind = FIELD_COUNT,
     .at = SERVICE(retry_count),
     .fallback = "1",
     .max = 100,
     .flags = F_ENV,
     .doc = "Attempts on the service altogether; 0 counts as 1."},
    {.name = "retry_delay_ms",
     .kind = FIELD_DURATION,
     .unit = 1,
     .at = SERVICE(retry_delay_ms),
     .fallback = "0",
     .flags = F_ENV,
     .doc = "Pause between attempts."},
    {.name = "warmup_ms",
     .kind = FIELD_DURATION,
     .unit = 1,
     .at = SERVICE(warmup_ms),
     .fallback = "0",
     .flags = F_ENV,
     .doc = "How long a start takes where no health_url tells."},
    {.name = "idle_timeout_ms",
     .kind = FIELD_DURATION,
     .unit = 1,
     .at = SERVICE(idle_timeout_ms),
     .fallback = "0",
     .flags = F_ENV,
     .doc = "Stop after so long without activity; 0 = never."},
    {.name = "queue_size",
     .kind = FIELD_COUNT,
     .at = SERVICE(queue_size),
     .fallback = "100",
     .min = 1,
     .max = 1000000,
     .flags = F_ENV,
     .doc = "Most requests that wait for it; beyond them 503 `queue_full`."},
    {.name = "request_timeout_seconds",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = SERVICE(request_timeout_ms),
     .fallback = "60",
     .min = 0.001,
     .flags = F_ENV,
     .doc = "Longest wait in that queue; beyond it 503 `queue_timeout`."},
    {.name = "start_timeout_seconds",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = SERVICE(start_timeout_ms),
     .fallback = "120",
     .min = 0.001,
     .doc = "Longest start; beyond it 503 `service_start_timeout`."},
    {.name = "stop_timeout_ms",
     .kind = FIELD_DURATION,
     .unit = 1,
     .at = SERVICE(stop_timeout_ms),
     .fallback = "10000",
     .doc = "From SIGTERM to SIGKILL."},
    {.name = "first_byte_timeout_seconds",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .at = SERVICE(first_byte_timeout_ms),
     .fallback = "300",
     .min = 0.001,
     .doc = "Longest wait for the first byte of an answer; beyond it 504."},
    {.name = "max_concurrent",
     .kind = FIELD_COUNT,
     .at = SERVICE(max_concurrent),
     .fallback = "0",
     .max = 1000000,
     .doc = "Most requests at once, the others wait in the queue; 0 = no limit."},
    {.name = "hosts",
     .kind = FIELD_TEXTS,
     .at = SERVICE(hosts),
     .doc = "Host names whose requests, on every path, go to this service."},
    {.name = "waiting_page",
     .kind = FIELD_BOOL,
     .at = SERVICE(waiting_page),
     .fallback = "true",
     .doc = "Show browsers a page that refreshes itself while the service starts, or waits after a failed "
            "start."},
    {.name = "wake_ignore",
     .kind = FIELD_TABLE,
     .at = SERVICE(wake_ignore),
     .table = &schema_wake_ignore,
     .doc = "Requests that do not wake it."},
    {.name = "tls",
     .kind = FIELD_TABLE,
     .at = SERVICE(tls),
     .table = &schema_service_tls,
     .doc = "How an https upstream is verified."},
    {.name = "strategy",
     .kind = FIELD_TEXT,
     .at = SERVICE(strategy),
     .later = "strategies of services",
     .doc = "Name of the strategy that picks an instance."},
    {.name = "strategies",
     .kind = FIELD_TABLE,
     .table = &schema_service_strategies,
     LATER_STRATEGY,
     .doc = "Settings of strategies, by name."},
    {.name = "routing",
     .kind = FIELD_TABLE,
     .table = &schema_service_routing,
     LATER_STRATEGY,
     .doc = "Model → instance."},
    {.name = "semaphore_enabled",
     .kind = FIELD_BOOL,
     .at = SERVICE(semaphore_enabled),
     .fallback = "false",
     .flags = F_ENV,
     .reload = RELOAD_SERVICE,
     LATER_SEMAPHORE,
     .doc = "Start and stop it through Semaphore."},
    {.name = "semaphore_machine_id",
     .kind = FIELD_TEXT,
     .at = SERVICE(semaphore_machine_id),
     .flags = F_ENV,
     .reload = RELOAD_SERVICE,
     LATER_SEMAPHORE,
     .doc = "The machine it runs on."},
    {.name = "semaphore_start_template_id",
     .kind = FIELD_COUNT,
     .fallback = "1",
     .flags = F_ENV | F_UNBOUND,
     .reload = RELOAD_SERVICE,
     LATER_SEMAPHORE,
     .doc = "Template of the task that starts it."},
    {.name = "semaphore_stop_template_id",
     .kind = FIELD_COUNT,
     .fallback = "2",
     .flags = F_ENV | F_UNBOUND,
     .reload = RELOAD_SERVICE,
     LATER_SEMAPHORE,
     .doc = "Template of the task that stops it."},
    {.name = "semaphore_task_timeout",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "300",
     .min = 0.001,
     .flags = F_ENV | F_UNBOUND,
     LATER_SEMAPHORE,
     .doc = "Longest task."},
    {.name = "semaphore_poll_interval",
     .kind = FIELD_DURATION,
     .unit = 1000,
     .fallback = "2.0",
     .min = 0.001,
     .flags = F_ENV | F_UNBOUND,
     LATER_SEMAPHORE,
     .doc = "Pause between looks at a task."},
};

const struct table schema_service = {
    .name = "service",
    .title = "services.ID",
    .doc =
        "An HTTP backend that is started when a request comes and stopped when nobody needs it. Keys marked "
        "with a variable are also set by `<SERVICE>_<KEY>`: `MY_SVC_BASE_URL` is `services.my-svc.base_url`.",
    TABLE_FIELDS(service_fields),
    .size = sizeof(struct service_config),
    .id_at = offsetof(struct service_config, id),
    .unit = "service",
    .is_service = true,
    .finish = service_finish,
};
