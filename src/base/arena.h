/*
 * struct arena: memory with one lifetime (an exchange, a connection, a config snapshot). Nothing is freed
 * alone; arena_free or arena_reset frees all. Zeroed memory; NULL when memory is short or the maximum is
 * reached.
 */
#ifndef HESTIA_BASE_ARENA_H
#define HESTIA_BASE_ARENA_H

#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* bytes handed out, all blocks */
    size_t max;                 /* 0 = 64 MiB */
};

void *arena_alloc(struct arena *a, size_t n) MUST_CHECK;
/* Copies, with a NUL behind it. {NULL,0} when memory is short. */
struct str arena_str(struct arena *a, struct str s);
/* The same as a C string; NULL when memory is short. */
char *arena_c(struct arena *a, struct str s) MUST_CHECK;
struct str arena_printf(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3);
/* Frees everything but one block, to be used again. */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

#endif
