/*
 * Texts that many rows share (ids of clients, strategies, providers, models) stand once in the table `names`;
 * rows hold their number. A name is marked with the last day on which a row was written with it, so that
 * retention can drop those whose rows are gone. The store's thread.
 */
#include "store/inside.h"

enum { NAMES_MAX = 20000 };
#define DAY_US (INT64_C(86400) * 1000000)

struct name {
    struct str text;
    int64_t id;
};

void names_forget(struct names *names)
{
    memset(names->seats, 0, sizeof names->seats);
    memset(names->pairs, 0, sizeof names->pairs);
    map_free(&names->ids);
    arena_reset(&names->arena);
    names->boot_id = 0;
}

void names_begin(struct names *names)
{
    int64_t today = clock_wall_us() / DAY_US;
    if (names->day != today || names->ids.count >= NAMES_MAX)
        names_forget(names);
    names->day = today;
}

static size_t seat_of(uint64_t key)
{
    return (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) % NAME_SEATS_MAX;
}

/* When memory is short, the table is asked again. */
static const struct name *name_keep(struct names *names, struct str text, int64_t id)
{
    struct name *n = arena_alloc(&names->arena, sizeof *n);
    if (!n)
        return NULL;
    n->id = id;
    n->text = arena_str(&names->arena, text);
    if (!n->text.p || map_put(&names->ids, n->text, n) != OK)
        return NULL;
    return n;
}

static enum err name_make(struct store *s, struct str name, int64_t *id)
{
    CLEANUP(query_end)
    struct query q = query_make(s->db, "INSERT INTO names (name, seen) VALUES (?, ?) ON CONFLICT (name) "
                                       "DO UPDATE SET seen = excluded.seen RETURNING id");
    query_str(&q, name);
    query_i64(&q, s->names.day);
    if (query_step(&q))
        *id = query_get_i64(&q);
    return query_run(&q);
}

/* A text that stands where it stood before is most likely the same; whether it is, is looked at. */
enum err name_id(struct store *s, struct str name, int64_t *id)
{
    struct names *names = &s->names;
    *id = 0;
    if (!name.n)
        return OK;
    size_t seat = seat_of((uintptr_t)name.p);
    const struct name *known = names->seats[seat].name;
    if (known && names->seats[seat].p == name.p && str_eq(known->text, name)) {
        *id = known->id;
        return OK;
    }
    known = map_get(&names->ids, name);
    if (!known) {
        TRY(name_make(s, name, id));
        known = name_keep(names, name, *id);
    }
    if (known) {
        *id = known->id;
        names->seats[seat].p = name.p;
        names->seats[seat].name = known;
    }
    return OK;
}

enum err name_pair(struct store *s, struct str provider, struct str model, int64_t provider_id,
                   int64_t model_id, int64_t *id)
{
    char name[2 * ENTRY_TEXT_MAX + 1];
    struct name_pair *seat = &s->names.pairs[seat_of((uint64_t)provider_id << 32 ^ (uint64_t)model_id)];
    if (seat->both && seat->first == provider_id && seat->second == model_id) {
        *id = seat->both;
        return OK;
    }
    provider = str_first(provider, ENTRY_TEXT_MAX);
    model = str_first(model, ENTRY_TEXT_MAX);
    memcpy(name, provider.p, provider.n);
    name[provider.n] = '/';
    if (model.n)
        memcpy(name + provider.n + 1, model.p, model.n);
    TRY(name_id(s, str_make(name, provider.n + 1 + model.n), id));
    *seat = (struct name_pair){provider_id, model_id, *id};
    return OK;
}

enum err name_find(struct store *s, struct str name, int64_t *id)
{
    CLEANUP(query_end) struct query q = query_make(s->db, "SELECT id FROM names WHERE name = ?");
    query_str(&q, name);
    *id = query_step(&q) ? query_get_i64(&q) : -1;
    return query_err(&q);
}

enum err name_text(struct store *s, int64_t id, struct arena *arena, struct str *text)
{
    *text = STR_NONE;
    if (!id)
        return OK;
    CLEANUP(query_end) struct query q = query_make(s->db, "SELECT name FROM names WHERE id = ?");
    query_i64(&q, id);
    if (query_step(&q)) {
        *text = arena_str(arena, query_get_str(&q));
        if (!text->p)
            return ERR_NOMEM;
    }
    return query_err(&q);
}

enum err boot_id(struct store *s, uint64_t boot, int64_t *id)
{
    if (!s->names.boot_id || s->names.boot != boot) {
        CLEANUP(query_end)
        struct query q = query_make(s->db, "INSERT INTO boots (boot) VALUES (?) ON CONFLICT (boot) "
                                           "DO UPDATE SET boot = excluded.boot RETURNING id");
        query_i64(&q, (int64_t)boot);
        if (query_step(&q))
            s->names.boot_id = query_get_i64(&q);
        TRY(query_err(&q));
        s->names.boot = boot;
    }
    *id = s->names.boot_id;
    return OK;
}

enum err boot_find(struct store *s, uint64_t boot, int64_t *id)
{
    CLEANUP(query_end) struct query q = query_make(s->db, "SELECT id FROM boots WHERE boot = ?");
    query_i64(&q, (int64_t)boot);
    *id = query_step(&q) ? query_get_i64(&q) : -1;
    return query_err(&q);
}

enum err boot_of(struct store *s, int64_t id, uint64_t *boot)
{
    CLEANUP(query_end) struct query q = query_make(s->db, "SELECT boot FROM boots WHERE id = ?");
    query_i64(&q, id);
    *boot = query_step(&q) ? (uint64_t)query_get_i64(&q) : 0;
    return query_err(&q);
}
