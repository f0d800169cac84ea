/*
 * Changes, one after the other: a task on the control loop drafts each, has it written, puts it in place and
 * waits until every worker has it. books_change may be called from any loop; the rest is the control
 * thread's.
 */
#include "strategy/book_inside.h"

/* ---- writing ----------------------------------------------------------------------------------------- */

static struct store_row stored_row(const struct draft_row *change)
{
    const struct book_row *r = change->row;
    bool is_deleted = change->verb == DRAFT_DELETE;
    return (struct store_row){.table = r->table,
                              .id = r->id,
                              .definition = r->text,
                              .revision = r->revision + is_deleted, /* its end is a change, too */
                              .created_us = r->created_us,
                              .updated_us = r->updated_us,
                              .is_deleted = is_deleted};
}

static enum err draft_write(struct task *t, struct draft *d)
{
    struct store *store = d->all->store;
    if (!store)
        return OK;
    struct store_row *rows = arena_alloc(&d->arena, d->count * sizeof *rows);
    struct store_audit *audit = arena_alloc(&d->arena, d->count * sizeof *audit);
    if (!rows || !audit)
        return error_set(d->error, ERR_NOMEM, "no memory for a change");
    for (size_t i = 0; i < d->count; i++)
        rows[i] = stored_row(&d->rows[i]);
    draft_audit(d, audit);
    return store_write(t, store, rows, d->count, audit, d->count, d->error);
}

static struct error *scratch_error(struct error *error)
{
    *error = (struct error){0};
    return error;
}

/* The rows that start or reload had to make: as a draft whose author is the gateway itself. */
bool books_save(struct task *t, struct books *all)
{
    struct error error;
    struct book_change change = {.actor = STR("start")};
    struct draft d CLEANUP(draft_free) = {
        .all = all, .change = &change, .error = scratch_error(&error), .now_us = clock_wall_us()};
    enum err err = OK;
    all->has_unsaved = false; /* a reload during the write may set it again */
    for (size_t table = 0; table < COUNT_OF(all->of); table++)
        for (size_t i = 0; i < all->of[table].count && err == OK; i++) {
            struct book_row *row = all->of[table].items[i];
            bool is_new = row->created_us == row->updated_us;
            if (row->is_unsaved)
                err = draft_add(&d, row_ref(row), is_new ? DRAFT_CREATE : DRAFT_UPDATE);
        }
    if (err == OK && d.count)
        err = draft_write(t, &d);
    if (err != OK) {
        log_event(LOG_ERROR, "books_not_written", "Clients and strategies could not be written: %s",
                  error_text(&error));
        all->has_unsaved = true;
        return false;
    }
    for (size_t i = 0; i < d.count; i++)
        d.rows[i].row->is_unsaved = false;
    draft_log(&d);
    return true;
}

/* ---- putting in place -------------------------------------------------------------------------------- */

/* There is room, and what is written must not be refused any more. */
static void draft_apply(const struct draft *d)
{
    for (size_t i = 0; i < d->count; i++) {
        struct book_row *r = d->rows[i].row;
        if (d->rows[i].verb == DRAFT_DELETE) {
            books_bury(d->all, r->table, r->id, r->revision + 1);
            rows_remove(&d->all->of[r->table], r->id);
        } else {
            rows_put(&d->all->of[r->table], row_ref(r));
        }
    }
}

/* One more: a reload during the write may add `default`. */
static enum err rooms_make(struct draft *d)
{
    for (size_t i = 0; i < COUNT_OF(d->all->of); i++)
        if (rows_reserve(&d->all->of[i], d->count + 1) != OK)
            return error_set(d->error, ERR_NOMEM, "no memory for a change");
    return OK;
}

static void published(void *argument)
{
    reply_send(argument);
}

/* Until every worker has the new book. */
static void publish(struct task *t, struct books *all)
{
    struct reply reply;
    if (!all->publisher.publish)
        return;
    reply_init(&reply, t);
    all->publisher.publish(all->publisher.argument, published, &reply);
    while (!reply.done) {
        enum err ignored = task_park_shielded(t, CLOCK_NEVER);
        (void)ignored;
    }
}

/* The configuration may be another one after the write: the book is made of the newest of both. */
static enum err draft_commit(struct task *t, struct draft *d)
{
    struct books *all = d->all;
    TRY(rooms_make(d));
    TRY(draft_write(t, d));
    draft_apply(d);
    if (books_rebuild(all, all->current->config) != OK)
        return error_set(d->error, ERR_NOMEM, "the change is written, but memory is too short to use it");
    draft_log(d);
    publish(t, all);
    return OK;
}

static enum err carry_out(struct task *t, struct book_request *r)
{
    struct draft d CLEANUP(draft_free) = {.all = r->all,
                                          .seen = r->all->current,
                                          .change = r->change,
                                          .result = r->result,
                                          .keep = r->arena,
                                          .error = scratch_error(r->error),
                                          .now_us = clock_wall_us()};
    *r->result = (struct book_result){0};
    enum err err = draft_fill(&d);
    if (err == OK && d.count)
        err = draft_commit(t, &d);
    if (err != OK)
        explicit_bzero(r->result, sizeof *r->result);
    return err;
}

/* ---- the queue --------------------------------------------------------------------------------------- */

static void run(struct task *t, void *argument)
{
    struct books *all = argument;
    bool can_save = true;
    struct list *node;
    do {
        if (all->has_unsaved && can_save)
            can_save = books_save(t, all);
        node = list_pop_front(&all->requests);
        if (node) {
            struct book_request *r = CONTAINER_OF(node, struct book_request, node);
            r->err = carry_out(t, r);
            reply_send(&r->reply); /* and r is gone */
        }
    } while (node || (all->has_unsaved && can_save));
    all->is_running = false;
}

static void refuse_all(struct books *all)
{
    struct list *node;
    while ((node = list_pop_front(&all->requests))) {
        struct book_request *r = CONTAINER_OF(node, struct book_request, node);
        r->err = error_set(r->error, ERR_NOMEM, "no memory for a change");
        reply_send(&r->reply);
    }
}

void books_wake(struct books *all)
{
    if (all->is_running || (list_empty(&all->requests) && !all->has_unsaved))
        return;
    if (task_spawn(all->control, run, all))
        all->is_running = true;
    else
        refuse_all(all);
}

static void request_arrived(struct message *m)
{
    struct book_request *r = CONTAINER_OF(m, struct book_request, message);
    list_push_back(&r->all->requests, &r->node);
    books_wake(r->all);
}

enum err books_change(struct task *t, struct books *all, const struct book_change *change,
                      struct arena *arena, struct book_result *result, struct error *error)
{
    struct book_request r = {.message.on_arrival = request_arrived,
                             .all = all,
                             .change = change,
                             .arena = arena,
                             .result = result,
                             .error = error};
    reply_init(&r.reply, t);
    loop_post(all->control, &r.message);
    while (!r.reply.done) {
        /* Deaf to cancellation: the request lies on this stack, and a change that has begun is finished. */
        enum err ignored = task_park_shielded(t, CLOCK_NEVER);
        (void)ignored;
    }
    return r.err;
}
