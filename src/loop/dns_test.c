/* Names to addresses, as far as no name server is needed; and look-ups that nobody waits for any more. */
#include "loop/dns.h"
#include "loop/offload.h"
#include "loop/test.h"

static enum err resolve(struct task *t, struct str host, struct addresses *out, uint64_t ms)
{
    struct error error = {0};
    enum err err = dns_resolve(t, host, 8080, out, task_deadline(t, ms), &error);
    assert_true(err != ERR_DNS || error.why[0]);
    return err;
}

static bool has(const struct addresses *list, const char *printed)
{
    char text[160];
    for (int i = 0; i < list->count; i++)
        if (str_eq(address_format(&list->list[i], true, text, sizeof text), str_from_c(printed)))
            return true;
    return false;
}

static void numeric(struct task *t, void *argument)
{
    struct addresses list;
    assert_int_equal(resolve(t, STR("127.0.0.1"), &list, 0), OK); /* no wait at all */
    assert_int_equal(list.count, 1);
    assert_true(has(&list, "127.0.0.1:8080"));
    assert_int_equal(resolve(t, STR("::1"), &list, 0), OK);
    assert_true(has(&list, "[::1]:8080"));
    assert_null(t->loop->dns); /* c-ares was never asked */
}

static void test_numeric(void **state)
{
    run_task(numeric, NULL);
}

static void localhost(struct task *t, void *argument)
{
    struct addresses list;
    struct error error;
    for (int i = 0; i < 2; i++) { /* the second time from the cache, with another port */
        assert_int_equal(
            dns_resolve(t, STR("localhost"), (uint16_t)(80 + i), &list, task_deadline(t, 5000), &error), OK);
        assert_true(has(&list, i ? "127.0.0.1:81" : "127.0.0.1:80") ||
                    has(&list, i ? "[::1]:81" : "[::1]:80"));
    }
}

static void test_localhost(void **state)
{
    run_task(localhost, NULL);
    offload_stop();
}

/* Whether a name server is there or not: never an address, always within the deadline. */
static void failures(struct task *t, void *argument)
{
    char name[400];
    struct addresses list;
    memset(name, 'a', sizeof name);
    assert_int_equal(resolve(t, str_make(name, sizeof name), &list, 1000), ERR_DNS);
    enum err err = resolve(t, STR("nobody.invalid"), &list, 300);
    assert_true(err == ERR_DNS || err == ERR_TIMEOUT);
}

static void test_failures(void **state)
{
    run_task(failures, NULL);
    offload_stop();
}

struct asker {
    struct task *task;
    int ended;
};

static void ask(struct task *t, void *argument)
{
    struct asker *asker = argument;
    struct addresses list;
    enum err err = resolve(t, STR("nobody.invalid"), &list, 60000);
    assert_true(err == ERR_CANCELLED || err == ERR_DNS);
    asker->ended++;
}

/* The callback comes later, or with the loop's end: it must find its memory, and leave none behind. */
static void cancelled(struct task *t, void *argument)
{
    struct asker askers[8] = {0};
    for (size_t i = 0; i < COUNT_OF(askers); i++)
        askers[i].task = task_spawn(t->loop, ask, &askers[i]);
    for (size_t i = 0; i < COUNT_OF(askers); i++) {
        if (i % 2)
            assert_int_equal(task_yield(t), OK);
        if (!askers[i].ended)
            task_cancel(askers[i].task);
    }
    while (t->loop->task_count > 1)
        assert_int_equal(task_sleep(t, 1), OK);
    for (size_t i = 0; i < COUNT_OF(askers); i++)
        assert_int_equal(askers[i].ended, 1);
}

static void test_cancelled(void **state)
{
    run_task(cancelled, NULL);
    offload_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numeric),
        cmocka_unit_test(test_localhost),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
