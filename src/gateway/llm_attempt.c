/*
 * One provider's try at a completion: connection, request, response head, and of a stream the first event,
 * before the client has seen anything. What is wrong with an answer is classed by its status first
 * (contract/hulumanage 2.3, details.md 14).
 */
#include "gateway/llm.h"

#include "base/num.h"

enum { ERROR_BODY_MS = 10000, HELD_MAX = 2 << 20 };

static const struct config *config_of(const struct llm_call *l)
{
    return l->x->snapshot->config;
}

/* ---- the record -----------------------------------------------------------------------------------------
 */

static void failure_add(struct llm_call *l, int status, struct str why)
{
    struct llm_failure *f = &l->failures[MIN(l->failure_count, LLM_ATTEMPTS_MAX - 1)];
    l->failure_count = MIN(l->failure_count + 1, LLM_ATTEMPTS_MAX);
    *f = (struct llm_failure){.provider = provider_config_of(l->provider)->name,
                              .model = l->sent_model,
                              .outcome = error_class_name(l->error_class),
                              .status = status,
                              .why = why};
}

static const char *failure_class(enum err err)
{
    switch (err) {
    case ERR_UPSTREAM_UNREACHABLE:
        return "connect";
    case ERR_UPSTREAM_TIMEOUT:
        return "timeout";
    case ERR_UPSTREAM_PROTOCOL:
    case ERR_UPSTREAM_TRUNCATED:
        return "protocol";
    default:
        return "failed";
    }
}

const char *llm_result(enum provider_outcome outcome, int status, enum err err)
{
    static const char *const classes[] = {"ok", "failed", "rate_limited", "quota", "auth", "cancelled"};
    if (outcome == PROVIDER_FAILED || (outcome == PROVIDER_OK && status >= 300))
        return status >= 500 ? "server_error" : status ? "client_error" : failure_class(err);
    return classes[outcome];
}

void llm_report(struct llm_call *l, enum provider_outcome outcome, const char *result,
                uint64_t retry_after_ms, const char *why)
{
    struct exchange *x = l->x;
    uint64_t now = x->worker->loop->now;
    uint64_t total = l->attempt_started ? now - l->attempt_started : 0;
    uint64_t head =
        x->relay.first_byte_at > l->attempt_started ? x->relay.first_byte_at - l->attempt_started : total;
    label provider = (label)provider_label(l->provider);
    metric_add(x->worker->metrics, METRIC_LLM_ATTEMPTS, LABELS(provider, worker_label(x->worker, result)), 1);
    if (outcome == PROVIDER_OK)
        metric_observe(x->worker->metrics, METRIC_LLM_DURATION, LABELS(provider), total);
    provider_report(l->provider, &l->tour, outcome, head, total, retry_after_ms, now, why);
    l->provider = NULL;
}

static struct str replace(struct arena *arena, struct str text, struct str from, struct str to)
{
    size_t at = from.n ? str_find_str(text, from) : text.n;
    if (at == text.n)
        return text;
    return arena_printf(arena, "%.*s%.*s%.*s", (int)at, text.p, STR_ARG(to),
                        STR_ARG(str_from(text, at + from.n)));
}

/* Where a provider stands is nobody's business but ours. */
static struct str hide_place(struct llm_call *l, struct str text)
{
    struct arena *arena = &l->x->request.arena;
    const struct origin *origin = l->x->place.origin;
    if (!origin)
        return text;
    struct str rest = str_from(text, origin->name.n);
    if (str_starts(text, origin->name) && str_starts(rest, STR(": "))) /* its name goes before it already */
        return replace(arena, str_from(rest, 2), origin->url.host, STR("its host"));
    text = replace(arena, text, origin->name, STR("it"));
    return replace(arena, text, origin->url.host, STR("its host"));
}

static enum err failed(struct llm_call *l, enum provider_outcome outcome, uint64_t retry_after_ms, int status,
                       const char *why)
{
    struct str text = llm_mask(l, hide_place(l, str_from_c(why)));
    failure_add(l, status, text);
    l->failed_label = (label)provider_label(l->provider);
    l->failed_result = llm_result(outcome, status, l->x->error.err);
    llm_report(l, outcome, l->failed_result, retry_after_ms, text.p ? text.p : "");
    return ERR_UPSTREAM_UNREACHABLE;
}

