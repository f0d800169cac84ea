/* Usage: sums in all tiers and grains, ranges, quantiles, exactly once, retention. */
#include "store/test.h"

#include "store/journal_fake.h"

#define MINUTE INT64_C(60)
#define HOUR INT64_C(3600)
#define DAY INT64_C(86400)

/* ---- asking -------------------------------------------------------------------------------------------- */

struct asked {
    struct store *store;
    struct usage_query query;
    struct arena arena;
    struct usage_point *points;
    size_t count;
    enum err err;
    struct error error;
};

static void asked_main(struct task *t, void *argument)
{
    struct asked *a = argument;
    a->err = store_usage(t, a->store, &a->query, &a->arena, &a->points, &a->count, &a->error);
}

static struct asked ask(struct store *s, enum usage_tier tier, struct str id, int64_t from, int64_t to,
                        enum usage_grain grain)
{
    struct asked a = {.store = s, .query = {tier, id, from, to, grain}};
    run_task(asked_main, &a);
    return a;
}

static void asked_free(struct asked *a)
{
    arena_free(&a->arena);
}

/* The one point that holds `at`. */
static struct usage_point point(struct store *s, enum usage_tier tier, struct str id, int64_t at,
                                enum usage_grain grain)
{
    int64_t step = grain_seconds(grain), from = at / step * step;
    CLEANUP(asked_free) struct asked a = ask(s, tier, id, from, from + step, grain);
    assert_int_equal(a.err, OK);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.points[0].at, from);
    return a.points[0];
}

static void settle(struct request_row row)
{
    fake_settle(&row);
}

/* ---- sums ---------------------------------------------------------------------------------------------- */

static const struct {
    enum usage_tier tier;
    struct str id;
} tiers[] = {{TIER_GLOBAL, {NULL, 0}},
             {TIER_CLIENT, {"c", 1}},
             {TIER_PROVIDER, {"p", 1}},
             {TIER_MODEL, {"p/m", 3}},
             {TIER_STRATEGY, {"s", 1}}};

static void sums_are_right_in_all_tiers_and_grains(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 7; i++)
        settle(row_make(i, NOON * US + (int64_t)i * US));
    for (size_t i = 0; i < COUNT_OF(tiers); i++)
        for (enum usage_grain grain = GRAIN_MINUTE; grain <= GRAIN_DAY; grain++) {
            struct usage_point p = point(s, tiers[i].tier, tiers[i].id, NOON, grain);
            assert_int_equal(p.requests, 7);
            assert_int_equal(p.ok, 7);
            assert_int_equal(p.failed + p.cancelled + p.aborted, 0);
            assert_int_equal(p.input_tokens, 70);
            assert_int_equal(p.output_tokens, 140);
            assert_int_equal(p.cached_tokens, 21);
            assert_int_equal(p.reasoning_tokens, 28);
            assert_int_equal(p.cost, 3500);
            assert_int_equal(p.latency_sum_ms, 7 * 61500);
            assert_int_equal(p.first_byte_sum_ms, 7 * 250);
            assert_int_equal(p.first_byte_count, 7);
            assert_int_equal(p.latency[16], 7); /* below 65.536 s */
        }
    store_close(s);
}

static void minutes_end_where_they_end(void **state)
{
    struct store *s = store_new();
    settle(row_make(1, NOON * US - 1));
    settle(row_make(2, NOON * US));
    settle(row_make(3, (NOON + MINUTE) * US - 1));
    settle(row_make(4, (NOON + MINUTE) * US));
    CLEANUP(asked_free)
    struct asked a = ask(s, TIER_GLOBAL, STR_NONE, NOON - MINUTE, NOON + 3 * MINUTE, GRAIN_MINUTE);
    const uint64_t expected[] = {1, 2, 1, 0};
    assert_int_equal(a.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(a.points[i].at, NOON + ((int64_t)i - 1) * MINUTE);
        assert_int_equal(a.points[i].requests, expected[i]);
    }
    store_close(s);
}

