/* GET /metrics: the Prometheus text format 0.0.4 and OpenMetrics 1.0. Pure. */
#include "admin/metrics.h"

#include "base/clock.h"
#include "base/num.h"
#include "strategy/limit.h"

struct exposition {
    struct buf *out;
    struct buf labels; /* of the sample at hand: name="value",… */
    bool openmetrics;
};

/* ---- families --------------------------------------------------------------------------------------- */

static const char *kind_name(enum metric_kind kind)
{
    static const char *const names[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_TIMER] = "histogram",
        [METRIC_HISTOGRAM] = "histogram",
    };
    return names[kind];
}

/* OpenMetrics names a family without the suffix of its samples. */
static void write_family(struct exposition *e, const char *name, const char *type, const char *help)
{
    struct str family = str_from_c(name);
    if (e->openmetrics && str_ends(family, STR("_total")))
        family.n -= STR("_total").n;
    if (e->openmetrics && str_ends(family, STR("_info")))
        family.n -= STR("_info").n;
    buf_addf(e->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", STR_ARG(family), help, STR_ARG(family), type);
}

/* ---- labels ----------------------------------------------------------------------------------------- */

static void write_escaped(struct buf *out, struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\\' || c == '"')
            buf_add_char(out, '\\');
        if (c == '\n')
            buf_add_c(out, "\\n");
        else
            buf_add_char(out, c);
    }
}

static const char *label_name(const char *name)
{
    if (strcmp(name, "path") == 0)
        return "route";
    return strcmp(name, "status") == 0 ? "code" : name;
}

static void labels_collect(struct exposition *e, const struct metric_value *value)
{
    const struct metric_row *row = metric_row(value->metric);
    buf_clear(&e->labels);
    for (int i = 0; i < METRIC_LABELS_MAX && row->labels[i]; i++) {
        if (!value->labels.of[i])
            continue;
        if (e->labels.n)
            buf_add_char(&e->labels, ',');
        buf_add_c(&e->labels, label_name(row->labels[i]));
        buf_add_c(&e->labels, "=\"");
        write_escaped(&e->labels, label_text(value->labels.of[i]));
        buf_add_char(&e->labels, '"');
    }
}

/* ---- samples ---------------------------------------------------------------------------------------- */

/* Name, suffix and labels; the value follows. `bound`: the bucket's, or empty. */
static void write_sample(struct exposition *e, const char *name, const char *suffix, struct str bound)
{
    buf_add_c(e->out, name);
    buf_add_c(e->out, suffix);
    if (e->labels.n || bound.n)
        buf_add_char(e->out, '{');
    buf_add_str(e->out, buf_str(&e->labels));
    if (bound.n)
        buf_addf(e->out, "%sle=\"%.*s\"", e->labels.n ? "," : "", STR_ARG(bound));
    if (e->labels.n || bound.n)
        buf_add_char(e->out, '}');
    buf_add_char(e->out, ' ');
}

static void write_u64(struct exposition *e, uint64_t value)
{
    buf_add_u64(e->out, value);
    buf_add_char(e->out, '\n');
}

/* Nanoseconds exactly, as seconds. */
static void write_seconds(struct exposition *e, uint64_t ns)
{
    buf_addf(e->out, "%llu.%09llu\n", (unsigned long long)(ns / CLOCK_S), (unsigned long long)(ns % CLOCK_S));
}

/* Bounds in base units. OpenMetrics wants "1.0" where text takes "1". */
static void bound_format(struct exposition *e, struct buf *text, enum metric m, int bucket)
{
    uint64_t bound = metric_bucket_bound(m, bucket);
    bool is_time = metric_row(m)->kind == METRIC_TIMER;
    buf_clear(text);
    if (bound == UINT64_MAX) {
        buf_add_c(text, "+Inf");
        return;
    }
    buf_addf(text, "%.12g", is_time ? (double)bound / (double)CLOCK_S : (double)bound);
    if (e->openmetrics && str_find(buf_str(text), '.') == text->n && str_find(buf_str(text), 'e') == text->n)
        buf_add_c(text, ".0");
}

/* Pico-dollars exactly, as dollars. */
static void write_dollars(struct exposition *e, uint64_t pico)
{
    const uint64_t dollar = UINT64_C(1000000000000);
    buf_addf(e->out, "%llu.%0*llu\n", (unsigned long long)(pico / dollar), DOLLAR_DIGITS,
             (unsigned long long)(pico % dollar));
}

static void write_number(struct exposition *e, const struct metric_value *value)
{
    const struct metric_row *row = metric_row(value->metric);
    uint64_t number = row->kind == METRIC_COUNTER ? value->count : (uint64_t)value->gauge;
    write_sample(e, row->prometheus_name, "", STR_NONE);
    if (row->scale == SCALE_DOLLARS)
        write_dollars(e, number);
    else if (row->kind == METRIC_COUNTER)
        write_u64(e, number);
    else
        buf_addf(e->out, "%lld\n", (long long)value->gauge);
}

