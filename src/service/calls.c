/*
 * What tasks ask the owner of a service: status, start, stop, its output. The questions run on the control
 * thread by loop_call; the answers are copied into the asker's arena, who waits meanwhile.
 */
#include "service/events.h"

/* ---- status ------------------------------------------------------------------------------------------ */

struct status_call {
    struct service *service;
    struct arena *arena;
    struct service_status *out;
};

static struct str last_line(const struct service *s, struct arena *arena)
{
    if (s->log->line_count == 0)
        return STR_NONE;
    struct log_ring_line line = log_ring_line_at(s->log, s->log->line_count - 1);
    return log_ring_text(s->log, &line, arena);
}

static void status_ask(void *argument)
{
    struct status_call *call = argument;
    struct service *s = service_current(call->service);
    uint64_t now = loop_now(s->control), last = atomic_load(&s->last_end);
    uint64_t in_flight = word_in_flight(word_read(&s->word));
    bool idles = s->state == SERVICE_HOT && in_flight == 0;
    *call->out = (struct service_status){
        .id = arena_str(call->arena, s->id),
        .machine_id = s->config->semaphore_machine_id.n
                          ? arena_str(call->arena, s->config->semaphore_machine_id)
                          : STR("local"),
        .last_error = arena_str(call->arena, str_from_c(s->last_error)),
        .has_last_error = s->last_error[0] != '\0',
        .state = s->state,
        .ready = s->state == SERVICE_HOT,
        .queue_pending = s->pending,
        .in_flight = in_flight,
        .idle_ms = idles && now > last ? (now - last) / CLOCK_MS : 0,
        .state_age_ms = (now - s->state_since) / CLOCK_MS,
        .retry_at_us = s->retry_at > now ? s->retry_at_wall_us : 0,
        .adopted = s->run.adopted,
        .last_log_line = last_line(s, call->arena),
    };
}

void service_status(struct task *t, struct service *s, struct arena *arena, struct service_status *out)
{
    struct status_call call = {.service = s, .arena = arena, .out = out};
    loop_call(t, s->control, status_ask, &call);
}

static void measure_ask(void *argument)
{
    struct services *all = argument;
    MAP_EACH(entry, &all->by_id)
    {
        struct service *s = entry->value;
        metric_gauge_set(all->control->metrics, METRIC_SERVICE_IN_FLIGHT, LABELS(s->label),
                         (int64_t)word_in_flight(word_read(&s->word)));
    }
}

void services_measure(struct task *t, struct service *any)
{
    loop_call(t, any->control, measure_ask, any->all);
}

/* ---- start and stop ---------------------------------------------------------------------------------- */

struct order {
    struct service *service;
    struct error *error;
    bool force;
    enum err err;
};

static enum err order_give(struct task *t, struct service *s, void (*fn)(void *), bool force,
                           struct error *error)
{
    struct order order = {.service = s, .error = error, .force = force};
    loop_call(t, s->control, fn, &order);
    return order.err;
}

static void start_order(void *argument)
{
    struct order *order = argument;
    struct service *s = service_current(order->service);
    order->err = service_refusal(s, order->error);
    if (order->err != OK)
        return;
    if (s->state == SERVICE_HOT) {
        order->err = error_set(order->error, ERR_CONFLICT, "Service is already running");
        return;
    }
    bool starts = s->state == SERVICE_STARTING || (s->state == SERVICE_STOPPING && s->start_claim);
    s->start_claim = true;
    if (starts)
        order->err = error_set(order->error, ERR_CONFLICT, "Service is already starting");
    else if (s->state == SERVICE_COLD)
        service_start_now(s);
}

enum err service_start(struct task *t, struct service *s, struct error *error)
{
    return order_give(t, s, start_order, false, error);
}

/* A start that is stopped on request has failed for those who wait: otherwise they would start it again. */
static void start_abort(struct service *s)
{
    struct error error;
    error_set(&error, ERR_START_FAILED, "the start of service %.*s was stopped on request", STR_ARG(s->id));
    s->start_claim = false;
    s->watch_until = 0;
    queue_fail(s, &error, 0, true);
    service_claim_gone(s);
}

static void stop_order(void *argument)
{
    struct order *order = argument;
    struct service *s = service_current(order->service);
    bool drains = s->state == SERVICE_STOPPING && !s->run.stopping && !s->predecessor_count;
    if (s->state == SERVICE_STARTING)
        start_abort(s);
    else if (s->state == SERVICE_HOT || (drains && order->force))
        service_end(s, "requested", order->force);
    else
        order->err = error_set(order->error, ERR_CONFLICT, "Service is not running");
}

