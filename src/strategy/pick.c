/*
 * The choice: who serves the model, who may be asked now, who has a slot, and of those the next by the
 * routing strategy. Also what the pool knows of models. Any worker.
 */
#include "base/mem.h"
#include "strategy/inside.h"

/* ---- models ------------------------------------------------------------------------------------------ */

static const struct env_pair *mapping_of(const struct provider_config *config, struct str model)
{
    for (size_t i = 0; i < config->model_map_count; i++)
        if (str_eq(config->model_map[i].name, model))
            return &config->model_map[i];
    return NULL;
}

/* Azure lists base models, but is asked for deployments, whose names nobody tells. */
static bool list_counts(const struct provider_config *config)
{
    return config->models.count == 0 && config->type != PROVIDER_AZURE;
}

/* Says so by name: in its configuration or its own list. */
static bool provider_lists(const struct provider *p, struct str model)
{
    const struct provider_config *config = p->config;
    if (mapping_of(config, model))
        return true;
    for (size_t i = 0; i < config->models.count; i++)
        if (str_eq(config->models.items[i], model))
            return true;
    if (!list_counts(config))
        return false;
    const struct model_list *list = model_shelf_look(&p->state->models);
    bool has = list && model_list_has(list, model);
    model_shelf_done(&p->state->models);
    return has;
}

static bool list_is_known(const struct provider *p)
{
    if (!list_counts(p->config))
        return p->config->models.count > 0;
    const struct model_list *list = model_shelf_look(&p->state->models);
    bool known = list && list->count > 0;
    model_shelf_done(&p->state->models);
    return known;
}

bool provider_serves(const struct provider *p, struct str model)
{
    /* In this order: a list that comes between the two looks is then seen by the second. */
    return !list_is_known(p) || provider_lists(p, model);
}

/* "name/model" for this provider: the part behind its name. */
static bool names_provider(const struct provider *p, struct str model, struct str *bare)
{
    struct str name = p->config->name;
    if (model.n <= name.n + 1 || model.p[name.n] != '/' || !str_starts_nocase(model, name))
        return false;
    *bare = str_from(model, name.n + 1);
    return true;
}

/* The provider that the model's name names, if it could serve it by either name: the one whose name is
   written so, else one whose name differs in case. */
static struct provider *named_provider(struct provider_pool *pool, struct str model)
{
    struct str bare;
    struct provider *found = NULL;
    if (str_find(model, '/') == model.n)
        return NULL;
    for (size_t i = 0; i < pool->count; i++) {
        struct provider *p = &pool->list[i];
        if (p->config->disabled || !names_provider(p, model, &bare) ||
            (!provider_serves(p, bare) && !provider_lists(p, model)))
            continue;
        if (str_starts(model, p->config->name))
            return p;
        if (!found)
            found = p;
    }
    return found;
}

struct str provider_model_name(const struct provider *p, struct str model)
{
    struct str bare;
    const struct env_pair *mapping = mapping_of(p->config, model);
    if (mapping)
        return mapping->value;
    if (!names_provider(p, model, &bare))
        return model;
    mapping = mapping_of(p->config, bare);
    if (mapping)
        return mapping->value;
    return provider_lists(p, model) && !provider_lists(p, bare) ? model : bare;
}

static bool passes(const struct provider_filter *filter, const struct provider *p, struct str model)
{
    struct str bare = model;
    if (!filter || !filter->allows)
        return true;
    if (filter->allows(filter->owner, p->config, model))
        return true;
    return names_provider(p, model, &bare) && filter->allows(filter->owner, p->config, bare);
}

bool provider_pool_knows(struct provider_pool *pool, const struct provider_filter *filter, struct str model)
{
    const struct provider *named = named_provider(pool, model);
    if (named)
        return passes(filter, named, model);
    for (size_t i = 0; i < pool->count; i++) {
        const struct provider *p = &pool->list[i];
        if (!p->config->disabled && provider_serves(p, model) && passes(filter, p, model))
            return true;
    }
    return false;
}

bool provider_pool_lists(struct provider_pool *pool, struct str model)
{
    for (size_t i = 0; i < pool->count; i++)
        if (!pool->list[i].config->disabled && provider_lists(&pool->list[i], model))
            return true;
    return false;
}

/* ---- candidates -------------------------------------------------------------------------------------- */

/* In this order; the next only when the one before has nobody left. */
enum stage { PRIMARIES, FALLBACKS, UNHEALTHY, COOLING, STAGES };

struct search {
    struct provider_pool *pool;
    struct provider_tour *tour;
    struct str model;
    struct provider *only; /* the model's name names it */
    uint64_t now;
};

