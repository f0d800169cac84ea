/* The list of requests: one row per settled exchange, the sums of the last day from it. The store's thread.
 */
#include "store/inside.h"

#include "base/mem.h"

/* ---- attempts: numbers of 7 bits a byte, names by their number ------------------------------------------
 */

static void put_number(struct buf *b, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_add_char(b, (char)(value | 0x80));
    buf_add_char(b, (char)value);
}

static uint64_t take_number(struct str *rest)
{
    uint64_t value = 0;
    for (unsigned shift = 0; rest->n && shift < 64; shift += 7) {
        uint8_t byte = (uint8_t)rest->p[0];
        *rest = str_from(*rest, 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    return value;
}

static enum err attempts_encode(struct store *s, const struct entry_state *state)
{
    struct buf *b = &s->attempts;
    buf_clear(b);
    int count = MAX(state->attempt_count, 0);
    put_number(b, (uint64_t)count);
    for (int i = 0; i < MIN(count, (int)ENTRY_ATTEMPTS_MAX); i++) {
        const struct entry_attempt *a = &state->attempts[i];
        const struct str texts[] = {a->provider, a->model, a->outcome};
        for (size_t k = 0; k < COUNT_OF(texts); k++) {
            int64_t id;
            TRY(name_id(s, texts[k], &id));
            put_number(b, (uint64_t)id);
        }
        put_number(b, (uint64_t)MAX(a->status, 0));
    }
    return buf_err(b);
}

static enum err attempts_decode(struct store *s, struct str bytes, struct arena *arena,
                                struct entry_state *state)
{
    uint64_t count = take_number(&bytes);
    state->attempt_count = (int)MIN(count, (uint64_t)INT32_MAX);
    for (int i = 0; i < MIN(state->attempt_count, (int)ENTRY_ATTEMPTS_MAX); i++) {
        struct entry_attempt *a = &state->attempts[i];
        struct str *texts[] = {&a->provider, &a->model, &a->outcome};
        for (size_t k = 0; k < COUNT_OF(texts); k++)
            TRY(name_text(s, (int64_t)take_number(&bytes), arena, texts[k]));
        a->status = (int)take_number(&bytes);
    }
    return OK;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

enum { NAME_CLIENT, NAME_STRATEGY, NAME_MODEL, NAME_ENDPOINT, NAME_PROVIDER, NAME_SENT_MODEL, NAME_COUNT };

/* Kept in the database: never to be changed without a migration. The hour of the end, and FNV-1a in 24 bits.
 */
enum { ID_HASH_BITS = 24 };
#define HOUR_US (INT64_C(3600) * 1000000)

static int64_t id_hash(struct str request_id)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < request_id.n; i++)
        hash = (hash ^ (uint8_t)request_id.p[i]) * UINT64_C(0x100000001b3);
    return (int64_t)(hash >> (64 - ID_HASH_BITS));
}

static int64_t id_key(const struct request_row *row)
{
    return row->ended_us / HOUR_US * (INT64_C(1) << ID_HASH_BITS) + id_hash(row->open.request_id);
}

static void insert_bind(struct query *q, int64_t boot, const struct request_row *row,
                        const int64_t names[NAME_COUNT], struct str attempts)
{
    const struct entry_state *e = &row->state;
    const int64_t first[] = {boot, row->worker, (int64_t)row->sequence, row->ended_us, row->open.at_us};
    const int64_t rest[] = {row->open.stream,
                            names[NAME_PROVIDER],
                            names[NAME_SENT_MODEL],
                            e->input_tokens,
                            e->output_tokens,
                            e->cached_tokens,
                            e->reasoning_tokens,
                            e->cost,
                            (int64_t)e->duration_us,
                            (int64_t)e->first_byte_us,
                            e->status,
                            e->outcome,
                            e->estimated};
    for (size_t i = 0; i < COUNT_OF(first); i++)
        query_i64(q, first[i]);
    query_str(q, row->open.request_id);
    query_i64(q, id_key(row));
    for (int i = 0; i <= NAME_ENDPOINT; i++)
        query_i64(q, names[i]);
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        query_i64(q, rest[i]);
    query_bytes(q, attempts);
}

static enum err names_of(struct store *s, const struct request_row *row, int64_t names[NAME_COUNT])
{
    const struct str texts[NAME_COUNT] = {
        [NAME_CLIENT] = row->open.client,      [NAME_STRATEGY] = row->open.strategy,
        [NAME_MODEL] = row->open.model,        [NAME_ENDPOINT] = row->open.endpoint,
        [NAME_PROVIDER] = row->state.provider, [NAME_SENT_MODEL] = row->state.model};
    for (int i = 0; i < NAME_COUNT; i++)
        TRY(name_id(s, texts[i], &names[i]));
    return OK;
}

enum err request_insert(struct store *s, const struct request_row *row, bool *is_new)
{
    int64_t boot, names[NAME_COUNT];
    *is_new = false;
    TRY(boot_id(s, row->boot, &boot));
    TRY(names_of(s, row, names));
    TRY(attempts_encode(s, &row->state));
    CLEANUP(query_end)
    struct query q = query_make(
        s->db, "INSERT INTO requests (boot, worker, sequence, ended_us, at_us, request_id, id_key, client, "
               "strategy, "
               "model, endpoint, stream, provider, sent_model, input_tokens, output_tokens, cached_tokens, "
               "reasoning_tokens, cost, duration_us, first_byte_us, status, outcome, estimated, attempts) "
               "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
               "ON CONFLICT (boot, worker, sequence) DO NOTHING");
    insert_bind(&q, boot, row, names, buf_str(&s->attempts));
    TRY(query_run(&q));
    *is_new = db_changes(s->db) > 0;
    return OK;
}

/* ---- the list ------------------------------------------------------------------------------------------ */

#define COLUMNS                                                                                              \
    "(SELECT boot FROM boots WHERE id = r.boot), worker, sequence, ended_us, at_us, request_id, client, "    \
    "strategy, model, endpoint, stream, provider, sent_model, input_tokens, output_tokens, cached_tokens, "  \
    "reasoning_tokens, cost, duration_us, first_byte_us, status, outcome, estimated, attempts "
#define CONDITIONS                                                                                           \
    "WHERE ended_us < ?1 AND (?2 = 0 OR client = ?2) AND (?3 = 0 OR strategy = ?3) AND "                     \
    "(?4 = 0 OR provider = ?4) AND (?5 = 0 OR model = ?5 OR sent_model = ?5) AND "                           \
    "(?6 < 0 OR outcome = ?6) "

static const char list_sql[] =
    "SELECT " COLUMNS "FROM requests AS r INDEXED BY requests_by_end " CONDITIONS "ORDER BY ended_us DESC";
static const char list_by_id_sql[] =
    "WITH RECURSIVE hours (h) AS (SELECT (SELECT max(ended_us) FROM requests) / 3600000000 UNION ALL "
    "SELECT h - 1 FROM hours WHERE h > (SELECT min(ended_us) FROM requests) / 3600000000) "
    "SELECT " COLUMNS "FROM hours CROSS JOIN requests AS r INDEXED BY requests_by_id "
    "ON r.id_key = hours.h * 16777216 + ?7 " CONDITIONS "AND request_id = ?8 ORDER BY ended_us DESC";

struct list_call {
    struct store *store;
    const struct request_query *query;
    struct arena *arena;
    struct request_row *rows;
    size_t count, capacity;
    struct error *error;
    enum err err;
};

static enum err row_read_state(struct list_call *c, struct query *q, struct entry_state *e)
{
    TRY(name_text(c->store, query_get_i64(q), c->arena, &e->provider));
    TRY(name_text(c->store, query_get_i64(q), c->arena, &e->model));
    e->input_tokens = query_get_i64(q);
    e->output_tokens = query_get_i64(q);
    e->cached_tokens = query_get_i64(q);
    e->reasoning_tokens = query_get_i64(q);
    e->cost = query_get_i64(q);
    e->duration_us = (uint64_t)query_get_i64(q);
    e->first_byte_us = (uint64_t)query_get_i64(q);
    e->status = (int)query_get_i64(q);
    e->outcome = (enum entry_outcome)query_get_i64(q);
    e->estimated = query_get_i64(q);
    return attempts_decode(c->store, query_get_str(q), c->arena, e);
}

static enum err row_read(struct list_call *c, struct query *q, struct request_row *row)
{
    row->boot = (uint64_t)query_get_i64(q);
    row->worker = (uint32_t)query_get_i64(q);
    row->sequence = (uint64_t)query_get_i64(q);
    row->ended_us = query_get_i64(q);
    row->open.at_us = query_get_i64(q);
    row->open.request_id = arena_str(c->arena, query_get_str(q));
    if (!row->open.request_id.p)
        return ERR_NOMEM;
    struct str *texts[] = {&row->open.client, &row->open.strategy, &row->open.model, &row->open.endpoint};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        TRY(name_text(c->store, query_get_i64(q), c->arena, texts[i]));
    row->open.stream = query_get_i64(q);
    return row_read_state(c, q, &row->state);
}

/* The arena keeps the old rows as well: doubling bounds that. */
static enum err list_grow(struct list_call *c)
{
    if (c->count < c->capacity)
        return OK;
    size_t capacity = c->capacity ? c->capacity * 2 : MIN(c->query->limit, (size_t)16);
    struct request_row *rows = arena_alloc(c->arena, capacity * sizeof *rows);
    if (!rows)
        return ERR_NOMEM;
    if (c->count)
        memcpy(rows, c->rows, c->count * sizeof *rows);
    c->rows = rows;
    c->capacity = capacity;
    return OK;
}

/* False: no row can have a name that is not in the table. */
static enum err list_bind(struct list_call *c, struct query *q, bool *possible)
{
    const struct request_query *f = c->query;
    const struct str filters[] = {f->client, f->strategy, f->provider, f->model};
    *possible = true;
    query_i64(q, f->before_us > 0 ? f->before_us : INT64_MAX);
    for (size_t i = 0; i < COUNT_OF(filters); i++) {
        int64_t id = 0;
        if (filters[i].n)
            TRY(name_find(c->store, filters[i], &id));
        *possible = *possible && id >= 0;
        query_i64(q, id);
    }
    query_i64(q, f->outcome);
    if (f->request_id.n) {
        query_i64(q, id_hash(f->request_id));
        query_str(q, f->request_id);
    }
    return OK;
}

/* A page never ends between rows of the same microsecond: `before_us` could not name the others. */
static enum err list_read(struct list_call *c)
{
    const char *sql = c->query->request_id.n ? list_by_id_sql : list_sql;
    bool possible;
    CLEANUP(query_end) struct query q = query_make(c->store->db, sql);
    TRY(list_bind(c, &q, &possible));
    while (possible && query_step(&q)) {
        struct request_row row = {0};
        TRY(row_read(c, &q, &row));
        if (c->count >= c->query->limit && row.ended_us != c->rows[c->count - 1].ended_us)
            break;
        TRY(list_grow(c));
        c->rows[c->count++] = row;
    }
    return query_err(&q);
}

static void list_ask(void *argument)
{
    struct list_call *c = argument;
    if (store_is_well(c->store)) /* what cannot be written yet is missing from the list, as its header says */
        store_note(c->store, batch_write_all(c->store));
    c->err = list_read(c);
    if (c->err != OK)
        store_fail(c->store, c->err, c->error);
}

enum err store_requests(struct task *t, struct store *s, const struct request_query *query,
                        struct arena *arena, struct request_row **rows, size_t *count, struct error *error)
{
    struct list_call c = {.store = s, .query = query, .arena = arena, .error = error};
    *count = 0;
    *rows = NULL;
    if (query->limit < 1 || query->limit > 1000) {
        error_set(error, ERR_BAD_REQUEST, "limit must be between 1 and 1000");
        error->param = "limit";
        return ERR_BAD_REQUEST;
    }
    loop_call(t, s->loop, list_ask, &c);
    if (c.err != OK)
        return c.err;
    *rows = c.rows;
    *count = c.count;
    return OK;
}

/* ---- when a client was last served --------------------------------------------------------------------- */

struct last_used_call {
    struct store *store;
    struct str client;
    int64_t at_us;
    enum err err;
};

static enum err last_used_read(struct last_used_call *c)
{
    CLEANUP(query_end)
    struct query q = query_make(c->store->db, "SELECT at_us FROM last_used WHERE client = "
                                              "(SELECT id FROM names WHERE name = ?)");
    query_str(&q, c->client);
    c->at_us = query_step(&q) ? query_get_i64(&q) : 0;
    return query_err(&q);
}

static void last_used_ask(void *argument)
{
    struct last_used_call *c = argument;
    if (store_is_well(c->store))
        store_note(c->store, batch_write_all(c->store));
    c->err = last_used_read(c);
}

enum err store_last_used(struct task *t, struct store *s, struct str client, int64_t *at_us)
{
    struct last_used_call c = {.store = s, .client = client};
    loop_call(t, s->loop, last_used_ask, &c);
    *at_us = c.at_us;
    return c.err;
}
