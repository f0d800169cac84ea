/* Block-chained bump allocator. One owner. */
#include "base/arena.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { BLOCK_SIZE = 4096 - 64, ALIGNMENT = 16, ARENA_MAX_DEFAULT = 64 << 20 };

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(ALIGNMENT) char bytes[];
};

static struct arena_block *block_add(struct arena *a, size_t n)
{
    size_t size = MAX(n, (size_t)BLOCK_SIZE);
    struct arena_block *block = mem_alloc(sizeof *block + size);
    if (!block)
        return NULL;
    block->size = size;
    block->next = a->blocks;
    a->blocks = block;
    return block;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t max = a->max ? a->max : (size_t)ARENA_MAX_DEFAULT;
    if (n > max || a->used > max - n)
        return NULL;
    n = (n + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct arena_block *block = a->blocks;
    if (!block || block->size - block->used < n)
        block = block_add(a, n);
    if (!block)
        return NULL;
    void *p = block->bytes + block->used;
    block->used += n;
    a->used += n;
    return p;
}

char *arena_c(struct arena *a, struct str s)
{
    char *copy = arena_alloc(a, s.n + 1);
    if (copy && s.n)
        memcpy(copy, s.p, s.n);
    return copy;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *copy = arena_c(a, s);
    return copy ? str_make(copy, s.n) : STR_NONE;
}

struct str arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    struct str result = STR_NONE;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *p = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (p) {
        vsnprintf(p, (size_t)n + 1, format, again);
        result = str_make(p, (size_t)n);
    }
    va_end(again);
    va_end(args);
    return result;
}

static void blocks_free(struct arena_block *block)
{
    while (block) {
        struct arena_block *next = block->next;
        mem_free(block);
        block = next;
    }
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = a->blocks;
    while (keep && keep->size != BLOCK_SIZE)
        keep = keep->next;
    struct arena_block *block = a->blocks;
    while (block) {
        struct arena_block *next = block->next;
        if (block != keep)
            mem_free(block);
        block = next;
    }
    a->blocks = keep;
    a->used = 0;
    if (keep) {
        memset(keep->bytes, 0, keep->used);
        keep->used = 0;
        keep->next = NULL;
    }
}

void arena_free(struct arena *a)
{
    blocks_free(a->blocks);
    a->blocks = NULL;
    a->used = 0;
}
