/*
 * ${NAME}, ${NAME:-default} and $${ in the values of configuration files. Pure.
 * Called by decode.c and show.c for every scalar, after merging and before a value gets its type.
 */
#ifndef HESTIA_CONFIG_INTERPOLATE_H
#define HESTIA_CONFIG_INTERPOLATE_H

#include "base/arena.h"
#include "base/buf.h"

/* Where names are looked up. An empty value counts as unset. */
struct variables {
    const char *const *environment; /* "NAME=value", NULL-terminated; may be NULL */
    const char *executable;         /* ${HESTIA}; may be NULL */
};

/* The variable's value; empty when unset. */
struct str variables_get(const struct variables *v, struct str name);
/* KEY, TOKEN (not TOKENS), SECRET, PASSWORD or CREDENTIAL occurs in it, in any case: not shown. */
bool variable_is_secret(struct str name);

enum expand_result { EXPAND_OK, EXPAND_UNSET, EXPAND_SYNTAX, EXPAND_TOO_LONG };

struct expansion {
    const struct variables *variables;
    bool keep_port;     /* ${PORT} stays as it is */
    bool mask_secrets;  /* values of variable_is_secret() names become "********" */
    struct str missing; /* EXPAND_UNSET: the first variable that is unset and has no default */
    bool used_variable; /* the result holds the value of a variable */
    bool used_default;  /* the result holds a default that was written down */
};

enum { EXPAND_BYTES_MAX = 64 << 10, EXPAND_DEPTH_MAX = 16 };

/* Appends the expanded text to `out`. Names: letters, digits and _. A default may hold further ${…} and any
   balanced braces; it is used when the variable is unset or empty. What a variable holds is never expanded
   again. $${ gives ${, every other $ is itself. */
enum expand_result text_expand(struct expansion *e, struct str text, struct buf *out);

/* Length of the ${…} that `text` starts with, braces balanced; 0 when it is not closed. */
size_t text_reference_length(struct str text);

#endif
