/* /admin/v1/requests and /admin/v1/audit: what happened, newest first. Worker threads, inside an exchange. */
#include "admin/manage.h"
#include "admin/manage_write.h"

#include "admin/answer.h"

/* A page ends between two microseconds (the store sees to that), so the last one's time is the cursor. */
static struct str cursor_of(struct api_call *call, size_t count, uint64_t limit, int64_t last_us)
{
    return count && count >= limit ? arena_printf(&call->request->arena, "%lld", (long long)last_us)
                                   : STR_NONE;
}

static enum err parse_page(struct api_call *call, int64_t *before_us, uint64_t *limit)
{
    uint64_t before;
    TRY(manage_query_number(call, "before", 1, INT64_MAX, 0, &before));
    *before_us = (int64_t)before;
    return manage_query_number(call, "limit", 1, MANAGE_PAGE_MAX, MANAGE_PAGE, limit);
}

static enum err parse_filters(struct api_call *call, struct request_query *query)
{
    static const char *const outcomes[] = {"ok", "failed", "cancelled", "aborted"};
    int outcome;
    TRY(manage_query_word(call, "outcome", outcomes, COUNT_OF(outcomes), -1, &outcome));
    query->client = manage_query(call, "client");
    query->strategy = manage_query(call, "strategy");
    query->provider = manage_query(call, "provider");
    query->model = manage_query(call, "model");
    query->request_id = manage_query(call, "request_id");
    query->outcome = outcome < 0 ? -1 : outcome + ENTRY_OK;
    return OK;
}

enum err requests_list(struct task *t, struct api_call *call, struct response *response)
{
    struct request_query query = {0};
    struct request_row *rows = NULL;
    struct store *store;
    size_t count = 0;
    TRY(parse_filters(call, &query));
    TRY(parse_page(call, &query.before_us, &query.limit));
    TRY(manage_store(call, &store));
    TRY(store_requests(t, store, &query, &call->request->arena, &rows, &count, &call->error));
    struct buf body = BUF(ANSWER_MAX);
    struct json j;
    manage_list_begin(&j, &body);
    for (size_t i = 0; i < count; i++)
        manage_write_request(&j, &rows[i]);
    return manage_list_send(&j, call, response,
                            cursor_of(call, count, query.limit, count ? rows[count - 1].ended_us : 0));
}

/* Clients choose their ids: of several with the same the newest is shown. */
enum err request_show(struct task *t, struct api_call *call, struct response *response)
{
    struct request_query query = {.request_id = manage_id(call), .outcome = -1, .limit = 1};
    struct request_row *rows = NULL;
    struct store *store;
    size_t count = 0;
    TRY(manage_store(call, &store));
    TRY(store_requests(t, store, &query, &call->request->arena, &rows, &count, &call->error));
    if (!count)
        return error_set(&call->error, ERR_NOT_FOUND, "no settled request has the id %.*s",
                         STR_ARG(str_first(query.request_id, 128)));
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    manage_write_request(&j, &rows[0]);
    buf_add_char(&body, '\n');
    return answer_send(call, response, 200, &body);
}

enum err audit_list(struct task *t, struct api_call *call, struct response *response)
{
    struct store_audit *list = NULL;
    struct store *store;
    int64_t before_us;
    uint64_t limit;
    size_t count = 0;
    TRY(parse_page(call, &before_us, &limit));
    TRY(manage_store(call, &store));
    TRY(store_audits(t, store, before_us, limit, &call->request->arena, &list, &count, &call->error));
    struct buf body = BUF(ANSWER_MAX);
    struct json j;
    manage_list_begin(&j, &body);
    for (size_t i = 0; i < count; i++)
        manage_write_audit(&j, &list[i]);
    return manage_list_send(&j, call, response,
                            cursor_of(call, count, limit, count ? list[count - 1].at_us : 0));
}
