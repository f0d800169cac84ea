/*
 * The schema. Step n leads from version n to n + 1 (PRAGMA user_version); a step that was released is never
 * changed, a new one is added behind it. Boot.
 *
 * `request_pages` is the list of settled exchanges, many of one run in each row (page.h says how); first_us
 * and last_us are the earliest and the latest end in it. An exchange and its share of `usage` are written in
 * the same transaction; meta 'batch' counts these.
 *
 * `usage` has a row per grain, tier, name and time; `at` is the beginning of the minute, hour or day (UTC,
 * seconds) in which the exchanges ENDED. Each grain is written by itself as exchanges end: no grain is made
 * from another one, and nobody ever adds rows of different grains.
 *
 * A definition that was deleted stays as a row without text, so that its revision is never given again.
 */
#include "store/migrate.h"

#include <inttypes.h>
#include <stdio.h>

/* clang-format off */
static const char *const steps[] = {
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE definitions ("
    "  row INTEGER PRIMARY KEY, kind INTEGER NOT NULL, id TEXT NOT NULL, definition TEXT NOT NULL,"
    "  revision INTEGER NOT NULL, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL,"
    "  is_deleted INTEGER NOT NULL, UNIQUE (kind, id));"
    "CREATE TABLE audit ("
    "  row INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,"
    "  target TEXT NOT NULL, detail TEXT NOT NULL);"
    "CREATE INDEX audit_by_time ON audit (at_us);"
    "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, seen INTEGER NOT NULL);"
    "CREATE INDEX names_by_day ON names (seen);"
    "CREATE TABLE boots (id INTEGER PRIMARY KEY, boot INTEGER NOT NULL UNIQUE);"
    "CREATE TABLE request_pages ("
    "  page INTEGER PRIMARY KEY, boot INTEGER NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,"
    "  count INTEGER NOT NULL, data BLOB NOT NULL);"
    "CREATE INDEX request_pages_by_end ON request_pages (last_us, first_us);"
    "CREATE TABLE last_used (client INTEGER PRIMARY KEY, at_us INTEGER NOT NULL);"
    "CREATE TABLE usage ("
    "  grain INTEGER NOT NULL, tier INTEGER NOT NULL, name INTEGER NOT NULL, at INTEGER NOT NULL,"
    "  requests INTEGER NOT NULL, ok INTEGER NOT NULL, failed INTEGER NOT NULL, cancelled INTEGER NOT NULL,"
    "  aborted INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,"
    "  cached_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, cost INTEGER NOT NULL,"
    "  latency_sum_ms INTEGER NOT NULL, first_byte_sum_ms INTEGER NOT NULL,"
    "  first_byte_count INTEGER NOT NULL,"
    "  l0 INTEGER NOT NULL, l1 INTEGER NOT NULL, l2 INTEGER NOT NULL, l3 INTEGER NOT NULL,"
    "  l4 INTEGER NOT NULL, l5 INTEGER NOT NULL, l6 INTEGER NOT NULL, l7 INTEGER NOT NULL,"
    "  l8 INTEGER NOT NULL, l9 INTEGER NOT NULL, l10 INTEGER NOT NULL, l11 INTEGER NOT NULL,"
    "  l12 INTEGER NOT NULL, l13 INTEGER NOT NULL, l14 INTEGER NOT NULL, l15 INTEGER NOT NULL,"
    "  l16 INTEGER NOT NULL, l17 INTEGER NOT NULL, l18 INTEGER NOT NULL, l19 INTEGER NOT NULL,"
    "  l20 INTEGER NOT NULL, l21 INTEGER NOT NULL, l22 INTEGER NOT NULL, l23 INTEGER NOT NULL,"
    "  PRIMARY KEY (grain, tier, name, at)) WITHOUT ROWID;"
    "CREATE INDEX usage_by_time ON usage (grain, at);",
};
/* clang-format on */

const int64_t schema_version = COUNT_OF(steps);

static enum err version_read(struct db *db, int64_t *version)
{
    CLEANUP(query_end) struct query q = query_make(db, "PRAGMA user_version");
    *version = query_step(&q) ? query_get_i64(&q) : 0;
    return query_err(&q);
}

static enum err steps_run(struct db *db, int64_t from)
{
    char sql[64];
    TRY(db_begin(db));
    enum err err = OK;
    for (int64_t i = from; err == OK && i < schema_version; i++)
        err = db_exec(db, steps[i]);
    snprintf(sql, sizeof sql, "PRAGMA user_version = %" PRIi64, schema_version);
    if (err == OK)
        err = db_exec(db, sql);
    if (err == OK)
        return db_commit(db);
    db_rollback(db);
    return err;
}

enum err database_migrate(struct db *db, const char *path, struct error *error)
{
    int64_t version = 0;
    enum err err = version_read(db, &version);
    if (err == OK && version > schema_version)
        return error_set(error, ERR_STORE,
                         "%s was written by a newer version (schema %" PRIi64 ", this one knows %" PRIi64
                         "): use that version, or another storage.path",
                         path, version, schema_version);
    if (err == OK && version < schema_version) {
        err = db_set_durable(db, true);
        if (err == OK)
            err = steps_run(db, version);
        if (err == OK)
            err = db_set_durable(db, false);
    }
    return err == OK ? OK : error_set(error, err, "cannot use the database %s: %s", path, db_why(db));
}
