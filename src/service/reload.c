/*
 * What a reload does to one service: live keys take effect, or it is retired and a successor takes its place.
 * Control thread.
 */
#include "base/log.h"
#include "service/events.h"

static void places_renew(struct service *s)
{
    struct error error = {0};
    struct placement *places = placement_new(s->config, s->run.port, &error);
    if (!places) {
        log_event(LOG_WARNING, "service_error", "Service %.*s keeps its places: %s", STR_ARG(s->id),
                  error_text(&error));
        return;
    }
    service_publish(s, places);
    if (s->state == SERVICE_STARTING && !s->run.adopted) {
        probe_cancel(s->run.probe);
        service_ask_readiness(s);
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
    old->predecessor_count = 0;               /* those block the newest one now */
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
        service_become_cold(old, "config_changed", 0);
    else if (old->state == SERVICE_COLD)
        services_settle(old->all, old);
    else
        service_end(old, "config_changed", !is_in_the_way(old));
}
