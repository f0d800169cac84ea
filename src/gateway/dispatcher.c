/*
 * POST /v1/requests: a request to a service described in JSON, its response wrapped in JSON (contract,
 * section 1.3). HTTP 200 with an inner status also when the service failed; 422 for a body that is not what
 * this route takes; 404 for an unknown service.
 */
#include "gateway/exchange.h"

#include "base/json.h"

#include <jansson.h>

enum { CALL_BODY_MAX = 32 << 20, CALL_CONNECT_MS = 5000, JSON_DEPTH_MAX = 64 };

struct dispatch {
    struct api_call *call;
    const struct snapshot_service *service;
    enum method method;
    struct str target; /* canonical path and query, below the service's prefix */
    struct buf fields;
    struct str body;
    struct fetch fetch;
    struct lease lease;
    uint64_t asked_at; /* coarse ns, the first attempt; 0 = none yet */
    bool on_fallback;
};

static void json_free(json_t **j)
{
    json_decref(*j);
}

static void dispatch_free(struct dispatch *d)
{
    buf_free(&d->fields);
    fetch_free(&d->fetch);
    lease_release(&d->lease, d->call->worker->loop);
}

static enum err unprocessable(struct api_call *call, const char *what)
{
    return error_set(&call->error, ERR_UNPROCESSABLE, "%s", what);
}

/* ---- reading the request --------------------------------------------------------------------------------
 */

static enum err read_json(struct task *t, struct api_call *call, json_t **root)
{
    struct buf text = BUF(CALL_BODY_MAX);
    json_error_t error;
    enum err err = request_read_body(t, call->conn, call->request, &text, &call->error);
    if (err == OK && !json_text_is_shallow(buf_str(&text), JSON_DEPTH_MAX))
        err = unprocessable(call, "the body is nested too deep");
    if (err == OK) {
        *root = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &error);
        if (!*root)
            err = error_set(&call->error, ERR_UNPROCESSABLE, "the body is not JSON: %s (line %d)", error.text,
                            error.line);
        else if (!json_is_object(*root))
            err = unprocessable(call, "the body must be a JSON object with serviceId, method and path");
    }
    buf_free(&text);
    return err;
}

static struct str text_of(struct arena *arena, const json_t *value)
{
    return json_is_string(value)
               ? arena_str(arena, str_make(json_string_value(value), json_string_length(value)))
               : STR_NONE;
}

static enum err find_service(struct dispatch *d, const json_t *root)
{
    struct api_call *call = d->call;
    const json_t *id = json_object_get(root, "serviceId");
    struct str text = text_of(&call->request->arena, id ? id : json_object_get(root, "service_id"));
    if (!text.n)
        return unprocessable(call, "serviceId: a string is required");
    d->service = map_get(&call->snapshot->by_id, text);
    if (!d->service)
        return error_set(&call->error, ERR_SERVICE_NOT_FOUND, "Service not found in configuration: %.*s",
                         STR_ARG(str_first(text, 128)));
    return OK;
}

static enum err find_method(struct dispatch *d, const json_t *root)
{
    struct str text = text_of(&d->call->request->arena, json_object_get(root, "method"));
    for (int m = 0; text.n && m < METHOD_TRACE; m++)
        if (str_eq_nocase(text, method_name((enum method)m))) {
            d->method = (enum method)m;
            return OK;
        }
    return unprocessable(d->call, "method: one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS is required");
}

/* The path is untrusted: it gets the same canonical form as any request target, and never names a host. */
static enum err find_target(struct dispatch *d, const json_t *root)
{
    struct api_call *call = d->call;
    struct arena *arena = &call->request->arena;
    const json_t *path = json_object_get(root, "path");
    struct str text = text_of(arena, path);
    struct target target;
    struct error ignored;
    if (!json_is_string(path))
        return unprocessable(call, "path: a string is required");
    if (!text.n || text.p[0] != '/')
        text = arena_printf(arena, "/%.*s", STR_ARG(text));
    if (target_parse(arena, METHOD_GET, text, STR("localhost"), &target, &ignored) != OK)
        return unprocessable(call, "path: not a valid request path");
    d->target = arena_printf(arena, "%.*s%.*s%s%.*s", STR_ARG(d->service->config->base_url.prefix),
                             STR_ARG(target.path), target.has_query ? "?" : "", STR_ARG(target.query));
    return d->target.p ? OK : ERR_NOMEM;
}

