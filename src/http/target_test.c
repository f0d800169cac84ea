/* target.c: canonical forms, and what has none. */
#include "http/test.h"
#include "http/target.h"

#include "base/mem.h"

static const struct {
    const char *raw, *path; /* path NULL: refused */
    const char *query;      /* NULL: there is none */
} origins[] = {
    {"/", "/", NULL},
    {"/a/b.c", "/a/b.c", NULL},
    {"/a?", "/a", ""},
    {"/a?b=c", "/a", "b=c"},
    {"/a?b?c", "/a", "b?c"},
    {"//", "//", NULL},
    {"//a//b/", "//a//b/", NULL},
    {"/-._~!$&'()*+,;=:@[]", "/-._~!$&'()*+,;=:@[]", NULL},
    /* dot segments */
    {"/.", "/", NULL},
    {"/./", "/", NULL},
    {"/a/.", "/a/", NULL},
    {"/a/./b", "/a/b", NULL},
    {"/a/..", "/", NULL},
    {"/a/../", "/", NULL},
    {"/a/b/../c", "/a/c", NULL},
    {"/a/b/../../c", "/c", NULL},
    {"/a/b/c/./../../g", "/a/g", NULL},
    {"/a//../b", "/a/b", NULL},
    {"//..", "/", NULL},
    {"//../a", "/a", NULL},
    {"/a/.b", "/a/.b", NULL},
    {"/a/..b", "/a/..b", NULL},
    {"/a/b..", "/a/b..", NULL},
    {"/a/...", "/a/...", NULL},
    {"/a/b./c", "/a/b./c", NULL},
    {"/a/..;/b", "/a/..;/b", NULL},
    {"/..", NULL, NULL},
    {"/../", NULL, NULL},
    {"/../a", NULL, NULL},
    {"/a/../..", NULL, NULL},
    {"/a/../../b", NULL, NULL},
    {"/./..", NULL, NULL},
    {"/..?a", NULL, NULL},
    /* percent encoding: only unreserved bytes are decoded, once */
    {"/%61%5A%30%2D%2e%5F%7e", "/aZ0-._~", NULL},
    {"/%2e", "/", NULL},
    {"/%2E%2e", NULL, NULL},
    {"/.%2e", NULL, NULL},
    {"/a/%2e%2e/b", "/b", NULL},
    {"/a/%2e/b", "/a/b", NULL},
    {"/a%2fb", "/a%2fb", NULL},
    {"/a/..%2fb", "/a/..%2fb", NULL},
    {"/a%2F..%2Fb", "/a%2F..%2Fb", NULL},
    {"/%252e%252e/", "/%252e%252e/", NULL},
    {"/%c3%a4", "/%c3%a4", NULL},
    {"/%20%3f%23%25", "/%20%3f%23%25", NULL},
    {"/%5c", "/%5c", NULL},
    {"/%01%7f", "/%01%7f", NULL},
    {"/%", NULL, NULL},
    {"/%2", NULL, NULL},
    {"/%zz", NULL, NULL},
    {"/%2z", NULL, NULL},
    {"/a%", NULL, NULL},
    {"/%%41", NULL, NULL},
    {"/%u0041", NULL, NULL},
    {"/%00", NULL, NULL},
    {"/a%00.html", NULL, NULL},
    {"/%0d", NULL, NULL},
    {"/%0D%0A", NULL, NULL},
    {"/%0a", NULL, NULL},
    /* bytes */
    {"/a b", NULL, NULL},
    {"/a\tb", NULL, NULL},
    {"/a\x01", NULL, NULL},
    {"/a\x7f", NULL, NULL},
    {"/a\x80", NULL, NULL},
    {"/a\xc3\xa4", NULL, NULL},
    {"/a#b", NULL, NULL},
    {"/#", NULL, NULL},
    {"/a\"", NULL, NULL},
    {"/a<", NULL, NULL},
    {"/a>", NULL, NULL},
    {"/a\\b", NULL, NULL},
    {"/a^", NULL, NULL},
    {"/a`", NULL, NULL},
    {"/a{", NULL, NULL},
    {"/a|", NULL, NULL},
    {"/a}", NULL, NULL},
    /* the query passes as it is */
    {"/?../%00%zz%", "/", "../%00%zz%"},
    {"/?\"<>\\^`{|}[]", "/", "\"<>\\^`{|}[]"},
    {"/a/../?a/../b", "/", "a/../b"},
    {"/?a b", NULL, NULL},
    {"/?a#b", NULL, NULL},
    {"/?a\x01", NULL, NULL},
    {"/?a\x7f", NULL, NULL},
    {"/?a\x80", NULL, NULL},
    /* other forms */
    {"", NULL, NULL},
    {"*", NULL, NULL},
    {"a", NULL, NULL},
    {"a/b", NULL, NULL},
    {"?a", NULL, NULL},
    {"host", NULL, NULL},
    {"host:443", NULL, NULL},
    {"\\a", NULL, NULL},
    {"%2fa", NULL, NULL},
    {"ftp://host/", NULL, NULL},
    {"http:/host/", NULL, NULL},
    {"http:host", NULL, NULL},
    {"http", NULL, NULL},
    {"http://", NULL, NULL},
    {"http:///a", NULL, NULL},
    {"http://host", "/", NULL},
    {"HTTP://HOST/a", "/a", NULL},
    {"https://host/a?b", "/a", "b"},
    {"http://host?b", "/", "b"},
    {"http://host:80/", "/", NULL},
    {"https://host:443/", "/", NULL},
    {"http://host/a/../b", "/b", NULL},
    {"http://host:81/", NULL, NULL},
    {"http://host:443/", NULL, NULL},
    {"https://host:80/", NULL, NULL},
    {"http://other/", NULL, NULL},
    {"http://host.other/", NULL, NULL},
    {"http://user@host/", NULL, NULL},
    {"http://host@other/", NULL, NULL},
    {"http://host\\other/", NULL, NULL},
    {"http://host#/", NULL, NULL},
    {"http://host/..", NULL, NULL},
};

