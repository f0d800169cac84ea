/*
 * The registry of clients and strategies: the rows of the store, the present configuration, and the book made
 * of both. Owned by the control thread; book_queue.c changes it.
 */
#include "strategy/book_inside.h"

#include "base/mem.h"
#include "loop/crypto.h"

struct books *books_new(struct loop *control, struct store *store)
{
    struct books *all = mem_alloc(sizeof *all);
    if (!all)
        return NULL;
    all->control = control;
    all->store = store;
    list_init(&all->requests);
    if (store)
        memcpy(all->pepper, store_pepper(store), PEPPER_SIZE);
    else
        crypto_random(all->pepper, PEPPER_SIZE);
    return all;
}

static void graves_free(struct map *graves)
{
    MAP_EACH(entry, graves)
    {
        mem_free(entry->value);
    }
    map_free(graves);
}

void books_free(struct books *all)
{
    if (!all)
        return;
    REQUIRE(!all->is_running && list_empty(&all->requests));
    for (size_t i = 0; i < COUNT_OF(all->of); i++) {
        rows_free(&all->of[i]);
        graves_free(&all->buried[i]);
    }
    book_unref(all->current);
    explicit_bzero(all->pepper, sizeof all->pepper);
    mem_free(all);
}

void books_miss_clients(struct books *all)
{
    all->misses_clients = true;
}

void books_on_change(struct books *all, struct books_publisher publisher)
{
    all->publisher = publisher;
}

struct book *books_current(struct books *all)
{
    return book_ref(all->current);
}

enum err books_rebuild(struct books *all, struct config *config)
{
    struct book *b =
        book_build(config, &all->of[STORE_STRATEGIES], &all->of[STORE_CLIENTS], all->pepper, all->current);
    if (!b)
        return ERR_NOMEM;
    b->misses_clients = all->misses_clients;
    book_unref(all->current);
    all->current = b;
    return OK;
}

struct book *books_apply(struct books *all, struct config *config, struct error *error)
{
    enum err err = books_ensure_default(all, config);
    if (err == OK)
        err = books_rebuild(all, config);
    if (err != OK) {
        error_set(error, err, "no memory for clients and strategies");
        return NULL;
    }
    books_wake(all);
    return book_ref(all->current);
}

/* ---- revisions --------------------------------------------------------------------------------------- */

uint64_t books_first_revision(const struct books *all, enum store_table table, struct str id)
{
    const struct book_grave *grave = map_get(&all->buried[table], id);
    return MAX(all->buried_floor, grave ? grave->revision : 0) + 1;
}

/* When there are too many, or memory is short, they share one grave: the deepest. */
static void graves_level(struct books *all, uint64_t revision)
{
    all->buried_floor = MAX(all->buried_floor, revision);
    for (size_t i = 0; i < COUNT_OF(all->buried); i++) {
        MAP_EACH(entry, &all->buried[i])
        {
            const struct book_grave *grave = entry->value;
            all->buried_floor = MAX(all->buried_floor, grave->revision);
        }
        graves_free(&all->buried[i]);
    }
}

void books_bury(struct books *all, enum store_table table, struct str id, uint64_t revision)
{
    struct book_grave *grave = map_get(&all->buried[table], id);
    if (grave) {
        grave->revision = MAX(grave->revision, revision);
        return;
    }
    grave = all->buried[table].count < GRAVES_MAX ? mem_alloc(sizeof *grave + id.n) : NULL;
    if (grave) {
        *grave = (struct book_grave){.revision = revision, .n = id.n};
        if (id.n)
            memcpy(grave->id, id.p, id.n);
    }
    if (!grave || map_put(&all->buried[table], str_make(grave->id, grave->n), grave) != OK) {
        mem_free(grave);
        graves_level(all, revision);
    }
}

/* ---- what is put right ------------------------------------------------------------------------------- */

static bool config_has_strategy(const struct config *config, struct str id)
{
    bool found = false;
    for (size_t i = 0; i < config->strategy_count; i++)
        found |= str_eq(config->strategies[i].id, id);
    return found;
}

/* `doc` as a row that is still to be written. */
static enum err row_keep(struct books *all, enum store_table table, const json_t *doc, struct row_stamp stamp)
{
    struct error error;
    struct arena names CLEANUP(arena_free) = {0};
    TRY(rows_reserve(&all->of[table], 1));
    struct book_row *row = row_make(table, doc, NULL, stamp, &names, &error);
    if (!row)
        return error.err;
    row->is_unsaved = all->store != NULL;
    all->has_unsaved |= row->is_unsaved;
    rows_put(&all->of[table], row);
    return OK;
}

enum err books_ensure_default(struct books *all, const struct config *config)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    struct error error;
    struct str id = STR("default");
    int64_t now = clock_wall_us();
    if (config_has_strategy(config, id) || rows_find(&all->of[STORE_STRATEGIES], id))
        return OK;
    TRY(doc_parse(STR("{\"id\":\"default\",\"name\":\"Default Strategy\","
                      "\"allowed_models\":{\"selected_all\":true}}"),
                  &doc, &error));
    struct row_stamp stamp = {books_first_revision(all, STORE_STRATEGIES, id), now, now};
    return row_keep(all, STORE_STRATEGIES, doc, stamp);
}

static enum err clients_collect(const struct books *all, const struct config *config, struct map *ids)
{
    for (size_t i = 0; i < config->client_count; i++)
        TRY(map_put(ids, config->clients[i].id, ids));
    for (size_t i = 0; i < all->of[STORE_CLIENTS].count; i++)
        TRY(map_put(ids, all->of[STORE_CLIENTS].items[i]->id, ids));
    return OK;
}

static enum err parent_clear(struct books *all, const struct book_row *row)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    struct error error;
    struct row_stamp stamp = {row->revision + 1, row->created_us, clock_wall_us()};
    book_event_row(LOG_WARNING, "strategy_parent_gone", STORE_STRATEGIES, row->id,
                   "The client that owned the strategy does not exist: it is shared now");
    TRY(doc_parse(row->shown, &doc, &error));
    TRY(doc_set(doc, "parent", STR_NONE));
    return row_keep(all, STORE_STRATEGIES, doc, stamp);
}

enum err books_clear_parents(struct books *all, const struct config *config)
{
    struct map ids CLEANUP(map_free) = {0};
    TRY(clients_collect(all, config, &ids));
    for (size_t i = 0; i < all->of[STORE_STRATEGIES].count; i++) {
        const struct book_row *row = all->of[STORE_STRATEGIES].items[i];
        if (row->strategy.parent.n && !map_get(&ids, row->strategy.parent))
            TRY(parent_clear(all, row));
    }
    return OK;
}
