/*
 * The life of a request, from top to bottom. Everything that happens to a request is called from here; every
 * wait notices a client that has gone, and everything taken on the way is given back in exchange_end.
 */
#include "gateway/exchange.h"

#include "base/mem.h"
#include "loop/trail.h"

#include <stdio.h>

enum { FREE_EXCHANGES_MAX = 1024 };

/* ---- answers that come from us --------------------------------------------------------------------------
 */

static enum err call_api(struct task *t, struct exchange *x)
{
    struct response response = {.status = 200};
    struct api_call call = {
        .task = t,
        .conn = x->conn,
        .request = &x->request,
        .worker = x->worker,
        .snapshot = x->snapshot,
        .service = x->route.service ? x->route.service->service : NULL,
        .service_config = x->route.service ? x->route.service->config : NULL,
        .route = x->route.api,
        .path_parameter = x->route.parameter,
        .client = x->client,
        .strategy = x->strategy,
        .actor = x->actor,
    };
    TRY(inflow_settle(&x->conn->in));
    enum err err = x->route.api->handler(t, &call, &response);
    x->asked = call.asked;
    x->attempts = call.asked.attempts;
    x->error = call.error;
    if (err != OK) {
        x->error.err = err;
        buf_free(&response.fields);
        return err;
    }
    x->status = response.status ? response.status : 200;
    return response.status ? response_send(t, x->conn, &x->request, &response) : OK;
}

/* /services/x -> /services/x/ (details.md section 1). */
static enum err redirect(struct task *t, struct exchange *x)
{
    struct target *target = &x->request.target;
    struct response response = {.status = 307, .body = STR("{}")};
    struct str location = arena_printf(&x->request.arena, "%.*s/%s%.*s", STR_ARG(target->path),
                                       target->has_query ? "?" : "", STR_ARG(target->query));
    head_add(&response.fields, STR("Location"), location);
    x->status = 307;
    return response_send(t, x->conn, &x->request, &response);
}

