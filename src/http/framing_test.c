/* framing.c: which fields give which body, and which are an attack. */
#include "http/test.h"
#include "http/framing.h"

#include <stdio.h>

static const struct head_limits limits = {8192, 16384, 32768, 128};

enum { MAX_BODY = 1000 };

static const struct {
    const char *head; /* without the empty line */
    enum err want;
    enum body_kind kind;
    uint64_t length;
} requests[] = {
#define R "POST / HTTP/1.1\r\nHost: a\r\n"
#define R10 "POST / HTTP/1.0\r\n"
    {R, OK, BODY_NONE, 0},
    {R10, OK, BODY_NONE, 0},
    {R "Content-Length: 0\r\n", OK, BODY_LENGTH, 0},
    {R "content-length:\t 5 \r\n", OK, BODY_LENGTH, 5},
    {R "Content-Length: 5\t\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 5 \t \r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked\t\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R10 "Content-Length: 5\r\n", OK, BODY_LENGTH, 5},
    {R "Content-Length: 0000000000000000005\r\n", OK, BODY_LENGTH, 5},
    {R "Content-Length: 999\r\n", OK, BODY_LENGTH, 999},
    {R "Content-Length: 1000\r\n", OK, BODY_LENGTH, 1000},
    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n", OK, BODY_LENGTH, 5},
    {"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n", OK, BODY_LENGTH, 5},
    {"DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", OK, BODY_CHUNKED, 0},
    {R "Transfer-Encoding: chunked\r\n", OK, BODY_CHUNKED, 0},
    {R "Transfer-Encoding:\tCHUNKED \r\n", OK, BODY_CHUNKED, 0},
    {R "Content-Length: 1001\r\n", ERR_BODY_TOO_LARGE, 0, 0},
    {R "Content-Length: 9223372036854775807\r\n", ERR_BODY_TOO_LARGE, 0, 0},
    {R "Content-Length: 9223372036854775808\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 18446744073709551616\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 00000000000000000005\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length:\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: +5\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: -5\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 5a\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 0x5\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 5 5\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 5.0\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 1_000\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 5, 5\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 5,\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: \xd9\xa5\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 5\r\nContent-Length: 5\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R10 "Transfer-Encoding: chunked\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: gzip, chunked\r\n", ERR_NOT_IMPLEMENTED, 0, 0},
    {R "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", ERR_NOT_IMPLEMENTED, 0, 0},
    {R "Transfer-Encoding: gzip\r\n", ERR_NOT_IMPLEMENTED, 0, 0},
    {R "Transfer-Encoding: xchunked\r\n", ERR_NOT_IMPLEMENTED, 0, 0},
    {R "Transfer-Encoding: chunkedx\r\n", ERR_NOT_IMPLEMENTED, 0, 0},
    {R "Transfer-Encoding: identity\r\n", ERR_NOT_IMPLEMENTED, 0, 0},
    {R "Transfer-Encoding: chunked, gzip\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked, chunked\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding:\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: ,chunked\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked,\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: gzip,,chunked\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: \"chunked\"\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked;q=1\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chun ked\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Transfer-Encoding: chunked \xa0\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Connection: upgrade\r\nUpgrade: h2c\r\n", OK, BODY_NONE, 0},
    {R "Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n", OK, BODY_LENGTH, 0},
    {R "Upgrade: h2c\r\nContent-Length: 5\r\n", OK, BODY_LENGTH, 5},
    {R "Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", ERR_HTTP_SYNTAX, 0, 0},
    {R "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", ERR_HTTP_SYNTAX, 0, 0},
};

static struct str finish(const char *head, char *block, size_t size)
{
    int n = snprintf(block, size, "%s\r\n", head);
    assert_in_range(n, 1, size - 1);
    return str_make(block, (size_t)n);
}

static void test_requests(void **state)
{
    static struct head h;
    char block[512];
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct error error = {0};
        struct framing f;
        const char *name = requests[i].head;
        CHECK_ERR(head_parse_request(finish(name, block, sizeof block), &limits, &h, &error), OK, name);
        CHECK_ERR(framing_of_request(&h, MAX_BODY, &f, &error), requests[i].want, name);
        if (requests[i].want != OK)
            continue;
        if (f.kind != requests[i].kind || f.length != requests[i].length)
            fail_msg("case '%s': kind %d", name, f.kind);
    }
}

static void test_no_limit(void **state)
{
    static struct head h;
    char block[512];
    struct error error;
    struct framing f;
    struct str head = finish(R "Content-Length: 9223372036854775807\r\n", block, sizeof block);
    assert_int_equal(head_parse_request(head, &limits, &h, &error), OK);
    assert_int_equal(framing_of_request(&h, 0, &f, &error), OK);
    assert_true(f.length == INT64_MAX);
}

static const struct {
    const char *head;
    enum method method;
    enum err want;
    enum body_kind kind;
    uint64_t length;
} responses[] = {
#define S "HTTP/1.1 200 OK\r\n"
#define BAD ERR_UPSTREAM_PROTOCOL
    {S, METHOD_GET, OK, BODY_UNTIL_CLOSE, 0},
    {"HTTP/1.0 200 OK\r\n", METHOD_GET, OK, BODY_UNTIL_CLOSE, 0},
    {S "Content-Length: 0\r\n", METHOD_GET, OK, BODY_LENGTH, 0},
    {S "Content-Length: 5\r\n", METHOD_GET, OK, BODY_LENGTH, 5},
    {S "Transfer-Encoding: Chunked\r\n", METHOD_GET, OK, BODY_CHUNKED, 0},
    {S "Content-Length: 5\r\n", METHOD_HEAD, OK, BODY_NONE, 0},
    {S "Transfer-Encoding: chunked\r\n", METHOD_HEAD, OK, BODY_NONE, 0},
    {S, METHOD_HEAD, OK, BODY_NONE, 0},
    {"HTTP/1.1 304 X\r\nContent-Length: 5\r\n", METHOD_GET, OK, BODY_NONE, 0},
    {"HTTP/1.1 204 X\r\nContent-Length: x\r\n", METHOD_GET, OK, BODY_NONE, 0},
    {"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n", METHOD_GET, OK, BODY_NONE, 0},
    {"HTTP/1.1 100 X\r\nContent-Length: 5\r\n", METHOD_POST, OK, BODY_NONE, 0},
    {"HTTP/1.1 101 X\r\nTransfer-Encoding: chunked\r\n", METHOD_GET, OK, BODY_NONE, 0},
    {"HTTP/1.1 199 X\r\n", METHOD_GET, OK, BODY_NONE, 0},
    {"HTTP/1.1 205 X\r\n", METHOD_GET, OK, BODY_UNTIL_CLOSE, 0},
    {"HTTP/1.1 404 X\r\nContent-Length: 5\r\n", METHOD_GET, OK, BODY_LENGTH, 5},
    {S "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", METHOD_GET, BAD, 0, 0},
    {S "Content-Length: 5\r\nContent-Length: 5\r\n", METHOD_GET, BAD, 0, 0},
    {S "Content-Length: 5, 5\r\n", METHOD_GET, BAD, 0, 0},
    {S "Content-Length: -5\r\n", METHOD_GET, BAD, 0, 0},
    {S "Content-Length:\r\n", METHOD_GET, BAD, 0, 0},
    {S "Content-Length: 9223372036854775808\r\n", METHOD_GET, BAD, 0, 0},
    {S "Content-Length: x\r\n", METHOD_HEAD, BAD, 0, 0},
    {"HTTP/1.1 304 X\r\nContent-Length: 5\r\nContent-Length: 6\r\n", METHOD_GET, BAD, 0, 0},
    {S "Transfer-Encoding: gzip, chunked\r\n", METHOD_GET, BAD, 0, 0},
    {S "Transfer-Encoding: identity\r\n", METHOD_GET, BAD, 0, 0},
    {S "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", METHOD_GET, BAD, 0, 0},
    {S "Transfer-Encoding:\r\n", METHOD_GET, BAD, 0, 0},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", METHOD_GET, BAD, 0, 0},
};

static void test_responses(void **state)
{
    static struct head h;
    char block[512];
    for (size_t i = 0; i < COUNT_OF(responses); i++) {
        struct error error = {0};
        struct framing f;
        const char *name = responses[i].head;
        CHECK_ERR(head_parse_response(finish(name, block, sizeof block), &limits, &h, &error), OK, name);
        CHECK_ERR(framing_of_response(&h, responses[i].method, &f, &error), responses[i].want, name);
        if (responses[i].want != OK)
            continue;
        if (f.kind != responses[i].kind || f.length != responses[i].length)
            fail_msg("case '%s': kind %d", name, f.kind);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
