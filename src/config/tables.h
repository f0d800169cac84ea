/* Visiting every table once, parents first: for doc.c and json_schema.c. */
#ifndef HESTIA_CONFIG_TABLES_H
#define HESTIA_CONFIG_TABLES_H

#include "config/schema.h"

enum { TABLES_MAX = 64 };

struct tables {
    const struct table *list[TABLES_MAX];
    bool later[TABLES_MAX]; /* reached only through fields that are not active yet */
    size_t count;
};

/* Those that can be reached from schema_root, it first. */
void tables_collect(struct tables *all);

#endif
