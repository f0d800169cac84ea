/* Sums of a batch: see rollup.h. The store's thread. */
#include "store/rollup.h"

int64_t grain_seconds(enum usage_grain grain)
{
    static const int64_t seconds[] = {[GRAIN_MINUTE] = 60, [GRAIN_HOUR] = 3600, [GRAIN_DAY] = 86400};
    REQUIRE(grain >= GRAIN_MINUTE && grain <= GRAIN_DAY);
    return seconds[grain];
}

static void add_count(uint64_t *sum, uint64_t n)
{
    *sum = MIN(*sum + MIN(n, (uint64_t)INT64_MAX), (uint64_t)INT64_MAX);
}

static void add_amount(int64_t *sum, int64_t n)
{
    if (__builtin_add_overflow(*sum, MAX(n, (int64_t)0), sum))
        *sum = INT64_MAX;
}

static int latency_bucket(uint64_t duration_us)
{
    int bucket = 0;
    while (bucket < LATENCY_BUCKETS - 1 && duration_us >= (UINT64_C(1000) << bucket))
        bucket++;
    return bucket;
}

/* To the nearest. */
static uint64_t us_to_ms(uint64_t us)
{
    return us / 1000 + (us % 1000 >= 500);
}

/* An open record is given out as aborted: nobody settled it. */
static uint64_t *outcome_count(struct usage_point *p, enum entry_outcome outcome)
{
    switch (outcome) {
    case ENTRY_OK:
        return &p->ok;
    case ENTRY_FAILED:
        return &p->failed;
    case ENTRY_CANCELLED:
        return &p->cancelled;
    default:
        return &p->aborted;
    }
}

void usage_point_add(struct usage_point *p, const struct request_row *row)
{
    const struct entry_state *e = &row->state;
    add_count(&p->requests, 1);
    add_count(outcome_count(p, e->outcome), 1);
    add_amount(&p->input_tokens, e->input_tokens);
    add_amount(&p->output_tokens, e->output_tokens);
    add_amount(&p->cached_tokens, e->cached_tokens);
    add_amount(&p->reasoning_tokens, e->reasoning_tokens);
    add_amount(&p->cost, e->cost);
    add_count(&p->latency_sum_ms, us_to_ms(e->duration_us));
    add_count(&p->latency[latency_bucket(e->duration_us)], 1);
    if (e->first_byte_us) {
        add_count(&p->first_byte_sum_ms, us_to_ms(e->first_byte_us));
        add_count(&p->first_byte_count, 1);
    }
}

static void point_add_point(struct usage_point *p, const struct usage_point *q)
{
    uint64_t *const to[] = {&p->requests,
                            &p->ok,
                            &p->failed,
                            &p->cancelled,
                            &p->aborted,
                            &p->latency_sum_ms,
                            &p->first_byte_sum_ms,
                            &p->first_byte_count};
    const uint64_t from[] = {q->requests,
                             q->ok,
                             q->failed,
                             q->cancelled,
                             q->aborted,
                             q->latency_sum_ms,
                             q->first_byte_sum_ms,
                             q->first_byte_count};
    for (size_t i = 0; i < COUNT_OF(to); i++)
        add_count(to[i], from[i]);
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        add_count(&p->latency[i], q->latency[i]);
    add_amount(&p->input_tokens, q->input_tokens);
    add_amount(&p->output_tokens, q->output_tokens);
    add_amount(&p->cached_tokens, q->cached_tokens);
    add_amount(&p->reasoning_tokens, q->reasoning_tokens);
    add_amount(&p->cost, q->cost);
}

static struct rollup_cell *rollup_cell(struct rollup *r, enum usage_grain grain, int64_t tier, int64_t name,
                                       int64_t second)
{
    int64_t step = grain_seconds(grain);
    struct rollup_key key = {grain, tier, name, second / step * step};
    struct rollup_cell *cell = map_get(&r->cells, str_make((const char *)&key, sizeof key));
    if (cell || !(cell = arena_alloc(&r->arena, sizeof *cell)))
        return cell;
    cell->key = key;
    cell->sums.at = key.at;
    if (map_put(&r->cells, str_make((const char *)&cell->key, sizeof cell->key), cell) != OK)
        return NULL;
    return cell;
}

enum err rollup_add(struct rollup *r, enum usage_tier tier, int64_t name, const struct request_row *row)
{
    struct rollup_cell *cell = rollup_cell(r, GRAIN_MINUTE, tier, name, row->ended_us / 1000000);
    if (!cell)
        return ERR_NOMEM;
    usage_point_add(&cell->sums, row);
    cell->last_us = MAX(cell->last_us, row->ended_us);
    return OK;
}

enum err rollup_fold(struct rollup *r)
{
    size_t minutes = r->cells.count;
    for (size_t i = 0; i < minutes; i++) {
        const struct rollup_cell *minute = r->cells.entries[i].value;
        for (enum usage_grain grain = GRAIN_HOUR; grain <= GRAIN_DAY; grain++) {
            const struct rollup_key *key = &minute->key;
            struct rollup_cell *cell = rollup_cell(r, grain, key->tier, key->name, key->at);
            if (!cell)
                return ERR_NOMEM;
            point_add_point(&cell->sums, &minute->sums);
            cell->last_us = MAX(cell->last_us, minute->last_us);
        }
    }
    return OK;
}

size_t rollup_count(const struct rollup *r)
{
    return r->cells.count;
}

void rollup_clear(struct rollup *r)
{
    map_free(&r->cells);
    arena_reset(&r->arena);
}
