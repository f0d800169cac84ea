/*
 * The mock's life of a request: read it, find its row, count it, make it wait or fail as the options say,
 * hand it to its handler. The loop's thread; each request is a task.
 */
#include "main/mock_llm.h"

#include "base/mem.h"

enum { BODY_MAX = 64 << 20, OUT_MAX = 256 << 20, ERROR_MAX = 16 << 10, TURN_TOKENS = 16 };

/* ---- what handlers use ----------------------------------------------------------------------------------
 */

enum err mock_send(struct task *t, struct mock_call *call)
{
    TRY(buf_err(&call->out));
    struct response response = {.status = 200, .body = buf_str(&call->out)};
    return response_send(t, call->conn, &call->request, &response);
}

enum err mock_write(struct task *t, struct mock_call *call)
{
    TRY(buf_err(&call->out));
    TRY(response_write(t, call->conn, &call->request, buf_str(&call->out)));
    buf_clear(&call->out);
    return OK;
}

enum err mock_wait(struct task *t, struct mock_call *call, uint64_t due)
{
    TRY(inflow_settle(&call->conn->in));
    while (task_now(t) < due) {
        if (conn_is_abandoned(call->conn))
            return ERR_CANCELLED;
        enum err err = task_park(t, due);
        if (err != OK && err != ERR_TIMEOUT)
            return err;
    }
    return OK;
}

enum err mock_pace(struct task *t, struct mock_call *call, uint64_t start, uint64_t i)
{
    double tps = call->mock->options.tps;
    if (tps > 0)
        return mock_wait(t, call, start + (uint64_t)((double)i / tps * (double)CLOCK_S));
    return i % TURN_TOKENS ? OK : task_yield(t);
}

/* ---- the rows -------------------------------------------------------------------------------------------
 */

enum {
    ROW_MODEL = 1,  /* a model's answer: takes JSON, waits and fails as the options say */
    ROW_OPENAI = 2, /* also under /v1 */
    ROW_OLLAMA = 4, /* errors in Ollama's shape */
    ROW_APART = 8,  /* not counted */
};

struct mock_route {
    uint32_t methods; /* bits: 1 << METHOD_…; HEAD comes with GET */
    const char *path; /* a "*" at the end stands for anything but nothing */
    unsigned flags;
    mock_handler *handler;
};

static mock_handler answer_health, answer_stats;

#define GET_ (1u << METHOD_GET)
#define POST_ (1u << METHOD_POST)

static const struct mock_route routes[] = {
    {GET_, "/health", ROW_APART, answer_health},
    {GET_, "/stats", ROW_APART, answer_stats},
    {POST_, "/chat/completions", ROW_OPENAI | ROW_MODEL, openai_chat},
    {POST_, "/completions", ROW_OPENAI | ROW_MODEL, openai_completions},
    {POST_, "/embeddings", ROW_OPENAI | ROW_MODEL, openai_embeddings},
    {GET_, "/models", ROW_OPENAI, openai_models},
    {GET_, "/models/*", ROW_OPENAI, openai_model},
    {GET_, "/", ROW_OLLAMA, ollama_root},
    {GET_, "/api/version", ROW_OLLAMA, ollama_version},
    {GET_, "/api/tags", ROW_OLLAMA, ollama_tags},
    {GET_, "/api/ps", ROW_OLLAMA, ollama_ps},
    {POST_, "/api/show", ROW_OLLAMA, ollama_show},
    {POST_, "/api/generate", ROW_OLLAMA | ROW_MODEL, ollama_generate},
    {POST_, "/api/chat", ROW_OLLAMA | ROW_MODEL, ollama_chat},
    {POST_, "/api/embed", ROW_OLLAMA | ROW_MODEL, ollama_embed},
    {POST_ | 1u << METHOD_PUT | 1u << METHOD_PATCH, "/echo", 0, bytes_echo},
    {GET_, "/bytes/*", 0, bytes_get},
    {GET_, "/sse/*", 0, bytes_events},
};

