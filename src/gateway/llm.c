/*
 * The life of a completion: body and approach, the pool's queue, one provider after the other until one
 * answers, the answer with its usage read on the way. Runs in the exchange's task.
 */
#include "gateway/llm.h"

#include "base/json.h"
#include "base/mem.h"

enum { KEPT_MAX = 64 << 10 };

/* ---- reading what is asked ------------------------------------------------------------------------------
 */

static const struct config *config_of(const struct llm_call *l)
{
    return l->x->snapshot->config;
}

static struct provider_pool *pool_of(const struct llm_call *l)
{
    return l->x->snapshot->providers;
}

static enum err body_read(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    uint64_t max = config_of(l)->server.limits.llm_body;
    l->raw.max = max ? max : (size_t)1 << 40;
    if (l->raw.cap > l->raw.max)
        buf_free(&l->raw); /* a reload has lowered the limit */
    TRY(request_read_body(t, x->conn, &x->request, &l->raw, &x->error));
    x->received_at = task_now(t);
    const char *param = NULL;
    enum err err = llm_body_scan(&x->request.arena, buf_str(&l->raw), &l->body, &param, &x->error);
    x->error.param = param;
    return err;
}

static enum err approach_read(struct llm_call *l)
{
    struct exchange *x = l->x;
    const char *param = NULL;
    struct approach_plan plan;
    static const struct str pool_slugs[] = {{"proxy-", 6}, {"none-", 5}};
    struct str model = l->body.model;
    bool listed = provider_pool_lists(pool_of(l), model);
    for (size_t i = 0; !listed && i < COUNT_OF(pool_slugs);
         i++) /* "proxy-" before a listed model whose name begins like a slug */
        if (str_starts(model, pool_slugs[i]) &&
            (listed = provider_pool_lists(pool_of(l), str_from(model, pool_slugs[i].n))))
            model = str_from(model, pool_slugs[i].n);
    enum err err =
        approach_parse(&x->request.arena, model, l->body.approach_text, x->worker->gateway->approach,
                       l->body.wrap_text, listed, &plan, &param, &x->error);
    x->error.param = err == ERR_BAD_REQUEST ? param : NULL;
    l->model = plan.model;
    return err;
}

/* ---- waiting --------------------------------------------------------------------------------------------
 */

uint64_t llm_tick_ms(const struct llm_call *l)
{
    return l->body.stream && l->x->request.head.minor >= 1 ? config_of(l)->queue.keepalive_ms : 0;
}

static enum err commit(struct llm_call *l)
{
    struct exchange *x = l->x;
    struct buf *out = &x->head;
    buf_clear(out);
    buf_add_c(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
        "X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n");
    buf_add_str(out, date_line(x->worker->loop));
    head_add(out, STR("X-Request-ID"), str_from_c(x->request.id));
    if (!x->conn->keep)
        buf_add_c(out, "Connection: close\r\n");
    buf_add_c(out, "\r\n");
    TRY(buf_err(out));
    l->committed = true;
    x->conn->answered = true;
    x->conn->head_bytes += out->n;
    x->status = 200;
    return outflow_send(&x->conn->out, buf_str(out));
}

/* A comment tells the client, and every proxy between, that somebody is there. */
enum err llm_keep_alive(struct task *t, void *call)
{
    struct llm_call *l = call;
    struct exchange *x = l->x;
    if (!l->committed)
        TRY(commit(l));
    return response_write(t, x->conn, &x->request, STR(": waiting\n\n"));
}

static uint64_t fairness_key(const struct exchange *x)
{
    if (x->conn->credential.epoch)
        return str_hash(str_make(x->conn->credential.text, x->conn->credential.length));
    return str_hash(conn_peer(x->conn));
}

static enum err queue_enter(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    struct gate *gate = provider_pool_gate(pool_of(l));
    uint64_t begun = task_now(t);
    if (!gate_enter_now(gate)) {
        TRY(inflow_settle(&x->conn->in));
        enum err err =
            gate_enter(t, gate, fairness_key(x), x->conn, task_deadline(t, config_of(l)->queue.timeout_ms),
                       llm_keep_alive, l, llm_tick_ms(l));
        l->queued_ns += task_now(t) - begun;
        if (err == ERR_QUEUE_TIMEOUT)
            return error_set(&x->error, err, "the request waited %llu s for its turn (queue.timeout)",
                             (unsigned long long)(config_of(l)->queue.timeout_ms / 1000));
        TRY(err);
    }
    l->gate = gate_ref(gate);
    metric_observe(x->worker->metrics, METRIC_LLM_QUEUE_WAIT, LABELS(0), l->queued_ns);
    return OK;
}

/* ---- from provider to provider --------------------------------------------------------------------------
 */

