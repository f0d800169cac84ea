/* Strategies, clients, prices and storage of a file, as they are decoded: values, rules, what is only warned
 * of. */
#include "config/test.h"

#include "base/num.h"

#define PICO INT64_C(1000000000000)

static const struct strategy_config *first(const struct loaded *l)
{
    if (!l->config)
        print_findings(l);
    assert_non_null(l->config);
    assert_true(l->config->strategy_count > 0);
    return &l->config->strategies[0];
}

static struct loaded strategy(const char *keys)
{
    char text[1000];
    snprintf(text, sizeof text, "strategies: [{id: s, %s}]", keys);
    return load_text(text);
}

static void refuses_strategy(const char *keys, const char *key, const char *part)
{
    char text[1000], path[200];
    snprintf(text, sizeof text, "strategies: [{id: s, %s}]", keys);
    snprintf(path, sizeof path, "strategies[0].%s", key);
    refuses(text, path, part);
}

static void warns_strategy(const char *keys, const char *key, const char *part)
{
    char text[1000], path[200];
    snprintf(text, sizeof text, "strategies: [{id: s, %s}]", keys);
    snprintf(path, sizeof path, "strategies[0].%s", key);
    warns(text, path, part);
}

static void assert_model(const struct model_names *list, size_t i, const char *provider, const char *model)
{
    assert_true(i < list->count);
    assert_text(list->items[i].provider, provider);
    assert_text(list->items[i].model, model);
}

/* ---- decimals ------------------------------------------------------------------------------------------ */

static void test_decimals(void **state)
{
    static const struct {
        const char *text;
        int places;
        int64_t value;
        bool exact;
    } good[] = {
        {"0.1", 12, PICO / 10, true},
        {"0.3", 12, 3 * PICO / 10, true},
        {"1.1", 12, 1100000000000, true},
        {"0.000000000001", 12, 1, true},
        {"1e-12", 12, 1, true},
        {"5e-13", 12, 1, false},
        {"4.9e-13", 12, 0, false},
        {"0.0000000000014", 12, 1, false},
        {"0.0000000000015", 12, 2, false},
        {"9223372.036854775807", 12, INT64_MAX, true},
        {"9223372.0368547758074", 12, INT64_MAX, false},
        {"9223372036854775807", 0, INT64_MAX, true},
        {"922337203685477580.7e1", 0, INT64_MAX, true},
        {"1E+3", 0, 1000, true},
        {"1.5e3", 0, 1500, true},
        {"2.5", 0, 3, false},
        {"100.000", 0, 100, true},
        {"000123", 0, 123, true},
        {".5", 1, 5, true},
        {"5.", 0, 5, true},
        {"+7", 0, 7, true},
        {"-7.5", 1, -75, true},
        {"0", 12, 0, true},
        {"-0.0", 12, 0, true},
        {"0e9999", 12, 0, true},
        {"1e-9999", 12, 0, false},
        {"15e-8", 12, 150000, true},
    };
    static const char *const bad[] = {
        "",
        " ",
        ".",
        "-",
        "+",
        "e5",
        "1e",
        "1e+",
        "1e-",
        "1e+-1",
        "1.2.3",
        "1,5",
        "0x10",
        "nan",
        "inf",
        "-inf",
        "1_0",
        "--1",
        "1e1.5",
        "1e10000",
        "1e20",
        "1e400",
        "١",
        "1 000",
        "1e\t1",
        "$1",
        "1e7 a.",
        "1e99",
        "+-1",
        "9223372036854775808",
        "9223372036854775807.5",
        "1111111111111111111111111111111111111111111111111111111111111111",
    };
    int64_t value;
    bool exact;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        if (!num_parse_decimal(str_from_c(good[i].text), good[i].places, &value, &exact) ||
            value != good[i].value || exact != good[i].exact)
            fail_msg("%s", good[i].text);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (num_parse_decimal(str_from_c(bad[i]), 0, &value, NULL))
            fail_msg("\"%s\" was taken as %lld", bad[i], (long long)value);
    assert_false(num_parse_decimal(STR("9223372.036854775808"), 12, &value, NULL));
    assert_false(
        num_parse_decimal(STR("9223372.0368547758075"), 12, &value, NULL)); /* rounds over the edge */
    assert_false(num_parse_decimal(STR("-9223372.036854775808"), 12, &value, NULL));
}

