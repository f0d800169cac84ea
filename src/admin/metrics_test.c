/* Tests of the two expositions: valid JSON and valid Prometheus text, with the keys and numbers that were put
   in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/metrics.h"
#include "base/clock.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { NOW_S = 1757395800 }; /* 2025-09-09T05:30:00Z */

static const struct process_usage usage = {
    .cpu_seconds = 1.5,
    .cpu_percent = 12.345,
    .start_time = 1757395000.25,
    .resident_bytes = 8 << 20,
    .virtual_bytes = 64 << 20,
    .open_fds = 17,
    .max_fds = 1024,
};

static struct metric_value *values;
static struct metrics_reading reading;

static label intern(const char *text)
{
    return label_intern(str_from_c(text));
}

static void count_requests(struct metric_set *set, label service, const char *path)
{
    struct metric_labels labels = LABELS(service, intern("GET"), intern(path));
    struct metric_labels answered = LABELS(service, intern("GET"), intern(path), label_number(200));
    for (uint64_t i = 1; i <= 5; i++) {
        metric_add(set, METRIC_REQUESTS, labels, 1);
        metric_add(set, METRIC_RESPONSES, answered, 1);
        metric_observe(set, METRIC_REQUEST_DURATION, labels, i * 1100 * 1000);
    }
}

static int fill(void **state)
{
    struct metric_set *set = metric_set_new();
    label ollama = intern("ollama"), strange = intern("a \"quoted\\\" \n name");
    metric_set_clock(set, (int64_t)NOW_S * 1000000);
    count_requests(set, 0, "/v1/services/{serviceId}/status");
    count_requests(set, ollama, "/services/{serviceId}/");
    count_requests(set, strange, "/services/{serviceId}/");
    for (uint64_t size = 10; size <= 100; size += 10)
        metric_observe(set, METRIC_RESPONSE_SIZE, LABELS(intern("GET"), intern("/x")), size);
    metric_add(set, METRIC_REQUEST_ERRORS, LABELS(ollama, intern("GET"), intern("/x"), intern("timeout")), 2);
    metric_add(set, METRIC_SERVICE_STARTS, LABELS(ollama, intern("ok")), 3);
    metric_add(set, METRIC_SERVICE_STARTS, LABELS(ollama, intern("failed")), 1);
    metric_add(set, METRIC_SERVICE_STARTS, LABELS(strange, intern("ok")), 7);
    metric_gauge_set(set, METRIC_QUEUE_SIZE, LABELS(ollama), -4);
    metric_gauge_set(set, METRIC_CONNECTIONS, LABELS(0), 9);
    metric_observe(set, METRIC_OVERHEAD, LABELS(ollama), 15 * 1000);
    size_t count;
    values = metric_read_all(&count);
    reading = (struct metrics_reading){values, count, &usage, (int64_t)NOW_S * 1000000};
    return values ? 0 : -1;
}

static int drop(void **state)
{
    mem_free(values);
    return 0;
}

/* ---- JSON ------------------------------------------------------------------------------------------- */

