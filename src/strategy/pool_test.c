/* The pool: who is asked, in which order, and what outcomes do to that; with a clock of our own. */
#include "strategy/test.h"

static const uint64_t start = 100000 * CLOCK_S;
static uint64_t now; /* of the requests */
static struct provider_pool *pool;

static void use(struct config *c)
{
    provider_pool_unref(pool);
    pool = pool_apply(c);
}

static int open_test(void **state)
{
    now = start;
    pool = NULL;
    return pool_open(state);
}

static int close_test(void **state)
{
    provider_pool_unref(pool);
    pool = NULL;
    return pool_close(state);
}

/* A pool of so many providers A, B, C … */
static struct provider_config made[8];

static struct config *letters(size_t n, enum routing_strategy strategy)
{
    static const char *const names[] = {"A", "B", "C", "D", "E", "F", "G", "H"};
    for (size_t i = 0; i < n; i++)
        made[i] = provider_make(names[i]);
    struct config *c = pool_config(made, n);
    c->routing.strategy = strategy;
    return c;
}

static struct provider *pick(struct provider_tour *tour)
{
    return provider_pick(pool, tour, STR("m"), now);
}

static char name_of(const struct provider *p)
{
    return p ? provider_config_of(p)->name.p[0] : '-';
}

/* One request that succeeds at once: who answered? */
static char one(void)
{
    struct provider_tour tour = {0};
    struct provider *p = pick(&tour);
    if (p)
        provider_report(p, &tour, PROVIDER_OK, CLOCK_MS, CLOCK_MS, 0, now, NULL);
    return name_of(p);
}

static const char *asked(int n)
{
    static char text[64];
    for (int i = 0; i < n; i++)
        text[i] = one();
    text[n] = '\0';
    return text;
}

/* A tour on which everybody fails: the order. */
static const char *failing_tour(enum provider_outcome outcome)
{
    static char text[16];
    struct provider_tour tour = {0};
    struct provider *p;
    size_t n = 0;
    while (n < sizeof text - 1 && (p = pick(&tour))) {
        text[n++] = name_of(p);
        provider_report(p, &tour, outcome, 0, CLOCK_MS, 0, now, "it failed");
    }
    text[n] = '\0';
    return text;
}

/* The next attempt ends like that. */
static void end_one(char expected, enum provider_outcome outcome, uint64_t retry_after_ms)
{
    struct provider_tour tour = {0};
    struct provider *p = pick(&tour);
    assert_int_equal(name_of(p), expected);
    provider_report(p, &tour, outcome, 0, 0, retry_after_ms, now, "because");
}

static struct provider_status status_at(size_t i)
{
    struct arena arena = {0};
    struct provider_status s;
    provider_status(provider_at(pool, i), &arena, &s);
    s.name = s.last_error = STR_NONE;
    arena_free(&arena);
    return s;
}

static void after(uint64_t ms)
{
    now += ms * CLOCK_MS;
}

/* ---- strategies -------------------------------------------------------------------------------------- */

static void test_weighted(void **state)
{
    struct config *c = letters(2, ROUTING_WEIGHTED);
    c->providers[0].weight = 3;
    use(c);
    assert_string_equal(asked(8), "AABAAABA");
}

static void test_round_robin(void **state)
{
    use(letters(3, ROUTING_ROUND_ROBIN));
    assert_string_equal(asked(7), "ABCABCA");
}

static void test_failover(void **state)
{
    use(letters(3, ROUTING_FAILOVER));
    assert_string_equal(asked(3), "AAA");
    assert_string_equal(failing_tour(PROVIDER_FAILED), "ABC");
}

static void test_each_once_per_tour(void **state)
{
    use(letters(5, ROUTING_ROUND_ROBIN));
    assert_string_equal(failing_tour(PROVIDER_FAILED), "ABCDE");
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(status_at(i).requests, 1);
        assert_int_equal(status_at(i).failures, 1);
        assert_int_equal(status_at(i).in_flight, 0);
    }
    assert_string_equal(failing_tour(PROVIDER_FAILED), "ABCDE"); /* the last resort, in their order */
}

