/* The list of requests, what strategies used lately, when a client was last served. */
#include "store/test.h"

#include "store/journal_fake.h"
#include "store/requests_test.h"

static size_t count_of(struct store *s, struct request_query query)
{
    CLEANUP(asked_free) struct asked a = ask(s, query);
    assert_int_equal(a.err, OK);
    return a.count;
}

/* ---- the list ------------------------------------------------------------------------------------------ */

static void attempt_add(struct request_row *row, const char *provider, const char *outcome, int status)
{
    int i = row->state.attempt_count++;
    if (i < ENTRY_ATTEMPTS_MAX)
        row->state.attempts[i] =
            (struct entry_attempt){str_from_c(provider), STR("m"), str_from_c(outcome), status};
}

static void assert_str(struct str got, struct str wanted)
{
    assert_true(str_eq(got, wanted));
}

static void rows_come_back_whole(void **state)
{
    static const char nasty[] = "a\0b\xff'--";
    struct store *s = store_new();
    struct request_row row = row_make(UINT64_MAX, NOON * US);
    row.worker = UINT32_MAX;
    row.open.request_id = row.open.model = str_make(nasty, sizeof nasty - 1);
    row.state.estimated = true;
    attempt_add(&row, "down", "failed", 0);
    attempt_add(&row, "slow", "rate_limited", 429);
    attempt_add(&row, "p", "ok", 200);
    fake_settle(&row);
    CLEANUP(asked_free) struct asked a = ask(s, (struct request_query){.outcome = -1, .limit = 10});
    assert_int_equal(a.count, 1);
    const struct request_row *got = a.rows;
    assert_true(got->boot == row.boot && got->worker == row.worker && got->sequence == row.sequence);
    assert_int_equal(got->ended_us, row.ended_us);
    assert_int_equal(got->open.at_us, row.open.at_us);
    assert_true(got->open.stream && got->state.estimated);
    assert_str(got->open.request_id, row.open.request_id);
    assert_str(got->open.model, row.open.model);
    assert_str(got->open.client, STR("c"));
    assert_str(got->open.strategy, STR("s"));
    assert_str(got->open.endpoint, STR("chat"));
    assert_str(got->state.provider, STR("p"));
    assert_str(got->state.model, STR("m"));
    const struct entry_state *e = &got->state;
    assert_int_equal(e->input_tokens, 10);
    assert_int_equal(e->output_tokens, 20);
    assert_int_equal(e->cached_tokens, 3);
    assert_int_equal(e->reasoning_tokens, 4);
    assert_int_equal(e->cost, 500);
    assert_int_equal(e->duration_us, 61500000);
    assert_int_equal(e->first_byte_us, 250000);
    assert_int_equal(e->status, 200);
    assert_int_equal(e->outcome, ENTRY_OK);
    assert_int_equal(e->attempt_count, 3);
    assert_str(e->attempts[0].provider, STR("down"));
    assert_int_equal(e->attempts[0].status, 0);
    assert_str(e->attempts[1].outcome, STR("rate_limited"));
    assert_int_equal(e->attempts[1].status, 429);
    assert_str(e->attempts[2].model, STR("m"));
    store_close(s);
}

static void more_attempts_are_a_number(void **state)
{
    struct store *s = store_new();
    struct request_row row = row_make(1, NOON * US);
    for (int i = 0; i < 300; i++)
        attempt_add(&row, "down", "failed", 500);
    fake_settle(&row);
    CLEANUP(asked_free) struct asked a = ask(s, (struct request_query){.outcome = -1, .limit = 10});
    assert_int_equal(a.rows[0].state.attempt_count, 300);
    assert_int_equal(a.rows[0].state.attempts[ENTRY_ATTEMPTS_MAX - 1].status, 500);
    store_close(s);
}

static void filters_work_alone_and_together(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 24; i++) {
        struct request_row row = row_make(i, (NOON + (int64_t)i * 1000) * US);
        row.open.client = i % 2 ? STR("even") : STR("odd");
        row.open.strategy = i % 3 ? STR("s") : STR("t");
        row.state.provider = i % 4 ? STR("p") : STR("q");
        row.state.model = i % 4 ? STR("m") : STR("n");
        row.state.outcome = i % 6 ? ENTRY_OK : ENTRY_FAILED;
        row.open.request_id = i == 7 || i == 20 ? STR("the-one") : STR("req");
        fake_settle(&row);
    }
    assert_int_equal(count_of(s, (struct request_query){.outcome = -1, .limit = 100}), 24);
