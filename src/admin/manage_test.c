/* Tests of the management API's JSON (money, dates, objects, warnings) and of its checks on Host and Origin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/manage.h"
#include "admin/manage_write.h"

#include <jansson.h>
#include <stdio.h>

/* ---- reading what was written ----------------------------------------------------------------------------
 */

static struct buf out;
static struct json writer;

static struct json *begin(void)
{
    buf_free(&out);
    out = BUF(0);
    writer = json_to(&out);
    return &writer;
}

static json_t *parse(void)
{
    json_error_t error;
    assert_int_equal(buf_err(&out), OK);
    json_t *root = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!root)
        fail_msg("%s in %s", error.text, buf_c(&out));
    return root;
}

static int drop(void **state)
{
    buf_free(&out);
    return 0;
}

static const json_t *at(const json_t *root, const char *key)
{
    const json_t *found = json_object_get(root, key);
    if (!found)
        fail_msg("no %s in %s", key, buf_c(&out));
    return found;
}

static void check_text(const json_t *root, const char *key, const char *want)
{
    assert_string_equal(json_string_value(at(root, key)), want);
}

static void check_null(const json_t *root, const char *key)
{
    assert_true(json_is_null(at(root, key)));
}

static void check_number(const json_t *root, const char *key, long long want)
{
    assert_true(json_is_integer(at(root, key)));
    assert_int_equal(json_integer_value(at(root, key)), want);
}

/* ---- money and dates -------------------------------------------------------------------------------------
 */

static void check_decimal(int64_t value, int digits, const char *want)
{
    json_decimal(begin(), value, digits);
    assert_string_equal(buf_c(&out), want);
}

static void test_money_is_exact(void **state)
{
    check_decimal(0, DOLLAR_DIGITS, "0");
    check_decimal(1, DOLLAR_DIGITS, "0.000000000001");
    check_decimal(100000000000, DOLLAR_DIGITS, "0.1");
    check_decimal(1000000000000, DOLLAR_DIGITS, "1");
    check_decimal(12345678901234, DOLLAR_DIGITS, "12.345678901234");
    check_decimal(-2500000000000, DOLLAR_DIGITS, "-2.5");
    check_decimal(INT64_MAX, DOLLAR_DIGITS, "9223372.036854775807");
    check_decimal(INT64_MIN, DOLLAR_DIGITS, "-9223372.036854775808");
    check_decimal(2500000, PER_MILLION_DIGITS, "2.5");
    check_decimal(150000, PER_MILLION_DIGITS, "0.15");
    check_decimal(1000, 0, "1000");
    check_decimal(-7, 0, "-7");
}

static void check_date(const char *text, int64_t want)
{
    int64_t seconds = -1;
    if (!manage_parse_time(str_from_c(text), &seconds))
        fail_msg("%s is refused", text);
    assert_int_equal(seconds, want);
}

static void test_dates_are_read(void **state)
{
    check_date("2025-09-09T05:30:00Z", 1757395800);
    check_date("2025-09-09t05:30:00.123456z", 1757395800);
    check_date("2025-09-09T07:30:00+02:00", 1757395800);
    check_date("2025-09-09T07:30:00 02:00", 1757395800); /* a '+' that was not escaped */
    check_date("2025-09-08T22:00:00-07:30", 1757395800);
    check_date("2025-09-09", 1757376000);
    check_date("2024-02-29", 1709164800);
    check_date("1757395800", 1757395800);
    check_date("0", 0);
}

static void test_no_dates_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "yesterday",
                                      "2025-09-31",
                                      "2025-02-29",
                                      "2025-13-01",
                                      "2025-00-10",
                                      "2025-9-9",
                                      "2025-09-09T05:30",
                                      "2025-09-09T05:30:00",
                                      "2025-09-09T24:00:00Z",
                                      "2025-09-09T05:60:00Z",
                                      "2025-09-09T05:30:00.Z",
                                      "2025-09-09T05:30:00Zx",
                                      "-5",
                                      "1757395800000000",
                                      "1969-12-31",
                                      "2025-09-09T05:30:00+0200",
                                      "2025-09-09Z"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t seconds;
        if (manage_parse_time(str_from_c(bad[i]), &seconds))
            fail_msg("%s is taken", bad[i]);
    }
}