static enum err answer_options(struct task *t, struct exchange *x)
{
    struct response response = {.status = 204};
    head_add(&response.fields, STR("Allow"), STR("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    x->status = 204;
    return response_send(t, x->conn, &x->request, &response);
}

/* ---- through to a service -------------------------------------------------------------------------------
 */

static bool is_ignored_by_wake(struct exchange *x)
{
    const struct wake_ignore *ignore = &x->route.service->config->wake_ignore;
    struct str agent = head_value(&x->request.head, FIELD_USER_AGENT);
    for (size_t i = 0; i < ignore->paths.count; i++)
        if (str_glob(ignore->paths.items[i], x->route.path))
            return true;
    for (size_t i = 0; i < ignore->methods.count; i++)
        if (str_eq_nocase(ignore->methods.items[i], x->request.head.method_text))
            return true;
    for (size_t i = 0; i < ignore->user_agents.count; i++)
        if (agent.n && str_find_str_nocase(agent, ignore->user_agents.items[i]) < agent.n)
            return true;
    return false;
}

/* A service that cannot be had is replaced by its fallback, where it has one. */
static bool fallback_covers(struct exchange *x, enum err err)
{
    return x->route.service->fallback && (err == ERR_UPSTREAM_UNREACHABLE || err == ERR_START_FAILED ||
                                          err == ERR_START_TIMEOUT || err == ERR_BACKING_OFF);
}

static enum err lease_take(struct task *t, struct exchange *x)
{
    struct snapshot_service *s = x->route.service;
    struct lease_options options = {
        .client = x->conn,
        .deadline = CLOCK_NEVER,
        .request_id = x->request.id,
        .wake = !is_ignored_by_wake(x),
    };
    if (LIKELY(service_lease_now(s->service, options.wake, &x->lease)))
        return OK;
    TRY(inflow_settle(&x->conn->in));
    enum err err = service_lease(t, s->service, s->config, &options, &x->lease, &x->retry_after, &x->error);
    if (err != OK && fallback_covers(x, err)) {
        x->on_fallback = true;
        return OK;
    }
    return err;
}

/* A truncated stream must not look complete; an event stream is told why first (http.md 3.2). */
void exchange_break_off(struct exchange *x, enum err err)
{
    struct relay *r = &x->relay;
    const struct err_row *row = err_row(err);
    char event[256];
    int length = snprintf(event, sizeof event,
                          "%sdata: {\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,"
                          "\"code\":\"%s\"}}\n\n",
                          x->llm ? "" : "event: error\n", row->text, row->type, row->code);
    bool framed =
        r->emit == EMIT_CHUNKED || (r->body.chunked.keep_frames && chunk_at_boundary(&r->body.chunked));
    x->conn->keep = false;
    x->conn->abort = true;
    if (!r->is_event_stream || !r->event_boundary || !framed || x->conn->out.pending.n)
        return;
    char size[20];
    struct iovec parts[3] = {
        {size, chunk_head((size_t)length, size)}, {event, (size_t)length}, {(void *)(uintptr_t) "\r\n", 2}};
    enum err ignored = outflow_sendv(&x->conn->out, parts, 3); /* the connection is given up in any case */
    (void)ignored;
    x->conn->abort = false; /* no reset: it could destroy the event; the missing last chunk tells the rest */
}

/* The drain deadline came, it was not the client that left. */
bool exchange_is_cut_by_drain(const struct exchange *x, enum err err)
{
    return err == ERR_CANCELLED && x->conn->server->draining && !conn_is_abandoned(x->conn);
}

static enum err tunnel(struct task *t, struct exchange *x)
{
    x->conn->keep = false;
    x->relay.idle_ms = MAX(x->snapshot->settings.stream_idle_ms, (uint64_t)3600 * 1000);
    enum err err = relay_tunnel(t, &x->relay);
    if (!exchange_is_cut_by_drain(x, err))
        return err;
    if (frame_meter_may_close(&x->relay.frames) && x->conn->out.pending.n == 0)
        err = outflow_send(&x->conn->out, STR("\x88\x02\x03\xe9")); /* close, 1001 */
    (void)err;                                                      /* it ends in any case */
    return ERR_DRAINING;
}

/* With a precise clock: most of it lies within one turn of the loop. */
void exchange_take_overhead(struct exchange *x, uint64_t queued_ns)
{
    uint64_t total = clock_now() - x->received_at;
    x->overhead_ns = total - MIN(total, x->upstream_ns + queued_ns);
}

static enum err answer_relay(struct task *t, struct exchange *x)
{
    struct head *response = x->worker->response_head;
    struct relay *r = &x->relay;
    bool switched = response->status == 101;
    bool reusable = head_keeps_alive(response);
    TRY(forward_response_head(x, response));
    x->status = response->status;
    x->answered_at = task_now(t);
    exchange_take_overhead(x, x->lease.queued_ns);
    trail_add(TRAIL_ANSWER, x->answered_at, x->request.id, response->status);
    enum err err = relay_begin_response(t, r, buf_str(&x->head), &x->error);
    if (!x->conn->answered)
        return err;
    if (err == OK && switched)
        return tunnel(t, x);
    if (err == OK)
        err = relay_finish_response(t, r, &x->error);
    if (err == OK) {
        upstream_release(x->up, reusable && relay_upstream_reusable(r));
        x->up = NULL;
        request_discard_body(t, x->conn, &x->request);
        return OK;
    }
    if (exchange_is_cut_by_drain(x, err))
        err = ERR_DRAINING;
    if (err != ERR_CANCELLED)
        exchange_break_off(x, err);
    return err;
}

static enum err proxy(struct task *t, struct exchange *x)
{
    TRY(forward_check(x));
    if (waiting_page_wanted(x)) {
        enum err err = waiting_page_send(t, x);
        if (!fallback_covers(x, err))
            return err;
    }
    TRY(lease_take(t, x));
    trail_add(TRAIL_FORWARD, task_now(t), x->request.id, x->attempts);
    TRY(attempts_run(t, x));
    return answer_relay(t, x);
}

/* ---- the story ------------------------------------------------------------------------------------------
 */

static bool is_health(const struct exchange *x)
{
    return x->route.kind == ROUTE_API && x->route.api->access == ACCESS_OPEN;
}

/* Who may not call is not told what exists: the key comes before the 404. */
static enum err admit(struct exchange *x)
{
    enum err routed = route_find(x); /* 404 405 */
    access_log_begin(x);
    if (x->conn->server->draining && !is_health(x))
        return ERR_DRAINING;
    TRY(auth_require(x)); /* 401 */
    return routed;
}

static enum err exchange_run(struct task *t, struct exchange *x)
{
    TRY(request_read(t, x->conn, &x->request, &x->error)); /* 400 408 413 414 417 431 501 505 */
    x->received_at = task_now(t);
    trail_add(TRAIL_REQUEST, x->received_at, x->request.id, x->conn->sock.watch.fd);
    TRY(admit(x));
    switch (x->route.kind) {
    case ROUTE_API:
        return call_api(t, x);
    case ROUTE_REDIRECT:
        return redirect(t, x);
    case ROUTE_OPTIONS:
        return answer_options(t, x);
    case ROUTE_LLM:
        return llm_serve(t, x);
    default:
        return proxy(t, x);
    }
}

/* "GET, HEAD, POST": what the routes of that path take. */
static void add_allow(struct buf *out, uint32_t methods)
{
    const char *comma = "";
    if (methods >> METHOD_GET & 1)
        methods |= 1u << METHOD_HEAD;
    buf_add_c(out, "Allow: ");
    for (int m = 0; m < METHOD_COUNT; m++) {
        if (!(methods >> m & 1))
            continue;
        buf_add_c(out, comma);
        buf_add_str(out, method_name((enum method)m));
        comma = ", ";
    }
    buf_add_c(out, "\r\n");
}

static enum err send_error(struct task *t, struct exchange *x)
{
    struct buf fields CLEANUP(buf_free) = BUF(1024);
    if (x->error.err == ERR_METHOD_NOT_ALLOWED && x->route.allowed)
        add_allow(&fields, x->route.allowed);
    if (x->route.api && x->route.api->access == ACCESS_ADMIN)
        head_add(&fields, STR("Cache-Control"), STR("no-store"));
    return response_send_error_fields(t, x->conn, &x->request, &x->error, x->retry_after, buf_str(&fields));
}

/* What is left to do for an exchange that failed: the client hears why, unless it has gone or has half an
 * answer. */
static void exchange_fail(struct task *t, struct exchange *x, enum err err)
{
    if (x->error.err != err)
        x->error = (struct error){.err = err};
    attempt_drop(x); /* what it sent may still lie in the scratch */
    if (err == ERR_END || err == ERR_CANCELLED || err == ERR_RESET || x->conn->sock.broken) {
        x->status = x->status ? x->status : 499;
        x->conn->keep = false;
        x->conn->abort = x->conn->answered;
        return;
    }
    if (err == ERR_NOMEM || err == ERR_HTTP_SYNTAX)
        x->conn->keep = false; /* bytes of it may have been lost, or mean something else */
    if (x->conn->answered) {
        if (x->conn->keep)
            x->conn->abort = true;
        x->conn->keep = false;
        return;
    }
    x->status = err_row(err)->status ? err_row(err)->status : 500;
    if (send_error(t, x) != OK)
        x->conn->keep = false;
}

static struct exchange *exchange_new(struct worker *w, struct conn *c)
{
    struct list *node = list_pop_front(&w->free_exchanges);
    struct exchange *x = node ? CONTAINER_OF(node, struct exchange, node) : mem_alloc(sizeof *x);
    if (!x)
        return NULL;
    if (node)
        w->free_exchange_count--;
    x->worker = w;
    x->conn = c;
    x->held = worker_hold(w);
    x->snapshot = x->held->shared;
    x->route = (struct route){0};
    x->lease = (struct lease){0};
    x->websocket = x->on_fallback = x->reframe = false;
    x->llm = NULL;
    x->asked.service = NULL;
    x->client = NULL;
    x->strategy = NULL;
    x->error.err = OK;
    x->error.why[0] = '\0';
    x->retry_after = x->attempts = x->status = 0;
    x->up = NULL;
    x->sent_at = x->answered_at = x->upstream_ns = 0;
    x->out_before = c->out.sent - c->head_bytes;
    x->head.max = 128 << 10;
    return x;
}

static void exchange_free(struct exchange *x)
{
    llm_free(x);
    request_free(&x->request);
    buf_free(&x->replay);
    buf_free(&x->head);
    mem_free(x);
}

void exchanges_free(struct worker *w)
{
    struct list *node;
    while ((node = list_pop_front(&w->free_exchanges)))
        exchange_free(CONTAINER_OF(node, struct exchange, node));
}

/* Everything that was taken is given back, in the order in which others wait for it. */
static void exchange_end(struct exchange *x)
{
    struct worker *w = x->worker;
    if (x->up)
        upstream_release(x->up, false);
    x->up = NULL;
    llm_end(x);
    lease_release(&x->lease, w->loop);
    access_log_end(x);
    llm_rest(x);
    worker_let_go(x->held);
    request_reset(&x->request);
    buf_free(&x->replay);
    if (w->free_exchange_count >= FREE_EXCHANGES_MAX) {
        exchange_free(x);
        return;
    }
    list_push_front(&w->free_exchanges, &x->node);
    w->free_exchange_count++;
}

void exchange_serve(struct task *t, struct conn *c)
{
    struct worker *w = c->server->owner;
    struct exchange *x = exchange_new(w, c);
    if (!x) {
        c->keep = false;
        return;
    }
    x->end = exchange_run(t, x);
    if (x->end != OK)
        exchange_fail(t, x, x->end);
    if (x->end == ERR_HTTP_SYNTAX)
        limit_syntax_error(x);
    trail_add(TRAIL_END, task_now(t), x->request.id, x->status);
    exchange_end(x);
}
