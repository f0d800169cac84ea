/*
 * load_client.c: the client half: N connections, each with one request at a time. Closed loop: the next
 * request follows the answer at once. Constant rate: requests fall due by the clock, wait for a free
 * connection if none is idle, and their latency counts from when they were due, so that a slow gateway cannot
 * hide its own queue.
 */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum client_state { CLIENT_CLOSED, CLIENT_IDLE, CLIENT_HEAD, CLIENT_BODY, CLIENT_EOF };

struct client {
    struct peer peer; /* first: the loop hands us this */
    enum client_state state;
    int64_t started; /* when the request was sent or, at a constant rate, due */
    int64_t retry_at;
    char head[HEAD_SIZE];
    size_t head_length; /* collected, when it came in pieces */
    bool chunked;
    bool server_closes;
    uint64_t body_left; /* by Content-Length */
    struct chunk_decoder decoder;
    size_t body_at;  /* JSON: offset in the expected body; SSE: offset in the current event; any answer: in
                        the body, or of SSE in the line */
    size_t same;     /* any SSE answer: how far the line agrees with "data: [DONE]" */
    bool is_done;    /* any SSE answer: it had that line */
    unsigned events; /* SSE events complete */
    char stamp[STAMP_SIZE];
    struct client *next_idle;
    bool on_idle_list;
};

static struct client *clients;
static struct client *idle; /* constant rate: connections without a request */
static int started_count;   /* clients[0 .. started_count) have been opened once */
static bool probed;
static int64_t probed_at;
static int64_t running_since = NEVER;
static int64_t next_request = NEVER; /* constant rate: when the next request is due */
static int broken_count;

static void client_ready(struct peer *peer, uint32_t events);
static void client_start(struct client *client, int64_t due);

static const char done_event[] = "data: [DONE]\n\n";

static void client_reset(struct client *client)
{
    client->head_length = 0;
    client->chunked = false;
    client->server_closes = false;
    client->body_left = 0;
    client->decoder = (struct chunk_decoder){0};
    client->body_at = 0;
    client->events = 0;
    client->is_done = false;
    client->same = 0;
}

static void client_drop(struct client *client)
{
    if (client->state == CLIENT_CLOSED)
        return;
    close(client->peer.fd);
    client->peer.fd = -1;
    client->peer.out_left = 0;
    client->state = CLIENT_CLOSED;
}

/* Counts an error and tries again a little later, so that a dead gateway does not make a busy loop. */
static void client_fail(struct client *client, const char *why)
{
    tally_error("%s", why);
    client_drop(client);
    client->retry_at = now_ns() + 20 * NS_PER_MS;
    broken_count++;
}

static bool client_open(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(settings.target_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd < 0)
        die("socket");
    client->peer.fd = fd;
    client->peer.ready = client_ready;
    client->state = CLIENT_IDLE;
    if (!settings.close)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS) {
        client_fail(client, "connect failed");
        return false;
    }
    peer_register(&client->peer);
    return true;
}

static void client_start(struct client *client, int64_t due)
{
    client->started = due;
    client_reset(client);
    if (client->state == CLIENT_CLOSED && !client_open(client))
        return;
    client->state = CLIENT_HEAD;
    client->peer.out = wire.request;
    client->peer.out_left = wire.request_length;
    if (!peer_flush(&client->peer))
        client_fail(client, "sending the request failed");
}

/* The connection has nothing to do: the next request, or the list of the idle. */
static void client_next(struct client *client, int64_t now)
{
    if (settings.rate <= 0) {
        client_start(client, now);
    } else if (!client->on_idle_list) {
        client->on_idle_list = true;
        client->next_idle = idle;
        idle = client;
    }
}

static void client_finish(struct client *client, int64_t now)
{
    tally.requests++;
    tally.chunks += settings.any_answer ? client->events : 0;
    tally.bytes_sent += wire.request_length;
    histogram_add(&tally.latency, now - client->started);
    if (!probed) {
        probed = true;
        probed_at = now;
    }
    if (settings.close || client->server_closes) {
        tally.reconnects += !settings.close;
        client->state = CLIENT_EOF;
        return;
    }
    client->state = CLIENT_IDLE;
    client_next(client, now);
}

static bool take_json(struct client *client, const char *bytes, size_t length)
{
    if (length > wire.response_body_length - client->body_at ||
        memcmp(wire.response_body + client->body_at, bytes, length) != 0)
        return false;
    client->body_at += length;
    return true;
}

static void event_finish(struct client *client, int64_t now)
{
    client->events++;
    client->body_at = 0;
    tally.chunks++;
    if (client->events <= settings.chunks)
        histogram_add(&tally.delay, now - stamp_read(client->stamp));
}

/* Compares a piece of an event with what must stand there; the stamp is collected instead. Returns the bytes
 * taken. */
