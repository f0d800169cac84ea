/*
 * What the files book*.c share: entries, the book made of them, a draft of a change, the registry.
 * Everything but the book itself belongs to the control thread.
 */
#ifndef HESTIA_STRATEGY_BOOK_INSIDE_H
#define HESTIA_STRATEGY_BOOK_INSIDE_H

#include "base/json.h"
#include "strategy/book.h"

#include <jansson.h>

enum {
    BOOK_TEXT_MAX = 1 << 20, /* of a definition and of a change, bytes */
    BOOK_DEPTH_MAX = 32,     /* of its JSON: parsed on the small stack of a task */
    BOOK_ID_MAX = 64,
    BOOK_NAME_MAX = 200, /* bytes */
    KEY_LOOKUP_SIZE = 8,
    KEY_SECRET_SIZE = 43,
    KEY_SIZE = 3 + KEY_LOOKUP_SIZE + 1 + KEY_SECRET_SIZE, /* "hk_LLLLLLLL_SSS…" */
    PEPPER_SIZE = 32,
};

/* ---- book_key.c: keys and ids ------------------------------------------------------------------------- */

/* What is kept of a key. */
struct book_key {
    bool is_set;
    char lookup[KEY_LOOKUP_SIZE];
    uint8_t hmac[32];
};
/* A new one; `text` (KEY_SIZE characters and a NUL) is the only copy of it. */
void key_make(const uint8_t pepper[PEPPER_SIZE], struct book_key *key, char text[64]);
/* The part a key is looked up by; empty when it is not of our shape. */
struct str key_lookup(struct str key);
/* Whether `key` is the one of this HMAC. NULL: nobody's, and that takes as long to say. */
bool key_verify(const uint8_t pepper[PEPPER_SIZE], struct str key, const uint8_t *hmac);
/* 32 bytes from hexadecimal digits. */
bool key_hmac_parse(struct str hex, uint8_t out[32]);
/* A random UUID (version 4) as text, with a NUL. */
void uuid_make(char out[37]);

/* ---- book_text.c: definitions as text ----------------------------------------------------------------- */

/* The JSON of a definition in its one normal form; what `doc` has besides (may be NULL) is kept. */
void strategy_print(struct buf *out, const struct strategy_config *s, const json_t *doc);
/* `key`: stored with it; NULL for everybody else's eyes. */
void client_print(struct buf *out, const struct client_config *c, const struct book_key *key,
                  const json_t *doc);

/* ---- book_doc.c: definitions as documents ------------------------------------------------------------- */

void doc_free(json_t **doc); /* for CLEANUP */
/* An object out of JSON text; ERR_BAD_REQUEST with the place of the mistake, ERR_NOMEM. Empty: {}. */
enum err doc_parse(struct str text, json_t **doc, struct error *error) MUST_CHECK;
/* RFC 7396 into `doc`. Where the patch uses an older word for a thing, the newer one in `doc` gives way; and
   lists of allowed models without `selected_all` mean the lists. */
enum err doc_patch(enum store_table table, json_t *doc, const json_t *patch, struct error *error) MUST_CHECK;
/* A member as text; empty when it is absent or no text. */
struct str doc_text(const json_t *doc, const char *key);
/* Sets a member (an empty text takes it away). */
enum err doc_set(json_t *doc, const char *key, struct str value) MUST_CHECK;
/* Trims the member "name" and checks it; ERR_BAD_REQUEST, param "name". */
enum err doc_name(json_t *doc, struct error *error) MUST_CHECK;
/* [A-Za-z0-9._-]{1,64}, and not only dots. */
bool book_id_is_sane(struct str id);

/* ---- book_row.c: one entry of the store, decoded; immutable -------------------------------------------- */

struct book_row {
    _Atomic int references;
    struct arena arena;
    enum store_table table;
    struct str id, name;
    struct str text;  /* as it is stored */
    struct str shown; /* without the key */
    uint64_t revision;
    int64_t created_us, updated_us;
    struct book_key key;
    struct strategy_config strategy; /* or */
    struct client_config client;
    bool is_unsaved; /* made at start or reload, not written yet */
};
struct row_stamp {
    uint64_t revision;
    int64_t created_us, updated_us;
};
/* From a document (its "id" and "name" are good). What error->param names lies in `names`. */
struct book_row *row_make(enum store_table table, const json_t *doc, const struct book_key *key,
                          struct row_stamp stamp, struct arena *names, struct error *error);
struct book_row *row_load(const struct store_row *stored, struct error *error);
struct book_row *row_ref(struct book_row *r);
void row_unref(struct book_row *r);

/* The rows of one table, by age. */
struct book_rows {
    struct book_row **items;
    size_t count, capacity;
};
enum err rows_reserve(struct book_rows *rows, size_t more) MUST_CHECK;
struct book_row *rows_find(const struct book_rows *rows, struct str id); /* borrowed, or NULL */
/* Puts it in the place of the one with its id, or at the end; there is room. Takes the reference. */
void rows_put(struct book_rows *rows, struct book_row *r);
void rows_remove(struct book_rows *rows, struct str id);
void rows_free(struct book_rows *rows);

/* ---- book_build.c: the book --------------------------------------------------------------------------- */

