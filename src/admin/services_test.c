/* Tests of the handlers of services.c, with services that do as the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* The handlers are compiled into this test, and call these instead of the real ones. */
#define service_start fake_start
#define service_stop fake_stop
#define service_status fake_status
#define service_ref fake_ref
#define service_unref fake_unref
#define worker_service_count fake_count
#define worker_service_at fake_at
#include "admin/services.c"

#include <jansson.h>
#include <stdio.h>

static struct {
    enum err outcome;
    const char *why;
    bool forced;
    int references;
} fake;

enum err fake_start(struct task *t, struct service *s, struct error *error)
{
    return fake.outcome == OK ? OK : error_set(error, fake.outcome, "%s", fake.why);
}

enum err fake_stop(struct task *t, struct service *s, bool force, struct error *error)
{
    fake.forced = force;
    return fake_start(t, s, error);
}

void fake_status(struct task *t, struct service *s, struct arena *arena, struct service_status *out)
{
    *out = (struct service_status){.id = arena_printf(arena, "service %d", (int)(uintptr_t)s)};
    assert_int_equal(fake.references, 2);
}

struct service *fake_ref(struct service *s)
{
    fake.references++;
    return s;
}

void fake_unref(struct service *s)
{
    fake.references--;
}

size_t fake_count(const struct worker *w)
{
    return 2;
}

struct service *fake_at(const struct worker *w, size_t i)
{
    return (struct service *)(uintptr_t)(i + 1);
}

static struct request request;
static struct response response;
static struct api_call call;
static json_t *body;

static int begin(void **state)
{
    memset(&fake, 0, sizeof fake);
    memset(&request, 0, sizeof request);
    call = (struct api_call){.request = &request};
    response = (struct response){.status = 200};
    body = NULL;
    return 0;
}

static int end(void **state)
{
    json_decref(body);
    buf_free(&response.fields);
    arena_free(&request.arena);
    return 0;
}

static enum err run(api_handler *handler)
{
    enum err err = handler(NULL, &call, &response);
    if (err == OK)
        body = json_loadb(response.body.p, response.body.n, JSON_REJECT_DUPLICATES, NULL);
    return err;
}

static const char *message(json_t *from)
{
    return json_string_value(json_object_get(from, "message"));
}

static void test_start_is_initiated(void **state)
{
    assert_int_equal(run(start_answer), OK);
    assert_int_equal(response.status, 202);
    assert_string_equal(message(body), "Service start initiated");
}

static void test_start_of_a_running_service(void **state)
{
    fake.outcome = ERR_CONFLICT;
    fake.why = "Service is already running";
    assert_int_equal(run(start_answer), OK);
    assert_int_equal(response.status, 409);
    assert_string_equal(message(body), "Service is already running");
    assert_string_equal(message(json_object_get(body, "error")), "Service is already running");
    assert_string_equal(buf_c(&response.fields), "X-Hestia-Error-Source: gateway\r\n");
}

static void test_start_that_must_wait(void **state)
{
    fake.outcome = ERR_DRAINING;
    fake.why = "";
    assert_int_equal(run(start_answer), OK);
    assert_int_equal(response.status, 503);
    assert_non_null(strstr(buf_c(&response.fields), "Retry-After: 5\r\n"));
}

static void test_start_for_a_client_that_left(void **state)
{
    fake.outcome = ERR_CANCELLED;
    fake.why = "";
    assert_int_equal(run(start_answer), ERR_CANCELLED);
    assert_int_equal(call.error.err, ERR_CANCELLED);
}

static void test_stop_waits_unless_forced(void **state)
{
    assert_int_equal(run(stop_answer), OK);
    assert_int_equal(response.status, 202);
    assert_string_equal(message(body), "Service stop initiated");
    assert_false(fake.forced);
    end(state);
    begin(state);
    request.target.query = STR("x=2&force=1");
    assert_int_equal(run(stop_answer), OK);
    assert_true(fake.forced);
    end(state);
    begin(state);
    request.target.query = STR("force=0");
    assert_int_equal(run(stop_answer), OK);
    assert_false(fake.forced);
}

static void test_list_holds_each_service_while_it_asks(void **state)
{
    assert_int_equal(run(services_answer), OK);
    json_t *list = json_object_get(body, "services");
    assert_int_equal(json_array_size(list), 2);
    json_t *second = json_array_get(list, 1);
    assert_string_equal(json_string_value(json_object_get(second, "serviceId")), "service 2");
    assert_int_equal(fake.references, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_start_is_initiated, begin, end),
        cmocka_unit_test_setup_teardown(test_start_of_a_running_service, begin, end),
        cmocka_unit_test_setup_teardown(test_start_that_must_wait, begin, end),
        cmocka_unit_test_setup_teardown(test_start_for_a_client_that_left, begin, end),
        cmocka_unit_test_setup_teardown(test_stop_waits_unless_forced, begin, end),
        cmocka_unit_test_setup_teardown(test_list_holds_each_service_while_it_asks, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
