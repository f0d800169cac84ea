/*
 * The limits under eight threads: exactly as many pass as may, nothing drifts. The clock is our own and
 * stands still while the threads run, or is moved by them. Also the subject of a run under TSan.
 */
#include "strategy/limit_test.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 8, PHASES = 60, LATER = 400 };

static const uint64_t start = 100000 * CLOCK_S;

/* What each thread runs, with a number of its own, as far as possible at the same moment. */
struct crew {
    void (*work)(uint32_t thread);
    uint32_t thread;
};
static pthread_barrier_t line;

static void *crew_thread(void *argument)
{
    const struct crew *c = argument;
    pthread_barrier_wait(&line);
    c->work(c->thread);
    return NULL;
}

static void run_together(uint32_t count, void (*work)(uint32_t thread))
{
    pthread_t threads[64];
    struct crew crews[64];
    assert_int_equal(pthread_barrier_init(&line, NULL, count), 0);
    for (uint32_t i = 0; i < count; i++) {
        crews[i] = (struct crew){work, i};
        assert_int_equal(pthread_create(&threads[i], NULL, crew_thread, &crews[i]), 0);
    }
    for (uint32_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&line);
}

static struct limiter *limiter;
static _Atomic uint64_t now;
static _Atomic int64_t admitted, broken;

static bool reserve(struct limit_hold *hold, const struct amounts *a)
{
    struct limit_refusal refusal;
    *hold = (struct limit_hold){0};
    return limiter_reserve(limiter, a, false, atomic_load(&now), hold, &refusal);
}

static void stage_set(struct limiter *l)
{
    limiter = l;
    atomic_store(&now, start);
    atomic_store(&admitted, 0);
    atomic_store(&broken, 0);
}

/* ---- budgets ----------------------------------------------------------------------------------------- */

/* All ask until nobody passes any more; each ends at once, or at the very end. */
static void spend_all(uint32_t thread)
{
    static const struct amounts one = {{1, 1, 1, 2, 1}};
    struct limit_hold hold;
    for (int i = 0; i < 2500; i++)
        if (reserve(&hold, &one)) {
            atomic_fetch_add(&admitted, 1);
            limiter_settle(&hold, &one, atomic_load(&now));
        }
}

static void test_budget_of_ten_thousand(void **state)
{
    stage_set(LIMITER(LIMIT(REQUESTS, MINUTE, 10000), LIMIT(TOTAL_TOKENS, HOUR, 1000000)));
    run_together(THREADS, spend_all);
    assert_int_equal(atomic_load(&admitted), 10000);
    assert_int_equal(status_of(limiter, 0, start).used, 10000);
    assert_int_equal(status_of(limiter, 1, start).used, 20000);
    limiter_unref(limiter);
    stage_set(
        LIMITER(LIMIT(REQUESTS, MINUTE, 30000), LIMIT(TOTAL_TOKENS, HOUR, 20000), LIMIT(COST, DAY, 30000)));
    run_together(THREADS, spend_all);
    assert_int_equal(atomic_load(&admitted), 10000);
    assert_int_equal(status_of(limiter, 0, start).used, 10000);
    assert_int_equal(status_of(limiter, 2, start).used, 10000);
    limiter_unref(limiter);
}

/* The second limit refuses what the first has reserved already: that is given back. */
static void quarrel(uint32_t thread)
{
    static const struct amounts one = {{1, 1, 1, 2, 1}};
    struct limit_hold hold;
    for (int i = 0; i < 20000; i++)
        if (reserve(&hold, &one))
            limiter_settle(&hold, &nothing, start);
}

static void test_nothing_is_left_of_refusals(void **state)
{
    stage_set(LIMITER(LIMIT(REQUESTS, HOUR, 1000), LIMIT(INPUT_TOKENS, HOUR, 1000), LIMIT(COST, HOUR, 1)));
    run_together(THREADS, quarrel);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(status_of(limiter, i, start).remaining, status_of(limiter, i, start).config.value);
    limiter_unref(limiter);
}

static struct limit_hold fifty[50];

static void ask_once(uint32_t thread)
{
    static const struct amounts one = {{1, 5, 5, 10, 0}};
    if (reserve(&fifty[thread], &one))
        atomic_fetch_add(&admitted, 1);
}

static void test_fifty_for_ten(void **state)
{
    for (int round = 0; round < 10; round++) {
        stage_set(round % 2 ? LIMITER(LIMIT(REQUESTS, DAY, 10)) : LIMITER(LIMIT(TOTAL_TOKENS, HOUR, 105)));
        run_together(50, ask_once);
        assert_int_equal(atomic_load(&admitted), 10);
        for (int i = 0; i < 50; i++)
            limiter_settle(&fifty[i], &nothing, start + CLOCK_S);
        assert_int_equal(status_of(limiter, 0, start + CLOCK_S).remaining, round % 2 ? 10 : 105);
        limiter_unref(limiter);
    }
}

