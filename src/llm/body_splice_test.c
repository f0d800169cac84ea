/* body_splice.c: every byte that stays, every comma that goes. */
#include "llm/test.h"
#include "llm/body.h"

#include "base/buf.h"

static const struct {
    const char *text, *model, *want;
    bool add_usage;
} rows[] = {
    /* nothing to do: one piece */
    {"{\"model\":\"m\",\"a\":1}", "m", "{\"model\":\"m\",\"a\":1}", false},
    {"{\"model\":\"\\u006d\"}", "m", "{\"model\":\"\\u006d\"}", false},
    /* the model */
    {"{\"model\":\"m\",\"a\":1}", "other", "{\"model\":\"other\",\"a\":1}", false},
    {" { \"a\" : 1.50 , \"model\"\t:\n\"m\" } ", "o/p", " { \"a\" : 1.50 , \"model\"\t:\n\"o/p\" } ", false},
    {"{\"mod\\u0065l\":\"m\"}", "o", "{\"mod\\u0065l\":\"o\"}", false},
    {"{\"model\":\"m\"}", "q\"u\\o\n", "{\"model\":\"q\\\"u\\\\o\\n\"}", false},
    {"{\"model\":\"m\"}", "\xc3\xa9", "{\"model\":\"\xc3\xa9\"}", false},
    {"{\"a\":{\"model\":\"m\"},\"model\":\"m\"}", "o", "{\"a\":{\"model\":\"m\"},\"model\":\"o\"}", false},
    /* private members: first, last, in the middle, several */
    {"{\"hulumanage_approach\":\"proxy\",\"model\":\"m\"}", "m", "{\"model\":\"m\"}", false},
    {"{\"model\":\"m\",\"hulumanage_approach\":\"proxy\"}", "m", "{\"model\":\"m\"}", false},
    {"{\"model\":\"m\",\"wrap\":\"a\",\"b\":1}", "m", "{\"model\":\"m\",\"b\":1}", false},
    {"{\"model\":\"m\" , \"wrap\" : \"a\" , \"b\":1}", "m", "{\"model\":\"m\"  , \"b\":1}", false},
    {"{ \"wrap\":\"a\" , \"model\":\"m\"}", "m", "{  \"model\":\"m\"}", false},
    {"{\"wrap\":\"a\",\"proxy_wrap\":\"a\",\"model\":\"m\"}", "m", "{\"model\":\"m\"}", false},
    {"{ \"wrap\":\"a\" , \"proxy_wrap\":\"a\" ,\n\"wrapped_approach\":\"a\",\"model\":\"m\"}", "m",
     "{  \n\"model\":\"m\"}", false},
    {"{\"model\":\"m\",\"wrap\":\"a\",\"proxy_wrap\":\"a\"}", "m", "{\"model\":\"m\"}", false},
    {"{\"wrap\":\"a\",\"model\":\"m\",\"proxy_wrap\":\"a\",\"c\":0,\"wrapped_approach\":null}", "o",
     "{\"model\":\"o\",\"c\":0}", false},
    {"{\"model\":\"m\",\"w\\u0072ap\":\"a\"}", "m", "{\"model\":\"m\"}", false},
    {"{\"model\":\"m\",\"wrap\":\",\"}", "m", "{\"model\":\"m\"}", false},
    /* extra_body */
    {"{\"model\":\"m\",\"extra_body\":{\"hulumanage_approach\":\"proxy\"}}", "m", "{\"model\":\"m\"}", false},
    {"{\"extra_body\":{\"hulumanage_approach\":\"proxy\",\"proxy_wrap\":\"moa\"},\"model\":\"m\"}", "m",
     "{\"model\":\"m\"}", false},
    {"{\"model\":\"m\",\"extra_body\":{\"wrap\":null},\"b\":1}", "m", "{\"model\":\"m\",\"b\":1}", false},
    {"{\"model\":\"m\",\"extra_body\":{\"wrap\":\"a\",\"x\":1}}", "m",
     "{\"model\":\"m\",\"extra_body\":{\"x\":1}}", false},
    {"{\"model\":\"m\",\"extra_body\":{\"x\":1,\"wrap\":\"a\"}}", "m",
     "{\"model\":\"m\",\"extra_body\":{\"x\":1}}", false},
    {"{\"model\":\"m\",\"extra_body\":{\"wrap\":\"a\",\"x\":1,\"proxy_wrap\":\"b\",\"hulumanage_approach\":"
     "\"c\"},"
     "\"wrap\":\"d\"}",
     "m", "{\"model\":\"m\",\"extra_body\":{\"x\":1}}", false},
    {"{\"wrap\":\"d\",\"extra_body\":{\"wrap\":\"a\",\"proxy_wrap\":\"b\",\"x\":1},\"model\":\"m\"}", "m",
     "{\"extra_body\":{\"x\":1},\"model\":\"m\"}", false},
    {"{\"model\":\"m\",\"extra_body\":{\"x\":1}}", "m", "{\"model\":\"m\",\"extra_body\":{\"x\":1}}", false},
    {"{\"model\":\"m\",\"extra_body\":{}}", "m", "{\"model\":\"m\",\"extra_body\":{}}", false},
    /* usage */
    {"{\"model\":\"m\"}", "m", "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}", true},
    {"{\"model\":\"m\",\"a\":1}", "o",
     "{\"model\":\"o\",\"stream_options\":{\"include_usage\":true},\"a\":1}", true},
    {"{\"a\":1,\"model\":\"m\" }", "m",
     "{\"a\":1,\"model\":\"m\",\"stream_options\":{\"include_usage\":true} }", true},
    {"{\"model\":\"m\",\"wrap\":\"a\"}", "m", "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}",
     true},
    {"{\"wrap\":\"a\",\"model\":\"m\",\"proxy_wrap\":\"a\",\"b\":1}", "o",
     "{\"model\":\"o\",\"stream_options\":{\"include_usage\":true},\"b\":1}", true},
    {"{\"model\":\"m\",\"stream_options\":{}}", "m",
     "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}", true},
    {"{\"model\":\"m\",\"stream_options\":{ }}", "m",
     "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true }}", true},
    {"{\"model\":\"m\",\"stream_options\":{\"x\":1}}", "m",
     "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true,\"x\":1}}", true},
    {"{\"model\":\"m\",\"stream_options\": {\"include_usage\": false,\"x\":1}}", "m",
     "{\"model\":\"m\",\"stream_options\": {\"include_usage\": true,\"x\":1}}", true},
    {"{\"model\":\"m\",\"stream_options\":{\"include_usage\":null}}", "m",
     "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}", true},
    {"{\"model\":\"m\",\"stream_options\":null,\"a\":1}", "m",
     "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true},\"a\":1}", true},
    {"{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}", "m",
     "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}", true},
    {"{\"stream_options\":{\"include_usage\":false},\"wrap\":\"a\",\"model\":\"m\"}", "o",
     "{\"stream_options\":{\"include_usage\":true},\"model\":\"o\"}", true},
    {"{\"model\":\"m\",\"stream_options\":{\"include_usage\":false}}", "m",
     "{\"model\":\"m\",\"stream_options\":{\"include_usage\":false}}", false},
};

