/*
 * What the files of the store share. All of it belongs to the store's thread, but before that has started
 * (store_open) and after it has ended (store_close), and but for what is atomic.
 */
#ifndef HESTIA_STORE_INSIDE_H
#define HESTIA_STORE_INSIDE_H

#include "base/map.h"
#include "store/folder.h"
#include "store/journal_set.h"
#include "store/page.h"
#include "store/rollup.h"
#include "store/sqlite.h"
#include "store/store.h"

#include <pthread.h>

enum { BATCH_ROWS = 16384, NAME_SEATS_MAX = 256 };

/* Numbers of the tables `names` and `boots`, bounded. */
struct name;
struct name_pair {
    int64_t first, second, both; /* 0 = free */
};
struct names {
    struct map ids; /* name -> struct name */
    struct arena arena;
    /* Before the map: by where a text stands, as the journal keeps each name once; by the two of a pair. */
    struct {
        const char *p;
        const struct name *name;
    } seats[NAME_SEATS_MAX];
    struct name_pair pairs[NAME_SEATS_MAX];
    int64_t day;     /* of what is in it: each name is marked as seen once a day */
    uint64_t boot;   /* the last one asked for */
    int64_t boot_id; /* 0 = none yet */
};

/* The page that still grows, as it is in the table or will be. */
struct open_page {
    int64_t number; /* 0 = not in the table yet */
    int64_t boot;   /* 0 = there is no page */
    int64_t base_us, first_us, last_us;
    uint32_t count;
    bool is_changed;
    uint64_t begun; /* monotonic */
    struct buf bytes;
};
struct pages {
    struct open_page open;
    int64_t damaged[64]; /* those that were said to be */
    size_t damaged_count;
};

/* Records that are in the list and may be given again. */
struct known_key;
struct known {
    struct known_key *seats;
    size_t size, count;
    size_t awaited; /* in a running gateway: how many of them will come */
};

/* A batch that failed, and may be in the database all the same. */
struct doubt {
    int64_t number; /* 0 = no doubt */
    uint64_t boot;
    int64_t oldest_us;
    size_t rows;
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
    struct pages pages;
    struct known known;
    int64_t batch_number; /* of the last batch that is in the database; -1 = not read yet */
    struct doubt doubt;

    pthread_t thread;
    bool is_running; /* the thread */
    struct message stop, filling;
    _Atomic bool is_filling; /* the message is under way */
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
/* A number of the table `meta`, put in or replaced. */
enum err meta_set(struct store *s, const char *key, int64_t value) MUST_CHECK;

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

/* Before the names of a batch. */
void names_begin(struct names *names);
/* The number of a name, made when new; 0 for the empty one. Inside a transaction. */
enum err name_id(struct store *s, struct str name, int64_t *id) MUST_CHECK;
/* The same of "provider/model", whose own numbers are given. */
enum err name_pair(struct store *s, struct str provider, struct str model, int64_t provider_id,
                   int64_t model_id, int64_t *id) MUST_CHECK;
/* The number of a name; -1: there is none. */
enum err name_find(struct store *s, struct str name, int64_t *id) MUST_CHECK;
/* The text of a number, in the arena; empty for 0. */
enum err name_text(struct store *s, int64_t id, struct arena *arena, struct str *text) MUST_CHECK;
/* The number of a run. Inside a transaction. */
enum err boot_id(struct store *s, uint64_t boot, int64_t *id) MUST_CHECK;
/* -1: it has none. The other way round: the run of a number, 0 for none. */
enum err boot_find(struct store *s, uint64_t boot, int64_t *id) MUST_CHECK;
enum err boot_of(struct store *s, int64_t id, uint64_t *boot) MUST_CHECK;
/* After a rollback, which may have taken names back. */
void names_forget(struct names *names);

/* ---- pages.c ---- */

/* Adds a row to the open page; *names are its numbers. Inside a transaction, as pages_write. */
enum err pages_add(struct store *s, const struct request_row *row, int64_t boot,
                   struct page_names *names) MUST_CHECK;
/* Puts the open page into the table. */
enum err pages_write(struct store *s) MUST_CHECK;
/* The next row begins a page. After a rollback, or when the open page is gone from the table. */
void pages_forget(struct pages *p);
/* The next page of a query whose columns are last_us, page, boot, data; damaged ones are said and left out.
   False at the end (query_err tells), and at the first page with last_us below `until_us`. */
bool page_step(struct store *s, struct query *q, int64_t until_us, struct page *page);
/* The page's next row. False at its end; damage is said. */
bool page_row_step(struct store *s, struct page *page, struct page_row *row);
void page_say_damaged(struct store *s, int64_t number);

/* ---- known.c ---- */

/* Adds the records of a run's pages; not those that ended before `oldest_us`. */
enum err known_load(struct store *s, int64_t boot, int64_t oldest_us) MUST_CHECK;
bool known_has(const struct known *k, int64_t boot, const struct request_row *row);
void known_clear(struct known *k);

/* ---- usage.c ---- */

/* Adds what the batch's roll-up holds to the tables, and empties it. Inside a transaction. */
enum err usage_write(struct store *s) MUST_CHECK;

/* ---- retention.c ---- */

/* One small step; *more: there is more to remove. `now_us` wall clock. */
enum err retention_step(struct store *s, int64_t now_us, bool *more) MUST_CHECK;

#endif
