/*
 * Workers: N equal threads, each with a loop, listeners, a pool of upstream connections and its own metric
 * cells. They share only the snapshot and the services' atomic words.
 */
#ifndef HESTIA_GATEWAY_WORKER_H
#define HESTIA_GATEWAY_WORKER_H

#include "base/metric.h"
#include "gateway/routes.h"
#include "gateway/snapshot.h"
#include "strategy/rest.h"

#include <pthread.h>

struct config_sources;
struct worker;

/* What the whole gateway shares; built by main/, read-only once the workers run. */
struct gateway {
    struct loop *control;
    const struct shepherd *shepherd;
    const struct api_route *const *route_tables; /* each ends with a row whose path is NULL */
    size_t route_table_count;
    const char *approach;                 /* --approach, or NULL */
    const struct config_sources *sources; /* of the configuration, for showing it merged */
    struct worker **workers;
    size_t worker_count;
    _Atomic int64_t connections;                                 /* of all workers */
    struct peers *peers;                                         /* of all workers */
    struct books *books;                                         /* the registry of clients and strategies */
    struct store *store;                                         /* NULL = no accounts are kept */
    struct rests *rests;                                         /* models that auto-routing leaves alone */
    void (*on_worker_idle)(struct gateway *g, struct worker *w); /* worker thread: drained */
    void (*on_worker_end)(struct gateway *g, struct worker *w);  /* worker thread: stopped, its last act */
};

/* A worker's hold on a snapshot: counted without atomics by its exchanges. */
struct held_snapshot {
    struct snapshot *shared;
    uint32_t users;
    bool retired;
};

/* Takes a reference. NULL when memory is short. */
struct held_snapshot *held_new(struct snapshot *snapshot) MUST_CHECK;
void held_free(struct held_snapshot *held);

struct exchange;

enum { WORKER_LABELS = 128, WORKER_PRICES = 16 };

/* A price that was looked up under a snapshot. */
struct price_memo {
    uint64_t epoch;
    const struct provider_config *provider;
    struct price price;
    uint8_t model_n;
    char model[63];
};

struct worker {
    struct gateway *gateway;
    uint32_t index;
    struct loop *loop;
    struct server server;
    struct pool *pool;
    struct journal *journal;    /* of its exchanges' accounts; NULL = none are kept */
    struct held_snapshot *held; /* the one in force */
    struct metric_set *metrics;
    struct list free_exchanges;
    size_t free_exchange_count;
    struct head *response_head; /* scratch for parsing: used between two suspensions only */
    int32_t *retry_tokens;      /* by service label: tenths of a retry */
    struct {                    /* labels of constant texts, by address */
        const char *text;
        label value;
    } labels[WORKER_LABELS];
    struct price_memo prices[WORKER_PRICES];
    struct message idle_message; /* to control: the last connection has gone */
    atomic_bool idle_posted;     /* it is under way */
    struct message end_message;  /* to control: its loop ends */
    bool stopping, ended;
    pthread_t thread;
    bool running;
};

/* Control thread (or main before threads). listen_fds are taken over. NULL when memory is short. */
struct worker *worker_new(struct gateway *g, uint32_t index, struct snapshot *snapshot, const int *listen_fds,
                          size_t listen_count, struct error *error);
enum err worker_start(struct worker *w) MUST_CHECK;
/* After its thread has ended. */
void worker_free(struct worker *w);

/* These are loop_call'ed or posted: they run on the worker's own thread. */
void worker_use_snapshot(struct worker *w, struct held_snapshot *held); /* takes it over */
void worker_drain(struct worker *w);
void worker_cancel_all(struct worker *w);
/* Cancels what is still there; the loop ends, and on_worker_end is called, when that has given everything
   back. Control must go on meanwhile: exchanges that end may have to ask it. */
void worker_stop(struct worker *w);

struct held_snapshot *worker_hold(struct worker *w);
void worker_let_go(struct held_snapshot *held);

/* The metric label of a constant text (a literal, a table's): interned once per worker, found by address
 * after that. */
label worker_label(struct worker *w, const char *constant);

bool worker_is_draining(const struct worker *w);
struct loop *worker_loop(struct worker *w);
size_t worker_service_count(const struct worker *w);
struct service *worker_service_at(const struct worker *w, size_t i);

#endif
