/*
 * The one atomic word of a service: {flags, state, limit, requests in flight}. Workers enter and leave with
 * one compare-and-swap; the control thread alone changes state, limit and flags. Pure but for the atomics.
 *
 * WATCHED: control wants to hear of releases (somebody queues for a slot, or a stop waits for the last one);
 *          while it is set no worker enters past the queue.
 * POSTED:  such a message is on its way; set by the releasing worker in the same step that gives its slot
 *          back, cleared by control. As long as it is set the service must not be freed.
 * CLOSED:  draining.
 */
#ifndef HESTIA_SERVICE_WORD_H
#define HESTIA_SERVICE_WORD_H

#include "base/base.h"

#include <stdatomic.h>

#define WORD_COUNT_MAX (((uint64_t)1 << 24) - 1) /* requests in flight, and the largest limit */
#define WORD_LIMIT_SHIFT 24
#define WORD_STATE_SHIFT 48
#define WORD_STATE ((uint64_t)3 << WORD_STATE_SHIFT)
#define WORD_WATCHED ((uint64_t)1 << 52)
#define WORD_POSTED ((uint64_t)1 << 53)
#define WORD_CLOSED ((uint64_t)1 << 54)

typedef _Atomic uint64_t service_word;

static inline uint64_t word_in_flight(uint64_t w)
{
    return w & WORD_COUNT_MAX;
}

/* 0 = no limit */
static inline uint64_t word_limit(uint64_t w)
{
    return w >> WORD_LIMIT_SHIFT & WORD_COUNT_MAX;
}

static inline unsigned word_state(uint64_t w)
{
    return (unsigned)((w & WORD_STATE) >> WORD_STATE_SHIFT);
}

static inline bool word_has_room(uint64_t w)
{
    uint64_t limit = word_limit(w);
    return word_in_flight(w) < (limit ? limit : WORD_COUNT_MAX);
}

/* Adds one request if the state is `hot`, there is room, and none of `forbidden` flags is set. */
static inline bool word_enter(service_word *word, unsigned hot, uint64_t forbidden)
{
    uint64_t w = atomic_load_explicit(word, memory_order_relaxed);
    do {
        if (word_state(w) != hot || (w & forbidden) || !word_has_room(w))
            return false;
    } while (
        !atomic_compare_exchange_weak_explicit(word, &w, w + 1, memory_order_acq_rel, memory_order_relaxed));
    return true;
}

/* Gives one request's place back. True: the caller must post the service's slot message, and may; otherwise
   it must not touch the service any more. */
static inline bool word_leave(service_word *word)
{
    uint64_t w = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t next;
    bool post;
    do {
        REQUIRE(word_in_flight(w) > 0);
        post = (w & WORD_WATCHED) && !(w & WORD_POSTED);
        next = (w - 1) | (post ? WORD_POSTED : 0);
    } while (
        !atomic_compare_exchange_weak_explicit(word, &w, next, memory_order_acq_rel, memory_order_relaxed));
    return post;
}

/* The rest is for the control thread. Every reading is a read-modify-write: what a worker does afterwards
   happens after what control had written before (see service_sweep_places). */
static inline uint64_t word_read(service_word *word)
{
    return atomic_fetch_add_explicit(word, 0, memory_order_acq_rel);
}

static inline uint64_t word_set_flags(service_word *word, uint64_t flags)
{
    return atomic_fetch_or_explicit(word, flags, memory_order_acq_rel) | flags;
}

static inline uint64_t word_clear_flags(service_word *word, uint64_t flags)
{
    return atomic_fetch_and_explicit(word, ~flags, memory_order_acq_rel) & ~flags;
}

/* Replaces the bits of `mask` by `value`. */
static inline void word_replace(service_word *word, uint64_t mask, uint64_t value)
{
    uint64_t w = atomic_load_explicit(word, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(word, &w, (w & ~mask) | value, memory_order_acq_rel,
                                                  memory_order_relaxed))
        ;
}

static inline void word_set_state(service_word *word, unsigned state)
{
    word_replace(word, WORD_STATE, (uint64_t)state << WORD_STATE_SHIFT);
}

static inline void word_set_limit(service_word *word, uint64_t limit)
{
    word_replace(word, WORD_COUNT_MAX << WORD_LIMIT_SHIFT, MIN(limit, WORD_COUNT_MAX) << WORD_LIMIT_SHIFT);
}

/* From `from` to `to`, but only while nothing is in flight and nobody queues. */
static inline bool word_retire_idle(service_word *word, unsigned from, unsigned to)
{
    uint64_t w = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t next;
    do {
        if (word_state(w) != from || word_in_flight(w) > 0 || (w & (WORD_WATCHED | WORD_POSTED)))
            return false;
        next = (w & ~WORD_STATE) | (uint64_t)to << WORD_STATE_SHIFT;
    } while (
        !atomic_compare_exchange_weak_explicit(word, &w, next, memory_order_acq_rel, memory_order_relaxed));
    return true;
}

#endif
