/* The table of client addresses: entries in hashed buckets, the idle ones in a list by age. Any thread. */
#include "http/peers.h"

#include "base/mem.h"
#include "loop/crypto.h"

#include <pthread.h>
#include <stdatomic.h>

#define MINUTE (60 * CLOCK_S)

/* Faults of the minute under way and of the one before it, whose weight shrinks as the present one grows:
   close to the number within the last 60 s, in a few bytes. */
struct strikes {
    uint64_t minute;
    uint64_t current, previous;
    _Atomic uint64_t until; /* end of the penalty */
};

enum { QUIET_TOO_MANY, QUIET_TOO_FAST, QUIET_COUNT };

struct peer {
    struct shard *shard;
    struct peer *next; /* in its bucket */
    struct list idle;  /* in the shard's list while it has no connection */
    uint64_t network;  /* IPv4: all of it, IPv6: the upper half */
    bool v6;
    uint64_t connections;
    uint64_t due; /* when the next connection comes if they come exactly at the rate */
    struct strikes errors, auth;
    uint64_t quiet_until[QUIET_COUNT]; /* until then such a refusal is no news */
};

struct shard {
    pthread_mutex_t mutex;
    struct peer *entries;
    struct peer **buckets;
    size_t used;      /* entries that were ever taken */
    struct list idle; /* longest idle first */
};

struct peers {
    size_t shard_count, per_shard;
    uint64_t seed; /* nobody can choose addresses that fall into one bucket */
    struct peer *entries;
    struct peer **buckets;
    struct shard shards[];
};

struct peers *peers_new(size_t shards, size_t per_shard)
{
    struct peers *p = mem_alloc(sizeof *p + shards * sizeof p->shards[0]);
    if (!p)
        return NULL;
    p->per_shard = per_shard;
    p->entries =
        mem_alloc(shards * per_shard * sizeof *p->entries); /* pages that nobody needs stay untouched */
    p->buckets = mem_alloc(shards * per_shard * sizeof *p->buckets);
    if (!p->entries || !p->buckets) {
        peers_free(p);
        return NULL;
    }
    crypto_random(&p->seed, sizeof p->seed);
    for (; p->shard_count < shards; p->shard_count++) {
        struct shard *s = &p->shards[p->shard_count];
        pthread_mutex_init(&s->mutex, NULL);
        list_init(&s->idle);
        s->entries = p->entries + p->shard_count * per_shard;
        s->buckets = p->buckets + p->shard_count * per_shard;
    }
    return p;
}

void peers_free(struct peers *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->shard_count; i++)
        pthread_mutex_destroy(&p->shards[i].mutex);
    mem_free(p->entries);
    mem_free(p->buckets);
    mem_free(p);
}

/* ---- finding an entry -----------------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 32) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u;
    return x ^ x >> 32;
}

/* False for what has no address. */
static bool network_of(const struct address *address, uint64_t *network, bool *v6)
{
    uint8_t bytes[16];
    int length = address_bytes(address, bytes);
    *network = 0;
    *v6 = length == 16;
    for (int i = 0; i < (*v6 ? 8 : length); i++)
        *network = *network << 8 | bytes[i];
    return length != 0;
}

static void bucket_remove(struct peer **bucket, const struct peer *peer)
{
    while (*bucket != peer)
        bucket = &(*bucket)->next;
    *bucket = peer->next;
}

static struct peer **bucket_of(const struct peers *p, struct shard *s, uint64_t hash)
{
    return &s->buckets[hash / p->shard_count & (p->per_shard - 1)];
}

static uint64_t hash_of(const struct peers *p, uint64_t network, bool v6)
{
    return mix(mix(network ^ p->seed) + v6);
}

/* A fresh entry, or the one that has been idle for longest; NULL when all have connections. */
static struct peer *entry_take(const struct peers *p, struct shard *s)
{
    if (s->used < p->per_shard)
        return &s->entries[s->used++];
    struct list *node = list_pop_front(&s->idle);
    if (!node)
        return NULL;
    struct peer *peer = CONTAINER_OF(node, struct peer, idle);
    bucket_remove(bucket_of(p, s, hash_of(p, peer->network, peer->v6)), peer);
    return peer;
}

/* The shard is locked. */
static struct peer *entry_find(const struct peers *p, struct shard *s, uint64_t network, bool v6)
{
    struct peer **bucket = bucket_of(p, s, hash_of(p, network, v6));
    for (struct peer *peer = *bucket; peer; peer = peer->next)
        if (peer->network == network && peer->v6 == v6)
            return peer;
    struct peer *peer = entry_take(p, s);
    if (!peer)
        return NULL;
    memset(peer, 0, sizeof *peer);
    peer->shard = s;
    peer->network = network;
    peer->v6 = v6;
    peer->next = *bucket;
    *bucket = peer;
    list_push_back(&s->idle, &peer->idle);
    return peer;
}

