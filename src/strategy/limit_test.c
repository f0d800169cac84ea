/* The limits, one thread, with a clock of our own: what passes, what is refused and until when. */
#include "strategy/limit_test.h"

static const uint64_t start = 1000 * CLOCK_S; /* less than an hour: the machine has just started */
static struct limit_refusal refusal;

static bool reserve(struct limiter *l, struct amounts a, uint64_t now, struct limit_hold *hold)
{
    *hold = (struct limit_hold){0};
    return limiter_reserve(l, &a, false, now, hold, &refusal);
}

/* Reserved and used at once: whether it passed. */
static bool spend(struct limiter *l, struct amounts a, uint64_t now)
{
    struct limit_hold hold;
    if (!reserve(l, a, now, &hold))
        return false;
    limiter_settle(&hold, &a, now);
    return true;
}

static void assert_status(struct limiter *l, size_t i, uint64_t now, int64_t used, int64_t reserved)
{
    struct limit_status s = status_of(l, i, now);
    assert_int_equal(s.used, used);
    assert_int_equal(s.reserved, reserved);
    assert_int_equal(s.remaining, MAX(s.config.value - used - reserved, 0));
}

static void test_tenth_passes_eleventh_not(void **state)
{
    for (int window = WINDOW_MINUTE; window <= WINDOW_DAY; window++) {
        struct limiter *l = LIMITER({LIMIT_REQUESTS, (enum limit_window)window, 10, true});
        for (int i = 0; i < 10; i++)
            assert_true(spend(l, use(5, 0), start));
        assert_false(spend(l, use(5, 0), start));
        assert_int_equal(refusal.kind, LIMIT_REQUESTS);
        assert_int_equal(refusal.window, window);
        assert_int_equal(refusal.limit, 10);
        assert_int_equal(refusal.used, 10);
        assert_int_equal(refusal.reserved, 0);
        assert_int_equal(refusal.asked, 1);
        assert_false(refusal.never);
        assert_status(l, 0, start, 10, 0);
        limiter_unref(l);
    }
}

static void test_every_kind_is_counted(void **state)
{
    for (int kind = 0; kind < LIMIT_KINDS; kind++) {
        struct limiter *l = LIMITER({(enum limit_kind)kind, WINDOW_HOUR, 100, true});
        struct amounts a = {{1, 2, 3, 5, 7}};
        for (int64_t i = 0; i < 100 / a.of[kind]; i++)
            assert_true(spend(l, a, start));
        assert_false(spend(l, a, start));
        assert_int_equal(refusal.kind, kind);
        assert_int_equal(refusal.asked, a.of[kind]);
        limiter_unref(l);
    }
}

static void test_all_limits_together(void **state)
{
    struct limiter *l = LIMITER(LIMIT(REQUESTS, MINUTE, 3), LIMIT(TOTAL_TOKENS, HOUR, 100),
                                LIMIT(REQUESTS, DAY, 4), LIMIT(COST, DAY, 50));
    assert_true(spend(l, use(10, 10), start));
    assert_true(spend(l, use(10, 10), start));
    assert_false(spend(l, use(81, 10), start)); /* tokens */
    assert_int_equal(refusal.kind, LIMIT_TOTAL_TOKENS);
    assert_false(spend(l, use(10, 31), start)); /* cost */
    assert_int_equal(refusal.kind, LIMIT_COST);
    assert_true(spend(l, use(10, 10), start));
    assert_false(spend(l, use(10, 10), start)); /* the minute's three */
    assert_int_equal(refusal.window, WINDOW_MINUTE);
    assert_true(spend(l, use(10, 10), start + 61 * CLOCK_S));
    assert_false(spend(l, use(10, 10), start + 61 * CLOCK_S)); /* the day's four */
    assert_int_equal(refusal.window, WINDOW_DAY);
    assert_int_equal(limiter_count(l), 4);
    limiter_unref(l);
}

