/*
 * Findings of layers above about what a configuration names: they know the key, the files know its place.
 * Reads the sources once more; the command line, blocking.
 */
#include "config/assemble.h"
#include "config/decode.h"
#include "config/report.h"

#include "base/num.h"

/* The longest key of the map that `path` begins with: ids may have dots themselves. */
static const struct node *step_key(const struct node *map, struct str *path)
{
    const struct node *found = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < map->count; i++) {
        struct str key = map->keys[i]->text;
        bool whole = str_starts(*path, key) && (key.n == path->n || strchr(".[", path->p[key.n]));
        if (!whole || key.n < longest)
            continue;
        longest = key.n;
        found = map->items[i];
    }
    *path = str_from(*path, found ? longest : path->n);
    return found;
}

/* "[2]": the third item, placeholders aside. */
static const struct node *step_index(const struct node *list, struct str *path)
{
    uint64_t index = 0;
    struct str rest = str_from(*path, 1), digits = str_cut(&rest, ']');
    *path = rest;
    if (!num_parse_u64(digits, &index))
        return NULL;
    for (size_t i = 0; i < list->count; i++)
        if (!node_is_ellipsis(list->items[i]) && index-- == 0)
            return list->items[i];
    return NULL;
}

/* The value at the path, or what is nearest above it; NULL: nothing of it is there (a pipe is read once
 * only). */
static const struct node *locate(const struct node *root, struct str path)
{
    const struct node *at = NULL, *next = root;
    while (next && path.n) {
        if (path.p[0] == '.')
            path = str_from(path, 1);
        bool is_index = path.n && path.p[0] == '[';
        if (next->kind != (is_index ? NODE_LIST : NODE_MAP))
            break;
        next = is_index ? step_index(next, &path) : step_key(next, &path);
        at = next ? next : at;
    }
    return at;
}

void findings_add_error(struct findings *findings, const struct config_sources *sources, struct str key,
                        struct str sentence)
{
    struct assembly a;
    struct findings again CLEANUP(findings_free) = {0};
    bool assembled = assemble(sources, &a, &again);
    finding_add(findings, SEVERITY_ERROR, assembled ? locate(a.root, key) : NULL, key, "%.*s",
                STR_ARG(sentence));
    assembly_free(&a);
}
