/* Brace-balanced variable references. Pure; the names found are spans of the text that was given. */
#include "config/interpolate.h"

struct str variables_get(const struct variables *v, struct str name)
{
    if (str_eq(name, STR("HESTIA")) && v->executable)
        return str_from_c(v->executable);
    for (const char *const *pair = v->environment; pair && *pair; pair++) {
        struct str value = str_from_c(*pair);
        if (str_eq(str_cut(&value, '='), name))
            return value;
    }
    return STR_NONE;
}

bool variable_is_secret(struct str name)
{
    static const struct str words[] = {STR("KEY"), STR("SECRET"), STR("PASSW"), STR("CREDENTIAL")};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_find_str_nocase(name, words[i]) < name.n)
            return true;
    size_t token = str_find_str_nocase(name, STR("TOKEN"));
    return token < name.n && char_lower(str_from(name, token + 5).n ? name.p[token + 5] : ' ') != 's';
}

size_t text_reference_length(struct str text)
{
    int depth = 0;
    for (size_t i = 1; i < text.n; i++) {
        if (text.p[i] == '{')
            depth++;
        else if (text.p[i] == '}' && --depth == 0)
            return i + 1;
    }
    return 0;
}

static bool is_name(struct str name)
{
    if (name.n == 0 || (name.p[0] >= '0' && name.p[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = char_lower(name.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return true;
}

static enum expand_result expand(struct expansion *e, struct str text, struct buf *out, int depth);

static enum expand_result reference_expand(struct expansion *e, struct str reference, struct buf *out,
                                           int depth)
{
    struct str inside = str_make(reference.p + 2, reference.n - 3);
    size_t colon = str_find_str(inside, STR(":-"));
    struct str name = str_trim(str_first(inside, colon)), value;
    if (!is_name(name))
        return EXPAND_SYNTAX;
    if (e->keep_port && str_eq(name, STR("PORT"))) {
        buf_add_c(out, "${PORT}");
        return EXPAND_OK;
    }
    value = variables_get(e->variables, name);
    if (value.n) {
        e->used_variable = true;
        buf_add_str(out, e->mask_secrets && variable_is_secret(name) ? STR("********") : value);
        return EXPAND_OK;
    }
    if (colon < inside.n) {
        struct str fallback = str_from(inside, colon + 2);
        e->used_default |= fallback.n && !str_starts(fallback, STR("${"));
        return expand(e, fallback, out, depth + 1);
    }
    e->missing = name;
    return EXPAND_UNSET;
}

static enum expand_result expand(struct expansion *e, struct str text, struct buf *out, int depth)
{
    if (depth > EXPAND_DEPTH_MAX)
        return EXPAND_SYNTAX;
    while (text.n) {
        size_t plain = str_find_str(text, STR("${"));
        bool escaped = plain < text.n && plain > 0 && text.p[plain - 1] == '$';
        buf_add_str(out, str_first(text, escaped ? plain - 1 : plain));
        text = str_from(text, plain);
        if (text.n == 0)
            break;
        size_t length = escaped ? 2 : text_reference_length(text);
        if (length == 0)
            return EXPAND_SYNTAX;
        enum expand_result result = EXPAND_OK;
        if (escaped)
            buf_add_c(out, "${");
        else
            result = reference_expand(e, str_first(text, length), out, depth);
        if (result != EXPAND_OK)
            return result;
        text = str_from(text, length);
    }
    return buf_err(out) == OK && out->n <= EXPAND_BYTES_MAX ? EXPAND_OK : EXPAND_TOO_LONG;
}

enum expand_result text_expand(struct expansion *e, struct str text, struct buf *out)
{
    return expand(e, text, out, 0);
}
