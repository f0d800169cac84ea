/* Reload and drain. Control thread, except worker_message_arrived, worker_idle and worker_ended. */
#include "main/control.h"

#include "base/mem.h"
#include "main/notify.h"

#include <signal.h>

enum {
    CANCEL_GRACE_MS = 2000,
    PUBLISH_AGAIN_MS = 100,
    ACTS = 3, /* what a worker is told once at most: to drain, to cancel, to stop */
};

/* ---- telling the workers --------------------------------------------------------------------------------
 */

struct worker_message {
    struct message message;
    struct worker *worker;
    void (*act)(struct worker *w);
    struct held_snapshot *held; /* made beforehand: no worker can miss a change for want of memory */
    struct reload_round *round;
};

/* A snapshot is in force when the last worker has it: only then control goes on with `done`. */
struct reload_round {
    struct message message;
    struct control *control;
    _Atomic size_t left;
    void (*done)(void *argument);
    void *argument;
    struct worker_message messages[]; /* one per worker */
};

static void workers_stop(struct control *c);

/* Control thread. */
static void round_ended(struct message *m)
{
    struct reload_round *round = CONTAINER_OF(m, struct reload_round, message);
    struct control *c = round->control;
    c->open_rounds--;
    round->done(round->argument);
    mem_free(round);
    if (c->workers_may_stop)
        workers_stop(c);
}

static void round_step(struct reload_round *round)
{
    if (atomic_fetch_sub(&round->left, 1) == 1)
        loop_post(round->control->loop, &round->message);
}

static void worker_message_arrived(struct message *m)
{
    struct worker_message *wm = CONTAINER_OF(m, struct worker_message, message);
    if (!wm->held) {
        wm->act(wm->worker);
        return;
    }
    worker_use_snapshot(wm->worker, wm->held);
    round_step(wm->round); /* the message may be gone now */
}

static void worker_tell(struct worker *w, struct worker_message *wm)
{
    wm->message.on_arrival = worker_message_arrived;
    wm->worker = w;
    loop_post(w->loop, &wm->message);
}

/* Each of the ACTS once at most. */
static void workers_tell(struct control *c, void (*act)(struct worker *w))
{
    for (size_t i = 0; i < c->gateway.worker_count; i++) {
        struct worker_message *wm = &c->tells[c->told++];
        wm->act = act;
        worker_tell(c->gateway.workers[i], wm);
    }
}

static void round_free(struct reload_round *round, size_t count)
{
    for (size_t i = 0; round && i < count; i++)
        held_free(round->messages[i].held);
    mem_free(round);
}

/* With all that the workers need to take the snapshot. NULL when memory is short. */
static struct reload_round *round_new(struct control *c, struct snapshot *snapshot)
{
    size_t count = c->gateway.worker_count;
    struct reload_round *round = mem_alloc(sizeof *round + count * sizeof round->messages[0]);
    bool complete = round;
    for (size_t i = 0; complete && i < count; i++) {
        round->messages[i].round = round;
        round->messages[i].held = held_new(snapshot);
        complete = round->messages[i].held;
    }
    if (complete)
        return round;
    round_free(round, count);
    return NULL;
}

/* Takes over the caller's reference unless memory is short. */
static enum err snapshot_give(struct control *c, struct snapshot *snapshot, void (*done)(void *argument),
                              void *argument)
{
    struct reload_round *round = round_new(c, snapshot);
    if (!round)
        return ERR_NOMEM;
    round->control = c;
    round->done = done;
    round->argument = argument;
    round->message.on_arrival = round_ended;
    atomic_init(&round->left, c->gateway.worker_count);
    c->open_rounds++;
    for (size_t i = 0; i < c->gateway.worker_count; i++)
        worker_tell(c->gateway.workers[i], &round->messages[i]);
    snapshot_unref(c->snapshot);
    c->snapshot = snapshot;
    return OK;
}

/* The same snapshot with the present book. */
static enum err book_give(struct control *c, void (*done)(void *argument), void *argument)
{
    struct book *book = books_current(c->gateway.books);
    struct snapshot *snapshot = snapshot_with_book(c->snapshot, book);
    book_unref(book);
    if (!snapshot)
        return ERR_NOMEM;
    enum err err = snapshot_give(c, snapshot, done, argument);
    if (err != OK)
        snapshot_unref(snapshot);
    return err;
}

/* A change of clients or strategies. When memory is too short for it, it waits, and so does its caller:
   nobody hears that a key is revoked while a worker still takes it. There is one change at a time. */
static void books_publish(void *argument, void (*done)(void *argument), void *done_argument)
{
    struct control *c = argument;
    if (c->workers_may_stop) {
        done(done_argument); /* the workers are ending */
    } else if (book_give(c, done, done_argument) != OK) {
        c->published = done;
        c->publish_argument = done_argument;
        c->open_rounds++;
        timer_set(c->loop, &c->publish_timer, clock_after(c->loop->now, PUBLISH_AGAIN_MS));
    }
}

