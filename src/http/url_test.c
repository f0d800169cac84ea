/* url.c: what the config may say, what is refused, and how Location comes back. */
#include "http/test.h"
#include "http/target.h"
#include "http/url.h"

static const struct {
    const char *text, *host, *host_field, *origin, *prefix;
    int port;
    bool tls, is_unix;
} good[] = {
    {"http://name", "name", "name", "http://name", "", 80, false, false},
    {"http://name/", "name", "name", "http://name", "", 80, false, false},
    {"HTTP://Name:80", "name", "name", "http://name", "", 80, false, false},
    {"http://name:8080/v1/", "name", "name:8080", "http://name:8080", "/v1", 8080, false, false},
    {"http://name:443", "name", "name:443", "http://name:443", "", 443, false, false},
    {"https://api.example.com/openai//", "api.example.com", "api.example.com", "https://api.example.com",
     "/openai", 443, true, false},
    {"https://h:444/a/b.c", "h", "h:444", "https://h:444", "/a/b.c", 444, true, false},
    {"http://[::1]:8081", "::1", "[::1]:8081", "http://[::1]:8081", "", 8081, false, false},
    {"http://[FE80::1]", "fe80::1", "[fe80::1]", "http://[fe80::1]", "", 80, false, false},
    {"http://127.0.0.1:65535", "127.0.0.1", "127.0.0.1:65535", "http://127.0.0.1:65535", "", 65535, false,
     false},
    {"http://my_service:1", "my_service", "my_service:1", "http://my_service:1", "", 1, false, false},
    {"unix:/run/x.sock", "/run/x.sock", "localhost", "", "", 0, false, true},
    {"unix:/run/x.sock:/v1", "/run/x.sock", "localhost", "", "/v1", 0, false, true},
    {"unix:/run/a:b.sock:/v1/", "/run/a:b.sock", "localhost", "", "/v1", 0, false, true},
};

static void test_good(void **state)
{
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct error error = {0};
        struct url url;
        CHECK_ERR(url_parse(&arena, str_from_c(good[i].text), &url, &error), OK, good[i].text);
        CHECK_STR(url.host, good[i].host, good[i].text);
        CHECK_STR(url.host_field, good[i].host_field, good[i].text);
        CHECK_STR(url.origin, good[i].origin, good[i].text);
        CHECK_STR(url.prefix, good[i].prefix, good[i].text);
        assert_int_equal(url.port, good[i].port);
        assert_int_equal(url.tls, good[i].tls);
        assert_int_equal(url.is_unix, good[i].is_unix);
    }
}

static const struct {
    const char *url, *target;
} targets[] = {
    {"http://name", "/"},
    {"http://name/", "/"},
    {"http://name/health/", "/health/"},
    {"http://name/health/?ready=1&x=%2f", "/health/?ready=1&x=%2f"},
    {"http://name?x", "/?x"},
    {"unix:/run/x.sock:/health", "/health"},
};

static void test_target(void **state)
{
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct error error = {0};
        struct url url;
        CHECK_ERR(url_parse(&arena, str_from_c(targets[i].url), &url, &error), OK, targets[i].url);
        CHECK_STR(url.target, targets[i].target, targets[i].url);
        assert_int_equal(url_has_query(&url), strchr(targets[i].url, '?') != NULL);
    }
}

static const char *const bad[] = {
    "",
    "name",
    "name:8080",
    "ftp://name",
    "http:name",
    "http://",
    "http:///v1",
    "http://:80",
    "http://name:",
    "http://name:0",
    "http://name:65536",
    "http://name:99999999999999999999999",
    "http://name:+80",
    "http://name:80a",
    "http://a:b@name",
    "http://name@",
    "http://name?x y",
    "http://name/v1?x\xc3",
    "http://name/v1#x",
    "http://na me",
    "http://name\n",
    "http://a,b",
    "http://[::1",
    "http://::1",
    "http://[]",
    "http://[::1]x",
    "http://[1.2.3.4]",
    "http://[fe80::1%25eth0]",
    "http://name/a b",
    "http://name/a\\b",
    "http://name/a%20b",
    "http://name/a/../b",
    "http://name/.",
    "http://n\xc3\xa4me",
    "unix:",
    "unix:/",
    "unix:relative.sock",
    "unix:/x.sock:/../y",
    "unix:/"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
    "0123456",
};

static void test_bad(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct error error = {0};
        struct url url;
        CHECK_ERR(url_parse(&arena, str_from_c(bad[i]), &url, &error), ERR_CONFIG, bad[i]);
        assert_true(error.why[0]);
    }
}

static void test_memory_short(void **state)
{
    struct arena arena = {.max = 1};
    struct error error = {0};
    struct url url;
    assert_int_equal(url_parse(&arena, STR("http://name/v1"), &url, &error), ERR_NOMEM);
    assert_int_equal(url_parse(&arena, STR("unix:/a/b:/v1"), &url, &error), ERR_NOMEM);
    arena_free(&arena);
}

