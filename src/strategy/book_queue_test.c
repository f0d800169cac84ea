/* Changes from several threads at once, while the store fails, a reload comes in between, or nobody waits. */
#include "strategy/book_test.h"

static int begin(void **state)
{
    if (books_open(state) != 0)
        return -1;
    books_begin(books_config(NULL, 0, NULL, 0), &shelf);
    look();
    return 0;
}

/* Starts a change and returns when its write waits in the store. */
static void begin_held(struct asked *a)
{
    stage_set(&shelf_held, 0);
    shelf.holds = true;
    stage_run(stage.workers[0], ask_task, a);
    STAGE_AWAIT(&shelf_held, 1);
}

static void end_held(struct asked *a)
{
    on_control(shelf_release, NULL);
    STAGE_AWAIT(&a->done, 1);
    look();
}

/* ---- many at once -------------------------------------------------------------------------------------- */

enum { EACH = 40 };

struct crowd {
    int worker, done;
    struct arena arena;
    char keys[EACH][64];
};

/* Creates clients, turns them off and on, deletes every second; all the while others do the same. */
static void crowd_task(struct task *t, void *argument)
{
    struct crowd *c = argument;
    for (int i = 0; i < EACH; i++) {
        char body[64], id[16];
        struct book_result result;
        struct error error;
        snprintf(id, sizeof id, "c%d-%d", c->worker, i);
        snprintf(body, sizeof body, "{\"name\":\"%s\",\"id\":\"%s\"}", id, id);
        struct book_change change = {BOOK_CLIENT_CREATE, STR_NONE, str_from_c(body), 0, STR("crowd")};
        REQUIRE(books_change(t, registry, &change, &c->arena, &result, &error) == OK);
        memcpy(c->keys[i], result.secret, 64);
        change = (struct book_change){BOOK_CLIENT_UPDATE, str_from_c(id), STR("{\"enabled\":false}"), 1,
                                      STR("crowd")};
        REQUIRE(books_change(t, registry, &change, &c->arena, &result, &error) == OK);
        change.body = STR("{\"enabled\":true}");
        change.if_revision = 2;
        REQUIRE(books_change(t, registry, &change, &c->arena, &result, &error) == OK);
        change = (struct book_change){BOOK_CLIENT_DELETE, str_from_c(id), STR_NONE, 3, STR("crowd")};
        if (i % 2)
            REQUIRE(books_change(t, registry, &change, &c->arena, &result, &error) == OK);
    }
    stage_add(&c->done, 1);
}

static void test_two_loops(void **state)
{
    static struct crowd crowds[4];
    memset(crowds, 0, sizeof crowds);
    for (int i = 0; i < 4; i++) {
        crowds[i].worker = i;
        stage_run(stage.workers[i % 2], crowd_task, &crowds[i]);
    }
    for (int i = 0; i < 20; i++) { /* reloads, and readers on this thread */
        books_reload(books_config(NULL, 0, NULL, 0));
        look();
        for (size_t k = 0; k < book_client_count(seen); k++)
            assert_non_null(book_client_at(seen, k)->strategy);
    }
    for (int i = 0; i < 4; i++)
        STAGE_AWAIT(&crowds[i].done, 1);
    look();
    assert_int_equal(book_client_count(seen), 4 * EACH / 2);
    assert_int_equal(book_strategy_count(seen), 4 * EACH / 2 + 1);
    assert_int_equal(shelf.row_count, 4 * EACH + 1);
    assert_int_equal(shelf.writes, 4 * EACH * 3 + 4 * EACH / 2 + 1);
    assert_int_equal(published_count, shelf.writes - 1);
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < EACH; k++)
            assert_int_equal(book_client_by_key(seen, str_from_c(crowds[i].keys[k])) != NULL, k % 2 == 0);
        arena_free(&crowds[i].arena);
    }
    books_restart(books_config(NULL, 0, NULL, 0));
    assert_int_equal(book_client_count(look()), 4 * EACH / 2);
}

