/*
 * One event loop per thread: epoll (edge-triggered), timers, a run queue of tasks, and a mailbox.
 * Workers and the control thread each own one; nothing here is shared between threads but loop_post().
 */
#ifndef HESTIA_LOOP_LOOP_H
#define HESTIA_LOOP_LOOP_H

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"

#include <stdatomic.h>

struct loop;
struct task;
struct sock;
struct dns;
struct metric_set;
struct epoll_event;

/* ---- events ------------------------------------------------------------------------------------------- */

/* Something with a descriptor in the loop. `on_event` gets epoll's bits. Embed it, or use struct sock. */
struct watch {
    void (*on_event)(struct watch *w, uint32_t events);
    int fd;
};
/* Registers once, edge-triggered, for everything: read until EAGAIN. */
enum err watch_add(struct loop *l, struct watch *w, int fd) MUST_CHECK;
/* For a listening socket that several loops share: level-triggered, wakes one of them. */
enum err watch_add_shared(struct loop *l, struct watch *w, int fd) MUST_CHECK;
/* Unregisters; does not close. Events of this turn that are still to come are dropped. */
void watch_remove(struct loop *l, struct watch *w);

/* ---- timers ------------------------------------------------------------------------------------------- */

/* Fires once at `due` (nanoseconds, monotonic). Moving a deadline later costs nothing: the heap keeps the
   earlier time and looks again when it comes. */
struct timer {
    void (*on_due)(struct timer *timer);
    uint64_t due;   /* CLOCK_NEVER = off */
    uint64_t armed; /* key in the heap, <= due */
    uint32_t index; /* place in the heap + 1; 0 = not there */
};
void timer_set(struct loop *l, struct timer *timer, uint64_t due);
void timer_off(struct timer *timer);                    /* stays in the heap, does nothing */
void timer_remove(struct loop *l, struct timer *timer); /* before its memory goes */

/* ---- messages between threads -------------------------------------------------------------------------- */

/* Embed it in what is sent. `on_arrival` runs on the receiving loop's thread, outside any task, in the order
   of posting for each pair of threads. The memory belongs to the receiver until on_arrival says otherwise. */
struct message {
    struct message *next;
    void (*on_arrival)(struct message *m);
};
/* Any thread. Lock-free; wakes the loop if it sleeps. */
void loop_post(struct loop *l, struct message *m);

/* ---- the loop ------------------------------------------------------------------------------------------ */

struct scratch {
    char *p;
    size_t n;
};
enum { SCRATCH_SIZE = 256 << 10, GATHER_SIZE = 32 << 10 };

struct loop {
    int epoll_fd, wake_fd;
    uint64_t now;          /* coarse clock: monotonic ns at the last wake-up */
    struct list run_queue; /* tasks that may go on */
    struct task *current;  /* NULL on the loop's own stack */
    struct timer **timers; /* binary heap */
    uint32_t timer_count, timer_capacity;
    _Atomic(struct message *) inbox; /* newest first */
    _Atomic uint32_t posting;        /* threads that are in loop_post: loop_free waits for them */
    struct watch wake_watch;
    char *scratch; /* SCRATCH_SIZE bytes, borrowed between two suspensions only */
    char *gather;  /* GATHER_SIZE bytes for joining the parts of one send */
    bool scratch_lent;
    bool stop;
    struct epoll_event *batch; /* events of this turn, so that watch_remove can blank them */
    int batch_at, batch_count;
    struct list free_tasks;
    size_t free_task_count;
    size_t free_task_low; /* fewest since the last trim */
    struct timer trim_timer;
    size_t task_count; /* tasks alive on this loop */
    struct dns *dns;
    struct metric_set *metrics;           /* this thread's cells; set by boot */
    void *owner;                          /* the worker or control that runs the loop */
    void (*before_sleep)(struct loop *l); /* may be NULL */
};

struct loop *loop_new(void);
/* All tasks have ended, all watches are gone. */
void loop_free(struct loop *l);
/* Runs until loop_stop() and the end of the last task; call from the thread that owns it. */
void loop_run(struct loop *l);
/* From the loop's own thread. */
void loop_stop(struct loop *l);
static inline uint64_t loop_now(const struct loop *l)
{
    return l->now;
}

/* Borrows the big read buffer. Suspending while it is lent breaks an invariant and aborts. */
static inline struct scratch scratch_borrow(struct loop *l)
{
    REQUIRE(!l->scratch_lent);
    l->scratch_lent = true;
    return (struct scratch){l->scratch, SCRATCH_SIZE};
}
static inline void scratch_return(struct loop *l)
{
    l->scratch_lent = false;
}

#endif
