/*
 * The frames of a crashed stack, for crash.c only. Everything here but modules_find is async-signal-safe:
 * no locks, no heap, and no read outside the bounds that are given.
 */
#ifndef HESTIA_LOOP_CRASH_FRAMES_H
#define HESTIA_LOOP_CRASH_FRAMES_H

#include "base/base.h"

/* A stack, and the guard below it: touching that is an overflow. */
struct stack_bounds {
    uintptr_t guard, low, high;
};

struct module {
    uintptr_t base;      /* what addr2line wants subtracted */
    uintptr_t low, high; /* its code */
    char name[48];       /* without folders */
};

/* Notes the code that is loaded, and the program's build id. Once, before threads. */
void modules_find(void);
/* NULL for an address in none. */
const struct module *module_at(uintptr_t address);
const char *build_id(void); /* hexadecimal, "" when there is none */

/* Where a thread was when the signal came. */
struct position {
    uintptr_t code, stack, frame;
};
struct position position_of(const void *context);

/* Addresses of the calls, innermost first. Returns how many. */
size_t frames_walk(struct position at, const struct stack_bounds *stack, uintptr_t *frames, size_t max);

#endif
