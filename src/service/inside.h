/*
 * What the files of service/ share: the service itself, the registry, and who calls whom.
 * Everything marked "control" is touched by the control thread only.
 */
#ifndef HESTIA_SERVICE_INSIDE_H
#define HESTIA_SERVICE_INSIDE_H

#include "base/metric.h"
#include "loop/task.h"
#include "service/log_ring.h"
#include "service/orchestrator.h"
#include "service/placement.h"
#include "service/readiness.h"
#include "service/service.h"
#include "service/word.h"

enum {
    WATCH_CLAIM_MS = 10000,        /* a waiting page's claim after its last refresh */
    BACK_OFF_MS = 1000,            /* after the first failure; doubles */
    BACK_OFF_MAX_MS = 60000,       /* … up to this */
    BACK_OFF_RESET_MS = 60000,     /* ready that long: failures are forgotten */
    UNREACHABLE_RETRY_MS = 1000,   /* an external service with a fallback is asked again after that */
    SUSPECT_PROBE_MS = 2000,       /* how long a suspect may take to show that it is alive */
    SUSPECT_PAUSE_MS = 1000,       /* it is not asked more often than that */
    OUTPUT_LINES_PER_SECOND = 200, /* of one service, into the gateway's log */
};

/* Valid from STARTING until the service is cold again. */
struct run {
    const struct orchestrator *orchestrator;
    struct orchestration *orchestration; /* NULL: not launched yet, or adopted, or ended */
    struct probe *probe;                 /* asks whether it is ready, or whether a suspect is alive */
    bool adopted;
    uint16_t port; /* for ${PORT}; 0 = none */
    uint64_t started;
    uint64_t deadline;  /* STARTING */
    uint64_t log_start; /* its output begins there in the ring */
    const char *stop_reason;
    uint64_t suspect_after;  /* HOT: no probe of a suspect before */
    uint64_t drain_deadline; /* STOPPING with requests in flight: then by force */
    bool stopping;           /* orchestrator->stop was called */
};

struct service {
    /* Workers: the word and what they write with it share a line. */
    service_word word;
    _Atomic uint64_t last_end;          /* monotonic ns: when the last activity ended */
    _Atomic(struct placement *) places; /* NULL before the first ready; valid while the word says hot */
    _Atomic bool is_foreign;            /* external or adopted: nobody tells us when it ends */
    _Atomic bool suspected;             /* a suspicion is on its way to control */
    _Atomic int references;

    /* Fixed from service_new on. */
    struct services *all;
    struct loop *control;
    struct str id;
    label label;
    struct message slot_message, suspect_message;

    /* control */
    struct config *snapshot;
    const struct service_config *config; /* in the snapshot */
    enum service_state state;            /* the word's, as its owner knows it */
    uint64_t state_since, ready_since;
    struct run run;
    struct timer timer; /* the one deadline of the present state: service_arm */

    struct list queue; /* of struct waiter, in order of arrival */
    size_t pending;
    uint64_t ramp;           /* after a start: how many the queue may have in flight now (lease.c) */
    struct timer ramp_timer; /* when it doubles */
    bool start_claim;        /* POST …/start, until the start has ended */
    uint64_t watch_until;    /* a waiting page's claim; 0 = none */

    unsigned failures;
    uint64_t retry_at; /* monotonic; 0 = no back-off */
    int64_t retry_at_wall_us;
    enum err failed_with; /* what a request is told during the back-off */
    char last_error[480];

    bool retired;              /* replaced or removed by a reload: ends, never starts again */
    bool blocks_successor;     /* counted in its predecessor_count */
    struct service *successor; /* with a reference; NULL = removed */
    unsigned predecessor_count;
    struct list node; /* in services->retired */

    struct placement *old_places; /* wait until nothing is in flight */
    struct log_ring *log;
    uint64_t output_window; /* second for which output_lines counts */
    unsigned output_lines, output_dropped;
};

struct services {
    struct loop *control;
    struct shepherd *shepherd;
    const struct orchestrator *(*find)(enum orchestrator_kind kind); /* orchestrator_find, but for tests */
    struct pool *pool;                                               /* for probes */
    struct map by_id;                                                /* id -> struct service * */
    struct list retired;
    size_t probe_count; /* tasks that have not ended */
    bool draining, stopping;
    void (*on_stopped)(void *argument);
    void *on_stopped_argument;
};

