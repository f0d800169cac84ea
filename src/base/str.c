/* Spans of bytes: comparison, search, cutting. Pure. */
#include "base/str.h"

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (char_lower(a.p[i]) != char_lower(b.p[i]))
            return false;
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_first(s, prefix.n), prefix);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq_nocase(str_first(s, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_from(s, s.n - suffix.n), suffix);
}

size_t str_find(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

size_t str_find_str(struct str s, struct str needle)
{
    for (size_t i = 0; i + needle.n <= s.n; i++) {
        i += str_find(str_from(s, i), needle.p[0]);
        if (i + needle.n <= s.n && memcmp(s.p + i, needle.p, needle.n) == 0)
            return i;
    }
    return s.n;
}

size_t str_find_str_nocase(struct str s, struct str needle)
{
    for (size_t i = 0; i + needle.n <= s.n; i++)
        if (str_eq_nocase(str_make(s.p + i, needle.n), needle))
            return i;
    return s.n;
}

struct str str_from(struct str s, size_t from)
{
    size_t cut = MIN(from, s.n);
    return str_make(s.n ? s.p + cut : s.p, s.n - cut);
}

struct str str_first(struct str s, size_t n)
{
    return str_make(s.p, MIN(n, s.n));
}

static bool is_ows(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.n && is_ows(s.p[0]))
        s = str_from(s, 1);
    while (s.n && is_ows(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str str_cut(struct str *rest, char separator)
{
    size_t at = str_find(*rest, separator);
    struct str part = str_first(*rest, at);
    *rest = str_from(*rest, at + 1);
    return part;
}

bool str_next_element(struct str *rest, struct str *element)
{
    while (rest->n) {
        *element = str_trim(str_cut(rest, ','));
        if (element->n)
            return true;
    }
    return false;
}

int str_compare(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int order = n ? memcmp(a.p, b.p, n) : 0;
    if (order)
        return order;
    return a.n < b.n ? -1 : a.n > b.n;
}

uint64_t str_hash(struct str s)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < s.n; i++)
        hash = (hash ^ (uint8_t)s.p[i]) * 0x100000001b3u;
    return hash ^ (hash >> 32);
}

bool str_glob(struct str pattern, struct str s)
{
    size_t p = 0, i = 0, star = SIZE_MAX, mark = 0;
    while (i < s.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            mark = i;
        } else if (p < pattern.n && pattern.p[p] == s.p[i]) {
            p++;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

int str_distance(struct str a, struct str b, int limit)
{
    enum { LONGEST = 64 };
    int row[LONGEST + 1];
    if (a.n > LONGEST || b.n > LONGEST)
        return limit;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= a.n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= b.n; j++) {
            int above = row[j];
            int change = diagonal + (char_lower(a.p[i - 1]) != char_lower(b.p[j - 1]));
            row[j] = MIN(MIN(above, row[j - 1]) + 1, change);
            diagonal = above;
        }
    }
    return MIN(row[b.n], limit);
}

char *str_to_c(struct str s, char *dst, size_t dst_size)
{
    size_t n = MIN(s.n, dst_size - 1);
    if (n)
        memcpy(dst, s.p, n);
    dst[n] = '\0';
    return dst;
}
