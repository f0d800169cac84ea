/* The JSON writer. Pure but for the buffer it fills. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>

static void value_begin(struct json *j)
{
    if (j->comma)
        buf_add_char(j->out, ',');
    j->comma = true;
}

static void open_level(struct json *j, bool is_array)
{
    value_begin(j);
    buf_add_char(j->out, is_array ? '[' : '{');
    j->depth++;
    REQUIRE(j->depth < 64);
    j->array_bits = (j->array_bits & ~((uint64_t)1 << j->depth)) | ((uint64_t)is_array << j->depth);
    j->comma = false;
}

void json_put_object(struct json *j)
{
    open_level(j, false);
}

void json_put_array(struct json *j)
{
    open_level(j, true);
}

void json_end(struct json *j)
{
    bool is_array = (j->array_bits >> j->depth) & 1;
    REQUIRE(j->depth > 0);
    buf_add_char(j->out, is_array ? ']' : '}');
    j->depth--;
    j->comma = true;
}

void json_key_dynamic(struct json *j, struct str key)
{
    json_str(j, key);
    buf_add_char(j->out, ':');
    j->comma = false;
}

void json_key(struct json *j, const char *key)
{
    json_key_dynamic(j, str_from_c(key));
}

/* Length of the valid UTF-8 sequence at s (2 to 4 bytes) and its code point; 0 when invalid. */
static size_t utf8_decode(struct str s, uint32_t *code)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = (uint8_t)s.p[0];
    size_t n = lead >= 0xf0 && lead < 0xf8 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
    if (n == 0 || lead >= 0xf8 || s.n < n)
        return 0;
    uint32_t value = lead & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (((uint8_t)s.p[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | ((uint8_t)s.p[i] & 0x3f);
    }
    if (value < smallest[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code = value;
    return n;
}

static bool is_confusing(uint32_t code)
{
    return (code >= 0x80 && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

static void escape_control(struct buf *out, char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        buf_add_char(out, '\\');
        buf_add_char(out, to[at - from]);
    } else {
        buf_addf(out, "\\u%04x", (unsigned)(uint8_t)c);
    }
}

void json_escape(struct buf *out, struct str s)
{
    size_t plain = 0; /* start of the run that needs no change */
    for (size_t i = 0; i < s.n;) {
        uint8_t c = (uint8_t)s.p[i];
        uint32_t code = 0;
        size_t step = c < 0x80 ? 1 : utf8_decode(str_from(s, i), &code);
        bool as_is = c < 0x80 ? c >= 0x20 && c != '"' && c != '\\' && c != 0x7f : step && !is_confusing(code);
        if (as_is) {
            i += step;
            continue;
        }
        buf_add(out, s.p + plain, i - plain);
        if (c < 0x80)
            escape_control(out, (char)c);
        else if (step)
            buf_addf(out, "\\u%04x", (unsigned)code);
        else
            buf_add_c(out, "\xef\xbf\xbd");
        i += step ? step : 1;
        plain = i;
    }
    if (plain < s.n) /* the empty one may have no bytes to point to */
        buf_add(out, s.p + plain, s.n - plain);
}

void json_str(struct json *j, struct str value)
{
    value_begin(j);
    buf_add_char(j->out, '"');
    json_escape(j->out, value);
    buf_add_char(j->out, '"');
}

void json_c(struct json *j, const char *value)
{
    if (value)
        json_str(j, str_from_c(value));
    else
        json_put_null(j);
}

void json_u64(struct json *j, uint64_t value)
{
    value_begin(j);
    buf_add_u64(j->out, value);
}

void json_i64(struct json *j, int64_t value)
{
    value_begin(j);
    if (value < 0)
        buf_add_char(j->out, '-');
    buf_add_u64(j->out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void json_double(struct json *j, double value, int decimals)
{
    value_begin(j);
    if (!isfinite(value))
        buf_add_c(j->out, "null");
    else
        buf_addf(j->out, "%.*f", decimals, value);
}

void json_decimal(struct json *j, int64_t value, int digits)
{
    char text[48], *p = text + sizeof text;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    bool significant = false;
    for (int i = 0; i < digits; i++, left /= 10) {
        significant = significant || left % 10;
        if (significant)
            *--p = (char)('0' + left % 10);
    }
    if (significant)
        *--p = '.';
    do
        *--p = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0)
        *--p = '-';
    json_raw(j, str_make(p, (size_t)(text + sizeof text - p)));
}

void json_bool(struct json *j, bool value)
{
    value_begin(j);
    buf_add_c(j->out, value ? "true" : "false");
}

void json_put_null(struct json *j)
{
    value_begin(j);
    buf_add_c(j->out, "null");
}

void json_raw(struct json *j, struct str json_text)
{
    value_begin(j);
    buf_add_str(j->out, json_text);
}

void json_key_str(struct json *j, const char *key, struct str value)
{
    json_key(j, key);
    json_str(j, value);
}

void json_key_c(struct json *j, const char *key, const char *value)
{
    json_key(j, key);
    json_c(j, value);
}

void json_key_i64(struct json *j, const char *key, int64_t value)
{
    json_key(j, key);
    json_i64(j, value);
}

void json_key_u64(struct json *j, const char *key, uint64_t value)
{
    json_key(j, key);
    json_u64(j, value);
}

void json_key_double(struct json *j, const char *key, double value, int decimals)
{
    json_key(j, key);
    json_double(j, value, decimals);
}

void json_key_decimal(struct json *j, const char *key, int64_t value, int digits)
{
    json_key(j, key);
    json_decimal(j, value, digits);
}

void json_key_bool(struct json *j, const char *key, bool value)
{
    json_key(j, key);
    json_bool(j, value);
}

void json_key_null(struct json *j, const char *key)
{
    json_key(j, key);
    json_put_null(j);
}

void json_key_object(struct json *j, const char *key)
{
    json_key(j, key);
    json_put_object(j);
}

void json_key_array(struct json *j, const char *key)
{
    json_key(j, key);
    json_put_array(j);
}

bool json_text_is_shallow(struct str text, int levels)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (quoted) {
            if (c == '\\')
                i++;
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > levels)
                return false;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return true;
}
