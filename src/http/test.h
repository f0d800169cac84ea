/* What the unit tests of this folder share: cmocka, and checks that name the case they fail in. */
#ifndef HESTIA_HTTP_TEST_H
#define HESTIA_HTTP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

#define CHECK_ERR(expression, want, name) check_err((expression), (want), (name), __FILE__, __LINE__)
#define CHECK_STR(got, want, name) check_str((got), str_from_c(want), (name), __FILE__, __LINE__)

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

#endif
