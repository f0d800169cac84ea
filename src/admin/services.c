/* The list of services, the status of one, and starting and stopping it. Worker threads, inside an exchange.
 */
#include "admin/answer.h"
#include "admin/status.h"
#include "gateway/worker.h"

/* The services of this moment, each with a reference: the worker's list may change while we ask the owners.
 */
struct service_refs {
    struct service **items; /* in the exchange's arena */
    size_t count;
};

static void service_refs_drop(struct service_refs *refs)
{
    for (size_t i = 0; i < refs->count; i++)
        service_unref(refs->items[i]);
    refs->count = 0;
}

static enum err service_refs_take(struct api_call *call, struct service_refs *refs)
{
    size_t count = worker_service_count(call->worker);
    refs->items = arena_alloc(&call->request->arena, MAX(count, (size_t)1) * sizeof *refs->items);
    if (!refs->items)
        return error_set(&call->error, ERR_NOMEM, "%s", "");
    for (size_t i = 0; i < count; i++)
        refs->items[refs->count++] = service_ref(worker_service_at(call->worker, i));
    return OK;
}

enum err services_answer(struct task *t, struct api_call *call, struct response *response)
{
    struct service_refs refs CLEANUP(service_refs_drop) = {0};
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    TRY(service_refs_take(call, &refs));
    json_put_object(&j);
    json_key_array(&j, "services");
    for (size_t i = 0; i < refs.count; i++) {
        struct service_status status = {0};
        service_status(t, refs.items[i], &call->request->arena, &status);
        status_write(&j, &status);
    }
    json_end(&j);
    json_end(&j);
    buf_add_char(&body, '\n');
    return answer_send(call, response, 200, &body);
}

static void strategy_write(struct json *j, const struct service_config *config)
{
    json_key_dynamic(j, config->id);
    json_put_object(j);
    if (config->strategy.n)
        json_key_str(j, "strategy", config->strategy);
    else
        json_key_null(j, "strategy");
    json_key_array(j, "instances");
    for (size_t i = 0; i < config->instance_count; i++) {
        const struct instance_config *instance = &config->instances[i];
        json_put_object(j);
        json_key_str(j, "url", instance->url_text);
        json_key_u64(j, "weight", instance->weight);
        if (instance->region.n)
            json_key_str(j, "region", instance->region);
        json_end(j);
    }
    json_end(j);
    if (config->base_url_text.n)
        json_key_str(j, "base_url", config->base_url_text);
    else
        json_key_null(j, "base_url");
    json_end(j);
}

/* Strategies here are code that chooses among a service's instances (contract/hestia.md 1.7), not what
   clients have. None can be loaded yet. */
enum err service_strategies_answer(struct task *t, struct api_call *call, struct response *response)
{
    const struct config *config = call->snapshot->config;
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    json_put_object(&j);
    json_key_object(&j, "loaded_strategies");
    json_end(&j);
    json_key_object(&j, "service_configurations");
    for (size_t i = 0; i < config->service_count; i++)
        if (config->services[i].strategy.n || config->services[i].instance_count)
            strategy_write(&j, &config->services[i]);
    json_end(&j);
    json_end(&j);
    buf_add_char(&body, '\n');
    return answer_send(call, response, 200, &body);
}

enum err status_answer(struct task *t, struct api_call *call, struct response *response)
{
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    struct service_status status = {0};
    service_status(t, call->service, &call->request->arena, &status);
    status_write(&j, &status);
    buf_add_char(&body, '\n');
    return answer_send(call, response, 200, &body);
}

static enum err answer_message(struct api_call *call, struct response *response, const char *message)
{
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    json_put_object(&j);
    json_key_c(&j, "message", message);
    json_end(&j);
    buf_add_char(&body, '\n');
    return answer_send(call, response, 202, &body);
}

/* Errors of start and stop have a top-level `message` too, so they are not left to the gateway. */
static enum err answer_failure(struct api_call *call, struct response *response)
{
    const struct err_row *row = err_row(call->error.err);
    struct buf body = BUF(ANSWER_MAX), seconds = BUF(32);
    error_write_json(&body, &call->error, true);
    head_add(&response->fields, STR("X-Hestia-Error-Source"), str_from_c(err_source_name(row->source)));
    if (row->retry_after) {
        buf_add_u64(&seconds, (uint64_t)row->retry_after);
        head_add(&response->fields, STR("Retry-After"), buf_str(&seconds));
    }
    buf_free(&seconds);
    return answer_send(call, response, row->status ? row->status : 500, &body);
}

static enum err answer_outcome(struct api_call *call, struct response *response, enum err err,
                               const char *initiated)
{
    if (err == OK)
        return answer_message(call, response, initiated);
    call->error.err = err;
    return err == ERR_CANCELLED ? err : answer_failure(call, response);
}

enum err start_answer(struct task *t, struct api_call *call, struct response *response)
{
    enum err err = service_start(t, call->service, &call->error);
    return answer_outcome(call, response, err, "Service start initiated");
}

enum err stop_answer(struct task *t, struct api_call *call, struct response *response)
{
    bool force = answer_query_flag(call, STR("force"));
    enum err err = service_stop(t, call->service, force, &call->error);
    return answer_outcome(call, response, err, "Service stop initiated");
}