#define FILTER(...) count_of(s, (struct request_query){.outcome = -1, .limit = 100, __VA_ARGS__})
    assert_int_equal(FILTER(.client = STR("odd")), 12);
    assert_int_equal(FILTER(.client = STR("odd"), .strategy = STR("t")), 4);
    assert_int_equal(FILTER(.provider = STR("q")), 6);
    assert_int_equal(FILTER(.model = STR("n")), 6);
    assert_int_equal(FILTER(.model = STR("p/m")), 24); /* as it was asked for */
    assert_int_equal(FILTER(.model = STR("n"), .provider = STR("p")), 0);
    assert_int_equal(FILTER(.request_id = STR("the-one")), 2); /* hours apart */
    assert_int_equal(FILTER(.request_id = STR("the-one"), .client = STR("odd")), 1);
    assert_int_equal(FILTER(.request_id = STR("req"), .client = STR("odd")), 11);
    assert_int_equal(FILTER(.client = STR("nobody")), 0);
    assert_int_equal(FILTER(.client = STR("' OR 1=1 --")), 0);
    assert_int_equal(FILTER(.request_id = STR("' OR 1=1 --")), 0);
#undef FILTER
    assert_int_equal(count_of(s, (struct request_query){.outcome = ENTRY_FAILED, .limit = 100}), 4);
    assert_int_equal(
        count_of(s, (struct request_query){.outcome = ENTRY_OK, .client = STR("odd"), .limit = 100}), 8);
    store_close(s);
}

/* Settled out of order; pages together hold each row once, newest first. */
static void pages_hold_each_row_once(void **state)
{
    struct store *s = store_new();
    static bool seen[100];
    memset(seen, 0, sizeof seen);
    for (uint64_t i = 0; i < 100; i++) { /* three rows at each time */
        struct request_row row = row_make(i, (NOON + (int64_t)(i * 7 % 100 / 3)) * US);
        fake_settle(&row);
    }
    int64_t before = 0, last = INT64_MAX;
    size_t total = 0, pages = 0;
    for (;; pages++) {
        CLEANUP(asked_free)
        struct asked a = ask(s, (struct request_query){.outcome = -1, .before_us = before, .limit = 7});
        if (!a.count)
            break;
        assert_true(a.count >= MIN(100 - total, (size_t)7) && a.count <= 9);
        for (size_t i = 0; i < a.count; i++) {
            assert_true(a.rows[i].ended_us <= last);
            last = a.rows[i].ended_us;
            assert_false(seen[a.rows[i].sequence]);
            seen[a.rows[i].sequence] = true;
        }
        total += a.count;
        before = last;
    }
    assert_int_equal(total, 100);
    assert_true(pages >= 11);
    store_close(s);
}

static void bad_limits_are_refused(void **state)
{
    struct store *s = store_new();
    static const size_t limits[] = {0, 1001};
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct asked a = ask(s, (struct request_query){.outcome = -1, .limit = limits[i]});
        assert_int_equal(a.err, ERR_BAD_REQUEST);
        assert_string_equal(a.error.param, "limit");
    }
    assert_int_equal(count_of(s, (struct request_query){.outcome = -1, .limit = 1000}), 0);
    store_close(s);
}

/* ---- lately -------------------------------------------------------------------------------------------- */

static struct {
    struct usage_recent list[32];
    char names[32][16];
    size_t count;
} recent;

static void recent_keep(void *argument, const struct usage_recent *u)
{
    assert_true(recent.count < COUNT_OF(recent.list));
    str_to_c(u->strategy, recent.names[recent.count], sizeof recent.names[0]);
    recent.list[recent.count++] = *u;
}

static void recent_read(struct store *s, int64_t since_us)
{
    struct error error;
    recent.count = 0;
    count_of(s, (struct request_query){.outcome = -1, .limit = 1}); /* now all is written */
    assert_int_equal(store_recent(s, since_us, recent_keep, NULL, &error), OK);
}

static void settle_recent(uint64_t sequence, const char *strategy, int64_t at, int64_t ended,
                          enum entry_outcome outcome)
{
    struct request_row row = row_make(sequence, ended * US);
    row.open.at_us = at * US;
    row.open.strategy = str_from_c(strategy);
    row.state.outcome = outcome;
    fake_settle(&row);
}

