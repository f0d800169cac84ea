/* The store and the real journal: from workers into the database, and after a kill -9. */
#include "store/test.h"

#include "loop/thread.h"

#include <signal.h>
#include <sys/wait.h>

enum { WORKERS = 3, EACH = 400 };

static int setup(void **state)
{
    log_watch();
    return folder_new(state);
}

static struct entry_open open_make(const char *id)
{
    return (struct entry_open){.at_us = clock_wall_us(),
                               .request_id = str_from_c(id),
                               .client = STR("c"),
                               .strategy = STR("s"),
                               .model = STR("p/m"),
                               .endpoint = STR("chat")};
}

static struct entry_state state_make(enum entry_outcome outcome, int64_t tokens)
{
    return (struct entry_state){.provider = STR("p"),
                                .model = STR("m"),
                                .output_tokens = tokens,
                                .cost = 7,
                                .duration_us = 1000,
                                .status = 200,
                                .outcome = outcome};
}

struct asked {
    struct store *store;
    struct usage_point sum;
};

static void asked_main(struct task *t, void *argument)
{
    struct asked *a = argument;
    int64_t now = clock_wall_us() / 1000000;
    struct usage_query query = {TIER_MODEL, STR("p/m"), now - 3 * 86400, now + 86400, GRAIN_DAY};
    struct usage_point *points;
    struct error error;
    size_t count;
    CLEANUP(arena_free) struct arena arena = {0};
    assert_int_equal(store_usage(t, a->store, &query, &arena, &points, &count, &error), OK);
    for (size_t i = 0; i < count; i++) {
        a->sum.requests += points[i].requests;
        a->sum.ok += points[i].ok;
        a->sum.aborted += points[i].aborted;
        a->sum.output_tokens += points[i].output_tokens;
    }
}

static struct usage_point sums(struct store *s)
{
    struct asked a = {.store = s};
    run_task(asked_main, &a);
    return a.sum;
}

static void worker_main(void *argument)
{
    for (int i = 0; i < EACH; i++) {
        struct journal_entry entry = {0};
        struct entry_open open = open_make("r");
        struct entry_state state = state_make(ENTRY_OK, i);
        assert_int_equal(journal_open(argument, &open, &entry), OK);
        journal_settle(&entry, &state);
    }
}

static void workers_settle_while_it_writes(void **state)
{
    pthread_t threads[WORKERS];
    struct store *s = store_new();
    struct journal *journals[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++)
        assert_non_null(journals[i] = store_journal(s, i));
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(thread_start(&threads[i], "worker", worker_main, journals[i]), OK);
    assert_true(sums(s).requests <= WORKERS * EACH);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    struct usage_point p = sums(s);
    assert_int_equal(p.ok, WORKERS * EACH);
    assert_int_equal(p.output_tokens, WORKERS * (EACH - 1) * EACH / 2);
    assert_int_equal(COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages"), WORKERS * EACH);
    store_close(s);
    s = store_new();
    assert_int_equal(sums(s).requests, WORKERS * EACH);
    store_close(s);
}

/* Twelve end, some of them in the database already; eight are under way when the process dies. */
static void dying_main(void)
{
    struct error error;
    struct store *s = store_try(&error);
    struct journal *j = s ? store_journal(s, 0) : NULL;
    struct journal_entry entries[20];
    memset(entries, 0, sizeof entries);
    for (int i = 0; j && i < 20; i++) {
        struct entry_open open = open_make("r");
        struct entry_state ends = state_make(ENTRY_OK, 100), goes_on = state_make(ENTRY_OPEN, 10);
        if (journal_open(j, &open, &entries[i]) != OK)
            _exit(1);
        if (i % 5 < 3)
            journal_settle(&entries[i], &ends);
        else
            journal_progress(&entries[i], &goes_on);
        if (i == 10)
            COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages");
    }
    raise(SIGKILL);
}

static void death_loses_and_doubles_nothing(void **state)
{
    int status;
    for (int round = 1; round <= 3; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            dying_main();
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        for (int again = 0; again < 2; again++) {
            struct store *s = store_new();
            struct usage_point p = sums(s);
            assert_int_equal(p.requests, 20 * round);
            assert_int_equal(p.ok, 12 * round);
            assert_int_equal(p.aborted, 8 * round);
            assert_int_equal(p.output_tokens, (12 * 100 + 8 * 10) * round);
            store_close(s);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, folder_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(death_loses_and_doubles_nothing), /* first: it forks */
        TEST(workers_settle_while_it_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
