/*
 * Attempts: one request may be sent more than once, by three different rules (details.md section 2):
 * reconnect (a kept-alive connection died before a byte came), service retry (retry_count, other instances),
 * fallback_url. All of them only before the first byte of a response reached the client. Runs in the
 * exchange's task.
 */
#include "gateway/exchange.h"

enum { CONNECT_MS = 5000, RETRY_COST = 10, RETRY_EARN = 2, RETRY_RESERVE = 100 * RETRY_COST };

void attempt_drop(struct exchange *x)
{
    if (x->up)
        upstream_release(x->up, false);
    x->up = NULL;
}

/* ---- one attempt ----------------------------------------------------------------------------------------
 */

static void log_attempt(struct exchange *x, const char *reason)
{
    struct log_line l;
    metric_add(x->worker->metrics, METRIC_UPSTREAM_ATTEMPTS,
               LABELS((label)x->route.service->label, worker_label(x->worker, reason)), 1);
    if (!log_begin(&l, LOG_DEBUG, "proxy_start", "Proxying %.*s %.*s to %.*s",
                   STR_ARG(x->request.head.method_text), STR_ARG(str_first(x->route.path, 1024)),
                   STR_ARG(x->place.origin->name)))
        return;
    json_key_c(&l.json, "request_id", x->request.id);
    json_key_str(&l.json, "service_id", x->route.service->config->id);
    json_key_str(&l.json, "method", x->request.head.method_text);
    json_key_str(&l.json, "path", str_first(x->route.path, 2048));
    json_key_c(&l.json, "resolution_reason", reason);
    json_key_object(&l.json, "metadata");
    json_key_str(&l.json, "target_url", x->place.origin->name);
    log_end(&l);
}

static enum err connection_get(struct task *t, struct exchange *x, bool fresh)
{
    x->up = fresh ? NULL : upstream_take(t, x->worker->pool, x->place.origin);
    if (LIKELY(x->up != NULL))
        return OK;
    TRY(inflow_settle(&x->conn->in));
    TRY(conn_let_go(x->conn));
    uint64_t begun = clock_now();
    enum err err = upstream_acquire(t, x->worker->pool, x->place.origin, true, task_deadline(t, CONNECT_MS),
                                    &x->up, &x->error);
    exchange_waited(x, begun);
    conn_take_back(x->conn);
    return err == OK && conn_is_abandoned(x->conn) ? ERR_CANCELLED : err;
}

static void relay_prepare(struct exchange *x)
{
    const struct service_config *config = x->route.service->config;
    struct relay *r = &x->relay;
    bool keep_replay = config->retry_count > 1 || config->instance_count > 1 || x->route.service->fallback ||
                       method_is_idempotent(x->request.head.method);
    bool complete = r->replay_complete;
    *r = (struct relay){
        .client = x->conn,
        .request = &x->request,
        .up = x->up,
        .replay = keep_replay ? &x->replay : NULL,
        .replay_complete = complete,
        .first_byte_ms = config->first_byte_timeout_ms,
        .idle_ms = x->snapshot->settings.stream_idle_ms,
        .upgrade = x->websocket,
    };
}

static enum err send_and_await(struct task *t, struct exchange *x)
{
    relay_prepare(x);
    TRY(forward_request_head(x, x->place.url));
    if (request_continue(t, x->conn, &x->request) != OK)
        return ERR_CANCELLED;
    TRY(relay_send_head(t, &x->relay, buf_str(&x->head), &x->error));
    x->sent_at = task_now(t);
    uint64_t begun = clock_now();
    enum err err = relay_await_response(t, &x->relay, x->worker->response_head, &x->error);
    exchange_waited(x, begun);
    return err;
}

/* A kept-alive connection that the upstream closed at the very moment we used it (http.md 3.4). */
static bool may_reconnect(const struct exchange *x, enum err err)
{
    return err == ERR_RESET && x->up->reused && !x->conn->sock.broken &&
           (method_is_idempotent(x->request.head.method) || !x->request.body.begun) &&
           relay_is_retryable_body(&x->relay);
}

