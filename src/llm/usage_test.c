/* usage.c: each answer whole, at every split into two, and byte by byte. */
#include "llm/test.h"
#include "llm/usage.h"

#define USAGE(p, c, t, cached, reasoning)                                                                    \
    {                                                                                                        \
        true, p, c, t, cached, reasoning                                                                     \
    }

static const struct {
    const char *text;
    struct llm_usage want;
} rows[] = {
    {"{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
     "\"a\\\"usage\\\":{}\"}}],"
     "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":30,"
     "\"prompt_tokens_details\":{\"cached_tokens\":4,\"audio_tokens\":5},"
     "\"completion_tokens_details\":{\"reasoning_tokens\":6,\"audio_tokens\":7}},\"x\":{\"total_tokens\":99}"
     "}",
     USAGE(10, 20, 30, 4, 6)},
    {" { \"usage\" : { \"total_tokens\" : 3 , \"prompt_tokens\" : 1 , \"completion_tokens\" : 2 } } ",
     USAGE(1, 2, 3, 0, 0)},
    {"{\"object\":\"list\",\"data\":[{\"embedding\":[0.1,-2e-5,3]}],\"usage\":{\"prompt_tokens\":8,"
     "\"total_tokens\":8}}",
     USAGE(8, 0, 8, 0, 0)},
    {"{\"usage\":{\"prompt_tokens\":0}}", USAGE(0, 0, 0, 0, 0)},
    {"{\"usage\":{\"prompt_tokens\":5}}\n", USAGE(5, 0, 0, 0, 0)},
    {"{\"usage\":{\"prompt_tokens\":12.0,\"completion_tokens\":3.9}}", USAGE(12, 3, 0, 0, 0)},
    {"{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":-5,\"total_tokens\":1e9}}", USAGE(1, 0, 0, 0, 0)},
    {"{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":\"7\",\"total_tokens\":null}}",
     USAGE(1, 0, 0, 0, 0)},
    {"{\"usage\":{\"prompt_tokens\":99999999999999999999999}}", USAGE(UINT64_MAX, 0, 0, 0, 0)},
    {"{\"usage\":{\"prompt_tokens\":18446744073709551615}}", USAGE(UINT64_MAX, 0, 0, 0, 0)},
    {"{\"usage\":{\"prompt_tokens\":18446744073709551616}}", USAGE(UINT64_MAX, 0, 0, 0, 0)},
    {"{\"usage\":null,\"usage\":{\"prompt_tokens\":1}}", USAGE(1, 0, 0, 0, 0)},
    {"{\"usage\":{\"prompt_tokens\":1,\"total_tokens\":9},\"usage\":{\"prompt_tokens\":2}}",
     USAGE(2, 0, 0, 0, 0)},
    {"{\"usage\":{\"x\":{\"prompt_tokens\":9},\"prompt_tokens\":1,\"y\":[{\"prompt_tokens\":9}]}}",
     USAGE(1, 0, 0, 0, 0)},
    {"{\"usage\":{\"cached_tokens\":9,\"prompt_tokens_details\":{\"reasoning_tokens\":9,\"cached_tokens\":2},"
     "\"completion_tokens_details\":{\"cached_tokens\":9}}}",
     USAGE(0, 0, 0, 2, 0)},
    {"{\"usage\":{\"prompt_tokens_details\":null,\"prompt_tokens\":1}}", USAGE(1, 0, 0, 0, 0)},
    {"{\"a\\\\\":1,\"b\":\"\\\\\",\"usage\":{\"prompt_tokens\":1}}", USAGE(1, 0, 0, 0, 0)},
    {"{\"a\\\"b\":1,\"usage\":{\"x\\\"\":1,\"prompt_tokens\":1}}", USAGE(1, 0, 0, 0, 0)},
    {"{\"a\":[[[[[[\"]\"]]]]]],\"b\":{\"c\":{\"d\":{\"e\":{}}}},\"usage\":{\"prompt_tokens\":1}}",
     USAGE(1, 0, 0, 0, 0)},
    {"{\"a_key_that_is_much_longer_than_any_that_we_know_of\":1,\"usage\":{\"prompt_tokens\":1}}",
     USAGE(1, 0, 0, 0, 0)},
    /* none */
    {"", {0}},
    {"{}", {0}},
    {"not json at all", {0}},
    {"[{\"usage\":{\"prompt_tokens\":1}}]", {0}},
    {"{\"usage\":null}", {0}},
    {"{\"usage\":{}}", {0}},
    {"{\"usage\":7}", {0}},
    {"{\"usage\":\"prompt_tokens\"}", {0}},
    {"{\"usage\":[{\"prompt_tokens\":1}]}", {0}},
    {"{\"x\":{\"usage\":{\"prompt_tokens\":1}}}", {0}},
    {"{\"x\":[{\"usage\":{\"prompt_tokens\":1}}]}", {0}},
    {"{\"x\":\"usage\",\"y\":{\"prompt_tokens\":1}}", {0}},
    {"{\"\\\"usage\":{\"prompt_tokens\":1}}", {0}},
    {"{\"usage\\\"\":{\"prompt_tokens\":1}}", {0}},
    {"{\"usages\":{\"prompt_tokens\":1}}", {0}},
    {"}{\"usage\":{\"prompt_tokens\":1}}", {0}},
    {"{}{\"usage\":{\"prompt_tokens\":1}}", {0}},
};