static void test_latency_is_learned(void **state)
{
    use(letters(2, ROUTING_LATENCY));
    for (int i = 0; i < 2; i++) {
        struct provider_tour tour = {0};
        struct provider *p = pick(&tour);
        uint64_t ns = name_of(p) == 'A' ? 200 * CLOCK_MS : 2 * CLOCK_MS;
        provider_report(p, &tour, PROVIDER_OK, ns, ns, 0, now, NULL);
    }
    assert_string_equal(asked(5), "BBBBB");
    assert_true(status_at(0).first_byte_ms > 199);
    assert_true(status_at(1).latency_ms < 3);
}

/* ---- eligibility ------------------------------------------------------------------------------------- */

static void test_fallback_only(void **state)
{
    struct config *c = letters(3, ROUTING_ROUND_ROBIN);
    c->providers[0].fallback_only = true;
    use(c);
    assert_string_equal(asked(4), "BCBC");
    assert_string_equal(failing_tour(PROVIDER_FAILED), "BCA"); /* in the same request */
    now++;                                                     /* all three failed */
    end_one('B', PROVIDER_FAILED, 0);                          /* primaries first, then as well */
}

static void test_fallback_when_primaries_are_out(void **state)
{
    struct config *c = letters(2, ROUTING_ROUND_ROBIN);
    c->providers[0].fallback_only = true;
    use(c);
    end_one('B', PROVIDER_FAILED, 0);
    assert_string_equal(asked(3), "AAA");
    after(30000);
    assert_string_equal(asked(2), "BB"); /* its trial succeeds */
}

static void test_models(void **state)
{
    struct config *c = letters(3, ROUTING_FAILOVER);
    struct env_pair map[] = {{STR("gpt-4"), STR("deployment")}};
    c->providers[0].models.items[0] = STR("other");
    c->providers[1].model_map = map;
    c->providers[1].model_map_count = 1;
    c->providers[2].models.count = 0; /* not known yet: may serve anything */
    use(c);
    struct provider_tour tour = {0};
    struct provider *p = provider_pick(pool, &tour, STR("gpt-4"), now);
    assert_int_equal(name_of(p), 'B');
    assert_true(str_eq(provider_model_name(p, STR("gpt-4")), STR("deployment")));
    provider_report(p, &tour, PROVIDER_FAILED, 0, 0, 0, now, NULL);
    p = provider_pick(pool, &tour, STR("gpt-4"), now);
    assert_int_equal(name_of(p), 'C');
    provider_report(p, &tour, PROVIDER_OK, 0, 0, 0, now, NULL);
    assert_null(provider_pick(pool, &tour, STR("gpt-4"), now)); /* A does not serve it */
    assert_true(provider_pool_knows(pool, NULL, STR("anything")));
    assert_false(provider_pool_lists(pool, STR("anything")));
    assert_true(provider_pool_lists(pool, STR("gpt-4")));
}

static void test_unknown_model(void **state)
{
    use(letters(2, ROUTING_ROUND_ROBIN));
    struct provider_tour tour = {0};
    assert_null(provider_pick(pool, &tour, STR("x"), now));
    assert_false(tour.slots_only);
    assert_false(provider_pool_knows(pool, NULL, STR("x")));
    assert_false(provider_pool_knows(pool, NULL, STR("Z/m")));
}

