/*
 * Embeddings, for OpenAI's and Ollama's API: vectors that depend on the text alone. Handlers, called by
 * mock_llm_routes.c inside the request's task.
 */
#include "main/mock_llm.h"

#include "base/mem.h"
#include "loop/crypto.h"

enum { DIMENSIONS = 64, DIMENSIONS_MAX = 4096, DECIMALS = 8 };

struct embedding {
    const json_t *input;
    uint64_t dimensions;
    bool base64;   /* instead of numbers: their bytes, little-endian */
    float *vector; /* of the present input */
    char *text;    /* its base64 */
};

static void embedding_free(struct embedding *e)
{
    mem_free(e->vector);
    mem_free(e->text);
}

static enum err embedding_plan(struct mock_call *call, struct embedding *e)
{
    size_t bytes;
    e->input = json_object_get(call->json, "input");
    e->dimensions = mock_json_count(call->json, "dimensions", DIMENSIONS, DIMENSIONS_MAX);
    e->base64 = str_eq(mock_json_str(call->json, "encoding_format"), STR("base64"));
    bytes = e->dimensions * sizeof *e->vector;
    e->vector = mem_alloc(bytes);
    e->text = mem_alloc(4 * ((bytes + 2) / 3));
    return e->vector && e->text ? OK : ERR_NOMEM;
}

/* One text, or one array of token numbers, is one input. */
static size_t input_count(const struct embedding *e)
{
    const json_t *first = json_array_get(e->input, 0);
    if (json_is_array(e->input) && !json_is_integer(first))
        return json_array_size(e->input);
    return json_is_string(e->input) || first ? 1 : 0;
}

static const json_t *input_at(const struct embedding *e, size_t i)
{
    bool many = json_is_array(e->input) && !json_is_integer(json_array_get(e->input, 0));
    return many ? json_array_get(e->input, i) : e->input;
}

/* e->vector gets that of input i. What is no string is known by its JSON. */
static enum err vector_make(struct embedding *e, size_t i)
{
    const json_t *input = input_at(e, i);
    if (json_is_string(input)) {
        mock_vector(str_make(json_string_value(input), json_string_length(input)), e->vector, e->dimensions);
        return OK;
    }
    char *text = json_dumps(input, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    if (!text)
        return ERR_NOMEM;
    mock_vector(str_from_c(text), e->vector, e->dimensions);
    mem_free(text);
    return OK;
}

static void write_vector(struct json *j, const struct embedding *e)
{
    json_put_array(j);
    for (size_t i = 0; i < e->dimensions; i++)
        json_double(j, (double)e->vector[i], DECIMALS);
    json_end(j);
}

static void write_value(struct json *j, const struct embedding *e)
{
    if (!e->base64) {
        write_vector(j, e);
        return;
    }
    size_t n = crypto_base64((const uint8_t *)e->vector, e->dimensions * sizeof *e->vector, e->text);
    json_str(j, str_make(e->text, n));
}

enum err openai_embeddings(struct task *t, struct mock_call *call)
{
    struct embedding e CLEANUP(embedding_free) = {0};
    struct json j = json_to(&call->out);
    struct str model = mock_json_str(call->json, "model");
    TRY(embedding_plan(call, &e));
    if (!input_count(&e))
        return mock_send_error(t, call, 400, "bad_request",
                               "input is a text, or an array of texts or token numbers");
    json_put_object(&j);
    json_key_c(&j, "object", "list");
    json_key_array(&j, "data");
    for (size_t i = 0; i < input_count(&e); i++) {
        TRY(vector_make(&e, i));
        json_put_object(&j);
        json_key_c(&j, "object", "embedding");
        json_key_u64(&j, "index", i);
        json_key(&j, "embedding");
        write_value(&j, &e);
        json_end(&j);
    }
    json_end(&j);
    if (!model.n)
        mock_model(call->mock->options.models, 0, &model);
    json_key_str(&j, "model", model);
    json_key_object(&j, "usage");
    json_key_u64(&j, "prompt_tokens", mock_words_json(e.input));
    json_key_u64(&j, "total_tokens", mock_words_json(e.input));
    json_end(&j);
    json_end(&j);
    return mock_send(t, call);
}

enum err ollama_embed(struct task *t, struct mock_call *call)
{
    struct embedding e CLEANUP(embedding_free) = {0};
    struct json j = json_to(&call->out);
    struct str model = mock_json_str(call->json, "model");
    TRY(embedding_plan(call, &e));
    e.base64 = false;
    if (!model.n)
        mock_model(call->mock->options.models, 0, &model);
    json_put_object(&j);
    json_key_str(&j, "model", model);
    json_key_array(&j, "embeddings");
    for (size_t i = 0; i < input_count(&e); i++) {
        TRY(vector_make(&e, i));
        write_vector(&j, &e);
    }
    json_end(&j);
    json_key_u64(&j, "total_duration", call->mock->options.latency_ms * CLOCK_MS);
    json_key_u64(&j, "load_duration", 0);
    json_key_u64(&j, "prompt_eval_count", mock_words_json(e.input));
    json_end(&j);
    return mock_send(t, call);
}