/* ---- getting there --------------------------------------------------------------------------------------
 */

/* A provider on a service: it is started, and this request counts as its activity. The wait is not the
 * provider's time. */
static enum err place_on_service(struct task *t, struct llm_call *l, struct service *service)
{
    struct exchange *x = l->x;
    struct snapshot_service *s = map_get(&x->snapshot->by_id, provider_config_of(l->provider)->service);
    struct lease_options options = {
        .client = x->conn,
        .deadline = CLOCK_NEVER,
        .request_id = x->request.id,
        .wake = true,
        .on_wait = llm_keep_alive,
        .on_wait_argument = l,
        .tick_ms = llm_tick_ms(l),
    };
    uint64_t begun = task_now(t);
    if (!s)
        return error_set(&x->error, ERR_SERVICE_NOT_FOUND, "its service is gone");
    TRY(inflow_settle(&x->conn->in));
    enum err err = service_lease(t, service, s->config, &options, &x->lease, &x->retry_after, &x->error);
    l->queued_ns += task_now(t) - begun;
    TRY(err);
    return lease_pick(&x->lease, 0, &x->place)
               ? OK
               : error_set(&x->error, ERR_SERVICE_UNCONFIGURED, "it has no instance");
}

static enum err place_find(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    struct service *service = provider_service(l->provider);
    if (service)
        return place_on_service(t, l, service);
    x->place = (struct target_place){.origin = provider_origin(l->provider),
                                     .url = &provider_config_of(l->provider)->base_url};
    return x->place.origin ? OK : error_set(&x->error, ERR_UPSTREAM_UNREACHABLE, "it has no URL");
}

static enum err connection_get(struct task *t, struct llm_call *l, bool fresh)
{
    struct exchange *x = l->x;
    x->up = fresh ? NULL : upstream_take(t, x->worker->pool, x->place.origin);
    if (LIKELY(x->up != NULL))
        return OK;
    TRY(inflow_settle(&x->conn->in));
    uint64_t begun = clock_now();
    enum err err = upstream_acquire(t, x->worker->pool, x->place.origin, true,
                                    task_deadline(t, config_of(l)->timeouts.connect), &x->up, &x->error);
    exchange_waited(x, begun);
    return err;
}

static void relay_prepare(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    const struct llm_timeouts_config *timeouts = &config_of(l)->timeouts;
    bool stream = l->body.stream;
    x->relay = (struct relay){
        .client = x->conn,
        .request = &x->request,
        .up = x->up,
        .first_byte_ms = stream ? timeouts->first_byte : timeouts->request,
        .idle_ms = stream ? timeouts->stream_idle : timeouts->request,
        .total_deadline = stream ? 0 : task_deadline(t, timeouts->request),
        .tap_owner = l,
    };
}

static enum err send_and_await(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    struct llm_parts body;
    struct str parts[LLM_PARTS_MAX + 1];
    relay_prepare(t, l);
    TRY(llm_forward_request(l, x->place.url, &body));
    parts[0] = buf_str(&x->head);
    for (int i = 0; i < body.count; i++)
        parts[i + 1] = body.part[i];
    uint64_t begun = task_now(t);
    enum err err = relay_send_parts(t, &x->relay, parts, body.count + 1, &x->error);
    exchange_waited(x, begun); /* nothing, unless the provider was slow to take it */
    TRY(err);
    x->sent_at = task_now(t);
    begun = clock_now();
    err = relay_await_response(t, &x->relay, x->worker->response_head, &x->error);
    exchange_waited(x, begun);
    return err;
}

static enum err exchange_heads(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    TRY(connection_get(t, l, false));
    enum err err = send_and_await(t, l);
    if (err == ERR_RESET &&
        x->up->reused) { /* a kept-alive connection that was just closed: the body is at hand */
        attempt_drop(x);
        TRY(connection_get(t, l, true));
        err = send_and_await(t, l);
    }
    if (err == ERR_RESET || err == ERR_IO || err == ERR_TLS)
        return error_set(&x->error, ERR_UPSTREAM_PROTOCOL, "it closed the connection without an answer");
    return err;
}

