/*
 * One strategy or client from JSON: the same rules as in files, nothing replaced, the wrong field named; and
 * mutated texts, which are refused or not, but never crash, leak or hang.
 */
#include "config/test.h"

#include "base/clock.h"
#include "base/mem.h"

static void refuses_json(bool client, const char *json, const char *param, const char *part)
{
    struct arena arena CLEANUP(arena_free) = {0};
    struct strategy_config s;
    struct client_config c;
    struct error error = {0};
    enum err err = client ? config_read_client(&arena, str_from_c(json), &c, &error)
                          : config_read_strategy(&arena, str_from_c(json), &s, &error);
    if (err == ERR_BAD_REQUEST && error.err == err && strstr(error_text(&error), part) &&
        (param ? error.param && strcmp(error.param, param) == 0 : !error.param))
        return;
    fail_msg("%s: %d, param %s, %s", json, err, error.param ? error.param : "none", error_text(&error));
}

static void refuses_strategy(const char *json, const char *param, const char *part)
{
    refuses_json(false, json, param, part);
}

static struct strategy_config strategy(struct arena *arena, const char *json)
{
    struct strategy_config s;
    struct error error = {0};
    if (config_read_strategy(arena, str_from_c(json), &s, &error) != OK)
        fail_msg("%s: %s", json, error_text(&error));
    return s;
}

static void test_strategy(void **state)
{
    struct arena arena CLEANUP(arena_free) = {0};
    char json[] = "{\"id\":\"s\",\"name\":\"A \\u00e9\",\"parent\":\"c\",\"allowed_models\":{"
                  "\"all_provider_models\":[\"ollama\"],\"individual_models\":[[\"openai\",\"gpt-4o\"],"
                  "\"p/a/b\"]},\"auto_config\":{\"enabled\":true,\"prioritized_models\":[[\"openai\","
                  "\"gpt-4o\"]],\"available_models\":[]},\"rate_limits\":[{\"limit_type\":\"cost\","
                  "\"value\":0.1,\"time_window\":\"hour\"},{\"limit_type\":\"requests\",\"value\":100,"
                  "\"time_window\":\"day\",\"enabled\":false},{\"limit_type\":\"cost\",\"value\":"
                  "\"1.000000000001\",\"time_window\":\"day\"}],\"fallback_on_other\":false}";
    struct strategy_config s = strategy(&arena, json);
    memset(json, '#', sizeof json); /* nothing is borrowed from the text */
    assert_text(s.id, "s");
    assert_text(s.name, "A \xc3\xa9");
    assert_text(s.parent, "c");
    assert_false(s.allowed.selected_all);
    assert_text(s.allowed.providers.items[0], "ollama");
    assert_int_equal(s.allowed.models.count, 2);
    assert_text(s.allowed.models.items[1].provider, "p");
    assert_text(s.allowed.models.items[1].model, "a/b");
    assert_true(s.has_auto && s.auto_config.enabled);
    assert_text(s.auto_config.model_name, "auto");
    assert_text(s.auto_config.prioritized.items[0].model, "gpt-4o");
    assert_int_equal(s.limit_count, 3);
    assert_int_equal(s.limits[0].value, 100000000000);
    assert_int_equal(s.limits[1].value, 100);
    assert_false(s.limits[1].enabled);
    assert_int_equal(s.limits[2].value, 1000000000001);
    assert_false(s.fallback_on_other);
}

static void test_less_of_a_strategy(void **state)
{
    struct arena arena CLEANUP(arena_free) = {0};
    struct strategy_config s = strategy(&arena, " {\"name\": \"n\", \"auto_config\": null, \"id\": null, "
                                                "\"allowed_models\": null, \"rate_limits\": null}\n");
    assert_text(s.name, "n");
    assert_text(s.id, ""); /* the registry gives one */
    assert_true(s.allowed.selected_all && !s.has_auto && s.fallback_on_other && s.limit_count == 0);
    s = strategy(&arena, "{\"id\":\"i\"}");
    assert_text(s.id, "i");
    assert_text(s.name, "i");
    s = strategy(&arena, "{\"name\":\"n\",\"allowed_models\":{}}");
    assert_false(s.allowed.selected_all);
    s = strategy(&arena, "{\"name\":12.50,\"fallback_on_other\":\"no\"}"); /* the tables give the types */
    assert_text(s.name, "12.5");
    assert_false(s.fallback_on_other);
}