static void publish_due(struct timer *timer)
{
    struct control *c = CONTAINER_OF(timer, struct control, publish_timer);
    c->open_rounds--;
    books_publish(c, c->published, c->publish_argument);
    if (c->workers_may_stop)
        workers_stop(c);
}

/* ---- reload ---------------------------------------------------------------------------------------------
 */

void control_log_findings(const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->list[i];
        struct log_line l;
        enum log_level level = f->severity == SEVERITY_ERROR     ? LOG_ERROR
                               : f->severity == SEVERITY_WARNING ? LOG_WARNING
                                                                 : LOG_INFO;
        const char *event = f->severity == SEVERITY_ERROR     ? "config_error"
                            : f->severity == SEVERITY_WARNING ? "config_warning"
                                                              : "config_notice";
        if (!log_begin(&l, level, event, "%.*s", STR_ARG(f->message)))
            continue;
        json_key_str(&l.json, "where", f->where);
        json_key_str(&l.json, "key", f->key);
        log_end(&l);
    }
}

void control_log_level(const struct control *c, const struct config *config)
{
    if (!c->log_level_forced)
        log_set_level(config->monitoring.log_level_set ? config->monitoring.log_level : LOG_INFO);
}

static void count_reload(struct control *c, bool good)
{
    metric_add(c->metrics, METRIC_CONFIG_RELOADS, LABELS(label_intern(good ? STR("ok") : STR("failed"))), 1);
    if (good)
        metric_gauge_set(c->metrics, METRIC_CONFIG_RELOAD_TIME, LABELS(0), clock_wall_us() / 1000000);
}

static void files_changed(struct file_watch *f)
{
    control_reload(CONTAINER_OF(f, struct control, files), "file change");
}

static enum err files_watch(struct control *c)
{
    const char *paths[64];
    int count = 0;
    for (size_t i = 0; i < c->config->files.count && count < (int)COUNT_OF(paths); i++)
        paths[count++] = c->config->files.items[i].p; /* arena_str: terminated */
    if (c->files_open)
        file_watch_close(&c->files);
    c->files_open = false;
    if (!count)
        return OK;
    c->files.on_change = files_changed;
    TRY(file_watch_open(c->loop, &c->files, paths, count));
    c->files_open = true;
    return OK;
}

/* What the process was started with cannot change under it. */
static void warn_about_fixed_keys(const struct config *old, const struct config *new)
{
    if (old->process_fingerprint.n && !str_eq(old->process_fingerprint, new->process_fingerprint))
        log_event(LOG_WARNING, "config_restart_needed",
                  "server.listen, server.workers or another key that needs a restart has changed; restart to "
                  "apply it");
}

static enum err snapshot_finish(struct control *c, struct snapshot *snapshot, struct error *error)
{
    struct snapshot_sources from = {c->services, c->providers, c->gateway.books};
    return snapshot_complete(snapshot, &from, error);
}

struct snapshot *control_snapshot(struct control *c, struct config *config, struct error *error)
{
    struct snapshot *snapshot = snapshot_new(config, error);
    if (!snapshot || snapshot_finish(c, snapshot, error) == OK)
        return snapshot;
    snapshot_unref(snapshot);
    return NULL;
}

static void say_reloaded(void *cause)
{
    notify_reloaded();
    log_event(LOG_INFO, "config_reloaded", "Configuration reloaded (%s)", (const char *)cause);
}

static void say_restored(void *argument)
{
    log_event(LOG_WARNING, "config_restored", "Memory was too short for the new configuration");
}

/* Services, providers and clients may have followed a configuration that is not going to be in force. */
static void config_restore(struct control *c)
{
    struct error ignored;
    struct snapshot *snapshot = control_snapshot(c, c->config, &ignored);
    if (snapshot && snapshot_give(c, snapshot, say_restored, NULL) != OK)
        snapshot_unref(snapshot);
}

static enum err config_apply(struct control *c, struct config *config, const char *cause, struct error *error)
{
    struct snapshot *snapshot = snapshot_new(config, error);
    if (!snapshot)
        return error->err; /* nothing has changed */
    enum err err = snapshot_finish(c, snapshot, error);
    if (err == OK)
        err = snapshot_give(c, snapshot, say_reloaded, (void *)(uintptr_t)cause);
    if (err == OK)
        return OK;
    snapshot_unref(snapshot);
    config_restore(c);
    return err;
}

static bool reload(struct control *c, const char *cause, struct findings *findings, struct error *error)
{
    struct config *config = config_load(&c->sources, findings);
    control_log_findings(findings);
    if (!config) {
        error_set(error, ERR_CONFIG, "%zu errors in the configuration", findings->errors);
        return false;
    }
    if (config_apply(c, config, cause, error) != OK) {
        config_unref(config);
        return false;
    }
    warn_about_fixed_keys(c->config, config);
    control_log_level(c, config);
    config_unref(c->config);
    c->config = config;
    if (files_watch(c) != OK)
        log_event(LOG_WARNING, "config_watch_failed",
                  "the configuration files cannot be watched; SIGHUP reloads");
    return true;
}

