/*
 * The list of requests as pages in the database: the open page grows with each batch until it is big or old
 * enough, then the next one is begun. So a row costs some bytes and no statement, and an idle gateway makes
 * few pages. All rows of a page are of one run. The store's thread.
 */
#include "store/inside.h"

#include "base/log.h"

enum {
    ROWS_ENOUGH =
        512,         /* a page with as many grows no more: it is written anew with each batch that it gets */
    ROWS_MAX = 4096, /* of a page that one batch fills */
    OPEN_S = 3600,
    DAMAGED_MAX = COUNT_OF(((struct pages *)0)->damaged),
};

/* ---- writing ------------------------------------------------------------------------------------------- */

void pages_forget(struct pages *p)
{
    buf_clear(&p->open.bytes);
    p->open = (struct open_page){.bytes = p->open.bytes};
}

static enum err names_of(struct store *s, const struct request_row *row, struct page_names *names)
{
    const struct str texts[NAME_COUNT] = {
        [NAME_CLIENT] = row->open.client,      [NAME_STRATEGY] = row->open.strategy,
        [NAME_MODEL] = row->open.model,        [NAME_ENDPOINT] = row->open.endpoint,
        [NAME_PROVIDER] = row->state.provider, [NAME_SENT_MODEL] = row->state.model};
    for (int i = 0; i < NAME_COUNT; i++)
        TRY(name_id(s, texts[i], &names->of[i]));
    for (int i = 0; i < MIN(row->state.attempt_count, (int)ENTRY_ATTEMPTS_MAX); i++) {
        const struct entry_attempt *a = &row->state.attempts[i];
        TRY(name_id(s, a->provider, &names->attempts[i].provider));
        TRY(name_id(s, a->model, &names->attempts[i].model));
        TRY(name_id(s, a->outcome, &names->attempts[i].outcome));
    }
    return OK;
}

static enum err page_begin(struct store *s, int64_t boot, int64_t base_us)
{
    static const char header[PAGE_HEADER_BYTES];
    struct open_page *o = &s->pages.open;
    TRY(pages_write(s));
    pages_forget(&s->pages);
    o->boot = boot;
    o->base_us = o->first_us = o->last_us = base_us;
    o->begun = clock_now();
    buf_add(&o->bytes, header, sizeof header);
    return buf_err(&o->bytes);
}

enum err pages_add(struct store *s, const struct request_row *row, int64_t boot, struct page_names *names)
{
    struct open_page *o = &s->pages.open;
    TRY(names_of(s, row, names));
    if (o->boot != boot || o->count >= ROWS_MAX)
        TRY(page_begin(s, boot, row->ended_us));
    if (!buf_reserve(&o->bytes, PAGE_ROW_BYTES_MAX))
        return buf_err(&o->bytes);
    o->bytes.n += page_row_write(o->bytes.p + o->bytes.n, o->base_us, row, names);
    o->first_us = MIN(o->first_us, row->ended_us);
    o->last_us = MAX(o->last_us, row->ended_us);
    o->count++;
    o->is_changed = true;
    return OK;
}

static enum err page_write(struct store *s, struct open_page *o)
{
    page_header_write(o->bytes.p, o->bytes.n, o->boot, o->base_us, o->count);
    CLEANUP(query_end)
    struct query q = query_make(
        s->db, "INSERT INTO request_pages (page, boot, first_us, last_us, count, data) VALUES "
               "(nullif(?, 0), ?, ?, ?, ?, ?) ON CONFLICT (page) DO UPDATE SET first_us = "
               "excluded.first_us, last_us = excluded.last_us, count = excluded.count, data = excluded.data "
               "RETURNING page");
    const int64_t values[] = {o->number, o->boot, o->first_us, o->last_us, o->count};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        query_i64(&q, values[i]);
    query_bytes(&q, buf_str(&o->bytes));
    if (query_step(&q))
        o->number = query_get_i64(&q);
    return query_run(&q);
}

enum err pages_write(struct store *s)
{
    struct open_page *o = &s->pages.open;
    if (!o->is_changed)
        return OK;
    TRY(page_write(s, o));
    o->is_changed = false;
    if (o->count >= ROWS_ENOUGH || clock_now() - o->begun > OPEN_S * CLOCK_S)
        pages_forget(&s->pages);
    return OK;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

/* Each is said once, until there are too many to tell apart. */
void page_say_damaged(struct store *s, int64_t number)
{
    struct pages *p = &s->pages;
    for (size_t i = 0; i < p->damaged_count; i++)
        if (p->damaged[i] == number)
            return;
    if (p->damaged_count == DAMAGED_MAX)
        return;
    p->damaged[p->damaged_count++] = number;
    log_event(LOG_ERROR, "requests_damaged",
              "Page %lld of the list of requests in %s is damaged: its requests are missing from the list "
              "(damaged pages found so far: %zu)",
              (long long)number, buf_c(&s->path), p->damaged_count);
}

bool page_step(struct store *s, struct query *q, int64_t until_us, struct page *page)
{
    while (query_step(q)) {
        if (query_get_i64(q) < until_us)
            return false;
        *page = (struct page){.number = query_get_i64(q)};
        page->boot = query_get_i64(q);
        if (page_open(page, query_get_str(q)))
            return true;
        page_say_damaged(s, page->number);
    }
    return false;
}

bool page_row_step(struct store *s, struct page *page, struct page_row *row)
{
    if (page_next(page, row))
        return true;
    if (page->is_damaged)
        page_say_damaged(s, page->number);
    return false;
}
