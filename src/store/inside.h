/*
 * What the files of the store share. All of it belongs to the store's thread, but before that has started
 * (store_open) and after it has ended (store_close), and but for what is atomic.
 */
#ifndef HESTIA_STORE_INSIDE_H
#define HESTIA_STORE_INSIDE_H

#include "base/map.h"
#include "store/folder.h"
#include "store/journal_set.h"
#include "store/rollup.h"
#include "store/sqlite.h"
#include "store/store.h"

#include <pthread.h>

enum { BATCH_ROWS = 1000 };

/* Numbers of the tables `names` and `boots`, bounded. */
struct names {
    struct map ids; /* name -> struct name */
    struct arena arena;
    int64_t day;     /* of what is in it: each name is marked as seen once a day */
    uint64_t boot;   /* the last one asked for */
    int64_t boot_id; /* 0 = none yet */
};

struct store {
    struct loop *loop;
    struct db *db;
    struct journal_set *journals;
    struct buf path;
    uint8_t pepper[PEPPER_SIZE];
    int lock;
    uint64_t request_days;
    struct names names;
    struct rollup rollup; /* of the batch that is being written */
    struct buf attempts;  /* of the row that is being written */

    pthread_t thread;
    bool is_running; /* the thread */
    struct message stop;
    struct timer batch_timer, retention_timer;
    uint64_t retry_ms; /* until the next try after a failure */
    _Atomic bool well;
};

/* Runs fn(argument) on the store's thread and waits. Boot and tests: it blocks the thread that calls. Without
   a thread it just runs. */
void store_ask(struct store *s, void (*fn)(void *argument), void *argument);
/* Failed and fine again are said once each. `err` is what a write came to. */
void store_note(struct store *s, enum err err);
/* ERR_STORE or ERR_NOMEM with the database's reason. */
enum err store_fail(struct store *s, enum err err, struct error *error);

/* ---- database.c ---- */

/* Opens, checks, migrates; moves a damaged one aside and begins anew. */
enum err database_open(struct store *s, bool was_clean, struct error *error) MUST_CHECK;

/* ---- batch.c ---- */

/* Moves at most BATCH_ROWS settled records into the database, in one transaction. */
enum err batch_write(struct store *s) MUST_CHECK;
/* All there are. */
enum err batch_write_all(struct store *s) MUST_CHECK;
/* What earlier runs left in the journal. */
enum err batch_replay(struct store *s, struct error *error) MUST_CHECK;

/* ---- names.c ---- */

/* The number of a name, made when new; 0 for the empty one. Inside a transaction. */
enum err name_id(struct store *s, struct str name, int64_t *id) MUST_CHECK;
/* The number of a name; -1: there is none. */
enum err name_find(struct store *s, struct str name, int64_t *id) MUST_CHECK;
/* The text of a number, in the arena; empty for 0. */
enum err name_text(struct store *s, int64_t id, struct arena *arena, struct str *text) MUST_CHECK;
/* The number of a run. Inside a transaction. */
enum err boot_id(struct store *s, uint64_t boot, int64_t *id) MUST_CHECK;
/* After a rollback, which may have taken names back. */
void names_forget(struct names *names);

/* ---- requests.c, usage.c ---- */

/* Inserts a row of the list; *is_new: it was not there before. Inside a transaction. */
enum err request_insert(struct store *s, const struct request_row *row, bool *is_new) MUST_CHECK;
/* Adds what the batch's roll-up holds to the tables, and empties it. Inside a transaction. */
enum err usage_write(struct store *s) MUST_CHECK;

/* ---- retention.c ---- */

/* One small step; *more: there is more to remove. `now_us` wall clock. */
enum err retention_step(struct store *s, int64_t now_us, bool *more) MUST_CHECK;

#endif
