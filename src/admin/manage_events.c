/* /admin/v1/events: the log as it comes, as server-sent events. Worker threads, inside an exchange. */
#include "admin/manage.h"
#include "admin/manage_feed.h"

#include "admin/answer.h"

enum {
    KEEPALIVE_MS = 15000,
    GLANCE_MS =
        100, /* events of this time go out together; so soon a drain and a client that left are noticed */
};

/* Until the client leaves (ERR_CANCELLED) or the gateway drains (OK). */
static enum err events_send(struct task *t, struct api_call *call, struct feed_reader *reader)
{
    struct buf events CLEANUP(buf_free) = BUF(FEED_BACKLOG_MAX);
    uint64_t keepalive = task_deadline(t, KEEPALIVE_MS);
    while (!worker_is_draining(call->worker)) {
        if (conn_is_abandoned(call->conn))
            return ERR_CANCELLED;
        buf_clear(&events);
        feed_take(reader, &events);
        if (!events.n && task_now(t) >= keepalive)
            buf_add_c(&events, ": keep-alive\n\n");
        if (events.n) {
            TRY(response_write(t, call->conn, call->request, buf_str(&events)));
            keepalive = task_deadline(t, KEEPALIVE_MS);
        }
        TRY(task_sleep(t, GLANCE_MS));
    }
    return OK;
}

static enum err events_run(struct task *t, struct api_call *call, struct response *response,
                           struct feed_reader *reader)
{
    TRY(response_begin_stream(t, call->conn, call->request, response));
    TRY(events_send(t, call, reader));
    return response_end_stream(t, call->conn, call->request);
}

enum err events_stream(struct task *t, struct api_call *call, struct response *response)
{
    struct feed_reader reader CLEANUP(feed_leave) = {
        .types = manage_query(call, "types"), .with_requests = answer_query_flag(call, STR("requests"))};
    response->content_type = STR("text/event-stream; charset=utf-8");
    if (call->request->head.method == METHOD_HEAD)
        return OK;
    if (!feed_join(&reader))
        return error_set(&call->error, ERR_OVERLOADED, "%d others read the events already", FEED_MAX);
    head_add(&response->fields, STR("X-Accel-Buffering"), STR("no"));
    /* Once the head is out there is no other answer: a stream that fails ends with the connection. */
    if (events_run(t, call, response, &reader) != OK)
        call->conn->keep = false;
    response->status = 0;
    return OK;
}
