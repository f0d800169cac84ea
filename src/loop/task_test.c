/* Tasks, timers and the mailbox on a real loop. */
#include "loop/task.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int steps[16], step_count;

static void record(int value)
{
    steps[step_count++] = value;
}

struct two {
    struct task *first;
};

static void first_main(struct task *t, void *argument)
{
    record(1);
    assert_int_equal(task_park(t, CLOCK_NEVER), OK);
    record(3);
    assert_int_equal(task_park(t, task_deadline(t, 1)), ERR_TIMEOUT);
    record(4);
    assert_int_equal(task_park(t, CLOCK_NEVER), ERR_CANCELLED);
    assert_int_equal(task_park(t, CLOCK_NEVER), ERR_CANCELLED);
    record(6);
    loop_stop(t->loop);
}

static void second_main(struct task *t, void *argument)
{
    struct two *two = argument;
    record(2);
    task_wake(two->first);
    assert_int_equal(task_sleep(t, 10), OK);
    record(5);
    task_cancel(two->first);
}

static void test_park_wake_timeout_cancel(void **state)
{
    struct loop *l = loop_new();
    struct two two;
    step_count = 0;
    two.first = task_spawn(l, first_main, &two);
    assert_non_null(two.first);
    assert_non_null(task_spawn(l, second_main, &two));
    loop_run(l);
    assert_int_equal(step_count, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(steps[i], i + 1);
    assert_int_equal(l->task_count, 0);
    loop_free(l);
}

enum { MANY = 500 };
static int alive;

static void many_main(struct task *t, void *argument)
{
    char *pad = __builtin_alloca(8000);
    memset(pad, 7, 8000);
    assert_int_equal(task_sleep(t, (uint64_t)(uintptr_t)argument % 5), OK);
    assert_int_equal(pad[7999], 7);
    if (--alive == 0)
        loop_stop(t->loop);
}

static void test_many_tasks_and_stack_reuse(void **state)
{
    struct loop *l = loop_new();
    for (int round = 0; round < 3; round++) {
        alive = MANY;
        for (uintptr_t i = 0; i < MANY; i++)
            assert_non_null(task_spawn(l, many_main, (void *)i));
        loop_run(l);
        assert_int_equal(l->task_count, 0);
    }
    loop_free(l);
}

static uint64_t fired[4];
static int fired_count;

struct test_timer {
    struct timer timer;
    struct loop *loop;
    int id;
};

static void on_due(struct timer *timer)
{
    struct test_timer *tt = CONTAINER_OF(timer, struct test_timer, timer);
    fired[fired_count++] = (uint64_t)tt->id;
    if (fired_count == 3)
        loop_stop(tt->loop);
}

static void test_timers_move_lazily_and_fire_in_order(void **state)
{
    struct loop *l = loop_new();
    struct test_timer a = {.timer.on_due = on_due, .loop = l, .id = 1}, b = a, c = a, d = a;
    b.id = 2;
    c.id = 3;
    d.id = 4;
    fired_count = 0;
    /* Steps that a busy machine does not swallow: what is overdue at once has no order. */
    timer_set(l, &a.timer, l->now + 50 * CLOCK_MS);
    timer_set(l, &a.timer, l->now + 1200 * CLOCK_MS); /* later: stays armed early, fires late */
    timer_set(l, &b.timer, l->now + 900 * CLOCK_MS);
    timer_set(l, &b.timer, l->now + 400 * CLOCK_MS); /* earlier */
    timer_set(l, &c.timer, l->now + 800 * CLOCK_MS);
    timer_set(l, &d.timer, l->now + 100 * CLOCK_MS);
    timer_off(&d.timer);
    loop_run(l);
    assert_int_equal(fired_count, 3);
    assert_int_equal(fired[0], 2);
    assert_int_equal(fired[1], 3);
    assert_int_equal(fired[2], 1);
    timer_remove(l, &d.timer);
    loop_free(l);
}

static void *loop_thread(void *argument)
{
    loop_run(argument);
    return NULL;
}

static int called;

static void called_there(void *argument)
{
    called += *(int *)argument;
}

static void stop_there(void *argument)
{
    loop_stop(argument);
}

static void caller_main(struct task *t, void *argument)
{
    int one = 1;
    for (int i = 0; i < 1000; i++)
        loop_call(t, argument, called_there, &one);
    loop_call(t, argument, stop_there, argument);
    loop_stop(t->loop);
}

static void test_call_to_another_thread(void **state)
{
    struct loop *here = loop_new(), *there = loop_new();
    pthread_t thread;
    called = 0;
    assert_int_equal(pthread_create(&thread, NULL, loop_thread, there), 0);
    assert_non_null(task_spawn(here, caller_main, there));
    loop_run(here);
    pthread_join(thread, NULL);
    assert_int_equal(called, 1000);
    loop_free(here);
    loop_free(there);
}

static void nothing(void *argument) {}

static bool is_asking;

/* Keeps its loop awake: that finds an answer without being woken. */
static void stay_awake(struct task *t, void *argument)
{
    while (is_asking)
        assert_int_equal(task_yield(t), OK);
    loop_stop(t->loop);
}

static void ask_once(struct task *t, void *argument)
{
    loop_call(t, argument, nothing, NULL);
    is_asking = false;
}

static void ask_to_stop(struct task *t, void *argument)
{
    loop_call(t, argument, stop_there, argument);
    is_asking = false;
}

/* Who answers may still be in loop_post when the loop that got the answer has ended. */
static void test_a_loop_may_end_with_an_answer(void **state)
{
    struct loop *there = loop_new();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, loop_thread, there), 0);
    for (int left = 4000; left > 0; left--) {
        struct loop *once = loop_new();
        is_asking = true;
        assert_non_null(task_spawn(once, stay_awake, NULL));
        assert_non_null(task_spawn(once, left > 1 ? ask_once : ask_to_stop, there));
        loop_run(once);
        loop_free(once);
    }
    pthread_join(thread, NULL);
    loop_free(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_park_wake_timeout_cancel),
        cmocka_unit_test(test_many_tasks_and_stack_reuse),
        cmocka_unit_test(test_timers_move_lazily_and_fire_in_order),
        cmocka_unit_test(test_call_to_another_thread),
        cmocka_unit_test(test_a_loop_may_end_with_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
