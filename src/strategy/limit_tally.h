/*
 * One sum over a sliding window, for the limits of limit.h: what was used within the last minute, hour or
 * day, and what is reserved, as one atomic number; and a ring of time slots that says when a use leaves. Any
 * thread, no locks. The sum is never smaller than what it stands for, not even for a moment.
 */
#ifndef HESTIA_STRATEGY_LIMIT_TALLY_H
#define HESTIA_STRATEGY_LIMIT_TALLY_H

#include "config/config.h"

enum {
    TALLY_WINDOW = 1440, /* slots in a window: 42 ms of a minute, 2.5 s of an hour, 60 s of a day */
    TALLY_RING = 2048,   /* more than a window, so that a writer may be ahead of who empties old slots */
    TALLY_AHEAD = TALLY_RING - TALLY_WINDOW - 1,
};

struct tally {
    uint64_t slot_ns;           /* length of a slot */
    _Atomic int64_t sum;        /* used in the window + reserved; >= 0 */
    _Atomic int64_t reserved;   /* the part of it that is reserved, for people */
    _Atomic uint64_t head;      /* number of the newest slot: all before head - TALLY_WINDOW are empty */
    _Atomic bool is_moving;     /* somebody empties old slots */
    _Atomic int64_t late;       /* used, but not in a slot yet: see tally_put */
    _Atomic uint64_t late_slot; /* the newest slot that a part of `late` belongs to */
    _Atomic uint64_t oldest;    /* no use stands before this slot, as far as tally_reset() has seen */
    _Atomic int64_t slots[TALLY_RING];
};

/* NULL when memory is short; mem_free() ends it. */
struct tally *tally_new(enum limit_window window) MUST_CHECK;
/* The number of the slot that was the present one `age_ns` before `now_ns`. */
uint64_t tally_slot(const struct tally *t, uint64_t now_ns, uint64_t age_ns);
/* Lets go what has left the window when this is the present slot. Before every other call with a new time. */
void tally_advance(struct tally *t, uint64_t slot);

/* Adds `amount` (>= 0) to the sum unless that would make it larger than `limit`. */
bool tally_take(struct tally *t, int64_t amount, int64_t limit) MUST_CHECK;
/* Takes back what tally_take() added. */
void tally_give(struct tally *t, int64_t amount);
/* Of what is in the sum, `amount` is reserved. */
void tally_reserve(struct tally *t, int64_t amount);
/* Of what is in the sum and not reserved, `amount` was used in this slot. */
void tally_put(struct tally *t, uint64_t slot, int64_t amount);
/* Takes a use out of the sum and of the slot it was put into, unless it has left. */
void tally_take_out(struct tally *t, uint64_t slot, int64_t amount);
/* In place of a reservation, a use in this slot; it may go beyond any limit. 0 and 0 are fine. */
void tally_settle(struct tally *t, int64_t reserved, int64_t used, uint64_t slot);

/* Nanoseconds until `amount` (>= 1) of what was used has left the window; 0: less than that was used. */
uint64_t tally_wait(struct tally *t, int64_t amount, uint64_t now_ns);
/* The same for the oldest use, for people: cheap, and late at most when threads race. */
uint64_t tally_reset(struct tally *t, uint64_t now_ns);

#endif
