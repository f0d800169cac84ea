/* One exchange's bytes, both ways. Runs in the exchange's task; every suspension settles both inflows first.
 */
#include "http/relay.h"

enum { TURN_BUDGET = 1 << 20, UPSTREAM_HEAD_MAX = 64 << 10 };

static const struct head_limits upstream_limits = {.target = UPSTREAM_HEAD_MAX,
                                                   .field = UPSTREAM_HEAD_MAX,
                                                   .head = UPSTREAM_HEAD_MAX,
                                                   .fields = HEAD_FIELDS_MAX};

static enum err settle(struct relay *r)
{
    TRY(inflow_settle(&r->client->in));
    return inflow_settle(&r->up->in);
}

static enum err relay_park(struct task *t, struct relay *r, uint64_t deadline)
{
    TRY(settle(r));
    return task_park(t, deadline);
}

/* A client that is gone ends its exchange wherever it is. */
static enum err check_client(const struct relay *r)
{
    return conn_is_abandoned(r->client) ? ERR_CANCELLED : OK;
}

/* ---- client to upstream ---------------------------------------------------------------------------------
 */

/* Trouble while sending is not the end: an upstream that refuses a body often has answered already. */
static enum err to_upstream(struct relay *r, struct str bytes)
{
    enum err err = outflow_send(&r->up->out, bytes);
    if (err == OK || err == ERR_NOMEM || err == ERR_LIMIT)
        return err;
    r->upstream_deaf = r->request_sent = true;
    buf_clear(&r->up->out.pending);
    return OK;
}

static void replay_record(struct relay *r, struct str piece)
{
    if (!r->replay || !r->replay_complete)
        return;
    if (r->replay->n + piece.n > REPLAY_MAX) {
        r->replay_complete = false;
        buf_free(r->replay);
        return;
    }
    buf_add_str(r->replay, piece);
    r->replay_complete = buf_err(r->replay) == OK;
}

/* What is left of such a body must not be taken for the next request. */
static enum err body_refuse(struct relay *r, enum err err)
{
    r->client->keep = false;
    r->client->linger = true;
    return err;
}

/* The next piece of the request body, checked and recorded; `used` bytes of the inflow are its caller's to
 * consume. */
static enum err body_take(struct relay *r, struct str *piece, size_t *used, struct error *error)
{
    struct body_reader *body = &r->request->body;
    uint64_t limit = r->client->server->settings.body_max; /* a length beyond it was refused with the head */
    if (body_next(body, &r->client->in, piece, used, error) != OK)
        return body_refuse(r,
                           error_set(error, ERR_HTTP_SYNTAX, "the request body's chunked framing is broken"));
    if (limit && body->received > limit)
        return body_refuse(r,
                           error_set(error, ERR_BODY_TOO_LARGE, "the request body is longer than %llu bytes",
                                     (unsigned long long)limit));
    replay_record(r, *piece);
    return OK;
}

static enum err body_piece(struct relay *r, struct error *error)
{
    struct str piece;
    size_t used;
    TRY(body_take(r, &piece, &used, error));
    enum err err = to_upstream(r, piece);
    inflow_consume(&r->client->in, used);
    return err;
}

/* What can be moved without waiting. *moved counts bytes. */
static enum err pump_request(struct relay *r, size_t *moved, struct error *error)
{
    struct body_reader *body = &r->request->body;
    struct inflow *in = &r->client->in;
    enum err err = outflow_flush_now(&r->up->out);
    if (err == ERR_AGAIN)
        return OK;
    if (err != OK) {
        r->upstream_deaf = r->request_sent = true;
        buf_clear(&r->up->out.pending);
        return OK;
    }
    while (!body->done && r->up->out.pending.n == 0 && !r->request_sent && *moved < TURN_BUDGET) {
        if (in->n == 0) {
            if (!r->client->sock.readable)
                return OK;
            err = inflow_fill_now(in, r->read_max);
            if (err == ERR_AGAIN)
                return OK;
            if (err != OK)
                return ERR_CANCELLED; /* it left in the middle of its body */
        }
        *moved += in->n;
        TRY(body_piece(r, error));
    }
    if (r->up->out.pending.n > FLOW_HIGH_WATER)
        r->read_max = FLOW_HIGH_WATER;
    r->request_sent = r->request_sent || (body->done && r->up->out.pending.n == 0);
    return OK;
}

