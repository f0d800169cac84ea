/*
 * Tasks: stackful coroutines, so that the life of a request reads from top to bottom. A task belongs to one
 * loop and runs on its thread. Only a function whose first parameter is `struct task *` may suspend; every
 * wait has a deadline; cancellation arrives as ERR_CANCELLED from the wait.
 */
#ifndef HESTIA_LOOP_TASK_H
#define HESTIA_LOOP_TASK_H

#include "loop/loop.h"

typedef void task_fn(struct task *t, void *argument);

struct task {
    struct list node; /* in the run queue, or among the free */
    struct loop *loop;
    void *context; /* saved stack pointer, or the ucontext */
    char *stack;   /* lowest usable byte; a guard page lies below */
    task_fn *fn;
    void *argument;
    struct timer timer; /* the deadline of the present wait */
    bool parked, woken, timed_out, cancelled, finished;
    void *sanitizer; /* fiber handle of ASan/TSan, valgrind stack id */
};

/* Starts fn(t, argument) on a pooled stack at the next turn of the run queue. Call on the loop's own thread.
   NULL when memory is short. */
struct task *task_spawn(struct loop *l, task_fn *fn, void *argument) MUST_CHECK;
/* The same, but runs at once until it first suspends; only from the loop's own stack (an event handler). */
struct task *task_start(struct loop *l, task_fn *fn, void *argument) MUST_CHECK;

/* Suspends until task_wake, the deadline (ERR_TIMEOUT) or cancellation (ERR_CANCELLED, and again on every
   further wait). A wake may be spurious: loop over the condition. */
enum err task_park(struct task *t, uint64_t deadline) MUST_CHECK;
/* The same, deaf to cancellation: for a reply that must arrive before the stack may go. */
enum err task_park_shielded(struct task *t, uint64_t deadline) MUST_CHECK;
/* Lets others run, comes back in the next turn. */
enum err task_yield(struct task *t) MUST_CHECK;
/* OK after ms, ERR_CANCELLED earlier. */
enum err task_sleep(struct task *t, uint64_t ms) MUST_CHECK;

/* Own thread only; harmless when it is not parked. */
void task_wake(struct task *t);
void task_cancel(struct task *t);

static inline uint64_t task_now(const struct task *t)
{
    return t->loop->now;
}
static inline uint64_t task_deadline(const struct task *t, uint64_t ms)
{
    return clock_after(t->loop->now, ms);
}

/* A reply that another thread gives to a waiting task: the task parks until `done`. The answering thread
   fills its fields and calls reply_send. */
struct reply {
    struct message message;
    struct task *task;
    bool done;
};
void reply_init(struct reply *r, struct task *t);
void reply_send(struct reply *r); /* from the answering thread */

/* Runs fn(argument) on another loop's thread, outside any task there, and waits for its end, deaf to
   cancellation. This is how a worker asks the owner of a state. */
void loop_call(struct task *t, struct loop *target, void (*fn)(void *argument), void *argument);

#endif