static void test_provider_named_in_the_model(void **state)
{
    struct config *c = letters(3, ROUTING_FAILOVER);
    c->providers[2].models.items[0] = STR("B/special");
    use(c);
    struct provider_tour tour = {0};
    struct provider *p = provider_pick(pool, &tour, STR("B/m"), now);
    assert_int_equal(name_of(p), 'B');
    assert_true(str_eq(provider_model_name(p, STR("B/m")), STR("m")));
    provider_report(p, &tour, PROVIDER_FAILED, 0, 0, 0, now, NULL);
    assert_null(provider_pick(pool, &tour, STR("B/m"), now)); /* nobody else was meant */
    tour = (struct provider_tour){0};
    p = provider_pick(pool, &tour, STR("B/special"), now); /* B has no such model: the whole is a name */
    assert_int_equal(name_of(p), 'C');
    assert_true(str_eq(provider_model_name(p, STR("B/special")), STR("B/special")));
    provider_report(p, &tour, PROVIDER_OK, 0, 0, 0, now, NULL);
}

static void test_disabled(void **state)
{
    struct config *c = letters(2, ROUTING_FAILOVER);
    c->providers[0].disabled = true;
    use(c);
    assert_string_equal(asked(2), "BB");
    assert_string_equal(failing_tour(PROVIDER_FAILED), "B");
    assert_true(status_at(0).disabled);
}

/* ---- health ------------------------------------------------------------------------------------------ */

static void test_one_failure_is_enough(void **state)
{
    use(letters(2, ROUTING_ROUND_ROBIN));
    end_one('A', PROVIDER_FAILED, 0);
    assert_false(status_at(0).healthy);
    assert_int_equal(status_at(0).breaker, BREAKER_CLOSED);
    assert_string_equal(asked(4), "BBBB");
}

static void test_passive_recovery(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_FAILED, 0);
    after(29999);
    assert_int_equal(one(), 'B');
    after(1);
    struct provider_tour trial = {0};
    struct provider *a = pick(&trial);
    assert_int_equal(name_of(a), 'A');
    assert_true(trial.is_trial);
    assert_string_equal(asked(3), "BBB"); /* one trial at a time */
    provider_report(a, &trial, PROVIDER_OK, 0, CLOCK_MS, 0, now, NULL);
    assert_string_equal(asked(3), "AAA");
    assert_true(status_at(0).healthy);
}

static void test_failed_trial(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_FAILED, 0);
    after(30000);
    end_one('A', PROVIDER_FAILED, 0);
    after(29999);
    assert_int_equal(one(), 'B');
    after(1);
    assert_int_equal(one(), 'A');
}

/* Its client left: nothing is known, and the next request may try. */
static void test_cancelled_trial(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_FAILED, 0);
    after(30000);
    end_one('A', PROVIDER_CANCELLED, 0);
    assert_false(status_at(0).healthy);
    end_one('A', PROVIDER_CANCELLED, 0);
    assert_int_equal(one(), 'A');
    assert_true(status_at(0).healthy);
}

/* Others that end meanwhile do not give the trial back that they do not have. */
static void test_trial_is_accounted_once(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    struct provider_tour early[2] = {{{0}}}, trial = {0};
    struct provider *a[2] = {pick(&early[0]), pick(&early[1])};
    end_one('A', PROVIDER_FAILED, 0);
    after(30000);
    assert_int_equal(name_of(pick(&trial)), 'A');
    provider_report(a[0], &early[0], PROVIDER_CANCELLED, 0, 30 * CLOCK_S, 0, now, NULL);
    assert_int_equal(one(), 'B');
    provider_report(a[1], &early[1], PROVIDER_OK, 0, 30001 * CLOCK_MS, 0, now, NULL);
    assert_false(status_at(0).healthy); /* it had begun before the failure: that proves nothing */
    assert_int_equal(one(), 'B');
    provider_report(a[0], &trial, PROVIDER_OK, 0, 0, 0, now, NULL);
    assert_int_equal(one(), 'A');
}

/* The head of a stream settles the trial; its end does not settle it again. */
static void test_trial_ends_with_the_head(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_FAILED, 0);
    after(30000);
    struct provider_tour stream = {0};
    struct provider *a = pick(&stream);
    provider_answered(a, &stream, now);
    assert_int_equal(one(), 'A');
    provider_report(a, &stream, PROVIDER_CANCELLED, 0, 0, 0, now, NULL);
    assert_int_equal(one(), 'A');
    assert_int_equal(status_at(0).in_flight, 0);
}

