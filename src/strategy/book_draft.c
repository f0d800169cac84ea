/* A draft: the rows a change would write, collected while its rules are looked at. Control thread. */
#include "strategy/book_inside.h"

#include <stdarg.h>
#include <stdio.h>

enum err draft_refuse(struct draft *d, enum err err, const char *param, const char *format, ...)
{
    va_list args;
    d->error->err = err;
    d->error->param = param;
    va_start(args, format);
    vsnprintf(d->error->why, sizeof d->error->why, format, args);
    va_end(args);
    return err;
}

static enum err no_memory(struct draft *d)
{
    return error_set(d->error, ERR_NOMEM, "no memory for a change");
}

void draft_free(struct draft *d)
{
    for (size_t i = 0; i < d->count; i++)
        row_unref(d->rows[i].row);
    d->count = 0;
    arena_free(&d->arena);
}

static enum err room_make(struct draft *d)
{
    if (d->count < d->capacity)
        return OK;
    size_t capacity = 2 * d->capacity + 8;
    struct draft_row *rows = arena_alloc(&d->arena, capacity * sizeof *rows);
    if (!rows)
        return no_memory(d);
    if (d->count)
        memcpy(rows, d->rows, d->count * sizeof *rows);
    d->rows = rows;
    d->capacity = capacity;
    return OK;
}

enum err draft_add(struct draft *d, struct book_row *row, enum draft_verb verb)
{
    enum err err = room_make(d);
    if (err != OK) {
        row_unref(row);
        return err;
    }
    d->rows[d->count++] = (struct draft_row){row, verb};
    return OK;
}

enum err draft_renew(struct draft *d, struct book_row *old, const json_t *doc)
{
    struct row_stamp stamp = {old->revision + 1, old->created_us, d->now_us};
    struct book_row *row = row_make(old->table, doc, &old->key, stamp, d->keep, d->error);
    if (!row)
        return d->error->err;
    if (!str_eq(row->text, old->text))
        return draft_add(d, row, DRAFT_UPDATE);
    row_unref(row);
    return OK;
}

enum err draft_create(struct draft *d, enum store_table table, const json_t *doc, const struct book_key *key)
{
    uint64_t revision = books_first_revision(d->all, table, doc_text(doc, "id"));
    struct row_stamp stamp = {revision, d->now_us, d->now_us};
    struct book_row *row = row_make(table, doc, key, stamp, d->keep, d->error);
    return row ? draft_add(d, row, DRAFT_CREATE) : d->error->err;
}

enum err draft_set(struct draft *d, struct book_row *old, const char *key, struct str value)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    TRY(doc_parse(old->shown, &doc, d->error));
    if (doc_set(doc, key, value) != OK)
        return no_memory(d);
    return draft_renew(d, old, doc);
}

enum err draft_says_released(struct draft *d, struct str strategy)
{
    struct strs *list = &d->result->released;
    if (!list->items)
        list->items = arena_alloc(d->keep, (d->all->of[STORE_STRATEGIES].count + 1) * sizeof *list->items);
    struct str id = arena_str(d->keep, strategy);
    if (!list->items || !id.p)
        return no_memory(d);
    list->items[list->count++] = id;
    return OK;
}

enum err draft_release(struct draft *d, struct book_row *strategy)
{
    TRY(draft_says_released(d, strategy->id));
    return draft_set(d, strategy, "parent", STR_NONE);
}

enum err draft_delete(struct draft *d, struct book_row *row)
{
    return draft_add(d, row_ref(row), DRAFT_DELETE);
}

/* What the book says of an id; false: nothing. */
static bool entry_find(const struct book *b, enum store_table table, struct str id, uint64_t *revision,
                       bool *is_managed)
{
    const struct book_strategy *s = table == STORE_STRATEGIES ? book_strategy(b, id) : NULL;
    const struct book_client *c = table == STORE_CLIENTS ? book_client(b, id) : NULL;
    if (!s && !c)
        return false;
    *revision = s ? s->revision : c->revision;
    *is_managed = s ? s->is_managed : c->is_managed;
    return true;
}

enum err draft_target(struct draft *d, enum store_table table, struct book_row **row)
{
    const char *noun = table == STORE_CLIENTS ? "client" : "strategy";
    struct str id = d->change->id;
    uint64_t revision;
    bool is_managed;
    if (!entry_find(d->seen, table, id, &revision, &is_managed))
        return error_set(d->error, table == STORE_CLIENTS ? ERR_CLIENT_NOT_FOUND : ERR_STRATEGY_NOT_FOUND,
                         "there is no %s '%.*s'", noun, STR_ARG(str_first(id, 128)));
    if (is_managed)
        return error_set(d->error, ERR_MANAGED_BY_CONFIG,
                         "the configuration file defines the %s '%.*s'; change it there", noun,
                         STR_ARG(str_first(id, 128)));
    if (d->change->if_revision && d->change->if_revision != revision)
        return error_set(d->error, ERR_PRECONDITION,
                         "the %s has been changed since: its revision is %llu, not %llu", noun,
                         (unsigned long long)revision, (unsigned long long)d->change->if_revision);
    *row = rows_find(&d->all->of[table], id);
    REQUIRE(*row);
    return OK;
}

enum err draft_answer(struct draft *d, enum store_table table, struct str id)
{
    d->result->id = arena_str(d->keep, id);
    if (!d->result->id.p)
        return no_memory(d);
    const struct book_row *row = rows_find(&d->all->of[table], id);
    for (size_t i = 0; i < d->count; i++)
        if (d->rows[i].row->table == table && str_eq(d->rows[i].row->id, id))
            row = d->rows[i].row;
    REQUIRE(row);
    d->result->revision = row->revision;
    return OK;
}
