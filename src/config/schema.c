/* Field tables: look-up, suggestions, and typing of single values. Pure. */
#include "config/schema.h"

#include "base/num.h"

#include <stdio.h>

const struct field *table_field(const struct table *t, struct str name)
{
    for (size_t i = 0; i < t->count; i++)
        if (str_eq(str_from_c(t->fields[i].name), name))
            return &t->fields[i];
    return NULL;
}

const char *table_suggest(const struct table *t, struct str name)
{
    int limit = (int)MIN(name.n / 3 + 1, (size_t)4), nearest = limit + 1;
    const char *found = NULL;
    for (size_t i = 0; i < t->count; i++) {
        int distance = str_distance(name, str_from_c(t->fields[i].name), limit + 1);
        if (distance < nearest) {
            nearest = distance;
            found = t->fields[i].name;
        }
    }
    return found;
}

/* ---- typing -------------------------------------------------------------------------------------------- */

static bool text_is(struct str text, const char *const *words)
{
    for (; *words; words++)
        if (str_eq_nocase(text, str_from_c(*words)))
            return true;
    return false;
}

static bool bool_parse(struct str text, bool *yes)
{
    static const char *const trues[] = {"true", "yes", "on", "1", NULL};
    static const char *const falses[] = {"false", "no", "off", "0", NULL};
    *yes = text_is(text, trues);
    return *yes || text_is(text, falses);
}

/* Whole numbers may be written 3, 3.0 or 3e0: other programs print them so. */
static bool whole_parse(struct str text, int64_t *value)
{
    double number;
    if (num_parse_i64(text, value))
        return true;
    if (!num_parse_double(text, &number) || number < -9e15 || number > 9e15)
        return false;
    *value = (int64_t)number;
    return (double)*value == number;
}

/* What is not nothing must not become nothing by rounding. */
static bool money_parse(struct str text, int places, int64_t *value)
{
    bool exact;
    return num_parse_decimal(text, places, value, &exact) && (exact || *value != 0);
}

static bool word_parse(const struct field *f, struct str text, int *word)
{
    for (int i = 0; f->words[i]; i++) {
        if (!str_eq_nocase(text, str_from_c(f->words[i])))
            continue;
        *word = i;
        return true;
    }
    return false;
}

static void expect_words(const struct field *f, char *expected, size_t size)
{
    size_t n = (size_t)snprintf(expected, size, "one of");
    for (int i = 0; f->words[i] && n < size; i++)
        n += (size_t)snprintf(expected + n, size - n, "%s %s", i ? "," : "", f->words[i]);
}

static void expect_range(const struct field *f, const char *what, char *expected, size_t size)
{
    if (f->max > 0)
        snprintf(expected, size, "%s from %.15g to %.15g", what, f->min, f->max);
    else if (f->min > 0)
        snprintf(expected, size, "%s, at least %.15g", what, f->min);
    else
        snprintf(expected, size, "%s", what);
}

static bool in_range(const struct field *f, double value)
{
    return value >= f->min && (f->max <= 0 || value <= f->max);
}

static bool number_parse(const struct field *f, struct str text, union scalar *value, const char **what)
{
    int64_t whole;
    switch (f->kind) {
    case FIELD_COUNT:
        *what = "a whole number";
        if (!whole_parse(text, &whole) || whole < 0)
            return false;
        value->count = (uint64_t)whole;
        return in_range(f, (double)whole);
    case FIELD_WHOLE:
        *what = "a whole number";
        if (!whole_parse(text, &value->whole))
            return false;
        return in_range(f, (double)value->whole);
    case FIELD_NUMBER:
        *what = "a number";
        return num_parse_double(text, &value->number) && in_range(f, value->number);
    case FIELD_MONEY:
        *what = "an amount in US dollars, at least 0";
        return money_parse(text, (int)f->unit, &value->whole) && value->whole >= 0;
    case FIELD_DURATION:
        *what = f->unit == 1 ? "a time (milliseconds, or 30s, 5m, 2h)" : "a time (seconds, or 250ms, 5m, 2h)";
        return num_parse_duration_ms(text, f->unit, &value->count) &&
               in_range(f, (double)value->count / (double)f->unit);
    case FIELD_RATE:
        *what = "a rate (bytes per second, or 1KiB/s)";
        text = str_ends(text, STR("/s")) ? str_first(text, text.n - 2) : text;
        return num_parse_size(text, &value->count) && in_range(f, (double)value->count);
    default:
        *what = "a size (bytes, or 64KiB, 32MiB)";
        return num_parse_size(text, &value->count) && in_range(f, (double)value->count);
    }
}

bool scalar_parse(const struct field *f, struct str text, union scalar *value, char *expected, size_t size)
{
    const char *what = "";
    enum log_level level;
    switch (f->kind) {
    case FIELD_TEXT:
    case FIELD_PATH:
    case FIELD_URL:
        value->text = text;
        snprintf(expected, size, "a text that is not empty");
        return f->min < 1 || text.n > 0;
    case FIELD_BOOL:
        snprintf(expected, size, "true or false");
        return bool_parse(str_trim(text), &value->yes);
    case FIELD_WORD:
        expect_words(f, expected, size);
        return word_parse(f, str_trim(text), &value->word);
    case FIELD_LEVEL:
        snprintf(expected, size, "one of DEBUG, INFO, WARNING, ERROR");
        if (!log_level_parse(str_trim(text), &level))
            return false;
        value->word = (int)level;
        return true;
    default:
        if (number_parse(f, str_trim(text), value, &what))
            return true;
        expect_range(f, what, expected, size);
        return false;
    }
}

void scalar_print(const struct field *f, const union scalar *value, struct buf *out)
{
    switch (f->kind) {
    case FIELD_BOOL:
        buf_add_c(out, value->yes ? "true" : "false");
        break;
    case FIELD_WORD:
    case FIELD_LEVEL:
        buf_addf(out, "%d", value->word);
        break;
    case FIELD_WHOLE:
    case FIELD_MONEY:
        buf_addf(out, "%lld", (long long)value->whole);
        break;
    case FIELD_NUMBER:
        buf_addf(out, "%.17g", value->number);
        break;
    case FIELD_TEXT:
    case FIELD_PATH:
    case FIELD_URL:
        buf_add_str(out, value->text);
        break;
    default:
        buf_add_u64(out, value->count);
    }
}
