/*
 * What the unit tests of this folder share: the control loop and workers of service/test.h, configurations of
 * providers made by hand, and a registry on the control loop.
 */
#ifndef HESTIA_STRATEGY_TEST_H
#define HESTIA_STRATEGY_TEST_H

#include "service/test.h"
#include "strategy/inside.h"

/* ---- the control loop -------------------------------------------------------------------------------- */

static inline void nothing_now(void *argument) {}

/* Whatever was spawned on the control loop before has got as far as it goes without help: its first turn is
   over, and so is the one in which its messages to the loop itself arrived. */
static inline void control_settle(void)
{
    for (int i = 0; i < 4; i++)
        on_control(nothing_now, NULL);
}

/* ---- configurations ---------------------------------------------------------------------------------- */

/* Serves the model "m". */
static inline struct provider_config provider_make(const char *name)
{
    return (struct provider_config){
        .name = str_from_c(name),
        .base_url_text = STR("http://127.0.0.1:1/v1"),
        .api_key = STR("sk-upstream"),
        .weight = 1,
        .fingerprint = STR("1"),
        .models.count = 1,
    };
}

static inline struct config *pool_config(const struct provider_config *providers, size_t count)
{
    struct config *c = config_make(NULL, 0);
    struct error error;
    c->provider_count = count;
    c->providers = arena_alloc(&c->arena, (count + 1) * sizeof *providers);
    for (size_t i = 0; i < count; i++) {
        struct provider_config *p = &c->providers[i];
        struct str *models = arena_alloc(&c->arena, (providers[i].models.count + 1) * sizeof *models);
        *p = providers[i];
        for (size_t m = 0; m < p->models.count; m++)
            models[m] = STR("m");
        p->models.items = models;
        if (!p->service.n && p->base_url_text.n)
            REQUIRE(url_parse(&c->arena, p->base_url_text, &p->base_url, &error) == OK);
    }
    c->monitoring.track_errors = true;
    c->routing.health_check.interval_ms = 30000;
    c->routing.health_check.timeout_ms = 5000;
    c->routing.health_check.path = STR("/models");
    c->routing.circuit_breaker.failures = 5;
    c->routing.circuit_breaker.window_ms = 30000;
    c->routing.circuit_breaker.open_ms = 30000;
    c->queue.slot_wait_ms = 20;
    return c;
}

/* ---- the registry ------------------------------------------------------------------------------------ */

static struct providers *registry;

static inline void registry_open_now(void *argument)
{
    registry = providers_new(stage.control, stage.all);
    REQUIRE(registry);
}

static inline int pool_open(void **state)
{
    if (stage_open(state) != 0)
        return -1;
    on_control(registry_open_now, NULL);
    return 0;
}

static inline void registry_stop_now(void *argument)
{
    providers_stop(registry);
}

static inline void tasks_now(void *argument)
{
    *(size_t *)argument = stage.control->task_count;
}

static inline void registry_free_now(void *argument)
{
    providers_free(registry);
}

static inline int pool_close(void **state)
{
    size_t tasks = 1; /* the chores */
    on_control(registry_stop_now, NULL);
    while (tasks)
        on_control(tasks_now, &tasks);
    on_control(registry_free_now, NULL);
    return stage_close(state);
}

struct application {
    struct config *config;
    struct provider_pool *pool;
    struct error error;
};

static inline void apply_now(void *argument)
{
    struct application *a = argument;
    a->pool = providers_apply(registry, a->config, &a->error);
}

/* Gives up the config. */
static inline struct provider_pool *pool_apply(struct config *config)
{
    struct application a = {.config = config};
    on_control(apply_now, &a);
    config_unref(config);
    REQUIRE(a.pool);
    return a.pool;
}

#endif
