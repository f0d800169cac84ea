/*
 * A journal in memory, in the place of the real one: what the store's tests settle, and what an earlier run
 * left. It can forget that it was told what is stored, as a crash between the commit and the mark would.
 */
#ifndef HESTIA_STORE_JOURNAL_FAKE_H
#define HESTIA_STORE_JOURNAL_FAKE_H

#include "store/journal_set.h"
#include "store/test.h"

#include <pthread.h>

enum { FAKE_ROWS_MAX = 5000 };
#define US INT64_C(1000000)      /* in a second */
#define NOON INT64_C(1704164640) /* 2024-01-02 03:04:00 UTC */

static struct {
    pthread_mutex_t lock;
    struct request_row rows[FAKE_ROWS_MAX];
    size_t settled, scanned, marked;
    struct request_row old[16];
    size_t old_count, damaged;
    bool forgets; /* marks are lost */
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct journal_set *const fake_set = (struct journal_set *)(void *)&fake;

static inline void fake_reset(void)
{
    pthread_mutex_lock(&fake.lock);
    fake.settled = fake.scanned = fake.marked = fake.old_count = fake.damaged = 0;
    fake.forgets = false;
    pthread_mutex_unlock(&fake.lock);
}

static inline void fake_settle(const struct request_row *row)
{
    pthread_mutex_lock(&fake.lock);
    REQUIRE(fake.settled < FAKE_ROWS_MAX);
    fake.rows[fake.settled++] = *row;
    pthread_mutex_unlock(&fake.lock);
}

/* cmocka's setup of each test; folder_gone is its teardown. */
static inline int fake_setup(void **state)
{
    fake_reset();
    log_watch();
    return folder_new(state);
}

/* All that was given before is given again. */
static inline void fake_rewind(void)
{
    pthread_mutex_lock(&fake.lock);
    fake.scanned = fake.marked = 0;
    pthread_mutex_unlock(&fake.lock);
}

struct journal_set *journal_set_open(const char *folder, uint64_t boot, struct error *error)
{
    return fake_set;
}

void journal_set_close(struct journal_set *set) {}

void journal_set_on_fill(struct journal_set *set, void (*on_fill)(void *owner), void *owner) {}

enum err journal_set_replay(struct journal_set *set, journal_each *each, void *argument, size_t *damaged,
                            struct error *error)
{
    *damaged = fake.damaged;
    for (size_t i = 0; i < fake.old_count; i++)
        TRY(each(argument, &fake.old[i]));
    return OK;
}

void journal_set_forget_old(struct journal_set *set)
{
    if (!fake.forgets)
        fake.old_count = 0;
}

enum err journal_set_scan(struct journal_set *set, size_t max, journal_each *each, void *argument)
{
    enum err err = OK;
    pthread_mutex_lock(&fake.lock);
    for (fake.scanned = fake.marked; err == OK && max && fake.scanned < fake.settled; max--)
        err = each(argument, &fake.rows[fake.scanned++]);
    pthread_mutex_unlock(&fake.lock);
    return err;
}

void journal_set_mark(struct journal_set *set)
{
    pthread_mutex_lock(&fake.lock);
    fake.marked = fake.scanned;
    pthread_mutex_unlock(&fake.lock);
}

size_t journal_set_pending(const struct journal_set *set)
{
    pthread_mutex_lock(&fake.lock);
    size_t pending = fake.settled - fake.marked;
    pthread_mutex_unlock(&fake.lock);
    return pending;
}

uint64_t journal_set_bytes(const struct journal_set *set)
{
    return 0;
}

struct journal *journal_set_writer(struct journal_set *set, unsigned worker)
{
    return NULL;
}

#endif
