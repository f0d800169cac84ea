/*
 * The disk that is full, read-only or broken: a layer below SQLite that fails on demand. Nothing is lost,
 * nothing counts twice, and it is said once.
 */
#include "store/test.h"

#include "store/journal_fake.h"

#include <sqlite3.h>

/* ---- the layer ----------------------------------------------------------------------------------------- */

static atomic_int fails_with;  /* what writes answer; 0 = they go through */
static atomic_int fails_after; /* so many more writes go through first */

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real;
};

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct shim_file *)(void *)f)->real;
}

static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    int code = atomic_load(&fails_with);
    if (code && atomic_fetch_sub(&fails_after, 1) <= 0)
        return code;
    return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}

#define FORWARD(name, parameters, ...)                                                                       \
    static int shim_##name parameters                                                                        \
    {                                                                                                        \
        return real_of(f)->pMethods->x##name(real_of(f), ##__VA_ARGS__);                                     \
    }
FORWARD(Read, (sqlite3_file * f, void *p, int n, sqlite3_int64 at), p, n, at)
FORWARD(Truncate, (sqlite3_file * f, sqlite3_int64 n), n)
FORWARD(Sync, (sqlite3_file * f, int flags), flags)
FORWARD(FileSize, (sqlite3_file * f, sqlite3_int64 *n), n)
FORWARD(Lock, (sqlite3_file * f, int kind), kind)
FORWARD(Unlock, (sqlite3_file * f, int kind), kind)
FORWARD(CheckReservedLock, (sqlite3_file * f, int *out), out)
FORWARD(FileControl, (sqlite3_file * f, int op, void *p), op, p)
FORWARD(SectorSize, (sqlite3_file * f))
FORWARD(DeviceCharacteristics, (sqlite3_file * f))
FORWARD(ShmMap, (sqlite3_file * f, int page, int size, int extend, void volatile **p), page, size, extend, p)
FORWARD(ShmLock, (sqlite3_file * f, int offset, int n, int flags), offset, n, flags)
FORWARD(ShmUnmap, (sqlite3_file * f, int remove_it), remove_it)

static void shim_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int shim_close(sqlite3_file *f)
{
    sqlite3_file *real = real_of(f);
    int code = real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
    sqlite3_free(real);
    return code;
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_Read,
    .xWrite = shim_write,
    .xTruncate = shim_Truncate,
    .xSync = shim_Sync,
    .xFileSize = shim_FileSize,
    .xLock = shim_Lock,
    .xUnlock = shim_Unlock,
    .xCheckReservedLock = shim_CheckReservedLock,
    .xFileControl = shim_FileControl,
    .xSectorSize = shim_SectorSize,
    .xDeviceCharacteristics = shim_DeviceCharacteristics,
    .xShmMap = shim_ShmMap,
    .xShmLock = shim_ShmLock,
    .xShmBarrier = shim_barrier,
    .xShmUnmap = shim_ShmUnmap,
};

static sqlite3_vfs *real_vfs, shim_vfs;

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct shim_file *file = (struct shim_file *)(void *)f;
    file->base.pMethods = NULL;
    file->real = sqlite3_malloc(real_vfs->szOsFile);
    assert_non_null(file->real);
    int code = real_vfs->xOpen(real_vfs, name, file->real, flags, out);
    if (code == SQLITE_OK)
        file->base.pMethods = &shim_methods;
    else
        sqlite3_free(file->real);
    return code;
}

static void shim_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    shim_vfs = *real_vfs;
    shim_vfs.zName = "shim";
    shim_vfs.szOsFile = sizeof(struct shim_file);
    shim_vfs.xOpen = shim_open;
    assert_int_equal(sqlite3_vfs_register(&shim_vfs, 1), SQLITE_OK);
}

static void disk_fails(int code, int after)
{
    atomic_store(&fails_after, after);
    atomic_store(&fails_with, code);
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    disk_fails(0, 0);
    return fake_setup(state);
}

struct asked {
    struct store *store;
    enum usage_tier tier;
    struct str id;
    uint64_t requests;
    enum err err;
};