/* ---- objects ---------------------------------------------------------------------------------------------
 */

static struct model_name pairs[] = {{{"a", 1}, {"m1", 2}}, {{"A", 1}, {"org/m2", 6}}};
static struct str providers[] = {{"b", 1}};
static struct rate_limit_config limits[] = {
    {LIMIT_COST, WINDOW_DAY, 500000000000, true},
    {LIMIT_REQUESTS, WINDOW_MINUTE, 10, false},
};

static struct book_strategy strategy_of(void)
{
    return (struct book_strategy){
        .config = {.id = STR("s1"),
                   .name = STR("Ann's \"best\""),
                   .parent = STR("ann"),
                   .allowed = {.providers = {providers, 1}, .models = {pairs, 1}},
                   .has_auto = true,
                   .auto_config = {true, STR("auto"), {pairs, 2}, {NULL, 0}},
                   .limits = limits,
                   .limit_count = 2,
                   .fallback_on_other = true},
        .revision = 7,
        .created_us = (int64_t)1757395800 * 1000000,
        .client_count = 3,
    };
}

static void test_a_client(void **state)
{
    struct book_strategy strategy = strategy_of();
    struct book_client client = {
        .config = {.id = STR("ann"),
                   .name = STR("Ann"),
                   .enabled = true,
                   .strategy_id = STR("gone"),
                   .allowed_llm_providers = {providers, 1}},
        .strategy = &strategy,
        .lookup = STR("ab12cd34"),
        .revision = 4,
        .created_us = (int64_t)1757395800 * 1000000,
    };
    struct json *j = begin();
    json_put_object(j);
    manage_write_client(j, &client, 0);
    json_end(j);
    json_t *root = parse();
    check_text(root, "id", "ann");
    check_text(root, "strategy_id", "s1"); /* the one in force */
    check_text(root, "key_hint", "hk_ab12cd34_…");
    check_text(root, "created_at", "2025-09-09T05:30:00.000000Z");
    check_null(root, "updated_at");
    check_null(root, "last_used");
    check_number(root, "revision", 4);
    assert_true(json_is_true(at(root, "enabled")) && json_is_false(at(root, "managed_by_config")));
    assert_string_equal(json_string_value(json_array_get(at(root, "allowed_llm_providers"), 0)), "b");
    json_decref(root);
}

static void test_a_strategy(void **state)
{
    struct book_strategy strategy = strategy_of();
    struct json *j = begin();
    json_put_object(j);
    manage_write_strategy(j, &strategy);
    json_end(j);
    json_t *root = parse();
    check_text(root, "name", "Ann's \"best\"");
    check_text(root, "parent", "ann");
    check_number(root, "client_count", 3);
    check_number(root, "revision", 7);
    const json_t *allowed = at(root, "allowed_models");
    assert_true(json_is_false(at(allowed, "selected_all")));
    const json_t *pair = json_array_get(at(at(root, "auto_config"), "prioritized_models"), 1);
    assert_string_equal(json_string_value(json_array_get(pair, 0)), "A");
    assert_string_equal(json_string_value(json_array_get(pair, 1)), "org/m2");
    const json_t *cost = json_array_get(at(root, "rate_limits"), 0);
    check_text(cost, "limit_type", "cost");
    check_text(cost, "time_window", "day");
    assert_true(json_real_value(at(cost, "value")) == 0.5);
    const json_t *requests = json_array_get(at(root, "rate_limits"), 1);
    check_number(requests, "value", 10);
    assert_true(json_is_false(at(requests, "enabled")));
    json_decref(root);

    strategy.config.has_auto = false;
    strategy.config.parent = STR_NONE;
    j = begin();
    json_put_object(j);
    manage_write_strategy(j, &strategy);
    json_end(j);
    root = parse();
    check_null(root, "auto_config");
    check_null(root, "parent");
    json_decref(root);
}

