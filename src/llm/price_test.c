/* price*.c: what the catalog says, what stands over it, how names are found, what a usage costs, and imports
   from files. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "llm/price_list.h"
#include "llm/test.h"

static const struct {
    const char *family, *model;
    double input, output, cached_input, reasoning;
    int64_t context_window, max_output;
} rows[] = {
#define NONE (-1.0)
#define M(...) {__VA_ARGS__},
#include "llm/prices.def"
#undef M
};

static struct prices *prices_of(const struct pricing_config *config)
{
    struct error error = {0};
    struct prices *p = prices_new(config, &error);
    if (!p)
        print_error("%s\n", error_text(&error));
    assert_non_null(p);
    return p;
}

static struct price find(const struct prices *p, const char *provider, const char *model)
{
    char *a = exact_copy(str_from_c(provider)), *b = exact_copy(str_from_c(model));
    struct price price = prices_find(p, str_make(a, strlen(provider)), str_make(b, strlen(model)));
    mem_free(a);
    mem_free(b);
    return price;
}

/* ---- the catalog --------------------------------------------------------------------------------------- */

static void test_rows_are_sane(void **state)
{
    assert_in_range(COUNT_OF(rows), 80, 400);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct str name = str_from_c(rows[i].model), family = str_from_c(rows[i].family);
        for (size_t k = 0; k < name.n; k++)
            CHECK_INT(name.p[k] > ' ' && name.p[k] < 127 && name.p[k] == char_lower(name.p[k]), true, name.p);
        for (size_t k = 0; k < family.n; k++)
            CHECK_INT(family.p[k] >= 'a' && family.p[k] <= 'z', true, name.p);
        CHECK_INT(name.n > 0 && !memchr(name.p, ':', name.n) && !memchr(name.p, '/', name.n), true, name.p);
        CHECK_INT(rows[i].input > 0 && rows[i].input <= 1000, true, name.p);
        CHECK_INT(rows[i].output >= 0 && rows[i].output <= 1000, true, name.p);
        CHECK_INT(rows[i].cached_input == NONE || rows[i].cached_input > 0, true, name.p);
        CHECK_INT(rows[i].cached_input <= rows[i].input, true, name.p);
        CHECK_INT(rows[i].reasoning == NONE || rows[i].reasoning >= 0, true, name.p);
        CHECK_INT(rows[i].context_window >= 1024 && rows[i].context_window <= 20000000, true, name.p);
        CHECK_INT(rows[i].max_output >= 0 && rows[i].max_output <= rows[i].context_window, true, name.p);
        for (size_t k = 0; k < i; k++)
            CHECK_INT(strcmp(rows[k].model, rows[i].model) == 0 &&
                          strcmp(rows[k].family, rows[i].family) == 0,
                      false, name.p);
    }
}

static void test_rows_are_found(void **state)
{
    struct prices *p = prices_of(&(struct pricing_config){0});
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct price price = find(p, rows[i].family, rows[i].model);
        CHECK_INT(price.known && !price.overridden, true, rows[i].model);
        CHECK_INT(llabs(price.input - (int64_t)(rows[i].input * 1e6)) <= 1, true, rows[i].model);
        CHECK_INT(llabs(price.output - (int64_t)(rows[i].output * 1e6)) <= 1, true, rows[i].model);
        CHECK_INT(price.cached_input == -1, rows[i].cached_input < 0, rows[i].model);
        CHECK_INT(price.context_window, rows[i].context_window, rows[i].model);
        CHECK_INT(price.max_output, rows[i].max_output, rows[i].model);
    }
    prices_unref(p);
}

static void test_known_answers(void **state)
{
    struct prices *p = prices_of(&(struct pricing_config){0});
    struct price price = find(p, "openai", "gpt-4o-mini");
    assert_true(price.known && !price.overridden);
    assert_int_equal(price.input, 150000);
    assert_int_equal(price.output, 600000);
    assert_int_equal(price.cached_input, 75000);
    assert_int_equal(price.reasoning, -1);
    assert_int_equal(price.context_window, 128000);
    assert_int_equal(price.max_output, 16384);
    assert_int_equal(find(p, "", "gemini-1.5-flash").cached_input, 18750);
    assert_int_equal(find(p, "x", "claude-sonnet-4-20250514").output, 15000000);
    prices_unref(p);
}

