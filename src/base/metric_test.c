/* Tests of metric.c. The registry lives as long as the process, so each test uses labels of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metric.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static struct metric_set *set;

static int make_set(void **state)
{
    set = metric_set_new();
    return set ? 0 : -1;
}

static label intern(const char *text)
{
    return label_intern(str_from_c(text));
}

/* The summed value of one metric and label set; a zero value when there is none. */
static struct metric_value read_one(enum metric m, struct metric_labels labels)
{
    size_t count = 0;
    struct metric_value found = {0}, *all = metric_read_all(&count);
    for (size_t i = 0; i < count; i++) {
        if (all[i].metric == m && memcmp(&all[i].labels, &labels, sizeof labels) == 0)
            found = all[i];
    }
    mem_free(all);
    return found;
}

static void test_labels_are_interned_once(void **state)
{
    label a = intern("ollama"), b = intern("comfyui");
    assert_true(a > LABEL_OTHER && b > LABEL_OTHER && a != b);
    assert_int_equal(intern("ollama"), a);
    assert_true(str_eq(label_text(a), STR("ollama")));
    assert_int_equal(intern(""), 0);
    assert_int_equal(label_text(0).n, 0);
    assert_true(str_eq(label_text(LABEL_OTHER), STR("other")));
}

static void test_numbers_are_labels(void **state)
{
    assert_true(str_eq(label_text(label_number(0)), STR("0")));
    assert_true(str_eq(label_text(label_number(70)), STR("70")));
    assert_true(str_eq(label_text(label_number(404)), STR("404")));
    assert_true(str_eq(label_text(label_number(999)), STR("999")));
    assert_int_equal(label_number(1000), LABEL_OTHER);
}

static void test_long_label_is_cut(void **state)
{
    char text[300];
    memset(text, 'x', sizeof text);
    label l = label_intern(str_make(text, sizeof text));
    assert_int_equal(label_text(l).n, 128);
    assert_int_equal(label_intern(str_make(text, 200)), l);
    memcpy(text + 126, "\xe2\x82\xac", 3); /* the euro sign does not fit whole */
    assert_int_equal(label_text(label_intern(str_make(text, sizeof text))).n, 126);
}

static void test_counter_adds_up_over_sets(void **state)
{
    struct metric_set *second = metric_set_new();
    struct metric_labels labels = LABELS(intern("counting"), intern("GET"));
    metric_add(set, METRIC_PROXY_REQUESTS, labels, 3);
    metric_add(set, METRIC_PROXY_REQUESTS, labels, 1);
    metric_add(second, METRIC_PROXY_REQUESTS, labels, 38);
    assert_int_equal(read_one(METRIC_PROXY_REQUESTS, labels).count, 42);
    assert_int_equal(read_one(METRIC_PROXY_ERRORS, labels).count, 0);
}

static void test_timer_keeps_sum_extremes_and_buckets(void **state)
{
    struct metric_labels labels = LABELS(intern("timing"));
    metric_observe(set, METRIC_QUEUE_WAIT, labels, 1 * CLOCK_MS); /* a bound belongs to its bucket */
    metric_observe(set, METRIC_QUEUE_WAIT, labels, 1 * CLOCK_MS + 1);
    metric_observe(set, METRIC_QUEUE_WAIT, labels, 900 * CLOCK_S);
    struct metric_value v = read_one(METRIC_QUEUE_WAIT, labels);
    assert_int_equal(v.count, 3);
    assert_int_equal(v.sum, 2 * CLOCK_MS + 1 + 900 * CLOCK_S);
    assert_int_equal(v.min, CLOCK_MS);
    assert_int_equal(v.max, 900 * CLOCK_S);
    assert_int_equal(v.buckets[0], 1);
    assert_int_equal(v.buckets[1], 1);
    assert_int_equal(v.buckets[METRIC_BUCKETS - 1], 1);
}

