/* What is remembered of an exchange: log lines and metric cells (contract of section 6). */
#include "gateway/exchange.h"

/* The dispatcher stands beside the services (contract 6.2): whom it asked is counted there. */
static label service_label_of(const struct exchange *x)
{
    if (x->route.kind == ROUTE_API && x->route.api == gateway_routes)
        return worker_label(x->worker, "dispatcher");
    return x->route.service && x->route.kind != ROUTE_API ? (label)x->route.service->label : 0;
}

static label method_label(const struct exchange *x)
{
    return worker_label(x->worker, method_name(x->request.head.method).p);
}

void access_log_begin(struct exchange *x)
{
    struct log_line l;
    const struct request *r = &x->request;
    metric_add(x->worker->metrics, METRIC_REQUESTS,
               LABELS(service_label_of(x), method_label(x), worker_label(x->worker, x->route.label_path)), 1);
    if (!log_begin(&l, LOG_DEBUG, "request_start", "%.*s %.*s", STR_ARG(r->head.method_text),
                   STR_ARG(str_first(r->target.path, 1024))))
        return;
    json_key_c(&l.json, "request_id", r->id);
    json_key_str(&l.json, "method", r->head.method_text);
    json_key_str(&l.json, "path", str_first(r->target.path, 2048));
    if (x->route.service)
        json_key_str(&l.json, "service_id", x->route.service->config->id);
    json_key_object(&l.json, "metadata");
    json_key_str(&l.json, "user_agent", str_first(head_value(&r->head, FIELD_USER_AGENT), 256));
    json_key_str(&l.json, "client_ip", conn_peer(x->conn));
    log_end(&l);
}

static void count(struct exchange *x, uint64_t now, uint64_t bytes)
{
    struct metric_set *m = x->worker->metrics;
    label service = service_label_of(x), method = method_label(x);
    label path = worker_label(x->worker, x->route.label_path);
    label status = label_number((unsigned)x->status);
    metric_add(m, METRIC_RESPONSES, LABELS(service, method, path, status), 1);
    metric_observe(m, METRIC_REQUEST_DURATION, LABELS(service, method, path), now - x->request.started);
    metric_observe(m, METRIC_RESPONSE_SIZE, LABELS(method, path), bytes);
    if (x->end != OK)
        metric_add(m, METRIC_REQUEST_ERRORS,
                   LABELS(service, method, path, worker_label(x->worker, err_row(x->end)->code)), 1);
    if (x->answered_at)
        metric_observe(m, METRIC_OVERHEAD, LABELS(service), x->overhead_ns);
    if (!x->attempts || !x->route.service)
        return;
    metric_add(m, METRIC_PROXY_REQUESTS, LABELS(service, method), 1);
    metric_add(
        m, METRIC_ROUTING_DECISIONS,
        LABELS(service, worker_label(x->worker, x->on_fallback                             ? "fallback"
                                                : x->route.service->config->instance_count ? "load_balancer"
                                                                                           : "base_url")),
        1);
    if (x->answered_at)
        metric_observe(m, METRIC_PROXY_DURATION, LABELS(service, method, status), now - x->sent_at);
}

static void write_end(struct exchange *x, uint64_t now, uint64_t bytes)
{
    struct log_line l;
    const struct request *r = &x->request;
    double ms = (double)(now - r->started) / 1e6;
    struct str path = r->target.path.n ? r->target.path : r->head.target;
    const struct snapshot_service *service = x->route.service ? x->route.service : x->asked.service;
    enum err err = x->end == OK && x->asked.service ? x->asked.err : x->end;
    if (!log_begin(&l, LOG_INFO, "request_end", "%.*s %.*s - %d (%.1fms)", STR_ARG(r->head.method_text),
                   STR_ARG(str_first(path, 1024)), x->status, ms))
        return;
    json_key_c(&l.json, "request_id", r->id);
    if (service)
        json_key_str(&l.json, "service_id", service->config->id);
    json_key_double(&l.json, "duration_ms", ms, 3);
    json_key_i64(&l.json, "status_code", x->status);
    if (x->asked.service && x->asked.err == OK)
        json_key_i64(&l.json, "upstream_status", x->asked.status);
    json_key_str(&l.json, "method", r->head.method_text);
    json_key_str(&l.json, "path", str_first(path, 2048));
    if (err != OK)
        json_key_c(&l.json, "error", x->error.err == err ? error_text(&x->error) : err_row(err)->text);
    if (x->llm)
        llm_log(x->llm, &l.json);
    json_key_object(&l.json, "metadata");
    json_key_u64(&l.json, "content_length", bytes);
    json_key_i64(&l.json, "attempts", x->attempts);
    if (x->lease.waited)
        json_key_double(&l.json, "queue_ms", (double)x->lease.queued_ns / 1e6, 3);
    log_end(&l);
}

static void write_proxy_end(struct exchange *x, uint64_t now)
{
    struct log_line l;
    double ms = (double)(now - x->sent_at) / 1e6;
    if (!log_begin(&l, LOG_DEBUG, "proxy_end", "Proxy response from %.*s: %d (%.1fms)",
                   STR_ARG(x->place.origin->name), x->status, ms))
        return;
    json_key_c(&l.json, "request_id", x->request.id);
    json_key_str(&l.json, "service_id", x->route.service->config->id);
    json_key_i64(&l.json, "status_code", x->status);
    json_key_double(&l.json, "duration_ms", ms, 3);
    json_key_object(&l.json, "metadata");
    json_key_str(&l.json, "target_url", x->place.origin->name);
    log_end(&l);
}

/* As they went over the wire: with the framing of chunks. */
static uint64_t body_bytes(const struct exchange *x)
{
    const struct conn *c = x->conn;
    uint64_t not_body = c->head_bytes + x->out_before;
    return c->out.sent - MIN(c->out.sent, not_body); /* of a client that left not even the head may be sent */
}

void access_log_end(struct exchange *x)
{
    uint64_t now = x->worker->loop->now;
    uint64_t bytes = body_bytes(x);
    if (x->end == ERR_END || (x->end == ERR_RESET && !x->request.head.field_count))
        return; /* no request came */
    if (!x->route.label_path)
        x->route.label_path = "malformed";
    count(x, now, bytes);
    if (x->answered_at && x->route.service)
        write_proxy_end(x, now);
    write_end(x, now, bytes);
}