/* The same name at the same time: one of them gets it. */
static void test_same_name(void **state)
{
    struct asked a[6];
    int good = 0;
    for (int i = 0; i < 6; i++) {
        a[i] = asked_make(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"Al\"}");
        stage_run(stage.workers[i % 2], ask_task, &a[i]);
    }
    for (int i = 0; i < 6; i++) {
        STAGE_AWAIT(&a[i].done, 1);
        assert_true(a[i].err == OK || a[i].err == ERR_CONFLICT);
        good += a[i].err == OK;
        arena_free(&a[i].arena);
    }
    assert_int_equal(good, 1);
    assert_int_equal(book_client_count(look()), 1);
}

static void ask_on_control(void *argument)
{
    struct task *t = task_spawn(stage.control, ask_task, argument);
    REQUIRE(t);
}

static void test_from_control(void **state)
{
    struct asked a = asked_make(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"Al\"}");
    on_control(ask_on_control, &a);
    STAGE_AWAIT(&a.done, 1);
    assert_int_equal(a.err, OK);
    arena_free(&a.arena);
}

/* ---- the store fails ----------------------------------------------------------------------------------- */

static void test_store_fails(void **state)
{
    char key[64];
    assert_int_equal(do_change(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"Al\",\"id\":\"al\"}"), OK);
    memcpy(key, answer.result.secret, sizeof key);
    static const struct {
        enum book_action action;
        const char *id, *body;
    } changes[] = {
        {BOOK_CLIENT_CREATE, "", "{\"name\":\"Bo\"}"},
        {BOOK_CLIENT_UPDATE, "al", "{\"name\":\"Bo\",\"strategy_id\":\"default\"}"},
        {BOOK_CLIENT_ROTATE, "al", ""},
        {BOOK_CLIENT_DELETE, "al", ""},
        {BOOK_STRATEGY_CREATE, "", "{\"name\":\"S\"}"},
        {BOOK_STRATEGY_UPDATE, "default", "{\"name\":\"T\"}"},
    };
    const struct book *before = look();
    shelf.fails = true;
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        assert_int_equal(do_change(changes[i].action, str_from_c(changes[i].id), changes[i].body), ERR_STORE);
        assert_string_equal(error_text(&answer.error), "the disk is full");
        assert_int_equal(answer.result.secret[0], 0);
        assert_ptr_equal(seen, before);
    }
    assert_non_null(book_client_by_key(seen, str_from_c(key)));
    assert_int_equal(published_count, 1);
    assert_int_equal(logged_count("\"client_updated\""), 0);
    shelf.fails = false;
    for (size_t i = 0; i < COUNT_OF(changes); i++) /* as if nothing had been tried */
        assert_int_equal(do_change(changes[i].action, str_from_c(changes[i].id), changes[i].body),
                         i == 1 ? ERR_CONFLICT : OK); /* the name is the first one's now */
    assert_null(book_client_by_key(seen, str_from_c(key)));
}

/* ---- a reload in the middle ---------------------------------------------------------------------------- */

static void test_reload_in_between(void **state)
{
    struct strategy_config s = {.id = STR("new"), .name = STR("New"), .allowed.selected_all = true};
    struct asked a = asked_make(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"Al\",\"id\":\"al\"}");
    begin_held(&a);
    assert_null(book_client(look(), STR("al"))); /* not before it is written */
    books_reload(books_config(&s, 1, NULL, 0));
    assert_null(book_client(look(), STR("al")));
    assert_non_null(book_strategy(seen, STR("new")));
    end_held(&a);
    assert_int_equal(a.err, OK);
    assert_non_null(book_client(seen, STR("al"))); /* both are there */
    assert_non_null(book_strategy(seen, STR("new")));
    assert_non_null(book_client_by_key(seen, str_from_c(a.result.secret)));
    arena_free(&a.arena);
}

/* What the change relied on goes away with a reload while it is written. */
static void test_reload_takes_strategy(void **state)
{
    struct strategy_config s = {.id = STR("y"), .name = STR("Y"), .allowed.selected_all = true};
    struct client_config c = {
        .id = STR("al"), .name = STR("al"), .enabled = true, .strategy_id = STR("default")};
    books_reload(books_config(&s, 1, NULL, 0));
    struct asked a =
        asked_make(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"Bo\",\"id\":\"bo\",\"strategy_id\":\"y\"}");
    begin_held(&a);
    books_reload(books_config(NULL, 0, NULL, 0));
    end_held(&a);
    assert_int_equal(a.err, OK);
    ASSERT_STR(book_client(seen, STR("bo"))->config.strategy_id, "default");
    arena_free(&a.arena);
    /* the configuration takes the id that is being created: it wins */
    a = asked_make(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"Al\",\"id\":\"al\"}");
    begin_held(&a);
    books_reload(books_config(NULL, 0, &c, 1));
    end_held(&a);
    assert_int_equal(a.err, OK);
    assert_true(book_client(seen, STR("al"))->is_managed);
    assert_int_equal(logged_count("\"client_hidden\""), 1);
    arena_free(&a.arena);
}

