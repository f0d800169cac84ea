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
    bool request_sent;      /* head and body have left, or the upstream takes no more */
    bool upstream_deaf;     /* the upstream closed its receiving side while we sent */
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

    /* Looks at the response's data on its way and may replace it by bytes of its own; called once more, with
       an empty piece and `last`, at the end of the body. NULL: everything passes as it is. An error ends the
       relay. */
    enum err (*tap)(struct relay *r, struct str *piece, bool last, struct error *error);
    void *tap_owner;
    struct str held;         /* data that relay_hold has read: goes out with the head */
    uint64_t total_deadline; /* of the whole answer; 0 = none */
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
/* For a request whose body is at hand: sends head and body, in parts, waiting where the upstream is slow to
 * take them. */
enum err relay_send_parts(struct task *t, struct relay *r, const struct str *parts, int count,
                          struct error *error) MUST_CHECK;
/* Takes the response head off the inflow (it was copied), and reads data through the tap into `held` until
   enough(owner), the end of the body or `deadline` (ERR_UPSTREAM_TIMEOUT): nothing has gone to the client
   yet. */
enum err relay_hold(struct task *t, struct relay *r, struct buf *held, bool (*enough)(void *owner),
                    uint64_t deadline, struct error *error) MUST_CHECK;
/* Sends our form of the response head, with the first of the body. From here on nothing can be retried.
   ERR_UPSTREAM_PROTOCOL: that beginning is broken, and nothing was sent. */
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
