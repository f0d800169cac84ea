/* Log lines and metrics of the life of services. See events.h. */
#include "service/events.h"

#include "base/log.h"

const char *service_state_name(enum service_state state)
{
    static const char *const names[] = {"cold", "starting", "hot", "stopping"};
    return names[state];
}

static label label_c(const char *text)
{
    return label_intern(str_from_c(text));
}

static void count(struct service *s, enum metric metric, const char *second)
{
    metric_add(s->control->metrics, metric, LABELS(s->label, second ? label_c(second) : 0), 1);
}

static bool begin(struct log_line *l, enum log_level level, const char *event, struct service *s,
                  const char *format, const char *tail)
{
    if (!log_begin(l, level, event, "%s%.*s%s", format, STR_ARG(s->id), tail))
        return false;
    json_key_str(&l->json, "service_id", s->id);
    return true;
}

void event_start(struct service *s, const char *method)
{
    struct log_line l;
    if (!begin(&l, LOG_INFO, "service_start", s, "Starting service: ", ""))
        return;
    json_key_object(&l.json, "metadata");
    json_key_c(&l.json, "method", method);
    json_end(&l.json);
    log_end(&l);
}

void event_start_ended(struct service *s, const char *result)
{
    count(s, METRIC_SERVICE_STARTS, result);
}

void event_ready(struct service *s, uint64_t duration_ns)
{
    struct log_line l;
    metric_observe(s->control->metrics, METRIC_SERVICE_STARTUP_DURATION, LABELS(s->label), duration_ns);
    if (!begin(&l, LOG_INFO, "service_ready", s, "Service ready: ", ""))
        return;
    json_key_double(&l.json, "duration_ms", (double)duration_ns / (double)CLOCK_MS, 1);
    log_end(&l);
}

void event_stop(struct service *s, const char *reason)
{
    struct log_line l;
    count(s, METRIC_SERVICE_STOPS, reason);
    if (!log_begin(&l, LOG_INFO, "service_stop", "Service stopped: %.*s (reason: %s)", STR_ARG(s->id),
                   reason))
        return;
    json_key_str(&l.json, "service_id", s->id);
    json_key_object(&l.json, "metadata");
    json_key_c(&l.json, "stop_reason", reason);
    json_end(&l.json);
    log_end(&l);
}

void event_error(struct service *s, const char *what)
{
    struct log_line l;
    count(s, METRIC_SERVICE_ERRORS, NULL);
    if (!log_begin(&l, LOG_ERROR, "service_error", "Service error: %.*s - %s", STR_ARG(s->id), what))
        return;
    json_key_str(&l.json, "service_id", s->id);
    json_key_object(&l.json, "metadata");
    json_key_c(&l.json, "error", what);
    json_end(&l.json);
    log_end(&l);
}

void event_state_change(struct service *s, enum service_state from, enum service_state to, const char *reason,
                        uint64_t idle_ms)
{
    struct log_line l;
    const char *was = service_state_name(from), *is = service_state_name(to);
    metric_add(s->control->metrics, METRIC_SERVICE_STATE_CHANGES,
               LABELS(s->label, label_c(was), label_c(reason), label_c(is)), 1);
    metric_gauge_set(s->control->metrics, METRIC_SERVICE_STATE, LABELS(s->label, label_c(was)), 0);
    metric_gauge_set(s->control->metrics, METRIC_SERVICE_STATE, LABELS(s->label, label_c(is)), 1);
    if (!log_begin(&l, LOG_INFO, "service_state_change", "Service state change: %.*s %s -> %s",
                   STR_ARG(s->id), was, is))
        return;
    json_key_str(&l.json, "service_id", s->id);
    json_key_object(&l.json, "metadata");
    json_key_c(&l.json, "old_state", was);
    json_key_c(&l.json, "new_state", is);
    json_key_c(&l.json, "reason", reason);
    json_key_u64(&l.json, "idle_ms", idle_ms);
    json_end(&l.json);
    log_end(&l);
}