/* ---- strategies ---------------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    struct loaded l = load_text("strategies: [{id: s}, {name: Only a name}]");
    const struct strategy_config *s = first(&l);
    assert_int_equal(l.findings.count, 0);
    assert_int_equal(l.config->strategy_count, 2);
    assert_text(s->id, "s");
    assert_text(s->name, "s");
    assert_text(s->parent, "");
    assert_true(s->allowed.selected_all);
    assert_int_equal(s->allowed.providers.count + s->allowed.models.count, 0);
    assert_false(s->has_auto || s->auto_config.enabled);
    assert_text(s->auto_config.model_name, "auto");
    assert_int_equal(s->limit_count, 0);
    assert_true(s->fallback_on_other);
    assert_text(s[1].id, "Only a name");
    assert_text(s[1].name, "Only a name");
    loaded_free(&l);
    l = load_text("{}");
    assert_int_equal(l.config->strategy_count + l.config->client_count, 0);
    assert_int_equal(l.config->pricing.override_count, 0);
    assert_text(l.config->pricing.import, "");
    assert_text(l.config->storage.path, "");
    assert_false(l.config->storage.reject_on_failure);
    assert_int_equal(l.config->storage.request_days, 30);
    loaded_free(&l);
}

static void test_allowed_models(void **state)
{
    struct loaded l = strategy(
        "allowed_models: {all_provider_models: [ollama, LM], selected_providers: azure, individual_models: "
        "[[openai, gpt-4o], 'together/meta/llama-3:8b', ...], selected_models: [[a, '1']]}");
    const struct strategy_config *s = first(&l);
    assert_int_equal(l.findings.count, 0);
    assert_false(s->allowed.selected_all);
    assert_int_equal(s->allowed.providers.count, 3);
    assert_text(s->allowed.providers.items[1], "LM");
    assert_text(s->allowed.providers.items[2], "azure");
    assert_int_equal(s->allowed.models.count, 3);
    assert_model(&s->allowed.models, 0, "openai", "gpt-4o");
    assert_model(&s->allowed.models, 1, "together", "meta/llama-3:8b");
    assert_model(&s->allowed.models, 2, "a", "1");
    loaded_free(&l);
}

static void test_what_is_allowed_without_lists(void **state)
{
    static const struct {
        const char *keys;
        bool all, warned;
    } cases[] = {
        {"name: n", true, false},
        {"name: n, allowed_models: ", true, false},
        {"name: n, allowed_models: {}", false, true},
        {"name: n, allowed_models: {all_provider_models: [], individual_models: []}", false, true},
        {"name: n, allowed_models: {selected_all: }", false, true},
        {"name: n, allowed_models: {selected_all: false}", false, true},
        {"name: n, allowed_models: {selected_all: true}", true, false},
        {"name: n, allowed_models: {selected_all: true, all_provider_models: [p]}", true, false},
        {"name: n, allowed_models: {selected_all: false, all_provider_models: [p]}", false, false},
        {"name: n, allowed_models: {all_provider_models: [p]}", false, false},
        {"name: n, allowed_models: {selected_models: [p/m]}", false, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct loaded l = strategy(cases[i].keys);
        if (first(&l)->allowed.selected_all != cases[i].all || l.findings.warnings != cases[i].warned)
            fail_msg("%s", cases[i].keys);
        if (cases[i].warned)
            assert_true(found(&l, SEVERITY_WARNING, "strategies[0].allowed_models",
                              "the strategy \"n\" allows no model at all"));
        loaded_free(&l);
    }
}

static void test_models_that_are_none(void **state)
{
    static const char *const models[] = {"gpt",       "''",       "/m",     "p/",     "[p]",
                                         "[p, m, x]", "[p, [m]]", "[~, m]", "[p, ~]", "['', m]",
                                         "{p: m}",    "[p, '']",  "~"};
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        char keys[200];
        snprintf(keys, sizeof keys, "allowed_models: {individual_models: [a/b, %s]}", models[i]);
        refuses_strategy(keys, "allowed_models.individual_models[1]", "expected [provider, model]");
    }
    refuses_strategy("allowed_models: {individual_models: p/m}", "allowed_models.individual_models",
                     "expected a list of [provider, model] pairs, got a text");
    refuses_strategy("allowed_models: [p]", "allowed_models", "expected a map, got a list");
    refuses_strategy("allowed_models: {selected_al: true}", "allowed_models.selected_al",
                     "did you mean selected_all?");
}

static void test_auto_config(void **state)
{
    struct loaded l = strategy("auto_config: {enabled: true, model_name: fast, prioritized_models: [[openai, "
                               "gpt-4o], ollama/llama3], available_models: [openai/gpt-4o-mini]}");
    const struct strategy_config *s = first(&l);
    assert_int_equal(l.findings.count, 0);
    assert_true(s->has_auto && s->auto_config.enabled);
    assert_text(s->auto_config.model_name, "fast");
    assert_int_equal(s->auto_config.prioritized.count, 2);
    assert_model(&s->auto_config.prioritized, 1, "ollama", "llama3");
    assert_int_equal(s->auto_config.available.count, 1);
    assert_model(&s->auto_config.available, 0, "openai", "gpt-4o-mini");
    loaded_free(&l);
    refuses_strategy("auto_config: {model_name: ''}", "auto_config.model_name", "not empty");
    refuses_strategy("auto_config: {model_name: \"a\\nb\"}", "auto_config.model_name", "control characters");
}

static void test_permission(void **state)
{
    static const struct {
        const char *keys;
        bool has, enabled;
        size_t warnings;
    } cases[] = {
        {"auto_config: ", false, false, 0},
        {"auto_config: {}", true, false, 0},
        {"auto_config: {enabled: true}", true, true, 0}, /* an empty list fails when it is used */
        {"auto_config: {permission: allow}", true, true, 0},
        {"auto_config: {permission: Allow, enabled: yes}", true, true, 0},
        {"auto_config: {permission: off}", true, false, 0},
        {"auto_config: {permission: off, enabled: false}", true, false, 0},
        {"auto_config: {permission: ask}", true, false, 1},
        {"auto_config: {permission: , enabled: true}", true, true, 0},
        {"auto_config: {permission: '${NOPE:-allow}'}", true, true, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct loaded l = strategy(cases[i].keys);
        const struct strategy_config *s = first(&l);
        if (s->has_auto != cases[i].has || s->auto_config.enabled != cases[i].enabled ||
            l.findings.count != cases[i].warnings)
            fail_msg("%s", cases[i].keys);
        loaded_free(&l);
    }
    warns_strategy("auto_config: {permission: ask}", "auto_config.permission", "nobody to ask");
    refuses_strategy("auto_config: {enabled: true, permission: off}", "auto_config.permission",
                     "the opposite of enabled");
    refuses_strategy("auto_config: {enabled: true, permission: ask}", "auto_config.permission",
                     "the opposite of enabled");
    refuses_strategy("auto_config: {enabled: false, permission: allow}", "auto_config.permission",
                     "the opposite of enabled");
    refuses_strategy("auto_config: {permission: maybe}", "auto_config.permission", "allow, ask, off");
}