/* The limits before the one that refuses are as if nobody had asked. */
static void test_refusal_touches_nothing(void **state)
{
    struct limiter *l =
        LIMITER(LIMIT(REQUESTS, MINUTE, 10), LIMIT(TOTAL_TOKENS, MINUTE, 100), LIMIT(COST, MINUTE, 1000));
    struct limit_hold hold;
    assert_true(reserve(l, use(60, 10), start, &hold));
    for (int i = 0; i < 50; i++)
        assert_false(spend(l, use(60, 10), start));
    assert_status(l, 0, start, 1, 0);
    assert_status(l, 1, start, 0, 60);
    assert_status(l, 2, start, 0, 10);
    limiter_settle(&hold, &nothing, start);
    for (size_t i = 0; i < 3; i++)
        assert_status(l, i, start, 0, 0);
    limiter_unref(l);
}

static void test_settle_gives_back_what_was_too_much(void **state)
{
    struct limiter *l = LIMITER(LIMIT(TOTAL_TOKENS, MINUTE, 100), LIMIT(REQUESTS, MINUTE, 10));
    struct limit_hold hold, other;
    struct amounts used = use(20, 0);
    assert_true(reserve(l, use(90, 0), start, &hold));
    assert_false(reserve(l, use(11, 0), start, &other));
    limiter_settle(&hold, &used, start);
    assert_null(hold.limiter);
    limiter_settle(&hold, &used, start); /* once is enough */
    assert_status(l, 0, start, 20, 0);
    assert_status(l, 1, start, 1, 0);
    assert_true(reserve(l, use(80, 0), start, &other));
    limiter_settle(&other, &nothing, start);
    limiter_unref(l);
}

static void test_not_counted_is_as_never_asked(void **state)
{
    struct limiter *l = LIMITER(LIMIT(REQUESTS, MINUTE, 1));
    struct limit_hold hold;
    for (int i = 0; i < 5; i++) {
        uint64_t now = start + (uint64_t)i * 7 * CLOCK_S;
        assert_true(reserve(l, use(1, 0), now, &hold));
        assert_status(l, 0, now, 1, 0);
        limiter_settle(&hold, &nothing, now + 6 * CLOCK_S);
        assert_status(l, 0, now + 6 * CLOCK_S, 0, 0);
    }
    /* One that ends when its admission has left takes nobody else's place. */
    assert_true(reserve(l, use(1, 0), start + 100 * CLOCK_S, &hold));
    for (uint64_t later = 161; later < 1000; later += 61) {
        assert_true(spend(l, use(1, 0), start + later * CLOCK_S));
        struct limit_hold late = hold;
        limiter_ref(l);
        limiter_settle(&late, &nothing, start + later * CLOCK_S);
        assert_status(l, 0, start + later * CLOCK_S, 1, 0);
    }
    limiter_unref(hold.limiter);
    limiter_unref(l);
}

static void test_not_counted_takes_no_neighbours_place(void **state)
{
    struct limiter *l = LIMITER(LIMIT(REQUESTS, MINUTE, 2));
    uint64_t next = start + slot_ns(WINDOW_MINUTE), later = next + 60 * CLOCK_S - 1;
    struct limit_hold hold;
    assert_true(reserve(l, use(1, 0), start, &hold));
    assert_true(spend(l, use(1, 0), next));
    assert_status(l, 0, later, 1, 0); /* the first has left, the second has not */
    limiter_settle(&hold, &nothing, later);
    assert_status(l, 0, later, 1, 0);
    limiter_unref(l);
}

static void test_window_slides(void **state)
{
    for (int window = WINDOW_MINUTE; window <= WINDOW_DAY; window++) {
        struct limiter *l = LIMITER({LIMIT_REQUESTS, (enum limit_window)window, 4, true});
        uint64_t length = window_ns[window], slot = slot_ns((enum limit_window)window), times[4];
        for (uint64_t i = 0; i < 4; i++) {
            times[i] = start + i * length / 4;
            assert_true(spend(l, use(1, 0), times[i]));
        }
        for (int i = 0; i < 40; i++) { /* each takes the place of the one a window ago */
            uint64_t leaves = times[i % 4] + length;
            assert_false(spend(l, use(1, 0), leaves - 1));
            times[i % 4] = leaves + slot;
            assert_true(spend(l, use(1, 0), times[i % 4]));
            assert_false(spend(l, use(1, 0), times[i % 4]));
        }
        limiter_unref(l);
    }
}

