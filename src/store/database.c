/* Opening the database: the check at start, the damaged one that is moved aside. Boot. */
#include "store/inside.h"
#include "store/migrate.h"

#include "base/log.h"

#include <sys/stat.h>

/* Of the check at start: see below. */
enum { CHECK_WHOLE_MAX = 32 << 20 };

static enum err check_run(struct db *db, const char *sql, struct error *error)
{
    CLEANUP(query_end) struct query q = query_make(db, sql);
    while (query_step(&q)) {
        struct str finding = query_get_str(&q);
        if (!str_eq(finding, STR("ok")))
            return error_set(error, ERR_STORE, "%.*s", STR_ARG(str_first(finding, 200)));
    }
    enum err err = query_err(&q);
    return err == OK ? OK : error_set(error, err, "%s", db_why(db));
}

/*
 * A whole quick_check reads every page: with a million requests that alone would take longer than a start
 * may. So it is made where it is needed and cheap. After a clean end the schema has been read and the steps
 * compared by now, which is enough. After a crash a small file is checked whole; of a big one, what cannot be
 * made again is (clients, strategies, audit, names): SQLite finds damage in the list of requests and in the
 * usage rows when it reads them, and reports it as a failure of the store.
 */
static enum err database_check(struct db *db, const char *path, bool was_clean, struct error *error)
{
    static const char *const checks[] = {"PRAGMA quick_check(meta)",  "PRAGMA quick_check(definitions)",
                                         "PRAGMA quick_check(audit)", "PRAGMA quick_check(names)",
                                         "PRAGMA quick_check(boots)", "PRAGMA quick_check(last_used)"};
    struct stat st = {0};
    if (was_clean)
        return OK;
    if (stat(path, &st) == 0 && st.st_size <= CHECK_WHOLE_MAX)
        return check_run(db, "PRAGMA quick_check(1)", error);
    for (size_t i = 0; i < COUNT_OF(checks); i++)
        TRY(check_run(db, checks[i], error));
    return OK;
}

static enum err database_try(struct store *s, const char *path, bool was_clean, bool *damaged,
                             struct error *error)
{
    s->db = db_open(path, damaged, error);
    if (!s->db)
        return error->err;
    enum err err = database_migrate(s->db, path, error);
    *damaged = db_is_damaged(s->db);
    if (err == OK) {
        err = database_check(s->db, path, was_clean, error);
        *damaged = err == ERR_STORE;
    }
    if (err == OK)
        return OK;
    db_close(s->db);
    s->db = NULL;
    return err;
}

enum err database_open(struct store *s, bool was_clean, struct error *error)
{
    CLEANUP(buf_free) struct buf aside = BUF(0);
    const char *path = buf_c(&s->path);
    bool damaged = false;
    enum err err = database_try(s, path, was_clean, &damaged, error);
    if (err == OK || !damaged)
        return err;
    struct error found = *error;
    TRY(folder_move_aside(path, &aside, error));
    log_event(
        LOG_ERROR, "store_damaged",
        "The database %s is damaged (%s): moved to %s, and a new one is begun. Clients and strategies made "
        "through the API are gone until it is repaired; as long as that file is there, the LLM routes want a "
        "key",
        path, error_text(&found), buf_c(&aside));
    TRY(folder_file(path, error));
    return database_try(s, path, false, &damaged, error);
}