static size_t take_event(struct client *client, const char *bytes, size_t length)
{
    bool last = client->events == settings.chunks;
    const char *expected = last ? done_event : wire.event;
    size_t at = client->body_at;
    size_t stamp_end = wire.stamp_at + STAMP_SIZE;
    size_t end = last ? sizeof(done_event) - 1 : at < wire.stamp_at ? wire.stamp_at : wire.event_length;

    if (!last && at >= wire.stamp_at && at < stamp_end) {
        size_t take = stamp_end - at < length ? stamp_end - at : length;
        memcpy(client->stamp + (at - wire.stamp_at), bytes, take);
        return take;
    }
    size_t take = end - at < length ? end - at : length;
    return memcmp(expected + at, bytes, take) == 0 ? take : 0;
}

static bool take_events(struct client *client, const char *bytes, size_t length, int64_t now)
{
    while (length > 0) {
        if (client->events > settings.chunks)
            return false;
        size_t whole = client->events == settings.chunks ? sizeof(done_event) - 1 : wire.event_length;
        size_t took = take_event(client, bytes, length);
        if (took == 0)
            return false;
        client->body_at += took;
        bytes += took;
        length -= took;
        if (client->body_at == whole)
            event_finish(client, now);
    }
    return true;
}

/* Events of an SSE body whose wording is the gateway's own: counts the lines with data. */
static void count_events(struct client *client, const char *bytes, size_t length)
{
    static const char done[] = "data: [DONE]";

    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\n') {
            client->events += client->same >= 5;
            client->is_done |= client->same == sizeof(done) - 1;
            client->body_at = client->same = 0;
            continue;
        }
        if (client->body_at == client->same && client->same < sizeof(done) - 1 &&
            bytes[i] == done[client->same])
            client->same++;
        client->body_at++;
    }
}

static void take_any(struct client *client, const char *bytes, size_t length)
{
    if (settings.sse)
        count_events(client, bytes, length);
    else
        client->body_at += length;
}

/* Each chunk must have become an event, and there must be an end; a gateway may add events of its own. */
static bool any_is_whole(const struct client *client)
{
    return settings.sse ? client->events > settings.chunks && client->is_done : client->body_at > 0;
}

static bool take_body(struct client *client, const char *bytes, size_t length, int64_t now)
{
    if (settings.any_answer) {
        take_any(client, bytes, length);
        return true;
    }
    return settings.sse ? take_events(client, bytes, length, now) : take_json(client, bytes, length);
}

static bool body_is_whole(const struct client *client)
{
    if (settings.any_answer)
        return any_is_whole(client);
    return settings.sse ? client->events == settings.chunks + 1
                        : client->body_at == wire.response_body_length;
}

/* Reads the status and the framing. NULL, or what is wrong. */
static const char *head_take(struct client *client, const char *head, size_t length)
{
    int64_t content_length = head_content_length(head, length);
    size_t n;

    if (length < 12 || memcmp(head, "HTTP/1.1 ", 9) != 0)
        return "the answer is not HTTP/1.1";
    if (memcmp(head + 9, "200", 3) != 0) {
        static char wrong[] = "status ...";
        memcpy(wrong + 7, head + 9, 3);
        return wrong;
    }
    client->server_closes = head_says_close(head, length);
    client->chunked = head_field(head, length, "transfer-encoding", &n) != NULL;
    if (!client->chunked && content_length < 0)
        return "the answer has neither Content-Length nor Transfer-Encoding";
    if (!client->chunked && settings.sse)
        return "the SSE answer is not chunked";
    if (settings.any_answer && head_field(head, length, "content-encoding", &n))
        return "the answer is compressed";
    if (!settings.any_answer && !client->chunked && (size_t)content_length != wire.response_body_length)
        return "the Content-Length is wrong";
    if (!client->chunked && content_length == 0)
        return "the answer is empty";
    client->body_left = client->chunked ? 0 : (uint64_t)content_length;
    client->state = CLIENT_BODY;
    return NULL;
}

/* Takes head bytes; returns how many, 0 after a failure. */
static size_t feed_head(struct client *client, const char *bytes, size_t length)
{
    size_t old = client->head_length;
    size_t whole = old == 0 ? head_length(bytes, length) : 0;
    const char *head = bytes;
    size_t took = length;

    if (whole == 0) {
        took = length < HEAD_SIZE - old ? length : HEAD_SIZE - old;
        memcpy(client->head + old, bytes, took);
        client->head_length = old + took;
        whole = head_length(client->head, client->head_length);
        if (whole == 0 && client->head_length < HEAD_SIZE)
            return took;
        head = client->head;
    }
    const char *wrong = whole == 0 ? "the head is too large" : head_take(client, head, whole);
    if (wrong) {
        client_fail(client, wrong);
        return 0;
    }
    return whole - old;
}

