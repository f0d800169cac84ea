/* Pages of the list of requests as bytes: see page.h. Pure; the store's thread. */
#include "store/page.h"

#include "store/journal_layout.h"

/* ---- numbers ------------------------------------------------------------------------------------------- */

static inline char *put_number(char *p, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *p++ = (char)(value | 0x80);
    *p++ = (char)value;
    return p;
}

/* Differences: small ones of either sign are short. They turn over rather than overflow. */
static inline char *put_difference(char *p, uint64_t from, uint64_t to)
{
    uint64_t difference = to - from;
    return put_number(p, difference << 1 ^ (0 - (difference >> 63)));
}

struct reader {
    const uint8_t *p, *end;
    bool failed;
};

static inline uint64_t take_number(struct reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
        uint8_t byte = *r->p++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    r->failed = true;
    return 0;
}

static inline int take_int(struct reader *r)
{
    uint64_t n = take_number(r);
    return (int)MIN(n, (uint64_t)INT32_MAX);
}

static inline uint64_t take_difference(struct reader *r, uint64_t from)
{
    uint64_t n = take_number(r);
    return from + (n >> 1 ^ (0 - (n & 1)));
}

static void put_fixed(char *p, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (char)(value >> 8 * i);
}

static uint64_t get_fixed(const char *p, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)(uint8_t)p[i] << 8 * i;
    return value;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

enum { FLAG_STREAM = 1, FLAG_ESTIMATED = 2, FLAG_OUTCOME = 4 /* times the outcome */ };
enum { ROW_LENGTH_BYTES = 2, NUMBER_BYTES = 10, NUMBERS = 14 + NAME_COUNT + 4 * ENTRY_ATTEMPTS_MAX };
_Static_assert(ROW_LENGTH_BYTES + 1 + ENTRY_TEXT_MAX + NUMBERS * NUMBER_BYTES <= PAGE_ROW_BYTES_MAX,
               "the longest row fits");

static char *put_state(char *p, const struct entry_state *e, const struct page_names *names)
{
    p = put_number(p, (uint64_t)e->cached_tokens);
    p = put_number(p, (uint64_t)e->reasoning_tokens);
    p = put_number(p, e->first_byte_us);
    p = put_number(p, (uint32_t)MAX(e->status, 0));
    int count = MAX(e->attempt_count, 0);
    p = put_number(p, (uint64_t)count);
    for (int i = 0; i < MIN(count, (int)ENTRY_ATTEMPTS_MAX); i++) {
        const struct page_attempt *a = &names->attempts[i];
        p = put_number(p, (uint64_t)a->provider);
        p = put_number(p, (uint64_t)a->model);
        p = put_number(p, (uint64_t)a->outcome);
        p = put_number(p, (uint32_t)MAX(e->attempts[i].status, 0));
    }
    return p;
}

/* When it was admitted is mostly known from its end and its duration: then it is one byte. */
size_t page_row_write(char *to, int64_t base_us, const struct request_row *row,
                      const struct page_names *names)
{
    const struct entry_state *e = &row->state;
    struct str id = str_first(row->open.request_id, ENTRY_TEXT_MAX);
    char *p = to + ROW_LENGTH_BYTES;
    *p++ = (char)id.n;
    if (id.n)
        memcpy(p, id.p, id.n);
    p = put_difference(p + id.n, (uint64_t)base_us, (uint64_t)row->ended_us);
    p = put_number(p, e->duration_us);
    p = put_difference(p, (uint64_t)row->ended_us - e->duration_us, (uint64_t)row->open.at_us);
    p = put_number(p, row->open.stream * FLAG_STREAM + e->estimated * FLAG_ESTIMATED +
                          (unsigned)e->outcome * FLAG_OUTCOME);
    p = put_number(p, row->worker);
    p = put_number(p, row->sequence);
    for (int i = 0; i < NAME_COUNT; i++)
        p = put_number(p, (uint64_t)names->of[i]);
    p = put_number(p, (uint64_t)e->input_tokens);
    p = put_number(p, (uint64_t)e->output_tokens);
    p = put_number(p, (uint64_t)e->cost);
    p = put_state(p, e, names);
    size_t n = (size_t)(p - to);
    put_fixed(to, n - ROW_LENGTH_BYTES, ROW_LENGTH_BYTES);
    return n;
}

static uint32_t page_check(const char *page, size_t page_bytes)
{
    return crc32c(0, page + 4, page_bytes - 4);
}

