/*
 * The list of requests as it is asked for: pages are read newest first, rows that fit are kept until no page
 * can hold a newer one. The store's thread.
 */
#include "store/inside.h"

#include "base/mem.h"

#include <stdlib.h>

enum { SPARE_ROWS = 4096, TEXTS_MAX = 64, BYTES_MAX = 256 << 20 };

/* A row that fits. */
struct found {
    int64_t ended_us, boot, base_us;
    size_t at, n; /* its bytes */
};

struct list_call {
    struct store *store;
    const struct request_query *query;
    int64_t names[4]; /* numbers of the filters client, strategy, provider, model; 0 = any */
    int64_t until_us; /* what ended before is not newest any more */
    struct found *found;
    size_t found_count, found_capacity;
    size_t prune_at; /* then those beyond the limit go */
    struct buf bytes;
    struct arena *arena;
    struct {
        int64_t id;
        struct str text;
    } texts[TEXTS_MAX]; /* those in the arena already */
    struct request_row *rows;
    size_t count;
    struct error *error;
    enum err err;
};

/* ---- which rows ---------------------------------------------------------------------------------------- */

static bool row_fits(const struct list_call *c, const struct page_row *row, int64_t before_us)
{
    const struct request_query *f = c->query;
    const int64_t *names = row->names;
    return row->ended_us < before_us && row->ended_us >= c->until_us &&
           (!c->names[0] || names[NAME_CLIENT] == c->names[0]) &&
           (!c->names[1] || names[NAME_STRATEGY] == c->names[1]) &&
           (!c->names[2] || names[NAME_PROVIDER] == c->names[2]) &&
           (!c->names[3] || names[NAME_MODEL] == c->names[3] || names[NAME_SENT_MODEL] == c->names[3]) &&
           (f->outcome < 0 || (int)row->outcome == f->outcome);
}

/* Newest first; what was written later first among equals. */
static int found_compare(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->ended_us != y->ended_us)
        return x->ended_us > y->ended_us ? -1 : 1;
    return (x->at < y->at) - (x->at > y->at);
}

/* Leaves the newest ones. A list never ends between rows of the same microsecond: `before_us` could not name
   the others. */
static void found_sort(struct list_call *c)
{
    if (!c->found_count)
        return;
    qsort(c->found, c->found_count, sizeof *c->found, found_compare);
    if (c->found_count <= c->query->limit)
        return;
    size_t n = c->query->limit;
    c->until_us = c->found[n - 1].ended_us;
    while (n < c->found_count && c->found[n].ended_us == c->until_us)
        n++;
    c->found_count = n;
}

/* Their bytes move together. The order of `at` among equals stays. */
static enum err found_prune(struct list_call *c)
{
    struct buf bytes = BUF(c->bytes.max);
    found_sort(c);
    for (size_t i = c->found_count; i-- > 0;) {
        struct found *f = &c->found[i];
        size_t at = bytes.n;
        buf_add(&bytes, c->bytes.p + f->at, f->n);
        f->at = at;
    }
    buf_free(&c->bytes);
    c->bytes = bytes;
    c->prune_at = c->found_count * 2 + SPARE_ROWS;
    return buf_err(&bytes);
}

static enum err found_add(struct list_call *c, const struct page *page, const struct page_row *row)
{
    if (c->found_count == c->prune_at)
        TRY(found_prune(c));
    if (c->found_count == c->found_capacity) {
        size_t capacity = c->found_capacity ? c->found_capacity * 2 : 256;
        struct found *found = mem_resize(c->found, capacity * sizeof *found);
        if (!found)
            return ERR_NOMEM;
        c->found = found;
        c->found_capacity = capacity;
    }
    c->found[c->found_count++] =
        (struct found){row->ended_us, page->boot, page->base_us, c->bytes.n, row->bytes.n};
    buf_add_str(&c->bytes, row->bytes);
    return buf_err(&c->bytes);
}

/* False: no row can have a name that is not in the table. */
static enum err filters_find(struct list_call *c, bool *possible)
{
    const struct request_query *f = c->query;
    const struct str filters[] = {f->client, f->strategy, f->provider, f->model};
    *possible = true;
    for (size_t i = 0; i < COUNT_OF(filters); i++) {
        if (filters[i].n)
            TRY(name_find(c->store, filters[i], &c->names[i]));
        *possible = *possible && c->names[i] >= 0;
    }
    return OK;
}

static enum err pages_search(struct list_call *c)
{
    int64_t before_us = c->query->before_us > 0 ? c->query->before_us : INT64_MAX;
    CLEANUP(query_end)
    struct query q = query_make(c->store->db, "SELECT last_us, page, boot, data FROM request_pages WHERE "
                                              "first_us < ? ORDER BY last_us DESC");
    query_i64(&q, before_us);
    struct page page;
    struct page_row row;
    while (page_step(c->store, &q, c->until_us, &page)) {
        page.only_id = c->query->request_id;
        while (page_row_step(c->store, &page, &row))
            if (row_fits(c, &row, before_us))
                TRY(found_add(c, &page, &row));
        if (c->found_count >= c->query->limit)
            TRY(found_prune(c));
    }
    return query_err(&q);
}

