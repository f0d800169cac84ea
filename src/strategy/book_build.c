/*
 * A book out of a configuration and the rows of the store: what the configuration defines comes first and
 * wins. What does not fit together is bent so that it works, with a warning when it is first seen. Control
 * thread.
 */
#include "strategy/book_inside.h"

#include "base/mem.h"
#include "base/metric.h"

struct builder {
    struct book *book;
    const struct book *old;
};

/* ---- warnings ---------------------------------------------------------------------------------------- */

/* Once, and again only after it had been put right. */
static enum err warn(const struct builder *m, const char *event, enum store_table table, struct str id,
                     const char *message)
{
    struct book *b = m->book;
    struct str what = arena_printf(&b->arena, "%s %d %.*s", event, (int)table, STR_ARG(id));
    if (!what.p)
        return ERR_NOMEM;
    TRY(map_put(&b->warned, what, b));
    if (!m->old || !map_get(&m->old->warned, what))
        book_event_row(LOG_WARNING, event, table, id, message);
    return OK;
}

/* ---- strategies -------------------------------------------------------------------------------------- */

static bool limits_are_equal(const struct strategy_config *a, const struct strategy_config *b)
{
    bool equal = a->limit_count == b->limit_count;
    for (size_t i = 0; equal && i < a->limit_count; i++)
        equal = a->limits[i].kind == b->limits[i].kind && a->limits[i].window == b->limits[i].window &&
                a->limits[i].value == b->limits[i].value && a->limits[i].enabled == b->limits[i].enabled;
    return equal;
}

/* Counters live as long as the id does. */
static struct limiter *limiter_of(const struct builder *m, const struct strategy_config *s)
{
    const struct book_strategy *before = m->old ? book_strategy(m->old, s->id) : NULL;
    if (!before)
        return limiter_new(s->limits, s->limit_count);
    if (limits_are_equal(&before->config, s))
        return limiter_ref(before->limiter);
    return limiter_renew(before->limiter, s->limits, s->limit_count);
}

static enum err strategy_add(const struct builder *m, struct book_strategy entry)
{
    struct book *b = m->book;
    struct book_strategy *s = &b->strategies[b->strategy_count];
    *s = entry;
    s->label = label_intern(s->config.id);
    s->limiter = limiter_of(m, &s->config);
    if (!s->limiter)
        return ERR_NOMEM;
    b->strategy_count++;
    return map_put(&b->strategy_by_id, s->config.id, s);
}

static enum err strategy_add_managed(const struct builder *m, const struct strategy_config *config)
{
    struct buf text CLEANUP(buf_free) = BUF(2 * BOOK_TEXT_MAX);
    strategy_print(&text, config, NULL);
    TRY(buf_err(&text));
    struct book_strategy s = {.config = *config, .is_managed = true};
    s.definition = arena_str(&m->book->arena, buf_str(&text));
    return s.definition.p ? strategy_add(m, s) : ERR_NOMEM;
}

static enum err strategy_add_row(const struct builder *m, struct book_row *r)
{
    if (book_strategy(m->book, r->id))
        return warn(m, "strategy_hidden", STORE_STRATEGIES, r->id,
                    "The configuration defines a strategy of the same id: the stored one is not used");
    return strategy_add(m, (struct book_strategy){.config = r->strategy,
                                                  .definition = r->shown,
                                                  .revision = r->revision,
                                                  .created_us = r->created_us,
                                                  .updated_us = r->updated_us});
}

static enum err parents_check(const struct builder *m)
{
    for (size_t i = 0; i < m->book->strategy_count; i++) {
        struct book_strategy *s = &m->book->strategies[i];
        if (!s->config.parent.n || book_client(m->book, s->config.parent))
            continue;
        TRY(warn(m, "strategy_parent_gone", STORE_STRATEGIES, s->config.id,
                 "The client that owned the strategy does not exist: it is shared now"));
        s->config.parent = STR_NONE;
    }
    return OK;
}

/* ---- clients ----------------------------------------------------------------------------------------- */

static enum err client_add(const struct builder *m, struct book_client entry)
{
    struct book *b = m->book;
    struct book_client *c = &b->clients[b->client_count];
    *c = entry;
    struct book_strategy *s = map_get(&b->strategy_by_id, c->config.strategy_id);
    if (!s) {
        TRY(warn(m, "client_strategy_gone", STORE_CLIENTS, c->config.id,
                 "The client's strategy does not exist: it gets the default one"));
        s = map_get(&b->strategy_by_id, STR("default"));
    }
    c->strategy = s;
    c->config.strategy_id = s->config.id;
    s->client_count++;
    c->label = label_intern(c->config.id);
    b->client_count++;
    return map_put(&b->client_by_id, c->config.id, c);
}

