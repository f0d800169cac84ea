/*
 * What the requests of a strategy used on average within the last ten minutes, for the estimates of limit.h.
 * Any thread, no locks: a request that ends just while a minute begins may be missing, which an average
 * bears.
 */
#ifndef HESTIA_STRATEGY_LIMIT_HISTORY_H
#define HESTIA_STRATEGY_LIMIT_HISTORY_H

#include "strategy/limit.h"

enum { HISTORY_MINUTES = 10, HISTORY_RING = 16 };

struct history {
    struct history_minute {
        _Atomic uint64_t minute; /* its number; 0 = never used */
        _Atomic int64_t count;   /* requests */
        _Atomic int64_t sums[LIMIT_KINDS];
    } minutes[HISTORY_RING];
};

/* `count` requests together used that much, `age_ns` before now. */
void history_add(struct history *h, int64_t count, const struct amounts *used, uint64_t now_ns,
                 uint64_t age_ns);
/* Per request, rounded up. False: there were none. */
bool history_average(const struct history *h, uint64_t now_ns, struct amounts *average);

#endif
