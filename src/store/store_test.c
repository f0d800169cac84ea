/* The store's life: files, lock, pepper, schema, damage, definitions, audit. */
#include "store/test.h"

#include "store/journal_fake.h"
#include "store/migrate.h"

/* ---- files --------------------------------------------------------------------------------------------- */

static unsigned mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(test_path(name), &st), 0);
    return st.st_mode & 0777;
}

static void files_are_private(void **state)
{
    mode_t before = umask(0);
    struct store *s = store_new();
    assert_int_equal(mode_of("state"), 0700);
    assert_int_equal(mode_of("state/h.db"), 0600);
    assert_int_equal(mode_of("state/h.db-wal"), 0600);
    assert_int_equal(mode_of("state/h.db-lock"), 0600);
    assert_int_equal(mode_of("state/h.db-pepper"), 0600);
    store_close(s);
    umask(before);
    assert_false(test_file_is_there("state/h.db-wal")); /* all of it is in the file */
}

static void wider_rights_are_taken_back(void **state)
{
    store_close(store_new());
    assert_int_equal(chmod(test_path("state/h.db"), 0644), 0);
    store_close(store_new());
    assert_int_equal(mode_of("state/h.db"), 0600);
}

static void default_path_follows_the_environment(void **state)
{
    struct error error;
    CLEANUP(buf_free) struct buf a = BUF(0), b = BUF(0), c = BUF(0);
    setenv("XDG_STATE_HOME", "/x", 1);
    assert_int_equal(folder_path(&a, STR_NONE, &error), OK);
    assert_string_equal(buf_c(&a), "/x/hestia/hestia.db");
    setenv("XDG_STATE_HOME", "not/absolute", 1);
    setenv("HOME", "/home/me", 1);
    assert_int_equal(folder_path(&b, STR_NONE, &error), OK);
    assert_string_equal(buf_c(&b), "/home/me/.local/state/hestia/hestia.db");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    assert_int_equal(folder_path(&c, STR_NONE, &error), ERR_STORE);
    assert_non_null(strstr(error.why, "storage.path"));
    buf_free(&b);
    buf_free(&c);
}

static void unwritable_path_says_why(void **state)
{
    struct error error;
    FILE *f = fopen(test_path("state"), "w"); /* a file where the folder should be */
    fclose(f);
    assert_null(store_try(&error));
    assert_int_equal(error.err, ERR_STORE);
    assert_non_null(strstr(error.why, test_folder));
}

static void second_gateway_is_kept_off(void **state)
{
    struct error error;
    struct store *s = store_new();
    assert_null(store_try(&error));
    assert_int_equal(error.err, ERR_STORE);
    assert_non_null(strstr(error.why, test_path("state/h.db")));
    assert_non_null(strstr(error.why, "its own storage.path"));
    store_close(s);
    store_close(store_new());
}

/* ---- pepper -------------------------------------------------------------------------------------------- */

static void pepper_stays(void **state)
{
    static const uint8_t zero[PEPPER_SIZE];
    uint8_t first[PEPPER_SIZE];
    struct store *s = store_new();
    memcpy(first, store_pepper(s), sizeof first);
    assert_memory_not_equal(first, zero, sizeof first);
    store_close(s);
    s = store_new();
    assert_memory_equal(store_pepper(s), first, sizeof first);
    store_close(s);
}

static void damaged_pepper_is_refused(void **state)
{
    struct error error;
    store_close(store_new());
    assert_int_equal(truncate(test_path("state/h.db-pepper"), 31), 0);
    assert_null(store_try(&error));
    assert_non_null(strstr(error.why, "h.db-pepper"));
    assert_int_equal(truncate(test_path("state/h.db-pepper"), 33), 0);
    assert_null(store_try(&error));
}

/* ---- schema -------------------------------------------------------------------------------------------- */

static void newer_schema_is_refused(void **state)
{
    struct error error;
    struct store *s = store_new();
    assert_int_equal(COUNT(s, "PRAGMA user_version"), schema_version);
    assert_int_equal(test_exec(s, "PRAGMA user_version = 1000"), OK);
    store_close(s);
    assert_null(store_try(&error));
    assert_int_equal(error.err, ERR_STORE);
    assert_non_null(strstr(error.why, "newer version"));
    assert_non_null(strstr(error.why, "1000"));
    assert_null(store_try(&error)); /* and it was not moved aside */
    assert_int_equal(log_count("store_damaged"), 0);
}

/* ---- damage -------------------------------------------------------------------------------------------- */

static void overwrite(const char *name, off_t from, size_t n)
{
    char junk[8192];
    memset(junk, 0x5a, sizeof junk);
    int fd = open(test_path(name), O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, junk, n, from), (ssize_t)n);
    close(fd);
}

static int aside_count;
static int count_aside(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    aside_count += strstr(path, ".damaged-") != NULL;
    return 0;
}

