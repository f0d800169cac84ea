/* The WebSocket handshake's checks (RFC 6455, http.md 3.5). Pure; the bytes after it are a tunnel, of which
 * we only know where frames end. */
#ifndef HESTIA_HTTP_WEBSOCKET_H
#define HESTIA_HTTP_WEBSOCKET_H

#include "http/head.h"

/* Whether the request asks for `Upgrade: websocket` at all (Connection has upgrade, GET, HTTP/1.1). Other
   upgrades are ignored: header removed, served as HTTP/1.1. */
bool websocket_wanted(const struct head *h);
/* Version 13 (else ERR_UPGRADE_REQUIRED), a key of 24 base64 characters, no body: ERR_HTTP_SYNTAX. */
enum err websocket_check_request(const struct head *h, struct error *error) MUST_CHECK;
/* 28 characters that must come back as Sec-WebSocket-Accept. */
void websocket_accept(struct str key, char out[28]);
/* 101 with Upgrade: websocket, Connection: upgrade and the right accept: ERR_UPSTREAM_PROTOCOL otherwise. */
enum err websocket_check_response(const struct head *h, struct str key, struct error *error) MUST_CHECK;

/* Follows the frames in a stream of bytes, to know whether a frame of our own may stand at its end. */
struct frame_meter {
    uint64_t left;          /* payload to come */
    unsigned char head[14]; /* of the frame whose head is incomplete */
    uint8_t have;
    bool closed; /* a close frame began: nothing may follow */
};
void frame_meter_feed(struct frame_meter *m, struct str bytes);
static inline bool frame_meter_may_close(const struct frame_meter *m)
{
    return !m->closed && m->left == 0 && m->have == 0;
}

#endif
