/*
 * struct buf: a growing byte buffer that names its maximum. Writers do not check each step: the first failure
 * (no memory, or beyond the maximum) is remembered in `err`, later writes do nothing, and the one who uses
 * the result looks at buf_err() once.
 */
#ifndef HESTIA_BASE_BUF_H
#define HESTIA_BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

struct buf {
    char *p;
    size_t n;   /* bytes used */
    size_t cap; /* bytes allocated */
    size_t max; /* refuses to grow beyond; 0 = BUF_MAX_DEFAULT */
    enum err err;
};

#define BUF_MAX_DEFAULT ((size_t)16 << 20)
#define BUF(maximum) ((struct buf){.max = (maximum)})

void buf_free(struct buf *b);
/* Empties it and forgets an error; keeps the memory. */
void buf_clear(struct buf *b);
/* Room for n more bytes; false records the error. */
bool buf_reserve(struct buf *b, size_t n);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t value);
void buf_addf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* Drops trailing bytes so that n are left. */
void buf_truncate(struct buf *b, size_t n);
/* The content with a terminating NUL behind it (not counted in n); "" when empty or failed. */
const char *buf_c(struct buf *b);

/* Inline, because heads are made of many short literals: the compiler knows their length. */
static inline void buf_add(struct buf *b, const void *bytes, size_t n)
{
    if (n == 0 || (UNLIKELY(b->err != OK || b->cap - b->n < n) && !buf_reserve(b, n)))
        return;
    memcpy(b->p + b->n, bytes, n);
    b->n += n;
}

static inline void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

static inline void buf_add_c(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

static inline struct str buf_str(const struct buf *b)
{
    return str_make(b->p, b->n);
}

static inline MUST_CHECK enum err buf_err(const struct buf *b)
{
    return b->err;
}

#endif