/* ---- judging --------------------------------------------------------------------------------------------
 */

/* Whether a connection may come now; each one moves `due` on by the time between two at the rate, and it may
   be ahead of the clock by a burst of them. */
static bool in_time(struct peer *peer, const struct peer_limits *limits, uint64_t now)
{
    if (!limits->rate)
        return true;
    uint64_t interval = CLOCK_S / limits->rate;
    uint64_t due = MAX(peer->due, now);
    if (due - now > (MAX(limits->burst, (uint64_t)1) - 1) * interval)
        return false;
    peer->due = due + interval;
    return true;
}

static enum peer_verdict judge(struct peer *peer, const struct peer_limits *limits, uint64_t now)
{
    if (limits->errors && now < atomic_load_explicit(&peer->errors.until, memory_order_relaxed))
        return PEER_BANNED;
    if (limits->connections && peer->connections >= limits->connections)
        return PEER_TOO_MANY;
    return in_time(peer, limits, now) ? PEER_WELCOME : PEER_TOO_FAST;
}

/* The beginning of a ban was news already. */
static bool is_news(struct peer *peer, enum peer_verdict verdict, uint64_t now)
{
    if (verdict != PEER_TOO_MANY && verdict != PEER_TOO_FAST)
        return false;
    uint64_t *quiet = &peer->quiet_until[verdict == PEER_TOO_MANY ? QUIET_TOO_MANY : QUIET_TOO_FAST];
    if (now < *quiet)
        return false;
    *quiet = now + MINUTE;
    return true;
}

static struct peer_admission admit(struct peer *peer, const struct peer_limits *limits, uint64_t now)
{
    struct peer_admission admission = {.verdict = judge(peer, limits, now)};
    list_remove(&peer->idle);
    if (admission.verdict == PEER_WELCOME) {
        admission.peer = peer;
        peer->connections++;
        return admission;
    }
    admission.first = is_news(peer, admission.verdict, now);
    if (peer->connections == 0)
        list_push_back(&peer->shard->idle, &peer->idle);
    return admission;
}

struct peer_admission peers_admit(struct peers *p, const struct address *address,
                                  const struct peer_limits *limits, uint64_t now)
{
    struct peer_admission admission = {.verdict = PEER_WELCOME};
    uint64_t network;
    bool v6;
    if (!limits->connections && !limits->rate && !limits->errors && !limits->auth_failures)
        return admission;
    if (!network_of(address, &network, &v6))
        return admission;
    struct shard *s = &p->shards[hash_of(p, network, v6) & (p->shard_count - 1)];
    pthread_mutex_lock(&s->mutex);
    struct peer *peer = entry_find(p, s, network, v6);
    if (peer)
        admission = admit(peer, limits, now);
    pthread_mutex_unlock(&s->mutex);
    return admission;
}

void peer_leave(struct peer *peer)
{
    struct shard *s = peer->shard;
    pthread_mutex_lock(&s->mutex);
    if (--peer->connections == 0)
        list_push_back(&s->idle, &peer->idle);
    pthread_mutex_unlock(&s->mutex);
}

/* ---- faults ---------------------------------------------------------------------------------------------
 */

static bool strike_locked(struct strikes *s, uint64_t limit, uint64_t now)
{
    uint64_t minute = now / MINUTE;
    if (now < atomic_load_explicit(&s->until, memory_order_relaxed))
        return false;
    if (minute > s->minute) {
        s->previous = minute == s->minute + 1 ? s->current : 0;
        s->current = 0;
        s->minute = minute;
    }
    s->current++;
    uint64_t before = (s->previous * (MINUTE - now % MINUTE) + MINUTE - 1) / MINUTE;
    if (s->current + before <= limit)
        return false;
    s->current = s->previous = 0;
    atomic_store_explicit(&s->until, clock_after(now, PEER_PENALTY_MS), memory_order_relaxed);
    return true;
}

static bool strike(struct peer *peer, struct strikes *s, uint64_t limit, uint64_t now)
{
    if (!limit)
        return false;
    pthread_mutex_lock(&peer->shard->mutex);
    bool penalty = strike_locked(s, limit, now);
    pthread_mutex_unlock(&peer->shard->mutex);
    return penalty;
}

bool peer_erred(struct peer *peer, const struct peer_limits *limits, uint64_t now)
{
    return strike(peer, &peer->errors, limits->errors, now);
}

bool peer_auth_failed(struct peer *peer, const struct peer_limits *limits, uint64_t now)
{
    return strike(peer, &peer->auth, limits->auth_failures, now);
}

uint64_t peer_auth_wait(const struct peer *peer, const struct peer_limits *limits, uint64_t now)
{
    uint64_t until = atomic_load_explicit(&peer->auth.until, memory_order_relaxed);
    if (!limits->auth_failures || now >= until)
        return 0;
    return MIN(until - now, PEER_PENALTY_MS * CLOCK_MS); /* a clock that lags sees more than there is */
}
