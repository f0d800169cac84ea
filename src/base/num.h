/* Text to numbers and back, strictly: no sign, space or suffix is taken unless said. Pure. */
#ifndef HESTIA_BASE_NUM_H
#define HESTIA_BASE_NUM_H

#include "base/str.h"

/* Decimal digits only, no sign, no overflow. */
bool num_parse_u64(struct str s, uint64_t *value);
/* An optional '-' and decimal digits. */
bool num_parse_i64(struct str s, int64_t *value);
/* "30", "1.5", "30s", "5m", "250ms", "2h", "1d": into milliseconds; a bare number counts `unit_ms` each. */
bool num_parse_duration_ms(struct str s, uint64_t unit_ms, uint64_t *ms);
/* "4096", "10KB", "64KiB", "32MiB", "1GB": into bytes; K, KB = 1000 only with SI B suffix, Ki = 1024. */
bool num_parse_size(struct str s, uint64_t *bytes);
/* Decimal number as a double, without locale: digits, '.', exponent. */
bool num_parse_double(struct str s, double *value);
/* Decimal number times 10^places, exactly, without a double in between: "0.1" with 12 places is 100000000000.
   A sign, '.' and an exponent are taken. What lies below one is rounded half up in magnitude; `exact` (may be
   NULL) says whether nothing did. False also on overflow. */
bool num_parse_decimal(struct str s, int places, int64_t *value, bool *exact);
int num_hex_digit(char c); /* 0..15, or -1 */
/* Lower-case hexadecimal; dst takes 2*n characters, no NUL. */
void num_to_hex(const uint8_t *bytes, size_t n, char *dst);

static inline uint64_t num_add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

#endif