static json_t *parse(struct buf *text)
{
    json_error_t error;
    assert_int_equal(buf_err(text), OK);
    json_t *root = json_loadb(text->p, text->n, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        fail_msg("%s at %d", error.text, error.position);
    buf_free(text);
    return root;
}

static json_t *render_json(void)
{
    struct buf out = BUF(0);
    metrics_write_json(&out, &reading);
    return parse(&out);
}

static json_t *at(json_t *root, const char *section, const char *key)
{
    json_t *found = json_object_get(json_object_get(root, section), key);
    if (!found)
        fail_msg("no %s in %s", key, section);
    return found;
}

static void check_number(json_t *value, const char *key, double want)
{
    double got = json_number_value(json_object_get(value, key));
    if (got < want - 1e-9 || got > want + 1e-9)
        fail_msg("%s is %f, not %f", key, got, want);
}

static void test_json_has_the_five_keys(void **state)
{
    static const char *const keys[] = {"counters", "gauges", "timers", "histograms", "services"};
    json_t *root = render_json();
    assert_int_equal(json_object_size(root), COUNT_OF(keys));
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        assert_true(json_is_object(json_object_get(root, keys[i])));
    json_decref(root);
}

static void test_json_counter_of_an_own_route(void **state)
{
    json_t *root = render_json();
    json_t *counter = at(root, "counters", "requests_total[method=GET,path=/v1/services/{serviceId}/status]");
    check_number(counter, "count", 5);
    assert_string_equal(json_string_value(json_object_get(counter, "timestamp")),
                        "2025-09-09T05:30:00.000000Z");
    at(root, "counters", "responses_total[method=GET,path=/v1/services/{serviceId}/status,status=200]");
    json_decref(root);
}

static void test_json_service_values_are_only_below_services(void **state)
{
    json_t *root = render_json();
    json_t *ollama = at(root, "services", "ollama");
    assert_int_equal(json_object_size(ollama), 3);
    check_number(at(ollama, "counters", "requests_total[method=GET,path=/services/{serviceId}/]"), "count",
                 5);
    check_number(at(ollama, "counters", "requests_errors_total[error_type=timeout,method=GET,path=/x]"),
                 "count", 2);
    check_number(at(ollama, "gauges", "queue_size"), "value", -4);
    assert_null(json_object_get(json_object_get(root, "counters"),
                                "requests_total[method=GET,path=/services/{serviceId}/]"));
    assert_null(json_object_get(json_object_get(root, "gauges"), "queue_size"));
    json_decref(root);
}

static void test_json_starts_are_summed_over_results(void **state)
{
    json_t *root = render_json();
    check_number(at(at(root, "services", "ollama"), "counters", "service_starts_total"), "count", 4);
    json_t *strange = at(root, "services", "a \"quoted\\\" \n name");
    check_number(at(strange, "counters", "service_starts_total"), "count", 7);
    json_decref(root);
}

static void test_json_timer_in_milliseconds(void **state)
{
    json_t *root = render_json();
    json_t *timer =
        at(root, "timers", "request_duration_ms[method=GET,path=/v1/services/{serviceId}/status]");
    check_number(timer, "count", 5);
    check_number(timer, "total_ms", 16.5);
    check_number(timer, "avg_ms", 3.3);
    check_number(timer, "min_ms", 1.1);
    check_number(timer, "max_ms", 5.5);
    assert_non_null(json_object_get(timer, "timestamp"));
    json_decref(root);
}

/* Of 10, 20 … 100 the exact values are 55 and 95.5; buckets know them less well. */
static void test_json_histogram_percentiles(void **state)
{
    json_t *root = render_json();
    json_t *sizes = at(root, "histograms", "response_size_bytes[method=GET,path=/x]");
    double p50 = json_number_value(json_object_get(sizes, "p50"));
    double p95 = json_number_value(json_object_get(sizes, "p95"));
    double p99 = json_number_value(json_object_get(sizes, "p99"));
    check_number(sizes, "count", 10);
    assert_true(p50 > 50 && p50 < 64);
    assert_true(p95 > 90 && p95 <= p99 && p99 <= 100);
    json_decref(root);
}

static void test_json_gauges_of_the_system(void **state)
{
    json_t *root = render_json();
    check_number(at(root, "gauges", "memory_usage_bytes"), "value", 8 << 20);
    check_number(at(root, "gauges", "active_connections"), "value", 9);
    double percent = json_number_value(json_object_get(at(root, "gauges", "cpu_usage_percent"), "value"));
    assert_true(percent > 12.3 && percent < 12.4);
    json_decref(root);
}

static void test_json_of_one_service(void **state)
{
    struct buf out = BUF(0);
    metrics_write_json_service(&out, &reading, intern("ollama"));
    json_t *root = parse(&out);
    assert_int_equal(json_object_size(root), 3);
    check_number(at(root, "timers", "overhead_ms"), "max_ms", 0.015);
    json_decref(root);
    metrics_write_json_service(&out, &reading, intern("never seen"));
    root = parse(&out);
    assert_int_equal(json_object_size(json_object_get(root, "counters")), 0);
    assert_int_equal(json_object_size(json_object_get(root, "timers")), 0);
    assert_int_equal(json_object_size(json_object_get(root, "gauges")), 0);
    json_decref(root);
}

/* ---- text ------------------------------------------------------------------------------------------- */

static struct buf render_text(bool openmetrics)
{
    struct buf out = BUF(0);
    metrics_write_text(&out, &reading, openmetrics);
    assert_int_equal(buf_err(&out), OK);
    return out;
}

static void check_has(struct buf *text, const char *line)
{
    if (!strstr(buf_c(text), line))
        fail_msg("no line %s in:\n%s", line, buf_c(text));
}

static void test_text_samples(void **state)
{
    struct buf text = render_text(false);
    check_has(&text, "# TYPE hestia_requests_total counter\n");
    check_has(&text,
              "\nhestia_requests_total{service=\"ollama\",method=\"GET\",route=\"/services/{serviceId}/\","
              "code=\"200\"} 5\n");
    check_has(&text, "\nhestia_requests_received_total{method=\"GET\",route=\"/v1/services/{serviceId}/"
                     "status\"} 5\n");
    check_has(&text, "\nhestia_service_starts_total{service=\"ollama\",result=\"failed\"} 1\n");
    check_has(&text, "\nhestia_queue_depth{service=\"ollama\"} -4\n");
    check_has(&text, "\nhestia_connections 9\n");
    check_has(&text, "\nhestia_log_lines_dropped_total 0\n");
    check_has(&text, "\nhestia_build_info{version=\"" HESTIA_VERSION "\"} 1\n");
    check_has(&text, "\nprocess_open_fds 17\n");
    check_has(&text, "{service=\"a \\\"quoted\\\\\\\" \\n name\",result=\"ok\"} 7\n");
    buf_free(&text);
}

static void test_text_histogram_is_cumulative_in_seconds(void **state)
{
    struct buf text = render_text(false);
    const char *labels = "{method=\"GET\",route=\"/v1/services/{serviceId}/status\"";
    static const char *const samples[] = {"_bucket%s,le=\"0.001\"} 0", "_bucket%s,le=\"0.0025\"} 2",
                                          "_bucket%s,le=\"0.005\"} 4", "_bucket%s,le=\"0.01\"} 5",
                                          "_bucket%s,le=\"120\"} 5",   "_bucket%s,le=\"+Inf\"} 5",
                                          "_sum%s} 0.016500000",       "_count%s} 5"};
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        struct buf want = BUF(0);
        const char *gap = strstr(samples[i], "%s");
        buf_addf(&want, "\nhestia_request_duration_seconds%.*s%s%s\n", (int)(gap - samples[i]), samples[i],
                 labels, gap + 2);
        check_has(&text, buf_c(&want));
        buf_free(&want);
    }
    check_has(&text, "hestia_response_size_bytes_bucket{method=\"GET\",route=\"/x\",le=\"64\"} 6\n");
    buf_free(&text);
}

