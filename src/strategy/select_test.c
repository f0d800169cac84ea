/* Which models a strategy and a client may use, as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "strategy/book.h"

/* "Provider A" as a whole, and four pairs. */
static struct strategy_config strategy_make(void)
{
    static struct str providers[] = {{"Whole", 5}, {"auto", 4}};
    static struct model_name pairs[] = {
        {{"ollama", 6}, {"llama3:8b", 9}},
        {{"OpenAI", 6}, {"GPT-4o", 6}},
        {{"router", 6}, {"meta/llama3:70b", 15}},
        {{"other", 5}, {"vendor/Deep:free", 16}},
        {{"other", 5}, {"gpt-4o", 6}},
    };
    return (struct strategy_config){
        .id = STR("s"),
        .name = STR("s"),
        .allowed.providers = {providers, COUNT_OF(providers)},
        .allowed.models = {pairs, COUNT_OF(pairs)},
    };
}

static void test_allowed_models(void **state)
{
    static const struct {
        const char *provider, *model;
        bool custom;
    } rows[] = {
        {"Whole", "anything", true},
        {"whole", "tomorrow/new:1", true},
        {"WHOLE", "", true},
        {"Whol", "anything", false},
        {"Wholes", "anything", false},
        {"", "anything", false},
        {"ollama", "llama3:8b", true},
        {"OLLAMA", "Llama3:8B", true},
        {"ollama", "llama3", false},
        {"ollama", "llama3:70b", false},
        {"ollama", "llama3:8b ", false},
        {"ollama", "meta/llama3:70b", false},
        {"ollama", "", false},
        {"openai", "gpt-4o", true},
        {"openai", "gpt-4", false},
        {"openai", "gpt-4o-mini", false},
        {"router", "llama3:70b", false},
        {"router", "meta/llama3:70b", true},
    };
    struct strategy_config custom = strategy_make(), none = {0}, all = {.allowed.selected_all = true};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct str provider = str_from_c(rows[i].provider), model = str_from_c(rows[i].model);
        assert_int_equal(strategy_allows(&custom, provider, model), rows[i].custom);
        assert_false(strategy_allows(&none, provider, model));
        assert_true(strategy_allows(&all, provider, model));
    }
}

/* "All" comes first, whatever the lists say. */
static void test_all_outranks_the_lists(void **state)
{
    struct strategy_config s = strategy_make();
    s.allowed.selected_all = true;
    assert_true(strategy_allows(&s, STR("nobody"), STR("knows")));
}

static void test_auto_is_allowed_when_enabled(void **state)
{
    static const struct {
        const char *provider, *model;
        bool is_virtual;
    } rows[] = {
        {"localrouter", "auto", true}, {"hestia", "auto", true},      {"Hestia", "AUTO", true},
        {"localrouter", "best", true}, {"localrouter", "Best", true}, {"hestia", "best", false},
        {"localrouter", "", false},    {"localrouter", "bes", false}, {"openai", "auto", false},
        {"hestia", "", false},         {"hestiaX", "auto", false},
    };
    struct strategy_config none = {.auto_config.model_name = STR("best")}, all = none;
    all.allowed.selected_all = true;
    for (int given = 0; given < 2; given++)
        for (int enabled = 0; enabled < 2; enabled++) {
            none.has_auto = all.has_auto = given;
            none.auto_config.enabled = all.auto_config.enabled = enabled;
            for (size_t i = 0; i < COUNT_OF(rows); i++) {
                struct str provider = str_from_c(rows[i].provider), model = str_from_c(rows[i].model);
                bool is_on = rows[i].is_virtual && given && enabled;
                assert_int_equal(strategy_allows(&none, provider, model), is_on);
                assert_int_equal(strategy_allows(&all, provider, model), is_on || !rows[i].is_virtual);
            }
        }
}

