/* The pure parts of mock-llm: its options, words, vectors and JSON. */
#include "main/mock_llm.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- options --------------------------------------------------------------------------------------------
 */

static enum err parse(struct mock_options *o, struct error *error, char *a, char *b)
{
    char *argv[] = {(char[]){"mock-llm"}, a, b, NULL};
    int argc = b ? 3 : a ? 2 : 1;
    *error = (struct error){0};
    return mock_options_parse(o, argc, argv, error);
}

static void defaults(void **state)
{
    struct mock_options o;
    struct error error;
    assert_int_equal(parse(&o, &error, NULL, NULL), OK);
    assert_true(str_eq(o.listen, STR("127.0.0.1:11435")));
    assert_true(str_eq(o.models, STR("mock-small,mock-large")));
    assert_int_equal(o.tokens, 16);
    assert_int_equal(o.status, 0);
    assert_false(o.quiet || o.help);
}

static void options_are_taken(void **state)
{
    struct mock_options o;
    struct error error;
    char load[] = "--load-time=500ms", latency[] = "--latency", seconds[] = "2", rate[] = "--fail-rate=0.25";
    char quiet[] = "--quiet", tokens[] = "--tokens", zero[] = "0", tps[] = "--tps=12.5", help[] = "-h";
    assert_int_equal(parse(&o, &error, load, NULL), OK);
    assert_int_equal(o.load_ms, 500);
    assert_int_equal(parse(&o, &error, latency, seconds), OK);
    assert_int_equal(o.latency_ms, 2000);
    assert_int_equal(parse(&o, &error, rate, quiet), OK);
    assert_true(o.fail_rate == 0.25 && o.quiet);
    assert_int_equal(parse(&o, &error, tokens, zero), OK);
    assert_int_equal(o.tokens, 0);
    assert_int_equal(parse(&o, &error, tps, help), OK);
    assert_true(o.tps == 12.5 && o.help);
}

