/* Sums of a batch: see rollup.h. The store's thread. */
#include "store/rollup.h"

#include "base/mem.h"

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
    uint64_t ms = duration_us / 1000;
    return ms ? MIN(64 - __builtin_clzll(ms), LATENCY_BUCKETS - 1) : 0;
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

/* ---- mixes --------------------------------------------------------------------------------------------- */

static size_t mix_place(const struct rollup *r, const struct rollup_names *names, int64_t minute)
{
    uint64_t hash = (uint64_t)minute;
    const int64_t parts[] = {names->client, names->strategy, names->provider, names->model};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        hash = (hash ^ (uint64_t)parts[i]) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = (size_t)(hash ^ hash >> 32) & (r->index_size - 1);; i = (i + 1) & (r->index_size - 1)) {
        const struct rollup_mix *mix = r->index[i] ? &r->mixes[r->index[i] - 1] : NULL;
        if (!mix || (mix->minute == minute && mix->names.client == names->client &&
                     mix->names.strategy == names->strategy && mix->names.provider == names->provider &&
                     mix->names.model == names->model))
            return i;
    }
}

static enum err mixes_grow(struct rollup *r)
{
    size_t capacity = r->mix_capacity ? r->mix_capacity * 2 : 64;
    struct rollup_mix *mixes = mem_resize(r->mixes, capacity * sizeof *mixes);
    if (!mixes)
        return ERR_NOMEM;
    r->mixes = mixes;
    uint32_t *index = mem_alloc(capacity * 2 * sizeof *index);
    if (!index)
        return ERR_NOMEM;
    mem_free(r->index);
    r->index = index;
    r->index_size = capacity * 2;
    r->mix_capacity = capacity;
    for (size_t i = 0; i < r->mix_count; i++)
        index[mix_place(r, &mixes[i].names, mixes[i].minute)] = (uint32_t)i + 1;
    return OK;
}

enum err rollup_add(struct rollup *r, const struct rollup_names *names, const struct request_row *row)
{
    int64_t minute = row->ended_us / 60000000;
    if (r->mix_count == r->mix_capacity)
        TRY(mixes_grow(r));
    size_t place = mix_place(r, names, minute);
    if (!r->index[place]) {
        r->mixes[r->mix_count++] = (struct rollup_mix){.minute = minute, .names = *names};
        r->index[place] = (uint32_t)r->mix_count;
    }
    struct rollup_mix *mix = &r->mixes[r->index[place] - 1];
    usage_point_add(&mix->sums, row);
    mix->last_us = MAX(mix->last_us, row->ended_us);
    return OK;
}

size_t rollup_count(const struct rollup *r)
{
    return r->mix_count;
}

/* ---- cells --------------------------------------------------------------------------------------------- */

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

static enum err cell_add(struct rollup *r, enum usage_grain grain, int64_t tier, int64_t name, int64_t second,
                         const struct usage_point *sums, int64_t last_us)
{
    struct rollup_cell *cell = rollup_cell(r, grain, tier, name, second);
    if (!cell)
        return ERR_NOMEM;
    point_add_point(&cell->sums, sums);
    cell->last_us = MAX(cell->last_us, last_us);
    return OK;
}

static enum err mix_fold(struct rollup *r, const struct rollup_mix *mix)
{
    const struct {
        enum usage_tier tier;
        int64_t name;
    } parts[] = {{TIER_GLOBAL, 0},
                 {TIER_CLIENT, mix->names.client},
                 {TIER_STRATEGY, mix->names.strategy},
                 {TIER_PROVIDER, mix->names.provider},
                 {TIER_MODEL, mix->names.model}};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (parts[i].tier == TIER_GLOBAL || parts[i].name)
            TRY(cell_add(r, GRAIN_MINUTE, parts[i].tier, parts[i].name, mix->minute * 60, &mix->sums,
                         mix->last_us));
    return OK;
}

enum err rollup_fold(struct rollup *r)
{
    for (size_t i = 0; i < r->mix_count; i++)
        TRY(mix_fold(r, &r->mixes[i]));
    size_t minutes = r->cells.count;
    for (size_t i = 0; i < minutes; i++) {
        const struct rollup_cell *minute = r->cells.entries[i].value;
        const struct rollup_key *key = &minute->key;
        for (enum usage_grain grain = GRAIN_HOUR; grain <= GRAIN_DAY; grain++)
            TRY(cell_add(r, grain, key->tier, key->name, key->at, &minute->sums, minute->last_us));
    }
    return OK;
}

void rollup_clear(struct rollup *r)
{
    if (r->index)
        memset(r->index, 0, r->index_size * sizeof *r->index);
    r->mix_count = 0;
    map_free(&r->cells);
    arena_reset(&r->arena);
}

void rollup_free(struct rollup *r)
{
    mem_free(r->mixes);
    mem_free(r->index);
    map_free(&r->cells);
    arena_free(&r->arena);
    *r = (struct rollup){0};
}