/* ---- what they say ------------------------------------------------------------------------------------- */

static enum err text_read(struct list_call *c, int64_t id, struct str *text)
{
    size_t seat = (uint64_t)id % TEXTS_MAX;
    if (c->texts[seat].id != id) {
        TRY(name_text(c->store, id, c->arena, &c->texts[seat].text));
        c->texts[seat].id = id;
    }
    *text = c->texts[seat].text;
    return OK;
}

static enum err texts_read(struct list_call *c, const struct page_row *from,
                           const struct page_attempt *attempts, struct request_row *row)
{
    struct str *const texts[NAME_COUNT] = {
        [NAME_CLIENT] = &row->open.client,      [NAME_STRATEGY] = &row->open.strategy,
        [NAME_MODEL] = &row->open.model,        [NAME_ENDPOINT] = &row->open.endpoint,
        [NAME_PROVIDER] = &row->state.provider, [NAME_SENT_MODEL] = &row->state.model};
    for (int i = 0; i < NAME_COUNT; i++)
        TRY(text_read(c, from->names[i], texts[i]));
    for (int i = 0; i < MIN(row->state.attempt_count, (int)ENTRY_ATTEMPTS_MAX); i++) {
        struct entry_attempt *a = &row->state.attempts[i];
        TRY(text_read(c, attempts[i].provider, &a->provider));
        TRY(text_read(c, attempts[i].model, &a->model));
        TRY(text_read(c, attempts[i].outcome, &a->outcome));
    }
    row->open.request_id = arena_str(c->arena, from->request_id);
    return row->open.request_id.p ? OK : ERR_NOMEM;
}

/* A row whose attempts do not read is left out: its page's checksum was right, so it was written so. */
static enum err row_give(struct list_call *c, const struct found *f)
{
    struct page_row from;
    struct page_attempt attempts[ENTRY_ATTEMPTS_MAX];
    struct request_row *row = &c->rows[c->count];
    if (!page_row_read(str_make(c->bytes.p + f->at, f->n), f->base_us, &from) ||
        !page_row_rest(&from, &row->state, attempts))
        return OK;
    row->worker = from.worker;
    row->sequence = from.sequence;
    row->ended_us = from.ended_us;
    row->open.at_us = from.at_us;
    row->open.stream = from.stream;
    c->count++;
    TRY(boot_of(c->store, f->boot, &row->boot));
    return texts_read(c, &from, attempts, row);
}

static enum err list_read(struct list_call *c)
{
    bool possible;
    TRY(filters_find(c, &possible));
    if (possible)
        TRY(pages_search(c));
    found_sort(c);
    c->rows = arena_alloc(c->arena, MAX(c->found_count, (size_t)1) * sizeof *c->rows);
    if (!c->rows)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->found_count; i++)
        TRY(row_give(c, &c->found[i]));
    return OK;
}

static void list_ask(void *argument)
{
    struct list_call *c = argument;
    if (store_is_well(c->store)) /* what cannot be written yet is missing from the list, as its header says */
        store_note(c->store, batch_write_all(c->store));
    c->err = list_read(c);
    if (c->err != OK)
        store_fail(c->store, c->err, c->error);
    mem_free(c->found);
    buf_free(&c->bytes);
}

enum err store_requests(struct task *t, struct store *s, const struct request_query *query,
                        struct arena *arena, struct request_row **rows, size_t *count, struct error *error)
{
    struct list_call c = {.store = s,
                          .query = query,
                          .until_us = INT64_MIN,
                          .prune_at = SPARE_ROWS,
                          .bytes = BUF(BYTES_MAX),
                          .arena = arena,
                          .error = error};
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
    const struct str *clients;
    size_t count;
    int64_t *at_us;
    enum err err;
};

static enum err last_used_read(struct store *s, struct str client, int64_t *at_us)
{
    CLEANUP(query_end)
    struct query q = query_make(s->db, "SELECT at_us FROM last_used WHERE client = "
                                       "(SELECT id FROM names WHERE name = ?)");
    query_str(&q, client);
    *at_us = query_step(&q) ? query_get_i64(&q) : 0;
    return query_err(&q);
}

static void last_used_ask(void *argument)
{
    struct last_used_call *c = argument;
    if (store_is_well(c->store))
        store_note(c->store, batch_write_all(c->store));
    for (size_t i = 0; i < c->count && c->err == OK; i++)
        c->err = last_used_read(c->store, c->clients[i], &c->at_us[i]);
}

enum err store_last_used(struct task *t, struct store *s, const struct str *clients, size_t count,
                         int64_t *at_us)
{
    struct last_used_call c = {.store = s, .clients = clients, .count = count, .at_us = at_us};
    loop_call(t, s->loop, last_used_ask, &c);
    return c.err;
}
