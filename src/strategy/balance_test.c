/* The strategies' choices and the moving average, by vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "strategy/balance.h"

#include <math.h>
#include <stdio.h>

static struct candidate three[3];

static struct candidate *candidates(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t weights[] = {a, b, c};
    for (uint32_t i = 0; i < 3; i++)
        three[i] = (struct candidate){.index = i, .weight = weights[i]};
    return three;
}

static struct balancer balancer_of(enum routing_strategy strategy, size_t count)
{
    struct balancer b;
    assert_int_equal(balancer_init(&b, strategy, count, 42), OK);
    return b;
}

/* The letters of n choices. */
static const char *choices(struct balancer *b, const struct candidate *list, size_t count, int n)
{
    static char text[64];
    for (int i = 0; i < n; i++)
        text[i] = (char)('A' + list[balance_choose(b, list, count)].index);
    text[n] = '\0';
    return text;
}

static void test_weights_are_smooth(void **state)
{
    struct balancer b = balancer_of(ROUTING_WEIGHTED, 3);
    assert_string_equal(choices(&b, candidates(3, 1, 0), 2, 8), "AABAAABA");
    balancer_free(&b);
    b = balancer_of(ROUTING_WEIGHTED, 3);
    assert_string_equal(choices(&b, candidates(5, 1, 1), 3, 7), "AABACAA");
    balancer_free(&b);
}

/* Without B the other two keep their proportion to each other. */
static void test_weights_of_those_who_are_left(void **state)
{
    struct balancer b = balancer_of(ROUTING_WEIGHTED, 3);
    struct candidate *all = candidates(4, 3, 1);
    struct candidate left[] = {all[0], all[2]};
    int taken[3] = {0};
    for (int i = 0; i < 37; i++)
        balance_choose(&b, all, 3);
    for (int i = 0; i < 1000; i++)
        taken[left[balance_choose(&b, left, 2)].index]++;
    assert_in_range(taken[0], 798, 802);
    assert_in_range(taken[2], 198, 202);
    balancer_free(&b);
}

static void test_round_robin_takes_turns(void **state)
{
    struct balancer b = balancer_of(ROUTING_ROUND_ROBIN, 3);
    assert_string_equal(choices(&b, candidates(9, 1, 1), 3, 7), "ABCABCA");
    balancer_free(&b);
}

/* The turn of the one that is out goes to all others alike. */
static void test_round_robin_around_a_gap(void **state)
{
    struct balancer b = balancer_of(ROUTING_ROUND_ROBIN, 4);
    struct candidate left[] = {{.index = 0}, {.index = 2}, {.index = 3}};
    assert_string_equal(choices(&b, left, 3, 9), "ACDACDACD");
    struct candidate last[] = {{.index = 3}};
    assert_string_equal(choices(&b, last, 1, 2), "DD");
    balancer_free(&b);
}

static void test_failover_takes_the_first(void **state)
{
    struct balancer b = balancer_of(ROUTING_FAILOVER, 3);
    assert_string_equal(choices(&b, candidates(1, 9, 9), 3, 4), "AAAA");
    assert_string_equal(choices(&b, candidates(1, 9, 9) + 1, 2, 2), "BB");
    balancer_free(&b);
}

static void test_least_busy(void **state)
{
    struct balancer b = balancer_of(ROUTING_LEAST_BUSY, 3);
    struct candidate *list = candidates(1, 1, 1);
    list[0].in_flight = 5;
    list[1].in_flight = 2;
    list[2].in_flight = 3;
    assert_string_equal(choices(&b, list, 3, 2), "BB");
    list[2].in_flight = 2;
    assert_string_equal(choices(&b, list, 3, 4), "CBCB"); /* equals take turns */
    list[0].weight = 10;                                  /* 5 of 10 is less than 2 of 1 */
    assert_string_equal(choices(&b, list, 3, 1), "A");
    balancer_free(&b);
}

static void test_latency_prefers_the_fast(void **state)
{
    struct balancer b = balancer_of(ROUTING_LATENCY, 3);
    struct candidate *list = candidates(1, 1, 1);
    int taken[3] = {0};
    list[0].latency = 900;
    list[1].latency = 100;
    list[2].latency = 300;
    for (int i = 0; i < 3000; i++)
        taken[balance_choose(&b, list, 3)]++;
    assert_int_equal(taken[0], 0);         /* loses to either */
    assert_in_range(taken[1], 1850, 2150); /* wins two of three pairs */
    list[1].in_flight = 8;                 /* 100 * 9 is as much as 900 */
    list[2].in_flight = 1;
    for (int i = 0; i < 100; i++)
        assert_int_not_equal(balance_choose(&b, list + 1, 2), 0);
    balancer_free(&b);
}

static void test_latency_of_the_unknown(void **state)
{
    struct balancer b = balancer_of(ROUTING_LATENCY, 2);
    struct candidate list[] = {{.index = 0, .latency = 5}, {.index = 1}};
    assert_string_equal(choices(&b, list, 2, 4), "BBBB");
    list[1].in_flight = 1; /* one is trying it */
    assert_string_equal(choices(&b, list, 2, 4), "AAAA");
    balancer_free(&b);
}

static void test_average_rises_at_once_and_sinks_slowly(void **state)
{
    latency_word w = 0;
    uint64_t now = 1000 * CLOCK_S;
    assert_true(latency_expected(&w, now) == 0);
    latency_observe(&w, 10 * CLOCK_MS, now);
    assert_true(fabs(latency_expected(&w, now) - 10000) < 1);
    latency_observe(&w, 500 * CLOCK_MS, now + CLOCK_S);
    assert_true(fabs(latency_expected(&w, now + CLOCK_S) - 500000) < 1);
    latency_observe(&w, 10 * CLOCK_MS, now + 2 * CLOCK_S);
    double after = latency_expected(&w, now + 2 * CLOCK_S); /* 500 e^-0.1 + 10 (1 - e^-0.1) */
    assert_true(fabs(after - 453370) < 200);
    assert_true(latency_expected(&w, now + 62 * CLOCK_S) < 1200); /* unused, it is forgiven */
    assert_true(latency_expected(&w, now) >= after);              /* another worker's clock lags behind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_are_smooth),
        cmocka_unit_test(test_weights_of_those_who_are_left),
        cmocka_unit_test(test_round_robin_takes_turns),
        cmocka_unit_test(test_round_robin_around_a_gap),
        cmocka_unit_test(test_failover_takes_the_first),
        cmocka_unit_test(test_least_busy),
        cmocka_unit_test(test_latency_prefers_the_fast),
        cmocka_unit_test(test_latency_of_the_unknown),
        cmocka_unit_test(test_average_rises_at_once_and_sinks_slowly),
    };
    return cmocka_run_group_tests_name("strategy_balance", tests, NULL, NULL);
}
