/*
 * Sums of a batch of requests in memory, so that a thousand requests cost a few rows: by grain, tier, name
 * and the beginning of the minute, hour or day in which a request ended. Pure but for its memory.
 */
#ifndef HESTIA_STORE_ROLLUP_H
#define HESTIA_STORE_ROLLUP_H

#include "base/map.h"
#include "store/store.h"

struct rollup_key {
    int64_t grain, tier, name, at;
};
struct rollup_cell {
    struct rollup_key key;
    struct usage_point sums;
    int64_t last_us; /* the latest end */
};
/* Whose a request was: numbers, 0 = nobody's. */
struct rollup_names {
    int64_t client, strategy, provider, model;
};
/* Requests of the same minute and the same names: there are few such mixes in a batch, and so a request is
   added up once, and not once for each tier. */
struct rollup_mix {
    int64_t minute; /* since 1970 */
    struct rollup_names names;
    struct usage_point sums;
    int64_t last_us;
};
struct rollup {
    struct rollup_mix *mixes;
    size_t mix_count, mix_capacity;
    uint32_t *index; /* place in mixes + 1; a power of two of them, at most half in use */
    size_t index_size;
    struct map cells; /* key's bytes -> struct rollup_cell */
    struct arena arena;
};

/* Seconds of a grain (not AUTO). */
int64_t grain_seconds(enum usage_grain grain);
/* Adds one request. Sums stay at the largest number rather than turn over. */
void usage_point_add(struct usage_point *p, const struct request_row *row);
/* The same to the mix it belongs to. */
enum err rollup_add(struct rollup *r, const struct rollup_names *names,
                    const struct request_row *row) MUST_CHECK;
/* Makes the cells of all tiers and grains; nothing may be added afterwards but after rollup_clear. */
enum err rollup_fold(struct rollup *r) MUST_CHECK;
/* Mixes. */
size_t rollup_count(const struct rollup *r);
/* Empties it. */
void rollup_clear(struct rollup *r);
void rollup_free(struct rollup *r);

#endif
