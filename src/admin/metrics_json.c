/* GET /v1/metrics as the quickstart has it: maps from `name[label=value,…]` to numbers. Pure. */
#include "admin/metrics.h"

#include "base/clock.h"
#include "base/json.h"
#include "strategy/limit.h"

struct writer {
    struct json json;
    struct buf text; /* of a key or time stamp under construction */
    const struct metrics_reading *reading;
};

static struct writer writer_to(struct buf *out, const struct metrics_reading *reading)
{
    return (struct writer){.json = json_to(out), .text = BUF(4096), .reading = reading};
}

/* The service below which a value is shown; 0 = global. */
static label value_service(const struct metric_value *value)
{
    return metric_row(value->metric)->scope == SCOPE_GLOBAL ? 0 : value->labels.of[0];
}

static void write_timestamp(struct writer *w, int64_t wall_us)
{
    buf_clear(&w->text);
    clock_format(&w->text, wall_us);
    json_key_str(&w->json, "timestamp", buf_str(&w->text));
}

/* The indexes of the labels that the key shows, sorted by name. */
static int labels_shown(const struct metric_value *value, int shown[METRIC_LABELS_MAX])
{
    const struct metric_row *row = metric_row(value->metric);
    int count = 0;
    if (row->scope == SCOPE_SERVICE_SUM)
        return 0;
    for (int i = row->scope == SCOPE_SERVICE; i < METRIC_LABELS_MAX && row->labels[i]; i++) {
        if (!value->labels.of[i])
            continue;
        int at = count++;
        for (; at > 0 && strcmp(row->labels[shown[at - 1]], row->labels[i]) > 0; at--)
            shown[at] = shown[at - 1];
        shown[at] = i;
    }
    return count;
}

static void write_key(struct writer *w, const struct metric_value *value)
{
    const struct metric_row *row = metric_row(value->metric);
    int shown[METRIC_LABELS_MAX];
    int count = labels_shown(value, shown);
    buf_clear(&w->text);
    buf_add_c(&w->text, row->json_name);
    for (int i = 0; i < count; i++) {
        buf_add_char(&w->text, i ? ',' : '[');
        buf_add_c(&w->text, row->labels[shown[i]]);
        buf_add_char(&w->text, '=');
        buf_add_str(&w->text, label_text(value->labels.of[shown[i]]));
    }
    if (count)
        buf_add_char(&w->text, ']');
    json_key_dynamic(&w->json, buf_str(&w->text));
}

static void write_timer(struct json *j, const struct metric_value *value)
{
    double ms = (double)CLOCK_MS, count = (double)value->count;
    json_key_u64(j, "count", value->count);
    json_key_double(j, "total_ms", (double)value->sum / ms, 3);
    json_key_double(j, "avg_ms", count > 0 ? (double)value->sum / count / ms : 0, 3);
    json_key_double(j, "min_ms", count > 0 ? (double)value->min / ms : 0, 3);
    json_key_double(j, "max_ms", (double)value->max / ms, 3);
}

/* The sample of that rank (0 … count-1, between two ranks a mixture), taking the samples of a bucket as
   evenly spread over it. */
static double value_at_rank(const struct metric_value *value, double rank)
{
    double below = 0, low = (double)value->min;
    for (int i = 0; i < METRIC_BUCKETS; i++) {
        double inside = (double)value->buckets[i];
        double high = MIN((double)metric_bucket_bound(value->metric, i), (double)value->max);
        if (inside > 0 && rank < below + inside) {
            double step = inside > 1 ? (rank - below) / (inside - 1) : 0.5;
            return low + (high - low) * MIN(step, 1.0);
        }
        below += inside;
        low = MAX(low, high);
    }
    return (double)value->max;
}

static void write_histogram(struct json *j, const struct metric_value *value)
{
    double last = value->count ? (double)(value->count - 1) : 0;
    json_key_u64(j, "count", value->count);
    json_key_double(j, "p50", value_at_rank(value, 0.50 * last), 1);
    json_key_double(j, "p95", value_at_rank(value, 0.95 * last), 1);
    json_key_double(j, "p99", value_at_rank(value, 0.99 * last), 1);
}

