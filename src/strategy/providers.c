/*
 * The registry, and the pools made from it: each configuration gets a pool of its own, whose entries share
 * the state of providers that stay. Control thread, but for references and looking.
 */
#include "base/mem.h"
#include "loop/crypto.h"
#include "strategy/inside.h"

/* ---- pools ------------------------------------------------------------------------------------------- */

struct provider_pool *provider_pool_ref(struct provider_pool *p)
{
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void provider_pool_unref(struct provider_pool *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < p->count; i++) {
        provider_state_unref(p->list[i].state);
        service_unref(p->list[i].service);
    }
    balancer_free(&p->balancer);
    gate_unref(p->gate);
    config_unref(p->config);
    mem_free(p->list);
    mem_free(p);
}

size_t provider_pool_count(const struct provider_pool *p)
{
    return p->count;
}

struct provider *provider_at(const struct provider_pool *p, size_t i)
{
    return &p->list[i];
}

struct gate *provider_pool_gate(const struct provider_pool *p)
{
    return p->gate;
}

static struct provider *entry_named(const struct provider_pool *p, struct str name)
{
    for (size_t i = 0; p && i < p->count; i++)
        if (str_eq(p->list[i].config->name, name))
            return &p->list[i];
    return NULL;
}

/* The slots are the upstream's: a new key or weight does not make more of them. */
static bool is_same_upstream(const struct provider_config *a, const struct provider_config *b)
{
    return str_eq(a->base_url_text, b->base_url_text) && str_eq(a->service, b->service);
}

/* What is known of it already, or a new beginning. */
static struct provider_state *state_for(struct providers *all, const struct provider_config *config)
{
    struct provider *before = entry_named(all->current, config->name);
    if (before && str_eq(before->state->fingerprint, config->fingerprint))
        return provider_state_ref(before->state);
    struct gate *gate = before && is_same_upstream(before->config, config)
                            ? gate_ref(before->state->gate)
                            : gate_new(all->control, config->max_concurrent);
    return gate ? provider_state_new(all, config, gate) : NULL;
}

bool provider_has_origin(const struct provider_config *config)
{
    return !config->disabled && !config->service.n;
}

const struct origin *provider_config_origin(const struct provider_config *config, struct error *error)
{
    struct tls_client_options tls = {config->tls.ca, config->tls.insecure_skip_verify,
                                     config->tls.allow_unclean_close};
    return origin_intern(&config->base_url, &tls, error);
}

static enum err entry_place(struct providers *all, struct provider *p, struct error *error)
{
    const struct provider_config *config = p->config;
    if (provider_has_origin(config) && !(p->origin = provider_config_origin(config, error)))
        return error->err;
    if (config->disabled || p->origin)
        return OK;
    p->service = services_get(all->services, config->service);
    return p->service ? OK
                      : error_set(error, ERR_CONFIG, "provider %.*s: there is no service %.*s",
                                  STR_ARG(config->name), STR_ARG(config->service));
}

static enum err pool_fill(struct providers *all, struct provider_pool *p, struct error *error)
{
    const struct config *config = p->config;
    uint64_t seed;
    crypto_random(&seed, sizeof seed);
    p->list = mem_alloc((config->provider_count + 1) * sizeof *p->list);
    if (!p->list)
        return ERR_NOMEM;
    TRY(balancer_init(&p->balancer, config->routing.strategy, config->provider_count, seed));
    for (size_t i = 0; i < config->provider_count; i++) {
        struct provider *entry = &p->list[i];
        *entry = (struct provider){.pool = p, .config = &config->providers[i], .index = (uint32_t)i};
        entry->state = state_for(all, entry->config);
        if (!entry->state)
            return ERR_NOMEM;
        p->count++;
        TRY(entry_place(all, entry, error));
    }
    return OK;
}

static struct provider_pool *pool_build(struct providers *all, struct config *config, struct error *error)
{
    struct provider_pool *p = mem_alloc(sizeof *p);
    error_set(error, ERR_NOMEM, "out of memory");
    if (!p)
        return NULL;
    atomic_init(&p->references, 1);
    p->config = config_ref(config);
    p->control = all->control;
    p->gate = gate_ref(all->gate);
    if (config->provider_count > PROVIDERS_MAX)
        error_set(error, ERR_CONFIG, "there are more than %d providers", PROVIDERS_MAX);
    else if (pool_fill(all, p, error) == OK)
        return p;
    provider_pool_unref(p);
    return NULL;
}

