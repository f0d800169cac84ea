/* The arithmetic of the atomic word, alone and with threads against each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "service/word.h"

#include <pthread.h>

enum { COLD, STARTING, HOT, STOPPING };

static void test_enter_only_while_hot(void **state)
{
    service_word w = 0;
    for (unsigned s = COLD; s <= STOPPING; s++) {
        word_set_state(&w, s);
        assert_int_equal(word_enter(&w, HOT, 0), s == HOT);
    }
    assert_int_equal(word_in_flight(word_read(&w)), 1);
    assert_int_equal(word_state(word_read(&w)), STOPPING);
}

static void test_limit(void **state)
{
    service_word w = 0;
    word_set_state(&w, HOT);
    word_set_limit(&w, 2);
    assert_true(word_enter(&w, HOT, 0));
    assert_true(word_enter(&w, HOT, 0));
    assert_false(word_enter(&w, HOT, 0));
    word_set_limit(&w, 3);
    assert_true(word_enter(&w, HOT, 0));
    word_set_limit(&w, 1); /* lowered under load: nobody is thrown out */
    assert_int_equal(word_in_flight(word_read(&w)), 3);
    assert_false(word_leave(&w));
    assert_false(word_enter(&w, HOT, 0));
    word_set_limit(&w, 0);
    assert_true(word_enter(&w, HOT, 0));
    word_set_limit(&w, UINT64_MAX);
    assert_int_equal(word_limit(word_read(&w)), WORD_COUNT_MAX);
    assert_int_equal(word_state(word_read(&w)), HOT);
}

static void test_no_barging_past_the_queue(void **state)
{
    service_word w = 0;
    word_set_state(&w, HOT);
    word_set_flags(&w, WORD_WATCHED);
    assert_false(word_enter(&w, HOT, WORD_WATCHED | WORD_CLOSED)); /* a worker */
    assert_true(word_enter(&w, HOT, WORD_CLOSED));                 /* control, for the queue */
    word_set_flags(&w, WORD_CLOSED);
    assert_false(word_enter(&w, HOT, WORD_CLOSED));
}

static void test_one_message_for_many_releases(void **state)
{
    service_word w = 0;
    word_set_state(&w, HOT);
    for (int i = 0; i < 4; i++)
        assert_true(word_enter(&w, HOT, 0));
    assert_false(word_leave(&w)); /* nobody watches */
    word_set_flags(&w, WORD_WATCHED);
    assert_true(word_leave(&w));
    assert_true(word_read(&w) & WORD_POSTED);
    assert_false(word_leave(&w)); /* one is on its way */
    word_clear_flags(&w, WORD_POSTED);
    assert_true(word_leave(&w));
    assert_int_equal(word_in_flight(word_read(&w)), 0);
}

static void test_idle_only_when_nothing_is_going_on(void **state)
{
    service_word w = 0;
    word_set_state(&w, HOT);
    assert_true(word_enter(&w, HOT, 0));
    assert_false(word_retire_idle(&w, HOT, STOPPING));
    word_leave(&w);
    word_set_flags(&w, WORD_WATCHED);
    assert_false(word_retire_idle(&w, HOT, STOPPING));
    word_clear_flags(&w, WORD_WATCHED);
    assert_true(word_retire_idle(&w, HOT, STOPPING));
    assert_false(word_retire_idle(&w, HOT, STOPPING));
    assert_false(word_enter(&w, HOT, 0));
}

/* Threads enter and leave while one goes idle and comes back: the count never lies. */
static service_word shared;
static _Atomic int inside, broken;
static _Atomic bool over;

static void *visitor(void *argument)
{
    for (int i = 0; i < 100000; i++) {
        if (!word_enter(&shared, HOT, 0))
            continue;
        if (atomic_fetch_add(&inside, 1) >= 3)
            atomic_store(&broken, 1);
        if (word_state(atomic_load(&shared)) != HOT)
            atomic_store(&broken, 2);
        atomic_fetch_sub(&inside, 1);
        word_leave(&shared);
    }
    return NULL;
}

static void *idler(void *argument)
{
    while (!atomic_load(&over)) {
        if (!word_retire_idle(&shared, HOT, STOPPING))
            continue;
        if (word_in_flight(word_read(&shared)) != 0 || atomic_load(&inside) != 0)
            atomic_store(&broken, 3);
        word_set_state(&shared, HOT);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[5];
    word_set_state(&shared, HOT);
    word_set_limit(&shared, 3);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i ? visitor : idler, NULL), 0);
    for (int i = 4; i > 0; i--)
        pthread_join(threads[i], NULL);
    atomic_store(&over, true);
    pthread_join(threads[0], NULL);
    assert_int_equal(atomic_load(&broken), 0);
    assert_int_equal(word_in_flight(word_read(&shared)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enter_only_while_hot),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_no_barging_past_the_queue),
        cmocka_unit_test(test_one_message_for_many_releases),
        cmocka_unit_test(test_idle_only_when_nothing_is_going_on),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
