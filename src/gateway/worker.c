/* A worker's life: made by main, runs its loop, swaps snapshots, drains. Its own thread, but for worker_new
 * and _free. */
#include "gateway/worker.h"

#include "base/mem.h"
#include "gateway/exchange.h"
#include "loop/thread.h"

#include <stdio.h>
#include <unistd.h>

enum { RETRY_LABELS = 4096 };

static void settings_apply(struct worker *w)
{
    const struct snapshot *s = w->held->shared;
    w->server.settings = s->settings;
    w->server.conn_max = (int64_t)s->config->server.limits.connections;
    w->server.tls = s->tls;
}

struct held_snapshot *held_new(struct snapshot *snapshot)
{
    struct held_snapshot *held = mem_alloc(sizeof *held);
    if (held)
        held->shared = snapshot_ref(snapshot);
    return held;
}

void held_free(struct held_snapshot *held)
{
    if (!held)
        return;
    snapshot_unref(held->shared);
    mem_free(held);
}

struct held_snapshot *worker_hold(struct worker *w)
{
    w->held->users++;
    return w->held;
}

void worker_let_go(struct held_snapshot *held)
{
    if (--held->users == 0 && held->retired)
        held_free(held);
}

void worker_use_snapshot(struct worker *w, struct held_snapshot *held)
{
    struct held_snapshot *old = w->held;
    w->held = held;
    settings_apply(w);
    old->retired = true;
    if (old->users == 0)
        held_free(old);
}

static void worker_end(struct worker *w)
{
    if (w->ended)
        return;
    w->ended = true;
    pool_close_idle(w->pool, NULL);
    loop_stop(w->loop);
    w->gateway->on_worker_end(w->gateway, w);
}

static void server_idle(struct server *s)
{
    struct worker *w = s->owner;
    if (w->stopping)
        worker_end(w);
    else if (w->gateway->on_worker_idle)
        w->gateway->on_worker_idle(w->gateway, w);
}

void worker_drain(struct worker *w)
{
    server_drain(&w->server);
    if (w->server.conn_count == 0)
        server_idle(&w->server);
}

void worker_cancel_all(struct worker *w)
{
    server_cancel_all(&w->server);
}

void worker_stop(struct worker *w)
{
    w->stopping = true;
    server_stop_listening(&w->server);
    server_drain(&w->server);
    server_cancel_all(&w->server);
    if (w->server.conn_count == 0)
        worker_end(w);
}

/* Once per turn: the metric cells' clock. */
static void before_sleep(struct loop *l)
{
    struct worker *w = l->owner;
    metric_set_clock(w->metrics, clock_wall_us());
    metric_gauge_set(w->metrics, METRIC_CONNECTIONS, LABELS(0), (int64_t)w->server.conn_count);
}

static bool parts_make(struct worker *w)
{
    w->loop = loop_new();
    w->metrics = metric_set_new();
    w->response_head = mem_alloc(sizeof *w->response_head);
    w->retry_tokens = mem_alloc(RETRY_LABELS * sizeof *w->retry_tokens);
    w->pool = w->loop ? pool_new(w->loop) : NULL;
    return w->pool && w->metrics && w->response_head && w->retry_tokens;
}

static enum err listen_all(struct worker *w, const int *fds, size_t count)
{
    enum err err = OK;
    for (size_t i = 0; i < count; i++) {
        if (err == OK)
            err = server_listen(&w->server, fds[i]);
        if (err != OK)
            close(fds[i]);
    }
    return err;
}

struct worker *worker_new(struct gateway *g, uint32_t index, struct snapshot *snapshot, const int *listen_fds,
                          size_t listen_count, struct error *error)
{
    struct worker *w = mem_alloc(sizeof *w);
    if (w)
        list_init(&w->free_exchanges);
    if (!w || !parts_make(w) || !(w->held = held_new(snapshot))) {
        worker_free(w);
        error_set(error, ERR_NOMEM, "out of memory for a worker");
        return NULL;
    }
    w->gateway = g;
    w->index = index;
    server_init(&w->server, w->loop);
    w->server.serve = exchange_serve;
    w->server.owner = w;
    w->server.on_idle = server_idle;
    w->server.admit = limit_admit;
    w->server.on_leave = peer_leave;
    w->server.conn_total = &g->connections;
    w->loop->owner = w;
    w->loop->metrics = w->metrics;
    w->loop->before_sleep = before_sleep;
    settings_apply(w);
    if (listen_all(w, listen_fds, listen_count) == OK)
        return w;
    error_set(error, ERR_IO, "cannot watch a listening socket");
    server_stop_listening(&w->server);
    worker_free(w);
    return NULL;
}

static void worker_main(void *argument)
{
    struct worker *w = argument;
    loop_run(w->loop);
}

enum err worker_start(struct worker *w)
{
    char name[16];
    snprintf(name, sizeof name, "worker-%u", w->index);
    TRY(thread_start(&w->thread, name, worker_main, w));
    w->running = true;
    return OK;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    exchanges_free(w);
    pool_free(w->pool);
    held_free(w->held);
    if (w->loop)
        loop_free(w->loop);
    mem_free(w->response_head);
    mem_free(w->retry_tokens);
    mem_free(w);
}

label worker_label(struct worker *w, const char *constant)
{
    size_t slot = ((uintptr_t)constant * 0x9e3779b97f4a7c15u) >> 57;
    for (size_t i = 0; i < WORKER_LABELS; i++, slot = (slot + 1) % WORKER_LABELS) {
        if (LIKELY(w->labels[slot].text == constant))
            return w->labels[slot].value;
        if (w->labels[slot].text)
            continue;
        w->labels[slot].text = constant;
        w->labels[slot].value = label_intern(str_from_c(constant));
        return w->labels[slot].value;
    }
    return label_intern(str_from_c(constant)); /* the table is full: still right, only slower */
}

bool worker_is_draining(const struct worker *w)
{
    return w->server.draining;
}

struct loop *worker_loop(struct worker *w)
{
    return w->loop;
}

size_t worker_service_count(const struct worker *w)
{
    return w->held->shared->service_count;
}

struct service *worker_service_at(const struct worker *w, size_t i)
{
    return w->held->shared->services[i].service;
}
