/* The structure of JSON text: a loop over one position, no recursion. Strings are json_string.c's. */
#include "llm/json_scan.h"

#include "base/num.h"
#include "http/scan.h"

typedef int8_t signed_block __attribute__((vector_size(16)));

struct json_scan json_scan_of(struct str text, unsigned keys_max)
{
    struct json_scan s = {.p = text.p, .start = text.p, .end = text.p + text.n, .keys_max = keys_max};
    if (str_starts(text, STR("\xef\xbb\xbf")))
        s.why = "it begins with a byte order mark";
    return s;
}

/* Keeps the first reason. */
static bool fail(struct json_scan *s, const char *why)
{
    if (!s->why)
        s->why = why;
    return false;
}

static inline char peek(struct json_scan *s)
{
    const char *p = s->p;
    while (p < s->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    s->p = p;
    return p < s->end ? *p : 0;
}

char json_scan_peek(struct json_scan *s)
{
    return peek(s);
}

static bool fail_here(struct json_scan *s, const char *why)
{
    return fail(s, s->p == s->end ? "it ends too early" : why);
}

/* The closing quote of a short string that has nothing special in it, as keys and most values are; else NULL.
 */
static inline const char *short_end(const char *p, const char *end)
{
    if (end - p < SCAN_BLOCK)
        return NULL;
    scan_block b = scan_load(p);
    signed_block s = (signed_block)b;
    size_t at = scan_first((scan_block)((b == '"') | (b == '\\') | (s < 0x20)));
    return at < SCAN_BLOCK && p[at] == '"' ? p + at : NULL;
}

/* p at the opening quote. */
static inline bool take_string(struct json_scan *s, struct str *raw)
{
    const char *first = s->p + 1, *why, *at;
    const char *quote = short_end(first, s->end);
    if (!quote)
        quote = json_string_end(s->start, first, s->end, &why, &at);
    if (UNLIKELY(!quote)) {
        s->p = at;
        return fail(s, why);
    }
    *raw = str_make(first, (size_t)(quote - first));
    s->p = quote + 1;
    return true;
}

static bool take_literal(struct json_scan *s, struct str word)
{
    if (!str_starts(str_make(s->p, (size_t)(s->end - s->p)), word))
        return fail(s, "a value is none that JSON knows");
    s->p += word.n;
    return true;
}

static inline bool is_digit(const struct json_scan *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static bool take_digits(struct json_scan *s)
{
    if (!is_digit(s))
        return fail_here(s, "a number is malformed");
    while (is_digit(s))
        s->p++;
    return true;
}

static bool take_number(struct json_scan *s)
{
    if (*s->p == '-')
        s->p++;
    if (s->p < s->end && *s->p == '0')
        s->p++;
    else if (!take_digits(s))
        return false;
    if (is_digit(s))
        return fail(s, "a number begins with a zero");
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!take_digits(s))
            return false;
    }
    if (s->p < s->end && (*s->p | 0x20) == 'e') {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        return take_digits(s);
    }
    return true;
}

static inline bool take_scalar(struct json_scan *s, char c)
{
    struct str raw;
    if (c == '"')
        return take_string(s, &raw);
    if (c == '-' || (c >= '0' && c <= '9'))
        return take_number(s);
    if (c == 't')
        return take_literal(s, STR("true"));
    if (c == 'f')
        return take_literal(s, STR("false"));
    if (c == 'n')
        return take_literal(s, STR("null"));
    return fail_here(s, "a value is missing or none that JSON knows");
}

/* Takes the '{' or '['. */
static inline bool open_container(struct json_scan *s, bool object)
{
    if (s->depth == JSON_DEPTH_MAX)
        return fail(s, "it is nested more than 64 levels deep");
    uint64_t bit = (uint64_t)1 << s->depth;
    s->objects = object ? s->objects | bit : s->objects & ~bit;
    s->depth++;
    s->p++;
    return true;
}

static inline bool in_object(const struct json_scan *s)
{
    return s->objects >> (s->depth - 1) & 1;
}

/* A key and its colon. */
static inline bool take_key(struct json_scan *s, struct json_key *key)
{
    if (peek(s) != '"')
        return fail_here(s, "a key in double quotes is expected");
    if (++s->keys > s->keys_max)
        return fail(s, "it has too many keys");
    key->at = s->p;
    if (!take_string(s, &key->raw))
        return false;
    if (peek(s) != ':')
        return fail_here(s, "a colon is missing after a key");
    s->p++;
    return true;
}

