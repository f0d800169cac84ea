/*
 * From the journal into the database: settled records in batches, each one transaction, so that a record's
 * row in the list and its share of every sum are there together or not at all. The journal is told
 * afterwards; a crash in between only brings the same records again, and the list's key keeps them from
 * counting twice. The store's thread.
 */
#include "store/inside.h"

#include "base/log.h"

enum { CELLS_MAX = 20000 };

struct batch {
    struct store *store;
    size_t rows;
    enum err err; /* the first: nothing is tried in a transaction that has failed */
};

static enum err tier_add(struct store *s, enum usage_tier tier, struct str name,
                         const struct request_row *row)
{
    int64_t id;
    if (!name.n)
        return OK;
    TRY(name_id(s, name, &id));
    return rollup_add(&s->rollup, tier, id, row);
}

/* Nobody answered: then it is in no provider's and no model's sums. */
static enum err provider_add(struct store *s, const struct request_row *row)
{
    char name[2 * ENTRY_TEXT_MAX + 1];
    struct str provider = str_first(row->state.provider, ENTRY_TEXT_MAX);
    struct str model = str_first(row->state.model, ENTRY_TEXT_MAX);
    if (!provider.n)
        return OK;
    TRY(tier_add(s, TIER_PROVIDER, provider, row));
    memcpy(name, provider.p, provider.n);
    name[provider.n] = '/';
    if (model.n)
        memcpy(name + provider.n + 1, model.p, model.n);
    return tier_add(s, TIER_MODEL, str_make(name, provider.n + 1 + model.n), row);
}

static enum err row_add(struct store *s, const struct request_row *row)
{
    bool is_new;
    TRY(request_insert(s, row, &is_new));
    if (!is_new)
        return OK;
    TRY(rollup_add(&s->rollup, TIER_GLOBAL, 0, row));
    TRY(tier_add(s, TIER_CLIENT, row->open.client, row));
    TRY(tier_add(s, TIER_STRATEGY, row->open.strategy, row));
    TRY(provider_add(s, row));
    return rollup_count(&s->rollup) > CELLS_MAX ? usage_write(s) : OK;
}

static enum err batch_row(void *argument, const struct request_row *row)
{
    struct batch *b = argument;
    if (b->err == OK)
        b->err = row_add(b->store, row);
    b->rows++;
    return b->err;
}

static enum err batch_commit(struct store *s)
{
    TRY(usage_write(s));
    return db_commit(s->db);
}

static void batch_undo(struct store *s)
{
    db_rollback(s->db);
    rollup_clear(&s->rollup);
    names_forget(&s->names);
}

enum err batch_write(struct store *s)
{
    struct batch b = {.store = s};
    TRY(db_begin(s->db));
    enum err err = journal_set_scan(s->journals, BATCH_ROWS, batch_row, &b);
    err = b.err != OK ? b.err : err;
    if (err == OK)
        err = batch_commit(s);
    if (err == OK)
        journal_set_mark(s->journals);
    else
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

static enum err replay_write(struct store *s, struct batch *b, size_t *damaged, struct error *error)
{
    TRY(db_begin(s->db));
    enum err err = journal_set_replay(s->journals, batch_row, b, damaged, error);
    if (b->err == OK && err != OK) { /* the journal's own, with its reason */
        batch_undo(s);
        return err;
    }
    err = b->err == OK ? batch_commit(s) : b->err;
    if (err == OK)
        return OK;
    store_fail(s, err, error);
    batch_undo(s);
    return err;
}

enum err batch_replay(struct store *s, struct error *error)
{
    struct batch b = {.store = s};
    size_t damaged = 0;
    /* What is replayed leaves the journal at once: it must be on the disk before. */
    enum err err = db_set_durable(s->db, true);
    if (err != OK)
        return store_fail(s, err, error);
    TRY(replay_write(s, &b, &damaged, error));
    journal_set_forget_old(s->journals);
    if (damaged)
        log_event(LOG_WARNING, "journal_damaged", "%zu damaged parts of the journal were left out", damaged);
    if (b.rows)
        log_event(LOG_INFO, "journal_replayed", "%zu accounts of an earlier run came from the journal",
                  b.rows);
    err = db_set_durable(s->db, false);
    return err == OK ? OK : store_fail(s, err, error);
}
