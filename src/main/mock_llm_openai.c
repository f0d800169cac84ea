/*
 * OpenAI's chat and text completions, plain and streamed, and its models. Handlers, called by
 * mock_llm_routes.c inside the request's task.
 */
#include "main/mock_llm.h"

#include <stdio.h>

enum { CHOICES_MAX = 128, CREATED = 1700000000 /* of the models: they were never made */ };

struct answer {
    bool chat;
    struct str model;
    char id[40];
    int64_t created; /* seconds since 1970 */
    uint64_t choices, tokens, prompt_tokens;
    bool cut;        /* the client's limit was lower than --tokens */
    bool with_usage; /* the stream ends with a chunk that counts */
    struct str tool; /* the function to call; empty = answer with text */
};

/* ---- what was asked -------------------------------------------------------------------------------------
 */

/* tool_choice is "required" or names a function. */
static struct str tool_wanted(const json_t *json)
{
    const json_t *choice = json_object_get(json, "tool_choice");
    const json_t *first = json_array_get(json_object_get(json, "tools"), 0);
    struct str name = mock_json_str(json_object_get(choice, "function"), "name");
    if (name.n || !first || !str_eq(mock_json_str(json, "tool_choice"), STR("required")))
        return first ? name : STR_NONE;
    return mock_json_str(json_object_get(first, "function"), "name");
}

/* Several prompts in one request: an array of strings or of arrays of token numbers. */
static uint64_t prompt_count(const json_t *prompt)
{
    size_t n = json_array_size(prompt);
    return n && !json_is_integer(json_array_get(prompt, 0)) ? n : 1;
}

static struct answer answer_plan(struct mock_call *call, bool chat)
{
    const json_t *json = call->json;
    const struct mock_options *o = &call->mock->options;
    const json_t *prompt = json_object_get(json, chat ? "messages" : "prompt");
    struct answer a = {
        .chat = chat, .model = mock_json_str(json, "model"), .created = clock_wall_us() / 1000000};
    a.tokens = mock_json_count(json, "max_tokens", o->tokens, o->tokens);
    a.tokens = MIN(a.tokens, mock_json_count(json, "max_completion_tokens", o->tokens, o->tokens));
    a.cut = a.tokens < o->tokens;
    a.choices = mock_json_count(json, "n", 1, CHOICES_MAX);
    if (!chat)
        a.choices = MIN(a.choices * prompt_count(prompt), (uint64_t)CHOICES_MAX);
    a.prompt_tokens = mock_words_json(prompt);
    a.with_usage = json_is_true(json_object_get(json_object_get(json, "stream_options"), "include_usage"));
    if (chat)
        a.tool = tool_wanted(json);
    if (!a.model.n)
        mock_model(o->models, 0, &a.model);
    snprintf(a.id, sizeof a.id, "%s-mock-%llu", chat ? "chatcmpl" : "cmpl",
             (unsigned long long)call->mock->answers++);
    return a;
}

/* ---- parts of an answer ---------------------------------------------------------------------------------
 */

static void write_top(struct json *j, const struct answer *a, bool chunk)
{
    const char *chat = chunk ? "chat.completion.chunk" : "chat.completion";
    json_put_object(j);
    json_key_c(j, "id", a->id);
    json_key_c(j, "object", a->chat ? chat : "text_completion");
    json_key_i64(j, "created", a->created);
    json_key_str(j, "model", a->model);
    json_key_c(j, "system_fingerprint", "fp_mock");
}

static void write_usage(struct json *j, const struct answer *a)
{
    uint64_t completion = a->choices * a->tokens;
    json_key_object(j, "usage");
    json_key_u64(j, "prompt_tokens", a->prompt_tokens);
    json_key_u64(j, "completion_tokens", completion);
    json_key_u64(j, "total_tokens", a->prompt_tokens + completion);
    json_end(j);
}