static void test_text_names_each_family_once(void **state)
{
    struct buf text = render_text(false);
    for (enum metric m = 0; m < METRIC_COUNT; m++) {
        struct buf line = BUF(0);
        if (!metric_row(m)->prometheus_name)
            continue;
        buf_addf(&line, "# TYPE %s ", metric_row(m)->prometheus_name);
        const char *first = strstr(buf_c(&text), buf_c(&line));
        if (first)
            assert_null(strstr(first + 1, buf_c(&line)));
        buf_free(&line);
    }
    buf_free(&text);
}

static void test_openmetrics_form(void **state)
{
    struct buf text = render_text(true);
    check_has(&text, "# TYPE hestia_requests counter\n");
    check_has(&text, "# TYPE hestia_build info\n");
    check_has(&text, "# TYPE process_cpu_seconds counter\n");
    check_has(&text, "\nprocess_cpu_seconds_total 1.500000\n");
    check_has(&text, ",le=\"1.0\"} 5\n");
    assert_true(str_ends(buf_str(&text), STR("\n# EOF\n")));
    buf_free(&text);
}

/* The judge of the field, where it is installed (Debian: prometheus). */
static void test_text_passes_promtool(void **state)
{
    if (system("command -v promtool >/dev/null") != 0)
        return;
    struct buf text = render_text(false);
    FILE *judge = popen("promtool check metrics 2>&1", "w");
    assert_non_null(judge);
    assert_int_equal(fwrite(text.p, 1, text.n, judge), text.n);
    assert_int_equal(pclose(judge), 0);
    buf_free(&text);
}