/* After a value: closes what ends here, down to `depth`; then, over the comma and the key, to the next value.
   At `depth`, all is taken. */
static inline bool take_separators(struct json_scan *s, unsigned depth)
{
    struct json_key key;
    while (s->depth > depth) {
        char c = peek(s);
        if (c == ',') {
            s->p++;
            return !in_object(s) || take_key(s, &key);
        }
        if (c != (in_object(s) ? '}' : ']'))
            return fail_here(s, "a comma or a closing bracket is missing");
        s->p++;
        s->depth--;
    }
    return true;
}

/* At a '{' or '['. */
static bool take_container(struct json_scan *s)
{
    const unsigned depth = s->depth;
    struct json_key key;
    do {
        char c = peek(s);
        if (c == '{' || c == '[') {
            if (!open_container(s, c == '{'))
                return false;
            if (peek(s) != (c == '{' ? '}' : ']')) {
                if (c == '{' && !take_key(s, &key))
                    return false;
                continue;
            }
        } else if (!take_scalar(s, c)) {
            return false;
        }
        if (!take_separators(s, depth))
            return false;
    } while (s->depth > depth);
    return true;
}

bool json_scan_value(struct json_scan *s, struct str *value)
{
    char c = peek(s);
    const char *start = s->p;
    if (c == '{' || c == '[' ? !take_container(s) : !take_scalar(s, c))
        return false;
    *value = str_make(start, (size_t)(s->p - start));
    return true;
}

bool json_scan_open(struct json_scan *s)
{
    if (s->why)
        return false;
    if (peek(s) != '{')
        return fail_here(s, "it is not an object");
    s->after_open = true;
    return open_container(s, true);
}

enum json_step json_scan_member(struct json_scan *s, struct json_key *key)
{
    char c = peek(s);
    bool first = s->after_open;
    s->after_open = false;
    if (c == '}') {
        s->p++;
        s->depth--;
        return JSON_CLOSED;
    }
    if (!first && c != ',') {
        fail_here(s, "a comma or a closing bracket is missing");
        return JSON_BROKEN;
    }
    s->p += !first;
    return take_key(s, key) ? JSON_MEMBER : JSON_BROKEN;
}

bool json_scan_end(struct json_scan *s)
{
    peek(s);
    return s->p == s->end || fail(s, "something follows its end");
}

/* ---- texts ---- */

struct str json_text_raw(struct str value)
{
    REQUIRE(value.n >= 2 && value.p[0] == '"');
    return str_make(value.p + 1, value.n - 2);
}

static uint32_t hex4(const char *p)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 | (uint32_t)num_hex_digit(p[i]);
    return value;
}

static size_t utf8_write(uint32_t code, char *dst)
{
    if (code < 0x80) {
        dst[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        dst[i] = (char)(0x80 | (code & 0x3f));
    dst[0] = (char)(lead[n] | code);
    return n;
}

/* p behind "\u"; returns what it takes there. */
static size_t code_read(const char *p, const char *end, uint32_t *code, bool *clean)
{
    *code = hex4(p);
    if (*code < 0xd800 || *code > 0xdfff)
        return 4;
    if (*code < 0xdc00 && end - p >= 10 && p[4] == '\\' && p[5] == 'u') {
        uint32_t low = hex4(p + 6);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
            return 10;
        }
    }
    *code = 0xfffd;
    if (clean)
        *clean = false;
    return 4;
}

static char escape_value(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c; /* quote, backslash, slash */
    }
}

size_t json_text_decode(struct str raw, char *dst, bool *clean)
{
    const char *p = raw.p, *end = p + raw.n;
    size_t n = 0;
    while (p < end) {
        if (*p != '\\') {
            dst[n++] = *p++;
        } else if (p[1] != 'u') {
            dst[n++] = escape_value(p[1]);
            p += 2;
        } else {
            uint32_t code;
            p += 2 + code_read(p + 2, end, &code, clean);
            n += utf8_write(code, dst + n);
        }
    }
    return n;
}

struct str json_text_str(struct arena *arena, struct str raw, bool *clean)
{
    if (str_find(raw, '\\') == raw.n)
        return raw;
    char *dst = arena_alloc(arena, raw.n);
    return dst ? str_make(dst, json_text_decode(raw, dst, clean)) : STR_NONE;
}