static void write_histogram(struct exposition *e, const char *name, const struct metric_value *value)
{
    struct buf bound = BUF(64);
    uint64_t below = 0;
    for (int i = 0; i < METRIC_BUCKETS; i++) {
        below += value->buckets[i];
        bound_format(e, &bound, value->metric, i);
        write_sample(e, name, "_bucket", buf_str(&bound));
        write_u64(e, below);
    }
    buf_free(&bound);
    write_sample(e, name, "_sum", STR_NONE);
    if (metric_row(value->metric)->kind == METRIC_TIMER)
        write_seconds(e, value->sum);
    else
        write_u64(e, value->sum);
    write_sample(e, name, "_count", STR_NONE);
    write_u64(e, below);
}

static void write_value(struct exposition *e, const struct metric_value *value)
{
    const struct metric_row *row = metric_row(value->metric);
    labels_collect(e, value);
    switch (row->kind) {
    case METRIC_COUNTER:
    case METRIC_GAUGE:
        write_number(e, value);
        break;
    case METRIC_TIMER:
    case METRIC_HISTOGRAM:
        write_histogram(e, row->prometheus_name, value);
        break;
    }
}

/* A metric without labels exists from the start, at 0: so its first increase is seen. */
static void write_metric(struct exposition *e, enum metric m, const struct metric_value *values, size_t count)
{
    const struct metric_row *row = metric_row(m);
    struct metric_value zero = {.metric = m};
    if (!row->prometheus_name || (count == 0 && row->labels[0]))
        return;
    write_family(e, row->prometheus_name, kind_name(row->kind), row->help);
    if (count == 0)
        write_value(e, &zero);
    for (size_t i = 0; i < count; i++)
        write_value(e, &values[i]);
}

static void write_metrics(struct exposition *e, const struct metrics_reading *reading)
{
    size_t at = 0;
    for (enum metric m = 0; m < METRIC_COUNT; m++) {
        size_t first = at;
        while (at < reading->count && reading->values[at].metric == m)
            at++;
        write_metric(e, m, reading->values ? &reading->values[first] : NULL, at - first);
    }
}

/* ---- the process ------------------------------------------------------------------------------------ */

static void write_process_value(struct exposition *e, const char *name, const char *type, const char *help,
                                double value, int decimals)
{
    write_family(e, name, type, help);
    buf_addf(e->out, "%s %.*f\n", name, decimals, value);
}

static void write_process(struct exposition *e, const struct process_usage *usage)
{
    write_process_value(e, "process_cpu_seconds_total", "counter",
                        "Total user and system CPU time spent in seconds.", usage->cpu_seconds, 6);
    write_process_value(e, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
                        (double)usage->resident_bytes, 0);
    write_process_value(e, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
                        (double)usage->virtual_bytes, 0);
    write_process_value(e, "process_open_fds", "gauge", "Number of open file descriptors.",
                        (double)usage->open_fds, 0);
    write_process_value(e, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
                        (double)usage->max_fds, 0);
    write_process_value(e, "process_start_time_seconds", "gauge",
                        "Start time of the process since the Unix epoch in seconds.", usage->start_time, 3);
}

static void write_build(struct exposition *e)
{
    write_family(e, "hestia_build_info", e->openmetrics ? "info" : "gauge", "The running version; always 1.");
    buf_add_c(e->out, "hestia_build_info{version=\"" HESTIA_VERSION "\"} 1\n");
}

void metrics_write_text(struct buf *out, const struct metrics_reading *reading, bool openmetrics)
{
    struct exposition e = {.out = out, .labels = BUF(4096), .openmetrics = openmetrics};
    write_build(&e);
    write_metrics(&e, reading);
    if (reading->usage)
        write_process(&e, reading->usage);
    if (openmetrics)
        buf_add_c(out, "# EOF\n");
    buf_free(&e.labels);
}

/* ---- negotiation ------------------------------------------------------------------------------------ */

/* The q of one element "type/subtype;q=0.5"; 1 without one. */
static double element_quality(struct str parameters)
{
    double quality = 1;
    while (parameters.n) {
        struct str parameter = str_trim(str_cut(&parameters, ';'));
        if (str_starts_nocase(parameter, STR("q=")) && !num_parse_double(str_from(parameter, 2), &quality))
            quality = 0;
    }
    return quality;
}

bool metrics_accept_openmetrics(struct str accept)
{
    double openmetrics = 0, text = 0;
    struct str element;
    while (str_next_element(&accept, &element)) {
        struct str type = str_trim(str_cut(&element, ';'));
        double quality = element_quality(element);
        if (str_eq_nocase(type, STR("application/openmetrics-text")))
            openmetrics = MAX(openmetrics, quality);
        else if (str_eq_nocase(type, STR("text/plain")))
            text = MAX(text, quality);
    }
    return openmetrics > 0 && openmetrics >= text;
}
