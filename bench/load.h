/*
 * load.h: what the parts of the load generator share. The generator is client and upstream service in one
 * thread and one epoll loop, so that a gateway under test has exactly one neighbour, on one other core. Only
 * bench/load*.c use it.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NEVER INT64_MAX
#define READ_SIZE (256 * 1024)
#define HEAD_SIZE 8192
#define STAMP_SIZE 16 /* hexadecimal digits of a time in nanoseconds, inside every SSE event */
#define MAX_PIDS 32
#define MAX_HEADERS 16
#define MAX_REWRITES 8

/* The command line, read-only after start. Times in nanoseconds. */
struct settings {
    uint16_t target_port;
    uint16_t backend_port;
    const char *path;
    const char *host;
    const char *headers[MAX_HEADERS]; /* whole "Name: value" lines */
    int header_count;
    int connections;
    size_t request_bytes; /* body size */
    bool sse;
    bool close;                         /* a new connection per request */
    bool serve;                         /* backend only, until the timeout or a signal */
    bool any_request;                   /* do not compare request bodies: the gateway may rewrite them */
    bool identity;                      /* ask for answers that are not compressed */
    bool any_answer;                    /* take any 200 with a whole body: the gateway writes answers anew */
    const char *rewrites[MAX_REWRITES]; /* the model names, one of which the gateway must have put in */
    int rewrite_count;
    bool stream_usage; /* the gateway must have asked for the usage of streams, and keeps it to itself */
    unsigned chunks;
    int64_t chunk_interval;
    double rate; /* requests per second, 0 = closed loop */
    int64_t warmup;
    int64_t seconds;
    uint64_t requests; /* end the window after so many, 0 = by time */
    int64_t timeout;
    pid_t pids[MAX_PIDS];
    int pid_count;
    int cpus[2]; /* whose /proc/stat lines tell how quiet the machine was; -1 = none */
};

/* A request body as the backend expects it. */
struct body {
    const char *bytes;
    size_t length; /* no two have the same: it tells which one arrives */
};

/* Every byte that is sent or expected, built once. */
struct wire {
    char *request; /* head and body, contiguous */
    size_t request_length;
    const char *request_body; /* inside request */
    struct body expected[MAX_REWRITES];
    int expected_count;
    const char *model_list; /* answer to GET, head and body */
    size_t model_list_length;
    char *response; /* head and body; for SSE the head only */
    size_t response_length;
    const char *response_body;
    size_t response_body_length;
    char *last_chunks; /* the end of an SSE body: usage when it was asked for, [DONE], the last chunk */
    size_t last_chunks_length;
    char *event; /* one SSE event with room for a stamp */
    size_t event_length;
    size_t stamp_at;
};

/* Log-linear histogram of nanoseconds, 64 steps per octave (1.6 % wide). */
struct histogram {
    uint64_t total;
    uint64_t cells[64 * 64];
};

/* What the measured window counts; cleared when it opens. */
struct tally {
    uint64_t requests;
    uint64_t errors;
    uint64_t reconnects; /* the gateway announced Connection: close on a connection meant to be kept */
    uint64_t chunks;     /* SSE events that reached the client, [DONE] included */
    uint64_t late; /* SSE events the backend could not send on time, because the gateway took no more bytes */
    uint64_t upstream_requests; /* completions that the backend answered */
    uint64_t upstream_events;   /* SSE events that it sent, [DONE] included, usage not */
    uint64_t bytes_sent;
    uint64_t bytes_received;
    struct histogram latency;
    struct histogram delay;
    char first_error[160];
};

/* What the loop knows of a descriptor; the first member of every connection. */
struct peer {
    int fd;
    void (*ready)(struct peer *peer, uint32_t events);
    const char *out; /* unsent rest, owned by the connection or static */
    size_t out_left;
};

extern struct settings settings;
extern struct wire wire;
extern struct tally tally;
extern char read_buffer[READ_SIZE];

/* load.c */
void tally_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void peer_register(struct peer *peer);
/* Sends what it can of the rest. False when the connection is broken. */
bool peer_flush(struct peer *peer);
int64_t now_ns(void);
void die(const char *what) __attribute__((noreturn));

/* load_wire.c */
void wire_build(void);
/* The length of the head with its empty line, or 0 while it is incomplete. */
size_t head_length(const char *bytes, size_t length);
/* The value of a field (name in lower case), NULL if absent. Bytes need not be terminated. */
const char *head_field(const char *head, size_t length, const char *name, size_t *value_length);
bool head_says_close(const char *head, size_t length);
/* -1 when absent or not a number. */
int64_t head_content_length(const char *head, size_t length);
void stamp_write(char *digits, int64_t time);
int64_t stamp_read(const char *digits);

/* Chunked decoding: hands out spans of data. */
struct chunk_decoder {
    int state;
    uint64_t left;
};
enum chunk_result { CHUNK_MORE, CHUNK_DATA, CHUNK_END, CHUNK_BAD };
/* Consumes from *bytes; CHUNK_DATA leaves in *span and *span_length bytes that it has consumed. */
enum chunk_result chunk_next(struct chunk_decoder *decoder, const char **bytes, size_t *length,
                             const char **span, size_t *span_length);

/* load_client.c */
void client_setup(void);
/* Opens the first connection; the others follow when its first answer was right. */
void client_turn(int64_t now);
int64_t client_next_due(int64_t now);
/* When the probe had been answered and all connections were started, else NEVER. */
int64_t client_running_since(void);
/* Requests that have waited longer than limit. */
unsigned client_stuck(int64_t now, int64_t limit);

/* load_backend.c */
void backend_listen(void);
/* Sends the SSE chunks that are due. */
void backend_pace(int64_t now);
int64_t backend_next_due(void);

/* load_measure.c */
struct usage {
    int64_t wall;
    int64_t gateway;      /* CPU of all threads of all given processes */
    int64_t self;         /* CPU of this process */
    int64_t machine_busy; /* busy time of the watched CPUs, by the kernel's ticks */
    int64_t ticks_user;
    int64_t ticks_system;
};
void usage_read(struct usage *usage);
void report_print(const struct usage *before, const struct usage *after, bool finished, unsigned stuck);
void histogram_add(struct histogram *histogram, int64_t ns);

#endif