static void options_are_refused(void **state)
{
    static const char *const wrong[][2] = {
        {"--nonsense", NULL},    {"--tokens", NULL},       {"--tokens=-1", NULL},  {"--tokens", "many"},
        {"--fail-rate=2", NULL}, {"--fail-rate=-1", NULL}, {"--status=100", NULL}, {"--status", "600"},
        {"--load-time=x", NULL}, {"--quiet=1", NULL},      {"--models=", NULL},    {"--models", " , "},
        {"word", NULL},          {"--tps=nan", NULL},      {"--listen=", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct mock_options o;
        struct error error;
        char a[32], b[32];
        str_to_c(str_from_c(wrong[i][0]), a, sizeof a);
        str_to_c(str_from_c(wrong[i][1]), b, sizeof b);
        if (parse(&o, &error, a, wrong[i][1] ? b : NULL) != ERR_CONFIG || !error.why[0])
            fail_msg("%s %s was taken", a, b);
    }
}

static void help_names_every_option(void **state)
{
    static const char *const names[] = {"--listen",    "--load-time", "--latency", "--tokens", "--tps",
                                        "--fail-rate", "--seed",      "--status",  "--models", "--quiet"};
    struct buf help CLEANUP(buf_free) = BUF(0);
    mock_options_help(&help);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_true(str_find_str(buf_str(&help), str_from_c(names[i])) < help.n);
}

/* ---- words ----------------------------------------------------------------------------------------------
 */

static void words_are_counted(void **state)
{
    assert_int_equal(mock_words(STR("")), 0);
    assert_int_equal(mock_words(STR(" \t\n")), 0);
    assert_int_equal(mock_words(STR("one")), 1);
    assert_int_equal(mock_words(STR("  one\ntwo\tthree ")), 3);
}

static uint64_t words_of(const char *text)
{
    struct error error;
    json_t *json = NULL;
    assert_int_equal(mock_json_parse(str_from_c(text), &json, &error), OK);
    uint64_t words = mock_words_json(json_object_get(json, "x"));
    json_decref(json);
    return words;
}

static void words_of_prompts_are_counted(void **state)
{
    assert_int_equal(mock_words_json(NULL), 0);
    assert_int_equal(words_of("{}"), 0);
    assert_int_equal(words_of("{\"x\":\"a b\"}"), 2);
    assert_int_equal(words_of("{\"x\":[5,6,7]}"), 3);
    assert_int_equal(words_of("{\"x\":[\"a b\",\"c\"]}"), 3);
    assert_int_equal(words_of("{\"x\":[{\"role\":\"system\",\"content\":\"be kind\"},"
                              "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"who are you\"},"
                              "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:x y\"}}]},"
                              "{\"role\":\"assistant\",\"content\":null}]}"),
                     5);
}

static void tokens_are_words(void **state)
{
    struct buf text CLEANUP(buf_free) = BUF(0);
    for (uint64_t i = 0; i < 40; i++)
        mock_token(&text, i);
    assert_int_equal(mock_words(buf_str(&text)), 40);
    assert_true(text.p[0] != ' ' && text.p[text.n - 1] != ' ');
}

static void models_are_listed(void **state)
{
    struct str name;
    assert_true(mock_model(STR("a, org/b"), 1, &name));
    assert_true(str_eq(name, STR("org/b")));
    assert_false(mock_model(STR("a, org/b"), 2, &name));
    assert_false(mock_model(STR(" ,"), 0, &name));
}

/* ---- vectors --------------------------------------------------------------------------------------------
 */

static void vectors_depend_on_the_text(void **state)
{
    float a[64], b[64], c[64];
    double squares = 0, product = 0;
    mock_vector(STR("hearth"), a, 64);
    mock_vector(STR("hearth"), b, 64);
    mock_vector(STR("heart"), c, 64);
    assert_memory_equal(a, b, sizeof a);
    for (int i = 0; i < 64; i++) {
        squares += (double)a[i] * a[i];
        product += (double)a[i] * c[i];
    }
    assert_true(fabs(squares - 1) < 1e-5);
    assert_true(fabs(product) < 0.9);
}

/* ---- JSON -----------------------------------------------------------------------------------------------
 */

static void json_is_refused(void **state)
{
    struct buf deep CLEANUP(buf_free) = BUF(0);
    struct error error;
    json_t *json = NULL;
    assert_int_equal(mock_json_parse(STR(""), &json, &error), ERR_SYNTAX);
    assert_int_equal(mock_json_parse(STR("{\"a\":"), &json, &error), ERR_SYNTAX);
    assert_int_equal(mock_json_parse(STR("[1]"), &json, &error), ERR_SYNTAX);
    assert_null(json);
    buf_add_c(&deep, "{\"x\":");
    for (int i = 0; i < 100000; i++)
        buf_add_char(&deep, '[');
    assert_int_equal(mock_json_parse(buf_str(&deep), &json, &error), ERR_LIMIT);
}

static void brackets_in_strings_are_no_depth(void **state)
{
    struct buf text CLEANUP(buf_free) = BUF(0);
    struct error error;
    json_t *json = NULL;
    buf_add_c(&text, "{\"x\":\"\\\\\\\"");
    for (int i = 0; i < 1000; i++)
        buf_add_char(&text, '{');
    buf_add_c(&text, "\",\"n\":-3,\"m\":9}");
    assert_int_equal(mock_json_parse(buf_str(&text), &json, &error), OK);
    assert_int_equal(mock_json_str(json, "x").n, 1002);
    assert_int_equal(mock_json_str(json, "n").n, 0);
    assert_int_equal(mock_json_count(json, "n", 7, 100), 7);
    assert_int_equal(mock_json_count(json, "m", 7, 100), 9);
    assert_int_equal(mock_json_count(json, "m", 7, 8), 8);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(options_are_taken),
        cmocka_unit_test(options_are_refused),
        cmocka_unit_test(help_names_every_option),
        cmocka_unit_test(words_are_counted),
        cmocka_unit_test(words_of_prompts_are_counted),
        cmocka_unit_test(tokens_are_words),
        cmocka_unit_test(models_are_listed),
        cmocka_unit_test(vectors_depend_on_the_text),
        cmocka_unit_test(json_is_refused),
        cmocka_unit_test(brackets_in_strings_are_no_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