static void test_nobody_is_ejected_without_track_errors(void **state)
{
    struct config *c = letters(2, ROUTING_FAILOVER);
    c->monitoring.track_errors = false;
    use(c);
    for (int i = 0; i < 20; i++)
        end_one('A', PROVIDER_FAILED, 0);
    end_one('A', PROVIDER_AUTH, 0);
    assert_int_equal(one(), 'A');
    assert_int_equal(status_at(0).failures, 21);
}

/* Five at once that fail open the breaker: its trial has the same date, but a good check does not help. */
static void check_good(void *argument)
{
    provider_checked(argument, CHECK_PASSED, "", now, now);
}

static void check_bad(void *argument)
{
    provider_checked(argument, CHECK_FAILED, "status 500", now, now);
}

static void check_refused(void *argument)
{
    provider_checked(argument, CHECK_REFUSED, "status 401", now, now);
}

static void fail_at_once(int n)
{
    struct provider_tour tours[5] = {{{0}}};
    struct provider *p[5];
    for (int i = 0; i < n; i++)
        assert_int_equal(name_of(p[i] = pick(&tours[i])), 'A');
    for (int i = 0; i < n; i++)
        provider_report(p[i], &tours[i], PROVIDER_FAILED, 0, 0, 0, now, "x");
}

static void test_checks_and_the_breaker(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    fail_at_once(4);
    after(10);
    assert_int_equal(one(), 'B');
    on_control(check_good, provider_at(pool, 0));
    assert_int_equal(one(), 'A');
    fail_at_once(1); /* the fifth within the window */
    after(10);
    on_control(check_good, provider_at(pool, 0));
    assert_int_equal(one(), 'B'); /* open: only real traffic closes it */
    after(30000);
    assert_int_equal(one(), 'A');
    assert_true(status_at(0).healthy);
}

static void test_check_of_the_past(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    uint64_t before = now;
    after(10);
    fail_at_once(1);
    uint64_t failed = now;
    now = before; /* the check had begun before the failure */
    on_control(check_good, provider_at(pool, 0));
    now = failed;
    assert_int_equal(one(), 'B');
}

static void test_failed_checks(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    on_control(check_bad, provider_at(pool, 0));
    assert_int_equal(one(), 'B');
    after(10000);
    on_control(check_bad, provider_at(pool, 0)); /* does not put the trial off */
    after(20000);
    assert_int_equal(one(), 'A');
}

static void test_refused_checks(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    on_control(check_refused, provider_at(pool, 0));
    assert_true(status_at(0).auth_failed);
    assert_int_equal(one(), 'B');
    on_control(check_refused, provider_at(pool, 1)); /* has served already: it only may not list */
    assert_int_equal(one(), 'B');
    on_control(check_good, provider_at(pool, 0));
    assert_int_equal(one(), 'A');
    end_one('A', PROVIDER_AUTH, 0); /* refused by real traffic: a list that anybody may see says nothing */
    on_control(check_good, provider_at(pool, 0));
    assert_int_equal(one(), 'B');
}

/* ---- cool-down and keys ------------------------------------------------------------------------------ */

static void test_cooldown_is_of_one_only(void **state)
{
    use(letters(3, ROUTING_ROUND_ROBIN));
    end_one('A', PROVIDER_RATE_LIMITED, 7000);
    assert_string_equal(asked(4), "BCBC");
    assert_true(status_at(0).healthy); /* not ill, only asked to be left alone */
    after(6999);
    assert_string_equal(asked(2), "BC");
    after(1);
    assert_string_equal(asked(3), "ABC");
}

static void test_cooldowns_by_default_and_quota(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_RATE_LIMITED, 0);
    after(4999);
    assert_int_equal(one(), 'B');
    after(1);
    end_one('A', PROVIDER_QUOTA, 1000); /* whatever Retry-After says */
    after(599999);
    assert_int_equal(one(), 'B');
    after(1);
    assert_int_equal(one(), 'A');
}

