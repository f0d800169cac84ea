/*
 * Sockets: TCP and Unix, plain or TLS, behind the same calls. Each descriptor is registered once,
 * edge-triggered; "readable" and "writable" are sticky until the kernel says EAGAIN.
 * One task at a time waits for a sock: both directions wake the same task, which looks at what has changed.
 */
#ifndef HESTIA_LOOP_SOCK_H
#define HESTIA_LOOP_SOCK_H

#include "loop/task.h"

#include <sys/socket.h>
#include <sys/uio.h>

struct tls_stream;
struct tls_context;

struct address {
    struct sockaddr_storage storage;
    socklen_t length;
};

struct sock {
    struct watch watch;
    struct loop *loop;
    struct task *task;                /* woken by events */
    void (*on_event)(struct sock *s); /* called by events when no task is attached; may be NULL */
    struct tls_stream *tls;           /* NULL = plain */
    bool readable, writable;          /* sticky */
    bool peer_closed;   /* RDHUP, HUP or ERR was seen: the peer sends no more (unread bytes may wait) */
    bool broken;        /* HUP or ERR was seen: both directions are over */
    bool tls_lenient;   /* ending without close_notify is fine */
    bool tls_truncated; /* the stream ended without it, and that is not */
};

/* Takes over a non-blocking descriptor. */
enum err sock_open(struct sock *s, struct loop *l, int fd) MUST_CHECK;
/* Unregisters and closes; harmless twice. */
void sock_close(struct sock *s);
/* Closes so that the peer sees a reset: "this was not all". */
void sock_reset(struct sock *s);
/* Sends FIN (and close_notify). */
void sock_shutdown(struct sock *s);
bool sock_is_open(const struct sock *s);
/* Events wake `t` from now on (NULL: on_event is called). */
static inline void sock_attach(struct sock *s, struct task *t)
{
    s->task = t;
}

/* Without waiting: OK with *n >= 1, ERR_AGAIN, ERR_END (orderly), ERR_RESET, ERR_TLS, ERR_IO. */
enum err sock_recv_now(struct sock *s, char *p, size_t max, size_t *n) MUST_CHECK;
/* Without waiting, as much as goes: OK with *n <= total, ERR_AGAIN (*n = 0), ERR_RESET, ERR_TLS, ERR_IO. */
enum err sock_sendv_now(struct sock *s, const struct iovec *parts, int count, size_t *n) MUST_CHECK;

/* Waiting forms; the task must be attached. Also ERR_TIMEOUT, ERR_CANCELLED. */
enum err sock_recv(struct task *t, struct sock *s, char *p, size_t max, size_t *n,
                   uint64_t deadline) MUST_CHECK;
enum err sock_send_all(struct task *t, struct sock *s, const char *p, size_t n, uint64_t deadline) MUST_CHECK;

/* Connects, attached to t. ERR_REFUSED, ERR_NO_SOCKET, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CANCELLED. */
enum err sock_connect(struct task *t, struct sock *s, const struct address *to, uint64_t deadline) MUST_CHECK;
/* "127.0.0.1:80", "[::1]:80" or "unix:/path" without DNS; false when it is not that. */
bool address_parse(struct str text, struct address *address);
/* Without DNS, host only ("127.0.0.1", "::1"). */
bool address_parse_ip(struct str host, uint16_t port, struct address *address);
/* The printable form, into dst (at least 128 bytes). */
struct str address_format(const struct address *address, bool with_port, char *dst, size_t dst_size);
/* The IP address alone, network order: 4 bytes (also for IPv4 within IPv6) or 16; 0 for a Unix socket. */
int address_bytes(const struct address *address, uint8_t out[16]);
bool address_is_loopback(const struct address *address); /* Unix sockets count */

/* Listening: bind probe first, then SO_REUSEPORT for each worker. */
enum err listener_bind(struct str where, bool reuse_port, int *fd, struct address *bound,
                       struct error *error) MUST_CHECK;

/* TLS on an open sock. */
enum err tls_accept(struct task *t, struct sock *s, struct tls_context *context,
                    uint64_t deadline) MUST_CHECK;
/* `name` is verified and sent as SNI. The reason of a failure goes to `error`. */
enum err tls_connect(struct task *t, struct sock *s, struct tls_context *context, const char *name,
                     uint64_t deadline, struct error *error) MUST_CHECK;

#endif
