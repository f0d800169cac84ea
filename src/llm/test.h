/* What the unit tests of this folder share: cmocka, and checks that name the case they fail in. */
#ifndef HESTIA_LLM_TEST_H
#define HESTIA_LLM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#define CHECK_ERR(expression, want, name) check_err((expression), (want), (name), __FILE__, __LINE__)
#define CHECK_STR(got, want, name) check_str((got), str_from_c(want), (name), __FILE__, __LINE__)
#define CHECK_INT(got, want, name) check_int((uint64_t)(got), (uint64_t)(want), (name), __FILE__, __LINE__)

static inline void check_err(enum err got, enum err want, const char *name, const char *file, int line)
{
    if (got == want)
        return;
    print_error("case '%s': got %s, want %s\n", name, err_row(got)->name, err_row(want)->name);
    _fail(file, line);
}

static inline void check_str(struct str got, struct str want, const char *name, const char *file, int line)
{
    if (str_eq(got, want))
        return;
    print_error("case '%s': got '%.*s', want '%.*s'\n", name, STR_ARG(got), STR_ARG(want));
    _fail(file, line);
}

static inline void check_int(uint64_t got, uint64_t want, const char *name, const char *file, int line)
{
    if (got == want)
        return;
    print_error("case '%s': got %llu, want %llu\n", name, (unsigned long long)got, (unsigned long long)want);
    _fail(file, line);
}

/* A copy of exactly that many bytes, so that the sanitizers see each one too many; mem_free. */
static inline char *exact_copy(struct str s)
{
    char *copy = mem_alloc(s.n ? s.n : 1);
    assert_non_null(copy);
    if (s.n)
        memcpy(copy, s.p, s.n);
    return copy;
}

#endif
