/*
 * Starting a service: who may, back-off, adoption, launching, readiness, and what a failure means. Control
 * thread.
 *
 * service_start_now → (adoption: a probe →) run_launch → run_started → a probe → run_ready, or on any failure
 * service_start_failed, which answers everybody who waits.
 */
#include "service/events.h"

#include <stdio.h>

/* ---- output ------------------------------------------------------------------------------------------ */

static void output_line(void *argument, struct str line)
{
    struct service *s = argument;
    uint64_t second = service_now(s) / CLOCK_S;
    if (second != s->output_window) {
        if (s->output_dropped)
            event_output_dropped(s, s->output_dropped);
        s->output_window = second;
        s->output_lines = s->output_dropped = 0;
    }
    if (s->output_lines++ < OUTPUT_LINES_PER_SECOND)
        event_output(s, line);
    else
        s->output_dropped++;
}

static void run_output(void *owner, struct str bytes)
{
    struct service *s = owner;
    log_ring_add(s->log, bytes, clock_wall_us(), output_line, s);
    log_readers_wake(s->log, false);
}

/* ---- starting ---------------------------------------------------------------------------------------- */

enum err service_refusal(struct service *s, struct error *error)
{
    const struct service_config *c = s->config;
    if (s->retired)
        return error_set(error, ERR_SERVICE_NOT_FOUND, "service %.*s was removed from the configuration",
                         STR_ARG(s->id));
    if (s->all->draining)
        return error_set(error, ERR_DRAINING, "%s", "");
    if (c->disabled)
        return error_set(error, ERR_SERVICE_UNCONFIGURED, "service %.*s is disabled: %.*s", STR_ARG(s->id),
                         STR_ARG(c->disabled_why));
    if (c->semaphore_enabled)
        return error_set(error, ERR_NOT_AVAILABLE,
                         "service %.*s is started through Semaphore, which is not available in this version",
                         STR_ARG(s->id));
    if (!s->all->find(c->orchestrator)->is_built)
        return error_set(error, ERR_NOT_AVAILABLE,
                         "service %.*s: the orchestrator %s is not available in this version", STR_ARG(s->id),
                         s->all->find(c->orchestrator)->name);
    return OK;
}

enum err service_back_off(struct service *s, struct error *error, int *retry_after)
{
    uint64_t now = service_now(s);
    if (s->state == SERVICE_HOT || s->state == SERVICE_STARTING || s->start_claim || s->retry_at <= now)
        return OK;
    *retry_after = (int)((s->retry_at - now + CLOCK_S - 1) / CLOCK_S);
    if (s->failed_with == ERR_UPSTREAM_UNREACHABLE)
        return error_set(error, ERR_UPSTREAM_UNREACHABLE, "%s", s->last_error);
    return error_set(error, ERR_BACKING_OFF, "service %.*s is backing off after a failure: %s",
                     STR_ARG(s->id), s->last_error);
}

static bool has_fallback(const struct service *s)
{
    return s->config->fallback_url.host.n > 0;
}

static void run_ready(struct service *s)
{
    struct run *run = &s->run;
    uint64_t now = service_now(s);
    atomic_store_explicit(&s->last_end, now, memory_order_relaxed); /* the idle clock starts here */
    atomic_store_explicit(&s->is_foreign, run->adopted || run->orchestrator->is_external,
                          memory_order_relaxed);
    s->ready_since = now;
    s->retry_at = 0;
    s->retry_at_wall_us = 0;
    s->last_error[0] = '\0';
    s->start_claim = false;
    s->watch_until = 0;
    queue_ramp_begin(s);
    service_move(s, SERVICE_HOT, run->adopted ? "adopted" : "ready", 0);
    event_start_ended(s, "ok");
    event_ready(s, now - run->started);
    queue_release(s);
    service_arm(s);
}

static void readiness_done(struct service *s, const struct error *error)
{
    s->run.probe = NULL;
    if (error->err == OK)
        run_ready(s);
    else
        service_start_failed(s, error->err == ERR_UPSTREAM_UNREACHABLE ? error->err : ERR_START_FAILED,
                             error_text(error), "failed");
}

