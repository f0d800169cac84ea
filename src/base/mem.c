/* Heap with fault injection. Any thread. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>

static _Atomic int64_t fail_at; /* counts down to the allocation that fails; 0 = off */

void mem_init(void)
{
    const char *text = getenv("HESTIA_OOM_AT");
    if (text)
        atomic_store(&fail_at, atoll(text));
}

static bool must_fail(void)
{
    if (LIKELY(atomic_load_explicit(&fail_at, memory_order_relaxed) == 0))
        return false;
    return atomic_fetch_sub(&fail_at, 1) == 1;
}

void *mem_alloc(size_t n)
{
    return must_fail() ? NULL : calloc(1, n ? n : 1);
}

void *mem_resize(void *block, size_t n)
{
    return must_fail() ? NULL : realloc(block, n ? n : 1);
}

void mem_free(void *block)
{
    free(block);
}
