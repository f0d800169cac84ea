/* Responses that Hestia itself makes. */
#include "http/server.h"

#include "base/json.h"

#include <time.h>

enum { SEND_MS = 30000, SLICE = 64 << 10 /* handed to the kernel at once */ };

const char *status_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {508, "Loop Detected"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].status == status)
            return rows[i].reason;
    return "Unknown";
}

struct str date_line(struct loop *l)
{
    static _Thread_local char line[48];
    static _Thread_local size_t length;
    static _Thread_local uint64_t second = UINT64_MAX;
    uint64_t now = l->now / CLOCK_S;
    if (now != second) {
        time_t wall = (time_t)(clock_wall_us() / 1000000);
        struct tm tm;
        second = now;
        length = strftime(line, sizeof line, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&wall, &tm));
    }
    return str_make(line, length);
}

static void head_write(struct buf *out, struct conn *c, struct request *r, struct response *response)
{
    if (c->server->draining)
        c->keep = false;
    struct str type = response->content_type.n ? response->content_type : STR("application/json");
    buf_addf(out, "HTTP/1.1 %d %s\r\n", response->status, status_reason(response->status));
    buf_add_str(out, date_line(c->server->loop));
    head_add(out, STR("Content-Type"), type);
    head_add(out, STR("X-Request-ID"), str_from_c(r->id));
    buf_add_str(out, buf_str(&response->fields));
    if (!c->keep)
        buf_add_c(out, "Connection: close\r\n");
    else if (r->head.minor == 0)
        buf_add_c(out, "Connection: keep-alive\r\n");
}

/* The head with the first of the body, then the rest slice by slice: only a slice is ever held for a slow
   reader. */
static enum err send_slices(struct task *t, struct conn *c, const struct buf *head, struct str body)
{
    size_t n = MIN(body.n, (size_t)SLICE);
    struct iovec parts[2] = {{head->p, head->n}, {(void *)(uintptr_t)body.p, n}};
    TRY(buf_err(head));
    TRY(inflow_settle(
        &c->in)); /* nothing may suspend while the request's unread body stands in the scratch */
    c->head_bytes += head->n;
    TRY(outflow_sendv(&c->out, parts, n ? 2 : 1));
    TRY(outflow_flush(t, &c->out, task_deadline(t, SEND_MS)));
    while ((body = str_from(body, n)).n) {
        n = MIN(body.n, (size_t)SLICE);
        TRY(outflow_send(&c->out, str_first(body, n)));
        TRY(outflow_flush(t, &c->out, task_deadline(t, SEND_MS)));
    }
    return OK;
}

static enum err send_out(struct task *t, struct conn *c, struct buf *head, struct str body)
{
    enum err err = send_slices(t, c, head, body);
    buf_free(head);
    if (err != OK)
        c->keep = false;
    return err;
}

enum err response_send(struct task *t, struct conn *c, struct request *r, struct response *response)
{
    struct buf head = BUF(64 << 10);
    bool bodyless = response->status == 204 || response->status == 304;
    if (!r->body.done)
        request_discard_body(t, c, r);
    head_write(&head, c, r, response);
    if (!bodyless)
        buf_addf(&head, "Content-Length: %zu\r\n", response->body.n);
    buf_add_c(&head, "\r\n");
    buf_free(&response->fields);
    c->answered = true;
    return send_out(t, c, &head, bodyless || r->head.method == METHOD_HEAD ? STR_NONE : response->body);
}

/* Those that go with the error, and the caller's: one that sends a 405 with fields says itself what is
 * allowed. */
