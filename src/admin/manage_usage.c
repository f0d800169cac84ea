/* /admin/v1/usage: what was used, by tier and time. Worker threads, inside an exchange. */
#include "admin/manage.h"
#include "admin/manage_write.h"

#include "admin/answer.h"

enum { HOUR = 3600, DAY = 24 * HOUR, POINTS_MAX = 20000 };

static const char *const scopes[] = {"global", "client", "provider", "model", "strategy"};
static const char *const grains[] = {"auto", "minute", "hour", "day"};

static enum err parse_scope(struct api_call *call, struct usage_query *query)
{
    int scope;
    TRY(manage_query_word(call, "scope", scopes, COUNT_OF(scopes), TIER_GLOBAL, &scope));
    query->tier = (enum usage_tier)scope;
    query->id = manage_query(call, "id");
    if (scope == TIER_GLOBAL && query->id.n)
        return manage_refuse(call, "id", "scope global has no ids");
    if (scope != TIER_GLOBAL && !query->id.n)
        return manage_refuse(call, "id", "scope %s needs one (GET /admin/v1/usage/ids?scope=%s lists them)",
                             scopes[scope], scopes[scope]);
    return OK;
}

static enum err parse_date(struct api_call *call, const char *name, int64_t otherwise, int64_t *seconds)
{
    struct str text = manage_query(call, name);
    *seconds = otherwise;
    if (!text.n || manage_parse_time(text, seconds))
        return OK;
    return manage_refuse(call, name, "must be a date like 2026-01-31T10:00:00Z, or seconds since 1970");
}

/* ?from= and ?to=, or the last ?range=; the present minute is in. */
static enum err parse_range(struct api_call *call, struct usage_query *query)
{
    static const char *const ranges[] = {"hour", "day", "week", "month"};
    static const int64_t seconds[] = {HOUR, DAY, 7 * DAY, 30 * DAY};
    bool has_range = manage_query(call, "range").n, has_dates = manage_query(call, "from").n;
    int range;
    TRY(manage_query_word(call, "range", ranges, COUNT_OF(ranges), 1, &range));
    if (has_range && (has_dates || manage_query(call, "to").n))
        return manage_refuse(call, "range", "give a range, or from and to, not both");
    TRY(parse_date(call, "to", clock_wall_us() / 1000000 + 1, &query->to));
    TRY(parse_date(call, "from", MAX(query->to - seconds[range], (int64_t)0), &query->from));
    if (query->from < query->to)
        return OK;
    return manage_refuse(call, has_dates ? "from" : "to", "the range ends before it begins");
}

/* The row that `from` falls into is in: else the present day would not be in the last hour. */
static enum err parse_grain(struct api_call *call, struct usage_query *query)
{
    static const int64_t seconds[] = {0, 60, HOUR, DAY};
    int64_t span = query->to - query->from;
    int grain;
    TRY(manage_query_word(call, "grain", grains, COUNT_OF(grains), GRAIN_AUTO, &grain));
    if (grain == GRAIN_AUTO)
        grain = span > 7 * DAY ? GRAIN_DAY : span > DAY ? GRAIN_HOUR : GRAIN_MINUTE;
    query->grain = (enum usage_grain)grain;
    query->from -= query->from % seconds[grain];
    if (span / seconds[grain] <= POINTS_MAX)
        return OK;
    return manage_refuse(call, "grain", "from and to are more than %d of them apart", POINTS_MAX);
}

static void write_usage(struct json *j, const struct usage_query *query, const struct usage_point *points,
                        size_t count)
{
    struct usage_point total = {.at = -1};
    json_put_object(j);
    json_key_c(j, "scope", scopes[query->tier]);
    if (query->id.n)
        json_key_str(j, "id", query->id);
    else
        json_key_null(j, "id");
    json_key_c(j, "grain", grains[query->grain]);
    manage_write_seconds(j, "from", query->from);
    manage_write_seconds(j, "to", query->to);
    json_key_array(j, "data");
    for (size_t i = 0; i < count; i++) {
        manage_write_point(j, &points[i]);
        manage_add_point(&total, &points[i]);
    }
    json_end(j);
    json_key(j, "total");
    manage_write_point(j, &total);
}

enum err usage_show(struct task *t, struct api_call *call, struct response *response)
{
    struct usage_query query = {0};
    struct usage_point *points = NULL;
    struct store *store;
    size_t count = 0;
    TRY(parse_scope(call, &query));
    TRY(parse_range(call, &query));
    TRY(parse_grain(call, &query));
    TRY(manage_store(call, &store));
    TRY(store_usage(t, store, &query, &call->request->arena, &points, &count, &call->error));
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    write_usage(&j, &query, points, count);
    return manage_object_send(&j, call, response, 200);
}

enum err usage_ids_list(struct task *t, struct api_call *call, struct response *response)
{
    struct str *ids = NULL;
    struct store *store;
    size_t count = 0;
    int scope;
    TRY(manage_query_word(call, "scope", scopes, COUNT_OF(scopes), TIER_GLOBAL, &scope));
    if (scope == TIER_GLOBAL)
        return manage_refuse(call, "scope", "must be one of client, provider, model, strategy");
    TRY(manage_store(call, &store));
    TRY(store_usage_ids(t, store, (enum usage_tier)scope, &call->request->arena, &ids, &count, &call->error));
    struct buf body = BUF(ANSWER_MAX);
    struct json j;
    manage_list_begin(&j, &body);
    for (size_t i = 0; i < count; i++)
        json_str(&j, ids[i]);
    return manage_list_send(&j, call, response, STR_NONE);
}
