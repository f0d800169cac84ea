/*
 * A circuit breaker: closed while failures are few, open for a time when they are many, then half-open: one
 * single request finds out. Pure; whoever owns it keeps a lock around each call.
 */
#ifndef HESTIA_STRATEGY_BREAKER_H
#define HESTIA_STRATEGY_BREAKER_H

#include "base/base.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN };

struct breaker_rules {
    uint64_t failures; /* that many within the window open it; 0 = never */
    uint64_t window;   /* ns */
    uint64_t open;     /* ns: how long it lets nothing through */
};

enum { BREAKER_SLICES = 8 };

struct breaker {
    bool is_open;
    bool trial;          /* the one request is under way */
    uint64_t open_until; /* from then on half-open */
    uint64_t slice;      /* number of the newest slice of time */
    uint32_t failures[BREAKER_SLICES];
};

enum breaker_state breaker_state(const struct breaker *b, uint64_t now);
/* The trial is asked for once; who has it gives it back with breaker_end_trial, whatever came of it. False:
   it is somebody else's. */
bool breaker_begin_trial(struct breaker *b);
void breaker_end_trial(struct breaker *b);
/* Counts a failure; of a trial, it opens again at once. True: it opened now. */
bool breaker_failure(struct breaker *b, const struct breaker_rules *rules, uint64_t now, bool of_trial);
/* Of a trial: closes and forgets. Other successes change nothing. */
void breaker_success(struct breaker *b, bool of_trial);

#endif