static void feed_chunked(struct client *client, const char *bytes, size_t length, int64_t now)
{
    while (length > 0) {
        const char *span = NULL;
        size_t span_length = 0;
        switch (chunk_next(&client->decoder, &bytes, &length, &span, &span_length)) {
        case CHUNK_MORE:
            return;
        case CHUNK_DATA:
            if (!take_body(client, span, span_length, now)) {
                client_fail(client, "the body differs");
                return;
            }
            break;
        case CHUNK_END:
            if (length > 0 || !body_is_whole(client))
                client_fail(client, "the chunked body is too short or too long");
            else
                client_finish(client, now);
            return;
        case CHUNK_BAD:
            client_fail(client, "the chunked framing is wrong");
            return;
        }
    }
}

static void feed_body(struct client *client, const char *bytes, size_t length, int64_t now)
{
    if (client->chunked) {
        feed_chunked(client, bytes, length, now);
        return;
    }
    if (length > client->body_left || !take_body(client, bytes, length, now)) {
        client_fail(client, "the body differs");
        return;
    }
    client->body_left -= length;
    if (client->body_left == 0)
        client_finish(client, now);
}

static void client_feed(struct client *client, const char *bytes, size_t length)
{
    int64_t now = now_ns();

    tally.bytes_received += length;
    if (client->state == CLIENT_HEAD) {
        size_t took = feed_head(client, bytes, length);
        bytes += took;
        length -= took;
        if (took == 0 || client->state == CLIENT_HEAD)
            return;
    }
    if (length == 0 && client->state == CLIENT_BODY)
        return;
    if (client->state == CLIENT_BODY)
        feed_body(client, bytes, length, now);
    else
        client_fail(client, "bytes without a request");
}

static void client_eof(struct client *client)
{
    if (client->state == CLIENT_EOF) {
        client_drop(client);
        client_next(client, now_ns());
        return;
    }
    /* At a constant rate some connections wait longer than other people's gateways keep them. */
    if (client->state == CLIENT_IDLE && settings.any_answer) {
        tally.reconnects++;
        client_drop(client);
        return;
    }
    client_fail(client,
                client->state == CLIENT_IDLE ? "an idle connection was closed" : "the answer was cut short");
}

static void client_ready(struct peer *peer, uint32_t events)
{
    struct client *client = (struct client *)peer;
    bool ending = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

    if (peer->out_left > 0 && (events & EPOLLOUT) && !peer_flush(peer)) {
        client_fail(client, "sending the request failed");
        return;
    }
    if (!(events & EPOLLIN) && !ending)
        return;
    for (;;) {
        int fd = peer->fd;
        ssize_t n = recv(fd, read_buffer, READ_SIZE, 0);
        if (n > 0)
            client_feed(client, read_buffer, (size_t)n);
        else if (n == 0)
            client_eof(client);
        else if (errno != EAGAIN)
            client_fail(client, "receiving failed");
        if (n <= 0 || peer->fd != fd || client->state == CLIENT_CLOSED || (n < READ_SIZE && !ending))
            return;
    }
}

void client_setup(void)
{
    clients = calloc((size_t)settings.connections, sizeof(*clients));
    if (!clients)
        die("calloc");
}

/* SSE streams begin spread over the length of one, so that their chunks do not fall due in step. */
static int64_t start_of(int index)
{
    int64_t spread = settings.sse ? settings.chunk_interval * settings.chunks : 0;
    return probed_at + spread / settings.connections * index;
}

static void start_waiting(int64_t now)
{
    while (started_count < settings.connections && start_of(started_count) <= now)
        client_next(&clients[started_count++], now);
    if (started_count == settings.connections && running_since == NEVER) {
        running_since = now;
        if (settings.rate > 0)
            next_request = now;
    }
}

static void retry_broken(int64_t now)
{
    for (int i = 0; i < started_count && broken_count > 0; i++) {
        struct client *client = &clients[i];
        if (client->retry_at == 0 || client->retry_at > now)
            continue;
        client->retry_at = 0;
        broken_count--;
        if (probed)
            client_next(client, now);
        else
            client_start(client, now);
    }
}

void client_turn(int64_t now)
{
    if (started_count == 0) {
        started_count = 1;
        client_start(&clients[0], now);
    }
    if (broken_count > 0)
        retry_broken(now);
    if (!probed)
        return;
    if (running_since == NEVER)
        start_waiting(now);
    while (next_request <= now && idle) {
        struct client *client = idle;
        idle = client->next_idle;
        client->on_idle_list = false;
        client_start(client, next_request);
        next_request += (int64_t)((double)NS_PER_SECOND / settings.rate);
    }
}

int64_t client_next_due(int64_t now)
{
    if (broken_count > 0)
        return now + 5 * NS_PER_MS;
    if (!probed)
        return NEVER;
    if (running_since == NEVER)
        return start_of(started_count);
    return idle ? next_request : NEVER;
}

int64_t client_running_since(void)
{
    return running_since;
}

unsigned client_stuck(int64_t now, int64_t limit)
{
    unsigned stuck = 0;
    for (int i = 0; i < started_count; i++)
        stuck += clients[i].state >= CLIENT_HEAD && now - clients[i].started > limit;
    return stuck;
}
