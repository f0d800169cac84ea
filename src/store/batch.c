/*
 * From the journal into the database: settled records in batches, each one transaction, so that a record's
 * row in the list and its share of every sum are there together or not at all. The journal is told
 * afterwards. A crash in between, or a commit that says it failed and did not, brings the same records again:
 * what can have been written already is looked up then (known.c), so that it does not count twice. The
 * store's thread.
 */
#include "store/inside.h"

#include "base/log.h"
#include "base/mem.h"

enum { MIXES_MAX = 4000 };

struct batch {
    struct store *store;
    size_t rows, skipped; /* given; of them known already */
    uint64_t boot;
    int64_t oldest_us; /* the earliest admission in it */
    enum err err;      /* the first: nothing is tried in a transaction that has failed */
};

/* ---- rows ---------------------------------------------------------------------------------------------- */

/* Nobody answered: then it is in no provider's and no model's sums. */
static enum err sums_add(struct store *s, const struct request_row *row, const struct page_names *names)
{
    struct rollup_names of = {.client = names->of[NAME_CLIENT],
                              .strategy = names->of[NAME_STRATEGY],
                              .provider = names->of[NAME_PROVIDER]};
    if (of.provider)
        TRY(name_pair(s, row->state.provider, row->state.model, of.provider, names->of[NAME_SENT_MODEL],
                      &of.model));
    TRY(rollup_add(&s->rollup, &of, row));
    return rollup_count(&s->rollup) > MIXES_MAX ? usage_write(s) : OK;
}

static enum err row_add(struct batch *b, const struct request_row *row)
{
    struct store *s = b->store;
    struct page_names names;
    int64_t boot;
    TRY(boot_id(s, row->boot, &boot));
    if (UNLIKELY(s->known.count) && known_has(&s->known, boot, row)) {
        b->skipped++;
        return OK;
    }
    TRY(pages_add(s, row, boot, &names));
    return sums_add(s, row, &names);
}

static enum err batch_row(void *argument, const struct request_row *row)
{
    struct batch *b = argument;
    b->boot = row->boot;
    b->oldest_us = MIN(b->oldest_us, row->open.at_us);
    if (b->err == OK)
        b->err = row_add(b, row);
    b->rows++;
    return b->err;
}

static void batch_undo(struct store *s)
{
    db_rollback(s->db);
    rollup_clear(&s->rollup);
    names_forget(&s->names);
    pages_forget(&s->pages);
}

/* ---- a commit in doubt --------------------------------------------------------------------------------- */

