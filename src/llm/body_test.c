/* body_scan.c: what is accepted and read, what is refused and with which words. */
#include "llm/test.h"
#include "llm/body.h"

#include "base/buf.h"

static void scan(struct arena *arena, const char *text, struct llm_body *body)
{
    struct error error = {0};
    const char *param = "unset";
    CHECK_ERR(llm_body_scan(arena, str_from_c(text), body, &param, &error), OK, text);
    assert_null(param);
}

static const struct {
    const char *text, *param, *why;
} bad[] = {
    {"", NULL, "is empty"},
    {" ", NULL, "it ends too early (at byte 1)"},
    {"nope", NULL, "it is not an object"},
    {"[]", NULL, "it is not an object"},
    {"\"model\"", NULL, "it is not an object"},
    {"\xef\xbb\xbf{\"model\":\"x\"}", NULL, "byte order mark"},
    {"{", NULL, "ends too early"},
    {"{\"model\"", NULL, "ends too early"},
    {"{\"model\":", NULL, "ends too early"},
    {"{\"model\":\"x\"", NULL, "ends too early"},
    {"{\"model\":\"x\",", NULL, "ends too early"},
    {"{\"model\":\"x\",}", NULL, "a key in double quotes is expected (at byte 13)"},
    {"{,\"model\":\"x\"}", NULL, "a key in double quotes"},
    {"{model:\"x\"}", NULL, "a key in double quotes"},
    {"{'model':'x'}", NULL, "a key in double quotes"},
    {"{\"model\" \"x\"}", NULL, "a colon is missing"},
    {"{\"model\":\"x\" \"a\":1}", NULL, "a comma or a closing bracket"},
    {"{\"model\":\"x\"]", NULL, "a comma or a closing bracket"},
    {"{\"model\":\"x\",\"a\":[1,2}}", NULL, "a comma or a closing bracket"},
    {"{\"model\":\"x\",\"a\":[1,]}", NULL, "a value is missing"},
    {"{\"model\":\"x\",\"a\":[,1]}", NULL, "a value is missing"},
    {"{\"model\":\"x\",\"a\":{\"b\":1,}}", NULL, "a key in double quotes"},
    {"{\"model\":\"x\",\"a\":}", NULL, "a value is missing"},
    {"{\"model\":\"x\"}{}", NULL, "something follows its end (at byte 13)"},
    {"{\"model\":\"x\"} x", NULL, "something follows its end"},
    {"{\"model\":\"x\"},", NULL, "something follows its end"},
    {"{\"model\":\"x\",\"a\":NaN}", NULL, "none that JSON knows"},
    {"{\"model\":\"x\",\"a\":Infinity}", NULL, "none that JSON knows"},
    {"{\"model\":\"x\",\"a\":-Infinity}", NULL, "a number is malformed"},
    {"{\"model\":\"x\",\"a\":nul}", NULL, "none that JSON knows"},
    {"{\"model\":\"x\",\"a\":True}", NULL, "none that JSON knows"},
    {"{\"model\":\"x\",\"a\":truex}", NULL, "a comma or a closing bracket"},
    {"{\"model\":\"x\",\"a\":01}", NULL, "begins with a zero"},
    {"{\"model\":\"x\",\"a\":-01}", NULL, "begins with a zero"},
    {"{\"model\":\"x\",\"a\":00}", NULL, "begins with a zero"},
    {"{\"model\":\"x\",\"a\":1.}", NULL, "a number is malformed"},
    {"{\"model\":\"x\",\"a\":.5}", NULL, "none that JSON knows"},
    {"{\"model\":\"x\",\"a\":+1}", NULL, "none that JSON knows"},
    {"{\"model\":\"x\",\"a\":-}", NULL, "a number is malformed"},
    {"{\"model\":\"x\",\"a\":1e}", NULL, "a number is malformed"},
    {"{\"model\":\"x\",\"a\":1e+}", NULL, "a number is malformed"},
    {"{\"model\":\"x\",\"a\":1.e5}", NULL, "a number is malformed"},
    {"{\"model\":\"x\",\"a\":0x10}", NULL, "a comma or a closing bracket"},
    {"{\"model\":\"x\"}/**/", NULL, "something follows its end"},
    {"{\"model\":\"x\",\"a\":\"b\nc\"}", NULL, "a control character stands in a string"},
    {"{\"model\":\"x\",\"a\":\"b\\qc\"}", NULL, "an escape in a string is malformed"},
    {"{\"model\":\"x\",\"a\":\"\xff\"}", NULL, "not valid UTF-8"},
    {"{\"model\":\"x\",\"\xff\":1}", NULL, "not valid UTF-8"},
    {"{\"model\":\"x\",\"a\":[\"\xed\xa0\x80\"]}", NULL, "not valid UTF-8"},
    {"{\"model\":\"x\",\xc2\xa0\"a\":1}", NULL, "a key in double quotes"},
    {"{\"model\":\"x\",\v\"a\":1}", NULL, "a key in double quotes"},
    {"{\"model\":\"x\",\"a\":\"b}", NULL, "a string is not closed"},

    {"{}", "model", "model is missing"},
    {"{\"Model\":\"x\"}", "model", "model is missing"},
    {"{\"messages\":[{\"model\":\"x\"}]}", "model", "model is missing"},
    {"{\"extra_body\":{\"model\":\"x\"}}", "model", "model is missing"},
    {"{\"model\":null}", "model", "model must be a string"},
    {"{\"model\":5}", "model", "model must be a string"},
    {"{\"model\":[\"x\"]}", "model", "model must be a string"},
    {"{\"model\":{\"model\":\"x\"}}", "model", "model must be a string"},
    {"{\"model\":\"\"}", "model", "model must not be empty"},
    {"{\"model\":\"a\\nb\"}", "model", "model has characters"},
    {"{\"model\":\"a\\u0000b\"}", "model", "model has characters"},
    {"{\"model\":\"a\x7f\"}", "model", "model has characters"},
    {"{\"model\":\"a\\ud800\"}", "model", "model has characters"},
    {"{\"model\":\"x\",\"model\":\"y\"}", "model", "model stands twice"},
    {"{\"model\":\"x\",\"model\":\"x\"}", "model", "model stands twice"},
    {"{\"model\":\"x\",\"mod\\u0065l\":\"y\"}", "model", "model stands twice"},
    {"{\"\\u006d\\u006F\\u0064\\u0065\\u006c\":\"x\",\"a\":1,\"model\":\"y\"}", "model",
     "model stands twice"},
    {"{\"model\":\"x\",\"stream\":\"true\"}", "stream", "stream must be true or false"},
    {"{\"model\":\"x\",\"stream\":1}", "stream", "stream must be true or false"},
    {"{\"model\":\"x\",\"stream\":true,\"str\\u0065am\":false}", "stream", "stream stands twice"},
    {"{\"model\":\"x\",\"stream_options\":[]}", "stream_options", "must be an object"},
    {"{\"model\":\"x\",\"stream_options\":{},\"stream_options\":{}}", "stream_options", "stands twice"},
    {"{\"model\":\"x\",\"stream_options\":{\"include_usage\":true,\"include_usage\":false}}",
     "stream_options", "include_usage twice"},
    {"{\"model\":\"x\",\"stream_options\":{\"include_usage\":1}}", "stream_options",
     "neither true nor false"},
    {"{\"model\":\"x\",\"hulumanage_approach\":5}", "hulumanage_approach", "must be a string"},
    {"{\"model\":\"x\",\"hulumanage_approach\":\"a\",\"hulumanage_approach\":\"b\"}", "hulumanage_approach",
     "stands twice"},
    {"{\"model\":\"x\",\"proxy_wrap\":{}}", "proxy_wrap", "must be a string"},
    {"{\"model\":\"x\",\"extra_body\":{\"wrap\":1}}", "wrap", "must be a string"},
    {"{\"model\":\"x\",\"extra_body\":{\"wrap\":\"a\",\"wr\\u0061p\":\"b\"}}", "wrap", "stands twice"},
    {"{\"model\":\"x\",\"extra_body\":{},\"extra_body\":{}}", "extra_body", "stands twice"},
};

