/*
 * Models that rest: a provider's model that answered 429, ran out of credit, or does not know the endpoint is
 * left out by auto-routing for a while (contract/localrouter 3.3). One table for all workers, behind a lock
 * that only auto-routing takes; bounded.
 */
#ifndef HESTIA_STRATEGY_REST_H
#define HESTIA_STRATEGY_REST_H

#include "base/str.h"

enum rest_reason {
    REST_RATE,        /* Retry-After where the provider gave one; else 1 s, doubling up to 60 s */
    REST_CREDIT,      /* 5 min, 15 min, 1 h, 6 h, 24 h */
    REST_UNSUPPORTED, /* this model cannot do that: 1 h */
};

struct rests;
struct rests *rests_new(void); /* NULL: out of memory */
void rests_free(struct rests *r);
void rest_begin(struct rests *r, struct str provider, struct str model, enum rest_reason reason,
                uint64_t retry_after_ms, uint64_t now_ns);
/* Milliseconds left; 0 = it may be asked. *reason says why (may be NULL). */
uint64_t rest_left(struct rests *r, struct str provider, struct str model, uint64_t now_ns,
                   enum rest_reason *reason);
/* It answered: forgotten, and the next rest is a short one again. Cheap when nothing rests. */
void rest_end(struct rests *r, struct str provider, struct str model);

#endif