static void test_a_limit(void **state)
{
    struct book_strategy strategy = strategy_of();
    struct limit_status status = {
        .config = limits[0], .used = 1, .reserved = 2, .remaining = 3, .reset_ms = 1001};
    manage_write_limit(begin(), &strategy, &status);
    assert_non_null(strstr(buf_c(&out), "\"used\":0.000000000001,\"reserved\":0.000000000002,"
                                        "\"remaining\":0.000000000003,\"reset_seconds\":2"));
    status.config = limits[1];
    status.reset_ms = 0;
    manage_write_limit(begin(), &strategy, &status);
    assert_non_null(strstr(buf_c(&out), "\"used\":1,\"reserved\":2,\"remaining\":3,\"reset_seconds\":0"));
}

static void test_a_model(void **state)
{
    struct price price = {.input = 2500000, .output = 10000000, .context_window = 128000, .known = true};
    manage_write_model(begin(), STR("gpt"), STR("a"), &price);
    assert_string_equal(buf_c(&out), "{\"id\":\"gpt\",\"provider\":\"a\",\"input_per_million\":2.5,"
                                     "\"output_per_million\":10,\"context_window\":128000}");
    price = (struct price){0};
    manage_write_model(begin(), STR("gpt"), STR("a"), &price);
    assert_string_equal(buf_c(&out), "{\"id\":\"gpt\",\"provider\":\"a\",\"input_per_million\":null,"
                                     "\"output_per_million\":null,\"context_window\":null}");
}

/* Neither where it is nor its key. */
static void test_a_provider_keeps_its_secrets(void **state)
{
    struct provider_config config = {.name = STR("a"),
                                     .base_url_text = STR("http://u:canary@h"),
                                     .api_key = STR("canary"),
                                     .weight = 2,
                                     .max_concurrent = 4};
    struct provider_status status = {.name = STR("a"), .healthy = true, .model_count = 5};
    manage_write_provider(begin(), &config, &status);
    json_t *root = parse();
    check_text(root, "type", "openai");
    check_number(root, "weight", 2);
    check_number(root, "max_concurrent", 4);
    check_number(root, "models", 5);
    check_null(root, "last_error");
    check_null(root, "service");
    assert_null(strstr(buf_c(&out), "canary"));
    json_decref(root);
}

/* ---- warnings --------------------------------------------------------------------------------------------
 */

static bool has_provider(const void *argument, struct str provider)
{
    return str_eq_nocase(provider, STR("a"));
}

static bool serves(const void *argument, struct str provider, struct str model)
{
    return str_eq(model, STR("m1"));
}

static json_t *warnings_of(const struct strategy_config *s)
{
    struct pool_knowledge pool = {has_provider, serves, NULL};
    struct json *j = begin();
    json_put_object(j);
    manage_write_warnings(j, s, &pool);
    json_end(j);
    return parse();
}

static void check_warnings(const struct strategy_config *s, const char *const *wanted, size_t count)
{
    json_t *root = warnings_of(s);
    assert_int_equal(json_array_size(at(root, "warnings")), count);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(at(root, "warnings"), i));
        if (!strstr(text, wanted[i]))
            fail_msg("\"%s\" does not say: %s", text, wanted[i]);
    }
    json_decref(root);
}

static void test_warnings(void **state)
{
    struct model_name unknown[] = {{{"a", 1}, {"m1", 2}}, {{"nobody", 6}, {"x", 1}}};
    struct strategy_config s = {.allowed.selected_all = true};
    check_warnings(&s, NULL, 0);
    s.allowed.selected_all = false;
    check_warnings(&s, (const char *const[]){"No model is allowed"}, 1);
    s.allowed.providers = (struct strs){providers, 1};
    check_warnings(&s, NULL, 0);
    s.has_auto = s.auto_config.enabled = true;
    check_warnings(&s, (const char *const[]){"no model is prioritized"}, 1);
    s.auto_config.prioritized = (struct model_names){pairs, 2}; /* both on a, of which only m1 is known */
    check_warnings(&s,
                   (const char *const[]){"m1 of a is not allowed", "org/m2 of A is not allowed",
                                         "org/m2 is unknown to provider A",
                                         "All prioritized models are on provider a"},
                   4);
    s.allowed.selected_all = true;
    s.auto_config.prioritized = (struct model_names){unknown, 2};
    check_warnings(&s, (const char *const[]){"provider nobody is not configured"}, 1);
    s.auto_config.prioritized.count = 1; /* one alone is no mistake */
    check_warnings(&s, NULL, 0);
    s.auto_config.enabled = false;
    s.auto_config.prioritized = (struct model_names){0};
    check_warnings(&s, NULL, 0);
}