static void test_bad(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct llm_body body;
        struct error error = {0};
        const char *param = "unset";
        char *copy = exact_copy(str_from_c(bad[i].text));
        CHECK_ERR(llm_body_scan(&arena, str_make(copy, strlen(bad[i].text)), &body, &param, &error),
                  ERR_BAD_REQUEST, bad[i].text);
        CHECK_STR(str_from_c(param), bad[i].param, bad[i].text);
        if (!strstr(error.why, bad[i].why))
            CHECK_STR(str_from_c(error.why), bad[i].why, bad[i].text);
        mem_free(copy);
    }
}

/* A NUL byte is one like any other, and nothing ends at it. */
static void test_nul(void **state)
{
    static const struct str texts[] = {{"{\"model\":\"x\"}\0", 14},
                                       {"{\"model\":\"a\0b\"}", 15},
                                       {"\0", 1},
                                       {"{\"model\":\"x\",\0\"a\":1}", 20}};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct llm_body body;
        struct error error = {0};
        const char *param;
        CHECK_ERR(llm_body_scan(&arena, texts[i], &body, &param, &error), ERR_BAD_REQUEST, "NUL");
    }
}

static const char *const good[] = {
    "{\"model\":\"x\"}",
    " \t\r\n{ \"model\" : \"x\" } \t\r\n",
    "{\"mod\\u0065l\":\"x\"}",
    "{\"model\":\"\\u0078\"}",
    "{\"a\":[],\"b\":{},\"c\":[[],{}],\"model\":\"x\"}",
    "{\"a\":[0,-0,1,-1,0.5,1e5,1E+5,1.25e-7,1e400,123456789012345678901234567890],\"model\":\"x\"}",
    "{\"a\":[true,false,null,\"\"],\"model\":\"x\"}",
    "{\"a\":1,\"a\":2,\"model\":\"x\"}",                 /* not ours: the upstream's matter */
    "{\"a\":\"\\ud800\",\"\\udc00\":1,\"model\":\"x\"}", /* lone surrogates: RFC 8259, section 8.2 */
    "{\"a\":\"\\u0000\",\"model\":\"x\"}",
    "{\"a\":{\"model\":1,\"model\":2},\"model\":\"x\"}",
    "{\"model\":\"x\",\"stream\":null,\"stream_options\":null,\"hulumanage_approach\":null,\"wrap\":null}",
    "{\"model\":\"x\",\"extra_body\":null}",
    "{\"model\":\"x\",\"extra_body\":[1]}",
    "{\"model\":\"x\",\"include_usage\":1,\"include_usage\":2}", /* means nothing at the top */
    "{\"model\":\"x\",\"extra_body\":{\"stream\":1,\"stream\":2}}",
    "{\"model\":\"x\",\"user\":5}",
};