/* Fields that describe the connection or the framing are ours to write. */
static bool field_is_ours(const char *name)
{
    static const char *const ours[] = {"connection",
                                       "keep-alive",
                                       "proxy-authenticate",
                                       "proxy-authorization",
                                       "te",
                                       "trailers",
                                       "trailer",
                                       "transfer-encoding",
                                       "upgrade",
                                       "host",
                                       "content-length",
                                       "expect",
                                       "x-request-id",
                                       "accept-encoding"};
    for (size_t i = 0; i < COUNT_OF(ours); i++)
        if (strcasecmp(name, ours[i]) == 0)
            return true;
    return false;
}

static enum err find_fields(struct dispatch *d, const json_t *root, bool *has_type)
{
    json_t *headers = json_object_get(root, "headers"), *value;
    const char *name;
    if (headers && !json_is_object(headers) && !json_is_null(headers))
        return unprocessable(d->call, "headers: an object of strings");
    json_object_foreach(headers, name, value)
    {
        if (!json_is_string(value))
            return unprocessable(d->call, "headers: every value must be a string");
        if (field_is_ours(name))
            continue;
        *has_type = *has_type || strcasecmp(name, "content-type") == 0;
        head_add(&d->fields, str_from_c(name), text_of(&d->call->request->arena, value));
    }
    head_add(&d->fields, STR("X-Request-ID"), str_from_c(d->call->request->id));
    head_add(&d->fields, STR("Via"), STR("1.1 hestia"));
    enum err err = buf_err(&d->fields);
    return err == OK || err == ERR_NOMEM
               ? err
               : unprocessable(d->call, "headers: a name or value is not valid in HTTP");
}

static enum err find_body(struct dispatch *d, const json_t *root, bool has_type)
{
    const json_t *body = json_object_get(root, "body");
    if (!body || json_is_null(body))
        return OK;
    if (json_is_string(body)) {
        d->body = text_of(&d->call->request->arena, body);
        return OK;
    }
    char *text = json_dumps(body, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text)
        return ERR_NOMEM;
    d->body = arena_str(&d->call->request->arena, str_from_c(text));
    free(text);
    if (!has_type)
        buf_add_c(&d->fields, "Content-Type: application/json\r\n");
    return d->body.p ? OK : ERR_NOMEM;
}

static enum err dispatch_read(struct task *t, struct dispatch *d)
{
    CLEANUP(json_free) json_t *root = NULL;
    bool has_type = false;
    TRY(read_json(t, d->call, &root));
    TRY(find_service(d, root));
    TRY(find_method(d, root));
    TRY(find_target(d, root));
    TRY(find_fields(d, root, &has_type));
    return find_body(d, root, has_type);
}

/* ---- asking the service ---------------------------------------------------------------------------------
 */

static label service_label_of(const struct dispatch *d)
{
    return (label)d->service->label;
}

static label constant(const struct dispatch *d, const char *text)
{
    return worker_label(d->call->worker, text);
}

static struct metric_set *metrics_of(const struct dispatch *d)
{
    return d->call->worker->metrics;
}

static const char *usual_reason(const struct dispatch *d)
{
    return d->service->config->instance_count ? "load_balancer" : "base_url";
}

static enum err ask(struct task *t, struct dispatch *d, const struct origin *origin, const char *reason)
{
    metric_add(metrics_of(d), METRIC_UPSTREAM_ATTEMPTS, LABELS(service_label_of(d), constant(d, reason)), 1);
    d->asked_at = d->asked_at ? d->asked_at : task_now(t);
    d->call->asked.attempts++;
    uint64_t deadline = task_deadline(t, CALL_CONNECT_MS + d->service->config->first_byte_timeout_ms);
    fetch_free(&d->fetch);
    d->fetch = (struct fetch){.method = d->method,
                              .origin = origin,
                              .target = d->target,
                              .fields = buf_str(&d->fields),
                              .body = d->body,
                              .response.max = CALL_BODY_MAX};
    TRY(conn_let_go(d->call->conn));
    enum err err = fetch_run(t, d->call->worker->pool, &d->fetch, deadline, &d->call->error);
    conn_take_back(d->call->conn);
    return err;
}

