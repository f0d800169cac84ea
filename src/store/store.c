/* The store's life: opening, its thread and its timers, whether it is well, closing. */
#include "store/inside.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "loop/crypto.h"
#include "loop/thread.h"

#include <semaphore.h>
#include <unistd.h>

enum {
    BATCH_MS = 500,
    BATCHES_AT_ONCE = 2, /* then others have their turn */
    RETRY_MAX_MS = 10000,
    RETENTION_FIRST_MS = 60000,
    RETENTION_MS = 60000,
    RETENTION_MORE_MS = 50,
    REQUEST_DAYS = 30,
    REQUEST_DAYS_MAX = 36500,
};

/* ---- asking it ----------------------------------------------------------------------------------------- */

struct ask {
    struct message message;
    void (*fn)(void *argument);
    void *argument;
    sem_t done;
};

static void ask_arrived(struct message *m)
{
    struct ask *ask = CONTAINER_OF(m, struct ask, message);
    ask->fn(ask->argument);
    sem_post(&ask->done);
}

void store_ask(struct store *s, void (*fn)(void *argument), void *argument)
{
    struct ask ask = {.message.on_arrival = ask_arrived, .fn = fn, .argument = argument};
    if (!s->is_running) {
        fn(argument);
        return;
    }
    REQUIRE(sem_init(&ask.done, 0, 0) == 0);
    loop_post(s->loop, &ask.message);
    while (sem_wait(&ask.done) != 0)
        ; /* a signal */
    sem_destroy(&ask.done);
}

enum err store_fail(struct store *s, enum err err, struct error *error)
{
    if (err == ERR_STORE)
        return error_set(error, err, "database: %s", db_why(s->db));
    return error_set(error, err, "out of memory in the store");
}

/* ---- health -------------------------------------------------------------------------------------------- */

bool store_is_well(const struct store *s)
{
    return atomic_load_explicit(&s->well, memory_order_relaxed);
}

void store_note(struct store *s, enum err err)
{
    bool well = err == OK, was_well = store_is_well(s);
    if (well)
        s->retry_ms = 0;
    if (well == was_well)
        return;
    atomic_store_explicit(&s->well, well, memory_order_relaxed);
    if (well) {
        log_event(LOG_INFO, "store_recovered", "Accounts can be written again");
        return;
    }
    const char *why = err == ERR_NOMEM ? "out of memory" : db_why(s->db);
    log_event(LOG_ERROR, "store_failed",
              "Accounts cannot be written to %s: %s; the journal keeps them meanwhile, tried again",
              buf_c(&s->path), why);
}

static void metrics_set(struct store *s)
{
    struct metric_set *set = s->loop->metrics;
    metric_set_clock(set, clock_wall_us());
    metric_gauge_set(set, METRIC_STORE_WELL, LABELS(0), store_is_well(s));
    metric_gauge_set(set, METRIC_JOURNAL_PENDING, LABELS(0), (int64_t)journal_set_pending(s->journals));
    metric_gauge_set(set, METRIC_JOURNAL_BYTES, LABELS(0), (int64_t)journal_set_bytes(s->journals));
}

/* ---- the thread ---------------------------------------------------------------------------------------- */

enum err meta_set(struct store *s, const char *key, int64_t value)
{
    CLEANUP(query_end)
    struct query q = query_make(s->db, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) "
                                       "DO UPDATE SET value = excluded.value");
    query_str(&q, str_from_c(key));
    query_i64(&q, value);
    return query_run(&q);
}

static enum err batches_write(struct store *s)
{
    /* With nothing to write, something is written all the same: else it would stay unwell until the next
       request, which may be refused for that. */
    if (!store_is_well(s) && !journal_set_pending(s->journals))
        return meta_set(s, "probed_us", clock_wall_us());
    for (int i = 0; i < BATCHES_AT_ONCE && journal_set_pending(s->journals); i++)
        TRY(batch_write(s));
    return OK;
}

/* The journal does its housekeeping when it is told what was stored: here nothing, also in times without
   accounts or without a disk. */
static void journals_tend(struct store *s)
{
    if (journal_set_scan(s->journals, 0, NULL, NULL) == OK)
        journal_set_mark(s->journals);
}

static void batch_due(struct timer *timer)
{
    struct store *s = CONTAINER_OF(timer, struct store, batch_timer);
    enum err err = batches_write(s);
    store_note(s, err);
    journals_tend(s);
    metrics_set(s);
    if (err != OK)
        s->retry_ms = MIN(MAX(s->retry_ms * 2, (uint64_t)BATCH_MS), (uint64_t)RETRY_MAX_MS);
    bool more = err == OK && journal_set_pending(s->journals) >= BATCH_ROWS;
    timer_set(s->loop, timer, clock_after(clock_now(), err != OK ? s->retry_ms : more ? 0 : BATCH_MS));
}

/* A worker has filled a quarter of a segment: a batch before its time, unless it waits after a failure. */
static void filling_arrived(struct message *m)
{
    struct store *s = CONTAINER_OF(m, struct store, filling);
    atomic_store(&s->is_filling, false);
    if (!s->retry_ms)
        timer_set(s->loop, &s->batch_timer, clock_now());
}

static void on_fill(void *owner)
{
    struct store *s = owner;
    if (!atomic_exchange(&s->is_filling, true))
        loop_post(s->loop, &s->filling);
}

static void retention_due(struct timer *timer)
{
    struct store *s = CONTAINER_OF(timer, struct store, retention_timer);
    bool more = false;
    if (store_is_well(s))
        store_note(s, retention_step(s, clock_wall_us(), &more));
    timer_set(s->loop, timer, clock_after(clock_now(), more ? RETENTION_MORE_MS : RETENTION_MS));
}