static void test_long_idle(void **state)
{
    static const uint64_t idle[] = {61, 84, 85, 86, 87, 120, 146, 1000, 100000, 1000000};
    for (size_t i = 0; i < COUNT_OF(idle); i++) {
        struct limiter *l = LIMITER(LIMIT(REQUESTS, MINUTE, 2), LIMIT(TOTAL_TOKENS, MINUTE, 20));
        uint64_t now = start;
        for (int round = 0; round < 5; round++, now += idle[i] * CLOCK_S) {
            assert_true(spend(l, use(10, 0), now));
            assert_true(spend(l, use(10, 0), now));
            assert_false(spend(l, use(10, 0), now));
            assert_status(l, 1, now, 20, 0);
            assert_false(spend(l, use(10, 0), now + 60 * CLOCK_S - 1));
        }
        assert_status(l, 0, now + 61 * CLOCK_S, 0, 0);
        assert_status(l, 1, now + 61 * CLOCK_S, 0, 0);
        limiter_unref(l);
    }
}

static void test_beyond_the_limit_once_then_nothing(void **state)
{
    struct limiter *l = LIMITER(LIMIT(TOTAL_TOKENS, MINUTE, 100), LIMIT(COST, MINUTE, 100));
    struct limit_hold hold;
    struct amounts used = use(500, 500);
    assert_true(reserve(l, use(10, 10), start, &hold));
    limiter_settle(&hold, &used, start);
    assert_status(l, 0, start, 500, 0);
    for (uint64_t s = 0; s < 60; s += 3)
        assert_false(spend(l, use(1, 1), start + s * CLOCK_S));
    assert_false(spend(l, use(0, 0), start)); /* not even what asks for nothing */
    assert_int_equal(refusal.used, 500);
    assert_int_equal(refusal.kind, LIMIT_TOTAL_TOKENS);
    assert_true(spend(l, use(100, 100), start + 60 * CLOCK_S + slot_ns(WINDOW_MINUTE)));
    limiter_unref(l);
}

static void test_free_models_cost_nothing(void **state)
{
    struct limiter *l = LIMITER(LIMIT(COST, MINUTE, 100));
    struct limit_hold hold;
    struct amounts dear = use(1, 1000);
    assert_true(reserve(l, use(1, 100), start, &hold));
    assert_false(spend(l, use(1, 1), start));
    assert_true(spend(l, use(1000, 0), start));
    limiter_settle(&hold, &dear, start);
    assert_true(spend(l, use(1000, 0), start));
    assert_false(spend(l, use(1, 1), start));
    assert_int_equal(refusal.used, 1000);
    limiter_unref(l);
}

/* After retry_after it passes, and not one slot too late. */
static void test_retry_after_is_honest(void **state)
{
    for (int window = WINDOW_MINUTE; window <= WINDOW_DAY; window++) {
        enum limit_window w = (enum limit_window)window;
        uint32_t seed = 7;
        for (int round = 0; round < 50; round++) {
            struct limiter *l = LIMITER({LIMIT_TOTAL_TOKENS, w, 1000, true});
            uint64_t now = start + dice(&seed);
            while (spend(l, use(dice(&seed) % 150 + 150, 0), now))
                now += dice(&seed) % 1000 * window_ns[w] / 20000;
            struct amounts asked = {{1, 0, 0, refusal.asked, 0}};
            uint64_t then = now + refusal.retry_after_ms * CLOCK_MS, slot = slot_ns(w);
            assert_in_range(refusal.retry_after_ms, 1, (window_ns[w] + slot) / CLOCK_MS + 1);
            assert_false(spend(l, asked, MAX(then - slot - CLOCK_MS, now)));
            assert_false(spend(l, asked, then - CLOCK_MS)); /* in slots, it is exact to the millisecond */
            assert_true(spend(l, asked, then));
            limiter_unref(l);
        }
    }
}