static void test_models_twice(void **state)
{
    refuses_strategy("auto_config: {prioritized_models: [a/m, p/x, [P, X]]}",
                     "auto_config.prioritized_models[2]", "\"P/X\" was already given above");
    refuses_strategy("auto_config: {prioritized_models: [OpenAI/GPT-4o], available_models: [a/b, "
                     "openai/gpt-4O]}",
                     "auto_config.available_models[1]", "\"openai/gpt-4O\" stands among the prioritized");
    refuses_strategy("auto_config: {prioritized_models: [..., a/b], available_models: [..., a/b]}",
                     "auto_config.available_models[1]", "\"a/b\" stands");
    /* The border between provider and model counts. */
    struct loaded l = strategy("auto_config: {prioritized_models: [[a, b/c], [a/b, c], [ab, /c]]}");
    assert_int_equal(first(&l)->auto_config.prioritized.count, 3);
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
}

static void test_prioritized_outside_of_allowed(void **state)
{
    struct loaded l = strategy("allowed_models: {all_provider_models: [Ollama], individual_models: "
                               "[openai/GPT-4o]}, auto_config: {enabled: true, prioritized_models: "
                               "[ollama/any, OpenAI/gpt-4o, openai/gpt-4, openai/ollama]}");
    first(&l);
    assert_int_equal(l.findings.warnings, 2);
    assert_true(found(&l, SEVERITY_WARNING, "strategies[0].auto_config.prioritized_models[2]",
                      "\"openai/gpt-4\" is not among the strategy's allowed models: it is skipped"));
    assert_true(found(&l, SEVERITY_WARNING, "strategies[0].auto_config.prioritized_models[3]", "skipped"));
    loaded_free(&l);
    l = strategy("auto_config: {prioritized_models: [a/b]}, allowed_models: {selected_all: true}");
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
}

