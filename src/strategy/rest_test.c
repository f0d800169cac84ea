/* How long a model rests, with a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "strategy/rest.h"

static const uint64_t start = 1000 * CLOCK_S;
static const uint64_t minute = 60 * 1000, hour = 3600 * 1000; /* ms */
#define A STR("openai"), STR("gpt-4o")

/* Begins just when the one before is over; its length is what is expected. */
static uint64_t assert_begins(struct rests *r, enum rest_reason reason, uint64_t given, uint64_t now,
                              uint64_t ms)
{
    enum rest_reason found = (enum rest_reason)99;
    assert_int_equal(rest_left(r, A, now, NULL), 0);
    rest_begin(r, A, reason, given, now);
    assert_int_equal(rest_left(r, A, now, &found), ms);
    assert_int_equal(found, reason);
    assert_int_equal(rest_left(r, A, now + ms * CLOCK_MS - 1, NULL), 1);
    assert_int_equal(rest_left(r, A, now + ms * CLOCK_MS, NULL), 0);
    return now + ms * CLOCK_MS;
}

static void test_rate(void **state)
{
    static const uint64_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct rests *r = rests_new();
    uint64_t now = start;
    for (size_t i = 0; i < COUNT_OF(seconds); i++)
        now = assert_begins(r, REST_RATE, 0, now, seconds[i] * 1000);
    rest_end(r, A); /* it answered: from the beginning */
    now = assert_begins(r, REST_RATE, 0, now, 1000);
    now = assert_begins(r, REST_RATE, 0, now, 2000);
    now = assert_begins(r, REST_RATE, 7500, now, 7500);            /* what the provider says */
    now = assert_begins(r, REST_RATE, UINT64_MAX, now, 24 * hour); /* … within reason */
    assert_begins(r, REST_RATE, 0, now, 4000);
    rests_free(r);
}

static void test_credit(void **state)
{
    static const uint64_t minutes[] = {5, 15, 60, 360, 1440, 1440};
    struct rests *r = rests_new();
    uint64_t now = start;
    for (size_t i = 0; i < COUNT_OF(minutes); i++)
        now = assert_begins(r, REST_CREDIT, 1000, now, minutes[i] * minute);
    rest_end(r, A);
    assert_begins(r, REST_CREDIT, 0, now, 5 * minute);
    rests_free(r);
}

static void test_unsupported(void **state)
{
    struct rests *r = rests_new();
    uint64_t now = assert_begins(r, REST_UNSUPPORTED, 0, start, hour);
    assert_begins(r, REST_UNSUPPORTED, 0, now, hour);
    rests_free(r);
}

/* Ten requests that fail together are one failure. */
static void test_failures_of_the_same_time(void **state)
{
    struct rests *r = rests_new();
    for (uint64_t i = 0; i < 10; i++)
        rest_begin(r, A, REST_RATE, 0, start + i * CLOCK_MS);
    assert_int_equal(rest_left(r, A, start, NULL), 1000);
    assert_begins(r, REST_RATE, 0, start + CLOCK_S, 2000);
    for (int i = 0; i < 10; i++)
        rest_begin(r, A, REST_CREDIT, 0, start + 2 * CLOCK_S);
    assert_int_equal(rest_left(r, A, start + 2 * CLOCK_S, NULL), 5 * minute);
    rests_free(r);
}

/* The longer one counts, whichever came first. */
static void test_two_reasons(void **state)
{
    enum rest_reason reason;
    struct rests *r = rests_new();
    rest_begin(r, A, REST_RATE, 0, start);
    rest_begin(r, A, REST_CREDIT, 0, start);
    rest_begin(r, A, REST_RATE, 2000, start);
    assert_int_equal(rest_left(r, A, start, &reason), 5 * minute);
    assert_int_equal(reason, REST_CREDIT);
    rest_begin(r, A, REST_UNSUPPORTED, 0, start);
    assert_int_equal(rest_left(r, A, start, &reason), hour);
    assert_int_equal(reason, REST_UNSUPPORTED);
    rest_begin(r, A, REST_RATE, 2 * hour, start);
    assert_int_equal(rest_left(r, A, start, &reason), 2 * hour);
    rest_begin(r, A, REST_RATE, hour, start);
    assert_int_equal(rest_left(r, A, start, &reason), 2 * hour);
    rests_free(r);
}