static enum err attempt_once(struct task *t, struct exchange *x, const char *reason)
{
    x->attempts++;
    log_attempt(x, reason);
    TRY(connection_get(t, x, false));
    enum err err = send_and_await(t, x);
    if (err != OK && may_reconnect(x, err)) {
        attempt_drop(x);
        TRY(connection_get(t, x, true));
        err = send_and_await(t, x);
    }
    if (err == ERR_RESET || err == ERR_IO || err == ERR_TLS)
        return error_set(&x->error, ERR_UPSTREAM_PROTOCOL, "%.*s closed the connection without an answer",
                         STR_ARG(x->place.origin->name));
    return err;
}

/* ---- the rules ------------------------------------------------------------------------------------------
 */

enum outcome {
    OUTCOME_ANSWER,     /* a response to pass on */
    OUTCOME_FINAL,      /* the client's fault, or it left */
    OUTCOME_NO_CONNECT, /* nothing was sent: any method may try again */
    OUTCOME_FAILED,     /* 5xx, time-out, broken answer: only what may be repeated */
};

static enum outcome outcome_of(const struct exchange *x, enum err err)
{
    switch (err) {
    case OK:
        return x->worker->response_head->status >= 500 ? OUTCOME_FAILED : OUTCOME_ANSWER;
    case ERR_UPSTREAM_UNREACHABLE:
        return OUTCOME_NO_CONNECT;
    case ERR_UPSTREAM_TIMEOUT:
    case ERR_UPSTREAM_PROTOCOL:
        return OUTCOME_FAILED;
    default:
        return OUTCOME_FINAL;
    }
}

/* Whether the request may be sent again after this outcome, by its method and by what is left of its body. */
static bool may_repeat(const struct exchange *x, enum outcome outcome)
{
    if (x->conn->answered || x->websocket)
        return false;
    if (outcome == OUTCOME_NO_CONNECT)
        return relay_is_retryable_body(&x->relay);
    return relay_is_retryable_body(&x->relay) &&
           (method_is_idempotent(x->request.head.method) || x->relay.replay != NULL);
}

/* Retries are at most a fifth of the traffic, beyond a reserve (http.md section 7). */
static bool budget_allows(struct exchange *x)
{
    int32_t *tokens = &x->worker->retry_tokens[x->route.service->label % 4096];
    if (*tokens <= -RETRY_RESERVE)
        return false;
    *tokens -= RETRY_COST;
    return true;
}

static void budget_earn(struct exchange *x)
{
    int32_t *tokens = &x->worker->retry_tokens[x->route.service->label % 4096];
    if (*tokens < 0)
        *tokens += RETRY_EARN;
}

/* Waits out retry_delay_ms, but not for a client that has gone. */
static enum err pause_before_retry(struct task *t, struct exchange *x)
{
    uint64_t begun = task_now(t), end = task_deadline(t, x->route.service->config->retry_delay_ms);
    TRY(inflow_settle(&x->conn->in));
    while (task_now(t) < end) {
        if (conn_is_abandoned(x->conn))
            return ERR_CANCELLED;
        if (task_park(t, end) == ERR_CANCELLED)
            return ERR_CANCELLED;
    }
    exchange_waited(x, begun);
    return OK;
}

static const char *failure_text(const struct exchange *x, enum err err, char *dst, size_t dst_size)
{
    if (err != OK)
        return error_text(&x->error);
    struct buf text = BUF(64);
    buf_addf(&text, "status %d", x->worker->response_head->status);
    str_to_c(buf_str(&text), dst, dst_size);
    buf_free(&text);
    return dst;
}

static void log_retry(struct exchange *x, enum err err, uint64_t attempts_max)
{
    struct log_line l;
    char text[64];
    const char *why = failure_text(x, err, text, sizeof text);
    if (!log_begin(&l, LOG_INFO, "proxy_retry", "Retrying request to %.*s (attempt %d/%llu): %s",
                   STR_ARG(x->place.origin->name), x->attempts, (unsigned long long)attempts_max, why))
        return;
    json_key_c(&l.json, "request_id", x->request.id);
    json_key_str(&l.json, "service_id", x->route.service->config->id);
    json_key_i64(&l.json, "attempt", x->attempts);
    json_key_u64(&l.json, "max_attempts", attempts_max);
    json_key_str(&l.json, "target_url", x->place.origin->name);
    json_key_c(&l.json, "error", why);
    log_end(&l);
}

