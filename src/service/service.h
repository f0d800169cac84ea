/*
 * Services: their life (cold, starting, hot, stopping), who waits for them, who uses them.
 *
 * One owner: the control thread alone changes a service's state. Workers use `word`, one atomic {state,
 * in-flight}: a worker adds 1 only while it is hot, control sets stopping only while it is 0, so a request to
 * a hot service costs one compare-and-swap and no message. Everything else asks the owner with loop_call or a
 * waiter.
 */
#ifndef HESTIA_SERVICE_SERVICE_H
#define HESTIA_SERVICE_SERVICE_H

#include "config/config.h"
#include "http/client.h"
#include "http/server.h"
#include "loop/shepherd.h"

enum service_state { SERVICE_COLD, SERVICE_STARTING, SERVICE_HOT, SERVICE_STOPPING };

struct services; /* the registry; control thread only */
struct service;  /* reference-counted; private to service/ but for the calls below */

/* One concrete place to send a request to, picked under a lease. */
struct target_place {
    const struct origin *origin;
    const struct url *url; /* host_field, origin and prefix for rewriting; lives as long as the lease */
    uint32_t instance;     /* index */
};

/* ---- for workers (any task) -------------------------------------------------------------------------- */

struct lease_options {
    const struct conn *client; /* abandoned -> ERR_CANCELLED; NULL = nobody */
    uint64_t deadline;         /* end of the wait: ERR_QUEUE_TIMEOUT */
    const char *request_id;
    bool wake; /* false: a monitor; cold -> ERR_SERVICE_COLD, never a start */
    /* While it waits, every tick_ms (0 = never), in its task: may send (keep-alive comments); an error ends
     * the wait. */
    enum err (*on_wait)(struct task *t, void *argument);
    void *on_wait_argument;
    uint64_t tick_ms;
};

struct placement; /* private to service/ */
struct lease {
    struct service *service; /* NULL = none held */
    struct placement *places;
    uint64_t queued_ns; /* time spent waiting */
    bool waited;
    bool is_monitor; /* its end is no activity */
};

/* The fast path of service_lease: the service is hot, nobody waits, a slot is free. One compare-and-swap;
   never suspends. False: nothing was taken and `lease` is as it was; call service_lease. `wake`: false for
   a monitor, whose end is no activity. */
bool service_lease_now(struct service *s, bool wake, struct lease *lease);
/* The right to send one request to the service now. Hot: at once, without a message. Otherwise waits in the
   queue, in order of arrival, while the owner makes it hot. ERR_QUEUE_FULL, ERR_QUEUE_TIMEOUT,
   ERR_START_FAILED, ERR_START_TIMEOUT, ERR_BACKING_OFF, ERR_SERVICE_COLD, ERR_SERVICE_UNCONFIGURED,
   ERR_NOT_AVAILABLE, ERR_DRAINING, ERR_CANCELLED, ERR_SERVICE_NOT_FOUND (a reload removed it); with the
   sentence (reason and last log lines) in `error` and the seconds for Retry-After in *retry_after (0: the
   error's own). ERR_UPSTREAM_UNREACHABLE: nobody runs it, it has a fallback_url: use that at once. */
enum err service_lease(struct task *t, struct service *s, const struct service_config *config,
                       const struct lease_options *options, struct lease *lease, int *retry_after,
                       struct error *error) MUST_CHECK;
/* Ends it: the end of an activity. Harmless on an empty lease. Any worker thread. */
void lease_release(struct lease *lease, struct loop *l);
/* Next instance, smooth weighted round robin, skipping those that failed a moment ago; `tried` is a bit set
   of instances that this request has used. False when none is left. */
bool lease_pick(const struct lease *lease, uint64_t tried, struct target_place *place);
/* What came of it: connect failures and 5xx put an instance aside for a while. */
void lease_report(const struct lease *lease, const struct target_place *place, bool ok);

/* Whether it is hot at this moment: only for showing, and for choosing the waiting page; decisions ask the
 * owner. */
bool service_is_hot(const struct service *s);
struct service *service_ref(struct service *s);
void service_unref(struct service *s);
struct str service_id(const struct service *s);
/* For metrics: a small interned number. */
uint32_t service_label(const struct service *s);

struct service_status {
    struct str id, machine_id, last_error; /* in the arena that was given */
    enum service_state state;
    bool ready;
    uint64_t queue_pending, in_flight, idle_ms, state_age_ms;
    int64_t retry_at_us; /* wall clock; 0 = none */
    bool adopted;
    struct str last_log_line;
    bool has_last_error;
};

/* These ask the owner and wait for its answer. */
void service_status(struct task *t, struct service *s, struct arena *arena, struct service_status *out);
/* 0 = initiated; otherwise ERR_CONFLICT with "Service is already running" / "Service is already starting",
   ERR_NOT_AVAILABLE, ERR_SERVICE_UNCONFIGURED, ERR_DRAINING. Holds a claim until the start has ended. */
enum err service_start(struct task *t, struct service *s, struct error *error) MUST_CHECK;
/* ERR_CONFLICT "Service is not running". Waits for in-flight requests unless `force`. */
enum err service_stop(struct task *t, struct service *s, bool force, struct error *error) MUST_CHECK;
/* A browser looks at the waiting page: starts the service, and holds a claim for 10 s. */
enum err service_watch_start(struct task *t, struct service *s, struct error *error) MUST_CHECK;

/* Log lines of the service's processes. Each line: "offset of its first byte", wall time, text without '\n'.
   Reads those at or after `offset` (0 = oldest kept), or the last `tail` lines when tail > 0. *next is where
   to go on. */
struct log_text_line {
    uint64_t offset;
    int64_t wall_us;
    struct str text;
};
struct log_text {
    struct log_text_line *lines;
    size_t count;
    uint64_t next;
};
void service_logs(struct task *t, struct service *s, struct arena *arena, uint64_t offset, size_t tail,
                  struct log_text *out);
/* Waits until there is something at or after `offset`: OK, ERR_TIMEOUT, ERR_CANCELLED. ERR_END: the service
   is gone, nothing more comes. */
enum err service_logs_wait(struct task *t, struct service *s, uint64_t offset, uint64_t deadline) MUST_CHECK;

/* Brings the gauge of requests in flight up to date, for all services of the registry `any` belongs to:
   before metrics are read. */
void services_measure(struct task *t, struct service *any);

/* ---- for the control thread -------------------------------------------------------------------------- */

struct services *services_new(struct loop *control, struct shepherd *shepherd);
/* Makes the registry match a config: new services appear cold, unchanged ones are untouched, changed ones
   (restart fingerprint) are retired: the old one drains and stops, its successor starts only after that. Live
   keys just take effect. */
enum err services_apply(struct services *all, struct config *config) MUST_CHECK;
/* The service for that id, with a new reference; NULL. */
struct service *services_get(struct services *all, struct str id);
/* Refuses new leases and starts (ERR_DRAINING), fails the queue. */
void services_drain(struct services *all);
/* Stops every child; on_done on the control loop when all are gone. */
void services_stop_all(struct services *all, void (*on_done)(void *argument), void *argument);
/* After services_stop_all, for those who will not wait: what still runs is killed at once. */
void services_kill_all(struct services *all);
void services_free(struct services *all);

#endif