static enum err ask_fallback(struct task *t, struct dispatch *d, const char *reason)
{
    metric_add(metrics_of(d), METRIC_FALLBACKS, LABELS(service_label_of(d), constant(d, reason)), 1);
    d->on_fallback = true;
    return ask(t, d, d->service->fallback, "fallback");
}

static enum err pause_before_retry(struct task *t, struct dispatch *d)
{
    TRY(conn_let_go(d->call->conn));
    enum err err = task_sleep(t, d->service->config->retry_delay_ms);
    conn_take_back(d->call->conn);
    return err;
}

/* Attempts on the service, then the fallback, by the rules of details.md section 2 (the body is at hand in
 * full). */
static enum err ask_all(struct task *t, struct dispatch *d)
{
    const struct service_config *config = d->service->config;
    struct target_place place;
    uint64_t tried = 0;
    enum err err = ERR_UPSTREAM_UNREACHABLE;
    for (uint64_t i = 0; i < MAX(config->retry_count, (uint64_t)1); i++) {
        if (i)
            TRY(pause_before_retry(t, d));
        if (!lease_pick(&d->lease, tried, &place))
            break;
        tried |= config->instance_count > 1 ? (uint64_t)1 << (place.instance % 64) : 0;
        err = ask(t, d, place.origin, i ? "retry" : usual_reason(d));
        bool ok = err == OK && d->fetch.status < 500;
        lease_report(&d->lease, &place, ok);
        if (ok || err == ERR_CANCELLED)
            return err;
    }
    if (d->service->fallback)
        return ask_fallback(t, d, err == ERR_UPSTREAM_UNREACHABLE ? "unreachable" : "failed");
    return err;
}

static enum err lease_and_ask(struct task *t, struct dispatch *d)
{
    struct lease_options options = {
        .client = d->call->conn, .deadline = CLOCK_NEVER, .request_id = d->call->request->id, .wake = true};
    int retry_after = 0;
    enum err err = service_lease(t, d->service->service, d->service->config, &options, &d->lease,
                                 &retry_after, &d->call->error);
    if (err == ERR_UPSTREAM_UNREACHABLE && d->service->fallback)
        return ask_fallback(t, d, "not_ready");
    return err == OK ? ask_all(t, d) : err;
}

/* What an exchange with the service itself would have counted. */
static void count(struct task *t, const struct dispatch *d, enum err err)
{
    label service = service_label_of(d), method = constant(d, method_name(d->method).p);
    if (err != OK)
        metric_add(metrics_of(d), METRIC_PROXY_ERRORS,
                   LABELS(service, constant(d, err_row(err)->code), method), 1);
    if (!d->asked_at)
        return;
    metric_add(metrics_of(d), METRIC_PROXY_REQUESTS, LABELS(service, method), 1);
    metric_add(metrics_of(d), METRIC_ROUTING_DECISIONS,
               LABELS(service, constant(d, d->on_fallback ? "fallback" : usual_reason(d))), 1);
    if (err == OK)
        metric_observe(metrics_of(d), METRIC_PROXY_DURATION,
                       LABELS(service, method, label_number((unsigned)d->fetch.status)),
                       task_now(t) - d->asked_at);
}

/* For the log and the metrics; OK, or why there is no answer, in call->error. */
static enum err outcome_note(struct task *t, struct dispatch *d, enum err err)
{
    struct api_call *call = d->call;
    call->asked.service = d->service;
    call->asked.err = err;
    call->asked.status = err == OK ? d->fetch.status : 0;
    if (err != OK && call->error.err != err)
        call->error = (struct error){.err = err};
    if (err != ERR_CANCELLED)
        count(t, d, err);
    return err;
}

/* ---- wrapping the answer --------------------------------------------------------------------------------
 */

