/* The skin over SQLite: see sqlite.h. Whoever owns the connection calls, one thread at a time. */
#include "store/sqlite.h"

#include "base/mem.h"

#include <sqlite3.h>
#include <stdio.h>

enum { STATEMENTS_MAX = 64, BUSY_MS = 5000 };

struct db {
    sqlite3 *handle;
    struct {
        const char *sql; /* its address is the key */
        sqlite3_stmt *statement;
    } statements[STATEMENTS_MAX];
    int statement_count;
    bool damaged;
    char why[256];
};

static bool code_is_damage(int code)
{
    return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

static enum err db_fail(struct db *db, int code)
{
    snprintf(db->why, sizeof db->why, "%s", sqlite3_errmsg(db->handle));
    if (code_is_damage(code))
        db->damaged = true;
    return (code & 0xff) == SQLITE_NOMEM ? ERR_NOMEM : ERR_STORE;
}

const char *db_why(const struct db *db)
{
    return db->why;
}

bool db_is_damaged(const struct db *db)
{
    return db->damaged;
}

int64_t db_changes(struct db *db)
{
    return sqlite3_changes64(db->handle);
}

enum err db_exec(struct db *db, const char *sql)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? OK : db_fail(db, code);
}

enum err db_set_durable(struct db *db, bool durable)
{
    return db_exec(db, durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
}

static enum err db_run(struct db *db, const char *sql)
{
    CLEANUP(query_end) struct query q = query_make(db, sql);
    return query_run(&q);
}

enum err db_begin(struct db *db)
{
    return db_run(db, "BEGIN IMMEDIATE");
}

enum err db_commit(struct db *db)
{
    enum err err = db_run(db, "COMMIT");
    if (err != OK)
        db_rollback(db);
    return err;
}

/* The reason of the failure that led here is kept. Some failures have rolled back already. */
void db_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static bool mode_is_wal(struct db *db)
{
    CLEANUP(query_end) struct query q = query_make(db, "PRAGMA journal_mode=WAL");
    return query_step(&q) && str_eq(query_get_str(&q), STR("wal"));
}

/* The limit of the log's size is what gives its space back after a burst. A cell size that makes no sense is
   an error rather than a crash. */
static enum err db_configure(struct db *db)
{
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    if (!mode_is_wal(db)) {
        if (!db->why[0])
            snprintf(db->why, sizeof db->why, "the file system does not support write-ahead logging");
        return ERR_STORE;
    }
    return db_exec(db, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=1000;"
                       "PRAGMA journal_size_limit=16777216; PRAGMA cache_size=-8192;"
                       "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON");
}

struct db *db_open(const char *path, bool *damaged, struct error *error)
{
    struct db *db = mem_alloc(sizeof *db);
    *damaged = false;
    if (!db) {
        error_set(error, ERR_NOMEM, "out of memory for the database");
        return NULL;
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(path, &db->handle, flags, NULL);
    enum err err = code != SQLITE_OK ? db_fail(db, code) : db_configure(db);
    if (err == OK)
        return db;
    *damaged = db->damaged;
    error_set(error, err, "cannot open the database %s: %s", path, db->why);
    db_close(db);
    return NULL;
}

struct db *db_look(const char *path)
{
    struct db *db = mem_alloc(sizeof *db);
    if (!db)
        return NULL;
    if (sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK)
        return db;
    db_close(db);
    return NULL;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    for (int i = 0; i < db->statement_count; i++)
        sqlite3_finalize(db->statements[i].statement);
    if (!db->damaged) {
        sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        sqlite3_exec(db->handle, "PRAGMA optimize", NULL, NULL, NULL);
    }
    sqlite3_close_v2(db->handle);
    mem_free(db);
}

/* ---- queries ------------------------------------------------------------------------------------------- */

static enum err statement_find(struct db *db, const char *sql, sqlite3_stmt **found)
{
    for (int i = 0; i < db->statement_count; i++)
        if (db->statements[i].sql == sql) {
            *found = db->statements[i].statement;
            return OK;
        }
    REQUIRE(db->statement_count < STATEMENTS_MAX);
    int code = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, found, NULL);
    if (code != SQLITE_OK)
        return db_fail(db, code);
    db->statements[db->statement_count].sql = sql;
    db->statements[db->statement_count++].statement = *found;
    return OK;
}

struct query query_make(struct db *db, const char *sql)
{
    struct query q = {.db = db};
    q.err = statement_find(db, sql, &q.statement);
    return q;
}

static void query_check(struct query *q, int code)
{
    if (code != SQLITE_OK)
        q->err = db_fail(q->db, code);
}

void query_i64(struct query *q, int64_t value)
{
    if (q->err == OK)
        query_check(q, sqlite3_bind_int64(q->statement, ++q->parameter, value));
}

void query_str(struct query *q, struct str value)
{
    if (q->err == OK)
        query_check(q, sqlite3_bind_text64(q->statement, ++q->parameter, value.n ? value.p : "", value.n,
                                           SQLITE_STATIC, SQLITE_UTF8));
}

void query_bytes(struct query *q, struct str value)
{
    if (q->err == OK)
        query_check(q, sqlite3_bind_blob64(q->statement, ++q->parameter, value.n ? value.p : "", value.n,
                                           SQLITE_STATIC));
}

bool query_step(struct query *q)
{
    if (q->err != OK || q->ended)
        return false;
    int code = sqlite3_step(q->statement);
    q->column = 0;
    q->ended = code != SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        q->err = db_fail(q->db, code);
    return !q->ended;
}

enum err query_run(struct query *q)
{
    while (query_step(q))
        ;
    return q->err;
}

enum err query_err(const struct query *q)
{
    return q->err;
}

int64_t query_get_i64(struct query *q)
{
    return sqlite3_column_int64(q->statement, q->column++);
}

struct str query_get_str(struct query *q)
{
    const char *p = sqlite3_column_blob(q->statement, q->column);
    return str_make(p, (size_t)sqlite3_column_bytes(q->statement, q->column++));
}

void query_end(struct query *q)
{
    if (!q->statement)
        return;
    sqlite3_reset(q->statement);
    sqlite3_clear_bindings(q->statement);
    q->statement = NULL;
}
