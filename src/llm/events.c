/*
 * The event filter: cuts a stream of server-sent events (WHATWG HTML, "Server-sent events") and looks into
 * each. An event is forwarded when its empty line has come, also when that ends in a CR whose LF may be still
 * under way: the LF then follows its event. Called by the relay of a worker. Pure.
 */
#include "llm/usage.h"

#include "http/scan.h"
#include "llm/json_block.h"

/* The next line without its end; the last one may have none. */
static bool next_line(struct str *rest, struct str *line)
{
    if (!rest->n)
        return false;
    const char *end = rest->p + rest->n, *stop = scan_line(rest->p, end);
    *line = str_make(rest->p, (size_t)(stop - rest->p));
    size_t n = stop == end ? 0 : 1 + (*stop == '\r' && stop + 1 < end && stop[1] == '\n');
    *rest = str_from(*rest, line->n + n);
    return true;
}

/* The value of a data field. */
static bool line_data(struct str line, struct str *value)
{
    if (!str_starts(line, STR("data")) || (line.n > 4 && line.p[4] != ':'))
        return false;
    *value = str_from(line, line.n > 5 && line.p[5] == ' ' ? 6 : 5);
    return true;
}

/* "usage" or "error" stands at p, and its value is no null. */
static bool is_key_of_ours(const char *p, const char *end)
{
    if (memcmp(p, "\"usage\"", 7) != 0 && memcmp(p, "\"error\"", 7) != 0)
        return false;
    for (p += 7; p < end && strchr(" \t:", *p); p++)
        continue;
    return p < end && *p != 'n';
}

static bool has_key_among(const char *p, const char *stop, const char *end)
{
    for (; p < stop; p++)
        if (*p == '"' && p[6] == '"' && is_key_of_ours(p, end))
            return true;
    return false;
}

static bool has_key_plain(const char *p, const char *end)
{
    for (; end - p >= SCAN_BLOCK + 6; p += SCAN_BLOCK) {
        scan_block first = scan_load(p + 1);
        scan_block hits = (scan_block)((scan_load(p) == '"') & ((first == 'u') | (first == 'e')) &
                                       (scan_load(p + 6) == '"'));
        if (scan_first(hits) < SCAN_BLOCK && has_key_among(p, p + SCAN_BLOCK, end))
            return true;
    }
    return end - p >= 7 && has_key_among(p, end - 6, end);
}

#if HAVE_AVX2_BLOCKS
enum { WIDE = 32, WIDE_NEEDS = WIDE + 6 };

AVX2_INLINE __m256i wide_equal(const char *p, char c)
{
    return _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)p), _mm256_set1_epi8(c));
}

/* There are WIDE_NEEDS bytes; the last step takes some of them again. */
AVX2 static bool has_key_avx2(const char *p, const char *end)
{
    for (;; p = MIN(p + WIDE, end - WIDE_NEEDS)) {
        __m256i quotes = _mm256_and_si256(wide_equal(p, '"'), wide_equal(p + 6, '"'));
        __m256i letters = _mm256_or_si256(wide_equal(p + 1, 'u'), wide_equal(p + 1, 'e'));
        uint32_t hits = (uint32_t)_mm256_movemask_epi8(_mm256_and_si256(quotes, letters));
        for (; hits; hits &= hits - 1)
            if (is_key_of_ours(p + __builtin_ctz(hits), end))
                return true;
        if (p == end - WIDE_NEEDS)
            return false;
    }
}
#endif

/* Whether it is worth reading: of a thousand events, one is. Both names have five letters, so two quotes six
   apart with the right first letter are nearly always one of them. */
static bool has_key_of_ours(struct str data)
{
    const char *end = data.p + data.n;
#if HAVE_AVX2_BLOCKS
    if (data.n >= WIDE_NEEDS && can_blocks())
        return has_key_avx2(data.p, end);
#endif
    return has_key_plain(data.p, end);
}

enum { DONE_MAX = 16 }; /* [DONE] and some blanks are shorter */

struct event_data {
    struct usage_reader reader;
    int lines;
    bool done; /* [DONE] */
};

static void read_data(struct event_data *d, struct str value, bool last_line)
{
    d->lines++;
    if (d->lines == 1 && value.n < DONE_MAX)
        d->done = str_eq(str_trim(value), STR("[DONE]"));
    if (d->done || (d->lines == 1 && last_line && !has_key_of_ours(value)))
        return;
    usage_reader_feed(&d->reader, value);
    usage_reader_feed(&d->reader, STR("\n"));
}

