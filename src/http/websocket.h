/* The WebSocket handshake's checks (RFC 6455, http.md 3.5). Pure; the bytes after it are a tunnel and not
 * parsed. */
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

#endif
