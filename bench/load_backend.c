/*
 * load_backend.c: the upstream half: answers every POST with the same JSON, or with a paced SSE stream, and
 * every GET (health checks, model lists) with a list of models. Checks the request bodies that arrive: small
 * ones always, large ones every 16th, which keeps the generator cheap.
 */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct upstream {
    struct peer peer; /* first: the loop hands us this */
    char head[HEAD_SIZE];
    size_t head_length;
    uint64_t body_left;
    size_t body_at;
    bool in_body;
    bool is_get;
    bool check;
    const struct body *expected; /* NULL: any */
    bool close_after;
    unsigned requests;
    char chunk[512]; /* the SSE chunk being sent */
    unsigned sent;   /* SSE events of this stream */
    bool streaming;
    int64_t due;
    struct upstream *next, *previous; /* the pace queue, ordered by due; or the free list */
};

static struct peer listener;
static struct upstream *free_list;
static struct upstream *first, *last;

static void upstream_ready(struct peer *peer, uint32_t events);

static void pace_push(struct upstream *upstream)
{
    upstream->next = NULL;
    upstream->previous = last;
    if (last)
        last->next = upstream;
    else
        first = upstream;
    last = upstream;
}

static void pace_remove(struct upstream *upstream)
{
    if (upstream->previous)
        upstream->previous->next = upstream->next;
    else
        first = upstream->next;
    if (upstream->next)
        upstream->next->previous = upstream->previous;
    else
        last = upstream->previous;
}

static void upstream_close(struct upstream *upstream)
{
    if (upstream->streaming)
        pace_remove(upstream);
    close(upstream->peer.fd);
    upstream->peer.fd = -1;
    upstream->next = free_list;
    free_list = upstream;
}

static void upstream_open(int fd)
{
    struct upstream *upstream = free_list;

    if (upstream)
        free_list = upstream->next;
    else if (!(upstream = malloc(sizeof(*upstream))))
        die("malloc");
    memset(upstream, 0, sizeof(*upstream));
    upstream->peer.fd = fd;
    upstream->peer.ready = upstream_ready;
    peer_register(&upstream->peer);
}

/* False when the connection was closed. */
static bool upstream_send(struct upstream *upstream, const char *bytes, size_t length)
{
    upstream->peer.out = bytes;
    upstream->peer.out_left = length;
    if (peer_flush(&upstream->peer) &&
        !(upstream->close_after && !upstream->streaming && upstream->peer.out_left == 0))
        return true;
    upstream_close(upstream);
    return false;
}

static bool upstream_answer(struct upstream *upstream)
{
    upstream->in_body = false;
    upstream->head_length = 0;
    if (upstream->is_get)
        return upstream_send(upstream, wire.model_list, wire.model_list_length);
    tally.upstream_requests++;
    if (settings.sse) {
        upstream->streaming = true;
        upstream->sent = 0;
        upstream->due = now_ns() + settings.chunk_interval;
        pace_push(upstream);
    }
    return upstream_send(upstream, wire.response, wire.response_length);
}

static const struct body *expected_body(int64_t length)
{
    for (int i = 0; i < wire.expected_count; i++)
        if ((int64_t)wire.expected[i].length == length)
            return &wire.expected[i];
    return NULL;
}

static bool head_take(struct upstream *upstream, const char *head, size_t length)
{
    int64_t content_length = head_content_length(head, length);

    upstream->is_get = memcmp(head, "GET ", 4) == 0; /* a head has 4 bytes at least */
    if (upstream->is_get && content_length < 0)
        content_length = 0;
    upstream->expected = settings.any_request || upstream->is_get ? NULL : expected_body(content_length);
    if (content_length < 0 || (!settings.any_request && !upstream->is_get && !upstream->expected)) {
        tally_error("the backend got a request with a wrong or no Content-Length");
        return false;
    }
    upstream->close_after = head_says_close(head, length);
    upstream->body_left = (uint64_t)content_length;
    upstream->body_at = 0;
    upstream->in_body = true;
    upstream->check = upstream->expected && (settings.request_bytes <= 4096 || upstream->requests % 16 == 0);
    upstream->requests++;
    return true;
}

