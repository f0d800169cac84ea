/* websocket.c: the handshake, good and bad; the key and its answer are those of RFC 6455 1.3. */
#include "http/test.h"
#include "http/websocket.h"

#include <stdio.h>

static const struct head_limits limits = {8192, 16384, 32768, 128};

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define WANT "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
#define K "Sec-WebSocket-Key: " KEY "\r\n"

static struct head *parse(const char *line, const char *fields)
{
    static struct head h;
    static char block[1024];
    struct error error;
    int n = snprintf(block, sizeof block, "%s\r\nHost: a\r\n%s\r\n", line, fields);
    assert_in_range(n, 1, sizeof block - 1);
    struct str s = str_make(block, (size_t)n);
    enum err err = str_starts(s, STR("HTTP/")) ? head_parse_response(s, &limits, &h, &error)
                                               : head_parse_request(s, &limits, &h, &error);
    CHECK_ERR(err, OK, fields);
    return &h;
}

static void test_wanted(void **state)
{
    assert_true(websocket_wanted(parse("GET / HTTP/1.1", WANT)));
    assert_true(websocket_wanted(parse("GET / HTTP/1.1", "Connection: a\r\nConnection: upgrade\r\n"
                                                         "Upgrade: websocket\r\n")));
    assert_false(websocket_wanted(parse("POST / HTTP/1.1", WANT)));
    assert_false(websocket_wanted(parse("GET / HTTP/1.0", WANT)));
    assert_false(websocket_wanted(parse("GET / HTTP/1.1", "Upgrade: websocket\r\n")));
    assert_false(websocket_wanted(parse("GET / HTTP/1.1", "Connection: upgrade\r\n")));
    assert_false(websocket_wanted(parse("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n")));
    assert_false(websocket_wanted(parse("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websockets\r\n")));
}

static const struct {
    const char *fields;
    enum err want;
} requests[] = {
    {WANT V13 K, OK},
    {WANT V13 K "Content-Length: 0\r\n", OK},
    {WANT K, ERR_UPGRADE_REQUIRED},
    {WANT K "Sec-WebSocket-Version: 8\r\n", ERR_UPGRADE_REQUIRED},
    {WANT K "Sec-WebSocket-Version: 013\r\n", ERR_UPGRADE_REQUIRED},
    {WANT K "Sec-WebSocket-Version: 13, 8\r\n", ERR_UPGRADE_REQUIRED},
    {WANT K V13 V13, ERR_UPGRADE_REQUIRED},
    {WANT V13, ERR_HTTP_SYNTAX},
    {WANT V13 K K, ERR_HTTP_SYNTAX},
    {WANT V13 "Sec-WebSocket-Key:\r\n", ERR_HTTP_SYNTAX},
    {WANT V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n", ERR_HTTP_SYNTAX},
    {WANT V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQaa==\r\n", ERR_HTTP_SYNTAX},
    {WANT V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQaa\r\n", ERR_HTTP_SYNTAX},
    {WANT V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2-jZQ==\r\n", ERR_HTTP_SYNTAX},
    {WANT V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub=5jZQ==\r\n", ERR_HTTP_SYNTAX},
    {WANT V13 "Sec-WebSocket-Key: dGhlIHNhbXBs SBub25jZQ==\r\n", ERR_HTTP_SYNTAX},
    {WANT V13 K "Content-Length: 5\r\n", ERR_HTTP_SYNTAX},
    {WANT V13 K "Transfer-Encoding: chunked\r\n", ERR_HTTP_SYNTAX},
};

static void test_requests(void **state)
{
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct error error = {0};
        struct head *h = parse("GET / HTTP/1.1", requests[i].fields);
        assert_true(websocket_wanted(h));
        CHECK_ERR(websocket_check_request(h, &error), requests[i].want, requests[i].fields);
    }
}

static const struct {
    const char *line, *fields;
    enum err want;
} responses[] = {
#define S "HTTP/1.1 101 Switching Protocols"
#define A "Sec-WebSocket-Accept: " ACCEPT "\r\n"
#define BAD ERR_UPSTREAM_PROTOCOL
    {S, WANT A, OK},
    {S, "Connection: upgrade\r\nUpgrade: websocket\r\n" A, OK},
    {"HTTP/1.1 200 OK", WANT A, BAD},
    {S, WANT, BAD},
    {S, A, BAD},
    {S, "Upgrade: websocket\r\n" A, BAD},
    {S, "Connection: upgrade\r\n" A, BAD},
    {S, "Connection: upgrade\r\nUpgrade: h2c\r\n" A, BAD},
    {S, "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n" A, BAD},
    {S, WANT A A, BAD},
    {S, WANT "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", BAD},
    {S, WANT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n", BAD},
    {S, WANT "Sec-WebSocket-Accept: " KEY "\r\n", BAD},
};

static void test_responses(void **state)
{
    for (size_t i = 0; i < COUNT_OF(responses); i++) {
        struct error error = {0};
        struct head *h = parse(responses[i].line, responses[i].fields);
        CHECK_ERR(websocket_check_response(h, STR(KEY), &error), responses[i].want, responses[i].fields);
    }
}

static void test_accept(void **state)
{
    char out[28];
    websocket_accept(STR(KEY), out);
    CHECK_STR(str_make(out, sizeof out), ACCEPT, "RFC 6455");
}

/* Fed in pieces of every size: a frame may follow only where one has ended, and none after a close frame. */
static void test_frames(void **state)
{
    static char bytes[2 + 3 + 4 + 4 + 200 + 10 + 70000 + 2];
    size_t ends[4], n = 0;
    memcpy(bytes,
           "\x81\x03"
           "abc",
           5);
    ends[0] = n = 5;
    memcpy(bytes + n,
           "\x82\xfe\x00\xc8"
           "mask",
           8); /* 200 bytes, masked */
    ends[1] = n += 8 + 200;
    memcpy(bytes + n, "\x82\x7f\x00\x00\x00\x00\x00\x01\x11\x70", 10); /* 70000 bytes */
    ends[2] = n += 10 + 70000;
    memcpy(bytes + n, "\x89\x00", 2);
    ends[3] = n += 2;
    for (size_t step = 1; step < 5000; step = step * 3 + 1) {
        struct frame_meter m = {0};
        for (size_t at = 0; at < n; at += step) {
            size_t to = MIN(at + step, n);
            frame_meter_feed(&m, str_make(bytes + at, to - at));
            bool ended = to == ends[0] || to == ends[1] || to == ends[2] || to == ends[3];
            assert_int_equal(frame_meter_may_close(&m), ended);
        }
        frame_meter_feed(&m, STR("\x88\x00"));
        assert_false(frame_meter_may_close(&m));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted), cmocka_unit_test(test_requests), cmocka_unit_test(test_responses),
        cmocka_unit_test(test_accept), cmocka_unit_test(test_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
