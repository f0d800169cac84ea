/* Keys, ids, names, patches and the normal form of definitions: what needs no registry. */
#include "strategy/book_test.h"

/* ---- keys ---------------------------------------------------------------------------------------------- */

static void test_key_shape(void **state)
{
    const uint8_t pepper[PEPPER_SIZE] = {1};
    struct book_key key = {0};
    int seen_digits[128] = {0};
    for (int i = 0; i < 400; i++) {
        char text[64];
        key_make(pepper, &key, text);
        assert_int_equal(strlen(text), 3 + 8 + 1 + 43);
        assert_memory_equal(text, "hk_", 3);
        assert_int_equal(text[11], '_');
        assert_memory_equal(key.lookup, text + 3, 8);
        for (size_t c = 3; c < 55; c++)
            seen_digits[(int)text[c]]++;
        assert_true(key_verify(pepper, str_from_c(text), key.hmac));
    }
    int kinds = 0, first = 0;
    for (int c = '0'; c <= '7'; c++) /* a plain remainder of a byte would prefer them by a quarter */
        first += seen_digits[c];
    assert_in_range(first, 2350, 2900); /* about 2632 */
    for (int c = 0; c < 128; c++)
        if (c != '_' && seen_digits[c]) {
            kinds++;
            assert_in_range(seen_digits[c], 200, 500); /* about 329 each */
        }
    assert_int_equal(kinds, 62);
}

static void test_key_verify(void **state)
{
    const uint8_t pepper[PEPPER_SIZE] = {1}, other[PEPPER_SIZE] = {2};
    struct book_key key = {0};
    char text[64];
    key_make(pepper, &key, text);
    assert_false(key_verify(other, str_from_c(text), key.hmac));
    assert_false(key_verify(pepper, str_from_c(text), NULL)); /* nobody's */
    text[54] = text[54] == 'a' ? 'b' : 'a';
    assert_false(key_verify(pepper, str_from_c(text), key.hmac));
    assert_int_equal(key_lookup(str_from_c(text)).n, 8);
    assert_int_equal(key_lookup(STR("hk_short")).n, 0);
    assert_int_equal(key_lookup(STR("hk_")).n, 0);
    text[11] = 'x';
    assert_int_equal(key_lookup(str_from_c(text)).n, 0);
    assert_true(book_key_is_ours(STR("hk_")));
    assert_false(book_key_is_ours(STR("sk-1")));
    assert_false(book_key_is_ours(STR("")));
}

static void test_hmac_text(void **state)
{
    uint8_t out[32];
    assert_true(key_hmac_parse(STR("00ff00000000000000000000000000000000000000000000000000000000000a"), out));
    assert_int_equal(out[1], 255);
    assert_int_equal(out[31], 10);
    assert_false(key_hmac_parse(STR("00ff"), out));
    assert_false(
        key_hmac_parse(STR("zzff00000000000000000000000000000000000000000000000000000000000a"), out));
}

static void test_uuid(void **state)
{
    char a[37], b[37];
    uuid_make(a);
    uuid_make(b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 36);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_true(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
    assert_true(book_id_is_sane(str_from_c(a)));
}

/* ---- ids and names ------------------------------------------------------------------------------------- */

static void test_ids(void **state)
{
    static const char *const bad[] = {
        "",    ".", "..",  "a b",
        "a/b", "ä", "a\n", "a123456789012345678901234567890123456789012345678901234567890abcde"};
    assert_true(book_id_is_sane(STR("a")));
    assert_true(book_id_is_sane(STR("A.b_c-9")));
    assert_true(
        book_id_is_sane(STR("a123456789012345678901234567890123456789012345678901234567890abc"))); /* 64 */
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(book_id_is_sane(str_from_c(bad[i])));
}

static enum err name_of(const char *json, char *out, size_t size)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    struct error error;
    assert_int_equal(doc_parse(str_from_c(json), &doc, &error), OK);
    enum err err = doc_name(doc, &error);
    if (err == OK)
        str_to_c(doc_text(doc, "name"), out, size);
    else
        assert_string_equal(error.param, "name");
    return err;
}