static void outcomes_count_as_what_they_are(void **state)
{
    struct store *s = store_new();
    static const enum entry_outcome outcomes[] = {
        ENTRY_OK,        ENTRY_FAILED,  ENTRY_FAILED,  ENTRY_CANCELLED, ENTRY_CANCELLED,
        ENTRY_CANCELLED, ENTRY_ABORTED, ENTRY_ABORTED, ENTRY_ABORTED,   ENTRY_ABORTED};
    for (size_t i = 0; i < COUNT_OF(outcomes); i++) {
        struct request_row row = row_make(i, NOON * US);
        row.state.outcome = outcomes[i];
        row.state.first_byte_us = 0;
        settle(row);
    }
    struct usage_point p = point(s, TIER_CLIENT, STR("c"), NOON, GRAIN_HOUR);
    assert_int_equal(p.requests, 10);
    assert_int_equal(p.ok, 1);
    assert_int_equal(p.failed, 2);
    assert_int_equal(p.cancelled, 3);
    assert_int_equal(p.aborted, 4);
    assert_int_equal(p.first_byte_count, 0);
    store_close(s);
}

struct ids {
    struct store *store;
    enum usage_tier tier;
    struct arena arena;
    struct str *list;
    size_t count;
};

static void ids_main(struct task *t, void *argument)
{
    struct ids *x = argument;
    struct error error;
    assert_int_equal(store_usage_ids(t, x->store, x->tier, &x->arena, &x->list, &x->count, &error), OK);
}

static struct ids ids_of(struct store *s, enum usage_tier tier)
{
    struct ids x = {.store = s, .tier = tier};
    run_task(ids_main, &x);
    return x;
}

/* Nobody answered, nobody asked by name: in no tier but the global one. */
static void nobody_is_in_no_tier(void **state)
{
    struct store *s = store_new();
    struct request_row row = row_make(1, NOON * US);
    row.open.client = row.open.strategy = row.state.provider = row.state.model = STR_NONE;
    row.state.outcome = ENTRY_FAILED;
    settle(row);
    assert_int_equal(point(s, TIER_GLOBAL, STR_NONE, NOON, GRAIN_DAY).failed, 1);
    for (enum usage_tier tier = TIER_GLOBAL; tier <= TIER_STRATEGY; tier++)
        assert_int_equal(ids_of(s, tier).count, 0);
    store_close(s);
}

static void ids_are_sorted_and_any_text(void **state)
{
    static const char nasty[] = "'; DROP TABLE usage; --\0\xff\"";
    struct store *s = store_new();
    struct str names[] = {STR("zeta"), str_make(nasty, sizeof nasty - 1), STR("alpha"), STR("Alpha")};
    for (size_t i = 0; i < COUNT_OF(names) * 3; i++) {
        struct request_row row = row_make(i, (NOON + (int64_t)i * DAY) * US);
        row.open.client = names[i % COUNT_OF(names)];
        settle(row);
    }
    struct ids x = ids_of(s, TIER_CLIENT);
    assert_int_equal(x.count, 4);
    assert_true(str_eq(x.list[0], names[1]));
    assert_true(str_eq(x.list[1], STR("Alpha")));
    assert_true(str_eq(x.list[2], STR("alpha")));
    assert_true(str_eq(x.list[3], STR("zeta")));
    assert_int_equal(point(s, TIER_CLIENT, names[1], NOON + DAY, GRAIN_DAY).requests, 1);
    arena_free(&x.arena);
    store_close(s);
}

static void sums_stay_at_the_largest(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 2; i++) {
        struct request_row row = row_make(i, NOON * US);
        row.state.cost = INT64_MAX - 5;
        settle(row);
        assert_int_equal(point(s, TIER_GLOBAL, STR_NONE, NOON, GRAIN_DAY).requests, i + 1);
    }
    assert_true(point(s, TIER_GLOBAL, STR_NONE, NOON, GRAIN_DAY).cost == INT64_MAX); /* in the database */
    for (uint64_t i = 2; i < 4; i++) {
        struct request_row row = row_make(i, (NOON + DAY) * US);
        row.state.cost = INT64_MAX - 5;
        settle(row);
    }
    assert_true(point(s, TIER_GLOBAL, STR_NONE, NOON + DAY, GRAIN_DAY).cost == INT64_MAX); /* in a batch */
    store_close(s);
}

