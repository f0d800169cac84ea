/* What a child is told: arguments and environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "service/child_texts.h"

static struct arena arena;

static int forget(void **state)
{
    arena_free(&arena);
    return 0;
}

static void test_arguments(void **state)
{
    struct str command[] = {STR("serve"), STR("--port=${PORT}"), STR("${PORT}${PORT}"), STR("")};
    struct service_config config = {.command = {command, 4}};
    const char *const *argv = child_arguments(&arena, &config, 81);
    assert_string_equal(argv[0], "serve");
    assert_string_equal(argv[1], "--port=81");
    assert_string_equal(argv[2], "8181");
    assert_string_equal(argv[3], "");
    assert_null(argv[4]);
}

static void test_shell(void **state)
{
    struct str command[] = {STR("exec serve ${PORT} 2>&1")};
    struct service_config config = {.command = {command, 1}, .shell = true};
    const char *const *argv = child_arguments(&arena, &config, 81);
    assert_string_equal(argv[0], "/bin/sh");
    assert_string_equal(argv[1], "-c");
    assert_string_equal(argv[2], "exec serve 81 2>&1");
    assert_null(argv[3]);
}

static const char *value_of(const char *const *list, const char *name)
{
    const char *found = NULL;
    size_t n = strlen(name);
    for (; *list; list++) {
        if (strncmp(*list, name, n) != 0 || (*list)[n] != '=')
            continue;
        assert_null(found); /* each name once */
        found = *list + n + 1;
    }
    return found;
}

static void test_environment(void **state)
{
    static const char *const parent[] = {
        "PATH=/bin",       "HOME=/root", "SECRET=1",     "CUDA_VISIBLE_DEVICES=0",
        "HF_HOME=/models", "PORT=1",     "MY_TOKEN=a=b", "LD_PRELOAD=evil",
        "LANG=C",          NULL};
    struct str inherit[] = {STR("MY_TOKEN"), STR("PORT")};
    struct env_pair env[] = {{STR("HOME"), STR("/srv")}, {STR("URL"), STR("http://x:${PORT}")}};
    struct service_config config = {.env_inherit = {inherit, 2}, .env = env, .env_count = 2};
    const char *const *list = child_environment(&arena, &config, 4321, parent);
    assert_string_equal(value_of(list, "PATH"), "/bin");
    assert_string_equal(value_of(list, "HOME"), "/srv");
    assert_string_equal(value_of(list, "LANG"), "C");
    assert_string_equal(value_of(list, "CUDA_VISIBLE_DEVICES"), "0");
    assert_string_equal(value_of(list, "HF_HOME"), "/models");
    assert_string_equal(value_of(list, "MY_TOKEN"), "a=b");
    assert_string_equal(value_of(list, "URL"), "http://x:4321");
    assert_string_equal(value_of(list, "PORT"), "4321");
    assert_null(value_of(list, "SECRET"));
    assert_null(value_of(list, "LD_PRELOAD"));
}

static void test_port_of_a_fixed_url(void **state)
{
    static const char *const parent[] = {NULL};
    struct service_config config = {.base_url = {.port = 9000}};
    assert_string_equal(value_of(child_environment(&arena, &config, 0, parent), "PORT"), "9000");
    config.base_url = (struct url){.is_unix = true};
    assert_null(value_of(child_environment(&arena, &config, 0, parent), "PORT"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_arguments, forget),
        cmocka_unit_test_teardown(test_shell, forget),
        cmocka_unit_test_teardown(test_environment, forget),
        cmocka_unit_test_teardown(test_port_of_a_fixed_url, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