static void test_retry_after_reservations(void **state)
{
    struct limiter *l = LIMITER(LIMIT(TOTAL_TOKENS, HOUR, 100));
    struct limit_hold hold;
    assert_true(reserve(l, use(70, 0), start, &hold));
    assert_false(spend(l, use(40, 0), start));
    assert_int_equal(refusal.retry_after_ms, 1000);
    assert_int_equal(refusal.reserved, 70);
    assert_true(spend(l, use(30, 0), start)); /* with what is used there is enough to wait for */
    assert_false(spend(l, use(30, 0), start));
    assert_in_range(refusal.retry_after_ms, 3600 * 1000, 3603 * 1000);
    limiter_settle(&hold, &nothing, start);
    limiter_unref(l);
}

static void test_never(void **state)
{
    struct limiter *l = LIMITER(LIMIT(TOTAL_TOKENS, MINUTE, 100), LIMIT(TOTAL_TOKENS, HOUR, 1000));
    assert_false(spend(l, use(101, 0), start));
    assert_true(refusal.never);
    assert_true(refusal.retry_after_ms >= 1);
    assert_int_equal(refusal.asked, 101);
    assert_int_equal(refusal.window, WINDOW_MINUTE);
    assert_true(spend(l, use(100, 0), start));
    assert_false(spend(l, use(100, 0), start));
    assert_false(refusal.never);
    limiter_unref(l);
}

static void test_guess_passes_an_empty_window(void **state)
{
    struct limiter *l = LIMITER(LIMIT(TOTAL_TOKENS, MINUTE, 100), LIMIT(TOTAL_TOKENS, HOUR, 10000));
    struct amounts guess = use(1000, 0), small = use(30, 0);
    struct limit_hold hold = {0}, second = {0};
    assert_true(limiter_reserve(l, &guess, true, start, &hold, &refusal));
    assert_status(l, 0, start, 0, 100);
    assert_status(l, 1, start, 0, 1000);
    assert_false(limiter_reserve(l, &guess, true, start, &second, &refusal));
    assert_false(refusal.never);
    assert_int_equal(refusal.asked, 1000);
    assert_int_equal(refusal.window, WINDOW_MINUTE);
    limiter_settle(&hold, &small, start);
    assert_status(l, 0, start, 30, 0);
    assert_status(l, 1, start, 30, 0);
    assert_false(limiter_reserve(l, &guess, true, start, &second, &refusal)); /* something is used */
    assert_true(limiter_reserve(l, &guess, true, start + 61 * CLOCK_S, &second, &refusal));
    limiter_settle(&second, &nothing, start + 61 * CLOCK_S);
    limiter_unref(l);
}

static void test_same_window_twice_and_disabled(void **state)
{
    struct limiter *l = LIMITER(LIMIT(REQUESTS, MINUTE, 3), LIMIT(REQUESTS, MINUTE, 5),
                                {LIMIT_TOTAL_TOKENS, WINDOW_MINUTE, 1, false});
    for (int i = 0; i < 3; i++)
        assert_true(spend(l, use(10, 0), start));
    assert_false(spend(l, use(10, 0), start));
    assert_int_equal(refusal.limit, 3);
    assert_status(l, 0, start, 3, 0);
    assert_status(l, 1, start, 3, 0);
    assert_status(l, 2, start, 30, 0); /* counted, but nobody is refused */
    limiter_unref(l);
}

static void test_no_limits(void **state)
{
    struct limiter *l = limiter_new(NULL, 0);
    for (int i = 0; i < 1000; i++)
        assert_true(spend(l, use(INT64_MAX, INT64_MAX), start));
    assert_int_equal(limiter_count(l), 0);
    limiter_unref(l);
    limiter_unref(NULL);
}

