/*
 * Which of several candidates is next. Pure but for the balancer's own place in the order, which all workers
 * share.
 */
#ifndef HESTIA_STRATEGY_BALANCE_H
#define HESTIA_STRATEGY_BALANCE_H

#include "config/config.h"

#include <pthread.h>
#include <stdatomic.h>

struct balancer {
    enum routing_strategy strategy;
    size_t count;            /* of the pool */
    _Atomic uint64_t cursor; /* round_robin, and equals elsewhere: the index that is next */
    _Atomic uint64_t random; /* latency */
    pthread_mutex_t lock;    /* weighted: held for one choice, never across anything */
    int64_t *credits;        /* weighted: by index */
};

/* ERR_NOMEM. `seed` is anything. */
enum err balancer_init(struct balancer *b, enum routing_strategy strategy, size_t count,
                       uint64_t seed) MUST_CHECK;
void balancer_free(struct balancer *b);

struct candidate {
    uint32_t index; /* in the pool's order; ascending in a list of candidates */
    uint32_t weight;
    uint64_t in_flight;
    double latency; /* expected, any unit; 0 = unknown */
};

/* The place in `list` (n >= 1) of the one to take. */
size_t balance_choose(struct balancer *b, const struct candidate *list, size_t n);

/* A peak-sensitive moving average of latencies, in one word: rises at once to a higher value, sinks slowly,
   also when nothing is observed, so that who was slow is tried again. */
typedef _Atomic uint64_t latency_word;
void latency_observe(latency_word *word, uint64_t ns, uint64_t now);
double latency_expected(const latency_word *word, uint64_t now); /* microseconds; 0 = nothing observed */

#endif
