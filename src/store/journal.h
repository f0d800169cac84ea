/*
 * The ledger of record: an append-only journal in memory-mapped segments, one set of segments per worker, so
 * that an account costs a memory copy and no lock (details.md section 10). A record is opened before the
 * upstream is called, brought up to date before each write to the client, and settled at the end. What the
 * kernel has in the mapping survives a kill -9; the store's thread moves settled records into the database
 * and gives full segments back. After a crash the next start replays what is left: an open record counts
 * with its last progress, outcome `aborted`. "In the ledger exactly once" = journal and database together;
 * (boot, worker, sequence) is the key in both.
 */
#ifndef HESTIA_STORE_JOURNAL_H
#define HESTIA_STORE_JOURNAL_H

#include "base/err.h"
#include "base/str.h"

enum entry_outcome {
    ENTRY_OPEN,      /* under way */
    ENTRY_OK,        /* the client has its whole answer */
    ENTRY_FAILED,    /* an error answer, or one that broke off */
    ENTRY_CANCELLED, /* the client left */
    ENTRY_ABORTED,   /* the gateway died meanwhile: replayed */
};

/* What is known when the exchange begins. Texts are copied; each is cut at ENTRY_TEXT_MAX bytes. */
enum { ENTRY_TEXT_MAX = 128, ENTRY_ATTEMPTS_MAX = 8 };
struct entry_open {
    int64_t at_us; /* wall clock: when it was admitted */
    struct str request_id;
    struct str client, strategy; /* ids; empty = none */
    struct str model;            /* as the client asked */
    struct str endpoint;         /* "chat", "completions", "embeddings" */
    bool stream;
};

/* One provider's try. */
struct entry_attempt {
    struct str provider, model; /* as sent */
    struct str outcome;         /* a constant: "ok", "failed", "rate_limited", "context_length", … */
    int status;                 /* 0 = no answer */
};

/* What changes: written whole at each progress. */
struct entry_state {
    struct str provider, model; /* who answers, the model as sent; empty = nobody yet */
    int64_t input_tokens, output_tokens, cached_tokens, reasoning_tokens;
    int64_t cost;           /* pico-dollars */
    uint64_t duration_us;   /* so far */
    uint64_t first_byte_us; /* until the first byte from upstream; 0 = none yet */
    int status;             /* as the client sees it; 0 = none yet */
    enum entry_outcome outcome;
    bool estimated; /* the token counts are ours, the upstream gave none */
    struct entry_attempt attempts[ENTRY_ATTEMPTS_MAX];
    int attempt_count; /* beyond the maximum only the number is kept */
};

struct store;
struct journal; /* one worker's; all calls on that worker's thread */

/* An entry under way: which record it is. Zero it first. */
struct journal_entry {
    struct journal *journal; /* NULL = not in the journal */
    void *segment;
    uint32_t slot;
};

/* Before the workers start, any thread: worker `index`'s journal in the store's folder. NULL when memory is
   short. It belongs to the store, which ends it. */
struct journal *store_journal(struct store *s, unsigned index);

/* ERR_STORE: no record can be written (disk full, read-only, no store): the entry stays as it is, and the
   policy storage.on_store_failure says whether to go on without. A full disk is tried again once a second. */
enum err journal_open(struct journal *j, const struct entry_open *open,
                      struct journal_entry *entry) MUST_CHECK;
/* Both do nothing for an entry that is not in the journal. After journal_settle (outcome not ENTRY_OPEN) the
   entry is zeroed. Never fail, never block, make no system call but when a segment is full. */
void journal_progress(struct journal_entry *entry, const struct entry_state *state);
/* The cheap one, for each piece of a stream: only these numbers change. */
void journal_count(struct journal_entry *entry, int64_t output_tokens, int64_t cost);
void journal_settle(struct journal_entry *entry, const struct entry_state *state);

#endif
