/*
 * The server side of HTTP/1.1: client connections, reading requests, writing responses that we make
 * ourselves. A connection between two requests holds no task and no stack; its first readable event starts
 * one. Used by the gateway, and by `hestia mock-llm`.
 */
#ifndef HESTIA_HTTP_SERVER_H
#define HESTIA_HTTP_SERVER_H

#include "base/arena.h"
#include "http/body.h"
#include "http/target.h"

struct server;
struct conn;
struct peer;
struct tls_context;

struct server_settings {
    struct head_limits limits;
    uint64_t body_max; /* 0 = none */
    uint64_t head_timeout_ms, keepalive_timeout_ms, stream_idle_ms;
    uint64_t body_min_rate; /* bytes per second after 10 s */
    uint64_t keepalive_requests;
    uint64_t connection_age_ms; /* an older connection carries no further request; 0 = any age */
    bool abort_on_half_close;
};

/* Serves exactly one exchange: reads the head with request_read, answers it. Returns with the response
   finished, or with conn.keep = false. */
typedef void serve_fn(struct task *t, struct conn *c);

struct server {
    struct loop *loop;
    struct server_settings settings; /* may be replaced between requests (reload) */
    struct tls_context *tls;         /* NULL = plain */
    serve_fn *serve;
    void *owner;       /* the worker */
    struct list conns; /* all, idle and busy */
    size_t conn_count, busy_count;
    _Atomic int64_t *conn_total; /* shared by all workers; may be NULL */
    int64_t conn_max;            /* for conn_total; beyond it a new connection gets a 503 and is closed */
    /* Who may connect; NULL = everybody. False: the connection is closed at once. What it puts into *counted
       (NULL before the call) on_leave gets back when the connection is gone. */
    bool (*admit)(struct server *s, const struct address *address, struct peer **counted);
    void (*on_leave)(struct peer *counted);
    bool draining;
    struct list listeners;
    void (*on_idle)(struct server *s); /* while draining: the last connection has gone; may be NULL */
};

struct conn {
    struct sock sock;
    struct inflow in;
    struct outflow out;
    struct server *server;
    struct list node;
    struct timer idle;
    struct address peer;
    struct peer *counted; /* what server.admit said; NULL = no limit of its address binds it */
    uint64_t opened;      /* coarse ns */
    char peer_text[48];   /* its address without port, made when first asked for: conn_peer */
    struct task *task;    /* serving now; NULL = idle */
    uint64_t request_count;
    struct {            /* the gateway's: a credential that was checked on this connection */
        uint64_t epoch; /* of the snapshot that it was checked under; 0 = none */
        uint16_t length;
        uint8_t kind;       /* what the gateway found it to be */
        const void *holder; /* whose it is; lives as long as that snapshot */
        char text[118];
    } credential;
    uint64_t head_bytes; /* of what went into `out`: heads, interim ones too */
    bool keep;           /* the connection may carry another request */
    bool tls_ready;
    bool abort;    /* close with a reset: the peer must not take what it has for the whole */
    bool linger;   /* unread request bytes may be under way: close so that the answer survives */
    bool answered; /* a final response head of the present exchange was sent */
};

/* Call first. */
void server_init(struct server *s, struct loop *l);
/* Takes over a listening descriptor; its accept events start connections from then on. */
enum err server_listen(struct server *s, int listen_fd) MUST_CHECK;
void server_stop_listening(struct server *s);
/* Closes idle connections at once; busy ones get `Connection: close` on their present response. */
void server_drain(struct server *s);
/* Cancels every exchange that still runs. */
void server_cancel_all(struct server *s);

/* The client is gone (or, with abort_on_half_close, has closed its sending side) and nothing of its request
 * is to come. */
bool conn_is_abandoned(const struct conn *c);
/* Around waits that know nothing of the client (a connect, a fetch): one that leaves meanwhile cancels the
   exchange's task, for good. ERR_CANCELLED: it has left already; then there is nothing to take back. */