static void test_good(void **state)
{
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct llm_body body;
        scan(&arena, good[i], &body);
        CHECK_STR(body.model, "x", good[i]);
        CHECK_INT(body.stream, false, good[i]);
        CHECK_INT(body.approach_text.n + body.wrap_text.n + body.user.n, 0, good[i]);
    }
}

static void test_fields(void **state)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct llm_body b;
    scan(&arena,
         "{\"model\":\"org\\/m\\u00e9\" , \"stream\": "
         "true,\"messages\":[{\"role\":\"user\"}],\"input\":\"ab\","
         "\"max_tokens\":7,\"max_completion_tokens\":9,\"user\":\"\\u0041da\","
         "\"stream_options\":{\"include_usage\" : true,\"x\":1},\"hulumanage_approach\":\"pro\\u0078y\"}",
         &b);
    CHECK_STR(b.model, "org/m\xc3\xa9", "model");
    CHECK_STR(b.model_at.whole, "\"model\":\"org\\/m\\u00e9\"", "the member");
    CHECK_STR(b.model_at.value, "\"org\\/m\\u00e9\"", "its value");
    assert_true(b.stream && b.has_stream_options && b.include_usage && !b.stream_options_empty);
    CHECK_STR(b.stream_options.value, "{\"include_usage\" : true,\"x\":1}", "options");
    CHECK_STR(b.include_usage_at, "true", "include_usage");
    CHECK_STR(b.approach_text, "proxy", "approach");
    CHECK_STR(b.user, "Ada", "user");
    CHECK_INT(b.max_tokens, 9, "max_completion_tokens counts more");
    CHECK_INT(b.prompt_bytes, strlen("[{\"role\":\"user\"}]") + 4, "prompt");

    scan(&arena, "{\"max_completion_tokens\":null,\"max_tokens\":12,\"model\":\"x\"}", &b);
    CHECK_INT(b.max_tokens, 12, "max_tokens");
    scan(&arena, "{\"max_tokens\":-1,\"model\":\"x\"}", &b);
    CHECK_INT(b.max_tokens, 0, "negative");
    scan(&arena, "{\"max_tokens\":1e3,\"model\":\"x\"}", &b);
    CHECK_INT(b.max_tokens, 0, "an exponent");
    assert_false(b.has_stream_options || b.include_usage || b.stream);
}

