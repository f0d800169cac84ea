/*
 * What a completion may be: the model that is asked for, under the caller's strategy. Pure look-ups in the
 * exchange's snapshot.
 */
#include "gateway/llm.h"

static struct provider_pool *pool_of(const struct llm_call *l)
{
    return l->x->snapshot->providers;
}

/* ---- what the caller may use ----------------------------------------------------------------------------
 */

static bool strategy_admits(const void *owner, const struct provider_config *provider, struct str model)
{
    return strategy_allows(&((const struct book_strategy *)owner)->config, provider->name, model);
}

static bool client_admits(const void *owner, const struct provider_config *provider, struct str model)
{
    const struct book_client *client = owner;
    return client_allows(&client->config, provider->name) &&
           strategy_admits(client->strategy, provider, model);
}

struct provider_filter llm_filter(const struct book_client *client, const struct book_strategy *strategy)
{
    if (client && client->config.allowed_llm_providers.count)
        return (struct provider_filter){client_admits, client};
    if (strategy && !strategy->config.allowed.selected_all)
        return (struct provider_filter){strategy_admits, strategy};
    return (struct provider_filter){NULL, NULL};
}

/* ---- the virtual model ----------------------------------------------------------------------------------
 */

static enum err select_auto(struct llm_call *l)
{
    struct error *error = &l->x->error;
    const struct strategy_config *s = &l->x->strategy->config;
    l->is_auto = true;
    if (s->has_auto && s->auto_config.enabled && s->auto_config.prioritized.count)
        return OK;
    if (s->has_auto && s->auto_config.enabled)
        return error_set(error, ERR_NO_HEALTHY_PROVIDERS,
                         "No prioritized models configured for auto-routing (strategy %.*s)",
                         STR_ARG(s->name));
    error_set(error, ERR_MODEL_NOT_FOUND, "%.*s is %s this strategy (%.*s)",
              STR_ARG(str_first(l->model, 200)), s->has_auto ? "disabled for" : "not configured for",
              STR_ARG(s->name));
    error->param = "model";
    return ERR_MODEL_NOT_FOUND;
}

/* ---- one model ------------------------------------------------------------------------------------------
 */

/* Providers that could serve at all: with a URL, a key, and all their variables. */
static bool has_providers(const struct llm_call *l)
{
    for (size_t i = 0; i < provider_pool_count(pool_of(l)); i++)
        if (!provider_config_of(provider_at(pool_of(l), i))->disabled)
            return true;
    return false;
}

static enum err refuse(struct llm_call *l, enum err err, const char *what)
{
    error_set(&l->x->error, err, "The model %.*s %s", STR_ARG(str_first(l->model, 200)), what);
    l->x->error.param = "model";
    return err;
}

/* A bare name may mean one of the strategy's own pairs, written differently. */
static bool resolve(struct llm_call *l)
{
    struct model_name found;
    if (!strategy_resolve(&l->x->strategy->config, l->model, &found))
        return false;
    struct str name =
        arena_printf(&l->x->request.arena, "%.*s/%.*s", STR_ARG(found.provider), STR_ARG(found.model));
    if (!name.p || !provider_pool_knows(pool_of(l), &l->tour.filter, name))
        return false;
    l->model = name;
    return true;
}

enum err llm_select(struct llm_call *l)
{
    struct exchange *x = l->x;
    l->tour.filter = llm_filter(x->client, x->strategy);
    if (!has_providers(l))
        return error_set(&x->error, ERR_NO_HEALTHY_PROVIDERS,
                         "No healthy providers available: none is configured with a URL and a key");
    if (strategy_is_auto(&x->strategy->config, l->model))
        return select_auto(l);
    if (LIKELY(provider_pool_knows(pool_of(l), &l->tour.filter, l->model)))
        return OK;
    if (l->tour.filter.allows && resolve(l))
        return OK;
    if (l->tour.filter.allows && provider_pool_knows(pool_of(l), NULL, l->model))
        return refuse(l, ERR_PERMISSION, "is not allowed by this strategy");
    return refuse(l, ERR_MODEL_NOT_FOUND, "is served by no provider");
}
