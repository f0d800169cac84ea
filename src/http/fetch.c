/* One buffered request for Hestia's own use: health probes, model lists, orchestrators. Runs in the caller's
 * task. */
#include "http/client.h"

#include "http/body.h"

enum { FETCH_BODY_MAX = 1 << 20, FETCH_HEAD_MAX = 64 << 10 };

static const struct head_limits fetch_limits = {
    .target = FETCH_HEAD_MAX, .field = FETCH_HEAD_MAX, .head = FETCH_HEAD_MAX, .fields = HEAD_FIELDS_MAX};

void fetch_free(struct fetch *f)
{
    buf_free(&f->response);
    buf_free(&f->response_fields);
}

static enum err send_request(struct task *t, struct fetch *f, struct upstream *u, uint64_t deadline)
{
    struct buf head = BUF(FETCH_HEAD_MAX);
    buf_add_str(&head, method_name(f->method));
    buf_add_char(&head, ' ');
    buf_add_str(&head, f->target.n ? f->target : STR("/"));
    buf_add_c(&head, " HTTP/1.1\r\n");
    head_add(&head, STR("Host"), f->host_field.n ? f->host_field : f->origin->url.host_field);
    head_add(&head, STR("User-Agent"), STR("hestia/" HESTIA_VERSION));
    buf_add_str(&head, f->fields);
    if (f->body.n || f->method == METHOD_POST || f->method == METHOD_PUT || f->method == METHOD_PATCH)
        buf_addf(&head, "Content-Length: %zu\r\n", f->body.n);
    buf_add_c(&head, "\r\n");
    buf_add_str(&head, f->body);
    enum err err = buf_err(&head) == OK ? outflow_send(&u->out, buf_str(&head)) : buf_err(&head);
    buf_free(&head);
    return err == OK ? outflow_flush(t, &u->out, deadline) : err;
}

/* The next bytes, settled: fetches are rare and may suspend anywhere. */
static enum err receive(struct task *t, struct upstream *u, uint64_t deadline)
{
    TRY(inflow_fill(t, &u->in, FLOW_HIGH_WATER, deadline));
    return inflow_settle(&u->in);
}

static enum err read_head(struct task *t, struct upstream *u, struct head *head, size_t *length,
                          uint64_t deadline, struct error *error)
{
    size_t scanned = 0;
    int interim_count = 0;
    for (;;) {
        *length = u->in.n ? head_find_end(str_make(u->in.p, u->in.n), &scanned) : 0;
        if (*length) {
            TRY(head_parse_response(str_make(u->in.p, *length), &fetch_limits, head, error));
            if (head->status >= 200)
                return OK;
            if (++interim_count > INTERIM_MAX)
                return error_set(error, ERR_UPSTREAM_PROTOCOL,
                                 "the upstream sent too many interim responses");
            inflow_consume(&u->in, *length);
            scanned = 0;
        } else if (u->in.n > FETCH_HEAD_MAX) {
            return error_set(error, ERR_UPSTREAM_PROTOCOL, "the response head is too large");
        } else {
            TRY(receive(t, u, deadline));
        }
    }
}

static enum err read_body(struct task *t, struct fetch *f, struct upstream *u, struct body_reader *body,
                          uint64_t deadline, struct error *error)
{
    while (!body->done) {
        struct str piece;
        size_t used;
        if (u->in.n == 0) {
            enum err err = receive(t, u, deadline);
            if (err == ERR_END && body_stream_ended(body, &u->sock) == OK)
                return OK;
            TRY(err);
        }
        TRY(body_next(body, &u->in, &piece, &used, error));
        buf_add_str(&f->response, piece);
        inflow_consume(&u->in, used);
        TRY(buf_err(&f->response));
    }
    return OK;
}

static enum err exchange(struct task *t, struct fetch *f, struct upstream *u, bool *reusable,
                         uint64_t deadline, struct error *error)
{
    struct head head;
    struct framing framing;
    struct body_reader body;
    size_t length;
    TRY(send_request(t, f, u, deadline));
    TRY(read_head(t, u, &head, &length, deadline, error));
    TRY(framing_of_response(&head, f->method, &framing, error));
    f->status = head.status;
    TRY(head_mark_hops(&head, false, error));
    head_copy_fields(&f->response_fields, &head);
    f->content_type = head_value(&head, FIELD_CONTENT_TYPE);
    if (f->content_type.n) { /* the head's bytes go: point into the copy */
        size_t at = str_find_str(buf_str(&f->response_fields), f->content_type);
        f->content_type = str_first(str_from(buf_str(&f->response_fields), at), f->content_type.n);
    }
    *reusable = head_keeps_alive(&head) && framing.kind != BODY_UNTIL_CLOSE;
    inflow_consume(&u->in, length);
    body_begin(&body, framing, false);
    return read_body(t, f, u, &body, deadline, error);
}

enum err fetch_run(struct task *t, struct pool *p, struct fetch *f, uint64_t deadline, struct error *error)
{
    struct upstream *u;
    bool reusable = false;
    error->why[0] = '\0';
    f->response.max = f->response.max ? f->response.max : FETCH_BODY_MAX;
    /* What must not be sent twice never meets a kept-alive connection that may be dead (http.md 3.4). */
    bool repeatable = method_is_idempotent(f->method) || f->body.n == 0;
    TRY(upstream_acquire(t, p, f->origin, !repeatable, deadline, &u, error));
    bool reused = u->reused;
    enum err err = exchange(t, f, u, &reusable, deadline, error);
    upstream_release(u, err == OK && reusable);
    if (reused && (err == ERR_END || err == ERR_RESET) &&
        f->status == 0) { /* a stale kept-alive connection */
        TRY(upstream_acquire(t, p, f->origin, true, deadline, &u, error));
        err = exchange(t, f, u, &reusable, deadline, error);
        upstream_release(u, err == OK && reusable);
    }
    if (err == OK || err == ERR_CANCELLED || err == ERR_UPSTREAM_PROTOCOL)
        return err;
    if (err == ERR_TIMEOUT)
        return error_set(error, ERR_UPSTREAM_TIMEOUT, "%.*s did not answer in time",
                         STR_ARG(f->origin->name));
    return error_set(error, ERR_UPSTREAM_UNREACHABLE, "%.*s: %s", STR_ARG(f->origin->name),
                     err_row(err)->text);
}
