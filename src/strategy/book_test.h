/*
 * What the tests of the books share: a store that keeps rows in memory and fails or waits on demand (it
 * stands in for store/ when the test is linked), a registry on the control loop, and changes from a worker's
 * task.
 */
#ifndef HESTIA_STRATEGY_BOOK_TEST_H
#define HESTIA_STRATEGY_BOOK_TEST_H

#include "service/test.h"
#include "strategy/book_inside.h"

/* ---- the store: control thread, or whoever is alone ---------------------------------------------------- */

enum { SHELF_ROWS = 512, SHELF_AUDITS = 1024 };

struct store {
    struct arena arena;
    struct store_row rows[SHELF_ROWS];
    size_t row_count;
    struct store_audit audits[SHELF_AUDITS];
    size_t audit_count;
    const struct usage_recent *recent;
    size_t recent_count;
    int writes;
    uint64_t deleted_revision; /* of the row that went last */
    bool fails;
    bool holds; /* a write waits until shelf_release */
    struct task *held;
    uint8_t pepper[PEPPER_SIZE];
};
static struct store shelf;
static int shelf_held; /* writes that wait or waited */

const uint8_t *store_pepper(const struct store *s)
{
    return s->pepper;
}

enum err store_load(struct store *s, struct arena *arena, struct store_row **rows, size_t *count,
                    struct error *error)
{
    *rows = s->rows;
    *count = s->row_count;
    return OK;
}

enum err store_recent(struct store *s, int64_t since_us,
                      void (*each)(void *argument, const struct usage_recent *u), void *argument,
                      struct error *error)
{
    for (size_t i = 0; i < s->recent_count; i++)
        if (s->recent[i].at_us >= since_us)
            each(argument, &s->recent[i]);
    return OK;
}

static inline struct store_row *shelf_find(enum store_table table, struct str id)
{
    for (size_t i = 0; i < shelf.row_count; i++)
        if (shelf.rows[i].table == table && str_eq(shelf.rows[i].id, id))
            return &shelf.rows[i];
    return NULL;
}

static inline void shelf_put(const struct store_row *row)
{
    struct store_row *at = shelf_find(row->table, row->id);
    if (row->is_deleted) {
        REQUIRE(at && row->revision > at->revision);
        shelf.deleted_revision = row->revision;
        memmove(at, at + 1, (size_t)(&shelf.rows[shelf.row_count] - (at + 1)) * sizeof *at);
        shelf.row_count--;
        return;
    }
    if (!at) {
        REQUIRE(shelf.row_count < SHELF_ROWS);
        at = &shelf.rows[shelf.row_count++];
    }
    *at = *row;
    at->id = arena_str(&shelf.arena, row->id);
    at->definition = arena_str(&shelf.arena, row->definition);
}

static inline void shelf_add(enum store_table table, const char *id, const char *definition)
{
    struct store_row row = {.table = table,
                            .id = str_from_c(id),
                            .definition = str_from_c(definition),
                            .revision = 7,
                            .created_us = 1000,
                            .updated_us = 2000};
    shelf_put(&row);
}

enum err store_write(struct task *t, struct store *s, const struct store_row *rows, size_t row_count,
                     const struct store_audit *audit, size_t audit_count, struct error *error)
{
    s->writes++;
    if (s->holds) {
        s->held = t;
        stage_add(&shelf_held, 1);
    }
    do { /* always lets others in between */
        enum err ignored = s->holds ? task_park_shielded(t, CLOCK_NEVER) : task_yield(t);
        (void)ignored;
    } while (s->holds);
    if (s->fails)
        return error_set(error, ERR_STORE, "the disk is full");
    for (size_t i = 0; i < row_count; i++)
        shelf_put(&rows[i]);
    for (size_t i = 0; i < audit_count; i++) {
        REQUIRE(s->audit_count < SHELF_AUDITS);
        struct store_audit *a = &s->audits[s->audit_count++];
        *a = (struct store_audit){
            audit[i].at_us, arena_str(&s->arena, audit[i].actor), arena_str(&s->arena, audit[i].action),
            arena_str(&s->arena, audit[i].target), arena_str(&s->arena, audit[i].detail)};
    }
    return OK;
}

static inline void shelf_release(void *argument)
{
    shelf.holds = false;
    task_wake(shelf.held);
}

static inline bool shelf_says(const char *action, struct str target)
{
    for (size_t i = 0; i < shelf.audit_count; i++)
        if (str_eq(shelf.audits[i].action, str_from_c(action)) && str_eq(shelf.audits[i].target, target))
            return true;
    return false;
}

/* ---- the log ------------------------------------------------------------------------------------------- */

static struct buf logged = BUF(4 << 20);
static pthread_mutex_t logged_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void log_keep(struct str line)
{
    pthread_mutex_lock(&logged_lock);
    buf_add_str(&logged, line);
    pthread_mutex_unlock(&logged_lock);
}

/* How often the log has this. */
static inline int logged_count(const char *text)
{
    int n = 0;
    pthread_mutex_lock(&logged_lock);
    struct str rest = buf_str(&logged), needle = str_from_c(text);
    for (size_t at; (at = str_find_str(rest, needle)) < rest.n; n++)
        rest = str_from(rest, at + needle.n);
    pthread_mutex_unlock(&logged_lock);
    return n;
}

/* ---- the registry -------------------------------------------------------------------------------------- */

static struct books *registry;
static struct config *configured;
static struct book *seen;   /* by the test: refreshed by `look` */
static int published_count; /* control thread */
static enum err loaded;
static struct error loaded_error;

