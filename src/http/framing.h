/* How long a message's body is. Pure; RFC 9112 section 6, http.md 3.1 and 3.2, details.md section 12. */
#ifndef HESTIA_HTTP_FRAMING_H
#define HESTIA_HTTP_FRAMING_H

#include "http/head.h"

enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };

struct framing {
    enum body_kind kind;
    uint64_t length; /* BODY_LENGTH: bytes (may be 0) */
};

/* ERR_HTTP_SYNTAX, ERR_NOT_IMPLEMENTED, ERR_BODY_TOO_LARGE (max_body bytes, 0 = no limit). Any error closes.
 */
enum err framing_of_request(const struct head *h, uint64_t max_body, struct framing *f,
                            struct error *error) MUST_CHECK;
/* `method` is the request's. ERR_UPSTREAM_PROTOCOL. Never BODY_UNTIL_CLOSE for HEAD, 1xx, 204, 304. */
enum err framing_of_response(const struct head *h, enum method method, struct framing *f,
                             struct error *error) MUST_CHECK;

#endif
