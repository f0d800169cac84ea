/*
 * What the files of strategy/ share: a provider's state, the entries of a pool, the registry.
 * Everything marked "control" is touched by the control thread only.
 */
#ifndef HESTIA_STRATEGY_INSIDE_H
#define HESTIA_STRATEGY_INSIDE_H

#include "base/metric.h"
#include "strategy/balance.h"
#include "strategy/model_list.h"
#include "strategy/provider.h"

enum {
    COOLDOWN_MS = 5000,            /* a 429 without Retry-After */
    COOLDOWN_MAX_MS = 3600 * 1000, /* … and with an absurd one */
    COOLDOWN_QUOTA_MS = 600 * 1000,
    AUTH_PAUSE_MS = 300 * 1000,
    MODELS_REFRESH_MS = 600 * 1000,
    MODELS_RETRY_MS = 10 * 1000, /* after a failure; doubles up to the refresh */
    MODELS_COLD_MS = 2000,       /* its service is cold: look again whether it is up */
    MODELS_TIMEOUT_MS = 15000,
    STATS_MS = 60 * 1000,
};

/* Recurring work of one provider, as a task on the control loop. */
struct provider_state;
struct chore {
    struct provider_state *state; /* a reference while the task lives */
    struct task *task;            /* NULL = not running */
    uint64_t due;
    void (*run)(struct task *t, struct provider_state *s); /* sets `due` anew */
};

enum auth_mark { AUTH_GOOD, AUTH_REFUSED_CHECK, AUTH_REFUSED };

/* What is known of a provider; outlives pools. Reference-counted: each pool's entry, each chore, each message
 * under way. */
struct provider_state {
    /* any thread */
    struct gate *gate;        /* a reference; handed on when only credentials and the like change */
    _Atomic bool is_troubled; /* something below `lock` is not at its best: look closer */
    _Atomic uint64_t requests, failures, successes, cooldowns;
    _Atomic uint64_t head_ns, head_count, total_ns, total_count; /* of successes */
    latency_word latency;
    struct model_shelf models;
    _Atomic int references;

    /* fixed */
    struct loop *control;
    struct str name, fingerprint;
    label label;

    pthread_mutex_t lock; /* held for a few instructions, never across anything */
    struct breaker breaker;
    bool is_unhealthy;
    enum auth_mark auth;
    uint64_t retry_at;    /* unhealthy: then one request may try */
    uint64_t auth_until;  /* the same for a refused key */
    uint64_t cool_until;  /* 0 = not cooling down */
    uint64_t troubled_at; /* the last time it got worse: successes of requests begun earlier prove nothing */
    int64_t last_check_us;
    char last_error[240];

    struct message recovered_message;
    _Atomic bool recovered_posted;

    /* control */
    struct providers *all;
    struct provider *entry; /* in the present pool; NULL = no longer configured */
    struct chore check, list;
    uint64_t models_retry_ms;
    uint64_t cooldowns_counted; /* in the metric */
};

struct provider {
    struct provider_pool *pool;
    const struct provider_config *config;
    struct provider_state *state;
    const struct origin *origin; /* NULL: on a service */
    struct service *service;     /* a reference, or NULL */
    uint32_t index;
};

struct provider_pool {
    _Atomic int references;
    struct config *config;
    struct loop *control;
    struct gate *gate;
    struct balancer balancer;
    struct provider *list;
    size_t count;
};

struct providers {
    struct loop *control;
    struct services *services;
    struct pool *connections; /* of checks and lists */
    struct gate *gate;
    struct provider_pool *current;
    struct timer stats_timer;
};

/* ---- provider.c: the state --------------------------------------------------------------------------- */

/* Takes over a reference to the gate. NULL when memory is short (and then the gate's is given up). */
struct provider_state *provider_state_new(struct providers *all, const struct provider_config *config,
                                          struct gate *gate);
struct provider_state *provider_state_ref(struct provider_state *s);
void provider_state_unref(struct provider_state *s);

/* May it be asked now? */
enum standing {
    STANDING_GOOD,
    STANDING_TRIAL,   /* by the one who gets the trial */
    STANDING_OUT,     /* unhealthy, open, or its key is refused */
    STANDING_COOLING, /* it told us to wait */
};
enum standing provider_standing(struct provider *p, uint64_t now);
/* The last step of a choice, the slot is taken already: claims the trial where one is needed. With
   `last_resort` nothing keeps it off, and it is the trial if that is free. False: it is not to be asked. */
bool provider_claim(struct provider *p, struct provider_tour *tour, bool last_resort, uint64_t now);

/* What an active check found, begun at `begun`. Control. */
enum check_result { CHECK_PASSED, CHECK_FAILED, CHECK_REFUSED };
void provider_checked(struct provider *p, enum check_result result, const char *why, uint64_t begun,
                      uint64_t now);
/* After a reload: a refused key may have become good elsewhere; and with track_errors off nobody is kept out
   for failures. Control. */
void provider_forgive(struct provider_state *s, bool failures_too);

/* ---- pick.c ------------------------------------------------------------------------------------------ */

bool provider_serves(const struct provider *p, struct str model);

/* ---- checks.c: chores. Control -------------------------------------------------------------- */

void chore_start(struct chore *c, struct provider_state *s,
                 void (*run)(struct task *t, struct provider_state *s));
void chore_soon(struct chore *c, uint64_t due); /* not later than that */
void chore_stop(struct chore *c);
uint64_t chore_jitter(uint64_t ms); /* within a tenth of it */

/* GET path below the provider's base URL with its credentials. ERR_SERVICE_COLD: it stands on a cold service,
   which is not woken for this. Free with fetch_free. */
enum err provider_get(struct task *t, struct provider *p, struct str path, uint64_t timeout_ms,
                      struct fetch *f, struct error *error) MUST_CHECK;
void check_run(struct task *t, struct provider_state *s);
void list_run(struct task *t, struct provider_state *s);

/* ---- events.c: log and metrics ----------------------------------------------------------------------- */

void provider_event_unhealthy(const struct provider_state *s, const char *why, bool opened);
void provider_event_recovered(const struct provider_state *s);
void provider_event_cooldown(const struct provider_state *s, uint64_t ms, const char *why);
void provider_event_check(struct provider_state *s, enum check_result result, bool is_news,
                          uint64_t duration_ns, const char *why);
void provider_event_list(const struct provider_state *s, size_t count, const char *why);
void provider_event_stats(const struct provider *p);
void provider_measure(struct provider *p);               /* control */
void provider_measure_removed(struct provider_state *s); /* control */

#endif
