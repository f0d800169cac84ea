/*
 * The life of one service: cold → starting → hot → stopping → cold. Control thread only.
 *
 * service_move is the one place where a state changes. Which fields of `run` are valid follows from the state:
 *   cold      nothing runs; `retry_at` may hold starts back
 *   starting  a probe, or an orchestration, or both; `deadline`
 *   hot       `places` is published; an orchestration unless it is external or adopted; a probe only while
 *             it is suspected
 *   stopping  waits for requests in flight (not `stopping` yet), for on_stopped, or, when `predecessor_count`
 *             is not 0, for the service that it replaces
 */
#include "base/log.h"
#include "base/mem.h"
#include "service/events.h"

#include <stdio.h>

static void start_failed(struct service *s, enum err err, const char *why, const char *result);
static void become_cold(struct service *s, const char *reason, uint64_t idle_ms);
static void service_tick(struct timer *timer);

static uint64_t now_of(const struct service *s)
{
    return loop_now(s->control);
}

/* ---- memory --------------------------------------------------------------------------------------------- */

struct service *service_new(struct services *all, struct config *snapshot,
                            const struct service_config *config)
{
    struct service *s = mem_alloc(sizeof *s);
    char *id = mem_alloc(config->id.n + 1);
    struct log_ring *log = log_ring_new();
    if (!s || !id || !log) {
        mem_free(s);
        mem_free(id);
        log_ring_unref(log);
        return NULL;
    }
    memcpy(id, config->id.p, config->id.n);
    s->id = str_make(id, config->id.n);
    s->label = label_intern(s->id);
    s->log = log;
    s->all = all;
    s->control = all->control;
    s->snapshot = config_ref(snapshot);
    s->config = config;
    s->state_since = loop_now(all->control);
    s->slot_message.on_arrival = slot_freed;
    s->suspect_message.on_arrival = service_suspected;
    s->timer.on_due = service_tick;
    list_init(&s->queue);
    atomic_init(&s->references, 1);
    word_set_limit(&s->word, config->max_concurrent);
    metric_gauge_set(s->control->metrics, METRIC_SERVICE_STATE, LABELS(s->label, label_intern(STR("cold"))),
                     1);
    return s;
}

struct service *service_ref(struct service *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

static void old_places_free(struct service *s)
{
    while (s->old_places) {
        struct placement *p = s->old_places;
        s->old_places = p->next;
        placement_free(p);
    }
}

/* Any thread: what belongs to the control loop was taken back when the registry let go. */
void service_unref(struct service *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) > 1)
        return;
    service_unref(s->successor);
    old_places_free(s);
    placement_free(atomic_load(&s->places));
    config_unref(s->snapshot);
    log_ring_unref(s->log);
    mem_free((void *)(uintptr_t)s->id.p);
    mem_free(s);
}

struct service *service_current(struct service *s)
{
    while (s->retired && s->successor)
        s = s->successor;
    return s;
}

bool service_is_gone(struct service *s)
{
    uint64_t w = word_read(&s->word);
    return s->state == SERVICE_COLD && list_empty(&s->queue) && !s->run.probe && word_in_flight(w) == 0 &&
           !(w & WORD_POSTED) && !atomic_load(&s->suspected);
}

/* Places that no lease can know any more. Who enters after this reading of the word happens after the
   exchange of `places`, so it sees the new ones. */
void placements_sweep(struct service *s)
{
    if (s->old_places && word_in_flight(word_read(&s->word)) == 0)
        old_places_free(s);
}

static void places_publish(struct service *s, struct placement *p)
{
    struct placement *old = atomic_exchange_explicit(&s->places, p, memory_order_acq_rel);
    if (old) {
        old->next = s->old_places;
        s->old_places = old;
    }
    placements_sweep(s);
}

/* ---- the mover, and the deadline of each state ---------------------------------------------------------- */

static void service_move(struct service *s, enum service_state to, const char *reason, uint64_t idle_ms)
{
    enum service_state from = s->state;
    s->state = to;
    s->state_since = now_of(s);
    word_set_state(&s->word, to);
    event_state_change(s, from, to, reason, idle_ms);
}

