/*
 * The models that a provider says it has: parsing of all known shapes, and the shelf where the present list
 * lies for the workers to look at while control replaces it.
 */
#ifndef HESTIA_STRATEGY_MODEL_LIST_H
#define HESTIA_STRATEGY_MODEL_LIST_H

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"

#include <stdatomic.h>

enum { MODEL_LIST_BYTES = 4 << 20, MODEL_LIST_COUNT = 20000, MODEL_ID_MAX = 256 };

struct listed_model {
    struct str id;
    int64_t created; /* seconds, 0 = unknown */
};

struct model_list { /* immutable */
    struct arena arena;
    struct listed_model *items; /* in the order of the answer, without duplicates */
    size_t count;
    struct map by_id;
    struct model_list *next; /* on the shelf: older ones that somebody may still look at */
};

/* {"data":[…]}, […] or {"models":[…]}, of objects with "id", "name" or "model", or of plain strings; what is
   neither is passed over. NULL with the reason: no JSON, none of these shapes, no memory. */
struct model_list *model_list_parse(struct str json, struct error *error);
void model_list_free(struct model_list *l);
/* By its whole name; "models/x" and "x:latest" answer to "x" too, as they do at their providers. */
bool model_list_has(const struct model_list *l, struct str model);

struct model_shelf {
    _Atomic(struct model_list *) current;
    _Atomic uint64_t readers;
    struct model_list *old; /* control */
};

/* NULL: not known yet. To be followed by model_shelf_done, at once and without suspending. Any thread. */
const struct model_list *model_shelf_look(struct model_shelf *s);
void model_shelf_done(struct model_shelf *s);
/* Control. The list before it stays until nobody can look at it any more (model_shelf_sweep). */
void model_shelf_put(struct model_shelf *s, struct model_list *l);
bool model_shelf_sweep(struct model_shelf *s); /* true: nothing old is left */
void model_shelf_free(struct model_shelf *s);

#endif