/* Top level before extra_body, proxy_wrap before wrapped_approach before wrap. */
static void test_private(void **state)
{
    static const struct {
        const char *text, *approach, *wrap;
        size_t inside, members;
    } rows[] = {
        {"{\"model\":\"x\",\"extra_body\":{\"hulumanage_approach\":\"proxy\",\"proxy_wrap\":\"moa\"}}",
         "proxy", "moa", 2, 2},
        {"{\"model\":\"x\",\"extra_body\":{\"a\":1,\"hulumanage_approach\":\"proxy\",\"b\":2}}", "proxy", "",
         1, 3},
        {"{\"model\":\"x\",\"hulumanage_approach\":\"a\",\"extra_body\":{\"hulumanage_approach\":\"b\"}}",
         "a", "", 1, 1},
        {"{\"model\":\"x\",\"hulumanage_approach\":null,\"extra_body\":{\"hulumanage_approach\":\"b\"}}", "b",
         "", 1, 1},
        {"{\"wrap\":\"c\",\"wrapped_approach\":\"b\",\"proxy_wrap\":\"a\",\"model\":\"x\"}", "", "a", 0, 0},
        {"{\"wrap\":\"c\",\"wrapped_approach\":\"b\",\"proxy_wrap\":\"\",\"model\":\"x\"}", "", "b", 0, 0},
        {"{\"wrap\":\"c\",\"model\":\"x\",\"extra_body\":{\"proxy_wrap\":\"a\"}}", "", "c", 1, 1},
        {"{\"extra_body\":{\"wr\\u0061p\":\"\\u0063\"},\"model\":\"x\"}", "", "c", 1, 1},
        {"{\"extra_body\":{\"a\":{\"wrap\":\"c\"}},\"model\":\"x\"}", "", "", 0, 1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct llm_body body;
        scan(&arena, rows[i].text, &body);
        CHECK_STR(body.approach_text, rows[i].approach, rows[i].text);
        CHECK_STR(body.wrap_text, rows[i].wrap, rows[i].text);
        CHECK_INT(body.extra_private_count, rows[i].inside, rows[i].text);
        CHECK_INT(body.extra_count, rows[i].members, rows[i].text);
        CHECK_INT(body.extra_body.whole.n != 0, rows[i].inside != 0, rows[i].text);
    }
}

static enum err scan_err(struct buf *text, struct error *error, const char **param)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct llm_body body;
    assert_int_equal(buf_err(text), OK);
    return llm_body_scan(&arena, buf_str(text), &body, param, error);
}

