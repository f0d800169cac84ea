/* Usage: sums written from batches, ranges and names read. The store's thread, but for usage_quantile. */
#include "store/inside.h"

enum { POINTS_MAX = 10000, COUNTS = 13, SPAN_MINUTES = 86400, SPAN_HOURS = 7 * 86400 };

/* ---- columns, in one order ------------------------------------------------------------------------------
 */

#define LATENCIES                                                                                            \
    "l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10, l11, l12, l13, l14, l15, l16, l17, l18, l19, l20, l21, "   \
    "l22, l23"
#define SUMS                                                                                                 \
    "requests, ok, failed, cancelled, aborted, input_tokens, output_tokens, cached_tokens, "                 \
    "reasoning_tokens, cost, latency_sum_ms, first_byte_sum_ms, first_byte_count, " LATENCIES
/* A sum beyond the largest integer would become a floating point number: it stays there instead. */
#define ADD(column) column " = min(" column " + excluded." column ", 9223372036854775807)"
#define ADD4(a, b, c, d) ADD(a) ", " ADD(b) ", " ADD(c) ", " ADD(d)

static const char write_sql
    [] = "INSERT INTO usage (grain, tier, name, at, " SUMS ") VALUES (?, ?, ?, ?, "
         "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
         "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
         "ON CONFLICT (grain, tier, name, at) DO UPDATE SET " ADD4("requests", "ok", "failed", "cancelled") ", " ADD4("aborted", "input_tokens", "output_tokens", "cached_tokens") ", " ADD4(
             "reasoning_tokens", "cost", "latency_sum_ms",
             "first_byte_sum_ms") ", " ADD("first_byte_count") ", " ADD4("l0", "l1", "l2",
                                                                         "l3") ", " ADD4("l4", "l5", "l6",
                                                                                         "l7") ", " ADD4("l8",
                                                                                                         "l9",
                                                                                                         "l1"
                                                                                                         "0",
                                                                                                         "l1"
                                                                                                         "1") ", " ADD4("l12",
                                                                                                                        "l13",
                                                                                                                        "l14",
                                                                                                                        "l15") ", " ADD4("l16",
                                                                                                                                         "l17",
                                                                                                                                         "l18",
                                                                                                                                         "l19") ", " ADD4("l20",
                                                                                                                                                          "l21",
                                                                                                                                                          "l22",
                                                                                                                                                          "l23");

static const char read_sql[] = "SELECT at, " SUMS " FROM usage WHERE grain = ? AND tier = ? AND name = ? AND "
                               "at >= ? AND at < ?";

static enum err cell_write(struct store *s, const struct rollup_cell *cell)
{
    const struct usage_point *p = &cell->sums;
    const int64_t values[] = {cell->key.grain,
                              cell->key.tier,
                              cell->key.name,
                              cell->key.at,
                              (int64_t)p->requests,
                              (int64_t)p->ok,
                              (int64_t)p->failed,
                              (int64_t)p->cancelled,
                              (int64_t)p->aborted,
                              p->input_tokens,
                              p->output_tokens,
                              p->cached_tokens,
                              p->reasoning_tokens,
                              p->cost,
                              (int64_t)p->latency_sum_ms,
                              (int64_t)p->first_byte_sum_ms,
                              (int64_t)p->first_byte_count};
    CLEANUP(query_end) struct query q = query_make(s->db, write_sql);
    for (size_t i = 0; i < COUNT_OF(values); i++)
        query_i64(&q, values[i]);
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        query_i64(&q, (int64_t)p->latency[i]);
    return query_run(&q);
}

static enum err last_used_write(struct store *s, const struct rollup_cell *cell)
{
    CLEANUP(query_end)
    struct query q = query_make(s->db, "INSERT INTO last_used (client, at_us) VALUES (?, ?) ON CONFLICT "
                                       "(client) DO UPDATE SET at_us = max(at_us, excluded.at_us)");
    query_i64(&q, cell->key.name);
    query_i64(&q, cell->last_us);
    return query_run(&q);
}

enum err usage_write(struct store *s)
{
    TRY(rollup_fold(&s->rollup));
    MAP_EACH(entry, &s->rollup.cells)
    {
        const struct rollup_cell *cell = entry->value;
        TRY(cell_write(s, cell));
        if (cell->key.tier == TIER_CLIENT && cell->key.grain == GRAIN_DAY)
            TRY(last_used_write(s, cell));
    }
    rollup_clear(&s->rollup);
    return OK;
}