/* `default` leaves the file while a change is written: it is made, and written behind the change. */
static void test_reload_makes_default(void **state)
{
    struct strategy_config s = {.id = STR("default"), .name = STR("D"), .allowed.selected_all = true};
    on_control(unload_now, NULL);
    arena_free(&shelf.arena);
    shelf.row_count = shelf.audit_count = 0;
    books_begin(books_config(&s, 1, NULL, 0), &shelf);
    struct asked a = asked_make(BOOK_STRATEGY_CREATE, STR_NONE, "{\"name\":\"new\"}");
    begin_held(&a);
    books_reload(books_config(NULL, 0, NULL, 0));
    assert_non_null(book_strategy(look(), STR("default")));
    end_held(&a);
    assert_int_equal(a.err, OK);
    assert_int_equal(do_change(BOOK_STRATEGY_CREATE, STR_NONE, "{\"name\":\"x\"}"), OK);
    assert_non_null(shelf_find(STORE_STRATEGIES, STR("default")));
    arena_free(&a.arena);
}

/* ---- who waits, and for what --------------------------------------------------------------------------- */

static void (*worker_has_it)(void *done_argument);
static void *worker_argument;
static int publish_begun;

static void publish_later(void *argument, void (*done)(void *done_argument), void *done_argument)
{
    worker_has_it = done;
    worker_argument = done_argument;
    stage_add(&publish_begun, 1);
}

static void publish_later_now(void *argument)
{
    books_on_change(registry, (struct books_publisher){publish_later, NULL});
}

static void last_worker_task(struct task *t, void *argument)
{
    worker_has_it(worker_argument); /* on the worker's own thread */
}

static void test_waits_for_workers(void **state)
{
    struct asked a = asked_make(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"Al\"}");
    struct asked b = asked_make(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"Bo\"}");
    stage_set(&publish_begun, 0);
    on_control(publish_later_now, NULL);
    stage_run(stage.workers[0], ask_task, &a);
    STAGE_AWAIT(&publish_begun, 1);
    assert_int_equal(book_client_count(look()), 1); /* the new book is the one to publish */
    stage_run(stage.workers[0], ask_task, &b);
    STAGE_AWAIT(&b.begun, 1);
    books_reload(books_config(NULL, 0, NULL, 0)); /* does not wait for the change */
    assert_int_equal(stage_get(&a.done), 0);
    stage_run(stage.workers[1], last_worker_task, NULL);
    STAGE_AWAIT(&a.done, 1);
    STAGE_AWAIT(&publish_begun, 2);
    assert_int_equal(stage_get(&b.done), 0);
    stage_run(stage.workers[1], last_worker_task, NULL);
    STAGE_AWAIT(&b.done, 1);
    assert_int_equal(book_client_count(look()), 2);
    arena_free(&a.arena);
    arena_free(&b.arena);
}

static void cancel_task(struct task *t, void *argument)
{
    struct asked *a = argument;
    task_cancel(a->task);
    stage_add(&publish_begun, 1);
}

static void test_cancelled(void **state)
{
    struct asked a = asked_make(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"Al\",\"id\":\"al\"}");
    stage_set(&publish_begun, 0);
    begin_held(&a);
    stage_run(stage.workers[0], cancel_task, &a);
    STAGE_AWAIT(&publish_begun, 1);
    assert_int_equal(stage_get(&a.done), 0);
    end_held(&a);
    assert_int_equal(a.err, OK);
    assert_non_null(book_client(seen, STR("al")));
    arena_free(&a.arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, books_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_two_loops),
        TEST(test_same_name),
        TEST(test_from_control),
        TEST(test_store_fails),
        TEST(test_reload_in_between),
        TEST(test_reload_takes_strategy),
        TEST(test_reload_makes_default),
        TEST(test_waits_for_workers),
        TEST(test_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
