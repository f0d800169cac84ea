/*
 * struct map: strings to pointers, open addressing. Keys are borrowed: they live at least as long as the map
 * (an arena, or inside the value). Iteration follows insertion order as long as nothing was removed.
 */
#ifndef HESTIA_BASE_MAP_H
#define HESTIA_BASE_MAP_H

#include "base/err.h"
#include "base/str.h"

struct map_entry {
    struct str key;
    void *value;
};

struct map {
    struct map_entry *entries; /* in order of insertion */
    size_t count, capacity;
    uint32_t *slots; /* index + 1 into entries, 0 = free */
    size_t slot_count;
};

/* NULL when absent. */
void *map_get(const struct map *m, struct str key);
/* Adds or replaces. ERR_NOMEM leaves the map as it was. */
enum err map_put(struct map *m, struct str key, void *value) MUST_CHECK;
/* Returns the value that was there, or NULL. */
void *map_remove(struct map *m, struct str key);
void map_free(struct map *m);

/* An empty one has no entries to point to. */
#define MAP_EACH(variable, m)                                                                                \
    for (struct map_entry *variable = (m)->entries; (m)->count > 0 && variable < (m)->entries + (m)->count;  \
         variable++)

#endif
