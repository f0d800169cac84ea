/* Is it ready? Probe tasks on the control loop. See readiness.h. */
#include "service/readiness.h"

#include "base/mem.h"
#include "service/events.h"

#include <stdio.h>

enum {
    FAST_MS = 5000, /* so long the pause stays the first one */
    PAUSE_LOCAL_MS = 20,
    PAUSE_REMOTE_MS = 100,
    PAUSE_MAX_MS = 1000,
    ATTEMPT_MS = 2000,       /* in the fast phase */
    ATTEMPT_SLOW_MS = 10000, /* later */
    HEALTH_BODY_MAX = 64 << 10,
};

struct probe {
    struct arena arena;
    struct services *all;
    struct service *owner; /* NULL = cancelled */
    struct task *task;
    probe_done_fn *on_done;
    struct probe_plan plan; /* without places */
    const struct origin **origins;
    size_t origin_count;
    struct str target, host_field; /* target.n == 0: connecting is enough */
    uint64_t started, pause_ms;
    struct error error; /* of the last attempt */
    char news[sizeof((struct error *)0)->why];
};

uint64_t probe_pause_ms(uint64_t last_ms, uint64_t elapsed_ms, bool is_local)
{
    uint64_t first = is_local ? PAUSE_LOCAL_MS : PAUSE_REMOTE_MS;
    if (last_ms == 0 || elapsed_ms < FAST_MS)
        return first;
    return MIN(last_ms + (last_ms + 1) / 2, (uint64_t)PAUSE_MAX_MS);
}

/* ---- one attempt ------------------------------------------------------------------------------------- */

static enum err attempt_http(struct task *t, struct probe *p, uint64_t deadline)
{
    struct fetch f CLEANUP(fetch_free) = {
        .method = METHOD_GET,
        .origin = p->origins[0],
        .target = p->target,
        .host_field = p->host_field,
        .fields = STR("Accept: */*\r\n"),
        .response = BUF(HEALTH_BODY_MAX),
    };
    enum err err = fetch_run(t, p->all->pool, &f, deadline, &p->error);
    /* A health page may be longer than we care to read: its head said all. */
    if (err != ERR_CANCELLED && f.response.err == ERR_LIMIT)
        err = OK;
    if (err != OK)
        return err;
    if (f.status >= 200 && f.status < 300)
        return OK;
    enum err kind = f.status >= 500 ? ERR_UPSTREAM_UNREACHABLE : ERR_UPSTREAM_PROTOCOL;
    return error_set(&p->error, kind, "the health check %.*s%.*s answered %d%s", STR_ARG(p->origins[0]->name),
                     STR_ARG(p->target), f.status, f.status == 503 ? " (loading)" : "");
}

/* Any of the origins that takes a connection will do. Each gets its share of the time that is left: one that
   does not answer at all must not hide the others. */
static enum err attempt_connect(struct task *t, struct probe *p, uint64_t deadline)
{
    enum err err = ERR_UPSTREAM_UNREACHABLE;
    for (size_t i = 0; i < p->origin_count; i++) {
        uint64_t now = clock_now(), left = deadline > now ? deadline - now : 0;
        uint64_t share = now + left / (p->origin_count - i);
        err = upstream_try(t, p->all->pool, p->origins[i], share, &p->error);
        if (err == OK || err == ERR_CANCELLED)
            return err;
    }
    return err;
}

static enum err attempt(struct task *t, struct probe *p)
{
    uint64_t begun = clock_now();
    bool early = begun - p->started < FAST_MS * CLOCK_MS;
    uint64_t ms = p->plan.attempt_ms ? p->plan.attempt_ms : early ? ATTEMPT_MS : ATTEMPT_SLOW_MS;
    p->error = (struct error){0};
    enum err err =
        p->target.n ? attempt_http(t, p, task_deadline(t, ms)) : attempt_connect(t, p, task_deadline(t, ms));
    if (!p->owner)
        return ERR_CANCELLED;
    p->error.err = err;
    if (err == OK)
        p->error.why[0] = '\0';
    const char *why = err == OK ? "" : error_text(&p->error);
    bool is_news = strcmp(why, p->news) != 0;
    snprintf(p->news, sizeof p->news, "%s", why);
    event_health_check(p->owner, err == OK, is_news, clock_now() - begun, why);
    return err;
}

/* ---- the task ---------------------------------------------------------------------------------------- */

static enum err probe_run(struct task *t, struct probe *p)
{
    if (!p->origin_count)
        return task_sleep(t, p->plan.warmup_ms);
    for (;;) {
        enum err err = attempt(t, p);
        bool is_final = p->plan.once || (p->plan.stop_when_unreachable && err == ERR_UPSTREAM_UNREACHABLE);
        if (err == OK || err == ERR_CANCELLED || is_final)
            return err;
        p->pause_ms = probe_pause_ms(p->pause_ms, (task_now(t) - p->started) / CLOCK_MS, p->plan.is_local);
        TRY(task_sleep(t, p->pause_ms));
    }
}

static void probe_task(struct task *t, void *argument)
{
    struct probe *p = argument;
    struct services *all = p->all;
    enum err err = p->owner ? probe_run(t, p) : ERR_CANCELLED;
    p->error.err = err;
    if (p->owner)
        p->on_done(p->owner, &p->error);
    arena_free(&p->arena);
    mem_free(p);
    all->probe_count--;
    services_settle(all, NULL);
}

static bool origins_choose(struct probe *p, const struct placement *places)
{
    const struct place *one = places->has_health ? &places->health : NULL;
    size_t count = one ? 1 : places->count;
    p->origins = arena_alloc(&p->arena, count * sizeof *p->origins);
    if (!p->origins)
        return false;
    for (size_t i = 0; i < count; i++)
        p->origins[i] = one ? one->origin : places->list[i].origin;
    p->origin_count = count;
    if (!one)
        return true;
    p->target = arena_str(&p->arena, one->url.target);
    p->host_field = arena_str(&p->arena, one->url.host_field);
    return p->target.p && p->host_field.p;
}

static struct probe *probe_new(struct services *all, struct service *owner, const struct probe_plan *plan,
                               probe_done_fn *on_done)
{
    struct probe *p = mem_alloc(sizeof *p);
    if (!p)
        return NULL;
    p->all = all;
    p->owner = owner;
    p->on_done = on_done;
    p->plan = *plan;
    p->plan.places = NULL;
    p->started = loop_now(all->control);
    bool only_waits = !plan->places->has_health && plan->warmup_ms > 0 && !plan->once;
    if (only_waits || origins_choose(p, plan->places))
        return p;
    arena_free(&p->arena);
    mem_free(p);
    return NULL;
}

struct probe *probe_start(struct services *all, struct service *owner, const struct probe_plan *plan,
                          probe_done_fn *on_done)
{
    struct probe *p = probe_new(all, owner, plan, on_done);
    if (!p)
        return NULL;
    p->task = task_spawn(all->control, probe_task, p);
    if (p->task) {
        all->probe_count++;
        return p;
    }
    arena_free(&p->arena);
    mem_free(p);
    return NULL;
}

void probe_cancel(struct probe *p)
{
    if (!p)
        return;
    p->owner = NULL;
    task_cancel(p->task);
}

const char *probe_reason(const struct probe *p)
{
    return p->news;
}
