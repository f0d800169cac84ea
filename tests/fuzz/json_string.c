/*
 * Strings in JSON: the reader of whole blocks and the plain one find the same end, or the same fault at the
 * same place; what is decoded is what jansson decodes. The input is what follows the opening quote.
 */
#include "fuzz.h"
#include "llm/json_scan.h"

#include <jansson.h>

static void check_decoded(struct str text, struct str raw)
{
    CLEANUP(arena_free) struct arena arena = {0};
    json_error_t why;
    bool clean = true, clean_again = true;
    char *decoded = exact_copy(raw);
    size_t n = json_text_decode(raw, decoded, &clean);
    struct str again = json_text_str(&arena, raw, &clean_again);
    REQUIRE(n <= raw.n && clean == clean_again && str_eq(again, str_make(decoded, n)));
    json_t *value = json_loadb(text.p, raw.n + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (clean) {
        REQUIRE(json_is_string(value));
        REQUIRE(str_eq(again, str_make(json_string_value(value), json_string_length(value))));
    } else {
        REQUIRE(!value && str_find_str(again, STR("\xef\xbf\xbd")) < again.n);
    }
    json_decref(value);
    mem_free(decoded);
}

/* With `lead` bytes in front, so that blocks begin everywhere. */
static bool check_end(struct str rest, size_t lead)
{
    CLEANUP(buf_free) struct buf text = BUF(0);
    for (size_t i = 0; i < lead; i++)
        buf_add_char(&text, ' ');
    buf_add_char(&text, '"');
    buf_add_str(&text, rest);
    char *copy = exact_copy(buf_str(&text));
    const char *start = copy, *p = copy + lead + 1, *end = copy + text.n;
    const char *why = NULL, *why_plain = NULL, *at = NULL, *at_plain = NULL;
    const char *quote = json_string_end(start, p, end, &why, &at);
    const char *plain = json_string_end_plain(p, end, &why_plain, &at_plain);
    REQUIRE(quote == plain);
    if (quote)
        REQUIRE(quote >= p && quote < end && *quote == '"');
    else
        REQUIRE(why && why_plain && strcmp(why, why_plain) == 0 && at == at_plain);
    if (quote && lead == 0)
        check_decoded(str_make(copy, text.n), str_make(p, (size_t)(quote - p)));
    mem_free(copy);
    return quote != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str rest = input_str(bytes, n);
    bool closed = check_end(rest, 0);
    for (size_t lead = 1; lead <= 65; lead += 7)
        REQUIRE(check_end(rest, lead) == closed);
    return 0;
}
