/*
 * The end of a JSON string, with all of it checked: the inner loop of every scan, as long prompts are nearly
 * nothing else. With AVX2 (asked at run time) 64 bytes at a time: each property of a byte is a bit of a word,
 * what an escape or a UTF-8 sequence demands of later bytes is shifted onto them, and the overflow is carried
 * into the next block; no branch per escape. Elsewhere plain runs of 16 bytes and the rest byte by byte; that
 * one also finds the words for an error. Pure.
 */
#include "llm/json_scan.h"

#include "base/num.h"
#include "http/scan.h"
#include "llm/json_block.h"

typedef int8_t signed_block __attribute__((vector_size(16)));

/* Length of the UTF-8 sequence at p (RFC 3629), 0 if it is none. */
static size_t sequence_length(const char *p, const char *end)
{
    const uint8_t *b = (const uint8_t *)p;
    size_t left = (size_t)(end - p), n = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
    if (b[0] < 0xc2 || b[0] > 0xf4 || left < n)
        return 0;
    uint8_t low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    if (b[1] < low || b[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* Length of the escape at p (a backslash), 0 if it is none. */
static size_t escape_length(const char *p, const char *end)
{
    if (end - p < 2 || !p[1])
        return 0;
    if (p[1] != 'u')
        return strchr("\"\\/bfnrt", p[1]) ? 2 : 0;
    for (int i = 2; i < 6; i++)
        if (p + i >= end || num_hex_digit(p[i]) < 0)
            return 0;
    return 6;
}

static const char *skip_plain(const char *p, const char *end)
{
    for (; end - p >= SCAN_BLOCK; p += SCAN_BLOCK) {
        scan_block b = scan_load(p);
        scan_block hits = (scan_block)((b == '"') | (b == '\\') | ((signed_block)b < 0x20));
        size_t at = scan_first(hits);
        if (at < SCAN_BLOCK)
            return p + at;
    }
    return p;
}

const char *json_string_end_plain(const char *p, const char *end, const char **why, const char **at)
{
    size_t step;
    for (; (p = skip_plain(p, end)) < end; p += step) {
        uint8_t c = (uint8_t)*p;
        *at = p;
        if (c == '"')
            return p;
        if (c < 0x20) {
            *why = "a control character stands in a string; it must be escaped";
            return NULL;
        }
        step = c == '\\' ? escape_length(p, end) : c < 0x80 ? 1 : sequence_length(p, end);
        if (!step) {
            *why = c == '\\' ? "an escape in a string is malformed" : "a string is not valid UTF-8";
            return NULL;
        }
    }
    *why = "a string is not closed";
    *at = end;
    return NULL;
}

#if HAVE_AVX2_BLOCKS
enum { CLASS_SIMPLE = 15, CLASS_HEX = 112 };

/* What the bytes behind the last block still owe; bit 0 is the next byte. */
struct carry {
    uint64_t escaped;                                /* follows a backslash */
    uint64_t hex;                                    /* must be hexadecimal digits */
    uint64_t tail;                                   /* must be continuation bytes */
    uint64_t after_e0, after_ed, after_f0, after_f4; /* have a narrower range */
};

/* Unsigned: byte >= limit. */
AVX2_INLINE uint64_t mask_from(struct block b, uint8_t limit)
{
    __m256i all = _mm256_set1_epi8((char)limit);
    return mask_of(_mm256_cmpeq_epi8(_mm256_max_epu8(b.low, all), b.low),
                   _mm256_cmpeq_epi8(_mm256_max_epu8(b.high, all), b.high), b.past);
}

/* One bit for each class of table rows that the low and the high half of a byte agree on. */
AVX2_INLINE __m256i classes_of(__m256i bytes)
{
    /* 1: " /   2: \   4: b f n   8: r t   16: 0-9   32: A-F   64: a-f */
    const __m256i by_low = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(16, 112, 13 | 112, 112, 8 | 112, 112, 4 | 112, 16, 16, 16, 0, 0, 2, 0, 4, 1));
    const __m256i by_high =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 1, 16, 32, 2, 4 | 64, 8, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
    return _mm256_and_si256(_mm256_shuffle_epi8(by_low, _mm256_and_si256(bytes, nibble)),
                            _mm256_shuffle_epi8(by_high, high));
}

/* Bits of bytes that are in none of the classes. */
AVX2_INLINE uint64_t mask_outside(struct block of_classes, char classes)
{
    const __m256i all = _mm256_set1_epi8(classes), zero = _mm256_setzero_si256();
    return mask_of(_mm256_cmpeq_epi8(_mm256_and_si256(of_classes.low, all), zero),
                   _mm256_cmpeq_epi8(_mm256_and_si256(of_classes.high, all), zero), of_classes.past);
}

/* Bits of bytes that break an escape. */
AVX2_INLINE uint64_t bad_escapes(struct block b, uint64_t escaped, uint64_t *hex_carry)
{
    struct block classes = {classes_of(b.low), classes_of(b.high), b.past};
    uint64_t bad = escaped & mask_outside(classes, CLASS_SIMPLE);
    if (LIKELY(!(bad | *hex_carry)))
        return 0;
    uint64_t u = bad & mask_equal(b, 'u');
    uint64_t hex = u << 1 | u << 2 | u << 3 | u << 4 | *hex_carry;
    *hex_carry = u >> 63 | u >> 62 | u >> 61 | u >> 60;
    return (bad & ~u) | (hex & mask_outside(classes, CLASS_HEX));
}

/* Bytes after E0, ED, F0 and F4, whose range is narrower than 80 to BF. Rare but for emoji and Korean. */
AVX2_INLINE uint64_t bad_seconds(struct block b, struct carry *carry)
{
    uint64_t e0 = mask_equal(b, (char)0xe0), ed = mask_equal(b, (char)0xed);
    uint64_t f0 = mask_equal(b, (char)0xf0), f4 = mask_equal(b, (char)0xf4);
    if (!(e0 | ed | f0 | f4 | carry->after_e0 | carry->after_ed | carry->after_f0 | carry->after_f4))
        return 0;
    uint64_t from_90 = mask_from(b, 0x90), from_a0 = mask_from(b, 0xa0);
    uint64_t bad = ((e0 << 1 | carry->after_e0) & ~from_a0) | ((ed << 1 | carry->after_ed) & from_a0) |
                   ((f0 << 1 | carry->after_f0) & ~from_90) | ((f4 << 1 | carry->after_f4) & from_90);
    carry->after_e0 = e0 >> 63;
    carry->after_ed = ed >> 63;
    carry->after_f0 = f0 >> 63;
    carry->after_f4 = f4 >> 63;
    return bad;
}

/* Bits of bytes that break UTF-8. */
AVX2_INLINE uint64_t bad_utf8(struct block b, uint64_t non_ascii, struct carry *carry)
{
    uint64_t lead = mask_from(b, 0xc0), lead3 = mask_from(b, 0xe0), lead4 = mask_from(b, 0xf0);
    uint64_t never = (lead & ~mask_from(b, 0xc2)) | mask_from(b, 0xf5); /* C0, C1, F5 to FF */
    uint64_t owed = lead << 1 | lead3 << 2 | lead4 << 3 | carry->tail;
    carry->tail = lead >> 63 | lead3 >> 62 | lead4 >> 61;
    return never | (owed ^ (non_ascii & ~lead)) | bad_seconds(b, carry);
}

/* One block: the bit of the closing quote, BLOCK when there is none, or -1 when something is wrong. */
AVX2_INLINE int block_end(struct block b, struct carry *carry)
{
    /* Signed, so that bytes from 0x80 on are below as well. */
    const __m256i space = _mm256_set1_epi8(0x20);
    uint64_t unusual = mask_of(_mm256_cmpgt_epi8(space, b.low), _mm256_cmpgt_epi8(space, b.high), b.past);
    uint64_t quotes = mask_equal(b, '"'), slashes = mask_equal(b, '\\'), bad = 0, escaped = 0;
    if (slashes | carry->escaped | carry->hex) {
        escaped = mask_escaped(slashes, &carry->escaped);
        bad = bad_escapes(b, escaped, &carry->hex);
    }
    uint64_t end = quotes & ~escaped, inside = end ^ (end - 1); /* up to the quote; all without one */
    if (UNLIKELY((unusual & inside) | carry->tail)) {
        uint64_t non_ascii = mask_of(b.low, b.high, b.past);
        bad |= unusual & ~non_ascii;
        if (non_ascii | carry->tail) /* a narrower range always comes with a tail */
            bad |= bad_utf8(b, non_ascii, carry);
    }
    if (UNLIKELY(bad & inside))
        return -1;
    return end ? (int)__builtin_ctzll(end) : BLOCK;
}

/* Bytes that want a closer look: a quote that does not follow a backslash; what follows a backslash but is
   none of the usual escapes (so a backslash after a backslash does); controls and all that is not ASCII. */
AVX2_INLINE __m256i remarkable(const char *p)
{
    const __m256i usual =
        _mm256_broadcastsi128_si256(/* by the low half of the byte: " t f n / */
                                    _mm_setr_epi8(1, 0, '"', 0, 't', 0, 'f', 0, 0, 0, 0, 0, 0, 0, 'n', '/'));
    __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i before = _mm256_loadu_si256((const __m256i *)(const void *)(p - 1));
    __m256i after_slash = _mm256_cmpeq_epi8(before, _mm256_set1_epi8('\\'));
    __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
    __m256i fine = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(usual, bytes), bytes);
    __m256i unusual = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes);
    return _mm256_or_si256(_mm256_or_si256(_mm256_andnot_si256(after_slash, quote), unusual),
                           _mm256_andnot_si256(fine, after_slash));
}

