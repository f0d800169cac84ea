/* Reading a book: who brings a key, what an id means. Any thread. */
#include "strategy/book_inside.h"

#include "base/mem.h"
#include "loop/crypto.h"

struct book *book_ref(struct book *b)
{
    b->references++;
    return b;
}

void book_unref(struct book *b)
{
    if (!b || --b->references > 0)
        return;
    for (size_t i = 0; i < b->strategy_count; i++)
        limiter_unref(b->strategies[i].limiter);
    for (size_t i = 0; i < b->row_count; i++)
        row_unref(b->rows[i]);
    map_free(&b->strategy_by_id);
    map_free(&b->client_by_id);
    map_free(&b->client_by_lookup);
    map_free(&b->client_by_sha256);
    map_free(&b->warned);
    config_unref(b->config);
    arena_free(&b->arena);
    explicit_bzero(b->pepper, sizeof b->pepper);
    mem_free(b);
}

/* ---- keys -------------------------------------------------------------------------------------------- */

/* The map is asked with a hash of the key, so its timing says nothing about any key. */
static const struct book_client *client_by_sha256(const struct book *b, struct str key)
{
    uint8_t hash[SHA256_SIZE];
    crypto_sha256(key, hash);
    return map_get(&b->client_by_sha256, str_make((const char *)hash, sizeof hash));
}

static const struct book_client *client_by_hmac(const struct book *b, struct str key)
{
    const struct book_client *c = map_get(&b->client_by_lookup, key_lookup(key));
    return key_verify(b->pepper, key, c ? c->hmac : NULL) ? c : NULL;
}

const struct book_client *book_client_by_key(const struct book *b, struct str key)
{
    const struct book_client *c = book_key_is_ours(key) ? client_by_hmac(b, key) : NULL;
    if (!c) /* also one of ours: it may have moved into the configuration as a hash */
        c = client_by_sha256(b, key);
    return c && c->config.enabled ? c : NULL;
}

/* ---- ids --------------------------------------------------------------------------------------------- */

bool book_needs_keys(const struct book *b)
{
    return b->client_count > 0 || b->misses_clients;
}

const struct book_client *book_client(const struct book *b, struct str id)
{
    return map_get(&b->client_by_id, id);
}

const struct book_strategy *book_strategy(const struct book *b, struct str id)
{
    return map_get(&b->strategy_by_id, id);
}

const struct book_strategy *book_anonymous(const struct book *b)
{
    return b->anonymous;
}

size_t book_client_count(const struct book *b)
{
    return b->client_count;
}

const struct book_client *book_client_at(const struct book *b, size_t i)
{
    return &b->clients[i];
}

size_t book_strategy_count(const struct book *b)
{
    return b->strategy_count;
}

const struct book_strategy *book_strategy_at(const struct book *b, size_t i)
{
    return &b->strategies[i];
}