static void point_read(struct query *q, struct usage_point *p)
{
    int64_t *const amounts[] = {&p->input_tokens, &p->output_tokens, &p->cached_tokens, &p->reasoning_tokens,
                                &p->cost};
    uint64_t *const first[] = {&p->requests, &p->ok, &p->failed, &p->cancelled, &p->aborted};
    uint64_t *const last[] = {&p->latency_sum_ms, &p->first_byte_sum_ms, &p->first_byte_count};
    for (size_t i = 0; i < COUNT_OF(first); i++)
        *first[i] = (uint64_t)query_get_i64(q);
    for (size_t i = 0; i < COUNT_OF(amounts); i++)
        *amounts[i] = query_get_i64(q);
    for (size_t i = 0; i < COUNT_OF(last); i++)
        *last[i] = (uint64_t)query_get_i64(q);
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        p->latency[i] = (uint64_t)query_get_i64(q);
}

/* ---- ranges -------------------------------------------------------------------------------------------- */

struct usage_call {
    struct store *store;
    const struct usage_query *query;
    struct usage_point *points;
    size_t count;
    int64_t first, step; /* seconds: of the first point, from one to the next */
    struct error *error;
    enum err err;
};

static struct usage_point *point_at(const struct usage_call *c, int64_t at)
{
    if (at < c->first || (uint64_t)(at - c->first) / (uint64_t)c->step >= c->count)
        return NULL;
    return &c->points[(at - c->first) / c->step];
}

static enum err usage_read(struct usage_call *c)
{
    const struct usage_query *query = c->query;
    int64_t name = 0;
    if (query->tier != TIER_GLOBAL)
        TRY(name_find(c->store, query->id, &name));
    CLEANUP(query_end) struct query q = query_make(c->store->db, read_sql);
    const int64_t values[] = {query->grain, query->tier, name, query->from, query->to};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        query_i64(&q, values[i]);
    while (query_step(&q)) {
        struct usage_point *p = point_at(c, query_get_i64(&q));
        if (p)
            point_read(&q, p);
    }
    return query_err(&q);
}

static bool id_is_model(struct str id, struct str provider, struct str model)
{
    return id.n == provider.n + 1 + model.n && str_starts(id, provider) && id.p[provider.n] == '/' &&
           str_eq(str_from(id, provider.n + 1), model);
}

static bool row_is_of(const struct request_row *row, const struct usage_query *query)
{
    struct str provider = row->state.provider;
    switch (query->tier) {
    case TIER_GLOBAL:
        return true;
    case TIER_CLIENT:
        return row->open.client.n && str_eq(row->open.client, query->id);
    case TIER_PROVIDER:
        return provider.n && str_eq(provider, query->id);
    case TIER_MODEL:
        return provider.n && id_is_model(query->id, provider, row->state.model);
    case TIER_STRATEGY:
        return row->open.strategy.n && str_eq(row->open.strategy, query->id);
    }
    return false;
}

static enum err pending_add(void *argument, const struct request_row *row)
{
    struct usage_call *c = argument;
    struct usage_point *p = point_at(c, row->ended_us / 1000000 / c->step * c->step);
    if (p && row_is_of(row, c->query))
        usage_point_add(p, row);
    return OK;
}

/* While nothing can be written, what is pending in the journal is counted from there. */
static void usage_ask(void *argument)
{
    struct usage_call *c = argument;
    struct store *s = c->store;
    if (store_is_well(s))
        store_note(s, batch_write_all(s));
    c->err = usage_read(c);
    if (c->err == OK && !store_is_well(s))
        c->err = journal_set_scan(s->journals, SIZE_MAX, pending_add, c);
    if (c->err != OK)
        store_fail(s, c->err, c->error);
}

static enum err query_refuse(struct error *error, const char *param, const char *why)
{
    error_set(error, ERR_BAD_REQUEST, "%s", why);
    error->param = param;
    return ERR_BAD_REQUEST;
}

static enum usage_grain grain_for(int64_t span)
{
    return span <= SPAN_MINUTES ? GRAIN_MINUTE : span <= SPAN_HOURS ? GRAIN_HOUR : GRAIN_DAY;
}

