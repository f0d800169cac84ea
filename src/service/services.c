/*
 * The registry: which services exist, which are on their way out after a reload, and the end of all of them.
 * Control thread only.
 */
#include "base/mem.h"
#include "service/events.h"

struct services *services_new(struct loop *control, struct shepherd *shepherd)
{
    struct services *all = mem_alloc(sizeof *all);
    if (!all)
        return NULL;
    all->control = control;
    all->shepherd = shepherd;
    all->find = orchestrator_find;
    all->pool = pool_new(control);
    list_init(&all->retired);
    if (all->pool)
        return all;
    mem_free(all);
    return NULL;
}

struct loop *services_loop(struct services *all)
{
    return all->control;
}

struct shepherd *services_shepherd(struct services *all)
{
    return all->shepherd;
}

struct service *services_get(struct services *all, struct str id)
{
    struct service *s = map_get(&all->by_id, id);
    return s ? service_ref(s) : NULL;
}

/* ---- a new config ------------------------------------------------------------------------------------ */

static bool needs_restart(const struct service_config *was, const struct service_config *is)
{
    return was->disabled != is->disabled || !str_eq(was->restart_fingerprint, is->restart_fingerprint);
}

static bool is_kept(struct services *all, const struct service_config *config)
{
    struct service *s = map_get(&all->by_id, config->id);
    return s && !needs_restart(s->config, config);
}

/* Services that are not kept are new in `fresh`; nothing else is changed yet. */
static enum err fresh_fill(struct services *all, struct config *config, struct map *fresh)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *one = &config->services[i];
        bool kept = is_kept(all, one);
        struct service *s = kept ? map_get(&all->by_id, one->id) : service_new(all, config, one);
        if (!s)
            return ERR_NOMEM;
        enum err err = map_put(fresh, s->id, s);
        if (err != OK && !kept)
            service_unref(s);
        TRY(err);
    }
    return OK;
}

static void fresh_undo(struct services *all, struct map *fresh)
{
    MAP_EACH(entry, fresh)
    {
        if (map_get(&all->by_id, entry->key) != entry->value)
            service_unref(entry->value);
    }
    map_free(fresh);
}

/* Those of the same id that still run block the newest, and its output continues theirs. */
static void succeed(struct services *all, struct service *old, struct service *next)
{
    list_push_back(&all->retired, &old->node);
    if (next) {
        log_ring_unref(next->log);
        next->log = log_ring_ref(old->log);
    } else {
        log_readers_wake(old->log, true);
    }
    service_retire(old, next);
    if (next)
        service_wake(next);
}

static void predecessors_block(struct services *all, struct service *next)
{
    LIST_EACH(node, &all->retired)
    {
        struct service *old = CONTAINER_OF(node, struct service, node);
        if (!str_eq(old->id, next->id))
            continue;
        service_block(old, next);
        if (old->blocks_successor && old->successor != next) {
            service_unref(old->successor);
            old->successor = service_ref(next);
        }
    }
}

static void successors_install(struct services *all, struct map *before)
{
    MAP_EACH(entry, &all->by_id)
    {
        struct service *next = entry->value, *old = map_get(before, entry->key);
        if (next == old)
            continue;
        predecessors_block(all, next);
        if (old)
            service_block(old, next);
    }
    MAP_EACH(entry, before)
    {
        struct service *old = entry->value, *next = map_get(&all->by_id, entry->key);
        if (next != old)
            succeed(all, old, next);
    }
}

enum err services_apply(struct services *all, struct config *config)
{
    struct map fresh = {0};
    enum err err = fresh_fill(all, config, &fresh);
    if (err != OK) {
        fresh_undo(all, &fresh);
        return err;
    }
    struct map before = all->by_id;
    all->by_id = fresh;
    MAP_EACH(entry, &all->by_id)
    {
        struct service *s = entry->value;
        if (map_get(&before, entry->key) == s)
            service_reconfigure(s, config, map_get(&config->services_by_id, s->id));
    }
    successors_install(all, &before);
    map_free(&before);
    return OK;
}

/* ---- the end ----------------------------------------------------------------------------------------- */

static void service_drain(struct service *s)
{
    struct error error;
    error_set(&error, ERR_DRAINING, "%s", "");
    word_set_flags(&s->word, WORD_CLOSED);
    s->start_claim = false;
    s->watch_until = 0;
    queue_fail(s, &error, 0, true);
    service_claim_gone(s);
}

void services_drain(struct services *all)
{
    all->draining = true;
    MAP_EACH(entry, &all->by_id)
    {
        service_drain(entry->value);
    }
}

static bool is_busy(const struct service *s)
{
    return s->run.orchestration || s->run.probe;
}

static bool all_ended(const struct services *all)
{
    MAP_EACH(entry, &all->by_id)
    {
        if (is_busy(entry->value))
            return false;
    }
    LIST_EACH(node, &all->retired)
    {
        if (is_busy(CONTAINER_OF(node, struct service, node)))
            return false;
    }
    return all->probe_count == 0;
}

static void service_forget(struct service *s)
{
    list_remove(&s->node);
    timer_remove(s->control, &s->timer);
    timer_remove(s->control, &s->ramp_timer);
    if (s->retired && !s->successor)
        event_removed(s);
    service_unref(s);
}

void services_settle(struct services *all, struct service *s)
{
    if (s && list_linked(&s->node) && service_is_gone(s))
        service_forget(s);
    if (!all->stopping || !all->on_stopped || !all_ended(all))
        return;
    void (*on_stopped)(void *) = all->on_stopped;
    all->on_stopped = NULL;
    on_stopped(all->on_stopped_argument);
}

void services_stop_all(struct services *all, void (*on_done)(void *argument), void *argument)
{
    all->stopping = true;
    services_drain(all);
    MAP_EACH(entry, &all->by_id)
    {
        struct service *s = entry->value;
        log_readers_wake(s->log, true);
        service_end(s, "shutdown", true);
    }
    LIST_EACH_SAFE(node, &all->retired)
    service_end(CONTAINER_OF(node, struct service, node), "shutdown", true);
    all->on_stopped = on_done;
    all->on_stopped_argument = argument;
    services_settle(all, NULL);
}

static void run_kill(struct service *s)
{
    struct run *run = &s->run;
    if (run->orchestration && run->stopping)
        run->orchestrator->stop(run->orchestration, 0);
}

void services_kill_all(struct services *all)
{
    MAP_EACH(entry, &all->by_id)
    {
        run_kill(entry->value);
    }
    LIST_EACH_SAFE(node, &all->retired)
    run_kill(CONTAINER_OF(node, struct service, node));
}

void services_free(struct services *all)
{
    if (!all)
        return;
    struct list *node;
    while ((node = list_pop_front(&all->retired)))
        service_forget(CONTAINER_OF(node, struct service, node));
    MAP_EACH(entry, &all->by_id)
    {
        service_forget(entry->value);
    }
    map_free(&all->by_id);
    pool_free(all->pool);
    mem_free(all);
}