static void asked_main(struct task *t, void *argument)
{
    struct asked *a = argument;
    struct usage_query query = {a->tier, a->id, NOON / 86400 * 86400, NOON / 86400 * 86400 + 86400,
                                GRAIN_DAY};
    struct usage_point *points;
    struct error error;
    size_t count;
    CLEANUP(arena_free) struct arena arena = {0};
    a->err = store_usage(t, a->store, &query, &arena, &points, &count, &error);
    a->requests = a->err == OK ? points[0].requests : 0;
}

static uint64_t requests_in(struct store *s, enum usage_tier tier, struct str id)
{
    struct asked a = {.store = s, .tier = tier, .id = id};
    run_task(asked_main, &a);
    assert_int_equal(a.err, OK);
    return a.requests;
}

static uint64_t requests(struct store *s)
{
    return requests_in(s, TIER_GLOBAL, STR_NONE);
}

static void settle(uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        struct request_row row = row_make(i, NOON * US);
        fake_settle(&row);
    }
}

static void wait_until(struct store *s, bool well)
{
    uint64_t give_up = clock_after(clock_now(), 60000);
    while (store_is_well(s) != well && clock_now() < give_up)
        usleep(1000);
    assert_int_equal(store_is_well(s), well);
}

struct change {
    struct store *store;
    enum err err;
    struct error error;
};

static void change_main(struct task *t, void *argument)
{
    struct change *c = argument;
    struct store_row row = {STORE_CLIENTS, STR("a"), STR("{}"), 1, 1, 1, false};
    c->err = store_write(t, c->store, &row, 1, NULL, 0, &c->error);
}

/* ---- the tests ----------------------------------------------------------------------------------------- */

