/* Gates: limit, order, fairness, and every way to leave the queue. */
#include "strategy/test.h"

struct guest {
    struct gate *gate;
    uint64_t key, wait_ms, tick_ms;
    int ticks_allowed; /* then on_wait fails */
    bool stay;         /* until guest_go */
    struct task *task;
    enum err err;
    int ticks;
    bool go;
    char name;
};

static char order[64]; /* of those let in; control loop only */
static size_t in_count;
static int gone;

static enum err guest_tick(struct task *t, void *argument)
{
    struct guest *g = argument;
    return ++g->ticks > g->ticks_allowed ? ERR_RESET : OK;
}

static void guest_task(struct task *t, void *argument)
{
    struct guest *g = argument;
    g->task = t;
    g->err = gate_enter(t, g->gate, g->key, NULL, g->wait_ms ? task_deadline(t, g->wait_ms) : CLOCK_NEVER,
                        g->tick_ms ? guest_tick : NULL, g, g->tick_ms);
    if (g->err == OK)
        order[in_count++] = g->name;
    while (g->err == OK && g->stay && !g->go) {
        enum err ignored = task_park(t, CLOCK_NEVER);
        (void)ignored;
    }
    if (g->err == OK)
        gate_leave(g->gate);
    stage_add(&gone, 1);
}

static void guest_spawn(void *argument)
{
    struct guest *g = argument;
    struct task *t = task_spawn(stage.control, guest_task, g);
    REQUIRE(t);
}

static void guest_go(void *argument)
{
    struct guest *g = argument;
    g->go = true;
    task_wake(g->task);
}

static void guest_cancel(void *argument)
{
    struct guest *g = argument;
    task_cancel(g->task);
}

static void gate_make_now(void *argument)
{
    struct gate **g = argument;
    *g = gate_new(stage.control, (uint64_t)(uintptr_t)*g);
}

static struct gate *gate_make(uint64_t limit)
{
    struct gate *g = (struct gate *)(uintptr_t)limit;
    on_control(gate_make_now, &g);
    assert_non_null(g);
    memset(order, 0, sizeof order);
    in_count = 0;
    gone = 0;
    return g;
}

static void come(struct guest *g)
{
    on_control(guest_spawn, g);
    control_settle();
}

/* All gave their slots back, nobody waits. */
static void gate_end(struct gate *g)
{
    control_settle();
    assert_int_equal(gate_inside(g), 0);
    assert_int_equal(gate_waiting(g), 0);
    assert_false(gate_is_full(g));
    gate_unref(g);
}

static void test_limit(void **state)
{
    struct gate *g = gate_make(2);
    assert_true(gate_enter_now(g));
    assert_false(gate_is_full(g));
    assert_true(gate_enter_now(g));
    assert_true(gate_is_full(g));
    assert_false(gate_enter_now(g));
    gate_leave(g);
    assert_true(gate_enter_now(g));
    gate_leave(g);
    gate_leave(g);
    gate_end(g);
}

static void test_no_limit(void **state)
{
    struct gate *g = gate_make(0);
    for (int i = 0; i < 10000; i++)
        assert_true(gate_enter_now(g));
    assert_int_equal(gate_inside(g), 10000);
    for (int i = 0; i < 10000; i++)
        gate_leave(g);
    gate_end(g);
}

/* Clients take turns; the requests of one keep their order. */
static void test_fairness(void **state)
{
    struct gate *g = gate_make(1);
    struct guest guests[7];
    static const char names[] = "abcdefg";
    static const uint64_t keys[] = {1, 1, 1, 1, 2, 2, 65}; /* 1 and 65 share a bucket */
    assert_true(gate_enter_now(g));
    for (int i = 0; i < 7; i++) {
        guests[i] = (struct guest){.gate = g, .key = keys[i], .name = names[i]};
        come(&guests[i]);
    }
    assert_int_equal(gate_waiting(g), 7);
    gate_leave(g);
    STAGE_AWAIT(&gone, 7);
    assert_string_equal(order, "aegbfcd");
    gate_end(g);
}

/* Nobody passes those who wait, even while a slot is free for a moment. */
static void test_nobody_passes_the_queue(void **state)
{
    struct gate *g = gate_make(1);
    struct guest guest = {.gate = g, .stay = true, .name = 'a'};
    assert_true(gate_enter_now(g));
    come(&guest);
    gate_leave(g);
    assert_false(gate_enter_now(g));
    control_settle();
    assert_string_equal(order, "a");
    on_control(guest_go, &guest);
    STAGE_AWAIT(&gone, 1);
    gate_end(g);
}

