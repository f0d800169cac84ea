/*
 * A thin skin over SQLite: a connection with its prepared statements, and queries that bind and read their
 * values in order. The one door to the library, so that nothing else in store/ knows its types or codes. One
 * thread at a time.
 *
 *     CLEANUP(query_end) struct query q = query_make(db, "SELECT a, b FROM t WHERE c = ?");
 *     query_str(&q, c);
 *     while (query_step(&q))
 *         use(query_get_i64(&q), query_get_str(&q));
 *     return query_err(&q);
 */
#ifndef HESTIA_STORE_SQLITE_H
#define HESTIA_STORE_SQLITE_H

#include "base/err.h"
#include "base/str.h"

struct db;
struct sqlite3_stmt;

/* Opens or makes the file, in WAL mode. NULL with the reason; *damaged says that the file is no good, rather
   than out of reach. */
struct db *db_open(const char *path, bool *damaged, struct error *error);
/* To read only, whoever else has it open. NULL: it cannot be opened. */
struct db *db_look(const char *path);
/* Puts the write-ahead log into the file first. NULL is fine. */
void db_close(struct db *db);

/* Any number of statements, no values. Like all that follows: ERR_STORE (db_why says why) or ERR_NOMEM. */
enum err db_exec(struct db *db, const char *sql) MUST_CHECK;
/* Every commit from now on waits for the disk, or only survives the process. Between transactions. */
enum err db_set_durable(struct db *db, bool durable) MUST_CHECK;
/* Takes the write lock at once. */
enum err db_begin(struct db *db) MUST_CHECK;
/* A commit that fails has been rolled back. */
enum err db_commit(struct db *db) MUST_CHECK;
void db_rollback(struct db *db);
/* Rows that the last statement changed. */
int64_t db_changes(struct db *db);
/* Why the last call failed. */
const char *db_why(const struct db *db);
/* Whether any failure so far said that the file is no good. */
bool db_is_damaged(const struct db *db);

struct query {
    struct db *db;
    struct sqlite3_stmt *statement;
    int parameter, column; /* the next one */
    bool ended;
    enum err err;
};

/* `sql` is a text that lives as long as the connection: its statement is prepared once and found again by its
   address. One query of a statement at a time. */
struct query query_make(struct db *db, const char *sql);
void query_i64(struct query *q, int64_t value);
/* Text or bytes, kept as they are; they live until query_end. */
void query_str(struct query *q, struct str value);
void query_bytes(struct query *q, struct str value);
/* To the next row. False: there is none, or it failed: query_err tells. */
bool query_step(struct query *q);
/* For statements without rows. */
enum err query_run(struct query *q) MUST_CHECK;
enum err query_err(const struct query *q) MUST_CHECK;
int64_t query_get_i64(struct query *q);
struct str query_get_str(struct query *q); /* until the next step */
void query_end(struct query *q);

#endif