/* ---- answers that are errors ----------------------------------------------------------------------------
 */

static bool never(void *owner)
{
    return false;
}

static uint64_t retry_after_ms(const struct head *response)
{
    uint64_t value;
    struct head *h = (struct head *)(uintptr_t)response;
    const struct field *exact = head_find(h, STR("retry-after-ms"));
    if (exact && num_parse_u64(exact->value, &value))
        return value;
    struct str text = head_value(response, FIELD_RETRY_AFTER);
    if (num_parse_u64(text, &value))
        return MIN(value, (uint64_t)86400) * 1000;
    int64_t at = date_parse(text), now = clock_wall_us() / 1000000;
    return at > now ? (uint64_t)MIN(at - now, (int64_t)86400) * 1000 : 0;
}

static enum provider_outcome outcome_of(int status, struct str body)
{
    switch (status) {
    case 401:
    case 403:
        return PROVIDER_AUTH;
    case 402:
        return PROVIDER_QUOTA;
    case 429:
        return str_find_str(body, STR("insufficient_quota")) < body.n ? PROVIDER_QUOTA
                                                                      : PROVIDER_RATE_LIMITED;
    case 408:
    case 409:
    case 425:
        return PROVIDER_FAILED;
    default:
        return status >= 500 ? PROVIDER_FAILED : PROVIDER_OK;
    }
}

/* The sentence in an error answer, for the list of reasons. */
static const char *sentence(struct llm_call *l, int status, struct str body)
{
    struct arena *arena = &l->x->request.arena;
    size_t at = str_find_str(body, STR("\"message\""));
    struct str text = str_from(body, at + 9);
    at = str_find(text, '"');
    text = str_from(text, at + 1);
    text = str_first(text, MIN(str_find(text, '"'), (size_t)160));
    struct str why = text.n ? arena_printf(arena, "status %d: %.*s", status, STR_ARG(text))
                            : arena_printf(arena, "status %d", status);
    return why.p ? why.p : "it failed";
}

/* Reads the error answer, so that it can be passed on where it speaks for all. */
static enum err error_answer(struct task *t, struct llm_call *l, struct head *response)
{
    struct exchange *x = l->x;
    struct buf body = BUF(LLM_ERROR_BODY_MAX);
    int status = response->status;
    uint64_t wait = retry_after_ms(response);
    struct str type = arena_str(&x->request.arena, head_value(response, FIELD_CONTENT_TYPE));
    TRY(llm_forward_response(l, response));
    struct str fields = llm_error_fields(l, response);
    uint64_t begun = task_now(t);
    enum err err = relay_hold(t, &x->relay, &body, never, task_deadline(t, ERROR_BODY_MS), &x->error);
    exchange_waited(x, begun);
    if (err == ERR_CANCELLED || err == ERR_NOMEM) {
        buf_free(&body);
        return err;
    }
    struct str text = llm_mask(l, buf_str(&body));
    enum provider_outcome outcome = outcome_of(status, text);
    buf_free(&body);
    x->retry_after = wait ? (int)((wait + 999) / 1000) : x->retry_after;
    l->answer_is_final = outcome == PROVIDER_OK;
    l->error_class = error_class_of(status, text);
    err = failed(l, outcome, wait, status, sentence(l, status, text));
    struct llm_failure *f = &l->failures[l->failure_count - 1];
    f->content_type = type;
    f->fields = fields;
    f->body = text;
    return err;
}

/* ---- answers ----------------------------------------------------------------------------------------------
 */

static enum err tap_plain(struct relay *r, struct str *piece, bool last, struct error *error)
{
    struct llm_call *l = r->tap_owner;
    usage_reader_feed(&l->usage, *piece);
    llm_account_count(l);
    return OK;
}