static struct search search_for(struct provider_pool *pool, struct provider_tour *tour, struct str model,
                                uint64_t now)
{
    return (struct search){pool, tour, model, named_provider(pool, model), now};
}

static bool was_tried(const struct provider_tour *tour, size_t index)
{
    return tour->tried[index / 64] >> (index % 64) & 1;
}

static void set_tried(struct provider_tour *tour, size_t index)
{
    tour->tried[index / 64] |= (uint64_t)1 << (index % 64);
}

static bool tried_none(const struct provider_tour *tour)
{
    uint64_t any = 0;
    for (size_t i = 0; i < COUNT_OF(tour->tried); i++)
        any |= tour->tried[i];
    return any == 0;
}

static bool is_wanted(const struct search *s, const struct provider *p)
{
    if (p->config->disabled || was_tried(s->tour, p->index))
        return false;
    if (s->only ? s->only != p : !provider_serves(p, s->model))
        return false;
    return passes(&s->tour->filter, p, s->model);
}

static bool belongs(const struct search *s, struct provider *p, enum stage stage)
{
    if (stage <= FALLBACKS && p->config->fallback_only != (stage == FALLBACKS))
        return false;
    /* Who asked us to wait is bothered only when there was nobody else, so that the client sees why. */
    if (!is_wanted(s, p) || (stage == COOLING && !tried_none(s->tour)))
        return false;
    enum standing standing = provider_standing(p, s->now);
    if (stage <= FALLBACKS)
        return standing == STANDING_GOOD || standing == STANDING_TRIAL;
    return (standing == STANDING_COOLING) == (stage == COOLING);
}

static struct candidate candidate_of(const struct provider *p, uint64_t now)
{
    uint64_t weight = p->config->weight;
    return (struct candidate){
        .index = p->index,
        .weight = (uint32_t)MIN(MAX(weight, (uint64_t)1), (uint64_t)1000000),
        .in_flight = gate_inside(p->state->gate),
        .latency = latency_expected(&p->state->latency, now),
    };
}

/* Those of the stage that have a slot free (or, `full`, have none); the others are counted. */
static size_t candidates_find(const struct search *s, enum stage stage, bool full, struct candidate *list,
                              size_t *others)
{
    size_t n = 0;
    *others = 0;
    for (size_t i = 0; i < s->pool->count; i++) {
        struct provider *p = &s->pool->list[i];
        if (!belongs(s, p, stage))
            continue;
        if (gate_is_full(p->state->gate) == full)
            list[n++] = candidate_of(p, s->now);
        else
            (*others)++;
    }
    return n;
}

/* The unhealthy ones in their order, primaries first: turns and averages mean nothing to them. */
static size_t choose(const struct search *s, enum stage stage, const struct candidate *list, size_t n)
{
    if (stage <= FALLBACKS)
        return balance_choose(&s->pool->balancer, list, n);
    for (size_t i = 0; i < n; i++)
        if (!s->pool->list[list[i].index].config->fallback_only)
            return i;
    return 0;
}

/* ---- taking ------------------------------------------------------------------------------------------ */

enum taken { TAKEN, TAKEN_FULL, TAKEN_LOST };

static enum taken take(const struct search *s, struct provider *p, enum stage stage)
{
    if (!gate_enter_now(p->state->gate))
        return TAKEN_FULL;
    if (provider_claim(p, s->tour, stage >= UNHEALTHY, s->now)) {
        set_tried(s->tour, p->index);
        return TAKEN;
    }
    gate_leave(p->state->gate);
    return TAKEN_LOST;
}

/* Room for a choice that is made at once: too much for the stack of every task. */
static struct candidate *candidates_room(void)
{
    static _Thread_local struct candidate list[PROVIDERS_MAX];
    return list;
}

/* The next of this stage; NULL with *full when only slots are missing. */
static struct provider *stage_pick(const struct search *s, enum stage stage, size_t *full)
{
    struct candidate *list = candidates_room();
    size_t n = candidates_find(s, stage, false, list, full);
    while (n > 0) {
        size_t at = choose(s, stage, list, n);
        struct provider *p = &s->pool->list[list[at].index];
        enum taken taken = take(s, p, stage);
        if (taken == TAKEN)
            return p;
        *full += taken == TAKEN_FULL; /* another worker was faster */
        memmove(&list[at], &list[at + 1], (--n - at) * sizeof *list);
    }
    return NULL;
}