/* Usage stays right while nothing can be written, in every tier, and after. */
static void failing_and_recovering(int code)
{
    struct store *s = store_new();
    settle(0, 5);
    assert_int_equal(requests(s), 5);
    disk_fails(code, 0);
    settle(5, 20);
    wait_until(s, false);
    settle(25, 5);
    assert_int_equal(requests(s), 30);
    assert_int_equal(requests_in(s, TIER_CLIENT, STR("c")), 30);
    assert_int_equal(requests_in(s, TIER_PROVIDER, STR("p")), 30);
    assert_int_equal(requests_in(s, TIER_MODEL, STR("p/m")), 30);
    assert_int_equal(requests_in(s, TIER_MODEL, STR("p/other")), 0);
    assert_int_equal(requests_in(s, TIER_MODEL, STR("p")), 0);
    assert_int_equal(requests_in(s, TIER_STRATEGY, STR("s")), 30);
    assert_int_equal(requests_in(s, TIER_STRATEGY, STR("t")), 0);
    assert_int_equal(log_count("store_failed"), 1);
    disk_fails(0, 0);
    wait_until(s, true);
    assert_int_equal(requests(s), 30);
    assert_int_equal(COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages"), 30);
    assert_int_equal(COUNT(s, "SELECT sum(requests) FROM usage WHERE grain = 1 AND tier = 3"), 30);
    assert_int_equal(log_count("store_failed"), 1);
    assert_int_equal(log_count("store_recovered"), 1);
    store_close(s);
    assert_int_equal(log_count("store_damaged"), 0);
}

static void full_disk(void **state)
{
    failing_and_recovering(SQLITE_FULL);
}

static void broken_disk(void **state)
{
    failing_and_recovering(SQLITE_IOERR_WRITE);
}

static void read_only_disk(void **state)
{
    failing_and_recovering(SQLITE_READONLY);
}

/* The disk fails in the middle of the writes of a batch, each time a little later. */
static void every_write_may_be_the_one(void **state)
{
    struct store *s = store_new();
    uint64_t settled = 0;
    for (int after = 0; after < 40; after++) {
        disk_fails(SQLITE_FULL, after);
        settle(settled, 30);
        settled += 30;
        assert_int_equal(requests(s), settled);
        disk_fails(0, 0);
        assert_int_equal(requests(s), settled);
    }
    wait_until(s, true);
    assert_int_equal(requests(s), settled);
    assert_int_equal(COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages"), (int64_t)settled);
    assert_int_equal(COUNT(s, "SELECT sum(requests) FROM usage WHERE grain = 3 AND tier = 1"),
                     (int64_t)settled);
    store_close(s);
}

struct retry {
    struct store *store;
    uint64_t *ms;
};

static void retry_read(void *argument)
{
    struct retry *r = argument;
    *r->ms = r->store->retry_ms;
}

static void definitions_say_why(void **state)
{
    struct store *s = store_new();
    struct change c = {.store = s};
    disk_fails(SQLITE_FULL, 0);
    run_task(change_main, &c);
    assert_int_equal(c.err, ERR_STORE);
    assert_non_null(strstr(c.error.why, "full"));
    assert_false(store_is_well(s));
    for (uint64_t tries = 0; tries < 1000;) { /* it tries, and finds the disk as it was */
        store_ask(s, retry_read, &(struct retry){s, &tries});
        assert_false(store_is_well(s));
        usleep(1000);
    }
    disk_fails(0, 0);
    wait_until(s, true); /* without any request */
    run_task(change_main, &c);
    assert_int_equal(c.err, OK);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM definitions"), 1);
    assert_int_equal(COUNT(s, "PRAGMA synchronous"), 1);
    store_close(s);
}

/* A batch that fails half-way takes its rows, sums and new names back: all of them come with the next try. */
static void batch_fails_half_way(void **state)
{
    struct store *s = store_new();
    assert_int_equal(test_exec(s, "CREATE TRIGGER refuse BEFORE INSERT ON usage WHEN new.tier = 3 "
                                  "BEGIN SELECT raise(ABORT, 'refused here'); END"),
                     OK);
    for (uint64_t i = 0; i < 8; i++) {
        struct request_row row = row_make(i, NOON * US);
        row.open.model = STR("asked"); /* so that nothing but the sums has the name p/m */
        fake_settle(&row);
    }
    wait_until(s, false);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM names"), 0);
    assert_int_equal(test_exec(s, "DROP TRIGGER refuse"), OK);
    wait_until(s, true);
    assert_int_equal(requests_in(s, TIER_MODEL, STR("p/m")), 8);
    assert_int_equal(requests_in(s, TIER_CLIENT, STR("c")), 8);
    assert_int_equal(COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages"), 8);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM names WHERE name IN ('c', 's', 'p/m', 'p', 'm')"), 5);
    store_close(s);
}

/* What cannot be written at the end stays in the journal, and the next start brings it. */
static void close_on_a_full_disk(void **state)
{
    struct store *s = store_new();
    settle(0, 3);
    disk_fails(SQLITE_FULL, 0);
    store_close(s);
    assert_int_equal(fake.settled - fake.marked, 3);
    disk_fails(0, 0);
    s = store_new();
    assert_int_equal(requests(s), 3);
    store_close(s);
}

static void start_on_a_full_disk_says_why(void **state)
{
    struct error error;
    store_close(store_new());
    fake.old[0] = row_make(1, NOON * US);
    fake.old_count = 1;
    disk_fails(SQLITE_FULL, 0);
    assert_null(store_try(&error));
    assert_int_equal(error.err, ERR_STORE);
    assert_non_null(strstr(error.why, "full"));
    assert_int_equal(fake.old_count, 1);
    disk_fails(0, 0);
    struct store *s = store_new();
    assert_int_equal(requests(s), 1);
    store_close(s);
    assert_int_equal(log_count("store_damaged"), 0);
}

/* Somebody else writes for a while: SQLite waits, and then it is a failure like the others. */
static void locked_by_another(void **state)
{
    struct store *s = store_new();
    sqlite3 *other;
    assert_int_equal(sqlite3_open(test_path("state/h.db"), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    settle(0, 3);
    wait_until(s, false);
    assert_int_equal(requests(s), 3);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    wait_until(s, true);
    assert_int_equal(requests(s), 3);
    assert_int_equal(log_count("store_failed"), 1);
    store_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, folder_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(full_disk),
        TEST(broken_disk),
        TEST(read_only_disk),
        TEST(every_write_may_be_the_one),
        TEST(definitions_say_why),
        TEST(batch_fails_half_way),
        TEST(close_on_a_full_disk),
        TEST(start_on_a_full_disk_says_why),
        TEST(locked_by_another),
    };
    shim_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