/* What was read of the body is used up, even when the upstream does not take it: the replay has it. */
enum err relay_send_head(struct task *t, struct relay *r, struct str head, struct error *error)
{
    struct body_reader *body = &r->request->body;
    struct inflow *in = &r->client->in;
    struct iovec parts[2] = {{(void *)(uintptr_t)head.p, head.n}};
    size_t used = 0;
    int count = 1;
    r->read_max = SCRATCH_SIZE;
    r->request_since = task_now(t);
    r->request_sent = r->upstream_deaf = false;
    if (r->replay && r->replay->n) { /* an earlier attempt has read the beginning of the body */
        parts[1] = (struct iovec){r->replay->p, r->replay->n};
        count = 2;
    } else if (!body->done && in->n) { /* head and body in one system call */
        struct str piece;
        TRY(body_take(r, &piece, &used, error));
        parts[1] = (struct iovec){(void *)(uintptr_t)piece.p, piece.n};
        count = piece.n ? 2 : 1;
    }
    enum err err = outflow_sendv(&r->up->out, parts, count);
    inflow_consume(in, used);
    if (err != OK)
        return err == ERR_NOMEM || err == ERR_LIMIT ? err : ERR_RESET;
    r->request_sent = body->done && r->up->out.pending.n == 0;
    return OK;
}

/* ---- a request that is at hand in full ----------------------------------------------------------------- */

/* Until the upstream has taken what is pending, or will take no more. */
static enum err drain_to_upstream(struct task *t, struct relay *r)
{
    for (;;) {
        enum err err = outflow_flush_now(&r->up->out);
        if (err == OK)
            return OK;
        if (err != ERR_AGAIN)
            return to_upstream(r, STR_NONE); /* deaf: it may have answered already */
        TRY(check_client(r));
        TRY(relay_park(t, r, clock_after(task_now(t), r->idle_ms)));
    }
}

enum err relay_send_parts(struct task *t, struct relay *r, const struct str *parts, int count,
                          struct error *error)
{
    struct iovec vector[40];
    size_t total = 0;
    r->read_max = SCRATCH_SIZE;
    r->request_since = task_now(t);
    r->request_sent = r->upstream_deaf = false;
    for (int i = 0; i < count; i++)
        total += parts[i].n;
    if (total <= FLOW_BUF_MAX / 2 && count <= (int)COUNT_OF(vector)) {
        for (int i = 0; i < count; i++)
            vector[i] = (struct iovec){(void *)(uintptr_t)parts[i].p, parts[i].n};
        TRY(outflow_sendv(&r->up->out, vector, count));
        count = 0;
    }
    for (int i = 0; i < count && !r->upstream_deaf; i++) {
        struct str rest = parts[i];
        while (rest.n && !r->upstream_deaf) {
            TRY(to_upstream(r, str_first(rest, SCRATCH_SIZE)));
            rest = str_from(rest, SCRATCH_SIZE);
            TRY(drain_to_upstream(t, r));
        }
    }
    r->request_sent = r->upstream_deaf || r->up->out.pending.n == 0;
    return OK;
}

/* ---- the response's head --------------------------------------------------------------------------------
 */

/* One look at what the upstream has sent. OK: a complete head is in `response`; ERR_AGAIN: not yet. */
static enum err head_look(struct relay *r, struct head *response, size_t *scanned, struct error *error)
{
    struct inflow *in = &r->up->in;
    size_t length = in->n ? head_find_end(str_make(in->p, in->n), scanned) : 0;
    if (!length) {
        if (in->n > UPSTREAM_HEAD_MAX)
            return error_set(error, ERR_UPSTREAM_PROTOCOL, "the response head is larger than 64 KiB");
        if (in->n >= 5 && memcmp(in->p, "HTTP/", 5) != 0)
            return error_set(error, ERR_UPSTREAM_PROTOCOL, "the upstream's answer is not HTTP");
        return ERR_AGAIN;
    }
    TRY(head_parse_response(str_make(in->p, length), &upstream_limits, response, error));
    r->response = response;
    r->response_head_length = length;
    return OK;
}

static enum err head_receive(struct relay *r, struct head *response, size_t *scanned, struct error *error)
{
    struct inflow *in = &r->up->in;
    for (;;) {
        enum err err = head_look(r, response, scanned, error);
        if (err != ERR_AGAIN || !r->up->sock.readable)
            return err;
        err = inflow_fill_now(in, SCRATCH_SIZE);
        if (err == ERR_AGAIN)
            return err;
        if (err == OK)
            continue;
        if (in->n == 0 && r->interim_count == 0)
            return ERR_RESET; /* not one byte came: the caller may try again */
        return error_set(error, ERR_UPSTREAM_PROTOCOL,
                         "the upstream closed in the middle of its response head");
    }
}

