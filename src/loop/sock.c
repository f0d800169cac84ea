/* Sockets, plain or TLS, on one loop. */
#include "loop/sock.h"

#include "loop/task_private.h"
#include "loop/tls_stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void sock_event(struct watch *w, uint32_t events)
{
    struct sock *s = CONTAINER_OF(w, struct sock, watch);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        s->writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->peer_closed = true;
    if (events & (EPOLLHUP | EPOLLERR))
        s->broken = true;
    if (s->task)
        task_wake(s->task);
    else if (s->on_event)
        s->on_event(s);
}

enum err sock_open(struct sock *s, struct loop *l, int fd)
{
    *s = (struct sock){.loop = l, .readable = true, .writable = true, .on_event = s->on_event};
    s->watch.on_event = sock_event;
    s->watch.fd = fd;
    if (watch_add(l, &s->watch, fd) == OK)
        return OK;
    close(fd);
    s->loop = NULL;
    return ERR_IO;
}

bool sock_is_open(const struct sock *s)
{
    return s->loop != NULL;
}

/* Closing removes the descriptor from epoll by itself (it is never duplicated). */
void sock_close(struct sock *s)
{
    if (!s->loop)
        return;
    if (s->tls)
        tls_stream_free(s->tls);
    watch_forget(s->loop, &s->watch);
    close(s->watch.fd);
    s->loop = NULL;
    s->tls = NULL;
    s->task = NULL;
}

void sock_reset(struct sock *s)
{
    if (!s->loop)
        return;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(s->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    if (s->tls)
        tls_stream_abandon(s->tls);
    sock_close(s);
}

void sock_shutdown(struct sock *s)
{
    if (s->tls)
        tls_stream_shutdown(s->tls);
    shutdown(s->watch.fd, SHUT_WR);
}

static enum err err_of_errno(int number)
{
    switch (number) {
    case EAGAIN:
        return ERR_AGAIN;
    case ECONNRESET:
    case EPIPE:
        return ERR_RESET;
    case ECONNREFUSED:
        return ERR_REFUSED;
    case ENOENT:
        return ERR_NO_SOCKET;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
        return ERR_UNREACHABLE;
    default:
        return ERR_IO;
    }
}

/* libc's recv and send are cancellation points and pay for it on every call; nothing here cancels a thread.
   Under a sanitizer they stay libc's, because those know what they write. */
#if defined(HAVE_ASAN) || defined(HAVE_TSAN)
#define kernel_recv(fd, p, n) recv(fd, p, n, 0)
#define kernel_send(fd, p, n) send(fd, p, n, MSG_NOSIGNAL)
#else
#define kernel_recv(fd, p, n) syscall(SYS_recvfrom, fd, p, n, 0, NULL, NULL)
#define kernel_send(fd, p, n) syscall(SYS_sendto, fd, p, n, MSG_NOSIGNAL, NULL, 0)
#endif

enum err sock_recv_now(struct sock *s, char *p, size_t max, size_t *n)
{
    if (s->tls)
        return tls_stream_recv(s, p, max, n);
    ssize_t got = kernel_recv(s->watch.fd, p, max);
    if (got > 0) {
        /* A short read emptied the socket; the next byte brings an event. Not so after a hang-up, which was
         * one. */
        if ((size_t)got < max && !s->peer_closed)
            s->readable = false;
        *n = (size_t)got;
        return OK;
    }
    if (got == 0)
        return ERR_END;
    if (errno == EAGAIN)
        s->readable = false;
    return errno == EINTR ? ERR_AGAIN : err_of_errno(errno);
}

enum err sock_sendv_now(struct sock *s, const struct iovec *parts, int count, size_t *n)
{
    *n = 0;
    if (s->tls)
        return tls_stream_sendv(s, parts, count, n);
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    ssize_t sent;
    if (count == 1) {
        sent = kernel_send(s->watch.fd, parts[0].iov_base, parts[0].iov_len);
    } else {
        struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
        sent = sendmsg(s->watch.fd, &message, MSG_NOSIGNAL);
    }
    if (sent >= 0) {
        *n = (size_t)sent;
        if (*n < total)
            s->writable = false;
        return OK;
    }
    if (errno == EAGAIN)
        s->writable = false;
    return errno == EINTR ? ERR_AGAIN : err_of_errno(errno);
}

enum err sock_recv(struct task *t, struct sock *s, char *p, size_t max, size_t *n, uint64_t deadline)
{
    for (;;) {
        enum err err = sock_recv_now(s, p, max, n);
        if (err != ERR_AGAIN)
            return err;
        TRY(task_park(t, deadline));
    }
}

enum err sock_send_all(struct task *t, struct sock *s, const char *p, size_t n, uint64_t deadline)
{
    while (n) {
        struct iovec part = {(void *)(uintptr_t)p, n};
        size_t sent;
        enum err err = sock_sendv_now(s, &part, 1, &sent);
        if (err == ERR_AGAIN)
            err = task_park(t, deadline);
        TRY(err);
        p += sent;
        n -= sent;
    }
    return OK;
}

/* ---- connecting -----------------------------------------------------------------------------------------
 */

static enum err connect_result(struct sock *s)
{
    int number = 0;
    socklen_t length = sizeof number;
    if (getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0)
        return ERR_IO;
    return number ? err_of_errno(number) : OK;
}

static enum err connect_wait(struct task *t, struct sock *s, uint64_t deadline)
{
    while (!s->writable)
        TRY(task_park(t, deadline));
    return connect_result(s);
}

enum err sock_connect(struct task *t, struct sock *s, const struct address *to, uint64_t deadline)
{
    int family = to->storage.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_IO;
    int on = 1;
    if (family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int connected = connect(fd, (const struct sockaddr *)&to->storage, to->length);
    if (connected != 0 && errno != EINPROGRESS) {
        enum err err = err_of_errno(errno);
        close(fd);
        return err == ERR_AGAIN ? ERR_REFUSED : err; /* EAGAIN: a Unix listener's queue is full */
    }
    TRY(sock_open(s, t->loop, fd));
    sock_attach(s, t);
    s->readable = false;
    s->writable = connected == 0;
    enum err err = connect_wait(t, s, deadline);
    if (err != OK)
        sock_close(s);
    return err;
}