/* Whoever leaves the middle, the front or the end of the queue changes nothing for the others. */
static void test_cancelling(void **state)
{
    struct gate *g = gate_make(1);
    struct guest guests[6];
    static const uint64_t keys[] = {1, 1, 1, 2, 1, 3};
    assert_true(gate_enter_now(g));
    for (int i = 0; i < 6; i++) {
        guests[i] = (struct guest){.gate = g, .key = keys[i], .name = (char)('a' + i)};
        come(&guests[i]);
    }
    on_control(guest_cancel, &guests[0]); /* the first of its key: b takes its place on the ring */
    on_control(guest_cancel, &guests[2]);
    on_control(guest_cancel, &guests[5]);
    STAGE_AWAIT(&gone, 3);
    assert_int_equal(guests[0].err, ERR_CANCELLED);
    assert_int_equal(gate_waiting(g), 3);
    gate_leave(g);
    STAGE_AWAIT(&gone, 6);
    assert_string_equal(order, "bde");
    gate_end(g);
}

/* The slot is granted while its waiter is being cancelled: it comes back. */
static void grant_and_cancel(void *argument)
{
    struct guest *guest = argument;
    gate_leave(guest->gate); /* the message of the free slot is under way … */
    task_cancel(guest->task);
}

static void test_slot_granted_to_one_who_leaves(void **state)
{
    struct gate *g = gate_make(1);
    for (int i = 0; i < 50; i++) {
        struct guest guest = {.gate = g, .name = 'a'};
        assert_true(gate_enter_now(g));
        come(&guest);
        gone = 0;
        on_control(grant_and_cancel, &guest);
        STAGE_AWAIT(&gone, 1);
        assert_int_equal(guest.err, ERR_CANCELLED);
        control_settle();
        assert_int_equal(gate_inside(g), 0);
    }
    gate_end(g);
}

static void test_deadline(void **state)
{
    struct gate *g = gate_make(1);
    struct guest guest = {.gate = g, .wait_ms = 20};
    assert_true(gate_enter_now(g));
    uint64_t begun = clock_now();
    come(&guest);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(guest.err, ERR_QUEUE_TIMEOUT);
    assert_true(clock_now() - begun >= 19 * CLOCK_MS);
    assert_int_equal(gate_waiting(g), 0);
    gate_leave(g);
    gate_end(g);
}

static void test_ticks(void **state)
{
    struct gate *g = gate_make(1);
    struct guest guest = {.gate = g, .tick_ms = 2, .ticks_allowed = 3};
    assert_true(gate_enter_now(g));
    come(&guest);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(guest.err, ERR_RESET); /* what on_wait said */
    assert_int_equal(guest.ticks, 4);
    gate_leave(g);
    gate_end(g);
}

static void raise_limit(void *argument)
{
    gate_set_limit(argument, 3);
}

static void lower_limit(void *argument)
{
    gate_set_limit(argument, 1);
}

static void test_limit_changes(void **state)
{
    struct gate *g = gate_make(1);
    struct guest guests[3];
    assert_true(gate_enter_now(g));
    for (int i = 0; i < 3; i++) {
        guests[i] = (struct guest){.gate = g, .stay = true, .name = (char)('a' + i)};
        come(&guests[i]);
    }
    on_control(raise_limit, g);
    control_settle();
    assert_string_equal(order, "ab");
    assert_int_equal(gate_inside(g), 3);
    on_control(lower_limit, g); /* who is inside stays */
    on_control(guest_go, &guests[0]);
    gate_leave(g);
    control_settle();
    assert_string_equal(order, "ab");
    on_control(guest_go, &guests[1]);
    control_settle();
    assert_string_equal(order, "abc");
    on_control(guest_go, &guests[2]);
    STAGE_AWAIT(&gone, 3);
    gate_end(g);
}

/* The last reference goes while the message of a free slot is still under way. */
static void leave_and_forget(void *argument)
{
    struct guest *guest = argument;
    task_cancel(guest->task);
    gate_leave(guest->gate);
    gate_unref(guest->gate);
}

static void test_message_outlives_the_owner(void **state)
{
    struct gate *g = gate_make(1);
    struct guest guest = {.gate = gate_ref(g)};
    assert_true(gate_enter_now(g));
    come(&guest);
    on_control(leave_and_forget, &guest);
    STAGE_AWAIT(&gone, 1);
    gate_end(g);
}

#define ON_STAGE(test) cmocka_unit_test_setup_teardown(test, stage_open, stage_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STAGE(test_limit),         ON_STAGE(test_no_limit),
        ON_STAGE(test_fairness),      ON_STAGE(test_nobody_passes_the_queue),
        ON_STAGE(test_cancelling),    ON_STAGE(test_slot_granted_to_one_who_leaves),
        ON_STAGE(test_deadline),      ON_STAGE(test_ticks),
        ON_STAGE(test_limit_changes), ON_STAGE(test_message_outlives_the_owner),
    };
    return cmocka_run_group_tests_name("strategy_gate", tests, NULL, NULL);
}