/* Absurd usage from a provider: the sum stays at its largest, and empties again to nothing. */
static void test_overflow(void **state)
{
    struct limiter *l = LIMITER(LIMIT(TOTAL_TOKENS, MINUTE, INT64_MAX), LIMIT(COST, MINUTE, 5));
    struct amounts absurd = use(INT64_MAX - 5, INT64_MAX), negative = {{-1, -5, -5, -5, -5}};
    struct limit_hold holds[5];
    for (int i = 0; i < 5; i++)
        assert_true(reserve(l, use(3, 1), start, &holds[i]));
    limiter_settle(&holds[0], &absurd, start);
    assert_status(l, 0, start, INT64_MAX - 12, 12); /* beside what is reserved there is room for that much */
    for (int i = 1; i < 5; i++)
        limiter_settle(&holds[i], &absurd, start);
    limiter_replay(l, &absurd, 0, start);
    assert_status(l, 0, start, INT64_MAX, 0);
    assert_status(l, 1, start, INT64_MAX, 0);
    assert_false(spend(l, use(1, 0), start));
    uint64_t later = start + 61 * CLOCK_S;
    assert_status(l, 0, later, 0, 0);
    assert_status(l, 1, later, 0, 0);
    assert_true(spend(l, negative, later));
    assert_status(l, 0, later, 0, 0);
    limiter_unref(l);
}

static void test_renew_keeps_the_counters(void **state)
{
    struct rate_limit_config other[] = {LIMIT(TOTAL_TOKENS, HOUR, 50), LIMIT(REQUESTS, MINUTE, 3),
                                        LIMIT(REQUESTS, HOUR, 10)};
    struct limiter *old = LIMITER(LIMIT(REQUESTS, MINUTE, 10), LIMIT(COST, DAY, 10));
    struct limit_hold hold;
    assert_true(spend(old, use(10, 1), start));
    assert_true(reserve(old, use(10, 1), start, &hold));
    struct limiter *l = limiter_renew(old, other, COUNT_OF(other));
    limiter_unref(old); /* the hold keeps it */
    assert_status(l, 1, start, 2, 0);
    assert_status(l, 0, start, 0, 0);
    struct amounts used = use(40, 1);
    limiter_settle(&hold, &used, start + CLOCK_S); /* counts where it held nothing, too */
    assert_status(l, 0, start + CLOCK_S, 40, 0);
    assert_status(l, 1, start + CLOCK_S, 2, 0);
    assert_status(l, 2, start + CLOCK_S, 1, 0);
    assert_true(spend(l, use(10, 1), start + CLOCK_S));
    assert_false(spend(l, use(1, 1), start + CLOCK_S));
    /* A limit that comes back finds what was used while it was away. */
    struct rate_limit_config cost[] = {LIMIT(COST, DAY, 10)};
    struct limiter *again = limiter_renew(l, cost, 1);
    limiter_unref(l);
    assert_status(again, 0, start + CLOCK_S, 3, 0);
    int64_t average;
    assert_int_equal(limiter_estimate(again, 1, 0, start + CLOCK_S, &average).of[LIMIT_TOTAL_TOKENS], 20);
    limiter_unref(again);
}

/* A limit that is new counts the requests under way from when they were admitted, too. */
static void test_renew_counts_from_admission(void **state)
{
    struct rate_limit_config minute[] = {LIMIT(REQUESTS, MINUTE, 3), LIMIT(TOTAL_TOKENS, MINUTE, 100)};
    struct limiter *old = limiter_new(NULL, 0), *l = limiter_renew(old, minute, 2);
    struct limit_hold hold, longer;
    struct amounts used = use(10, 0);
    uint64_t now = start + 50 * CLOCK_S;
    assert_true(reserve(old, used, start, &hold));
    assert_true(reserve(old, used, start - 20 * CLOCK_S, &longer));
    limiter_settle(&hold, &used, now);
    limiter_settle(&longer, &used, now);
    assert_status(l, 0, now, 1, 0);
    assert_status(l, 1, now, 20, 0);
    assert_status(l, 0, now + 11 * CLOCK_S, 0, 0);
    assert_status(l, 1, now + 11 * CLOCK_S, 20, 0);
    limiter_unref(old);
    limiter_unref(l);
}

