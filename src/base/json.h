/*
 * Writing JSON into a buf: commas, escapes and nesting are kept right by the writer, so no other code prints
 * a quote. Invalid UTF-8 becomes U+FFFD; controls, DEL, U+2028/9 and bidirectional overrides are escaped, so
 * that a line of log stays one line (http.md section 6).
 *
 *     struct json j = json_to(&buf);
 *     json_put_object(&j); json_key_str(&j, "state", STR("hot")); json_end(&j);
 */
#ifndef HESTIA_BASE_JSON_H
#define HESTIA_BASE_JSON_H

#include "base/buf.h"

struct json {
    struct buf *out;
    uint64_t array_bits; /* bit d: level d is an array */
    unsigned depth;      /* at most 63 */
    bool comma;          /* a comma is due before the next value or key */
};

static inline struct json json_to(struct buf *out)
{
    return (struct json){.out = out};
}

void json_put_object(struct json *j);
void json_put_array(struct json *j);
void json_end(struct json *j); /* closes what was opened last */
void json_key(struct json *j, const char *key);
void json_key_dynamic(struct json *j, struct str key);
void json_str(struct json *j, struct str value);
void json_c(struct json *j, const char *value); /* NULL prints null */
void json_i64(struct json *j, int64_t value);
void json_u64(struct json *j, uint64_t value);
/* Fixed-point with `decimals` digits after the point: no locale, no exponent. NaN and infinities print null.
 */
void json_double(struct json *j, double value, int decimals);
/* value / 10^digits, exactly: no exponent, no zeros at its end. */
void json_decimal(struct json *j, int64_t value, int digits);
void json_bool(struct json *j, bool value);
void json_put_null(struct json *j);
/* A value that is JSON already. */
void json_raw(struct json *j, struct str json_text);

void json_key_str(struct json *j, const char *key, struct str value);
void json_key_c(struct json *j, const char *key, const char *value);
void json_key_i64(struct json *j, const char *key, int64_t value);
void json_key_u64(struct json *j, const char *key, uint64_t value);
void json_key_double(struct json *j, const char *key, double value, int decimals);
void json_key_decimal(struct json *j, const char *key, int64_t value, int digits);
void json_key_bool(struct json *j, const char *key, bool value);
void json_key_null(struct json *j, const char *key);
void json_key_object(struct json *j, const char *key);
void json_key_array(struct json *j, const char *key);

/* Only the escaping, without quotes. */
void json_escape(struct buf *out, struct str s);

/* Whether a JSON text nests at most `levels` deep: asked before a parser that recurses sees it, on the small
   stack of a task. What is no JSON at all may pass. */
bool json_text_is_shallow(struct str text, int levels);

#endif
