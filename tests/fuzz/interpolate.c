/*
 * ${NAME} and ${NAME:-default} in values, and command lines that are split into words: what is escaped or
 * quoted comes out as it was.
 */
#include "fuzz.h"
#include "config/interpolate.h"
#include "config/words.h"

#define SECRET "Zq7-secret"
static const char *const environment[] = {"A=x y",          "EMPTY=",  "LOOP=${LOOP}",
                                          "MY_KEY=" SECRET, "BRACE=}", NULL};
static const struct variables variables = {environment, "/opt/hestia"};

static void check_expanded(struct str text, bool keep_port, bool mask)
{
    CLEANUP(buf_free) struct buf out = BUF(EXPAND_BYTES_MAX + 1024), again = BUF(EXPAND_BYTES_MAX + 1024);
    struct expansion e = {.variables = &variables, .keep_port = keep_port, .mask_secrets = mask}, f = e;
    enum expand_result result = text_expand(&e, text, &out);
    REQUIRE(text_expand(&f, text, &again) == result && str_eq(buf_str(&out), buf_str(&again)));
    REQUIRE((result == EXPAND_UNSET) == (e.missing.n > 0));
    if (result == EXPAND_UNSET)
        REQUIRE(lies_in(e.missing, text) && !variables_get(&variables, e.missing).n);
    if (result == EXPAND_OK)
        REQUIRE(out.n <= EXPAND_BYTES_MAX);
    if (str_find_str(text, STR("${")) == text.n)
        REQUIRE(result != EXPAND_UNSET && result != EXPAND_SYNTAX && str_eq(buf_str(&out), text));
    if (mask && str_find_str(text, STR("Zq7")) == text.n)
        REQUIRE(str_find_str(buf_str(&out), STR("Zq7")) == out.n);
}

static void check_escaped(struct str text)
{
    CLEANUP(buf_free) struct buf escaped = BUF(0), out = BUF(EXPAND_BYTES_MAX + 1024);
    struct expansion e = {.variables = &variables};
    for (size_t i = 0; i < text.n; i++) {
        if (str_starts(str_from(text, i), STR("${")))
            buf_add_char(&escaped, '$');
        buf_add_char(&escaped, text.p[i]);
    }
    enum expand_result result = text_expand(&e, buf_str(&escaped), &out);
    REQUIRE(result == EXPAND_TOO_LONG || (result == EXPAND_OK && str_eq(buf_str(&out), text)));
}

static void check_reference(struct str text)
{
    size_t length = text_reference_length(text);
    if (!str_starts(text, STR("${")) || !length)
        return;
    int depth = 0;
    REQUIRE(length <= text.n && text.p[length - 1] == '}');
    for (size_t i = 0; i < length; i++) {
        depth += text.p[i] == '{';
        depth -= text.p[i] == '}';
        REQUIRE(depth > 0 || i == 0 || i == length - 1);
    }
    REQUIRE(depth == 0);
}

/* 'a'\''b': every byte as it is. */
static void quote(struct buf *out, struct str word)
{
    buf_add_char(out, '\'');
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] == '\'')
            buf_add_c(out, "'\\''");
        else
            buf_add_char(out, word.p[i]);
    }
    buf_add_char(out, '\'');
}

static void check_words(struct str line)
{
    CLEANUP(arena_free) struct arena arena = {0};
    CLEANUP(buf_free) struct buf quoted = BUF(0);
    struct error error = {0};
    struct strs words, again;
    enum err err = words_split(&arena, line, &words, &error);
    if (err != OK) {
        REQUIRE(err == ERR_SYNTAX);
        require_sentence(err, &error);
        return;
    }
    for (size_t i = 0; i < words.count; i++) {
        buf_add_c(&quoted, i ? " " : "");
        quote(&quoted, words.items[i]);
    }
    REQUIRE(words_split(&arena, buf_str(&quoted), &again, &error) == OK && again.count == words.count);
    for (size_t i = 0; i < words.count; i++)
        REQUIRE(str_eq(words.items[i], again.items[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str text = input_str(bytes, n);
    for (int i = 0; i < 4; i++)
        check_expanded(text, i & 1, i & 2);
    check_escaped(text);
    check_reference(text);
    check_words(text);
    return 0;
}
