/* head.c: every rule about heads as a row of a table, each row whole and at every split. */
#include "http/test.h"
#include "http/head.h"

#include "base/buf.h"
#include "base/mem.h"

static const struct head_limits limits = {8192, 16384, 32768, 128};

struct row {
    const char *text;
    size_t n;
    enum err want;
};

#define ROW(text, want)                                                                                      \
    {                                                                                                        \
        text, sizeof(text) - 1, want                                                                         \
    }
#define BAD(text) ROW(text, ERR_HTTP_SYNTAX)
#define LINE(line, want) ROW(line "\r\nHost: a\r\n\r\n", want)
/* A request with that field. */
#define FIELD(line, want) ROW("GET / HTTP/1.1\r\nHost: a\r\n" line "\r\n\r\n", want)
#define HOST(value, want) ROW("GET / HTTP/1.1\r\nHost:" value "\r\n\r\n", want)

static const struct row requests[] = {
    LINE("GET / HTTP/1.1", OK),
    LINE("HEAD /a?b HTTP/1.1", OK),
    LINE("POST / HTTP/1.1", OK),
    LINE("PUT / HTTP/1.1", OK),
    LINE("PATCH / HTTP/1.1", OK),
    LINE("DELETE / HTTP/1.1", OK),
    LINE("OPTIONS * HTTP/1.1", OK),
    /* methods */
    LINE("TRACE / HTTP/1.1", ERR_METHOD_NOT_ALLOWED),
    LINE("CONNECT a:443 HTTP/1.1", ERR_METHOD_NOT_ALLOWED),
    LINE("get / HTTP/1.1", ERR_NOT_IMPLEMENTED),
    LINE("Get / HTTP/1.1", ERR_NOT_IMPLEMENTED),
    LINE("GETX / HTTP/1.1", ERR_NOT_IMPLEMENTED),
    LINE("GE / HTTP/1.1", ERR_NOT_IMPLEMENTED),
    LINE("PROPFIND / HTTP/1.1", ERR_NOT_IMPLEMENTED),
    LINE("!#$%&'*+-.^_`|~ / HTTP/1.1", ERR_NOT_IMPLEMENTED),
    LINE("G(T / HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("G\0T / HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("G\xc3\xa4T / HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("\"GET\" / HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET: / HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("", ERR_HTTP_SYNTAX),
    LINE("GET", ERR_HTTP_SYNTAX),
    LINE("GET ", ERR_HTTP_SYNTAX),
    /* spaces */
    LINE(" GET / HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET  / HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET /  HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/1.1 ", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/1.1\t", ERR_HTTP_SYNTAX),
    LINE("GET\t/ HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET /\tHTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET\v/ HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET / a HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET  HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET HTTP/1.1", ERR_HTTP_SYNTAX),
    /* target bytes; the rest of the rules is target.c's */
    LINE("GET /\0 HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET /\x01 HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET /\x7f HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET /\x80 HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET /\xff HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET /a-long-path-beyond-a-block-of-sixteen\x80 HTTP/1.1", ERR_HTTP_SYNTAX),
    LINE("GET /a-long-path-beyond-a-block-of-sixteen\x1f HTTP/1.1", ERR_HTTP_SYNTAX),
    /* versions */
    LINE("GET / HTTP/1.0", OK),
    LINE("GET / HTTP/1.2", OK),
    LINE("GET / HTTP/1.9", OK),
    LINE("GET / HTTP/2.0", ERR_VERSION),
    LINE("GET / HTTP/3.0", ERR_VERSION),
    LINE("GET / HTTP/9.9", ERR_VERSION),
    ROW("PRI * HTTP/2.0\r\n\r\n", ERR_VERSION),
    LINE("GET / HTTP/0.9", ERR_HTTP_SYNTAX),
    LINE("GET /", ERR_HTTP_SYNTAX),
    LINE("GET / ", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/1", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/1.", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/.1", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/1.11", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/11.1", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/2.01", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/2", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/1,1", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/+1.1", ERR_HTTP_SYNTAX),
    LINE("GET / HTTP/1.x", ERR_HTTP_SYNTAX),
    LINE("GET / http/1.1", ERR_HTTP_SYNTAX),
    LINE("GET / Http/1.1", ERR_HTTP_SYNTAX),
    LINE("GET / ICY/1.1", ERR_HTTP_SYNTAX),
    LINE("GET / HTTPS/1.1", ERR_HTTP_SYNTAX),
    /* line ends */
    BAD("GET / HTTP/1.1\nHost: a\r\n\r\n"),
    BAD("GET / HTTP/1.1\r\nHost: a\n\r\n"),
    BAD("GET / HTTP/1.1\r\nHost: a\r\n\n"),
    BAD("GET / HTTP/1.1\nHost: a\n\n"),
    BAD("GET / HTTP/1.1\r\nHost: a\n\n"),
    BAD("GET / HTTP/1.1\rHost: a\r\n\r\n"),
    BAD("GET / HTTP/1.1\r\nHost: a\r\r\n"),
    BAD("GET / HTTP/1.1\r\nHost: a\r\n\rX"),
    BAD("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    BAD("GET / HTTP/1.1\r\nHost: a\r\r\r\r"),
    BAD("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc: d\r\n\r\n"),
    BAD("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", OK),
    ROW("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", OK),
    BAD("\r\n\r\n\r\n"),
    BAD("\r\n \r\n\r\n"),
    /* field names */
    FIELD("A: b", OK),
    FIELD("!#$%&'*+-.^_`|~09azAZ: b", OK),
    FIELD("A : b", ERR_HTTP_SYNTAX),
    FIELD("A\t: b", ERR_HTTP_SYNTAX),
    FIELD(": b", ERR_HTTP_SYNTAX),
    FIELD(" : b", ERR_HTTP_SYNTAX),
    FIELD("A", ERR_HTTP_SYNTAX),
    FIELD("A b: c", ERR_HTTP_SYNTAX),
    FIELD("A\0: b", ERR_HTTP_SYNTAX),
    FIELD("A(: b", ERR_HTTP_SYNTAX),
    FIELD("A/b: b", ERR_HTTP_SYNTAX),
    FIELD("[A]: b", ERR_HTTP_SYNTAX),
    FIELD("\"A\": b", ERR_HTTP_SYNTAX),
    FIELD("A\xc3\xa4: b", ERR_HTTP_SYNTAX),
    FIELD("Content-Length\x0b: 5", ERR_HTTP_SYNTAX),
    FIELD("Transfer-Encoding : chunked", ERR_HTTP_SYNTAX),
    /* obs-fold */
    FIELD("A: b\r\n c", ERR_HTTP_SYNTAX),
    FIELD("A: b\r\n\tc", ERR_HTTP_SYNTAX),
    FIELD("A: b\r\n ", ERR_HTTP_SYNTAX),
    BAD("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    BAD("GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n"),
    /* values */
    FIELD("A:", OK),
    FIELD("A: ", OK),
    FIELD("A: \t \t", OK),
    FIELD("A:b", OK),
    FIELD("A:\tb\tc\t", OK),
    FIELD("A: \x80\xff", OK),
    FIELD("A: b:c", OK),
    FIELD("A: \0", ERR_HTTP_SYNTAX),
    FIELD("A: b\0c", ERR_HTTP_SYNTAX),
    FIELD("A: \x01", ERR_HTTP_SYNTAX),
    FIELD("A: \x08", ERR_HTTP_SYNTAX),
    FIELD("A: \x0b", ERR_HTTP_SYNTAX),
    FIELD("A: \x0c", ERR_HTTP_SYNTAX),
    FIELD("A: \x1f", ERR_HTTP_SYNTAX),
    FIELD("A: \x7f", ERR_HTTP_SYNTAX),
    FIELD("A: \x1b[31m", ERR_HTTP_SYNTAX),
    FIELD("A: \x7f and a long value behind it", ERR_HTTP_SYNTAX),
    FIELD("A: \x1f and a long value behind it", ERR_HTTP_SYNTAX),
    FIELD("A: \0 and a long value behind it", ERR_HTTP_SYNTAX),
    FIELD("A: \t\x80\xff~ and a long value behind it", OK),
    FIELD("A: a-long-value-beyond-a-block-of-sixteen\x7f", ERR_HTTP_SYNTAX),
    FIELD("A: a-long-value-beyond-a-block-of-sixteen\0", ERR_HTTP_SYNTAX),
    /* Host */
    HOST(" a", OK),
    HOST("a:80", OK),
    HOST(" [::1]:80 ", OK),
    HOST("", ERR_HTTP_SYNTAX),
    HOST(" ", ERR_HTTP_SYNTAX),
    HOST(" a b", ERR_HTTP_SYNTAX),
    HOST(" a,b", ERR_HTTP_SYNTAX),
    HOST(" a, a", ERR_HTTP_SYNTAX),
    HOST(" a/b", ERR_HTTP_SYNTAX),
    HOST(" a@b", ERR_HTTP_SYNTAX),
    HOST(" a:b", ERR_HTTP_SYNTAX),
    HOST(" a:65536", ERR_HTTP_SYNTAX),
    HOST(" http://a", ERR_HTTP_SYNTAX),
    HOST(" a\xc3\xa4", ERR_HTTP_SYNTAX),
    HOST(" [::1", ERR_HTTP_SYNTAX),
    BAD("GET / HTTP/1.1\r\n\r\n"),
    BAD("GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    BAD("GET / HTTP/1.2\r\n\r\n"),
    BAD("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    BAD("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhOST: b\r\n\r\n"),
    BAD("GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n"),
    BAD("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
    BAD("GET / HTTP/1.0\r\nHost:\r\n\r\n"),
    ROW("GET / HTTP/1.0\r\n\r\n", OK),
};

#define STATUS(line, want) ROW(line "\r\nA: b\r\n\r\n", want)
#define RESPONSE(field, want) ROW("HTTP/1.1 200 OK\r\n" field "\r\n\r\n", want)
#define BROKEN ERR_UPSTREAM_PROTOCOL

static const struct row responses[] = {
    STATUS("HTTP/1.1 200 OK", OK),
    STATUS("HTTP/1.1 200 ", OK),
    STATUS("HTTP/1.1 200", OK),
    STATUS("HTTP/1.0 404 Not Found", OK),
    STATUS("HTTP/1.9 200 OK", OK),
    STATUS("HTTP/1.1 100 Continue", OK),
    STATUS("HTTP/1.1 599 \xc3\xa4 \t!", OK),
    STATUS("HTTP/1.1 099 X", BROKEN),
    STATUS("HTTP/1.1 000 X", BROKEN),
    STATUS("HTTP/1.1 600 X", BROKEN),
    STATUS("HTTP/1.1 999 X", BROKEN),
    STATUS("HTTP/1.1 20 OK", BROKEN),
    STATUS("HTTP/1.1 2000 OK", BROKEN),
    STATUS("HTTP/1.1 20x OK", BROKEN),
    STATUS("HTTP/1.1 -20 OK", BROKEN),
    STATUS("HTTP/1.1  200 OK", BROKEN),
    STATUS("HTTP/1.1\t200 OK", BROKEN),
    STATUS("HTTP/1.1 200\tOK", BROKEN),
    STATUS("HTTP/1.1 200OK", BROKEN),
    STATUS(" HTTP/1.1 200 OK", BROKEN),
    STATUS("HTTP/1.1 200 O\0K", BROKEN),
    STATUS("HTTP/1.1 200 O\x7fK", BROKEN),
    STATUS("HTTP/1.1 200 OK\r", BROKEN),
    STATUS("HTTP/2 200", BROKEN),
    STATUS("HTTP/2.0 200 OK", BROKEN),
    STATUS("HTTP/0.9 200 OK", BROKEN),
    STATUS("http/1.1 200 OK", BROKEN),
    STATUS("HTTP/1.10 200 OK", BROKEN),
    STATUS("ICY 200 OK", BROKEN),
    STATUS("200 OK", BROKEN),
    STATUS("", BROKEN),
    STATUS("HTTP/1.1", BROKEN),
    STATUS("HTTP/1.1 ", BROKEN),
    ROW("HTTP/1.1 200 OK\r\n\r\n", OK),
    ROW("\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n", BROKEN),
    ROW("HTTP/1.1 200 OK\nA: b\r\n\r\n", BROKEN),
    ROW("HTTP/1.1 200 OK\r\nA: b\n\r\n", BROKEN),
    ROW("HTTP/1.1 200 OK\r\nA: b\r\n\n", BROKEN),
    ROW("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", BROKEN),
    RESPONSE("A : b", BROKEN),
    RESPONSE("A: b\r\n c", BROKEN),
    RESPONSE(": b", BROKEN),
    RESPONSE("A", BROKEN),
    RESPONSE("A: b\0", BROKEN),
    RESPONSE("A\xff: b", BROKEN),
    RESPONSE("Host: a\r\nHost: b", OK),
};

typedef enum err parse(struct str, const struct head_limits *, struct head *, struct error *);

/* Finds the end in the first `first` bytes and then in all of them, in memory of just that size. */
static size_t find_in_two(const struct row *row, size_t first)
{
    size_t scanned = 0;
    for (int i = 0; i < 2; i++) {
        size_t n = i ? row->n : first;
        char *copy = mem_alloc(n + 1);
        assert_non_null(copy);
        memcpy(copy + 1, row->text, n);
        size_t end = head_find_end(str_make(copy + 1, n), &scanned);
        mem_free(copy);
        if (end)
            return end;
    }
    return 0;
}

static size_t find_bytewise(const struct row *row)
{
    size_t scanned = 0, end = 0;
    for (size_t n = 1; n <= row->n && !end; n++)
        end = head_find_end(str_make(row->text, n), &scanned);
    return end;
}

static enum err parse_exact(const struct row *row, size_t n, parse *function, struct head *h)
{
    struct error error = {0};
    char *copy = mem_alloc(n);
    assert_non_null(copy);
    memcpy(copy, row->text, n);
    memset(h, 0xa5, sizeof *h); /* nothing may depend on what was there */
    enum err err = function(str_make(copy, n), &limits, h, &error);
    assert_true(err == OK || (error.err == err && error.why[0]));
    mem_free(copy);
    return err;
}

static void check_rows(const struct row *rows, size_t count, parse *function)
{
    static struct head h;
    for (const struct row *row = rows; row < rows + count; row++) {
        size_t end = find_in_two(row, 0);
        if (end == 0)
            fail_msg("case '%s': no end found", row->text);
        CHECK_ERR(parse_exact(row, end, function, &h), row->want, row->text);
        if (row->want == OK)
            assert_int_equal(end, row->n);
        assert_int_equal(find_bytewise(row), end);
        for (size_t first = 0; first <= row->n; first++)
            assert_int_equal(find_in_two(row, first), end);
        /* No shorter block is ever taken for the whole. */
        for (size_t n = 0; n < end; n++)
            assert_int_not_equal(parse_exact(row, n, function, &h), OK);
    }
}

static void test_requests(void **state)
{
    check_rows(requests, COUNT_OF(requests), head_parse_request);
}

static void test_responses(void **state)
{
    check_rows(responses, COUNT_OF(responses), head_parse_response);
}

static void test_spans(void **state)
{
    static struct head h;
    struct error error;
    struct str block = STR("\r\nPOST /a/b?c=d HTTP/1.0\r\nHost: a:1\r\nX-Other:\t v w \t\r\nACCEPT: 1\r\n"
                           "accept: 2\r\nEmpty:\r\nAccept: 3\r\n\r\n");
    assert_int_equal(head_parse_request(block, &limits, &h, &error), OK);
    assert_int_equal(h.method, METHOD_POST);
    assert_int_equal(h.minor, 0);
    assert_int_equal(h.field_count, 6);
    CHECK_STR(h.method_text, "POST", "method");
    CHECK_STR(h.target, "/a/b?c=d", "target");
    CHECK_STR(head_value(&h, FIELD_HOST), "a:1", "host");
    CHECK_STR(head_value(&h, FIELD_ACCEPT), "1", "accept");
    CHECK_STR(h.fields[1].name, "X-Other", "name");
    CHECK_STR(h.fields[1].value, "v w", "value");
    CHECK_STR(h.fields[4].value, "", "empty");
    assert_true(h.fields[4].value.p > block.p && h.fields[4].value.p < block.p + block.n);
    assert_int_equal(head_next(&h, FIELD_ACCEPT, -1), 2);
    assert_int_equal(head_next(&h, FIELD_ACCEPT, 2), 3);
    assert_int_equal(head_next(&h, FIELD_ACCEPT, 3), 5);
    assert_int_equal(head_next(&h, FIELD_ACCEPT, 5), -1);
    assert_int_equal(head_next(&h, FIELD_COOKIE, -1), -1);
    assert_int_equal(head_next(&h, FIELD_OTHER, -1), 1);
    assert_null(head_field(&h, FIELD_COOKIE));
    assert_ptr_equal(head_find(&h, STR("x-oTHER")), &h.fields[1]);
    assert_null(head_find(&h, STR("x-othe")));

    assert_int_equal(head_parse_response(STR("HTTP/1.1 404 Not Found\r\n\r\n"), &limits, &h, &error), OK);
    assert_int_equal(h.status, 404);
    assert_int_equal(h.minor, 1);
    assert_int_equal(h.field_count, 0);
    CHECK_STR(h.reason, "Not Found", "reason");
    assert_null(head_field(&h, FIELD_HOST)); /* nothing is left of the head before */
}

static void test_bytes_behind(void **state)
{
    static struct head h;
    struct error error;
    assert_int_equal(head_parse_request(STR("GET / HTTP/1.0\r\n\r\nA: b\r\n\r\n"), &limits, &h, &error),
                     ERR_HTTP_SYNTAX);
}

/* What was read is there for the log, although the request is refused. */
static void test_spans_of_refused(void **state)
{
    static struct head h;
    struct error error;
    assert_int_equal(head_parse_request(STR("BREW /pot HTTP/1.1\r\n\r\n"), &limits, &h, &error),
                     ERR_NOT_IMPLEMENTED);
    CHECK_STR(h.method_text, "BREW", "method");
    CHECK_STR(h.target, "/pot", "target");
    assert_int_equal(h.minor, 1);
    assert_true((unsigned)h.method < METHOD_COUNT);
}

/* The smallest head with a target, a field line and a number of fields of those sizes. */
static struct str build(struct buf *b, size_t target, size_t field, int fields)
{
    buf_clear(b);
    buf_add_c(b, "GET /");
    for (size_t i = 1; i < target; i++)
        buf_add_char(b, 'a');
    buf_add_c(b, " HTTP/1.1\r\nHost: a\r\nX:");
    for (size_t i = 2; i < field; i++)
        buf_add_char(b, 'b');
    buf_add_c(b, "\r\n");
    for (int i = 2; i < fields; i++)
        buf_add_c(b, "y:\r\n");
    buf_add_c(b, "\r\n");
    return buf_str(b);
}

static void test_limits(void **state)
{
    static struct head h;
    struct error error;
    struct buf b = {0};
    const struct head_limits small = {.target = 100, .field = 200, .head = 2000, .fields = 10};
    for (int by = -1; by <= 1; by++) {
        enum err field_error = by > 0 ? ERR_FIELDS_TOO_LARGE : OK;
        assert_int_equal(head_parse_request(build(&b, (size_t)(100 + by), 2, 2), &small, &h, &error),
                         by > 0 ? ERR_TARGET_TOO_LONG : OK);
        assert_int_equal(head_parse_request(build(&b, 1, (size_t)(200 + by), 2), &small, &h, &error),
                         field_error);
        assert_int_equal(head_parse_request(build(&b, 1, 2, 10 + by), &small, &h, &error), field_error);
        struct head_limits whole = small;
        whole.head = build(&b, 50, 50, 5).n - (size_t)by;
        assert_int_equal(head_parse_request(buf_str(&b), &whole, &h, &error), field_error);
    }
    /* The array is the last limit of all. */
    const struct head_limits wide = {1 << 20, 1 << 20, 1 << 20, 1000};
    assert_int_equal(head_parse_request(build(&b, 1, 2, HEAD_FIELDS_MAX), &wide, &h, &error), OK);
    assert_int_equal(head_parse_request(build(&b, 1, 2, HEAD_FIELDS_MAX + 1), &wide, &h, &error),
                     ERR_FIELDS_TOO_LARGE);
    const struct head_limits tiny = {100, 200, 10, 10};
    assert_int_equal(head_parse_response(STR("HTTP/1.1 200 OK\r\n\r\n"), &tiny, &h, &error),
                     ERR_UPSTREAM_PROTOCOL);
    buf_free(&b);
}

static void test_find_end(void **state)
{
    size_t scanned = 0;
    struct str two = STR("GET / HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
    assert_int_equal(head_find_end(two, &scanned), 18);
    scanned = 0;
    assert_int_equal(head_find_end(STR(""), &scanned), 0);
    assert_int_equal(head_find_end(STR("\r\n\r\n"), &scanned), 0);
    assert_int_equal(head_find_end(STR("\r\n\r\n\r"), &scanned), 0);
    assert_int_equal(head_find_end(STR("\r\n\r\n\r\n"), &scanned), 6);
    scanned = 0;
    assert_int_equal(head_find_end(STR("GET / HTTP/1.1\r\nA: b\r\n"), &scanned), 0);
    assert_int_equal(scanned, 22);
}

static const struct {
    const char *text;
    bool may_be;
} starts[] = {
    {"", true},
    {"G", true},
    {"GET", true},
    {"GET ", true},
    {"GET /", true},
    {"GET / HTTP", true},
    {"brew /", true},
    {"\r", true},
    {"\r\n", true},
    {"\r\n\r", true},
    {"\r\n\r\n", true},
    {"\r\n\r\nG", true},
    {"\r\n\r\n\r", false},
    {"\r\n\r\n\r\n", false},
    {"\n", false},
    {"\rG", false},
    {"\x16\x03\x01\x02", false},
    {"\x80", false},
    {" GET", false},
    {"GET\t", false},
    {"GET  ", false},
    {"GET \x01", false},
    {"GET \x80", false},
    {"GET\r", false},
    {"{\"a\":1}", false},
    {"SSH-2.0-OpenSSH_9.2p1\r\n", false},
    {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false},
};

static void test_may_be_request(void **state)
{
    for (size_t i = 0; i < COUNT_OF(starts); i++)
        if (head_may_be_request(str_from_c(starts[i].text)) != starts[i].may_be)
            fail_msg("case '%s'", starts[i].text);
}

static void test_methods(void **state)
{
    CHECK_STR(method_name(METHOD_OPTIONS), "OPTIONS", "name");
    assert_true(method_is_idempotent(METHOD_DELETE));
    assert_false(method_is_idempotent(METHOD_POST));
    assert_false(method_is_idempotent(METHOD_PATCH));
    assert_false(method_is_idempotent(METHOD_CONNECT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),     cmocka_unit_test(test_responses),
        cmocka_unit_test(test_spans),        cmocka_unit_test(test_spans_of_refused),
        cmocka_unit_test(test_bytes_behind), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_find_end),     cmocka_unit_test(test_may_be_request),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
