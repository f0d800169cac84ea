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

enum { DECIMAL_LENGTH_MAX = 63, EXPONENT_MAX = 9999 };

/* The digits without point and leading zeros, and where the point is: 0.digits * 10^point. */
struct decimal {
    char digits[DECIMAL_LENGTH_MAX];
    int count, point;
};

static bool exponent_parse(struct str s, int *exponent)
{
    int64_t value;
    bool plus = s.n && s.p[0] == '+';
    if (plus && s.n > 1 && s.p[1] == '-')
        return false;
    if (!num_parse_i64(plus ? str_from(s, 1) : s, &value) || value < -EXPONENT_MAX || value > EXPONENT_MAX)
        return false;
    *exponent = (int)value;
    return true;
}

static bool decimal_split(struct str s, struct decimal *d)
{
    int seen = 0, exponent = 0;
    bool point = false;
    size_t i = 0;
    *d = (struct decimal){0};
    for (; i < s.n && char_lower(s.p[i]) != 'e'; i++) {
        char c = s.p[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9')
            return false;
        seen++;
        if (c != '0' || d->count)
            d->digits[d->count++] = c;
        else if (point)
            d->point--;
        if (!point && d->count)
            d->point++;
    }
    if (i < s.n && !exponent_parse(str_from(s, i + 1), &exponent))
        return false;
    d->point += exponent;
    return seen > 0;
}

bool num_parse_decimal(struct str s, int places, int64_t *value, bool *exact)
{
    struct decimal d;
    uint64_t magnitude = 0;
    bool negative = s.n && s.p[0] == '-', whole = true;
    s = negative || (s.n && s.p[0] == '+') ? str_from(s, 1) : s;
    if (s.n > DECIMAL_LENGTH_MAX || !decimal_split(s, &d))
        return false;
    int kept = d.count ? d.point + places : 0; /* digits before the new point */
    if (kept > 19)
        return false;
    for (int i = 0; i < kept; i++)
        magnitude = magnitude * 10 + (i < d.count ? (uint64_t)(d.digits[i] - '0') : 0);
    for (int i = MAX(kept, 0); i < d.count; i++)
        whole &= d.digits[i] == '0';
    magnitude += kept >= 0 && kept < d.count && d.digits[kept] >= '5';
    if (magnitude > INT64_MAX)
        return false;
    *value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    if (exact)
        *exact = whole;
    return true;
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
