/*
 * relay.c: moves bytes between a client and an upstream connection of its own, without looking at them: the
 * least that any gateway on this kernel can cost, the floor of the comparison. One thread, epoll,
 * edge-triggered, each descriptor registered once, one large read buffer. Usage: relay LISTEN_PORT
 * UPSTREAM_PORT (both on 127.0.0.1).
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (256 * 1024)

struct end {
    int fd;
    struct end *other;
    char *rest; /* what this end's socket did not take yet */
    size_t rest_length;
    bool readable; /* may hold bytes that were not read because the other end was full */
    bool ended;    /* nothing more comes from here */
};

static char read_buffer[READ_SIZE];
static int epoll_fd;
static uint16_t upstream_port;
static struct end *dead; /* freed after the batch of events, which may still name them */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void end_register(struct end *end)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = end};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, end->fd, &event) < 0)
        die("epoll_ctl");
}

static void pair_close(struct end *end)
{
    struct end *other = end->other;
    close(end->fd);
    close(other->fd);
    end->fd = other->fd = -1;
    end->other = dead; /* from here on `other` links the list of the dead */
    other->other = end;
    dead = other;
}

static void dead_free(void)
{
    while (dead) {
        struct end *next = dead->other;
        free(dead->rest);
        free(dead);
        dead = next;
    }
}

static bool rest_keep(struct end *end, const char *bytes, size_t length)
{
    end->rest = malloc(length);
    if (!end->rest)
        return false;
    memcpy(end->rest, bytes, length);
    end->rest_length = length;
    return true;
}

/* False when the pair must be closed. */
static bool end_send(struct end *end, const char *bytes, size_t length)
{
    ssize_t n = send(end->fd, bytes, length, MSG_NOSIGNAL);
    if (n == (ssize_t)length)
        return true;
    if (n < 0 && errno != EAGAIN)
        return false;
    n = n < 0 ? 0 : n;
    return rest_keep(end, bytes + n, length - (size_t)n);
}

static bool rest_flush(struct end *end)
{
    char *bytes = end->rest;
    size_t length = end->rest_length;
    bool good;

    end->rest = NULL;
    end->rest_length = 0;
    good = end_send(end, bytes, length);
    free(bytes);
    return good;
}

/* Moves bytes from one end to the other until the source is empty or the sink is full. */
static bool end_pump(struct end *end, bool ending)
{
    while (end->readable && !end->other->rest) {
        ssize_t n = recv(end->fd, read_buffer, READ_SIZE, 0);
        if (n < 0 && errno == EAGAIN)
            end->readable = false;
        else if (n < 0)
            return false;
        else if (n == 0) {
            end->readable = false;
            end->ended = true;
            shutdown(end->other->fd, SHUT_WR);
            return !end->other->ended;
        } else {
            end->readable = n == READ_SIZE || ending;
            if (!end_send(end->other, read_buffer, (size_t)n))
                return false;
        }
    }
    return true;
}

static bool end_ready(struct end *end, uint32_t events)
{
    bool ending = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

    if ((events & EPOLLOUT) && end->rest) {
        if (!rest_flush(end) || !end_pump(end->other, true))
            return false;
    }
    if (((events & EPOLLIN) || ending) && !end->ended) {
        end->readable = true;
        return end_pump(end, ending);
    }
    return true;
}

static struct end *end_new(int fd)
{
    struct end *end = calloc(1, sizeof(*end));
    int one = 1;
    if (!end)
        die("calloc");
    end->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return end;
}

static void pair_open(int fd)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(upstream_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int upstream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct end *front, *back;

    /* Blocking: on loopback it takes no time, and it happens once per client. */
    if (upstream < 0 || connect(upstream, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (upstream >= 0)
            close(upstream);
        close(fd);
        return;
    }
    front = end_new(fd);
    back = end_new(upstream);
    front->other = back;
    back->other = front;
    int nonblocking = 1;
    if (ioctl(upstream, FIONBIO, &nonblocking) < 0)
        die("ioctl");
    end_register(front);
    end_register(back);
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0)
        die("bind and listen");
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
    return fd;
}

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        pair_open(fd);
    }
}

static uint16_t port_of(const char *text)
{
    long port = strtol(text, NULL, 10);
    if (port < 1 || port > 65535) {
        fprintf(stderr, "relay: %s is no port\n", text);
        exit(2);
    }
    return (uint16_t)port;
}

int main(int argc, char **argv)
{
    struct epoll_event events[256];
    int listener;

    if (argc != 3) {
        fprintf(stderr, "usage: relay LISTEN_PORT UPSTREAM_PORT\n");
        return 2;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    upstream_port = port_of(argv[2]);
    listener = listen_on(port_of(argv[1]));
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < count; i++) {
            struct end *end = events[i].data.ptr;
            if (!end)
                accept_all(listener);
            else if (end->fd >= 0 && !end_ready(end, events[i].events))
                pair_close(end);
        }
        dead_free();
    }
}