/* ---- a new configuration ----------------------------------------------------------------------------- */

static void state_retire(struct provider_state *s)
{
    s->entry = NULL;
    chore_stop(&s->check);
    chore_stop(&s->list);
    provider_measure_removed(s);
}

/* Sets the chores going, or has them look at what has changed. */
static void chores_arrange(struct provider *p)
{
    struct provider_state *s = p->state;
    uint64_t now = loop_now(s->control);
    if (p->config->disabled)
        return;
    if (p->pool->config->routing.health_check.enabled && !s->check.task)
        chore_start(&s->check, s, check_run);
    else
        chore_soon(&s->check, now);
    if (!s->list.task)
        chore_start(&s->list, s, list_run);
    else
        chore_soon(&s->list, now);
}

static void entry_install(struct provider *p)
{
    struct provider_state *s = p->state;
    s->entry = p;
    gate_set_limit(s->gate, p->config->max_concurrent);
    provider_forgive(s, !p->pool->config->monitoring.track_errors);
    chores_arrange(p);
    provider_measure(p);
}

static void pool_install(struct providers *all, struct provider_pool *p)
{
    struct provider_pool *before = all->current;
    for (size_t i = 0; before && i < before->count; i++) {
        struct provider *old = &before->list[i], *new = entry_named(p, old->config->name);
        if (!new || new->state != old->state)
            state_retire(old->state);
    }
    all->current = provider_pool_ref(p);
    gate_set_limit(all->gate, p->config->queue.max_concurrent);
    for (size_t i = 0; i < p->count; i++)
        entry_install(&p->list[i]);
    provider_pool_unref(before);
}

struct provider_pool *providers_apply(struct providers *all, struct config *config, struct error *error)
{
    struct provider_pool *p = pool_build(all, config, error);
    if (p)
        pool_install(all, p);
    return p;
}

/* ---- statistics -------------------------------------------------------------------------------------- */

static void stats_due(struct timer *timer)
{
    struct providers *all = CONTAINER_OF(timer, struct providers, stats_timer);
    struct provider_pool *p = all->current;
    timer_set(all->control, timer, clock_after(loop_now(all->control), STATS_MS));
    for (size_t i = 0; p && p->config->monitoring.track_latency && i < p->count; i++)
        if (!p->list[i].config->disabled)
            provider_event_stats(&p->list[i]);
}

static void measure_ask(void *argument)
{
    struct provider_pool *p = argument;
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].state->entry == &p->list[i])
            provider_measure(&p->list[i]);
}

void provider_pool_measure(struct task *t, struct provider_pool *p)
{
    loop_call(t, p->control, measure_ask, p);
}

/* ---- beginning and end ------------------------------------------------------------------------------- */

struct providers *providers_new(struct loop *control, struct services *services)
{
    struct providers *all = mem_alloc(sizeof *all);
    if (!all)
        return NULL;
    all->control = control;
    all->services = services;
    all->connections = pool_new(control);
    all->gate = gate_new(control, 0);
    all->stats_timer.on_due = stats_due;
    if (all->connections && all->gate) {
        timer_set(control, &all->stats_timer, clock_after(clock_now(), STATS_MS));
        return all;
    }
    if (all->connections)
        pool_free(all->connections);
    gate_unref(all->gate);
    mem_free(all);
    return NULL;
}

void providers_stop(struct providers *all)
{
    timer_off(&all->stats_timer);
    for (size_t i = 0; all->current && i < all->current->count; i++) {
        chore_stop(&all->current->list[i].state->check);
        chore_stop(&all->current->list[i].state->list);
    }
}

void providers_free(struct providers *all)
{
    if (!all)
        return;
    timer_remove(all->control, &all->stats_timer);
    provider_pool_unref(all->current);
    gate_unref(all->gate);
    pool_free(all->connections);
    mem_free(all);
}