static int files_aside(void)
{
    aside_count = 0;
    nftw(test_folder, count_aside, 16, FTW_PHYS);
    return aside_count;
}

static void junk_is_moved_aside(void **state)
{
    store_close(store_new());
    overwrite("state/h.db", 0, 4096);
    struct store *s = store_new();
    assert_int_equal(COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages"), 0);
    store_close(s);
    assert_int_equal(log_count("store_damaged"), 1);
    assert_int_equal(files_aside(), 1);
    assert_int_equal(mode_of("state/h.db"), 0600);
    store_close(store_new());
    assert_int_equal(log_count("store_damaged"), 1);
}

/* A page inside, which opening alone does not read: found when the last end was no clean one. */
static void damaged_page_is_found_after_a_crash(void **state)
{
    struct store *s = store_new();
    int64_t page = COUNT(s, "SELECT rootpage FROM sqlite_master WHERE name = 'audit'");
    store_close(s);
    overwrite("state/h.db", (off_t)(page - 1) * 4096, 4096);
    assert_int_equal(truncate(test_path("state/h.db-lock"), 0), 0);
    store_close(store_new());
    assert_int_equal(log_count("store_damaged"), 1);
    assert_int_equal(files_aside(), 1);
}

static void clean_end_is_remembered(void **state)
{
    int lock;
    bool clean;
    struct error error;
    store_close(store_new());
    assert_int_equal(folder_lock(test_path("state/h.db"), &lock, &clean, &error), OK);
    assert_true(clean);
    folder_unlock(lock, false); /* a crash */
    assert_int_equal(folder_lock(test_path("state/h.db"), &lock, &clean, &error), OK);
    assert_false(clean);
    folder_unlock(lock, false);
}

/* ---- definitions --------------------------------------------------------------------------------------- */

struct change {
    struct store *store;
    const struct store_row *rows;
    size_t row_count;
    const struct store_audit *audit;
    size_t audit_count;
    enum err err;
    struct error error;
};

static void change_main(struct task *t, void *argument)
{
    struct change *c = argument;
    c->err = store_write(t, c->store, c->rows, c->row_count, c->audit, c->audit_count, &c->error);
}

static enum err change(struct store *s, const struct store_row *rows, size_t row_count,
                       const struct store_audit *audit, size_t audit_count)
{
    struct change c = {s, rows, row_count, audit, audit_count, OK, {0}};
    run_task(change_main, &c);
    return c.err;
}

static struct store_row *load(struct store *s, struct arena *arena, size_t *count)
{
    struct store_row *rows;
    struct error error;
    assert_int_equal(store_load(s, arena, &rows, count, &error), OK);
    return rows;
}

static struct store_row client(const char *id, const char *text, uint64_t revision, int64_t created_us)
{
    return (struct store_row){STORE_CLIENTS,  str_from_c(id), str_from_c(text), revision, created_us,
                              created_us + 1, false};
}

static void definitions_come_back(void **state)
{
    CLEANUP(arena_free) struct arena arena = {0};
    size_t count;
    struct store *s = store_new();
    struct store_row rows[] = {client("b", "{\"n\":1}", 1, 100), client("a", "{}", 7, 200),
                               client("a", "{\"s\":1}", 2, 50)};
    rows[2].table = STORE_STRATEGIES; /* the same id in the other table */
    assert_int_equal(change(s, rows, 3, NULL, 0), OK);
    store_close(s);
    s = store_new();
    struct store_row *got = load(s, &arena, &count);
    assert_int_equal(count, 3);
    assert_int_equal(got[0].table, STORE_STRATEGIES);
    assert_true(str_eq(got[0].definition, STR("{\"s\":1}")));
    assert_true(str_eq(got[1].id, STR("b")));
    assert_int_equal(got[1].created_us, 100);
    assert_int_equal(got[1].updated_us, 101);
    assert_true(str_eq(got[2].id, STR("a")));
    assert_int_equal(got[2].revision, 7);
    store_close(s);
}

static void revision_survives_deletion(void **state)
{
    CLEANUP(arena_free) struct arena arena = {0};
    size_t count;
    struct store *s = store_new();
    struct store_row row = client("a", "{}", 5, 100);
    assert_int_equal(change(s, &row, 1, NULL, 0), OK);
    row.is_deleted = true;
    row.revision = 6;
    assert_int_equal(change(s, &row, 1, NULL, 0), OK);
    struct store_row *gone = load(s, &arena, &count);
    assert_int_equal(count, 1);
    assert_true(gone->is_deleted);
    assert_int_equal(gone->revision, 6);
    assert_int_equal(gone->definition.n, 0);
    row = client("a", "{\"again\":1}", 1, 300);
    assert_int_equal(change(s, &row, 1, NULL, 0), OK);
    struct store_row *got = load(s, &arena, &count);
    assert_int_equal(count, 1);
    assert_false(got->is_deleted);
    assert_int_equal(got->revision, 7);
    assert_int_equal(got->created_us, 300);
    store_close(s);
}

/* The second row is refused by the database: the first and the audit entry must not stay. */
static void change_is_all_or_nothing(void **state)
{
    CLEANUP(arena_free) struct arena arena = {0};
    size_t count;
    struct store *s = store_new();
    assert_int_equal(test_exec(s, "CREATE TRIGGER refuse BEFORE INSERT ON definitions WHEN new.id = 'bad' "
                                  "BEGIN SELECT raise(ABORT, 'refused here'); END"),
                     OK);
    struct store_row rows[] = {client("good", "{}", 1, 1), client("bad", "{}", 1, 2)};
    struct store_audit audit = {1, STR("me"), STR("client.create"), STR("good"), STR("{}")};
    struct change c = {s, rows, 2, &audit, 1, OK, {0}};
    run_task(change_main, &c);
    assert_int_equal(c.err, ERR_STORE);
    assert_non_null(strstr(c.error.why, "refused here"));
    load(s, &arena, &count);
    assert_int_equal(count, 0);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM audit"), 0);
    assert_int_equal(change(s, rows, 1, &audit, 1), OK);
    load(s, &arena, &count);
    assert_int_equal(count, 1);
    assert_true(store_is_well(s));
    store_close(s);
}

static void hostile_texts_stay_texts(void **state)
{
    static const char nasty[] = "x'); DROP TABLE definitions; --\0\xff\xfe after";
    CLEANUP(arena_free) struct arena arena = {0};
    size_t count;
    struct store *s = store_new();
    struct store_row row = client("", "", 1, 1);
    row.id = row.definition = str_make(nasty, sizeof nasty - 1);
    struct store_audit audit = {1, row.id, row.id, row.id, row.id};
    assert_int_equal(change(s, &row, 1, &audit, 1), OK);
    row.revision = 2; /* the same id, found again */
    assert_int_equal(change(s, &row, 1, NULL, 0), OK);
    struct store_row *got = load(s, &arena, &count);
    assert_int_equal(count, 1);
    assert_true(str_eq(got->id, row.id));
    assert_true(str_eq(got->definition, row.definition));
    assert_int_equal(got->revision, 2);
    store_close(s);
}

static void lost_pepper_is_said(void **state)
{
    struct store *s = store_new();
    struct store_row row = client("a", "{}", 1, 1);
    assert_int_equal(change(s, &row, 1, NULL, 0), OK);
    store_close(s);
    assert_int_equal(log_count("pepper_lost"), 0);
    unlink(test_path("state/h.db-pepper"));
    store_close(store_new());
    assert_int_equal(log_count("pepper_lost"), 1);
}

/* ---- audit --------------------------------------------------------------------------------------------- */

struct audits {
    struct store *store;
    int64_t before_us;
    size_t limit, count;
    struct store_audit *list;
    struct arena arena;
    enum err err;
};

static void audits_main(struct task *t, void *argument)
{
    struct audits *a = argument;
    struct error error;
    a->err = store_audits(t, a->store, a->before_us, a->limit, &a->arena, &a->list, &a->count, &error);
}

static void audit_is_paged_newest_first(void **state)
{
    struct store *s = store_new();
    struct store_audit list[40];
    for (int i = 0; i < 40; i++) /* 39 and 38 at the same time, and so on */
        list[i] = (struct store_audit){1000 + i / 2, STR("me"), STR("client.update"), STR("a"), STR("{}")};
    list[39].target = STR("newest");
    assert_int_equal(change(s, NULL, 0, list, 40), OK);
    struct audits a = {.store = s, .limit = 3};
    run_task(audits_main, &a);
    assert_int_equal(a.err, OK);
    assert_int_equal(a.count, 4); /* the fourth has the third's time */
    assert_true(str_eq(a.list[0].target, STR("newest")));
    assert_int_equal(a.list[3].at_us, 1018);
    a.before_us = 1018;
    a.limit = 1000;
    run_task(audits_main, &a);
    assert_int_equal(a.count, 36);
    assert_int_equal(a.list[35].at_us, 1000);
    a.limit = 0;
    run_task(audits_main, &a);
    assert_int_equal(a.err, ERR_BAD_REQUEST);
    arena_free(&a.arena);
    store_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, folder_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_are_private),
        TEST(wider_rights_are_taken_back),
        TEST(default_path_follows_the_environment),
        TEST(unwritable_path_says_why),
        TEST(second_gateway_is_kept_off),
        TEST(pepper_stays),
        TEST(damaged_pepper_is_refused),
        TEST(newer_schema_is_refused),
        TEST(junk_is_moved_aside),
        TEST(damaged_page_is_found_after_a_crash),
        TEST(clean_end_is_remembered),
        TEST(definitions_come_back),
        TEST(revision_survives_deletion),
        TEST(change_is_all_or_nothing),
        TEST(hostile_texts_stay_texts),
        TEST(lost_pepper_is_said),
        TEST(audit_is_paged_newest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