static void test_names(void **state)
{
    char out[256], json[512], name[202];
    assert_int_equal(name_of("{\"name\":\"  Al ice\\t \"}", out, sizeof out), OK);
    assert_string_equal(out, "Al ice");
    assert_int_equal(name_of("{}", out, sizeof out), ERR_BAD_REQUEST);
    assert_int_equal(name_of("{\"name\":5}", out, sizeof out), ERR_BAD_REQUEST);
    assert_int_equal(name_of("{\"name\":\" \"}", out, sizeof out), ERR_BAD_REQUEST);
    assert_int_equal(name_of("{\"name\":\"a\\u0001b\"}", out, sizeof out), ERR_BAD_REQUEST);
    assert_int_equal(name_of("{\"name\":\"a\\nb\"}", out, sizeof out), ERR_BAD_REQUEST);
    assert_int_equal(name_of("{\"name\":\"a\\u007fb\"}", out, sizeof out), ERR_BAD_REQUEST);
    assert_int_equal(name_of("{\"name\":\"a\\u0085b\"}", out, sizeof out), ERR_BAD_REQUEST);
    assert_int_equal(name_of("{\"name\":\"a\\u00a0\\u00e4b\"}", out, sizeof out), OK);
    for (size_t n = 200; n <= 201; n++) {
        memset(name, 'x', n);
        name[n] = 0;
        snprintf(json, sizeof json, "{\"name\":\"%s\"}", name);
        assert_int_equal(name_of(json, out, sizeof out), n == 200 ? OK : ERR_BAD_REQUEST);
    }
}

static void test_owned_name(void **state)
{
    struct arena arena CLEANUP(arena_free) = {0};
    char name[201];
    ASSERT_STR(book_owned_name(&arena, STR("Al")), "Al's strategy");
    memset(name, 'x', 200);
    assert_int_equal(book_owned_name(&arena, str_make(name, 200)).n, 200);
    memcpy(name + 187, "\xe2\x82\xac", 3); /* the cut would fall into it */
    struct str cut = book_owned_name(&arena, str_make(name, 200));
    assert_int_equal(cut.n, 187 + 11);
    assert_true(str_ends(cut, STR("xx's strategy")));
}

/* ---- documents ----------------------------------------------------------------------------------------- */

static void test_parse(void **state)
{
    static const char *const bad[] = {
        "[]",          "1",       "{", "{} x", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}", "{\"a\":1e999}",
        "{\"a\":NaN}", "\"text\""};
    struct error error;
    json_t *doc = NULL;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(doc_parse(str_from_c(bad[i]), &doc, &error), ERR_BAD_REQUEST);
        assert_null(doc);
        assert_int_not_equal(error.why[0], 0);
    }
    char deep[128];
    memset(deep, '[', 100);
    memcpy(deep, "{\"a\":", 5);
    assert_int_equal(doc_parse(str_make(deep, 100), &doc, &error), ERR_BAD_REQUEST);
    assert_non_null(strstr(error.why, "deep"));
    char *large = test_malloc(BOOK_TEXT_MAX + 1);
    memset(large, ' ', BOOK_TEXT_MAX + 1);
    assert_int_equal(doc_parse(str_make(large, BOOK_TEXT_MAX + 1), &doc, &error), ERR_BAD_REQUEST);
    test_free(large);
    assert_int_equal(doc_parse(STR_NONE, &doc, &error), OK);
    assert_int_equal(json_object_size(doc), 0);
    doc_free(&doc);
}

static void patched(const char *target, const char *patch, const char *expected)
{
    json_t *doc CLEANUP(doc_free) = NULL, *change CLEANUP(doc_free) = NULL, *want CLEANUP(doc_free) = NULL;
    struct error error;
    assert_int_equal(doc_parse(str_from_c(target), &doc, &error), OK);
    assert_int_equal(doc_parse(str_from_c(patch), &change, &error), OK);
    assert_int_equal(doc_parse(str_from_c(expected), &want, &error), OK);
    assert_int_equal(doc_patch(STORE_STRATEGIES, doc, change, &error), OK);
    char *got = json_dumps(doc, JSON_SORT_KEYS);
    if (!json_equal(doc, want))
        fail_msg("%s + %s = %s", target, patch, got);
    free(got);
}