void service_ask_readiness(struct service *s)
{
    const struct orchestrator *o = s->run.orchestrator;
    struct placement *places = atomic_load(&s->places);
    struct probe_plan plan = {
        .places = places,
        .warmup_ms = s->config->warmup_ms,
        .is_local = o->is_local,
        .stop_when_unreachable = o->is_external && has_fallback(s),
    };
    const struct place *asked = places->has_health ? &places->health : &places->list[0];
    struct str host = asked->url.host;
    if (asked->url.is_unix || str_eq(host, STR("localhost")) || str_eq(host, STR("::1")) ||
        str_starts(host, STR("127.")))
        plan.is_local = true;
    s->run.probe = probe_start(s->all, s, &plan, readiness_done);
    if (!s->run.probe)
        service_start_failed(s, ERR_START_FAILED, "out of memory", "failed");
}

/* The backend exists: publishes its places (the word is not hot yet, so nobody uses them) and asks it. */
static void run_started(void *owner, uint16_t port)
{
    struct service *s = owner;
    struct error error = {0};
    if (s->state != SERVICE_STARTING)
        return; /* being cancelled */
    s->run.port = port;
    struct placement *places = placement_new(s->config, port, &error);
    if (!places) {
        service_start_failed(s, ERR_START_FAILED, error_text(&error), "failed");
        return;
    }
    service_publish(s, places);
    service_ask_readiness(s);
}

static void run_failed(void *owner, const struct error *error);
static void run_stopped(void *owner, struct str reason, bool by_itself);

static const struct orchestration_events run_events = {
    .on_started = run_started,
    .on_failed = run_failed,
    .on_stopped = run_stopped,
    .on_output = run_output,
};

static void run_launch(struct service *s)
{
    struct error error = {0};
    s->run.orchestration = s->run.orchestrator->start(s->all, s->config, s, &run_events, &error);
    if (!s->run.orchestration)
        service_start_failed(s, ERR_START_FAILED, error_text(&error), "failed");
}

static void adoption_done(struct service *s, const struct error *error)
{
    s->run.probe = NULL;
    if (error->err != OK) {
        run_launch(s);
        return;
    }
    s->run.adopted = true;
    run_ready(s);
}

/* Only at a fixed address, and only where a health check vouches for it. */
static bool can_adopt(const struct service *s)
{
    const struct service_config *c = s->config;
    return s->run.orchestrator->adopts_running && c->base_url.host.n > 0 && c->health_url.host.n > 0;
}

static void adoption_start(struct service *s)
{
    struct error error = {0};
    struct placement *places = placement_new(s->config, 0, &error);
    if (!places) {
        service_start_failed(s, ERR_START_FAILED, error_text(&error), "failed");
        return;
    }
    service_publish(s, places);
    struct probe_plan plan = {.places = places, .once = true};
    s->run.probe = probe_start(s->all, s, &plan, adoption_done);
    if (!s->run.probe)
        run_launch(s);
}

void service_wake(struct service *s)
{
    struct error error = {0};
    if (s->state == SERVICE_COLD && service_has_claim(s)) {
        if (service_refusal(s, &error) != OK) {
            s->start_claim = false;
            queue_fail(s, &error, 0, true);
        } else if (s->start_claim || s->retry_at <= service_now(s)) {
            service_start_now(s);
        }
    }
    service_arm(s);
}

void service_start_now(struct service *s)
{
    REQUIRE(s->state == SERVICE_COLD && !s->retired);
    uint64_t now = service_now(s);
    s->run = (struct run){
        .orchestrator = s->all->find(s->config->orchestrator),
        .started = now,
        .deadline = clock_after(now, s->config->start_timeout_ms),
        .log_start = s->log->end,
    };
    service_move(s, SERVICE_STARTING, "claimed", 0);
    event_start(s, s->run.orchestrator->name);
    service_arm(s);
    if (can_adopt(s))
        adoption_start(s);
    else
        run_launch(s);
}

