/* What happens to a tally while somebody else empties its old slots: the other is played by the test. */
#include "strategy/limit_test.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "strategy/limit_tally.h"

static const int64_t limit = 100;

static struct tally *tally_at(uint64_t slot)
{
    struct tally *t = tally_new(WINDOW_MINUTE);
    assert_non_null(t);
    tally_advance(t, slot);
    return t;
}

static void spend(struct tally *t, uint64_t slot, int64_t amount)
{
    assert_true(tally_take(t, amount, limit));
    tally_put(t, slot, amount);
}

static void assert_sum(struct tally *t, uint64_t slot, int64_t sum)
{
    tally_advance(t, slot);
    assert_int_equal(atomic_load(&t->sum), sum);
}

static void test_others_go_on(void **state)
{
    struct tally *t = tally_at(5000);
    spend(t, 5000, 1);
    atomic_store(&t->is_moving, true);
    assert_sum(t, 9000, 1); /* it should have left; who empties the slots is not done yet */
    spend(t, 5000 + TALLY_AHEAD, 2);
    assert_int_equal(atomic_load(&t->late), 0);
    spend(t, 9000, 4);
    assert_int_equal(atomic_load(&t->late), 4);
    atomic_store(&t->is_moving, false);
    assert_sum(t, 9000, 4);
    assert_int_equal(atomic_load(&t->late), 0);
    assert_sum(t, 9000 + TALLY_WINDOW, 4);
    assert_sum(t, 9000 + TALLY_WINDOW + 1, 0);
    mem_free(t);
}

/* As far ahead as a writer may be, its slot is not one that holds a use of before. */
static void test_as_far_ahead_as_may_be(void **state)
{
    struct tally *t = tally_at(5000);
    spend(t, 5000 - TALLY_WINDOW, 1); /* the oldest there is */
    atomic_store(&t->is_moving, true);
    spend(t, 5000 + TALLY_AHEAD, 2);
    atomic_store(&t->is_moving, false);
    assert_sum(t, 5000 + TALLY_AHEAD, 2);
    assert_sum(t, 5000 + TALLY_AHEAD + TALLY_WINDOW, 2);
    assert_sum(t, 5000 + TALLY_AHEAD + TALLY_WINDOW + 1, 0);
    mem_free(t);
}

/* Who was interrupted while it emptied the slots goes as far as the newest of those who came late. */
static void test_late_ones_keep_their_time(void **state)
{
    struct tally *t = tally_at(5000);
    atomic_store(&t->is_moving, true);
    spend(t, 9500, 1);
    spend(t, 9000, 2);
    atomic_store(&t->is_moving, false);
    assert_sum(t, 5001, 3);
    assert_int_equal(atomic_load(&t->head), 9500);
    assert_sum(t, 9500 + TALLY_WINDOW, 3);
    assert_sum(t, 9500 + TALLY_WINDOW + 1, 0);
    mem_free(t);
}

static void test_taken_out_wherever_it_is(void **state)
{
    struct tally *t = tally_at(5000);
    atomic_store(&t->is_moving, true);
    spend(t, 9000, 1);
    spend(t, 9001, 1);
    tally_take_out(t, 9000, 1); /* among the late ones */
    assert_int_equal(atomic_load(&t->sum), 1);
    spend(t, 9000, 1);
    atomic_store(&t->is_moving, false);
    assert_sum(t, 9001, 2);
    tally_take_out(t, 9000, 1); /* a slot further on */
    tally_take_out(t, 9001, 1);
    tally_take_out(t, 9001, 1); /* there is none any more */
    tally_take_out(t, 9001, 0);
    assert_sum(t, 9001, 0);
    mem_free(t);
}

/* Too late to be taken out: what is late by now is another's. */
static void test_not_taken_out_of_the_late_ones(void **state)
{
    struct tally *t = tally_at(5000);
    atomic_store(&t->is_moving, true);
    spend(t, 9000, 1);
    tally_take_out(t, 5000 - TALLY_WINDOW - 1, 1);
    assert_int_equal(atomic_load(&t->sum), 1);
    assert_int_equal(atomic_load(&t->late), 1);
    atomic_store(&t->is_moving, false);
    assert_sum(t, 9000, 1);
    mem_free(t);
}

/* A writer that slept for more than a window: its use is gone with the next slot, and nothing is left of it.
 */
static void test_put_long_after(void **state)
{
    struct tally *t = tally_at(9000);
    spend(t, 9000, 1);
    spend(t, 5000, 2);
    assert_sum(t, 9000, 3);
    assert_sum(t, 9001, 1);
    assert_sum(t, 9001 + TALLY_WINDOW, 0);
    mem_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_others_go_on),
        cmocka_unit_test(test_as_far_ahead_as_may_be),
        cmocka_unit_test(test_late_ones_keep_their_time),
        cmocka_unit_test(test_taken_out_wherever_it_is),
        cmocka_unit_test(test_not_taken_out_of_the_late_ones),
        cmocka_unit_test(test_put_long_after),
    };
    return cmocka_run_group_tests_name("strategy_limit_tally", tests, NULL, NULL);
}
