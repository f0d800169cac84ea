/*
 * One entry of the store, decoded: immutable and reference-counted, because books of several generations
 * share it. And the rows of a table, by age. Made on the control thread; the last reference may go anywhere.
 */
#include "strategy/book_inside.h"

#include "base/mem.h"

#include <stdlib.h>

/* ---- one row ----------------------------------------------------------------------------------------- */

struct book_row *row_ref(struct book_row *r)
{
    r->references++;
    return r;
}

void row_unref(struct book_row *r)
{
    if (!r || --r->references > 0)
        return;
    arena_free(&r->arena);
    mem_free(r);
}

/* The texts of the row, from what has been decoded: the normal form, whatever came in. */
static enum err texts_make(struct book_row *r, const json_t *doc)
{
    struct buf shown CLEANUP(buf_free) = BUF(2 * BOOK_TEXT_MAX),
                     text CLEANUP(buf_free) = BUF(2 * BOOK_TEXT_MAX);
    if (r->table == STORE_STRATEGIES) {
        strategy_print(&shown, &r->strategy, doc);
    } else {
        client_print(&shown, &r->client, NULL, doc);
        client_print(&text, &r->client, &r->key, doc);
    }
    TRY(buf_err(&shown));
    TRY(buf_err(&text));
    r->shown = arena_str(&r->arena, buf_str(&shown));
    r->text = r->table == STORE_CLIENTS ? arena_str(&r->arena, buf_str(&text)) : r->shown;
    return r->shown.p && r->text.p ? OK : ERR_NOMEM;
}

static enum err decode(struct book_row *r, const json_t *doc, struct error *error)
{
    char *text = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(15));
    struct str json = arena_str(&r->arena, str_from_c(text));
    free(text);
    if (!json.p)
        return error_set(error, ERR_NOMEM, "no memory for a definition");
    if (r->table == STORE_STRATEGIES) {
        TRY(config_read_strategy(&r->arena, json, &r->strategy, error));
        r->id = r->strategy.id;
        r->name = r->strategy.name;
    } else {
        TRY(config_read_client(&r->arena, json, &r->client, error));
        r->id = r->client.id;
        r->name = r->client.name;
    }
    enum err err = texts_make(r, doc);
    return err == OK ? OK : error_set(error, ERR_NOMEM, "no memory for a definition");
}

struct book_row *row_make(enum store_table table, const json_t *doc, const struct book_key *key,
                          struct row_stamp stamp, struct arena *names, struct error *error)
{
    struct book_row *r = mem_alloc(sizeof *r);
    if (!r) {
        error_set(error, ERR_NOMEM, "no memory for a definition");
        return NULL;
    }
    r->references = 1;
    r->table = table;
    r->revision = stamp.revision;
    r->created_us = stamp.created_us;
    r->updated_us = stamp.updated_us;
    if (key)
        r->key = *key;
    error->param = NULL;
    if (decode(r, doc, error) == OK)
        return r;
    if (error->param) /* it lies in the arena that goes now */
        error->param = arena_c(names, str_from_c(error->param));
    row_unref(r);
    return NULL;
}

/* ---- from the store ---------------------------------------------------------------------------------- */

/* Takes the member "key" out of the document. */
static enum err key_take(json_t *doc, struct book_key *key, struct error *error)
{
    const json_t *member = json_object_get(doc, "key");
    if (!member)
        return OK;
    struct str lookup = doc_text(member, "lookup");
    if (lookup.n != KEY_LOOKUP_SIZE || !key_hmac_parse(doc_text(member, "hmac"), key->hmac))
        return error_set(error, ERR_BAD_REQUEST, "its key is damaged");
    memcpy(key->lookup, lookup.p, lookup.n);
    key->is_set = true;
    json_object_del(doc, "key");
    return OK;
}

struct book_row *row_load(const struct store_row *stored, struct error *error)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    struct book_key key = {0};
    struct arena names CLEANUP(arena_free) = {0};
    struct row_stamp stamp = {stored->revision, stored->created_us, stored->updated_us};
    if (doc_parse(stored->definition, &doc, error) != OK)
        return NULL;
    if (stored->table == STORE_CLIENTS && key_take(doc, &key, error) != OK)
        return NULL;
    struct book_row *r = row_make(stored->table, doc, &key, stamp, &names, error);
    error->param = NULL;
    if (r && !str_eq(r->id, stored->id)) {
        error_set(error, ERR_BAD_REQUEST, "its id is another one");
        row_unref(r);
        return NULL;
    }
    return r;
}

/* ---- the rows of a table ----------------------------------------------------------------------------- */

enum err rows_reserve(struct book_rows *rows, size_t more)
{
    if (rows->count + more <= rows->capacity)
        return OK;
    size_t capacity = 2 * rows->capacity + more;
    struct book_row **items = mem_resize(rows->items, capacity * sizeof(struct book_row *));
    if (!items)
        return ERR_NOMEM;
    rows->items = items;
    rows->capacity = capacity;
    return OK;
}

static size_t rows_index(const struct book_rows *rows, struct str id)
{
    size_t i = 0;
    while (i < rows->count && !str_eq(rows->items[i]->id, id))
        i++;
    return i;
}

struct book_row *rows_find(const struct book_rows *rows, struct str id)
{
    size_t i = rows_index(rows, id);
    return i < rows->count ? rows->items[i] : NULL;
}

void rows_put(struct book_rows *rows, struct book_row *r)
{
    size_t i = rows_index(rows, r->id);
    if (i < rows->count) {
        row_unref(rows->items[i]);
    } else {
        REQUIRE(rows->count < rows->capacity);
        rows->count++;
    }
    rows->items[i] = r;
}

void rows_remove(struct book_rows *rows, struct str id)
{
    size_t i = rows_index(rows, id);
    if (i == rows->count)
        return;
    struct book_row *r = rows->items[i];
    memmove(&rows->items[i], &rows->items[i + 1], (rows->count - i - 1) * sizeof(struct book_row *));
    rows->count--;
    row_unref(r);
}

void rows_free(struct book_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        row_unref(rows->items[i]);
    mem_free(rows->items);
    *rows = (struct book_rows){0};
}
