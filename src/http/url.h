/* URLs of upstreams, from config only. Pure. */
#ifndef HESTIA_HTTP_URL_H
#define HESTIA_HTTP_URL_H

#include "base/arena.h"
#include "base/err.h"

struct url {
    bool tls;
    bool is_unix;    /* unix:/path.sock or unix:/path.sock:/prefix */
    struct str host; /* name or address without brackets; the socket's path for is_unix */
    uint16_t port;
    struct str
        host_field;    /* what to send as Host: "name", "name:8080", "[::1]:80"; "localhost" for is_unix */
    struct str origin; /* "http://name:8080", for comparing Location; empty for is_unix */
    struct str prefix; /* path prefix without trailing slash: "" or "/v1" */
    struct str
        target; /* path and query as written, for a URL that is asked for itself: "/health/?x=1"; "/" */
};

/* http://host[:port][/prefix], https://…, unix:/path.sock[:/prefix]. No user info or fragment; a query
   belongs to `target` (url_has_query). ERR_CONFIG with a sentence for people. Spans live in the arena. */
enum err url_parse(struct arena *arena, struct str text, struct url *url, struct error *error) MUST_CHECK;

bool url_has_query(const struct url *url);

/* Location rewriting (details.md section 5): when `location` is absolute to the upstream's origin, or
   path-absolute, the form under `mount` ("/services/x"), the base prefix removed; otherwise as it is. */
struct str url_rewrite_location(struct arena *arena, const struct url *upstream, struct str mount,
                                struct str location);

#endif
