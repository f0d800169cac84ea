/* Ollama's API but for embeddings. Handlers, called by mock_llm_routes.c inside the request's task. */
#include "main/mock_llm.h"

#include "base/num.h"
#include "loop/crypto.h"

enum { MODEL_BYTES = 1 << 30, CONTEXT_LENGTH = 8192 };

struct answer {
    bool chat;
    struct str model;
    uint64_t tokens, prompt_tokens;
    bool cut;         /* num_predict was lower than --tokens */
    uint64_t started; /* monotonic ns */
    const char *done_reason;
};

/* ---- models ---------------------------------------------------------------------------------------------
 */

static void key_time(struct json *j, const char *key, int64_t wall_us)
{
    struct buf text CLEANUP(buf_free) = BUF(64);
    clock_format(&text, wall_us);
    json_key_str(j, key, buf_str(&text));
}

static void key_details(struct json *j)
{
    json_key(j, "details");
    json_raw(j, STR("{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"mock\",\"families\":[\"mock\"],"
                    "\"parameter_size\":\"1B\",\"quantization_level\":\"Q4_0\"}"));
}

static void write_model(struct json *j, struct str name)
{
    uint8_t hash[SHA256_SIZE];
    char digest[2 * SHA256_SIZE];
    crypto_sha256(name, hash);
    num_to_hex(hash, sizeof hash, digest);
    json_put_object(j);
    json_key_str(j, "name", name);
    json_key_str(j, "model", name);
    json_key_c(j, "modified_at", "2024-01-01T00:00:00Z");
    json_key_u64(j, "size", MODEL_BYTES);
    json_key_str(j, "digest", str_make(digest, sizeof digest));
    key_details(j);
    json_end(j);
}

enum err ollama_tags(struct task *t, struct mock_call *call)
{
    struct json j = json_to(&call->out);
    struct str name;
    json_put_object(&j);
    json_key_array(&j, "models");
    for (size_t i = 0; mock_model(call->mock->options.models, i, &name); i++)
        write_model(&j, name);
    json_end(&j);
    json_end(&j);
    return mock_send(t, call);
}

/* No model is in memory. */
enum err ollama_ps(struct task *t, struct mock_call *call)
{
    buf_add_c(&call->out, "{\"models\":[]}");
    return mock_send(t, call);
}

/* Clients refuse versions that are too old for them: this is one that knows all that is answered here. */
enum err ollama_version(struct task *t, struct mock_call *call)
{
    buf_add_c(&call->out, "{\"version\":\"0.12.0\"}");
    return mock_send(t, call);
}

/* Ollama's command asks here whether anybody is at home. */
enum err ollama_root(struct task *t, struct mock_call *call)
{
    struct response response = {.status = 200,
                                .content_type = STR("text/plain; charset=utf-8"),
                                .body = STR("mock-llm is running\n")};
    return response_send(t, call->conn, &call->request, &response);
}

/* Every name is a model here, so the body need not be looked at. */
enum err ollama_show(struct task *t, struct mock_call *call)
{
    struct json j = json_to(&call->out);
    json_put_object(&j);
    json_key_c(&j, "modelfile", "");
    json_key_c(&j, "parameters", "");
    json_key_c(&j, "template", "{{ .Prompt }}");
    key_details(&j);
    json_key_object(&j, "model_info");
    json_key_c(&j, "general.architecture", "mock");
    json_key_u64(&j, "mock.context_length", CONTEXT_LENGTH);
    json_end(&j);
    json_key_array(&j, "capabilities");
    json_c(&j, "completion");
    json_c(&j, "embedding");
    json_end(&j);
    json_key_c(&j, "modified_at", "2024-01-01T00:00:00Z");
    json_end(&j);
    return mock_send(t, call);
}

/* ---- generate and chat ----------------------------------------------------------------------------------
 */