static void test_bounds_ascend(void **state)
{
    for (enum metric m = 0; m < METRIC_COUNT; m++) {
        const struct metric_row *row = metric_row(m);
        bool has_buckets = row->kind == METRIC_TIMER || row->kind == METRIC_HISTOGRAM;
        assert_int_equal(has_buckets, row->scale != SCALE_NONE && row->scale != SCALE_DOLLARS);
        assert_true(metric_bucket_bound(m, METRIC_BUCKETS - 1) == UINT64_MAX);
        for (int i = 1; has_buckets && i < METRIC_BUCKETS; i++)
            assert_true(metric_bucket_bound(m, i - 1) < metric_bucket_bound(m, i));
    }
}

static void test_rows_are_well_formed(void **state)
{
    for (enum metric m = 0; m < METRIC_COUNT; m++) {
        const struct metric_row *row = metric_row(m);
        bool is_total = row->prometheus_name && str_ends(str_from_c(row->prometheus_name), STR("_total"));
        if (row->prometheus_name)
            assert_int_equal(is_total, row->kind == METRIC_COUNTER);
        if (row->scope != SCOPE_GLOBAL)
            assert_string_equal(row->labels[0], "service");
        for (enum metric other = 0; other < m; other++) {
            assert_string_not_equal(row->json_name, metric_row(other)->json_name);
            if (row->prometheus_name && metric_row(other)->prometheus_name)
                assert_string_not_equal(row->prometheus_name, metric_row(other)->prometheus_name);
        }
    }
}

static void test_gauges_set_and_add(void **state)
{
    struct metric_set *second = metric_set_new();
    struct metric_labels labels = LABELS(intern("gauging"));
    metric_gauge_set(set, METRIC_QUEUE_SIZE, labels, 9);
    metric_gauge_set(set, METRIC_QUEUE_SIZE, labels, 5);
    metric_gauge_add(second, METRIC_QUEUE_SIZE, labels, 2);
    metric_gauge_add(second, METRIC_QUEUE_SIZE, labels, -3);
    assert_int_equal(read_one(METRIC_QUEUE_SIZE, labels).gauge, 4);
}

static void test_clock_of_the_set_is_used(void **state)
{
    struct metric_labels labels = LABELS(intern("clocked"));
    int64_t before = clock_wall_us();
    metric_add(set, METRIC_QUEUE_TIMEOUTS, labels, 1);
    assert_true(read_one(METRIC_QUEUE_TIMEOUTS, labels).updated_us >= before);
    metric_set_clock(set, before + 3600000000);
    metric_add(set, METRIC_QUEUE_TIMEOUTS, labels, 1);
    assert_true(read_one(METRIC_QUEUE_TIMEOUTS, labels).updated_us == before + 3600000000);
}

static void test_values_come_sorted(void **state)
{
    struct metric_labels first = LABELS(intern("sort a")), second = LABELS(intern("sort b"));
    metric_add(set, METRIC_SERVICE_ERRORS, second, 1);
    metric_add(set, METRIC_SERVICE_ERRORS, first, 1);
    metric_add(set, METRIC_REQUESTS, second, 1);
    size_t count = 0;
    struct metric_value *all = metric_read_all(&count);
    assert_non_null(all);
    for (size_t i = 1; i < count; i++) {
        assert_true(all[i - 1].metric <= all[i].metric);
        if (all[i - 1].metric == all[i].metric)
            assert_true(all[i - 1].labels.of[0] <= all[i].labels.of[0]);
    }
    mem_free(all);
}

static void test_null_set_does_nothing(void **state)
{
    metric_add(NULL, METRIC_REQUESTS, LABELS(0), 1);
    metric_observe(NULL, METRIC_QUEUE_WAIT, LABELS(0), 1);
    metric_gauge_set(NULL, METRIC_QUEUE_SIZE, LABELS(0), 1);
    metric_gauge_add(NULL, METRIC_QUEUE_SIZE, LABELS(0), 1);
    metric_set_clock(NULL, 1);
}

