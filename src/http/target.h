/* Request targets: one canonical form, on which routing decides and which is forwarded. Pure; http.md 3.4,
 * details.md 11. */
#ifndef HESTIA_HTTP_TARGET_H
#define HESTIA_HTTP_TARGET_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "http/head.h"

struct target {
    struct str
        path; /* canonical: unreserved characters decoded, dot segments removed, begins with '/'; or "*" */
    struct str query; /* without '?', as sent */
    bool has_query;
    struct str authority; /* of the absolute form, else empty */
    bool rewritten;       /* path differs from what was sent */
};

/* Origin-, absolute- (http, https; authority must equal `host`) and asterisk-form (OPTIONS only).
   ERR_HTTP_SYNTAX. Copies into the arena only when something had to change. */
enum err target_parse(struct arena *arena, enum method method, struct str raw, struct str host,
                      struct target *t, struct error *error) MUST_CHECK;
/* Percent-decodes (for parameters and logs, never for forwarding); the bytes may be anything. */
/* Everything but RFC 3986's unreserved characters becomes %XX: a segment of a path, a value of a query. */
void percent_encode(struct buf *out, struct str s);
struct str percent_decode(struct arena *arena, struct str s);
/* The value of a query parameter, decoded; false when absent. First one wins. */
bool query_get(struct arena *arena, struct str query, struct str name, struct str *value);

/* host[:port] of a Host field or authority: RFC 3986 reg-name, IPv4, [IPv6]; port 1..65535 or none (0). */
bool host_parse(struct str host, struct str *name, uint16_t *port);

#endif
