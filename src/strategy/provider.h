/*
 * Providers at run time: health, breaker, cool-down, slots, averages; and the choice among them. State is
 * shared by all workers as atomics; health checks and model lists run as tasks on the control thread and
 * never wake a cold service.
 */
#ifndef HESTIA_STRATEGY_PROVIDER_H
#define HESTIA_STRATEGY_PROVIDER_H

#include "base/json.h"
#include "service/service.h"
#include "strategy/breaker.h"
#include "strategy/gate.h"

struct providers; /* the registry; control thread */
struct provider;  /* one entry of one pool, with the configuration of that pool; what is learned about it at
                     run time survives reloads while name and fingerprint stay. Lives as long as its pool */

/* How an attempt ended, as far as the provider is concerned (contract/hulumanage, "Build" lines; details.md
 * 9, 14). */
enum provider_outcome {
    PROVIDER_OK,           /* it answered; a 400, 404, 413 or 422 is the client's fault and counts as this */
    PROVIDER_FAILED,       /* connect, time-out, 5xx, 408, 409, 425, 529, broken answer */
    PROVIDER_RATE_LIMITED, /* 429: cools down for retry_after (else a default) */
    PROVIDER_QUOTA,        /* 402, insufficient_quota: cools down for long, whatever Retry-After says */
    PROVIDER_AUTH,         /* 401, 403: the key is marked; tried again after a long pause or a reload */
    PROVIDER_CANCELLED,    /* the client left: says nothing about the provider; a trial is given back */
};

/* ---- a pool: the providers of one configuration, in order; part of a snapshot ------------------------ */

struct provider_pool; /* reference-counted, immutable but for the providers' own state and the balancers'
                         cursors */

/* Control thread. Providers whose fingerprint is known keep their state; checks and model lists start as
 * configured. */
struct providers *providers_new(struct loop *control, struct services *services);
/* After services_apply. A reference for the caller; NULL with the reason, and then nothing has changed. */
struct provider_pool *providers_apply(struct providers *all, struct config *config, struct error *error);
/* Ends its tasks, in this turn of the loop or the next; after that providers_free. Early in the shutdown, so
   that the loop still has that turn. */
void providers_stop(struct providers *all);
void providers_free(struct providers *all);
struct provider_pool *provider_pool_ref(struct provider_pool *p);
void provider_pool_unref(struct provider_pool *p); /* any thread */

size_t provider_pool_count(const struct provider_pool *p);
struct provider *provider_at(const struct provider_pool *p, size_t i);
struct gate *provider_pool_gate(const struct provider_pool *p); /* queue.max_concurrent; survives reloads */

/* ---- choosing (any worker) --------------------------------------------------------------------------- */

/* What a caller may use; allows NULL: everything. `model` comes without the provider's name before it. */
struct provider_filter {
    bool (*allows)(const void *owner, const struct provider_config *provider, struct str model);
    const void *owner;
};

/* One request's way through the pool. Zero it first. */
struct provider_tour {
    struct provider_filter filter;
    bool healthy_only;                  /* no last resort */
    uint64_t tried[PROVIDERS_MAX / 64]; /* bit set over the pool's providers: each at most once */
    bool slots_only; /* out: the pick failed only because every eligible provider is at max_concurrent */
    bool is_trial;   /* the attempt under way is the half-open trial: provider_report gives it back */
    size_t busy;     /* out: how many were given up because no slot came free */
};

/* The next provider for `model` (already without approach prefix; "provider/model" names one provider), by
   the routing strategy among the eligible ones (serves the model, healthy, breaker not open or half-open with
   the trial free, not cooling down, not tried yet) with a free slot; primaries first, then fallback_only, and
   when none is eligible at all a last resort: the unhealthy ones once each (one that cools down only when
   nothing else was tried). A cold service makes nobody ineligible. The slot is taken (gate) and a half-open
   trial claimed: provider_report gives both back. NULL: none left, or slots_only. */
struct provider *provider_pick(struct provider_pool *p, struct provider_tour *tour, struct str model,
                               uint64_t now);