static void test_replay(void **state)
{
    struct limiter *l =
        LIMITER(LIMIT(REQUESTS, MINUTE, 100), LIMIT(TOTAL_TOKENS, HOUR, 1000), LIMIT(COST, DAY, 100000));
    struct amounts rows = {{7, 30, 40, 70, 700}};
    uint64_t now = 5 * CLOCK_S; /* the machine is younger than what is replayed */
    limiter_replay(l, &rows, 86399 * CLOCK_S, now);
    limiter_replay(l, &rows, 3599 * CLOCK_S, now);
    limiter_replay(l, &rows, 59 * CLOCK_S, now);
    limiter_replay(l, &rows, 0, now);
    limiter_replay(l, &rows, 90000 * CLOCK_S, now);
    limiter_replay(l, &rows, UINT64_MAX, now);
    limiter_replay(l, &nothing, 0, now);
    assert_status(l, 0, now, 14, 0);
    assert_status(l, 1, now, 210, 0);
    assert_status(l, 2, now, 2800, 0);
    now += 2 * CLOCK_S;
    assert_status(l, 0, now, 7, 0);
    now += 2 * CLOCK_S;
    assert_status(l, 1, now, 140, 0);
    int64_t average;
    struct amounts a = limiter_estimate(l, 0, 0, now, &average);
    assert_int_equal(a.of[LIMIT_TOTAL_TOKENS], 10);
    assert_int_equal(average, 100);
    limiter_unref(l);
}

static void test_reset_is_when_the_oldest_leaves(void **state)
{
    struct limiter *l = LIMITER(LIMIT(REQUESTS, MINUTE, 10));
    assert_int_equal(status_of(l, 0, start).reset_ms, 0);
    assert_true(spend(l, use(1, 0), start));
    assert_true(spend(l, use(1, 0), start + 20 * CLOCK_S));
    assert_in_range(status_of(l, 0, start + 20 * CLOCK_S).reset_ms, 40000, 40000 + 43);
    assert_in_range(status_of(l, 0, start + 61 * CLOCK_S).reset_ms, 19000, 19000 + 43);
    assert_int_equal(status_of(l, 0, start + 81 * CLOCK_S).reset_ms, 0);
    limiter_unref(l);
}

static void assert_estimate(struct limiter *l, size_t prompt, uint64_t max, uint64_t now, int64_t in,
                            int64_t out, int64_t total, int64_t cost)
{
    int64_t average = -1;
    struct amounts a = limiter_estimate(l, prompt, max, now, &average);
    assert_int_equal(a.of[LIMIT_REQUESTS], 1);
    assert_int_equal(a.of[LIMIT_INPUT_TOKENS], in);
    assert_int_equal(a.of[LIMIT_OUTPUT_TOKENS], out);
    assert_int_equal(a.of[LIMIT_TOTAL_TOKENS], total);
    assert_int_equal(a.of[LIMIT_COST], 0);
    assert_int_equal(average, cost);
}

