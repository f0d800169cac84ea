/*
 * The limits against a model that remembers every use with its time: whatever is asked in whatever order,
 * never more passes than the window allows, and nothing is refused that would fit if each use left a slot too
 * late.
 */
#include "strategy/limit_test.h"

#include <stdlib.h>

enum { USES = 4096, HOLDS = 12, OPERATIONS = 20000, ROUNDS = 12 };

struct model_use { /* one admitted request */
    struct amounts amounts;
    uint64_t admitted_at, settled_at; /* settled_at 0: reserved only */
    bool is_gone;                     /* settled with nothing */
};

static struct model {
    struct limiter *limiter;
    struct rate_limit_config limits[6];
    size_t limit_count;
    struct model_use uses[USES]; /* a ring: older ones have left every window */
    uint64_t use_count;
    struct model_hold {
        struct limit_hold hold;
        uint64_t use; /* number of it */
    } holds[HOLDS];
    uint64_t now;
    uint32_t seed;
    uint64_t admitted, refused;
} m;

static struct model_use *model_use_at(uint64_t number)
{
    return &m.uses[number % USES];
}

/* What counts at `now` when each use stays for the window and `grace` longer. */
static int64_t model_sum(const struct rate_limit_config *limit, uint64_t now, uint64_t grace)
{
    int64_t sum = 0;
    for (uint64_t i = m.use_count > USES ? m.use_count - USES : 0; i < m.use_count; i++) {
        const struct model_use *u = model_use_at(i);
        bool is_request = limit->kind == LIMIT_REQUESTS, is_held = !u->settled_at && !is_request;
        uint64_t since = is_request ? u->admitted_at : u->settled_at;
        int64_t amount = u->amounts.of[limit->kind];
        if (!u->is_gone && (is_held || now - since < window_ns[limit->window] + grace))
            sum += is_held ? MIN(amount, limit->value) : amount;
    }
    return sum;
}

static int64_t asked_of(const struct rate_limit_config *limit, const struct amounts *a)
{
    return MIN(a->of[limit->kind], limit->value);
}

static bool model_fits(const struct rate_limit_config *limit, const struct amounts *a, uint64_t now,
                       uint64_t grace)
{
    int64_t asked = asked_of(limit, a);
    return (limit->kind == LIMIT_COST && asked == 0) || model_sum(limit, now, grace) + asked <= limit->value;
}

static void check_admitted(const struct amounts *a)
{
    for (size_t i = 0; i < m.limit_count; i++)
        assert_true(model_fits(&m.limits[i], a, m.now, 0));
}

/* The limit that it names is full, and after the time that it names it is not. */
static void check_refused(const struct amounts *a, const struct limit_refusal *refusal)
{
    const struct rate_limit_config *limit = NULL;
    for (size_t i = 0; i < m.limit_count && !limit; i++)
        if (m.limits[i].kind == refusal->kind && m.limits[i].window == refusal->window)
            limit = &m.limits[i];
    assert_non_null(limit);
    uint64_t slot = slot_ns(limit->window);
    assert_false(model_fits(limit, a, m.now, slot));
    if (refusal->retry_after_ms == 1000)
        return; /* perhaps only reservations are in the way */
    uint64_t then = m.now + refusal->retry_after_ms * CLOCK_MS;
    assert_true(model_fits(limit, a, then, 0));
    assert_false(model_fits(limit, a, then - CLOCK_MS, slot));
}

static struct amounts model_ask(void)
{
    struct amounts a = use(1 + dice(&m.seed) % 60, dice(&m.seed) % 3 ? dice(&m.seed) % 50 : 0);
    if (dice(&m.seed) % 50 == 0)
        a = use(1000 + dice(&m.seed) % 100000, 100000);
    return a;
}

static void model_reserve(struct model_hold *h)
{
    struct amounts a = model_ask();
    struct limit_refusal refusal;
    if (!limiter_reserve(m.limiter, &a, true, m.now, &h->hold, &refusal)) {
        m.refused++;
        check_refused(&a, &refusal);
        return;
    }
    m.admitted++;
    check_admitted(&a);
    h->use = m.use_count++;
    *model_use_at(h->use) = (struct model_use){.amounts = a, .admitted_at = m.now};
}

