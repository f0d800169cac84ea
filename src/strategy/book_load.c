/* The registry at boot: the rows of the store, and what was used within the last day. Control thread. */
#include "strategy/book_inside.h"

enum { DAY_S = 86400 };

/* ---- rows -------------------------------------------------------------------------------------------- */

/* One that cannot be read any more must not keep the others from being served; it stays where it is. */
static void row_skip(struct books *all, const struct store_row *stored, const struct error *error)
{
    struct log_line l;
    books_bury(all, stored->table, stored->id, stored->revision);
    if (!log_begin(&l, LOG_ERROR, "book_row_unreadable", "A stored %s cannot be read and is left out: %s",
                   stored->table == STORE_CLIENTS ? "client" : "strategy", error_text(error)))
        return;
    json_key_str(&l.json, stored->table == STORE_CLIENTS ? "client_id" : "strategy_id", stored->id);
    log_end(&l);
}

/* Ids are unique in a table, so there is no search for each: a large store would feel it. */
static enum err row_take(struct books *all, const struct store_row *stored, struct error *error)
{
    struct book_rows *rows = &all->of[stored->table];
    if (stored->is_deleted) {
        books_bury(all, stored->table, stored->id, stored->revision);
        return OK;
    }
    if (rows_reserve(rows, 1) != OK)
        return error_set(error, ERR_NOMEM, "no memory for clients and strategies");
    struct book_row *row = row_load(stored, error);
    if (row)
        rows->items[rows->count++] = row;
    else if (error->err == ERR_NOMEM)
        return ERR_NOMEM;
    else
        row_skip(all, stored, error);
    return OK;
}

static enum err rows_take(struct books *all, struct error *error)
{
    struct arena arena CLEANUP(arena_free) = {.max = (size_t)1 << 30};
    struct store_row *rows = NULL;
    size_t count = 0;
    TRY(store_load(all->store, &arena, &rows, &count, error));
    for (size_t i = 0; i < count; i++)
        TRY(row_take(all, &rows[i], error));
    return OK;
}

static void save_main(struct task *t, void *argument)
{
    books_save(t, argument);
    loop_stop(t->loop);
}

/* Nobody's loop runs yet, so a loop of our own waits for the store. */
static enum err save_now(struct books *all)
{
    struct loop *l = all->has_unsaved ? loop_new() : NULL;
    if (!all->has_unsaved)
        return OK;
    struct task *t = l ? task_spawn(l, save_main, all) : NULL;
    if (t)
        loop_run(l);
    if (l)
        loop_free(l);
    return t ? OK : ERR_NOMEM;
}

/* ---- counters ---------------------------------------------------------------------------------------- */

struct replay {
    const struct book *book;
    int64_t wall_us;
    uint64_t now;
};

static void replay_one(void *argument, const struct usage_recent *u)
{
    const struct replay *r = argument;
    const struct book_strategy *s = book_strategy(r->book, u->strategy);
    if (!s)
        return;
    struct amounts used = {.of = {[LIMIT_REQUESTS] = u->requests,
                                  [LIMIT_INPUT_TOKENS] = u->input_tokens,
                                  [LIMIT_OUTPUT_TOKENS] = u->output_tokens,
                                  [LIMIT_TOTAL_TOKENS] = u->input_tokens + u->output_tokens,
                                  [LIMIT_COST] = u->cost}};
    int64_t age_us = MAX(r->wall_us - u->at_us, (int64_t)0); /* the clock may have been set back */
    limiter_replay(s->limiter, &used, (uint64_t)age_us * 1000, r->now);
}

static enum err counters_replay(const struct books *all, struct error *error)
{
    struct replay r = {.book = all->current, .wall_us = clock_wall_us(), .now = clock_now()};
    return store_recent(all->store, r.wall_us - (int64_t)DAY_S * 1000000, replay_one, &r, error);
}

/* ---- both -------------------------------------------------------------------------------------------- */

static enum err put_right(struct books *all, struct config *config)
{
    TRY(books_ensure_default(all, config));
    TRY(books_clear_parents(all, config));
    TRY(save_now(all));
    return books_rebuild(all, config);
}

enum err books_load(struct books *all, const struct config *config, struct error *error)
{
    if (all->store)
        TRY(rows_take(all, error));
    /* The book takes a reference, for which it is not constant. */
    enum err err = put_right(all, (struct config *)(uintptr_t)config);
    if (err != OK)
        return error_set(error, err, "no memory for clients and strategies");
    return all->store ? counters_replay(all, error) : OK;
}
