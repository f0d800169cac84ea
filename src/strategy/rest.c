/* The table of rest.h: a list in no order, searched by the hash of its names. */
#include "strategy/rest.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    RESTS_MAX = 1024,
    RATE_FIRST_MS = 1000,
    RATE_MAX_MS = 60 * 1000,
    GIVEN_MAX_MS = 24 * 3600 * 1000, /* a Retry-After that says more is not believed */
    UNSUPPORTED_MS = 3600 * 1000,
};
static const uint64_t credit_ms[] = {5 * 60 * 1000, 15 * 60 * 1000, 3600 * 1000, 6 * 3600 * 1000,
                                     24 * 3600 * 1000};

struct rest {
    uint64_t hash;
    char *names; /* the provider's, then the model's */
    size_t provider_size, size;
    uint64_t begun_at, until; /* ns */
    uint64_t rate_ms;         /* the last one that had no Retry-After; 0 = none yet */
    size_t credit_steps;      /* which of credit_ms comes next */
    enum rest_reason reason;
};

struct rests {
    pthread_mutex_t mutex;
    _Atomic size_t count; /* changed under the mutex; read without it to find that there are none */
    struct rest list[RESTS_MAX];
};

struct rests *rests_new(void)
{
    struct rests *r = mem_alloc(sizeof *r);
    if (r)
        pthread_mutex_init(&r->mutex, NULL);
    return r;
}

void rests_free(struct rests *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        mem_free(r->list[i].names);
    pthread_mutex_destroy(&r->mutex);
    mem_free(r);
}

/* FNV-1a of both names in lower case, a zero between them. */
static uint64_t names_hash(struct str provider, struct str model)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < provider.n; i++)
        hash = (hash ^ (uint8_t)char_lower(provider.p[i])) * 0x100000001b3;
    hash *= 0x100000001b3;
    for (size_t i = 0; i < model.n; i++)
        hash = (hash ^ (uint8_t)char_lower(model.p[i])) * 0x100000001b3;
    return hash;
}

static struct rest *rests_find(struct rests *r, struct str provider, struct str model)
{
    uint64_t hash = names_hash(provider, model);
    for (size_t i = 0; i < r->count; i++) {
        struct rest *e = &r->list[i];
        if (e->hash == hash && e->provider_size == provider.n && e->size == provider.n + model.n &&
            str_eq_nocase(str_make(e->names, provider.n), provider) &&
            str_eq_nocase(str_make(e->names + provider.n, model.n), model))
            return e;
    }
    return NULL;
}

static void rests_remove(struct rests *r, struct rest *e)
{
    mem_free(e->names);
    *e = r->list[--r->count];
}

/* NULL: no memory; then it does not rest, and the next answer will say the same. */
static struct rest *rests_add(struct rests *r, struct str provider, struct str model)
{
    char *names = mem_alloc(provider.n + model.n + 1);
    if (!names)
        return NULL;
    if (r->count == RESTS_MAX) {
        struct rest *oldest = r->list;
        for (struct rest *e = r->list; e < r->list + RESTS_MAX; e++)
            if (e->begun_at < oldest->begun_at)
                oldest = e;
        rests_remove(r, oldest);
    }
    if (provider.n)
        memcpy(names, provider.p, provider.n);
    if (model.n)
        memcpy(names + provider.n, model.p, model.n);
    struct rest *e = &r->list[r->count++];
    *e = (struct rest){.hash = names_hash(provider, model),
                       .names = names,
                       .provider_size = provider.n,
                       .size = provider.n + model.n};
    return e;
}

static uint64_t rest_length(struct rest *e, enum rest_reason reason, uint64_t retry_after_ms)
{
    if (reason == REST_UNSUPPORTED)
        return UNSUPPORTED_MS;
    if (reason == REST_CREDIT) {
        e->credit_steps = MIN(e->credit_steps + 1, COUNT_OF(credit_ms));
        return credit_ms[e->credit_steps - 1];
    }
    if (retry_after_ms)
        return MIN(retry_after_ms, (uint64_t)GIVEN_MAX_MS);
    e->rate_ms = e->rate_ms ? MIN(e->rate_ms * 2, (uint64_t)RATE_MAX_MS) : RATE_FIRST_MS;
    return e->rate_ms;
}

/* Locked, as are the next two. */
static void rests_begin(struct rests *r, struct str provider, struct str model, enum rest_reason reason,
                        uint64_t retry_after_ms, uint64_t now_ns)
{
    struct rest *e = rests_find(r, provider, model);
    bool rests = e && e->until > now_ns;
    bool is_given = reason == REST_RATE && retry_after_ms;
    if (rests && e->reason == reason && !is_given)
        return; /* another request of the same time: one failure, not the next step */
    if (!e && !(e = rests_add(r, provider, model)))
        return;
    uint64_t until = clock_after(now_ns, rest_length(e, reason, retry_after_ms));
    e->begun_at = now_ns;
    if (rests && until <= e->until)
        return; /* what keeps it longer goes on */
    e->until = until;
    e->reason = reason;
}

static uint64_t rests_left(struct rests *r, struct str provider, struct str model, uint64_t now_ns,
                           enum rest_reason *reason)
{
    const struct rest *e = rests_find(r, provider, model);
    if (!e || e->until <= now_ns)
        return 0;
    if (reason)
        *reason = e->reason;
    return (e->until - now_ns + CLOCK_MS - 1) / CLOCK_MS;
}

static void rests_end(struct rests *r, struct str provider, struct str model)
{
    struct rest *e = rests_find(r, provider, model);
    if (e)
        rests_remove(r, e);
}

void rest_begin(struct rests *r, struct str provider, struct str model, enum rest_reason reason,
                uint64_t retry_after_ms, uint64_t now_ns)
{
    pthread_mutex_lock(&r->mutex);
    rests_begin(r, provider, model, reason, retry_after_ms, now_ns);
    pthread_mutex_unlock(&r->mutex);
}

uint64_t rest_left(struct rests *r, struct str provider, struct str model, uint64_t now_ns,
                   enum rest_reason *reason)
{
    if (atomic_load(&r->count) == 0)
        return 0;
    pthread_mutex_lock(&r->mutex);
    uint64_t left = rests_left(r, provider, model, now_ns, reason);
    pthread_mutex_unlock(&r->mutex);
    return left;
}

void rest_end(struct rests *r, struct str provider, struct str model)
{
    if (atomic_load(&r->count) == 0)
        return;
    pthread_mutex_lock(&r->mutex);
    rests_end(r, provider, model);
    pthread_mutex_unlock(&r->mutex);
}
