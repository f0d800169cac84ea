/*
 * The tally of limit_tally.h. Whoever first comes with a new slot empties those that have left; everybody
 * else goes on meanwhile. What keeps that right:
 * - A use is added to the sum before it is put into a slot, and taken out of its slot before it is taken off
 *   the sum. Each happens once, so nothing drifts, and the sum never falls short.
 * - A slot that a writer puts into is never one that is being emptied for an older use: a writer may be at
 * most TALLY_AHEAD slots ahead of the head. One that is further ahead, after a long time without requests,
 * leaves its use in `late`, and who empties the slots puts it where it belongs.
 * - A writer that sleeps between reading the head and putting its use may put it into a slot that has been
 *   emptied: then the use stays too long, until the ring comes round; it never leaves too early.
 */
#include "strategy/limit_tally.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdatomic.h>

/* Added to every time: the monotonic clock starts with the machine, the counters of the last day do not. */
static const uint64_t before = 2 * 86400 * CLOCK_S;

struct tally *tally_new(enum limit_window window)
{
    static const uint64_t lengths[] = {
        [WINDOW_MINUTE] = 60 * CLOCK_S, [WINDOW_HOUR] = 3600 * CLOCK_S, [WINDOW_DAY] = 86400 * CLOCK_S};
    struct tally *t = mem_alloc(sizeof *t);
    if (t)
        t->slot_ns = (lengths[window] + TALLY_WINDOW - 1) / TALLY_WINDOW; /* up: never shorter than it says */
    return t;
}

uint64_t tally_slot(const struct tally *t, uint64_t now_ns, uint64_t age_ns)
{
    uint64_t time = now_ns + before;
    return (time - MIN(age_ns, time)) / t->slot_ns;
}

/* Only with is_moving. */
static void tally_leave(struct tally *t, uint64_t slot)
{
    uint64_t head = atomic_load(&t->head);
    if (slot <= head)
        return;
    uint64_t oldest = head - TALLY_WINDOW, count = MIN(slot - head, (uint64_t)TALLY_RING);
    int64_t gone = 0;
    for (uint64_t i = oldest; i != oldest + count; i++) { /* wraps round at the very start */
        _Atomic int64_t *cell = &t->slots[i % TALLY_RING];
        if (atomic_load_explicit(cell, memory_order_relaxed))
            gone += atomic_exchange(cell, 0);
    }
    atomic_fetch_sub(&t->sum, gone);
    atomic_store(&t->head, slot);
}

/* Who finds it moving need not wait, nor does `late` stay behind: it is looked at once more after the end. */
static void tally_move(struct tally *t, uint64_t slot)
{
    do {
        if (atomic_exchange(&t->is_moving, true))
            return;
        tally_leave(t, slot);
        int64_t late = atomic_exchange(&t->late, 0);
        if (late) {
            tally_leave(t, atomic_load(&t->late_slot));
            atomic_fetch_add(&t->slots[atomic_load(&t->head) % TALLY_RING], late);
        }
        atomic_store(&t->is_moving, false);
    } while (atomic_load(&t->late));
}

void tally_advance(struct tally *t, uint64_t slot)
{
    if (UNLIKELY(atomic_load(&t->head) < slot))
        tally_move(t, slot);
}

bool tally_take(struct tally *t, int64_t amount, int64_t limit)
{
    int64_t sum = atomic_load(&t->sum);
    do
        if (amount > limit - sum)
            return false;
    while (!atomic_compare_exchange_weak(&t->sum, &sum, sum + amount));
    return true;
}

void tally_give(struct tally *t, int64_t amount)
{
    atomic_fetch_sub(&t->sum, amount);
}

void tally_reserve(struct tally *t, int64_t amount)
{
    atomic_fetch_add(&t->reserved, amount);
}

static void tally_put_late(struct tally *t, uint64_t slot, int64_t amount)
{
    uint64_t newest = atomic_load(&t->late_slot);
    while (newest < slot && !atomic_compare_exchange_weak(&t->late_slot, &newest, slot))
        ;
    atomic_fetch_add(&t->late, amount);
    tally_move(t, slot);
}

