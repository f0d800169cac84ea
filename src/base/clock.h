/* Time. Deadlines and durations are monotonic; wall time is only for people. */
#ifndef HESTIA_BASE_CLOCK_H
#define HESTIA_BASE_CLOCK_H

#include "base/buf.h"

#define CLOCK_MS ((uint64_t)1000000) /* nanoseconds in a millisecond */
#define CLOCK_S (1000 * CLOCK_MS)
#define CLOCK_NEVER UINT64_MAX

/* Monotonic nanoseconds. Loops keep a coarse copy (loop_now): use that on the path of a request. */
uint64_t clock_now(void);
/* Microseconds since 1970, UTC. */
int64_t clock_wall_us(void);
/* The wall-clock time of a moment of clock_now(), not far from now; without a system call. A step of the wall
   clock is felt within 100 ms. */
int64_t clock_wall_at(uint64_t monotonic);
/* "2025-09-09T05:30:00.123456Z" */
void clock_format(struct buf *b, int64_t wall_us);

/* An HTTP date ("Sun, 06 Nov 1994 08:49:37 GMT") in seconds since 1970; -1 when it is none. */
int64_t date_parse(struct str text);

static inline uint64_t clock_after(uint64_t now, uint64_t ms)
{
    return ms > (CLOCK_NEVER - now) / CLOCK_MS ? CLOCK_NEVER : now + ms * CLOCK_MS;
}

#endif
