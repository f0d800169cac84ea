/* Blocking work on a thread of its own, while the task waits. */
#ifndef HESTIA_LOOP_OFFLOAD_H
#define HESTIA_LOOP_OFFLOAD_H

#include "loop/task.h"

enum { OFFLOAD_THREADS = 4 };

/* One piece of work, in a struct on the heap that holds all it reads and writes: the task may leave first. */
struct offload {
    void (*work)(struct offload *o); /* on an offload thread */
    void (*drop)(struct offload *o); /* frees it when nobody waits for it any more; on any thread */
    struct list node;
    struct reply reply;
    enum { OFFLOAD_QUEUED, OFFLOAD_RUNNING, OFFLOAD_LEFT, OFFLOAD_DONE } state; /* offload.c */
};

/* OK: the work is done, and `o` is the caller's again. ERR_TIMEOUT, ERR_CANCELLED, ERR_NOMEM (no thread could
   be made): it is gone, or goes when the work ends. */
enum err offload_run(struct task *t, struct offload *o, uint64_t deadline) MUST_CHECK;
/* At exit, after the loops have ended. Does not wait for work that was left: a look-up may take its time. */
void offload_stop(void);

#endif