/* Names that lead to one and the same row, and names that lead nowhere. `like`: NULL = unknown. */
static void test_names(void **state)
{
    static const struct {
        const char *provider, *model, *like;
    } names[] = {
        {"openai", "gpt-4o", "gpt-4o"},
        {"", "gpt-4o", "gpt-4o"},
        {"my-azure", "GPT-4o", "gpt-4o"},
        {"openai", "gpt-4o-2024-08-06", "gpt-4o"},
        {"openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"},
        {"openai", "openai/gpt-4o-2024-05-13", "gpt-4o-2024-05-13"},
        {"router", "openai/gpt-4o", "gpt-4o"},
        {"router", "org/sub/gpt-4o", "gpt-4o"},
        {"router", "/gpt-4o", "gpt-4o"},
        {"router", "//gpt-4o", "gpt-4o"},
        {"router", "OpenAI/GPT-4o-2024-08-06:extended", "gpt-4o"},
        {"x", "gpt-4o:free", "gpt-4o"},
        {"x", "gpt-4o:", "gpt-4o"},
        {"x", "gpt-4-0613", "gpt-4"},
        {"x", "gpt-4-1106-preview", "gpt-4-1106-preview"},
        {"x", "claude-opus-4-20250514", "claude-opus-4"},
        {"x", "claude-opus-4@20250514", "claude-opus-4"},
        {"x", "claude-opus-4-latest", "claude-opus-4"},
        {"mistral", "mistral-large-2411", "mistral/mistral-large"},
        {"MISTRAL-2", "mistral-large-2411", "mistral/mistral-large"},
        {"groq", "openai/gpt-oss-120b", "groq/gpt-oss-120b"},
        {"groq_eu", "openai/gpt-oss-120b", "groq/gpt-oss-120b"},
        {"cohere", "command-r-plus:104b", "cohere/command-r-plus"},
        /* nobody says what a local model costs */
        {"ollama", "llama3:8b", NULL},
        {"ollama", "mistral-large:123b", NULL},
        {"ollama", "command-r:35b", NULL},
        {"vllm", "openai/gpt-oss-120b", NULL},
        {"groqqy", "openai/gpt-oss-120b", NULL},
        /* no date, no tag, no part of the name */
        {"x", "gpt-4o-2024-13-01", NULL},
        {"x", "gpt-4o-2024-12-32", NULL},
        {"x", "gpt-4o-1999-08-06", NULL},
        {"x", "gpt-4o-2024-08-0a", NULL},
        {"x", "gpt-4o-9999", NULL},
        {"x", "gpt-4o2024-08-06", NULL},
        {"x", "gpt-4o-", NULL},
        {"x", "ft:gpt-4o:me::id", NULL},
        {"x", "gpt-4o/", NULL},
        {"x", "gpt-4o/x", NULL},
        {"x", "gp", NULL},
        {"gpt-4o", "", NULL},
        {"", "", NULL},
        {"", ":", NULL},
        {"", "/", NULL},
        {"", "-2024-08-06", NULL},
        {"", "-latest", NULL},
        {"", ":gpt-4o", NULL},
    };
    struct prices *p = prices_of(&(struct pricing_config){0});
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct price got = find(p, names[i].provider, names[i].model), none = {0};
        struct price want = names[i].like ? find(p, "", names[i].like) : none;
        CHECK_INT(want.known, names[i].like != NULL, names[i].model);
        if (memcmp(&got, &want, offsetof(struct price, overridden) + 1) != 0)
            CHECK_INT(got.input, -99, names[i].model);
    }
    prices_unref(p);
}

static void test_hostile_names(void **state)
{
    static char longest[1 << 16];
    struct prices *p = prices_of(&(struct pricing_config){0});
    memset(longest, 'a', sizeof longest);
    for (size_t n = 1200; n < 1300; n++)
        assert_false(prices_find(p, str_make(longest, 1300 - n), str_make(longest, n)).known);
    assert_false(prices_find(p, str_make(longest, sizeof longest), STR("gpt-4o")).known);
    assert_false(prices_find(p, STR("x"), str_make(longest, sizeof longest)).known);
    assert_false(prices_find(p, STR_NONE, STR_NONE).known);
    memset(longest, '/', 1000);
    assert_false(prices_find(p, str_make(longest, 1000), str_make(longest, 1000)).known);
    memcpy(longest + 1000, "gpt-4o\n", 7);
    assert_true(prices_find(p, str_make(longest, 200), str_make(longest, 1006)).known);
    assert_false(prices_find(p, STR("x"), str_make(longest, 1007)).known);
    assert_false(prices_find(p, STR("x"), str_make("gpt-4o\0", 7)).known);
    prices_unref(p);
}

