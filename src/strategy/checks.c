/*
 * What each provider is asked beside the traffic: active health checks, and its list of models. One task for
 * each on the control loop, so that a provider that hangs keeps nobody else waiting. Never a completion, and
 * never a request that would wake a cold service.
 */
#include "http/head.h"
#include "loop/crypto.h"
#include "strategy/inside.h"

enum { CHECK_BODY_MAX = 64 << 10 };

/* ---- chores ------------------------------------------------------------------------------------------ */

uint64_t chore_jitter(uint64_t ms)
{
    uint32_t random;
    crypto_random(&random, sizeof random);
    return ms - ms / 10 + random % (ms / 5 + 1);
}

static void chore_task(struct task *t, void *argument)
{
    struct chore *c = argument;
    struct provider_state *s = c->state;
    while (!t->cancelled) {
        uint64_t due = c->due;
        enum err err = due > task_now(t) ? task_park(t, due) : OK;
        if (err == ERR_CANCELLED)
            break;
        if (c->due > task_now(t))
            continue;
        c->due = CLOCK_NEVER;
        c->run(t, s);
    }
    c->task = NULL;
    provider_state_unref(s);
}

void chore_start(struct chore *c, struct provider_state *s,
                 void (*run)(struct task *t, struct provider_state *s))
{
    if (c->task)
        return;
    c->state = s;
    c->run = run;
    c->due = clock_after(loop_now(s->control), chore_jitter(50));
    c->task = task_spawn(s->control, chore_task, c);
    if (!c->task)
        return; /* memory is short: the next reload tries again */
    provider_state_ref(s);
}

void chore_soon(struct chore *c, uint64_t due)
{
    if (!c->task || c->due <= due)
        return;
    c->due = due;
    task_wake(c->task);
}

void chore_stop(struct chore *c)
{
    if (c->task)
        task_cancel(c->task);
}

/* ---- one request ------------------------------------------------------------------------------------- */

static void add_target(struct buf *out, const struct provider *p, struct str prefix, struct str path)
{
    provider_add_base(out, p->config, prefix);
    if (!str_starts(path, STR("/")))
        buf_add_char(out, '/');
    buf_add_str(out, path);
    if (provider_has_deployments(p->config, prefix)) {
        buf_add_c(out, str_find(path, '?') < path.n ? "&api-version=" : "?api-version=");
        buf_add_str(out, p->config->api_version);
    }
}

static enum err place_find(struct provider *p, struct lease *lease, struct target_place *place,
                           struct error *error)
{
    if (!p->service) {
        *place = (struct target_place){.origin = p->origin, .url = &p->config->base_url};
        return p->origin ? OK : error_set(error, ERR_UPSTREAM_UNREACHABLE, "it has no URL");
    }
    if (!service_is_hot(p->service) || !service_lease_now(p->service, false, lease))
        return error_set(error, ERR_SERVICE_COLD, "%s", "");
    return lease_pick(lease, 0, place) ? OK : error_set(error, ERR_SERVICE_UNCONFIGURED, "%s", "");
}

static enum err get_from(struct task *t, struct provider *p, const struct target_place *place,
                         struct str path, uint64_t timeout_ms, struct fetch *f, struct error *error)
{
    struct buf target CLEANUP(buf_free) = BUF(64 << 10), fields CLEANUP(buf_free) = BUF(64 << 10);
    add_target(&target, p, place->url->prefix, path);
    buf_add_c(&fields, "Accept: application/json\r\nAccept-Encoding: identity\r\n");
    provider_add_credentials(&fields, p->config);
    TRY(buf_err(&target));
    TRY(buf_err(&fields));
    f->method = METHOD_GET;
    f->origin = place->origin;
    f->host_field = place->url->host_field;
    f->target = buf_str(&target);
    f->fields = buf_str(&fields);
    enum err err = fetch_run(t, p->state->all->connections, f, task_deadline(t, timeout_ms), error);
    f->target = f->fields = f->host_field = STR_NONE; /* they end here */
    return err;
}

enum err provider_get(struct task *t, struct provider *p, struct str path, uint64_t timeout_ms,
                      struct fetch *f, struct error *error)
{
    struct lease lease = {0};
    struct target_place place;
    enum err err = place_find(p, &lease, &place, error);
    if (err == OK)
        err = get_from(t, p, &place, path, timeout_ms, f, error);
    lease_release(&lease, t->loop);
    return err;
}

/* ---- the list of models: what is known of it ---------------------------------------------------------- */

static uint64_t list_failed(struct provider_state *s, const char *why)
{
    uint64_t ms = s->models_retry_ms ? s->models_retry_ms : MODELS_RETRY_MS;
    s->models_retry_ms = MIN(ms * 2, (uint64_t)MODELS_REFRESH_MS);
    provider_event_list(s, 0, why);
    return ms;
}

static uint64_t list_took(struct provider_state *s, struct model_list *list)
{
    s->models_retry_ms = 0;
    provider_event_list(s, list->count, NULL);
    model_shelf_put(&s->models, list);
    return MODELS_REFRESH_MS;
}

