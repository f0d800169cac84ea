/*
 * Which records the list holds already, for the two times when the journal may give one again: at boot, after
 * a crash between a commit and the mark, and after a commit whose result nobody knows. Otherwise the journal
 * gives each record once, and nothing is looked up. The store's thread.
 */
#include "store/inside.h"

#include "base/mem.h"

struct known_key {
    int64_t boot; /* its number; 0 = a free seat */
    uint64_t sequence;
    uint32_t worker;
};

void known_clear(struct known *k)
{
    mem_free(k->seats);
    *k = (struct known){0};
}

static struct known_key *seat_of(const struct known *k, const struct known_key *key)
{
    uint64_t hash = key->sequence * UINT64_C(0x9e3779b97f4a7c15) ^
                    ((uint64_t)key->boot << 32 ^ key->worker) * UINT64_C(0xc2b2ae3d27d4eb4f);
    for (size_t i = (size_t)(hash ^ hash >> 31);; i++) {
        struct known_key *seat = &k->seats[i & (k->size - 1)];
        if (!seat->boot ||
            (seat->boot == key->boot && seat->worker == key->worker && seat->sequence == key->sequence))
            return seat;
    }
}

static enum err known_grow(struct known *k)
{
    struct known bigger = {.size = k->size ? k->size * 2 : 4096, .count = k->count};
    bigger.seats = mem_alloc(bigger.size * sizeof *bigger.seats);
    if (!bigger.seats)
        return ERR_NOMEM;
    for (size_t i = 0; i < k->size; i++)
        if (k->seats[i].boot)
            *seat_of(&bigger, &k->seats[i]) = k->seats[i];
    mem_free(k->seats);
    *k = bigger;
    return OK;
}

static enum err known_add(struct known *k, const struct known_key *key)
{
    if (k->count * 2 >= k->size)
        TRY(known_grow(k));
    struct known_key *seat = seat_of(k, key);
    k->count += !seat->boot;
    *seat = *key;
    return OK;
}

bool known_has(const struct known *k, int64_t boot, const struct request_row *row)
{
    struct known_key key = {boot, row->sequence, row->worker};
    return k->count && seat_of(k, &key)->boot;
}

/* Nothing ends before it was admitted: a page whose last end lies before holds none of them. */
enum err known_load(struct store *s, int64_t boot, int64_t oldest_us)
{
    CLEANUP(query_end)
    struct query q = query_make(s->db, "SELECT last_us, page, boot, data FROM request_pages WHERE boot = ? "
                                       "AND last_us >= ?");
    query_i64(&q, boot);
    query_i64(&q, oldest_us);
    struct page page;
    struct page_row row;
    while (page_step(s, &q, INT64_MIN, &page))
        while (page_row_step(s, &page, &row)) {
            struct known_key key = {page.boot, row.sequence, row.worker};
            TRY(known_add(&s->known, &key));
        }
    return query_err(&q);
}