static bool is_watched(const struct service *s)
{
    return s->watch_until > now_of(s);
}

static bool has_claim(const struct service *s)
{
    return s->start_claim || !list_empty(&s->queue) || is_watched(s);
}

void service_arm(struct service *s)
{
    uint64_t due = CLOCK_NEVER;
    switch (s->state) {
    case SERVICE_COLD:
        if (!list_empty(&s->queue))
            due = s->retry_at;
        break;
    case SERVICE_STARTING:
        due = s->run.deadline;
        if (is_watched(s))
            due = MIN(due, s->watch_until);
        break;
    case SERVICE_HOT:
        if (s->config->idle_timeout_ms)
            due = clock_after(atomic_load_explicit(&s->last_end, memory_order_relaxed),
                              s->config->idle_timeout_ms);
        break;
    case SERVICE_STOPPING:
        if (!s->run.stopping)
            due = s->run.drain_deadline;
        break;
    }
    timer_set(s->control, &s->timer, due);
}

/* Never under a request: the word goes to stopping only while nothing is in flight. */
static void idle_check(struct service *s)
{
    if (!s->config->idle_timeout_ms) {
        service_arm(s);
        return;
    }
    if (word_in_flight(word_read(&s->word)) > 0) {
        timer_set(s->control, &s->timer, clock_after(now_of(s), s->config->idle_timeout_ms));
        return;
    }
    uint64_t last = atomic_load_explicit(&s->last_end, memory_order_relaxed);
    if (clock_after(last, s->config->idle_timeout_ms) > now_of(s) || !list_empty(&s->queue)) {
        service_arm(s);
        return;
    }
    if (word_retire_idle(&s->word, SERVICE_HOT, SERVICE_STOPPING))
        service_end(s, "idle_timeout", true);
    else
        timer_set(s->control, &s->timer, clock_after(now_of(s), s->config->idle_timeout_ms));
}

static void start_tick(struct service *s)
{
    char why[256];
    if (now_of(s) < s->run.deadline) {
        service_claim_gone(s);
        service_arm(s);
        return;
    }
    const char *reason = s->run.probe ? probe_reason(s->run.probe) : "";
    snprintf(why, sizeof why, "not ready after %llu s%s%s",
             (unsigned long long)(s->config->start_timeout_ms / 1000), *reason ? ": " : "", reason);
    start_failed(s, ERR_START_TIMEOUT, why, "timeout");
}

static void service_tick(struct timer *timer)
{
    struct service *s = CONTAINER_OF(timer, struct service, timer);
    switch (s->state) {
    case SERVICE_COLD:
        service_wake(s);
        break;
    case SERVICE_STARTING:
        start_tick(s);
        break;
    case SERVICE_HOT:
        idle_check(s);
        break;
    case SERVICE_STOPPING:
        if (!s->run.stopping)
            service_end(s, s->run.stop_reason, true);
        break;
    }
}

/* ---- output --------------------------------------------------------------------------------------------- */

static void output_line(void *argument, struct str line)
{
    struct service *s = argument;
    uint64_t second = now_of(s) / CLOCK_S;
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

/* ---- starting ------------------------------------------------------------------------------------------- */

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
    uint64_t now = now_of(s);
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
    uint64_t now = now_of(s);
    atomic_store_explicit(&s->last_end, now, memory_order_relaxed); /* the idle clock starts here */
    atomic_store_explicit(&s->is_foreign, run->adopted || run->orchestrator->is_external,
                          memory_order_relaxed);
    s->ready_since = now;
    s->retry_at = 0;
    s->retry_at_wall_us = 0;
    s->last_error[0] = '\0';
    s->start_claim = false;
    s->watch_until = 0;
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
        start_failed(s, error->err == ERR_UPSTREAM_UNREACHABLE ? error->err : ERR_START_FAILED,
                     error_text(error), "failed");
}