/* The next one that has a slot; when all that could serve are busy, a short wait for the best. */
static enum err provider_next(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    uint64_t begun = task_now(t);
    l->provider = provider_pick(pool_of(l), &l->tour, l->model, begun);
    if (l->provider)
        return OK;
    if (!l->tour.slots_only)
        return ERR_NO_HEALTHY_PROVIDERS;
    struct provider_wait wait = {fairness_key(x), x->conn, llm_keep_alive, l, llm_tick_ms(l)};
    TRY(inflow_settle(&x->conn->in));
    enum err err = provider_pick_wait(t, pool_of(l), &l->tour, l->model, &wait, &l->provider);
    l->queued_ns += task_now(t) - begun;
    return err == ERR_QUEUE_TIMEOUT ? ERR_AGAIN : err; /* that one stays busy: look at the rest */
}

enum err llm_tour(struct task *t, struct llm_call *l)
{
    for (;;) {
        enum err err = provider_next(t, l);
        if (err == ERR_AGAIN)
            continue;
        TRY(err);
        err = llm_attempt(t, l);
        if (llm_is_over(err) || l->answer_is_final)
            return err;
        attempt_drop(l->x);
        lease_release(&l->x->lease, l->x->worker->loop);
        if (conn_is_abandoned(l->x->conn))
            return ERR_CANCELLED;
    }
}

/* ---- failing --------------------------------------------------------------------------------------------
 */

/* The status on which all answers agree; 0 where they do not. */
static int common_status(const struct llm_call *l)
{
    int status = l->failure_count ? l->failures[0].status : 0;
    for (int i = 1; i < l->failure_count; i++)
        if (l->failures[i].status != status)
            return 0;
    return status;
}

/* An upstream's own answer, where it speaks for all. */
static enum err answer_failure(struct task *t, struct llm_call *l, const struct llm_failure *f)
{
    struct exchange *x = l->x;
    struct response response = {.status = f->status, .content_type = f->content_type, .body = f->body};
    buf_add_str(&response.fields, f->fields);
    llm_add_fields(l, &response.fields);
    head_add(&response.fields, STR("X-Hestia-Error-Source"), STR("upstream"));
    if (f->status == 429 || f->status == 503)
        buf_addf(&response.fields, "Retry-After: %d\r\n", x->retry_after ? x->retry_after : 1);
    x->status = f->status;
    llm_account_settle(l);
    return response_send(t, x->conn, &x->request, &response);
}

static enum err all_failed(struct llm_call *l, enum err err)
{
    struct exchange *x = l->x;
    struct buf text = BUF(sizeof x->error.why);
    if (l->failure_count == 0)
        return error_set(&x->error, err, "No healthy providers available%s",
                         l->tour.busy ? ": all are at max_concurrent" : "");
    for (int i = 0; i < l->failure_count; i++)
        buf_addf(&text, "%s%.*s: %.*s", i ? "; " : "", STR_ARG(l->failures[i].provider),
                 STR_ARG(str_first(l->failures[i].why, 120)));
    error_set(&x->error, ERR_ALL_PROVIDERS_FAILED, "All providers failed: %.*s", STR_ARG(buf_str(&text)));
    buf_free(&text);
    return ERR_ALL_PROVIDERS_FAILED;
}

/* The stream is open already: what went wrong comes as an event, and no [DONE]. */
static enum err fail_committed(struct task *t, struct llm_call *l, enum err err)
{
    struct exchange *x = l->x;
    struct buf event = BUF(64 << 10);
    if (x->error.err != err)
        x->error = (struct error){.err = err};
    buf_add_c(&event, "data: ");
    error_write_json(&event, &x->error, false);
    buf_add_c(&event, "\n");
    llm_account_settle(l);
    enum err sent = response_write(t, x->conn, &x->request, buf_str(&event));
    buf_free(&event);
    TRY(sent);
    return response_end_stream(t, x->conn, &x->request);
}

/* Our own error, which says too how many providers were asked. */
static enum err fail_plain(struct task *t, struct llm_call *l, enum err err)
{
    struct exchange *x = l->x;
    struct buf fields = BUF(16 << 10);
    if (x->error.err != err)
        x->error = (struct error){.err = err};
    if (x->attempts)
        llm_add_fields(l, &fields);
    else
        llm_account_fields(l, &fields);
    x->status = err_row(err)->status;
    llm_account_settle(l);
    enum err sent =
        response_send_error_fields(t, x->conn, &x->request, &x->error, x->retry_after, buf_str(&fields));
    buf_free(&fields);
    return sent;
}

static enum err fail(struct task *t, struct llm_call *l, enum err err)
{
    const struct llm_failure *last = l->failure_count ? &l->failures[l->failure_count - 1] : NULL;
    int status = common_status(l);
    if (err == ERR_CANCELLED) {
        l->x->status = 0; /* it left before anybody answered, comments or not */
        return err;
    }
    l->outcome = ENTRY_FAILED;
    attempt_drop(l->x);
    if (l->is_auto && !l->committed && err == ERR_ALL_PROVIDERS_FAILED)
        return llm_auto_answer(t, l);
    if (!l->committed && err != ERR_NOMEM && last && last->status && (l->answer_is_final || status))
        return answer_failure(t, l, last);
    if (last && err != ERR_BAD_REQUEST && err != ERR_NOMEM)
        err = all_failed(l, err);
    else if (err == ERR_NO_HEALTHY_PROVIDERS && !l->x->error.why[0])
        err = all_failed(l, err);
    return l->committed ? fail_committed(t, l, err) : fail_plain(t, l, err);
}