struct book {
    _Atomic int references;
    struct arena arena;
    struct config *config;
    struct book_row **rows; /* references: texts of entries lie there */
    size_t row_count;
    struct book_strategy *strategies;
    size_t strategy_count;
    struct book_client *clients;
    size_t client_count;
    bool misses_clients;
    struct map strategy_by_id, client_by_id, client_by_lookup;
    struct map client_by_sha256; /* keys of the configuration */
    struct map warned;           /* what was found wrong: said once, not at every change */
    const struct book_strategy *anonymous;
    uint8_t pepper[PEPPER_SIZE];
};
/* `old` (may be NULL): its limiters live on, and its warnings are not repeated. NULL: memory is short. */
struct book *book_build(struct config *config, const struct book_rows *strategies,
                        const struct book_rows *clients, const uint8_t pepper[PEPPER_SIZE],
                        const struct book *old);

/* ---- the registry: books.c, book_load.c
 * ---------------------------------------------------------------------------- */

/* A revision must not come again when an id does: an old If-Match would fit. */
enum { GRAVES_MAX = 4096 };
struct book_grave {
    uint64_t revision;
    size_t n;
    char id[];
};

struct books {
    struct loop *control; /* fixed */
    struct store *store;  /* fixed; may be NULL */
    uint8_t pepper[PEPPER_SIZE];
    struct book_rows of[2]; /* index: enum store_table */
    bool misses_clients;    /* there may be some whose rows are out of reach */
    struct map buried[2];   /* ids of deleted rows -> struct book_grave */
    uint64_t buried_floor;  /* the highest revision of those that are not in the maps any more */
    struct book *current;
    struct books_publisher publisher;
    struct list requests; /* struct book_request, waiting */
    bool is_running;      /* the task that carries them out */
    bool has_unsaved;
};

struct book_request {
    struct message message;
    struct list node;
    struct reply reply;
    struct books *all;
    const struct book_change *change;
    struct arena *arena;
    struct book_result *result;
    struct error *error;
    enum err err;
};

/* The `default` strategy, unless configuration or rows have it. */
enum err books_ensure_default(struct books *all, const struct config *config) MUST_CHECK;
/* Parents that neither configuration nor rows know are taken away. */
enum err books_clear_parents(struct books *all, const struct config *config) MUST_CHECK;
/* Writes rows that are not written yet. False: that failed (and is in the log), they stay to be written. */
bool books_save(struct task *t, struct books *all);
/* The revision that a new row of this id begins with. */
uint64_t books_first_revision(const struct books *all, enum store_table table, struct str id);
void books_bury(struct books *all, enum store_table table, struct str id, uint64_t revision);
/* "Alice's strategy", in the arena; of a very long name as much as makes a good name. */
struct str book_owned_name(struct arena *arena, struct str client);

/* ---- book_queue.c: changes, one at a time ------------------------------------------------------------ */

/* Starts the task when there is something to do and none runs. */
void books_wake(struct books *all);
/* The newest rows under the newest configuration. */
enum err books_rebuild(struct books *all, struct config *config) MUST_CHECK;

/* ---- book_draft.c, book_change.c: what a change would do ------------------------------------------------
 */

enum draft_verb { DRAFT_CREATE, DRAFT_UPDATE, DRAFT_DELETE, DRAFT_ROTATE };
struct draft_row {
    struct book_row *row; /* as it is to be; or as it was, when it goes */
    enum draft_verb verb;
};
struct draft {
    struct books *all;
    const struct book *seen; /* the present book; valid until the first wait */
    const struct book_change *change;
    struct book_result *result;
    struct arena *keep; /* the caller's */
    struct error *error;
    struct arena arena;
    int64_t now_us;
    struct draft_row *rows;
    size_t count, capacity;
};
/* Fills the draft; nothing else changes. No rows: there is nothing to do. */
enum err draft_fill(struct draft *d) MUST_CHECK;
void draft_free(struct draft *d);

/* book_draft.c. Adds a row; takes the reference over, also when it fails. */
enum err draft_add(struct draft *d, struct book_row *row, enum draft_verb verb) MUST_CHECK;
/* A new version of `old` with this document, unless it says the same. */
enum err draft_renew(struct draft *d, struct book_row *old, const json_t *doc) MUST_CHECK;
enum err draft_create(struct draft *d, enum store_table table, const json_t *doc,
                      const struct book_key *key) MUST_CHECK;
/* One member of a row changes (an empty value: goes away). */
enum err draft_set(struct draft *d, struct book_row *old, const char *key, struct str value) MUST_CHECK;
/* The strategy loses its parent, and the answer says so. */
enum err draft_release(struct draft *d, struct book_row *strategy) MUST_CHECK;
enum err draft_says_released(struct draft *d, struct str strategy) MUST_CHECK;
enum err draft_delete(struct draft *d, struct book_row *row) MUST_CHECK;
/* The row a change is about. ERR_…_NOT_FOUND, ERR_MANAGED_BY_CONFIG, ERR_PRECONDITION. */
enum err draft_target(struct draft *d, enum store_table table, struct book_row **row) MUST_CHECK;
/* Id and revision for the answer: of the draft's version, else of the present one. */
enum err draft_answer(struct draft *d, enum store_table table, struct str id) MUST_CHECK;
/* The error with the field it is about. */
enum err draft_refuse(struct draft *d, enum err err, const char *param, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* ---- book_event.c: log and audit ---------------------------------------------------------------------- */

void draft_log(const struct draft *d);
/* A trail of what the draft does; `list` has room for d->count. */
void draft_audit(const struct draft *d, struct store_audit *list);
void book_event_row(enum log_level level, const char *event, enum store_table table, struct str id,
                    const char *message);

#endif
