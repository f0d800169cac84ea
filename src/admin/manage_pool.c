/* /admin/v1/providers, /admin/v1/models, /admin/v1/config. Worker threads, inside an exchange. */
#include "admin/manage.h"
#include "admin/manage_write.h"

#include "admin/answer.h"
#include "base/mem.h"
#include "config/report.h"
#include "loop/offload.h"

enum err providers_list(struct task *t, struct api_call *call, struct response *response)
{
    const struct provider_pool *pool = call->snapshot->providers;
    struct buf body = BUF(ANSWER_MAX);
    struct json j;
    manage_list_begin(&j, &body);
    for (size_t i = 0; i < provider_pool_count(pool); i++) {
        struct provider_status status = {0};
        provider_status(provider_at(pool, i), &call->request->arena, &status);
        manage_write_provider(&j, provider_config_of(provider_at(pool, i)), &status);
    }
    return manage_list_send(&j, call, response, STR_NONE);
}

bool manage_is_provider(const void *owner, const struct provider_config *provider, struct str model)
{
    return str_eq_nocase(*(const struct str *)owner, provider->name);
}

/* One row for each provider's model: what a strategy's pairs name. The price is that of the name that is
 * sent. */
static void put_models(struct api_call *call, struct json *j, struct provider *p)
{
    struct str provider = provider_config_of(p)->name;
    struct provider_filter filter = {manage_is_provider, &provider};
    struct pool_model *models = NULL;
    size_t count = provider_pool_models(call->snapshot->providers, &filter, &call->request->arena, &models);
    for (size_t i = 0; i < count; i++) {
        struct price price =
            prices_find(call->snapshot->prices, provider, provider_model_name(p, models[i].id));
        manage_write_model(j, models[i].id, provider, &price);
    }
}

enum err models_list(struct task *t, struct api_call *call, struct response *response)
{
    const struct provider_pool *pool = call->snapshot->providers;
    struct buf body = BUF(ANSWER_MAX);
    struct json j;
    manage_list_begin(&j, &body);
    for (size_t i = 0; i < provider_pool_count(pool); i++)
        put_models(call, &j, provider_at(pool, i));
    return manage_list_send(&j, call, response, STR_NONE);
}

/* ---- the configuration -----------------------------------------------------------------------------------
 */

struct merged {
    struct offload offload;
    const struct config_sources *sources;
    struct buf text;
    struct findings findings;
};

static void merge(struct offload *o)
{
    struct merged *m = CONTAINER_OF(o, struct merged, offload);
    config_write_merged(m->sources, &m->text, &m->findings);
}

static void merged_free(struct offload *o)
{
    struct merged *m = CONTAINER_OF(o, struct merged, offload);
    findings_free(&m->findings);
    buf_free(&m->text);
    mem_free(m);
}

/* Reads the files as they are now, on a thread that may block. */
enum err config_show(struct task *t, struct api_call *call, struct response *response)
{
    const struct config_sources *sources = call->worker->gateway->sources;
    if (!sources)
        return error_set(&call->error, ERR_NOT_AVAILABLE,
                         "this gateway was not started from a configuration");
    struct merged *m = mem_alloc(sizeof *m);
    if (!m)
        return ERR_NOMEM;
    *m = (struct merged){
        .offload = {.work = merge, .drop = merged_free}, .sources = sources, .text = BUF(ANSWER_MAX)};
    TRY(offload_run(t, &m->offload, CLOCK_NEVER));
    response->content_type = STR("text/plain; charset=utf-8");
    enum err err = answer_send(call, response, 200, &m->text);
    merged_free(&m->offload);
    return err;
}