/* ---- answering ------------------------------------------------------------------------------------------
 */

static enum err answer(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    struct relay *r = &x->relay;
    x->status = l->upstream_status;
    x->answered_at = task_now(t);
    llm_account_answer(l);
    enum err err = relay_begin_response(t, r, l->committed ? STR_NONE : buf_str(&x->head), &x->error);
    if (err == OK)
        err = relay_finish_response(t, r, &x->error);
    metric_observe(x->worker->metrics, METRIC_LLM_TTFT, LABELS(l->served_label), l->head_ns);
    if (err == OK) {
        l->outcome = ENTRY_OK;
        llm_report(l, PROVIDER_OK, "ok", 0, NULL);
        upstream_release(x->up, l->keeps_alive && relay_upstream_reusable(r));
        x->up = NULL;
        return OK;
    }
    bool drained = exchange_is_cut_by_drain(x, err);
    enum provider_outcome outcome = err == ERR_CANCELLED ? PROVIDER_CANCELLED : PROVIDER_FAILED;
    llm_report(l, outcome, llm_result(outcome, 0, err), 0, error_text(&x->error));
    if (drained)
        err = ERR_DRAINING;
    l->outcome = err == ERR_CANCELLED ? ENTRY_CANCELLED : ENTRY_FAILED;
    if (err != ERR_CANCELLED)
        exchange_break_off(x, err);
    return err;
}

/* ---- the story ------------------------------------------------------------------------------------------
 */

static enum err llm_run(struct task *t, struct llm_call *l)
{
    TRY(body_read(t, l));      /* 400 413 */
    TRY(approach_read(l));     /* 400 501 */
    TRY(llm_select(l));        /* 403 404 503 */
    TRY(llm_account_admit(l)); /* 429 */
    TRY(queue_enter(t, l));    /* 503 */
    TRY(llm_account_open(l));  /* 503 */
    return l->is_auto ? llm_auto_tour(t, l) : llm_tour(t, l);
}

enum err llm_serve(struct task *t, struct exchange *x)
{
    struct llm_call *l = x->llm_kept ? x->llm_kept : mem_alloc(sizeof *l);
    if (!l)
        return ERR_NOMEM;
    memset(l, 0, offsetof(struct llm_call, failures));
    x->llm = x->llm_kept = l;
    l->x = x;
    enum err err = llm_run(t, l);
    return err == OK ? answer(t, l) : fail(t, l, err);
}

void llm_log(const struct llm_call *l, struct json *j)
{
    const struct exchange *x = l->x;
    if (x->client)
        json_key_str(j, "client", x->client->config.id);
    json_key_str(j, "strategy", x->strategy->config.id);
    json_key_str(j, "model", str_first(l->body.model, 256));
    if (l->served.n) {
        json_key_str(j, "provider", l->served);
        json_key_str(j, "sent_model", l->sent_model);
    }
    if (!l->failure_count)
        return;
    json_key_array(j, "failed_attempts");
    for (int i = 0; i < l->failure_count; i++) {
        const struct llm_failure *f = &l->failures[i];
        json_put_object(j);
        json_key_str(j, "provider", f->provider);
        json_key_str(j, "model", str_first(f->model, 256));
        json_key_c(j, "outcome", f->outcome);
        json_key_i64(j, "status", f->status);
        json_end(j);
    }
    json_end(j);
}

void llm_end(struct exchange *x)
{
    struct llm_call *l = x->llm;
    if (!l)
        return;
    if (l->provider)
        llm_report(l, PROVIDER_CANCELLED, "cancelled", 0, NULL);
    llm_account_settle(l);
    if (l->gate) {
        gate_leave(l->gate);
        gate_unref(l->gate);
    }
}

/* Small ones serve the next request, too. */
static void keep_or_free(struct buf *b)
{
    if (b->cap > KEPT_MAX)
        buf_free(b);
    buf_clear(b);
}

void llm_rest(struct exchange *x)
{
    struct llm_call *l = x->llm;
    if (!l)
        return;
    event_filter_free(&l->events);
    keep_or_free(&l->raw);
    keep_or_free(&l->held);
    keep_or_free(&l->filtered);
    x->llm = NULL;
}

void llm_free(struct exchange *x)
{
    struct llm_call *l = x->llm_kept;
    if (!l)
        return;
    buf_free(&l->raw);
    buf_free(&l->held);
    buf_free(&l->filtered);
    mem_free(l);
}
