/* What happens to the books, for the log and for the audit trail. Never a key. Control thread. */
#include "strategy/book_inside.h"

static const char *const events[2][4] = {
    [STORE_CLIENTS] = {"client_created", "client_updated", "client_deleted", "client_key_rotated"},
    [STORE_STRATEGIES] = {"strategy_created", "strategy_updated", "strategy_deleted", "strategy_updated"},
};

static void row_log(const struct draft *d, const struct draft_row *change)
{
    static const char *const done[] = {"created", "updated", "deleted", "got a new key"};
    const struct book_row *r = change->row;
    bool is_client = r->table == STORE_CLIENTS;
    struct log_line l;
    if (!log_begin(&l, LOG_INFO, events[r->table][change->verb], "%s %s: %.*s",
                   is_client ? "Client" : "Strategy", done[change->verb], STR_ARG(r->name)))
        return;
    json_key_str(&l.json, is_client ? "client_id" : "strategy_id", r->id);
    json_key_str(&l.json, "name", r->name);
    json_key_u64(&l.json, "revision", r->revision);
    json_key_str(&l.json, "actor", d->change->actor);
    log_end(&l);
}

void draft_log(const struct draft *d)
{
    for (size_t i = 0; i < d->count; i++)
        row_log(d, &d->rows[i]);
}

void draft_audit(const struct draft *d, struct store_audit *list)
{
    static const char *const actions[2][4] = {
        [STORE_CLIENTS] = {"client.create", "client.update", "client.delete", "client.rotate"},
        [STORE_STRATEGIES] = {"strategy.create", "strategy.update", "strategy.delete", "strategy.update"},
    };
    for (size_t i = 0; i < d->count; i++) {
        const struct book_row *r = d->rows[i].row;
        list[i] = (struct store_audit){
            .at_us = d->now_us,
            .actor = d->change->actor,
            .action = str_from_c(actions[r->table][d->rows[i].verb]),
            .target = r->id,
            .detail = r->shown,
        };
    }
}

void book_event_row(enum log_level level, const char *event, enum store_table table, struct str id,
                    const char *message)
{
    struct log_line l;
    if (!log_begin(&l, level, event, "%s", message))
        return;
    json_key_str(&l.json, table == STORE_CLIENTS ? "client_id" : "strategy_id", id);
    log_end(&l);
}
