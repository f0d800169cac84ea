/*
 * Ending a service: stops, cancelled starts, and services of others that no longer answer. Control thread.
 * Whoever calls service_run_end or service_become_cold must not touch a retired service afterwards: it may be
 * gone.
 */
#include "service/events.h"

#include <stdio.h>

/* ---- the end of a run -------------------------------------------------------------------------------- */

void service_run_end(struct service *s, const char *reason, uint64_t grace_ms, uint64_t idle_ms)
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
        service_become_cold(s, reason, idle_ms);
        return;
    }
    if (s->state != SERVICE_STOPPING)
        service_move(s, SERVICE_STOPPING, reason, idle_ms);
    run->stopping = true;
    service_arm(s);
    run->orchestrator->stop(run->orchestration, grace_ms);
}

/* ---- stopping ---------------------------------------------------------------------------------------- */

static void successor_unblock(struct service *s)
{
    struct service *next = s->successor;
    if (!s->blocks_successor)
        return;
    s->blocks_successor = false;
    if (next && !next->retired && --next->predecessor_count == 0)
        service_become_cold(next, "predecessor_stopped", 0);
}

void service_become_cold(struct service *s, const char *reason, uint64_t idle_ms)
{
    bool was_up = s->state == SERVICE_HOT || s->state == SERVICE_STOPPING;
    struct placement *places = atomic_load(&s->places);
    for (size_t i = 0; places && i < places->count; i++)
        pool_close_idle(s->all->pool, places->list[i].origin);
    service_move(s, SERVICE_COLD, reason, idle_ms);
    if (was_up && s->run.orchestrator)
        event_stop(s, reason);
    s->run = (struct run){0};
    service_sweep_places(s);
    if (s->retired)
        successor_unblock(s);
    else
        service_wake(s);
    services_settle(s->all, s);
}

static uint64_t idle_ms_of(const struct service *s)
{
    uint64_t last = atomic_load_explicit(&s->last_end, memory_order_relaxed);
    return service_now(s) > last ? (service_now(s) - last) / CLOCK_MS : 0;
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
        service_run_end(s, reason, s->config->stop_timeout_ms, idle_ms);
        return;
    }
    if (s->state == SERVICE_HOT) {
        s->run.stop_reason = reason;
        service_move(s, SERVICE_STOPPING, reason, idle_ms);
    }
    s->run.drain_deadline =
        s->retired ? clock_after(service_now(s), s->snapshot->server.drain_ms) : (uint64_t)CLOCK_NEVER;
    service_arm(s);
}

void service_claim_gone(struct service *s)
{
    if (s->state != SERVICE_STARTING || service_has_claim(s))
        return;
    event_start_ended(s, "cancelled");
    service_run_end(s, "start_cancelled", s->config->stop_timeout_ms, 0);
}

/* ---- suspicion --------------------------------------------------------------------------------------- */

static void suspicion_done(struct service *s, const struct error *error)
{
    s->run.probe = NULL;
    if (s->state != SERVICE_HOT || error->err == OK)
        return;
    word_set_state(&s->word, SERVICE_COLD);
    snprintf(s->last_error, sizeof s->last_error, "it does not answer: %s", error_text(error));
    event_error(s, s->last_error);
    service_run_end(s, "unreachable", 0, 0);
}

/* A request failed on a service that somebody else runs: only asking tells whether it is still there. (A
   process of our own tells us itself when it ends.) */
void service_suspected(struct message *m)
{
    struct service *s = CONTAINER_OF(m, struct service, suspect_message);
    atomic_store(&s->suspected, false);
    if (s->state == SERVICE_HOT && atomic_load(&s->is_foreign) && !s->run.probe &&
        s->run.suspect_after <= service_now(s)) {
        s->run.suspect_after = clock_after(service_now(s), SUSPECT_PAUSE_MS);
        struct probe_plan plan = {
            .places = atomic_load(&s->places), .once = true, .attempt_ms = SUSPECT_PROBE_MS};
        s->run.probe = probe_start(s->all, s, &plan, suspicion_done);
    }
    services_settle(s->all, s);
}
