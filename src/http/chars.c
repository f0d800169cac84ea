/* The character table behind chars.h. Pure. */
#include "http/chars.h"

enum {
    ANY = CHAR_VALUE | CHAR_QUERY, /* printable ASCII but SP and '#' */
    PATH = ANY | CHAR_PATH,
    /* sub-delims: '!' and the like are tokens too, '(' and the like are not */
    SUB = PATH | CHAR_HOST,
    SUB_TOKEN = SUB | CHAR_TOKEN,
    MARK = SUB_TOKEN | CHAR_UNRESERVED, /* - . _ ~ */
    LETTER = MARK | CHAR_BASE64,
    NUMBER = LETTER | CHAR_DIGIT,
};

#define ROW8(x) x, x, x, x, x, x, x, x
#define ROW26(x) ROW8(x), ROW8(x), ROW8(x), x, x

const uint8_t char_classes[256] = {
    ['\t'] = CHAR_VALUE,
    [' '] = CHAR_VALUE,
    ['0'] = ROW8(NUMBER),
    NUMBER,
    NUMBER,
    ['A'] = ROW26(LETTER),
    ['a'] = ROW26(LETTER),
    ['-'] = MARK,
    ['.'] = MARK,
    ['_'] = MARK,
    ['~'] = MARK,
    ['!'] = SUB_TOKEN,
    ['$'] = SUB_TOKEN,
    ['&'] = SUB_TOKEN,
    ['\''] = SUB_TOKEN,
    ['*'] = SUB_TOKEN,
    ['+'] = SUB_TOKEN | CHAR_BASE64,
    ['('] = SUB,
    [')'] = SUB,
    [';'] = SUB,
    ['='] = SUB,
    /* In a host a comma would be a list of two hosts that somebody joined. */
    [','] = PATH,
    [':'] = PATH,
    ['@'] = PATH,
    ['['] = PATH,
    [']'] = PATH,
    ['/'] = PATH | CHAR_BASE64,
    ['%'] = PATH | CHAR_TOKEN,
    ['^'] = ANY | CHAR_TOKEN,
    ['`'] = ANY | CHAR_TOKEN,
    ['|'] = ANY | CHAR_TOKEN,
    ['"'] = ANY,
    ['<'] = ANY,
    ['>'] = ANY,
    ['?'] = ANY,
    ['\\'] = ANY,
    ['{'] = ANY,
    ['}'] = ANY,
    ['#'] = CHAR_VALUE | CHAR_TOKEN,
    [0x80] = ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
    ROW8(CHAR_VALUE),
};

size_t char_run(struct str s, unsigned classes)
{
    size_t i = 0;
    while (i < s.n && char_is(s.p[i], classes))
        i++;
    return i;
}

bool char_all(struct str s, unsigned classes)
{
    return char_run(s, classes) == s.n;
}