/* ---- overrides ----------------------------------------------------------------------------------------- */

static struct price_config override(const char *provider, const char *model, int64_t input, int64_t output,
                                    int64_t cached_input, int64_t reasoning)
{
    return (struct price_config){str_from_c(provider), str_from_c(model), input, output,
                                 cached_input,         reasoning};
}

static void check_price(struct price got, int64_t input, int64_t output, int64_t cached_input,
                        int64_t reasoning, bool overridden)
{
    assert_true(got.known);
    assert_int_equal(got.input, input);
    assert_int_equal(got.output, output);
    assert_int_equal(got.cached_input, cached_input);
    assert_int_equal(got.reasoning, reasoning);
    assert_int_equal(got.overridden, overridden);
}

static void test_overrides(void **state)
{
    struct price_config list[] = {
        override("", "gpt-4o", 7, -1, -1, -1),
        override("Azure-EU", "GPT-4o", -1, 9, -1, 3),
        override("azure-us", "gpt-4o", 11, 12, 13, -1),
        override("", "Local/Model", 5, -1, -1, -1),
        override("ollama", "llama3", 0, 0, -1, -1),
        override("ollama", "llama3:70b", 1, 2, -1, -1),
        override("", "nothing-said", -1, -1, -1, -1),
        override("", "gpt-4o-mini", -1, -1, -1, -1),
        override("", "gpt-4.1", 99000000, -1, -1, -1),
        override("", "twice", 1, 1, -1, -1),
        override("", "twice", 2, 2, -1, -1),
    };
    struct prices *p =
        prices_of(&(struct pricing_config){.overrides = list, .override_count = COUNT_OF(list)});
    memset(list, 0xee, sizeof list); /* they live on without the configuration */
    /* what is not said is as in the catalog, but that a cached token costs no more than another */
    check_price(find(p, "openai", "gpt-4o"), 7, 10000000, -1, -1, true);
    check_price(find(p, "openai", "gpt-4o-2024-05-13"), 7, 15000000, -1, -1, true);
    check_price(find(p, "x", "openai/gpt-4o:free"), 7, 10000000, -1, -1, true);
    check_price(find(p, "azure-eu", "gpt-4o"), 7, 9, -1, 3, true);
    check_price(find(p, "AZURE-US", "gpt-4o"), 11, 12, 13, -1, true);
    check_price(find(p, "x", "gpt-4.1"), 99000000, 8000000, 500000, -1, true);
    check_price(find(p, "x", "gpt-4o-mini"), 150000, 600000, 75000, -1, false);
    /* what nobody knows but the owner */
    check_price(find(p, "x", "local/model"), 5, 0, -1, -1, true);
    check_price(find(p, "x", "local/model:8b"), 5, 0, -1, -1, true);
    check_price(find(p, "x", "local/model-2024-08-06"), 5, 0, -1, -1, true);
    assert_false(find(p, "x", "model").known);
    check_price(find(p, "ollama", "llama3:8b"), 0, 0, -1, -1, true);
    check_price(find(p, "ollama", "llama3"), 0, 0, -1, -1, true);
    check_price(find(p, "ollama", "llama3:70B"), 1, 2, -1, -1, true);
    assert_false(find(p, "ollama2", "llama3").known);
    assert_false(find(p, "", "llama3").known);
    assert_false(find(p, "", "nothing-said").known);
    check_price(find(p, "x", "twice"), 2, 2, -1, -1, true);
    prices_unref(p);
}

static void test_references(void **state)
{
    struct prices *p = prices_of(&(struct pricing_config){0});
    assert_ptr_equal(prices_ref(p), p);
    prices_unref(p);
    assert_true(find(p, "", "gpt-4o").known);
    prices_unref(p);
    prices_unref(NULL);
}

/* ---- costs --------------------------------------------------------------------------------------------- */

