/*
 * The journals of all workers as the store's thread sees them: takes over the segments they begin, gives what
 * has been settled to the database, and keeps a spare segment ready for each worker that will need one soon.
 */
#include "store/journal_segment.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- open and close ------------------------------------------------------------------------------------ */

static enum err folder_make(const char *folder, struct error *error)
{
    struct stat st;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return error_set(error, ERR_STORE, "%s: %s", folder, strerror(errno));
    if (stat(folder, &st) != 0 || access(folder, R_OK | W_OK | X_OK) != 0)
        return error_set(error, ERR_STORE, "%s: %s", folder, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return error_set(error, ERR_STORE, "%s: not a folder", folder);
    return OK;
}

struct journal_set *journal_set_open(const char *folder, uint64_t boot, struct error *error)
{
    if (folder_make(folder, error) != OK)
        return NULL;
    struct journal_set *set = mem_alloc(sizeof *set);
    size_t n = strlen(folder) + 1;
    if (set)
        set->folder = mem_alloc(n);
    if (!set || !set->folder) {
        mem_free(set);
        error_set(error, ERR_NOMEM, "out of memory");
        return NULL;
    }
    memcpy(set->folder, folder, n);
    set->boot = boot;
    set->bytes_max = JOURNAL_BYTES_MAX;
    return set;
}

void journal_set_on_fill(struct journal_set *set, void (*on_fill)(void *owner), void *owner)
{
    set->on_fill = on_fill;
    set->owner = owner;
}

struct journal *journal_set_writer(struct journal_set *set, unsigned worker)
{
    if (worker >= JOURNALS_MAX)
        return NULL;
    struct journal *j = atomic_load_explicit(&set->journals[worker], memory_order_acquire);
    if (j)
        return j;
    j = mem_alloc(sizeof *j);
    if (!j)
        return NULL;
    j->set = set;
    j->worker = worker;
    set->bytes_max = MAX(set->bytes_max, (uint64_t)(worker + 1) * JOURNAL_SEGMENTS_EACH * SEGMENT_BYTES);
    atomic_store_explicit(&set->journals[worker], j, memory_order_release);
    if (worker >= atomic_load_explicit(&set->journal_count, memory_order_relaxed))
        atomic_store_explicit(&set->journal_count, worker + 1, memory_order_release);
    return j;
}

static struct journal *journal_at(const struct journal_set *set, uint32_t i)
{
    return atomic_load_explicit(&set->journals[i], memory_order_acquire);
}

#define JOURNAL_EACH(variable, set)                                                                          \
    for (uint32_t i_ = 0, n_ = atomic_load_explicit(&(set)->journal_count, memory_order_acquire); i_ < n_;   \
         i_++)                                                                                               \
        for (struct journal *variable = journal_at(set, i_); variable; variable = NULL)

/* The inbox holds the newest first. */
static void journal_take_over(struct journal *j)
{
    if (!atomic_load_explicit(&j->inbox, memory_order_relaxed))
        return;
    struct segment *s = atomic_exchange_explicit(&j->inbox, NULL, memory_order_acquire), *begun = NULL;
    while (s) {
        struct segment *next = s->next;
        s->next = begun;
        begun = s;
        s = next;
    }
    struct segment **end = &j->segments;
    while (*end)
        end = &(*end)->next;
    *end = begun;
}

static bool segment_is_stored(const struct segment *s)
{
    return s->marked == atomic_load_explicit(&s->opened, memory_order_relaxed);
}

static void journal_end(struct journal *j)
{
    journal_take_over(j);
    while (j->segments) {
        struct segment *s = j->segments;
        j->segments = s->next;
        if (segment_is_stored(s))
            segment_destroy(s);
        else
            segment_leave(s);
    }
    uint32_t made = atomic_load(&j->spares_made);
    for (uint32_t i = atomic_load(&j->spares_taken); i != made; i++)
        segment_destroy(j->spares[i % SPARES_MAX]);
    mem_free(j);
}

void journal_set_close(struct journal_set *set)
{
    if (!set)
        return;
    JOURNAL_EACH(j, set)
    {
        journal_end(j);
    }
    mem_free(set->old);
    mem_free(set->folder);
    mem_free(set);
}

/* ---- segments that are done ---------------------------------------------------------------------------- */

static bool spare_put(struct journal *j, struct segment *s)
{
    uint32_t made = atomic_load_explicit(&j->spares_made, memory_order_relaxed);
    if (made - atomic_load_explicit(&j->spares_taken, memory_order_acquire) >= SPARES_MAX)
        return false;
    j->spares[made % SPARES_MAX] = s;
    atomic_store_explicit(&j->spares_made, made + 1, memory_order_release);
    return true;
}

static bool spares_are_full(const struct journal *j)
{
    return atomic_load(&j->spares_made) - atomic_load(&j->spares_taken) >= SPARES_MAX;
}

/* All of it is stored and the worker is done with it. */
static void segment_retire(struct journal *j, struct segment *s)
{
    if (spares_are_full(j) || !segment_recycle(s) || !spare_put(j, s))
        segment_destroy(s);
}

/* Also when nothing was settled since: a worker that got no other segment waits for its last one. */
static void journal_retire(struct journal *j)
{
    for (struct segment **at = &j->segments; *at;) {
        struct segment *s = *at;
        if (!atomic_load_explicit(&s->closed, memory_order_acquire) || !segment_is_stored(s)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        segment_retire(j, s);
    }
}

/* ---- scan ---------------------------------------------------------------------------------------------- */

static bool journal_has_news(const struct journal *j)
{
    return atomic_load_explicit(&j->settled, memory_order_acquire) !=
           atomic_load_explicit(&j->marked, memory_order_relaxed);
}

/* A record that does not read any more is lost: somebody wrote into the file. */
static enum err record_give(struct segment *s, uint32_t slot, journal_each *each, void *argument)
{
    struct request_row row;
    struct segment_image image = segment_image(s);
    size_t damaged = 0;
    enum record record = record_read(&image, slot, &row, &damaged);
    if (UNLIKELY(damaged > 0))
        log_event(LOG_ERROR, "journal_damaged", "segment %llu of worker %u: record %u is damaged",
                  (unsigned long long)s->number, s->worker, slot);
    return record == RECORD_SETTLED ? each(argument, &row) : OK;
}

static enum err journal_scan(struct journal *j, size_t *left, journal_each *each, void *argument)
{
    journal_take_over(j);
    for (struct segment *s = j->segments; s && *left > 0; s = s->next) {
        uint32_t settled = atomic_load_explicit(&s->settled, memory_order_acquire);
        for (; *left > 0 && s->scanned < settled; s->scanned++, (*left)--) {
            slot_fetch(segment_slot(s, s->queue[MIN(s->scanned + 1, settled - 1)]));
            TRY(record_give(s, s->queue[s->scanned], each, argument));
        }
    }
    return OK;
}

/* What was given and not marked is given again: the database has rolled it back. */
static void scan_begin(struct journal_set *set)
{
    JOURNAL_EACH(j, set)
    {
        for (struct segment *s = j->segments; s; s = s->next)
            s->scanned = s->marked;
    }
}

enum err journal_set_scan(struct journal_set *set, size_t max, journal_each *each, void *argument)
{
    uint32_t count = atomic_load_explicit(&set->journal_count, memory_order_acquire);
    scan_begin(set);
    JOURNAL_EACH(j, set)
    {
        journal_retire(j);
    }
    set->turn++; /* with many workers and a small `max`, everybody's turn comes */
    enum err err = OK;
    for (uint32_t i = 0; i < count && max > 0 && err == OK; i++) {
        struct journal *j = journal_at(set, (set->turn + i) % count);
        if (j && journal_has_news(j))
            err = journal_scan(j, &max, each, argument);
    }
    if (err != OK)
        scan_begin(set);
    return err;
}

/* ---- mark ---------------------------------------------------------------------------------------------- */

static void segment_mark(struct segment *s)
{
    for (; s->marked < s->scanned; s->marked++) {
        struct slot *slot = segment_slot(s, s->queue[s->marked]);
        slot->stored = slot->open.sequence;
    }
}

static void journal_mark(struct journal *j)
{
    uint64_t marked = atomic_load_explicit(&j->marked, memory_order_relaxed);
    for (struct segment *s = j->segments; s; s = s->next) {
        marked += s->scanned - s->marked;
        segment_mark(s);
    }
    atomic_store_explicit(&j->marked, marked, memory_order_relaxed);
}

/* The worker's present segment is half full: the next one is made here, where it may take its time. */
static void journal_prepare(struct journal *j, uint64_t now)
{
    struct segment *s = j->segments;
    while (s && s->next)
        s = s->next;
    if (!s || atomic_load_explicit(&s->opened, memory_order_relaxed) < SLOT_COUNT / 2 ||
        atomic_load(&j->spares_made) != atomic_load(&j->spares_taken) || now < j->spare_retry_at)
        return;
    struct error error = {0};
    struct segment *spare;
    if (segment_make(j->set, j->worker, &spare, &error) != OK) {
        j->spare_retry_at = now + CLOCK_S; /* the worker says it in the log when it needs one */
        return;
    }
    segment_warm(spare);
    if (!spare_put(j, spare))
        segment_destroy(spare);
}

/* A file that somebody removed takes no more entries: a crash would lose them. */
static void journal_look(struct journal *j)
{
    for (struct segment *s = j->segments; s; s = s->next) {
        if (atomic_load_explicit(&s->lost, memory_order_relaxed) || !segment_file_is_gone(s))
            continue;
        atomic_store_explicit(&s->lost, true, memory_order_relaxed);
        log_event(LOG_ERROR, "journal_lost", "segment %llu of worker %u has been removed from %s",
                  (unsigned long long)s->number, s->worker, j->set->folder);
    }
}

void journal_set_mark(struct journal_set *set)
{
    uint64_t now = clock_now();
    bool is_time_to_look = now >= set->look_at;
    if (is_time_to_look)
        set->look_at = now + CLOCK_S;
    JOURNAL_EACH(j, set)
    {
        if (is_time_to_look)
            journal_look(j);
        journal_mark(j);
        journal_retire(j);
        journal_prepare(j, now);
    }
}

/* The counters of a worker may lag behind its segments by the record it is settling. */
size_t journal_set_pending(const struct journal_set *set)
{
    size_t pending = 0;
    JOURNAL_EACH(j, set)
    {
        uint64_t marked = atomic_load_explicit(&j->marked, memory_order_relaxed);
        uint64_t settled = atomic_load_explicit(&j->settled, memory_order_relaxed);
        pending += settled > marked ? (size_t)(settled - marked) : 0;
    }
    return pending;
}

uint64_t journal_set_bytes(const struct journal_set *set)
{
    return atomic_load_explicit(&set->bytes, memory_order_relaxed);
}
