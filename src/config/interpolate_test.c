/* ${…} in values, and splitting a command into words. */
#include "config/test.h"

#include "config/interpolate.h"
#include "config/words.h"

static const char *const environment[] = {"SETV=val",     "EMPTY=",    "REF=${SETV}",
                                          "A_KEY=hidden", "PORT=1234", NULL};
static const struct variables variables = {environment, "/opt/hestia/hestia"};

static enum expand_result expand(const char *text, char *out, size_t size, struct expansion *e)
{
    struct buf buf CLEANUP(buf_free) = BUF(EXPAND_BYTES_MAX + 100);
    e->variables = &variables;
    enum expand_result result = text_expand(e, str_from_c(text), &buf);
    str_to_c(buf_str(&buf), out, size);
    return result;
}

static void test_table(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"plain", "plain"},
        {"", ""},
        {"${SETV}", "val"},
        {"${ SETV }", "val"},
        {"a${SETV}b${SETV}", "avalbval"},
        {"${UNSET:-d}", "d"},
        {"${UNSET:-}", ""},
        {"${EMPTY:-d}", "d"},
        {"${UNSET:-a:-b}", "a:-b"},
        {"${UNSET:-http://h:80/v1}", "http://h:80/v1"},
        {"${UNSET:-${SETV}}", "val"},
        {"${UNSET:-${EMPTY:-${SETV}-x}}/y", "val-x/y"},
        {"${SETV:-${UNSET}}", "val"},
        {"${UNSET:-{\"a\": {}}}", "{\"a\": {}}"},
        {"${SETV}_API_KEY", "val_API_KEY"},
        {"$SETV $ $$", "$SETV $ $$"},
        {"$${SETV}", "${SETV}"},
        {"a$${SETV}${SETV}", "a${SETV}val"},
        {"${REF}", "${SETV}"},
        {"${HESTIA} x", "/opt/hestia/hestia x"},
        {"${PORT}", "1234"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char out[200];
        struct expansion e = {0};
        assert_int_equal(expand(rows[i].text, out, sizeof out, &e), EXPAND_OK);
        assert_string_equal(out, rows[i].expected);
    }
}

static void test_failures(void **state)
{
    static const char *const wrong[] = {
        "${",         "${SETV", "${}",          "${:-x}", "${UNSET-d}",
        "${SETV%%x}", "${1A}",  "${UNSET:-${}", "${a b}", "x ${UNSET:-${SETV}"};
    char out[200];
    struct expansion e = {0};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_int_equal(expand(wrong[i], out, sizeof out, &e), EXPAND_SYNTAX);
    assert_int_equal(expand("a ${UNSET}", out, sizeof out, &e), EXPAND_UNSET);
    assert_text(e.missing, "UNSET");
    assert_int_equal(expand("${EMPTY}", out, sizeof out, &e), EXPAND_UNSET);
    assert_text(e.missing, "EMPTY");
    assert_int_equal(expand("${A:-${B:-${C}}}", out, sizeof out, &e), EXPAND_UNSET);
    assert_text(e.missing, "C");
}

static void test_depth_and_length_end(void **state)
{
    struct buf deep CLEANUP(buf_free) = BUF(0), out CLEANUP(buf_free) = BUF(1 << 20);
    struct expansion e = {.variables = &variables};
    for (int i = 0; i < 1000; i++)
        buf_add_c(&deep, "${U:-");
    for (int i = 0; i < 1000; i++)
        buf_add_c(&deep, "}");
    assert_int_equal(text_expand(&e, buf_str(&deep), &out), EXPAND_SYNTAX);
    buf_clear(&deep);
    for (int i = 0; i < EXPAND_BYTES_MAX + 1; i++)
        buf_add_char(&deep, 'x');
    buf_clear(&out);
    assert_int_equal(text_expand(&e, buf_str(&deep), &out), EXPAND_TOO_LONG);
}

static void test_what_was_used(void **state)
{
    char out[200];
    struct expansion e = {0};
    expand("${SETV}", out, sizeof out, &e);
    assert_true(e.used_variable);
    assert_false(e.used_default);
    e = (struct expansion){0};
    expand("${UNSET:-written down}", out, sizeof out, &e);
    assert_false(e.used_variable);
    assert_true(e.used_default);
    e = (struct expansion){.keep_port = true};
    expand("http://127.0.0.1:${PORT}/${SETV}", out, sizeof out, &e);
    assert_string_equal(out, "http://127.0.0.1:${PORT}/val");
    e = (struct expansion){.mask_secrets = true};
    expand("${A_KEY} ${SETV}", out, sizeof out, &e);
    assert_string_equal(out, "******** val");
}

static void test_secret_names(void **state)
{
    assert_true(variable_is_secret(STR("OPENAI_API_KEY")));
    assert_true(variable_is_secret(STR("hf_token")));
    assert_true(variable_is_secret(STR("DB_PASSWORD")));
    assert_false(variable_is_secret(STR("max_tokens")));
    assert_false(variable_is_secret(STR("HOME")));
}

/* ---- words --------------------------------------------------------------------------------------------- */

static void check_words(const char *line, const char *const *expected)
{
    struct arena arena CLEANUP(arena_free) = {0};
    struct strs words;
    struct error error = {0};
    size_t n = 0;
    assert_int_equal(words_split(&arena, str_from_c(line), &words, &error), OK);
    for (; expected[n]; n++) {
        assert_true(n < words.count);
        assert_text(words.items[n], expected[n]);
    }
    assert_int_equal(words.count, n);
}

#define WORDS(line, ...) check_words(line, (const char *const[]){__VA_ARGS__, NULL})

static void test_words(void **state)
{
    WORDS("a b  c", "a", "b", "c");
    WORDS("  a\tb\n", "a", "b");
    WORDS("'a b' \"c d\"e", "a b", "c de");
    WORDS("a\\ b '\\' \"\\\"\\x\"", "a b", "\\", "\"\\x");
    WORDS("'' x", "", "x");
    WORDS("${HESTIA} mock --listen \"127.0.0.1:${PORT}\"", "${HESTIA}", "mock", "--listen",
          "127.0.0.1:${PORT}");
    WORDS("${A:-x y} z", "${A:-x y}", "z");
    WORDS("$${A b", "$${A", "b");
    WORDS("echo $HOME *", "echo", "$HOME", "*");
    check_words("", (const char *const[]){NULL});
}

static void test_open_words(void **state)
{
    static const char *const open[] = {"'a", "\"a", "a\\", "${A", "x \"${A}"};
    for (size_t i = 0; i < COUNT_OF(open); i++) {
        struct arena arena CLEANUP(arena_free) = {0};
        struct strs words;
        struct error error = {0};
        assert_int_equal(words_split(&arena, str_from_c(open[i]), &words, &error), ERR_SYNTAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_secret_names), cmocka_unit_test(test_depth_and_length_end),
        cmocka_unit_test(test_words),        cmocka_unit_test(test_what_was_used),
        cmocka_unit_test(test_open_words),
    };
    return cmocka_run_group_tests_name("config_interpolate", tests, NULL, NULL);
}