static void test_empty_reading_is_valid(void **state)
{
    struct metrics_reading empty = {.values = NULL};
    struct buf out = BUF(0);
    metrics_write_json(&out, &empty);
    json_t *root = parse(&out);
    assert_int_equal(json_object_size(root), 5);
    json_decref(root);
    metrics_write_text(&out, &empty, false);
    assert_true(str_starts(buf_str(&out), STR("# HELP hestia_build_info ")));
    buf_free(&out);
}

static void test_accept_chooses_the_format(void **state)
{
    static const struct {
        const char *accept;
        bool openmetrics;
    } rows[] = {
        {"", false},
        {"*/*", false},
        {"text/plain", false},
        {"application/openmetrics-text", true},
        {"application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
         "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         true},
        {"text/plain;version=0.0.4, Application/OpenMetrics-Text; q=0.5", false},
        {"application/openmetrics-text;q=0", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (metrics_accept_openmetrics(str_from_c(rows[i].accept)) != rows[i].openmetrics)
            fail_msg("wrong for %s", rows[i].accept);
    }
}

static void test_process_reading(void **state)
{
    struct process_usage before, after;
    process_read(&before);
    FILE *opened = fopen("/dev/null", "r");
    assert_non_null(opened);
    process_read(&after);
    fclose(opened);
    double now = (double)clock_wall_us() / 1e6;
    assert_int_equal(after.open_fds, before.open_fds + 1);
    assert_true(after.max_fds >= after.open_fds && before.open_fds >= 3);
    assert_true(after.resident_bytes > 100000 && after.virtual_bytes >= after.resident_bytes);
    assert_true(after.cpu_seconds >= before.cpu_seconds && after.cpu_seconds > 0 && after.cpu_percent >= 0);
    assert_true(after.start_time > now - 600 && after.start_time <= now + 0.1);
    assert_true(after.start_time == before.start_time);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_has_the_five_keys),
        cmocka_unit_test(test_json_counter_of_an_own_route),
        cmocka_unit_test(test_json_service_values_are_only_below_services),
        cmocka_unit_test(test_json_starts_are_summed_over_results),
        cmocka_unit_test(test_json_timer_in_milliseconds),
        cmocka_unit_test(test_json_histogram_percentiles),
        cmocka_unit_test(test_json_gauges_of_the_system),
        cmocka_unit_test(test_json_of_one_service),
        cmocka_unit_test(test_text_samples),
        cmocka_unit_test(test_text_histogram_is_cumulative_in_seconds),
        cmocka_unit_test(test_text_names_each_family_once),
        cmocka_unit_test(test_openmetrics_form),
        cmocka_unit_test(test_text_passes_promtool),
        cmocka_unit_test(test_empty_reading_is_valid),
        cmocka_unit_test(test_accept_chooses_the_format),
        cmocka_unit_test(test_process_reading),
    };
    return cmocka_run_group_tests(tests, fill, drop);
}
