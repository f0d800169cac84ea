/* Number parsing and printing. Pure. */
#include "base/num.h"

#include <stdlib.h>

bool num_parse_u64(struct str s, uint64_t *value)
{
    uint64_t result = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(s.p[i] - '0');
        if (digit > 9 || result > (UINT64_MAX - digit) / 10)
            return false;
        result = result * 10 + digit;
    }
    *value = result;
    return true;
}

bool num_parse_i64(struct str s, int64_t *value)
{
    bool negative = s.n && s.p[0] == '-';
    uint64_t magnitude;
    if (!num_parse_u64(negative ? str_from(s, 1) : s, &magnitude) || magnitude > INT64_MAX)
        return false;
    *value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

bool num_parse_double(struct str s, double *value)
{
    char text[64], *end;
    if (s.n == 0 || s.n >= sizeof text)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("0123456789+-.eE", s.p[i]) || !s.p[i])
            return false;
    *value = strtod(str_to_c(s, text, sizeof text), &end);
    return end != text && *end == '\0' && *value - *value == 0;
}

struct unit {
    struct str name;
    double factor;
};

/* A number and one of the units behind it ("" must be among them). */
static bool parse_with_unit(struct str s, const struct unit *units, size_t count, uint64_t *value)
{
    size_t digits = 0;
    double number;
    while (digits < s.n && ((s.p[digits] >= '0' && s.p[digits] <= '9') || s.p[digits] == '.'))
        digits++;
    if (!num_parse_double(str_first(s, digits), &number))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!str_eq_nocase(str_from(s, digits), units[i].name))
            continue;
        double result = number * units[i].factor;
        if (result < 0 || result > 9e15)
            return false;
        *value = (uint64_t)(result + 0.5);
        return true;
    }
    return false;
}

bool num_parse_duration_ms(struct str s, uint64_t unit_ms, uint64_t *ms)
{
    const struct unit units[] = {{STR(""), (double)unit_ms}, {STR("ms"), 1},        {STR("s"), 1000},
                                 {STR("m"), 60000},          {STR("h"), 3600000.0}, {STR("d"), 86400000.0}};
    return parse_with_unit(s, units, COUNT_OF(units), ms);
}

bool num_parse_size(struct str s, uint64_t *bytes)
{
    static const struct unit units[] = {{STR(""), 1},          {STR("B"), 1},           {STR("KB"), 1e3},
                                        {STR("MB"), 1e6},      {STR("GB"), 1e9},        {STR("K"), 1024},
                                        {STR("M"), 1048576},   {STR("G"), 1073741824},  {STR("KiB"), 1024},
                                        {STR("MiB"), 1048576}, {STR("GiB"), 1073741824}};
    return parse_with_unit(s, units, COUNT_OF(units), bytes);
}

int num_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void num_to_hex(const uint8_t *bytes, size_t n, char *dst)
{
    for (size_t i = 0; i < n; i++) {
        dst[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        dst[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
}