/* ---- usage -----------------------------------------------------------------------------------------------
 */

static void test_a_point(void **state)
{
    struct usage_point p = {.at = 1757395800,
                            .requests = 4,
                            .ok = 3,
                            .failed = 1,
                            .input_tokens = 10,
                            .cost = 250000,
                            .latency_sum_ms = 30,
                            .first_byte_sum_ms = 9,
                            .first_byte_count = 2};
    p.latency[3] = 3; /* 4 to 8 ms */
    p.latency[5] = 1; /* 16 to 32 ms */
    manage_write_point(begin(), &p);
    json_t *root = parse();
    check_text(root, "at", "2025-09-09T05:30:00Z");
    check_number(root, "requests", 4);
    check_number(root, "failed", 1);
    assert_non_null(strstr(buf_c(&out), "\"cost\":0.00000025,"));
    const json_t *latency = at(root, "latency_ms");
    assert_true(json_real_value(at(latency, "avg")) == 7.5);
    double p50 = json_real_value(at(latency, "p50")), p99 = json_real_value(at(latency, "p99"));
    assert_true(p50 >= 4 && p50 <= 8 && p99 >= 16 && p99 <= 32);
    assert_true(json_real_value(at(root, "first_byte_ms")) == 4.5);
    json_decref(root);
}

static void test_an_empty_point_has_no_latency(void **state)
{
    struct usage_point p = {.at = -1};
    manage_write_point(begin(), &p);
    json_t *root = parse();
    assert_null(json_object_get(root, "at"));
    check_null(root, "first_byte_ms");
    check_null(at(root, "latency_ms"), "avg");
    check_null(at(root, "latency_ms"), "p99");
    check_number(root, "cost", 0);
    json_decref(root);
}

static void test_points_add_up(void **state)
{
    struct usage_point sum = {.at = -1}, p = {.requests = 2,
                                              .ok = 1,
                                              .cancelled = 1,
                                              .cost = INT64_MAX - 1,
                                              .output_tokens = 5,
                                              .latency_sum_ms = 7};
    p.latency[2] = 2;
    manage_add_point(&sum, &p);
    manage_add_point(&sum, &p);
    assert_int_equal(sum.requests, 4);
    assert_int_equal(sum.cancelled, 2);
    assert_int_equal(sum.output_tokens, 10);
    assert_int_equal(sum.latency_sum_ms, 14);
    assert_int_equal(sum.latency[2], 4);
    assert_true(sum.cost == INT64_MAX); /* not beyond */
}

static void test_a_request(void **state)
{
    struct request_row row = {
        .open = {.at_us = (int64_t)1757395800 * 1000000,
                 .request_id = STR("r1"),
                 .client = STR("ann"),
                 .model = STR("localrouter/auto"),
                 .endpoint = STR("chat"),
                 .stream = true},
        .state = {.provider = STR("b"),
                  .model = STR("m2"),
                  .input_tokens = 7,
                  .cost = 1500,
                  .duration_us = 1234567,
                  .status = 200,
                  .outcome = ENTRY_OK,
                  .attempt_count = 2,
                  .attempts = {{STR("a"), STR("m1"), STR("rate_limited"), 429},
                               {STR("b"), STR("m2"), STR("ok"), 0}}},
        .ended_us = (int64_t)1757395801 * 1000000,
    };
    manage_write_request(begin(), &row);
    json_t *root = parse();
    check_text(root, "request_id", "r1");
    check_text(root, "outcome", "ok");
    check_text(root, "provider_model", "m2");
    check_null(root, "strategy");
    check_null(root, "first_byte_ms");
    assert_non_null(strstr(buf_c(&out), "\"cost\":0.0000000015,\"duration_ms\":1234.567,"));
    assert_int_equal(json_array_size(at(root, "attempts")), 2);
    check_number(json_array_get(at(root, "attempts"), 0), "status", 429);
    check_null(json_array_get(at(root, "attempts"), 1), "status");
    json_decref(root);

    row.state.attempt_count = 100; /* more than are kept */
    manage_write_request(begin(), &row);
    root = parse();
    assert_int_equal(json_array_size(at(root, "attempts")), ENTRY_ATTEMPTS_MAX);
    check_number(root, "attempt_count", 100);
    json_decref(root);
}

