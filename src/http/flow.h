/*
 * Flows: what has been read from a socket and not used yet, and what is still to be written to one.
 * Reading goes into the loop's big scratch buffer and is used in place; only what must survive a suspension
 * is copied (inflow_settle). Writing goes straight to the kernel; only what it does not take is copied.
 */
#ifndef HESTIA_HTTP_FLOW_H
#define HESTIA_HTTP_FLOW_H

#include "base/buf.h"
#include "loop/sock.h"

enum {
    FLOW_HIGH_WATER = 64 << 10, /* bytes held per direction before reading from the other side stops */
    FLOW_BUF_MAX = SCRATCH_SIZE * 2,
};

struct inflow {
    struct sock *sock;
    char *p; /* unread bytes: in the scratch, or in `kept` */
    size_t n;
    bool in_scratch; /* the loop's scratch is lent to this flow */
    bool ended;      /* the peer has finished sending, all of it is in p..n */
    struct buf kept;
};

/* One read, up to `max` bytes, behind what is there. OK with more bytes, ERR_AGAIN, ERR_END, ERR_RESET,
   ERR_TLS, ERR_IO, ERR_LIMIT (no room). */
enum err inflow_fill_now(struct inflow *f, size_t max) MUST_CHECK;
/* The same, waiting. */
enum err inflow_fill(struct task *t, struct inflow *f, size_t max, uint64_t deadline) MUST_CHECK;
/* Uses up the first n bytes. */
void inflow_consume(struct inflow *f, size_t n);
/* Gives the scratch back; what is unread is copied. Before every suspension. ERR_NOMEM. */
enum err inflow_settle(struct inflow *f) MUST_CHECK;
void inflow_free(struct inflow *f);

struct outflow {
    struct sock *sock;
    struct buf pending; /* not yet taken by the kernel */
    uint64_t sent;      /* bytes the kernel took, ever */
};

/* Sends, or keeps what the kernel does not take. ERR_RESET, ERR_TLS, ERR_IO, ERR_NOMEM, ERR_LIMIT. */
enum err outflow_sendv(struct outflow *f, struct iovec *parts, int count) MUST_CHECK;
enum err outflow_send(struct outflow *f, struct str bytes) MUST_CHECK;
/* Sends what is pending as far as it goes now. OK or ERR_AGAIN (still some left), or an error. */
enum err outflow_flush_now(struct outflow *f) MUST_CHECK;
/* Waits until nothing is pending. */
enum err outflow_flush(struct task *t, struct outflow *f, uint64_t deadline) MUST_CHECK;
void outflow_free(struct outflow *f);

#endif
