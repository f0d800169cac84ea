/* The life of a service, driven by tasks of two worker threads, with an orchestrator that only pretends. */
#include "service/test.h"

enum { MANY = 200 };

static struct user users[MANY];
static int answered, gone;

static void users_reset(struct service *s, const struct service_config *c)
{
    memset(users, 0, sizeof users);
    answered = gone = users_in = 0;
    for (int i = 0; i < MANY; i++)
        users[i] = (struct user){
            .service = s, .config = c, .options.wake = true, .answered = &answered, .gone = &gone};
}

static struct service *begin(const struct service_config *c)
{
    config_use(c, 1);
    struct service *s = service_x();
    users_reset(s, c);
    return s;
}

static void user_go(struct user *u)
{
    stage_run(u->loop, user_go_task, u);
}

/* ---- starting ---------------------------------------------------------------------------------------- */

static char queue_log[MANY * 16];
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

/* Keeps only "Q7 Q8 … D7 D8 …": who was queued and let out, in order. */
static void queue_log_sink(struct str line)
{
    size_t id = str_find_str(line, STR("\"request_id\":\"r"));
    bool queued = str_find_str(line, STR("\"request_queued\"")) < line.n;
    bool dequeued = str_find_str(line, STR("\"request_dequeued\"")) < line.n;
    if (id == line.n || (!queued && !dequeued))
        return;
    struct str rest = str_from(line, id + 15);
    struct str number = str_cut(&rest, '"');
    pthread_mutex_lock(&log_lock);
    size_t n = strlen(queue_log);
    snprintf(queue_log + n, sizeof queue_log - n, "%c%.*s ", queued ? 'Q' : 'D', STR_ARG(number));
    pthread_mutex_unlock(&log_lock);
}

