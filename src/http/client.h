/*
 * The client side of HTTP/1.1: origins, a pool of kept-alive connections per loop (LIFO), and a small
 * buffered call for health probes and the like. The data path uses upstream_acquire / upstream_release with
 * relay.h.
 */
#ifndef HESTIA_HTTP_CLIENT_H
#define HESTIA_HTTP_CLIENT_H

#include "http/flow.h"
#include "http/framing.h"
#include "http/url.h"
#include "loop/tls.h"

/* Where connections go: scheme, host, port, TLS options. Interned for the life of the process (they are few),
   so that a pointer is identity and any thread may keep one. */
struct origin {
    uint32_t id;             /* small, dense */
    struct url url;          /* prefix is empty: prefixes belong to targets */
    struct tls_context *tls; /* NULL = plain */
    bool allow_unclean_close;
    struct str name; /* "http://host:port", for logs */
};
/* Control thread, which hands origins on with a snapshot or a service's places. NULL when memory is short or
   the CA file is unusable. */
struct origin *origin_intern(const struct url *url, const struct tls_client_options *tls,
                             struct error *error);

/* At exit, when no pool is left. */
void origins_free(void);

/* One per loop. */
struct pool;
struct pool *pool_new(struct loop *l);
void pool_free(struct pool *p);
void pool_close_idle(struct pool *p, const struct origin *origin); /* NULL = all */

enum { INTERIM_MAX = 16 /* responses of 1xx before the final one */ };

struct upstream {
    struct sock sock;
    struct inflow in;
    struct outflow out;
    struct pool *pool;
    const struct origin *origin;
    struct list node;
    struct timer idle;
    bool reused; /* it carried a request before: a failure before the first byte may be a closed keep-alive */
    uint64_t requests;
};

/* A kept-alive connection, or a new one (DNS, connect, TLS) within the deadline. ERR_UPSTREAM_UNREACHABLE
   with the reason, ERR_CANCELLED. `fresh` refuses kept-alive ones. Attached to t. */
enum err upstream_acquire(struct task *t, struct pool *p, const struct origin *origin, bool fresh,
                          uint64_t deadline, struct upstream **u, struct error *error) MUST_CHECK;
/* Whether it takes a connection: connects, without TLS, and closes. The same errors. */
enum err upstream_try(struct task *t, struct pool *p, const struct origin *origin, uint64_t deadline,
                      struct error *error) MUST_CHECK;
/* Only a kept-alive one, at once and without suspending; NULL when there is none. Attached to t. */
struct upstream *upstream_take(struct task *t, struct pool *p, const struct origin *origin);
/* Back to the pool, or closed. */
void upstream_release(struct upstream *u, bool reusable);

struct fetch {
    enum method method;
    const struct origin *origin;
    struct str target;     /* "/health?x=1", canonical already */
    struct str host_field; /* empty = the origin's */
    struct str fields;     /* complete lines, may be empty */
    struct str body;
    /* filled in: */
    int status;
    struct buf response;     /* body; set max before (default 1 MiB). The caller frees it. */
    struct str content_type; /* in `response_fields` */
    struct buf response_fields;
};
/* One request and its whole response; never follows redirects. ERR_UPSTREAM_UNREACHABLE,
   ERR_UPSTREAM_PROTOCOL, ERR_UPSTREAM_TIMEOUT, ERR_CANCELLED. */
enum err fetch_run(struct task *t, struct pool *p, struct fetch *f, uint64_t deadline,
                   struct error *error) MUST_CHECK;
void fetch_free(struct fetch *f);

#endif