void page_header_write(char *page, size_t page_bytes, int64_t boot, int64_t base_us, uint32_t count)
{
    put_fixed(page + 4, PAGE_VERSION, 4);
    put_fixed(page + 8, count, 4);
    put_fixed(page + 12, page_bytes - PAGE_HEADER_BYTES, 4);
    put_fixed(page + 16, (uint64_t)boot, 8);
    put_fixed(page + 24, (uint64_t)base_us, 8);
    put_fixed(page, page_check(page, page_bytes), 4);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

bool page_open(struct page *p, struct str bytes)
{
    p->is_damaged = true;
    if (bytes.n < PAGE_HEADER_BYTES || get_fixed(bytes.p, 4) != page_check(bytes.p, bytes.n) ||
        get_fixed(bytes.p + 4, 4) != PAGE_VERSION ||
        get_fixed(bytes.p + 12, 4) != bytes.n - PAGE_HEADER_BYTES ||
        get_fixed(bytes.p + 16, 8) != (uint64_t)p->boot)
        return false;
    p->is_damaged = false;
    p->left = (uint32_t)get_fixed(bytes.p + 8, 4);
    p->base_us = (int64_t)get_fixed(bytes.p + 24, 8);
    p->rest = str_from(bytes, PAGE_HEADER_BYTES);
    return true;
}

bool page_row_read(struct str bytes, int64_t base_us, struct page_row *row)
{
    size_t id_bytes = bytes.n ? (uint8_t)bytes.p[0] : 0;
    if (1 + id_bytes > bytes.n || id_bytes > ENTRY_TEXT_MAX)
        return false;
    row->bytes = bytes;
    row->request_id = str_make(bytes.p + 1, id_bytes);
    struct reader r = {(const uint8_t *)bytes.p + 1 + id_bytes, (const uint8_t *)bytes.p + bytes.n, false};
    row->ended_us = (int64_t)take_difference(&r, (uint64_t)base_us);
    row->duration_us = take_number(&r);
    row->at_us = (int64_t)take_difference(&r, (uint64_t)row->ended_us - row->duration_us);
    uint64_t flags = take_number(&r);
    row->stream = flags & FLAG_STREAM;
    row->estimated = flags & FLAG_ESTIMATED;
    row->outcome = (enum entry_outcome)MIN(flags / FLAG_OUTCOME, (uint64_t)ENTRY_ABORTED);
    row->worker = (uint32_t)take_number(&r);
    row->sequence = take_number(&r);
    for (int i = 0; i < NAME_COUNT; i++)
        row->names[i] = (int64_t)take_number(&r);
    row->input_tokens = (int64_t)take_number(&r);
    row->output_tokens = (int64_t)take_number(&r);
    row->cost = (int64_t)take_number(&r);
    row->rest = str_make((const char *)r.p, (size_t)(r.end - r.p));
    return !r.failed;
}

/* Where the next row's bytes stand. */
static bool row_cut(struct page *p, struct str *bytes)
{
    size_t n = p->rest.n >= ROW_LENGTH_BYTES ? (size_t)get_fixed(p->rest.p, ROW_LENGTH_BYTES) : SIZE_MAX;
    if (n > p->rest.n - MIN(p->rest.n, (size_t)ROW_LENGTH_BYTES))
        return false;
    *bytes = str_make(p->rest.p + ROW_LENGTH_BYTES, n);
    p->rest = str_make(bytes->p + n, p->rest.n - ROW_LENGTH_BYTES - n);
    return true;
}

static bool id_is(struct str row, struct str id)
{
    return row.n > id.n && (uint8_t)row.p[0] == id.n && memcmp(row.p + 1, id.p, id.n) == 0;
}

bool page_next(struct page *p, struct page_row *row)
{
    struct str bytes;
    for (; !p->is_damaged && p->left; p->left--) {
        if (!row_cut(p, &bytes)) {
            p->is_damaged = true;
        } else if (!p->only_id.n || id_is(bytes, p->only_id)) {
            p->left--;
            p->is_damaged = !page_row_read(bytes, p->base_us, row);
            return !p->is_damaged;
        }
    }
    p->is_damaged = p->is_damaged || p->rest.n > 0;
    return false;
}

bool page_row_rest(const struct page_row *row, struct entry_state *state,
                   struct page_attempt attempts[ENTRY_ATTEMPTS_MAX])
{
    struct reader r = {(const uint8_t *)row->rest.p, (const uint8_t *)row->rest.p + row->rest.n, false};
    *state = (struct entry_state){.input_tokens = row->input_tokens,
                                  .output_tokens = row->output_tokens,
                                  .cost = row->cost,
                                  .duration_us = row->duration_us,
                                  .outcome = row->outcome,
                                  .estimated = row->estimated};
    state->cached_tokens = (int64_t)take_number(&r);
    state->reasoning_tokens = (int64_t)take_number(&r);
    state->first_byte_us = take_number(&r);
    state->status = take_int(&r);
    state->attempt_count = take_int(&r);
    for (int i = 0; i < MIN(state->attempt_count, (int)ENTRY_ATTEMPTS_MAX); i++) {
        attempts[i].provider = (int64_t)take_number(&r);
        attempts[i].model = (int64_t)take_number(&r);
        attempts[i].outcome = (int64_t)take_number(&r);
        state->attempts[i].status = take_int(&r);
    }
    return !r.failed && r.p == r.end;
}