static void test_limits(void **state)
{
    struct loaded l = strategy(
        "rate_limits: [{limit_type: requests, value: 100, time_window: hour}, {limit_type: input_tokens, "
        "value: '5e4', time_window: day, enabled: false}, {limit_type: cost, value: 0.1, time_window: "
        "minute}, ..., {limit_type: COST, value: 1e-12, time_window: Day}, {limit_type: total_tokens, value: "
        "9223372036854775807, time_window: day}, {limit_type: output_tokens, value: '${NOPE:-1.0}', "
        "time_window: day}]");
    const struct strategy_config *s = first(&l);
    static const struct rate_limit_config expected[] = {
        {LIMIT_REQUESTS, WINDOW_HOUR, 100, true},          {LIMIT_INPUT_TOKENS, WINDOW_DAY, 50000, false},
        {LIMIT_COST, WINDOW_MINUTE, PICO / 10, true},      {LIMIT_COST, WINDOW_DAY, 1, true},
        {LIMIT_TOTAL_TOKENS, WINDOW_DAY, INT64_MAX, true}, {LIMIT_OUTPUT_TOKENS, WINDOW_DAY, 1, true},
    };
    assert_int_equal(l.findings.count, 0);
    assert_int_equal(s->limit_count, COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(s->limits[i].kind, expected[i].kind);
        assert_int_equal(s->limits[i].window, expected[i].window);
        assert_int_equal(s->limits[i].value, expected[i].value);
        assert_int_equal(s->limits[i].enabled, expected[i].enabled);
    }
    loaded_free(&l);
}

static void test_wrong_limits(void **state)
{
    static const char *const bad_counts[] = {"0",
                                             "-1",
                                             "0.5",
                                             "1.5",
                                             "nan",
                                             ".nan",
                                             "inf",
                                             ".inf",
                                             "''",
                                             "1e3x",
                                             "1e30",
                                             "many",
                                             "true",
                                             "-0",
                                             "1e-3",
                                             "[1]",
                                             "9223372036854775808"};
    static const char *const bad_costs[] = {"0",
                                            "-0.1",
                                            "0.0",
                                            "nan",
                                            ".inf",
                                            "inf",
                                            "-.inf",
                                            "1e-13",
                                            "''",
                                            "1$",
                                            "'1,50'",
                                            "{}",
                                            "9223372.036854775808",
                                            "1e400"};
    for (size_t i = 0; i < COUNT_OF(bad_counts); i++) {
        static const char *const types[] = {"requests", "input_tokens", "output_tokens", "total_tokens"};
        char keys[200];
        snprintf(keys, sizeof keys, "rate_limits: [{limit_type: %s, value: %s, time_window: hour}]",
                 types[i % COUNT_OF(types)], bad_counts[i]);
        refuses_strategy(keys, "rate_limits[0].value",
                         bad_counts[i][0] == '[' ? "expected one value"
                                                 : "expected a whole number, at least 1");
    }
    for (size_t i = 0; i < COUNT_OF(bad_costs); i++) {
        char keys[200];
        snprintf(keys, sizeof keys, "rate_limits: [{limit_type: cost, value: %s, time_window: day}]",
                 bad_costs[i]);
        refuses_strategy(keys, "rate_limits[0].value",
                         bad_costs[i][0] == '{' ? "expected one value"
                                                : "an amount in US dollars, more than 0");
    }
    refuses_strategy("rate_limits: [{limit_type: requests, time_window: day}]", "rate_limits[0].value",
                     "is missing");
    refuses_strategy("rate_limits: [{limit_type: requests, value: ~, time_window: day}]",
                     "rate_limits[0].value", "is missing");
    refuses_strategy("rate_limits: [{value: 1, time_window: day}]", "rate_limits[0].limit_type",
                     "is missing");
    refuses_strategy("rate_limits: [{limit_type: requests, value: 1}]", "rate_limits[0].time_window",
                     "is missing");
    refuses_strategy("rate_limits: [{limit_type: tokens, value: 1, time_window: day}]",
                     "rate_limits[0].limit_type", "total_tokens, cost");
    refuses_strategy("rate_limits: [{limit_type: requests, value: 1, time_window: week}]",
                     "rate_limits[0].time_window", "minute, hour, day");
    refuses_strategy("rate_limits: [{limit_type: cost, value: 1, time_window: day, per: x}]",
                     "rate_limits[0].per", "unknown key");
    /* A limit must not vanish with a warning. */
    refuses_strategy("rate_limits: [{limit_type: cost, value: '${NOPE}', time_window: day}]",
                     "rate_limits[0].value", "the variable NOPE is not set");
}