static void test_each_for_itself(void **state)
{
    struct rests *r = rests_new();
    assert_int_equal(rest_left(r, A, start, NULL), 0);
    rest_end(r, A);
    rest_begin(r, STR("ab"), STR("c"), REST_UNSUPPORTED, 0, start);
    assert_int_equal(rest_left(r, STR("a"), STR("bc"), start, NULL), 0);
    assert_int_equal(rest_left(r, STR("abc"), STR_NONE, start, NULL), 0);
    assert_int_equal(rest_left(r, STR("ab"), STR("d"), start, NULL), 0);
    assert_int_equal(rest_left(r, STR("AB"), STR("C"), start, NULL), hour); /* as strategies compare */
    rest_begin(r, STR("ab"), STR_NONE, REST_RATE, 0, start);
    rest_begin(r, STR("ab"), STR("d"), REST_RATE, 0, start);
    rest_end(r, STR("ab"), STR("x"));
    rest_end(r, STR("ab"), STR("c"));
    assert_int_equal(rest_left(r, STR("ab"), STR("c"), start, NULL), 0);
    assert_int_equal(rest_left(r, STR("ab"), STR("d"), start, NULL), 1000);
    assert_int_equal(rest_left(r, STR("ab"), STR_NONE, start, NULL), 1000);
    rests_free(r);
    rests_free(NULL);
}

static uint64_t left_of(struct rests *r, int i)
{
    char name[32];
    snprintf(name, sizeof name, "model-%d", i);
    return rest_left(r, STR("p"), str_from_c(name), start + 1025 * CLOCK_MS, NULL);
}

static void test_the_oldest_goes(void **state)
{
    struct rests *r = rests_new();
    char name[32];
    for (int i = 0; i < 1025; i++) {
        snprintf(name, sizeof name, "model-%d", i);
        rest_begin(r, STR("p"), str_from_c(name), REST_UNSUPPORTED, 0, start + (uint64_t)i * CLOCK_MS);
    }
    assert_int_equal(left_of(r, 0), 0);
    for (int i = 1; i < 1025; i++)
        assert_true(left_of(r, i) > 0);
    for (int i = 1025; i < 5000; i++) {
        snprintf(name, sizeof name, "model-%d", i);
        rest_begin(r, STR("p"), str_from_c(name), REST_UNSUPPORTED, 0, start + (uint64_t)i * CLOCK_MS);
    }
    assert_int_equal(left_of(r, 5000 - 1025), 0);
    assert_true(left_of(r, 5000 - 1024) > 0);
    assert_true(left_of(r, 4999) > 0);
    rests_free(r);
}

static void *crowd_thread(void *argument)
{
    struct rests *r = argument;
    char name[32];
    for (uint64_t i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "model-%d", (int)(i % 50));
        struct str model = str_from_c(name);
        if (!rest_left(r, STR("p"), model, start + i * CLOCK_S, NULL))
            rest_begin(r, STR("p"), model, (enum rest_reason)(i % 3), 0, start + i * CLOCK_S);
        else if (i % 2)
            rest_end(r, STR("p"), model);
    }
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "model-%d", i);
        rest_end(r, STR("p"), str_from_c(name));
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    pthread_t threads[4];
    struct rests *r = rests_new();
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_thread, r), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 50; i++) /* the last to end has forgotten them all */
        assert_int_equal(left_of(r, i), 0);
    rests_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_failures_of_the_same_time),
        cmocka_unit_test(test_two_reasons),
        cmocka_unit_test(test_each_for_itself),
        cmocka_unit_test(test_the_oldest_goes),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests_name("strategy_rest", tests, NULL, NULL);
}
