/*
 * The rules by which clients and strategies are made, changed and deleted (contract/localrouter 1.6, 2). Each
 * rule looks at the book as it is and adds to the draft; nothing is changed here. Control thread.
 */
#include "strategy/book_inside.h"

/* ---- what rules share -------------------------------------------------------------------------------- */

static enum err no_memory(struct draft *d)
{
    return error_set(d->error, ERR_NOMEM, "no memory for a change");
}

static enum err set(struct draft *d, json_t *doc, const char *key, struct str value)
{
    return doc_set(doc, key, value) == OK ? OK : no_memory(d);
}

struct str book_owned_name(struct arena *arena, struct str client)
{
    struct str cut = str_first(client, BOOK_NAME_MAX - (sizeof "'s strategy" - 1));
    while (cut.n < client.n && cut.n && ((unsigned char)client.p[cut.n] & 0xc0) == 0x80)
        cut.n--; /* not within a character */
    return arena_printf(arena, "%.*s's strategy", STR_ARG(cut));
}

static bool is_taken(const struct book *b, enum store_table table, struct str id)
{
    return table == STORE_CLIENTS ? book_client(b, id) != NULL : book_strategy(b, id) != NULL;
}

/* The decoder would take a number for its digits, and what they name would not have been looked at. */
static enum err text_require(struct draft *d, const json_t *doc, const char *key)
{
    const json_t *value = json_object_get(doc, key);
    return !value || json_is_string(value)
               ? OK
               : draft_refuse(d, ERR_BAD_REQUEST, key, "%s: a text is expected", key);
}

/* The id of what is created: the one that was given, else a new UUID. */
static enum err id_choose(struct draft *d, enum store_table table, json_t *doc)
{
    if (!json_object_get(doc, "id")) {
        char id[37];
        uuid_make(id);
        return set(d, doc, "id", str_from_c(id));
    }
    struct str id = doc_text(doc, "id");
    if (!book_id_is_sane(id))
        return draft_refuse(d, ERR_BAD_REQUEST, "id",
                            "id: 1 to %d letters, digits, '.', '_' or '-' are expected", BOOK_ID_MAX);
    if (is_taken(d->seen, table, id))
        return draft_refuse(d, ERR_CONFLICT, "id", "id: '%.*s' is taken", STR_ARG(id));
    return OK;
}

/* Names differ among clients, and among strategies; `self` is not compared. */
static enum err name_is_free(struct draft *d, enum store_table table, struct str name, struct str self)
{
    const struct book *b = d->seen;
    bool found = false;
    for (size_t i = 0; table == STORE_CLIENTS && i < b->client_count; i++)
        found |= str_eq(b->clients[i].config.name, name) && !str_eq(b->clients[i].config.id, self);
    for (size_t i = 0; table == STORE_STRATEGIES && i < b->strategy_count; i++)
        found |= str_eq(b->strategies[i].config.name, name) && !str_eq(b->strategies[i].config.id, self);
    if (!found)
        return OK;
    return draft_refuse(d, ERR_CONFLICT, "name", "name: another %s is called so",
                        table == STORE_CLIENTS ? "client" : "strategy");
}

static enum err name_check(struct draft *d, enum store_table table, json_t *doc)
{
    TRY(doc_name(doc, d->error));
    return name_is_free(d, table, doc_text(doc, "name"), doc_text(doc, "id"));
}

static enum err key_refuse(struct draft *d, const json_t *patch)
{
    if (!json_object_get(patch, "key"))
        return OK;
    return draft_refuse(d, ERR_BAD_REQUEST, "key", "key: it cannot be set; a new one comes from rotating it");
}

/* The body merged into nothing. */
static enum err doc_begin(struct draft *d, enum store_table table, json_t **doc)
{
    json_t *body CLEANUP(doc_free) = NULL;
    TRY(doc_parse(d->change->body, &body, d->error));
    if (table == STORE_CLIENTS)
        TRY(key_refuse(d, body));
    TRY(doc_parse(STR_NONE, doc, d->error));
    return doc_patch(table, *doc, body, d->error);
}

/* The body merged into a row; *patch is the body. */
static enum err doc_merge(struct draft *d, const struct book_row *row, json_t **doc, json_t **patch)
{
    TRY(doc_parse(d->change->body, patch, d->error));
    if (json_object_get(*patch, "id") && !str_eq(doc_text(*patch, "id"), row->id))
        return draft_refuse(d, ERR_BAD_REQUEST, "id", "id: it cannot be changed");
    if (row->table == STORE_CLIENTS)
        TRY(key_refuse(d, *patch));
    TRY(doc_parse(row->shown, doc, d->error));
    return doc_patch(row->table, *doc, *patch, d->error);
}

/* ---- clients ----------------------------------------------------------------------------------------- */

static enum err key_new(struct draft *d, struct book_key *key)
{
    do
        key_make(d->all->pepper, key, d->result->secret);
    while (map_get(&d->seen->client_by_lookup, str_make(key->lookup, sizeof key->lookup)));
    return OK;
}

