/* Lower-cased keys in a map. Pure but for its memory. */
#include "config/name_set.h"

/* "provider NUL model": neither part can hold a NUL. Empty when memory is short. */
static struct str key_make(struct name_set *set, struct str provider, struct str model)
{
    size_t n = provider.n + 1 + model.n;
    char *key = arena_alloc(&set->arena, n);
    if (!key)
        return STR_NONE;
    for (size_t i = 0; i < provider.n; i++)
        key[i] = char_lower(provider.p[i]);
    for (size_t i = 0; i < model.n; i++)
        key[provider.n + 1 + i] = char_lower(model.p[i]);
    return str_make(key, n);
}

bool name_set_add(struct name_set *set, struct str provider, struct str model)
{
    struct str key = key_make(set, provider, model);
    if (key.n && map_get(&set->map, key))
        return false;
    if (!key.n || map_put(&set->map, key, set) != OK)
        set->failed = true;
    return true;
}

bool name_set_has(struct name_set *set, struct str provider, struct str model)
{
    struct str key = key_make(set, provider, model);
    set->failed |= !key.n;
    return key.n && map_get(&set->map, key);
}

void name_set_free(struct name_set *set)
{
    map_free(&set->map);
    arena_free(&set->arena);
}