/* Takes head bytes; returns how many, 0 after a failure. */
static size_t feed_head(struct upstream *upstream, const char *bytes, size_t length)
{
    size_t old = upstream->head_length;
    size_t whole = old == 0 ? head_length(bytes, length) : 0;
    const char *head = bytes;

    if (whole == 0) {
        size_t took = length < HEAD_SIZE - old ? length : HEAD_SIZE - old;
        memcpy(upstream->head + old, bytes, took);
        upstream->head_length = old + took;
        whole = head_length(upstream->head, upstream->head_length);
        if (whole == 0 && upstream->head_length < HEAD_SIZE)
            return took;
        head = upstream->head;
    }
    return whole > 0 && head_take(upstream, head, whole) ? whole - old : 0;
}

static bool feed_body(struct upstream *upstream, const char *bytes, size_t length)
{
    if (length > upstream->body_left) {
        tally_error("the backend got more than the request's body");
        return false;
    }
    if (upstream->check && memcmp(upstream->expected->bytes + upstream->body_at, bytes, length) != 0) {
        tally_error("the backend got a request body that differs");
        return false;
    }
    upstream->body_at += length;
    upstream->body_left -= length;
    return true;
}

/* False when the connection was closed. */
static bool upstream_feed(struct upstream *upstream, const char *bytes, size_t length)
{
    bool good = true;

    if (!upstream->in_body) {
        size_t took = feed_head(upstream, bytes, length);
        bytes += took;
        length -= took;
        good = took > 0;
    }
    if (good && upstream->in_body)
        good = feed_body(upstream, bytes, length);
    if (!good) {
        upstream_close(upstream);
        return false;
    }
    return upstream->in_body && upstream->body_left == 0 ? upstream_answer(upstream) : true;
}

static void upstream_ready(struct peer *peer, uint32_t events)
{
    struct upstream *upstream = (struct upstream *)peer;
    bool ending = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

    if (peer->out_left > 0 && (events & EPOLLOUT) && !upstream_send(upstream, peer->out, peer->out_left))
        return;
    if (!(events & EPOLLIN) && !ending)
        return;
    for (;;) {
        ssize_t n = recv(peer->fd, read_buffer, READ_SIZE, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            upstream_close(upstream);
            return;
        }
        if (!upstream_feed(upstream, read_buffer, (size_t)n) || (n < READ_SIZE && !ending))
            return;
    }
}

static void listener_ready(struct peer *peer, uint32_t events)
{
    (void)events;
    for (;;) {
        int fd = accept4(peer->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        upstream_open(fd);
    }
}

void backend_listen(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(settings.backend_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;

    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    listener.ready = listener_ready;
    if (listener.fd < 0)
        die("socket");
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(listener.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* accepted sockets inherit it */
    if (bind(listener.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("bind of the backend port");
    if (listen(listener.fd, 4096) < 0)
        die("listen");
    peer_register(&listener);
}

/* Builds the next chunk of the stream in its own buffer. The last carries the end of the body, with the usage
 * before [DONE] where it was asked for. */
static size_t chunk_build(struct upstream *upstream)
{
    size_t size_line;

    tally.upstream_events++;
    if (upstream->sent == settings.chunks) {
        memcpy(upstream->chunk, wire.last_chunks, wire.last_chunks_length);
        return wire.last_chunks_length;
    }
    size_line = (size_t)snprintf(upstream->chunk, 16, "%zx\r\n", wire.event_length);
    memcpy(upstream->chunk + size_line, wire.event, wire.event_length);
    memcpy(upstream->chunk + size_line + wire.event_length, "\r\n", 2);
    stamp_write(upstream->chunk + size_line + wire.stamp_at, now_ns());
    return size_line + wire.event_length + 2;
}

static void stream_advance(struct upstream *upstream, int64_t now)
{
    size_t length;

    pace_remove(upstream);
    if (upstream->peer.out_left > 0) { /* the gateway takes no more: try again at the next beat */
        tally.late++;
        upstream->due = now + settings.chunk_interval;
        pace_push(upstream);
        return;
    }
    length = chunk_build(upstream);
    upstream->streaming = upstream->sent++ < settings.chunks;
    if (upstream->streaming) {
        upstream->due += settings.chunk_interval;
        if (upstream->due < now)
            upstream->due = now + settings.chunk_interval;
        pace_push(upstream);
    }
    upstream_send(upstream, upstream->chunk, length);
}

void backend_pace(int64_t now)
{
    while (first && first->due <= now)
        stream_advance(first, now);
}

int64_t backend_next_due(void)
{
    return first ? first->due : NEVER;
}
