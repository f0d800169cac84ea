/* The last output of a service. Control thread; see log_ring.h. */
#include "service/log_ring.h"

#include "base/mem.h"

#include <stdatomic.h>

struct log_ring *log_ring_new(void)
{
    struct log_ring *r = mem_alloc(sizeof *r);
    if (!r)
        return NULL;
    atomic_init(&r->references, 1);
    list_init(&r->readers);
    return r;
}

struct log_ring *log_ring_ref(struct log_ring *r)
{
    atomic_fetch_add_explicit(&r->references, 1, memory_order_relaxed);
    return r;
}

void log_ring_unref(struct log_ring *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) > 1)
        return;
    mem_free(r->bytes);
    mem_free(r->lines);
    mem_free(r);
}

/* ---- writing ----------------------------------------------------------------------------------------- */

static void drop_oldest(struct log_ring *r)
{
    r->line_first = (r->line_first + 1) % r->line_capacity;
    r->line_count--;
}

/* Services that never print hold no memory: both rings appear with the first line. */
static bool ring_ready(struct log_ring *r)
{
    if (!r->bytes)
        r->bytes = mem_alloc(LOG_RING_BYTES);
    if (!r->bytes)
        return false;
    if (r->line_count < r->line_capacity || r->line_capacity == LOG_RING_LINES)
        return true;
    size_t capacity = r->line_capacity ? r->line_capacity * 2 : 64;
    struct log_ring_line *lines = mem_alloc(capacity * sizeof *lines);
    if (!lines)
        return r->line_capacity > 0;
    for (size_t i = 0; i < r->line_count; i++)
        lines[i] = r->lines[(r->line_first + i) % r->line_capacity];
    mem_free(r->lines);
    r->lines = lines;
    r->line_first = 0;
    r->line_capacity = capacity;
    return true;
}

static void copy_in(struct log_ring *r, uint64_t offset, struct str s)
{
    size_t at = offset % LOG_RING_BYTES, first = MIN(s.n, LOG_RING_BYTES - at);
    memcpy(r->bytes + at, s.p, first);
    memcpy(r->bytes, s.p + first, s.n - first);
}

static void line_push(struct log_ring *r, struct str text, int64_t wall_us)
{
    if (!ring_ready(r))
        return;
    uint64_t end = r->end + text.n + 1;
    while (r->line_count > 0 &&
           (r->line_count == r->line_capacity || end - r->lines[r->line_first].offset > LOG_RING_BYTES))
        drop_oldest(r);
    if (text.n)
        copy_in(r, r->end, text);
    r->lines[(r->line_first + r->line_count) % r->line_capacity] =
        (struct log_ring_line){.offset = r->end, .wall_us = wall_us, .n = (uint32_t)text.n};
    r->line_count++;
    r->end = end;
}

static void partial_push(struct log_ring *r, int64_t wall_us, log_ring_line_fn *on_line, void *argument)
{
    struct str text = str_make(r->partial, r->partial_n);
    line_push(r, text, wall_us);
    if (on_line)
        on_line(argument, text);
    r->partial_n = 0;
}

void log_ring_end_line(struct log_ring *r, int64_t wall_us, log_ring_line_fn *on_line, void *argument)
{
    r->after_cr = false;
    if (r->partial_n > 0)
        partial_push(r, wall_us, on_line, argument);
}

void log_ring_add(struct log_ring *r, struct str bytes, int64_t wall_us, log_ring_line_fn *on_line,
                  void *argument)
{
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];
        bool starts_over = c == '\r' && r->partial_n == 0; /* a progress bar's next step */
        bool ends = (c == '\r' && !starts_over) || (c == '\n' && !r->after_cr);
        if (ends) {
            partial_push(r, wall_us, on_line, argument);
        } else if (c != '\0' && c != '\n' && c != '\r') {
            if (r->partial_n == LOG_LINE_MAX)
                partial_push(r, wall_us, on_line, argument);
            r->partial[r->partial_n++] = c;
        }
        r->after_cr = c == '\r' && ends;
    }
}

/* ---- reading ----------------------------------------------------------------------------------------- */

struct log_ring_line log_ring_line_at(const struct log_ring *r, size_t i)
{
    REQUIRE(i < r->line_count);
    return r->lines[(r->line_first + i) % r->line_capacity];
}

static void copy_out(const struct log_ring *r, const struct log_ring_line *line, char *dst, size_t n)
{
    size_t at = line->offset % LOG_RING_BYTES, first = MIN(n, LOG_RING_BYTES - at);
    memcpy(dst, r->bytes + at, first);
    memcpy(dst + first, r->bytes, n - first);
}

struct str log_ring_text(const struct log_ring *r, const struct log_ring_line *line, struct arena *arena)
{
    char *p = arena_alloc(arena, line->n + 1);
    if (!p)
        return STR_NONE;
    copy_out(r, line, p, line->n);
    return str_make(p, line->n);
}

size_t log_ring_find(const struct log_ring *r, uint64_t offset)
{
    size_t low = 0, high = r->line_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (log_ring_line_at(r, middle).offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void log_ring_tail(const struct log_ring *r, uint64_t from, size_t lines, size_t bytes, struct buf *out)
{
    char text[LOG_LINE_MAX];
    size_t first = MAX(log_ring_find(r, from), r->line_count - MIN(r->line_count, lines)), total = 0;
    /* The newest lines say most: go back until the room is used. */
    size_t i = r->line_count;
    while (i > first && total + log_ring_line_at(r, i - 1).n < bytes)
        total += log_ring_line_at(r, --i).n + 1;
    if (i == r->line_count && i > first)
        i--; /* even the last line is too long: its beginning */
    for (; i < r->line_count; i++) {
        struct log_ring_line line = log_ring_line_at(r, i);
        size_t n = MIN(line.n, bytes);
        copy_out(r, &line, text, n);
        for (size_t k = 0; k < n; k++)
            if ((unsigned char)text[k] < 0x20 || text[k] == 0x7f)
                text[k] = '?';
        buf_add_char(out, '\n');
        buf_add(out, text, n);
    }
}