/* The examples of RFC 7396 whose target and patch are objects. */
static void test_patch(void **state)
{
    patched("{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    patched("{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}");
    patched("{\"a\":\"b\"}", "{\"a\":null}", "{}");
    patched("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}");
    patched("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    patched("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}");
    patched("{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}");
    patched("{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}");
    patched("{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}");
    patched("{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}");
}

static void test_patch_words(void **state)
{
    patched("{\"allowed_models\":{\"selected_all\":true,\"selected_providers\":[\"x\"]}}",
            "{\"allowed_models\":{\"all_provider_models\":[\"y\"]}}",
            "{\"allowed_models\":{\"selected_all\":false,\"all_provider_models\":[\"y\"]}}");
    patched("{\"allowed_models\":{\"selected_all\":true}}",
            "{\"allowed_models\":{\"selected_all\":true,\"selected_models\":[]}}",
            "{\"allowed_models\":{\"selected_all\":true,\"selected_models\":[]}}");
    patched("{\"auto_config\":{\"enabled\":true}}", "{\"auto_config\":{\"permission\":\"off\"}}",
            "{\"auto_config\":{\"permission\":\"off\"}}");
}

/* ---- the normal form ----------------------------------------------------------------------------------- */

static struct book_row *row_of(enum store_table table, const char *definition, struct error *error)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    struct arena names CLEANUP(arena_free) = {0};
    assert_int_equal(doc_parse(str_from_c(definition), &doc, error), OK);
    return row_make(table, doc, NULL, (struct row_stamp){1, 2, 3}, &names, error);
}

static void test_normal_form(void **state)
{
    struct error error;
    struct book_row *r =
        row_of(STORE_STRATEGIES,
               "{\"rate_limits\":[{\"limit_type\":\"cost\",\"value\":0.3,\"time_window\":\"day\"},"
               "{\"limit_type\":\"requests\",\"value\":10,\"time_window\":\"minute\",\"enabled\":false},"
               "{\"limit_type\":\"cost\",\"value\":0.000000000001,\"time_window\":\"hour\"},"
               "{\"limit_type\":\"cost\",\"value\":5,\"time_window\":\"minute\"}],"
               "\"allowed_models\":{\"all_provider_models\":[\"openai\"],\"individual_models\":[\"a/b/c\"]},"
               "\"auto_config\":{\"permission\":\"allow\",\"prioritized_models\":[[\"openai\",\"gpt\"]],"
               "\"routellm_config\":{\"threshold\":0.3}},"
               "\"description\":\"for \\u201ctests\\u201d\",\"id\":\"s\",\"name\":\"S\"}",
               &error);
    assert_non_null(r);
    ASSERT_STR(r->text,
               "{\"id\":\"s\",\"name\":\"S\",\"allowed_models\":{\"selected_all\":false,"
               "\"selected_providers\":[\"openai\"],\"selected_models\":[[\"a\",\"b/c\"]]},"
               "\"auto_config\":{\"enabled\":true,\"model_name\":\"auto\","
               "\"prioritized_models\":[[\"openai\",\"gpt\"]],\"available_models\":[],"
               "\"routellm_config\":{\"threshold\":0.3}},"
               "\"rate_limits\":[{\"limit_type\":\"cost\",\"value\":0.3,\"time_window\":\"day\","
               "\"enabled\":true},{\"limit_type\":\"requests\",\"value\":10,\"time_window\":\"minute\","
               "\"enabled\":false},{\"limit_type\":\"cost\",\"value\":0.000000000001,"
               "\"time_window\":\"hour\",\"enabled\":true},{\"limit_type\":\"cost\",\"value\":5,"
               "\"time_window\":\"minute\",\"enabled\":true}],\"fallback_on_other\":true,"
               "\"description\":\"for \xe2\x80\x9ctests\xe2\x80\x9d\"}");
    char *text = strndup(r->text.p, r->text.n);
    struct book_row *again = row_of(STORE_STRATEGIES, text, &error);
    assert_non_null(again);
    ASSERT_STR(again->text, text);
    assert_int_equal(again->strategy.limits[0].value, 300000000000);
    assert_int_equal(again->strategy.limits[2].value, 1);
    free(text);
    row_unref(again);
    row_unref(r);
}

static void test_normal_form_client(void **state)
{
    struct error error;
    struct book_row *r = row_of(STORE_CLIENTS,
                                "{\"id\":\"c\",\"name\":\"C\",\"created_at\":\"2026\","
                                "\"allowed_mcp_servers\":[\"m\"]}",
                                &error);
    assert_non_null(r);
    ASSERT_STR(r->shown, "{\"id\":\"c\",\"name\":\"C\",\"enabled\":true,\"strategy_id\":\"default\","
                         "\"allowed_llm_providers\":[],\"allowed_mcp_servers\":[\"m\"]}");
    ASSERT_STR(r->text, r->shown.p);
    row_unref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_shape),   cmocka_unit_test(test_key_verify),
        cmocka_unit_test(test_hmac_text),   cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_ids),         cmocka_unit_test(test_names),
        cmocka_unit_test(test_owned_name),  cmocka_unit_test(test_parse),
        cmocka_unit_test(test_patch),       cmocka_unit_test(test_patch_words),
        cmocka_unit_test(test_normal_form), cmocka_unit_test(test_normal_form_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