/* More than a batch, and more cells than are kept in memory at once. */
static void many_at_once(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 3500; i++)
        settle(row_make(i, (NOON / DAY * DAY + (int64_t)(i % 1440) * MINUTE) * US));
    assert_int_equal(point(s, TIER_STRATEGY, STR("s"), NOON, GRAIN_DAY).requests, 3500);
    assert_int_equal(point(s, TIER_STRATEGY, STR("s"), NOON, GRAIN_MINUTE).requests, 3);
    assert_int_equal(COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages"), 3500);
    assert_int_equal(COUNT(s, "SELECT sum(requests) FROM usage WHERE grain = 1 AND tier = 0"), 3500);
    assert_int_equal(COUNT(s, "SELECT sum(requests) FROM usage WHERE grain = 2 AND tier = 3"), 3500);
    store_close(s);
}

/* ---- exactly once -------------------------------------------------------------------------------------- */

/* As if the commit of the last batch had failed, and was done all the same. */
static void commit_in_doubt(void *argument)
{
    struct store *s = argument;
    struct request_row row = row_make(0, NOON * US);
    s->doubt = (struct doubt){s->batch_number, row.boot, row.open.at_us, 3};
    pages_forget(&s->pages);
    names_forget(&s->names);
}

static void given_twice_counts_once(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 3; i++)
        settle(row_make(i, NOON * US));
    assert_int_equal(point(s, TIER_MODEL, STR("p/m"), NOON, GRAIN_DAY).requests, 3);
    fake_rewind();
    store_ask(s, commit_in_doubt, s);
    settle(row_make(3, NOON * US));
    struct request_row row = row_make(3, NOON * US);
    row.worker = 2; /* another one, and so are these */
    settle(row);
    row.boot++;
    settle(row);
    struct usage_point p = point(s, TIER_MODEL, STR("p/m"), NOON, GRAIN_DAY);
    assert_int_equal(p.requests, 6);
    assert_int_equal(p.output_tokens, 120);
    assert_int_equal(s->known.size, 0); /* all that could come again has come */
    store_close(s);
}

static void replay_counts_once(void **state)
{
    fake.old_count = 2;
    fake.old[0] = row_make(1, NOON * US);
    fake.old[1] = row_make(2, NOON * US);
    fake.old[1].state.outcome = ENTRY_ABORTED;
    fake.damaged = 1;
    fake.forgets = true; /* a crash before the journal was told */
    store_close(store_new());
    assert_int_equal(log_count("journal_damaged"), 1);
    struct store *s = store_new();
    struct usage_point p = point(s, TIER_GLOBAL, STR_NONE, NOON, GRAIN_DAY);
    assert_int_equal(p.requests, 2);
    assert_int_equal(p.aborted, 1);
    store_close(s);
}

static void close_writes_what_is_settled(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 2500; i++)
        settle(row_make(i, NOON * US));
    store_close(s);
    s = store_new();
    assert_int_equal(COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages"), 2500);
    store_close(s);
}

/* Nobody asks for usage: the store's own timer moves it. */
static void timer_writes_batches(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 2500; i++)
        settle(row_make(i, NOON * US));
    uint64_t give_up = clock_after(clock_now(), 60000);
    while (COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages") < 2500 && clock_now() < give_up)
        usleep(1000);
    assert_int_equal(COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages"), 2500);
    assert_int_equal(journal_set_pending(s->journals), 0);
    store_close(s);
}

/* ---- ranges -------------------------------------------------------------------------------------------- */

static void grain_follows_the_span(void **state)
{
    static const struct {
        int64_t span;
        enum usage_grain grain;
        size_t count;
    } cases[] = {{DAY, GRAIN_MINUTE, 1440},
                 {DAY + 1, GRAIN_HOUR, 25},
                 {7 * DAY, GRAIN_HOUR, 168},
                 {7 * DAY + 1, GRAIN_DAY, 8},
                 {400 * DAY, GRAIN_DAY, 400}};
    struct store *s = store_new();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CLEANUP(asked_free)
        struct asked a =
            ask(s, TIER_CLIENT, STR("unknown"), 100 * DAY, 100 * DAY + cases[i].span, GRAIN_AUTO);
        assert_int_equal(a.err, OK);
        assert_int_equal(a.query.grain, cases[i].grain);
        assert_int_equal(a.count, cases[i].count);
        for (size_t k = 0; k < a.count; k++) {
            assert_int_equal(a.points[k].at, 100 * DAY + (int64_t)k * grain_seconds(cases[i].grain));
            assert_int_equal(a.points[k].requests, 0);
        }
    }
    store_close(s);
}