/* Text from the API is text: no variable of the gateway gets into it. */
static void test_references_stay_text(void **state)
{
    struct arena arena CLEANUP(arena_free) = {0};
    struct strategy_config s =
        strategy(&arena, "{\"name\":\"${HOME} $${X} ${\",\"allowed_models\":{\"individual_models\":"
                         "[[\"${P}\",\"m\"]]},\"auto_config\":{\"permission\":\"allow\"}}");
    assert_text(s.name, "${HOME} $${X} ${");
    assert_text(s.allowed.models.items[0].provider, "${P}");
    assert_true(s.auto_config.enabled);
    refuses_strategy("{\"name\":\"n\",\"rate_limits\":[{\"limit_type\":\"requests\",\"value\":\"${N:-1}\","
                     "\"time_window\":\"day\"}]}",
                     "rate_limits[0].value", "expected a whole number");
}

static void test_amounts(void **state)
{
    static const struct {
        const char *value;
        int64_t pico;
    } cases[] = {
        {"0.1", 100000000000},
        {"0.2", 200000000000},
        {"0.3", 300000000000},
        {"1.1", 1100000000000},
        {"0.07", 70000000000},
        {"123.456789", 123456789000000},
        {"1e-12", 1},
        {"1234567.1", 1234567100000000000},
        {"1E0", 1000000000000},
        {"5", 5000000000000},
        {"9223372", 9223372000000000000},
        {"\"9223372.036854775807\"", INT64_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena CLEANUP(arena_free) = {0};
        char json[300];
        snprintf(json, sizeof json,
                 "{\"name\":\"n\",\"rate_limits\":[{\"limit_type\":\"cost\",\"value\":%s,"
                 "\"time_window\":\"day\"}]}",
                 cases[i].value);
        assert_int_equal(strategy(&arena, json).limits[0].value, cases[i].pico);
    }
}

static void test_wrong_amounts(void **state)
{
    static const char *const values[] = {
        "0",     "-1",      "-0.0", "9223373", "1e20",  "99999999999999999999",
        "1e-13", "\"nan\"", "true", "\"\"",    "\"x\"", "18446744073709551616"};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        char json[300];
        snprintf(json, sizeof json,
                 "{\"name\":\"n\",\"rate_limits\":[{\"limit_type\":\"cost\",\"value\":%s,"
                 "\"time_window\":\"day\"}]}",
                 values[i]);
        refuses_strategy(json, "rate_limits[0].value",
                         "rate_limits[0].value: expected an amount in US dollars");
    }
}

static void test_wrong_fields(void **state)
{
    refuses_strategy("{}", "name", "name: is missing");
    refuses_strategy("{\"name\":null}", "name", "is missing");
    refuses_strategy("{\"name\":\"\"}", "name", "not empty");
    refuses_strategy("{\"name\":\" \"}", "name", "must not be blank");
    refuses_strategy("{\"name\":\"a\\nb\"}", "name", "no control characters");
    refuses_strategy("{\"name\":[1]}", "name", "expected one value, got a list");
    refuses_strategy("{\"name\":\"n\",\"rate_limit\":[]}", "rate_limit", "did you mean rate_limits?");
    refuses_strategy("{\"name\":\"n\",\"...\":1}", "...", "unknown key");
    refuses_strategy("{\"name\":\"n\",\"rate_limits\":{}}", "rate_limits",
                     "expected a list of maps, got a map");
    refuses_strategy("{\"name\":\"n\",\"rate_limits\":[\"...\"]}", "rate_limits[0]", "expected a map");
    refuses_strategy("{\"name\":\"n\",\"rate_limits\":[{\"limit_type\":\"requests\",\"value\":1,"
                     "\"time_window\":\"day\"},{\"limit_type\":\"requests\",\"value\":2,\"time_window\":"
                     "\"day\"}]}",
                     "rate_limits[1]", "the same window");
    refuses_strategy("{\"name\":\"n\",\"allowed_models\":{\"individual_models\":[[\"a\"]]}}",
                     "allowed_models.individual_models[0]", "expected [provider, model]");
    refuses_strategy("{\"name\":\"n\",\"allowed_models\":{\"individual_models\":[[\"a\",null]]}}",
                     "allowed_models.individual_models[0]", "expected [provider, model]");
    refuses_strategy("{\"name\":\"n\",\"auto_config\":{\"prioritized_models\":[\"a/b\"],"
                     "\"available_models\":[\"A/B\"]}}",
                     "auto_config.available_models[0]", "\"A/B\" stands among the prioritized");
    refuses_strategy("{\"name\":\"n\",\"fallback_on_other\":\"perhaps\"}", "fallback_on_other",
                     "true or false");
    refuses_strategy("{\"name\":\"n\",\"constraints\":{\"max_tokens\":0}}", "constraints.max_tokens",
                     "at least 1");
}