/* One request that waits; lives on its task's stack. After waiter_enter it belongs to control until it is
   settled or withdrawn. */
struct waiter {
    struct list node;
    struct service *service; /* control may move it to a successor */
    struct loop *control;
    struct reply reply; /* for a waiter that was queued */
    const char *request_id;
    bool wake;
    bool queued; /* the answer comes as a reply */
    bool withdrawn;
    enum err why_withdrawn;
    uint64_t since;
    /* the answer */
    enum err err;
    struct error error;
    int retry_after;
    struct placement *places;
};

/* ---- service.c: memory, the mover, deadlines --------------------------------------------------------- */

struct service *service_new(struct services *all, struct config *snapshot,
                            const struct service_config *config);
/* The one that stands for it now: after a reload, its successor. */
struct service *service_current(struct service *s);
/* The one place where a state changes. */
void service_move(struct service *s, enum service_state to, const char *reason, uint64_t idle_ms);
/* Sets the deadline of the present state. */
void service_arm(struct service *s);
bool service_has_claim(const struct service *s);
bool service_is_gone(struct service *s); /* nothing runs, nothing refers to it */
/* New places for those who come from now on; the old ones wait until nothing is in flight. */
void service_publish(struct service *s, struct placement *p);
void service_sweep_places(struct service *s);

static inline uint64_t service_now(const struct service *s)
{
    return loop_now(s->control);
}

/* ---- start.c ----------------------------------------------------------------------------------------- */

/* Why nothing can be asked of it: removed, disabled, not built, draining. */
enum err service_refusal(struct service *s, struct error *error) MUST_CHECK;
/* ERR_BACKING_OFF (or ERR_UPSTREAM_UNREACHABLE) while the last failure is too near. */
enum err service_back_off(struct service *s, struct error *error, int *retry_after) MUST_CHECK;
void service_start_now(struct service *s); /* when cold and not refused */
/* Starts it if it is cold, somebody waits, and no back-off holds it; and sets the next deadline. */
void service_wake(struct service *s);
void service_ask_readiness(struct service *s);
/* Appends to `why`, in `size` bytes, what this run of the service printed last. */
void service_quote_output(const struct service *s, char *why, size_t size);
/* Answers everybody who waits, sets the back-off, then cleans up. `result` is the label of the metric. */
void service_start_failed(struct service *s, enum err err, const char *why, const char *result);

/* ---- stop.c ------------------------------------------------------------------------------------------ */

/* What still runs is stopped within grace_ms (0: by force); in any case the service ends up cold. */
void service_run_end(struct service *s, const char *reason, uint64_t grace_ms, uint64_t idle_ms);
/* Nothing runs any more. Starts again if somebody waits. */
void service_become_cold(struct service *s, const char *reason, uint64_t idle_ms);
/* A claim has gone: cancels a start that nobody waits for. */
void service_claim_gone(struct service *s);
/* Ends what runs; waits for requests in flight, unless `force`. */
void service_end(struct service *s, const char *reason, bool force);
void service_suspected(struct message *m);

/* ---- reload.c ---------------------------------------------------------------------------------------- */

/* After a change of live keys. */
void service_reconfigure(struct service *s, struct config *snapshot, const struct service_config *config);
/* Takes the place of `old`, whose waiters move on. NULL successor: removed. */
void service_retire(struct service *old, struct service *successor);
/* `next` may not start before `old`, which is retired or about to be, has stopped. */
void service_block(struct service *old, struct service *next);

/* ---- lease.c: the queue ------------------------------------------------------------------------------ */

/* Lets requests out of the queue as far as there is room. */
void queue_release(struct service *s);
/* Just ready: the queue goes out by slow start. */
void queue_ramp_begin(struct service *s);
void queue_ramp_due(struct timer *timer);
/* Answers every waiter (with `wakers_too` false only those of monitors). */
void queue_fail(struct service *s, const struct error *error, int retry_after, bool wakers_too);
void queue_move(struct service *from, struct service *to);
void slot_freed(struct message *m);

/* ---- calls.c ----------------------------------------------------------------------------------------- */

void log_readers_wake(struct log_ring *r, bool all);

/* ---- services.c -------------------------------------------------------------------------------------- */

/* Something ended: a retired service may go, and services_stop_all may be done. Frees `s` perhaps (NULL:
   only looks whether all is done). */
void services_settle(struct services *all, struct service *s);

#endif