static void add_times(struct buf *out, const char *text, int times)
{
    for (int i = 0; i < times; i++)
        buf_add_c(out, text);
}

/* Each limit at its edge and one beyond. */
static void test_depth(void **state)
{
    static const char *const brackets[][2] = {{"[", "]"}, {"{\"a\":", "}"}};
    for (size_t i = 0; i < COUNT_OF(brackets); i++)
        for (int levels = LLM_DEPTH_MAX - 2; levels <= LLM_DEPTH_MAX + 1; levels++) {
            CLEANUP(buf_free) struct buf text = BUF(0);
            struct error error = {0};
            const char *param;
            buf_add_c(&text, "{\"model\":\"x\",\"a\":");
            add_times(&text, brackets[i][0], levels - 1);
            buf_add_c(&text, "1");
            add_times(&text, brackets[i][1], levels - 1);
            buf_add_c(&text, "}");
            bool fits = levels <= LLM_DEPTH_MAX;
            CHECK_ERR(scan_err(&text, &error, &param), fits ? OK : ERR_BAD_REQUEST, "depth");
            assert_true(fits || strstr(error.why, "more than 64 levels"));
        }
    CLEANUP(buf_free) struct buf text = BUF(0);
    struct error error = {0};
    const char *param;
    buf_add_c(&text, "{\"model\":\"x\",\"a\":");
    add_times(&text, "[", 1000000);
    CHECK_ERR(scan_err(&text, &error, &param), ERR_BAD_REQUEST, "a million brackets");
}

static void test_keys(void **state)
{
    for (int count = LLM_KEYS_MAX - 1; count <= LLM_KEYS_MAX + 1; count++) {
        CLEANUP(buf_free) struct buf text = BUF(0);
        struct error error = {0};
        const char *param;
        buf_add_c(&text, "{\"model\":\"x\",\"a\":[{");
        for (int i = 2; i < count; i++)
            buf_addf(&text, "%s\"k%d\":1", i == 2 ? "" : i % 100 == 0 ? "},{" : ",", i);
        buf_add_c(&text, "}]}");
        bool fits = count <= LLM_KEYS_MAX;
        CHECK_ERR(scan_err(&text, &error, &param), fits ? OK : ERR_BAD_REQUEST, "keys");
        assert_true(fits || strstr(error.why, "too many keys"));
    }
}

static void test_model_length(void **state)
{
    for (int escaped = 0; escaped < 2; escaped++)
        for (int n = LLM_MODEL_MAX; n <= LLM_MODEL_MAX + 1; n++) {
            CLEANUP(buf_free) struct buf text = BUF(0);
            struct error error = {0};
            const char *param;
            buf_add_c(&text, "{\"model\":\"");
            add_times(&text, escaped ? "\\u0061" : "a", n);
            buf_add_c(&text, "\"}");
            CHECK_ERR(scan_err(&text, &error, &param), n <= LLM_MODEL_MAX ? OK : ERR_BAD_REQUEST, "length");
            assert_true(n <= LLM_MODEL_MAX || strcmp(param, "model") == 0);
        }
}

/* One string may fill the body. */
static void test_long_string(void **state)
{
    CLEANUP(buf_free) struct buf text = BUF((size_t)20 << 20);
    struct error error = {0};
    const char *param;
    buf_add_c(&text, "{\"messages\":\"");
    add_times(&text, "0123456789abcde\\n", 1 << 20);
    buf_add_c(&text, "\",\"model\":\"x\"}");
    CHECK_ERR(scan_err(&text, &error, &param), OK, "16 MiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),         cmocka_unit_test(test_nul),
        cmocka_unit_test(test_good),        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_private),     cmocka_unit_test(test_depth),
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_model_length),
        cmocka_unit_test(test_long_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