void control_reload(struct control *c, const char *cause)
{
    struct findings findings = {0};
    struct error error = {.err = ERR_NOMEM};
    if (c->phase != CONTROL_RUNNING)
        return;
    notify_reloading();
    bool good = reload(c, cause, &findings, &error);
    count_reload(c, good);
    if (!good) {
        notify_reloaded();
        log_event(LOG_ERROR, "config_reload_failed", "The old configuration stays in force (%s): %s", cause,
                  error_text(&error));
    }
    findings_free(&findings);
}

/* ---- drain ----------------------------------------------------------------------------------------------
 */

static void worker_end_arrived(struct message *m)
{
    struct worker *w = CONTAINER_OF(m, struct worker, end_message);
    struct control *c = CONTAINER_OF(w->gateway, struct control, gateway);
    if (++c->ended_workers == c->gateway.worker_count)
        loop_stop(c->loop);
}

/* Worker thread. */
static void worker_ended(struct gateway *g, struct worker *w)
{
    w->end_message.on_arrival = worker_end_arrived;
    loop_post(g->control, &w->end_message);
}

/* Not while a change still has to reach them: its caller is a request of theirs. */
static void workers_stop(struct control *c)
{
    if (!c->open_rounds)
        workers_tell(c, worker_stop);
}

static void services_stopped(void *argument)
{
    struct control *c = argument;
    c->workers_may_stop = true;
    workers_stop(c);
}

static void stop_services(struct control *c)
{
    if (c->phase == CONTROL_STOPPING)
        return;
    c->phase = CONTROL_STOPPING;
    timer_off(&c->drain_timer);
    services_drain(c->services);
    services_stop_all(c->services, services_stopped, c);
}

static void cancel_all(struct control *c)
{
    if (c->phase >= CONTROL_CANCELLING)
        return;
    c->phase = CONTROL_CANCELLING;
    services_drain(c->services);
    workers_tell(c, worker_cancel_all);
    timer_set(c->loop, &c->drain_timer, clock_after(c->loop->now, CANCEL_GRACE_MS));
}

static void drain_due(struct timer *timer)
{
    struct control *c = CONTAINER_OF(timer, struct control, drain_timer);
    if (c->phase == CONTROL_DRAINING) {
        log_event(LOG_WARNING, "gateway_drain_timeout",
                  "The drain deadline has passed; open requests are cut");
        cancel_all(c);
    } else {
        stop_services(c);
    }
}

static void worker_idle_arrived(struct message *m)
{
    struct worker *w = CONTAINER_OF(m, struct worker, idle_message);
    struct control *c = CONTAINER_OF(w->gateway, struct control, gateway);
    atomic_store(&w->idle_posted, false);
    if (atomic_load(&c->gateway.connections) <= 0)
        stop_services(c);
}

/* Worker thread: its last connection has gone. A message that is still under way will see that, too. */
static void worker_idle(struct gateway *g, struct worker *w)
{
    if (atomic_exchange(&w->idle_posted, true))
        return;
    w->idle_message.on_arrival = worker_idle_arrived;
    loop_post(g->control, &w->idle_message);
}

void control_drain(struct control *c)
{
    if (c->phase != CONTROL_RUNNING) {
        log_event(LOG_WARNING, "gateway_stop_now", "Second signal: stopping at once");
        cancel_all(c);
        stop_services(c);
        services_kill_all(c->services);
        return;
    }
    c->phase = CONTROL_DRAINING;
    notify_stopping();
    log_event(LOG_INFO, "gateway_drain", "Draining: no new requests; %lld connections open, at most %llu s",
              (long long)atomic_load(&c->gateway.connections),
              (unsigned long long)(c->config->server.drain_ms / 1000));
    providers_stop(c->providers);
    c->drain_timer.on_due = drain_due;
    timer_set(c->loop, &c->drain_timer, clock_after(c->loop->now, c->config->server.drain_ms));
    workers_tell(c, worker_drain);
}

/* ---- signals --------------------------------------------------------------------------------------------
 */

static void on_signal(struct signals *s, int number)
{
    struct control *c = CONTAINER_OF(s, struct control, signals);
    if (number == SIGHUP)
        control_reload(c, "SIGHUP");
    else if (number == SIGTERM || number == SIGINT)
        control_drain(c);
}

enum err control_watch(struct control *c)
{
    c->tells = mem_alloc(ACTS * c->gateway.worker_count * sizeof *c->tells);
    if (!c->tells)
        return ERR_NOMEM;
    c->publish_timer.on_due = publish_due;
    c->signals.on_signal = on_signal;
    c->gateway.on_worker_idle = worker_idle;
    c->gateway.on_worker_end = worker_ended;
    books_on_change(c->gateway.books, (struct books_publisher){books_publish, c});
    TRY(signals_open(c->loop, &c->signals));
    return files_watch(c);
}

void control_unwatch(struct control *c)
{
    if (c->files_open)
        file_watch_close(&c->files);
    timer_remove(c->loop, &c->drain_timer);
    timer_remove(c->loop, &c->publish_timer);
    mem_free(c->tells);
}