static void log_fallback(struct exchange *x, const char *reason)
{
    struct log_line l;
    const struct service_config *config = x->route.service->config;
    metric_add(x->worker->metrics, METRIC_FALLBACKS,
               LABELS((label)x->route.service->label, worker_label(x->worker, reason)), 1);
    if (!log_begin(&l, LOG_WARNING, "proxy_fallback", "Primary endpoint %.*s failed, trying fallback %.*s",
                   STR_ARG(config->base_url_text), STR_ARG(config->fallback_url_text)))
        return;
    json_key_c(&l.json, "request_id", x->request.id);
    json_key_str(&l.json, "service_id", config->id);
    json_key_str(&l.json, "primary_url", config->base_url_text);
    json_key_str(&l.json, "fallback_url", config->fallback_url_text);
    log_end(&l);
}

static enum err terminal(struct exchange *x, enum err err)
{
    struct log_line l;
    if (err == OK || err == ERR_CANCELLED)
        return err;
    metric_add(x->worker->metrics, METRIC_PROXY_ERRORS,
               LABELS((label)x->route.service->label, worker_label(x->worker, err_row(err)->code),
                      worker_label(x->worker, method_name(x->request.head.method).p)),
               1);
    if (log_begin(&l, LOG_ERROR, "proxy_terminal_error", "All endpoints failed for %.*s: %s",
                  STR_ARG(x->route.service->config->id), error_text(&x->error))) {
        json_key_c(&l.json, "request_id", x->request.id);
        json_key_str(&l.json, "service_id", x->route.service->config->id);
        json_key_i64(&l.json, "attempts", x->attempts);
        json_key_c(&l.json, "final_error", error_text(&x->error));
        log_end(&l);
    }
    return err;
}

/* ---- the sequence ---------------------------------------------------------------------------------------
 */

static enum err fallback_try(struct task *t, struct exchange *x, const char *reason)
{
    const struct snapshot_service *s = x->route.service;
    attempt_drop(x);
    lease_release(&x->lease, x->worker->loop); /* the fallback is no part of the service's life */
    x->on_fallback = true;
    x->place = (struct target_place){.origin = s->fallback, .url = &s->config->fallback_url};
    log_fallback(x, reason);
    return attempt_once(t, x, "fallback");
}

/* On the instances of the service. *outcome says how it ended. */
static enum err service_try(struct task *t, struct exchange *x, enum outcome *outcome)
{
    const struct service_config *config = x->route.service->config;
    uint64_t attempts_max = MAX(config->retry_count, (uint64_t)1);
    uint64_t tried = 0;
    const char *reason = config->instance_count ? "load_balancer" : "base_url";
    for (uint64_t attempt = 1;; attempt++) {
        if (!lease_pick(&x->lease, tried, &x->place)) {
            tried = 0; /* every instance has had its turn */
            if (!lease_pick(&x->lease, tried, &x->place))
                return error_set(&x->error, ERR_SERVICE_UNCONFIGURED, "the service has no instance");
        }
        tried |= (uint64_t)1 << (x->place.instance % 64);
        enum err err = attempt_once(t, x, attempt == 1 ? reason : "retry");
        *outcome = outcome_of(x, err);
        lease_report(&x->lease, &x->place, *outcome == OUTCOME_ANSWER || *outcome == OUTCOME_FINAL);
        if (*outcome == OUTCOME_ANSWER || *outcome == OUTCOME_FINAL || attempt >= attempts_max ||
            !may_repeat(x, *outcome) || (*outcome == OUTCOME_FAILED && config->retry_count <= 1) ||
            !budget_allows(x))
            return err;
        log_retry(x, err, attempts_max);
        attempt_drop(x);
        TRY(pause_before_retry(t, x));
    }
}

enum err attempts_run(struct task *t, struct exchange *x)
{
    enum outcome outcome = OUTCOME_NO_CONNECT;
    enum err err = ERR_UPSTREAM_UNREACHABLE;
    x->relay = (struct relay){.request = &x->request, .replay_complete = true};
    x->request.body.chunked.keep_frames = true;
    budget_earn(x);
    if (x->on_fallback)
        return terminal(x, fallback_try(t, x, "not_ready"));
    err = service_try(t, x, &outcome);
    bool failed = outcome == OUTCOME_FAILED || outcome == OUTCOME_NO_CONNECT;
    if (failed && x->route.service->fallback && may_repeat(x, outcome))
        err = fallback_try(t, x, outcome == OUTCOME_FAILED ? "failed" : "unreachable");
    return terminal(x, err);
}
