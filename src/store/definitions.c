/* Clients, strategies and the audit trail. The store's thread. */
#include "store/inside.h"

/* ---- loading ------------------------------------------------------------------------------------------- */

struct load_call {
    struct store *store;
    struct arena *arena;
    struct store_row *rows;
    size_t count;
    struct error *error;
    enum err err;
};

static enum err load_count(struct store *s, size_t *count)
{
    CLEANUP(query_end)
    struct query q = query_make(s->db, "SELECT count(*) FROM definitions");
    *count = query_step(&q) ? (size_t)query_get_i64(&q) : 0;
    return query_err(&q);
}

static enum err load_read(struct load_call *c)
{
    size_t total;
    TRY(load_count(c->store, &total));
    c->rows = arena_alloc(c->arena, MAX(total, (size_t)1) * sizeof *c->rows);
    if (!c->rows)
        return ERR_NOMEM;
    CLEANUP(query_end)
    struct query q =
        query_make(c->store->db, "SELECT kind, id, definition, revision, created_us, updated_us, "
                                 "is_deleted FROM definitions ORDER BY created_us, row");
    while (c->count < total && query_step(&q)) {
        struct store_row *row = &c->rows[c->count++];
        row->table = (enum store_table)query_get_i64(&q);
        row->id = arena_str(c->arena, query_get_str(&q));
        row->definition = arena_str(c->arena, query_get_str(&q));
        row->revision = (uint64_t)query_get_i64(&q);
        row->created_us = query_get_i64(&q);
        row->updated_us = query_get_i64(&q);
        row->is_deleted = query_get_i64(&q);
        if (!row->id.p || !row->definition.p)
            return ERR_NOMEM;
    }
    return query_err(&q);
}

static void load_ask(void *argument)
{
    struct load_call *c = argument;
    c->err = load_read(c);
    if (c->err != OK)
        store_fail(c->store, c->err, c->error);
}