/* A row belongs to a range when its beginning does. */
static void ranges_begin_and_end_in_rows(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 4; i++)
        settle(row_make(i, (NOON + (int64_t)i * MINUTE) * US));
    CLEANUP(asked_free)
    struct asked a = ask(s, TIER_GLOBAL, STR_NONE, NOON + 1, NOON + 2 * MINUTE + 1, GRAIN_MINUTE);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.points[0].at, NOON + MINUTE);
    assert_int_equal(a.points[1].at, NOON + 2 * MINUTE);
    assert_int_equal(a.points[0].requests + a.points[1].requests, 2);
    CLEANUP(asked_free) struct asked b = ask(s, TIER_GLOBAL, STR_NONE, NOON + 1, NOON + 59, GRAIN_MINUTE);
    assert_int_equal(b.err, OK);
    assert_int_equal(b.count, 0);
    store_close(s);
}

static void bad_ranges_are_refused(void **state)
{
    static const struct {
        int64_t from, to;
        const char *param;
    } cases[] = {{-1, 100, "from"},
                 {100, 100, "to"},
                 {100, 50, "to"},
                 {0, INT64_MAX, "to"},
                 {INT64_MAX, INT64_MAX, "from"},
                 {0, 10001 * MINUTE, "from"}};
    struct store *s = store_new();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct asked a = ask(s, TIER_GLOBAL, STR_NONE, cases[i].from, cases[i].to, GRAIN_MINUTE);
        assert_int_equal(a.err, ERR_BAD_REQUEST);
        assert_string_equal(a.error.param, cases[i].param);
    }
    CLEANUP(asked_free) struct asked most = ask(s, TIER_GLOBAL, STR_NONE, 0, 10000 * MINUTE, GRAIN_MINUTE);
    assert_int_equal(most.count, 10000);
    assert_string_equal(ask(s, TIER_CLIENT, STR_NONE, 0, 60, GRAIN_MINUTE).error.param, "id");
    store_close(s);
}

/* ---- means and quantiles ------------------------------------------------------------------------------- */

static void means_are_weighted(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 4; i++) { /* one slow in a minute, three quick ones in the next */
        struct request_row row = row_make(i, (NOON + (i ? MINUTE : 0)) * US);
        row.state.duration_us = i ? 100000 : 900000;
        settle(row);
    }
    struct usage_point p = point(s, TIER_GLOBAL, STR_NONE, NOON, GRAIN_HOUR);
    assert_int_equal(p.latency_sum_ms / p.requests, 300); /* not the 500 that the two minutes' means make */
    assert_int_equal(p.latency[7], 3);
    assert_int_equal(p.latency[10], 1);
    store_close(s);
}

static bool near(double a, double b)
{
    return a > b - 0.001 && a < b + 0.001;
}

static void quantiles_are_interpolated(void **state)
{
    struct usage_point p = {0};
    assert_true(near(usage_quantile(&p, 0.5), 0));
    p.latency[3] = 10; /* 4 to 8 ms */
    assert_true(near(usage_quantile(&p, 0.5), 6));
    assert_true(near(usage_quantile(&p, 1), 8));
    assert_true(near(usage_quantile(&p, 0), 4));
    p.latency[10] = 10; /* 512 to 1024 */
    assert_true(near(usage_quantile(&p, 0.5), 8));
    assert_true(near(usage_quantile(&p, 0.75), 768));
    assert_true(near(usage_quantile(&p, 2), 1024));
}

static void buckets_hold_what_lies_below(void **state)
{
    static const struct {
        uint64_t us;
        int bucket;
    } cases[] = {{0, 0},          {999, 0},    {1000, 1},    {1999, 1},
                 {2000, 2},       {511999, 9}, {512000, 10}, {UINT64_C(4194304000), 23},
                 {UINT64_MAX, 23}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct usage_point p = {0};
        struct request_row row = row_make(1, NOON * US);
        row.state.duration_us = cases[i].us;
        usage_point_add(&p, &row);
        assert_int_equal(p.latency[cases[i].bucket], 1);
    }
}