enum err service_stop(struct task *t, struct service *s, bool force, struct error *error)
{
    return order_give(t, s, stop_order, force, error);
}

static void watch_order(void *argument)
{
    struct order *order = argument;
    struct service *s = service_current(order->service);
    int retry_after;
    order->err = service_refusal(s, order->error);
    if (order->err == OK && s->state != SERVICE_HOT)
        order->err = service_back_off(s, order->error, &retry_after);
    if (order->err != OK || s->state == SERVICE_HOT)
        return;
    s->watch_until = clock_after(loop_now(s->control), WATCH_CLAIM_MS);
    if (s->state == SERVICE_COLD)
        service_start_now(s);
    else
        service_arm(s);
}

enum err service_watch_start(struct task *t, struct service *s, struct error *error)
{
    return order_give(t, s, watch_order, false, error);
}

/* ---- output ------------------------------------------------------------------------------------------ */

struct logs_call {
    struct service *service;
    struct arena *arena;
    uint64_t offset;
    size_t tail;
    struct log_text *out;
};

static void logs_ask(void *argument)
{
    struct logs_call *call = argument;
    const struct log_ring *r = service_current(call->service)->log;
    struct log_text *out = call->out;
    size_t first =
        call->tail ? r->line_count - MIN(r->line_count, call->tail) : log_ring_find(r, call->offset);
    size_t count = r->line_count - first;
    *out = (struct log_text){.next = r->end};
    out->lines = count ? arena_alloc(call->arena, count * sizeof *out->lines) : NULL;
    for (size_t i = 0; out->lines && i < count; i++) {
        struct log_ring_line line = log_ring_line_at(r, first + i);
        struct str text = log_ring_text(r, &line, call->arena);
        if (!text.p)
            return;
        out->lines[out->count++] =
            (struct log_text_line){.offset = line.offset, .wall_us = line.wall_us, .text = text};
    }
}

void service_logs(struct task *t, struct service *s, struct arena *arena, uint64_t offset, size_t tail,
                  struct log_text *out)
{
    struct logs_call call = {.service = s, .arena = arena, .offset = offset, .tail = tail, .out = out};
    loop_call(t, s->control, logs_ask, &call);
}

struct log_reader {
    struct list node; /* in the ring's readers */
    struct service *service;
    struct reply reply;
    uint64_t offset;
    bool is_waiting; /* the answer comes as a reply */
    bool is_over;    /* the last line has been read */
    bool withdrawn;
};

/* `all`: also those who have seen everything, because there will be no more. */
void log_readers_wake(struct log_ring *r, bool all)
{
    LIST_EACH_SAFE(node, &r->readers)
    {
        struct log_reader *reader = CONTAINER_OF(node, struct log_reader, node);
        if (!all && reader->offset >= r->end)
            continue;
        list_remove(&reader->node);
        reply_send(&reader->reply);
    }
}

static void reader_enter(void *argument)
{
    struct log_reader *reader = argument;
    struct service *s = service_current(reader->service);
    if (reader->offset < s->log->end)
        return;
    reader->is_over = s->retired || s->all->stopping;
    reader->is_waiting = !reader->is_over;
    if (reader->is_waiting)
        list_push_back(&s->log->readers, &reader->node);
}

static void reader_withdraw(void *argument)
{
    struct log_reader *reader = argument;
    reader->withdrawn = list_linked(&reader->node);
    list_remove(&reader->node);
}

enum err service_logs_wait(struct task *t, struct service *s, uint64_t offset, uint64_t deadline)
{
    struct log_reader reader = {.service = s, .offset = offset};
    reply_init(&reader.reply, t);
    loop_call(t, s->control, reader_enter, &reader);
    enum err err = OK;
    while (reader.is_waiting && !reader.reply.done && err == OK)
        err = task_park(t, deadline);
    if (reader.is_over)
        return ERR_END;
    if (!reader.is_waiting || reader.reply.done)
        return OK;
    loop_call(t, s->control, reader_withdraw, &reader);
    while (!reader.withdrawn && !reader.reply.done) {
        enum err ignored = task_park_shielded(t, CLOCK_NEVER);
        (void)ignored;
    }
    return reader.withdrawn ? err : OK;
}
