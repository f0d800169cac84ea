/* Tests of the forms in which services and their logs are shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/log_lines.h"
#include "admin/status.h"

#include <jansson.h>
#include <stdio.h>

static json_t *render_status(const struct service_status *status)
{
    struct buf out = BUF(0);
    struct json j = json_to(&out);
    status_write(&j, status);
    assert_int_equal(buf_err(&out), OK);
    json_t *root = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, NULL);
    buf_free(&out);
    assert_non_null(root);
    return root;
}

static void check_text(json_t *root, const char *key, const char *want)
{
    assert_string_equal(json_string_value(json_object_get(root, key)), want);
}

static void test_status_of_a_hot_service(void **state)
{
    struct service_status status = {.id = STR("ollama"),
                                    .state = SERVICE_HOT,
                                    .ready = true,
                                    .queue_pending = 0,
                                    .in_flight = 3,
                                    .idle_ms = 7,
                                    .state_age_ms = 900};
    json_t *root = render_status(&status);
    check_text(root, "serviceId", "ollama");
    check_text(root, "state", "hot");
    check_text(root, "machineId", "local");
    check_text(root, "readiness", "ready");
    assert_int_equal(json_integer_value(json_object_get(root, "queuePending")), 0);
    assert_true(json_is_false(json_object_get(json_object_get(root, "automation"), "enabled")));
    assert_int_equal(json_integer_value(json_object_get(root, "inFlight")), 3);
    assert_int_equal(json_integer_value(json_object_get(root, "idleMs")), 7);
    assert_int_equal(json_integer_value(json_object_get(root, "stateAgeMs")), 900);
    assert_true(json_is_null(json_object_get(root, "lastError")));
    assert_true(json_is_null(json_object_get(root, "retryAt")));
    json_decref(root);
}

static void test_status_after_a_failed_start(void **state)
{
    struct service_status status = {.id = STR("a \"b\""),
                                    .machine_id = STR("gpu-1"),
                                    .state = SERVICE_COLD,
                                    .queue_pending = 12,
                                    .last_error = STR("exit status 1"),
                                    .has_last_error = true,
                                    .retry_at_us = (int64_t)1757395800 * 1000000 + 250000};
    json_t *root = render_status(&status);
    check_text(root, "serviceId", "a \"b\"");
    check_text(root, "state", "cold");
    check_text(root, "machineId", "gpu-1");
    check_text(root, "readiness", "not_ready");
    check_text(root, "lastError", "exit status 1");
    check_text(root, "retryAt", "2025-09-09T05:30:00.250000Z");
    assert_int_equal(json_integer_value(json_object_get(root, "queuePending")), 12);
    json_decref(root);
}

static void test_state_names(void **state)
{
    static const char *const names[] = {"cold", "starting", "hot", "stopping"};
    for (int i = 0; i < 4; i++) {
        struct service_status status = {.id = STR("x"), .state = (enum service_state)i};
        json_t *root = render_status(&status);
        check_text(root, "state", names[i]);
        json_decref(root);
    }
}

static struct log_text_line lines[] = {
    {.offset = 0, .wall_us = (int64_t)1757395800 * 1000000, .text = {"loading \"m\"", 11}},
    {.offset = 12, .wall_us = (int64_t)1757395801 * 1000000, .text = {"", 0}},
    {.offset = 13, .wall_us = (int64_t)1757395801 * 1000000, .text = {"a\xff\r\nb", 5}},
};
static const struct log_text text = {.lines = lines, .count = 3, .next = 19};

static void test_logs_as_text(void **state)
{
    struct buf out = BUF(0);
    log_lines_write_text(&out, &text);
    assert_string_equal(buf_c(&out), "loading \"m\"\n\na\xff\r\nb\n");
    buf_free(&out);
}

/* A line of log can end neither its event nor its data line. */
static void test_logs_as_events(void **state)
{
    struct buf out = BUF(0);
    log_lines_write_events(&out, &text);
    assert_string_equal(buf_c(&out),
                        "id: 0\ndata: {\"offset\":0,\"timestamp\":\"2025-09-09T05:30:00.000000Z\","
                        "\"line\":\"loading \\\"m\\\"\"}\n\n"
                        "id: 12\ndata: {\"offset\":12,\"timestamp\":\"2025-09-09T05:30:01.000000Z\","
                        "\"line\":\"\"}\n\n"
                        "id: 13\ndata: {\"offset\":13,\"timestamp\":\"2025-09-09T05:30:01.000000Z\","
                        "\"line\":\"a\xef\xbf\xbd\\r\\nb\"}\n\n");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_of_a_hot_service),
        cmocka_unit_test(test_status_after_a_failed_start),
        cmocka_unit_test(test_state_names),
        cmocka_unit_test(test_logs_as_text),
        cmocka_unit_test(test_logs_as_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
