/* What the tests of the store share: a folder of its own for each test, rows, log lines that were written. */
#ifndef HESTIA_STORE_TEST_H
#define HESTIA_STORE_TEST_H

#include "loop/test.h"

#include "base/log.h"
#include "store/inside.h"

#include <ftw.h>
#include <stdatomic.h>
#include <sys/stat.h>

static char test_folder[64];

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    return remove(path);
}

/* cmocka's setup and teardown of each test. */
static inline int folder_new(void **state)
{
    snprintf(test_folder, sizeof test_folder, "/tmp/hestia-store-XXXXXX");
    return mkdtemp(test_folder) ? 0 : -1;
}

static inline int folder_gone(void **state)
{
    return nftw(test_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* In the test's folder; one of four buffers. */
static inline const char *test_path(const char *name)
{
    static char paths[4][160];
    static unsigned turn;
    char *path = paths[turn++ % COUNT_OF(paths)];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    return path;
}

static inline bool test_file_is_there(const char *name)
{
    return access(test_path(name), F_OK) == 0;
}

static inline struct store *store_try(struct error *error)
{
    struct store_options options = {.path = str_from_c(test_path("state/h.db"))};
    *error = (struct error){0};
    return store_open(&options, error);
}

static inline struct store *store_new(void)
{
    struct error error;
    struct store *s = store_try(&error);
    if (!s)
        print_error("%s\n", error_text(&error));
    assert_non_null(s);
    return s;
}

/* One settled exchange of a client "c", strategy "s", by provider "p" with model "m", one minute and a bit
   long. */
static inline struct request_row row_make(uint64_t sequence, int64_t ended_us)
{
    struct request_row row = {.boot = UINT64_C(0xfeedfacecafebeef),
                              .worker = 1,
                              .sequence = sequence,
                              .open = {.at_us = ended_us - 61500000,
                                       .request_id = STR("req-1"),
                                       .client = STR("c"),
                                       .strategy = STR("s"),
                                       .model = STR("p/m"),
                                       .endpoint = STR("chat"),
                                       .stream = true},
                              .state = {.provider = STR("p"),
                                        .model = STR("m"),
                                        .input_tokens = 10,
                                        .output_tokens = 20,
                                        .cached_tokens = 3,
                                        .reasoning_tokens = 4,
                                        .cost = 500,
                                        .duration_us = 61500000,
                                        .first_byte_us = 250000,
                                        .status = 200,
                                        .outcome = ENTRY_OK},
                              .ended_us = ended_us};
    return row;
}

/* A query on the store's own connection, on its thread: the first column of the first row. */
struct test_count {
    struct store *store;
    const char *sql;
    int64_t value;
};
static inline void test_count_ask(void *argument)
{
    struct test_count *c = argument;
    CLEANUP(query_end) struct query q = query_make(c->store->db, c->sql);
    c->value = query_step(&q) ? query_get_i64(&q) : -1;
}
#define COUNT(s, text)                                                                                       \
    __extension__({                                                                                          \
        static const char sql_[] = text;                                                                     \
        struct test_count count_ = {(s), sql_, 0};                                                           \
        store_ask((s), test_count_ask, &count_);                                                             \
        count_.value;                                                                                        \
    })

/* A statement on the store's own connection, on its thread. */
struct test_exec {
    struct store *store;
    const char *sql;
    enum err err;
};
static inline void test_exec_ask(void *argument)
{
    struct test_exec *x = argument;
    x->err = db_exec(x->store->db, x->sql);
}
static inline enum err test_exec(struct store *s, const char *sql)
{
    struct test_exec x = {s, sql, OK};
    store_ask(s, test_exec_ask, &x);
    return x.err;
}

/* Lines that the log was given since log_watch, counted by a text they hold. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[1 << 16];
static size_t log_size;

static inline void log_keep(struct str line)
{
    pthread_mutex_lock(&log_lock);
    if (log_size + line.n < sizeof log_text) {
        memcpy(log_text + log_size, line.p, line.n);
        log_size += line.n;
    }
    pthread_mutex_unlock(&log_lock);
}

static inline void log_watch(void)
{
    pthread_mutex_lock(&log_lock);
    log_size = 0;
    pthread_mutex_unlock(&log_lock);
    log_set_sink(log_keep);
}

static inline int log_count(const char *text)
{
    int count = 0;
    pthread_mutex_lock(&log_lock);
    struct str rest = str_make(log_text, log_size), needle = str_from_c(text);
    for (size_t at; (at = str_find_str(rest, needle)) < rest.n; count++)
        rest = str_from(rest, at + needle.n);
    pthread_mutex_unlock(&log_lock);
    return count;
}

#endif