/* Its fields but for those that speak of the connection or of a body: an interim response has none. */
static enum err hints_send(struct relay *r, struct head *response, struct error *error)
{
    struct buf out CLEANUP(buf_free) = BUF(UPSTREAM_HEAD_MAX * 2);
    TRY(head_mark_hops(response, false, error));
    head_drop(response, FIELD_CONTENT_LENGTH);
    buf_add_c(&out, "HTTP/1.1 103 Early Hints\r\n");
    head_copy_fields(&out, response);
    buf_add_c(&out, "\r\n");
    TRY(buf_err(&out));
    r->client->head_bytes += out.n;
    return outflow_send(&r->client->out, buf_str(&out)) == OK ? OK : ERR_CANCELLED;
}

/* 1xx: 100 when the client still waits for it, 103 to those who can take it, others are dropped. */
static enum err interim_pass(struct task *t, struct relay *r, struct head *response, struct error *error)
{
    enum err err = OK;
    if (response->status == 100)
        err = request_continue(t, r->client, r->request) == OK ? OK : ERR_CANCELLED;
    else if (response->status == 103 && r->request->head.minor >= 1)
        err = hints_send(r, response, error);
    inflow_consume(&r->up->in, r->response_head_length);
    return err;
}

static uint64_t await_deadline(struct relay *r, uint64_t sent_at)
{
    if (r->request_sent)
        return clock_after(sent_at, r->first_byte_ms);
    if (r->up->out.pending.n) /* the upstream is slow to take it */
        return clock_after(r->client->server->loop->now, r->idle_ms);
    return request_body_deadline(r->client, r->request, r->request_since);
}

static enum err await_timed_out(struct relay *r, struct error *error)
{
    if (!r->request_sent && r->up->out.pending.n == 0)
        return error_set(error, ERR_REQUEST_TIMEOUT, "the request body came too slowly");
    return error_set(error, ERR_UPSTREAM_TIMEOUT, "%.*s sent no answer within %llu s",
                     STR_ARG(r->up->origin->name), (unsigned long long)(r->first_byte_ms / 1000));
}

/* A final head, or an interim one dealt with (ERR_AGAIN). */
static enum err head_accept(struct task *t, struct relay *r, struct head *response, size_t *scanned,
                            struct error *error)
{
    if (response->status >= 200)
        return OK;
    if (response->status == 101 && r->upgrade)
        return OK;
    if (response->status == 101 || ++r->interim_count > INTERIM_MAX)
        return error_set(error, ERR_UPSTREAM_PROTOCOL,
                         response->status == 101 ? "the upstream switched protocols unasked"
                                                 : "the upstream sent too many interim responses");
    *scanned = 0;
    TRY(interim_pass(t, r, response, error));
    TRY(inflow_settle(&r->up->in)); /* what follows it: the client's side may read next */
    return ERR_AGAIN;
}

enum err relay_await_response(struct task *t, struct relay *r, struct head *response, struct error *error)
{
    uint64_t sent_at = 0;
    size_t scanned = 0;
    for (;;) {
        size_t moved = 0;
        if (!r->request_sent)
            TRY(pump_request(r, &moved, error));
        TRY(inflow_settle(&r->client->in));
        if (r->request_sent && !sent_at)
            sent_at = task_now(t);
        enum err err = head_receive(r, response, &scanned, error);
        if (err == OK) {
            err = head_accept(t, r, response, &scanned, error);
            if (err == ERR_AGAIN)
                continue; /* what follows the interim response may be here already */
            r->first_byte_at = task_now(t);
        }
        if (err != ERR_AGAIN)
            return err;
        TRY(check_client(r));
        if (moved >= TURN_BUDGET) {
            TRY(settle(r));
            TRY(task_yield(t));
            continue;
        }
        err = relay_park(t, r, await_deadline(r, sent_at ? sent_at : task_now(t)));
        if (err == ERR_TIMEOUT)
            return await_timed_out(r, error);
        TRY(err);
    }
}

/* ---- upstream to client ---------------------------------------------------------------------------------
 */

static enum err to_client(struct relay *r, struct iovec *parts, int count)
{
    enum err err = outflow_sendv(&r->client->out, parts, count);
    return err == OK || err == ERR_NOMEM ? err : ERR_CANCELLED;
}