static void test_costs(void **state)
{
    static const struct {
        struct price price;
        struct llm_usage usage;
        int64_t want;
    } costs[] = {
        {{10, 20, 1, 30}, {true, 100, 50, 150, 0, 0}, 2000},
        {{10, 20, 1, 30}, {true, 100, 50, 150, 40, 0}, 600 + 40 + 1000},
        {{10, 20, 1, 30}, {true, 100, 50, 150, 0, 20}, 1000 + 600 + 600},
        {{10, 20, -1, -1}, {true, 100, 50, 150, 40, 20}, 2000},
        {{10, 20, 0, 0}, {true, 100, 50, 150, 100, 50}, 0},
        /* more cached than asked, more thought than said */
        {{10, 20, 1, 30}, {true, 100, 50, 150, 5000, 7000}, 100 + 1500},
        {{10, 20, 1, 30}, {true, 0, 0, 0, UINT64_MAX, UINT64_MAX}, 0},
        {{10, 20, 1, 30}, {0}, 0},
        {{0}, {true, 100, 50, 150, 0, 0}, 0},
        /* at and beyond the end */
        {{1, 0, -1, -1}, {true, INT64_MAX, 0, 0, 0, 0}, INT64_MAX},
        {{1, 0, -1, -1}, {true, UINT64_MAX, 0, 0, 0, 0}, INT64_MAX},
        {{1, 1, -1, -1}, {true, INT64_MAX, 1, 0, 0, 0}, INT64_MAX},
        {{1, 1, -1, -1}, {true, INT64_MAX - 1, 1, 0, 0, 0}, INT64_MAX},
        {{1, 1, -1, -1}, {true, INT64_MAX - 2, 1, 0, 0, 0}, INT64_MAX - 1},
        {{INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}, {true, 9, 9, 18, 3, 3}, INT64_MAX},
        {{INT64_MAX, 1, 0, 0}, {true, 1, 0, 1, 0, 0}, INT64_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(costs); i++) {
        int64_t got = price_cost(&costs[i].price, &costs[i].usage);
        if (got != costs[i].want)
            print_error("row %zu\n", i);
        assert_int_equal(got, costs[i].want);
    }
}

/* What the import reads numbers with: to the nearest pico-dollar. */
static void test_decimals(void **state)
{
    static const struct {
        const char *text;
        int shift;
        int64_t want; /* -1: refused */
    } decimals[] = {
        {"1.5e-07", 12, 150000},
        {"1.5E-07", 12, 150000},
        {"0.00000015", 12, 150000},
        {"2.5e-6", 12, 2500000},
        {"3e-06", 12, 3000000},
        {"4.000000000000001e-06", 12, 4000000},
        {"3.9999999999999e-06", 12, 4000000},
        {"0", 12, 0},
        {"0.0", 12, 0},
        {"0.000e+5", 12, 0},
        {"1", 12, 1000000000000},
        {"1e0", 12, 1000000000000},
        {"1.25e+1", 0, 13},
        {"12.5", 0, 13},
        {"12.49999999999999999999999999999999", 0, 12},
        {"4e-13", 12, 0},
        {"5e-13", 12, 1},
        {"4.9999e-13", 12, 0},
        {"1.5e-12", 12, 2},
        {"9e-14", 12, 0},
        {"0.0000000000000000000000000000001", 12, 0},
        {"128000", 0, 128000},
        {"1.28e5", 0, 128000},
        {"9223372036854775807", 0, INT64_MAX},
        {"9223372036854775807.4", 0, INT64_MAX},
        {"9223372036854775807.5", 0, -1},
        {"9223372036854775808", 0, -1},
        {"9223372", 12, 9223372000000000000},
        {"9223373", 12, -1},
        {"1e19", 0, -1},
        {"1e999999999999999999999", 12, -1},
        {"\"1\"", 12, -1},
        {"true", 12, -1},
        {"{}", 12, -1},
        {"", 12, -1},
    };
    for (size_t i = 0; i < COUNT_OF(decimals); i++) {
        int64_t got = -1;
        bool taken = num_parse_decimal(str_from_c(decimals[i].text), decimals[i].shift, &got, NULL);
        CHECK_INT(taken, decimals[i].want >= 0, decimals[i].text);
        if (taken)
            CHECK_INT(got, decimals[i].want, decimals[i].text);
    }
}

/* ---- imports ------------------------------------------------------------------------------------------- */

static char path[64];
static struct buf logged = {.max = 1 << 16};

static void sink(struct str line)
{
    buf_add_str(&logged, line);
}

static struct prices *import(const char *text, const struct price_config *overrides, size_t count,
                             struct error *error)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    struct pricing_config config = {.overrides = (struct price_config *)(uintptr_t)overrides,
                                    .override_count = count,
                                    .import = str_from_c(path)};
    *error = (struct error){0};
    buf_clear(&logged);
    return prices_new(&config, error);
}

