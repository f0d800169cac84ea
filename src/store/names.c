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
    map_free(&names->ids);
    arena_reset(&names->arena);
    names->boot_id = 0;
}

/* When memory is short, the table is asked again. */
static void name_keep(struct names *names, struct str text, int64_t id)
{
    struct name *n = arena_alloc(&names->arena, sizeof *n);
    if (!n)
        return;
    n->id = id;
    n->text = arena_str(&names->arena, text);
    enum err ignored = n->text.p ? map_put(&names->ids, n->text, n) : ERR_NOMEM;
    (void)ignored;
}

enum err name_id(struct store *s, struct str name, int64_t *id)
{
    int64_t today = clock_wall_us() / DAY_US;
    *id = 0;
    if (!name.n)
        return OK;
    if (s->names.day != today || s->names.ids.count >= NAMES_MAX)
        names_forget(&s->names);
    s->names.day = today;
    const struct name *known = map_get(&s->names.ids, name);
    if (known) {
        *id = known->id;
        return OK;
    }
    CLEANUP(query_end)
    struct query q = query_make(s->db, "INSERT INTO names (name, seen) VALUES (?, ?) ON CONFLICT (name) "
                                       "DO UPDATE SET seen = excluded.seen RETURNING id");
    query_str(&q, name);
    query_i64(&q, today);
    if (query_step(&q))
        *id = query_get_i64(&q);
    TRY(query_err(&q));
    name_keep(&s->names, name, *id);
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
