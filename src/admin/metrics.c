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

/* Writes what is left of a strategy's limits of cost; how many they are. */
static size_t budgets_write(const struct book_strategy *s, uint64_t now, struct metric_value *out)
{
    size_t n = 0;
    for (size_t i = 0; i < limiter_count(s->limiter) && s->label > LABEL_OTHER; i++) {
        struct limit_status status;
        limiter_status(s->limiter, i, now, &status);
        if (!status.config.enabled || status.config.kind != LIMIT_COST)
            continue;
        label window = label_intern(str_from_c(limit_window_name(status.config.window)));
        out[n++] = (struct metric_value){.metric = METRIC_BUDGET_REMAINING,
                                         .labels = LABELS((label)s->label, window),
                                         .gauge = status.remaining,
                                         .updated_us = clock_wall_at(now)};
    }
    return n;
}

static size_t limits_of(const struct book *book)
{
    size_t n = 0;
    for (size_t i = 0; i < book_strategy_count(book); i++)
        n += limiter_count(book_strategy_at(book, i)->limiter);
    return n;
}

/* The limiters count without cells: what they say now goes between the other values. Memory that is short
   leaves it out. */
static struct metric_value *budgets_insert(const struct book *book, uint64_t now, struct metric_value *values,
                                           size_t *count)
{
    size_t at = 0, n;
    struct metric_value *all = mem_alloc((*count + limits_of(book)) * sizeof *all);
    if (!values || !all) {
        mem_free(all);
        return values;
    }
    while (at < *count && values[at].metric < METRIC_BUDGET_REMAINING)
        at++;
    memcpy(all, values, at * sizeof *all);
    n = at;
    for (size_t i = 0; i < book_strategy_count(book); i++)
        n += budgets_write(book_strategy_at(book, i), now, all + n);
    memcpy(all + n, values + at, (*count - at) * sizeof *all);
    *count += n - at;
    mem_free(values);
    return all;
}

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
    fresh->values = budgets_insert(call->worker->held->shared->book, task_now(t), fresh->values, &count);
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
