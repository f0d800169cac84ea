/*
 * Segments and journals as both threads see them. Inside of store/ only. A worker writes its present segment
 * and the older ones in which entries of its are still open; the store's thread reads what has been settled.
 * They share no lock. A segment goes round:
 *
 *     made or recycled (store's thread, or the worker itself) -> spare -> begun, and put into the inbox
 *     (worker) -> taken over (store's thread) -> closed (worker) -> all stored -> spare again, or removed
 */
#ifndef HESTIA_STORE_JOURNAL_SEGMENT_H
#define HESTIA_STORE_JOURNAL_SEGMENT_H

#include "store/journal_layout.h"
#include "store/journal_set.h"

#include <stdatomic.h>

/* All segments together; beyond it no entry is begun until the database has caught up. Many workers may have
   a few segments each in any case. */
#define JOURNAL_BYTES_MAX ((uint64_t)256 << 20)
enum { JOURNAL_SEGMENTS_EACH = 3, JOURNALS_MAX = 256, SPARES_MAX = 4, NAME_SEATS = 4096, NAME_PROBES = 8 };

/* Where a name stands that a segment holds already; found by its check. */
struct name_seat {
    uint32_t check;
    name_ref ref; /* 0 = free */
};

struct segment {
    struct journal_set *set;
    uint8_t *map; /* SEGMENT_MAPPED bytes of addresses, of which file_bytes are there */
    int fd;
    uint32_t worker;
    uint64_t number;
    struct segment *next; /* in the inbox, then in the store's thread's list */
    uint32_t salt;        /* set by segment_begin, before the inbox */

    /* The worker's. */
    char gap[64];                /* what one thread writes is in no cache line of the other's */
    uint32_t used;               /* slots */
    uint32_t names_used;         /* bytes from NAMES_AT */
    uint64_t grow_at;            /* after a failure: not before */
    _Atomic uint32_t opened;     /* == used, for the other thread */
    _Atomic uint32_t settled;    /* how far the queue is filled; the worker's last touch of an entry */
    _Atomic uint32_t file_bytes; /* grows with the names */
    _Atomic bool closed;         /* no entry will be begun; if all are settled: the worker's last touch */
    uint16_t queue[SLOT_COUNT];  /* slots in the order of settling */
    struct name_seat seats[NAME_SEATS];

    /* The store's thread's. */
    char gap_again[64];
    uint32_t scanned;  /* of the queue: given to the database */
    uint32_t marked;   /* of the queue: safe in it */
    _Atomic bool lost; /* the file was removed under us: begin nothing more in it */
};

struct journal {
    struct journal_set *set;
    uint32_t worker;

    /* The worker's. */
    char gap[64];
    struct segment *current; /* NULL = none could be had */
    uint64_t sequence;       /* of the last entry */
    uint64_t retry_at;       /* a segment could not be made: not before */
    bool is_failing;
    _Atomic uint64_t settled;
    _Atomic(struct segment *) inbox; /* begun segments, newest first */
    _Atomic uint32_t spares_taken;

    /* The store's thread's. */
    char gap_again[64];
    struct segment *segments; /* oldest first */
    _Atomic uint64_t marked;
    uint64_t spare_retry_at;
    _Atomic uint32_t spares_made;
    struct segment *spares[SPARES_MAX]; /* ring: taken by the worker, made by the store's thread */
};

struct old_segment {
    char name[64];
    int64_t begun_us;
    uint64_t boot, number;
    bool is_unreadable; /* not removed, but renamed */
};

struct journal_set {
    char *folder;
    uint64_t boot;
    uint64_t bytes_max;
    _Atomic uint64_t bytes, next_number;
    _Atomic(struct journal *) journals[JOURNALS_MAX];
    _Atomic uint32_t journal_count; /* journals below it may be there */
    void (*on_fill)(void *owner);   /* NULL = nobody wants to know */
    void *owner;

    /* The store's thread's. */
    uint32_t turn; /* whose records a scan gives first */
    uint64_t look_at;
    struct old_segment *old; /* what journal_set_replay found */
    size_t old_count;
};

/* A new file, mapped. ERR_STORE with the reason. Either thread; several system calls. */
enum err segment_make(struct journal_set *set, uint32_t worker, struct segment **segment,
                      struct error *error) MUST_CHECK;
/* Brings all of it into memory, so that its first use costs the worker no page faults. */
void segment_warm(struct segment *s);
/* As if it had just been made, but that its records still stand there, each marked as stored. False: the file
   is not what it was (grown, gone), destroy it. */
bool segment_recycle(struct segment *s);
/* Removes the file. */
void segment_destroy(struct segment *s);
/* Keeps the file, for the next start. */
void segment_leave(struct segment *s);
bool segment_file_is_gone(const struct segment *s);

/* Worker: the header; from here on it is a segment to replay. */
void segment_begin(struct segment *s, uint64_t sequence);
/* Worker: where this name stands (put there if need be); 0 for the empty one, and for one for which the disk
   has no more room. */
name_ref segment_name(struct segment *s, struct str text);

static inline struct slot *segment_slot(struct segment *s, uint32_t slot)
{
    return (struct slot *)(void *)(s->map + HEADER_BYTES + slot * sizeof(struct slot));
}

static inline struct segment_image segment_image(const struct segment *s)
{
    uint32_t n = atomic_load_explicit(&s->file_bytes, memory_order_relaxed);
    return (struct segment_image){s->map, n, s->set->boot, s->worker, s->salt};
}

#endif