static void readiness_start(struct service *s)
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
        start_failed(s, ERR_START_FAILED, "out of memory", "failed");
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
        start_failed(s, ERR_START_FAILED, error_text(&error), "failed");
        return;
    }
    places_publish(s, places);
    readiness_start(s);
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
        start_failed(s, ERR_START_FAILED, error_text(&error), "failed");
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
        start_failed(s, ERR_START_FAILED, error_text(&error), "failed");
        return;
    }
    places_publish(s, places);
    struct probe_plan plan = {.places = places, .once = true};
    s->run.probe = probe_start(s->all, s, &plan, adoption_done);
    if (!s->run.probe)
        run_launch(s);
}

void service_wake(struct service *s)
{
    struct error error = {0};
    if (s->state == SERVICE_COLD && has_claim(s)) {
        if (service_refusal(s, &error) != OK) {
            s->start_claim = false;
            queue_fail(s, &error, 0, true);
        } else if (s->start_claim || s->retry_at <= now_of(s)) {
            service_start_now(s);
        }
    }
    service_arm(s);
}

void service_start_now(struct service *s)
{
    REQUIRE(s->state == SERVICE_COLD && !s->retired);
    uint64_t now = now_of(s);
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

/* ---- failing -------------------------------------------------------------------------------------------- */

/* "why", and what it printed last. */
static void error_remember(struct service *s, const char *why)
{
    struct buf text CLEANUP(buf_free) = BUF(4096);
    buf_add_c(&text, why);
    size_t room = sizeof s->last_error - 1;
    size_t used = MIN(text.n, room);
    if (s->log->end > s->run.log_start && room - used > 40) {
        buf_add_c(&text, "; last output:");
        log_ring_tail(s->log, s->run.log_start, 5, MIN(room - used - 20, (size_t)300), &text);
    }
    str_to_c(buf_str(&text), s->last_error, sizeof s->last_error);
}

static void back_off_set(struct service *s, enum err err)
{
    uint64_t ms = BACK_OFF_MS;
    for (unsigned i = 0; i < s->failures && ms < BACK_OFF_MAX_MS; i++)
        ms *= 2;
    s->failures++;
    ms = err == ERR_UPSTREAM_UNREACHABLE ? (uint64_t)UNREACHABLE_RETRY_MS : MIN(ms, (uint64_t)BACK_OFF_MAX_MS);
    s->failed_with = err;
    s->retry_at = clock_after(now_of(s), ms);
    s->retry_at_wall_us = clock_wall_us() + (int64_t)ms * 1000;
}

/* What still runs is stopped by force; in any case the service ends up cold. */
static void run_end(struct service *s, const char *reason, uint64_t grace_ms, uint64_t idle_ms)
{
    struct run *run = &s->run;
    probe_cancel(run->probe);
    run->probe = NULL;
    run->stop_reason = reason;
    if (run->orchestration && run->orchestrator->is_external) {
        run->orchestrator->free(run->orchestration);
        run->orchestration = NULL;
    }
    if (!run->orchestration) {
        become_cold(s, reason, idle_ms);
        return;
    }
    if (s->state != SERVICE_STOPPING)
        service_move(s, SERVICE_STOPPING, reason, idle_ms);
    run->stopping = true;
    service_arm(s);
    run->orchestrator->stop(run->orchestration, grace_ms);
}

/* Answers everybody who waits, then cleans up. */
static void start_failed(struct service *s, enum err err, const char *why, const char *result)
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
    queue_fail(s, &error, (int)((s->retry_at - now_of(s) + CLOCK_S - 1) / CLOCK_S), true);
    run_end(s, "start_failed", s->config->stop_timeout_ms, 0);
}

static void run_failed(void *owner, const struct error *error)
{
    struct service *s = owner;
    s->run.orchestrator->free(s->run.orchestration);
    s->run.orchestration = NULL;
    if (s->state == SERVICE_STARTING)
        start_failed(s, error->err == OK ? ERR_START_FAILED : error->err, error_text(error), "failed");
    else
        become_cold(s, s->run.stop_reason, 0);
}