static bool wants_list(const struct provider_config *config)
{
    return !config->disabled && config->models.count == 0 && config->type != PROVIDER_AZURE;
}

static bool list_is_news(struct provider_state *s, const struct model_list *list)
{
    const struct model_list *known = model_shelf_look(&s->models);
    bool news = !known || known->count != list->count;
    for (size_t i = 0; !news && i < list->count; i++)
        news = !model_list_has(known, list->items[i].id);
    model_shelf_done(&s->models);
    return news;
}

/* A health check that asks for the list has it at hand. */
static void list_learn(struct provider_state *s, struct str json)
{
    struct error error;
    struct model_list *list = model_list_parse(json, &error);
    if (list && list_is_news(s, list))
        list_took(s, list);
    else if (list)
        model_list_free(list);
}

/* ---- the health check -------------------------------------------------------------------------------- */

static enum check_result result_of(int status, struct error *error)
{
    error_set(error, ERR_UPSTREAM_PROTOCOL, "the health check was answered with status %d", status);
    if ((status >= 200 && status < 300) || status == 404 || status == 405)
        return CHECK_PASSED;
    return status == 401 || status == 403 ? CHECK_REFUSED : CHECK_FAILED;
}

static void check_once(struct task *t, struct provider *p)
{
    const struct routing_config *routing = &p->pool->config->routing;
    struct str path = routing->health_check.path.n ? routing->health_check.path : STR("/models");
    bool is_list = wants_list(p->config) && str_eq(path, STR("/models"));
    struct fetch f CLEANUP(fetch_free) = {.response = BUF(is_list ? MODEL_LIST_BYTES : CHECK_BODY_MAX)};
    struct error error = {0};
    uint64_t begun = task_now(t);
    enum err err = provider_get(t, p, path, MAX(routing->health_check.timeout_ms, (uint64_t)1), &f, &error);
    /* A list may be longer than we care to read here: its head said all. */
    if (err != ERR_CANCELLED && f.response.err == ERR_LIMIT)
        err = OK;
    if (err == ERR_CANCELLED || err == ERR_SERVICE_COLD || err == ERR_NOMEM)
        return;
    if (error.err != err)
        error = (struct error){.err = err};
    enum check_result result = err == OK ? result_of(f.status, &error) : CHECK_FAILED;
    if (is_list && result == CHECK_PASSED && f.status < 300 && f.response.err == OK)
        list_learn(p->state, buf_str(&f.response));
    provider_checked(p, result, result == CHECK_PASSED ? "" : error_text(&error), begun, task_now(t));
}

/* Holds the pool of the moment: a reload changes keys and URLs only for the next round. */
void check_run(struct task *t, struct provider_state *s)
{
    struct provider_pool *pool = s->entry ? provider_pool_ref(s->entry->pool) : NULL;
    if (!pool)
        return;
    const struct routing_config *routing = &pool->config->routing;
    if (routing->health_check.enabled && !s->entry->config->disabled)
        check_once(t, s->entry);
    uint64_t interval = MAX(routing->health_check.interval_ms, (uint64_t)10);
    if (routing->health_check.enabled)
        s->check.due = MIN(s->check.due, clock_after(task_now(t), chore_jitter(interval)));
    provider_pool_unref(pool);
}

/* ---- the list of models ------------------------------------------------------------------------------ */

/* How long until the next time, in milliseconds. A failure leaves the old list in force. */
static uint64_t list_fetch(struct task *t, struct provider *p)
{
    struct fetch f CLEANUP(fetch_free) = {.response = BUF(MODEL_LIST_BYTES)};
    struct error error = {0};
    enum err err = provider_get(t, p, STR("/models"), MODELS_TIMEOUT_MS, &f, &error);
    if (err == ERR_SERVICE_COLD)
        return MODELS_COLD_MS;
    if (f.response.err == ERR_LIMIT)
        error_set(&error, err, "the list of models is larger than 4 MiB");
    if (err != OK)
        return list_failed(p->state, error.why[0] ? error.why : err_row(err)->text);
    if (f.status < 200 || f.status > 299) {
        error_set(&error, ERR_UPSTREAM_PROTOCOL, "the list of models was answered with status %d", f.status);
        return list_failed(p->state, error.why);
    }
    struct model_list *list = model_list_parse(buf_str(&f.response), &error);
    return list ? list_took(p->state, list) : list_failed(p->state, error.why);
}

void list_run(struct task *t, struct provider_state *s)
{
    struct provider_pool *pool = s->entry ? provider_pool_ref(s->entry->pool) : NULL;
    if (!pool)
        return;
    if (wants_list(s->entry->config)) {
        uint64_t ms = list_fetch(t, s->entry);
        s->list.due = MIN(s->list.due, clock_after(task_now(t), chore_jitter(ms)));
    }
    provider_pool_unref(pool);
    model_shelf_sweep(&s->models);
}
