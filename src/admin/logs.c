/* The log lines of a service: as text, or followed as server-sent events. Worker threads, inside an exchange.
 */
#include "admin/answer.h"
#include "admin/log_lines.h"
#include "base/num.h"
#include "gateway/worker.h"

enum {
    KEEPALIVE_MS = 15000,
    GLANCE_MS = 100, /* how soon a client that left and a drain are noticed */
};

/* Where to begin: `tail` lines before the end, or an offset. */
struct log_start {
    uint64_t offset;
    size_t tail; /* 0 = from `offset` */
};

static enum err start_parse(struct api_call *call, struct log_start *start)
{
    struct request *r = call->request;
    struct str text, seen = head_value(&r->head, FIELD_LAST_EVENT_ID);
    uint64_t number = 0;
    *start = (struct log_start){0};
    if (query_get(&r->arena, r->target.query, STR("tail"), &text)) {
        if (!num_parse_u64(text, &number) || number == 0 || number > UINT32_MAX)
            return error_set(&call->error, ERR_BAD_REQUEST, "tail must be a number of lines, 1 or more");
        start->tail = (size_t)number;
    }
    /* A browser's EventSource that reconnects goes on behind the last line it saw. */
    if (num_parse_u64(seen, &number))
        *start = (struct log_start){.offset = num_add_saturating(number, 1)};
    return OK;
}

static enum err logs_answer_text(struct task *t, struct api_call *call, struct response *response,
                                 const struct log_start *start)
{
    struct buf body = BUF(ANSWER_MAX);
    struct log_text text = {0};
    service_logs(t, call->service, &call->request->arena, start->offset, start->tail, &text);
    log_lines_write_text(&body, &text);
    response->content_type = STR("text/plain; charset=utf-8");
    return answer_send(call, response, 200, &body);
}

/* Sends what is there; *next is where to go on. */
static enum err follow_send(struct task *t, struct api_call *call, const struct log_start *start,
                            uint64_t *next)
{
    struct arena arena CLEANUP(arena_free) = {0};
    struct buf events CLEANUP(buf_free) = BUF(ANSWER_MAX);
    struct log_text text = {0};
    service_logs(t, call->service, &arena, start->offset, start->tail, &text);
    *next = text.next;
    log_lines_write_events(&events, &text);
    TRY(buf_err(&events));
    return response_write(t, call->conn, call->request, buf_str(&events));
}

/* Until there are lines at or after `offset`: OK. ERR_END: drain, or the service is gone. Sends comments, so
   that nothing on the way takes the stream for dead. */
static enum err follow_wait(struct task *t, struct api_call *call, uint64_t offset)
{
    uint64_t keepalive = task_deadline(t, KEEPALIVE_MS);
    for (;;) {
        if (conn_is_abandoned(call->conn))
            return ERR_CANCELLED;
        if (worker_is_draining(call->worker))
            return ERR_END;
        enum err err = service_logs_wait(t, call->service, offset, task_deadline(t, GLANCE_MS));
        if (err != ERR_TIMEOUT)
            return err;
        if (task_now(t) < keepalive)
            continue;
        TRY(response_write(t, call->conn, call->request, STR(": keep-alive\n\n")));
        keepalive = task_deadline(t, KEEPALIVE_MS);
    }
}

static enum err follow_run(struct task *t, struct api_call *call, struct response *response,
                           struct log_start start)
{
    response->status = 200;
    response->content_type = STR("text/event-stream; charset=utf-8");
    head_add(&response->fields, STR("Cache-Control"), STR("no-cache"));
    head_add(&response->fields, STR("X-Accel-Buffering"), STR("no"));
    TRY(response_begin_stream(t, call->conn, call->request, response));
    for (;;) {
        uint64_t next = 0;
        TRY(follow_send(t, call, &start, &next));
        enum err err = follow_wait(t, call, next);
        if (err == ERR_END)
            return response_end_stream(t, call->conn, call->request);
        TRY(err);
        start = (struct log_start){.offset = next};
    }
}

/* Once the head is out there is no other answer: a stream that fails ends with the connection. */
static enum err logs_follow(struct task *t, struct api_call *call, struct response *response,
                            const struct log_start *start)
{
    enum err err = follow_run(t, call, response, *start);
    if (err != OK)
        call->conn->keep = false;
    response->status = 0;
    return OK;
}

enum err logs_answer(struct task *t, struct api_call *call, struct response *response)
{
    struct log_start start;
    TRY(start_parse(call, &start));
    if (answer_query_flag(call, STR("follow")) && call->request->head.method == METHOD_GET)
        return logs_follow(t, call, response, &start);
    return logs_answer_text(t, call, response, &start);
}