void event_removed(struct service *s)
{
    label state = label_c(service_state_name(s->state));
    metric_gauge_set(s->control->metrics, METRIC_SERVICE_STATE, LABELS(s->label, state), 0);
    metric_gauge_set(s->control->metrics, METRIC_QUEUE_SIZE, LABELS(s->label), 0);
    metric_gauge_set(s->control->metrics, METRIC_SERVICE_IN_FLIGHT, LABELS(s->label), 0);
}

/* ---- the queue --------------------------------------------------------------------------------------- */

static void queue_event(struct service *s, enum log_level level, const char *event, const char *message,
                        const char *request_id, uint64_t waited_ns)
{
    struct log_line l;
    if (!begin(&l, level, event, s, message, ""))
        return;
    json_key_c(&l.json, "request_id", request_id);
    json_key_object(&l.json, "metadata");
    json_key_u64(&l.json, "queue_pending", s->pending);
    json_key_double(&l.json, "wait_ms", (double)waited_ns / (double)CLOCK_MS, 1);
    json_end(&l.json);
    log_end(&l);
}

void event_queue_size(struct service *s)
{
    metric_gauge_set(s->control->metrics, METRIC_QUEUE_SIZE, LABELS(s->label), (int64_t)s->pending);
}

void event_queued(struct service *s, const char *request_id)
{
    event_queue_size(s);
    queue_event(s, LOG_INFO, "request_queued", "Request queued for service: ", request_id, 0);
}

void event_dequeued(struct service *s, const char *request_id, uint64_t waited_ns)
{
    event_queue_size(s);
    metric_observe(s->control->metrics, METRIC_QUEUE_WAIT, LABELS(s->label), waited_ns);
    queue_event(s, LOG_INFO, "request_dequeued", "Request dequeued for service: ", request_id, waited_ns);
}

void event_queue_timeout(struct service *s, const char *request_id, uint64_t waited_ns)
{
    event_queue_size(s);
    count(s, METRIC_QUEUE_TIMEOUTS, NULL);
    queue_event(s, LOG_WARNING, "queue_timeout", "Request timed out in the queue of service: ", request_id,
                waited_ns);
}

/* ---- health and output ------------------------------------------------------------------------------- */

void event_health_check(struct service *s, bool ok, bool is_news, uint64_t duration_ns, const char *why)
{
    struct log_line l;
    count(s, METRIC_HEALTH_CHECKS, NULL);
    metric_observe(s->control->metrics, METRIC_HEALTH_CHECK_DURATION, LABELS(s->label), duration_ns);
    if (!ok)
        count(s, METRIC_HEALTH_CHECK_FAILURES, NULL);
    /* While a service loads, the same answer comes again and again: only its first time is news. */
    if (!begin(&l, !ok && is_news ? LOG_INFO : LOG_DEBUG, ok ? "health_check" : "health_check_failed", s,
               ok ? "Health check passed: " : "Health check failed: ", ""))
        return;
    json_key_double(&l.json, "duration_ms", (double)duration_ns / (double)CLOCK_MS, 1);
    if (!ok) {
        json_key_object(&l.json, "metadata");
        json_key_c(&l.json, "error", why);
        json_end(&l.json);
    }
    log_end(&l);
}

void event_output(struct service *s, struct str line)
{
    struct log_line l;
    if (!log_begin(&l, LOG_INFO, "service_log", "%.*s", STR_ARG(line)))
        return;
    json_key_str(&l.json, "service_id", s->id);
    log_end(&l);
}

void event_output_dropped(struct service *s, unsigned lines)
{
    struct log_line l;
    if (!log_begin(&l, LOG_INFO, "service_log", "%u more lines are in the service's own log only", lines))
        return;
    json_key_str(&l.json, "service_id", s->id);
    log_end(&l);
}