/* Sets the grain, and where the points lie. */
static enum err usage_plan(struct usage_call *c, struct usage_query *query)
{
    if (query->from < 0 || query->from > INT64_MAX / 2)
        return query_refuse(c->error, "from", "from is no time");
    if (query->to <= query->from || query->to > INT64_MAX / 2)
        return query_refuse(c->error, "to", "to must be later than from");
    if (query->tier != TIER_GLOBAL && !query->id.n)
        return query_refuse(c->error, "id", "id is missing");
    if (query->grain == GRAIN_AUTO)
        query->grain = grain_for(query->to - query->from);
    c->step = grain_seconds(query->grain);
    c->first = (query->from + c->step - 1) / c->step * c->step;
    int64_t count = (query->to - c->first + c->step - 1) / c->step;
    if (count > POINTS_MAX)
        return query_refuse(c->error, "from",
                            "too many points between from and to (10000 at most): take a shorter span or a "
                            "coarser grain");
    c->count = (size_t)MAX(count, (int64_t)0);
    return OK;
}

enum err store_usage(struct task *t, struct store *s, struct usage_query *query, struct arena *arena,
                     struct usage_point **points, size_t *count, struct error *error)
{
    struct usage_call c = {.store = s, .query = query, .error = error};
    *count = 0;
    *points = NULL;
    TRY(usage_plan(&c, query));
    c.points = arena_alloc(arena, MAX(c.count, (size_t)1) * sizeof *c.points);
    if (!c.points)
        return error_set(error, ERR_NOMEM, "out of memory for the usage");
    for (size_t i = 0; i < c.count; i++)
        c.points[i].at = c.first + (int64_t)i * c.step;
    loop_call(t, s->loop, usage_ask, &c);
    if (c.err != OK)
        return c.err;
    *points = c.points;
    *count = c.count;
    return OK;
}

/* ---- names of a tier ----------------------------------------------------------------------------------- */

struct ids_call {
    struct store *store;
    enum usage_tier tier;
    struct arena *arena;
    struct str *ids;
    size_t count, capacity;
    struct error *error;
    enum err err;
};

static enum err id_add(struct ids_call *c, struct str id)
{
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 16;
        struct str *ids = arena_alloc(c->arena, capacity * sizeof *ids);
        if (!ids)
            return ERR_NOMEM;
        if (c->count)
            memcpy(ids, c->ids, c->count * sizeof *ids);
        c->ids = ids;
        c->capacity = capacity;
    }
    c->ids[c->count] = arena_str(c->arena, id);
    return c->ids[c->count++].p ? OK : ERR_NOMEM;
}

/* From name to name through the key, so that years of days cost nothing. */
static enum err ids_read(struct ids_call *c)
{
    CLEANUP(query_end)
    struct query q = query_make(
        c->store->db,
        "WITH RECURSIVE n (name) AS (SELECT min(name) FROM usage WHERE grain = ?1 AND tier = ?2 UNION ALL "
        "SELECT (SELECT min(name) FROM usage WHERE grain = ?1 AND tier = ?2 AND name > n.name) FROM n "
        "WHERE n.name IS NOT NULL) "
        "SELECT names.name FROM n JOIN names ON names.id = n.name ORDER BY names.name");
    query_i64(&q, GRAIN_DAY);
    query_i64(&q, c->tier);
    while (query_step(&q))
        TRY(id_add(c, query_get_str(&q)));
    return query_err(&q);
}

static void ids_ask(void *argument)
{
    struct ids_call *c = argument;
    if (store_is_well(c->store))
        store_note(c->store, batch_write_all(c->store));
    c->err = ids_read(c);
    if (c->err != OK)
        store_fail(c->store, c->err, c->error);
}

enum err store_usage_ids(struct task *t, struct store *s, enum usage_tier tier, struct arena *arena,
                         struct str **ids, size_t *count, struct error *error)
{
    struct ids_call c = {.store = s, .tier = tier, .arena = arena, .error = error};
    loop_call(t, s->loop, ids_ask, &c);
    *ids = c.err == OK ? c.ids : NULL;
    *count = c.err == OK ? c.count : 0;
    return c.err;
}

/* ---- quantiles ----------------------------------------------------------------------------------------- */

double usage_quantile(const struct usage_point *p, double share)
{
    double total = 0, below = 0;
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        total += (double)p->latency[i];
    double wanted = MIN(MAX(share, 0.0), 1.0) * total;
    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        double in_bucket = (double)p->latency[i];
        if (in_bucket > 0 && below + in_bucket >= wanted) {
            double lower = i ? (double)(UINT64_C(1) << (i - 1)) : 0, upper = (double)(UINT64_C(1) << i);
            return lower + (upper - lower) * (wanted - below) / in_bucket;
        }
        below += in_bucket;
    }
    return 0;
}