static const struct {
    const char *url, *mount, *location, *want;
} locations[] = {
    {"http://up:81", "/services/x", "http://up:81/login?a=b#c", "/services/x/login?a=b#c"},
    {"http://up:81", "/services/x", "HTTP://UP:81/login", "/services/x/login"},
    {"http://up:81", "/services/x", "http://up:81", "/services/x/"},
    {"http://up:81", "/services/x", "http://up:81?q", "/services/x/?q"},
    {"http://up", "/services/x", "http://up:80/a", "/services/x/a"},
    {"http://up:80", "/services/x", "http://up/a", "/services/x/a"},
    {"https://up", "/services/x", "https://up:443/a", "/services/x/a"},
    {"http://[::1]:81", "/services/x", "http://[::1]:81/a", "/services/x/a"},
    {"http://up:81", "/services/x", "/login", "/services/x/login"},
    {"http://up:81", "/services/x", "/", "/services/x/"},
    /* the prefix */
    {"http://up/v1", "/services/x", "/v1/login", "/services/x/login"},
    {"http://up/v1", "/services/x", "/v1", "/services/x/"},
    {"http://up/v1", "/services/x", "/v1?a", "/services/x/?a"},
    {"http://up/v1", "/services/x", "/v1x/login", "/services/x/v1x/login"},
    {"http://up/v1", "/services/x", "http://up/v1/login", "/services/x/login"},
    {"http://up/v1", "/services/x", "/login", "/services/x/login"},
    {"unix:/a.sock:/v1", "/services/x", "/v1/login", "/services/x/login"},
    /* other places stay as they are */
    {"http://up:81", "/services/x", "https://up:81/a", "https://up:81/a"},
    {"http://up:81", "/services/x", "http://up:82/a", "http://up:82/a"},
    {"http://up:81", "/services/x", "http://up:810/a", "http://up:810/a"},
    {"http://up:81", "/services/x", "http://up:81x/a", "http://up:81x/a"},
    {"http://up", "/services/x", "http://up.evil/a", "http://up.evil/a"},
    {"http://up", "/services/x", "http://up@evil/a", "http://up@evil/a"},
    {"http://up", "/services/x", "http://user@up/a", "http://user@up/a"},
    {"http://up:81", "/services/x", "//up:81/a", "//up:81/a"},
    {"http://up:81", "/services/x", "/\\evil/a", "/\\evil/a"},
    {"http://up:81", "/services/x", "login", "login"},
    {"http://up:81", "/services/x", "../login", "../login"},
    {"http://up:81", "/services/x", "", ""},
    {"http://up:81", "/services/x", "mailto:a@b", "mailto:a@b"},
    {"unix:/a.sock", "/services/x", "http://localhost/a", "http://localhost/a"},
    /* a service that owns a whole host; nothing of its own origin may turn into another host */
    {"http://up:81/v1", "", "http://up:81/v1/a", "/a"},
    {"http://up:81", "", "http://up:81//evil/a", "http://up:81//evil/a"},
    {"http://up:81/v1", "", "/v1//evil", "/v1//evil"},
};

static void test_location(void **state)
{
    for (size_t i = 0; i < COUNT_OF(locations); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct error error = {0};
        struct url url;
        assert_int_equal(url_parse(&arena, str_from_c(locations[i].url), &url, &error), OK);
        struct str got = url_rewrite_location(&arena, &url, str_from_c(locations[i].mount),
                                              str_from_c(locations[i].location));
        CHECK_STR(got, locations[i].want, locations[i].location);
    }
}

static const struct {
    const char *text, *name; /* NULL: refused */
    int port;
} hosts[] = {
    {"a", "a", 0},
    {"a.b-c_d~e", "a.b-c_d~e", 0},
    {"a:", "a", 0},
    {"a:1", "a", 1},
    {"a:65535", "a", 65535},
    {"a:0080", "a", 80},
    {"127.0.0.1:8080", "127.0.0.1", 8080},
    {"[::1]", "::1", 0},
    {"[::1]:5", "::1", 5},
    {"[::ffff:1.2.3.4]:5", "::ffff:1.2.3.4", 5},
    {"a%20b", "a%20b", 0},
    {"a!$&'()*+;=", "a!$&'()*+;=", 0},
    {"", NULL, 0},
    {":", NULL, 0},
    {":80", NULL, 0},
    {"a:0", NULL, 0},
    {"a:65536", NULL, 0},
    {"a:80:80", NULL, 0},
    {"a:80x", NULL, 0},
    {"a: 80", NULL, 0},
    {"a b", NULL, 0},
    {"a,b", NULL, 0},
    {"a/b", NULL, 0},
    {"a?b", NULL, 0},
    {"a#b", NULL, 0},
    {"u@a", NULL, 0},
    {"a\\b", NULL, 0},
    {"a%2", NULL, 0},
    {"a%zz", NULL, 0},
    {"a%00", NULL, 0},
    {"a\"", NULL, 0},
    {"a\xc3\xa4", NULL, 0},
    {"[::1", NULL, 0},
    {"[::1]a", NULL, 0},
    {"[::g]", NULL, 0},
    {"[]", NULL, 0},
    {"[", NULL, 0},
    {"]", NULL, 0},
    {"::1", NULL, 0},
    {"[v1.x]", NULL, 0},
    {"http://a", NULL, 0},
};

static void test_host(void **state)
{
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        struct str name = STR_NONE;
        uint16_t port = 0;
        bool ok = host_parse(str_from_c(hosts[i].text), &name, &port);
        if (ok != (hosts[i].name != NULL))
            fail_msg("host '%s': %s", hosts[i].text, ok ? "accepted" : "refused");
        if (!ok)
            continue;
        CHECK_STR(name, hosts[i].name, hosts[i].text);
        assert_int_equal(port, hosts[i].port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),         cmocka_unit_test(test_target),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_memory_short), cmocka_unit_test(test_location), cmocka_unit_test(test_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
