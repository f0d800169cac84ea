/* usage.c and json_skip.c: each answer whole, at every split into two, and byte by byte; random ones against
   a parser. */
#include <jansson.h>

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
    /* what is skipped in blocks ends at a depth where something of interest stood before */
    {"{\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":2}},\"x\":{\"y\":{\"a\":"
     "\"0123456789012345678901234567890123456789012345678901234567890123456789\",\"cached_tokens\":9}}}",
     USAGE(1, 0, 0, 2, 0)},
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
        {"[[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5]]   ", false, false, true},
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

/* Escapes and quotes at every place of a block. */
static void test_any_place(void **state)
{
    static const char *const escapes[] = {"\\n", "\\\"", "\\\\", "\\\\\\\""};
    for (size_t i = 0; i < COUNT_OF(escapes); i++)
        for (int before = 1; before < 70; before++)
            for (int after = 1; after < 140; after++) {
                CLEANUP(buf_free) struct buf text = BUF(0);
                struct usage_reader r = {0};
                buf_addf(
                    &text,
                    "{\"x\":[\"%0*d%s%0*d\\\\\",[\"]\"]],\"usage\":{\"prompt_tokens\":1}, \"y\":\"%080d\"}",
                    before, 0, escapes[i], after, 0, 0);
                feed_exact(&r, buf_str(&text));
                assert_true(r.complete && r.usage.known);
            }
}

/* ---- random answers, against a parser ------------------------------------------------------------------ */

enum { ROUNDS = 2500, DEPTH = 6 };

struct maker {
    uint64_t seed; /* not zero */
    struct buf text;
};

/* A number below `limit`, which is not 0 (xorshift). */
static size_t below(struct maker *m, size_t limit)
{
    m->seed ^= m->seed << 13;
    m->seed ^= m->seed >> 7;
    m->seed ^= m->seed << 17;
    return (size_t)(m->seed >> 11) % limit;
}

static void put_string(struct maker *m)
{
    static const char *const pieces[] = {
        "a",
        "plain text of some length ",
        "\\\"",
        "\\\\",
        "\\\\\\\\",
        "\\u00e9",
        "\\n",
        "{",
        "}",
        "[",
        "]",
        "]}]}]}",
        "[[{{",
        ",",
        ":",
        "\xc3\xa9",
        "\xf0\x9f\x98\x80",
        " ",
        "\\/",
        "\\\"usage\\\":{\\\"prompt_tokens\\\":9}",
        "0123456789012345678901234567890123456789012345678901234567890123456789",
    };
    buf_add_char(&m->text, '"');
    for (size_t i = below(m, below(m, 4) ? 4 : 60); i > 0; i--)
        buf_add_c(&m->text, pieces[below(m, COUNT_OF(pieces))]);
    buf_add_char(&m->text, '"');
}

static void put_blank(struct maker *m)
{
    static const char *const blanks[] = {" ", "\n", "\t", "\r\n", "  \n        "};
    if (below(m, 8) == 0)
        buf_add_c(&m->text, blanks[below(m, COUNT_OF(blanks))]);
}

static void put_key(struct maker *m, bool first, const char *key)
{
    if (!first)
        buf_add_char(&m->text, ',');
    put_blank(m);
    buf_addf(&m->text, "\"%s\"", key);
    put_blank(m);
    buf_add_char(&m->text, ':');
    put_blank(m);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as DEPTH */
static void put_value(struct maker *m, int depth)
{
    static const char *const scalars[] = {"0",  "-1.5e-7", "1234567890123456", "true", "false", "null", "{}",
                                          "[]", "\"\""};
    static const char *const names[] = {
        "usage",        "choices", "error", "prompt_tokens",
        "total_tokens", "x",       "",      "a_name_that_is_a_good_deal_longer_than_any_other",
        "\\\"",         "\\\\"};
    size_t kind = below(m, 4), members = below(m, 5);
    if (kind == 0 || depth == 0) {
        buf_add_c(&m->text, scalars[below(m, COUNT_OF(scalars))]);
        return;
    }
    if (kind == 1) {
        put_string(m);
        return;
    }
    buf_add_char(&m->text, kind == 2 ? '{' : '[');
    for (size_t i = 0; i < members; i++) {
        if (kind == 2)
            put_key(m, i == 0, names[below(m, COUNT_OF(names))]);
        else if (i > 0)
            buf_add_char(&m->text, ',');
        put_value(m, depth - 1);
        put_blank(m);
    }
    buf_add_char(&m->text, kind == 2 ? '}' : ']');
}

static void put_counts(struct maker *m, const char *const *names, size_t count)
{
    buf_add_char(&m->text, '{');
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        if (below(m, 4) == 0)
            continue;
        put_key(m, first, names[i]);
        first = false;
        if (below(m, 8) == 0)
            put_string(m);
        else
            buf_addf(&m->text, "%zu", below(m, 1000000));
        put_blank(m);
    }
    if (below(m, 3) == 0) {
        put_key(m, first, "other");
        put_value(m, 3);
        first = false;
    }
}