static void model_settle(struct model_hold *h)
{
    struct model_use *u = model_use_at(h->use);
    struct amounts used = u->amounts;
    uint32_t how = dice(&m.seed) % 8;
    if (how == 0)
        used = nothing;
    else if (how < 4)
        used = use(used.of[LIMIT_TOTAL_TOKENS] * (1 + dice(&m.seed) % 12) / 8, used.of[LIMIT_COST] / how);
    limiter_settle(&h->hold, &used, m.now);
    *u = (struct model_use){used, u->admitted_at, m.now, how == 0};
}

static void model_time(void)
{
    enum limit_window window = m.limits[dice(&m.seed) % m.limit_count].window;
    uint64_t slot = slot_ns(window), part = dice(&m.seed) % 1000;
    switch (dice(&m.seed) % 64) {
    case 0: /* idle */
        m.now += window_ns[window] * part / 400;
        break;
    case 1: /* just about a window */
        m.now += window_ns[window] + slot * (part % 5) - 2 * slot;
        break;
    case 2 ... 20:
        m.now += slot * part / 100;
        break;
    case 21 ... 40:
        m.now += slot * part / 1000;
        break;
    default:
        break;
    }
}

static void model_check_status(void)
{
    for (size_t i = 0; i < m.limit_count; i++) {
        struct limit_status s = status_of(m.limiter, i, m.now);
        int64_t sum = s.used + s.reserved;
        assert_in_range(sum, model_sum(&m.limits[i], m.now, 0),
                        model_sum(&m.limits[i], m.now, slot_ns(s.config.window)));
    }
}

static void model_round(uint32_t seed)
{
    static const int64_t values[LIMIT_KINDS] = {20, 300, 300, 500, 400};
    m = (struct model){.seed = seed * 7919, .now = dice(&seed) * CLOCK_MS};
    m.limit_count = 1 + seed % COUNT_OF(m.limits);
    for (size_t i = 0; i < m.limit_count; i++) /* no kind and window twice */
        m.limits[i] =
            (struct rate_limit_config){(enum limit_kind)((i + seed) % LIMIT_KINDS),
                                       (enum limit_window)(dice(&m.seed) % 2 + i / LIMIT_KINDS), 0, true};
    for (size_t i = 0; i < m.limit_count; i++)
        m.limits[i].value = values[m.limits[i].kind] * (1 + (int64_t)m.limits[i].window * 3);
    if (m.limit_count == COUNT_OF(m.limits) && m.limits[5].window == m.limits[0].window)
        m.limit_count--;
    m.limiter = limiter_new(m.limits, m.limit_count);
    assert_non_null(m.limiter);
    for (int i = 0; i < OPERATIONS / ROUNDS; i++) {
        struct model_hold *h = &m.holds[dice(&m.seed) % HOLDS];
        model_time();
        if (h->hold.limiter)
            model_settle(h);
        else
            model_reserve(h);
        model_check_status();
    }
}

/* When all is settled and a day is over, nothing is left. */
static void model_end(void)
{
    for (struct model_hold *h = m.holds; h < m.holds + HOLDS; h++)
        limiter_settle(&h->hold, &h->hold.reserved, m.now);
    m.now += window_ns[WINDOW_DAY] + slot_ns(WINDOW_DAY);
    for (size_t i = 0; i < m.limit_count; i++) {
        struct limit_status s = status_of(m.limiter, i, m.now);
        assert_int_equal(s.used, 0);
        assert_int_equal(s.reserved, 0);
    }
    limiter_unref(m.limiter);
}

static void test_as_the_model_says(void **state)
{
    const char *rounds = getenv("LIMIT_MODEL_ROUNDS"); /* for a long run by hand */
    uint32_t count = rounds ? (uint32_t)atoi(rounds) : ROUNDS;
    uint64_t admitted = 0, refused = 0;
    for (uint32_t seed = 0; seed < count; seed++) {
        model_round(seed);
        model_end();
        admitted += m.admitted;
        refused += m.refused;
    }
    assert_true(admitted > OPERATIONS / 10); /* both ways were walked */
    assert_true(refused > OPERATIONS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_model_says),
    };
    return cmocka_run_group_tests_name("strategy_limit_model", tests, NULL, NULL);
}
