/* The OpenAI routes: completions go to llm.c; models and providers are answered here. */
#include "gateway/llm.h"

static struct provider_pool *pool_of(const struct api_call *call)
{
    return call->snapshot->providers;
}

static enum err body_take(struct api_call *call, struct buf *out, struct response *response)
{
    enum err err = buf_err(out);
    if (err == OK)
        response->body = arena_str(&call->request->arena, buf_str(out));
    buf_free(out);
    return err == OK && response->body.p ? OK : ERR_NOMEM;
}

/* ---- models: what the caller's strategy allows (contract/localrouter 5.4)
 * ------------------------------------
 */

static void write_prices(struct json *j, const struct price *p)
{
    json_key_double(j, "input_cost_per_1k", (double)p->input / 1e9, 9);
    json_key_double(j, "output_cost_per_1k", (double)p->output / 1e9, 9);
    if (p->cached_input >= 0)
        json_key_double(j, "cached_input_cost_per_1k", (double)p->cached_input / 1e9, 9);
    if (p->reasoning >= 0)
        json_key_double(j, "reasoning_cost_per_1k", (double)p->reasoning / 1e9, 9);
    json_key_c(j, "currency", "USD");
}

/* No provider says it; the name does. */
static void write_capabilities(struct json *j, struct str id)
{
    json_key_array(j, "capabilities");
    if (str_find_str_nocase(id, STR("embed")) < id.n) {
        json_str(j, STR("embedding"));
    } else {
        json_str(j, STR("chat"));
        json_str(j, STR("completion"));
    }
    json_end(j);
}

static void write_model(struct json *j, const struct api_call *call, const struct pool_model *m)
{
    struct price price = prices_find(call->snapshot->prices, m->owned_by, m->id);
    json_put_object(j);
    json_key_str(j, "id", m->id);
    json_key_c(j, "object", "model");
    json_key_i64(j, "created", m->created);
    json_key_str(j, "owned_by", m->owned_by);
    json_key_str(j, "provider", m->owned_by);
    json_key_u64(j, "context_window", price.context_window);
    json_key_bool(j, "supports_streaming", true);
    write_capabilities(j, m->id);
    if (price.known) {
        json_key_object(j, "pricing");
        write_prices(j, &price);
        json_end(j);
    }
    json_end(j);
}

static bool offers_auto(const struct api_call *call)
{
    const struct strategy_config *s = &call->strategy->config;
    return s->has_auto && s->auto_config.enabled;
}

/* The virtual model that stands for the strategy's prioritised ones. */
static void write_auto(struct json *j, const struct api_call *call)
{
    struct str name = call->strategy->config.auto_config.model_name;
    struct str id = arena_printf(&call->request->arena, "localrouter/%.*s", STR_ARG(name));
    json_put_object(j);
    json_key_str(j, "id", id);
    json_key_c(j, "object", "model");
    json_key_i64(j, "created", 0);
    json_key_c(j, "owned_by", "localrouter");
    json_key_c(j, "provider", "localrouter");
    json_key_u64(j, "context_window", 0);
    json_key_bool(j, "supports_streaming", true);
    write_capabilities(j, id);
    json_end(j);
}

static enum err list_models(struct task *t, struct api_call *call, struct response *response)
{
    struct pool_model *models;
    struct provider_filter filter = llm_filter(call->client, call->strategy);
    size_t count = provider_pool_models(pool_of(call), &filter, &call->request->arena, &models);
    struct buf out = BUF(0);
    struct json j = json_to(&out);
    json_put_object(&j);
    json_key_c(&j, "object", "list");
    json_key_array(&j, "data");
    if (offers_auto(call))
        write_auto(&j, call);
    for (size_t i = 0; i < count; i++)
        write_model(&j, call, &models[i]);
    json_end(&j);
    json_end(&j);
    return body_take(call, &out, response);
}

static const struct pool_model *model_named(const struct pool_model *models, size_t count, struct str id)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(models[i].id, id))
            return &models[i];
    return NULL;
}

static enum err unknown(struct api_call *call, enum err err, const char *what, struct str id)
{
    error_set(&call->error, err, "The model %.*s %s", STR_ARG(str_first(id, 200)), what);
    call->error.param = "model";
    return err;
}

/* Known to the pool: 404 else; allowed to the caller: 403 else. */
static enum err model_find(struct api_call *call, struct str id, struct pool_model *found)
{
    struct provider_filter filter = llm_filter(call->client, call->strategy);
    struct arena *arena = &call->request->arena;
    struct pool_model *models;
    size_t count = provider_pool_models(pool_of(call), &filter, arena, &models);
    const struct pool_model *m = model_named(models, count, id);
    if (m) {
        *found = *m;
        return OK;
    }
    count = provider_pool_models(pool_of(call), NULL, arena, &models);
    if (model_named(models, count, id))
        return unknown(call, ERR_PERMISSION, "is not allowed by this strategy", id);
    return unknown(call, ERR_MODEL_NOT_FOUND, "does not exist", id);
}