/* ---- failing ----------------------------------------------------------------------------------------- */

void service_quote_output(const struct service *s, char *why, size_t size)
{
    struct buf text CLEANUP(buf_free) = BUF(4096);
    size_t used = strlen(why), room = size - 1 - used;
    if (s->log->end <= s->run.log_start || room <= 40)
        return;
    buf_add_c(&text, "; last output:");
    log_ring_tail(s->log, s->run.log_start, 5, MIN(room - 20, (size_t)300), &text);
    str_to_c(buf_str(&text), why + used, size - used);
}

static void error_remember(struct service *s, const char *why)
{
    snprintf(s->last_error, sizeof s->last_error, "%s", why);
    service_quote_output(s, s->last_error, sizeof s->last_error);
}

static void back_off_set(struct service *s, enum err err)
{
    uint64_t ms = BACK_OFF_MS;
    for (unsigned i = 0; i < s->failures && ms < BACK_OFF_MAX_MS; i++)
        ms *= 2;
    s->failures++;
    ms = MIN(ms, (uint64_t)BACK_OFF_MAX_MS);
    if (err == ERR_UPSTREAM_UNREACHABLE)
        ms = UNREACHABLE_RETRY_MS;
    s->failed_with = err;
    s->retry_at = clock_after(service_now(s), ms);
    s->retry_at_wall_us = clock_wall_us() + (int64_t)ms * 1000;
}

void service_start_failed(struct service *s, enum err err, const char *why, const char *result)
{
    struct error error = {0};
    log_ring_end_line(s->log, clock_wall_us(), output_line, s);
    error_remember(s, why);
    back_off_set(s, err);
    event_start_ended(s, result);
    event_error(s, s->last_error);
    s->start_claim = false;
    s->watch_until = 0;
    if (err == ERR_UPSTREAM_UNREACHABLE)
        error_set(&error, err, "%s", s->last_error);
    else
        error_set(&error, err, "service %.*s could not be started: %s", STR_ARG(s->id), s->last_error);
    queue_fail(s, &error, (int)((s->retry_at - service_now(s) + CLOCK_S - 1) / CLOCK_S), true);
    service_run_end(s, "start_failed", s->config->stop_timeout_ms, 0);
}

static void run_failed(void *owner, const struct error *error)
{
    struct service *s = owner;
    s->run.orchestrator->free(s->run.orchestration);
    s->run.orchestration = NULL;
    if (s->state == SERVICE_STARTING)
        service_start_failed(s, error->err == OK ? ERR_START_FAILED : error->err, error_text(error),
                             "failed");
    else
        service_become_cold(s, s->run.stop_reason, 0);
}

/* It was in use and is gone. Requests in flight fail by themselves; those that queue for a slot wait for the
   restart. */
static void run_crashed(struct service *s, const char *why)
{
    struct error cold = {0};
    if (service_now(s) - s->ready_since >= BACK_OFF_RESET_MS * CLOCK_MS)
        s->failures = 0;
    error_remember(s, why);
    back_off_set(s, ERR_BACKING_OFF);
    event_error(s, s->last_error);
    error_set(&cold, ERR_SERVICE_COLD, "service %.*s has ended: %s", STR_ARG(s->id), why);
    queue_fail(s, &cold, 0, false);
    service_run_end(s, "crashed", 0, 0);
}

static void run_stopped(void *owner, struct str reason, bool by_itself)
{
    struct service *s = owner;
    char why[256];
    str_to_c(reason, why, sizeof why);
    log_ring_end_line(s->log, clock_wall_us(), output_line, s);
    log_readers_wake(s->log, false);
    s->run.orchestrator->free(s->run.orchestration);
    s->run.orchestration = NULL;
    if (s->state == SERVICE_STARTING)
        service_start_failed(s, ERR_START_FAILED, why, "failed");
    else if (s->state == SERVICE_HOT)
        run_crashed(s, why);
    else
        service_become_cold(s, s->run.stop_reason, 0);
}