/* Who asked for a pause is left alone when another has been asked; but alone, it says so itself. */
static void test_cooling_as_last_resort(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_RATE_LIMITED, 60000);
    assert_string_equal(failing_tour(PROVIDER_FAILED), "B");
    end_one('B', PROVIDER_RATE_LIMITED, 60000);
    assert_string_equal(failing_tour(PROVIDER_RATE_LIMITED), "A");
}

static void test_refused_key(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_AUTH, 0);
    assert_true(status_at(0).auth_failed);
    assert_false(status_at(0).healthy);
    after(299999);
    assert_int_equal(one(), 'B');
    after(1);
    assert_int_equal(one(), 'A');
    assert_false(status_at(0).auth_failed);
}

/* ---- the log ----------------------------------------------------------------------------------------- */

static char logged[8192];

static void log_catch(struct str line)
{
    size_t n = strlen(logged);
    pthread_mutex_lock(&stage_lock);
    if (n + line.n < sizeof logged)
        memcpy(logged + n, line.p, line.n);
    pthread_mutex_unlock(&stage_lock);
}

/* Each event once, however often the same thing happens. */
static int times(const char *event)
{
    char text[64];
    int n = 0;
    snprintf(text, sizeof text, "\"event_type\":\"%s\"", event);
    for (const char *p = logged; (p = strstr(p, text)); p++)
        n++;
    return n;
}

static void stats_now(void *argument)
{
    provider_event_stats(argument);
}

static void test_events(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    memset(logged, 0, sizeof logged);
    log_set_sink(log_catch);
    log_set_level(LOG_INFO);
    fail_at_once(4);
    assert_int_equal(times("provider_unhealthy"), 1);
    after(30000);
    assert_int_equal(one(), 'A');
    assert_int_equal(times("provider_recovered"), 1);
    end_one('A', PROVIDER_RATE_LIMITED, 5000);
    assert_int_equal(times("provider_cooldown"), 1);
    on_control(stats_now, provider_at(pool, 0));
    log_set_level(LOG_ERROR + 1);
    log_set_sink(NULL);
    assert_int_equal(times("provider_stats"), 1);
    assert_non_null(strstr(logged, "\"provider\":\"A\""));
    assert_non_null(strstr(logged, "\"requests\":6,\"failures\":5"));
    assert_null(strstr(logged, "sk-upstream"));
}

/* ---- slots ------------------------------------------------------------------------------------------- */

static void test_full_provider_is_passed_over(void **state)
{
    struct config *c = letters(2, ROUTING_FAILOVER);
    c->providers[0].max_concurrent = 1;
    c->providers[1].max_concurrent = 1;
    use(c);
    struct provider_tour first = {0}, second = {0}, third = {0};
    struct provider *a = pick(&first), *b = pick(&second);
    assert_int_equal(name_of(a), 'A');
    assert_int_equal(name_of(b), 'B');
    assert_null(pick(&third));
    assert_true(third.slots_only);
    provider_report(a, &first, PROVIDER_OK, 0, 0, 0, now, NULL);
    a = pick(&third);
    assert_int_equal(name_of(a), 'A');
    assert_false(third.slots_only);
    provider_report(a, &third, PROVIDER_OK, 0, 0, 0, now, NULL);
    provider_report(b, &second, PROVIDER_OK, 0, 0, 0, now, NULL);
}

struct wait {
    struct provider_tour tour;
    struct provider *provider;
    enum err err;
    uint64_t took;
    int done;
};

static void wait_task(struct task *t, void *argument)
{
    struct wait *w = argument;
    uint64_t begun = task_now(t);
    w->provider = provider_pick(pool, &w->tour, STR("m"), task_now(t));
    assert_true(!w->provider && w->tour.slots_only);
    w->err = provider_pick_wait(t, pool, &w->tour, STR("m"), &(struct provider_wait){.key = 1}, &w->provider);
    w->took = task_now(t) - begun;
    stage_add(&w->done, 1);
}

