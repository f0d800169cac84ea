/* What providers leave in the log and in the metrics. Log: any thread; metrics: control. */
#include "base/log.h"
#include "strategy/inside.h"

static bool begin(struct log_line *l, enum log_level level, const char *event, const struct provider_state *s,
                  const char *message)
{
    if (!log_begin(l, level, event, "%s%.*s", message, STR_ARG(s->name)))
        return false;
    json_key_str(&l->json, "provider", s->name);
    return true;
}

void provider_event_unhealthy(const struct provider_state *s, const char *why, bool opened)
{
    struct log_line l;
    if (!begin(&l, LOG_WARNING, "provider_unhealthy", s, "Provider unhealthy: "))
        return;
    json_key_object(&l.json, "metadata");
    json_key_c(&l.json, "error", why);
    if (opened)
        json_key_c(&l.json, "breaker", "open");
    json_end(&l.json);
    log_end(&l);
}

void provider_event_recovered(const struct provider_state *s)
{
    struct log_line l;
    if (begin(&l, LOG_INFO, "provider_recovered", s, "Provider recovered: "))
        log_end(&l);
}

void provider_event_cooldown(const struct provider_state *s, uint64_t ms, const char *why)
{
    struct log_line l;
    if (!begin(&l, LOG_WARNING, "provider_cooldown", s, "Provider cools down: "))
        return;
    json_key_object(&l.json, "metadata");
    json_key_u64(&l.json, "cooldown_ms", ms);
    json_key_c(&l.json, "error", why);
    json_end(&l.json);
    log_end(&l);
}

static const char *const results[] = {"passed", "failed", "refused"};

void provider_event_check(struct provider_state *s, enum check_result result, bool is_news,
                          uint64_t duration_ns, const char *why)
{
    struct log_line l;
    bool ok = result == CHECK_PASSED;
    metric_add(s->control->metrics, METRIC_PROVIDER_HEALTH_CHECKS,
               LABELS(s->label, label_intern(str_from_c(results[result]))), 1);
    /* The same failure again and again is news only once. */
    if (!begin(&l, !ok && is_news ? LOG_INFO : LOG_DEBUG, ok ? "health_check" : "health_check_failed", s,
               ok ? "Health check passed: " : "Health check failed: "))
        return;
    json_key_double(&l.json, "duration_ms", (double)duration_ns / (double)CLOCK_MS, 1);
    if (!ok) {
        json_key_object(&l.json, "metadata");
        json_key_c(&l.json, "error", why);
        json_end(&l.json);
    }
    log_end(&l);
}

void provider_event_list(const struct provider_state *s, size_t count, const char *why)
{
    struct log_line l;
    if (!begin(&l, LOG_DEBUG, why ? "provider_models_failed" : "provider_models", s,
               why ? "No list of models from provider " : "Models of provider "))
        return;
    json_key_object(&l.json, "metadata");
    if (why)
        json_key_c(&l.json, "error", why);
    else
        json_key_u64(&l.json, "count", count);
    json_end(&l.json);
    log_end(&l);
}

void provider_event_stats(const struct provider *p)
{
    static const char *const breakers[] = {"closed", "half_open", "open"};
    struct log_line l;
    struct provider_status status;
    struct arena arena CLEANUP(arena_free) = {0};
    if (!begin(&l, LOG_INFO, "provider_stats", p->state, "Statistics of provider "))
        return;
    provider_status(p, &arena, &status);
    json_key_u64(&l.json, "requests", status.requests);
    json_key_u64(&l.json, "failures", status.failures);
    json_key_double(&l.json, "avg_latency_ms", status.latency_ms, 3);
    json_key_double(&l.json, "avg_first_byte_ms", status.first_byte_ms, 3);
    json_key_u64(&l.json, "in_flight", status.in_flight);
    json_key_bool(&l.json, "healthy", status.healthy);
    json_key_c(&l.json, "breaker", breakers[status.breaker]);
    log_end(&l);
}

/* ---- metrics (control) ------------------------------------------------------------------------------- */

static void gauge(struct provider_state *s, enum metric metric, int64_t value)
{
    metric_gauge_set(s->control->metrics, metric, LABELS(s->label), value);
}

/* Counted by all threads; brought over here, because a thread's cells are its own. */
static void cooldowns_bring(struct provider_state *s)
{
    uint64_t n = atomic_load_explicit(&s->cooldowns, memory_order_relaxed);
    if (n > s->cooldowns_counted)
        metric_add(s->control->metrics, METRIC_PROVIDER_COOLDOWNS, LABELS(s->label),
                   n - s->cooldowns_counted);
    s->cooldowns_counted = n;
}

void provider_measure(struct provider *p)
{
    struct provider_status status;
    struct arena arena CLEANUP(arena_free) = {0};
    provider_status(p, &arena, &status);
    gauge(p->state, METRIC_PROVIDER_CIRCUIT, (int64_t)status.breaker);
    gauge(p->state, METRIC_PROVIDER_HEALTHY, status.healthy && !status.disabled);
    gauge(p->state, METRIC_PROVIDER_IN_FLIGHT, (int64_t)status.in_flight);
    cooldowns_bring(p->state);
}

void provider_measure_removed(struct provider_state *s)
{
    gauge(s, METRIC_PROVIDER_CIRCUIT, 0);
    gauge(s, METRIC_PROVIDER_HEALTHY, 0);
    gauge(s, METRIC_PROVIDER_IN_FLIGHT, 0);
    cooldowns_bring(s);
}