static struct str lower_copy(struct arena *arena, struct str s)
{
    char *lower = arena_alloc(arena, s.n + 1);
    for (size_t i = 0; lower && i < s.n; i++)
        lower[i] = char_lower(s.p[i]);
    return str_make(lower, lower ? s.n : 0); /* terminated: the arena's memory is zeroed */
}

/* Values by name in lower case; those of a name that is repeated are joined. */
static enum err gather_headers(struct map *headers, struct arena *arena, struct str fields)
{
    while (fields.n) {
        struct str line = str_cut(&fields, '\n');
        struct str name = lower_copy(arena, str_cut(&line, ':'));
        struct str value = str_trim(str_first(line, str_find(line, '\r')));
        struct str *known = map_get(headers, name);
        if (known) {
            *known = arena_printf(arena, "%.*s, %.*s", STR_ARG(*known), STR_ARG(value));
            continue;
        }
        known = arena_alloc(arena, sizeof *known);
        if (!known || !name.p)
            return ERR_NOMEM;
        *known = value;
        TRY(map_put(headers, name, known));
    }
    return OK;
}

static enum err write_headers(struct json *j, struct arena *arena, struct str fields)
{
    struct map headers CLEANUP(map_free) = {0};
    TRY(gather_headers(&headers, arena, fields));
    json_key_object(j, "headers");
    MAP_EACH(entry, &headers)
    {
        json_key_str(j, entry->key.p, *(const struct str *)entry->value);
    }
    json_end(j);
    return OK;
}

static void write_body(struct json *j, const struct fetch *f)
{
    CLEANUP(json_free) json_t *parsed = NULL;
    struct str type = f->content_type;
    json_key(j, "body");
    if (str_find_str_nocase(type, STR("application/json")) < type.n &&
        json_text_is_shallow(buf_str(&f->response), JSON_DEPTH_MAX))
        parsed = json_loadb(f->response.p ? f->response.p : "", f->response.n, JSON_DECODE_ANY, NULL);
    if (parsed)
        json_raw(j, str_trim(buf_str(&f->response)));
    else if (f->response.n)
        json_str(j, buf_str(&f->response));
    else
        json_put_null(j);
}

static enum err write_answer(struct buf *out, struct dispatch *d)
{
    struct json j = json_to(out);
    json_put_object(&j);
    json_key_i64(&j, "status", d->fetch.status);
    TRY(write_headers(&j, &d->call->request->arena, buf_str(&d->fetch.response_fields)));
    write_body(&j, &d->fetch);
    json_end(&j);
    return OK;
}

static enum err write_failure(struct buf *out, const struct error *error)
{
    struct json j = json_to(out);
    json_put_object(&j);
    json_key_i64(&j, "status", 503);
    json_key_object(&j, "headers");
    json_key_c(&j, "content-type", "application/json");
    json_end(&j);
    json_key_object(&j, "body");
    json_key_c(&j, "error", error_text(error));
    json_key_c(&j, "code", err_row(error->err)->code);
    json_end(&j);
    json_end(&j);
    return OK;
}

static enum err dispatch_run(struct task *t, struct api_call *call, struct response *response)
{
    CLEANUP(dispatch_free) struct dispatch d = {.call = call};
    struct buf out = BUF(CALL_BODY_MAX * 2);
    TRY(dispatch_read(t, &d));
    enum err err = outcome_note(t, &d, lease_and_ask(t, &d));
    if (err == ERR_CANCELLED)
        return err;
    if (err == OK)
        err = write_answer(&out, &d);
    else
        err = write_failure(&out, &call->error);
    if (err == OK)
        err = buf_err(&out);
    if (err == OK)
        response->body = arena_str(&call->request->arena, buf_str(&out));
    buf_free(&out);
    return err == OK && response->body.p ? OK : ERR_NOMEM;
}

const struct api_route gateway_routes[] = {
    {.methods = 1u << METHOD_POST,
     .path = "/v1/requests",
     .access = ACCESS_KEY,
     .handler = dispatch_run,
     .operation = "dispatchRequest",
     .summary = "Send a request to a service, described in JSON",
     .status = 200,
     .request_schema = "DispatchRequest",
     .schema = "DispatchResponse"},
    {.path = NULL},
};
