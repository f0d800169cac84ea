/*
 * What is too old goes, a few rows at a time so that nobody waits for it: rows of usage by their grain, pages
 * of the list of requests when their newest row is too old, the audit trail, names without rows. The store's
 * thread.
 */
#include "store/inside.h"

#define HOUR_US (INT64_C(3600) * 1000000)
#define DAY_US (24 * HOUR_US)

enum { MINUTE_HOURS = 48, HOUR_DAYS = 35, DAY_DAYS = 400, AUDIT_DAYS = 400, ROWS = 500, PAGES = 16 };

static enum err remove_some(struct store *s, const char *sql, int64_t before, int64_t rows, bool *more)
{
    CLEANUP(query_end) struct query q = query_make(s->db, sql);
    query_i64(&q, before);
    query_i64(&q, rows);
    TRY(query_run(&q));
    *more = *more || db_changes(s->db) >= rows;
    return OK;
}

#define REMOVE_USAGE(grain)                                                                                  \
    "DELETE FROM usage WHERE (grain, tier, name, at) IN (SELECT grain, tier, name, at FROM usage WHERE "     \
    "grain = " grain " AND at < ? LIMIT ?)"
static const char remove_minutes[] = REMOVE_USAGE("1");
static const char remove_hours[] = REMOVE_USAGE("2");
static const char remove_days[] = REMOVE_USAGE("3");
static const char remove_requests[] =
    "DELETE FROM request_pages WHERE page IN (SELECT page FROM request_pages WHERE last_us < ? ORDER BY "
    "last_us LIMIT ?)";
static const char remove_audits[] =
    "DELETE FROM audit WHERE row IN (SELECT row FROM audit WHERE at_us < ? ORDER BY at_us LIMIT ?)";
static const char remove_last_used[] =
    "DELETE FROM last_used WHERE client IN (SELECT id FROM names WHERE seen < ? ORDER BY seen LIMIT ?)";
static const char remove_names[] =
    "DELETE FROM names WHERE id IN (SELECT id FROM names WHERE seen < ? ORDER BY seen LIMIT ?)";

_Static_assert(GRAIN_MINUTE == 1 && GRAIN_HOUR == 2 && GRAIN_DAY == 3, "the statements above say so");

/* The open page may be among them, when the clock was set. */
static enum err pages_remove(struct store *s, int64_t before_us, bool *more)
{
    if (s->pages.open.last_us < before_us)
        pages_forget(&s->pages);
    return remove_some(s, remove_requests, before_us, PAGES, more);
}

/* A name is kept for as long as any row may have its number, and two days for the clocks. The two statements
   on names take the same ones: last_used first. */
static enum err remove_all(struct store *s, int64_t now_us, bool *more)
{
    int64_t keep_names = MAX((int64_t)s->request_days, (int64_t)DAY_DAYS) + 2;
    TRY(remove_some(s, remove_minutes, (now_us - MINUTE_HOURS * HOUR_US) / 1000000, ROWS, more));
    TRY(remove_some(s, remove_hours, (now_us - HOUR_DAYS * DAY_US) / 1000000, ROWS, more));
    TRY(remove_some(s, remove_days, (now_us - DAY_DAYS * DAY_US) / 1000000, ROWS, more));
    TRY(pages_remove(s, now_us - (int64_t)s->request_days * DAY_US, more));
    TRY(remove_some(s, remove_audits, now_us - AUDIT_DAYS * DAY_US, ROWS, more));
    TRY(remove_some(s, remove_last_used, now_us / DAY_US - keep_names, ROWS, more));
    return remove_some(s, remove_names, now_us / DAY_US - keep_names, ROWS, more);
}

enum err retention_step(struct store *s, int64_t now_us, bool *more)
{
    *more = false;
    TRY(db_begin(s->db));
    enum err err = remove_all(s, now_us, more);
    if (err == OK)
        return db_commit(s->db);
    db_rollback(s->db);
    return err;
}
