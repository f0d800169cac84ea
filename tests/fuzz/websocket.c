/*
 * The WebSocket handshake: a request head, or (beginning with "HTTP/") the answer to RFC 6455's example. What
 * is taken is exactly what the RFC asks for.
 */
#include "heads.h"

#include "http/websocket.h"

static const struct str sample_key = {"dGhlIHNhbXBsZSBub25jZQ==", 24};
static const struct str sample_accept = {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28};

/* How many fields have that name; *value is the last one's. */
static int count_of(const struct head *h, struct str name, struct str *value)
{
    int count = 0;
    for (int i = 0; i < h->field_count; i++)
        if (str_eq_nocase(h->fields[i].name, name)) {
            *value = h->fields[i].value;
            count++;
        }
    return count;
}

static void check_request(const struct head *h)
{
    struct error error = {0};
    struct str value = STR_NONE;
    bool wanted = websocket_wanted(h);
    REQUIRE(!wanted || (h->method == METHOD_GET && h->minor == 1));
    REQUIRE(!wanted || (count_of(h, STR("upgrade"), &value) && count_of(h, STR("connection"), &value)));
    enum err err = websocket_check_request(h, &error);
    if (err != OK) {
        REQUIRE(err == ERR_UPGRADE_REQUIRED || err == ERR_HTTP_SYNTAX);
        require_sentence(err, &error);
        return;
    }
    REQUIRE(count_of(h, STR("sec-websocket-version"), &value) == 1 && str_eq(value, STR("13")));
    REQUIRE(count_of(h, STR("transfer-encoding"), &value) == 0);
    REQUIRE(count_of(h, STR("content-length"), &value) == 0 || value.n == 0 || str_eq(value, STR("0")));
    REQUIRE(count_of(h, STR("sec-websocket-key"), &value) == 1 && value.n == 24);
    char accept[28], again[28];
    websocket_accept(value, accept);
    websocket_accept(value, again);
    REQUIRE(memcmp(accept, again, sizeof accept) == 0);
    REQUIRE(str_eq(value, sample_key) == str_eq(str_make(accept, sizeof accept), sample_accept));
}

static void check_response(const struct head *h)
{
    struct error error = {0};
    struct str value = STR_NONE;
    enum err err = websocket_check_response(h, sample_key, &error);
    if (err == OK) {
        REQUIRE(h->status == 101);
        REQUIRE(count_of(h, STR("sec-websocket-accept"), &value) == 1 && str_eq(value, sample_accept));
        REQUIRE(count_of(h, STR("upgrade"), &value) == 1 && str_eq_nocase(value, STR("websocket")));
    } else {
        REQUIRE(err == ERR_UPSTREAM_PROTOCOL);
        require_sentence(err, &error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct head h;
    struct error error = {0};
    struct str all = input_str(bytes, n);
    size_t scanned = 0, end = head_find_end(all, &scanned);
    struct str block = str_first(all, end);
    if (!end)
        return 0;
    if (str_starts(all, STR("HTTP/"))) {
        if (head_parse_response(block, &wide_limits, &h, &error) == OK)
            check_response(&h);
    } else if (head_parse_request(block, &wide_limits, &h, &error) == OK) {
        check_request(&h);
    }
    return 0;
}