static void test_import(void **state)
{
    struct error error;
    struct price_config mine = override("", "gpt-4o", -1, 77, -1, -1);
    struct prices *p = import(
        "{\"sample_spec\":{\"input_cost_per_token\":\"text\",\"max_tokens\":\"LEGACY\"},\n"
        "\"gpt-4o\":{\"input_cost_per_token\":2.6e-06,\"output_cost_per_token\":1.1e-05,"
        "\"cache_read_input_token_cost\":1.3e-06,\"output_cost_per_reasoning_token\":2e-5,"
        "\"max_input_tokens\":130000,\"max_output_tokens\":1.6e4,\"max_tokens\":9,\"litellm_provider\":"
        "\"openai\",\"mode\":\"chat\",\"supports_vision\":true,\"x\":[{\"input_cost_per_token\":9}]},\n"
        "\"Groq/New\\u002DModel\":{\"input_cost_per_token\":1e-7,\"output_cost_per_token\":2e-7,"
        "\"max_tokens\":8192},\n"
        "\"embed\":{\"input_cost_per_token\":2e-8,\"max_input_tokens\":\"many\",\"mode\":\"embedding\"},\n"
        "\"free\":{\"input_cost_per_token\":0,\"output_cost_per_token\":0.0,"
        "\"cache_read_input_token_cost\":null},\n"
        "\"picture\":{\"input_cost_per_pixel\":1.9e-08,\"mode\":\"image_generation\"}}\n",
        &mine, 1, &error);
    assert_non_null(p);
    assert_null(strstr(buf_c(&logged), "entries_skipped"));
    assert_non_null(strstr(buf_c(&logged), "4 prices"));
    check_price(find(p, "openai", "gpt-4o"), 2600000, 77, 1300000, 20000000, true);
    assert_int_equal(find(p, "openai", "gpt-4o").context_window, 130000);
    assert_int_equal(find(p, "openai", "gpt-4o").max_output, 16000);
    check_price(find(p, "openai", "openai/gpt-4o-2024-08-06"), 2600000, 77, 1300000, 20000000, true);
    /* the catalog's exact row counts more than the import's of the family, the owner's word more than both */
    check_price(find(p, "openai", "gpt-4o-2024-05-13"), 5000000, 77, -1, -1, true);
    check_price(find(p, "openai", "gpt-4o-mini"), 150000, 600000, 75000, -1, false);
    check_price(find(p, "groq", "new-model"), 100000, 200000, -1, -1, false);
    check_price(find(p, "Groq-2", "NEW-model"), 100000, 200000, -1, -1, false);
    assert_int_equal(find(p, "groq", "new-model").context_window, 8192);
    assert_int_equal(find(p, "groq", "new-model").max_output, 8192);
    assert_false(find(p, "ollama", "new-model").known);
    check_price(find(p, "x", "embed"), 20000, 0, -1, -1, false);
    assert_int_equal(find(p, "x", "embed").context_window, 0);
    check_price(find(p, "x", "free"), 0, 0, -1, -1, false);
    assert_false(find(p, "x", "picture").known);
    assert_false(find(p, "x", "sample_spec").known);
    prices_unref(p);
}

static void test_import_of_bad_entries(void **state)
{
    struct error error;
    struct prices *p =
        import("{\"\":{\"input_cost_per_token\":1},\"number\":7,\"list\":[],\"null\":null,"
               "\"text\":{\"input_cost_per_token\":\"1e-6\"},"
               "\"below\":{\"input_cost_per_token\":1e-6,\"output_cost_per_token\":-1e-6},"
               "\"huge\":{\"input_cost_per_token\":1e30},"
               "\"gpt-4o\":{\"input_cost_per_token\":true},"
               "\"good\":{\"input_cost_per_token\":1e-6,\"max_tokens\":1e99,\"max_input_tokens\":5e9},"
               "\"large\":{\"input_cost_per_token\":1,\"max_input_tokens\":4294967297},"
               "\"GOOD\":{\"input_cost_per_token\":3e-6}}",
               NULL, 0, &error);
    assert_non_null(p);
    assert_non_null(strstr(buf_c(&logged), "\"level\":\"WARNING\""));
    assert_non_null(strstr(buf_c(&logged), "8 entries"));
    assert_false(find(p, "", "text").known || find(p, "", "below").known || find(p, "", "huge").known);
    check_price(find(p, "", "gpt-4o"), 2500000, 10000000, 1250000, -1, false);
    assert_int_equal(find(p, "", "large").context_window, 0);
    check_price(find(p, "", "good"), 3000000, 0, -1, -1, false); /* the last one counts */
    assert_int_equal(find(p, "", "good").context_window, 0);
    prices_unref(p);
}

