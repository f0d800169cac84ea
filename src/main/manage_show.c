/* Answers of the management API as tables and lines for people. Main thread; standard output. */
#include "main/manage.h"

#include <jansson.h>
#include <stdio.h>

enum { CELL_MAX = 48, COLUMNS_MAX = 16 };

/* All of a sum's digits and no exponent: a double is exact to 15 digits, money to 12 behind the point. */
static int real_write(double value, char *out, size_t size)
{
    int places = 12;
    for (double rest = value < 0 ? -value : value; rest >= 1000 && places > 0; rest /= 10)
        places--;
    int n = snprintf(out, size, "%.*f", places, value);
    if (n >= (int)size || !places)
        return n;
    while (out[n - 1] == '0')
        n--;
    n -= out[n - 1] == '.';
    out[n] = '\0';
    return n;
}

/* One value as a person reads it; what a terminal might obey becomes '?'. */
static int cell_write(const json_t *value, char *out, size_t size)
{
    int n;
    if (json_is_string(value))
        n = snprintf(out, size, "%s", json_string_value(value));
    else if (json_is_integer(value))
        n = snprintf(out, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        n = real_write(json_real_value(value), out, size);
    else if (json_is_boolean(value))
        n = snprintf(out, size, "%s", json_is_true(value) ? "yes" : "no");
    else
        n = snprintf(out, size, "-");
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 32 || *p == 127)
            *p = '?';
    return MIN(n, (int)size - 1);
}

/* Columns of numbers stand to the right. */
static bool is_number(const json_t *rows, const char *key)
{
    const json_t *first = json_object_get(json_array_get(rows, 0), key);
    return json_is_number(first);
}

static int width_of(const json_t *rows, const struct column *c)
{
    char cell[CELL_MAX];
    int width = (int)strlen(c->title);
    for (size_t i = 0; i < json_array_size(rows); i++)
        width = MAX(width, cell_write(json_object_get(json_array_get(rows, i), c->key), cell, sizeof cell));
    return width;
}

static void table_print(const struct column *columns, const json_t *rows)
{
    char cell[CELL_MAX];
    int widths[COLUMNS_MAX] = {0};
    for (int i = 0; columns[i].title; i++)
        widths[i] = width_of(rows, &columns[i]) * (is_number(rows, columns[i].key) ? 1 : -1);
    for (int i = 0; columns[i].title; i++)
        printf("%*s%s", widths[i], columns[i].title, columns[i + 1].title ? "  " : "\n");
    for (size_t r = 0; r < json_array_size(rows); r++)
        for (int i = 0; columns[i].title; i++) {
            cell_write(json_object_get(json_array_get(rows, r), columns[i].key), cell, sizeof cell);
            printf("%*s%s", widths[i], cell, columns[i + 1].title ? "  " : "\n");
        }
}

static void object_print(const json_t *object)
{
    const char *key;
    json_t *value;
    char cell[512];
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (json_is_object(value) || json_is_array(value)) {
            char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
            printf("%-22s %s\n", key, text ? text : "-");
            free(text);
            continue;
        }
        cell_write(value, cell, sizeof cell);
        printf("%-22s %s\n", key, cell);
    }
}

static void texts_print(const json_t *list)
{
    char cell[512];
    for (size_t i = 0; i < json_array_size(list); i++) {
        cell_write(json_array_get(list, i), cell, sizeof cell);
        printf("%s\n", cell);
    }
}

/* Of usage only the points at which something was used: a day has 1440. */
static json_t *used_only(const json_t *points)
{
    json_t *used = json_array();
    for (size_t i = 0; i < json_array_size(points); i++)
        if (json_integer_value(json_object_get(json_array_get(points, i), "requests")) > 0)
            json_array_append(used, json_array_get(points, i));
    return used;
}

static void usage_print(const struct column *columns, const json_t *root, const json_t *total)
{
    json_t *used = used_only(json_object_get(root, "data"));
    const char *from = json_string_value(json_object_get(root, "from"));
    const char *to = json_string_value(json_object_get(root, "to"));
    if (json_array_size(used))
        table_print(columns, used);
    else
        printf("Nothing was used from %s to %s.\n", from ? from : "-", to ? to : "-");
    printf("\nTotal\n");
    object_print(total);
    json_decref(used);
}

void manage_show(const struct column *columns, struct str json)
{
    json_t *root = json_loadb(json.p ? json.p : "", json.n, 0, NULL);
    const json_t *data = json_object_get(root, "data"), *total = json_object_get(root, "total");
    if (columns && json_is_array(data) && json_is_object(total)) {
        usage_print(columns, root, total);
    } else if (columns && json_is_array(data)) {
        table_print(columns, data);
    } else if (json_is_array(data)) {
        texts_print(data);
    } else if (json_is_object(root)) {
        object_print(root);
    }
    json_decref(root);
}

void manage_show_error(const char *command, int status, struct str json)
{
    json_t *root = json_loadb(json.p ? json.p : "", json.n, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *param = json_string_value(json_object_get(error, "param"));
    message = message ? message : "the gateway refused";
    bool named = !param || strstr(message, param); /* most sentences begin with the field */
    fprintf(stderr, "hestia %s: %s%s%s (%d)\n", command, named ? "" : param, named ? "" : ": ", message,
            status);
    if (status == 401)
        fprintf(stderr, "HESTIA_ADMIN_KEY gives the key: one of auth.admin_keys, else of auth.api_keys; "
                        "`hestia hash-key` hashes a\nnew one for the configuration.\n");
    json_decref(root);
}