/* ---- a window that moves ----------------------------------------------------------------------------- */

/* In each phase everybody asks with one clock, and many end in ways of their own; between the phases the
   clock moves on, sometimes far. What was used in a phase is known exactly, and so is what may pass in the
   next. */
static struct phase {
    uint64_t at;
    int64_t used;
} phases[PHASES];
static size_t phase;
static _Atomic int64_t used_now, cancelled;
enum { PHASE_LIMIT = 400 };

static void phase_work(uint32_t thread)
{
    static const struct amounts one = {{1, 0, 1, 1, 0}};
    uint32_t seed = thread * 977 + (uint32_t)phase;
    for (int i = 0; i < 40; i++) {
        struct limit_hold hold;
        if (!reserve(&hold, &one))
            continue;
        bool is_kept = dice(&seed) % 4;
        limiter_settle(&hold, is_kept ? &one : &nothing, atomic_load(&now));
        atomic_fetch_add(is_kept ? &used_now : &cancelled, 1);
    }
}

static int64_t phases_sum(uint64_t at, uint64_t length)
{
    int64_t sum = 0;
    for (size_t i = 0; i < phase; i++)
        if (at - phases[i].at < length)
            sum += phases[i].used;
    return sum;
}

static uint64_t phase_pause(uint32_t *seed)
{
    switch (dice(seed) % 5) {
    case 0:
        return (20 + dice(seed) % 100) * CLOCK_S; /* idle: the head is far behind */
    case 1:
        return 60 * CLOCK_S;
    default:
        return dice(seed) % 8000 * CLOCK_MS;
    }
}

static void test_window_moves_under_load(void **state)
{
    static const uint64_t minute = 60 * CLOCK_S;
    uint32_t seed = 5;
    stage_set(LIMITER(LIMIT(REQUESTS, MINUTE, PHASE_LIMIT), LIMIT(TOTAL_TOKENS, MINUTE, PHASE_LIMIT)));
    for (phase = 0; phase < PHASES; phase++) {
        uint64_t at = atomic_load(&now);
        atomic_store(&used_now, 0);
        atomic_store(&cancelled, 0);
        run_together(THREADS, phase_work);
        int64_t used = atomic_load(&used_now);
        phases[phase] = (struct phase){at, used};
        assert_true(phases_sum(at, minute) + used <= PHASE_LIMIT);
        struct limit_status tokens = status_of(limiter, 1, at), requests = status_of(limiter, 0, at);
        assert_int_equal(tokens.reserved, 0);
        int64_t most = phases_sum(at, minute + slot_ns(WINDOW_MINUTE)) + used;
        assert_in_range(tokens.used, phases_sum(at, minute) + used, most);
        /* One that is cancelled while its own admission is still on its way into its slot stays. */
        assert_in_range(requests.used, phases_sum(at, minute) + used, most + 2 * THREADS);
        atomic_fetch_add(&now, phase_pause(&seed));
    }
    uint64_t end = atomic_load(&now) + minute + slot_ns(WINDOW_MINUTE);
    assert_int_equal(status_of(limiter, 0, end).used, 0);
    assert_int_equal(status_of(limiter, 1, end).used, 0);
    limiter_unref(limiter);
}

/* ---- everything at once ------------------------------------------------------------------------------ */

static _Atomic bool is_over;

static void *check_thread(void *argument)
{
    while (!atomic_load(&is_over))
        for (size_t i = 0; i < limiter_count(limiter); i++) {
            struct limit_status s = status_of(limiter, i, atomic_load(&now));
            if (s.used + s.reserved > s.config.value || s.used < 0 || s.reserved < 0)
                atomic_fetch_add(&broken, 1);
        }
    return NULL;
}

static struct amounts storm_ask(uint32_t *seed)
{
    int64_t in = dice(seed) % 40, out = dice(seed) % 40;
    return (struct amounts){{1, in, out, in + out, dice(seed) % 3 * 7}};
}