static void test_limits_twice(void **state)
{
    refuses_strategy("rate_limits: [{limit_type: requests, value: 1, time_window: day}, {limit_type: cost, "
                     "value: 1, time_window: day}, ..., {limit_type: requests, value: 2, time_window: day, "
                     "enabled: false}]",
                     "rate_limits[3]", "a limit of this type for the same window");
    struct loaded l = strategy("rate_limits: [{limit_type: requests, value: 1, time_window: day}, "
                               "{limit_type: requests, value: 1, time_window: hour}]");
    assert_int_equal(first(&l)->limit_count, 2);
    loaded_free(&l);
}

static void test_identities(void **state)
{
    static const char *const environment[] = {"S=s", NULL};
    refuses("strategies: [{description: d}]", "strategies[0]", "needs an id or a name");
    refuses("strategies: [~]", "strategies[0]", "needs an id or a name");
    refuses("clients: [{enabled: true}]", "clients[0]", "needs an id or a name");
    refuses("strategies: [{id: '', name: n}]", "strategies[0].id", "not empty");
    refuses("strategies: [{id: s, name: ''}]", "strategies[0].name", "not empty");
    refuses("clients: [{id: c, name: '  '}]", "clients[0].name", "must not be blank");
    refuses("strategies: [{id: \"a\\tb\"}]", "strategies[0].id", "no control characters");
    refuses("strategies: [{id: x, name: a}, {id: x, name: b}]", "strategies", "\"x\" was already given");
    refuses("strategies: [{id: x}, {name: x}]", "strategies", "\"x\" was already given");
    refuses("clients: [{id: x, name: a}, {id: x, name: b}]", "clients", "\"x\" was already given");
    accepts(
        "strategies: [{id: x, name: a}, {id: y, name: a}]\nclients: [{id: x, name: a}, {id: y, name: a}]");
    struct loaded l = load_env("strategies: [{id: s}, ..., {id: '${S}'}]", environment);
    assert_null(l.config);
    assert_true(found(&l, SEVERITY_ERROR, "strategies", "\"s\" was already given"));
    assert_int_equal(l.findings.errors, 1);
    loaded_free(&l);
}

static void test_parents(void **state)
{
    warns_strategy("parent: nobody", "parent", "no client \"nobody\"");
    struct loaded l =
        load_text("strategies: [{id: s, parent: c}]\nclients: [{id: c, strategy_id: s, enabled: false}]");
    assert_text(first(&l)->parent, "c");
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
}

static void test_files_merge_by_id(void **state)
{
    static const char *const texts[] = {
        "strategies: [{id: s, name: one, rate_limits: [{limit_type: cost, value: 1, time_window: day}]}]\n"
        "clients: [{id: c, name: C, strategy_id: s}]",
        "strategies: [{id: s, name: two}, {id: t}]\nclients: [{id: c, enabled: false}]"};
    struct loaded l = load_files(texts, 2, NULL);
    assert_text(first(&l)->name, "two");
    assert_int_equal(first(&l)->limit_count, 1);
    assert_int_equal(l.config->strategy_count, 2);
    assert_int_equal(l.config->client_count, 1);
    assert_text(l.config->clients[0].strategy_id, "s");
    assert_false(l.config->clients[0].enabled);
    loaded_free(&l);
}

/* ---- what is active and what is not ---------------------------------------------------------------------
 */

