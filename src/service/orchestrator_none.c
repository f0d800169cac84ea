/* Services that somebody else runs: starting one is waiting until it answers. Control thread. */
#include "service/orchestrator.h"

#include "base/mem.h"
#include "loop/loop.h"

struct orchestration {
    struct loop *loop;
    struct timer timer; /* says on_started in the next turn */
    void *owner;
    const struct orchestration_events *events;
};

static void none_due(struct timer *timer)
{
    struct orchestration *o = CONTAINER_OF(timer, struct orchestration, timer);
    o->events->on_started(o->owner, 0);
}

static struct orchestration *none_start(struct services *all, const struct service_config *config,
                                        void *owner, const struct orchestration_events *events,
                                        struct error *error)
{
    struct orchestration *o = mem_alloc(sizeof *o);
    if (!o) {
        error_set(error, ERR_NOMEM, "out of memory");
        return NULL;
    }
    o->loop = services_loop(all);
    o->owner = owner;
    o->events = events;
    o->timer.on_due = none_due;
    timer_set(o->loop, &o->timer, loop_now(o->loop));
    return o;
}

static void none_free(struct orchestration *o)
{
    timer_remove(o->loop, &o->timer);
    mem_free(o);
}

const struct orchestrator orchestrator_none = {
    .name = "none", .is_built = true, .is_external = true, .start = none_start, .free = none_free};