/* The piece in its new framing behind `head` (may be empty), in one system call. */
static enum err piece_send(struct relay *r, struct str head, struct str piece)
{
    char size[20];
    struct iovec parts[4];
    int count = 0;
    bool chunk = r->emit == EMIT_CHUNKED && piece.n;
    if (head.n) {
        parts[count++] = (struct iovec){(void *)(uintptr_t)head.p, head.n};
        r->client->answered = true;
        r->client->head_bytes += head.n;
    }
    if (chunk)
        parts[count++] = (struct iovec){size, chunk_head(piece.n, size)};
    if (piece.n)
        parts[count++] = (struct iovec){(void *)(uintptr_t)piece.p, piece.n};
    if (chunk)
        parts[count++] = (struct iovec){(void *)(uintptr_t) "\r\n", 2};
    r->response_bytes += piece.n;
    return count ? to_client(r, parts, count) : OK;
}

static void note_event_boundary(struct relay *r, struct str piece)
{
    const struct chunked *c = &r->body.chunked;
    if (c->keep_frames && chunk_at_boundary(c) && piece.n >= 2)
        piece.n -= 2; /* the chunk's own CRLF */
    if (piece.n >= 2)
        r->event_boundary = str_ends(piece, STR("\n\n")) || str_ends(piece, STR("\n\r\n"));
}

static enum err response_piece(struct relay *r, struct str head, struct error *error)
{
    struct inflow *in = &r->up->in;
    struct str piece;
    size_t used;
    if (body_next(&r->body, in, &piece, &used, error) != OK)
        return error_set(error, r->client->answered ? ERR_UPSTREAM_TRUNCATED : ERR_UPSTREAM_PROTOCOL,
                         "the upstream's chunked framing is broken");
    note_event_boundary(r, piece);
    if (r->tap)
        TRY(r->tap(r, &piece, false, error));
    TRY(piece_send(r, head, piece));
    inflow_consume(in, used);
    return OK;
}

static enum err response_ended(struct relay *r, enum err err, struct error *error)
{
    if (err == ERR_END && body_stream_ended(&r->body, &r->up->sock) == OK)
        return OK;
    return error_set(error, ERR_UPSTREAM_TRUNCATED, "the upstream closed before the end of its response");
}

static enum err pump_response(struct relay *r, size_t *moved, struct error *error)
{
    struct inflow *in = &r->up->in;
    enum err err = outflow_flush_now(&r->client->out);
    if (err == ERR_AGAIN)
        return OK;
    if (err != OK)
        return ERR_CANCELLED;
    while (!r->body.done && r->client->out.pending.n == 0 && *moved < TURN_BUDGET) {
        if (in->n == 0) {
            if (!r->up->sock.readable)
                return OK;
            TRY(inflow_settle(&r->client->in));
            err = inflow_fill_now(in, r->read_max);
            if (err == ERR_AGAIN)
                return OK;
            if (err != OK) {
                TRY(response_ended(r, err, error));
                break;
            }
        }
        *moved += in->n;
        TRY(response_piece(r, STR_NONE, error));
    }
    if (r->client->out.pending.n > FLOW_HIGH_WATER)
        r->read_max = FLOW_HIGH_WATER;
    return OK;
}

enum err relay_hold(struct task *t, struct relay *r, struct buf *held, bool (*enough)(void *owner),
                    uint64_t deadline, struct error *error)
{
    struct inflow *in = &r->up->in;
    struct str piece;
    size_t used;
    r->response = NULL;
    inflow_consume(in, r->response_head_length);
    r->response_head_length = 0;
    while (!r->body.done && !enough(r->tap_owner)) {
        TRY(check_client(r));
        if (in->n == 0) {
            enum err err = inflow_fill_now(in, FLOW_HIGH_WATER);
            if (err == ERR_AGAIN) {
                err = relay_park(t, r, deadline);
                if (err == ERR_TIMEOUT)
                    return error_set(error, ERR_UPSTREAM_TIMEOUT, "the upstream sent no event in time");
                TRY(err);
                continue;
            }
            if (err != OK) {
                TRY(response_ended(r, err, error));
                break;
            }
        }
        if (body_next(&r->body, in, &piece, &used, error) != OK)
            return error_set(error, ERR_UPSTREAM_PROTOCOL, "the upstream's chunked framing is broken");
        if (r->tap)
            TRY(r->tap(r, &piece, false, error));
        buf_add_str(held, piece);
        TRY(buf_err(held));
        inflow_consume(in, used);
    }
    r->held = buf_str(held);
    return inflow_settle(in);
}

enum err relay_begin_response(struct task *t, struct relay *r, struct str head, struct error *error)
{
    struct inflow *in = &r->up->in;
    r->response = NULL;
    r->read_max = SCRATCH_SIZE;
    inflow_consume(in, r->response_head_length);
    r->response_head_length = 0;
    if (r->body.done || in->n == 0 || r->held.n)
        return piece_send(r, head, r->held);
    return response_piece(r, head, error);
}