/* The number of the last batch that is in, written with it. */
static enum err number_read(struct store *s, int64_t *number)
{
    CLEANUP(query_end)
    struct query q = query_make(s->db, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'batch'");
    *number = query_step(&q) ? query_get_i64(&q) : 0;
    return query_err(&q);
}

/* The last batch failed. If it is in all the same, its records will come again. */
static enum err doubt_settle(struct store *s)
{
    int64_t number, boot;
    TRY(number_read(s, &number));
    if (number == s->doubt.number) {
        TRY(boot_id(s, s->doubt.boot, &boot));
        TRY(known_load(s, boot, s->doubt.oldest_us));
        s->known.awaited += s->doubt.rows;
    }
    s->batch_number = number;
    s->doubt.number = 0;
    return OK;
}

/* ---- batches ------------------------------------------------------------------------------------------- */

static enum err batch_begin(struct store *s)
{
    TRY(db_begin(s->db));
    names_begin(&s->names);
    if (UNLIKELY(s->batch_number < 0))
        TRY(number_read(s, &s->batch_number));
    return s->doubt.number ? doubt_settle(s) : OK;
}

static enum err batch_commit(struct store *s)
{
    TRY(pages_write(s));
    TRY(usage_write(s));
    TRY(meta_set(s, "batch", s->batch_number + 1));
    TRY(db_commit(s->db));
    s->batch_number++;
    return OK;
}

/* In doubt only if it came to its commit; but to ask costs nothing. */
static void batch_doubt(struct store *s, const struct batch *b)
{
    if (b->rows)
        s->doubt = (struct doubt){.number = s->batch_number + 1,
                                  .boot = b->boot,
                                  .oldest_us = b->oldest_us,
                                  .rows = b->rows - b->skipped};
}

/* When all that can come again has come, nothing needs to be looked up any more. */
static void batch_done(struct store *s, const struct batch *b)
{
    journal_set_mark(s->journals);
    s->known.awaited -= MIN(s->known.awaited, b->skipped);
    if (UNLIKELY(s->known.count) && !s->known.awaited)
        known_clear(&s->known);
}

enum err batch_write(struct store *s)
{
    struct batch b = {.store = s, .oldest_us = INT64_MAX};
    enum err err = batch_begin(s);
    if (err == OK)
        err = journal_set_scan(s->journals, BATCH_ROWS, batch_row, &b);
    err = b.err != OK ? b.err : err;
    if (err == OK)
        err = batch_commit(s);
    if (err == OK) {
        batch_done(s, &b);
        return OK;
    }
    batch_doubt(s, &b);
    batch_undo(s);
    return err;
}

/* Only what is settled now: writers that go on settling cannot hold it up. */
enum err batch_write_all(struct store *s)
{
    for (size_t left = journal_set_pending(s->journals); left; left -= MIN(left, (size_t)BATCH_ROWS))
        TRY(batch_write(s));
    return OK;
}

/* ---- what earlier runs left ---------------------------------------------------------------------------- */

/* Each run that has records in the journal, with its earliest. */
struct run {
    uint64_t boot;
    int64_t oldest_us;
};
struct runs {
    struct run *list;
    size_t count;
};

static void runs_free(struct runs *r)
{
    mem_free(r->list);
}

static enum err run_note(void *argument, const struct request_row *row)
{
    struct runs *r = argument;
    for (size_t i = r->count; i-- > 0;)
        if (r->list[i].boot == row->boot) {
            r->list[i].oldest_us = MIN(r->list[i].oldest_us, row->open.at_us);
            return OK;
        }
    struct run *list = mem_resize(r->list, (r->count + 1) * sizeof *list);
    if (!list)
        return ERR_NOMEM;
    r->list = list;
    list[r->count++] = (struct run){row->boot, row->open.at_us};
    return OK;
}

static enum err runs_load(struct store *s, const struct runs *runs, struct error *error)
{
    int64_t boot;
    for (size_t i = 0; i < runs->count; i++) {
        enum err err = boot_find(s, runs->list[i].boot, &boot);
        if (err == OK && boot >= 0)
            err = known_load(s, boot, runs->list[i].oldest_us);
        if (err != OK)
            return store_fail(s, err, error);
    }
    return OK;
}

static enum err replay_write(struct store *s, struct batch *b, size_t *damaged, struct error *error)
{
    enum err err = batch_begin(s);
    if (err == OK) {
        err = journal_set_replay(s->journals, batch_row, b, damaged, error);
        if (b->err == OK && err != OK) { /* the journal's own, with its reason */
            batch_undo(s);
            return err;
        }
        err = b->err == OK ? batch_commit(s) : b->err;
    }
    if (err == OK)
        return OK;
    store_fail(s, err, error);
    batch_undo(s);
    return err;
}

static enum err replay(struct store *s, struct batch *b, size_t *damaged, struct error *error)
{
    CLEANUP(runs_free) struct runs runs = {0};
    TRY(journal_set_replay(s->journals, run_note, &runs, damaged, error));
    if (!runs.count)
        return OK;
    TRY(runs_load(s, &runs, error));
    enum err err = replay_write(s, b, damaged, error);
    known_clear(&s->known);
    return err;
}

enum err batch_replay(struct store *s, struct error *error)
{
    struct batch b = {.store = s, .oldest_us = INT64_MAX};
    size_t damaged = 0;
    /* What is replayed leaves the journal at once: it must be on the disk before. */
    enum err err = db_set_durable(s->db, true);
    if (err != OK)
        return store_fail(s, err, error);
    TRY(replay(s, &b, &damaged, error));
    journal_set_forget_old(s->journals);
    if (damaged)
        log_event(LOG_WARNING, "journal_damaged", "%zu damaged parts of the journal were left out", damaged);
    if (b.rows)
        log_event(LOG_INFO, "journal_replayed", "%zu accounts of an earlier run came from the journal",
                  b.rows);
    err = db_set_durable(s->db, false);
    return err == OK ? OK : store_fail(s, err, error);
}
