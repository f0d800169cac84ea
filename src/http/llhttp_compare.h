/*
 * Our parsers against llhttp in its strict mode: whatever ours take, llhttp must take too, and understand it
 * the same way (method, target, status, fields, framing, body, where the message ends). The reverse need not
 * hold: ours are stricter. For llhttp_test.c and the fuzzer; needs Debian's node-llhttp.
 */
#ifndef HESTIA_HTTP_LLHTTP_COMPARE_H
#define HESTIA_HTTP_LLHTTP_COMPARE_H

#include "base/buf.h"
#include "http/chars.h"
#include "http/chunk.h"
#include "http/framing.h"
#include "http/target.h"

#include <llhttp.h>

static const struct head_limits reading_limits = {4096, 4096, 4096, 128};

/* One reading of a message, by either side, in comparable form. */
struct reading {
    bool head_done, done;
    bool not_theirs; /* nothing that llhttp could agree to; ours only */
    bool bodiless;   /* whatever the fields say; ours only */
    bool chunked;
    uint64_t length;          /* Content-Length, 0 without */
    size_t head_bytes;        /* ours only */
    size_t used;              /* when done */
    struct buf first, second; /* method and target, or status */
    struct buf fields;        /* "name:value\n" each */
    struct buf body;
};

static inline void reading_free(struct reading *r)
{
    buf_free(&r->first);
    buf_free(&r->second);
    buf_free(&r->fields);
    buf_free(&r->body);
}

/* --- llhttp --- */

static inline struct reading *reading_of(llhttp_t *parser)
{
    return parser->data;
}

static inline int on_method(llhttp_t *parser, const char *at, size_t n)
{
    buf_add(&reading_of(parser)->first, at, n);
    return 0;
}

static inline int on_url(llhttp_t *parser, const char *at, size_t n)
{
    buf_add(&reading_of(parser)->second, at, n);
    return 0;
}

static inline int on_status_complete(llhttp_t *parser)
{
    buf_addf(&reading_of(parser)->first, "%d", parser->status_code);
    return 0;
}

static inline int on_field_bytes(llhttp_t *parser, const char *at, size_t n)
{
    if (!reading_of(parser)->head_done) /* trailers come here as well */
        buf_add(&reading_of(parser)->fields, at, n);
    return 0;
}

static inline int on_field_complete(llhttp_t *parser)
{
    if (!reading_of(parser)->head_done)
        buf_add_char(&reading_of(parser)->fields, ':');
    return 0;
}

static inline int on_value_complete(llhttp_t *parser)
{
    struct buf *fields = &reading_of(parser)->fields;
    if (reading_of(parser)->head_done)
        return 0;
    while (fields->n && (fields->p[fields->n - 1] == ' ' || fields->p[fields->n - 1] == '\t'))
        fields->n--;
    buf_add_char(fields, '\n');
    return 0;
}

static inline int on_headers_complete(llhttp_t *parser)
{
    struct reading *r = reading_of(parser);
    r->head_done = true;
    r->chunked = parser->flags & F_CHUNKED;
    r->length = parser->flags & F_CONTENT_LENGTH ? parser->content_length : 0;
    /* llhttp leaves it to its caller to know which responses have no body: 1 says so. */
    int status = parser->status_code;
    return parser->type == HTTP_RESPONSE && (status / 100 == 1 || status == 204 || status == 304);
}

static inline int on_body(llhttp_t *parser, const char *at, size_t n)
{
    buf_add(&reading_of(parser)->body, at, n);
    return 0;
}

static inline int on_message_complete(llhttp_t *parser)
{
    reading_of(parser)->done = true;
    return HPE_PAUSED;
}

static inline void read_theirs(struct str bytes, llhttp_type_t type, struct reading *r)
{
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_settings_init(&settings);
    settings.on_method = on_method;
    settings.on_url = on_url;
    settings.on_status_complete = on_status_complete;
    settings.on_header_field = on_field_bytes;
    settings.on_header_field_complete = on_field_complete;
    settings.on_header_value = on_field_bytes;
    settings.on_header_value_complete = on_value_complete;
    settings.on_headers_complete = on_headers_complete;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    llhttp_init(&parser, type, &settings);
    parser.data = r;
    llhttp_execute(&parser, bytes.p, bytes.n);
    if (r->done)
        r->used = (size_t)(llhttp_get_error_pos(&parser) - bytes.p);
}

/* --- ours --- */

/* What ours take on purpose and llhttp 8.1 does not: HTTP/1.2 to 1.9, served as 1.1 … */
static inline bool has_later_minor(const char *version)
{
    return version[7] >= '2';
}

/* … and "a=b;c" in a chunk's size line, where it stumbles over the second extension. */
static inline bool has_extension_behind_value(struct str bytes)
{
    for (size_t i = str_find(bytes, '='); i < bytes.n; i += 1 + str_find(str_from(bytes, i + 1), '=')) {
        size_t end = i + 1 + char_run(str_from(bytes, i + 1), CHAR_TOKEN);
        if (end > i + 1 && end < bytes.n && bytes.p[end] == ';')
            return true;
    }
    return false;
}

