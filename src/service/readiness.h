/*
 * Is it ready? A probe is a task on the control loop that asks the health URL until it says 2xx, connects
 * where there is none, or waits for the warm-up time. It tells its owner once, unless it is cancelled.
 */
#ifndef HESTIA_SERVICE_READINESS_H
#define HESTIA_SERVICE_READINESS_H

#include "service/placement.h"

struct services;
struct service;
struct probe;

/* err == OK: ready. Otherwise `error` says why the last attempt failed. Runs on the control loop, inside the
   probe's task: must not suspend. The probe is over. */
typedef void probe_done_fn(struct service *owner, const struct error *error);

struct probe_plan {
    const struct placement *places; /* only during probe_start */
    uint64_t warmup_ms;             /* counts where there is no health URL */
    bool is_local;                  /* every 20 ms at first */
    bool once;                      /* one attempt decides */
    bool stop_when_unreachable;     /* refused, unreachable or 5xx: done, with ERR_UPSTREAM_UNREACHABLE */
    uint64_t attempt_ms;            /* longest attempt; 0 = 2 s, later 10 s */
};

/* NULL when memory is short. on_done is never called from inside. */
struct probe *probe_start(struct services *all, struct service *owner, const struct probe_plan *plan,
                          probe_done_fn *on_done);
/* Forgets the owner and ends soon. NULL is harmless. */
void probe_cancel(struct probe *p);
/* Why the last attempt failed; "" before the first one ended. */
const char *probe_reason(const struct probe *p);

/* Time until the next attempt, given the last pause and the time since the first attempt. Pure. */
uint64_t probe_pause_ms(uint64_t last_ms, uint64_t elapsed_ms, bool is_local);

#endif