static enum err tap_events(struct relay *r, struct str *piece, bool last, struct error *error)
{
    struct llm_call *l = r->tap_owner;
    buf_clear(&l->filtered);
    enum err err = event_filter_feed(&l->events, *piece, &l->filtered);
    if (err == OK && last)
        err = event_filter_end(&l->events, &l->filtered);
    if (err == OK)
        err = buf_err(&l->filtered);
    llm_account_count(l); /* in the ledger before the client has it */
    *piece = buf_str(&l->filtered);
    if (err == ERR_NOMEM)
        return err;           /* ours, not the provider's */
    r->event_boundary = true; /* only whole events leave the filter */
    return err == OK
               ? OK
               : error_set(error, ERR_UPSTREAM_TRUNCATED, "the upstream's stream has an event beyond 1 MiB");
}

static bool has_first_event(void *owner)
{
    const struct llm_call *l = owner;
    return l->events.saw_event;
}

/* Nothing is promised to the client before the first event: an error in its place can still be another
 * provider's turn. */
static enum err first_event(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    l->held.max = HELD_MAX;
    buf_clear(&l->held);
    uint64_t begun = task_now(t);
    enum err err = relay_hold(t, &x->relay, &l->held, has_first_event,
                              task_deadline(t, config_of(l)->timeouts.first_byte), &x->error);
    exchange_waited(x, begun);
    TRY(err);
    if (l->events.began_with_error)
        return error_set(&x->error, ERR_UPSTREAM_PROTOCOL, "its stream began with an error");
    if (!l->events.saw_event)
        return error_set(&x->error, ERR_UPSTREAM_PROTOCOL, "its stream ended before the first event");
    return OK;
}

static enum err good_answer(struct task *t, struct llm_call *l, struct head *response)
{
    struct exchange *x = l->x;
    bool drop_usage = l->events.drop_usage;
    l->upstream_status = response->status;
    l->keeps_alive = head_keeps_alive(response);
    l->usage = (struct usage_reader){0};
    event_filter_free(&l->events);
    l->events = (struct event_filter){.drop_usage = drop_usage};
    TRY(llm_forward_response(l, response));
    if (l->is_readable)
        x->relay.tap = l->is_stream ? tap_events : tap_plain;
    if (l->is_stream)
        return first_event(t, l);
    if (l->committed)
        return error_set(&x->error, ERR_UPSTREAM_PROTOCOL,
                         "it answered a stream's request with a plain body");
    return OK;
}

static enum provider_outcome outcome_of_err(enum err err)
{
    const struct err_row *row = err_row(err);
    return row->source == SOURCE_GATEWAY && err != ERR_UPSTREAM_UNREACHABLE && err != ERR_QUEUE_TIMEOUT
               ? PROVIDER_CANCELLED
               : PROVIDER_FAILED;
}

/* It takes the place of one that failed. */
static void count_fallback(const struct llm_call *l)
{
    struct worker *w = l->x->worker;
    if (l->failed_label)
        metric_add(
            w->metrics, METRIC_FALLBACKS,
            LABELS(0, worker_label(w, l->failed_result), l->failed_label, (label)provider_label(l->provider)),
            1);
}

enum err llm_attempt(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    struct head *response = x->worker->response_head;
    x->attempts++;
    count_fallback(l);
    x->error.err = OK;
    x->error.why[0] = '\0';
    l->sent_model = provider_model_name(l->provider, l->model);
    l->attempt_started = task_now(t);
    enum err err = place_find(t, l);
    l->attempt_started = task_now(t); /* a cold service's start is not the provider's time */
    if (err == OK)
        err = exchange_heads(t, l);
    if (err == OK && response->status >= 300)
        return error_answer(t, l, response);
    if (err == OK)
        err = good_answer(t, l, response);
    if (err == OK)
        provider_answered(l->provider, &l->tour, task_now(t));
    if (err == OK || err == ERR_CANCELLED || err == ERR_BAD_REQUEST)
        return err;
    if (x->error.err != err)
        x->error = (struct error){.err = err};
    l->error_class = CLASS_UNREACHABLE;
    return failed(l, outcome_of_err(err), 0, 0, error_text(&x->error));
}
