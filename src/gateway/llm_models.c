/* The OpenAI routes: completions go to llm.c; models and providers are answered here. */
#include "gateway/exchange.h"

#include "base/json.h"
#include "strategy/provider.h"

static struct provider_pool *pool_of(const struct api_call *call)
{
    return call->worker->held->shared->providers;
}

static enum err body_take(struct api_call *call, struct buf *out, struct response *response)
{
    enum err err = buf_err(out);
    if (err == OK)
        response->body = arena_str(&call->request->arena, buf_str(out));
    buf_free(out);
    return err == OK && response->body.p ? OK : ERR_NOMEM;
}

static void write_model(struct json *j, const struct pool_model *m)
{
    json_put_object(j);
    json_key_str(j, "id", m->id);
    json_key_c(j, "object", "model");
    json_key_i64(j, "created", m->created);
    json_key_str(j, "owned_by", m->owned_by);
    json_end(j);
}

static enum err list_models(struct task *t, struct api_call *call, struct response *response)
{
    struct pool_model *models;
    size_t count = provider_pool_models(pool_of(call), &call->request->arena, &models);
    struct buf out = BUF(0);
    struct json j = json_to(&out);
    json_put_object(&j);
    json_key_c(&j, "object", "list");
    json_key_array(&j, "data");
    for (size_t i = 0; i < count; i++)
        write_model(&j, &models[i]);
    json_end(&j);
    json_end(&j);
    return body_take(call, &out, response);
}

static enum err show_model(struct task *t, struct api_call *call, struct response *response)
{
    struct pool_model *models;
    struct str id = percent_decode(&call->request->arena, call->path_parameter);
    size_t count = provider_pool_models(pool_of(call), &call->request->arena, &models);
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(models[i].id, id))
            continue;
        struct buf out = BUF(0);
        struct json j = json_to(&out);
        write_model(&j, &models[i]);
        return body_take(call, &out, response);
    }
    error_set(&call->error, ERR_MODEL_NOT_FOUND, "The model %.*s does not exist",
              STR_ARG(str_first(id, 200)));
    call->error.param = "model";
    return ERR_MODEL_NOT_FOUND;
}

static void write_provider(struct json *j, const struct provider_status *s)
{
    static const char *const breakers[] = {"closed", "half_open", "open"};
    json_put_object(j);
    json_key_str(j, "name", s->name);
    json_key_bool(j, "healthy", s->healthy);
    json_key_bool(j, "disabled", s->disabled);
    json_key_bool(j, "auth_failed", s->auth_failed);
    json_key_bool(j, "fallback_only", s->fallback_only);
    json_key_c(j, "breaker", breakers[s->breaker]);
    json_key_u64(j, "cooldown_ms", s->cooldown_ms);
    json_key_u64(j, "in_flight", s->in_flight);
    json_key_u64(j, "waiting", s->waiting);
    json_key_u64(j, "requests", s->requests);
    json_key_u64(j, "failures", s->failures);
    json_key_double(j, "avg_latency_ms", s->latency_ms, 3);
    json_key_double(j, "avg_first_byte_ms", s->first_byte_ms, 3);
    json_key_u64(j, "models", s->model_count);
    if (s->last_error.n)
        json_key_str(j, "last_error", s->last_error);
    else
        json_key_null(j, "last_error");
    json_end(j);
}

static enum err list_providers(struct task *t, struct api_call *call, struct response *response)
{
    struct buf out = BUF(0);
    struct json j = json_to(&out);
    json_put_object(&j);
    json_key_array(&j, "providers");
    for (size_t i = 0; i < provider_pool_count(pool_of(call)); i++) {
        struct provider_status status = {0};
        provider_status(provider_at(pool_of(call), i), &call->request->arena, &status);
        write_provider(&j, &status);
    }
    json_end(&j);
    json_end(&j);
    return body_take(call, &out, response);
}

#define COMPLETION(route, endpoint, name, text)                                                              \
    {                                                                                                        \
        .methods = 1u << METHOD_POST, .path = route, .access = ACCESS_KEY, .llm = endpoint,                  \
        .operation = name, .summary = text, .status = 200, .media_type = "application/json"                  \
    }
#define LISTING(route, fn, name, text)                                                                       \
    {                                                                                                        \
        .methods = 1u << METHOD_GET, .path = route, .access = ACCESS_KEY, .handler = fn, .operation = name,  \
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
    LISTING("/v1/models", list_models, "listModels", "The models of all providers"),
    LISTING("/v1/models/{+model}", show_model, "retrieveModel", "One model; its id may contain slashes"),
    LISTING("/v1/providers", list_providers, "listProviders",
            "Health, breaker, in-flight and averages of the providers"),
    {.path = NULL},
};