static inline void publish_at_once(void *argument, void (*done)(void *done_argument), void *done_argument)
{
    published_count++;
    done(done_argument);
}

/* A configuration that a test makes by hand; gives it to the registry as its first or next one. */
static inline struct config *books_config(const struct strategy_config *strategies, size_t strategy_count,
                                          const struct client_config *clients, size_t client_count)
{
    struct config *c = config_make(NULL, 0);
    c->strategies = arena_alloc(&c->arena, strategy_count * sizeof *strategies + 1);
    c->clients = arena_alloc(&c->arena, client_count * sizeof *clients + 1);
    REQUIRE(c->strategies && c->clients);
    c->strategy_count = strategy_count;
    c->client_count = client_count;
    if (strategy_count)
        memcpy(c->strategies, strategies, strategy_count * sizeof *strategies);
    if (client_count)
        memcpy(c->clients, clients, client_count * sizeof *clients);
    return c;
}

static inline void look_now(void *argument)
{
    book_unref(seen);
    seen = books_current(registry);
}

static inline const struct book *look(void)
{
    on_control(look_now, NULL);
    return seen;
}

static inline void load_now(void *argument)
{
    struct store *store = argument;
    registry = books_new(stage.control, store);
    REQUIRE(registry);
    loaded = books_load(registry, configured, &loaded_error);
    books_on_change(registry, (struct books_publisher){publish_at_once, NULL});
}

static inline void books_begin(struct config *config, struct store *store)
{
    configured = config;
    on_control(load_now, store);
    assert_int_equal(loaded, OK);
}

static inline void unload_now(void *argument)
{
    books_free(registry);
    book_unref(seen);
    config_unref(configured);
    registry = NULL;
    seen = NULL;
    configured = NULL;
}

/* The process ends and begins again with the same store. */
static inline void books_restart(struct config *config)
{
    on_control(unload_now, NULL);
    books_begin(config, &shelf);
}

static inline void apply_now(void *argument)
{
    struct error error;
    config_unref(configured);
    configured = argument;
    struct book *b = books_apply(registry, configured, &error);
    REQUIRE(b);
    book_unref(b);
}

static inline void books_reload(struct config *config)
{
    on_control(apply_now, config);
}

static inline int books_open(void **state)
{
    if (stage_open(state) != 0)
        return -1;
    shelf = (struct store){0};
    memset(shelf.pepper, 7, sizeof shelf.pepper);
    shelf_held = 0;
    published_count = 0;
    buf_clear(&logged);
    log_set_sink(log_keep);
    log_set_level(LOG_INFO);
    return 0;
}

static inline int books_close(void **state)
{
    on_control(unload_now, NULL);
    int failed = stage_close(state);
    log_set_sink(NULL);
    arena_free(&shelf.arena);
    buf_free(&logged);
    return failed;
}

/* ---- changes ------------------------------------------------------------------------------------------- */

struct asked {
    struct book_change change;
    struct arena arena;
    struct book_result result;
    struct error error;
    enum err err;
    struct task *task;
    int begun, done;
};

static inline void ask_task(struct task *t, void *argument)
{
    struct asked *a = argument;
    a->task = t;
    stage_add(&a->begun, 1);
    a->err = books_change(t, registry, &a->change, &a->arena, &a->result, &a->error);
    stage_add(&a->done, 1);
}

static inline struct asked asked_make(enum book_action action, struct str id, const char *body)
{
    return (struct asked){
        .change = {.action = action, .id = id, .body = str_from_c(body), .actor = STR("tester")}};
}

/* Carried out by a task of the first worker. The answer is good until the next change. */
static struct asked answer;

static inline void do_asked(struct asked a)
{
    arena_free(&answer.arena);
    answer = a;
    stage_run(stage.workers[0], ask_task, &answer);
    STAGE_AWAIT(&answer.done, 1);
    look();
}

static inline enum err do_change(enum book_action action, struct str id, const char *body)
{
    do_asked(asked_make(action, id, body));
    return answer.err;
}

/* The body is refused, by a sentence that names the field; nothing has changed. */
static inline void assert_refused(enum book_action action, struct str id, const char *body, enum err err,
                                  const char *param)
{
    const struct book *before = look();
    int writes = shelf.writes;
    enum err got = do_change(action, id, body);
    if (got != err)
        fail_msg("%s: %s, wanted %s (%s)", body, err_row(got)->name, err_row(err)->name,
                 got == OK ? "" : error_text(&answer.error));
    if (param && (!answer.error.param || strcmp(answer.error.param, param) != 0))
        fail_msg("%s: names %s, not %s", body, answer.error.param ? answer.error.param : "nothing", param);
    if (param)
        assert_true(str_find_str_nocase(str_from_c(error_text(&answer.error)), str_from_c(param)) <
                    strlen(error_text(&answer.error)));
    assert_int_equal(answer.result.secret[0], 0);
    assert_ptr_equal(seen, before);
    assert_int_equal(shelf.writes, writes);
}

/* Ids that outlive the next change. */
struct kept {
    char text[72];
};
static inline struct str keep(struct kept *k, struct str s)
{
    str_to_c(s, k->text, sizeof k->text);
    return str_from_c(k->text);
}

#define ASSERT_STR(a, text)                                                                                  \
    do {                                                                                                     \
        struct str a_ = (a);                                                                                 \
        if (!str_eq(a_, str_from_c(text)))                                                                   \
            fail_msg("%s is \"%.*s\", wanted \"%s\"", #a, STR_ARG(a_), text);                                \
    } while (0)

#endif
