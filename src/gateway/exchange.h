/* One exchange: a request and its response, from the first byte to the settled account. Belongs to one worker
 * and one task. */
#ifndef HESTIA_GATEWAY_EXCHANGE_H
#define HESTIA_GATEWAY_EXCHANGE_H

#include "base/json.h"
#include "gateway/worker.h"
#include "http/relay.h"

enum route_kind { ROUTE_NONE, ROUTE_API, ROUTE_SERVICE, ROUTE_REDIRECT, ROUTE_OPTIONS, ROUTE_LLM };

struct llm_call;

struct route {
    enum route_kind kind;
    const struct api_route *api;
    struct snapshot_service *service; /* ROUTE_SERVICE, and API rows with {serviceId} */
    struct str parameter;             /* the text of {name} */
    uint32_t allowed;                 /* for a 405: the methods (bits) that the path's rows take */
    struct str path;                  /* ROUTE_SERVICE: what the service sees, begins with '/' */
    bool mounted;                     /* under /services/{id}: prefix header, Location rewriting */
    const char *label_path;           /* the template, for logs and metrics */
};

struct exchange {
    struct list node;
    struct worker *worker;
    struct conn *conn;
    struct held_snapshot *held;
    const struct snapshot *snapshot;
    struct request request;
    struct route route;
    struct lease lease;
    struct relay relay;
    struct buf replay; /* the body's beginning, for another attempt */
    struct buf head;   /* the head that goes out next */
    struct str websocket_key;
    bool websocket;
    bool via_named;                       /* Connection names the request's Via: it does not go on */
    int64_t hops_left;                    /* Max-Forwards to send; -1 = none */
    bool reframe;                         /* the response's data is looked at: its framing is written anew */
    struct llm_call *llm;                 /* ROUTE_LLM */
    struct llm_call *llm_kept;            /* of an earlier request, with its buffers */
    const struct book_client *client;     /* who calls; NULL: an operator, or anybody */
    const struct book_strategy *strategy; /* after auth, on the LLM routes: never NULL */
    struct str actor;                     /* whose key it was */
    struct error error;
    int retry_after;

    /* The upstream side of the attempt under way. */
    struct upstream *up;
    struct target_place place;
    bool on_fallback;
    int attempts;
    struct api_asked asked; /* ROUTE_API */

    /* For log and metrics. */
    int status;                    /* as the client saw it; 499 = it left; 0 = nothing sent */
    uint64_t sent_at, answered_at; /* coarse ns: request left for the upstream; its response began */
    uint64_t received_at;          /* coarse ns: the request was here; a completion: with its body */
    uint64_t upstream_ns;          /* waiting for upstreams, in all attempts */
    uint64_t overhead_ns;          /* our own part of the time until the answer's head */
    uint64_t out_before;           /* what the connection had sent of bodies when the exchange began */
    enum err end;                  /* how it ended */
};

/* A wait for an upstream that began at `since` is over. Coarse is enough where the task was suspended for it
   in any case; where it began with much done in the same turn of the loop, `since` is of clock_now(). */
static inline void exchange_waited(struct exchange *x, uint64_t since)
{
    uint64_t now = loop_now(x->worker->loop);
    x->upstream_ns += now - MIN(now, since);
}
/* The answer's head goes out: overhead_ns. queued_ns: what of the time until now was spent in queues. */
void exchange_take_overhead(struct exchange *x, uint64_t queued_ns);

/* serve_fn of the gateway. */
void exchange_serve(struct task *t, struct conn *c);
/* The pooled ones of a worker that has ended. */
void exchanges_free(struct worker *w);

/* ---- the chapters, each in its file ---------------------------------------------------------------------
 */

/* route.c: ERR_NOT_FOUND, ERR_SERVICE_NOT_FOUND, ERR_METHOD_NOT_ALLOWED. */
enum err route_find(struct exchange *x) MUST_CHECK;
/* auth.c: ERR_INVALID_API_KEY, ERR_RATE_LIMIT. Marks the field that carried our key so that it is not
 * forwarded. */
enum err auth_require(struct exchange *x) MUST_CHECK;
/* limit.c: what one client address may do (struct server's admit). */
bool limit_admit(struct server *s, const struct address *address, struct peer **counted);
/* The exchange ended with a syntax error. */
void limit_syntax_error(struct exchange *x);
/* Before a key is looked at that the connection has not brought before; after one that was wrong. Both:
   ERR_RATE_LIMIT when the address has brought too many wrong ones. */
enum err limit_auth(struct exchange *x) MUST_CHECK;
enum err limit_auth_failed(struct exchange *x) MUST_CHECK;
/* attempt.c: sends the request, again and elsewhere where the rules allow it, until there is a response whose
   head stands in the worker's response_head. */
enum err attempts_run(struct task *t, struct exchange *x) MUST_CHECK;
/* The answer that was got is no use any more: give up the upstream connection. */
void attempt_drop(struct exchange *x);
/* forward.c: the heads that go out. */
enum err forward_request_head(struct exchange *x, const struct url *url) MUST_CHECK;
enum err forward_response_head(struct exchange *x, struct head *response) MUST_CHECK;
enum err forward_check(struct exchange *x) MUST_CHECK; /* loops, upgrades */
/* waiting_page.c: whether this is a browser that wants the page; and the page. It is not sent when the
   service is backing off and has a fallback: that one's errors say so. */
bool waiting_page_wanted(struct exchange *x);
enum err waiting_page_send(struct task *t, struct exchange *x) MUST_CHECK;
/* access_log.c */
void access_log_begin(struct exchange *x);
void access_log_end(struct exchange *x);

/* llm.c: a completion over the pool of providers; and what it has taken is given back. */
enum err llm_serve(struct task *t, struct exchange *x) MUST_CHECK;
void llm_end(struct exchange *x);
/* Then, when nobody looks at it any more (the log line does): ready for the next request. */
void llm_rest(struct exchange *x);
void llm_free(struct exchange *x);
/* What the request's log line says of it. */
void llm_log(const struct llm_call *l, struct json *j);

/* An answer that breaks off in the middle: an event stream is told why, and the connection ends so that
 * nobody takes it for whole. */
void exchange_break_off(struct exchange *x, enum err err);
/* The drain deadline came, it was not the client that left. */
bool exchange_is_cut_by_drain(const struct exchange *x, enum err err);

/* dispatcher.c: the routes that the gateway itself answers. */
extern const struct api_route gateway_routes[];
/* llm_models.c: the OpenAI routes. */
extern const struct api_route llm_routes[];

#endif