static void check(const struct usage_reader *r, const struct llm_usage *want, const char *name)
{
    CHECK_INT(r->usage.known, want->known, name);
    if (!want->known)
        return;
    CHECK_INT(r->usage.prompt_tokens, want->prompt_tokens, name);
    CHECK_INT(r->usage.completion_tokens, want->completion_tokens, name);
    CHECK_INT(r->usage.total_tokens, want->total_tokens, name);
    CHECK_INT(r->usage.cached_tokens, want->cached_tokens, name);
    CHECK_INT(r->usage.reasoning_tokens, want->reasoning_tokens, name);
}

static void feed_exact(struct usage_reader *r, struct str bytes)
{
    char *copy = exact_copy(bytes);
    usage_reader_feed(r, str_make(copy, bytes.n));
    mem_free(copy);
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct str text = str_from_c(rows[i].text);
        for (size_t cut = 0; cut <= text.n; cut++) {
            struct usage_reader r = {0};
            feed_exact(&r, str_first(text, cut));
            feed_exact(&r, str_from(text, cut));
            check(&r, &rows[i].want, rows[i].text);
        }
        struct usage_reader r = {0};
        for (size_t at = 0; at < text.n; at++)
            usage_reader_feed(&r, str_make(text.p + at, 1));
        check(&r, &rows[i].want, rows[i].text);
    }
}

/* Nothing is known before the end of the object. */
static void test_unfinished(void **state)
{
    struct str text = STR("{\"usage\":{\"prompt_tokens\":1,\"total_tokens\":2}");
    for (size_t n = 0; n <= text.n; n++) {
        struct usage_reader r = {0};
        usage_reader_feed(&r, str_first(text, n));
        assert_int_equal(r.usage.known, n == text.n);
        assert_false(r.complete);
    }
}

static void test_marks(void **state)
{
    static const struct {
        const char *text;
        bool empty_choices, has_error, complete;
    } marks[] = {
        {"{\"choices\":[]}", true, false, true},
        {"{\"choices\":[ ] }", true, false, true},
        {"{\"choices\":[{}]}", false, false, true},
        {"{\"choices\":[1]}", false, false, true},
        {"{\"choices\":[\"\"]}", false, false, true},
        {"{\"choices\":[[]]}", false, false, true},
        {"{\"choices\":{}}", false, false, true},
        {"{\"choices\":null}", false, false, true},
        {"{\"x\":{\"choices\":[]}}", false, false, true},
        {"{\"error\":{\"message\":\"x\"}}", false, true, true},
        {"{\"error\":\"x\"}", false, true, true},
        {"{\"error\":null}", false, false, true},
        {"{\"error\":false,\"a\":\"x\"}", false, false, true},
        {"{\"x\":{\"error\":{}}}", false, false, true},
        {"{\"x\":\"error\"}", false, false, true},
        {"{\"choices\":[]", true, false, false},
    };
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        struct str text = str_from_c(marks[i].text);
        for (size_t cut = 0; cut <= text.n; cut++) {
            struct usage_reader r = {0};
            feed_exact(&r, str_first(text, cut));
            feed_exact(&r, str_from(text, cut));
            CHECK_INT(r.empty_choices, marks[i].empty_choices, marks[i].text);
            CHECK_INT(r.has_error, marks[i].has_error, marks[i].text);
            CHECK_INT(r.complete, marks[i].complete, marks[i].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_unfinished),
        cmocka_unit_test(test_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