static enum err last_chunk(struct relay *r, struct error *error)
{
    struct str rest = STR_NONE;
    if (r->tap)
        TRY(r->tap(r, &rest, true, error));
    TRY(piece_send(r, STR_NONE, rest));
    if (r->emit != EMIT_CHUNKED)
        return OK;
    return outflow_send(&r->client->out, STR("0\r\n\r\n")) == OK ? OK : ERR_CANCELLED;
}

/* While the response runs, the rest of the request still goes up: an upstream may answer as it reads. */
static enum err pump_both(struct relay *r, size_t *moved, struct error *error)
{
    TRY(pump_response(r, moved, error));
    if (r->request_sent || r->body.done)
        return OK;
    TRY(inflow_settle(&r->up->in));
    TRY(pump_request(r, moved, error));
    return inflow_settle(&r->client->in);
}

enum err relay_finish_response(struct task *t, struct relay *r, struct error *error)
{
    uint64_t deadline = clock_after(task_now(t), r->idle_ms);
    bool closed = false;
    for (;;) {
        size_t moved = 0;
        uint64_t sent = r->client->out.sent;
        TRY(pump_both(r, &moved, error));
        if (r->body.done && !closed) {
            closed = true;
            TRY(last_chunk(r, error));
        }
        if (r->body.done && r->client->out.pending.n == 0)
            return OK;
        TRY(check_client(r));
        if (moved || r->client->out.sent != sent)
            deadline = clock_after(task_now(t), r->idle_ms);
        if (moved >= TURN_BUDGET) {
            TRY(settle(r));
            TRY(task_yield(t));
            continue;
        }
        uint64_t total = r->total_deadline ? r->total_deadline : CLOCK_NEVER;
        enum err err = relay_park(t, r, MIN(deadline, total));
        if (err == ERR_TIMEOUT && task_now(t) >= total)
            return error_set(error, ERR_UPSTREAM_TIMEOUT, "the answer took too long");
        if (err == ERR_TIMEOUT)
            return r->client->out.pending.n
                       ? ERR_CANCELLED /* it does not read */
                       : error_set(error, ERR_UPSTREAM_TIMEOUT, "the upstream fell silent");
        TRY(err);
    }
}

bool relay_upstream_reusable(const struct relay *r)
{
    return r->request_sent && !r->upstream_deaf && r->body.done && r->body.framing.kind != BODY_UNTIL_CLOSE &&
           r->request->body.done;
}

bool relay_is_retryable_body(const struct relay *r)
{
    return !r->request->body.begun || (r->replay && r->replay_complete);
}

/* ---- tunnels --------------------------------------------------------------------------------------------
 */

struct half {
    struct inflow *in;
    struct outflow *out;
    struct frame_meter *frames; /* NULL = nobody asks */
    bool over;
};

static enum err half_pump(struct half *h, struct inflow *other, size_t *moved)
{
    enum err err = outflow_flush_now(h->out);
    if (err == ERR_AGAIN)
        return OK;
    TRY(err);
    while (!h->over && h->out->pending.n == 0 && *moved < TURN_BUDGET) {
        if (h->in->n == 0) {
            if (!h->in->sock->readable)
                return OK;
            TRY(inflow_settle(other));
            err = inflow_fill_now(h->in, FLOW_HIGH_WATER);
            if (err == ERR_AGAIN)
                return OK;
            if (err == ERR_END) {
                h->over = true;
                sock_shutdown(h->out->sock);
                return OK;
            }
            TRY(err);
        }
        *moved += h->in->n;
        if (h->frames)
            frame_meter_feed(h->frames, str_make(h->in->p, h->in->n));
        TRY(outflow_send(h->out, str_make(h->in->p, h->in->n)));
        inflow_consume(h->in, h->in->n);
    }
    return OK;
}

enum err relay_tunnel(struct task *t, struct relay *r)
{
    struct half up = {&r->client->in, &r->up->out, NULL, false};
    struct half down = {&r->up->in, &r->client->out, &r->frames, false};
    while (!up.over || !down.over || up.out->pending.n || down.out->pending.n) {
        size_t moved = 0;
        TRY(half_pump(&down, up.in, &moved));
        TRY(half_pump(&up, down.in, &moved));
        if ((up.over && down.over) && !up.out->pending.n && !down.out->pending.n)
            break;
        if (r->client->sock.broken)
            return ERR_CANCELLED;
        TRY(settle(r));
        if (moved >= TURN_BUDGET)
            TRY(task_yield(t));
        else
            TRY(task_park(t, clock_after(task_now(t), r->idle_ms)));
    }
    return OK;
}
