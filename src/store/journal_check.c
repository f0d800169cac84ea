/*
 * CRC-32C for the journal: with the instruction of x86-64 where the processor has it, else by tables of
 * eight bytes at a time. Any thread; the tables are made once.
 */
#include "store/journal_layout.h"

#include <pthread.h>

#define POLYNOMIAL 0x82f63b78u /* Castagnoli, bits reversed */

static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void tables_make(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 0xff];
}

uint32_t crc32c_table(uint32_t seed, const void *bytes, size_t n)
{
    pthread_once(&tables_once, tables_make);
    const uint8_t *p = bytes;
    uint32_t crc = ~seed;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t low =
            crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
              tables[4][low >> 24] ^ tables[3][p[4]] ^ tables[2][p[5]] ^ tables[1][p[6]] ^ tables[0][p[7]];
    }
    while (n-- > 0)
        crc = crc >> 8 ^ tables[0][(crc ^ *p++) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse(uint32_t seed, const uint8_t *p, size_t n)
{
    uint64_t crc = ~seed;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    uint32_t rest = (uint32_t)crc;
    if (n >= 4) {
        uint32_t word;
        memcpy(&word, p, 4);
        rest = __builtin_ia32_crc32si(rest, word);
        n -= 4;
        p += 4;
    }
    while (n-- > 0)
        rest = __builtin_ia32_crc32qi(rest, *p++);
    return ~rest;
}

uint32_t crc32c(uint32_t seed, const void *bytes, size_t n)
{
    if (LIKELY(__builtin_cpu_supports("sse4.2")))
        return crc32c_sse(seed, bytes, n);
    return crc32c_table(seed, bytes, n);
}
#else
uint32_t crc32c(uint32_t seed, const void *bytes, size_t n)
{
    return crc32c_table(seed, bytes, n);
}
#endif
