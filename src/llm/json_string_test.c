/* json_string.c: both ways agree, wherever in a block the byte in question falls. */
#include "llm/test.h"
#include "llm/json_scan.h"

enum { PADDING_MAX = 140, TEXT_MAX = 512 };

/* With that many bytes of text before the string. */
static long end_behind(struct str s, size_t before, const char *name)
{
    char *start = mem_alloc(before + s.n + 1), *copy = mem_resize(start, MAX(before + s.n, (size_t)1));
    assert_non_null(copy);
    start = copy;
    memset(start, '"', before);
    memcpy(copy = start + before, s.p, s.n);
    const char *why = NULL, *at = NULL;
    const char *fast = json_string_end(start, copy, copy + s.n, &why, &at);
    long got = fast ? (long)(fast - copy) : -1;
    assert_true(fast || (why && at >= copy && at <= copy + s.n));
    const char *plain = json_string_end_plain(copy, copy + s.n, &why, &at);
    CHECK_INT(plain ? (long)(plain - copy) : -1, got, name);
    mem_free(start);
    return got;
}

/* Index of the closing quote, or -1. All ways must agree, also where the string lies in the text. */
static long end_of(struct str s, const char *name)
{
    long got = end_behind(s, 0, name);
    CHECK_INT(end_behind(s, 1, name), got, name);
    CHECK_INT(end_behind(s, 64, name), got, name);
    return got;
}

static const struct {
    const char *text;
    bool good;
} pieces[] = {
    {"", true},
    {"a", true},
    {"\\n", true},
    {"\\\"", true},
    {"\\\\", true},
    {"\\/\\b\\f\\n\\r\\t", true},
    {"\\\\\\\"", true},
    {"\\\\\\\\\\\\\\\\\\\\n", true},
    {"\\u0041", true},
    {"\\uD800", true}, /* the grammar has lone surrogates */
    {"\\uAbCd\\u09aF", true},
    {"\\u00e9\\u4f60\\ud83d\\ude00", true},
    {"\x7f", true},
    {"\xc2\x80", true},
    {"\xdf\xbf\xe0\xa0\x80", true},
    {"\xec\xbf\xbf\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", true},
    {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", true},
    {"\xe4\xbd\xa0\xe5\xa5\xbd\xf0\x9f\x98\x80", true},
    {"\xef\xbb\xbf", true}, /* inside of a string it is a character */
    {"\x01", false},
    {"\n", false},
    {"\t", false},
    {"\x1f", false},
    {"\\a", false},
    {"\\x41", false},
    {"\\N", false},
    {"\\U0041", false},
    {"\\'", false},
    {"\\ ", false},
    {"\\0", false},
    {"\\\x80", false},
    {"\\\xc2\xa2", false},
    {"\\u", false},
    {"\\u004", false},
    {"\\u004g", false},
    {"\\u004G", false},
    {"\\u00:1", false},
    {"\\u00@1", false},
    {"\\u00`1", false},
    {"\\u00/1", false},
    {"\\u-041", false},
    {"\\u\\u0041", false},
    {"\x80", false},
    {"\xbf", false},
    {"\xc0\x80", false},
    {"\xc1\xbf", false},
    {"\xc2", false},
    {"\xc2\xc2\x80", false},
    {"\xc2\x80\x80", false},
    {"\xe0\x9f\xbf", false},
    {"\xe0\xa0", false},
    {"\xe4\xbd", false},
    {"\xe4\xbd\xa0\xa0", false},
    {"\xed\xa0\x80", false},
    {"\xed\xbf\xbf", false},
    {"\xf0\x8f\xbf\xbf", false},
    {"\xf0\x90\x80", false},
    {"\xf0\x9f\x98\x80\x80", false},
    {"\xf4\x90\x80\x80", false},
    {"\xf5\x80\x80\x80", false},
    {"\xff", false},
    {"\xfe", false},
};

static const char *const padding[] = {"x", "\\\\", "\xc3\xa9"};

static void test_pieces(void **state)
{
    for (size_t i = 0; i < COUNT_OF(pieces); i++)
        for (size_t k = 0; k < COUNT_OF(padding); k++)
            for (int before = 0; before < PADDING_MAX; before++) {
                char text[TEXT_MAX] = {0};
                size_t n = 0, one = strlen(padding[k]), piece = strlen(pieces[i].text);
                for (int j = 0; j < before; j++, n += one)
                    memcpy(text + n, padding[k], one);
                memcpy(text + n, pieces[i].text, piece);
                n += piece;
                long want = pieces[i].good ? (long)n : -1;
                memcpy(text + n, "\",\"role\":\"user\"}", 16); /* what follows does not matter */
                CHECK_INT(end_of(str_make(text, n + 16), pieces[i].text), want, pieces[i].text);
                memset(text + n + 1, 0xff, 100);
                CHECK_INT(end_of(str_make(text, n + 101), pieces[i].text), want, pieces[i].text);
                CHECK_INT(end_of(str_make(text, n + 1), pieces[i].text), want, pieces[i].text);
                CHECK_INT(end_of(str_make(text, n), pieces[i].text), -1, pieces[i].text);
            }
}

/* Every pair of bytes, and every third byte behind the leads, across the edge of a block. */
static void test_bytes(void **state)
{
    char text[72];
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            memset(text, 'x', sizeof text);
            text[63] = (char)a;
            text[64] = (char)b;
            text[70] = '"';
            end_of(str_make(text, sizeof text), "pair");
            memmove(text, text + 62, 10);
            end_of(str_make(text, 10), "pair in a short text");
        }
    for (int a = 0xe0; a < 256; a++)
        for (int b = 0x7e; b < 256; b++)
            for (int c = 0x7e; c < 256; c += 13) {
                memset(text, 'x', sizeof text);
                text[62] = (char)a;
                text[63] = (char)b;
                text[64] = (char)c;
                text[65] = (char)(a < 0xf0 ? 'x' : 0x80);
                text[70] = '"';
                end_of(str_make(text, sizeof text), "three");
            }
}

