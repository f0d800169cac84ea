/*
 * One service: its memory, the mover, and the deadline of each state. The life is cold → starting → hot →
 * stopping → cold; start.c and stop.c tell the ways between. Control thread, but for the reference count.
 *
 * service_move is the one place where a state changes. Which fields of `run` are valid follows from the
 * state: cold      nothing runs; `retry_at` may hold starts back starting  a probe, or an orchestration, or
 * both; `deadline` hot       `places` is published; an orchestration unless it is external or adopted; a
 * probe only while it is suspected stopping  waits for requests in flight (not `stopping` yet), for
 * on_stopped, or, when `predecessor_count` is not 0, for the service that it replaces
 */
#include "base/mem.h"
#include "service/events.h"

#include <stdio.h>

static void service_tick(struct timer *timer);

/* ---- memory ------------------------------------------------------------------------------------------ */

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
    s->ramp_timer.on_due = queue_ramp_due;
    s->ramp_timer.due = CLOCK_NEVER;
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
void service_sweep_places(struct service *s)
{
    if (s->old_places && word_in_flight(word_read(&s->word)) == 0)
        old_places_free(s);
}

void service_publish(struct service *s, struct placement *p)
{
    struct placement *old = atomic_exchange_explicit(&s->places, p, memory_order_acq_rel);
    if (old) {
        old->next = s->old_places;
        s->old_places = old;
    }
    service_sweep_places(s);
}

/* ---- the mover, and the deadline of each state ------------------------------------------------------- */

void service_move(struct service *s, enum service_state to, const char *reason, uint64_t idle_ms)
{
    enum service_state from = s->state;
    s->state = to;
    s->state_since = service_now(s);
    word_set_state(&s->word, to);
    event_state_change(s, from, to, reason, idle_ms);
}

static bool is_watched(const struct service *s)
{
    return s->watch_until > service_now(s);
}

bool service_has_claim(const struct service *s)
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
        if (!s->run.stopping && !s->predecessor_count)
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
    if (word_in_flight(word_read(&s->word)) > 0 || !list_empty(&s->queue)) {
        timer_set(s->control, &s->timer, clock_after(service_now(s), s->config->idle_timeout_ms));
        return;
    }
    uint64_t last = atomic_load_explicit(&s->last_end, memory_order_relaxed);
    if (clock_after(last, s->config->idle_timeout_ms) > service_now(s)) {
        service_arm(s);
        return;
    }
    if (word_retire_idle(&s->word, SERVICE_HOT, SERVICE_STOPPING))
        service_end(s, "idle_timeout", true);
    else
        timer_set(s->control, &s->timer, clock_after(service_now(s), s->config->idle_timeout_ms));
}

static void start_tick(struct service *s)
{
    char why[256];
    if (service_now(s) < s->run.deadline) {
        service_claim_gone(s);
        service_arm(s);
        return;
    }
    const char *reason = s->run.probe ? probe_reason(s->run.probe) : "";
    snprintf(why, sizeof why, "not ready after %llu s%s%s",
             (unsigned long long)(s->config->start_timeout_ms / 1000), *reason ? ": " : "", reason);
    service_start_failed(s, ERR_START_TIMEOUT, why, "timeout");
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

/* ---- small questions --------------------------------------------------------------------------------- */

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
