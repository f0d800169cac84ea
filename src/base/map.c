/* String-keyed hash map. One owner. */
#include "base/map.h"

#include "base/mem.h"

static size_t slot_find(const struct map *m, struct str key)
{
    size_t mask = m->slot_count - 1;
    size_t slot = str_hash(key) & mask;
    while (m->slots[slot] && !str_eq(m->entries[m->slots[slot] - 1].key, key))
        slot = (slot + 1) & mask;
    return slot;
}

void *map_get(const struct map *m, struct str key)
{
    if (m->count == 0)
        return NULL;
    uint32_t index = m->slots[slot_find(m, key)];
    return index ? m->entries[index - 1].value : NULL;
}

static void slots_fill(struct map *m)
{
    memset(m->slots, 0, m->slot_count * sizeof *m->slots);
    for (size_t i = 0; i < m->count; i++)
        m->slots[slot_find(m, m->entries[i].key)] = (uint32_t)i + 1;
}

static enum err map_grow(struct map *m)
{
    size_t capacity = m->capacity ? m->capacity * 2 : 8;
    uint32_t *slots = mem_alloc(capacity * 2 * sizeof *slots);
    struct map_entry *entries = slots ? mem_resize(m->entries, capacity * sizeof *entries) : NULL;
    if (!entries) {
        mem_free(slots);
        return ERR_NOMEM;
    }
    mem_free(m->slots);
    m->slots = slots;
    m->slot_count = capacity * 2;
    m->entries = entries;
    m->capacity = capacity;
    slots_fill(m);
    return OK;
}

enum err map_put(struct map *m, struct str key, void *value)
{
    if (m->count == m->capacity)
        TRY(map_grow(m));
    size_t slot = slot_find(m, key);
    if (m->slots[slot]) {
        m->entries[m->slots[slot] - 1].value = value;
        return OK;
    }
    m->entries[m->count++] = (struct map_entry){key, value};
    m->slots[slot] = (uint32_t)m->count;
    return OK;
}

void *map_remove(struct map *m, struct str key)
{
    if (m->count == 0)
        return NULL;
    uint32_t index = m->slots[slot_find(m, key)];
    if (!index)
        return NULL;
    void *value = m->entries[index - 1].value;
    memmove(&m->entries[index - 1], &m->entries[index], (m->count - index) * sizeof *m->entries);
    m->count--;
    slots_fill(m);
    return value;
}

void map_free(struct map *m)
{
    mem_free(m->entries);
    mem_free(m->slots);
    *m = (struct map){0};
}
