/*
 * The last output of a service: whole lines in a ring of bytes, each with a monotonic offset and the wall
 * time of its end. NULs are dropped, CR ends a line like LF, long lines are cut into several. Control thread
 * only, but for the reference count. A service and the one that replaces it after a reload share one ring.
 */
#ifndef HESTIA_SERVICE_LOG_RING_H
#define HESTIA_SERVICE_LOG_RING_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"

enum {
    LOG_RING_BYTES = 256 << 10,
    LOG_RING_LINES = 8192,
    LOG_LINE_MAX = 4096, /* bytes */
};

struct log_ring_line {
    uint64_t offset; /* of its first byte */
    int64_t wall_us;
    uint32_t n; /* bytes, without the line's end */
};

struct log_ring {
    _Atomic int references;
    char *bytes;                 /* LOG_RING_BYTES; byte `offset` stands at offset % LOG_RING_BYTES */
    struct log_ring_line *lines; /* a ring too: capacity line_capacity */
    size_t line_first, line_count, line_capacity;
    uint64_t end; /* offset of the next line */
    char partial[LOG_LINE_MAX];
    size_t partial_n;
    bool after_cr;       /* a LF now belongs to the CR before it */
    struct list readers; /* who waits for more (calls.c) */
};

/* NULL when memory is short. */
struct log_ring *log_ring_new(void);
struct log_ring *log_ring_ref(struct log_ring *r);
void log_ring_unref(struct log_ring *r);

/* `on_line` is told each finished line; may be NULL. */
typedef void log_ring_line_fn(void *argument, struct str line);
void log_ring_add(struct log_ring *r, struct str bytes, int64_t wall_us, log_ring_line_fn *on_line,
                  void *argument);
/* Finishes a line that has no end yet. */
void log_ring_end_line(struct log_ring *r, int64_t wall_us, log_ring_line_fn *on_line, void *argument);

/* Line i of line_count, oldest first; the text is copied to the arena. */
struct log_ring_line log_ring_line_at(const struct log_ring *r, size_t i);
struct str log_ring_text(const struct log_ring *r, const struct log_ring_line *line, struct arena *arena);
/* Index of the first line at or after `offset`; line_count when there is none. */
size_t log_ring_find(const struct log_ring *r, uint64_t offset);
/* Appends the last lines at or after `from` to `out`, at most `lines` and `bytes`, each line on its own,
   control characters shown as '?'. */
void log_ring_tail(const struct log_ring *r, uint64_t from, size_t lines, size_t bytes, struct buf *out);

#endif
