/*
 * The trail: the last events of each thread that serves, kept for the report of a crash (loop/crash.h). Each
 * thread writes its own with a handful of stores; only a crash reads them. An event holds a code, a number
 * and the request's id, never a word of a head or a body.
 */
#ifndef HESTIA_LOOP_TRAIL_H
#define HESTIA_LOOP_TRAIL_H

#include "base/base.h"

#include <stdatomic.h>

enum trail_code {
    TRAIL_ACCEPT,  /* a connection came; the number is its descriptor */
    TRAIL_REQUEST, /* a head was read; the connection's descriptor */
    TRAIL_FORWARD, /* it goes to an upstream; attempts so far */
    TRAIL_ANSWER,  /* an upstream's answer begins; its status */
    TRAIL_END,     /* the exchange is over; the status that the client saw */
    TRAIL_CODES,
};

enum { TRAIL_EVENTS = 256, TRAIL_ID = 44 };

struct trail_event {
    uint64_t at; /* the loop's clock: monotonic ns */
    int64_t number;
    uint32_t code;
    char id[TRAIL_ID]; /* the request's, cut to fit */
};

struct trail {
    _Atomic uint32_t count; /* events ever written */
    struct trail_event events[TRAIL_EVENTS];
};

extern const char trail_no_id[TRAIL_ID]; /* for events outside requests */

/* This thread's; NULL = it has none (crash_thread_begin gives it one). */
extern _Thread_local struct trail *trail_here;

/* `id` has room for TRAIL_ID bytes at least, and a NUL within its own bounds. */
static inline void trail_add(enum trail_code code, uint64_t at, const char *id, int64_t number)
{
    struct trail *trail = trail_here;
    if (UNLIKELY(!trail))
        return;
    uint32_t count = atomic_load_explicit(&trail->count, memory_order_relaxed);
    struct trail_event *event = &trail->events[count % TRAIL_EVENTS];
    event->at = at;
    event->number = number;
    event->code = code;
    memcpy(event->id, id, TRAIL_ID - 1);
    atomic_store_explicit(&trail->count, count + 1, memory_order_release);
}

#endif
