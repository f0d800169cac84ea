/*
 * A set of names whose ASCII case does not matter: providers, and models of providers. For the rules of
 * check_books.c; lives as long as one check.
 */
#ifndef HESTIA_CONFIG_NAME_SET_H
#define HESTIA_CONFIG_NAME_SET_H

#include "config/config.h"

struct name_set {
    struct arena arena;
    struct map map;
    bool failed; /* memory was short: the answers were wrong */
};

/* False when it was there already. A whole provider: `model` is empty. */
bool name_set_add(struct name_set *set, struct str provider, struct str model);
bool name_set_has(struct name_set *set, struct str provider, struct str model);
void name_set_free(struct name_set *set);

#endif