static void test_an_audit_entry(void **state)
{
    struct store_audit a = {(int64_t)1757395800 * 1000000, STR("ops"), STR("client.create"), STR("ann"),
                            STR("{\"x\":1}")};
    manage_write_audit(begin(), &a);
    json_t *root = parse();
    check_text(root, "actor", "ops");
    check_number(at(root, "detail"), "x", 1);
    json_decref(root);
    a.detail = STR_NONE;
    manage_write_audit(begin(), &a);
    root = parse();
    check_null(root, "detail");
    json_decref(root);
}

/* ---- Host and Origin -------------------------------------------------------------------------------------
 */

static void test_hosts(void **state)
{
    static const char *const good[] = {"127.0.0.1",  "127.0.0.1:8080", "[::1]:8080",
                                       "localhost",  "LOCALHOST:1",    "hestia.localhost",
                                       "localhost.", "10.0.0.7",       "gate.example:9000"};
    static const char *const bad[] = {"",
                                      "evil.example",
                                      "localhost.evil.example",
                                      "notlocalhost",
                                      "127.0.0.1.evil.example",
                                      ".localhost.example",
                                      "gate.example.evil:9000",
                                      "un:x:y",
                                      "1270.0.0.1",
                                      "unix"};
    struct str items[] = {STR("unix:/run/hestia.sock"), STR("gate.example:8080")};
    struct strs listen = {items, 2};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        if (!manage_host_is_ours(str_from_c(good[i]), &listen))
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (manage_host_is_ours(str_from_c(bad[i]), &listen))
            fail_msg("%s is taken", bad[i]);
}

static void test_origins(void **state)
{
    static const struct {
        const char *origin, *host;
        bool same;
    } rows[] = {
        {"http://localhost:8080", "localhost:8080", true},
        {"https://h", "h", true},
        {"http://h", "h:80", true},
        {"https://h:443", "H", true},
        {"http://[::1]:8", "[::1]:8", true},
        {"http://h:8081", "h:8080", false},
        {"https://h", "h:80", false},
        {"http://evil", "h", false},
        {"null", "h", false},
        {"", "h", false},
        {"ftp://h", "h", false},
        {"http://h/x", "h", false},
        {"http://h@evil", "h", false},
        {"chrome-extension://h", "h", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (manage_origin_is_same(str_from_c(rows[i].origin), str_from_c(rows[i].host)) != rows[i].same)
            fail_msg("%s at %s", rows[i].origin, rows[i].host);
}

/* ---- pages -----------------------------------------------------------------------------------------------
 */

static void test_pages(void **state)
{
    static const char *const ids[] = {"a", "b", "c", "d"};
    struct manage_page page = {.after = STR("a"), .limit = 2};
    char taken[8] = "";
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        if (manage_page_takes(&page, str_from_c(ids[i])))
            strcat(taken, ids[i]);
    assert_string_equal(taken, "bc");
    assert_true(page.open && page.more && str_eq(page.last, STR("c")));

    page = (struct manage_page){.after = STR("b"), .limit = 2};
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        (void)!manage_page_takes(&page, str_from_c(ids[i]));
    assert_true(page.open && !page.more && page.count == 2);

    page = (struct manage_page){.after = STR("gone"), .limit = 2};
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        assert_false(manage_page_takes(&page, str_from_c(ids[i])));
    assert_false(page.open);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_money_is_exact),
        cmocka_unit_test(test_dates_are_read),
        cmocka_unit_test(test_no_dates_are_refused),
        cmocka_unit_test(test_a_client),
        cmocka_unit_test(test_a_strategy),
        cmocka_unit_test(test_a_limit),
        cmocka_unit_test(test_a_model),
        cmocka_unit_test(test_a_provider_keeps_its_secrets),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_a_point),
        cmocka_unit_test(test_an_empty_point_has_no_latency),
        cmocka_unit_test(test_points_add_up),
        cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_an_audit_entry),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, drop);
}
