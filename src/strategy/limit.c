/*
 * The limiter of limit.h. Its tallies, one for each kind and window that was ever limited, and the history of
 * averages belong to a ledger that a limiter shares with those it renews and is renewed by: what one of them
 * settles, all of them see. Made and renewed on the control thread, used by every worker.
 */
#include "strategy/limit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "strategy/limit_history.h"
#include "strategy/limit_tally.h"

#include <stdatomic.h>

enum {
    LIMIT_WINDOWS = 3,
    LEDGER_TALLIES = LIMIT_KINDS * LIMIT_WINDOWS,
    BYTES_PER_TOKEN = 4,
    GUESS_ANSWER_MAX =
        1000, /* tokens: an answer of which nothing is known is as long as its prompt, or this */
    RETRY_RESERVED_MS = 1000, /* only reservations are in the way, and nobody knows when they end */
};
static const int64_t tokens_max = (int64_t)1 << 40; /* estimates stay far from any overflow */

struct ledger {
    _Atomic int references;
    _Atomic uint32_t present; /* bits of `tallies`; a tally is there before its bit, and stays */
    struct tally *tallies[LEDGER_TALLIES];
    struct history history;
};

struct bound { /* the smallest enabled limit of one kind and window */
    struct tally *tally;
    int64_t limit;
    uint8_t index; /* in the ledger */
    uint8_t kind, window;
};

struct limiter {
    _Atomic int references;
    struct ledger *ledger;
    uint32_t bound_bits; /* which tallies of the ledger are bound */
    size_t bound_count;
    struct bound bounds[LEDGER_TALLIES];
    size_t count;
    struct rate_limit_config limits[]; /* all, as they were given */
};

/* ---- names ------------------------------------------------------------------------------------------- */

const char *limit_kind_name(enum limit_kind kind)
{
    static const char *const names[] = {"requests", "input_tokens", "output_tokens", "total_tokens", "cost"};
    return names[kind];
}

const char *limit_window_name(enum limit_window window)
{
    static const char *const names[] = {"minute", "hour", "day"};
    return names[window];
}

/* ---- life -------------------------------------------------------------------------------------------- */

static void ledger_unref(struct ledger *g)
{
    if (!g || atomic_fetch_sub(&g->references, 1) != 1)
        return;
    for (int i = 0; i < LEDGER_TALLIES; i++)
        mem_free(g->tallies[i]);
    mem_free(g);
}

static struct ledger *ledger_share(struct ledger *old)
{
    struct ledger *g = old ? old : mem_alloc(sizeof *g);
    if (g)
        atomic_fetch_add(&g->references, 1);
    return g;
}

static uint8_t ledger_index(const struct rate_limit_config *limit)
{
    return (uint8_t)((int)limit->kind * LIMIT_WINDOWS + (int)limit->window);
}

/* Of this kind and window; made when it is the first time. NULL when memory is short. */
static struct tally *ledger_tally(struct ledger *g, const struct rate_limit_config *limit)
{
    uint8_t i = ledger_index(limit);
    if (!g->tallies[i]) {
        g->tallies[i] = tally_new(limit->window);
        if (g->tallies[i])
            atomic_fetch_or(&g->present, 1U << i);
    }
    return g->tallies[i];
}

static void limiter_bind(struct limiter *l, const struct rate_limit_config *limit, struct tally *tally)
{
    uint8_t index = ledger_index(limit);
    for (size_t i = 0; i < l->bound_count; i++)
        if (l->bounds[i].index == index) {
            l->bounds[i].limit = MIN(l->bounds[i].limit, limit->value);
            return;
        }
    l->bound_bits |= 1U << index;
    l->bounds[l->bound_count++] = (struct bound){.tally = tally,
                                                 .limit = limit->value,
                                                 .index = index,
                                                 .kind = (uint8_t)limit->kind,
                                                 .window = (uint8_t)limit->window};
}

struct limiter *limiter_new(const struct rate_limit_config *limits, size_t count)
{
    return limiter_renew(NULL, limits, count);
}

struct limiter *limiter_renew(struct limiter *old, const struct rate_limit_config *limits, size_t count)
{
    struct limiter *l = mem_alloc(sizeof *l + count * sizeof *limits);
    if (!l)
        return NULL;
    atomic_store(&l->references, 1);
    l->ledger = ledger_share(old ? old->ledger : NULL);
    for (size_t i = 0; l->ledger && i < count; i++) {
        struct tally *tally = ledger_tally(l->ledger, &limits[i]); /* one that is not enabled counts, too */
        if (!tally)
            break;
        if (limits[i].enabled)
            limiter_bind(l, &limits[i], tally);
        l->limits[l->count++] = limits[i];
    }
    if (l->ledger && l->count == count)
        return l;
    limiter_unref(l);
    return NULL;
}

