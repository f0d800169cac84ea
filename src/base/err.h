/*
 * Errors: a code from errors.def, and one sentence from the place that first knew why.
 * Functions return `enum err`; the sentence travels in a `struct error` that the caller owns.
 */
#ifndef HESTIA_BASE_ERR_H
#define HESTIA_BASE_ERR_H

#include "base/base.h"

enum err {
    OK = 0,
#define E(name, status, code, type, source, retry, text) ERR_##name,
#include "base/errors.def"
#undef E
    ERR_COUNT
};

enum err_source { SOURCE_GATEWAY, SOURCE_UPSTREAM, SOURCE_SERVICE };

struct err_row {
    const char *name; /* "QUEUE_FULL" */
    int status;       /* HTTP status; 0 = never shown as such */
    const char *code; /* OpenAI error code */
    const char *type; /* OpenAI error type */
    enum err_source source;
    int retry_after; /* seconds; 0 = no Retry-After */
    const char *text;
};

const struct err_row *err_row(enum err err);
const char *err_source_name(enum err_source source);

/* A code with its one sentence. `why` is empty when the row's text says it all. */
struct error {
    enum err err;
    const char *param; /* constant name of the field that is wrong, or NULL */
    char why[480];
};

/* Records code and sentence and returns the code: `return error_set(e, ERR_DNS, "…", host);` */
enum err error_set(struct error *error, enum err err, const char *format, ...) PRINTF_LIKE(3, 4);
/* The sentence for people: `why`, else the row's text. */
const char *error_text(const struct error *error);

#define TRY(expression)                                                                                      \
    do {                                                                                                     \
        enum err try_err_ = (expression);                                                                    \
        if (UNLIKELY(try_err_ != OK))                                                                        \
            return try_err_;                                                                                 \
    } while (0)

#endif
