/*
 * YAML text to a tree of nodes that know where they stand. Scalars stay text: the schema gives them a type.
 * Called by assemble.c when a configuration is loaded (start-up or the control thread) and by tests.
 */
#ifndef HESTIA_CONFIG_YAML_H
#define HESTIA_CONFIG_YAML_H

#include "base/arena.h"
#include "config/config.h"

/* Where values come from: a file, a variable of the environment, the command line, the built-in defaults. */
struct source {
    struct str name;     /* for people: the path as it was given, "environment", "command line" */
    struct str folder;   /* absolute: relative paths found in this source start here */
    struct str variable; /* the variable's name when it is the environment */
};

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    bool quoted;           /* in quotes or a block scalar: "null" and "" are then text */
    bool literal;          /* not from a file: ${…} means nothing in it */
    unsigned line, column; /* from 1; 0 when it is not from a file */
    uint32_t weight;       /* nodes below and including it, aliases counted as often as they are used */
    const struct source *source;
    struct str text;     /* NODE_SCALAR */
    struct node **items; /* NODE_LIST: the items. NODE_MAP: the values */
    struct node **keys;  /* NODE_MAP: scalars, same index as items */
    size_t count;
};

enum {
    YAML_BYTES_MAX = 4 << 20,
    YAML_DEPTH_MAX = 48,
    YAML_NODES_MAX = 100000, /* after expanding aliases: a "billion laughs" ends here */
};

/* A list of the documents in `text` (none for an empty file). Duplicate keys are findings, the first one
   counts; a syntax error, an alias that loops and every limit above are findings that end it: NULL. Nodes may
   be shared (aliases): they are never changed after this. The nodes and their text live in the arena,
   `source` must live as long. */
struct node *yaml_parse(struct arena *arena, const struct source *source, struct str text,
                        struct findings *findings) MUST_CHECK;

/* Plain ~, null or nothing. */
bool node_is_null(const struct node *n);
/* The value under `key` of a map; NULL when absent, or when n is NULL or no map. */
struct node *node_get(const struct node *n, struct str key);
/* The key's own node, for its position. */
struct node *node_key(const struct node *n, struct str key);
/* Walks "server", "tls", "cert"…: the names end with NULL. */
struct node *node_find(const struct node *n, ...) __attribute__((sentinel));

/* Building by hand. NULL when memory is short. */
struct node *node_scalar(struct arena *arena, const struct source *source, struct str text);
struct node *node_map(struct arena *arena, const struct source *source, size_t capacity);
/* The map was made by node_map with room for it. */
void node_put(struct node *map, struct node *key, struct node *value);

/* One tree over another: maps deep, lists of items with `name` or `id` by that, everything else replaced; a
   null resets a value and leaves a map as it is. Neither tree is changed. NULL when memory is short. */
struct node *node_merge(struct arena *arena, struct node *under, struct node *over);

#endif
