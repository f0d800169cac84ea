/* Gate and pool under four workers at once: limits hold, nothing leaks. Also the subject of a run under TSan.
 */
#include "strategy/test.h"

enum { WORKERS = 4, ENTERS = 1000, ABREAST = 25 };

static struct loop *workers[WORKERS];
static pthread_t worker_threads[WORKERS];

static int crowd_open(void **state)
{
    if (pool_open(state) != 0)
        return -1;
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = loop_new();
        if (pthread_create(&worker_threads[i], NULL, stage_thread, workers[i]) != 0)
            return -1;
    }
    return 0;
}

static int crowd_close(void **state)
{
    for (int i = 0; i < WORKERS; i++) {
        stage_run(workers[i], loop_stop_task, NULL);
        pthread_join(worker_threads[i], NULL);
        loop_free(workers[i]);
    }
    return pool_close(state);
}

/* A generator for each guest: runs differ only by timing. */
static uint32_t dice(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static _Atomic int inside, inside_max, entered, left_early;

static void step_in(void)
{
    int n = atomic_fetch_add(&inside, 1) + 1, max = atomic_load(&inside_max);
    while (n > max && !atomic_compare_exchange_weak(&inside_max, &max, n))
        ;
    atomic_fetch_add(&entered, 1);
}

static void step_out(void)
{
    atomic_fetch_sub(&inside, 1);
}

static void counters_reset(void)
{
    atomic_store(&inside, 0);
    atomic_store(&inside_max, 0);
    atomic_store(&entered, 0);
    atomic_store(&left_early, 0);
}

/* Stays for a turn or two of its loop, as a request would. */
static void stay(struct task *t, uint32_t *seed)
{
    for (uint32_t i = dice(seed) % 3; i > 0; i--) {
        enum err ignored = task_yield(t);
        (void)ignored;
    }
}

/* ---- one gate ---------------------------------------------------------------------------------------- */

static struct gate *gate;
static int guests_gone;

struct guest {
    uint32_t seed;
    struct task *task;
    struct task *victim; /* of the same worker: cancelled now and then */
    int rounds;
};

static void guest_round(struct task *t, struct guest *g)
{
    uint64_t wait = dice(&g->seed) % 4 == 0 ? 1 : 1000;
    enum err err = gate_enter(t, gate, dice(&g->seed) % 5, NULL, task_deadline(t, wait), NULL, NULL, 0);
    if (err != OK) {
        atomic_fetch_add(&left_early, 1);
        return;
    }
    step_in();
    stay(t, &g->seed);
    step_out();
    gate_leave(gate);
}

static void guest_task(struct task *t, void *argument)
{
    struct guest *g = argument;
    for (; g->rounds > 0; g->rounds--) {
        guest_round(t, g);
        t->cancelled = false; /* the same guest comes again */
    }
    stage_add(&guests_gone, 1);
}

/* Cancels its neighbours at random moments, for as long as they are there. */
struct spoiler {
    struct guest *guests;
    uint32_t seed;
};

static void spoiler_task(struct task *t, void *argument)
{
    struct spoiler *s = argument;
    for (int i = 0; i < ENTERS / 2; i++) {
        struct guest *g = &s->guests[dice(&s->seed) % ABREAST];
        if (g->rounds > 0)
            task_cancel(g->task);
        enum err ignored = task_yield(t);
        (void)ignored;
    }
    stage_add(&guests_gone, 1);
}

struct crew {
    struct guest guests[ABREAST];
    struct spoiler spoiler;
};

static void crew_task(struct task *t, void *argument)
{
    struct crew *crew = argument;
    for (int i = 0; i < ABREAST; i++) {
        crew->guests[i].task = task_spawn(t->loop, guest_task, &crew->guests[i]);
        REQUIRE(crew->guests[i].task);
    }
    struct task *spoiler = task_spawn(t->loop, spoiler_task, &crew->spoiler);
    REQUIRE(spoiler);
}

static void gate_now(void *argument)
{
    gate = gate_new(stage.control, 3);
}

static void test_gate_under_load(void **state)
{
    static struct crew crews[WORKERS];
    on_control(gate_now, NULL);
    counters_reset();
    guests_gone = 0;
    for (uint32_t w = 0; w < WORKERS; w++) {
        crews[w].spoiler = (struct spoiler){.guests = crews[w].guests, .seed = w + 100};
        for (uint32_t i = 0; i < ABREAST; i++)
            crews[w].guests[i] = (struct guest){.seed = w * 1000 + i, .rounds = ENTERS / ABREAST};
        stage_run(workers[w], crew_task, &crews[w]);
    }
    STAGE_AWAIT(&guests_gone, WORKERS * (ABREAST + 1));
    control_settle();
    assert_int_equal(atomic_load(&entered) + atomic_load(&left_early), WORKERS * ENTERS);
    assert_in_range(atomic_load(&entered), 1, WORKERS * ENTERS);
    assert_true(atomic_load(&left_early) > 0);
    assert_in_range(atomic_load(&inside_max), 2, 3);
    assert_int_equal(atomic_load(&inside), 0);
    assert_int_equal(gate_inside(gate), 0);
    assert_int_equal(gate_waiting(gate), 0);
    assert_true(gate_enter_now(gate)); /* nobody is held up any more */
    gate_leave(gate);
    gate_unref(gate);
}

/* ---- a pool ------------------------------------------------------------------------------------------ */

static struct provider_pool *pool;
static _Atomic int trials_open[4], trials_broken, over_limit, in_use[4];
static const uint64_t limits[4] = {1, 3, 0, 2};

static void attempt(struct task *t, struct provider *p, struct provider_tour *tour, uint32_t *seed)
{
    static const enum provider_outcome outcomes[] = {PROVIDER_OK,   PROVIDER_OK,       PROVIDER_OK,
                                                     PROVIDER_OK,   PROVIDER_FAILED,   PROVIDER_RATE_LIMITED,
                                                     PROVIDER_AUTH, PROVIDER_CANCELLED};
    size_t i = p->index;
    bool trial = tour->is_trial;
    int users = atomic_fetch_add(&in_use[i], 1) + 1;
    if (limits[i] && (uint64_t)users > limits[i])
        atomic_fetch_add(&over_limit, 1);
    if (trial && atomic_fetch_add(&trials_open[i], 1) > 0)
        atomic_fetch_add(&trials_broken, 1);
    stay(t, seed);
    if (trial)
        atomic_fetch_sub(&trials_open[i], 1);
    atomic_fetch_sub(&in_use[i], 1);
    provider_report(p, tour, outcomes[dice(seed) % COUNT_OF(outcomes)], 1000, 2000, 1, clock_now(), "thus");
}

static void request_round(struct task *t, uint32_t *seed)
{
    struct provider_tour tour = {0};
    struct provider_pool *mine = provider_pool_ref(pool);
    for (int i = 0; i < 3; i++) {
        struct provider *p = provider_pick(mine, &tour, STR("m"), clock_now());
        if (!p && tour.slots_only) {
            enum err err = provider_pick_wait(t, mine, &tour, STR("m"),
                                              &(struct provider_wait){.key = dice(seed) % 3}, &p);
            if (err == ERR_QUEUE_TIMEOUT)
                continue;
        }
        if (!p)
            break;
        atomic_fetch_add(&entered, 1);
        attempt(t, p, &tour, seed);
    }
    provider_pool_unref(mine);
}

static void request_task(struct task *t, void *argument)
{
    struct guest *g = argument;
    for (; g->rounds > 0; g->rounds--)
        request_round(t, &g->seed);
    stage_add(&guests_gone, 1);
}

static void requests_task(struct task *t, void *argument)
{
    struct crew *crew = argument;
    for (int i = 0; i < ABREAST; i++) {
        struct task *task = task_spawn(t->loop, request_task, &crew->guests[i]);
        REQUIRE(task);
    }
}

static struct config *crowded(enum routing_strategy strategy)
{
    static const char *const names[] = {"A", "B", "C", "D"};
    struct provider_config p[4];
    for (size_t i = 0; i < 4; i++) {
        p[i] = provider_make(names[i]);
        p[i].max_concurrent = limits[i];
    }
    struct config *c = pool_config(p, 4);
    c->routing.strategy = strategy;
    c->routing.circuit_breaker.open_ms = 1; /* plenty of trials */
    c->queue.slot_wait_ms = 1;
    return c;
}

/* Reloads go on meanwhile, on the control thread, as do lists of models. */
static void reload_now(void *argument)
{
    struct error error;
    struct config *c = crowded(*(enum routing_strategy *)argument);
    struct provider_pool *p = providers_apply(registry, c, &error);
    REQUIRE(p);
    for (size_t i = 0; i < p->count; i++)
        model_shelf_put(&p->list[i].state->models, model_list_parse(STR("[\"m\"]"), &error));
    config_unref(c);
    provider_pool_unref(p);
}

static void run_strategy(enum routing_strategy strategy)
{
    static struct crew crews[WORKERS];
    pool = pool_apply(crowded(strategy));
    counters_reset();
    guests_gone = 0;
    for (uint32_t w = 0; w < WORKERS; w++) {
        for (uint32_t i = 0; i < ABREAST; i++)
            crews[w].guests[i] = (struct guest){.seed = w * 77 + i, .rounds = 8};
        stage_run(workers[w], requests_task, &crews[w]);
    }
    for (int i = 0; i < 10; i++)
        on_control(reload_now, &strategy);
    STAGE_AWAIT(&guests_gone, WORKERS * ABREAST);
    control_settle();
    assert_true(atomic_load(&entered) > 0);
    for (size_t i = 0; i < 4; i++) {
        struct provider *p = provider_at(pool, i);
        assert_int_equal(gate_inside(p->state->gate), 0);
        assert_int_equal(gate_waiting(p->state->gate), 0);
        assert_false(p->state->breaker.trial);
    }
    provider_pool_unref(pool);
}

static void test_pool_under_load(void **state)
{
    for (int strategy = ROUTING_ROUND_ROBIN; strategy <= ROUTING_LATENCY; strategy++)
        run_strategy((enum routing_strategy)strategy);
    assert_int_equal(atomic_load(&over_limit), 0);
    assert_int_equal(atomic_load(&trials_broken), 0);
}

/* ---- weights ----------------------------------------------------------------------------------------- */

static _Atomic int answers[3];

static void weighted_task(struct task *t, void *argument)
{
    for (int i = 0; i < ENTERS; i++) {
        struct provider_tour tour = {0};
        struct provider *p = provider_pick(pool, &tour, STR("m"), clock_now());
        REQUIRE(p);
        atomic_fetch_add(&answers[p->index], 1);
        provider_report(p, &tour, PROVIDER_OK, 1000, 1000, 0, clock_now(), NULL);
    }
    stage_add(&guests_gone, 1);
}

/* Exactly, whoever takes the turns. */
static void test_weights_hold_across_workers(void **state)
{
    struct provider_config p[] = {provider_make("A"), provider_make("B"), provider_make("C")};
    p[0].weight = 5;
    p[1].weight = 2;
    struct config *c = pool_config(p, 3);
    c->routing.strategy = ROUTING_WEIGHTED;
    pool = pool_apply(c);
    guests_gone = 0;
    for (int w = 0; w < WORKERS; w++)
        stage_run(workers[w], weighted_task, NULL);
    STAGE_AWAIT(&guests_gone, WORKERS);
    assert_int_equal(atomic_load(&answers[0]), 2500);
    assert_int_equal(atomic_load(&answers[1]), 1000);
    assert_int_equal(atomic_load(&answers[2]), 500);
    provider_pool_unref(pool);
}

#define CROWD(test) cmocka_unit_test_setup_teardown(test, crowd_open, crowd_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CROWD(test_gate_under_load),
        CROWD(test_pool_under_load),
        CROWD(test_weights_hold_across_workers),
    };
    return cmocka_run_group_tests_name("strategy_threads", tests, NULL, NULL);
}