static void write_number(struct json *j, const char *key, const struct metric_value *value, int64_t number)
{
    json_key(j, key);
    json_decimal(j, number, metric_row(value->metric)->scale == SCALE_DOLLARS ? DOLLAR_DIGITS : 0);
}

static void write_value(struct writer *w, const struct metric_value *value)
{
    struct json *j = &w->json;
    write_key(w, value);
    json_put_object(j);
    switch (metric_row(value->metric)->kind) {
    case METRIC_COUNTER:
        write_number(j, "count", value, (int64_t)value->count);
        break;
    case METRIC_GAUGE:
        write_number(j, "value", value, value->gauge);
        break;
    case METRIC_TIMER:
        write_timer(j, value);
        break;
    case METRIC_HISTOGRAM:
        write_histogram(j, value);
        break;
    }
    write_timestamp(w, value->updated_us);
    json_end(j);
}

/* The value at *i, or its sum with those that follow where the row shows only the sum (counters). */
static struct metric_value value_take(const struct metrics_reading *reading, size_t *i)
{
    struct metric_value value = reading->values[(*i)++];
    if (metric_row(value.metric)->scope != SCOPE_SERVICE_SUM)
        return value;
    for (; *i < reading->count; (*i)++) {
        const struct metric_value *more = &reading->values[*i];
        if (more->metric != value.metric || more->labels.of[0] != value.labels.of[0])
            break;
        value.count += more->count;
        value.updated_us = MAX(value.updated_us, more->updated_us);
    }
    return value;
}

static void write_values(struct writer *w, enum metric_kind kind, label service)
{
    for (size_t i = 0; i < w->reading->count;) {
        struct metric_value value = value_take(w->reading, &i);
        const struct metric_row *row = metric_row(value.metric);
        if (row->kind == kind && row->json_name && value_service(&value) == service)
            write_value(w, &value);
    }
}

static void write_section(struct writer *w, const char *name, enum metric_kind kind, label service)
{
    json_key_object(&w->json, name);
    write_values(w, kind, service);
    json_end(&w->json);
}

static void write_usage(struct writer *w, enum metric m, double value, int decimals)
{
    json_key_object(&w->json, metric_row(m)->json_name);
    json_key_double(&w->json, "value", value, decimals);
    write_timestamp(w, w->reading->now_us);
    json_end(&w->json);
}

static void write_global_gauges(struct writer *w)
{
    const struct process_usage *usage = w->reading->usage;
    json_key_object(&w->json, "gauges");
    write_values(w, METRIC_GAUGE, 0);
    if (usage) {
        write_usage(w, METRIC_MEMORY_USAGE, (double)usage->resident_bytes, 0);
        write_usage(w, METRIC_CPU_USAGE, usage->cpu_percent, 2);
    }
    json_end(&w->json);
}

static void write_service(struct writer *w, label service)
{
    json_put_object(&w->json);
    write_section(w, "counters", METRIC_COUNTER, service);
    write_section(w, "timers", METRIC_TIMER, service);
    write_section(w, "gauges", METRIC_GAUGE, service);
    json_end(&w->json);
}

/* The smallest service label above `after` that has values; 0 = none. */
static label service_next(const struct metrics_reading *reading, label after)
{
    label next = 0;
    for (size_t i = 0; i < reading->count; i++) {
        label service = value_service(&reading->values[i]);
        if (service > after && (!next || service < next))
            next = service;
    }
    return next;
}

void metrics_write_json(struct buf *out, const struct metrics_reading *reading)
{
    struct writer w = writer_to(out, reading);
    json_put_object(&w.json);
    write_section(&w, "counters", METRIC_COUNTER, 0);
    write_global_gauges(&w);
    write_section(&w, "timers", METRIC_TIMER, 0);
    write_section(&w, "histograms", METRIC_HISTOGRAM, 0);
    json_key_object(&w.json, "services");
    for (label service = 0; (service = service_next(reading, service));) {
        json_key_dynamic(&w.json, label_text(service));
        write_service(&w, service);
    }
    json_end(&w.json);
    json_end(&w.json);
    buf_add_char(out, '\n');
    buf_free(&w.text);
}

void metrics_write_json_service(struct buf *out, const struct metrics_reading *reading, label service)
{
    struct writer w = writer_to(out, reading);
    write_service(&w, service);
    buf_add_char(out, '\n');
    buf_free(&w.text);
}
