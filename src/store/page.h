/*
 * A page of the list of requests: some hundreds or thousands of settled exchanges of one run in a few bytes
 * each, kept by the database as one value. Names stand in it by their number; each row can be read by itself.
 * Bytes only, no database: pure. Never to be changed without a migration or another PAGE_VERSION.
 *
 *     checksum of all that follows (4) | version (4) | rows (4) | bytes of rows (4) | boot (8) | base time
 * (8) then per row: bytes that follow (2) | bytes of the id (1) | id | numbers of 7 bits a byte
 *
 * Numbers of fixed size are little-endian.
 */
#ifndef HESTIA_STORE_PAGE_H
#define HESTIA_STORE_PAGE_H

#include "store/store.h"

enum { PAGE_VERSION = 1, PAGE_HEADER_BYTES = 32, PAGE_ROW_BYTES_MAX = 768 };
enum { NAME_CLIENT, NAME_STRATEGY, NAME_MODEL, NAME_ENDPOINT, NAME_PROVIDER, NAME_SENT_MODEL, NAME_COUNT };

struct page_attempt {
    int64_t provider, model, outcome; /* numbers of names */
};
/* The numbers of a row's names. */
struct page_names {
    int64_t of[NAME_COUNT];
    struct page_attempt attempts[ENTRY_ATTEMPTS_MAX];
};

/* Writes one row (at most PAGE_ROW_BYTES_MAX bytes) and returns how many bytes it took. */
size_t page_row_write(char *to, int64_t base_us, const struct request_row *row,
                      const struct page_names *names);
/* Into the first PAGE_HEADER_BYTES of the page, when its rows stand behind them. */
void page_header_write(char *page, size_t page_bytes, int64_t boot, int64_t base_us, uint32_t count);

struct page {
    int64_t number, boot; /* boot: its number in the table */
    int64_t base_us;
    uint32_t left;      /* rows to come */
    struct str rest;    /* their bytes */
    struct str only_id; /* not empty: rows with another request_id are passed over, cheaply */
    bool is_damaged;    /* the bytes are not what was written: nothing more comes */
};

/* What most readers of a row want; the rest is read by page_row_rest. Texts point into the page. */
struct page_row {
    int64_t ended_us, at_us, input_tokens, output_tokens, cost;
    int64_t names[NAME_COUNT];
    uint64_t sequence, duration_us;
    uint32_t worker;
    enum entry_outcome outcome;
    bool stream, estimated;
    struct str request_id, rest;
    struct str bytes; /* the whole row, for page_row_read */
};

/* False: damaged. `p->boot` is what the page must be of. */
bool page_open(struct page *p, struct str bytes) MUST_CHECK;
/* False: at the end, or damaged. */
bool page_next(struct page *p, struct page_row *row) MUST_CHECK;
/* One row from its bytes. False: damaged. */
bool page_row_read(struct str bytes, int64_t base_us, struct page_row *row) MUST_CHECK;
/* The other numbers: everything in `state` but texts; the attempts' names as numbers. False: damaged. */
bool page_row_rest(const struct page_row *row, struct entry_state *state,
                   struct page_attempt attempts[ENTRY_ATTEMPTS_MAX]) MUST_CHECK;

#endif
