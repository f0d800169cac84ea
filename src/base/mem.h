/*
 * The one door to the heap. Everything allocates here, so that tests can make the n-th allocation fail
 * (HESTIA_OOM_AT=n) and so that nothing ignores a NULL.
 */
#ifndef HESTIA_BASE_MEM_H
#define HESTIA_BASE_MEM_H

#include "base/base.h"

/* NULL when memory is short. Zeroed. */
void *mem_alloc(size_t n) MUST_CHECK;
/* Like realloc; new bytes are not zeroed. NULL keeps the old block. */
void *mem_resize(void *block, size_t n) MUST_CHECK;
void mem_free(void *block);
/* Sets the counter from HESTIA_OOM_AT; called once by main before threads start. */
void mem_init(void);

#endif
