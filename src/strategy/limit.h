/*
 * The limits of a strategy: requests, tokens in, out and together, cost; each within the last minute, hour or
 * day; all at once. Reserved before, settled after, exact across workers without a lock: each limit is one
 * atomic sum of what is used in its window and what is reserved, moved by compare-and-swap, and a ring of
 * time slots that says when what was used leaves the window (a slot leaves as a whole, so never too early).
 * Requests count from when they were admitted, tokens and cost from when they were settled.
 */
#ifndef HESTIA_STRATEGY_LIMIT_H
#define HESTIA_STRATEGY_LIMIT_H

#include "config/config.h"

/* What one request uses, or may use: tokens, pico-dollars; index: enum limit_kind. */
struct amounts {
    int64_t of[LIMIT_KINDS];
};

struct limiter; /* reference-counted; shared by all workers; outlives changes of its strategy */

/* Control thread. NULL when memory is short. */
struct limiter *limiter_new(const struct rate_limit_config *limits, size_t count);
/* The same counters under other limits: what kind and window both have is carried over. `old` may be NULL;
   exchanges that hold a reservation of the old one settle in both while the new one lives. */
struct limiter *limiter_renew(struct limiter *old, const struct rate_limit_config *limits, size_t count);
struct limiter *limiter_ref(struct limiter *l);
void limiter_unref(struct limiter *l);

/* An estimate of a request: the average of what the strategy's requests used in the last ten minutes, or from
   the size of the prompt (4 bytes a token) where there is none; never less than prompt and max_tokens where
   the client gave one. `requests` is 1; cost is left to the caller, who knows the prices, but
   average_cost says what the average was (0: none). */
struct amounts limiter_estimate(const struct limiter *l, size_t prompt_bytes, uint64_t max_tokens,
                                uint64_t now_ns, int64_t *average_cost);

/* A reservation: what an exchange holds. Zero it first. */
struct limit_hold {
    struct limiter *limiter; /* a reference; NULL = nothing held */
    struct amounts reserved;
    uint64_t admitted_at; /* ns */
};
/* Why not, and until when. */
struct limit_refusal {
    enum limit_kind kind;
    enum limit_window window;
    int64_t limit, used, reserved, asked;
    uint64_t retry_after_ms; /* until enough has left the window; at least 1 */
    bool never;              /* this request alone asks for more than the limit */
};
/* Any worker, never suspends, takes no lock. True: reserved in every limit. A limit of cost does not bind a
   request whose cost is 0 (a free model). An average that is larger than a limit does not block an empty
   window for ever: with `is_guess` the request passes when nothing is used or reserved there. */
bool limiter_reserve(struct limiter *l, const struct amounts *amounts, bool is_guess, uint64_t now_ns,
                     struct limit_hold *hold, struct limit_refusal *refusal);
/* Ends the reservation with what was really used (all 0: the request does not count at all). May go beyond a
   limit: then nothing passes until enough has left. The hold is zeroed. */
void limiter_settle(struct limit_hold *hold, const struct amounts *used, uint64_t now_ns);
/* At start: what was used `age_ns` before now. */
void limiter_replay(struct limiter *l, const struct amounts *used, uint64_t age_ns, uint64_t now_ns);

/* What is left, for headers and the API. */
struct limit_status {
    struct rate_limit_config config;
    int64_t used, reserved, remaining; /* remaining >= 0 */
    uint64_t reset_ms;                 /* until the oldest use leaves the window; 0 = nothing used */
};
size_t limiter_count(const struct limiter *l);
bool limiter_limits(const struct limiter *l, enum limit_kind kind); /* some enabled limit is of that kind */
void limiter_status(struct limiter *l, size_t i, uint64_t now_ns, struct limit_status *out);

/* Amounts of cost are pico-dollars. */
enum { DOLLAR_DIGITS = 12 };
/* Digits behind the point of an amount of that kind, as people see it. */
static inline int limit_digits(enum limit_kind kind)
{
    return kind == LIMIT_COST ? DOLLAR_DIGITS : 0;
}
const char *limit_kind_name(enum limit_kind kind);       /* "input_tokens" */
const char *limit_window_name(enum limit_window window); /* "minute" */

#endif