static void test_rows(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        CLEANUP(buf_free) struct buf out = BUF(0);
        struct llm_body body;
        struct llm_parts parts;
        struct error error = {0};
        const char *param;
        char *copy = exact_copy(str_from_c(rows[i].text));
        CHECK_ERR(llm_body_scan(&arena, str_make(copy, strlen(rows[i].text)), &body, &param, &error), OK,
                  rows[i].text);
        CHECK_ERR(llm_body_splice(&arena, &body, str_from_c(rows[i].model), rows[i].add_usage, &parts), OK,
                  rows[i].text);
        for (int k = 0; k < parts.count; k++)
            buf_add_str(&out, parts.part[k]);
        CHECK_STR(buf_str(&out), rows[i].want, rows[i].text);
        CHECK_INT(parts.total, out.n, rows[i].text);
        if (strcmp(rows[i].text, rows[i].want) == 0)
            CHECK_INT(parts.count, 1, rows[i].text);
        mem_free(copy);
    }
}

/* Everything at once stays within the number of parts. */
static void test_most(void **state)
{
    static const char text[] =
        "{\"wrap\":\"a\",\"x\":1,\"proxy_wrap\":\"a\",\"y\":1,\"wrapped_approach\":\"a\",\"z\":1,"
        "\"hulumanage_approach\":\"a\",\"model\":\"m\",\"stream_options\":{\"q\":1},"
        "\"extra_body\":{\"wrap\":\"a\",\"x\":1,\"proxy_wrap\":\"a\",\"y\":1,"
        "\"wrapped_approach\":\"a\",\"z\":1,\"hulumanage_approach\":\"a\"}}";
    CLEANUP(arena_free) struct arena arena = {0};
    CLEANUP(buf_free) struct buf out = BUF(0);
    struct llm_body body;
    struct llm_parts parts;
    struct error error = {0};
    const char *param;
    CHECK_ERR(llm_body_scan(&arena, str_from_c(text), &body, &param, &error), OK, text);
    CHECK_ERR(llm_body_splice(&arena, &body, STR("o"), true, &parts), OK, text);
    for (int k = 0; k < parts.count; k++)
        buf_add_str(&out, parts.part[k]);
    CHECK_STR(buf_str(&out),
              "{\"x\":1,\"y\":1,\"z\":1,\"model\":\"o\",\"stream_options\":{\"include_usage\":true,\"q\":1},"
              "\"extra_body\":{\"x\":1,\"y\":1,\"z\":1}}",
              "most");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
