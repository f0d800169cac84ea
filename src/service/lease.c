/*
 * Leases: the right to send one request to a service. The hot path is one compare-and-swap on the service's
 * word by the worker. Who finds it cold, full or contended becomes a waiter: it asks the control thread, and
 * waits in the service's queue, in order of arrival, until control gives it a place or a reason.
 *
 * A waiter lives on its task's stack. Control may use it from waiter_enter on until it has settled it (the
 * answer comes back as a reply) or has taken it from the queue in waiter_withdraw; the task stays until one
 * of the two has happened.
 */
#include "service/events.h"

/* ---- control: the queue ------------------------------------------------------------------------------ */

static void waiter_unlink(struct waiter *w)
{
    if (!list_linked(&w->node))
        return;
    list_remove(&w->node);
    w->service->pending--;
}

static void waiter_settle(struct waiter *w, enum err err)
{
    w->err = err;
    waiter_unlink(w);
    if (w->queued)
        reply_send(&w->reply); /* w belongs to its task again */
}

static void waiter_fail(struct waiter *w, const struct error *error, int retry_after)
{
    w->error = *error;
    w->retry_after = retry_after;
    waiter_settle(w, error->err);
}

static bool waiter_admit(struct waiter *w)
{
    struct service *s = w->service;
    if (!word_enter(&s->word, SERVICE_HOT, WORD_CLOSED))
        return false;
    w->places = atomic_load_explicit(&s->places, memory_order_acquire);
    return true;
}

static void waiter_release(struct waiter *w)
{
    struct service *s = w->service;
    list_remove(&w->node);
    s->pending--;
    event_dequeued(s, w->request_id, loop_now(s->control) - w->since);
    waiter_settle(w, OK);
}

/* A service that has just started gets its queue by slow start, not as one burst: many small servers listen
   with a backlog of five, and the connections beyond it would wait for TCP's retransmissions. Each answer
   lets the next one out, and the window doubles with time, so that servers of long requests soon have them
   all. */
enum { RAMP_START = 4, RAMP_MS = 50 };

void queue_ramp_begin(struct service *s)
{
    s->ramp = RAMP_START;
    if (!list_empty(&s->queue)) /* before it is hot: who comes now stands behind */
        word_set_flags(&s->word, WORD_WATCHED);
    timer_set(s->control, &s->ramp_timer, clock_after(loop_now(s->control), RAMP_MS));
}

void queue_ramp_due(struct timer *timer)
{
    struct service *s = CONTAINER_OF(timer, struct service, ramp_timer);
    if (s->state != SERVICE_HOT || s->ramp == WORD_COUNT_MAX)
        return;
    s->ramp *= 2;
    timer_set(s->control, timer, clock_after(loop_now(s->control), RAMP_MS));
    queue_release(s);
}

void queue_release(struct service *s)
{
    /* The flag before the attempt: a slot given back after a failed attempt is then told to us. */
    if (!list_empty(&s->queue))
        word_set_flags(&s->word, WORD_WATCHED);
    while (!list_empty(&s->queue)) {
        struct waiter *w = CONTAINER_OF(s->queue.next, struct waiter, node);
        if (word_in_flight(word_read(&s->word)) >= s->ramp || !waiter_admit(w))
            break;
        waiter_release(w);
    }
    if (s->state == SERVICE_HOT && list_empty(&s->queue))
        s->ramp = WORD_COUNT_MAX; /* the first rush is over */
    if (s->state == SERVICE_HOT && !s->retired && list_empty(&s->queue))
        word_clear_flags(&s->word, WORD_WATCHED);
}

void queue_fail(struct service *s, const struct error *error, int retry_after, bool wakers_too)
{
    LIST_EACH_SAFE(node, &s->queue)
    {
        struct waiter *w = CONTAINER_OF(node, struct waiter, node);
        if (wakers_too || !w->wake)
            waiter_fail(w, error, retry_after);
    }
    event_queue_size(s);
}

/* In front of nobody: the successor is new, or these came before what it has. */
void queue_move(struct service *from, struct service *to)
{
    struct list *node;
    while ((node = list_pop_front(&from->queue))) {
        struct waiter *w = CONTAINER_OF(node, struct waiter, node);
        w->service = to;
        list_push_back(&to->queue, node);
        from->pending--;
        to->pending++;
    }
    event_queue_size(to);
}