/* 17,000 label sets in one set: the last ones are counted as "other", none is lost. */
static void test_label_sets_are_bounded(void **state)
{
    enum { SETS = 17 * 1000 };
    label service = intern("bounded");
    for (unsigned i = 0; i < SETS; i++) {
        struct metric_labels labels = LABELS(service, label_number(i / 1000), label_number(i % 1000));
        metric_add(set, METRIC_REQUESTS, labels, 1);
    }
    size_t count = 0, total = 0, apart = 0;
    struct metric_value *all = metric_read_all(&count);
    for (size_t i = 0; i < count; i++) {
        if (all[i].metric != METRIC_REQUESTS)
            continue;
        bool is_own = all[i].labels.of[0] == service;
        apart += is_own;
        total += is_own || all[i].labels.of[0] == LABEL_OTHER ? all[i].count : 0;
    }
    mem_free(all);
    assert_int_equal(total, SETS);
    assert_int_equal(apart, 16384);
}

/* Last: it uses up all label values. */
static void test_label_values_are_bounded(void **state)
{
    char text[32];
    label l = 0;
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "value %d", i);
        l = intern(text);
    }
    assert_int_equal(l, LABEL_OTHER);
    assert_true(intern("value 1") > LABEL_OTHER);
    assert_true(str_eq(label_text(intern("value 17")), STR("value 17")));
}

enum { ROUNDS = 20000 };

struct counting {
    struct metric_labels labels;
    _Atomic int running;
};

static void *count_in_thread(void *argument)
{
    struct counting *c = argument;
    struct metric_set *own = metric_set_new();
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(own, METRIC_PROXY_REQUESTS, c->labels, 1);
        metric_observe(own, METRIC_PROXY_DURATION, c->labels, (uint64_t)i * 1000);
        /* New cells appear and the index grows while the reader walks. */
        metric_add(own, METRIC_RESPONSES, LABELS(c->labels.of[0], label_number((unsigned)i % 900)), 1);
    }
    atomic_fetch_sub(&c->running, 1);
    return NULL;
}

static void test_two_threads_count_while_a_third_reads(void **state)
{
    struct counting c = {.labels = LABELS(intern("threads"), intern("PUT")), .running = 2};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_in_thread, &c), 0);
    uint64_t last = 0;
    while (atomic_load(&c.running)) {
        struct metric_value v = read_one(METRIC_PROXY_DURATION, c.labels);
        assert_true(v.count >= last);
        assert_true(v.count == 0 || (v.min <= v.max && v.max < ROUNDS * (uint64_t)1000));
        last = v.count;
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(read_one(METRIC_PROXY_REQUESTS, c.labels).count, 2 * ROUNDS);
    assert_int_equal(read_one(METRIC_PROXY_DURATION, c.labels).count, 2 * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_labels_are_interned_once, make_set),
        cmocka_unit_test_setup(test_numbers_are_labels, make_set),
        cmocka_unit_test_setup(test_long_label_is_cut, make_set),
        cmocka_unit_test_setup(test_counter_adds_up_over_sets, make_set),
        cmocka_unit_test_setup(test_timer_keeps_sum_extremes_and_buckets, make_set),
        cmocka_unit_test_setup(test_bounds_ascend, make_set),
        cmocka_unit_test_setup(test_rows_are_well_formed, make_set),
        cmocka_unit_test_setup(test_gauges_set_and_add, make_set),
        cmocka_unit_test_setup(test_clock_of_the_set_is_used, make_set),
        cmocka_unit_test_setup(test_values_come_sorted, make_set),
        cmocka_unit_test_setup(test_null_set_does_nothing, make_set),
        cmocka_unit_test_setup(test_two_threads_count_while_a_third_reads, make_set),
        cmocka_unit_test_setup(test_label_sets_are_bounded, make_set),
        cmocka_unit_test_setup(test_label_values_are_bounded, make_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
