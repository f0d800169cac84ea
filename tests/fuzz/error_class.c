/*
 * What an upstream's error is about. The input: the status, a line end, the body. The status alone bounds
 * what a body can make of it.
 */
#include "fuzz.h"
#include "base/num.h"
#include "llm/error_class.h"

#define IS(class) (1u << (class))

static unsigned possible(int status)
{
    unsigned about_keys = IS(CLASS_AUTH) | IS(CLASS_POLICY) | IS(CLASS_QUOTA);
    if (status == 0 || (status >= 502 && status <= 504) || status == 529)
        return IS(CLASS_UNREACHABLE);
    if (status == 401 || status == 403)
        return about_keys;
    if (status == 402)
        return IS(CLASS_QUOTA);
    if (status == 404)
        return IS(CLASS_UNSUPPORTED);
    if (status == 429)
        return IS(CLASS_RATE_LIMITED) | IS(CLASS_QUOTA);
    if (status == 500)
        return IS(CLASS_OTHER) | IS(CLASS_CONTEXT_LENGTH) | IS(CLASS_POLICY);
    if (status >= 200 && status <= 299)
        return ~0u;
    return ~IS(CLASS_NONE);
}

static enum error_class class_of_copy(int status, struct str body, char (*change)(char))
{
    char *copy = exact_copy(body);
    for (size_t i = 0; i < body.n && change; i++)
        copy[i] = change(copy[i]);
    enum error_class class = error_class_of(status, str_make(copy, body.n));
    mem_free(copy);
    return class;
}

static char char_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str body = input_str(bytes, n), line = str_cut(&body, '\n');
    uint64_t number;
    int status = num_parse_u64(line, &number) && number < 1000 ? (int)number : 0;
    enum error_class class = error_class_of(status, body);
    REQUIRE(possible(status) & IS(class));
    REQUIRE(error_class_name(class)[0]);
    REQUIRE(error_class_retryable(class, true) || class == CLASS_NONE || class == CLASS_CLIENT);
    REQUIRE(!error_class_retryable(class, false) || error_class_retryable(class, true));
    REQUIRE(class_of_copy(status, body, NULL) == class);
    struct str text = body;
    while (text.n && strchr(" \t\r\n", text.p[0]))
        text = str_from(text, 1);
    if (text.n && text.p[0] != '{' && text.p[0] != '[') { /* keys of JSON keep their case */
        REQUIRE(class_of_copy(status, body, char_upper) == class);
        REQUIRE(class_of_copy(status, body, char_lower) == class);
    }
    for (struct cuts c = cuts_of(body); cuts_next(&c);) /* a body that was not read to its end */
        REQUIRE(possible(status) & IS(class_of_copy(status, str_first(body, c.at), NULL)));
    return 0;
}
