/* The lazy heap of timers against a plain table: random settings, moves in both directions, removals. */
#include "loop/test.h"

enum { TIMERS = 200, STEPS = 20000 };

struct model {
    struct timer timer;
    uint64_t due; /* CLOCK_NEVER = off */
    int fired;
};

static struct model models[TIMERS];
static struct loop *loop;
static uint32_t seed = 12345;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static void on_due(struct timer *timer)
{
    struct model *m = CONTAINER_OF(timer, struct model, timer);
    assert_true(m->due <= loop->now);
    m->due = CLOCK_NEVER;
    m->fired++;
    if (random_below(3) == 0) { /* a timer may set itself again */
        m->due = loop->now + (1 + random_below(300)) * 500;
        timer_set(loop, timer, m->due);
    }
}

static void change(struct model *m)
{
    switch (random_below(6)) {
    case 0:
        timer_off(&m->timer);
        m->due = CLOCK_NEVER;
        break;
    case 1:
        timer_remove(loop, &m->timer);
        m->due = CLOCK_NEVER;
        break;
    default: /* sooner, later, or in the past */
        m->due = loop->now + random_below(400) * 500 - random_below(100);
        timer_set(loop, &m->timer, m->due);
    }
}

static void check(void)
{
    for (int i = 0; i < TIMERS; i++) {
        struct model *m = &models[i];
        assert_int_equal(m->timer.due, m->due);
        assert_true(m->due == CLOCK_NEVER || m->timer.index);
        if (!m->timer.index)
            continue;
        assert_true(loop->timers[m->timer.index - 1] == &m->timer);
        assert_true(m->timer.armed <= m->timer.due);
        if (m->timer.index > 1)
            assert_true(loop->timers[m->timer.index / 2 - 1]->armed <= m->timer.armed);
    }
}

/* None is late by more than a turn, none is early (on_due checks), none is lost. */
static void stress(struct task *t, void *argument)
{
    for (int step = 0; step < STEPS; step++) {
        change(&models[random_below(TIMERS)]);
        if (step % 16)
            continue;
        uint64_t turn = loop->now;
        assert_int_equal(task_yield(t), OK);
        check();
        for (int i = 0; i < TIMERS; i++)
            assert_true(models[i].due > turn);
    }
    for (int i = 0; i < TIMERS; i++)
        timer_remove(loop, &models[i].timer);
    assert_in_range(loop->timer_count, 0, 1); /* the task's own */
}

static void stress_start(struct task *t, void *argument)
{
    loop = t->loop;
    for (int i = 0; i < TIMERS; i++)
        models[i] = (struct model){.timer = {.on_due = on_due, .due = CLOCK_NEVER}, .due = CLOCK_NEVER};
    stress(t, NULL);
    int fired = 0;
    for (int i = 0; i < TIMERS; i++)
        fired += models[i].fired;
    assert_true(fired > TIMERS);
}

static void test_stress(void **state)
{
    run_task(stress_start, NULL);
}

static void noted(struct timer *timer)
{
    timer->index += 1000; /* a mark */
}

static void moved_later(struct task *t, void *argument)
{
    struct timer timer = {.on_due = noted};
    uint64_t now = t->loop->now;
    timer_set(t->loop, &timer, now + 5 * CLOCK_MS);
    timer_set(t->loop, &timer, now + 60 * CLOCK_S); /* costs nothing: the heap keeps the earlier time */
    assert_int_equal(timer.armed, now + 5 * CLOCK_MS);
    assert_int_equal(task_sleep(t, 20), OK);
    assert_true(timer.index < 1000);
    timer_set(t->loop, &timer, t->loop->now + CLOCK_MS); /* sooner again */
    assert_int_equal(task_sleep(t, 3), OK);
    assert_int_equal(timer.index, 1000);
    timer.index = 0;
}

static void test_moved_later_and_sooner(void **state)
{
    run_task(moved_later, NULL);
}

static struct timer eager;
static struct message stopper;
static int eager_fired;

static void eager_due(struct timer *timer)
{
    if (++eager_fired == 3)
        loop_post(loop, &stopper);
    timer_set(loop, timer, loop->now - 1);
}

static void stopper_arrived(struct message *m)
{
    loop_stop(loop);
}

/* It keeps its thread busy, but holds up neither messages nor descriptors. */
static void test_timer_that_is_always_due(void **state)
{
    loop = loop_new();
    assert_non_null(loop);
    eager.on_due = eager_due;
    stopper.on_arrival = stopper_arrived;
    timer_set(loop, &eager, clock_now());
    loop_run(loop);
    assert_in_range(eager_fired, 3, 5);
    timer_remove(loop, &eager);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stress),
        cmocka_unit_test(test_moved_later_and_sooner),
        cmocka_unit_test(test_timer_that_is_always_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
