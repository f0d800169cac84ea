/* The WebSocket handshake's checks (websocket.h). Called once per upgrade, on the exchange's thread; pure. */
#include "http/websocket.h"

#include "http/chars.h"
#include "loop/crypto.h"

enum { KEY_LENGTH = 24, ACCEPT_LENGTH = 28 };

/* RFC 6455 1.3. */
#define ACCEPT_SALT "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

bool websocket_wanted(const struct head *h)
{
    return h->method == METHOD_GET && h->minor > 0 && head_has_element(h, FIELD_CONNECTION, STR("upgrade")) &&
           head_has_element(h, FIELD_UPGRADE, STR("websocket"));
}

/* The value of a field that stands there exactly once, else the empty str. */
static struct str only_value(const struct head *h, enum field_id id)
{
    int first = head_next(h, id, -1);
    return first >= 0 && head_next(h, id, first) < 0 ? h->fields[first].value : STR_NONE;
}

/* Base64 of sixteen bytes. */
static bool is_key(struct str key)
{
    return key.n == KEY_LENGTH && str_ends(key, STR("==")) &&
           char_all(str_first(key, KEY_LENGTH - 2), CHAR_BASE64);
}

static bool has_body(const struct head *h)
{
    struct str length = head_value(h, FIELD_CONTENT_LENGTH);
    return h->first[FIELD_TRANSFER_ENCODING] || (length.n && !str_eq(length, STR("0")));
}

enum err websocket_check_request(const struct head *h, struct error *error)
{
    if (!str_eq(only_value(h, FIELD_SEC_WEBSOCKET_VERSION), STR("13")))
        return error_set(error, ERR_UPGRADE_REQUIRED, "only version 13 of the WebSocket protocol is spoken");
    if (!is_key(only_value(h, FIELD_SEC_WEBSOCKET_KEY)))
        return error_set(error, ERR_HTTP_SYNTAX, "malformed Sec-WebSocket-Key");
    if (has_body(h))
        return error_set(error, ERR_HTTP_SYNTAX, "a body in an upgrade request");
    return OK;
}

void websocket_accept(struct str key, char out[28])
{
    char text[KEY_LENGTH + sizeof ACCEPT_SALT - 1];
    uint8_t digest[SHA1_SIZE];
    REQUIRE(key.n == KEY_LENGTH);
    memcpy(text, key.p, KEY_LENGTH);
    memcpy(text + KEY_LENGTH, ACCEPT_SALT, sizeof ACCEPT_SALT - 1);
    crypto_sha1(str_make(text, sizeof text), digest);
    crypto_base64(digest, sizeof digest, out);
}

enum err websocket_check_response(const struct head *h, struct str key, struct error *error)
{
    char expected[ACCEPT_LENGTH];
    websocket_accept(key, expected);
    if (h->status != 101)
        return error_set(error, ERR_UPSTREAM_PROTOCOL, "status %d instead of 101", h->status);
    if (!head_has_element(h, FIELD_CONNECTION, STR("upgrade")) ||
        !str_eq_nocase(only_value(h, FIELD_UPGRADE), STR("websocket")))
        return error_set(error, ERR_UPSTREAM_PROTOCOL, "a 101 that does not switch to WebSocket");
    if (!str_eq(only_value(h, FIELD_SEC_WEBSOCKET_ACCEPT), str_make(expected, sizeof expected)))
        return error_set(error, ERR_UPSTREAM_PROTOCOL, "wrong Sec-WebSocket-Accept");
    return OK;
}

/* ---- frames ---------------------------------------------------------------------------------------------
 */

static size_t frame_head_size(const struct frame_meter *m)
{
    if (m->have < 2)
        return 2;
    unsigned length = m->head[1] & 0x7f, mask = m->head[1] & 0x80;
    return 2 + (length == 127 ? 8u : length == 126 ? 2u : 0u) + (mask ? 4u : 0u);
}

static uint64_t frame_length(const struct frame_meter *m)
{
    unsigned length = m->head[1] & 0x7f;
    size_t count = length == 127 ? 8 : length == 126 ? 2 : 0;
    uint64_t value = count ? 0 : length;
    for (size_t i = 0; i < count; i++)
        value = value << 8 | m->head[2 + i];
    return value;
}

void frame_meter_feed(struct frame_meter *m, struct str bytes)
{
    while (bytes.n) {
        if (m->left) {
            size_t n = MIN(m->left, (uint64_t)bytes.n);
            m->left -= n;
            bytes = str_from(bytes, n);
            continue;
        }
        m->head[m->have++] = (unsigned char)bytes.p[0];
        bytes = str_from(bytes, 1);
        if (m->have < frame_head_size(m))
            continue;
        m->closed = m->closed || (m->head[0] & 0x0f) == 8;
        m->left = frame_length(m);
        m->have = 0;
    }
}
