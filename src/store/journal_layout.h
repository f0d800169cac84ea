/*
 * What stands in a segment file, and how it is read. Inside of store/ only.
 *
 *     header | slots, one record each | names ... | more names, when the file has grown
 *
 * A record's open part is written once, its sequence number last. States and counts alternate between two
 * cells each; every write carries the record's next version and a checksum, so that a write that a kill cut
 * short leaves the other cell, and the newest valid one counts. All checksums begin with a number of their
 * own per use of the segment (`salt`) and record: what an earlier use left behind is never taken for new.
 */
#ifndef HESTIA_STORE_JOURNAL_LAYOUT_H
#define HESTIA_STORE_JOURNAL_LAYOUT_H

#include "store/store.h"

enum {
    SEGMENT_BYTES = 4 << 20, /* of a file as it is made */
    HEADER_BYTES = 4096,
    NAMES_BYTES = 512 << 10,   /* at the end of it */
    NAMES_GROWTH = 512 << 10,  /* names of entries that outlive their segment's turn may need more */
    NAMES_GROWTH_MAX = 64,     /* times: all slots with all their names at full length fit */
    NAMES_RESERVE = 128 << 10, /* room left in the file as made when no more entries are begun in it */
    SEGMENT_MAPPED = SEGMENT_BYTES + NAMES_GROWTH * NAMES_GROWTH_MAX,
    NAMES_AT = SEGMENT_BYTES - NAMES_BYTES,
    NAME_UNIT = 8, /* names begin at multiples of it */
};

#define SEGMENT_MAGIC 0x314c4e4a41495448u /* "HTIAJNL1" */
enum { SEGMENT_VERSION = 1 };

struct segment_header {
    uint64_t magic; /* written last: 0 = nothing in it yet */
    uint32_t version, slot_bytes, slot_count, worker;
    uint64_t boot, number;
    uint64_t sequence; /* of the first record */
    int64_t begun_us;  /* wall clock */
    uint32_t none, check;
};

/* Where a name stands: in NAME_UNITs from NAMES_AT. 0 = empty. */
typedef uint32_t name_ref;

struct segment_name {
    uint16_t n, none;
    uint32_t check;
    char text[];
};

struct slot_open {
    uint64_t sequence; /* written last: 0 = free */
    uint32_t check;
    uint8_t request_id_n, stream;
    uint16_t none;
    int64_t at_us;
    name_ref client, strategy, model, endpoint;
    char request_id[ENTRY_TEXT_MAX];
};

struct slot_attempt {
    name_ref provider, model, outcome;
    int32_t status;
};

struct slot_state {
    uint32_t check, version; /* version 0 = never written */
    int64_t input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost;
    uint64_t duration_us, first_byte_us;
    int32_t status;
    uint8_t outcome, estimated;
    uint16_t none;
    int32_t attempt_count;
    name_ref provider, model;
    struct slot_attempt attempts[ENTRY_ATTEMPTS_MAX];
};

struct slot_count {
    uint32_t check, version;
    int64_t output_tokens, cost;
};

struct slot {
    struct slot_open open;
    uint64_t stored; /* == sequence: it is in the database. The store's thread writes it */
    /* The writer's own, never read back from a file. */
    uint32_t version;
    uint8_t state_turn, count_turn;
    uint16_t none;
    struct slot_count counts[2];
    struct slot_state states[2];
};

enum { SLOT_COUNT = (NAMES_AT - HEADER_BYTES) / sizeof(struct slot), SEGMENT_QUARTER = SLOT_COUNT / 4 };
_Static_assert(sizeof(struct segment_header) <= HEADER_BYTES, "the header has its page");
_Static_assert(sizeof(struct slot) == 664, "the layout is part of SEGMENT_VERSION");
_Static_assert((int)SLOT_COUNT <= UINT16_MAX, "the queue of settled slots holds 16 bits each");

/* CRC-32C going on from `seed` (0 at the beginning). */
uint32_t crc32c(uint32_t seed, const void *bytes, size_t n);
/* The same without the processor's help: what other machines run. */
uint32_t crc32c_table(uint32_t seed, const void *bytes, size_t n);

uint32_t header_check(const struct segment_header *h);
uint32_t header_salt(const struct segment_header *h);
uint32_t name_check(uint32_t salt, const char *text, size_t n);
/* What the checks of one record begin with. */
uint32_t record_seed(uint32_t salt, uint64_t sequence);
uint32_t open_check(uint32_t seed, const struct slot_open *o);
uint32_t state_check(uint32_t seed, const struct slot_state *s);
uint32_t count_check(uint32_t seed, const struct slot_count *c);

/* A segment to read: the mapping of a living one, or a copy of an old file. */
struct segment_image {
    const uint8_t *bytes;
    size_t n; /* at least SEGMENT_BYTES */
    uint64_t boot;
    uint32_t worker, salt;
};

enum record {
    RECORD_NONE,
    RECORD_STORED,  /* in the database already: not read */
    RECORD_DAMAGED, /* not even what it was can be told */
    RECORD_OPEN,    /* `outcome` is ENTRY_OPEN, the rest its last progress */
    RECORD_SETTLED,
};

/* Reads record `slot` (< SLOT_COUNT) into a row whose texts point into the image. `damaged` grows by each
   part that is not what was written: an empty or an older value stands in its place. */
enum record record_read(const struct segment_image *g, uint32_t slot, struct request_row *row,
                        size_t *damaged);

/* Calls the parts of a slot that every record uses into the cache: its turn comes next. */
static inline void slot_fetch(const struct slot *s)
{
    __builtin_prefetch(&s->open, 1);
    __builtin_prefetch(&s->stored, 1);
    __builtin_prefetch(&s->states[0], 1);
    __builtin_prefetch(&s->states[0].attempts, 1);
    __builtin_prefetch(&s->states[1], 1);
}

static inline const struct slot *image_slot(const struct segment_image *g, uint32_t slot)
{
    return (const struct slot *)(const void *)(g->bytes + HEADER_BYTES + slot * sizeof(struct slot));
}

#endif