void slot_freed(struct message *m)
{
    struct service *s = CONTAINER_OF(m, struct service, slot_message);
    uint64_t w = word_clear_flags(&s->word, WORD_POSTED);
    if (s->state == SERVICE_HOT)
        queue_release(s);
    else if (s->state == SERVICE_STOPPING && !s->run.stopping && word_in_flight(w) == 0)
        service_end(s, s->run.stop_reason, true);
    services_settle(s->all, s);
}

static enum err queue_refusal(struct service *s, struct waiter *w)
{
    TRY(service_refusal(s, &w->error));
    if (s->state != SERVICE_HOT && !w->wake)
        return error_set(&w->error, ERR_SERVICE_COLD, "%s", "");
    TRY(service_back_off(s, &w->error, &w->retry_after));
    if (s->pending >= s->config->queue_size)
        return error_set(&w->error, ERR_QUEUE_FULL, "%s", "");
    return OK;
}

static void waiter_enter(void *argument)
{
    struct waiter *w = argument;
    struct service *s = w->service = service_current(w->service);
    if (list_empty(&s->queue) && waiter_admit(w)) {
        w->err = OK;
        return;
    }
    w->err = queue_refusal(s, w);
    if (w->err != OK)
        return;
    w->queued = true;
    w->since = loop_now(s->control);
    list_push_back(&s->queue, &w->node);
    s->pending++;
    event_queued(s, w->request_id);
    if (s->state == SERVICE_HOT)
        queue_release(s); /* a slot may have become free since */
    else if (s->state == SERVICE_COLD && s->retry_at <= loop_now(s->control))
        service_start_now(s);
}

/* What it waited for in vain; of a start, what is known of it so far. */
static void timeout_explain(struct service *s, struct error *error)
{
    const char *start = err_row(ERR_QUEUE_TIMEOUT)->text;
    const char *reason = s->state == SERVICE_COLD ? s->last_error
                         : s->run.probe           ? probe_reason(s->run.probe)
                                                  : "";
    if (s->state == SERVICE_HOT)
        error_set(error, ERR_QUEUE_TIMEOUT, "Request timeout waiting for a free slot of service %.*s",
                  STR_ARG(s->id));
    else
        error_set(error, ERR_QUEUE_TIMEOUT, "%s%s%s", start, *reason ? ": " : "", reason);
    if (s->state == SERVICE_STARTING)
        service_quote_output(s, error->why, sizeof error->why);
}

static void waiter_time_out(struct waiter *w)
{
    struct service *s = w->service;
    timeout_explain(s, &w->error);
    /* The start ends with its last waiter: nobody else will be told why it was not ready. */
    if (s->state == SERVICE_STARTING && !service_has_claim(s))
        str_to_c(str_from_c(w->error.why), s->last_error, sizeof s->last_error);
    event_queue_timeout(s, w->request_id, loop_now(s->control) - w->since);
}

static void waiter_withdraw(void *argument)
{
    struct waiter *w = argument;
    struct service *s = w->service;
    if (!list_linked(&w->node))
        return; /* settled: the answer is on its way */
    waiter_unlink(w);
    w->withdrawn = true;
    error_set(&w->error, w->why_withdrawn, "%s", "");
    if (w->why_withdrawn == ERR_QUEUE_TIMEOUT)
        waiter_time_out(w);
    event_queue_size(s);
    if (s->state == SERVICE_HOT)
        queue_release(s);
    else
        service_claim_gone(s);
}

/* ---- workers ----------------------------------------------------------------------------------------- */

static void place_give_back(struct service *s)
{
    if (word_leave(&s->word))
        loop_post(s->control, &s->slot_message);
}

static void lease_fill(struct lease *lease, struct service *s, struct placement *places, bool wake)
{
    lease->service = s;
    lease->places = places;
    lease->is_monitor = !wake;
}

