/*
 * The account book: clients and strategies made through the API, the audit trail, the list of requests, usage
 * in five tiers. One thread alone writes the database (SQLite, WAL); everybody else asks it. No type of the
 * database shows here, so that another one can stand behind the same calls.
 *
 * Tasks on any loop call the functions that take a task: they suspend until the store's thread has answered.
 */
#ifndef HESTIA_STORE_STORE_H
#define HESTIA_STORE_STORE_H

#include "base/arena.h"
#include "loop/task.h"
#include "store/journal.h"

struct store;

struct store_options {
    struct str path;       /* the database; its journal lies in PATH-ledger/ (SQLite itself
                              uses PATH-journal), the pepper in PATH-pepper.
                              Empty: $XDG_STATE_HOME/hestia/hestia.db, else ~/.local/state/hestia/hestia.db */
    uint64_t request_days; /* older rows of the list of requests go; 0 = 30 */
};

/* Boot, blocking: makes the folder (0700) and the files (0600), takes the lock that keeps a second gateway
   off, checks the database (a damaged one is moved aside, with an error in the log, and a new one begun),
   migrates it in one transaction, replays the journal of an earlier run, starts the thread. NULL with the
   reason: a newer schema, a path that cannot be written, the lock. */
struct store *store_open(const struct store_options *options, struct error *error);
/* Whether there may be clients that nobody can know here. A damaged database was moved aside and lies there
   still; or (s is NULL) there is one that could not be opened, and it has clients, or does not even tell.
   Boot, blocking. */
bool store_misses_clients(const struct store *s, const struct store_options *options);
/* After the workers have ended: everything settled is written, the database closed. NULL is fine. */
void store_close(struct store *s);
/* Whether accounts can be written now: false after a failed write until one succeeds. Any thread, cheap. */
bool store_is_well(const struct store *s);
/* 32 bytes, made on first use: the key of the HMAC under which client keys are stored. */
const uint8_t *store_pepper(const struct store *s);

/* ---- definitions: clients and strategies --------------------------------------------------------------- */

enum store_table { STORE_CLIENTS, STORE_STRATEGIES };

struct store_row {
    enum store_table table;
    struct str id;
    struct str definition; /* JSON */
    uint64_t revision;     /* grows with every change of this row, never starts again after a deletion */
    int64_t created_us, updated_us;
    bool is_deleted; /* the row goes; loaded: it is gone, and this was its last revision */
};
struct store_audit {
    int64_t at_us;
    struct str actor;  /* who: name of the key, "cli", "start" */
    struct str action; /* "client.create" */
    struct str target; /* id */
    struct str detail; /* JSON of what it is now, without secrets */
};

/* Boot, blocking: all rows, in order of creation, in the arena; deleted ones too, without definition. */
enum err store_load(struct store *s, struct arena *arena, struct store_row **rows, size_t *count,
                    struct error *error) MUST_CHECK;
/* All of it or nothing, durable (synchronous=FULL) when it returns OK. ERR_STORE with the reason. A revision
   that is not beyond the one the id has, or had when it was deleted, becomes the next one after it. */
enum err store_write(struct task *t, struct store *s, const struct store_row *rows, size_t row_count,
                     const struct store_audit *audit, size_t audit_count, struct error *error) MUST_CHECK;

/* ---- usage --------------------------------------------------------------------------------------------- */

enum usage_tier { TIER_GLOBAL, TIER_CLIENT, TIER_PROVIDER, TIER_MODEL, TIER_STRATEGY };
enum usage_grain { GRAIN_AUTO, GRAIN_MINUTE, GRAIN_HOUR, GRAIN_DAY };
enum {
    LATENCY_BUCKETS = 24
}; /* powers of two: bucket i holds durations below 2^i milliseconds, the last all */

/* An exchange counts in the minute, hour and day in which it ended. */
struct usage_point {
    int64_t at; /* seconds, beginning of the row, UTC */
    uint64_t requests, ok, failed, cancelled, aborted;
    int64_t input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost;
    uint64_t latency_sum_ms, first_byte_sum_ms, first_byte_count;
    uint64_t latency[LATENCY_BUCKETS];
};
struct usage_query {
    enum usage_tier tier;
    struct str id;    /* empty for TIER_GLOBAL */
    int64_t from, to; /* seconds, from <= at < to */
    enum usage_grain
        grain; /* AUTO: up to 24 h minutes, up to 7 days hours, else days; the answer says which */
};
/* Zero-filled, oldest first; the present minute, hour and day are in. What has been settled up to now is
   counted, also what the batch writer has not written yet. Rows of different grains are never added up.
   ERR_BAD_REQUEST (param names the field): no range, or more than 10,000 points. The arena is filled by the
   store's thread while the task waits: nothing else may use it then (the same in all that follows). */
enum err store_usage(struct task *t, struct store *s, struct usage_query *query, struct arena *arena,
                     struct usage_point **points, size_t *count, struct error *error) MUST_CHECK;
/* What a tier has rows of: ids, sorted. */
enum err store_usage_ids(struct task *t, struct store *s, enum usage_tier tier, struct arena *arena,
                         struct str **ids, size_t *count, struct error *error) MUST_CHECK;
/* The duration below which a share (0..1) of the requests stayed, interpolated in its bucket, in ms. */
double usage_quantile(const struct usage_point *p, double share);

/* One settled exchange. */
struct request_row {
    uint64_t boot;
    uint32_t worker;
    uint64_t sequence;
    struct entry_open open;
    struct entry_state state;
    int64_t ended_us;
};
struct request_query {
    struct str client, strategy, provider, model, request_id; /* empty = any */
    int outcome;                                              /* enum entry_outcome; -1 = any */
    int64_t before_us;                                        /* ended before; 0 = from the newest */
    size_t limit;                                             /* 1..1000 */
};
/* Newest end first. `model` is the one asked for or the one sent. For the next page set before_us to the last
   row's ended_us: a page holds some rows more than `limit` rather than ending between rows of the same
   microsecond (store_audits alike). */
enum err store_requests(struct task *t, struct store *s, const struct request_query *query,
                        struct arena *arena, struct request_row **rows, size_t *count,
                        struct error *error) MUST_CHECK;
enum err store_audits(struct task *t, struct store *s, int64_t before_us, size_t limit, struct arena *arena,
                      struct store_audit **list, size_t *count, struct error *error) MUST_CHECK;

/* Boot: what strategies used since `since_us` (wall), for their sliding counters: sums per strategy and slot
   of 5 s, oldest first; a request counts in `requests` when its outcome is ok, cancelled or aborted, in the
   slot in which it was admitted; tokens and cost in the slot in which it ended. Blocking; `each` runs on the
   store's thread meanwhile. */
struct usage_recent {
    struct str strategy;
    int64_t at_us;
    int64_t requests, input_tokens, output_tokens, cost;
};
enum err store_recent(struct store *s, int64_t since_us,
                      void (*each)(void *argument, const struct usage_recent *u), void *argument,
                      struct error *error) MUST_CHECK;
/* When each of these clients was last served (settled), microseconds; 0 = never. */
enum err store_last_used(struct task *t, struct store *s, const struct str *clients, size_t count,
                         int64_t *at_us) MUST_CHECK;

#endif
