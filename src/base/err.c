/* The table behind errors.def, and the one-sentence errors. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct err_row rows[ERR_COUNT] = {
    [OK] = {"OK", 200, "", "", SOURCE_GATEWAY, 0, "no error"},
#define E(name, status, code, type, source, retry, text)                                                     \
    [ERR_##name] = {#name, status, code, type, SOURCE_##source, retry, text},
#include "base/errors.def"
#undef E
};

const struct err_row *err_row(enum err err)
{
    REQUIRE((unsigned)err < ERR_COUNT);
    return &rows[err];
}

const char *err_source_name(enum err_source source)
{
    static const char *const names[] = {"gateway", "upstream", "service"};
    return names[source];
}

enum err error_set(struct error *error, enum err err, const char *format, ...)
{
    va_list args;
    error->err = err;
    error->param = NULL;
    va_start(args, format);
    vsnprintf(error->why, sizeof error->why, format, args);
    va_end(args);
    return err;
}

const char *error_text(const struct error *error)
{
    return error->why[0] ? error->why : err_row(error->err)->text;
}

_Noreturn void require_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "hestia: invariant broken: %s (%s:%d)\n", condition, file, line);
    abort();
}