/* "NAME's strategy", which allows everything and goes with its client. */
static enum err owned_create(struct draft *d, json_t *client)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    char id[37];
    uuid_make(id);
    struct str name = book_owned_name(&d->arena, doc_text(client, "name"));
    TRY(doc_parse(STR_NONE, &doc, d->error));
    TRY(set(d, client, "strategy_id", str_from_c(id)));
    TRY(set(d, doc, "id", str_from_c(id)));
    TRY(set(d, doc, "name", name));
    TRY(set(d, doc, "parent", doc_text(client, "id")));
    return draft_create(d, STORE_STRATEGIES, doc, NULL);
}

/* A strategy that is some other client's own becomes a shared one. */
static enum err strategy_assign(struct draft *d, struct str client, struct str id)
{
    const struct book_strategy *s = book_strategy(d->seen, id);
    if (!s)
        return draft_refuse(d, ERR_BAD_REQUEST, "strategy_id", "strategy_id: there is no strategy '%.*s'",
                            STR_ARG(str_first(id, 128)));
    struct book_row *row = s->is_managed ? NULL : rows_find(&d->all->of[STORE_STRATEGIES], id);
    if (!row || !row->strategy.parent.n || str_eq(row->strategy.parent, client))
        return OK;
    return draft_release(d, row);
}

static enum err client_create(struct draft *d)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    struct book_key key = {0};
    TRY(doc_begin(d, STORE_CLIENTS, &doc));
    TRY(id_choose(d, STORE_CLIENTS, doc));
    TRY(name_check(d, STORE_CLIENTS, doc));
    TRY(text_require(d, doc, "strategy_id"));
    if (!json_object_get(doc, "strategy_id"))
        TRY(owned_create(d, doc));
    else
        TRY(strategy_assign(d, doc_text(doc, "id"), doc_text(doc, "strategy_id")));
    TRY(key_new(d, &key));
    TRY(draft_create(d, STORE_CLIENTS, doc, &key));
    return draft_answer(d, STORE_CLIENTS, doc_text(doc, "id"));
}

/* What a client owns is called after it, unless somebody gave it another name. */
static enum err owned_rename(struct draft *d, const struct book_row *client, struct str name)
{
    const struct book_rows *rows = &d->all->of[STORE_STRATEGIES];
    struct str before = book_owned_name(&d->arena, client->name);
    struct str after = book_owned_name(&d->arena, name);
    if (!before.p || !after.p)
        return no_memory(d);
    for (size_t i = 0; i < rows->count; i++)
        if (str_eq(rows->items[i]->strategy.parent, client->id) && str_eq(rows->items[i]->name, before))
            TRY(draft_set(d, rows->items[i], "name", after));
    return OK;
}

/* A strategy that is gone is not asked for again: the client has had `default` for as long. */
static enum err client_strategy(struct draft *d, const struct book_row *row, json_t *doc, const json_t *patch)
{
    bool is_asked = json_object_get(patch, "strategy_id") != NULL;
    TRY(text_require(d, doc, "strategy_id"));
    if (!json_object_get(doc, "strategy_id") ||
        (!is_asked && !book_strategy(d->seen, row->client.strategy_id)))
        TRY(set(d, doc, "strategy_id", STR("default")));
    struct str id = doc_text(doc, "strategy_id");
    return str_eq(id, row->client.strategy_id) ? OK : strategy_assign(d, row->id, id);
}

static enum err client_update(struct draft *d)
{
    json_t *doc CLEANUP(doc_free) = NULL, *patch CLEANUP(doc_free) = NULL;
    struct book_row *row;
    TRY(draft_target(d, STORE_CLIENTS, &row));
    TRY(doc_merge(d, row, &doc, &patch));
    if (json_object_get(patch, "name"))
        TRY(name_check(d, STORE_CLIENTS, doc));
    TRY(client_strategy(d, row, doc, patch));
    TRY(draft_renew(d, row, doc));
    if (!str_eq(doc_text(doc, "name"), row->name))
        TRY(owned_rename(d, row, doc_text(doc, "name")));
    return draft_answer(d, STORE_CLIENTS, row->id);
}

/* Whether somebody besides this client needs the strategy. */
static bool is_needed(const struct draft *d, struct str strategy, struct str client)
{
    const struct book_strategy *s = book_strategy(d->seen, strategy);
    const struct book_client *c = book_client(d->seen, client);
    if (!s || s->is_managed)
        return false; /* the configuration has it: nobody uses the row */
    return s->client_count > (c->strategy == s ? 1u : 0u) || s == d->seen->anonymous ||
           str_eq(strategy, STR("default"));
}

static enum err client_delete(struct draft *d)
{
    const struct book_rows *rows = &d->all->of[STORE_STRATEGIES];
    struct book_row *row;
    TRY(draft_target(d, STORE_CLIENTS, &row));
    TRY(draft_delete(d, row));
    for (size_t i = 0; i < rows->count; i++) {
        struct book_row *s = rows->items[i];
        if (str_eq(s->strategy.parent, row->id))
            TRY(is_needed(d, s->id, row->id) ? draft_release(d, s) : draft_delete(d, s));
    }
    return draft_answer(d, STORE_CLIENTS, row->id);
}