/* False: it is to be taken out. */
static bool judge(struct event_filter *f, const struct event_data *data)
{
    const struct usage_reader *reader = &data->reader;
    bool whole = reader->complete && !reader->broken, error = whole && reader->has_error;
    bool usage = whole && reader->usage.known, only_usage = usage && reader->empty_choices;
    if (usage)
        f->usage = reader->usage;
    if (only_usage && f->drop_usage)
        return false;
    if (!f->saw_event && data->lines > 0)
        f->began_with_error = error;
    f->saw_event |= data->lines > 0;
    f->saw_done |= data->done;
    f->saw_error |= error;
    f->content_events += data->lines > 0 && !data->done && !error && !only_usage;
    return true;
}

static bool look_at(struct event_filter *f, struct str event)
{
    struct event_data data = {0};
    struct str line, value;
    if (str_starts(event, STR("\xef\xbb\xbf"))) /* may begin a stream */
        event = str_from(event, 3);
    while (next_line(&event, &line))
        if (line_data(line, &value))
            read_data(&data, value, event.n <= 2); /* but for the empty line */
    return judge(f, &data);
}

/* Looks for the empty line that ends the event, from *p on. True: found, *p is behind it. */
static bool find_end(struct event_filter *f, const char **p, const char *end)
{
    while (*p < end) {
        if (f->after_cr) {
            f->after_cr = false;
            if (**p == '\n') {
                ++*p;
                continue;
            }
        }
        const char *stop = scan_line(*p, end);
        bool empty = stop == *p && !f->in_line;
        f->in_line = stop == end;
        if (stop == end) {
            *p = end;
            return false;
        }
        f->after_cr = *stop == '\r';
        *p = stop + 1;
        if (f->after_cr && *p < end) {
            f->after_cr = false;
            *p += **p == '\n';
        }
        if (empty)
            return true;
    }
    return false;
}

/* A whole event as nearly all are: one line of data and an empty one, both ended by LF alone. */
static bool find_simple(struct str bytes, struct str *event)
{
    if (!str_starts(bytes, STR("data:")))
        return false;
    size_t n = str_find(bytes, '\n');
    if (n + 1 >= bytes.n || bytes.p[n + 1] != '\n' || n + 2 > EVENT_MAX || memchr(bytes.p, '\r', n))
        return false;
    *event = str_first(bytes, n + 2);
    return true;
}

static enum err event_end(struct event_filter *f, struct str event, bool keep, struct buf *out)
{
    f->last_dropped = !keep;
    f->in_event = false;
    if (keep)
        buf_add_str(out, event);
    return buf_err(out);
}

static enum err event_out(struct event_filter *f, struct str event, struct buf *out)
{
    if (event.n > EVENT_MAX)
        return ERR_LIMIT;
    return event_end(f, event, look_at(f, event), out);
}

static enum err simple_out(struct event_filter *f, struct str event, struct buf *out)
{
    static const struct event_data plain = {.lines = 1};
    struct str value = STR_NONE;
    bool data = line_data(str_first(event, event.n - 2), &value);
    if (data && value.n >= DONE_MAX && !has_key_of_ours(value))
        return event_end(f, event, judge(f, &plain), out);
    return event_out(f, event, out);
}

static enum err pending_add(struct event_filter *f, struct str bytes)
{
    f->pending.max = EVENT_MAX;
    buf_add_str(&f->pending, bytes);
    return buf_err(&f->pending);
}

/* The LF of the event before, when its CR was the last byte of the read before. */
static struct str late_line_feed(struct event_filter *f, struct str bytes, struct buf *out)
{
    if (!bytes.n || !f->after_cr || f->in_event)
        return bytes;
    f->after_cr = false;
    if (bytes.p[0] != '\n')
        return bytes;
    if (!f->last_dropped)
        buf_add_char(out, '\n');
    return str_from(bytes, 1);
}

enum err event_filter_feed(struct event_filter *f, struct str bytes, struct buf *out)
{
    bytes = late_line_feed(f, bytes, out);
    while (bytes.n) {
        struct str event;
        if (!f->in_event && find_simple(bytes, &event)) {
            TRY(simple_out(f, event, out));
            bytes = str_from(bytes, event.n);
            continue;
        }
        const char *p = bytes.p;
        bool found = find_end(f, &p, bytes.p + bytes.n);
        struct str part = str_make(bytes.p, (size_t)(p - bytes.p));
        bytes = str_from(bytes, part.n);
        f->in_event = true;
        if (!found || f->pending.n)
            TRY(pending_add(f, part));
        if (!found)
            break;
        TRY(event_out(f, f->pending.n ? buf_str(&f->pending) : part, out));
        buf_clear(&f->pending);
    }
    return buf_err(out);
}

enum err event_filter_end(struct event_filter *f, struct buf *out)
{
    if (f->pending.n)
        TRY(event_out(f, buf_str(&f->pending), out));
    buf_clear(&f->pending);
    return buf_err(out);
}

void event_filter_free(struct event_filter *f)
{
    buf_free(&f->pending);
}