static void test_waiting_for_a_slot(void **state)
{
    struct config *c = letters(2, ROUTING_FAILOVER);
    c->providers[0].max_concurrent = 1;
    c->providers[1].fallback_only = true;
    c->queue.slot_wait_ms = 30;
    use(c);
    struct provider_tour holder = {0};
    struct provider *a = pick(&holder);
    struct wait w = {0};
    stage_run(stage.workers[0], wait_task, &w);
    STAGE_AWAIT(&w.done, 1);
    assert_int_equal(w.err, ERR_QUEUE_TIMEOUT);
    assert_true(w.took >= 30 * CLOCK_MS);
    assert_int_equal(w.tour.busy, 1);
    assert_int_equal(name_of(pick(&w.tour)), 'B'); /* then the next */
    provider_report(provider_at(pool, 1), &w.tour, PROVIDER_OK, 0, 0, 0, now, NULL);
    provider_report(a, &holder, PROVIDER_OK, 0, 0, 0, now, NULL);
    assert_int_equal(status_at(0).in_flight, 0);
}

static void test_slot_comes_in_time(void **state)
{
    struct config *c = letters(1, ROUTING_FAILOVER);
    c->providers[0].max_concurrent = 1;
    c->queue.slot_wait_ms = 10000;
    use(c);
    struct provider_tour holder = {0};
    struct provider *a = pick(&holder);
    struct wait w = {0};
    stage_run(stage.workers[0], wait_task, &w);
    while (status_at(0).waiting == 0) /* a wait that the test's time limit bounds */
        on_control(nothing_now, NULL);
    provider_report(a, &holder, PROVIDER_OK, 0, 0, 0, now, NULL);
    STAGE_AWAIT(&w.done, 1);
    assert_int_equal(w.err, OK);
    assert_int_equal(name_of(w.provider), 'A');
    assert_int_equal(status_at(0).in_flight, 1);
    provider_report(w.provider, &w.tour, PROVIDER_OK, 0, 0, 0, now, NULL);
    assert_int_equal(status_at(0).in_flight, 0);
}

/* ---- reload ------------------------------------------------------------------------------------------ */

static void test_reload_keeps_state(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_FAILED, 0);
    struct config *c = letters(3, ROUTING_FAILOVER);
    c->providers[0].weight = 5; /* not part of the fingerprint here */
    use(c);
    assert_false(status_at(0).healthy);
    assert_int_equal(provider_config_of(provider_at(pool, 0))->weight, 5);
    assert_int_equal(one(), 'B');
    c = letters(3, ROUTING_FAILOVER);
    c->providers[0].fingerprint = STR("another");
    use(c);
    assert_true(status_at(0).healthy);
    assert_int_equal(one(), 'A');
}

static void test_reload_forgives_a_refused_key(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_AUTH, 0);
    assert_int_equal(one(), 'B');
    use(letters(2, ROUTING_FAILOVER));
    assert_int_equal(one(), 'A');
}

static void test_reload_without_track_errors_forgives(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_FAILED, 0);
    struct config *c = letters(2, ROUTING_FAILOVER);
    c->monitoring.track_errors = false;
    use(c);
    assert_int_equal(one(), 'A');
}

/* Requests of the old pool still hold their slots in the new one, even where the key has changed. */
static void test_slots_survive_a_reload(void **state)
{
    struct config *c = letters(1, ROUTING_FAILOVER);
    c->providers[0].max_concurrent = 1;
    use(c);
    struct provider_pool *old = provider_pool_ref(pool);
    struct provider_tour held = {0}, next = {0};
    struct provider *a = pick(&held);
    c = letters(1, ROUTING_FAILOVER);
    c->providers[0].max_concurrent = 1;
    c->providers[0].fingerprint = STR("another");
    use(c);
    assert_null(pick(&next));
    assert_true(next.slots_only);
    provider_report(a, &held, PROVIDER_OK, 0, 0, 0, now, NULL);
    provider_pool_unref(old);
    assert_int_equal(one(), 'A');
}

