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
struct rollup {
    struct map cells; /* key's bytes -> struct rollup_cell */
    struct arena arena;
};

/* Seconds of a grain (not AUTO). */
int64_t grain_seconds(enum usage_grain grain);
/* Adds one request. Sums stay at the largest number rather than turn over. */
void usage_point_add(struct usage_point *p, const struct request_row *row);
/* The same to the minute of a tier's name. */
enum err rollup_add(struct rollup *r, enum usage_tier tier, int64_t name,
                    const struct request_row *row) MUST_CHECK;
/* Makes the hours and days of all minutes; nothing may be added afterwards but after rollup_clear. */
enum err rollup_fold(struct rollup *r) MUST_CHECK;
size_t rollup_count(const struct rollup *r);
void rollup_clear(struct rollup *r);

#endif