static void stop_arrived(struct message *m)
{
    loop_stop(CONTAINER_OF(m, struct store, stop)->loop);
}

static void store_main(void *argument)
{
    struct store *s = argument;
    loop_run(s->loop);
}

static enum err thread_begin(struct store *s, struct error *error)
{
    s->loop = loop_new();
    struct metric_set *metrics = metric_set_new();
    if (!s->loop || !metrics)
        return error_set(error, ERR_NOMEM, "out of memory for the store");
    s->loop->metrics = metrics;
    metrics_set(s);
    s->stop.on_arrival = stop_arrived;
    s->filling.on_arrival = filling_arrived;
    journal_set_on_fill(s->journals, on_fill, s);
    s->batch_timer.on_due = batch_due;
    s->retention_timer.on_due = retention_due;
    timer_set(s->loop, &s->batch_timer, clock_after(clock_now(), BATCH_MS));
    timer_set(s->loop, &s->retention_timer, clock_after(clock_now(), RETENTION_FIRST_MS));
    if (thread_start(&s->thread, "store", store_main, s) != OK)
        return error_set(error, ERR_NOMEM, "cannot start the store's thread");
    s->is_running = true;
    return OK;
}

static void thread_end(struct store *s)
{
    if (s->is_running) {
        loop_post(s->loop, &s->stop);
        pthread_join(s->thread, NULL);
        s->is_running = false;
    }
    if (s->loop) {
        timer_remove(s->loop, &s->batch_timer);
        timer_remove(s->loop, &s->retention_timer);
        loop_free(s->loop);
    }
}

/* ---- opening and closing ------------------------------------------------------------------------------- */

/* -1: that cannot be read. */
static int64_t count_clients(struct db *db)
{
    CLEANUP(query_end)
    struct query q = query_make(db, "SELECT count(*) FROM definitions WHERE kind = ? AND NOT is_deleted");
    query_i64(&q, STORE_CLIENTS);
    return query_step(&q) ? query_get_i64(&q) : -1;
}

static bool has_clients(const char *path)
{
    struct db *db = db_look(path);
    bool has = !db || count_clients(db) != 0;
    db_close(db);
    return has;
}

bool store_misses_clients(const struct store *s, const struct store_options *options)
{
    CLEANUP(buf_free) struct buf path = BUF(0);
    struct error ignored;
    if (folder_path(&path, options->path, &ignored) != OK)
        return false;
    if (folder_has_damaged(buf_c(&path)))
        return true;
    return !s && access(buf_c(&path), F_OK) == 0 && has_clients(buf_c(&path));
}

static void pepper_warn(struct store *s, bool made)
{
    if (made && count_clients(s->db) > 0)
        log_event(LOG_ERROR, "pepper_lost",
                  "%s-pepper was gone: the keys of all clients made through the API are invalid; rotate them",
                  buf_c(&s->path));
}

static enum err journals_open(struct store *s, struct error *error)
{
    CLEANUP(buf_free) struct buf folder = BUF(0);
    uint64_t boot;
    crypto_random(&boot, sizeof boot);
    buf_addf(&folder, "%s-ledger", buf_c(&s->path));
    if (buf_err(&folder) != OK)
        return error_set(error, ERR_NOMEM, "out of memory for the journal");
    s->journals = journal_set_open(buf_c(&folder), boot, error);
    return s->journals ? batch_replay(s, error) : error->err;
}

static enum err store_begin(struct store *s, const struct store_options *options, struct error *error)
{
    bool was_clean = false, pepper_made = false;
    TRY(folder_path(&s->path, options->path, error));
    const char *path = buf_c(&s->path);
    TRY(folder_make(path, error));
    TRY(folder_lock(path, &s->lock, &was_clean, error));
    TRY(folder_file(path, error));
    TRY(folder_pepper(path, s->pepper, &pepper_made, error));
    TRY(database_open(s, was_clean, error));
    pepper_warn(s, pepper_made);
    TRY(journals_open(s, error));
    return thread_begin(s, error);
}

static void store_free(struct store *s, bool clean)
{
    thread_end(s);
    if (s->db && s->journals && batch_write_all(s) != OK)
        log_event(LOG_ERROR, "store_failed", "Accounts stay in the journal of %s until the next start: %s",
                  buf_c(&s->path), db_why(s->db));
    if (s->journals)
        journal_set_close(s->journals);
    db_close(s->db);
    folder_unlock(s->lock, clean);
    rollup_free(&s->rollup);
    names_forget(&s->names);
    arena_free(&s->names.arena);
    known_clear(&s->known);
    buf_free(&s->pages.open.bytes);
    buf_free(&s->path);
    mem_free(s);
}

struct store *store_open(const struct store_options *options, struct error *error)
{
    struct store *s = mem_alloc(sizeof *s);
    if (!s) {
        error_set(error, ERR_NOMEM, "out of memory for the store");
        return NULL;
    }
    s->lock = -1;
    s->batch_number = -1;
    s->request_days =
        options->request_days ? MIN(options->request_days, (uint64_t)REQUEST_DAYS_MAX) : REQUEST_DAYS;
    atomic_init(&s->well, true);
    if (store_begin(s, options, error) == OK)
        return s;
    store_free(s, false);
    return NULL;
}

void store_close(struct store *s)
{
    if (s)
        store_free(s, !db_is_damaged(s->db));
}

const uint8_t *store_pepper(const struct store *s)
{
    return s->pepper;
}

struct journal *store_journal(struct store *s, unsigned index)
{
    return journal_set_writer(s->journals, index);
}