/* The first who has a key keeps it. */
static enum err hashes_add(struct book *b, struct book_client *c)
{
    for (size_t i = 0; i < c->config.key_count; i++) {
        struct str hash = str_make((const char *)c->config.keys[i].sha256, sizeof c->config.keys[i].sha256);
        if (!map_get(&b->client_by_sha256, hash))
            TRY(map_put(&b->client_by_sha256, hash, c));
    }
    return OK;
}

static enum err client_add_managed(const struct builder *m, const struct client_config *config)
{
    struct book *b = m->book;
    struct buf text CLEANUP(buf_free) = BUF(2 * BOOK_TEXT_MAX);
    client_print(&text, config, NULL, NULL);
    TRY(buf_err(&text));
    struct book_client c = {.config = *config, .is_managed = true};
    c.definition = arena_str(&b->arena, buf_str(&text));
    if (!c.definition.p)
        return ERR_NOMEM;
    TRY(client_add(m, c));
    return hashes_add(b, &b->clients[b->client_count - 1]);
}

static enum err client_add_row(const struct builder *m, struct book_row *r)
{
    struct book *b = m->book;
    if (book_client(b, r->id))
        return warn(m, "client_hidden", STORE_CLIENTS, r->id,
                    "The configuration defines a client of the same id: the stored one is not used");
    struct book_client c = {.config = r->client,
                            .definition = r->shown,
                            .revision = r->revision,
                            .created_us = r->created_us,
                            .updated_us = r->updated_us};
    if (r->key.is_set)
        c.lookup = str_make(r->key.lookup, sizeof r->key.lookup);
    memcpy(c.hmac, r->key.hmac, sizeof c.hmac);
    TRY(client_add(m, c));
    return c.lookup.n ? map_put(&b->client_by_lookup, c.lookup, &b->clients[b->client_count - 1]) : OK;
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static enum err room_make(struct book *b, const struct book_rows *strategies, const struct book_rows *clients)
{
    size_t rows = strategies->count + clients->count;
    b->strategies =
        arena_alloc(&b->arena, (b->config->strategy_count + strategies->count) * sizeof *b->strategies);
    b->clients = arena_alloc(&b->arena, (b->config->client_count + clients->count + 1) * sizeof *b->clients);
    b->rows = arena_alloc(&b->arena, rows * sizeof(struct book_row *));
    return b->strategies && b->clients && b->rows ? OK : ERR_NOMEM;
}

static enum err fill(const struct builder *m, const struct book_rows *strategies,
                     const struct book_rows *clients)
{
    struct book *b = m->book;
    TRY(room_make(b, strategies, clients));
    for (size_t i = 0; i < strategies->count; i++)
        b->rows[b->row_count++] = row_ref(strategies->items[i]);
    for (size_t i = 0; i < clients->count; i++)
        b->rows[b->row_count++] = row_ref(clients->items[i]);
    for (size_t i = 0; i < b->config->strategy_count; i++)
        TRY(strategy_add_managed(m, &b->config->strategies[i]));
    for (size_t i = 0; i < strategies->count; i++)
        TRY(strategy_add_row(m, strategies->items[i]));
    REQUIRE(book_strategy(b, STR("default")));
    for (size_t i = 0; i < b->config->client_count; i++)
        TRY(client_add_managed(m, &b->config->clients[i]));
    for (size_t i = 0; i < clients->count; i++)
        TRY(client_add_row(m, clients->items[i]));
    TRY(parents_check(m));
    struct str anonymous = b->config->auth.anonymous;
    b->anonymous = anonymous.n ? book_strategy(b, anonymous) : NULL;
    if (anonymous.n && !b->anonymous)
        return warn(m, "anonymous_strategy_gone", STORE_STRATEGIES, anonymous,
                    "The strategy of auth.anonymous does not exist: nobody is served without a key");
    return OK;
}

struct book *book_build(struct config *config, const struct book_rows *strategies,
                        const struct book_rows *clients, const uint8_t pepper[PEPPER_SIZE],
                        const struct book *old)
{
    struct book *b = mem_alloc(sizeof *b);
    if (!b)
        return NULL;
    b->references = 1;
    b->config = config_ref(config);
    memcpy(b->pepper, pepper, PEPPER_SIZE);
    struct builder m = {.book = b, .old = old};
    if (fill(&m, strategies, clients) == OK)
        return b;
    book_unref(b);
    return NULL;
}