static void test_notices(void **state)
{
    static const char *const later[] = {"components",   "fallback_chain", "routing_rules",
                                        "optimization", "monitoring",     "constraints"};
    struct loaded l = strategy("components: {}, fallback_chain: [], routing_rules: [], optimization: {}, "
                               "monitoring: {}, constraints: {max_tokens: 5}");
    first(&l);
    assert_int_equal(l.findings.count, COUNT_OF(later));
    for (size_t i = 0; i < COUNT_OF(later); i++) {
        char path[100];
        snprintf(path, sizeof path, "strategies[0].%s", later[i]);
        assert_true(found(&l, SEVERITY_NOTICE, path, "accepted, not active yet"));
    }
    loaded_free(&l);
    l = strategy("auto_config: {routellm_config: {enabled: true, strong_models: [a/b]}}");
    first(&l);
    assert_int_equal(l.findings.count, 1);
    assert_true(found(&l, SEVERITY_NOTICE, "strategies[0].auto_config.routellm_config", "not active yet"));
    loaded_free(&l);
    l = strategy("auto_config: {routellm_config: {enabled: false, weak_models: [a/b]}}");
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
    refuses_strategy("auto_config: {routellm_config: {strong_models: [b]}}",
                     "auto_config.routellm_config.strong_models[0]", "expected [provider, model]");
    refuses_strategy("auto_config: {routellm_config: {threshold: 2}}",
                     "auto_config.routellm_config.threshold", "0 to 1");
    l = load_text(
        "strategies: [{id: s, rate_limits: []}]\nclients: [{id: c, strategy_id: s, enabled: false}]\n"
        "pricing: {overrides: [{model: m, input_per_million: 1}]}\nstorage: {path: a.db}\n"
        "auth: {anonymous: s}");
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
}

/* ---- clients ------------------------------------------------------------------------------------------- */

#define HASH "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OTHER_HASH "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void test_clients(void **state)
{
    static const char *const environment[] = {"CLIENT_KEY=planted", NULL};
    struct loaded l = load_env(
        "providers: [{name: Ollama, base_url: 'http://h', api_key: k}]\nstrategies: [{id: s}]\n"
        "clients:\n  - {id: a, name: Laptop, strategy_id: s, key: '${CLIENT_KEY}', allowed_llm_providers: "
        "[ollama], created_at: '2026-01-20T00:00:00Z', allowed_mcp_servers: [x], routing_config: {a: b}}\n"
        "  - {name: b, enabled: false, key: [" HASH ", " OTHER_HASH "]}\n  - {id: c, strategy_id: ''}\n",
        environment);
    assert_non_null(l.config);
    assert_int_equal(l.findings.count, 1);
    assert_true(found(&l, SEVERITY_WARNING, "clients[2].key", "the client \"c\" has none"));
    assert_int_equal(l.config->client_count, 3);
    assert_true(l.config->has_clients);
    const struct client_config *c = l.config->clients;
    assert_text(c[0].id, "a");
    assert_text(c[0].name, "Laptop");
    assert_true(c[0].enabled);
    assert_text(c[0].strategy_id, "s");
    assert_int_equal(c[0].key_count, 1);
    assert_text(c[0].keys[0].name, "clients[0].key");
    assert_int_equal(c[0].allowed_llm_providers.count, 1);
    assert_text(c[1].id, "b");
    assert_text(c[1].name, "b");
    assert_false(c[1].enabled);
    assert_text(c[1].strategy_id, "default");
    assert_int_equal(c[1].key_count, 2);
    assert_int_equal(c[1].keys[0].sha256[0], 0xaa);
    assert_text(c[2].strategy_id, "default");
    assert_int_equal(c[2].key_count, 0);
    assert_int_equal(c[2].allowed_llm_providers.count, 0);
    loaded_free(&l);
}

static void test_wrong_clients(void **state)
{
    refuses("clients: [{id: c, key: planted}]", "clients[0].key", "must not stand in the file as plain text");
    refuses("clients: [{id: c, key: 'sha256:12'}]", "clients[0].key", "64 hexadecimal digits");
    refuses("clients: [{id: a, key: '" HASH "'}, {id: b, key: ['" OTHER_HASH "', '" HASH "']}]",
            "clients[1].key", "is the key of the client \"a\" already");
    refuses("clients: [{id: c, strategi_id: s}]", "clients[0].strategi_id", "did you mean strategy_id?");
    warns("strategies: [{id: team}]\nclients: [{id: c, strategy_id: taem}]", "clients[0].strategy_id",
          "no strategy \"taem\"; it may exist in the database, made through the management API; did you mean "
          "team?");
    warns("clients: [{id: c, allowed_llm_providers: [nope]}]", "clients[0].allowed_llm_providers",
          "there is no provider \"nope\"");
    warns("auth: {anonymous: nope}", "auth.anonymous", "it may exist in the database");
    accepts("auth: {anonymous: default}");
}