void tally_put(struct tally *t, uint64_t slot, int64_t amount)
{
    uint64_t head = atomic_load(&t->head);
    if (UNLIKELY(slot < atomic_load_explicit(&t->oldest, memory_order_relaxed)))
        atomic_store_explicit(&t->oldest, slot, memory_order_relaxed);
    if (UNLIKELY(slot > head + TALLY_AHEAD))
        tally_put_late(t, slot, amount);
    else if (UNLIKELY(slot + TALLY_WINDOW < head)) /* should have left: with the next that does */
        atomic_fetch_add(&t->slots[(head - TALLY_WINDOW) % TALLY_RING], amount);
    else
        atomic_fetch_add(&t->slots[slot % TALLY_RING], amount);
}

static bool cell_take(_Atomic int64_t *cell, int64_t amount)
{
    int64_t found = atomic_load(cell);
    do
        if (found < amount)
            return false;
    while (!atomic_compare_exchange_weak(cell, &found, found - amount));
    return true;
}

/* What came late may still be there, or a little further on; another's use of that time is as good as one's
   own, but only while one's own is still in the window. */
static bool tally_find_out(struct tally *t, uint64_t slot, int64_t amount)
{
    _Atomic int64_t *const cells[] = {&t->slots[slot % TALLY_RING], &t->slots[(slot + 1) % TALLY_RING],
                                      &t->slots[(slot + 2) % TALLY_RING], &t->late};
    for (size_t i = 0; i < COUNT_OF(cells); i++) {
        if (!cell_take(cells[i], amount))
            continue;
        if (LIKELY(atomic_load(&t->head) <= slot + TALLY_WINDOW))
            return true;
        if (cells[i] == &t->late)
            tally_put_late(t, slot, amount);
        else
            atomic_fetch_add(cells[i], amount);
        return false;
    }
    return false;
}

void tally_take_out(struct tally *t, uint64_t slot, int64_t amount)
{
    bool found = amount == 0;
    for (int i = 0; i < 3 && !found; i++) /* it may be on its way from the late ones into a slot */
        found = tally_find_out(t, slot, amount);
    if (found)
        tally_give(t, amount);
}

void tally_settle(struct tally *t, int64_t reserved, int64_t used, uint64_t slot)
{
    if (reserved == 0 && used == 0)
        return;
    tally_advance(t, slot);
    atomic_fetch_sub(&t->reserved, reserved);
    int64_t sum = atomic_load(&t->sum), added;
    do
        added = MIN(used, INT64_MAX - (sum - reserved)); /* only what is in the sum may go into a slot */
    while (!atomic_compare_exchange_weak(&t->sum, &sum, sum - reserved + added));
    if (added)
        tally_put(t, slot, added);
}

uint64_t tally_wait(struct tally *t, int64_t amount, uint64_t now_ns)
{
    uint64_t head = atomic_load(&t->head), now = now_ns + before;
    for (uint64_t i = head - TALLY_WINDOW; i != head + 1; i++) {
        int64_t gone = atomic_load_explicit(&t->slots[i % TALLY_RING], memory_order_relaxed);
        if (gone < amount) {
            amount -= gone;
            continue;
        }
        uint64_t end = (i + 1 + TALLY_WINDOW) * t->slot_ns;
        return end > now ? end - now : 1;
    }
    return 0;
}

uint64_t tally_reset(struct tally *t, uint64_t now_ns)
{
    uint64_t head = atomic_load(&t->head), now = now_ns + before;
    uint64_t i = MAX(atomic_load_explicit(&t->oldest, memory_order_relaxed), head - TALLY_WINDOW);
    while (i < head && !atomic_load_explicit(&t->slots[i % TALLY_RING], memory_order_relaxed))
        i++;
    atomic_store_explicit(&t->oldest, MIN(i, head), memory_order_relaxed);
    if (!atomic_load_explicit(&t->slots[i % TALLY_RING], memory_order_relaxed))
        return 0;
    uint64_t end = (i + 1 + TALLY_WINDOW) * t->slot_ns;
    return end > now ? end - now : 1;
}
