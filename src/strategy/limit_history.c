/* The averages of limit_history.h: one slot for each minute, taken over by the first request of a new one. */
#include "strategy/limit_history.h"

#include "base/clock.h"

#include <stdatomic.h>

static const uint64_t minute_changes = UINT64_MAX;
/* A minute takes no more than that: eleven of them are added up. 2^59 pico-dollars are half a million. */
static const int64_t minute_max = (int64_t)1 << 59;

static uint64_t minute_number(uint64_t now_ns, uint64_t age_ns)
{
    uint64_t time =
        now_ns + 86400 * CLOCK_S; /* the clock starts with the machine, what is replayed does not */
    return (time - MIN(age_ns, time)) / (60 * CLOCK_S) + 1;
}

/* NULL: it is another's right now, or the time is long ago. */
static struct history_minute *minute_claim(struct history *h, uint64_t number)
{
    struct history_minute *m = &h->minutes[number % HISTORY_RING];
    uint64_t found = atomic_load(&m->minute);
    if (found == number)
        return m;
    if (found > number || !atomic_compare_exchange_strong(&m->minute, &found, minute_changes))
        return NULL;
    atomic_store(&m->count, 0);
    for (int kind = 0; kind < LIMIT_KINDS; kind++)
        atomic_store(&m->sums[kind], 0);
    atomic_store(&m->minute, number);
    return m;
}

void history_add(struct history *h, int64_t count, const struct amounts *used, uint64_t now_ns,
                 uint64_t age_ns)
{
    if (age_ns > (uint64_t)(HISTORY_MINUTES + 1) * 60 * CLOCK_S)
        return;
    struct history_minute *m = minute_claim(h, minute_number(now_ns, age_ns));
    if (!m)
        return;
    for (int kind = 0; kind < LIMIT_KINDS; kind++)
        if (used->of[kind] > minute_max - atomic_load_explicit(&m->sums[kind], memory_order_relaxed))
            return;
    atomic_fetch_add(&m->count, count);
    for (int kind = 0; kind < LIMIT_KINDS; kind++)
        if (used->of[kind] > 0)
            atomic_fetch_add(&m->sums[kind], used->of[kind]);
}

bool history_average(const struct history *h, uint64_t now_ns, struct amounts *average)
{
    uint64_t newest = minute_number(now_ns, 0);
    int64_t count = 0;
    struct amounts sum = {0};
    for (int i = 0; i < HISTORY_RING; i++) {
        const struct history_minute *m = &h->minutes[i];
        uint64_t number = atomic_load(&m->minute);
        if (number > newest || newest - number > HISTORY_MINUTES)
            continue;
        count += atomic_load_explicit(&m->count, memory_order_relaxed);
        for (int kind = 0; kind < LIMIT_KINDS; kind++)
            sum.of[kind] += atomic_load_explicit(&m->sums[kind], memory_order_relaxed);
    }
    for (int kind = 0; count && kind < LIMIT_KINDS; kind++)
        average->of[kind] = sum.of[kind] / count + (sum.of[kind] % count != 0);
    return count > 0;
}
