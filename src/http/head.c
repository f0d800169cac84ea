/*
 * Parsing message heads (head.h), called by the server and the client of this folder on a worker's thread;
 * pure. One pass, nothing allocated, and of struct head only what is used gets written: it is 10 KiB.
 */
#include "http/head.h"

#include "http/field.h"
#include "http/scan.h"
#include "http/target.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    METHOD_LONGEST = 64, /* of a token that could still be a method */
    EMPTY_LINES_MAX = 2, /* before a request */
    VERSION_LENGTH = 8,  /* HTTP/1.1 */
    STATUS_MIN = 100,
    STATUS_MAX = 599,
};

/* What is left of the block, and how its errors are reported. */
struct reader {
    const char *p, *end;
    struct error *error;
    bool response; /* every error is then the upstream's */
};

static enum err PRINTF_LIKE(3, 4) refuse(struct reader *r, enum err err, const char *format, ...)
{
    char why[sizeof r->error->why];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return error_set(r->error, r->response ? ERR_UPSTREAM_PROTOCOL : err, "%s", why);
}

static bool at_line_end(const struct reader *r)
{
    return r->end - r->p >= 2 && r->p[0] == '\r' && r->p[1] == '\n';
}

/* --- where a head ends --- */

/* The CRLF at `at` closes an empty line. */
static bool line_is_empty(const char *p, size_t at)
{
    return at == 0 || p[at - 1] == '\n';
}

/* The CRLF at `at` is one of the empty lines that may precede a request. */
static bool precedes_request(const char *p, size_t at)
{
    return at == 0 || (at == 2 && p[1] == '\n');
}

size_t head_find_end(struct str bytes, size_t *scanned)
{
    size_t i = *scanned;
    while (i < bytes.n) {
        i = (size_t)(scan_line(bytes.p + i, bytes.p + bytes.n) - bytes.p);
        if (i == bytes.n || (bytes.p[i] == '\r' && i + 1 == bytes.n))
            break; /* a CR at the very end is looked at again */
        if (bytes.p[i] == '\n')
            return i + 1; /* a bare LF: parsing what is there must fail */
        if (bytes.p[i + 1] != '\n')
            return i + 2; /* a bare CR, likewise */
        if (line_is_empty(bytes.p, i) && !precedes_request(bytes.p, i))
            return i + 2;
        i += 2;
    }
    *scanned = i;
    return 0;
}

static struct str skip_empty_lines(struct str bytes)
{
    for (int i = 0; i < EMPTY_LINES_MAX && str_starts(bytes, STR("\r\n")); i++)
        bytes = str_from(bytes, 2);
    return bytes;
}

bool head_may_be_request(struct str bytes)
{
    struct str rest = skip_empty_lines(bytes);
    size_t n = char_run(rest, CHAR_TOKEN);
    if (rest.n == 0)
        return true;
    if (n == rest.n)
        return n <= METHOD_LONGEST;
    if (n == 0)
        return rest.n == 1 && rest.p[0] == '\r' && bytes.n < 2 * EMPTY_LINES_MAX + 1;
    if (n > METHOD_LONGEST || rest.p[n] != ' ')
        return false;
    return n + 1 == rest.n || (rest.p[n + 1] > 0x20 && rest.p[n + 1] < 0x7f);
}

/* --- methods --- */

static const struct {
    const char *name;
    uint8_t n;
    bool idempotent;
} methods[METHOD_COUNT] = {
    [METHOD_GET] = {"GET", 3, true},          [METHOD_HEAD] = {"HEAD", 4, true},
    [METHOD_POST] = {"POST", 4, false},       [METHOD_PUT] = {"PUT", 3, true},
    [METHOD_PATCH] = {"PATCH", 5, false},     [METHOD_DELETE] = {"DELETE", 6, true},
    [METHOD_OPTIONS] = {"OPTIONS", 7, true},  [METHOD_TRACE] = {"TRACE", 5, true},
    [METHOD_CONNECT] = {"CONNECT", 7, false},
};

struct str method_name(enum method method)
{
    REQUIRE((unsigned)method < METHOD_COUNT);
    return str_make(methods[method].name, methods[method].n);
}

bool method_is_idempotent(enum method method)
{
    REQUIRE((unsigned)method < METHOD_COUNT);
    return methods[method].idempotent;
}

/* METHOD_COUNT when it is none of ours. `text` is not empty. */
static enum method method_find(struct str text)
{
    for (int i = 0; i < METHOD_COUNT; i++)
        if (text.n == methods[i].n && text.p[0] == methods[i].name[0] &&
            memcmp(text.p, methods[i].name, text.n) == 0)
            return (enum method)i;
    return METHOD_COUNT;
}