static void error_fields(struct buf *out, const struct error *error, int retry_after, struct str fields)
{
    const struct err_row *row = err_row(error->err);
    int seconds = retry_after ? retry_after : row->retry_after;
    head_add(out, STR("X-Hestia-Error-Source"), str_from_c(err_source_name(row->source)));
    if (seconds)
        buf_addf(out, "Retry-After: %d\r\n", seconds);
    if (error->err == ERR_METHOD_NOT_ALLOWED && !fields.n)
        buf_add_c(out, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
    if (error->err == ERR_UPGRADE_REQUIRED)
        buf_add_c(out, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    if (error->err == ERR_INVALID_API_KEY)
        buf_add_c(out, "WWW-Authenticate: Bearer\r\n");
    buf_add_str(out, fields);
}

void error_write_json(struct buf *out, const struct error *error, bool with_message)
{
    const struct err_row *row = err_row(error->err);
    struct json j = json_to(out);
    json_put_object(&j);
    json_key_object(&j, "error");
    json_key_c(&j, "message", error_text(error));
    json_key_c(&j, "type", row->type);
    json_key_c(&j, "param", error->param);
    json_key_c(&j, "code", row->code);
    json_end(&j);
    if (with_message)
        json_key_c(&j, "message", error_text(error));
    json_end(&j);
    buf_add_char(out, '\n');
}

enum err response_send_error(struct task *t, struct conn *c, struct request *r, const struct error *error,
                             int retry_after)
{
    return response_send_error_fields(t, c, r, error, retry_after, STR_NONE);
}

enum err response_send_error_fields(struct task *t, struct conn *c, struct request *r,
                                    const struct error *error, int retry_after, struct str fields)
{
    const struct err_row *row = err_row(error->err);
    struct response response = {.status = row->status ? row->status : 500};
    struct buf body = BUF(64 << 10);
    error_write_json(&body, error, false);
    error_fields(&response.fields, error, retry_after, fields);
    response.body = buf_str(&body);
    if (error->err == ERR_DRAINING)
        c->keep = false;
    enum err err = response_send(t, c, r, &response);
    buf_free(&body);
    return err;
}

enum err response_begin(struct task *t, struct conn *c, struct request *r, struct response *response,
                        const uint64_t *length)
{
    struct buf head = BUF(64 << 10);
    if (r->head.minor == 0 && !length)
        c->keep = false;
    head_write(&head, c, r, response);
    if (length)
        buf_addf(&head, "Content-Length: %llu\r\n", (unsigned long long)*length);
    else if (r->head.minor)
        buf_add_c(&head, "Transfer-Encoding: chunked\r\n");
    buf_add_c(&head, "\r\n");
    buf_free(&response->fields);
    c->answered = true;
    return send_out(t, c, &head, STR_NONE);
}

enum err response_begin_stream(struct task *t, struct conn *c, struct request *r, struct response *response)
{
    if (!r->body.done)
        request_discard_body(t, c, r);
    return response_begin(t, c, r, response, NULL);
}

static enum err slice_write(struct task *t, struct conn *c, struct request *r, struct str bytes)
{
    char size[20];
    struct iovec parts[3] = {
        {size, 0}, {(void *)(uintptr_t)bytes.p, bytes.n}, {(void *)(uintptr_t) "\r\n", 2}};
    parts[0].iov_len = chunk_head(bytes.n, size);
    TRY(r->head.minor ? outflow_sendv(&c->out, parts, 3) : outflow_sendv(&c->out, parts + 1, 1));
    return outflow_flush(t, &c->out, task_deadline(t, SEND_MS));
}

enum err response_write(struct task *t, struct conn *c, struct request *r, struct str bytes)
{
    if (r->head.method == METHOD_HEAD)
        return OK;
    for (; bytes.n; bytes = str_from(bytes, SLICE))
        TRY(slice_write(t, c, r, str_first(bytes, SLICE)));
    return OK;
}

enum err response_end_stream(struct task *t, struct conn *c, struct request *r)
{
    if (r->head.minor == 0 || r->head.method == METHOD_HEAD)
        return OK;
    TRY(outflow_send(&c->out, STR("0\r\n\r\n")));
    return outflow_flush(t, &c->out, task_deadline(t, SEND_MS));
}