/* In memory of its own, so that nothing is read beyond it. */
static enum err parse_exact(struct arena *arena, enum method method, struct str raw, struct str host,
                            struct target *t)
{
    struct error error = {0};
    char *copy = arena_alloc(arena, raw.n + 1);
    assert_non_null(copy);
    memcpy(copy + 1, raw.p, raw.n);
    return target_parse(arena, method, str_make(copy + 1, raw.n), host, t, &error);
}

static void test_origins(void **state)
{
    for (size_t i = 0; i < COUNT_OF(origins); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct target t, again;
        const char *raw = origins[i].raw;
        enum err err = parse_exact(&arena, METHOD_GET, str_from_c(raw), STR("host"), &t);
        CHECK_ERR(err, origins[i].path ? OK : ERR_HTTP_SYNTAX, raw);
        if (err != OK)
            continue;
        CHECK_STR(t.path, origins[i].path, raw);
        CHECK_STR(t.query, origins[i].query, raw);
        assert_int_equal(t.has_query, origins[i].query != NULL);
        if (raw[0] == '/')
            assert_int_equal(t.rewritten, !str_eq(t.path, str_first(str_from_c(raw), t.path.n)) ||
                                              (raw[t.path.n] && raw[t.path.n] != '?'));
        assert_int_equal(parse_exact(&arena, METHOD_GET, t.path, STR("host"), &again), OK);
        assert_true(str_eq(again.path, t.path) && !again.rewritten);
    }
}

static const struct {
    enum method method;
    const char *raw, *host, *path;
} forms[] = {
    {METHOD_OPTIONS, "*", "host", "*"},
    {METHOD_OPTIONS, "http://host", "host", "*"},
    {METHOD_OPTIONS, "http://host/", "host", "/"},
    {METHOD_OPTIONS, "http://host?a", "host", "/"},
    {METHOD_OPTIONS, "*?a", "host", NULL},
    {METHOD_OPTIONS, "**", "host", NULL},
    {METHOD_OPTIONS, "/*", "host", "/*"},
    {METHOD_POST, "*", "host", NULL},
    {METHOD_GET, "http://host:80/", "host:80", "/"},
    {METHOD_GET, "http://host/", "host:80", "/"},
    {METHOD_GET, "http://host/", "host:8080", NULL},
    {METHOD_GET, "http://host:8080/", "HOST:8080", "/"},
    {METHOD_GET, "http://[::1]:8080/a", "[::1]:8080", "/a"},
    {METHOD_GET, "http://host/a", "", "/a"},
    {METHOD_GET, "http://a b/a", "", NULL},
    {METHOD_GET, "http:///a", "", NULL},
};

