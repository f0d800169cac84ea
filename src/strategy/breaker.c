/* The state machine of breaker.h. The window is cut into slices, so that counting needs no list of times. */
#include "strategy/breaker.h"

#include "base/clock.h"

enum breaker_state breaker_state(const struct breaker *b, uint64_t now)
{
    if (!b->is_open)
        return BREAKER_CLOSED;
    return now >= b->open_until || b->trial ? BREAKER_HALF_OPEN : BREAKER_OPEN;
}

bool breaker_begin_trial(struct breaker *b)
{
    if (b->trial)
        return false;
    b->trial = true;
    return true;
}

void breaker_end_trial(struct breaker *b)
{
    REQUIRE(b->trial);
    b->trial = false;
}

static void slices_forget(struct breaker *b)
{
    memset(b->failures, 0, sizeof b->failures);
}

/* Counts into the slice of `now`; the failures of the window that ends now. */
static uint64_t slices_count(struct breaker *b, uint64_t window, uint64_t now)
{
    uint64_t slice = now / MAX(window / BREAKER_SLICES, (uint64_t)1), sum = 0;
    if (slice < b->slice && b->slice - slice < BREAKER_SLICES)
        slice = b->slice; /* the clocks of two workers differ a little */
    if (slice < b->slice || slice - b->slice >= BREAKER_SLICES) /* long ago, or the window was changed */
        slices_forget(b);
    else
        for (uint64_t s = b->slice + 1; s <= slice; s++)
            b->failures[s % BREAKER_SLICES] = 0;
    b->slice = slice;
    b->failures[slice % BREAKER_SLICES]++;
    for (int i = 0; i < BREAKER_SLICES; i++)
        sum += b->failures[i];
    return sum;
}

bool breaker_failure(struct breaker *b, const struct breaker_rules *rules, uint64_t now, bool of_trial)
{
    uint64_t sum = slices_count(b, rules->window, now);
    bool was_open = b->is_open;
    if (was_open && !of_trial)
        return false; /* a late answer to an earlier request */
    if (!was_open && (!rules->failures || sum < rules->failures))
        return false;
    b->is_open = true;
    b->open_until = rules->open > CLOCK_NEVER - now ? CLOCK_NEVER : now + rules->open;
    return !was_open;
}

void breaker_success(struct breaker *b, bool of_trial)
{
    if (!of_trial || !b->is_open)
        return;
    b->is_open = false;
    slices_forget(b);
}
