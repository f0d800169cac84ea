/*
 * /echo, /bytes/N, /sse/N: traffic of known content, for tests of what stands between. Memory stays bounded
 * whatever passes. Handlers, called by mock_llm_routes.c inside the request's task.
 */
#include "main/mock_llm.h"

#include "base/num.h"

enum {
    READ_MAX = 64 << 10,
    PATTERN = 251,              /* byte i is i mod 251: a prime, so that a shifted block shows */
    BLOCK_SIZE = PATTERN * 256, /* whole periods */
};

static uint64_t idle_deadline(const struct task *t, const struct mock_call *call)
{
    return task_deadline(t, call->conn->server->settings.stream_idle_ms);
}

/* ---- /echo ----------------------------------------------------------------------------------------------
 */

static enum err piece_send(struct mock_call *call, struct str piece, bool chunked)
{
    char size[20];
    struct iovec parts[3] = {
        {size, 0}, {(void *)(uintptr_t)piece.p, piece.n}, {(void *)(uintptr_t) "\r\n", 2}};
    if (piece.n == 0)
        return OK;
    if (!chunked)
        return outflow_sendv(&call->conn->out, parts + 1, 1);
    parts[0].iov_len = chunk_head(piece.n, size);
    return outflow_sendv(&call->conn->out, parts, 3);
}

/* Sends on what is at hand, from the loop's own buffer; suspends only after that was given back. */
static enum err echo_some(struct task *t, struct mock_call *call, bool chunked)
{
    struct conn *c = call->conn;
    struct str piece;
    struct error error;
    size_t used;
    if (c->in.n == 0)
        TRY(inflow_fill(t, &c->in, READ_MAX, idle_deadline(t, call)));
    TRY(body_next(&call->request.body, &c->in, &piece, &used, &error));
    TRY(piece_send(call, piece, chunked));
    inflow_consume(&c->in, used);
    TRY(inflow_settle(&c->in));
    return outflow_flush(t, &c->out, idle_deadline(t, call));
}

enum err bytes_echo(struct task *t, struct mock_call *call)
{
    struct request *r = &call->request;
    struct str type = head_value(&r->head, FIELD_CONTENT_TYPE);
    struct response response = {.status = 200,
                                .content_type = type.n ? type : STR("application/octet-stream")};
    bool sized = r->body.framing.kind != BODY_CHUNKED;
    bool chunked = !sized && r->head.minor > 0;
    TRY(request_continue(t, call->conn, r));
    TRY(response_begin(t, call->conn, r, &response, sized ? &r->body.framing.length : NULL));
    while (!r->body.done)
        TRY(echo_some(t, call, chunked));
    return chunked ? response_end_stream(t, call->conn, r) : OK;
}

/* ---- /bytes/N -------------------------------------------------------------------------------------------
 */

static struct str pattern_block(void)
{
    static uint8_t block[BLOCK_SIZE];
    if (!block[1])
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = (uint8_t)(i % PATTERN);
    return str_make((const char *)block, sizeof block);
}

enum err bytes_get(struct task *t, struct mock_call *call)
{
    struct response response = {.status = 200, .content_type = STR("application/octet-stream")};
    struct conn *c = call->conn;
    uint64_t left;
    if (!num_parse_u64(call->parameter, &left))
        return mock_send_error(t, call, 400, "bad_request", "/bytes/N: N is a number of bytes");
    request_discard_body(t, c, &call->request);
    TRY(response_begin(t, c, &call->request, &response, &left));
    while (left && call->request.head.method != METHOD_HEAD) {
        struct str block = str_first(pattern_block(), (size_t)MIN(left, (uint64_t)BLOCK_SIZE));
        TRY(outflow_send(&c->out, block));
        TRY(outflow_flush(t, &c->out, idle_deadline(t, call)));
        TRY(task_yield(t)); /* a fast reader must not keep the others waiting */
        left -= block.n;
    }
    return OK;
}

/* ---- /sse/N ---------------------------------------------------------------------------------------------
 */

static uint64_t interval_of(struct mock_call *call)
{
    struct request *r = &call->request;
    struct str text;
    uint64_t ms;
    bool given = query_get(&r->arena, r->target.query, STR("interval"), &text);
    return given && num_parse_duration_ms(text, 1, &ms) ? ms : 0;
}

enum err bytes_events(struct task *t, struct mock_call *call)
{
    struct response response = {.status = 200, .content_type = STR("text/event-stream")};
    uint64_t count, interval = interval_of(call);
    if (!num_parse_u64(call->parameter, &count))
        return mock_send_error(t, call, 400, "bad_request", "/sse/N: N is a number of events");
    head_add(&response.fields, STR("Cache-Control"), STR("no-cache"));
    TRY(response_begin_stream(t, call->conn, &call->request, &response));
    uint64_t start = task_now(t);
    for (uint64_t i = 0; i < count && call->request.head.method != METHOD_HEAD; i++) {
        TRY(interval ? mock_wait(t, call, clock_after(start, i * interval)) : task_yield(t));
        buf_addf(&call->out, "id: %llu\ndata: {\"n\":%llu}\n\n", (unsigned long long)i,
                 (unsigned long long)i);
        TRY(mock_write(t, call));
    }
    return response_end_stream(t, call->conn, &call->request);
}
