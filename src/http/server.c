/* Client connections: accepting, the task of a busy one, the timer of an idle one, draining. One loop. */
#include "http/server.h"

#include "base/mem.h"
#include "loop/trail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_TURN = 64,
    REQUESTS_PER_TURN = 64,
    LINGER_MS = 2000,
    TLS_HANDSHAKE_MS = 10000,
    ACCEPT_PAUSE_MS = 100
};

struct listener {
    struct watch watch;
    struct server *server;
    struct timer resume;
    struct list node;
    int spare_fd; /* given up for a moment when descriptors run out, so that the connection can be refused */
};

static void conn_serve(struct task *t, void *argument);

/* ---- life of a connection -------------------------------------------------------------------------------
 */

static void conn_close(struct conn *c, bool reset)
{
    struct server *s = c->server;
    inflow_free(&c->in); /* before the socket forgets the loop whose scratch may be lent */
    if (reset)
        sock_reset(&c->sock);
    else
        sock_close(&c->sock);
    outflow_free(&c->out);
    timer_remove(s->loop, &c->idle);
    list_remove(&c->node);
    s->conn_count--;
    if (s->conn_total)
        atomic_fetch_sub(s->conn_total, 1);
    if (c->counted)
        s->on_leave(c->counted);
    mem_free(c);
    if (s->draining && s->conn_count == 0 && s->on_idle)
        s->on_idle(s);
}

static void conn_idle_due(struct timer *timer)
{
    struct conn *c = CONTAINER_OF(timer, struct conn, idle);
    if (!c->task)
        conn_close(c, false);
}

/* Of a connection that rests; or of one whose exchange waits for something else alone (conn_let_go). */
static void conn_event(struct sock *s)
{
    struct conn *c = CONTAINER_OF(s, struct conn, sock);
    if (c->task) {
        if (conn_is_abandoned(c))
            task_cancel(c->task);
        return;
    }
    if (!task_start(s->loop, conn_serve, c))
        conn_close(c, true);
}

static void conn_rest(struct conn *c, uint64_t ms)
{
    c->task = NULL;
    sock_attach(&c->sock, NULL);
    timer_set(c->server->loop, &c->idle, clock_after(c->server->loop->now, ms));
}

static struct conn *conn_open(struct server *s, int fd, const struct address *peer, struct peer *counted)
{
    struct conn *c = mem_alloc(sizeof *c);
    if (!c || sock_open(&c->sock, s->loop, fd) != OK) {
        if (!c)
            close(fd);
        mem_free(c);
        return NULL;
    }
    c->server = s;
    c->peer = *peer;
    c->counted = counted;
    c->opened = s->loop->now;
    c->in.sock = c->out.sock = &c->sock;
    c->sock.on_event = conn_event;
    c->idle.on_due = conn_idle_due;
    list_push_back(&s->conns, &c->node);
    s->conn_count++;
    if (s->conn_total)
        atomic_fetch_add(s->conn_total, 1);
    conn_rest(c, s->settings.head_timeout_ms);
    return c;
}

/* Lets the last answer arrive: a close with unread bytes would reset the connection and destroy it. */
static void conn_linger(struct task *t, struct conn *c)
{
    uint64_t deadline = task_deadline(t, LINGER_MS);
    sock_shutdown(&c->sock);
    while (task_now(t) < deadline) {
        enum err err = inflow_fill(t, &c->in, SCRATCH_SIZE, deadline);
        inflow_consume(&c->in, c->in.n);
        if (err != OK || task_yield(t) != OK)
            return;
    }
}

static void conn_finish(struct task *t, struct conn *c)
{
    c->linger = c->linger || c->in.n > 0; /* a close with unread bytes would reset the connection */
    inflow_consume(&c->in, c->in.n);      /* nobody reads it, and it may lie in the scratch */
    enum err err = c->sock.broken
                       ? ERR_RESET
                       : outflow_flush(t, &c->out, task_deadline(t, c->server->settings.stream_idle_ms));
    if (err == OK && c->linger && !c->abort) /* it says FIN: the end of what is whole */
        conn_linger(t, c);
    conn_close(c, err != OK || c->abort);
}

static enum err conn_prepare(struct task *t, struct conn *c)
{
    if (c->tls_ready)
        return OK;
    c->tls_ready = true; /* or plain for ever, whatever a reload says */
    if (!c->server->tls || c->peer.storage.ss_family == AF_UNIX) /* what never leaves the machine */
        return OK;
    return tls_accept(t, &c->sock, c->server->tls, task_deadline(t, TLS_HANDSHAKE_MS));
}

/* Exchanges as long as there are bytes; then the connection rests without a task. */
static enum err conn_serve_all(struct task *t, struct conn *c)
{
    struct server *s = c->server;
    TRY(conn_prepare(t, c));
    do {
        if (c->in.n == 0) {
            enum err err = inflow_fill_now(&c->in, SCRATCH_SIZE);
            if (err == ERR_AGAIN)
                return OK;
            TRY(err);
        }
        c->answered = false;
        c->keep = true;
        c->request_count++;
        s->serve(t, c);
        if (!c->keep)
            return OK;
        TRY(inflow_settle(&c->in));
        if (c->request_count % REQUESTS_PER_TURN == 0)
            TRY(task_yield(t)); /* a flood of small requests must not keep others waiting */
    } while (c->in.n || c->sock.readable);
    return OK;
}

