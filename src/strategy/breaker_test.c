/* The breaker's transitions, with a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "strategy/breaker.h"

static const struct breaker_rules rules = {.failures = 3, .window = 8 * CLOCK_S, .open = 30 * CLOCK_S};
static const uint64_t start = 1000 * CLOCK_S;

static struct breaker opened(void)
{
    struct breaker b = {0};
    assert_false(breaker_failure(&b, &rules, start, false));
    assert_false(breaker_failure(&b, &rules, start + CLOCK_S, false));
    assert_int_equal(breaker_state(&b, start + CLOCK_S), BREAKER_CLOSED);
    assert_true(breaker_failure(&b, &rules, start + 2 * CLOCK_S, false));
    return b;
}

static void test_opens_on_many_failures(void **state)
{
    struct breaker b = opened();
    assert_int_equal(breaker_state(&b, start + 2 * CLOCK_S), BREAKER_OPEN);
    assert_int_equal(breaker_state(&b, start + 32 * CLOCK_S - 1), BREAKER_OPEN);
    assert_int_equal(breaker_state(&b, start + 32 * CLOCK_S), BREAKER_HALF_OPEN);
}

static void test_old_failures_do_not_count(void **state)
{
    struct breaker b = {0};
    for (uint64_t i = 0; i < 20; i++) /* one each 4 s: never three within 8 s */
        assert_false(breaker_failure(&b, &rules, start + i * 4 * CLOCK_S, false));
    assert_int_equal(breaker_state(&b, start + 80 * CLOCK_S), BREAKER_CLOSED);
    assert_false(breaker_failure(&b, &rules, start + 1000 * CLOCK_S, false));
    assert_false(breaker_failure(&b, &rules, start + 1000 * CLOCK_S, false));
    assert_true(breaker_failure(&b, &rules, start + 1001 * CLOCK_S, false));
}

static void test_one_trial_at_a_time(void **state)
{
    struct breaker b = opened();
    assert_true(breaker_begin_trial(&b));
    assert_false(breaker_begin_trial(&b));
    breaker_end_trial(&b); /* its client left: nothing is known */
    assert_int_equal(breaker_state(&b, start + 40 * CLOCK_S), BREAKER_HALF_OPEN);
    assert_true(breaker_begin_trial(&b));
    breaker_success(&b, true);
    breaker_end_trial(&b);
    assert_int_equal(breaker_state(&b, start + 40 * CLOCK_S), BREAKER_CLOSED);
    assert_false(breaker_failure(&b, &rules, start + 40 * CLOCK_S, false)); /* all is forgotten */
}

static void test_failed_trial_opens_again(void **state)
{
    struct breaker b = opened();
    assert_true(breaker_begin_trial(&b));
    assert_false(breaker_failure(&b, &rules, start + 40 * CLOCK_S, true)); /* it was open before */
    breaker_end_trial(&b);
    assert_int_equal(breaker_state(&b, start + 69 * CLOCK_S), BREAKER_OPEN);
    assert_int_equal(breaker_state(&b, start + 70 * CLOCK_S), BREAKER_HALF_OPEN);
}

/* Answers to requests from before it opened. */
static void test_late_answers_change_nothing(void **state)
{
    struct breaker b = opened();
    breaker_success(&b, false);
    assert_int_equal(breaker_state(&b, start + 3 * CLOCK_S), BREAKER_OPEN);
    assert_false(breaker_failure(&b, &rules, start + 20 * CLOCK_S, false));
    assert_int_equal(breaker_state(&b, start + 32 * CLOCK_S), BREAKER_HALF_OPEN);
}

static void test_clocks_that_differ(void **state)
{
    struct breaker b = {0};
    assert_false(breaker_failure(&b, &rules, start, false));
    assert_false(breaker_failure(&b, &rules, start - CLOCK_MS, false));
    assert_true(breaker_failure(&b, &rules, start, false));
}

static void test_zero_is_never(void **state)
{
    struct breaker_rules none = {.failures = 0, .window = CLOCK_S, .open = CLOCK_S};
    struct breaker b = {0};
    for (int i = 0; i < 100; i++)
        assert_false(breaker_failure(&b, &none, start, false));
    assert_int_equal(breaker_state(&b, start), BREAKER_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_on_many_failures),
        cmocka_unit_test(test_old_failures_do_not_count),
        cmocka_unit_test(test_one_trial_at_a_time),
        cmocka_unit_test(test_failed_trial_opens_again),
        cmocka_unit_test(test_late_answers_change_nothing),
        cmocka_unit_test(test_clocks_that_differ),
        cmocka_unit_test(test_zero_is_never),
    };
    return cmocka_run_group_tests_name("strategy_breaker", tests, NULL, NULL);
}