static bool row_matches(const struct mock_route *row, struct str path, struct str *parameter)
{
    struct str pattern = str_from_c(row->path);
    if (row->flags & ROW_OPENAI && str_starts(path, STR("/v1/")))
        path = str_from(path, 3);
    *parameter = STR_NONE;
    if (!str_ends(pattern, STR("*")))
        return str_eq(path, pattern);
    *parameter = str_from(path, pattern.n - 1);
    return parameter->n && str_starts(path, str_first(pattern, pattern.n - 1));
}

/* Sets call->route; `allowed` gets the methods of the rows that have the path. */
static void route_find(struct mock_call *call, uint32_t *allowed)
{
    enum method method = call->request.head.method;
    uint32_t bit = 1u << (method == METHOD_HEAD ? METHOD_GET : method);
    struct str parameter;
    for (size_t i = 0; i < COUNT_OF(routes) && !call->route; i++) {
        if (!row_matches(&routes[i], call->request.target.path, &parameter))
            continue;
        *allowed |= routes[i].methods;
        if (!(routes[i].methods & bit))
            continue;
        call->route = &routes[i];
        call->parameter = percent_decode(&call->request.arena, parameter);
    }
}

/* ---- errors ---------------------------------------------------------------------------------------------
 */

static const char *error_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    default:
        return status < 500 ? "invalid_request_error" : "server_error";
    }
}

static void error_write(struct buf *out, bool ollama, int status, const char *code, const char *message)
{
    struct json j = json_to(out);
    json_put_object(&j);
    if (ollama) {
        json_key_c(&j, "error", message);
    } else {
        json_key_object(&j, "error");
        json_key_c(&j, "message", message);
        json_key_c(&j, "type", error_type(status));
        json_key_null(&j, "param");
        json_key_c(&j, "code", code);
        json_end(&j);
    }
    json_end(&j);
    buf_add_char(out, '\n');
}

enum err mock_send_error(struct task *t, struct mock_call *call, int status, const char *code,
                         const char *message)
{
    struct buf body CLEANUP(buf_free) = BUF(ERROR_MAX);
    struct response response = {.status = status};
    error_write(&body, call->route && call->route->flags & ROW_OLLAMA, status, code, message);
    if (status == 429 || status == 503)
        head_add(&response.fields, STR("Retry-After"), STR("1"));
    response.body = buf_str(&body);
    return response_send(t, call->conn, &call->request, &response);
}

/* No row has the path, or none with that method. */
static enum err send_no_route(struct task *t, struct mock_call *call, uint32_t allowed)
{
    struct buf body CLEANUP(buf_free) = BUF(ERROR_MAX), allow CLEANUP(buf_free) = BUF(256);
    struct response response = {.status = allowed ? 405 : 404};
    error_write(&body, false, response.status, allowed ? "method_not_allowed" : "not_found",
                allowed ? "that method is not allowed here" : "mock-llm has no such route");
    for (enum method m = 0; m < METHOD_COUNT; m++) {
        if (!(allowed & 1u << m))
            continue;
        buf_add_c(&allow, allow.n ? ", " : "");
        buf_add_str(&allow, method_name(m));
        buf_add_c(&allow, m == METHOD_GET ? ", HEAD" : "");
    }
    if (allowed)
        head_add(&response.fields, STR("Allow"), buf_str(&allow));
    response.body = buf_str(&body);
    return response_send(t, call->conn, &call->request, &response);
}

/* ---- /health and /stats ---------------------------------------------------------------------------------
 */

static enum err answer_health(struct task *t, struct mock_call *call)
{
    buf_add_c(&call->out, "{\"status\":\"ok\"}\n");
    return mock_send(t, call);
}

static enum err answer_stats(struct task *t, struct mock_call *call)
{
    const struct mock *m = call->mock;
    struct json j = json_to(&call->out);
    uint64_t first = m->order_count > MOCK_ORDER_MAX ? m->order_count - MOCK_ORDER_MAX : 0;
    json_put_object(&j);
    json_key_u64(&j, "requests", m->requests);
    json_key_u64(&j, "concurrent", m->concurrent);
    json_key_u64(&j, "max_concurrent", m->max_concurrent);
    json_key_array(&j, "order");
    for (uint64_t i = first; i < m->order_count; i++)
        json_c(&j, m->order[i % MOCK_ORDER_MAX]);
    json_end(&j);
    json_end(&j);
    return mock_send(t, call);
}

