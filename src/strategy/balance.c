/* The routing strategies. See balance.h. Any worker thread. */
#include "strategy/balance.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>

enum err balancer_init(struct balancer *b, enum routing_strategy strategy, size_t count, uint64_t seed)
{
    b->strategy = strategy;
    b->count = count;
    atomic_init(&b->cursor, 0);
    atomic_init(&b->random, seed);
    b->credits = mem_alloc(MAX(count, (size_t)1) * sizeof *b->credits);
    if (!b->credits)
        return ERR_NOMEM;
    if (pthread_mutex_init(&b->lock, NULL) == 0)
        return OK;
    mem_free(b->credits);
    b->credits = NULL;
    return ERR_NOMEM;
}

void balancer_free(struct balancer *b)
{
    if (!b->credits)
        return;
    pthread_mutex_destroy(&b->lock);
    mem_free(b->credits);
    b->credits = NULL;
}

/* ---- round robin ------------------------------------------------------------------------------------- */

/* The first at or behind the cursor; `best` (may be NULL) says which places are in question. */
static size_t behind_cursor(uint64_t cursor, const struct candidate *list, size_t n, const bool *best)
{
    size_t first = n;
    for (size_t i = 0; i < n; i++) {
        if (best && !best[i])
            continue;
        if (list[i].index >= cursor)
            return i;
        if (first == n)
            first = i;
    }
    return first;
}

/* The cursor moves behind the one that was taken, so that those who are passed over leave their turns to all
 * others alike. */
static size_t turn_take(struct balancer *b, const struct candidate *list, size_t n, const bool *best)
{
    uint64_t cursor = atomic_load_explicit(&b->cursor, memory_order_relaxed);
    size_t taken;
    do
        taken = behind_cursor(cursor, list, n, best);
    while (!atomic_compare_exchange_weak_explicit(&b->cursor, &cursor, (list[taken].index + 1) % b->count,
                                                  memory_order_relaxed, memory_order_relaxed));
    return taken;
}

/* ---- weighted ---------------------------------------------------------------------------------------- */

/* Smooth: everybody earns its weight, the richest is taken and pays what all have earned. */
static size_t weighted(struct balancer *b, const struct candidate *list, size_t n)
{
    size_t richest = 0;
    int64_t sum = 0;
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < n; i++) {
        b->credits[list[i].index] += list[i].weight;
        sum += list[i].weight;
        if (b->credits[list[i].index] > b->credits[list[richest].index])
            richest = i;
    }
    b->credits[list[richest].index] -= sum;
    pthread_mutex_unlock(&b->lock);
    return richest;
}

/* ---- least busy -------------------------------------------------------------------------------------- */

/* Requests in flight for each unit of weight; equals take turns. */
static size_t least_busy(struct balancer *b, const struct candidate *list, size_t n)
{
    bool best[256] = {false};
    size_t least = 0;
    n = MIN(n, COUNT_OF(best));
    for (size_t i = 1; i < n; i++)
        if (list[i].in_flight * list[least].weight < list[least].in_flight * list[i].weight)
            least = i;
    for (size_t i = 0; i < n; i++)
        best[i] = list[i].in_flight * list[least].weight == list[least].in_flight * list[i].weight;
    return turn_take(b, list, n, best);
}

/* ---- latency ----------------------------------------------------------------------------------------- */

/* splitmix64: a step of a counter, well stirred. */
static uint64_t random_next(struct balancer *b)
{
    uint64_t z = atomic_fetch_add_explicit(&b->random, 0x9e3779b97f4a7c15u, memory_order_relaxed);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Who is not known yet is tried, but by one request at a time. */
static double cost(const struct candidate *c)
{
    if (c->latency <= 0)
        return c->in_flight ? INFINITY : 0;
    return c->latency * (double)(c->in_flight + 1);
}

/* Two at random, the cheaper one: good enough, and no herd runs to the best. */
static size_t cheaper_of_two(struct balancer *b, const struct candidate *list, size_t n)
{
    uint64_t random = random_next(b);
    size_t one = (size_t)((random & 0xffffffff) % n);
    if (n == 1)
        return one;
    size_t other = (one + 1 + (size_t)((random >> 32) % (n - 1))) % n;
    return cost(&list[other]) < cost(&list[one]) ? other : one;
}

size_t balance_choose(struct balancer *b, const struct candidate *list, size_t n)
{
    REQUIRE(n > 0);
    switch (b->strategy) {
    case ROUTING_WEIGHTED:
        return weighted(b, list, n);
    case ROUTING_FAILOVER:
        return 0;
    case ROUTING_LEAST_BUSY:
        return least_busy(b, list, n);
    case ROUTING_LATENCY:
        return cheaper_of_two(b, list, n);
    case ROUTING_ROUND_ROBIN:
        break;
    }
    return turn_take(b, list, n, NULL);
}

/* ---- the moving average ------------------------------------------------------------------------------ */

enum { DECAY_MS = 10000 };

/* Microseconds in the high half, milliseconds of the clock in the low half (it wraps after weeks: an average
 * that old says nothing anyway). */
static uint64_t word_make(double us, uint64_t now)
{
    uint64_t value = us >= 4294967295.0 ? 4294967295u : us < 1 ? 1 : (uint64_t)us;
    return value << 32 | (now / CLOCK_MS & 0xffffffff);
}

static double word_value(uint64_t word)
{
    return (double)(word >> 32);
}

static double word_decay(uint64_t word, uint64_t now)
{
    int32_t age = (int32_t)((uint32_t)(now / CLOCK_MS) - (uint32_t)word);
    return exp(-(double)MAX(age, 0) / DECAY_MS);
}

void latency_observe(latency_word *word, uint64_t ns, uint64_t now)
{
    double us = (double)ns / 1000;
    uint64_t was = atomic_load_explicit(word, memory_order_relaxed), is;
    do {
        double keep = word_decay(was, now);
        double value = word_value(was);
        is = word_make(us > value ? us : value * keep + us * (1 - keep), now);
    } while (
        !atomic_compare_exchange_weak_explicit(word, &was, is, memory_order_relaxed, memory_order_relaxed));
}

double latency_expected(const latency_word *word, uint64_t now)
{
    uint64_t w = atomic_load_explicit(word, memory_order_relaxed);
    return w ? word_value(w) * word_decay(w, now) : 0;
}