/* Who waits for a slot: as for gate_enter. */
struct provider_wait {
    uint64_t key;
    struct conn *client;
    enum err (*on_wait)(struct task *t, void *argument);
    void *argument;
    uint64_t tick_ms;
};
/* When slots_only: waits up to queue.slot_wait on the best of them. OK with *provider; ERR_CANCELLED;
   ERR_QUEUE_TIMEOUT: it is not to be had (and counts as tried), pick again. */
enum err provider_pick_wait(struct task *t, struct provider_pool *p, struct provider_tour *tour,
                            struct str model, const struct provider_wait *wait,
                            struct provider **provider) MUST_CHECK;
/* Optional, before provider_report: a good answer has begun. A trial has succeeded then, however long the
   answer takes. */
void provider_answered(struct provider *p, struct provider_tour *tour, uint64_t now);
/* Ends the attempt of that tour: outcome, latency to the response head and in total (ns, 0 = unknown),
   Retry-After (ms, 0 = none), a sentence for people (may be NULL). Exactly once for each pick. */
void provider_report(struct provider *p, struct provider_tour *tour, enum provider_outcome outcome,
                     uint64_t head_ns, uint64_t total_ns, uint64_t retry_after_ms, uint64_t now,
                     const char *why);

/* ---- looking ----------------------------------------------------------------------------------------- */

const struct provider_config *provider_config_of(const struct provider *p); /* of the pool's snapshot */
const struct origin *provider_origin(const struct provider *p); /* NULL when it stands on a service */
struct service *provider_service(const struct provider *p);     /* NULL, or the service it stands on */
uint32_t provider_label(const struct provider *p);
/* The name to send for `model`: model_map, else the model itself (without a leading "name/" of this
 * provider). */
struct str provider_model_name(const struct provider *p, struct str model);

/* It stands at a URL, and not on a service. */
bool provider_has_origin(const struct provider_config *config);
/* NULL with the reason: a CA file, memory. */
const struct origin *provider_config_origin(const struct provider_config *config, struct error *error);

/* Where its paths begin: at the prefix of its URL; on a service without a URL at /v1; at Azure's .../openai,
   whatever deployment the URL goes on to name. */
void provider_add_base(struct buf *out, const struct provider_config *config, struct str prefix);
/* Azure's older form: paths name a deployment, queries the version of the API. Its /openai/v1 has neither. */
bool provider_has_deployments(const struct provider_config *config, struct str prefix);

/* Its key and configured header fields, as lines: completions, checks and lists all say the same. A
   configured field stands in place of the one that would carry the key. */
void provider_add_credentials(struct buf *out, const struct provider_config *config);
/* Whether the configuration sets a header field of that name. */
bool provider_sets_field(const struct provider_config *config, struct str name);

struct provider_status {
    struct str name, last_error; /* in the given arena */
    bool healthy, disabled, auth_failed, fallback_only;
    enum breaker_state breaker;
    uint64_t in_flight, waiting, requests, failures, cooldown_ms; /* cooldown left */
    double latency_ms, first_byte_ms;                             /* averages; 0 = unknown */
    size_t model_count;
    int64_t last_check_us; /* wall; 0 = never */
};
void provider_status(const struct provider *p, struct arena *arena, struct provider_status *out);
/* Its members, for an object that is open. */
void provider_status_write(struct json *j, const struct provider_status *s);

/* Brings the gauges of all providers up to date: before metrics are read. Asks the control thread. */
void provider_pool_measure(struct task *t, struct provider_pool *p);

/* Models of the pool, merged and without duplicates, for GET /v1/models: configured `models`, fetched lists,
   keys of model_map, as far as the filter (NULL: none) allows them. `owned_by` is the name of the first
   provider that serves it. In the arena. */
struct pool_model {
    struct str id, owned_by;
    int64_t created; /* seconds, 0 = unknown */
};
size_t provider_pool_models(struct provider_pool *p, const struct provider_filter *filter,
                            struct arena *arena, struct pool_model **models);
/* Whether some provider that is not disabled could serve it (a provider whose list is unknown serves
   everything) and the filter (NULL: none) allows it. */
bool provider_pool_knows(struct provider_pool *p, const struct provider_filter *filter, struct str model);
/* Whether some provider lists exactly this name: then it is no expression of approaches. */
bool provider_pool_lists(struct provider_pool *p, struct str model);

#endif