static void test_not_json(void **state)
{
    static const char *const wrong[] = {"",
                                        " ",
                                        "{",
                                        "}",
                                        "{\"a\"}",
                                        "{'name':'n'}",
                                        "{\"name\":\"n\"} x",
                                        "{name: n}",
                                        "{\"name\":\"n\",}",
                                        "{\"name\":NaN}",
                                        "{\"name\":01}",
                                        "{\"name\":\"\\u0000\"}",
                                        "{\"name\":\"a\nb\"}",
                                        "{\"name\":\"\xff\"}",
                                        "{\"name\":\"n\",\"name\":\"m\"}",
                                        "{\"name\":1e999}",
                                        "// c\n{\"name\":\"n\"}",
                                        "\xef\xbb\xbf{\"name\":\"n\"}"};
    static const char *const others[] = {"[]", "null", "\"n\"", "5", "true", "[{\"name\":\"n\"}]"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        refuses_strategy(wrong[i], NULL, "not valid JSON");
    for (size_t i = 0; i < COUNT_OF(others); i++)
        refuses_strategy(others[i], NULL, "expected a JSON object");
    refuses_strategy("{\"name\": \"n\",\n  \"id\": }", NULL, "(line 2, column 9)");
    refuses_strategy("{\"name\":\"n\",\"name\":\"m\"}", NULL, "duplicate object key near '\"name\"'");
    /* What stands near a mistake is not repeated: it may be secret. */
    struct arena arena CLEANUP(arena_free) = {0};
    struct client_config c;
    struct error error = {0};
    assert_int_equal(config_read_client(&arena, STR("{\"key\":\"planted\" planted}"), &c, &error),
                     ERR_BAD_REQUEST);
    assert_null(strstr(error.why, "planted"));
}

static void test_bounds(void **state)
{
    struct buf text CLEANUP(buf_free) = BUF(0);
    for (size_t i = 0; i < 100000; i++)
        buf_add_c(&text, "[");
    refuses_strategy(buf_c(&text), NULL, "nested more than 32 deep");
    buf_clear(&text);
    buf_add_c(&text, "{\"name\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"}"); /* a text is flat */
    struct arena arena CLEANUP(arena_free) = {0};
    strategy(&arena, buf_c(&text));
    buf_clear(&text);
    buf_add_c(&text, "{\"name\":\"");
    for (size_t i = 0; i < 256 << 10; i++)
        buf_add_char(&text, 'n');
    buf_add_c(&text, "\"}");
    refuses_strategy(buf_c(&text), NULL, "larger than 256 KiB");
}

/* Long lists of what is wrong stay quick. */
static void test_long_lists(void **state)
{
    struct buf text CLEANUP(buf_free) = BUF(0);
    buf_add_c(&text, "{\"name\":\"n\",\"auto_config\":{\"prioritized_models\":[\"a/b\"");
    while (text.n < (250 << 10))
        buf_add_c(&text, ",\"a/b\"");
    buf_add_c(&text, "]}}");
    refuses_strategy(buf_c(&text), "auto_config.prioritized_models[1]", "already given");
    buf_clear(&text);
    buf_add_c(&text, "{\"name\":\"n\"");
    for (size_t i = 0; text.n < (250 << 10); i++)
        buf_addf(&text, ",\"%zu\":1", i);
    buf_add_c(&text, "}");
    refuses_strategy(buf_c(&text), "0", "unknown key");
}

static void test_client(void **state)
{
    struct arena arena CLEANUP(arena_free) = {0};
    struct client_config c;
    struct error error = {0};
    char json[] = "{\"id\":\"c\",\"name\":\"Laptop\",\"enabled\":false,\"strategy_id\":\"s\",\"key\":null,"
                  "\"allowed_llm_providers\":[\"ollama\"],\"created_at\":\"2026-01-20T00:00:00Z\"}";
    assert_int_equal(config_read_client(&arena, str_from_c(json), &c, &error), OK);
    memset(json, '#', sizeof json);
    assert_text(c.id, "c");
    assert_text(c.name, "Laptop");
    assert_false(c.enabled);
    assert_text(c.strategy_id, "s");
    assert_int_equal(c.key_count, 0);
    assert_text(c.allowed_llm_providers.items[0], "ollama");
    assert_int_equal(config_read_client(&arena, STR("{\"name\":\"n\"}"), &c, &error), OK);
    assert_true(c.enabled && c.id.n == 0);
    assert_text(c.strategy_id, "default");
    refuses_json(true, "{\"name\":\"n\",\"key\":\"hk_planted\"}", "key", "a key cannot be given here");
    refuses_json(true, "{\"name\":\"n\",\"key\":[]}", "key", "a key cannot be given here");
    refuses_json(true, "{\"name\":\"n\",\"enable\":true}", "enable", "did you mean enabled?");
    refuses_json(true, "{\"enabled\":true}", "name", "is missing");
    refuses_json(true, "{\"name\":\"n\",\"allowed_llm_providers\":{}}", "allowed_llm_providers",
                 "expected a list of texts, got a map");
}

/* ---- mutations ----------------------------------------------------------------------------------------- */

static uint64_t seed = 0x2545f4914f6cdd1du;

static uint64_t random_next(void) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1du;
}