/* A client whose key's variable is not set is there, and off. */
static void test_client_without_its_variable(void **state)
{
    struct loaded l = load_text("clients: [{id: c, key: '${NOPE}'}, {id: d}]");
    assert_non_null(l.config);
    assert_true(found(&l, SEVERITY_WARNING, "clients[0].key", "the client \"c\" is disabled"));
    assert_false(l.config->clients[0].enabled);
    assert_true(l.config->clients[1].enabled);
    loaded_free(&l);
}

static void test_public_listener(void **state)
{
    accepts("server: {listen: '0.0.0.0:80'}\nclients: [{id: c}]");
    refuses("server: {listen: '0.0.0.0:80'}\nclients: []", "server.listen", "there are no keys");
    refuses("server: {listen: '0.0.0.0:80'}\nstrategies: [{id: s}]\nauth: {anonymous: s}", "server.listen",
            "there are no keys");
}

/* ---- prices, storage, TLS -------------------------------------------------------------------------------
 */

static void assert_price(const struct price_config *p, const char *provider, const char *model, int64_t input,
                         int64_t output, int64_t cached, int64_t reasoning)
{
    assert_text(p->provider, provider);
    assert_text(p->model, model);
    assert_int_equal(p->input, input);
    assert_int_equal(p->output, output);
    assert_int_equal(p->cached_input, cached);
    assert_int_equal(p->reasoning, reasoning);
}

static void test_pricing(void **state)
{
    struct loaded l = load_text(
        "pricing:\n  import: prices.json\n  overrides:\n    - {provider: openai, model: gpt-4o, "
        "input_per_million: 2.50, output_per_million: '10', cached_input_per_million: 1.25, "
        "reasoning_per_million: 0}\n    - {model: local, input_per_million: 0.075}\n"
        "  providers:\n    openai:\n      gpt-4: {input_per_million: 0.000001, output_per_million: 1e-6}\n"
        "      gpt-3.5: {output_per_million: 9223372036854.775807}\n    ollama: \n    ...: \n");
    if (!l.config)
        print_findings(&l);
    assert_non_null(l.config);
    assert_int_equal(l.findings.count, 0);
    const struct pricing_config *p = &l.config->pricing;
    assert_true(p->import.p[0] == '/' && str_ends(p->import, STR("/prices.json")));
    assert_int_equal(p->override_count, 4);
    assert_price(&p->overrides[0], "openai", "gpt-4o", 2500000, 10000000, 1250000, 0);
    assert_price(&p->overrides[1], "", "local", 75000, -1, -1, -1);
    assert_price(&p->overrides[2], "openai", "gpt-4", 1, 1, -1, -1);
    assert_price(&p->overrides[3], "openai", "gpt-3.5", -1, INT64_MAX, -1, -1);
    loaded_free(&l);
}

static void test_wrong_prices(void **state)
{
    refuses("pricing: {overrides: [{model: m, input_per_million: -1}]}",
            "pricing.overrides[0].input_per_million", "an amount in US dollars, at least 0");
    refuses("pricing: {overrides: [{model: m, input_per_million: 1e-7}]}",
            "pricing.overrides[0].input_per_million", "an amount in US dollars");
    refuses("pricing: {providers: {p: {m: {output_per_million: .nan}}}}",
            "pricing.providers.p.m.output_per_million", "an amount in US dollars");
    refuses("pricing: {providers: {p: {m: {output_per_million: 1e13}}}}",
            "pricing.providers.p.m.output_per_million", "an amount in US dollars");
    refuses("pricing: {providers: {p: {m: {input_per_milion: 1}}}}", "pricing.providers.p.m.input_per_milion",
            "did you mean input_per_million?");
    refuses("pricing: {providers: {p: {m: 5}}}", "pricing.providers.p.m", "expected a map, got a text");
    refuses("pricing: {providers: {p: 5}}", "pricing.providers.p", "expected a map of models to maps");
    refuses("pricing: {providers: [p]}", "pricing.providers", "expected a map of providers");
    refuses("pricing: {overrides: [{input_per_million: 1}]}", "pricing.overrides[0].model", "is missing");
    refuses("pricing: {overrides: [{model: '', input_per_million: 1}]}", "pricing.overrides[0].model",
            "not empty");
    refuses("pricing: {overrides: [{provider: P, model: m, input_per_million: 1}], providers: {p: {M: "
            "{input_per_million: 2}}}}",
            "pricing", "the price of \"p/M\" is given twice");
    refuses("pricing: {override: []}", "pricing.override", "did you mean overrides?");
    warns("pricing: {overrides: [{model: m}]}", "pricing.overrides[0]", "gives no price");
}