struct provider *provider_pick(struct provider_pool *pool, struct provider_tour *tour, struct str model,
                               uint64_t now)
{
    struct search s = search_for(pool, tour, model, now);
    tour->slots_only = false;
    enum stage end = tour->healthy_only ? UNHEALTHY : STAGES;
    for (enum stage stage = PRIMARIES; stage < end; stage++) {
        size_t full;
        struct provider *p = stage_pick(&s, stage, &full);
        if (p)
            return p;
        if (full > 0) {
            tour->slots_only = true;
            return NULL;
        }
    }
    return NULL;
}

/* ---- waiting for a slot ------------------------------------------------------------------------------ */

/* The one to wait for: the first by the strategy among those of the first stage that has any. */
static struct provider *best_of_full(const struct search *s, enum stage *stage)
{
    struct candidate *list = candidates_room();
    enum stage end = s->tour->healthy_only ? UNHEALTHY : STAGES;
    for (*stage = PRIMARIES; *stage < end; (*stage)++) {
        size_t others;
        size_t n = candidates_find(s, *stage, true, list, &others);
        if (n > 0)
            return &s->pool->list[list[choose(s, *stage, list, n)].index];
    }
    return NULL;
}

enum err provider_pick_wait(struct task *t, struct provider_pool *pool, struct provider_tour *tour,
                            struct str model, const struct provider_wait *wait, struct provider **provider)
{
    enum stage stage;
    *provider = provider_pick(pool, tour, model, task_now(t));
    if (*provider)
        return OK;
    struct search s = search_for(pool, tour, model, task_now(t));
    struct provider *p = best_of_full(&s, &stage);
    if (!p)
        return ERR_QUEUE_TIMEOUT;
    uint64_t deadline = task_deadline(t, pool->config->queue.slot_wait_ms);
    enum err err = gate_enter(t, p->state->gate, wait->key, wait->client, deadline, wait->on_wait,
                              wait->argument, wait->tick_ms);
    if (err == ERR_CANCELLED)
        return err;
    if (err == OK && !provider_claim(p, tour, stage >= UNHEALTHY, task_now(t))) {
        gate_leave(p->state->gate); /* it fell ill while we waited */
        return ERR_QUEUE_TIMEOUT;
    }
    set_tried(tour, p->index);
    tour->busy += err != OK;
    *provider = err == OK ? p : NULL;
    return err;
}

/* ---- the merged list --------------------------------------------------------------------------------- */

struct merge {
    const struct provider_filter *filter;
    struct arena *arena;
    struct map seen;
    struct pool_model *models;
    size_t count, capacity;
};

static void merge_add(struct merge *m, const struct provider *p, struct str id, int64_t created)
{
    if (m->count == m->capacity || !passes(m->filter, p, id) || map_get(&m->seen, id))
        return;
    struct pool_model *model = &m->models[m->count];
    *model = (struct pool_model){
        .id = arena_str(m->arena, id), .owned_by = arena_str(m->arena, p->config->name), .created = created};
    if (model->id.p && model->owned_by.p && map_put(&m->seen, model->id, model) == OK)
        m->count++;
}

static void merge_provider(struct merge *m, const struct provider *p)
{
    const struct provider_config *config = p->config;
    for (size_t i = 0; i < config->models.count; i++)
        merge_add(m, p, config->models.items[i], 0);
    for (size_t i = 0; i < config->model_map_count; i++)
        merge_add(m, p, config->model_map[i].name, 0);
    if (!list_counts(config))
        return;
    const struct model_list *list = model_shelf_look(&p->state->models);
    for (size_t i = 0; list && i < list->count; i++)
        merge_add(m, p, list->items[i].id, list->items[i].created);
    model_shelf_done(&p->state->models);
}

/* Room for all that are known now; a list that grows meanwhile shows the rest the next time. */
static size_t models_room(const struct provider_pool *pool)
{
    size_t n = 0;
    for (size_t i = 0; i < pool->count; i++) {
        const struct provider *p = &pool->list[i];
        const struct model_list *list = model_shelf_look(&p->state->models);
        n += p->config->models.count + p->config->model_map_count + (list ? list->count : 0);
        model_shelf_done(&p->state->models);
    }
    return n;
}

size_t provider_pool_models(struct provider_pool *pool, const struct provider_filter *filter,
                            struct arena *arena, struct pool_model **models)
{
    struct merge m = {.filter = filter, .arena = arena, .capacity = models_room(pool)};
    m.models = *models = arena_alloc(arena, (m.capacity + 1) * sizeof *m.models);
    for (size_t i = 0; m.models && i < pool->count; i++)
        if (!pool->list[i].config->disabled)
            merge_provider(&m, &pool->list[i]);
    map_free(&m.seen);
    return m.count;
}