/* Until control has answered, or the wait has no sense any more: OK, ERR_QUEUE_TIMEOUT, ERR_CANCELLED. */
static enum err answer_await(struct task *t, struct waiter *w, const struct lease_options *o,
                             uint64_t deadline)
{
    uint64_t tick = o->tick_ms ? task_deadline(t, o->tick_ms) : CLOCK_NEVER;
    while (!w->reply.done) {
        /* Before the first wait too: the client may have left while we asked. */
        if (o->client && conn_is_abandoned(o->client))
            return ERR_CANCELLED;
        enum err err = task_park(t, MIN(deadline, tick));
        if (w->reply.done)
            break;
        if (err == ERR_CANCELLED)
            return ERR_CANCELLED;
        if (task_now(t) >= deadline)
            return ERR_QUEUE_TIMEOUT;
        if (task_now(t) >= tick) {
            TRY(o->on_wait(t, o->on_wait_argument));
            tick = task_deadline(t, o->tick_ms);
        }
    }
    return OK;
}

/* Leaves the queue. When the answer was faster, it counts; only a client that has gone wants it no more. */
static enum err waiter_leave(struct task *t, struct waiter *w, enum err why)
{
    w->why_withdrawn = why;
    loop_call(t, w->control, waiter_withdraw, w);
    while (!w->withdrawn && !w->reply.done) {
        enum err ignored = task_park_shielded(t, CLOCK_NEVER);
        (void)ignored;
    }
    return w->withdrawn ? why : OK;
}

static enum err waiter_wait(struct task *t, struct waiter *w, const struct lease_options *options,
                            uint64_t deadline)
{
    enum err err = answer_await(t, w, options, deadline);
    if (err != OK && waiter_leave(t, w, err) != OK)
        return err;
    if (err == ERR_CANCELLED && w->err == OK) {
        place_give_back(w->service);
        return error_set(&w->error, err, "%s", "");
    }
    return w->err;
}

static uint64_t deadline_of(const struct task *t, const struct service_config *config,
                            const struct lease_options *options)
{
    uint64_t deadline = task_deadline(t, config->request_timeout_ms);
    return options->deadline ? MIN(options->deadline, deadline) : deadline;
}

static enum err lease_wait(struct task *t, struct service *s, const struct service_config *config,
                           const struct lease_options *options, struct lease *lease, int *retry_after,
                           struct error *error)
{
    uint64_t begun = task_now(t);
    struct waiter w = {
        .service = s, .control = s->control, .request_id = options->request_id, .wake = options->wake};
    reply_init(&w.reply, t);
    loop_call(t, s->control, waiter_enter, &w);
    enum err err = w.queued ? waiter_wait(t, &w, options, deadline_of(t, config, options)) : w.err;
    lease->waited = w.queued;
    lease->queued_ns = w.queued ? task_now(t) - begun : 0;
    *retry_after = w.retry_after;
    if (err != OK) {
        *error = w.error;
        return err;
    }
    lease_fill(lease, w.service, w.places, options->wake);
    return OK;
}

bool service_lease_now(struct service *s, bool wake, struct lease *lease)
{
    if (UNLIKELY(!word_enter(&s->word, SERVICE_HOT, WORD_WATCHED | WORD_CLOSED)))
        return false;
    lease_fill(lease, s, atomic_load_explicit(&s->places, memory_order_acquire), wake);
    return true;
}

enum err service_lease(struct task *t, struct service *s, const struct service_config *config,
                       const struct lease_options *options, struct lease *lease, int *retry_after,
                       struct error *error)
{
    *lease = (struct lease){0};
    *retry_after = 0;
    if (service_lease_now(s, options->wake, lease))
        return OK;
    return lease_wait(t, s, config, options, lease, retry_after, error);
}

void lease_release(struct lease *lease, struct loop *l)
{
    struct service *s = lease->service;
    if (!s)
        return;
    lease->service = NULL;
    /* Before the step that may let it go idle. Monitors keep nothing awake. */
    if (!lease->is_monitor)
        atomic_store_explicit(&s->last_end, loop_now(l), memory_order_relaxed);
    place_give_back(s);
}

bool lease_pick(const struct lease *lease, uint64_t tried, struct target_place *place)
{
    size_t index;
    if (!placement_pick(lease->places, tried, &index))
        return false;
    const struct place *p = &lease->places->list[index];
    *place = (struct target_place){.origin = p->origin, .url = &p->url, .instance = (uint32_t)index};
    return true;
}

void lease_report(const struct lease *lease, const struct target_place *place, bool ok)
{
    struct service *s = lease->service;
    placement_report(lease->places, place->instance, ok);
    if (!ok && atomic_load_explicit(&s->is_foreign, memory_order_relaxed) &&
        !atomic_exchange(&s->suspected, true))
        loop_post(s->control, &s->suspect_message);
}
