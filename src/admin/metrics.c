/* The handlers of the metric routes: read the cells of all threads, write one of the expositions. */
#include "admin/metrics.h"

#include "admin/answer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "gateway/worker.h"
#include "service/service.h"

struct fresh_reading {
    struct metric_value *values;
    struct process_usage usage;
    struct metrics_reading reading;
};

static void fresh_reading_take(struct task *t, struct api_call *call, struct fresh_reading *fresh)
{
    size_t count;
    if (worker_service_count(call->worker)) {
        struct service *any = service_ref(worker_service_at(call->worker, 0));
        services_measure(t, any);
        service_unref(any);
    }
    struct provider_pool *pool = provider_pool_ref(call->worker->held->shared->providers);
    provider_pool_measure(t, pool); /* a reload may come in between */
    provider_pool_unref(pool);
    fresh->values = metric_read_all(&count);
    process_read(&fresh->usage);
    fresh->reading = (struct metrics_reading){fresh->values, count, &fresh->usage, clock_wall_us()};
}

static void fresh_reading_drop(struct fresh_reading *fresh)
{
    mem_free(fresh->values);
}

enum err metrics_answer(struct task *t, struct api_call *call, struct response *response)
{
    struct fresh_reading fresh CLEANUP(fresh_reading_drop) = {0};
    struct buf body = BUF(ANSWER_MAX);
    fresh_reading_take(t, call, &fresh);
    metrics_write_json(&body, &fresh.reading);
    return answer_send(call, response, 200, &body);
}

enum err service_metrics_answer(struct task *t, struct api_call *call, struct response *response)
{
    struct fresh_reading fresh CLEANUP(fresh_reading_drop) = {0};
    struct buf body = BUF(ANSWER_MAX);
    fresh_reading_take(t, call, &fresh);
    metrics_write_json_service(&body, &fresh.reading, (label)service_label(call->service));
    return answer_send(call, response, 200, &body);
}

enum err metrics_text_answer(struct task *t, struct api_call *call, struct response *response)
{
    struct fresh_reading fresh CLEANUP(fresh_reading_drop) = {0};
    struct buf body = BUF(ANSWER_MAX);
    bool openmetrics = metrics_accept_openmetrics(head_value(&call->request->head, FIELD_ACCEPT));
    fresh_reading_take(t, call, &fresh);
    metrics_write_text(&body, &fresh.reading, openmetrics);
    response->content_type = openmetrics ? STR("application/openmetrics-text; version=1.0.0; charset=utf-8")
                                         : STR("text/plain; version=0.0.4; charset=utf-8");
    return answer_send(call, response, 200, &body);
}