static void test_forms(void **state)
{
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct target t;
        enum err err =
            parse_exact(&arena, forms[i].method, str_from_c(forms[i].raw), str_from_c(forms[i].host), &t);
        CHECK_ERR(err, forms[i].path ? OK : ERR_HTTP_SYNTAX, forms[i].raw);
        if (err == OK)
            CHECK_STR(t.path, forms[i].path, forms[i].raw);
    }
}

static void test_nul(void **state)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct target t;
    assert_int_equal(parse_exact(&arena, METHOD_GET, STR("/\0"), STR("h"), &t), ERR_HTTP_SYNTAX);
    assert_int_equal(parse_exact(&arena, METHOD_GET, STR("/?\0"), STR("h"), &t), ERR_HTTP_SYNTAX);
    assert_int_equal(parse_exact(&arena, METHOD_GET, STR("http://h\0/"), STR("h"), &t), ERR_HTTP_SYNTAX);
}

static void test_untouched(void **state)
{
    struct arena arena = {.max = 1}; /* nothing to be had */
    struct error error;
    struct target t;
    struct str raw = STR("/a/b?c");
    assert_int_equal(target_parse(&arena, METHOD_GET, raw, STR("h"), &t, &error), OK);
    assert_ptr_equal(t.path.p, raw.p);
    assert_ptr_equal(t.query.p, raw.p + 5);
    assert_int_equal(target_parse(&arena, METHOD_GET, STR("/a/./b"), STR("h"), &t, &error), ERR_NOMEM);
    arena_free(&arena);
}

static const struct {
    const char *query, *name, *value; /* NULL: absent */
} parameters[] = {
    {"a=b", "a", "b"},   {"a=b&c=d", "c", "d"}, {"a=b&a=c", "a", "b"}, {"a", "a", ""},
    {"a&b", "a", ""},    {"a=", "a", ""},       {"a==b", "a", "=b"},   {"a=%20%2b+%zz%", "a", " + %zz%"},
    {"%61=b", "a", "b"}, {"a+b=c", "a b", "c"}, {"&&a=b&", "a", "b"},  {"ab=c", "a", NULL},
    {"A=b", "a", NULL},  {"", "a", NULL},       {"b=a", "a", NULL},
};

static void test_query(void **state)
{
    for (size_t i = 0; i < COUNT_OF(parameters); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct str value = STR_NONE;
        bool found =
            query_get(&arena, str_from_c(parameters[i].query), str_from_c(parameters[i].name), &value);
        if (found != (parameters[i].value != NULL))
            fail_msg("case '%s'", parameters[i].query);
        if (found)
            CHECK_STR(value, parameters[i].value, parameters[i].query);
    }
}

static void test_decode(void **state)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct str plain = STR("a+b");
    assert_ptr_equal(percent_decode(&arena, plain).p, plain.p);
    assert_true(str_eq(percent_decode(&arena, STR("%00%fF%4")), STR("\0\xff%4")));
    CHECK_STR(percent_decode(&arena, STR("%")), "%", "%");
    CHECK_STR(percent_decode(&arena, STR("%2541+")), "%41+", "once");
    CHECK_STR(percent_decode(&arena, STR("")), "", "empty");
    struct arena none = {.max = 1};
    struct str value;
    assert_null(percent_decode(&none, STR("%41%41")).p);
    assert_false(query_get(&none, STR("a=%41%41"), STR("a"), &value));
    arena_free(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origins),   cmocka_unit_test(test_forms), cmocka_unit_test(test_nul),
        cmocka_unit_test(test_untouched), cmocka_unit_test(test_query), cmocka_unit_test(test_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