static void replace(struct buf *text, size_t at, size_t cut, const char *with)
{
    struct buf tail CLEANUP(buf_free) = BUF(0);
    buf_add_str(&tail, str_from(buf_str(text), at + cut));
    buf_truncate(text, at);
    buf_add_c(text, with);
    buf_add_str(text, buf_str(&tail));
}

static void mutate(struct buf *text)
{
    static const char *const pieces[] = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\"",
                                         "\\",
                                         "null",
                                         "true",
                                         "-1",
                                         "1e400",
                                         "0.1",
                                         "99999999999999999999",
                                         "\\u0000",
                                         "\\ud800",
                                         "\xff",
                                         "/",
                                         "${A}",
                                         "[[",
                                         "\"...\"",
                                         "\"a/b\"",
                                         "{}",
                                         "\"name\":1,",
                                         "\"id\":\"x\",",
                                         "\"cost\"",
                                         "\"key\":\"k\","};
    size_t at = text->n ? random_next() % text->n : 0;
    switch (random_next() % 4) {
    case 0:
        if (text->n)
            text->p[at] = (char)random_next();
        break;
    case 1:
        replace(text, at, random_next() % 12, "");
        break;
    case 2:
        buf_truncate(text, at);
        break;
    default:
        replace(text, at, random_next() % 3, pieces[random_next() % COUNT_OF(pieces)]);
    }
}

