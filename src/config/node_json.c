/* jansson's values to nodes. Its recursion and ours are bounded before it runs: stacks are small. */
#include "config/node_json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const struct source source = {.name = STR("JSON")};

static bool is_shallow(struct str text)
{
    bool quoted = false;
    unsigned depth = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']') && depth)
            depth--;
        if (depth > JSON_DEPTH_MAX)
            return false;
    }
    return true;
}

static struct node *convert(struct arena *arena, json_t *value);

static struct node *convert_text(struct arena *arena, struct str text)
{
    struct node *n = node_scalar(arena, &source, text);
    return n && n->text.p ? n : NULL;
}

/* The shortest decimal that reads back as the same number: 0.1 is "0.1" again, what was written. */
static struct node *convert_real(struct arena *arena, double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return convert_text(arena, str_from_c(text));
}

static struct node *convert_null(struct arena *arena)
{
    struct node *n = convert_text(arena, STR("null"));
    if (n)
        n->quoted = false;
    return n;
}

static struct node *convert_list(struct arena *arena, json_t *list)
{
    struct node *n = node_map(arena, &source, json_array_size(list));
    if (!n)
        return NULL;
    n->kind = NODE_LIST;
    for (; n->count < json_array_size(list); n->count++)
        if (!(n->items[n->count] = convert(arena, json_array_get(list, n->count))))
            return NULL;
    return n;
}

/* Not by node_put, which looks for the key: jansson has refused keys that stand twice. */
static struct node *convert_object(struct arena *arena, json_t *object)
{
    const char *key;
    json_t *value;
    struct node *n = node_map(arena, &source, json_object_size(object));
    if (!n)
        return NULL;
    json_object_foreach(object, key, value)
    {
        n->keys[n->count] = convert_text(arena, str_from_c(key));
        n->items[n->count] = convert(arena, value);
        if (!n->keys[n->count] || !n->items[n->count])
            return NULL;
        n->count++;
    }
    return n;
}

static struct node *convert(struct arena *arena, json_t *value)
{
    char digits[24];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return convert_object(arena, value);
    case JSON_ARRAY:
        return convert_list(arena, value);
    case JSON_STRING:
        return convert_text(arena, str_make(json_string_value(value), json_string_length(value)));
    case JSON_INTEGER:
        snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(value));
        return convert_text(arena, str_from_c(digits));
    case JSON_REAL:
        return convert_real(arena, json_real_value(value));
    case JSON_TRUE:
        return convert_text(arena, STR("true"));
    case JSON_FALSE:
        return convert_text(arena, STR("false"));
    default:
        return convert_null(arena);
    }
}

static void unref(json_t **value)
{
    json_decref(*value);
}

static void refuse(struct error *error, const json_error_t *found)
{
    struct str text = str_from_c(found->text);
    /* What stands near the mistake may be secret; the name of a key that stands twice is none. */
    if (json_error_code(found) != json_error_duplicate_key)
        text = str_first(text, str_find_str(text, STR(" near ")));
    if (json_error_code(found) == json_error_out_of_memory)
        error_set(error, ERR_NOMEM, "out of memory");
    else
        error_set(error, ERR_BAD_REQUEST, "the text is not valid JSON: %.*s (line %d, column %d)",
                  STR_ARG(text), found->line, found->column);
}

static json_t *parse(struct str text, json_error_t *found)
{
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    const char *p = text.n ? text.p : "";
    json_t *root = json_loadb(p, text.n, flags, found);
    /* Beyond 64 bits: as a real it is refused by the field's own rule, with the field's name. */
    if (!root && json_error_code(found) == json_error_numeric_overflow)
        root = json_loadb(p, text.n, flags | JSON_DECODE_INT_AS_REAL, found);
    return root;
}

struct node *node_from_json(struct arena *arena, struct str text, struct error *error)
{
    json_error_t found;
    json_t *root CLEANUP(unref) = NULL;
    struct node *n = NULL;
    if (text.n > JSON_BYTES_MAX)
        error_set(error, ERR_BAD_REQUEST, "the JSON is larger than %d KiB", JSON_BYTES_MAX >> 10);
    else if (!is_shallow(text))
        error_set(error, ERR_BAD_REQUEST, "the JSON is nested more than %d deep", JSON_DEPTH_MAX);
    else if (!(root = parse(text, &found)))
        refuse(error, &found);
    else if (!json_is_object(root))
        error_set(error, ERR_BAD_REQUEST, "expected a JSON object");
    else if (!(n = convert(arena, root)))
        error_set(error, ERR_NOMEM, "out of memory");
    return n;
}