/* --- the first line --- */

/* Reads "HTTP/1.x" and sets the minor version. */
static enum err read_version(struct reader *r, struct head *h)
{
    const char *p = r->p;
    if (r->end - p < VERSION_LENGTH || memcmp(p, "HTTP/", 5) != 0 || p[6] != '.' ||
        !char_is(p[5], CHAR_DIGIT) || !char_is(p[7], CHAR_DIGIT))
        return refuse(r, ERR_HTTP_SYNTAX, "malformed HTTP version");
    /* "HTTP/2.01" is no version of anything. */
    if (r->end - p > VERSION_LENGTH && !memchr(" \r", p[VERSION_LENGTH], 2))
        return refuse(r, ERR_HTTP_SYNTAX, "malformed HTTP version");
    if (p[5] == '0')
        return refuse(r, ERR_HTTP_SYNTAX, "HTTP/0.x is not spoken here");
    if (p[5] != '1')
        return refuse(r, ERR_VERSION, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    h->minor = p[7] != '0';
    r->p += VERSION_LENGTH;
    return OK;
}

static enum err read_method(struct reader *r, struct head *h)
{
    size_t n = char_run(str_make(r->p, (size_t)(r->end - r->p)), CHAR_TOKEN);
    h->method_text = str_make(r->p, n);
    r->p += n;
    if (n == 0 || r->p == r->end || *r->p != ' ')
        return refuse(r, ERR_HTTP_SYNTAX, "malformed request line");
    r->p++;
    return OK;
}

static enum err read_target(struct reader *r, const struct head_limits *limits, struct head *h)
{
    const char *start = r->p;
    r->p = scan_visible(start, r->end);
    h->target = str_make(start, (size_t)(r->p - start));
    if (h->target.n > limits->target)
        return refuse(r, ERR_TARGET_TOO_LONG, "the request target is longer than %zu bytes", limits->target);
    if (h->target.n == 0 || r->p == r->end || *r->p != ' ')
        return refuse(r, ERR_HTTP_SYNTAX, "malformed request line");
    r->p++;
    return OK;
}

/* Only after the whole line has proved to be well-formed. */
static enum err check_method(struct reader *r, struct head *h)
{
    h->method = method_find(h->method_text);
    if (h->method == METHOD_COUNT) {
        h->method = METHOD_GET; /* a valid value, for whoever logs it */
        return refuse(r, ERR_NOT_IMPLEMENTED, "unknown method");
    }
    if (h->method == METHOD_TRACE || h->method == METHOD_CONNECT)
        return refuse(r, ERR_METHOD_NOT_ALLOWED, "%s is not allowed", methods[h->method].name);
    return OK;
}

static enum err read_request_line(struct reader *r, const struct head_limits *limits, struct head *h)
{
    TRY(read_method(r, h));
    TRY(read_target(r, limits, h));
    TRY(read_version(r, h));
    if (!at_line_end(r))
        return refuse(r, ERR_HTTP_SYNTAX, "malformed request line");
    r->p += 2;
    return check_method(r, h);
}

static enum err read_status_line(struct reader *r, struct head *h)
{
    TRY(read_version(r, h));
    if (r->end - r->p < 4 || r->p[0] != ' ' || !char_all(str_make(r->p + 1, 3), CHAR_DIGIT))
        return refuse(r, ERR_HTTP_SYNTAX, "malformed status line");
    h->status = (r->p[1] - '0') * 100 + (r->p[2] - '0') * 10 + (r->p[3] - '0');
    r->p += 4;
    if (h->status < STATUS_MIN || h->status > STATUS_MAX)
        return refuse(r, ERR_HTTP_SYNTAX, "status %d is none", h->status);
    /* Without a reason some servers leave out the space before it as well. */
    if (r->p < r->end && *r->p == ' ') {
        const char *reason = r->p + 1;
        r->p = scan_value(reason, r->end);
        h->reason = str_make(reason, (size_t)(r->p - reason));
    }
    if (!at_line_end(r))
        return refuse(r, ERR_HTTP_SYNTAX, "malformed status line");
    r->p += 2;
    return OK;
}

/* --- fields --- */

static struct str without_space(const char *start, const char *end)
{
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return str_make(start, (size_t)(end - start));
}

/* Why the line at r->p is no field line. */
static enum err refuse_name(struct reader *r)
{
    size_t n = char_run(str_make(r->p, (size_t)(r->end - r->p)), CHAR_TOKEN);
    bool space = r->p + n < r->end && (r->p[n] == ' ' || r->p[n] == '\t');
    if (space && n == 0)
        return refuse(r, ERR_HTTP_SYNTAX, "folded header field");
    if (space)
        return refuse(r, ERR_HTTP_SYNTAX, "white space in a header field name");
    return refuse(r, ERR_HTTP_SYNTAX, "malformed header field name");
}

/* Name and id, and the colon is passed. A name that is known needs no look at its bytes. */
static enum err read_field_name(struct reader *r, struct field *f)
{
    const char *colon = scan_name(r->p, r->end);
    if (UNLIKELY(colon == r->p || colon == r->end || *colon != ':'))
        return refuse_name(r);
    f->name = str_make(r->p, (size_t)(colon - r->p));
    f->id = (uint16_t)field_id_find(f->name);
    if (f->id == FIELD_OTHER && UNLIKELY(!char_all(f->name, CHAR_TOKEN)))
        return refuse_name(r);
    r->p = colon + 1;
    return OK;
}

/* One field line, which is neither empty nor known to be complete. */
static enum err read_field(struct reader *r, const struct head_limits *limits, struct field *f)
{
    const char *start = r->p;
    TRY(read_field_name(r, f));
    const char *value = r->p;
    r->p = scan_value(value, r->end);
    if (UNLIKELY((size_t)(r->p - start) > limits->field))
        return refuse(r, ERR_FIELDS_TOO_LARGE, "a header field is longer than %zu bytes", limits->field);
    if (UNLIKELY(!at_line_end(r)))
        return refuse(r, ERR_HTTP_SYNTAX, "a control character or a bare CR or LF in a header field");
    f->value = without_space(value, r->p);
    f->hop = false;
    r->p += 2;
    return OK;
}

static enum err note_field(struct reader *r, struct head *h, const struct field *f)
{
    int count = ++h->field_count;
    if (f->id == FIELD_OTHER)
        return OK;
    if (!h->first[f->id])
        h->first[f->id] = (int16_t)count;
    else if (f->id == FIELD_HOST && !r->response)
        return refuse(r, ERR_HTTP_SYNTAX, "more than one Host field");
    return OK;
}

static enum err read_fields(struct reader *r, const struct head_limits *limits, struct head *h)
{
    int max = MIN(limits->fields, (int)HEAD_FIELDS_MAX);
    while (!at_line_end(r)) {
        if (UNLIKELY(h->field_count >= max))
            return refuse(r, ERR_FIELDS_TOO_LARGE, "more than %d header fields", max);
        struct field *f = &h->fields[h->field_count];
        TRY(read_field(r, limits, f));
        TRY(note_field(r, h, f));
    }
    r->p += 2;
    if (r->p != r->end)
        return refuse(r, ERR_HTTP_SYNTAX, "bytes behind the end of the head");
    return OK;
}

static enum err check_host(struct reader *r, const struct head *h)
{
    struct str name;
    uint16_t port;
    if (!h->first[FIELD_HOST])
        return h->minor == 0 ? OK : refuse(r, ERR_HTTP_SYNTAX, "no Host field");
    if (!host_parse(head_value(h, FIELD_HOST), &name, &port))
        return refuse(r, ERR_HTTP_SYNTAX, "malformed Host field");
    return OK;
}

/* Everything but the array of fields: what that holds beyond field_count is never read. */
static void head_clear(struct head *h)
{
    h->method = METHOD_GET;
    h->method_text = h->target = h->reason = STR_NONE;
    h->status = h->minor = h->field_count = 0;
    memset(h->first, 0, sizeof h->first);
}

static enum err check_size(struct reader *r, struct str block, const struct head_limits *limits)
{
    if (block.n > limits->head)
        return refuse(r, ERR_FIELDS_TOO_LARGE, "the head is longer than %zu bytes", limits->head);
    return OK;
}

enum err head_parse_request(struct str block, const struct head_limits *limits, struct head *h,
                            struct error *error)
{
    struct str rest = skip_empty_lines(block);
    struct reader r = {rest.p, rest.p + rest.n, error, false};
    head_clear(h);
    TRY(read_request_line(&r, limits, h));
    TRY(check_size(&r, block, limits));
    TRY(read_fields(&r, limits, h));
    return check_host(&r, h);
}

enum err head_parse_response(struct str block, const struct head_limits *limits, struct head *h,
                             struct error *error)
{
    struct reader r = {block.p, block.p + block.n, error, true};
    head_clear(h);
    TRY(check_size(&r, block, limits));
    TRY(read_status_line(&r, h));
    return read_fields(&r, limits, h);
}