/* The call of a function; `position` only in a stream. */
static void write_tool(struct json *j, const struct answer *a, const char *arguments, bool position)
{
    json_key_array(j, "tool_calls");
    json_put_object(j);
    if (position)
        json_key_u64(j, "index", 0);
    json_key_c(j, "id", "call_mock");
    json_key_c(j, "type", "function");
    json_key_object(j, "function");
    json_key_str(j, "name", a->tool);
    json_key_c(j, "arguments", arguments);
    json_end(j);
    json_end(j);
    json_end(j);
}

static const char *finish_reason(const struct answer *a)
{
    if (a->tool.n)
        return "tool_calls";
    return a->cut ? "length" : "stop";
}

static void write_choice(struct json *j, const struct answer *a, uint64_t i, struct str text)
{
    json_put_object(j);
    json_key_u64(j, "index", i);
    if (a->chat) {
        json_key_object(j, "message");
        json_key_c(j, "role", "assistant");
        if (a->tool.n) {
            json_key_null(j, "content");
            write_tool(j, a, "{}", false);
        } else {
            json_key_str(j, "content", text);
        }
        json_key_null(j, "refusal");
        json_end(j);
    } else {
        json_key_str(j, "text", text);
    }
    json_key_null(j, "logprobs");
    json_key_c(j, "finish_reason", finish_reason(a));
    json_end(j);
}

static enum err answer_plain(struct task *t, struct mock_call *call, const struct answer *a)
{
    struct json j = json_to(&call->out);
    struct buf text CLEANUP(buf_free) = BUF(0);
    for (uint64_t i = 0; i < a->tokens; i++)
        mock_token(&text, i);
    TRY(buf_err(&text));
    write_top(&j, a, false);
    json_key_array(&j, "choices");
    for (uint64_t i = 0; i < a->choices; i++)
        write_choice(&j, a, i, buf_str(&text));
    json_end(&j);
    write_usage(&j, a);
    json_end(&j);
    return mock_send(t, call);
}

/* ---- a stream -------------------------------------------------------------------------------------------
 */

/* Opens "data: {…,"choices":[{"index":i," in call->out. */
static struct json chunk_begin(struct mock_call *call, const struct answer *a, uint64_t choice)
{
    buf_add_c(&call->out, "data: ");
    struct json j = json_to(&call->out);
    write_top(&j, a, true);
    json_key_array(&j, "choices");
    json_put_object(&j);
    json_key_u64(&j, "index", choice);
    return j;
}

static void chunk_end(struct mock_call *call, const struct answer *a, struct json *j, const char *finish)
{
    json_key_null(j, "logprobs");
    json_key_c(j, "finish_reason", finish);
    json_end(j);
    json_end(j);
    if (a->with_usage)
        json_key_null(j, "usage");
    json_end(j);
    buf_add_c(&call->out, "\n\n");
}

/* The chunk that says who speaks, and which function is called. */
static void chunk_role(struct mock_call *call, const struct answer *a, uint64_t choice)
{
    struct json j = chunk_begin(call, a, choice);
    json_key_object(&j, "delta");
    json_key_c(&j, "role", "assistant");
    if (a->tool.n) {
        json_key_null(&j, "content");
        write_tool(&j, a, "", true);
    } else {
        json_key_c(&j, "content", "");
    }
    json_end(&j);
    chunk_end(call, a, &j, NULL);
}

static void chunk_arguments(struct mock_call *call, const struct answer *a, uint64_t choice)
{
    struct json j = chunk_begin(call, a, choice);
    json_key(&j, "delta");
    json_raw(&j, STR("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}"));
    chunk_end(call, a, &j, NULL);
}

static void chunk_text(struct mock_call *call, const struct answer *a, uint64_t choice, uint64_t token)
{
    struct buf text CLEANUP(buf_free) = BUF(64);
    struct json j = chunk_begin(call, a, choice);
    mock_token(&text, token);
    if (a->chat) {
        json_key_object(&j, "delta");
        json_key_str(&j, "content", buf_str(&text));
        json_end(&j);
    } else {
        json_key_str(&j, "text", buf_str(&text));
    }
    chunk_end(call, a, &j, NULL);
}

