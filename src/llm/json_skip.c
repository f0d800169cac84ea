/*
 * Nested JSON without a look at what it says: only quotes, backslashes and brackets count. Pure.
 */
#include "llm/json_skip.h"

#include "llm/json_block.h"

#if HAVE_AVX2_BLOCKS
enum { DEPTH_LIMIT = INT32_MAX }; /* beyond, the caller may count on alone */

/* Bytes in strings, the opening quotes with them: each bit is the parity of the quotes up to it. */
AVX2_INLINE uint64_t mask_strings(uint64_t quotes, uint64_t inside)
{
    for (int shift = 1; shift < BLOCK; shift *= 2)
        quotes ^= quotes << shift;
    return quotes ^ inside;
}

/* Through the brackets of one block: the bit of the one that leads down to `floor`. There is one. */
AVX2_INLINE int bit_of_floor(uint64_t opens, uint64_t closes, uint32_t depth, uint32_t floor)
{
    for (uint64_t left = opens | closes; left; left &= left - 1) {
        depth += left & -left & opens ? 1 : UINT32_MAX;
        if (depth == floor)
            return __builtin_ctzll(left);
    }
    return -1;
}

AVX2 static const char *skip_avx2(const char *p, const char *end, uint32_t floor, struct json_nest *nest)
{
    const __m256i lower = _mm256_set1_epi8(0x20); /* '[' and '{', ']' and '}' differ by that bit */
    uint64_t inside = nest->in_string ? UINT64_MAX : 0, escape = nest->escaped;
    uint32_t depth = nest->depth;
    for (; end - p >= BLOCK && depth < DEPTH_LIMIT; p += BLOCK) {
        struct block b = block_load(p, 0);
        uint64_t quotes = mask_equal(b, '"'), slashes = mask_equal(b, '\\'), strings = inside, next = escape;
        if (inside && !(quotes | slashes | escape))
            continue;
        struct block folded = {_mm256_or_si256(b.low, lower), _mm256_or_si256(b.high, lower), 0};
        uint64_t opens = mask_equal(folded, '{'), closes = mask_equal(folded, '}');
        if (slashes | escape)
            quotes &= ~mask_escaped(slashes, &next);
        if (quotes)
            strings = mask_strings(quotes, inside);
        if (UNLIKELY(slashes & ~strings))
            break;
        opens &= ~strings;
        closes &= ~strings;
        unsigned down = (unsigned)__builtin_popcountll(closes);
        if (down >= depth - floor) {
            int at = bit_of_floor(opens, closes, depth, floor);
            if (at >= 0) {
                *nest = (struct json_nest){.depth = floor};
                return p + at + 1;
            }
        }
        depth += (unsigned)__builtin_popcountll(opens) - down;
        inside = (uint64_t)((int64_t)strings >> 63);
        escape = next;
    }
    *nest = (struct json_nest){depth, inside != 0, escape != 0};
    return p;
}
#endif

const char *json_skip_nested(const char *p, const char *end, uint32_t floor, struct json_nest *nest)
{
#if HAVE_AVX2_BLOCKS
    if (end - p >= BLOCK && can_blocks())
        return skip_avx2(p, end, floor, nest);
#endif
    return p;
}
