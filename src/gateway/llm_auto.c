/*
 * Auto-routing: the virtual model stands for the strategy's prioritised ones, tried in order until one
 * answers (contract/localrouter 3.3). What rests, is not allowed or not healthy is passed over first; when
 * nothing else is left, it is asked after all. Runs in the exchange's task.
 */
#include "gateway/llm.h"

static const struct model_names *candidates_of(const struct llm_call *l)
{
    return &l->x->strategy->config.auto_config.prioritized;
}

static struct rests *rests_of(const struct llm_call *l)
{
    return l->x->worker->gateway->rests;
}

static void skip(struct llm_call *l, const struct model_name *m, const char *outcome, struct str why)
{
    if (l->failure_count == LLM_ATTEMPTS_MAX)
        return;
    l->failures[l->failure_count++] =
        (struct llm_failure){.provider = m->provider, .model = m->model, .outcome = outcome, .why = why};
}

/* NULL: it may be asked now. */
static const char *reason_to_skip(struct llm_call *l, const struct model_name *m, struct str name)
{
    if (l->tour.filter.allows && !provider_pool_knows(l->x->snapshot->providers, &l->tour.filter, name))
        return "skipped_not_allowed";
    if (!provider_pool_knows(l->x->snapshot->providers, NULL, name))
        return "skipped_unknown";
    if (l->tour.healthy_only && rest_left(rests_of(l), m->provider, m->model, l->x->worker->loop->now, NULL))
        return "skipped_resting";
    return NULL;
}

/* What its failure means for the next requests. */
static void rest(struct llm_call *l, const struct model_name *m)
{
    uint64_t now = l->x->worker->loop->now, wait = (uint64_t)l->x->retry_after * 1000;
    if (l->error_class == CLASS_RATE_LIMITED)
        rest_begin(rests_of(l), m->provider, m->model, REST_RATE, wait, now);
    else if (l->error_class == CLASS_QUOTA)
        rest_begin(rests_of(l), m->provider, m->model, REST_CREDIT, 0, now);
    else if (l->error_class == CLASS_UNSUPPORTED)
        rest_begin(rests_of(l), m->provider, m->model, REST_UNSUPPORTED, 0, now);
}

enum step { STEP_NEXT, STEP_END };

static enum step candidate_try(struct task *t, struct llm_call *l, const struct model_name *m, enum err *err)
{
    struct exchange *x = l->x;
    int before = x->attempts;
    struct str name = arena_printf(&x->request.arena, "%.*s/%.*s", STR_ARG(m->provider), STR_ARG(m->model));
    const char *reason = name.p ? reason_to_skip(l, m, name) : "skipped_memory";
    if (reason) {
        skip(l, m, reason, STR_NONE);
        return STEP_NEXT;
    }
    memset(l->tour.tried, 0, sizeof l->tour.tried);
    l->model = name;
    l->error_class = CLASS_UNREACHABLE;
    *err = llm_tour(t, l);
    if (*err == OK)
        rest_end(rests_of(l), m->provider, m->model);
    if (llm_is_over(*err))
        return STEP_END;
    if (x->attempts == before) {
        skip(l, m, "skipped_unhealthy", STR_NONE);
        return STEP_NEXT;
    }
    attempt_drop(x);
    lease_release(&x->lease, x->worker->loop);
    rest(l, m);
    l->answer_is_final = !error_class_retryable(l->error_class, x->strategy->config.fallback_on_other);
    return l->answer_is_final ? STEP_END : STEP_NEXT;
}

static enum step candidates_try(struct task *t, struct llm_call *l, enum err *err)
{
    const struct model_names *list = candidates_of(l);
    for (size_t i = 0; i < list->count; i++)
        if (candidate_try(t, l, &list->items[i], err) == STEP_END)
            return STEP_END;
    return STEP_NEXT;
}

enum err llm_auto_tour(struct task *t, struct llm_call *l)
{
    enum err err = ERR_NO_HEALTHY_PROVIDERS;
    l->tour.healthy_only = true;
    if (candidates_try(t, l, &err) == STEP_END)
        return err;
    if (l->x->attempts == 0) { /* all rest or are ill: then their own answer is better than none */
        l->tour.healthy_only = false;
        l->failure_count = 0;
        if (candidates_try(t, l, &err) == STEP_END)
            return err;
    }
    return ERR_ALL_PROVIDERS_FAILED;
}

/* ---- when none served -----------------------------------------------------------------------------------
 */

/* The last answer's status; 503 where nobody answered. */
static int last_status(const struct llm_call *l)
{
    for (int i = l->failure_count - 1; i >= 0; i--)
        if (l->failures[i].status)
            return l->failures[i].status;
    return 503;
}

static void write_attempts(const struct llm_call *l, struct json *j)
{
    for (int i = 0; i < l->failure_count; i++) {
        const struct llm_failure *f = &l->failures[i];
        json_put_object(j);
        json_key_str(j, "provider", f->provider);
        json_key_str(j, "model", f->model);
        json_key_c(j, "outcome", f->outcome);
        if (f->status)
            json_key_i64(j, "status", f->status);
        json_end(j);
    }
}

static void write_error(const struct llm_call *l, int status, struct buf *out)
{
    struct buf text = BUF(4096);
    struct json j = json_to(out);
    for (int i = 0; i < l->failure_count; i++) {
        const struct llm_failure *f = &l->failures[i];
        buf_addf(&text, "%s%.*s/%.*s: %s", i ? "; " : "", STR_ARG(f->provider), STR_ARG(f->model),
                 f->outcome);
    }
    json_put_object(&j);
    json_key_object(&j, "error");
    struct buf sentence = BUF(8192);
    buf_addf(&sentence, "All auto-routing models failed: %.*s", STR_ARG(buf_str(&text)));
    json_key_str(&j, "message", buf_str(&sentence));
    json_key_c(&j, "type", status == 429 ? "rate_limit_error" : "server_error");
    json_key_c(&j, "param", "model");
    json_key_c(&j, "code", err_row(ERR_ALL_PROVIDERS_FAILED)->code);
    json_key_array(&j, "attempts");
    write_attempts(l, &j);
    json_end(&j);
    json_end(&j);
    json_end(&j);
    buf_free(&sentence);
    buf_free(&text);
}

enum err llm_auto_answer(struct task *t, struct llm_call *l)
{
    struct exchange *x = l->x;
    struct buf body = BUF(64 << 10);
    struct response response = {.status = last_status(l), .content_type = STR("application/json")};
    write_error(l, response.status, &body);
    response.body = arena_str(&x->request.arena, buf_str(&body));
    buf_free(&body);
    llm_add_fields(l, &response.fields);
    head_add(&response.fields, STR("X-Hestia-Error-Source"), STR("upstream"));
    if (response.status == 429 || response.status == 503)
        buf_addf(&response.fields, "Retry-After: %d\r\n", x->retry_after ? x->retry_after : 1);
    x->status = response.status;
    llm_account_settle(l);
    return response_send(t, x->conn, &x->request, &response);
}
