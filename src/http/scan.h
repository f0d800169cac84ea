/*
 * The searches that a message head is made of, sixteen bytes at a time: used by head.c and llm/. Pure.
 * Vector extensions of gcc and clang, so SSE2 or NEON without a line of either.
 */
#ifndef HESTIA_HTTP_SCAN_H
#define HESTIA_HTTP_SCAN_H

#include "http/chars.h"

typedef uint8_t scan_block __attribute__((vector_size(16)));
typedef uint64_t scan_words __attribute__((vector_size(16)));

enum { SCAN_BLOCK = sizeof(scan_block) };

static inline scan_block scan_load(const char *p)
{
    scan_block block;
    memcpy(&block, p, sizeof block);
    return block;
}

/* Index of the first byte of `hits` (each 0 or 0xff) that is set, or SCAN_BLOCK. */
static inline size_t scan_first(scan_block hits)
{
    scan_words words = (scan_words)hits;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (words[0])
        return (size_t)__builtin_ctzll(words[0]) / 8;
    return words[1] ? 8 + (size_t)__builtin_ctzll(words[1]) / 8 : SCAN_BLOCK;
#else
    if (words[0])
        return (size_t)__builtin_clzll(words[0]) / 8;
    return words[1] ? 8 + (size_t)__builtin_clzll(words[1]) / 8 : SCAN_BLOCK;
#endif
}

/* Each returns the first byte of [p, end) that is no part of the run, or end. */

static inline const char *scan_value(const char *p, const char *end)
{
    for (; end - p >= SCAN_BLOCK; p += SCAN_BLOCK) {
        scan_block b = scan_load(p);
        size_t at = scan_first((scan_block)(((b < 0x20) & (b != '\t')) | (b == 0x7f)));
        if (at < SCAN_BLOCK)
            return p + at;
    }
    while (p < end && char_is(*p, CHAR_VALUE))
        p++;
    return p;
}

/* Visible ASCII: of a request target. */
static inline const char *scan_visible(const char *p, const char *end)
{
    for (; end - p >= SCAN_BLOCK; p += SCAN_BLOCK) {
        scan_block b = scan_load(p);
        size_t at = scan_first((scan_block)((b <= 0x20) | (b >= 0x7f)));
        if (at < SCAN_BLOCK)
            return p + at;
    }
    while (p<end && * p> 0x20 && *p < 0x7f)
        p++;
    return p;
}

/* Visible ASCII other than ':': of a field name, which may still have bytes that are none of a token. */
static inline const char *scan_name(const char *p, const char *end)
{
    for (; end - p >= SCAN_BLOCK; p += SCAN_BLOCK) {
        scan_block b = scan_load(p);
        size_t at = scan_first((scan_block)((b <= 0x20) | (b >= 0x7f) | (b == ':')));
        if (at < SCAN_BLOCK)
            return p + at;
    }
    while (p<end && * p> 0x20 && *p < 0x7f && *p != ':')
        p++;
    return p;
}

/* All but CR and LF. */
static inline const char *scan_line(const char *p, const char *end)
{
    for (; end - p >= SCAN_BLOCK; p += SCAN_BLOCK) {
        scan_block b = scan_load(p);
        size_t at = scan_first((scan_block)((b == '\r') | (b == '\n')));
        if (at < SCAN_BLOCK)
            return p + at;
    }
    while (p < end && *p != '\r' && *p != '\n')
        p++;
    return p;
}

#endif