/* Estimates are exact, or the request does not count: then no sum may ever be beyond its limit. */
static void storm_work(uint32_t thread)
{
    uint32_t seed = thread + 1;
    struct limit_hold holds[4] = {0};
    struct amounts asked[4];
    for (int i = 0; i < LATER * 10; i++) {
        uint32_t h = dice(&seed) % COUNT_OF(holds);
        if (holds[h].limiter) {
            limiter_settle(&holds[h], dice(&seed) % 5 ? &asked[h] : &nothing, atomic_load(&now));
            continue;
        }
        asked[h] = storm_ask(&seed);
        if (reserve(&holds[h], &asked[h]))
            atomic_fetch_add(&admitted, 1);
        atomic_fetch_add(&now, dice(&seed) % 20 * CLOCK_MS);
        if (dice(&seed) % 1000 == 0)
            atomic_fetch_add(&now, dice(&seed) % 200 * CLOCK_S);
        int64_t average;
        struct amounts estimate = limiter_estimate(limiter, 100, 0, atomic_load(&now), &average);
        if (estimate.of[LIMIT_TOTAL_TOKENS] < 0 || average < 0)
            atomic_fetch_add(&broken, 1);
    }
    for (size_t h = 0; h < COUNT_OF(holds); h++)
        limiter_settle(&holds[h], &nothing, atomic_load(&now));
}

static void test_storm(void **state)
{
    stage_set(LIMITER(LIMIT(REQUESTS, MINUTE, 100), LIMIT(INPUT_TOKENS, MINUTE, 1500),
                      LIMIT(OUTPUT_TOKENS, MINUTE, 1500), LIMIT(TOTAL_TOKENS, HOUR, 100000),
                      LIMIT(COST, MINUTE, 500)));
    pthread_t checker;
    atomic_store(&is_over, false);
    assert_int_equal(pthread_create(&checker, NULL, check_thread, NULL), 0);
    run_together(THREADS, storm_work);
    atomic_store(&is_over, true);
    pthread_join(checker, NULL);
    assert_int_equal(atomic_load(&broken), 0);
    assert_true(atomic_load(&admitted) > 100);
    /* What slept on its way into a slot has left at the latest when the ring came round twice. */
    uint64_t end = atomic_load(&now);
    for (int i = 0; i < 4; i++, end += 3700 * CLOCK_S)
        for (size_t l = 0; l < limiter_count(limiter); l++)
            status_of(limiter, l, end);
    for (size_t i = 0; i < limiter_count(limiter); i++) {
        assert_int_equal(status_of(limiter, i, end).used, 0);
        assert_int_equal(status_of(limiter, i, end).reserved, 0);
        assert_int_equal(status_of(limiter, i, end).remaining, status_of(limiter, i, end).config.value);
    }
    limiter_unref(limiter);
}

/* ---- renewal ----------------------------------------------------------------------------------------- */

static struct limiter *_Atomic present;
static pthread_mutex_t publication = PTHREAD_MUTEX_INITIALIZER; /* the snapshot's part in the program */

static struct limiter *present_ref(void)
{
    pthread_mutex_lock(&publication);
    struct limiter *l = limiter_ref(atomic_load(&present));
    pthread_mutex_unlock(&publication);
    return l;
}

static void renew_work(uint32_t thread)
{
    static const struct rate_limit_config sets[][2] = {
        {LIMIT(REQUESTS, HOUR, 3000), LIMIT(COST, HOUR, 1000000)},
        {LIMIT(TOTAL_TOKENS, DAY, 1000000), LIMIT(REQUESTS, HOUR, 3000)},
    };
    static const struct amounts one = {{1, 1, 1, 2, 3}};
    for (int i = 0; i < 1000; i++) {
        struct limiter *mine = present_ref();
        if (thread == 0 && i % 10 == 0) { /* the control thread */
            struct limiter *next = limiter_renew(mine, sets[i / 10 % 2], 2);
            pthread_mutex_lock(&publication);
            limiter_unref(atomic_exchange(&present, next));
            pthread_mutex_unlock(&publication);
        }
        struct limit_hold hold = {0};
        struct limit_refusal refusal;
        if (limiter_reserve(mine, &one, false, start, &hold, &refusal)) {
            atomic_fetch_add(&admitted, 1);
            limiter_settle(&hold, &one, start);
        }
        limiter_unref(mine);
    }
}

/* The limit that all of them have holds across them. */
static void test_renewed_under_load(void **state)
{
    stage_set(NULL);
    atomic_store(&present, LIMITER(LIMIT(REQUESTS, HOUR, 3000)));
    run_together(THREADS, renew_work);
    assert_int_equal(atomic_load(&admitted), 3000);
    struct limiter *l = atomic_load(&present);
    for (size_t i = 0; i < limiter_count(l); i++)
        if (status_of(l, i, start).config.kind == LIMIT_REQUESTS)
            assert_int_equal(status_of(l, i, start).used, 3000);
    limiter_unref(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_of_ten_thousand),
        cmocka_unit_test(test_nothing_is_left_of_refusals),
        cmocka_unit_test(test_fifty_for_ten),
        cmocka_unit_test(test_window_moves_under_load),
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_renewed_under_load),
    };
    return cmocka_run_group_tests_name("strategy_limit_threads", tests, NULL, NULL);
}
