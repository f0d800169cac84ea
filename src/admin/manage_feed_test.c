/* Tests of the log as a feed: what reaches whom, what a full backlog loses, and the log's tap below it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/manage_feed.h"
#include "base/log.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

/* What the log itself would have written. */
static struct buf logged;

static void keep(struct str line)
{
    buf_add_str(&logged, line);
}

static int begin(void **state)
{
    logged = BUF(0);
    log_set_sink(keep);
    log_set_level(LOG_INFO);
    log_set_text(false);
    return 0;
}

static int end(void **state)
{
    log_set_sink(NULL);
    log_set_text(false);
    log_set_level(LOG_INFO);
    buf_free(&logged);
    return 0;
}

static bool took(struct feed_reader *reader, const char *text)
{
    struct buf out = BUF(0);
    feed_take(reader, &out);
    bool found = strstr(buf_c(&out), text) != NULL;
    buf_free(&out);
    return found;
}

/* The data of the only event that the reader has. */
static json_t *only_event(struct feed_reader *reader, const char *type)
{
    struct buf out = BUF(0);
    feed_take(reader, &out);
    struct str rest = buf_str(&out), head = str_cut(&rest, '\n'), data = str_cut(&rest, '\n');
    assert_true(str_starts(head, STR("event: ")) && str_eq(str_from(head, 7), str_from_c(type)));
    assert_true(str_starts(data, STR("data: ")));
    assert_true(str_eq(rest, STR("\n"))); /* the empty line, and no other event */
    json_t *root = json_loadb(data.p + 6, data.n - 6, JSON_REJECT_DUPLICATES, NULL);
    buf_free(&out);
    assert_non_null(root);
    return root;
}

static void say(enum log_level level, const char *type)
{
    struct log_line l;
    if (log_begin(&l, level, type, "it is \"%s\"\n", type)) {
        json_key_i64(&l.json, "number", 5);
        json_key_object(&l.json, "metadata"); /* left open: log_end closes it */
        log_end(&l);
    }
}

static void check_event(struct feed_reader *reader, const char *type)
{
    json_t *root = only_event(reader, type);
    assert_string_equal(json_string_value(json_object_get(root, "event_type")), type);
    assert_string_equal(json_string_value(json_object_get(root, "level")), "INFO");
    assert_non_null(strstr(json_string_value(json_object_get(root, "message")), "it is \""));
    assert_int_equal(json_integer_value(json_object_get(root, "number")), 5);
    assert_non_null(json_object_get(root, "timestamp"));
    json_decref(root);
}

static void test_a_line_is_an_event(void **state)
{
    struct feed_reader reader CLEANUP(feed_leave) = {0};
    assert_true(feed_join(&reader));
    say(LOG_INFO, "service_ready");
    check_event(&reader, "service_ready");
    assert_false(took(&reader, "event")); /* taken once */
}

/* The feed is JSON also where the log is text for people. */
static void test_a_text_log_feeds_json(void **state)
{
    struct feed_reader reader CLEANUP(feed_leave) = {0};
    log_set_text(true);
    assert_true(feed_join(&reader));
    say(LOG_INFO, "service_ready");
    check_event(&reader, "service_ready");
    assert_non_null(strstr(buf_c(&logged), " INFO    service_ready it is"));
    buf_clear(&logged);
    log_event(LOG_INFO, "bare", "no fields");
    json_decref(only_event(&reader, "bare"));
    assert_true(str_ends(buf_str(&logged), STR("bare no fields\n")));
}

/* The log's own level holds for the log only; nothing below INFO is an event. */
static void test_levels(void **state)
{
    struct feed_reader reader CLEANUP(feed_leave) = {0};
    log_set_level(LOG_ERROR);
    assert_false(log_enabled(LOG_INFO));
    assert_true(feed_join(&reader));
    say(LOG_DEBUG, "routing");
    say(LOG_INFO, "service_ready");
    check_event(&reader, "service_ready");
    assert_int_equal(logged.n, 0);
    say(LOG_ERROR, "bad");
    assert_true(logged.n > 0);
    feed_leave(&reader);
    assert_false(log_enabled(LOG_INFO)); /* nobody listens: nothing is built */
    log_set_level(LOG_DEBUG);
    assert_true(feed_join(&reader));
    say(LOG_DEBUG, "routing");
    assert_non_null(strstr(buf_c(&logged), "routing"));
    assert_false(took(&reader, "routing"));
}