/* It was in use and is gone. Requests in flight fail by themselves; those that queue for a slot wait for the
   restart. */
static void run_crashed(struct service *s, const char *why)
{
    struct error cold = {0};
    if (now_of(s) - s->ready_since >= BACK_OFF_RESET_MS * CLOCK_MS)
        s->failures = 0;
    error_remember(s, why);
    back_off_set(s, ERR_BACKING_OFF);
    event_error(s, s->last_error);
    error_set(&cold, ERR_SERVICE_COLD, "service %.*s has ended: %s", STR_ARG(s->id), why);
    queue_fail(s, &cold, 0, false);
    run_end(s, "crashed", 0, 0);
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
        start_failed(s, ERR_START_FAILED, why, "failed");
    else if (s->state == SERVICE_HOT)
        run_crashed(s, why);
    else
        become_cold(s, s->run.stop_reason, 0);
}

/* ---- stopping ------------------------------------------------------------------------------------------- */

static void successor_unblock(struct service *s)
{
    struct service *next = s->successor;
    if (!s->blocks_successor)
        return;
    s->blocks_successor = false;
    if (next && !next->retired && --next->predecessor_count == 0)
        become_cold(next, "predecessor_stopped", 0);
}

static void become_cold(struct service *s, const char *reason, uint64_t idle_ms)
{
    bool was_up = s->state == SERVICE_HOT || s->state == SERVICE_STOPPING;
    struct placement *places = atomic_load(&s->places);
    for (size_t i = 0; places && i < places->count; i++)
        pool_close_idle(s->all->pool, places->list[i].origin);
    service_move(s, SERVICE_COLD, reason, idle_ms);
    if (was_up && s->run.orchestrator)
        event_stop(s, reason);
    s->run = (struct run){0};
    placements_sweep(s);
    if (s->retired)
        successor_unblock(s);
    else
        service_wake(s);
    services_settle(s->all, s);
}

static uint64_t idle_ms_of(const struct service *s)
{
    uint64_t last = atomic_load_explicit(&s->last_end, memory_order_relaxed);
    return now_of(s) > last ? (now_of(s) - last) / CLOCK_MS : 0;
}

/* The flag first: a release that this reading misses will tell us. */
static bool waits_for_requests(struct service *s, bool force)
{
    return !force && word_in_flight(word_set_flags(&s->word, WORD_WATCHED)) > 0;
}

void service_end(struct service *s, const char *reason, bool force)
{
    uint64_t idle_ms = s->state == SERVICE_HOT ? idle_ms_of(s) : 0;
    if (s->state == SERVICE_COLD || s->run.stopping || s->predecessor_count)
        return;
    if (s->state == SERVICE_HOT) /* from here on nobody enters; who comes now waits in the queue */
        word_set_state(&s->word, SERVICE_STOPPING);
    if (s->state == SERVICE_STARTING || !waits_for_requests(s, force)) {
        run_end(s, reason, s->config->stop_timeout_ms, idle_ms);
        return;
    }
    if (s->state == SERVICE_HOT) {
        s->run.stop_reason = reason;
        service_move(s, SERVICE_STOPPING, reason, idle_ms);
    }
    s->run.drain_deadline =
        s->retired ? clock_after(now_of(s), s->snapshot->server.drain_ms) : (uint64_t)CLOCK_NEVER;
    service_arm(s);
}

void service_claim_gone(struct service *s)
{
    if (s->state != SERVICE_STARTING || has_claim(s))
        return;
    event_start_ended(s, "cancelled");
    run_end(s, "start_cancelled", s->config->stop_timeout_ms, 0);
}

/* ---- suspicion ------------------------------------------------------------------------------------------ */

static void suspicion_done(struct service *s, const struct error *error)
{
    s->run.probe = NULL;
    if (s->state != SERVICE_HOT || error->err == OK)
        return;
    word_set_state(&s->word, SERVICE_COLD);
    snprintf(s->last_error, sizeof s->last_error, "it stopped answering: %s", error_text(error));
    event_error(s, s->last_error);
    run_end(s, "unreachable", 0, 0);
}