static enum err client_rotate(struct draft *d)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    struct book_key key = {0};
    struct book_row *row;
    TRY(draft_target(d, STORE_CLIENTS, &row));
    TRY(doc_parse(row->shown, &doc, d->error));
    TRY(key_new(d, &key));
    struct row_stamp stamp = {row->revision + 1, row->created_us, d->now_us};
    struct book_row *renewed = row_make(STORE_CLIENTS, doc, &key, stamp, d->keep, d->error);
    if (!renewed)
        return d->error->err;
    TRY(draft_add(d, renewed, DRAFT_ROTATE));
    return draft_answer(d, STORE_CLIENTS, row->id);
}

/* ---- strategies -------------------------------------------------------------------------------------- */

/* One that is made for a client is called after it, whatever name came along. */
static enum err parent_choose(struct draft *d, json_t *doc, struct str parent)
{
    const struct book_client *c = book_client(d->seen, parent);
    if (!c)
        return draft_refuse(d, ERR_BAD_REQUEST, "parent", "Parent client not found: %.*s",
                            STR_ARG(str_first(parent, 128)));
    struct str name = book_owned_name(&d->arena, c->config.name);
    return name.p ? set(d, doc, "name", name) : no_memory(d);
}

static enum err strategy_create(struct draft *d)
{
    json_t *doc CLEANUP(doc_free) = NULL;
    TRY(doc_begin(d, STORE_STRATEGIES, &doc));
    TRY(id_choose(d, STORE_STRATEGIES, doc));
    TRY(text_require(d, doc, "parent"));
    struct str parent = doc_text(doc, "parent");
    if (parent.n)
        TRY(parent_choose(d, doc, parent));
    else
        TRY(name_check(d, STORE_STRATEGIES, doc));
    TRY(draft_create(d, STORE_STRATEGIES, doc, NULL));
    return draft_answer(d, STORE_STRATEGIES, doc_text(doc, "id"));
}

/* A new name of its own ends the ownership; its client's name for it is no new name. */
static enum err strategy_rename(struct draft *d, const struct book_row *row, json_t *doc)
{
    TRY(doc_name(doc, d->error));
    struct str name = doc_text(doc, "name");
    if (str_eq(name, row->name))
        return OK;
    const struct book_client *owner = book_client(d->seen, doc_text(doc, "parent"));
    if (owner) {
        struct str own = book_owned_name(&d->arena, owner->config.name);
        if (!own.p)
            return no_memory(d);
        if (str_eq(name, own))
            return OK;
    }
    TRY(name_is_free(d, STORE_STRATEGIES, name, row->id));
    return set(d, doc, "parent", STR_NONE);
}

static enum err strategy_update(struct draft *d)
{
    json_t *doc CLEANUP(doc_free) = NULL, *patch CLEANUP(doc_free) = NULL;
    struct book_row *row;
    TRY(draft_target(d, STORE_STRATEGIES, &row));
    TRY(doc_merge(d, row, &doc, &patch));
    TRY(text_require(d, doc, "parent"));
    struct str parent = doc_text(doc, "parent");
    if (parent.n && !str_eq(parent, row->strategy.parent))
        return draft_refuse(d, ERR_BAD_REQUEST, "parent",
                            "parent: it can only be taken away; a strategy is made for its client");
    if (json_object_get(patch, "name"))
        TRY(strategy_rename(d, row, doc));
    TRY(draft_renew(d, row, doc));
    if (row->strategy.parent.n && !doc_text(doc, "parent").n)
        TRY(draft_says_released(d, row->id));
    return draft_answer(d, STORE_STRATEGIES, row->id);
}

static enum err strategy_delete(struct draft *d)
{
    struct book_row *row;
    TRY(draft_target(d, STORE_STRATEGIES, &row));
    const struct book_strategy *s = book_strategy(d->seen, row->id);
    if (str_eq(row->id, STR("default")))
        return error_set(d->error, ERR_CONFLICT, "Cannot delete the default strategy");
    if (s->client_count)
        return error_set(d->error, ERR_CONFLICT, "Cannot delete strategy: %u client(s) are using it",
                         s->client_count);
    if (s == d->seen->anonymous)
        return error_set(d->error, ERR_CONFLICT, "Cannot delete strategy: auth.anonymous uses it");
    TRY(draft_delete(d, row));
    return draft_answer(d, STORE_STRATEGIES, row->id);
}

enum err draft_fill(struct draft *d)
{
    static enum err (*const rules[])(struct draft * d) = {
        [BOOK_CLIENT_CREATE] = client_create,     [BOOK_CLIENT_UPDATE] = client_update,
        [BOOK_CLIENT_DELETE] = client_delete,     [BOOK_CLIENT_ROTATE] = client_rotate,
        [BOOK_STRATEGY_CREATE] = strategy_create, [BOOK_STRATEGY_UPDATE] = strategy_update,
        [BOOK_STRATEGY_DELETE] = strategy_delete,
    };
    REQUIRE((size_t)d->change->action < COUNT_OF(rules));
    return rules[d->change->action](d);
}