static void test_import_of_broken_files(void **state)
{
    static const struct {
        const char *text, *place;
    } broken[] = {
        {"", "line 1, column 1"},
        {"[]", "line 1, column 1"},
        {"null", "line 1, column 1"},
        {"{\"a\":{\"input_cost_per_token\":1},\n\"b\":{\"x\":01}}", "line 2, column "},
        {"{\"a\":{}\n,\n  ?", "line 3, column 3"},
        {"{\"a\":{}}\n\n}", "line 3, column 1"},
        {"{\"a\":{},}", "line 1, column "},
        {"{\"a\":{\"b\":\"\xff\"}}", "line 1, column 12"},
        {"\xef\xbb\xbf{}", "line 1, column 1"},
    };
    struct error error;
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        assert_null(import(broken[i].text, NULL, 0, &error));
        assert_int_equal(error.err, ERR_CONFIG);
        if (!strstr(error.why, broken[i].place) || !strstr(error.why, path))
            CHECK_STR(str_from_c(error.why), broken[i].place, broken[i].text);
    }
    struct pricing_config config = {.import = STR("/nowhere/at/all.json")};
    assert_null(prices_new(&config, &error));
    assert_int_equal(error.err, ERR_CONFIG);
    assert_non_null(strstr(error.why, "/nowhere/at/all.json"));
    config.import = STR("/tmp");
    assert_null(prices_new(&config, &error));
    assert_non_null(strstr(error.why, "no regular file"));
    prices_unref(import("{}", NULL, 0, &error));
    assert_int_equal(truncate(path, (32 << 20) + 1), 0);
    config.import = str_from_c(path);
    assert_null(prices_new(&config, &error));
    assert_non_null(strstr(error.why, "32 MiB"));
}

/* Every row of the catalog goes out as LiteLLM would write it and comes back the same. */
static void test_import_round_trip(void **state)
{
    CLEANUP(buf_free) struct buf text = BUF(1 << 20);
    struct error error;
    buf_add_char(&text, '{');
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        buf_addf(&text,
                 "%s\"%s/%s\":{\"input_cost_per_token\":%.17g,\"output_cost_per_token\":%.17g%s%.17g,"
                 "\"max_input_tokens\":%lld,\"max_output_tokens\":%lld}",
                 i ? "," : "", "copy", rows[i].model, rows[i].input / 1e6, rows[i].output / 1e6,
                 rows[i].cached_input < 0 ? ",\"x\":" : ",\"cache_read_input_token_cost\":",
                 rows[i].cached_input / 1e6, (long long)rows[i].context_window,
                 (long long)rows[i].max_output);
    buf_add_char(&text, '}');
    struct prices *p = import(buf_c(&text), NULL, 0, &error);
    assert_non_null(p);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct price copy = find(p, "copy", rows[i].model), own = find(p, rows[i].family, rows[i].model);
        CHECK_INT(copy.input, own.input, rows[i].model);
        CHECK_INT(copy.output, own.output, rows[i].model);
        CHECK_INT(copy.cached_input, own.cached_input, rows[i].model);
        CHECK_INT(copy.context_window, own.context_window, rows[i].model);
        CHECK_INT(copy.max_output, own.max_output, rows[i].model);
    }
    prices_unref(p);
}

static int setup(void **state)
{
    strcpy(path, "/tmp/hestia-prices-XXXXXX");
    int fd = mkstemp(path);
    log_set_sink(sink);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    buf_free(&logged);
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_sane),
        cmocka_unit_test(test_rows_are_found),
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_costs),
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_import),
        cmocka_unit_test(test_import_of_bad_entries),
        cmocka_unit_test(test_import_of_broken_files),
        cmocka_unit_test(test_import_round_trip),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
