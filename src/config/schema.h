/*
 * What a field table is. One table per struct (or per kind of map that has no struct yet) says name, type,
 * default, range, reload class, secrecy and a sentence for people; decode.c, show.c, doc.c and json_schema.c
 * do everything else from it. The tables are in schema_*.c and never change.
 */
#ifndef HESTIA_CONFIG_SCHEMA_H
#define HESTIA_CONFIG_SCHEMA_H

#include "config/config.h"

enum field_kind {
    FIELD_TEXT,     /* struct str */
    FIELD_PATH,     /* struct str, made absolute from the folder of the file it stands in */
    FIELD_URL,      /* struct str as written at `at`, struct url at `url_at` (empty while it holds ${PORT}) */
    FIELD_BOOL,     /* bool */
    FIELD_COUNT,    /* uint64_t, whole number */
    FIELD_WHOLE,    /* int64_t, may be negative */
    FIELD_NUMBER,   /* double */
    FIELD_DURATION, /* uint64_t milliseconds; a bare number counts `unit` milliseconds each */
    FIELD_SIZE,     /* uint64_t bytes */
    FIELD_RATE,     /* uint64_t bytes per second: a size, with or without "/s" */
    FIELD_WORD,     /* an enum (int): the index in `words` */
    FIELD_LEVEL,    /* enum log_level */
    FIELD_TEXTS,    /* struct strs; one text alone is a list of one */
    FIELD_COMMAND,  /* struct strs: a list, or a string that is split into words (whole with `shell: true`) */
    FIELD_PAIRS,    /* env_pair pointer at `at`, size_t count at `count_at`: a map of texts */
    FIELD_MODELS,   /* struct model_names: [provider, model] pairs or "provider/model" texts */
    FIELD_MONEY,    /* int64_t pico-dollars, written in dollars of `unit` decimal places; -1: not given */
    FIELD_LIMIT,  /* the value of struct rate_limit_config, whose limit_type stands before it in the table */
    FIELD_PRICES, /* a map of providers to maps of models to `table`: added to struct pricing_config */
    FIELD_TABLE,  /* a map described by `table`, its struct at `at` */
    FIELD_ITEMS,  /* a list of such maps: pointer at `at`, size_t count at `count_at` */
    FIELD_NAMED,  /* a map from names to such maps: likewise; the name goes where `table->id_at` says */
    FIELD_KEYS,   /* API keys: api_key pointer at `at`, count at `count_at` */
    FIELD_ANY,    /* anything: interpolated, not looked at */
};

enum reload { RELOAD_LIVE, RELOAD_SERVICE, RELOAD_PROCESS };

enum {
    F_ENV = 1 << 0,       /* <SERVICE>_<NAME> in the environment sets it */
    F_KEEP_PORT = 1 << 1, /* ${PORT} is replaced at each start, not now */
    F_SECRET = 1 << 2,    /* never shown */
    F_REQUIRED = 1 << 3,
    F_QUERY = 1 << 5,   /* a URL that is asked for itself: it may have a query */
    F_UNBOUND = 1 << 4, /* the table has a struct, this field has no place in it (yet) */
    F_JOIN = 1 << 6,    /* FIELD_TEXTS, FIELD_MODELS: behind what another field put in the same place */
};

struct table;

struct field {
    const char *name;
    enum field_kind kind;
    size_t at, url_at, count_at; /* offsets in the table's struct */
    const char *fallback;        /* the default, as one would write it; NULL: empty, zero, false, none */
    double min, max;             /* of numbers, as written; max 0: no upper limit. Also of text lengths */
    uint64_t unit;               /* FIELD_DURATION, FIELD_MONEY */
    const char *const *words;    /* FIELD_WORD, NULL-terminated */
    const struct table *table;   /* FIELD_TABLE, FIELD_ITEMS, FIELD_NAMED, FIELD_PRICES */
    unsigned flags;
    enum reload reload;
    const char *later; /* the feature that is not active yet; NULL: in use */
    const char *doc;   /* a sentence */
};

struct decoder;
struct node;

struct table {
    const char *name;  /* "service": its name in the JSON Schema and the documentation */
    const char *title; /* the heading of its section: "services.ID" */
    const char *doc;
    const struct field *fields;
    size_t count;
    size_t size;         /* of the struct; 0: the values are only checked */
    size_t id_at;        /* FIELD_NAMED: struct str that takes the name */
    const char *unit;    /* "service": what an unset variable below it disables; NULL: its parent's */
    const char *item_id; /* FIELD_ITEMS: the field that must differ between items */
    bool ids_decoded;    /* they are compared at the end of the load, as they are decoded */
    const char *unnamed; /* FIELD_ITEMS: items without a name are called so and by their index */
    bool open;           /* other keys are taken as they are */
    bool is_service;     /* its fields are collected into the fingerprints of struct service_config */
    /* What the fields alone cannot say; runs when all of them are decoded. `value` is NULL without a struct.
     */
    void (*finish)(struct decoder *d, const struct node *n, void *value);
};

extern const struct table schema_root; /* the whole file: struct config */
extern const struct table schema_server, schema_auth, schema_service, schema_monitoring;
extern const struct table schema_provider, schema_routing, schema_timeouts, schema_queue;
extern const struct table schema_strategy, schema_allowed, schema_auto, schema_routellm;
extern const struct table schema_client, schema_pricing, schema_storage;

#define TABLE_FIELDS(array) .fields = (array), .count = COUNT_OF(array)

/* NULL when the table has no such field. */
const struct field *table_field(const struct table *t, struct str name);
/* The field whose name is nearest to `name`, when it is near enough to be meant; else NULL. */
const char *table_suggest(const struct table *t, struct str name);

/* One scalar's value. */
union scalar {
    uint64_t count;
    int64_t whole;
    double number;
    bool yes;
    int word;
    struct str text;
};
/* Types `text` by the field (scalar kinds only). False with a phrase for "expected …" in `expected`. */
bool scalar_parse(const struct field *f, struct str text, union scalar *value, char *expected,
                  size_t expected_size);
/* Its one canonical spelling, for fingerprints: "5m" and "300000" print the same. */
void scalar_print(const struct field *f, const union scalar *value, struct buf *out);

#endif