enum err conn_let_go(struct conn *c) MUST_CHECK;
void conn_take_back(struct conn *c);
bool conn_peer_is_loopback(const struct conn *c);
/* The peer's address without port, as text; "unix" for a Unix socket. */
struct str conn_peer(struct conn *c);

/* ---- one request ----------------------------------------------------------------------------------------
 */

struct request {
    struct head head;
    struct target target;
    struct body_reader body;
    struct buf block;   /* owns the head's bytes */
    struct arena arena; /* lives as long as the exchange */
    uint64_t started;   /* coarse ns, at the first byte of the head */
    bool expects_continue;
    bool continue_sent;
    char id[65]; /* X-Request-ID, accepted or made */
};

void request_reset(struct request *r); /* before each use; keeps memory */
void request_free(struct request *r);

/* Waits for a head, parses and checks everything that http.md section 3 asks before routing. ERR_END when the
   client closed between requests (nothing to answer). Otherwise the error to answer with: request_reject. */
enum err request_read(struct task *t, struct conn *c, struct request *r, struct error *error) MUST_CHECK;
/* Sends `100 Continue` if the client waits for it and none was sent. */
enum err request_continue(struct task *t, struct conn *c, struct request *r) MUST_CHECK;
/* The whole body, decoded, into `out` (whose max is the limit: ERR_BODY_TOO_LARGE). */
enum err request_read_body(struct task *t, struct conn *c, struct request *r, struct buf *out,
                           struct error *error) MUST_CHECK;
/* After the response: reads the rest of a body that nobody wanted, at most 64 KiB or 2 s; otherwise the
   connection will not be kept (lingering close). */
void request_discard_body(struct task *t, struct conn *c, struct request *r);

/* When a body that began at `since` (coarse ns) must have brought more, by the minimum rate. */
uint64_t request_body_deadline(const struct conn *c, const struct request *r, uint64_t since);

/* ---- responses that we make ------------------------------------------------------------------------------
 */

struct response {
    int status;
    struct str content_type; /* empty = application/json */
    struct str body;
    struct buf fields; /* further fields, added with head_add; freed by response_send */
};

/* Sends a complete response: status line, Date, X-Request-ID, Content-Length, Connection where needed. HEAD
 * gets no body. */
enum err response_send(struct task *t, struct conn *c, struct request *r,
                       struct response *response) MUST_CHECK;
/* The JSON error of details.md section 1 with Retry-After (retry_after seconds, 0 = the row's),
 * X-Hestia-Error-Source, Allow. */
enum err response_send_error(struct task *t, struct conn *c, struct request *r, const struct error *error,
                             int retry_after) MUST_CHECK;
/* Only the head, for a caller that moves the body itself, maybe while it still reads the request's: with
 * *length as Content-Length, or chunked (until close for 1.0) when length is NULL. */
enum err response_begin(struct task *t, struct conn *c, struct request *r, struct response *response,
                        const uint64_t *length) MUST_CHECK;
/* The same with further fields, complete lines. */
enum err response_send_error_fields(struct task *t, struct conn *c, struct request *r,
                                    const struct error *error, int retry_after, struct str fields) MUST_CHECK;
/* A response whose length is not known: chunked (or until close for 1.0). */
enum err response_begin_stream(struct task *t, struct conn *c, struct request *r,
                               struct response *response) MUST_CHECK;
enum err response_write(struct task *t, struct conn *c, struct request *r, struct str bytes) MUST_CHECK;
enum err response_end_stream(struct task *t, struct conn *c, struct request *r) MUST_CHECK;

/* The body of an error response (details.md section 1); answers to start and stop have a top-level `message`
 * too. */
void error_write_json(struct buf *out, const struct error *error, bool with_message);
const char *status_reason(int status);
/* Cached per second: "Date: …\r\n" for responses that we originate. */
struct str date_line(struct loop *l);

#endif
