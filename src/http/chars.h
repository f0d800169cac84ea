/*
 * Which bytes may stand where in HTTP: one table of 256 rows. Used by the parsers of this folder only. Pure.
 */
#ifndef HESTIA_HTTP_CHARS_H
#define HESTIA_HTTP_CHARS_H

#include "base/str.h"

enum {
    CHAR_TOKEN = 1,      /* RFC 9110 5.6.2: method, field name */
    CHAR_VALUE = 2,      /* field value: all but controls and DEL; TAB and 0x80-0xFF may stand there */
    CHAR_UNRESERVED = 4, /* RFC 3986 2.3: the same thing with or without percent encoding */
    CHAR_PATH = 8,       /* http.md 3.4, '%' and '/' included, '?' not */
    CHAR_QUERY = 16,     /* all but controls, SP, '#', DEL and 0x80-0xFF (details.md section 11) */
    CHAR_HOST = 32,      /* reg-name without '%' and ',' */
    CHAR_DIGIT = 64,     /* 0-9 */
    CHAR_BASE64 = 128    /* without '=' */
};

extern const uint8_t char_classes[256];

static inline bool char_is(char c, unsigned classes)
{
    return char_classes[(uint8_t)c] & classes;
}

/* Length of the run of such bytes at the start of s. */
size_t char_run(struct str s, unsigned classes);
/* Every byte is in the class. True for the empty str. */
bool char_all(struct str s, unsigned classes);

#endif