/* A request failed on a service that somebody else runs: only asking tells whether it is still there. (A
   process of our own tells us itself when it ends.) */
void service_suspected(struct message *m)
{
    struct service *s = CONTAINER_OF(m, struct service, suspect_message);
    atomic_store(&s->suspected, false);
    if (s->state == SERVICE_HOT && atomic_load(&s->is_foreign) && !s->run.probe) {
        struct probe_plan plan = {
            .places = atomic_load(&s->places), .once = true, .attempt_ms = SUSPECT_PROBE_MS};
        s->run.probe = probe_start(s->all, s, &plan, suspicion_done);
    }
    services_settle(s->all, s);
}

/* ---- reload --------------------------------------------------------------------------------------------- */

static void places_renew(struct service *s)
{
    struct error error = {0};
    struct placement *places = placement_new(s->config, s->run.port, &error);
    if (!places) {
        log_event(LOG_WARNING, "service_error", "Service %.*s keeps its places: %s", STR_ARG(s->id),
                  error_text(&error));
        return;
    }
    places_publish(s, places);
    if (s->state == SERVICE_STARTING && !s->run.adopted) {
        probe_cancel(s->run.probe);
        readiness_start(s);
    }
}

void service_reconfigure(struct service *s, struct config *snapshot, const struct service_config *config)
{
    bool changed = !str_eq(s->config->full_fingerprint, config->full_fingerprint);
    struct config *old = s->snapshot;
    s->snapshot = config_ref(snapshot);
    s->config = config;
    config_unref(old);
    if (!changed)
        return;
    word_set_limit(&s->word, config->max_concurrent);
    s->failures = 0;
    s->retry_at = 0;
    s->retry_at_wall_us = 0;
    bool launched = s->run.orchestration || s->run.adopted;
    if (atomic_load(&s->places) && launched && (s->state == SERVICE_HOT || s->run.probe))
        places_renew(s);
    queue_release(s);
    service_wake(s);
}

/* Whether something of ours runs, or is about to end, that must not meet its successor. */
static bool is_in_the_way(const struct service *s)
{
    return s->run.orchestration && !s->run.orchestrator->is_external;
}

void service_block(struct service *old, struct service *next)
{
    if (!old->blocks_successor && !is_in_the_way(old))
        return;
    old->blocks_successor = true;
    if (next->predecessor_count++ == 0)
        service_move(next, SERVICE_STOPPING, "waits_for_predecessor", 0);
}

void service_retire(struct service *old, struct service *successor)
{
    struct error removed = {0};
    bool was_starting = old->state == SERVICE_STARTING, was_blocked = old->predecessor_count > 0;
    old->retired = true;
    old->successor = successor ? service_ref(successor) : NULL;
    old->start_claim = false;
    old->watch_until = 0;
    old->predecessor_count = 0; /* those block the newest one now */
    word_set_flags(&old->word, WORD_WATCHED); /* the last request tells us */
    if (successor) {
        queue_move(old, successor);
    } else {
        error_set(&removed, ERR_SERVICE_NOT_FOUND, "service %.*s was removed from the configuration",
                  STR_ARG(old->id));
        queue_fail(old, &removed, 0, true);
    }
    if (was_starting)
        event_start_ended(old, "cancelled");
    /* Requests in flight keep a process for a while; what others run needs no waiting. */
    if (was_blocked)
        become_cold(old, "config_changed", 0);
    else if (old->state == SERVICE_COLD)
        services_settle(old->all, old);
    else
        service_end(old, "config_changed", !is_in_the_way(old));
}

/* ---- small questions ------------------------------------------------------------------------------------ */

bool service_is_hot(const struct service *s)
{
    uint64_t w = atomic_load_explicit(&s->word, memory_order_relaxed);
    return word_state(w) == SERVICE_HOT && !(w & WORD_CLOSED);
}

struct str service_id(const struct service *s)
{
    return s->id;
}

uint32_t service_label(const struct service *s)
{
    return s->label;
}