static void test_words(void **state)
{
    static const struct {
        const char *text, *why;
        size_t at;
    } errors[] = {
        {"abc", "a string is not closed", 3},
        {"", "a string is not closed", 0},
        {"ab\\", "an escape in a string is malformed", 2},
        {"ab\\q\"", "an escape in a string is malformed", 2},
        {"ab\xff\"", "a string is not valid UTF-8", 2},
        {"ab\n\"", "a control character stands in a string; it must be escaped", 2},
    };
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        struct str s = str_from_c(errors[i].text);
        const char *why = NULL, *at = NULL;
        assert_null(json_string_end(s.p, s.p, s.p + s.n, &why, &at));
        CHECK_STR(str_from_c(why), errors[i].why, errors[i].text);
        CHECK_INT(at - s.p, errors[i].at, errors[i].text);
    }
}

static void test_decode(void **state)
{
    static const struct {
        const char *raw, *want;
        bool clean;
    } rows[] = {
        {"plain", "plain", true},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", true},
        {"mod\\u0065l", "model", true},
        {"\\u00e9\\u4F60", "\xc3\xa9\xe4\xbd\xa0", true},
        {"a\\ud83d\\ude00b",
         "a\xf0\x9f\x98\x80"
         "b",
         true},
        {"\\udbff\\udfff", "\xf4\x8f\xbf\xbf", true},
        {"\\ud83d", "\xef\xbf\xbd", false},
        {"\\ude00", "\xef\xbf\xbd", false},
        {"\\ud83d\\u0041",
         "\xef\xbf\xbd"
         "A",
         false},
        {"\\ud83d\\ud83d\\ude00", "\xef\xbf\xbd\xf0\x9f\x98\x80", false},
        {"\\ud83dxx", "\xef\xbf\xbdxx", false},
        {"\\ud83d\\\\u", "\xef\xbf\xbd\\u", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        char *copy = exact_copy(str_from_c(rows[i].raw));
        bool clean = true;
        struct str raw = str_make(copy, strlen(rows[i].raw));
        CHECK_STR(json_text_str(&arena, raw, &clean), rows[i].want, rows[i].raw);
        CHECK_INT(clean, rows[i].clean, rows[i].raw);
        mem_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