static void test_estimate(void **state)
{
    struct limiter *l = limiter_new(NULL, 0);
    assert_estimate(l, 0, 0, start, 1, 1, 2, 0);
    assert_estimate(l, 401, 0, start, 101, 101, 202, 0);
    assert_estimate(l, 40000, 0, start, 10000, 1000, 11000, 0);
    assert_estimate(l, 400, 5000, start, 100, 5000, 5100, 0);
    assert_estimate(l, SIZE_MAX, UINT64_MAX, start, (int64_t)1 << 38, (int64_t)1 << 40,
                    ((int64_t)1 << 38) + ((int64_t)1 << 40), 0);
    assert_true(spend(l, use(100, 10), start));
    assert_true(spend(l, use(201, 21), start + 120 * CLOCK_S));
    struct limit_hold hold;
    assert_true(reserve(l, use(900, 0), start + 120 * CLOCK_S, &hold));
    limiter_settle(&hold, &nothing, start + 120 * CLOCK_S); /* did not count */
    uint64_t now = start + 500 * CLOCK_S;
    assert_estimate(l, 4000, 0, now, 75, 76, 151, 16); /* rounded up */
    assert_estimate(l, 40, 10, now, 75, 76, 151, 16);  /* the average is more than prompt and max_tokens */
    assert_estimate(l, 4000, 10, now, 1000, 76, 1010, 16);
    assert_estimate(l, 40, 100, now, 75, 100, 151, 16);
    assert_estimate(l, 40, 1000, now, 75, 1000, 1010, 16);
    assert_estimate(l, 40, 0, start + 121 * CLOCK_S + 600 * CLOCK_S, 100, 101, 201, 21);
    assert_estimate(l, 40, 0, start + 1000 * CLOCK_S, 10, 10, 20, 0);
    assert_true(spend(l, use(8, 0), start + 16 * 60 * CLOCK_S)); /* the place of the very first */
    assert_estimate(l, 40, 0, start + 16 * 60 * CLOCK_S, 4, 4, 8, 0);
    limiter_unref(l);
}

static void test_absurd_usage_does_not_wrap_the_average(void **state)
{
    struct limiter *l = limiter_new(NULL, 0);
    for (int i = 0; i < 100; i++) {
        struct amounts a = use((int64_t)1 << 58, INT64_MAX >> i % 3);
        int64_t average;
        assert_true(spend(l, a, start + (uint64_t)i * CLOCK_S));
        assert_true(limiter_estimate(l, 0, 0, start, &average).of[LIMIT_TOTAL_TOKENS] > 0);
        assert_true(average >= 0);
    }
    limiter_unref(l);
}

static void test_names(void **state)
{
    assert_string_equal(limit_kind_name(LIMIT_REQUESTS), "requests");
    assert_string_equal(limit_kind_name(LIMIT_INPUT_TOKENS), "input_tokens");
    assert_string_equal(limit_kind_name(LIMIT_OUTPUT_TOKENS), "output_tokens");
    assert_string_equal(limit_kind_name(LIMIT_TOTAL_TOKENS), "total_tokens");
    assert_string_equal(limit_kind_name(LIMIT_COST), "cost");
    assert_string_equal(limit_window_name(WINDOW_MINUTE), "minute");
    assert_string_equal(limit_window_name(WINDOW_HOUR), "hour");
    assert_string_equal(limit_window_name(WINDOW_DAY), "day");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tenth_passes_eleventh_not),
        cmocka_unit_test(test_every_kind_is_counted),
        cmocka_unit_test(test_all_limits_together),
        cmocka_unit_test(test_refusal_touches_nothing),
        cmocka_unit_test(test_settle_gives_back_what_was_too_much),
        cmocka_unit_test(test_not_counted_is_as_never_asked),
        cmocka_unit_test(test_not_counted_takes_no_neighbours_place),
        cmocka_unit_test(test_window_slides),
        cmocka_unit_test(test_long_idle),
        cmocka_unit_test(test_beyond_the_limit_once_then_nothing),
        cmocka_unit_test(test_free_models_cost_nothing),
        cmocka_unit_test(test_retry_after_is_honest),
        cmocka_unit_test(test_retry_after_reservations),
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_guess_passes_an_empty_window),
        cmocka_unit_test(test_same_window_twice_and_disabled),
        cmocka_unit_test(test_no_limits),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_renew_keeps_the_counters),
        cmocka_unit_test(test_renew_counts_from_admission),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_reset_is_when_the_oldest_leaves),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_absurd_usage_does_not_wrap_the_average),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("strategy_limit", tests, NULL, NULL);
}