static void test_many_first_requests_one_start(void **state)
{
    struct service_config c = plain_config("x");
    struct service *s = begin(&c);
    static char ids[MANY][16];
    queue_log[0] = '\0';
    log_set_sink(queue_log_sink);
    log_set_level(LOG_INFO);
    for (int i = 0; i < MANY; i++) {
        snprintf(ids[i], sizeof ids[i], "r%d", i);
        users[i].options.request_id = ids[i];
        user_start(&users[i], i % 2);
    }
    STAGE_AWAIT(&gone, MANY);
    log_set_level(LOG_ERROR + 1);
    log_set_sink(NULL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(users[i].err, OK);
    assert_int_equal(stage_get(&fake.starts), 1);
    assert_int_equal(status_of(s).state, SERVICE_HOT);
    /* The order of D… is the order of Q…. */
    char queued[sizeof queue_log] = "", dequeued[sizeof queue_log] = "", copy[sizeof queue_log];
    memcpy(copy, queue_log, sizeof copy);
    char *save, *word = strtok_r(copy, " ", &save);
    for (; word; word = strtok_r(NULL, " ", &save)) {
        char *to = *word == 'Q' ? queued : dequeued;
        strcat(strcat(to, word + 1), " ");
    }
    assert_true(strlen(queued) > 0);
    assert_string_equal(queued, dequeued);
    service_unref(s);
}

static void test_hot_needs_no_queue(void **state)
{
    struct service_config c = plain_config("x");
    struct service *s = begin(&c);
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    assert_true(users[0].waited);
    user_start(&users[1], 1);
    STAGE_AWAIT(&gone, 2);
    assert_false(users[1].waited);
    assert_int_equal(stage_get(&fake.starts), 1);
    service_unref(s);
}

static void test_start_failure_answers_all(void **state)
{
    struct service_config c = plain_config("x");
    fake.fails = true;
    fake.start_ms = 30;
    struct service *s = begin(&c);
    for (int i = 0; i < 50; i++)
        user_start(&users[i], i % 2);
    STAGE_AWAIT(&gone, 50);
    for (int i = 0; i < 50; i++) {
        bool late = users[i].err == ERR_BACKING_OFF; /* came when it was over */
        assert_true(late || users[i].err == ERR_START_FAILED);
        assert_non_null(strstr(users[i].error.why, "it would not"));
        assert_non_null(strstr(users[i].error.why, "no such model"));
        assert_int_equal(users[i].retry_after, 1);
    }
    assert_int_equal(stage_get(&fake.starts), 1);
    struct service_status status = status_of(s);
    assert_int_equal(status.state, SERVICE_COLD);
    assert_true(status.has_last_error && status.retry_at_us > 0);
    /* During the back-off nobody starts it, but an operator may. */
    users_reset(s, &c);
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(users[0].err, ERR_BACKING_OFF);
    assert_int_equal(stage_get(&fake.starts), 1);
    fake.fails = false;
    assert_int_equal(ask(s, ASK_START), OK);
    await_state(s, SERVICE_HOT);
    assert_false(status_of(s).has_last_error);
    service_unref(s);
}

static void test_start_that_fails_at_once(void **state)
{
    struct service_config c = plain_config("x");
    fake.fails_now = true;
    struct service *s = begin(&c);
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(users[0].err, ERR_START_FAILED);
    assert_int_equal(status_of(s).state, SERVICE_COLD);
    service_unref(s);
}

static void test_start_timeout(void **state)
{
    struct service_config c = plain_config("x");
    c.start_timeout_ms = 1000;
    fake.start_ms = -1;
    struct service *s = begin(&c);
    user_start(&users[0], 0);
    user_start(&users[1], 1);
    STAGE_AWAIT(&gone, 2);
    assert_int_equal(users[0].err, ERR_START_TIMEOUT);
    assert_int_equal(users[1].err, ERR_START_TIMEOUT);
    await_state(s, SERVICE_COLD);
    assert_int_equal(stage_get(&fake.stops), 1);
    service_unref(s);
}

static void test_explicit_start_needs_no_request(void **state)
{
    struct service_config c = plain_config("x");
    struct service *s = begin(&c);
    assert_int_equal(ask(s, ASK_START), OK);
    assert_int_equal(ask(s, ASK_START), ERR_CONFLICT);
    await_state(s, SERVICE_HOT);
    assert_int_equal(ask(s, ASK_START), ERR_CONFLICT);
    assert_int_equal(stage_get(&fake.starts), 1);
    service_unref(s);
}

static void test_waiting_page_starts(void **state)
{
    struct service_config c = plain_config("x");
    struct service *s = begin(&c);
    assert_int_equal(ask(s, ASK_WATCH), OK);
    await_state(s, SERVICE_HOT);
    assert_int_equal(stage_get(&fake.starts), 1);
    service_unref(s);
}

/* ---- the queue --------------------------------------------------------------------------------------- */

static void test_queue_full(void **state)
{
    struct service_config c = plain_config("x");
    c.queue_size = 5;
    fake.start_ms = -1;
    struct service *s = begin(&c);
    for (int i = 0; i < 8; i++)
        user_start(&users[i], i % 2);
    STAGE_AWAIT(&gone, 3);
    int full = 0;
    assert_int_equal(status_of(s).queue_pending, 5);
    on_control(stage_end_now, NULL);
    STAGE_AWAIT(&gone, 8);
    for (int i = 0; i < 8; i++) {
        full += users[i].err == ERR_QUEUE_FULL;
        assert_true(users[i].err == ERR_QUEUE_FULL || users[i].err == ERR_DRAINING);
    }
    assert_int_equal(full, 3);
    service_unref(s);
}

static void test_queue_timeout_cancels_the_start(void **state)
{
    struct service_config c = plain_config("x");
    fake.start_ms = -1;
    struct service *s = begin(&c);
    c.request_timeout_ms = 40;
    user_start(&users[0], 0);
    user_start(&users[1], 1);
    STAGE_AWAIT(&gone, 2);
    assert_int_equal(users[0].err, ERR_QUEUE_TIMEOUT);
    assert_int_equal(users[1].err, ERR_QUEUE_TIMEOUT);
    assert_string_equal(error_text(&users[0].error), "Request timeout waiting for service startup");
    STAGE_AWAIT(&fake.stops, 1);
    await_state(s, SERVICE_COLD);
    assert_int_equal(status_of(s).retry_at_us, 0); /* nobody failed */
    assert_true(status_of(s).has_last_error);
    service_unref(s);
}

static void test_only_the_last_waiter_cancels_the_start(void **state)
{
    struct service_config c = plain_config("x");
    fake.start_ms = -1;
    struct service *s = begin(&c);
    user_start(&users[0], 0);
    user_start(&users[1], 1);
    STAGE_AWAIT(&fake.starts, 1);
    while (status_of(s).queue_pending < 2)
        ;
    stage_run(users[0].loop, user_cancel_task, &users[0]);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(users[0].err, ERR_CANCELLED);
    assert_int_equal(status_of(s).state, SERVICE_STARTING);
    assert_int_equal(stage_get(&fake.stops), 0);
    stage_run(users[1].loop, user_cancel_task, &users[1]);
    STAGE_AWAIT(&gone, 2);
    STAGE_AWAIT(&fake.stops, 1);
    await_state(s, SERVICE_COLD);
    service_unref(s);
}

static void test_slots_in_order(void **state)
{
    struct service_config c = plain_config("x");
    c.max_concurrent = 1;
    struct service *s = begin(&c);
    enum { COUNT = 20 };
    users[0].hold_ms = -1;
    user_start(&users[0], 0);
    STAGE_AWAIT(&answered, 1);
    for (int i = 1; i < COUNT; i++) {
        user_start(&users[i], i % 2);
        while (status_of(s).queue_pending < (uint64_t)i)
            ;
    }
    assert_int_equal(stage_get(&answered), 1);
    assert_int_equal(status_of(s).in_flight, 1);
    user_go(&users[0]);
    STAGE_AWAIT(&gone, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(users[i].err, OK);
        assert_int_equal(users[i].order, i + 1);
    }
    assert_int_equal(status_of(s).queue_pending, 0);
    service_unref(s);
}

static void test_monitors_do_not_wake(void **state)
{
    struct service_config c = plain_config("x");
    struct service *s = begin(&c);
    users[0].options.wake = false;
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(users[0].err, ERR_SERVICE_COLD);
    assert_int_equal(stage_get(&fake.starts), 0);
    service_unref(s);
}

/* ---- refusing ---------------------------------------------------------------------------------------- */

static void refused(struct service_config c, enum err want)
{
    struct service *s = begin(&c);
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(users[0].err, want);
    assert_int_equal(ask(s, ASK_START), want);
    assert_int_equal(ask(s, ASK_WATCH), want);
    assert_int_equal(status_of(s).state, SERVICE_COLD);
    service_unref(s);
}

static void test_what_cannot_start(void **state)
{
    struct service_config c = plain_config("x");
    c.disabled = true;
    c.disabled_why = STR("it has no URL");
    refused(c, ERR_SERVICE_UNCONFIGURED);
    assert_non_null(strstr(users[0].error.why, "it has no URL"));
    c = plain_config("x");
    c.restart_fingerprint = STR("b");
    c.semaphore_enabled = true;
    refused(c, ERR_NOT_AVAILABLE);
    c = plain_config("x");
    c.restart_fingerprint = STR("c");
    c.orchestrator = ORCHESTRATOR_DOCKER;
    refused(c, ERR_NOT_AVAILABLE);
    assert_non_null(strstr(users[0].error.why, "docker"));
    assert_int_equal(stage_get(&fake.starts), 0);
}

/* ---- stopping ---------------------------------------------------------------------------------------- */

static void test_stop_during_start(void **state)
{
    struct service_config c = plain_config("x");
    fake.start_ms = -1;
    struct service *s = begin(&c);
    user_start(&users[0], 0);
    STAGE_AWAIT(&fake.starts, 1);
    assert_int_equal(ask(s, ASK_STOP), OK);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(users[0].err, ERR_START_FAILED);
    await_state(s, SERVICE_COLD);
    assert_int_equal(stage_get(&fake.starts), 1);
    assert_int_equal(ask(s, ASK_STOP), ERR_CONFLICT);
    service_unref(s);
}

static void test_request_during_stop_restarts(void **state)
{
    struct service_config c = plain_config("x");
    fake.stop_ms = 500;
    struct service *s = begin(&c);
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(ask(s, ASK_STOP), OK);
    assert_int_equal(status_of(s).state, SERVICE_STOPPING);
    for (int i = 1; i < 10; i++)
        user_start(&users[i], i % 2);
    STAGE_AWAIT(&gone, 10);
    for (int i = 1; i < 10; i++)
        assert_int_equal(users[i].err, OK);
    assert_int_equal(stage_get(&fake.starts), 2);
    assert_int_equal(stage_get(&fake.live_max), 1);
    service_unref(s);
}

static void test_stop_waits_for_requests(void **state)
{
    struct service_config c = plain_config("x");
    struct service *s = begin(&c);
    users[0].hold_ms = -1;
    user_start(&users[0], 0);
    STAGE_AWAIT(&answered, 1);
    assert_int_equal(ask(s, ASK_STOP), OK);
    assert_int_equal(status_of(s).state, SERVICE_STOPPING);
    assert_int_equal(stage_get(&fake.stops), 0);
    user_go(&users[0]);
    STAGE_AWAIT(&fake.stops, 1);
    await_state(s, SERVICE_COLD);
    assert_int_equal(stage_get(&fake.stops_under_load), 0);
    service_unref(s);
}

static void test_forced_stop_does_not_wait(void **state)
{
    struct service_config c = plain_config("x");
    struct service *s = begin(&c);
    users[0].hold_ms = -1;
    user_start(&users[0], 0);
    STAGE_AWAIT(&answered, 1);
    assert_int_equal(ask(s, ASK_STOP), OK);
    assert_int_equal(ask(s, ASK_KILL), OK);
    STAGE_AWAIT(&fake.stops, 1);
    await_state(s, SERVICE_COLD);
    assert_int_equal(status_of(s).in_flight, 1);
    user_go(&users[0]);
    STAGE_AWAIT(&gone, 1);
    service_unref(s);
}

static void test_idle_stop(void **state)
{
    struct service_config c = plain_config("x");
    c.idle_timeout_ms = 60;
    struct service *s = begin(&c);
    users[0].hold_ms = 200;
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    STAGE_AWAIT(&fake.stops, 1);
    assert_true(fake.stopped_at - fake.unused_since >= 50 * CLOCK_MS);
    assert_int_equal(stage_get(&fake.stops_under_load), 0);
    await_state(s, SERVICE_COLD);
    service_unref(s);
}

/* Requests and idle stops as close to each other as can be: none is lost, none is stopped under load. */
static void test_idle_stop_races_with_requests(void **state)
{
    struct service_config c = plain_config("x");
    c.idle_timeout_ms = 1;
    c.warmup_ms = 1;
    struct service *s = begin(&c);
    for (int round = 0; round < 40; round++) {
        users_reset(s, &c);
        for (int i = 0; i < 10; i++) {
            users[i].hold_ms = (i * 7 + round) % 5;
            user_start(&users[i], i % 2);
        }
        STAGE_AWAIT(&gone, 10);
        for (int i = 0; i < 10; i++)
            assert_int_equal(users[i].err, OK);
        /* The next requests come at another moment of the idle time, or of the stop. */
        struct timespec pause = {.tv_nsec = round * 90000 % 2700000};
        nanosleep(&pause, NULL);
    }
    assert_int_equal(stage_get(&fake.stops_under_load), 0);
    assert_int_equal(stage_get(&fake.live_max), 1);
    assert_true(stage_get(&fake.stops) > 1);
    service_unref(s);
}

static void test_crash_while_hot(void **state)
{
    struct service_config c = plain_config("x");
    c.max_concurrent = 1;
    struct service *s = begin(&c);
    users[0].hold_ms = -1;
    user_start(&users[0], 0);
    STAGE_AWAIT(&answered, 1);
    user_start(&users[1], 1); /* queues for the slot, and survives */
    while (status_of(s).queue_pending < 1)
        ;
    on_control(fake_crash, NULL);
    struct service_status status = status_of(s);
    assert_int_equal(status.state, SERVICE_COLD);
    assert_true(status.retry_at_us > 0);
    assert_non_null(strstr(status.last_error.p, "status 3"));
    user_start(&users[2], 0); /* comes during the back-off */
    STAGE_AWAIT(&answered, 2);
    assert_int_equal(users[2].err, ERR_BACKING_OFF);
    user_go(&users[0]);
    STAGE_AWAIT(&gone, 3);
    assert_int_equal(users[1].err, OK);
    assert_int_equal(stage_get(&fake.starts), 2);
    service_unref(s);
}

/* ---- reload ------------------------------------------------------------------------------------------ */

static void test_reload_leaves_the_unchanged_alone(void **state)
{
    struct service_config c = plain_config("x");
    struct service *s = begin(&c);
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    struct service_config live = c;
    live.full_fingerprint = STR("other");
    live.max_concurrent = 7;
    config_use(&live, 1);
    struct service *same = service_x();
    assert_ptr_equal(same, s);
    assert_int_equal(word_limit(atomic_load(&s->word)), 7);
    assert_int_equal(status_of(s).state, SERVICE_HOT);
    assert_int_equal(stage_get(&fake.stops), 0);
    service_unref(same);
    service_unref(s);
}

static void test_reload_with_successor(void **state)
{
    struct service_config c = plain_config("x");
    fake.stop_ms = 30;
    struct service *old = begin(&c);
    users[0].hold_ms = -1;
    user_start(&users[0], 0);
    STAGE_AWAIT(&answered, 1);
    struct service_config changed = c;
    changed.restart_fingerprint = changed.full_fingerprint = STR("b");
    config_use(&changed, 1);
    struct service *next = service_x();
    assert_ptr_not_equal(next, old);
    users[1].service = next;
    user_start(&users[1], 1);
    user_start(&users[2], 0); /* still knows the old one: is led to the new one */
    while (status_of(next).queue_pending < 2)
        ;
    assert_int_equal(stage_get(&fake.starts), 1);
    assert_int_equal(stage_get(&fake.stops), 0);
    user_go(&users[0]);
    STAGE_AWAIT(&gone, 3);
    assert_int_equal(users[1].err, OK);
    assert_int_equal(users[2].err, OK);
    assert_int_equal(stage_get(&fake.starts), 2);
    assert_int_equal(stage_get(&fake.live_max), 1);
    service_unref(next);
    service_unref(old);
}

/* Three configs in a row while the first service still runs: only the last one starts, after the first. */
static void test_reload_twice_during_a_stop(void **state)
{
    struct service_config c = plain_config("x");
    struct service *first = begin(&c);
    users[0].hold_ms = -1;
    user_start(&users[0], 0);
    STAGE_AWAIT(&answered, 1);
    c.restart_fingerprint = c.full_fingerprint = STR("b");
    config_use(&c, 1);
    struct service *second = service_x();
    users[1].service = second;
    user_start(&users[1], 1);
    while (status_of(second).queue_pending < 1)
        ;
    c.restart_fingerprint = c.full_fingerprint = STR("c");
    config_use(&c, 1);
    struct service *third = service_x();
    assert_int_equal(status_of(third).queue_pending, 1);
    assert_int_equal(stage_get(&fake.starts), 1);
    user_go(&users[0]);
    STAGE_AWAIT(&gone, 2);
    assert_int_equal(users[1].err, OK);
    assert_int_equal(stage_get(&fake.starts), 2);
    assert_int_equal(stage_get(&fake.live_max), 1);
    service_unref(first);
    service_unref(second);
    service_unref(third);
}

static void test_reload_removes_and_brings_back(void **state)
{
    struct service_config c = plain_config("x");
    fake.stop_ms = 40;
    struct service *old = begin(&c);
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    config_use(NULL, 0);
    user_start(&users[1], 0);
    STAGE_AWAIT(&gone, 2);
    assert_int_equal(users[1].err, ERR_SERVICE_NOT_FOUND);
    config_use(&c, 1);
    struct service *next = service_x();
    users[2].service = next;
    user_start(&users[2], 1);
    STAGE_AWAIT(&gone, 3);
    assert_int_equal(users[2].err, OK);
    assert_int_equal(stage_get(&fake.starts), 2);
    assert_int_equal(stage_get(&fake.live_max), 1);
    service_unref(next);
    service_unref(old);
}

/* A reload in every moment of requests and starts: no request is lost. */
static void test_reload_under_load(void **state)
{
    struct service_config c = plain_config("x");
    c.warmup_ms = 1;
    struct service *s = begin(&c);
    char fingerprint[2][16] = {"a", "a"};
    for (int round = 0; round < 30; round++) {
        users_reset(s, &c);
        for (int i = 0; i < 20; i++) {
            users[i].hold_ms = i % 3;
            user_start(&users[i], i % 2);
        }
        snprintf(fingerprint[round % 2], sizeof fingerprint[0], "r%d", round);
        c.restart_fingerprint = c.full_fingerprint = str_from_c(fingerprint[round % 2]);
        config_use(&c, 1);
        STAGE_AWAIT(&gone, 20);
        for (int i = 0; i < 20; i++)
            assert_int_equal(users[i].err, OK);
        service_unref(s);
        s = service_x();
    }
    assert_int_equal(stage_get(&fake.live_max), 1);
    service_unref(s);
}

/* ---- the end ----------------------------------------------------------------------------------------- */

static void test_drain_refuses(void **state)
{
    struct service_config c = plain_config("x");
    struct service *s = begin(&c);
    user_start(&users[0], 0);
    STAGE_AWAIT(&gone, 1);
    stage_set(&stage_done, 0);
    on_control(stage_end_now, NULL);
    STAGE_AWAIT(&stage_done, 1);
    assert_int_equal(stage_get(&fake.stops), 1);
    user_start(&users[1], 0);
    STAGE_AWAIT(&gone, 2);
    assert_int_equal(users[1].err, ERR_DRAINING);
    assert_int_equal(ask(s, ASK_START), ERR_DRAINING);
    service_unref(s);
}

#define LIFE(name) cmocka_unit_test_setup_teardown(name, stage_open, stage_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(test_many_first_requests_one_start),
        LIFE(test_hot_needs_no_queue),
        LIFE(test_start_failure_answers_all),
        LIFE(test_start_that_fails_at_once),
        LIFE(test_start_timeout),
        LIFE(test_explicit_start_needs_no_request),
        LIFE(test_waiting_page_starts),
        LIFE(test_queue_full),
        LIFE(test_queue_timeout_cancels_the_start),
        LIFE(test_only_the_last_waiter_cancels_the_start),
        LIFE(test_slots_in_order),
        LIFE(test_monitors_do_not_wake),
        LIFE(test_what_cannot_start),
        LIFE(test_stop_during_start),
        LIFE(test_request_during_stop_restarts),
        LIFE(test_stop_waits_for_requests),
        LIFE(test_forced_stop_does_not_wait),
        LIFE(test_idle_stop),
        LIFE(test_idle_stop_races_with_requests),
        LIFE(test_crash_while_hot),
        LIFE(test_reload_leaves_the_unchanged_alone),
        LIFE(test_reload_with_successor),
        LIFE(test_reload_twice_during_a_stop),
        LIFE(test_reload_removes_and_brings_back),
        LIFE(test_reload_under_load),
        LIFE(test_drain_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
