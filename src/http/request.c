/* Reading one request: its head with every check that comes before routing, and its body. */
#include "http/server.h"

#include "base/num.h"
#include "loop/crypto.h"

enum { BODY_GRACE_MS = 10000, DISCARD_MAX = 64 << 10, DISCARD_MS = 2000, BLOCK_SMALL = 16 << 10 };

void request_reset(struct request *r)
{
    if (r->block.cap > BLOCK_SMALL)
        buf_free(&r->block);
    buf_clear(&r->block);
    arena_reset(&r->arena);
    r->head.field_count = 0;
    r->head.method = METHOD_GET; /* for the answer to what is no request at all */
    r->head.minor = 1;
    r->head.method_text = r->head.target = r->target.path = r->target.query = STR_NONE;
    r->target.authority = STR_NONE;
    r->body.done = true;
    r->expects_continue = r->continue_sent = false;
    r->id[0] = '\0';
}

void request_free(struct request *r)
{
    buf_free(&r->block);
    arena_free(&r->arena);
}

/* ---- identifiers ----------------------------------------------------------------------------------------
 */

/* xorshift128+, seeded by the kernel: unpredictable enough for a label, and no system call per request. */
static uint64_t random_next(void)
{
    static _Thread_local uint64_t state[2];
    if (!state[0] && !state[1])
        crypto_random(state, sizeof state);
    uint64_t x = state[0], y = state[1];
    state[0] = y;
    x ^= x << 23;
    state[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
    return state[1] + y;
}

static bool id_is_sane(struct str id)
{
    if (id.n == 0 || id.n > 64)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = char_lower(id.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static void id_choose(struct request *r)
{
    struct str given = head_value(&r->head, FIELD_X_REQUEST_ID);
    if (r->head.field_count && id_is_sane(given)) {
        str_to_c(given, r->id, sizeof r->id);
        return;
    }
    uint64_t random = random_next();
    memcpy(r->id, "req_", 4);
    num_to_hex((const uint8_t *)&random, 6, r->id + 4);
    r->id[16] = '\0';
}

/* ---- the head -------------------------------------------------------------------------------------------
 */

/* What a head that does not end within its limit is guilty of. */
static enum err head_too_large(const struct inflow *in, const struct head_limits *limits, struct error *error)
{
    bool has_line = str_find(str_make(in->p, in->n), '\n') < in->n;
    if (!has_line && in->n > limits->target)
        return error_set(error, ERR_TARGET_TOO_LONG, "the request line is longer than %zu bytes",
                         limits->target);
    return error_set(error, ERR_FIELDS_TOO_LARGE, "the request head is larger than %zu bytes", limits->head);
}

static enum err head_wait(struct task *t, struct conn *c, struct request *r, size_t *length,
                          struct error *error)
{
    const struct server_settings *settings = &c->server->settings;
    uint64_t deadline = clock_after(r->started, settings->head_timeout_ms);
    size_t scanned = 0;
    for (;;) {
        *length = head_find_end(str_make(c->in.p, c->in.n), &scanned);
        if (LIKELY(*length))
            return OK;
        if (!head_may_be_request(str_make(c->in.p, c->in.n)))
            return error_set(error, ERR_HTTP_SYNTAX, "this is not an HTTP/1 request");
        if (c->in.n > settings->limits.head + 64)
            return head_too_large(&c->in, &settings->limits, error);
        TRY(inflow_settle(&c->in));
        enum err err = inflow_fill(t, &c->in, settings->limits.head, deadline);
        if (err == ERR_TIMEOUT)
            return error_set(error, ERR_REQUEST_TIMEOUT, "the request head did not arrive within %llu s",
                             (unsigned long long)(settings->head_timeout_ms / 1000));
        TRY(err);
    }
}

static enum err check_expectation(struct request *r, struct error *error)
{
    struct field *expect = head_field(&r->head, FIELD_EXPECT);
    if (!expect || r->head.minor == 0)
        return OK;
    if (!str_eq_nocase(expect->value, STR("100-continue")) ||
        head_next(&r->head, FIELD_EXPECT, r->head.first[FIELD_EXPECT] - 1) >= 0)
        return error_set(error, ERR_EXPECTATION_FAILED, "%s", "");
    r->expects_continue = !r->body.done;
    return OK;
}

static enum err head_check(struct conn *c, struct request *r, struct error *error)
{
    struct framing framing;
    TRY(head_mark_hops(&r->head, true, error));
    TRY(framing_of_request(&r->head, c->server->settings.body_max, &framing, error));
    TRY(target_parse(&r->arena, r->head.method, r->head.target, head_value(&r->head, FIELD_HOST), &r->target,
                     error));
    body_begin(&r->body, framing, false);
    return check_expectation(r, error);
}

/* Whether the connection may carry another request after this one. */
static bool conn_may_go_on(const struct conn *c)
{
    const struct server_settings *settings = &c->server->settings;
    if (c->server->draining || c->request_count >= settings->keepalive_requests)
        return false;
    return !settings->connection_age_ms ||
           c->server->loop->now < clock_after(c->opened, settings->connection_age_ms);
}

enum err request_read(struct task *t, struct conn *c, struct request *r, struct error *error)
{
    size_t length = 0;
    request_reset(r);
    r->started = task_now(t);
    error->why[0] = '\0';
    enum err err = head_wait(t, c, r, &length, error);
    if (err == OK) {
        buf_add(&r->block, c->in.p, length);
        inflow_consume(&c->in, length);
        err = buf_err(&r->block);
    }
    if (err == OK)
        err = head_parse_request(buf_str(&r->block), &c->server->settings.limits, &r->head, error);
    if (err == OK)
        err = head_check(c, r, error);
    id_choose(r);
    error->err = err;
    if (err != OK) {
        c->keep = false; /* after an error nobody knows where the next request begins */
        c->linger = true;
        return err;
    }
    c->keep = head_keeps_alive(&r->head) && conn_may_go_on(c);
    return OK;
}

/* ---- the body -------------------------------------------------------------------------------------------
 */

enum err request_continue(struct task *t, struct conn *c, struct request *r)
{
    if (!r->expects_continue || r->continue_sent || r->body.begun)
        return OK;
    r->continue_sent = true;
    struct str interim = STR("HTTP/1.1 100 Continue\r\n\r\n");
    c->head_bytes += interim.n;
    return outflow_send(&c->out, interim);
}

/* A body must keep up a minimum rate once the grace is over. */
uint64_t request_body_deadline(const struct conn *c, const struct request *r, uint64_t since)
{
    uint64_t rate = c->server->settings.body_min_rate;
    if (!rate)
        return clock_after(c->server->loop->now, c->server->settings.stream_idle_ms);
    return clock_after(since, BODY_GRACE_MS + r->body.received / rate * 1000 + 1000);
}

enum err request_read_body(struct task *t, struct conn *c, struct request *r, struct buf *out,
                           struct error *error)
{
    uint64_t since = task_now(t);
    if (r->body.framing.kind == BODY_LENGTH && r->body.left > out->max)
        return error_set(error, ERR_BODY_TOO_LARGE, "the request body is larger than %zu bytes", out->max);
    TRY(request_continue(t, c, r));
    while (!r->body.done) {
        struct str piece;
        size_t used;
        if (c->in.n == 0) {
            enum err err = inflow_fill(t, &c->in, SCRATCH_SIZE, request_body_deadline(c, r, since));
            if (err == ERR_TIMEOUT)
                return error_set(error, ERR_REQUEST_TIMEOUT, "the request body came too slowly");
            if (err == ERR_END || err == ERR_RESET)
                return ERR_CANCELLED; /* it left in the middle */
            TRY(err);
        }
        if (body_next(&r->body, &c->in, &piece, &used, error) != OK)
            return error_set(error, ERR_HTTP_SYNTAX, "the request body's chunked framing is broken");
        buf_add_str(out, piece);
        inflow_consume(&c->in, used);
        if (buf_err(out) == ERR_LIMIT)
            return error_set(error, ERR_BODY_TOO_LARGE, "the request body is larger than %zu bytes",
                             out->max);
        TRY(buf_err(out));
    }
    return OK;
}

/* Drops what is at hand of the body; OK when it is over, ERR_AGAIN when more must come. */
static enum err discard_some(struct conn *c, struct request *r)
{
    struct error ignored;
    while (!r->body.done && c->in.n) {
        struct str piece;
        size_t used;
        TRY(body_next(&r->body, &c->in, &piece, &used, &ignored));
        inflow_consume(&c->in, used);
    }
    return r->body.done ? OK : ERR_AGAIN;
}

void request_discard_body(struct task *t, struct conn *c, struct request *r)
{
    uint64_t deadline = task_deadline(t, DISCARD_MS);
    uint64_t start = r->body.received;
    if (r->body.done || !c->keep) {
        c->linger = c->linger || !r->body.done;
        return;
    }
    /* A client that still waits for our 100 will not send the body; and a long one is not worth reading. */
    bool hopeless = (r->expects_continue && !r->continue_sent) ||
                    (r->body.framing.kind == BODY_LENGTH && r->body.left > DISCARD_MAX);
    enum err err = hopeless ? ERR_LIMIT : discard_some(c, r);
    while (err == ERR_AGAIN && r->body.received - start <= DISCARD_MAX) {
        err = inflow_fill(t, &c->in, DISCARD_MAX, deadline);
        if (err == OK)
            err = discard_some(c, r);
    }
    if (!r->body.done) {
        c->keep = false;
        c->linger = true;
    }
}
