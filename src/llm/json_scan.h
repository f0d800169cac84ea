/*
 * Reads JSON where it lies: spans of values, nothing is built. RFC 8259 to the letter: structure, numbers,
 * literals, controls, UTF-8 and the form of escapes are checked; no byte order mark, no trailing comma, no
 * comment, no NaN. An escape may name a lone surrogate, as the grammar of RFC 8259 (section 8.2) allows: such
 * a text passes, and only decoding turns it into U+FFFD. Used by body.h's functions. Pure.
 *
 *     struct json_scan s = json_scan_of(text);
 *     if (json_scan_open(&s))
 *         while (json_scan_member(&s, &key) == JSON_MEMBER)
 *             json_scan_value(&s, &value);
 */
#ifndef HESTIA_LLM_JSON_SCAN_H
#define HESTIA_LLM_JSON_SCAN_H

#include "base/arena.h"

enum { JSON_DEPTH_MAX = 64 };

struct json_scan {
    const char *p, *start, *end;
    const char *why;  /* what is wrong at p, a clause for people; NULL while all is well */
    uint64_t objects; /* bit d: the container at depth d + 1 is an object */
    unsigned depth;   /* containers that are open */
    unsigned keys, keys_max;
    bool after_open; /* the container that was opened last has no member yet */
};

struct json_key {
    struct str raw; /* between the quotes, with its escapes */
    const char *at; /* its opening quote */
};

struct json_scan json_scan_of(struct str text, unsigned keys_max);
/* The next byte that is no white space, or 0 at the end; it is not taken. */
char json_scan_peek(struct json_scan *s);
/* Takes the '{' of an object; its members follow. False: none stands here (or too deep): `why` is set. */
bool json_scan_open(struct json_scan *s);
enum json_step { JSON_MEMBER, JSON_CLOSED, JSON_BROKEN };
/* To the value of the next member, or over the '}'. The value must then be taken by one of these functions.
 */
enum json_step json_scan_member(struct json_scan *s, struct json_key *key);
/* Takes any value, checking all of it. */
bool json_scan_value(struct json_scan *s, struct str *value);
/* Nothing but white space is left. */
bool json_scan_end(struct json_scan *s);

/* What stands between the quotes of a value that is a string (it begins with one) and was checked. */
struct str json_text_raw(struct str value);
/* Such a text without its escapes, in dst of at least raw.n bytes; returns the length. A lone surrogate
   becomes U+FFFD and clears *clean (which may be NULL). */
size_t json_text_decode(struct str raw, char *dst, bool *clean);
/* The same in the arena; the span itself when there is nothing to decode. p is NULL when memory is short. */
struct str json_text_str(struct arena *arena, struct str raw, bool *clean);

/* The closing quote of the string whose first byte is at p, everything before it checked. The text is
   [start, end). NULL: *why says what is wrong, *at where. Two ways of doing it, for tests to compare: the
   first picks by the processor. */
const char *json_string_end(const char *start, const char *p, const char *end, const char **why,
                            const char **at);
const char *json_string_end_plain(const char *p, const char *end, const char **why, const char **at);

#endif
