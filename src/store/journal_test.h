/* What the tests of the journal share: a folder, and entries every field of which follows from one number. */
#ifndef HESTIA_STORE_JOURNAL_TEST_H
#define HESTIA_STORE_JOURNAL_TEST_H

#include "store/journal_segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char folder[64];

static int folder_setup(void **state)
{
    memcpy(folder, "/tmp/hestia-test-XXXXXX", sizeof "/tmp/hestia-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

/* Calls `each` for all files; how many there are. */
static inline int files_each(void (*each)(const char *path))
{
    DIR *d = opendir(folder);
    int count = 0;
    char path[512];
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        count++;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (each)
            each(path);
    }
    if (d)
        closedir(d);
    return count;
}

static void file_remove(const char *path)
{
    unlink(path);
}

static int folder_teardown(void **state)
{
    files_each(file_remove);
    return rmdir(folder);
}

static inline struct journal_set *set_open(uint64_t boot)
{
    struct error error = {0};
    struct journal_set *set = journal_set_open(folder, boot, &error);
    if (!set)
        fail_msg("%s", error_text(&error));
    return set;
}

static inline struct journal *writer_of(struct journal_set *set, unsigned worker)
{
    struct journal *j = journal_set_writer(set, worker);
    assert_non_null(j);
    return j;
}

/* ---- entries ------------------------------------------------------------------------------------------- */

enum { TEXTS = 40 };
struct sample {
    struct entry_open open;
    struct entry_state state;
    char texts[TEXTS][ENTRY_TEXT_MAX];
    int used;
};

/* Of a length, and mostly with a content, of its own. */
static inline struct str sample_text(struct sample *x, uint64_t number)
{
    char *text = x->texts[x->used];
    size_t n = (number * 31 + (unsigned)x->used * 17) % (ENTRY_TEXT_MAX + 1);
    memset(text, (int)(1 + (number * 7 + (unsigned)x->used) % 255), n);
    memcpy(text, &number, MIN(n, sizeof number));
    x->used++;
    return str_make(text, n);
}

static inline void sample_make(struct sample *x, uint64_t number)
{
    x->used = 0;
    uint64_t kind = number % 20; /* names come again */
    x->open = (struct entry_open){.at_us = (int64_t)number, .stream = number & 1};
    x->open.request_id = sample_text(x, number);
    x->open.client = sample_text(x, kind);
    x->open.strategy = sample_text(x, kind + 1);
    x->open.model = sample_text(x, kind + 2);
    x->open.endpoint = sample_text(x, kind + 3);
    x->state = (struct entry_state){
        .input_tokens = (int64_t)number + 1,
        .output_tokens = (int64_t)number * 3,
        .cached_tokens = (int64_t)number * 5,
        .reasoning_tokens = (int64_t)number * 7,
        .cost = (int64_t)number * 1000003,
        .duration_us = number * 11,
        .first_byte_us = number * 2,
        .status = (int)(number % 600),
        .outcome = ENTRY_OK + (enum entry_outcome)(number % 4),
        .estimated = number % 3 == 0,
        .attempt_count = (int)(number % 11),
    };
    x->state.provider = sample_text(x, kind + 4);
    x->state.model = sample_text(x, kind + 5);
    for (int i = 0; i < MIN(x->state.attempt_count, (int)ENTRY_ATTEMPTS_MAX); i++)
        x->state.attempts[i] = (struct entry_attempt){sample_text(x, kind + 6), sample_text(x, kind + 7),
                                                      sample_text(x, kind + 8), (int)kind + i};
}

static inline void assert_text(struct str a, struct str b)
{
    if (!str_eq(a, b))
        fail_msg("a text of %zu bytes instead of one of %zu", a.n, b.n);
}

static inline void assert_open(const struct entry_open *a, const struct entry_open *b)
{
    assert_int_equal(a->at_us, b->at_us);
    assert_text(a->request_id, b->request_id);
    assert_text(a->client, b->client);
    assert_text(a->strategy, b->strategy);
    assert_text(a->model, b->model);
    assert_text(a->endpoint, b->endpoint);
    assert_int_equal(a->stream, b->stream);
}

static inline void assert_state(const struct entry_state *a, const struct entry_state *b)
{
    assert_text(a->provider, b->provider);
    assert_text(a->model, b->model);
    assert_int_equal(a->input_tokens, b->input_tokens);
    assert_int_equal(a->output_tokens, b->output_tokens);
    assert_int_equal(a->cached_tokens, b->cached_tokens);
    assert_int_equal(a->reasoning_tokens, b->reasoning_tokens);
    assert_int_equal(a->cost, b->cost);
    assert_int_equal(a->duration_us, b->duration_us);
    assert_int_equal(a->first_byte_us, b->first_byte_us);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->outcome, b->outcome);
    assert_int_equal(a->estimated, b->estimated);
    assert_int_equal(a->attempt_count, b->attempt_count);
    for (int i = 0; i < MIN(a->attempt_count, (int)ENTRY_ATTEMPTS_MAX); i++) {
        assert_text(a->attempts[i].provider, b->attempts[i].provider);
        assert_text(a->attempts[i].model, b->attempts[i].model);
        assert_text(a->attempts[i].outcome, b->attempts[i].outcome);
        assert_int_equal(a->attempts[i].status, b->attempts[i].status);
    }
}

static inline struct journal_entry entry_begin(struct journal *j, uint64_t number)
{
    struct sample x;
    sample_make(&x, number);
    struct journal_entry entry;
    assert_int_equal(journal_open(j, &x.open, &entry), OK);
    return entry;
}

static inline void entry_end(struct journal_entry *entry, uint64_t number)
{
    struct sample x;
    sample_make(&x, number);
    journal_settle(entry, &x.state);
    assert_null(entry->journal);
}

/* Begins and settles `count` entries. */
static inline void entries_write(struct journal *j, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        struct journal_entry entry = entry_begin(j, i);
        entry_end(&entry, i);
    }
}

/* Takes every row as it must have been written; `*argument` counts them. */
static inline enum err count_exact(void *argument, const struct request_row *row)
{
    struct sample x;
    sample_make(&x, (uint64_t)row->open.at_us);
    assert_open(&row->open, &x.open);
    assert_state(&row->state, &x.state);
    assert_int_equal(row->ended_us, row->open.at_us + (int64_t)row->state.duration_us);
    (*(uint64_t *)argument)++;
    return OK;
}

static inline uint64_t scan_count(struct journal_set *set, size_t max)
{
    uint64_t count = 0;
    assert_int_equal(journal_set_scan(set, max, count_exact, &count), OK);
    return count;
}

/* As a later run finds the folder. */
static inline void replay(journal_each *each, void *argument, size_t damaged)
{
    struct journal_set *set = set_open(0xabcdef);
    struct error error = {0};
    size_t found = 0;
    assert_int_equal(journal_set_replay(set, each, argument, &found, &error), OK);
    assert_int_equal(found, damaged);
    journal_set_close(set);
}

#endif
