/*
 * The relay: moves one exchange between a client connection and an upstream connection, both directions in
 * one task, with back-pressure. Bytes go from the scratch straight to the other socket; each direction holds
 * at most what one read took. It knows HTTP framing and nothing of services, routes or retries:
 * gateway/exchange.c tells the story.
 */
#ifndef HESTIA_HTTP_RELAY_H
#define HESTIA_HTTP_RELAY_H

#include "http/client.h"
#include "http/server.h"
#include "http/websocket.h"

enum { REPLAY_MAX = 64 << 10 };

enum emit { EMIT_NOTHING, EMIT_AS_IS, EMIT_CHUNKED /* add chunk framing */ };

struct relay {
    struct conn *client;
    struct request *request;
    struct upstream *up;

    struct buf *replay;     /* request body bytes as they came, for another attempt; NULL = not kept */
    bool replay_complete;   /* what was read so far stands in `replay` */
    size_t replay_at;       /* how much of `replay` this attempt has sent */
    bool request_sent;      /* head and body have left, or the upstream takes no more */
    bool upstream_deaf;     /* the upstream closed its receiving side while we sent */
    bool forward_expect;    /* our own: the client's Expect is never forwarded */
    uint64_t request_since; /* for the minimum body rate */
    uint64_t first_byte_ms; /* after the request has left */
    uint64_t idle_ms;       /* silence allowed in the response */
    bool upgrade;           /* 101 is welcome */

    struct head *response; /* lives in the upstream's inflow: valid until relay_begin_response returns */
    size_t response_head_length;
    struct body_reader body; /* of the response */
    enum emit emit;
    int interim_count;
    uint64_t response_bytes; /* body bytes relayed */
    uint64_t first_byte_at;  /* coarse ns */
    size_t read_max;
    bool is_event_stream;      /* text/event-stream: set by who reads the head */
    bool event_boundary;       /* SSE: the last bytes relayed ended an event */
    struct frame_meter frames; /* WebSocket: of the bytes sent to the client */
};

/* Sends the request head, and of the body what is at hand. ERR_RESET and ERR_IO mean the upstream;
 * ERR_CANCELLED the client. */
enum err relay_send_head(struct task *t, struct relay *r, struct str head, struct error *error) MUST_CHECK;
/* Pumps the request body until the response's final head is complete in `r->response`; relays interim
   responses. ERR_CANCELLED (client), ERR_HTTP_SYNTAX (client's body), ERR_REQUEST_TIMEOUT,
   ERR_UPSTREAM_TIMEOUT, ERR_UPSTREAM_PROTOCOL (head), ERR_RESET (upstream ended before a byte of its
   response: the retry rule decides). The response head stays unread in the upstream's inflow. */
enum err relay_await_response(struct task *t, struct relay *r, struct head *response,
                              struct error *error) MUST_CHECK;
/* Sends our form of the response head, with the first of the body. From here on nothing can be retried. */
enum err relay_begin_response(struct task *t, struct relay *r, struct str head,
                              struct error *error) MUST_CHECK;
/* Moves the rest. ERR_CANCELLED (client), ERR_UPSTREAM_TRUNCATED, ERR_UPSTREAM_TIMEOUT. */
enum err relay_finish_response(struct task *t, struct relay *r, struct error *error) MUST_CHECK;
/* After a 101 was sent: bytes both ways until both sides have ended or nothing moved for idle_ms. */
enum err relay_tunnel(struct task *t, struct relay *r) MUST_CHECK;
/* Whether the upstream connection may serve another request (its Connection field is the caller's to ask). */
bool relay_upstream_reusable(const struct relay *r);
/* Whether the request could be sent once more: nothing of its body was used, or all of that is kept. */
bool relay_is_retryable_body(const struct relay *r);

#endif