static void put_usage(struct maker *m)
{
    static const char *const counts[] = {"prompt_tokens", "completion_tokens", "total_tokens"};
    static const char *const prompt[] = {"audio_tokens", "cached_tokens", "reasoning_tokens"};
    static const char *const completion[] = {"reasoning_tokens", "cached_tokens"};
    put_counts(m, counts, COUNT_OF(counts));
    put_key(m, m->text.p[m->text.n - 1] == '{', "prompt_tokens_details");
    put_counts(m, prompt, COUNT_OF(prompt));
    buf_add_char(&m->text, '}');
    if (below(m, 2)) {
        put_key(m, false, "completion_tokens_details");
        put_counts(m, completion, COUNT_OF(completion));
        buf_add_char(&m->text, '}');
    }
    buf_add_char(&m->text, '}');
}

static void put_answer(struct maker *m)
{
    static const char *const names[] = {"id", "object", "choices", "usage", "error", "created", "model"};
    size_t from = below(m, COUNT_OF(names)), count = 1 + below(m, COUNT_OF(names));
    put_blank(m);
    buf_add_char(&m->text, '{');
    for (size_t i = 0; i < count; i++) {
        const char *name = names[(from + i) % COUNT_OF(names)];
        put_key(m, i == 0, name);
        if (strcmp(name, "usage") == 0 && below(m, 4))
            put_usage(m);
        else if (strcmp(name, "choices") == 0 && below(m, 4) == 0)
            buf_add_c(&m->text, below(m, 2) ? "[]" : "[ \n ]");
        else
            put_value(m, DEPTH);
        put_blank(m);
    }
    buf_add_char(&m->text, '}');
    put_blank(m);
}

static uint64_t count_of(const json_t *object, const char *name, bool *known)
{
    const json_t *value = json_object_get(object, name);
    *known |= json_is_integer(value);
    return (uint64_t)json_integer_value(value);
}

static struct usage_reader parse(struct str text)
{
    json_error_t error;
    json_t *root = json_loadb(text.p, text.n, 0, &error);
    assert_non_null(root); /* else the maker is of no use */
    struct usage_reader r = {.complete = true};
    const json_t *usage = json_object_get(root, "usage"), *choices = json_object_get(root, "choices"),
                 *failure = json_object_get(root, "error");
    r.usage.prompt_tokens = count_of(usage, "prompt_tokens", &r.usage.known);
    r.usage.completion_tokens = count_of(usage, "completion_tokens", &r.usage.known);
    r.usage.total_tokens = count_of(usage, "total_tokens", &r.usage.known);
    r.usage.cached_tokens =
        count_of(json_object_get(usage, "prompt_tokens_details"), "cached_tokens", &r.usage.known);
    r.usage.reasoning_tokens =
        count_of(json_object_get(usage, "completion_tokens_details"), "reasoning_tokens", &r.usage.known);
    r.empty_choices = json_is_array(choices) && json_array_size(choices) == 0;
    r.has_error = json_is_object(failure) || json_is_string(failure);
    json_decref(root);
    return r;
}

static void check_same(const struct usage_reader *got, const struct usage_reader *want, const char *text)
{
    check(got, &want->usage, text);
    CHECK_INT(got->usage.known, want->usage.known, text);
    CHECK_INT(got->empty_choices, want->empty_choices, text);
    CHECK_INT(got->has_error, want->has_error, text);
    CHECK_INT(got->complete, want->complete, text);
    CHECK_INT(got->broken, want->broken, text);
}

/* In pieces of up to `most` bytes. */
static struct usage_reader feed_pieces(struct maker *m, struct str text, size_t most)
{
    struct usage_reader r = {0};
    for (size_t at = 0, n; at < text.n; at += n) {
        n = 1 + below(m, most);
        n = MIN(n, text.n - at);
        feed_exact(&r, str_make(text.p + at, n));
    }
    return r;
}

static void test_random(void **state)
{
    struct maker m = {.seed = 0x9e3779b97f4a7c15, .text = BUF(4 << 20)};
    size_t known = 0;
    for (int i = 0; i < ROUNDS; i++) {
        buf_clear(&m.text);
        put_answer(&m);
        struct str text = buf_str(&m.text);
        const char *name = buf_c(&m.text);
        struct usage_reader want = parse(text);
        for (size_t most = 1; most <= 4096; most *= 8) {
            struct usage_reader got = feed_pieces(&m, text, most);
            check_same(&got, &want, name);
        }
        struct usage_reader whole = {0};
        feed_exact(&whole, text);
        check_same(&whole, &want, name);
        known += want.usage.known;
    }
    assert_in_range(known, ROUNDS / 5, ROUNDS * 4 / 5);
    buf_free(&m.text);
}

/* The same with damage: no parser says what is right, but bytes one at a time and all at once must agree. */
static void test_random_damage(void **state)
{
    static const char bytes[] = "\"\"\"\\\\{}[],:0-9en \n\x80";
    struct maker m = {.seed = 0x2545f4914f6cdd1d, .text = BUF(4 << 20)};
    for (int i = 0; i < ROUNDS; i++) {
        buf_clear(&m.text);
        put_answer(&m);
        for (size_t k = 1 + below(&m, 4); k > 0; k--)
            m.text.p[below(&m, m.text.n)] = bytes[below(&m, sizeof bytes - 1)];
        struct str text = buf_str(&m.text);
        struct usage_reader want = feed_pieces(&m, text, 1), some = feed_pieces(&m, text, 300), whole = {0};
        feed_exact(&whole, text);
        check_same(&some, &want, buf_c(&m.text));
        check_same(&whole, &want, buf_c(&m.text));
    }
    buf_free(&m.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_unfinished),
        cmocka_unit_test(test_marks),  cmocka_unit_test(test_any_place),
        cmocka_unit_test(test_random), cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
