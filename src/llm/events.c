/*
 * The event filter: cuts a stream of server-sent events (WHATWG HTML, "Server-sent events") and looks into
 * each. An event is forwarded when its empty line has come, also when that ends in a CR whose LF may be still
 * under way: the LF then follows its event. Called by the relay of a worker. Pure.
 */
#include "llm/usage.h"

#include "http/scan.h"

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

/* Whether it is worth reading: of a thousand events, one is. Both names have five letters, so two quotes six
   apart with the right first letter are nearly always one of them. */
static bool has_key_of_ours(struct str data)
{
    const char *p = data.p, *end = p + data.n;
    for (; end - p >= SCAN_BLOCK + 6; p += SCAN_BLOCK) {
        scan_block first = scan_load(p + 1);
        scan_block hits = (scan_block)((scan_load(p) == '"') & ((first == 'u') | (first == 'e')) &
                                       (scan_load(p + 6) == '"'));
        if (scan_first(hits) == SCAN_BLOCK)
            continue;
        for (const char *at = p; at < p + SCAN_BLOCK && end - at >= 7; at++)
            if (is_key_of_ours(at, end))
                return true;
    }
    for (; end - p >= 7; p++)
        if (is_key_of_ours(p, end))
            return true;
    return false;
}

struct event_data {
    struct usage_reader reader;
    int lines;
    bool done; /* [DONE] */
};

static void read_data(struct event_data *d, struct str value, bool last_line)
{
    d->lines++;
    if (d->lines == 1 && value.n < 16)
        d->done = str_eq(str_trim(value), STR("[DONE]"));
    if (d->done || (d->lines == 1 && last_line && !has_key_of_ours(value)))
        return;
    usage_reader_feed(&d->reader, value);
    usage_reader_feed(&d->reader, STR("\n"));
}

/* False: it is to be taken out. */
static bool look_at(struct event_filter *f, struct str event)
{
    struct event_data data = {0};
    const struct usage_reader *reader = &data.reader;
    struct str line, value;
    if (str_starts(event, STR("\xef\xbb\xbf"))) /* may begin a stream */
        event = str_from(event, 3);
    while (next_line(&event, &line))
        if (line_data(line, &value))
            read_data(&data, value, event.n <= 2); /* but for the empty line */
    bool whole = reader->complete && !reader->broken;
    if (whole && reader->usage.known)
        f->usage = reader->usage;
    if (whole && reader->usage.known && reader->empty_choices && f->drop_usage)
        return false;
    if (!f->saw_event && data.lines > 0)
        f->began_with_error = whole && reader->has_error;
    f->saw_event |= data.lines > 0;
    f->saw_done |= data.done;
    f->saw_error |= whole && reader->has_error;
    return true;
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

static enum err event_out(struct event_filter *f, struct str event, struct buf *out)
{
    if (event.n > EVENT_MAX)
        return ERR_LIMIT;
    f->last_dropped = !look_at(f, event);
    f->in_event = false;
    if (!f->last_dropped)
        buf_add_str(out, event);
    return buf_err(out);
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