static inline void note_fields(const struct head *h, struct reading *r)
{
    for (int i = 0; i < h->field_count; i++) {
        buf_add_str(&r->fields, h->fields[i].name);
        buf_add_char(&r->fields, ':');
        buf_add_str(&r->fields, h->fields[i].value);
        buf_add_char(&r->fields, '\n');
    }
}

static inline void read_chunked(struct str rest, struct reading *r)
{
    struct chunked c = {0};
    struct error error;
    struct buf copy = {0};
    size_t used = 0, kept = 0;
    r->chunked = true;
    r->not_theirs = r->not_theirs || has_extension_behind_value(rest);
    buf_add_str(&copy, rest);
    if (rest.n && chunk_filter(&c, copy.p, copy.n, &used, &kept, &r->done, &error) != OK)
        r->done = false;
    buf_add(&r->body, copy.p, kept);
    r->used = r->head_bytes + used;
    buf_free(&copy);
}

/* `rest` follows the head. */
static inline void read_body(const struct head *h, struct str rest, const struct framing *f,
                             struct reading *r)
{
    if (f->kind == BODY_CHUNKED) {
        read_chunked(rest, r);
        return;
    }
    r->bodiless = f->kind == BODY_NONE && h->status;
    r->length = f->length;
    buf_add_str(&r->body, str_first(rest, f->length));
    r->done = r->body.n == f->length;
    r->used = r->head_bytes + r->body.n;
}

/* False: ours refuse it, or it is not complete. */
static inline bool read_request(struct str bytes, struct reading *r)
{
    static struct head h;
    CLEANUP(arena_free) struct arena arena = {0};
    struct error error;
    struct framing f;
    struct target target;
    size_t scanned = 0;
    r->head_bytes = head_find_end(bytes, &scanned);
    if (!r->head_bytes ||
        head_parse_request(str_first(bytes, r->head_bytes), &reading_limits, &h, &error) != OK ||
        target_parse(&arena, h.method, h.target, head_value(&h, FIELD_HOST), &target, &error) != OK ||
        framing_of_request(&h, 0, &f, &error) != OK)
        return false;
    buf_add_str(&r->first, h.method_text);
    buf_add_str(&r->second, h.target);
    r->not_theirs = has_later_minor(h.target.p + h.target.n + 1);
    note_fields(&h, r);
    r->head_done = true;
    read_body(&h, str_from(bytes, r->head_bytes), &f, r);
    return true;
}

static inline bool read_response(struct str bytes, struct reading *r)
{
    static struct head h;
    struct error error;
    struct framing f;
    size_t scanned = 0;
    r->head_bytes = head_find_end(bytes, &scanned);
    if (!r->head_bytes ||
        head_parse_response(str_first(bytes, r->head_bytes), &reading_limits, &h, &error) != OK ||
        framing_of_response(&h, METHOD_GET, &f, &error) != OK)
        return false;
    buf_addf(&r->first, "%d", h.status);
    r->not_theirs = has_later_minor(bytes.p);
    note_fields(&h, r);
    r->head_done = true;
    read_body(&h, str_from(bytes, r->head_bytes), &f, r);
    return f.kind != BODY_UNTIL_CLOSE;
}

/* --- the comparison --- */

/* What differs, or NULL. */
static inline const char *reading_difference(const struct reading *ours, const struct reading *theirs)
{
    if (!theirs->head_done && ours->bodiless)
        return NULL; /* fields about a body that does not exist: ours ignore them */
    if (!theirs->head_done)
        return "acceptance";
    if (!str_eq(buf_str(&ours->first), buf_str(&theirs->first)))
        return "method or status";
    if (!str_eq(buf_str(&ours->second), buf_str(&theirs->second)))
        return "target";
    if (!str_eq(buf_str(&ours->fields), buf_str(&theirs->fields)))
        return "a field";
    if (!ours->bodiless && (ours->chunked != theirs->chunked || ours->length != theirs->length))
        return "framing";
    if (!ours->done)
        return NULL;
    if (!theirs->done || !str_eq(buf_str(&ours->body), buf_str(&theirs->body)))
        return "the body";
    return ours->used != theirs->used ? "the end of the message" : NULL;
}

/* Whether ours took it; *difference: what llhttp makes of it otherwise, or NULL. */
static inline bool llhttp_compare(struct str bytes, bool is_request, const char **difference)
{
    struct reading ours = {0}, theirs = {0};
    bool taken = is_request ? read_request(bytes, &ours) : read_response(bytes, &ours);
    *difference = NULL;
    if (taken && !ours.not_theirs) {
        read_theirs(bytes, is_request ? HTTP_REQUEST : HTTP_RESPONSE, &theirs);
        *difference = reading_difference(&ours, &theirs);
    }
    reading_free(&ours);
    reading_free(&theirs);
    return taken;
}

#endif
