/*
 * The journals of all workers as the store sees them: files in one folder, read by the store's thread while
 * the workers write. Inside of store/ only. A segment is a file of fixed size, preallocated and mapped
 * shared; each record stands in slots of its own with a checksum per part, so that a record that was torn by
 * a kill -9 is seen as what it was before. Names (clients, models, …) are interned per segment: a segment can
 * be read by itself.
 */
#ifndef HESTIA_STORE_JOURNAL_SET_H
#define HESTIA_STORE_JOURNAL_SET_H

#include "store/store.h"

struct journal_set;

/* Makes the folder (0700) if need be; `boot` is a random number that names this run. NULL with the reason. */
struct journal_set *journal_set_open(const char *folder, uint64_t boot, struct error *error);
/* Before the first writer. A worker calls on_fill(owner) whenever it has begun another quarter of a segment's
   records: who stores now what is settled gets the segment before back to the worker in time, and is soon
   done where both share a core. It must not block. */
void journal_set_on_fill(struct journal_set *set, void (*on_fill)(void *owner), void *owner);
/* Unmaps; files whose records are all stored are removed, others stay for the next start. */
void journal_set_close(struct journal_set *set);

/* Boot, before any writer: what earlier runs left, oldest first. An open record is given with its last
   progress and outcome ENTRY_ABORTED. `each` copies what it keeps. Nothing is removed before
   journal_set_forget_old. Damaged parts are skipped and counted. */
typedef enum err journal_each(void *argument, const struct request_row *row);
enum err journal_set_replay(struct journal_set *set, journal_each *each, void *argument, size_t *damaged,
                            struct error *error) MUST_CHECK;
void journal_set_forget_old(struct journal_set *set);

/* Store's thread: every record that has been settled since and was not marked yet; at most `max`. */
enum err journal_set_scan(struct journal_set *set, size_t max, journal_each *each, void *argument) MUST_CHECK;
/* What the last scan gave is safely in the database: not given again; full segments that are stored whole go
   back to their writer or are removed. */
void journal_set_mark(struct journal_set *set);
/* How many records are settled and not marked; how many bytes the segments take. Any thread. */
size_t journal_set_pending(const struct journal_set *set);
uint64_t journal_set_bytes(const struct journal_set *set);

/* What store_journal returns. */
struct journal *journal_set_writer(struct journal_set *set, unsigned worker);

#endif