/* Over blocks without anything remarkable. The byte before p is a backslash only if it escapes the one at p;
   the same holds at the end. */
AVX2_INLINE const char *skip_blocks(const char *p, const char *end)
{
    while (end - p >= BLOCK &&
           !_mm256_movemask_epi8(_mm256_or_si256(remarkable(p), remarkable(p + BLOCK / 2))))
        p += BLOCK;
    return p;
}

/* Where the next block may begin so that it crosses no cache line: a little before p, in bytes that were
   checked and owe nothing, if the one before it neither begins an escape nor belongs to a UTF-8 sequence. */
static inline const char *step_back(const char *p)
{
    const char *line = p - ((uintptr_t)p & (BLOCK - 1));
    return line[-1] > 0 && line[-1] != '\\' ? line : p;
}

/* NULL: something is wrong, or there is no end. There is a byte before p, and at least a block between
   `start` and `end`, so that what is less than a block at the end can be read together with bytes before it.
 */
AVX2 static const char *string_end_avx2(const char *start, const char *p, const char *end)
{
    struct carry carry = {0};
    REQUIRE(p > start && end - start >= BLOCK);
    while (end - p >= BLOCK) {
        int at = block_end(block_load(p, 0), &carry);
        if (at != BLOCK)
            return at < 0 ? NULL : p + at;
        p += BLOCK;
        if (!(carry.hex | carry.tail) && carry.escaped == (p[-1] == '\\')) {
            p = skip_blocks(step_back(p), end);
            carry.escaped = p[-1] == '\\';
        }
    }
    if (p == end)
        return NULL;
    int at = block_end(block_load(end - BLOCK, (unsigned)(BLOCK - (end - p))), &carry);
    return at < 0 || at == BLOCK ? NULL : p + at;
}
#endif

const char *json_string_end(const char *start, const char *p, const char *end, const char **why,
                            const char **at)
{
#if HAVE_AVX2_BLOCKS
    if (LIKELY(p > start && end - start >= BLOCK) && can_blocks()) {
        const char *found = string_end_avx2(start, p, end);
        if (LIKELY(found))
            return found;
    }
#endif
    return json_string_end_plain(p, end, why, at);
}
