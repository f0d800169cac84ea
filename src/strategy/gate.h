/*
 * A gate: at most `limit` at once, the others wait in a queue that is fair between keys (clients). The fast
 * path is one compare-and-swap on the worker; the queue is the control thread's. Used for the pool as a whole
 * (queue.max_concurrent) and for each provider (max_concurrent). A slot is never lost: whoever leaves the
 * queue while a slot was being granted gives it back.
 */
#ifndef HESTIA_STRATEGY_GATE_H
#define HESTIA_STRATEGY_GATE_H

#include "http/server.h"

struct gate; /* reference-counted */

/* limit 0 = none. Control thread (or main before threads). NULL when memory is short. */
struct gate *gate_new(struct loop *control, uint64_t limit);
/* Takes effect at once; who is inside stays. Control thread. */
void gate_set_limit(struct gate *g, uint64_t limit);
struct gate *gate_ref(struct gate *g);
void gate_unref(struct gate *g); /* any thread */

/* Without waiting; never passes the queue. Any thread. */
bool gate_enter_now(struct gate *g);
/* Waits until `deadline` (ERR_QUEUE_TIMEOUT) or until the client leaves (ERR_CANCELLED; client may be NULL).
   `key`: waiters with different keys take turns, those with the same key keep their order. `on_wait` (may be
   NULL) is called in the task every `tick_ms` while it waits, and may send (keep-alive comments); an error it
   returns ends the wait. */
enum err gate_enter(struct task *t, struct gate *g, uint64_t key, struct conn *client, uint64_t deadline,
                    enum err (*on_wait)(struct task *t, void *argument), void *argument,
                    uint64_t tick_ms) MUST_CHECK;
void gate_leave(struct gate *g); /* any thread */

uint64_t gate_inside(const struct gate *g); /* a moment's view */
uint64_t gate_waiting(const struct gate *g);
bool gate_is_full(const struct gate *g);

#endif
