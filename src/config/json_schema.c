/* JSON Schema (2020-12) of the configuration file, from the field tables. Pure. */
#include "base/json.h"
#include "config/report.h"
#include "config/tables.h"

#include <stdio.h>

static void write_types(struct json *j, const char *const *types)
{
    json_key_array(j, "type");
    for (; *types; types++)
        json_c(j, *types);
    json_end(j);
}

static void write_number(struct json *j, const struct field *f, const char *type)
{
    const char *const types[] = {type, "string", "null", NULL}; /* a text: "5m", or "${VARIABLE}" */
    write_types(j, types);
    json_key_double(j, "minimum", f->min, f->min > 0 && f->min < 1 ? 12 : 0);
    if (f->max > 0)
        json_key_double(j, "maximum", f->max, 0);
}

static void write_reference(struct json *j, const struct table *t)
{
    char path[100];
    snprintf(path, sizeof path, "#/$defs/%s", t->name);
    json_key_c(j, "$ref", path);
}

/* A map, or something else: left empty ("type": "null"), or the placeholder "..." of examples. */
static void write_map_or(struct json *j, const struct table *t, const char *keyword, const char *value)
{
    json_key_array(j, "anyOf");
    json_put_object(j);
    write_reference(j, t);
    json_end(j);
    json_put_object(j);
    json_key_c(j, keyword, value);
    json_end(j);
    json_end(j);
}

static void write_words(struct json *j, const char *const *words)
{
    json_key_array(j, "anyOf");
    json_put_object(j);
    json_key_array(j, "enum");
    for (; *words; words++)
        json_c(j, *words);
    json_put_null(j);
    json_end(j);
    json_end(j);
    json_put_object(j);
    json_key_c(j, "type", "string");
    json_key_c(j, "pattern", "\\$\\{");
    json_end(j);
    json_end(j);
}

static const char *const text[] = {"string", "number", "boolean", "null", NULL};
static const char *const yes[] = {"boolean", "string", "null", NULL};
static const char *const texts[] = {"array", "string", "null", NULL};
static const char *const items[] = {"array", "null", NULL};
static const char *const map[] = {"object", "null", NULL};
static const char *const levels[] = {"DEBUG", "INFO", "WARNING", "ERROR", NULL};

/* Lists and maps. */
static void write_container(struct json *j, const struct field *f)
{
    bool named = f->kind == FIELD_PAIRS || f->kind == FIELD_NAMED, of_texts = !f->table;
    write_types(j, named ? map : of_texts ? texts : items);
    json_key_object(j, named ? "additionalProperties" : "items");
    if (of_texts)
        write_types(j, text);
    else if (named)
        write_map_or(j, f->table, "type", "null");
    else
        write_map_or(j, f->table, "const", "...");
    json_end(j);
}

static void write_prices(struct json *j, const struct field *f)
{
    write_types(j, map);
    json_key_object(j, "additionalProperties");
    write_types(j, map);
    json_key_object(j, "additionalProperties");
    write_map_or(j, f->table, "type", "null");
    json_end(j);
    json_end(j);
}

static void write_kind(struct json *j, const struct field *f)
{
    switch (f->kind) {
    case FIELD_TEXT:
    case FIELD_PATH:
    case FIELD_URL:
        write_types(j, text);
        break;
    case FIELD_BOOL:
        write_types(j, yes);
        break;
    case FIELD_COUNT:
    case FIELD_WHOLE:
        write_number(j, f, "integer");
        break;
    case FIELD_NUMBER:
    case FIELD_MONEY:
    case FIELD_LIMIT:
    case FIELD_DURATION:
    case FIELD_SIZE:
    case FIELD_RATE:
        write_number(j, f, "number");
        break;
    case FIELD_WORD:
    case FIELD_LEVEL:
        write_words(j, f->words ? f->words : levels);
        break;
    case FIELD_TABLE:
        write_map_or(j, f->table, "type", "null");
        break;
    case FIELD_PRICES:
        write_prices(j, f);
        break;
    case FIELD_TEXTS:
    case FIELD_COMMAND:
    case FIELD_PAIRS:
    case FIELD_ITEMS:
    case FIELD_NAMED:
        write_container(j, f);
        break;
    case FIELD_MODELS:
    case FIELD_KEYS:
    case FIELD_ANY:
        break;
    }
}

static void write_field(struct json *j, const struct field *f)
{
    char sentence[600];
    snprintf(sentence, sizeof sentence, "%s%s", f->doc, f->later ? " (Not active yet.)" : "");
    json_key_object(j, f->name);
    json_key_c(j, "description", sentence);
    if (f->fallback)
        json_key_c(j, "default", f->fallback);
    if (f->flags & F_SECRET)
        json_key_bool(j, "writeOnly", true);
    write_kind(j, f);
    json_end(j);
}

static void write_table(struct json *j, const struct table *t)
{
    json_key_c(j, "type", "object");
    json_key_c(j, "description", t->doc);
    json_key_bool(j, "additionalProperties", t->open);
    json_key_object(j, "properties");
    for (size_t i = 0; i < t->count; i++)
        write_field(j, &t->fields[i]);
    json_end(j);
    json_key_object(j, "patternProperties"); /* accepted everywhere */
    json_key_object(j, "^(version|[.]{3})$");
    json_end(j);
    json_end(j);
    json_key_array(j, "required");
    for (size_t i = 0; i < t->count; i++)
        if (t->fields[i].flags & F_REQUIRED)
            json_c(j, t->fields[i].name);
    json_end(j);
}

void config_write_schema(struct buf *out)
{
    struct json j = json_to(out);
    struct tables all;
    tables_collect(&all);
    json_put_object(&j);
    json_key_c(&j, "$schema", "https://json-schema.org/draft/2020-12/schema");
    json_key_c(&j, "title", "Hestia configuration");
    write_table(&j, &schema_root);
    json_key_object(&j, "$defs");
    for (size_t i = 1; i < all.count; i++) {
        json_key_object(&j, all.list[i]->name);
        write_table(&j, all.list[i]);
        json_end(&j);
    }
    json_end(&j);
    json_end(&j);
    buf_add_char(out, '\n');
}
