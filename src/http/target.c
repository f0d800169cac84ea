/* Request targets (target.h): called by the server for each request, on its worker's thread; pure. */
#include "http/target.h"

#include "base/num.h"
#include "http/chars.h"

/* Value of the percent-encoded byte at the start of s, or -1. */
static int decode_byte(struct str s)
{
    if (s.n < 3 || s.p[0] != '%')
        return -1;
    int high = num_hex_digit(s.p[1]), low = num_hex_digit(s.p[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Every byte may stand in a path and every '%' is followed by two digits that stand for no NUL, CR or LF.
 *plain: the path is in canonical form already. */
static bool path_is_valid(struct str path, bool *plain)
{
    *plain = true;
    for (size_t i = 0; i < path.n; i++) {
        if (!char_is(path.p[i], CHAR_PATH))
            return false;
        if (path.p[i] == '.' && path.p[i - 1] == '/')
            *plain = false; /* perhaps a dot segment */
        if (path.p[i] != '%')
            continue;
        int byte = decode_byte(str_from(path, i));
        if (byte <= 0 || byte == '\r' || byte == '\n')
            return false;
        *plain = false;
    }
    return true;
}

/* Takes a finished segment of `out` away again when it is a dot segment; `start` is where it begins. Returns
   the new length of `out`, or 0 when that climbs above the root. */
static size_t close_segment(const char *out, size_t start, size_t n)
{
    struct str segment = str_make(out + start, n - start);
    if (str_eq(segment, STR(".")))
        return start;
    if (!str_eq(segment, STR("..")))
        return n;
    if (start == 1)
        return 0;
    for (start--; out[start - 1] != '/'; start--)
        ;
    return start;
}

/* Writes the canonical form of a valid path to `out`, which has room for path.n bytes. False: above the root.
 */
static bool canonicalize(struct str path, char *out, size_t *length)
{
    size_t n = 0, start = 0; /* of the present segment, behind its slash */
    for (size_t i = 0; i < path.n; i++) {
        int byte = decode_byte(str_from(path, i));
        bool decode = byte >= 0 && char_is((char)byte, CHAR_UNRESERVED);
        char c = decode ? (char)byte : path.p[i];
        bool slash = c == '/';
        if (decode)
            i += 2;
        if (slash && start) {
            size_t closed = close_segment(out, start, n);
            if (closed == 0)
                return false;
            /* Gone with its slash: what stands before it ends in one. */
            slash = closed == n;
            n = start = closed;
            if (!slash)
                continue;
        }
        out[n++] = c;
        if (slash)
            start = n;
    }
    *length = close_segment(out, start, n);
    return *length > 0;
}

static enum err parse_path(struct arena *arena, struct str path, struct target *t, struct error *error)
{
    bool plain;
    size_t n;
    t->path = path;
    if (!path_is_valid(path, &plain))
        return error_set(error, ERR_HTTP_SYNTAX,
                         "the request target's path has a byte that may not stand there");
    if (plain)
        return OK;
    char *copy = arena_alloc(arena, path.n);
    if (!copy)
        return error_set(error, ERR_NOMEM, "out of memory");
    if (!canonicalize(path, copy, &n))
        return error_set(error, ERR_HTTP_SYNTAX, "the request target climbs above the root");
    t->rewritten = !str_eq(path, str_make(copy, n));
    if (t->rewritten)
        t->path = str_make(copy, n);
    return OK;
}

/* Path and query; `rest` begins with '/' or '?' or is empty (which then stands for "/"). */
static enum err parse_origin(struct arena *arena, struct str rest, struct target *t, struct error *error)
{
    size_t n = str_find(rest, '?');
    t->has_query = n < rest.n;
    t->query = str_from(rest, n + 1);
    if (!char_all(t->query, CHAR_QUERY))
        return error_set(error, ERR_HTTP_SYNTAX,
                         "the request target's query has a byte that may not stand there");
    if (n > 0)
        return parse_path(arena, str_first(rest, n), t, error);
    t->path = STR("/");
    t->rewritten = true;
    return OK;
}

/* The same host and port, a missing port being the scheme's. */
static bool same_authority(struct str a, struct str b, uint16_t default_port)
{
    struct str a_name, b_name;
    uint16_t a_port, b_port;
    if (!host_parse(a, &a_name, &a_port) || !host_parse(b, &b_name, &b_port))
        return false;
    return str_eq_nocase(a_name, b_name) &&
           (a_port ? a_port : default_port) == (b_port ? b_port : default_port);
}

static enum err parse_absolute(struct arena *arena, enum method method, struct str rest, struct str host,
                               uint16_t default_port, struct target *t, struct error *error)
{
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    t->authority = str_first(rest, n);
    /* HTTP/1.0 may come without a Host. */
    if (!same_authority(t->authority, host.n ? host : t->authority, default_port))
        return error_set(error, ERR_HTTP_SYNTAX, "the request target names another host than the Host field");
    if (method == METHOD_OPTIONS && n == rest.n) { /* RFC 9112 3.2.4 */
        t->path = STR("*");
        t->rewritten = true;
        return OK;
    }
    return parse_origin(arena, str_from(rest, n), t, error);
}

enum err target_parse(struct arena *arena, enum method method, struct str raw, struct str host,
                      struct target *t, struct error *error)
{
    *t = (struct target){0};
    if (raw.n && raw.p[0] == '/')
        return parse_origin(arena, raw, t, error);
    if (method == METHOD_OPTIONS && str_eq(raw, STR("*"))) {
        t->path = raw;
        return OK;
    }
    if (str_starts_nocase(raw, STR("http://")))
        return parse_absolute(arena, method, str_from(raw, 7), host, 80, t, error);
    if (str_starts_nocase(raw, STR("https://")))
        return parse_absolute(arena, method, str_from(raw, 8), host, 443, t, error);
    return error_set(error, ERR_HTTP_SYNTAX, "malformed request target");
}

/* A copy, with room for what it decodes to. {NULL,0} when memory is short. */
static struct str decode(struct arena *arena, struct str s, bool plus_is_space)
{
    char *out = arena_alloc(arena, s.n);
    size_t n = 0;
    if (!out)
        return STR_NONE;
    for (size_t i = 0; i < s.n; i++) {
        int byte = decode_byte(str_from(s, i));
        out[n++] = byte >= 0 ? (char)byte : plus_is_space && s.p[i] == '+' ? ' ' : s.p[i];
        i += byte >= 0 ? 2 : 0;
    }
    return str_make(out, n);
}

void percent_encode(struct buf *out, struct str s)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (char_is(s.p[i], CHAR_UNRESERVED)) {
            buf_add_char(out, s.p[i]);
            continue;
        }
        buf_add_char(out, '%');
        buf_add_char(out, digits[c >> 4]);
        buf_add_char(out, digits[c & 15]);
    }
}

struct str percent_decode(struct arena *arena, struct str s)
{
    return str_find(s, '%') == s.n ? s : decode(arena, s, false);
}

static struct str query_decode(struct arena *arena, struct str s)
{
    return str_find(s, '%') == s.n && str_find(s, '+') == s.n ? s : decode(arena, s, true);
}

bool query_get(struct arena *arena, struct str query, struct str name, struct str *value)
{
    while (query.n) {
        struct str rest = str_cut(&query, '&');
        struct str key = str_cut(&rest, '=');
        if (!str_eq(query_decode(arena, key), name))
            continue;
        *value = query_decode(arena, rest);
        return value->p || !rest.n;
    }
    return false;
}
