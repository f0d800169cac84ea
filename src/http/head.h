/*
 * Message heads: strict parsing of a request or response head that is complete in memory. Pure.
 * All spans point into the block that was parsed; nothing is copied or changed.
 * Rules: RFC 9112, details.md section 12, http.md sections 3 and 7.
 */
#ifndef HESTIA_HTTP_HEAD_H
#define HESTIA_HTTP_HEAD_H

#include "base/err.h"
#include "base/str.h"

enum field_id {
    FIELD_OTHER = 0,
#define F(id, name) FIELD_##id,
#include "http/field.def"
#undef F
    FIELD_COUNT
};

enum method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_TRACE,
    METHOD_CONNECT,
    METHOD_COUNT
};

enum { HEAD_FIELDS_MAX = 256 /* capacity; the limit in force is head_limits.fields */ };

struct field {
    struct str name, value; /* value without surrounding white space */
    uint16_t id;            /* enum field_id */
    bool hop;               /* not to be forwarded: set by head_mark_hops, or by who drops it */
};

struct head_limits {
    size_t target; /* longest request line target: 414 */
    size_t field;  /* longest field line: 431 */
    size_t head;   /* whole head: 431 */
    int fields;    /* number of fields, <= HEAD_FIELDS_MAX: 431 */
};

struct head {
    enum method method; /* requests */
    struct str method_text;
    struct str target; /* as sent */
    int status;        /* responses */
    struct str reason;
    int minor; /* HTTP/1.x: 0 or 1 (1.2 to 1.9 count as 1) */
    int field_count;
    struct field fields[HEAD_FIELDS_MAX];
    int16_t first[FIELD_COUNT]; /* index + 1 of the first field with that id, 0 = absent */
};

/* Length of a complete head at the start of `bytes`, with its empty line; 0 = not complete yet. Up to two
   empty lines before a request are part of it. Looks only at line ends: `*scanned` (0 at first) saves looking
   twice. A bare LF, a bare CR or a third empty line ends the block right there (for a CR: behind the byte
   after it), so that head_parse_… refuses it at once instead of somebody waiting for an end that never comes.
 */
size_t head_find_end(struct str bytes, size_t *scanned);
/* Before the head is complete: false when it can no longer become valid HTTP/1 (its first bytes are no
   request line, e.g. TLS or binary), so that garbage is refused without waiting for its end. */
bool head_may_be_request(struct str bytes);

/* `block` is exactly one complete head. On failure the error says what; HTTP_SYNTAX, VERSION, NOT_IMPLEMENTED
   (unknown or lower-case method), METHOD_NOT_ALLOWED (TRACE, CONNECT), TARGET_TOO_LONG, FIELDS_TOO_LARGE. The
   method, target and minor are filled as far as they were read (for the log). Host rules are checked here
   too, Connection-named field rules in head_mark_hops, framing in framing.h, target in target.h. */
enum err head_parse_request(struct str block, const struct head_limits *limits, struct head *h,
                            struct error *error) MUST_CHECK;
/* ERR_UPSTREAM_PROTOCOL with the reason. Status outside 100..599, an HTTP/2 status line and the like are
 * refused. */
enum err head_parse_response(struct str block, const struct head_limits *limits, struct head *h,
                             struct error *error) MUST_CHECK;

/* First field with that id, or NULL. */
static inline struct field *head_field(struct head *h, enum field_id id)
{
    return h->first[id] ? &h->fields[h->first[id] - 1] : NULL;
}
/* Its value, or the empty str. */
static inline struct str head_value(const struct head *h, enum field_id id)
{
    return h->first[id] ? h->fields[h->first[id] - 1].value : STR_NONE;
}
/* Next field with the same id after index `i` (start with -1); -1 at the end. */
int head_next(const struct head *h, enum field_id id, int i);
/* By name, any field. */
struct field *head_find(struct head *h, struct str name);
/* Whether a list-valued field (all its lines) has that element, case-insensitively. */
bool head_has_element(const struct head *h, enum field_id id, struct str element);

/* Marks hop-by-hop fields: the fixed list of http.md 3.3 and every field that Connection names, but for a
   response's Content-Length (its framing is told anew by whoever forwards it). For a request (is_request)
   ERR_HTTP_SYNTAX when Connection names Host, Content-Length, Transfer-Encoding, Authorization or X-API-Key
   (details.md section 12: any other goes, what we say ourselves is added afterwards). More than 128 names:
   ERR_HTTP_SYNTAX, or ERR_UPSTREAM_PROTOCOL. In a request, fields named X-Hestia-* are marked too, and names
   with
   `_` that equal one of ours after `_` -> `-` are ERR_HTTP_SYNTAX (ours: Host, Content-Length,
   Transfer-Encoding, Authorization, X-API-Key, Connection, Upgrade, TE, X-Forwarded-*, Forwarded, X-Real-IP,
   X-Request-ID, Via, X-Hestia-*). */
enum err head_mark_hops(struct head *h, bool is_request, struct error *error) MUST_CHECK;

/* Marks every line of a field as not to be forwarded. */
void head_drop(struct head *h, enum field_id id);

/* Whether the peer of this message wants the connection kept (version, Connection: close / keep-alive). */
bool head_keeps_alive(const struct head *h);
struct str method_name(enum method method);
/* Safe to send again: GET HEAD PUT DELETE OPTIONS TRACE (RFC 9110 9.2.2). */
bool method_is_idempotent(enum method method);

struct buf;
/* The only way a field gets into a head that we send: "Name: value\r\n". Refuses CTL in name or value
   (ERR_HTTP_SYNTAX is recorded as ERR_SYNTAX in the buf's err), so nothing from config, plugin or client can
   split a head. */
void head_add(struct buf *out, struct str name, struct str value);
/* Copies the fields that are not marked `hop`, as runs of the original lines where they are adjacent. */
void head_copy_fields(struct buf *out, const struct head *h);

#endif