static void chunk_finish(struct mock_call *call, const struct answer *a, uint64_t choice)
{
    struct json j = chunk_begin(call, a, choice);
    if (a->chat) {
        json_key_object(&j, "delta");
        json_end(&j);
    } else {
        json_key_c(&j, "text", "");
    }
    chunk_end(call, a, &j, finish_reason(a));
}

static void chunk_usage(struct mock_call *call, const struct answer *a)
{
    buf_add_c(&call->out, "data: ");
    struct json j = json_to(&call->out);
    write_top(&j, a, true);
    json_key_array(&j, "choices");
    json_end(&j);
    write_usage(&j, a);
    json_end(&j);
    buf_add_c(&call->out, "\n\n");
}

/* Each token goes out by itself, as it would from a model. */
static enum err stream_tokens(struct task *t, struct mock_call *call, const struct answer *a)
{
    uint64_t start = task_now(t);
    for (uint64_t i = 0; i < a->tokens; i++) {
        TRY(mock_pace(t, call, start, i));
        for (uint64_t choice = 0; choice < a->choices; choice++)
            chunk_text(call, a, choice, i);
        TRY(mock_write(t, call));
    }
    return OK;
}

static enum err answer_stream(struct task *t, struct mock_call *call, const struct answer *a)
{
    struct response response = {.status = 200, .content_type = STR("text/event-stream; charset=utf-8")};
    head_add(&response.fields, STR("Cache-Control"), STR("no-cache"));
    TRY(response_begin_stream(t, call->conn, &call->request, &response));
    for (uint64_t i = 0; i < a->choices && a->chat; i++) {
        chunk_role(call, a, i);
        if (a->tool.n)
            chunk_arguments(call, a, i);
    }
    TRY(mock_write(t, call));
    if (!a->tool.n)
        TRY(stream_tokens(t, call, a));
    for (uint64_t i = 0; i < a->choices; i++)
        chunk_finish(call, a, i);
    if (a->with_usage)
        chunk_usage(call, a);
    buf_add_c(&call->out, "data: [DONE]\n\n");
    TRY(mock_write(t, call));
    return response_end_stream(t, call->conn, &call->request);
}

static enum err answer(struct task *t, struct mock_call *call, bool chat)
{
    struct answer a = answer_plan(call, chat);
    bool stream = json_is_true(json_object_get(call->json, "stream"));
    return (stream ? answer_stream : answer_plain)(t, call, &a);
}

enum err openai_chat(struct task *t, struct mock_call *call)
{
    return answer(t, call, true);
}

enum err openai_completions(struct task *t, struct mock_call *call)
{
    return answer(t, call, false);
}

/* ---- models ---------------------------------------------------------------------------------------------
 */

static void write_model(struct json *j, struct str name)
{
    json_put_object(j);
    json_key_str(j, "id", name);
    json_key_c(j, "object", "model");
    json_key_u64(j, "created", CREATED);
    json_key_c(j, "owned_by", "hestia");
    json_end(j);
}

enum err openai_models(struct task *t, struct mock_call *call)
{
    struct json j = json_to(&call->out);
    struct str name;
    json_put_object(&j);
    json_key_c(&j, "object", "list");
    json_key_array(&j, "data");
    for (size_t i = 0; mock_model(call->mock->options.models, i, &name); i++)
        write_model(&j, name);
    json_end(&j);
    json_end(&j);
    return mock_send(t, call);
}

/* Every name is a model here. */
enum err openai_model(struct task *t, struct mock_call *call)
{
    struct json j = json_to(&call->out);
    write_model(&j, call->parameter);
    return mock_send(t, call);
}