static void test_storage(void **state)
{
    struct loaded l = load_text("storage: {path: books/a.db, on_store_failure: Reject, request_days: 7}");
    assert_non_null(l.config);
    assert_int_equal(l.findings.count, 0);
    assert_true(str_ends(l.config->storage.path, STR("/books/a.db")) && l.config->storage.path.p[0] == '/');
    assert_true(l.config->storage.reject_on_failure);
    assert_int_equal(l.config->storage.request_days, 7);
    loaded_free(&l);
    l = load_text("storage: {on_store_failure: serve}");
    assert_false(l.config->storage.reject_on_failure);
    loaded_free(&l);
    refuses("storage: {on_store_failure: panic}", "storage.on_store_failure", "serve, reject");
    refuses("storage: {request_days: 0}", "storage.request_days", "1 to 3650");
    refuses("storage: {request_days: 1.5}", "storage.request_days", "a whole number");
    refuses("storage: {pth: a}", "storage.pth", "did you mean path?");
}

/* Only the place of the database needs a new process; strategies and clients are taken at once. */
static void test_what_a_reload_takes(void **state)
{
    struct loaded a = load_text("{}"), c = load_text("storage: {path: /elsewhere.db}");
    struct loaded b =
        load_text("strategies: [{id: s}]\nclients: [{id: c}]\nauth: {anonymous: s}\nstorage: "
                  "{request_days: 3}\npricing: {overrides: [{model: m, input_per_million: 1}]}");
    assert_true(str_eq(a.config->process_fingerprint, b.config->process_fingerprint));
    assert_false(str_eq(a.config->process_fingerprint, c.config->process_fingerprint));
    loaded_free(&a);
    loaded_free(&b);
    loaded_free(&c);
}

static void test_unclean_close(void **state)
{
    struct loaded l = load_text(
        "services: {a: {base_url: 'https://h', tls: {allow_unclean_close: true}}, b: {base_url: "
        "'https://h'}}\nproviders: [{name: p, base_url: 'https://h', api_key: k, tls: {allow_unclean_close: "
        "yes}}, {name: q, base_url: 'https://h', api_key: k, tls: {}}]");
    assert_non_null(l.config);
    assert_int_equal(l.findings.count, 0);
    assert_true(l.config->services[0].tls.allow_unclean_close);
    assert_false(l.config->services[1].tls.allow_unclean_close);
    assert_true(l.config->providers[0].tls.allow_unclean_close);
    assert_false(l.config->providers[1].tls.allow_unclean_close);
    assert_false(l.config->providers[0].tls.insecure_skip_verify);
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_allowed_models),
        cmocka_unit_test(test_what_is_allowed_without_lists),
        cmocka_unit_test(test_models_that_are_none),
        cmocka_unit_test(test_auto_config),
        cmocka_unit_test(test_permission),
        cmocka_unit_test(test_models_twice),
        cmocka_unit_test(test_prioritized_outside_of_allowed),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_wrong_limits),
        cmocka_unit_test(test_limits_twice),
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_parents),
        cmocka_unit_test(test_files_merge_by_id),
        cmocka_unit_test(test_notices),
        cmocka_unit_test(test_clients),
        cmocka_unit_test(test_wrong_clients),
        cmocka_unit_test(test_client_without_its_variable),
        cmocka_unit_test(test_public_listener),
        cmocka_unit_test(test_pricing),
        cmocka_unit_test(test_wrong_prices),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_what_a_reload_takes),
        cmocka_unit_test(test_unclean_close),
    };
    return cmocka_run_group_tests_name("config_strategies", tests, NULL, NULL);
}
