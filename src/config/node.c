/* Looking at node trees, building them by hand, and laying one over another. Pure. */
#include "config/yaml.h"

#include <stdarg.h>

bool node_is_null(const struct node *n)
{
    if (!n)
        return true;
    if (n->kind != NODE_SCALAR || n->quoted)
        return false;
    return n->text.n == 0 || str_eq(n->text, STR("~")) || str_eq_nocase(n->text, STR("null"));
}

static size_t map_index(const struct node *n, struct str key)
{
    for (size_t i = 0; i < n->count; i++)
        if (str_eq(n->keys[i]->text, key))
            return i;
    return n->count;
}

struct node *node_get(const struct node *n, struct str key)
{
    if (!n || n->kind != NODE_MAP)
        return NULL;
    size_t i = map_index(n, key);
    return i < n->count ? n->items[i] : NULL;
}

struct node *node_key(const struct node *n, struct str key)
{
    if (!n || n->kind != NODE_MAP)
        return NULL;
    size_t i = map_index(n, key);
    return i < n->count ? n->keys[i] : NULL;
}

struct node *node_find(const struct node *n, ...)
{
    va_list names;
    const char *name;
    struct node *found = NULL;
    va_start(names, n);
    while (n && (name = va_arg(names, const char *)))
        n = found = node_get(n, str_from_c(name));
    va_end(names);
    return found;
}

struct node *node_scalar(struct arena *arena, const struct source *source, struct str text)
{
    struct node *n = arena_alloc(arena, sizeof *n);
    if (n)
        *n = (struct node){.kind = NODE_SCALAR,
                           .quoted = true,
                           .literal = true,
                           .weight = 1,
                           .source = source,
                           .text = arena_str(arena, text)};
    return n;
}

struct node *node_map(struct arena *arena, const struct source *source, size_t capacity)
{
    struct node *n = arena_alloc(arena, sizeof *n);
    struct node **both = arena_alloc(arena, 2 * capacity * sizeof *both + 1);
    if (!n || !both)
        return NULL;
    *n = (struct node){
        .kind = NODE_MAP, .weight = 1, .source = source, .items = both, .keys = both + capacity};
    return n;
}

void node_put(struct node *map, struct node *key, struct node *value)
{
    size_t i = map_index(map, key->text);
    map->keys[i] = key;
    map->items[i] = value;
    if (i == map->count)
        map->count++;
}

/* ---- merging ------------------------------------------------------------------------------------------- */

/* What names an item of a list: its `id`, else its `name`; NULL for anything else. */
static struct node *item_name(const struct node *item)
{
    struct node *name = node_get(item, STR("id"));
    if (node_is_null(name))
        name = node_get(item, STR("name"));
    return !node_is_null(name) && name->kind == NODE_SCALAR ? name : NULL;
}

static bool list_is_named(const struct node *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (!item_name(list->items[i]))
            return false;
    return list->count > 0;
}

static struct node *merge_maps(struct arena *arena, struct node *under, struct node *over)
{
    struct map places CLEANUP(map_free) = {0}; /* key -> its index + 1 */
    struct node *n = node_map(arena, over->source, under->count + over->count);
    if (!n)
        return NULL;
    n->line = over->line;
    n->column = over->column;
    for (size_t i = 0; i < under->count; i++, n->count++) {
        n->keys[i] = under->keys[i];
        n->items[i] = under->items[i];
        if (map_put(&places, n->keys[i]->text, (void *)(i + 1)) != OK)
            return NULL;
    }
    for (size_t i = 0; i < over->count; i++) {
        size_t place = (size_t)map_get(&places, over->keys[i]->text);
        struct node *value = place ? node_merge(arena, n->items[place - 1], over->items[i]) : over->items[i];
        if (!value)
            return NULL;
        size_t at = place ? place - 1 : n->count++;
        if (n->items[at] != value || !place)
            n->keys[at] = over->keys[i];
        n->items[at] = value;
    }
    return n;
}

static struct node *merge_lists(struct arena *arena, struct node *under, struct node *over)
{
    struct map places CLEANUP(map_free) = {0};
    struct node *n = node_map(arena, over->source, under->count + over->count);
    if (!n)
        return NULL;
    n->kind = NODE_LIST;
    n->line = over->line;
    n->column = over->column;
    for (size_t i = 0; i < under->count; i++, n->count++) {
        n->items[i] = under->items[i];
        if (map_put(&places, item_name(n->items[i])->text, (void *)(i + 1)) != OK)
            return NULL;
    }
    size_t known = n->count; /* a name twice in one file stays twice, for the check that reports it */
    for (size_t i = 0; i < over->count; i++) {
        size_t place = (size_t)map_get(&places, item_name(over->items[i])->text);
        struct node *item = place ? node_merge(arena, n->items[place - 1], over->items[i]) : over->items[i];
        if (!item)
            return NULL;
        n->items[place && place <= known ? place - 1 : n->count++] = item;
    }
    return n;
}

struct node *node_merge(struct arena *arena, struct node *under, struct node *over)
{
    if (!under)
        return over;
    if (under->kind == NODE_MAP && node_is_null(over))
        return under;
    if (under->kind == NODE_MAP && over->kind == NODE_MAP)
        return merge_maps(arena, under, over);
    if (under->kind == NODE_LIST && over->kind == NODE_LIST && list_is_named(under) && list_is_named(over))
        return merge_lists(arena, under, over);
    return over;
}