static void test_limits_follow_a_reload(void **state)
{
    struct config *c = letters(1, ROUTING_FAILOVER);
    c->queue.max_concurrent = 1;
    use(c);
    struct gate *gate = gate_ref(provider_pool_gate(pool));
    assert_true(gate_enter_now(gate));
    assert_true(gate_is_full(gate));
    c = letters(1, ROUTING_FAILOVER);
    c->queue.max_concurrent = 2;
    use(c);
    assert_ptr_equal(gate, provider_pool_gate(pool));
    assert_false(gate_is_full(gate));
    gate_leave(gate);
    gate_unref(gate);
}

static void test_bad_reload_changes_nothing(void **state)
{
    use(letters(2, ROUTING_FAILOVER));
    end_one('A', PROVIDER_FAILED, 0);
    struct config *c = letters(2, ROUTING_FAILOVER);
    c->providers[1].service = STR("missing");
    struct application a = {.config = c};
    on_control(apply_now, &a);
    config_unref(c);
    assert_null(a.pool);
    assert_non_null(strstr(a.error.why, "missing"));
    assert_int_equal(one(), 'B');
}

static void test_merged_models(void **state)
{
    struct config *c = letters(3, ROUTING_FAILOVER);
    struct env_pair map[] = {{STR("alias"), STR("m")}};
    struct arena arena = {0};
    struct pool_model *models;
    c->providers[1].model_map = map;
    c->providers[1].model_map_count = 1;
    c->providers[2].disabled = true;
    c->providers[2].models.items[0] = STR("hidden");
    use(c);
    assert_int_equal(provider_pool_models(pool, NULL, &arena, &models), 2);
    assert_true(str_eq(models[0].id, STR("m")) && str_eq(models[0].owned_by, STR("A")));
    assert_true(str_eq(models[1].id, STR("alias")) && str_eq(models[1].owned_by, STR("B")));
    arena_free(&arena);
}

#define POOL(test) cmocka_unit_test_setup_teardown(test, open_test, close_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL(test_weighted),
        POOL(test_round_robin),
        POOL(test_failover),
        POOL(test_each_once_per_tour),
        POOL(test_latency_is_learned),
        POOL(test_fallback_only),
        POOL(test_fallback_when_primaries_are_out),
        POOL(test_models),
        POOL(test_unknown_model),
        POOL(test_provider_named_in_the_model),
        POOL(test_disabled),
        POOL(test_one_failure_is_enough),
        POOL(test_passive_recovery),
        POOL(test_failed_trial),
        POOL(test_cancelled_trial),
        POOL(test_trial_is_accounted_once),
        POOL(test_trial_ends_with_the_head),
        POOL(test_nobody_is_ejected_without_track_errors),
        POOL(test_checks_and_the_breaker),
        POOL(test_check_of_the_past),
        POOL(test_failed_checks),
        POOL(test_refused_checks),
        POOL(test_cooldown_is_of_one_only),
        POOL(test_cooldowns_by_default_and_quota),
        POOL(test_cooling_as_last_resort),
        POOL(test_refused_key),
        POOL(test_events),
        POOL(test_full_provider_is_passed_over),
        POOL(test_waiting_for_a_slot),
        POOL(test_slot_comes_in_time),
        POOL(test_reload_keeps_state),
        POOL(test_reload_forgives_a_refused_key),
        POOL(test_reload_without_track_errors_forgives),
        POOL(test_slots_survive_a_reload),
        POOL(test_limits_follow_a_reload),
        POOL(test_bad_reload_changes_nothing),
        POOL(test_merged_models),
    };
    return cmocka_run_group_tests_name("strategy_pool", tests, NULL, NULL);
}
