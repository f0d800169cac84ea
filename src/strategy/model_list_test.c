/* Model lists in all shapes, broken ones, and the shelf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "strategy/model_list.h"

static struct model_list *parse(const char *text)
{
    struct error error = {0};
    struct model_list *l = model_list_parse(str_from_c(text), &error);
    if (!l)
        assert_true(error.why[0] != '\0');
    return l;
}

static void expect(const char *text, size_t count, const char *first)
{
    struct model_list *l = parse(text);
    assert_non_null(l);
    assert_int_equal(l->count, count);
    if (count)
        assert_true(str_eq(l->items[0].id, str_from_c(first)));
    model_list_free(l);
}

static void test_shapes(void **state)
{
    expect("{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o\",\"created\":7},{\"id\":\"b\"}]}", 2, "gpt-4o");
    expect("[{\"id\":\"org/model\",\"type\":\"chat\"}]", 1, "org/model");
    expect("{\"models\":[{\"name\":\"command-r\",\"endpoints\":[\"chat\"]},{\"name\":\"x\"}]}", 2,
           "command-r");
    expect("{\"models\":[{\"model\":\"llama3.2:latest\"}]}", 1, "llama3.2:latest");
    expect("[\"a\",\"b\",\"c\"]", 3, "a");
    expect("{\"data\":[\"only\"]}", 1, "only");
    expect("{\"data\":[]}", 0, NULL);
    expect("{\"data\":null,\"models\":[{\"id\":\"m\"}]}", 1, "m");
}

static void test_what_is_passed_over(void **state)
{
    expect("[{\"id\":\"a\"},{\"id\":\"a\"},{\"id\":\"\"},{\"id\":7},null,4,{\"x\":1},\"b\\u0001\",[\"c\"]]",
           1, "a");
    char text[MODEL_ID_MAX + 16] = "[\"";
    memset(text + 2, 'x', MODEL_ID_MAX + 1);
    memcpy(text + 3 + MODEL_ID_MAX, "\"]", 3);
    expect(text, 0, NULL);
}

static void test_what_is_no_list(void **state)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "{\"data\":{}}",
                                        "\"x\"",
                                        "7",
                                        "nul",
                                        "[\"a\"]x",
                                        "<html></html>",
                                        "{\"error\":{\"message\":\"no\"}}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_null(parse(texts[i]));
}

static void test_depth_is_bounded(void **state)
{
    enum { DEPTH = 200000 };
    char *text = mem_alloc(2 * DEPTH + 1);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    assert_null(parse(text));
    mem_free(text);
}

static void test_names(void **state)
{
    struct model_list *l = parse("[\"llama3.2:latest\",\"models/gemini-x\",\"a\"]");
    assert_true(model_list_has(l, STR("llama3.2")));
    assert_true(model_list_has(l, STR("llama3.2:latest")));
    assert_true(model_list_has(l, STR("gemini-x")));
    assert_true(model_list_has(l, STR("models/gemini-x")));
    assert_true(model_list_has(l, STR("a")));
    assert_false(model_list_has(l, STR("A")));
    assert_false(model_list_has(l, STR("gemini")));
    assert_false(model_list_has(l, STR("")));
    model_list_free(l);
}

static void test_created(void **state)
{
    struct model_list *l = parse("[{\"id\":\"a\",\"created\":1700000000},{\"id\":\"b\",\"created\":\"soon\"},"
                                 "{\"id\":\"c\",\"created\":-1}]");
    assert_int_equal(l->items[0].created, 1700000000);
    assert_int_equal(l->items[1].created, 0);
    assert_int_equal(l->items[2].created, 0);
    model_list_free(l);
}

/* A list stays while somebody looks at it. */
static void test_shelf(void **state)
{
    struct model_shelf shelf = {.old = NULL};
    assert_null(model_shelf_look(&shelf));
    model_shelf_done(&shelf);
    model_shelf_put(&shelf, parse("[\"old\"]"));
    const struct model_list *l = model_shelf_look(&shelf);
    model_shelf_put(&shelf, parse("[\"new\"]"));
    assert_false(model_shelf_sweep(&shelf));
    assert_true(str_eq(l->items[0].id, STR("old")));
    model_shelf_done(&shelf);
    assert_true(model_shelf_sweep(&shelf));
    l = model_shelf_look(&shelf);
    assert_true(str_eq(l->items[0].id, STR("new")));
    model_shelf_done(&shelf);
    model_shelf_free(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),          cmocka_unit_test(test_what_is_passed_over),
        cmocka_unit_test(test_what_is_no_list), cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_created),
        cmocka_unit_test(test_shelf),
    };
    return cmocka_run_group_tests_name("strategy_model_list", tests, NULL, NULL);
}
