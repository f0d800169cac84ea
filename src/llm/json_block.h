/*
 * Blocks of 64 bytes of JSON with AVX2: each property of a byte is a bit of a word. Inside of json_string.c,
 * json_skip.c and events.c, which ask at run time whether the processor can. Pure.
 */
#ifndef HESTIA_LLM_JSON_BLOCK_H
#define HESTIA_LLM_JSON_BLOCK_H

#include "base/base.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define HAVE_AVX2_BLOCKS 1
#define AVX2 __attribute__((target("avx2,bmi,popcnt")))
#define AVX2_INLINE static inline __attribute__((target("avx2,bmi,popcnt"), always_inline))

enum { BLOCK = 64 };

static inline bool can_blocks(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("popcnt");
}

struct block {
    __m256i low, high;
    unsigned past; /* bytes at the front that were read already: only in the last block */
};

AVX2_INLINE struct block block_load(const char *p, unsigned past)
{
    return (struct block){_mm256_loadu_si256((const __m256i *)(const void *)p),
                          _mm256_loadu_si256((const __m256i *)(const void *)(p + BLOCK / 2)), past};
}

AVX2_INLINE uint64_t mask_of(__m256i low, __m256i high, unsigned past)
{
    return ((uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32) >>
           past;
}

AVX2_INLINE uint64_t mask_equal(struct block b, char c)
{
    __m256i all = _mm256_set1_epi8(c);
    return mask_of(_mm256_cmpeq_epi8(b.low, all), _mm256_cmpeq_epi8(b.high, all), b.past);
}

/* The bytes that end an escape of one character: those after an odd run of backslashes. A run that begins on
   an even bit is odd when the bit after it is odd, and the other way round; adding a run's first bit to the
   run finds that bit. */
AVX2_INLINE uint64_t mask_escaped(uint64_t slashes, uint64_t *carry)
{
    const uint64_t even = 0x5555555555555555;
    uint64_t first = *carry, live = slashes & ~first;
    uint64_t starts = live & ~(live << 1);
    uint64_t after_even = live + (starts & even), after_odd;
    bool overflow = __builtin_add_overflow(live, starts & ~even, &after_odd);
    *carry = overflow;
    return (after_even & ~live & ~even) | (after_odd & ~live & even) | (first & ~slashes);
}
#endif

#endif
