/* The generic decoder: walks a node tree along a field table; single values are decode_value.c's. */
#include "config/decode.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- path and findings --------------------------------------------------------------------------------- */

static void path_add(struct decoder *d, const char *separator, struct str key, const char *end)
{
    size_t room = sizeof d->path - d->path_length;
    int n = snprintf(d->path + d->path_length, room, "%s%.*s%s", separator, STR_ARG(key), end);
    d->path_length += MIN((size_t)n, room - 1);
}

size_t decode_enter(struct decoder *d, struct str key)
{
    size_t mark = d->path_length;
    path_add(d, mark ? "." : "", key, "");
    return mark;
}

size_t decode_enter_index(struct decoder *d, size_t i)
{
    char digits[24];
    size_t mark = d->path_length;
    snprintf(digits, sizeof digits, "%zu", i);
    path_add(d, "[", str_from_c(digits), "]");
    return mark;
}

void decode_leave(struct decoder *d, size_t mark)
{
    d->path_length = mark;
    d->path[mark] = '\0';
}

void decode_report(struct decoder *d, enum severity severity, const struct node *at, const char *key,
                   const char *format, ...)
{
    char sentence[700];
    va_list args;
    size_t mark = key ? decode_enter(d, str_from_c(key)) : d->path_length;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    finding_add(d->findings, severity, at, str_make(d->path, d->path_length), "%s", sentence);
    decode_leave(d, mark);
}

void *decode_alloc(struct decoder *d, size_t n)
{
    void *p = arena_alloc(d->arena, n);
    if (!p)
        finding_no_memory(d->findings);
    return p;
}

bool node_is_ellipsis(const struct node *n)
{
    return n && n->kind == NODE_SCALAR && !n->quoted && str_eq(n->text, STR("..."));
}

static void report_later(struct decoder *d, const char *feature, const struct node *at)
{
    for (size_t i = 0; i < d->later_count; i++)
        if (strcmp(d->later[i], feature) == 0)
            return;
    if (d->later_count < COUNT_OF(d->later))
        d->later[d->later_count++] = feature;
    decode_report(d, SEVERITY_NOTICE, at, NULL, "accepted, not active yet (%s)", feature);
}

void decode_record(struct decoder *d, const struct field *f, struct str canonical)
{
    struct buf *texts[] = {d->full, f->reload == RELOAD_SERVICE ? d->restart : NULL,
                           f->reload == RELOAD_PROCESS ? &d->process : NULL};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        if (!texts[i])
            continue;
        buf_addf(texts[i], "%s=%zu:", d->path, canonical.n); /* the length keeps values apart */
        buf_add_str(texts[i], canonical);
        buf_add_char(texts[i], '\n');
    }
}

struct str decode_keep(struct decoder *d, struct str text)
{
    struct str copy = arena_str(d->arena, text);
    if (!copy.p)
        finding_no_memory(d->findings);
    return copy;
}

const char *node_kind_name(const struct node *n)
{
    static const char *const names[] = {"a text", "a list", "a map"};
    return names[n->kind];
}

/* ---- tables -------------------------------------------------------------------------------------------- */

static struct str item_label(const struct node *item, const char *id)
{
    struct node *name = node_get(item, str_from_c(id ? id : "name"));
    if (node_is_null(name) || name->kind != NODE_SCALAR)
        name = node_get(item, STR("name"));
    return !node_is_null(name) && name->kind == NODE_SCALAR ? name->text : STR_NONE;
}

static void items_check_names(struct decoder *d, const struct field *f, const struct node *n)
{
    struct map seen CLEANUP(map_free) = {0};
    for (size_t i = 0; i < n->count; i++) {
        struct str name = item_label(n->items[i], f->table->item_id);
        struct node *earlier = name.n ? map_get(&seen, name) : NULL;
        if (earlier)
            decode_report(d, SEVERITY_ERROR, n->items[i], NULL, "\"%.*s\" was already given at %.*s:%u:%u",
                          STR_ARG(name), STR_ARG(earlier->source->name), earlier->line, earlier->column);
        else if (name.n && map_put(&seen, name, n->items[i]) != OK)
            finding_no_memory(d->findings);
    }
}

/* One item of a list or a named map, with its own unit where the table says so. */
static void item_decode(struct decoder *d, const struct table *t, const struct node *n, struct str name,
                        void *value)
{
    struct unit own = {.noun = t->unit, .name = name}, *outer = d->unit;
    if (!node_is_null(n) && n->kind != NODE_MAP) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected a map, got %s", node_kind_name(n));
        return;
    }
    if (t->unit)
        d->unit = &own;
    decode_table(d, t, n, value);
    d->unit = outer;
}