static void test_names_of_the_virtual_model(void **state)
{
    static const struct {
        const char *model;
        bool named, plain; /* with model_name "team/best", and with none */
    } rows[] = {
        {"localrouter/auto", true, true},
        {"hestia/auto", true, true},
        {"LocalRouter/Auto", true, true},
        {"HESTIA/AUTO", true, true},
        {"localrouter/team/best", true, false},
        {"localrouter/TEAM/best", true, false},
        {"hestia/team/best", false, false},
        {"localrouter/team", false, false},
        {"localrouter/autos", false, false},
        {"localrouter/aut", false, false},
        {"localrouter/", false, false},
        {"localrouter", false, false},
        {"hestia/", false, false},
        {"hestia", false, false},
        {"auto", false, false},
        {"team/best", false, false},
        {"/auto", false, false},
        {"", false, false},
        {"llama3", false, false},
        {"hermes/auto", false, false},
        {"openai/auto", false, false},
        {" localrouter/auto", false, false},
    };
    struct strategy_config named = {.auto_config.model_name = STR("team/best")}, plain = {0};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(strategy_is_auto(&named, str_from_c(rows[i].model)), rows[i].named);
        assert_int_equal(strategy_is_auto(&plain, str_from_c(rows[i].model)), rows[i].plain);
    }
    assert_false(strategy_is_auto(&plain, STR_NONE));
}

static void test_clients_providers(void **state)
{
    static struct str providers[] = {{"Ollama", 6}, {"azure-eu", 8}};
    struct client_config some = {.allowed_llm_providers = {providers, COUNT_OF(providers)}}, any = {0};
    static const struct {
        const char *provider;
        bool some;
    } rows[] = {{"ollama", true}, {"OLLAMA", true}, {"Azure-EU", true}, {"azure", false}, {"", false}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(client_allows(&some, str_from_c(rows[i].provider)), rows[i].some);
        assert_true(client_allows(&any, str_from_c(rows[i].provider)));
    }
}

static void test_bare_names(void **state)
{
    static const struct {
        const char *model, *provider, *found; /* NULL: none */
    } rows[] = {
        {"llama3", "ollama", "llama3:8b"},
        {"LLAMA3", "ollama", "llama3:8b"},
        {"llama3:latest", "ollama", "llama3:8b"},
        {"any/llama3:latest", "ollama", "llama3:8b"},
        {"llama3:8b", "ollama", "llama3:8b"},
        {"META/llama3:70b", "router",
         "meta/llama3:70b"},            /* as it stands, though not the first that is alike */
        {"gpt-4o", "OpenAI", "GPT-4o"}, /* the first of two */
        {"deep", "other", "vendor/Deep:free"},
        {"deep:paid", "other", "vendor/Deep:free"},
        {"vendor/Deep:free", "other", "vendor/Deep:free"},
        {"vendor/deep/free", NULL, NULL}, /* only up to the first '/' */
        {"gpt-4", NULL, NULL},
        {"gpt-4o-mini", NULL, NULL},
        {"llama", NULL, NULL},
        {"Whole", NULL, NULL},
        {"", NULL, NULL},
        {"vendor/", NULL, NULL},
        {":free", NULL, NULL},
        {"/", NULL, NULL},
    };
    struct strategy_config custom = strategy_make(), none = {0}, all = strategy_make();
    all.allowed.selected_all = true; /* then the lists are not looked at */
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct str model = str_from_c(rows[i].model);
        struct model_name found = {0};
        assert_false(strategy_resolve(&none, model, &found));
        assert_false(strategy_resolve(&all, model, &found));
        assert_int_equal(strategy_resolve(&custom, model, &found), rows[i].found != NULL);
        assert_true(str_eq(found.provider, str_from_c(rows[i].provider)));
        assert_true(str_eq(found.model, str_from_c(rows[i].found)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allowed_models),
        cmocka_unit_test(test_all_outranks_the_lists),
        cmocka_unit_test(test_auto_is_allowed_when_enabled),
        cmocka_unit_test(test_names_of_the_virtual_model),
        cmocka_unit_test(test_clients_providers),
        cmocka_unit_test(test_bare_names),
    };
    return cmocka_run_group_tests_name("strategy_select", tests, NULL, NULL);
}