/* What every refusal and every result must be. */
static void read_both(struct str text)
{
    struct arena arena CLEANUP(arena_free) = {0};
    struct strategy_config s;
    struct client_config c;
    struct error errors[2] = {{0}};
    enum err results[] = {config_read_strategy(&arena, text, &s, &errors[0]),
                          config_read_client(&arena, text, &c, &errors[1])};
    for (size_t i = 0; i < 2; i++) {
        assert_true(results[i] == OK || results[i] == ERR_BAD_REQUEST);
        assert_int_equal(results[i], errors[i].err);
        assert_true(results[i] == OK || errors[i].why[0]);
        assert_true(results[i] != OK || !errors[i].param);
    }
    if (results[0] == OK) {
        assert_true(s.name.n > 0 && s.auto_config.model_name.n > 0);
        for (size_t i = 0; i < s.limit_count; i++)
            assert_true(s.limits[i].value >= 1 && s.limits[i].kind <= LIMIT_COST);
        for (size_t i = 0; i < s.allowed.models.count; i++)
            assert_true(s.allowed.models.items[i].provider.n && s.allowed.models.items[i].model.n);
    }
    if (results[1] == OK)
        assert_true(c.name.n > 0 && c.strategy_id.n > 0 && c.key_count == 0);
}

static const char whole_strategy[] =
    "{\"id\":\"s\",\"name\":\"n\",\"parent\":null,\"allowed_models\":{\"selected_all\":false,"
    "\"selected_providers\":[\"p\"],\"selected_models\":[[\"a\",\"b\"],\"c/d\"]},\"auto_config\":{"
    "\"permission\":\"allow\",\"prioritized_models\":[[\"a\",\"b\"]],\"available_models\":[\"c/d\"],"
    "\"routellm_config\":{\"enabled\":true,\"threshold\":0.3}},\"rate_limits\":[{\"limit_type\":\"cost\","
    "\"value\":0.5,\"time_window\":\"day\"},{\"limit_type\":\"requests\",\"value\":10,\"time_window\":"
    "\"minute\",\"enabled\":true}],\"constraints\":{\"max_tokens\":5}}";
static const char whole_client[] =
    "{\"name\":\"n\",\"enabled\":true,\"strategy_id\":\"s\",\"allowed_llm_providers\":[\"p\",\"q\"],"
    "\"routing_config\":{\"a\":[1,2,{\"b\":null}]},\"mcp_deferred_loading\":false}";

/* Each allocation fails once: memory is short, and nothing else is said, lost or half done. */
static void test_memory_is_short(void **state)
{
    size_t refused = 0;
    for (bool whole = false; !whole; refused++) {
        struct arena arena CLEANUP(arena_free) = {0};
        struct strategy_config s;
        struct error error = {0};
        char text[24];
        snprintf(text, sizeof text, "%zu", refused + 1);
        setenv("HESTIA_OOM_AT", text, 1);
        mem_init();
        enum err err = config_read_strategy(&arena, str_from_c(whole_strategy), &s, &error);
        setenv("HESTIA_OOM_AT", "0", 1);
        mem_init();
        whole = err == OK;
        assert_true(whole || err == ERR_NOMEM);
    }
    unsetenv("HESTIA_OOM_AT");
    assert_true(refused > 5);
}

static void test_mutations(void **state)
{
    static const char *const texts[] = {whole_strategy, whole_client, "{\"name\":\"n\"}"};
    uint64_t end = clock_now() + 2 * CLOCK_S;
    size_t rounds = 0;
    for (; rounds < 30000 && clock_now() < end; rounds++) {
        struct buf text CLEANUP(buf_free) = BUF(0);
        buf_add_c(&text, texts[rounds % COUNT_OF(texts)]);
        for (size_t i = random_next() % 4; i > 0; i--)
            mutate(&text);
        read_both(buf_str(&text));
    }
    assert_true(rounds >= COUNT_OF(texts));
    for (size_t n = 0; n <= strlen(texts[0]); n++)
        read_both(str_make(texts[0], n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strategy),
        cmocka_unit_test(test_less_of_a_strategy),
        cmocka_unit_test(test_references_stay_text),
        cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_wrong_amounts),
        cmocka_unit_test(test_wrong_fields),
        cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_long_lists),
        cmocka_unit_test(test_client),
        cmocka_unit_test(test_memory_is_short),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("config_read", tests, NULL, NULL);
}