enum err store_load(struct store *s, struct arena *arena, struct store_row **rows, size_t *count,
                    struct error *error)
{
    struct load_call c = {.store = s, .arena = arena, .error = error};
    store_ask(s, load_ask, &c);
    *rows = c.rows;
    *count = c.count;
    return c.err;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

struct write_call {
    struct store *store;
    const struct store_row *rows;
    const struct store_audit *audit;
    size_t row_count, audit_count;
    struct error *error;
    enum err err;
};

/* A revision that is not beyond the one the id had, before a deletion too, is moved there. */
static enum err row_write(struct db *db, const struct store_row *row)
{
    CLEANUP(query_end)
    struct query q = query_make(
        db, "INSERT INTO definitions (kind, id, definition, revision, created_us, updated_us, is_deleted) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET "
            "definition = excluded.definition, revision = max(excluded.revision, revision + 1), "
            "created_us = excluded.created_us, updated_us = excluded.updated_us, "
            "is_deleted = excluded.is_deleted");
    query_i64(&q, row->table);
    query_str(&q, row->id);
    query_str(&q, row->is_deleted ? STR_NONE : row->definition);
    query_i64(&q, (int64_t)row->revision);
    query_i64(&q, row->created_us);
    query_i64(&q, row->updated_us);
    query_i64(&q, row->is_deleted);
    return query_run(&q);
}

static enum err audit_write(struct db *db, const struct store_audit *a)
{
    CLEANUP(query_end)
    struct query q =
        query_make(db, "INSERT INTO audit (at_us, actor, action, target, detail) VALUES (?, ?, ?, ?, ?)");
    query_i64(&q, a->at_us);
    query_str(&q, a->actor);
    query_str(&q, a->action);
    query_str(&q, a->target);
    query_str(&q, a->detail);
    return query_run(&q);
}

static enum err write_all(struct write_call *c)
{
    struct db *db = c->store->db;
    enum err err = OK;
    TRY(db_begin(db));
    for (size_t i = 0; err == OK && i < c->row_count; i++)
        err = row_write(db, &c->rows[i]);
    for (size_t i = 0; err == OK && i < c->audit_count; i++)
        err = audit_write(db, &c->audit[i]);
    if (err == OK)
        return db_commit(db);
    db_rollback(db);
    return err;
}

static void write_ask(void *argument)
{
    struct write_call *c = argument;
    struct db *db = c->store->db;
    c->err = db_set_durable(db, true);
    if (c->err == OK)
        c->err = write_all(c);
    if (c->err != OK)
        store_fail(c->store, c->err, c->error);
    store_note(c->store, c->err);
    /* Should this fail, batches are only slower. */
    enum err ignored = db_set_durable(db, false);
    (void)ignored;
}

enum err store_write(struct task *t, struct store *s, const struct store_row *rows, size_t row_count,
                     const struct store_audit *audit, size_t audit_count, struct error *error)
{
    struct write_call c = {s, rows, audit, row_count, audit_count, error, OK};
    loop_call(t, s->loop, write_ask, &c);
    return c.err;
}

/* ---- the audit trail ----------------------------------------------------------------------------------- */

struct audit_call {
    struct store *store;
    int64_t before_us;
    size_t limit;
    struct arena *arena;
    struct store_audit *list;
    size_t count, capacity;
    struct error *error;
    enum err err;
};

static enum err audit_grow(struct audit_call *c)
{
    if (c->count < c->capacity)
        return OK;
    size_t capacity = c->capacity ? c->capacity * 2 : MIN(c->limit, (size_t)16);
    struct store_audit *list = arena_alloc(c->arena, capacity * sizeof *list);
    if (!list)
        return ERR_NOMEM;
    if (c->count)
        memcpy(list, c->list, c->count * sizeof *list);
    c->list = list;
    c->capacity = capacity;
    return OK;
}

static enum err audit_add(struct audit_call *c, int64_t at_us, struct query *q)
{
    TRY(audit_grow(c));
    struct store_audit *a = &c->list[c->count++];
    a->at_us = at_us;
    struct str *texts[] = {&a->actor, &a->action, &a->target, &a->detail};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        *texts[i] = arena_str(c->arena, query_get_str(q));
        if (!texts[i]->p)
            return ERR_NOMEM;
    }
    return OK;
}

/* Like the list of requests, a page never ends between entries of the same microsecond. */
static enum err audit_read(struct audit_call *c)
{
    CLEANUP(query_end)
    struct query q = query_make(c->store->db, "SELECT at_us, actor, action, target, detail FROM audit "
                                              "WHERE at_us < ? ORDER BY at_us DESC, row DESC");
    query_i64(&q, c->before_us > 0 ? c->before_us : INT64_MAX);
    while (query_step(&q)) {
        int64_t at_us = query_get_i64(&q);
        if (c->count >= c->limit && at_us != c->list[c->count - 1].at_us)
            break;
        TRY(audit_add(c, at_us, &q));
    }
    return query_err(&q);
}

static void audit_ask(void *argument)
{
    struct audit_call *c = argument;
    c->err = audit_read(c);
    if (c->err != OK)
        store_fail(c->store, c->err, c->error);
}

enum err store_audits(struct task *t, struct store *s, int64_t before_us, size_t limit, struct arena *arena,
                      struct store_audit **list, size_t *count, struct error *error)
{
    struct audit_call c = {
        .store = s, .before_us = before_us, .limit = limit, .arena = arena, .error = error};
    *count = 0;
    *list = NULL;
    if (limit < 1 || limit > 1000) {
        error_set(error, ERR_BAD_REQUEST, "limit must be between 1 and 1000");
        error->param = "limit";
        return ERR_BAD_REQUEST;
    }
    loop_call(t, s->loop, audit_ask, &c);
    if (c.err != OK)
        return c.err;
    *list = c.list;
    *count = c.count;
    return OK;
}
