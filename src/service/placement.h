/*
 * Where a running service can be reached: its base URL or its instances, with the port of this start.
 * Built by the control thread; then workers pick from it without a lock, under a lease. Control frees it when
 * nothing that could know it is in flight any more.
 */
#ifndef HESTIA_SERVICE_PLACEMENT_H
#define HESTIA_SERVICE_PLACEMENT_H

#include "config/config.h"
#include "http/client.h"

#include <stdatomic.h>

enum {
    PLACE_ASIDE_MS =
        30000, /* a failing instance is left out that long, then gets one request to prove itself */
    PLACES_MAX = INSTANCES_MAX,
    TURNS_MAX = 1024, /* length of one round of all turns */
};

struct place {
    const struct origin *origin;
    struct url url; /* in the placement's arena */
    uint32_t weight;
    _Atomic uint64_t aside_until; /* 0 = in use; monotonic ns */
};

struct placement {
    struct arena arena;
    struct placement *next; /* among those that await their end */
    size_t count;
    struct place *list;
    struct place health; /* what readiness asks; without it, it connects to any of `list` */
    bool has_health;
    size_t turn_count; /* one round of smooth weighted round robin */
    uint16_t *turns;
    _Atomic uint32_t turn;
};

/* `port` replaces ${PORT}. Control thread (it interns origins). NULL with the reason in `error`. */
struct placement *placement_new(const struct service_config *config, uint16_t port, struct error *error);
void placement_free(struct placement *p);

/* Next place, skipping those in the bit set `tried` and those put aside; when all others are aside, the first
   that was not tried. False when none is left. Any thread. */
bool placement_pick(struct placement *p, uint64_t tried, size_t *index);
/* A failure puts the place aside, a success takes it back. Any thread. */
void placement_report(struct placement *p, size_t index, bool ok);

/* Fills turns with one round of smooth weighted round robin: each turn goes to the largest running credit,
   the first on a tie. Returns its length, at most TURNS_MAX (weights are scaled down to fit). Pure. */
size_t turns_fill(const uint32_t *weights, size_t count, uint16_t turns[TURNS_MAX]);

/* `text` with every ${PORT} replaced, in the arena. port 0: as it is. Pure. */
struct str port_substitute(struct arena *arena, struct str text, uint16_t port);

#endif
