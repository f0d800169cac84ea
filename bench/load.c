/*
 * load.c: load generator for HTTP gateways: closed-loop (or constant-rate) client and upstream service in one
 * epoll loop of one thread. Options, the loop, the measured window. See README.md; `bench/run` is the usual
 * caller.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct settings settings = {
    .target_port = 8080,
    .backend_port = 18080,
    .path = "/v1/chat/completions",
    .host = "127.0.0.1",
    .connections = 64,
    .request_bytes = 1024,
    .chunks = 50,
    .chunk_interval = 4 * NS_PER_MS,
    .warmup = NS_PER_SECOND,
    .seconds = 4 * NS_PER_SECOND,
    .timeout = 60 * NS_PER_SECOND,
    .cpus = {-1, -1},
};
struct tally tally;
char read_buffer[READ_SIZE];
static int epoll_fd;

static const char usage_text[] =
    "usage: load [options]\n"
    "  --target PORT          gateway's port on 127.0.0.1 (8080)\n"
    "  --backend PORT         port this program listens on as the upstream (18080)\n"
    "  --direct               no gateway: the client talks to the backend\n"
    "  --serve                backend only, until --timeout or a signal (for other clients, such as wrk)\n"
    "  --path P --host H --header 'Name: value'   what the requests carry (--header up to 16 times)\n"
    "  --connections N        (64)\n"
    "  --request-bytes N      size of the JSON body (1024)\n"
    "  --sse                  answer with paced server-sent events; --chunks N (50), --chunk-interval-us N "
    "(4000)\n"
    "  --close                a new connection per request\n"
    "  --rate R               R requests per second instead of a closed loop\n"
    "  --any-request          the backend does not compare request bodies\n"
    "  --any-answer           take any 200 whose body is whole, of SSE any with [DONE], instead of "
    "comparing\n"
    "  --identity             ask for answers that are not compressed\n"
    "  --rewrite NAME         the gateway must have put this model into the request (up to 8 times: one of)\n"
    "  --stream-usage         with --sse: the gateway must have asked for usage and must not pass it on\n"
    "  --warmup S --seconds S --requests N        the measured window (1, 4, by time)\n"
    "  --timeout S            end at the latest after this, whatever happens (60)\n"
    "  --pid PID              a process of the gateway, to measure its CPU time (up to 32 times)\n"
    "  --watch-cpus A,B       CPUs whose foreign load is reported as other_cpu_pct, per cent of one CPU\n"
    "One line of JSON on stdout. Exit: 0 good, 1 errors or not finished, 2 usage.\n";

void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * NS_PER_SECOND + time.tv_nsec;
}

void tally_error(const char *format, ...)
{
    va_list arguments;

    tally.errors++;
    if (tally.first_error[0])
        return;
    va_start(arguments, format);
    vsnprintf(tally.first_error, sizeof(tally.first_error), format, arguments);
    va_end(arguments);
    for (char *c = tally.first_error; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = '?';
}

/* Once per descriptor, edge-triggered; never touched again. */
void peer_register(struct peer *peer)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = peer};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peer->fd, &event) < 0)
        die("epoll_ctl");
}

