/* What the tests of the limits share: limits in a line, a clock of our own, a die. */
#ifndef HESTIA_STRATEGY_LIMIT_TEST_H
#define HESTIA_STRATEGY_LIMIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "strategy/limit.h"

static const uint64_t window_ns[] = {60 * CLOCK_S, 3600 * CLOCK_S, 86400 * CLOCK_S};

/* The longest that a use may stay after it has left its window. */
static inline uint64_t slot_ns(enum limit_window window)
{
    return window_ns[window] / 1440 + 1;
}

#define LIMIT(limit_kind, limit_window, limit_value)                                                         \
    {                                                                                                        \
        .kind = LIMIT_##limit_kind, .window = WINDOW_##limit_window, .value = (limit_value), .enabled = true \
    }
#define LIMITER(...)                                                                                         \
    limiter_new((struct rate_limit_config[]){__VA_ARGS__},                                                   \
                COUNT_OF(((struct rate_limit_config[]){__VA_ARGS__})))

/* One request that uses so many tokens, half of them for its answer, and so much money. */
static inline struct amounts use(int64_t tokens, int64_t cost)
{
    return (struct amounts){{1, tokens / 2, tokens - tokens / 2, tokens, cost}};
}
static const struct amounts nothing = {{0}};

static inline uint32_t dice(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static inline struct limit_status status_of(struct limiter *l, size_t i, uint64_t now)
{
    struct limit_status s;
    limiter_status(l, i, now, &s);
    return s;
}

#endif
