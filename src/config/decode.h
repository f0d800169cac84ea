/*
 * Node tree to structs by the field tables, with every error at once. Inside of config/: load.c runs it, the
 * finish functions of the tables use it. One decoder per load, one thread.
 */
#ifndef HESTIA_CONFIG_DECODE_H
#define HESTIA_CONFIG_DECODE_H

#include "config/finding.h"
#include "config/interpolate.h"
#include "config/schema.h"
#include "config/yaml.h"

/* What an unset variable disables: the nearest service, provider, … above it. */
struct unit {
    const char *noun;
    struct str name;
    bool disabled;
    struct str why; /* in the decoder's arena */
};

struct decoder {
    struct arena *arena; /* of the snapshot: decoded values live there */
    struct findings *findings;
    const struct variables *variables;
    struct str folder;          /* where relative paths start that have no file of their own */
    struct unit *unit;          /* NULL: an unset variable is an error */
    struct buf *full, *restart; /* canonical texts of the service being decoded, or NULL */
    struct buf process;         /* canonical text of what needs a restart of the process */
    const char *later[32];      /* features already reported as not active */
    size_t later_count;
    bool from_api;  /* JSON of the management API or the store: no keys; an id may be given later */
    char path[512]; /* of the value being decoded */
    size_t path_length;
};

/* Decodes the map `n` (NULL or null: all defaults) into `value` (NULL: only checks). */
void decode_table(struct decoder *d, const struct table *t, const struct node *n, void *value);

/* ---- for finish functions and single kinds ------------------------------------------------------------- */

size_t decode_enter(struct decoder *d, struct str key); /* "a" -> "a.key"; returns what decode_leave takes */
size_t decode_enter_index(struct decoder *d, size_t i); /* "a" -> "a[i]" */
void decode_leave(struct decoder *d, size_t mark);

/* A finding about the value at the current path, or `key` below it (NULL: itself). */
void decode_report(struct decoder *d, enum severity severity, const struct node *at, const char *key,
                   const char *format, ...) PRINTF_LIKE(5, 6);
/* Zeroed, from the snapshot's arena; NULL (reported) when memory is short. */
void *decode_alloc(struct decoder *d, size_t n) MUST_CHECK;

/* The expanded text of a scalar, in the snapshot's arena. False (reported) when it is a list or a map, when
   a reference is malformed, or when a variable is unset; `expansion` (may be NULL) takes what was used. */
bool decode_text(struct decoder *d, const struct field *f, const struct node *n, struct str *text,
                 struct expansion *expansion);
/* Adds a value to the fingerprints that `f` belongs to. */
void decode_record(struct decoder *d, const struct field *f, struct str canonical);
/* The placeholder "..." of examples. */
bool node_is_ellipsis(const struct node *n);

/* "a text", "a list", "a map". */
const char *node_kind_name(const struct node *n);
/* A copy in the snapshot's arena. */
struct str decode_keep(struct decoder *d, struct str text);

/* Every kind but maps with a table: decode_value.c. `parent` is the map that holds it, `base` the struct that
   takes it (NULL: only checks). Without a node it takes the default. */
void decode_value(struct decoder *d, const struct field *f, const struct node *parent, const struct node *n,
                  char *base);
/* Types the value under `key` once more without a word: for what has no place in a struct, in finish
   functions. False when it is not given or wrong. Not for texts. */
bool decode_peek(struct decoder *d, const struct table *t, const char *key, const struct node *n,
                 union scalar *value);
/* FIELD_MODELS, FIELD_LIMIT, FIELD_PRICES: decode_books.c. `value` is the struct that holds the field. */
void decode_models(struct decoder *d, const struct field *f, const struct node *n, void *value);
void decode_limit(struct decoder *d, const struct field *f, const struct node *n, void *value);
void decode_prices(struct decoder *d, const struct field *f, const struct node *n, void *value);
/* FIELD_KEYS: keys.c. */
void decode_keys(struct decoder *d, const struct field *f, const struct node *n, void *value);

#endif