struct limiter *limiter_ref(struct limiter *l)
{
    if (l)
        atomic_fetch_add_explicit(&l->references, 1, memory_order_relaxed);
    return l;
}

void limiter_unref(struct limiter *l)
{
    if (!l || atomic_fetch_sub(&l->references, 1) != 1)
        return;
    ledger_unref(l->ledger);
    mem_free(l);
}

/* ---- estimates --------------------------------------------------------------------------------------- */

struct amounts limiter_estimate(const struct limiter *l, size_t prompt_bytes, uint64_t max_tokens,
                                uint64_t now_ns, int64_t *average_cost)
{
    struct amounts a = {0};
    int64_t bytes = (int64_t)MAX(MIN(prompt_bytes, (size_t)tokens_max), (size_t)1);
    int64_t prompt = (bytes + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN;
    int64_t answer = (int64_t)MIN(max_tokens, (uint64_t)tokens_max);
    int64_t *in = &a.of[LIMIT_INPUT_TOKENS], *out = &a.of[LIMIT_OUTPUT_TOKENS],
            *all = &a.of[LIMIT_TOTAL_TOKENS];
    if (!history_average(&l->ledger->history, now_ns, &a)) {
        *in = prompt;
        *out = answer ? answer : MIN(prompt, GUESS_ANSWER_MAX);
        *all = *in + *out;
    } else if (answer) {
        *in = MAX(*in, prompt);
        *out = MAX(*out, answer);
        *all = MAX(*all, prompt + answer);
    }
    *average_cost = a.of[LIMIT_COST];
    a.of[LIMIT_COST] = 0;
    a.of[LIMIT_REQUESTS] = 1;
    return a;
}

/* ---- reserving --------------------------------------------------------------------------------------- */

/* What a hold takes of a bound: never more than its limit, so that a guess can pass an empty window. */
static int64_t bound_share(const struct bound *b, const struct amounts *amounts)
{
    return MAX(MIN(amounts->of[b->kind], b->limit), 0);
}

static bool bound_fits(const struct bound *b, int64_t share)
{
    if (share == 0 && b->kind == LIMIT_COST)
        return true;
    return share <= b->limit - atomic_load(&b->tally->sum);
}

static bool bound_take(const struct bound *b, int64_t share)
{
    if (share == 0)
        return bound_fits(b, 0);
    if (!tally_take(b->tally, share, b->limit))
        return false;
    if (b->kind != LIMIT_REQUESTS)
        tally_reserve(b->tally, share);
    return true;
}

static void bound_give(const struct bound *b, int64_t share)
{
    if (b->kind != LIMIT_REQUESTS)
        tally_reserve(b->tally, -share);
    tally_give(b->tally, share);
}

static bool bound_refuse(const struct bound *b, const struct amounts *amounts, bool is_guess, uint64_t now_ns,
                         struct limit_refusal *refusal)
{
    int64_t sum = atomic_load(&b->tally->sum), reserved = MIN(atomic_load(&b->tally->reserved), sum);
    int64_t excess = sum - (b->limit - bound_share(b, amounts));
    uint64_t wait = tally_wait(b->tally, MAX(excess, 1), now_ns);
    *refusal = (struct limit_refusal){
        .kind = b->kind,
        .window = b->window,
        .limit = b->limit,
        .used = sum - reserved,
        .reserved = reserved,
        .asked = amounts->of[b->kind],
        .retry_after_ms = wait ? (wait + CLOCK_MS - 1) / CLOCK_MS : RETRY_RESERVED_MS,
        .never = !is_guess && amounts->of[b->kind] > b->limit,
    };
    return false;
}

/* The bound that is sure to refuse; NULL: none is, so far. */
static const struct bound *limiter_look(struct limiter *l, const struct amounts *amounts, bool is_guess,
                                        uint64_t now_ns)
{
    for (size_t i = 0; i < l->bound_count; i++) {
        const struct bound *b = &l->bounds[i];
        tally_advance(b->tally, tally_slot(b->tally, now_ns, 0));
        if (!bound_fits(b, bound_share(b, amounts)) || (!is_guess && amounts->of[b->kind] > b->limit))
            return b;
    }
    return NULL;
}

/* All of them, or none: then the one that refused. */
static const struct bound *limiter_take(struct limiter *l, const struct amounts *amounts)
{
    for (size_t i = 0; i < l->bound_count; i++) {
        if (LIKELY(bound_take(&l->bounds[i], bound_share(&l->bounds[i], amounts))))
            continue;
        for (size_t undo = i; undo-- > 0;)
            bound_give(&l->bounds[undo], bound_share(&l->bounds[undo], amounts));
        return &l->bounds[i];
    }
    return NULL;
}

bool limiter_reserve(struct limiter *l, const struct amounts *amounts, bool is_guess, uint64_t now_ns,
                     struct limit_hold *hold, struct limit_refusal *refusal)
{
    REQUIRE(!hold->limiter);
    const struct bound *refused = limiter_look(l, amounts, is_guess, now_ns);
    if (!refused)
        refused = limiter_take(l, amounts);
    if (refused)
        return bound_refuse(refused, amounts, is_guess, now_ns, refusal);
    for (size_t i = 0; i < l->bound_count; i++) {
        const struct bound *b = &l->bounds[i];
        if (b->kind == LIMIT_REQUESTS)
            tally_put(b->tally, tally_slot(b->tally, now_ns, 0), bound_share(b, amounts));
    }
    *hold = (struct limit_hold){.limiter = limiter_ref(l), .reserved = *amounts, .admitted_at = now_ns};
    return true;
}

/* ---- settling ---------------------------------------------------------------------------------------- */

static bool amounts_none(const struct amounts *a)
{
    int64_t any = 0;
    for (int kind = 0; kind < LIMIT_KINDS; kind++)
        any |= a->of[kind];
    return any == 0;
}

static void bound_settle(const struct bound *b, const struct limit_hold *hold, const struct amounts *used,
                         bool counts, uint64_t now_ns)
{
    int64_t share = bound_share(b, &hold->reserved);
    if (b->kind != LIMIT_REQUESTS)
        tally_settle(b->tally, share, MAX(used->of[b->kind], 0), tally_slot(b->tally, now_ns, 0));
    else if (!counts)
        tally_take_out(b->tally, tally_slot(b->tally, hold->admitted_at, 0), share);
}

/* A use of `age_ns` ago into one tally, unless it has left its window. */
static void tally_replay(struct tally *t, int64_t used, uint64_t age_ns, uint64_t now_ns)
{
    uint64_t present = tally_slot(t, now_ns, 0), slot = tally_slot(t, now_ns, age_ns);
    tally_advance(t, present);
    if (present - slot <= TALLY_WINDOW)
        tally_settle(t, 0, MAX(used, 0), slot);
}

/* Into the tallies of these bits. */
static void ledger_replay(struct ledger *g, uint32_t bits, const struct amounts *used,
                          uint64_t request_age_ns, uint64_t age_ns, uint64_t now_ns)
{
    for (; bits; bits &= bits - 1) {
        int i = __builtin_ctz(bits), kind = i / LIMIT_WINDOWS;
        tally_replay(g->tallies[i], used->of[kind], kind == LIMIT_REQUESTS ? request_age_ns : age_ns, now_ns);
    }
}

void limiter_settle(struct limit_hold *hold, const struct amounts *used, uint64_t now_ns)
{
    struct limiter *l = hold->limiter;
    if (!l)
        return;
    bool counts = !amounts_none(used);
    for (size_t i = 0; i < l->bound_count; i++)
        bound_settle(&l->bounds[i], hold, used, counts, now_ns);
    if (counts) {
        uint64_t age = now_ns - MIN(hold->admitted_at, now_ns);
        ledger_replay(l->ledger, atomic_load(&l->ledger->present) & ~l->bound_bits, used, age, 0, now_ns);
        history_add(&l->ledger->history, 1, used, now_ns, 0);
    }
    *hold = (struct limit_hold){0};
    limiter_unref(l);
}

void limiter_replay(struct limiter *l, const struct amounts *used, uint64_t age_ns, uint64_t now_ns)
{
    if (amounts_none(used))
        return;
    ledger_replay(l->ledger, atomic_load(&l->ledger->present), used, age_ns, age_ns, now_ns);
    history_add(&l->ledger->history, MAX(used->of[LIMIT_REQUESTS], 1), used, now_ns, age_ns);
}

/* ---- status ------------------------------------------------------------------------------------------ */

size_t limiter_count(const struct limiter *l)
{
    return l->count;
}

bool limiter_limits(const struct limiter *l, enum limit_kind kind)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->limits[i].enabled && l->limits[i].kind == kind)
            return true;
    return false;
}

void limiter_status(struct limiter *l, size_t i, uint64_t now_ns, struct limit_status *out)
{
    const struct rate_limit_config *limit = &l->limits[i];
    struct tally *t = l->ledger->tallies[ledger_index(limit)];
    tally_advance(t, tally_slot(t, now_ns, 0));
    int64_t sum = atomic_load(&t->sum), reserved = MIN(atomic_load(&t->reserved), sum);
    *out = (struct limit_status){
        .config = *limit,
        .used = sum - reserved,
        .reserved = reserved,
        .remaining = sum < limit->value ? limit->value - sum : 0,
        .reset_ms = (tally_reset(t, now_ns) + CLOCK_MS - 1) / CLOCK_MS,
    };
}