bool peer_flush(struct peer *peer)
{
    while (peer->out_left > 0) {
        ssize_t n = send(peer->fd, peer->out, peer->out_left, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        peer->out += n;
        peer->out_left -= (size_t)n;
    }
    return true;
}

static void loop_once(int64_t due)
{
    struct epoll_event events[256];
    int64_t now = now_ns();
    int64_t wait = due <= now ? 0 : due - now < 50 * NS_PER_MS ? due - now : 50 * NS_PER_MS;
    struct timespec limit = {.tv_nsec = wait};
    int count = epoll_pwait2(epoll_fd, events, 256, &limit, NULL);

    if (count < 0 && errno == ENOSYS)
        count = epoll_wait(epoll_fd, events, 256, (int)((wait + NS_PER_MS - 1) / NS_PER_MS));
    for (int i = 0; i < count; i++) {
        struct peer *peer = events[i].data.ptr;
        if (peer->fd >= 0)
            peer->ready(peer, events[i].events);
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void loop_turn(void)
{
    int64_t now = now_ns();

    backend_pace(now);
    if (!settings.serve)
        client_turn(now);
    loop_once(smaller(backend_next_due(), settings.serve ? NEVER : client_next_due(now)));
}

static void run_until(int64_t time, uint64_t requests)
{
    while (now_ns() < time && (requests == 0 || tally.requests < requests))
        loop_turn();
}

/* Waits for the gateway to answer, warms up, measures. True when the window was measured to its end. */
static bool measure(struct usage *before, struct usage *after, int64_t deadline)
{
    int64_t start, end;

    while (client_running_since() == NEVER && now_ns() < deadline)
        loop_turn();
    start = client_running_since() == NEVER ? deadline : client_running_since() + settings.warmup;
    run_until(smaller(start, deadline), 0);
    if (start < deadline)
        memset(&tally, 0, sizeof(tally)); /* else keep the error that prevented the start */
    usage_read(before);
    end = settings.requests > 0 ? deadline : smaller(before->wall + settings.seconds, deadline);
    run_until(end, settings.requests);
    usage_read(after);
    return start < deadline && (settings.requests > 0 ? tally.requests >= settings.requests : end < deadline);
}

enum option_code {
    OPT_TARGET = 256,
    OPT_BACKEND,
    OPT_DIRECT,
    OPT_SERVE,
    OPT_PATH,
    OPT_HOST,
    OPT_HEADER,
    OPT_CONNECTIONS,
    OPT_REQUEST_BYTES,
    OPT_SSE,
    OPT_CHUNKS,
    OPT_CHUNK_INTERVAL,
    OPT_CLOSE,
    OPT_RATE,
    OPT_ANY_REQUEST,
    OPT_ANY_ANSWER,
    OPT_IDENTITY,
    OPT_REWRITE,
    OPT_STREAM_USAGE,
    OPT_WARMUP,
    OPT_SECONDS,
    OPT_REQUESTS,
    OPT_TIMEOUT,
    OPT_PID,
    OPT_WATCH_CPUS
};

static const struct option options[] = {
    {"target", required_argument, NULL, OPT_TARGET},
    {"backend", required_argument, NULL, OPT_BACKEND},
    {"direct", no_argument, NULL, OPT_DIRECT},
    {"serve", no_argument, NULL, OPT_SERVE},
    {"path", required_argument, NULL, OPT_PATH},
    {"host", required_argument, NULL, OPT_HOST},
    {"header", required_argument, NULL, OPT_HEADER},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"request-bytes", required_argument, NULL, OPT_REQUEST_BYTES},
    {"sse", no_argument, NULL, OPT_SSE},
    {"chunks", required_argument, NULL, OPT_CHUNKS},
    {"chunk-interval-us", required_argument, NULL, OPT_CHUNK_INTERVAL},
    {"close", no_argument, NULL, OPT_CLOSE},
    {"rate", required_argument, NULL, OPT_RATE},
    {"any-request", no_argument, NULL, OPT_ANY_REQUEST},
    {"any-answer", no_argument, NULL, OPT_ANY_ANSWER},
    {"identity", no_argument, NULL, OPT_IDENTITY},
    {"rewrite", required_argument, NULL, OPT_REWRITE},
    {"stream-usage", no_argument, NULL, OPT_STREAM_USAGE},
    {"warmup", required_argument, NULL, OPT_WARMUP},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"pid", required_argument, NULL, OPT_PID},
    {"watch-cpus", required_argument, NULL, OPT_WATCH_CPUS},
    {NULL, 0, NULL, 0},
};

static void bad_usage(const char *what)
{
    fprintf(stderr, "load: %s\n%s", what, usage_text);
    exit(2);
}

static double number(double low, double high)
{
    char *end;
    double value = strtod(optarg, &end);
    if (end == optarg || *end || value < low || value > high)
        bad_usage("a number is wrong or out of range");
    return value;
}

static int64_t duration(double unit)
{
    return (int64_t)(number(0, 1e9) * unit);
}

static void take_header(void)
{
    if (settings.header_count == MAX_HEADERS || strpbrk(optarg, "\r\n") || !strchr(optarg, ':'))
        bad_usage("--header 'Name: value', at most 16 times");
    settings.headers[settings.header_count++] = optarg;
}

static void take_rewrite(void)
{
    if (settings.rewrite_count == MAX_REWRITES || strlen(optarg) > 64)
        bad_usage("--rewrite NAME of up to 64 bytes, at most 8 times");
    settings.rewrites[settings.rewrite_count++] = optarg;
}

static void take_pid(void)
{
    if (settings.pid_count == MAX_PIDS)
        bad_usage("too many --pid");
    settings.pids[settings.pid_count++] = (pid_t)number(1, 1e9);
}

static bool take_window_option(int code)
{
    switch (code) {
    case OPT_WARMUP:
        settings.warmup = duration(1e9);
        return true;
    case OPT_SECONDS:
        settings.seconds = duration(1e9);
        return true;
    case OPT_TIMEOUT:
        settings.timeout = duration(1e9);
        return true;
    case OPT_REQUESTS:
        settings.requests = (uint64_t)number(1, 1e12);
        return true;
    case OPT_RATE:
        settings.rate = number(0.001, 1e6);
        return true;
    case OPT_PID:
        take_pid();
        return true;
    case OPT_WATCH_CPUS:
        if (sscanf(optarg, "%d,%d", &settings.cpus[0], &settings.cpus[1]) != 2)
            bad_usage("--watch-cpus A,B");
        return true;
    default:
        return false;
    }
}

/* What the two halves compare. */
static bool take_check_option(int code)
{
    switch (code) {
    case OPT_ANY_REQUEST:
        settings.any_request = true;
        return true;
    case OPT_ANY_ANSWER:
        settings.any_answer = true;
        return true;
    case OPT_IDENTITY:
        settings.identity = true;
        return true;
    case OPT_REWRITE:
        take_rewrite();
        return true;
    case OPT_STREAM_USAGE:
        settings.stream_usage = true;
        return true;
    default:
        return false;
    }
}

static void take_option(int code)
{
    switch (code) {
    case OPT_TARGET:
        settings.target_port = (uint16_t)number(1, 65535);
        break;
    case OPT_BACKEND:
        settings.backend_port = (uint16_t)number(1, 65535);
        break;
    case OPT_SERVE:
        settings.serve = true;
        break;
    case OPT_PATH:
        settings.path = optarg;
        break;
    case OPT_HOST:
        settings.host = optarg;
        break;
    case OPT_HEADER:
        take_header();
        break;
    case OPT_CONNECTIONS:
        settings.connections = (int)number(1, 20000);
        break;
    case OPT_REQUEST_BYTES:
        settings.request_bytes = (size_t)number(256, 1 << 24);
        break;
    case OPT_SSE:
        settings.sse = true;
        break;
    case OPT_CHUNKS:
        settings.chunks = (unsigned)number(1, 1e6);
        break;
    case OPT_CHUNK_INTERVAL:
        settings.chunk_interval = duration(1e3);
        break;
    case OPT_CLOSE:
        settings.close = true;
        break;
    case OPT_DIRECT:
        settings.target_port = 0;
        break;
    default:
        if (!take_window_option(code) && !take_check_option(code))
            bad_usage("unknown option");
    }
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct usage before, after;
    int64_t deadline;
    int code;

    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1)
        take_option(code);
    if (optind < argc)
        bad_usage("no arguments but options");
    if (settings.target_port == 0)
        settings.target_port = settings.backend_port;
    deadline = now_ns() + settings.timeout;
    alarm((unsigned)(settings.timeout / NS_PER_SECOND) + 10); /* should the loop itself ever hang */
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    raise_descriptor_limit();
    wire_build();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    backend_listen();
    if (settings.serve) {
        run_until(deadline, 0);
        return 0;
    }
    client_setup();
    bool finished = measure(&before, &after, deadline);
    unsigned stuck = client_stuck(now_ns(), 2 * NS_PER_SECOND + settings.chunk_interval * settings.chunks);
    report_print(&before, &after, finished, stuck);
    return finished && tally.errors == 0 && tally.requests > 0 && stuck == 0 ? 0 : 1;
}