/* Without a question the client only wants the model in memory. */
static struct answer answer_plan(struct mock_call *call, bool chat)
{
    const json_t *question = json_object_get(call->json, chat ? "messages" : "prompt");
    const json_t *options = json_object_get(call->json, "options");
    uint64_t tokens = call->mock->options.tokens;
    struct answer a = {.chat = chat, .started = clock_now(), .model = mock_json_str(call->json, "model")};
    bool empty = chat ? json_array_size(question) == 0 : json_string_length(question) == 0;
    a.prompt_tokens = mock_words_json(question) + mock_words_json(json_object_get(call->json, "system"));
    a.tokens = empty ? 0 : mock_json_count(options, "num_predict", tokens, tokens);
    a.cut = !empty && a.tokens < tokens;
    a.done_reason = empty ? "load" : a.cut ? "length" : "stop";
    if (!a.model.n)
        mock_model(call->mock->options.models, 0, &a.model);
    call->mock->answers++;
    return a;
}

static void write_text(struct json *j, const struct answer *a, struct str text)
{
    json_put_object(j);
    json_key_str(j, "model", a->model);
    key_time(j, "created_at", clock_wall_us());
    if (a->chat) {
        json_key_object(j, "message");
        json_key_c(j, "role", "assistant");
        json_key_str(j, "content", text);
        json_end(j);
    } else {
        json_key_str(j, "response", text);
    }
}

/* Closes the last object, with what was counted. */
static void write_end(struct json *j, const struct answer *a)
{
    uint64_t total = clock_now() - a->started;
    json_key_bool(j, "done", true);
    json_key_c(j, "done_reason", a->done_reason);
    if (!a->chat) {
        json_key(j, "context");
        json_raw(j, STR("[1,2,3]"));
    }
    json_key_u64(j, "total_duration", total);
    json_key_u64(j, "load_duration", 0);
    json_key_u64(j, "prompt_eval_count", a->prompt_tokens);
    json_key_u64(j, "prompt_eval_duration", 0);
    json_key_u64(j, "eval_count", a->tokens);
    json_key_u64(j, "eval_duration", total);
    json_end(j);
}

static enum err answer_plain(struct task *t, struct mock_call *call, const struct answer *a)
{
    struct buf text CLEANUP(buf_free) = BUF(0);
    struct json j = json_to(&call->out);
    for (uint64_t i = 0; i < a->tokens; i++)
        mock_token(&text, i);
    TRY(buf_err(&text));
    write_text(&j, a, buf_str(&text));
    write_end(&j, a);
    return mock_send(t, call);
}

static enum err stream_tokens(struct task *t, struct mock_call *call, const struct answer *a)
{
    struct buf text CLEANUP(buf_free) = BUF(64);
    uint64_t start = task_now(t);
    for (uint64_t i = 0; i < a->tokens; i++) {
        struct json j = json_to(&call->out);
        TRY(mock_pace(t, call, start, i));
        buf_clear(&text);
        mock_token(&text, i);
        write_text(&j, a, buf_str(&text));
        json_key_bool(&j, "done", false);
        json_end(&j);
        buf_add_char(&call->out, '\n');
        TRY(mock_write(t, call));
    }
    return OK;
}

static enum err answer_stream(struct task *t, struct mock_call *call, const struct answer *a)
{
    struct response response = {.status = 200, .content_type = STR("application/x-ndjson")};
    TRY(response_begin_stream(t, call->conn, &call->request, &response));
    TRY(stream_tokens(t, call, a));
    struct json j = json_to(&call->out);
    write_text(&j, a, STR_NONE);
    write_end(&j, a);
    buf_add_char(&call->out, '\n');
    TRY(mock_write(t, call));
    return response_end_stream(t, call->conn, &call->request);
}

static enum err answer(struct task *t, struct mock_call *call, bool chat)
{
    struct answer a = answer_plan(call, chat);
    bool plain = json_is_false(json_object_get(call->json, "stream"));
    return (plain ? answer_plain : answer_stream)(t, call, &a);
}

enum err ollama_generate(struct task *t, struct mock_call *call)
{
    return answer(t, call, false);
}

enum err ollama_chat(struct task *t, struct mock_call *call)
{
    return answer(t, call, true);
}