static void count_arrival(struct mock_call *call)
{
    struct mock *m = call->mock;
    struct field *field = head_find(&call->request.head, STR("X-Seq"));
    struct str id = field ? field->value : head_value(&call->request.head, FIELD_X_REQUEST_ID);
    m->requests++;
    m->concurrent++;
    m->max_concurrent = MAX(m->max_concurrent, m->concurrent);
    if (id.n)
        str_to_c(id, m->order[m->order_count++ % MOCK_ORDER_MAX], MOCK_ID_MAX + 1);
}

/* ---- one request ----------------------------------------------------------------------------------------
 */

/* splitmix64: the same seed fails the same answers. */
static bool fails_by_chance(struct mock *m)
{
    uint64_t z = m->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) / (double)((uint64_t)1 << 53) < m->options.fail_rate;
}

/* Reads the question; false when it was answered here: it was none. */
static enum err json_read(struct task *t, struct mock_call *call, bool *good, struct error *error)
{
    struct buf body CLEANUP(buf_free) = BUF(BODY_MAX);
    TRY(request_read_body(t, call->conn, &call->request, &body, error));
    enum err err = mock_json_parse(buf_str(&body), &call->json, error);
    *good = err == OK;
    return err == OK ? OK : mock_send_error(t, call, 400, "bad_request", error_text(error));
}

static enum err answer_model(struct task *t, struct mock_call *call, struct error *error)
{
    struct mock *m = call->mock;
    bool good = false;
    TRY(json_read(t, call, &good, error));
    if (!good)
        return OK;
    bool chance = m->options.fail_rate > 0 && fails_by_chance(m);
    TRY(mock_wait(t, call, task_deadline(t, m->options.latency_ms)));
    if (m->options.status >= 400)
        return mock_send_error(t, call, (int)m->options.status, "mock_status",
                               "mock-llm fails as --status says");
    if (chance)
        return mock_send_error(t, call, 500, "mock_failure", "mock-llm fails as --fail-rate says");
    return call->route->handler(t, call);
}

static enum err call_answer(struct task *t, struct mock_call *call, uint32_t allowed, struct error *error)
{
    TRY(inflow_settle(&call->conn->in));
    if (call->mock->loading)
        return mock_send_error(t, call, 503, "loading", "loading model");
    if (!call->route)
        return send_no_route(t, call, allowed);
    if (call->route->flags & ROW_MODEL)
        return answer_model(t, call, error);
    return call->route->handler(t, call);
}

static enum err call_run(struct task *t, struct mock_call *call, struct error *error)
{
    uint32_t allowed = 0;
    TRY(request_read(t, call->conn, &call->request, error));
    route_find(call, &allowed);
    if (call->route && call->route->flags & ROW_APART)
        return call_answer(t, call, allowed, error);
    count_arrival(call);
    enum err err = call_answer(t, call, allowed, error);
    call->mock->concurrent--;
    return err;
}

/* What was begun must not look complete; what was not is answered with the error, where there is somebody. */
static void call_fail(struct task *t, struct mock_call *call, enum err err, const struct error *error)
{
    struct conn *c = call->conn;
    int status = err_row(err)->status;
    bool gone = err == ERR_END || err == ERR_CANCELLED || err == ERR_RESET || c->sock.broken;
    if (!gone && !c->answered &&
        mock_send_error(t, call, status ? status : 500, err_row(err)->code,
                        error->err == err ? error_text(error) : err_row(err)->text) == OK)
        return;
    c->abort = c->answered;
    c->keep = false;
}

void mock_serve(struct task *t, struct conn *c)
{
    struct mock_call *call = mem_alloc(sizeof *call);
    struct error error = {0};
    if (!call) {
        c->keep = false;
        return;
    }
    call->mock = c->server->owner;
    call->conn = c;
    call->out.max = OUT_MAX;
    enum err err = call_run(t, call, &error);
    if (err != OK)
        call_fail(t, call, err, &error);
    request_free(&call->request);
    json_decref(call->json);
    buf_free(&call->out);
    mem_free(call);
}