static void conn_serve(struct task *t, void *argument)
{
    struct conn *c = argument;
    struct server *s = c->server;
    c->task = t;
    c->keep = true;
    timer_off(&c->idle);
    sock_attach(&c->sock, t);
    s->busy_count++;
    enum err err = conn_serve_all(t, c);
    s->busy_count--;
    if (err != OK)
        conn_close(c, err != ERR_END);
    else if (!c->keep)
        conn_finish(t, c);
    else if (s->draining)
        conn_close(c, false);
    else
        conn_rest(c, c->request_count ? s->settings.keepalive_timeout_ms : s->settings.head_timeout_ms);
}

/* ---- accepting ------------------------------------------------------------------------------------------
 */

static void refuse(int fd)
{
    static const char body[] = "{\"error\":{\"message\":\"too many connections\",\"type\":\"server_error\","
                               "\"param\":null,\"code\":\"overloaded\"}}\n";
    char answer[512];
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
                          "Retry-After: 1\r\nConnection: close\r\nX-Hestia-Error-Source: gateway\r\n"
                          "Content-Length: %zu\r\n\r\n%s",
                          sizeof body - 1, body);
    ssize_t n = send(fd, answer, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n;
    close(fd);
}

/* Out of descriptors: refuse one connection through the spare descriptor, then leave the queue alone for a
 * moment. */
static void accept_exhausted(struct listener *listener)
{
    close(listener->spare_fd);
    int fd = accept4(listener->watch.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    watch_remove(listener->server->loop, &listener->watch);
    timer_set(listener->server->loop, &listener->resume,
              clock_after(listener->server->loop->now, ACCEPT_PAUSE_MS));
}

static void accept_resume(struct timer *timer)
{
    struct listener *listener = CONTAINER_OF(timer, struct listener, resume);
    struct loop *l = listener->server->loop;
    if (watch_add_shared(l, &listener->watch, listener->watch.fd) != OK)
        timer_set(l, timer, clock_after(l->now, ACCEPT_PAUSE_MS));
}

static void accept_one(struct server *s, int fd, const struct address *peer)
{
    struct peer *counted = NULL;
    if (s->admit && !s->admit(s, peer, &counted)) {
        close(fd);
        return;
    }
    trail_add(TRAIL_ACCEPT, s->loop->now, trail_no_id, fd);
    struct conn *c = conn_open(s, fd, peer, counted);
    if (c)
        conn_event(&c->sock);
    else if (counted)
        s->on_leave(counted);
}

static void accept_event(struct watch *w, uint32_t events)
{
    struct listener *listener = CONTAINER_OF(w, struct listener, watch);
    struct server *s = listener->server;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct address peer = {.length = sizeof peer.storage};
        int fd = accept4(w->fd, (struct sockaddr *)&peer.storage, &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                accept_exhausted(listener);
            return;
        }
        if (s->conn_total && atomic_load(s->conn_total) >= s->conn_max) {
            refuse(fd);
            continue;
        }
        accept_one(s, fd, &peer);
    }
}

enum err server_listen(struct server *s, int listen_fd)
{
    struct listener *listener = mem_alloc(sizeof *listener);
    if (!listener)
        return ERR_NOMEM;
    listener->server = s;
    listener->watch.on_event = accept_event;
    listener->resume.on_due = accept_resume;
    listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (watch_add_shared(s->loop, &listener->watch, listen_fd) != OK) {
        close(listener->spare_fd);
        mem_free(listener);
        return ERR_IO;
    }
    list_push_back(&s->listeners, &listener->node);
    return OK;
}

void server_stop_listening(struct server *s)
{
    struct list *node;
    while ((node = list_pop_front(&s->listeners))) {
        struct listener *listener = CONTAINER_OF(node, struct listener, node);
        watch_remove(s->loop, &listener->watch);
        timer_remove(s->loop, &listener->resume);
        close(listener->watch.fd);
        close(listener->spare_fd);
        mem_free(listener);
    }
}

/* ---- draining -------------------------------------------------------------------------------------------
 */

void server_init(struct server *s, struct loop *l)
{
    s->loop = l;
    list_init(&s->conns);
    list_init(&s->listeners);
}

void server_drain(struct server *s)
{
    s->draining = true;
    LIST_EACH_SAFE(node, &s->conns)
    {
        struct conn *c = CONTAINER_OF(node, struct conn, node);
        if (!c->task)
            conn_close(c, false);
    }
}

void server_cancel_all(struct server *s)
{
    LIST_EACH_SAFE(node, &s->conns)
    {
        struct conn *c = CONTAINER_OF(node, struct conn, node);
        if (c->task)
            task_cancel(c->task);
    }
}

bool conn_is_abandoned(const struct conn *c)
{
    if (LIKELY(!c->sock.peer_closed))
        return false;
    return c->sock.broken || c->server->settings.abort_on_half_close;
}

enum err conn_let_go(struct conn *c)
{
    if (conn_is_abandoned(c))
        return ERR_CANCELLED;
    sock_attach(&c->sock, NULL);
    return OK;
}

void conn_take_back(struct conn *c)
{
    sock_attach(&c->sock, c->task);
}

bool conn_peer_is_loopback(const struct conn *c)
{
    return address_is_loopback(&c->peer);
}

struct str conn_peer(struct conn *c)
{
    if (c->peer.storage.ss_family == AF_UNIX)
        return STR("unix");
    if (!c->peer_text[0])
        address_format(&c->peer, false, c->peer_text, sizeof c->peer_text);
    return str_from_c(c->peer_text);
}