/* ---- retention ----------------------------------------------------------------------------------------- */

struct retained {
    struct store *store;
    int64_t now_us;
};

static void retain_all(void *argument)
{
    struct retained *r = argument;
    bool more = true;
    while (more)
        assert_int_equal(retention_step(r->store, r->now_us, &more), OK);
}

static void retain(struct store *s, int64_t now)
{
    struct retained r = {s, now * US};
    store_ask(s, retain_all, &r);
}

/* Each run's rows are in pages of their own. */
static void settle_of(uint64_t boot, struct request_row row)
{
    row.boot = boot + 1;
    settle(row);
}

static void old_rows_go(void **state)
{
    struct store *s = store_new();
    static const int64_t ages[] = {0,        47 * HOUR, 49 * HOUR, 29 * DAY, 31 * DAY,
                                   34 * DAY, 36 * DAY,  399 * DAY, 401 * DAY};
    int64_t now = NOON / DAY * DAY;
    for (size_t i = 0; i < COUNT_OF(ages); i++)
        settle_of(i, row_make(i, (now - ages[i]) * US));
    assert_int_equal(point(s, TIER_GLOBAL, STR_NONE, now, GRAIN_DAY).requests, 1);
    assert_int_equal(test_exec(s, "INSERT INTO audit (at_us, actor, action, target, detail) VALUES "
                                  "(1, 'a', 'b', 'c', '{}'), (9000000000000000, 'a', 'b', 'c', '{}')"),
                     OK);
    retain(s, now);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM usage WHERE grain = 1 AND tier = 0"), 2);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM usage WHERE grain = 2 AND tier = 1"), 6);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM usage WHERE grain = 3 AND tier = 4"), 8);
    assert_int_equal(COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages"), 4);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM audit"), 1);
    fake_reset();
    store_close(s);
}

static void many_old_rows_go_in_steps(void **state)
{
    struct store *s = store_new();
    for (uint64_t i = 0; i < 1800; i++)
        settle_of(i / 50, row_make(i, (NOON - 500 * DAY + (int64_t)i) * US));
    assert_int_equal(point(s, TIER_GLOBAL, STR_NONE, NOON - 500 * DAY, GRAIN_HOUR).requests, 1800);
    bool more;
    assert_int_equal(retention_step(s, NOON * US, &more), OK);
    assert_true(more);
    int64_t left = COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages");
    assert_true(left >= 1000 && left < 1800);
    retain(s, NOON);
    assert_int_equal(COUNT(s, "SELECT (SELECT count(*) FROM request_pages) + (SELECT count(*) FROM usage)"),
                     0);
    store_close(s);
}

/* Names outlive their last row; those that are used stay, and so do their numbers. */
static void names_without_rows_go(void **state)
{
    struct store *s = store_new();
    int64_t now = clock_wall_us() / US;
    settle(row_make(1, now * US));
    assert_int_equal(point(s, TIER_CLIENT, STR("c"), now, GRAIN_DAY).requests, 1);
    assert_true(COUNT(s, "SELECT count(*) FROM names") > 4);
    retain(s, now + 399 * DAY);
    assert_true(COUNT(s, "SELECT count(*) FROM names") > 4);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM last_used"), 1);
    retain(s, now + 404 * DAY);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM names"), 0);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM last_used"), 0);
    store_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, folder_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sums_are_right_in_all_tiers_and_grains),
        TEST(minutes_end_where_they_end),
        TEST(outcomes_count_as_what_they_are),
        TEST(nobody_is_in_no_tier),
        TEST(ids_are_sorted_and_any_text),
        TEST(sums_stay_at_the_largest),
        TEST(many_at_once),
        TEST(given_twice_counts_once),
        TEST(replay_counts_once),
        TEST(close_writes_what_is_settled),
        TEST(timer_writes_batches),
        TEST(grain_follows_the_span),
        TEST(ranges_begin_and_end_in_rows),
        TEST(bad_ranges_are_refused),
        TEST(means_are_weighted),
        TEST(quantiles_are_interpolated),
        TEST(buckets_hold_what_lies_below),
        TEST(old_rows_go),
        TEST(many_old_rows_go_in_steps),
        TEST(names_without_rows_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