static void test_requests_only_when_asked_for(void **state)
{
    struct feed_reader plain CLEANUP(feed_leave) = {0}, all CLEANUP(feed_leave) = {.with_requests = true};
    struct feed_reader some CLEANUP(feed_leave) = {.types = STR("a, request_end")};
    assert_true(feed_join(&plain) && feed_join(&all) && feed_join(&some));
    say(LOG_INFO, "request_end");
    say(LOG_INFO, "b");
    struct buf out = BUF(0);
    feed_take(&plain, &out);
    assert_null(strstr(buf_c(&out), "request_end"));
    assert_non_null(strstr(buf_c(&out), "event: b\n"));
    buf_clear(&out);
    feed_take(&all, &out);
    assert_non_null(strstr(buf_c(&out), "event: request_end\n"));
    assert_non_null(strstr(buf_c(&out), "event: b\n"));
    buf_clear(&out);
    feed_take(&some, &out);
    assert_non_null(strstr(buf_c(&out), "event: request_end\n"));
    assert_null(strstr(buf_c(&out), "event: b\n"));
    buf_free(&out);
}

/* A reader that does not take loses whole events, is told how many, and then goes on. */
static void test_a_slow_reader_loses_events(void **state)
{
    struct feed_reader reader CLEANUP(feed_leave) = {0};
    char text[1024];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_true(feed_join(&reader));
    int said = FEED_BACKLOG_MAX / 1024 + 10;
    for (int i = 0; i < said; i++)
        log_event(LOG_INFO, "big", "%s", text);
    struct buf out = BUF(0);
    feed_take(&reader, &out);
    const char *p = buf_c(&out);
    int came = 0, lost = 0;
    for (; (p = strstr(p, "event: big\n")); p++)
        came++;
    const char *notice = strstr(buf_c(&out), "event: events_lost\ndata: {\"lost\":");
    assert_non_null(notice);
    lost = atoi(notice + strlen("event: events_lost\ndata: {\"lost\":"));
    assert_int_equal(came + lost, said);
    assert_true(lost >= 10 && str_ends(buf_str(&out), STR("}\n\n")));
    assert_true(out.n <= FEED_BACKLOG_MAX + 128);
    buf_free(&out);
    say(LOG_INFO, "again");
    check_event(&reader, "again");
}

static void test_there_is_an_end_of_places(void **state)
{
    struct feed_reader readers[FEED_MAX] = {0}, more CLEANUP(feed_leave) = {0};
    for (int i = 0; i < FEED_MAX; i++)
        assert_true(feed_join(&readers[i]));
    assert_false(feed_join(&more));
    feed_leave(&more); /* never was in */
    assert_false(feed_join(&more));
    feed_leave(&readers[3]);
    assert_true(feed_join(&more));
    for (int i = 0; i < FEED_MAX; i++)
        feed_leave(&readers[i]);
}

/* Threads log while readers come and go: nothing is torn (and the thread sanitizer has nothing to say). */
static void *talk(void *argument)
{
    for (int i = 0; i < 2000; i++)
        log_event(LOG_INFO, "talk", "line %d", i);
    return argument;
}

static void discard(struct str line) {}

static void test_threads(void **state)
{
    pthread_t threads[2];
    log_set_sink(discard);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, talk, NULL), 0);
    for (int i = 0; i < 200; i++) {
        struct feed_reader reader CLEANUP(feed_leave) = {0};
        struct buf out = BUF(0);
        assert_true(feed_join(&reader));
        feed_take(&reader, &out);
        assert_true(out.n == 0 || str_ends(buf_str(&out), STR("}\n\n")));
        buf_free(&out);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_line_is_an_event, begin, end),
        cmocka_unit_test_setup_teardown(test_a_text_log_feeds_json, begin, end),
        cmocka_unit_test_setup_teardown(test_levels, begin, end),
        cmocka_unit_test_setup_teardown(test_requests_only_when_asked_for, begin, end),
        cmocka_unit_test_setup_teardown(test_a_slow_reader_loses_events, begin, end),
        cmocka_unit_test_setup_teardown(test_there_is_an_end_of_places, begin, end),
        cmocka_unit_test_setup_teardown(test_threads, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
