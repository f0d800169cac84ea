/*
 * What strategies used lately, for their sliding counters at start: one pass over the pages of that
 * time, in memory by strategy and slot of 5 s. As in limit.h, a request counts when it was admitted, its
 * tokens and its cost when it ended. Boot, on the store's thread.
 */
#include "store/inside.h"

#include "base/mem.h"

#include <stdlib.h>

#define SLOT_US (INT64_C(5) * 1000000)

struct slot {
    int64_t strategy, at; /* number of the name; microseconds / SLOT_US */
    int64_t requests, input_tokens, output_tokens, cost;
};

struct slots {
    struct slot *list;
    size_t count, capacity;
    uint32_t *index; /* place in the list + 1; a power of two of them, at most half in use */
    size_t index_size;
};

static void slots_free(struct slots *s)
{
    mem_free(s->list);
    mem_free(s->index);
}

static size_t slot_place(const struct slots *s, int64_t strategy, int64_t at)
{
    uint64_t hash =
        ((uint64_t)at * UINT64_C(0x9e3779b97f4a7c15)) ^ ((uint64_t)strategy * UINT64_C(0xc2b2ae3d27d4eb4f));
    size_t i = (size_t)(hash ^ hash >> 29) & (s->index_size - 1);
    for (; s->index[i]; i = (i + 1) & (s->index_size - 1)) {
        const struct slot *slot = &s->list[s->index[i] - 1];
        if (slot->at == at && slot->strategy == strategy)
            break;
    }
    return i;
}

static enum err slots_grow(struct slots *s)
{
    size_t capacity = s->capacity ? s->capacity * 2 : 1024;
    struct slot *list = mem_resize(s->list, capacity * sizeof *list);
    if (!list)
        return ERR_NOMEM;
    s->list = list;
    uint32_t *index = mem_alloc(capacity * 2 * sizeof *index);
    if (!index)
        return ERR_NOMEM;
    mem_free(s->index);
    s->index = index;
    s->index_size = capacity * 2;
    s->capacity = capacity;
    for (size_t i = 0; i < s->count; i++)
        s->index[slot_place(s, list[i].strategy, list[i].at)] = (uint32_t)i + 1;
    return OK;
}

static struct slot *slot_find(struct slots *s, int64_t strategy, int64_t at_us)
{
    int64_t at = at_us / SLOT_US;
    if (s->count == s->capacity && slots_grow(s) != OK)
        return NULL;
    size_t place = slot_place(s, strategy, at);
    if (!s->index[place]) {
        s->list[s->count++] = (struct slot){.strategy = strategy, .at = at};
        s->index[place] = (uint32_t)s->count;
    }
    return &s->list[s->index[place] - 1];
}

static void add_amount(int64_t *sum, int64_t n)
{
    if (__builtin_add_overflow(*sum, MAX(n, (int64_t)0), sum))
        *sum = INT64_MAX;
}

static enum err slots_add(struct slots *slots, const struct page_row *row, int64_t since_us)
{
    int64_t strategy = row->names[NAME_STRATEGY];
    bool counts = row->outcome != ENTRY_FAILED && row->at_us >= since_us;
    if (!strategy || row->ended_us < since_us)
        return OK;
    struct slot *slot = slot_find(slots, strategy, row->ended_us);
    if (!slot)
        return ERR_NOMEM;
    add_amount(&slot->input_tokens, row->input_tokens);
    add_amount(&slot->output_tokens, row->output_tokens);
    add_amount(&slot->cost, row->cost);
    if (counts && !(slot = slot_find(slots, strategy, row->at_us)))
        return ERR_NOMEM;
    slot->requests += counts;
    return OK;
}

static enum err slots_fill(struct slots *slots, struct store *s, int64_t since_us)
{
    CLEANUP(query_end)
    struct query q = query_make(s->db, "SELECT last_us, page, boot, data FROM request_pages WHERE "
                                       "last_us >= ?");
    query_i64(&q, since_us);
    struct page page;
    struct page_row row;
    while (page_step(s, &q, INT64_MIN, &page))
        while (page_row_step(s, &page, &row))
            TRY(slots_add(slots, &row, since_us));
    return query_err(&q);
}

static int slot_compare(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->strategy > y->strategy) - (x->strategy < y->strategy);
}

struct recent_call {
    struct store *store;
    int64_t since_us;
    void (*each)(void *argument, const struct usage_recent *u);
    void *argument;
    struct error *error;
    enum err err;
};

/* A strategy's name, from the one before when that is the same, else from what was looked up already. */
static enum err slots_give(const struct slots *slots, struct recent_call *c, struct arena *arena)
{
    struct map names = {0}; /* number's bytes -> struct str */
    enum err err = OK;
    for (size_t i = 0; err == OK && i < slots->count; i++) {
        const struct slot *slot = &slots->list[i];
        struct str key = str_make((const char *)&slot->strategy, sizeof slot->strategy);
        struct str *name = map_get(&names, key);
        if (!name) {
            name = arena_alloc(arena, sizeof *name);
            err = name ? name_text(c->store, slot->strategy, arena, name) : ERR_NOMEM;
            if (err == OK)
                err = map_put(&names, key, name);
        }
        if (err != OK)
            break;
        struct usage_recent u = {.strategy = *name,
                                 .at_us = slot->at * SLOT_US,
                                 .requests = slot->requests,
                                 .input_tokens = slot->input_tokens,
                                 .output_tokens = slot->output_tokens,
                                 .cost = slot->cost};
        c->each(c->argument, &u);
    }
    map_free(&names);
    return err;
}

static void recent_ask(void *argument)
{
    struct recent_call *c = argument;
    CLEANUP(slots_free) struct slots slots = {0};
    CLEANUP(arena_free) struct arena arena = {0};
    c->err = slots_fill(&slots, c->store, c->since_us);
    if (c->err == OK && slots.count) {
        qsort(slots.list, slots.count, sizeof *slots.list, slot_compare);
        c->err = slots_give(&slots, c, &arena);
    }
    if (c->err != OK)
        store_fail(c->store, c->err, c->error);
}

enum err store_recent(struct store *s, int64_t since_us,
                      void (*each)(void *argument, const struct usage_recent *u), void *argument,
                      struct error *error)
{
    struct recent_call c = {s, since_us, each, argument, error, OK};
    store_ask(s, recent_ask, &c);
    return c.err;
}