static void items_decode(struct decoder *d, const struct field *f, const struct node *n, char *base)
{
    const struct table *t = f->table;
    bool named = f->kind == FIELD_NAMED;
    size_t count = 0;
    char *values = NULL;
    if (node_is_null(n))
        return;
    if (n->kind != (named ? NODE_MAP : NODE_LIST)) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected %s, got %s",
                      named ? "a map of names to maps" : "a list of maps", node_kind_name(n));
        return;
    }
    if (base && t->size && !(values = decode_alloc(d, n->count * t->size + 1)))
        return;
    if (t->item_id && !t->ids_decoded)
        items_check_names(d, f, n);
    for (size_t i = 0; i < n->count; i++) {
        if (node_is_ellipsis(named ? n->keys[i] : n->items[i]))
            continue;
        char *value = values ? values + count * t->size : NULL;
        struct str name = named ? n->keys[i]->text : item_label(n->items[i], t->item_id);
        if (!name.n && t->unnamed)
            name = arena_printf(d->arena, "%s%zu", t->unnamed, i);
        size_t mark = named ? decode_enter(d, name) : decode_enter_index(d, i);
        if (value && named) {
            struct str id = decode_keep(d, name);
            memcpy(value + t->id_at, &id, sizeof id);
        }
        item_decode(d, t, n->items[i], name, value);
        decode_leave(d, mark);
        count++;
    }
    if (values) {
        memcpy(base + f->at, &values, sizeof values);
        memcpy(base + f->count_at, &count, sizeof count);
    }
}

static void field_decode(struct decoder *d, const struct field *f, const struct node *parent,
                         const struct node *n, char *base)
{
    if (f->flags & F_UNBOUND)
        base = NULL;
    if (f->kind == FIELD_TABLE)
        item_decode(d, f->table, n, str_from_c(f->name), base && f->table->size ? base + f->at : NULL);
    else if (f->kind == FIELD_ITEMS || f->kind == FIELD_NAMED)
        items_decode(d, f, n, base);
    else
        decode_value(d, f, parent, n, base);
}

static void unknown_key(struct decoder *d, const struct table *t, const struct node *key)
{
    const char *meant = table_suggest(t, key->text);
    size_t mark = decode_enter(d, key->text);
    if (meant)
        decode_report(d, SEVERITY_ERROR, key, NULL, "unknown key; did you mean %s?", meant);
    else
        decode_report(d, SEVERITY_ERROR, key, NULL, "unknown key (%s is described in docs/config.md)",
                      t->title);
    decode_leave(d, mark);
}

static void keys_check(struct decoder *d, const struct table *t, const struct node *n)
{
    static const struct field anything = {.kind = FIELD_ANY};
    for (size_t i = 0; n && n->kind == NODE_MAP && i < n->count; i++) {
        const struct node *key = n->keys[i];
        bool is_version = str_eq(key->text, STR("version")); /* accepted everywhere */
        if (table_field(t, key->text) || node_is_ellipsis(key) || is_version)
            continue;
        if (!t->open) {
            unknown_key(d, t, key);
            continue;
        }
        size_t mark = decode_enter(d, key->text);
        decode_value(d, &anything, n, n->items[i], NULL);
        decode_leave(d, mark);
    }
}

static void fields_decode(struct decoder *d, const struct table *t, const struct node *n, void *value)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct field *f = &t->fields[i];
        const struct node *child = node_get(n, str_from_c(f->name));
        size_t mark = decode_enter(d, str_from_c(f->name));
        if (f->later && !node_is_null(child))
            report_later(d, f->later, child);
        if (f->flags & F_REQUIRED && n && node_is_null(child))
            decode_report(d, SEVERITY_ERROR, n, NULL, "is missing");
        if (child || value)
            field_decode(d, f, n, child, value);
        decode_leave(d, mark);
    }
}

void decode_table(struct decoder *d, const struct table *t, const struct node *n, void *value)
{
    struct buf full CLEANUP(buf_free) = BUF(0), restart CLEANUP(buf_free) = BUF(0);
    if (t->is_service) {
        d->full = &full;
        d->restart = &restart;
    }
    keys_check(d, t, n);
    fields_decode(d, t, n, value);
    if (t->finish)
        t->finish(d, n, value);
    if (t->is_service)
        d->full = d->restart = NULL;
}
