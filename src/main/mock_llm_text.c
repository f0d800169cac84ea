/* What the mock's answers are made of, and reading what it was asked. Pure; called by the handlers. */
#include "main/mock_llm.h"

#include "loop/crypto.h"

#include <math.h>

enum { JSON_DEPTH_MAX = 64 };

/* ---- words ----------------------------------------------------------------------------------------------
 */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

uint64_t mock_words(struct str text)
{
    uint64_t words = 0;
    bool inside = false;
    for (size_t i = 0; i < text.n; i++) {
        bool letter = !is_space(text.p[i]);
        words += letter && !inside;
        inside = letter;
    }
    return words;
}

uint64_t mock_words_json(const json_t *value)
{
    uint64_t words = 0;
    size_t i;
    const json_t *item;
    if (json_is_string(value))
        return mock_words(str_make(json_string_value(value), json_string_length(value)));
    if (json_is_integer(value))
        return 1;
    json_array_foreach(value, i, item) words += mock_words_json(item);
    if (json_is_object(value))
        words = mock_words_json(json_object_get(value, "content")) +
                mock_words_json(json_object_get(value, "text"));
    return words;
}

void mock_token(struct buf *out, uint64_t i)
{
    static const char *const words[] = {"This",   "answer", "comes", "from",      "a",   "mock",
                                        "model,", "so",     "it",    "says",      "the", "same",
                                        "words",  "to",     "all",   "questions."};
    if (i)
        buf_add_char(out, ' ');
    buf_add_c(out, words[i % COUNT_OF(words)]);
}

bool mock_model(struct str models, size_t i, struct str *name)
{
    while (str_next_element(&models, name))
        if (i-- == 0)
            return true;
    return false;
}

/* ---- vectors --------------------------------------------------------------------------------------------
 */

void mock_vector(struct str text, float *vector, size_t n)
{
    uint8_t hash[SHA256_SIZE];
    uint64_t state;
    double squares = 0;
    crypto_sha256(text, hash);
    memcpy(&state, hash, sizeof state);
    for (size_t i = 0; i < n; i++) {
        /* A linear congruential generator is random enough to tell two texts apart. */
        state = state * 6364136223846793005u + 1442695040888963407u;
        vector[i] = (float)((double)(state >> 11) / (double)((uint64_t)1 << 52) - 1);
        squares += (double)vector[i] * vector[i];
    }
    for (size_t i = 0; i < n && squares > 0; i++)
        vector[i] = (float)(vector[i] / sqrt(squares));
}

/* ---- JSON -----------------------------------------------------------------------------------------------
 */

/* The parser goes down one frame per level, and a task's stack is small. */
static bool is_too_deep(struct str text)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '[' || c == '{') && ++depth > JSON_DEPTH_MAX)
            return true;
        else if (!in_string && (c == ']' || c == '}'))
            depth--;
    }
    return false;
}

enum err mock_json_parse(struct str text, json_t **json, struct error *error)
{
    json_error_t why;
    if (is_too_deep(text))
        return error_set(error, ERR_LIMIT, "the JSON is nested deeper than %d levels", JSON_DEPTH_MAX);
    *json = json_loadb(text.n ? text.p : "", text.n, JSON_ALLOW_NUL, &why);
    if (!*json)
        return error_set(error, ERR_SYNTAX, "the body is not JSON: %s (line %d, column %d)", why.text,
                         why.line, why.column);
    if (json_is_object(*json))
        return OK;
    json_decref(*json);
    *json = NULL;
    return error_set(error, ERR_SYNTAX, "the body is no JSON object");
}

struct str mock_json_str(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return str_make(json_string_value(value), json_string_length(value));
}

uint64_t mock_json_count(const json_t *object, const char *key, uint64_t otherwise, uint64_t max)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    return number > 0 ? MIN((uint64_t)number, max) : otherwise;
}