static enum err show_model(struct task *t, struct api_call *call, struct response *response)
{
    struct pool_model model = {0};
    struct str id = percent_decode(&call->request->arena, call->path_parameter);
    bool is_auto = strategy_is_auto(&call->strategy->config, id);
    if (is_auto && !offers_auto(call))
        return unknown(call, ERR_MODEL_NOT_FOUND,
                       "does not exist: auto-routing is not enabled for this strategy", id);
    if (!is_auto)
        TRY(model_find(call, id, &model));
    struct buf out = BUF(0);
    struct json j = json_to(&out);
    if (is_auto)
        write_auto(&j, call);
    else
        write_model(&j, call, &model);
    return body_take(call, &out, response);
}

static enum err show_pricing(struct task *t, struct api_call *call, struct response *response)
{
    struct pool_model model = {0};
    struct str id = percent_decode(&call->request->arena, call->path_parameter);
    TRY(model_find(call, id, &model));
    struct price price = prices_find(call->snapshot->prices, model.owned_by, id);
    if (!price.known)
        return unknown(call, ERR_NOT_FOUND, "has no known price; pricing.overrides can give it one", id);
    struct buf out = BUF(0);
    struct json j = json_to(&out);
    json_put_object(&j);
    json_key_str(&j, "model", id);
    json_key_str(&j, "provider", model.owned_by);
    write_prices(&j, &price);
    json_key_bool(&j, "overridden", price.overridden);
    json_end(&j);
    return body_take(call, &out, response);
}

/* ---- providers --------------------------------------------------------------------------------------------
 */

static enum err list_providers(struct task *t, struct api_call *call, struct response *response)
{
    struct buf out = BUF(0);
    struct json j = json_to(&out);
    json_put_object(&j);
    json_key_array(&j, "providers");
    for (size_t i = 0; i < provider_pool_count(pool_of(call)); i++) {
        struct provider_status status = {0};
        provider_status(provider_at(pool_of(call), i), &call->request->arena, &status);
        json_put_object(&j);
        provider_status_write(&j, &status);
        json_end(&j);
    }
    json_end(&j);
    json_end(&j);
    return body_take(call, &out, response);
}

#define COMPLETION(route, endpoint, name, text)                                                              \
    {                                                                                                        \
        .methods = 1u << METHOD_POST, .path = route, .access = ACCESS_LLM, .llm = endpoint,                  \
        .operation = name, .summary = text, .status = 200, .media_type = "application/json"                  \
    }
#define LISTING(route, rights, fn, name, text)                                                               \
    {                                                                                                        \
        .methods = 1u << METHOD_GET, .path = route, .access = rights, .handler = fn, .operation = name,      \
        .summary = text, .status = 200, .media_type = "application/json"                                     \
    }

const struct api_route llm_routes[] = {
    COMPLETION("/v1/chat/completions", LLM_CHAT, "createChatCompletion",
               "A chat completion, plain or as a stream"),
    COMPLETION("/v1/completions", LLM_COMPLETIONS, "createCompletion",
               "A text completion, plain or as a stream"),
    COMPLETION("/v1/embeddings", LLM_EMBEDDINGS, "createEmbedding", "Embeddings"),
    COMPLETION("/chat/completions", LLM_CHAT, "createChatCompletionBare", "The same without /v1"),
    COMPLETION("/completions", LLM_COMPLETIONS, "createCompletionBare", "The same without /v1"),
    COMPLETION("/embeddings", LLM_EMBEDDINGS, "createEmbeddingBare", "The same without /v1"),
    LISTING("/v1/models", ACCESS_LLM, list_models, "listModels", "The models that the caller may use"),
    LISTING("/v1/models/{+model}/pricing", ACCESS_LLM, show_pricing, "retrieveModelPricing",
            "What a model's tokens cost"),
    LISTING("/v1/models/{+model}", ACCESS_LLM, show_model, "retrieveModel",
            "One model; its id may contain slashes"),
    LISTING("/models", ACCESS_LLM, list_models, "listModelsBare", "The same without /v1"),
    LISTING("/models/{+model}/pricing", ACCESS_LLM, show_pricing, "retrieveModelPricingBare",
            "The same without /v1"),
    LISTING("/models/{+model}", ACCESS_LLM, show_model, "retrieveModelBare", "The same without /v1"),
    LISTING("/v1/providers", ACCESS_KEY, list_providers, "listProviders",
            "Health, breaker, in-flight and averages of the providers"),
    {.path = NULL},
};
