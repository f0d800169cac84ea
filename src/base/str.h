/*
 * struct str: a borrowed span of bytes, not terminated, never owned. Its bytes live as long as the buffer or
 * arena they point into; whoever keeps a str longer than that copies it first (arena_str).
 */
#ifndef HESTIA_BASE_STR_H
#define HESTIA_BASE_STR_H

#include "base/base.h"

struct str {
    const char *p; /* may be NULL when n is 0 */
    size_t n;      /* bytes */
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_make(const char *p, size_t n)
{
    return (struct str){p, n};
}

/* A NULL pointer gives the empty str. */
static inline struct str str_from_c(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII only; locale never matters to a protocol. */
static inline char char_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* Index of the first `c` in s, or s.n. */
size_t str_find(struct str s, char c);
/* Index of the first occurrence of needle (not empty), or s.n. */
size_t str_find_str(struct str s, struct str needle);
size_t str_find_str_nocase(struct str s, struct str needle);
/* The part from `from` (clamped) on / the first `n` bytes (clamped). */
struct str str_from(struct str s, size_t from);
struct str str_first(struct str s, size_t n);
/* Without SP and HTAB (OWS of RFC 9110) at both ends. */
struct str str_trim(struct str s);
/* Cuts *rest at the first `separator`: returns the part before it and moves *rest behind it. With no
   separator left the whole is returned and *rest becomes empty. */
struct str str_cut(struct str *rest, char separator);
/* Next element of a comma-separated field value, trimmed; empty elements are skipped (RFC 9110 5.6.1).
   False at the end. */
bool str_next_element(struct str *rest, struct str *element);
/* memcmp order, shorter first: for qsort. */
int str_compare(struct str a, struct str b);
uint64_t str_hash(struct str s);
/* '*' matches any run of bytes, everything else itself. Case-sensitive. */
bool str_glob(struct str pattern, struct str s);
/* Edit distance capped at `limit`: for "did you mean". */
int str_distance(struct str a, struct str b, int limit);
/* Copies into dst and terminates; cuts to fit. Returns dst. */
char *str_to_c(struct str s, char *dst, size_t dst_size);

#endif