/* NOON is a multiple of 5 s. */
static void recent_sums_slots(void **state)
{
    struct store *s = store_new();
    settle_recent(1, "s", NOON + 1, NOON + 2, ENTRY_OK);
    settle_recent(2, "s", NOON + 1, NOON + 4, ENTRY_CANCELLED);
    /* Admitted in the first slot, paid in the next; and one that pays, but is no request. */
    settle_recent(3, "s", NOON + 3, NOON + 7, ENTRY_ABORTED);
    settle_recent(4, "s", NOON + 6, NOON + 7, ENTRY_FAILED);
    settle_recent(5, "t", NOON + 6, NOON + 7, ENTRY_OK);
    settle_recent(6, "", NOON + 6, NOON + 7, ENTRY_OK);
    settle_recent(7, "s", NOON - 100, NOON - 1, ENTRY_OK);
    recent_read(s, NOON * US);
    assert_int_equal(recent.count, 3);
    assert_int_equal(recent.list[0].at_us, NOON * US);
    assert_int_equal(recent.list[0].requests, 3);
    assert_int_equal(recent.list[0].input_tokens, 20);
    assert_int_equal(recent.list[0].cost, 1000);
    assert_int_equal(recent.list[1].at_us, (NOON + 5) * US);
    size_t second = strcmp(recent.names[1], "s") == 0 ? 1 : 2;
    assert_string_equal(recent.names[second], "s");
    assert_int_equal(recent.list[second].requests, 0);
    assert_int_equal(recent.list[second].output_tokens, 40);
    assert_string_equal(recent.names[3 - second], "t");
    assert_int_equal(recent.list[3 - second].requests, 1);
    recent_read(s, (NOON - 50) * US); /* what was admitted before is no request of the time since */
    assert_int_equal(recent.count, 4);
    assert_int_equal(recent.list[0].requests, 0);
    assert_int_equal(recent.list[0].input_tokens, 10);
    recent_read(s, (NOON + 1000) * US);
    assert_int_equal(recent.count, 0);
    store_close(s);
}

static struct {
    int64_t last, requests, tokens;
} totals;

static void total_add(void *argument, const struct usage_recent *u)
{
    assert_true(u->at_us >= totals.last);
    totals.last = u->at_us;
    totals.requests += u->requests;
    totals.tokens += u->input_tokens;
}

/* More slots than the table begins with. */
static void recent_grows(void **state)
{
    struct store *s = store_new();
    struct error error;
    for (uint64_t i = 0; i < 4000; i++)
        settle_recent(i, i % 2 ? "s" : "t", NOON + (int64_t)i * 5, NOON + (int64_t)(i + 3000) * 5, ENTRY_OK);
    recent_read(s, (NOON + 100000000) * US);
    memset(&totals, 0, sizeof totals);
    assert_int_equal(store_recent(s, NOON * US, total_add, NULL, &error), OK);
    assert_int_equal(totals.requests, 4000);
    assert_int_equal(totals.tokens, 40000);
    store_close(s);
}

/* ---- last used ----------------------------------------------------------------------------------------- */

struct last {
    struct store *store;
    struct str client;
    int64_t at_us;
};

static void last_main(struct task *t, void *argument)
{
    struct last *l = argument;
    struct str clients[] = {STR("nobody"), l->client, STR("")};
    int64_t at_us[] = {-1, -1, -1};
    assert_int_equal(store_last_used(t, l->store, clients, COUNT_OF(clients), at_us), OK);
    assert_int_equal(at_us[0], 0);
    assert_int_equal(at_us[2], 0);
    l->at_us = at_us[1];
}

static int64_t last_used(struct store *s, struct str client)
{
    struct last l = {s, client, -1};
    run_task(last_main, &l);
    return l.at_us;
}

static void last_used_is_the_latest(void **state)
{
    struct store *s = store_new();
    struct request_row row = row_make(1, NOON * US);
    assert_int_equal(last_used(s, STR("c")), 0);
    fake_settle(&row);
    assert_int_equal(last_used(s, STR("c")), NOON * US);
    row = row_make(2, (NOON - 10) * US); /* an older one, settled later */
    fake_settle(&row);
    assert_int_equal(last_used(s, STR("c")), NOON * US);
    row = row_make(3, (NOON + 10) * US);
    fake_settle(&row);
    assert_int_equal(last_used(s, STR("c")), (NOON + 10) * US);
    assert_int_equal(last_used(s, STR("other")), 0);
    store_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, folder_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_come_back_whole),
        TEST(more_attempts_are_a_number),
        TEST(filters_work_alone_and_together),
        TEST(pages_hold_each_row_once),
        TEST(bad_limits_are_refused),
        TEST(recent_sums_slots),
        TEST(recent_grows),
        TEST(last_used_is_the_latest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
