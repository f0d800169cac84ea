/* Addresses as text: what is one, what is none, and back again; listening twice. */
#include "loop/test.h"

static void test_round_trip(void **state)
{
    static const struct {
        const char *text, *printed, *host; /* host: without the port */
        bool loopback;
    } rows[] = {
        {"127.0.0.1:80", "127.0.0.1:80", "127.0.0.1", true},
        {"127.9.8.7:1", "127.9.8.7:1", "127.9.8.7", true},
        {"0.0.0.0:65535", "0.0.0.0:65535", "0.0.0.0", false},
        {":8080", "0.0.0.0:8080", "0.0.0.0", false},
        {"*:0", "0.0.0.0:0", "0.0.0.0", false},
        {"localhost:8080", "127.0.0.1:8080", "127.0.0.1", true},
        {"LocalHost:8080", "127.0.0.1:8080", "127.0.0.1", true},
        {"[::1]:443", "[::1]:443", "::1", true},
        {"[::]:443", "[::]:443", "::", false},
        {"[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:5", "::ffff:127.0.0.1", true},
        {"[2001:db8::1]:1", "[2001:db8::1]:1", "2001:db8::1", false},
        {"10.0.0.1:1", "10.0.0.1:1", "10.0.0.1", false},
        {"unix:/run/x.sock", "unix:/run/x.sock", "unix:/run/x.sock", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct address address;
        char text[160];
        assert_true(address_parse(str_from_c(rows[i].text), &address));
        assert_true(str_eq(address_format(&address, true, text, sizeof text), str_from_c(rows[i].printed)));
        assert_true(str_eq(address_format(&address, false, text, sizeof text), str_from_c(rows[i].host)));
        assert_int_equal(address_is_loopback(&address), rows[i].loopback);
    }
}

static void test_none(void **state)
{
    static const char *const rows[] = {
        "",
        "80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:8 ",
        "127.0.0:80",
        "::1:80",
        "[::1]",
        "[::1:80",
        "[]:80x",
        "name:80",
        "unix:",
        "1.2.3.4:0x50",
        "999.1.1.1:80",
        "[127.0.0.1]x:80",
        "127.0.0.1:99999999999999999999",
    };
    struct address address;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_false(address_parse(str_from_c(rows[i]), &address));
}

/* As long as the kernel takes it with its NUL, and not a byte more. */
static void test_length_of_unix_paths(void **state)
{
    char text[160] = "unix:/", back[160];
    struct address address;
    memset(text + 6, 'a', sizeof text - 6);
    assert_true(address_parse(str_make(text, 5 + 107), &address));
    assert_true(str_eq(address_format(&address, true, back, sizeof back), str_make(text, 5 + 107)));
    assert_false(address_parse(str_make(text, 5 + 108), &address));
}

static void test_ip_only(void **state)
{
    struct address address;
    char long_text[100];
    memset(long_text, '1', sizeof long_text);
    assert_true(address_parse_ip(STR("::1"), 5, &address));
    assert_true(address_parse_ip(STR("1.2.3.4"), 5, &address));
    assert_false(address_parse_ip(STR("localhost"), 5, &address));
    assert_false(address_parse_ip(STR("1.2.3.4 "), 5, &address));
    assert_false(address_parse_ip(STR(""), 5, &address));
    assert_false(address_parse_ip(str_make(long_text, sizeof long_text), 5, &address));
}

static void test_a_second_listener_is_refused(void **state)
{
    struct address bound, again;
    struct error error = {0};
    char text[160];
    int fd = listen_local(&bound), other;
    struct str where = address_format(&bound, true, text, sizeof text);
    assert_int_equal(listener_bind(where, false, &other, &again, &error), ERR_IO);
    assert_true(str_find_str(str_from_c(error.why), STR("another gateway")) < strlen(error.why));
    close(fd);
    assert_int_equal(listener_bind(where, true, &fd, &bound, &error), OK);
    assert_int_equal(listener_bind(where, true, &other, &again, &error), OK); /* workers share a port */
    close(fd);
    close(other);
    assert_int_equal(listener_bind(STR("nonsense"), false, &fd, &bound, &error), ERR_CONFIG);
}

/* What a crash left behind goes; what somebody listens on stays. */
static void test_stale_unix_socket(void **state)
{
    struct address bound;
    struct error error = {0};
    char text[160];
    int fd, other, n = snprintf(text, sizeof text, "unix:/tmp/hestia-address-test-%d.sock", (int)getpid());
    struct str where = str_make(text, (size_t)n);
    assert_int_equal(listener_bind(where, false, &fd, &bound, &error), OK);
    assert_int_equal(listener_bind(where, false, &other, &bound, &error), ERR_IO);
    close(fd);
    assert_int_equal(listener_bind(where, false, &fd, &bound, &error), OK);
    close(fd);
    unlink(text + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_length_of_unix_paths),
        cmocka_unit_test(test_ip_only),
        cmocka_unit_test(test_a_second_listener_is_refused),
        cmocka_unit_test(test_stale_unix_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
