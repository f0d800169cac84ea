/* The heads that go out: the request as the upstream sees it, the response as the client sees it
 * (http.md 3.3). */
#include "base/num.h"
#include "gateway/exchange.h"
#include "http/websocket.h"

/* ---- before anything is sent ----------------------------------------------------------------------------
 */

/* "1.1 hestia", "HTTP/1.1\thestia (a comment)": who received it (RFC 9110 7.6.3). */
static bool via_is_ours(struct str element)
{
    size_t at = 0;
    while (at < element.n && element.p[at] != ' ' && element.p[at] != '\t')
        at++;
    struct str by = str_trim(str_from(element, at));
    at = 0;
    while (at < by.n && by.p[at] != ' ' && by.p[at] != '\t' && by.p[at] != '(')
        at++;
    return str_eq_nocase(str_first(by, at), STR("hestia"));
}

/* Our own pseudonym in Via, twice: the request runs in a circle. */
static bool is_loop(const struct head *h)
{
    int seen = 0;
    for (int i = h->first[FIELD_VIA] - 1; i >= 0; i = head_next(h, FIELD_VIA, i)) {
        struct str rest = h->fields[i].value, element;
        while (str_next_element(&rest, &element))
            seen += via_is_ours(element);
    }
    return seen >= 2;
}

static void add_line(struct buf *out, struct str name, struct str value)
{
    buf_add_str(out, name);
    buf_add(out, ": ", 2);
    buf_add_str(out, value);
    buf_add(out, "\r\n", 2);
}

static bool is_dropped(struct head *h, enum field_id id)
{
    const struct field *field = head_field(h, id);
    return field && field->hop;
}

/* One hop less (RFC 9110 7.6.2); 0 was answered here. */
static void count_hop(struct exchange *x)
{
    uint64_t hops;
    struct head *h = &x->request.head;
    if (!num_parse_u64(head_value(h, FIELD_MAX_FORWARDS), &hops) || !hops)
        return;
    head_drop(h, FIELD_MAX_FORWARDS);
    x->hops_left = (int64_t)MIN(hops - 1, (uint64_t)INT64_MAX);
}

enum err forward_check(struct exchange *x)
{
    struct head *h = &x->request.head;
    if (is_loop(h))
        return error_set(
            &x->error, ERR_LOOP,
            "the request passed through this gateway twice: does the service's URL point at the gateway?");
    if (h->first[FIELD_UPGRADE] && websocket_wanted(h)) {
        TRY(websocket_check_request(h, &x->error));
        x->websocket = true;
        x->websocket_key = head_value(h, FIELD_SEC_WEBSOCKET_KEY);
    }
    x->via_named = is_dropped(h, FIELD_VIA);
    x->hops_left = -1;
    if (h->method == METHOD_OPTIONS && h->first[FIELD_MAX_FORWARDS])
        count_hop(x);
    return OK;
}

/* ---- the request ----------------------------------------------------------------------------------------
 */

static void drop_what_we_write(struct head *h)
{
    static const uint16_t ids[] = {
        FIELD_HOST,   FIELD_VIA,          FIELD_X_FORWARDED_FOR,  FIELD_X_FORWARDED_PROTO,
        FIELD_EXPECT, FIELD_X_REQUEST_ID, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PREFIX};
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        if (h->first[ids[i]])
            head_drop(h, ids[i]);
}

/* "earlier, peer" from a trusted proxy, else the peer alone. */
static void add_forwarded(struct exchange *x, struct buf *out)
{
    struct head *h = &x->request.head;
    bool trusted = snapshot_trusts(x->snapshot, &x->conn->peer);
    struct str before = trusted ? head_value(h, FIELD_X_FORWARDED_FOR) : STR_NONE;
    struct str proto = trusted ? head_value(h, FIELD_X_FORWARDED_PROTO) : STR_NONE;
    struct str host = trusted ? head_value(h, FIELD_X_FORWARDED_HOST) : STR_NONE;
    buf_add_c(out, "X-Forwarded-For: ");
    if (before.n) {
        buf_add_str(out, before);
        buf_add_c(out, ", ");
    }
    buf_add_str(out, conn_peer(x->conn));
    buf_add_c(out, "\r\nX-Forwarded-Proto: ");
    buf_add_str(out, proto.n ? proto : x->conn->sock.tls ? STR("https") : STR("http"));
    buf_add_c(out, "\r\n");
    host = host.n ? host : head_value(h, FIELD_HOST);
    if (host.n)
        add_line(out, STR("X-Forwarded-Host"), host);
    if (x->route.mounted) {
        buf_add_c(out, "X-Forwarded-Prefix: /services/");
        buf_add_str(out, x->route.service->config->id);
        buf_add_c(out, "\r\n");
    }
}

/* Via of the message so far, with ourselves behind; only ourselves where Connection has named it. */
static void add_via(struct buf *out, const struct head *h, bool named)
{
    buf_add_c(out, "Via: ");
    for (int i = named ? -1 : h->first[FIELD_VIA] - 1; i >= 0; i = head_next(h, FIELD_VIA, i)) {
        buf_add_str(out, h->fields[i].value);
        buf_add_c(out, ", ");
    }
    buf_add_c(out, "1.1 hestia\r\n");
}

static bool wants_trailers(const struct head *request)
{
    return request->minor >= 1 && head_has_element(request, FIELD_TE, STR("trailers"));
}

static void add_request_framing(struct exchange *x, struct buf *out)
{
    const struct head *h = &x->request.head;
    if (x->request.body.framing.kind == BODY_CHUNKED)
        buf_add_c(out, "Transfer-Encoding: chunked\r\n");
    else if (!h->first[FIELD_CONTENT_LENGTH] &&
             (h->method == METHOD_POST || h->method == METHOD_PUT || h->method == METHOD_PATCH))
        buf_add_c(out, "Content-Length: 0\r\n");
    if (x->websocket)
        buf_add_c(out, "Connection: upgrade\r\nUpgrade: websocket\r\n");
    else if (wants_trailers(h))
        buf_add_c(out, "Connection: TE\r\nTE: trailers\r\n");
}

/* Services reached by name see the name they are known by; under /services they see their own. */
static struct str host_to_send(struct exchange *x, const struct url *url)
{
    struct str own = head_value(&x->request.head, FIELD_HOST);
    if (!own.n)
        own = x->request.target.authority; /* HTTP/1.0 in absolute form */
    return x->route.mounted || x->on_fallback || own.n == 0 ? url->host_field : own;
}

enum err forward_request_head(struct exchange *x, const struct url *url)
{
    struct request *r = &x->request;
    struct buf *out = &x->head;
    buf_clear(out);
    buf_add_str(out, r->head.method_text);
    buf_add_char(out, ' ');
    buf_add_str(out, url->prefix);
    buf_add_str(out, x->route.path);
    if (r->target.has_query) {
        buf_add_char(out, '?');
        buf_add_str(out, r->target.query);
    }
    buf_add_c(out, " HTTP/1.1\r\n");
    add_line(out, STR("Host"), host_to_send(x, url));
    drop_what_we_write(&r->head);
    head_copy_fields(out, &r->head);
    add_forwarded(x, out);
    add_via(out, &r->head, x->via_named);
    if (x->hops_left >= 0) {
        buf_add_c(out, "Max-Forwards: ");
        buf_add_u64(out, (uint64_t)x->hops_left);
        buf_add_c(out, "\r\n");
    }
    add_line(out, STR("X-Request-ID"), str_from_c(r->id));
    add_request_framing(x, out);
    buf_add_c(out, "\r\n");
    return buf_err(out);
}

/* ---- the response ---------------------------------------------------------------------------------------
 */

/* How the body will be framed towards this client, and what that means for the connection. */
static enum err choose_framing(struct exchange *x, struct head *response, struct framing *framing)
{
    struct relay *r = &x->relay;
    bool old_client = x->request.head.minor == 0;
    TRY(framing_of_response(response, x->request.head.method, framing, &x->error));
    r->emit = EMIT_AS_IS;
    bool rewritten = x->reframe && framing->kind != BODY_NONE;
    if (framing->kind == BODY_NONE) {
        r->emit = EMIT_NOTHING;
    } else if (rewritten) {
        head_drop(response, FIELD_CONTENT_LENGTH);
        r->emit = old_client ? EMIT_AS_IS : EMIT_CHUNKED;
        x->conn->keep = x->conn->keep && !old_client;
    } else if (framing->kind != BODY_LENGTH && old_client) {
        x->conn->keep = false; /* HTTP/1.0 knows only the end of the connection */
    } else if (framing->kind == BODY_UNTIL_CLOSE) {
        r->emit = EMIT_CHUNKED;
    }
    body_begin(&r->body, *framing, framing->kind == BODY_CHUNKED && !old_client && !rewritten);
    r->body.chunked.keep_trailers = response->first[FIELD_TRAILER] && wants_trailers(&x->request.head);
    return OK;
}

static void add_response_framing(struct exchange *x, const struct framing *framing, struct buf *out)
{
    bool chunked =
        x->request.head.minor >= 1 && (framing->kind == BODY_CHUNKED || x->relay.emit == EMIT_CHUNKED);
    if (chunked)
        buf_add_c(out, "Transfer-Encoding: chunked\r\n");
    if (!x->request.body.done || x->conn->server->draining)
        x->conn->keep = x->conn->keep && x->request.body.framing.kind == BODY_LENGTH &&
                        x->request.body.left <= REPLAY_MAX && !x->conn->server->draining;
    if (!x->conn->keep)
        buf_add_c(out, "Connection: close\r\n");
    else if (x->request.head.minor == 0)
        buf_add_c(out, "Connection: keep-alive\r\n");
}

static void add_location(struct exchange *x, struct head *response, struct buf *out)
{
    struct field *location = head_field(response, FIELD_LOCATION);
    if (!location || !x->route.mounted || location->hop)
        return;
    struct str mount =
        arena_printf(&x->request.arena, "/services/%.*s", STR_ARG(x->route.service->config->id));
    struct str value = url_rewrite_location(&x->request.arena, x->place.url, mount, location->value);
    if (value.p == location->value.p)
        return;
    location->hop = true;
    head_add(out, STR("Location"), value);
}

/* What only we may say of ourselves. */
static void drop_ours(struct head *response)
{
    for (int i = 0; i < response->field_count; i++)
        if (str_starts_nocase(response->fields[i].name, STR("X-Hestia-")))
            response->fields[i].hop = true;
}

static enum err switch_protocols(struct exchange *x, struct head *response, struct buf *out)
{
    TRY(websocket_check_response(response, x->websocket_key, &x->error));
    buf_add_c(out, "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    body_begin(&x->relay.body, (struct framing){BODY_NONE, 0}, false);
    x->relay.emit = EMIT_NOTHING;
    return buf_err(out);
}

enum err forward_response_head(struct exchange *x, struct head *response)
{
    struct buf *out = &x->head;
    struct framing framing = {0};
    struct field *upstream_id = head_field(response, FIELD_X_REQUEST_ID);
    TRY(head_mark_hops(response, false, &x->error));
    bool switched = response->status == 101;
    if (!switched)
        TRY(choose_framing(x, response, &framing));
    if (response->status == 204 || switched)
        head_drop(response, FIELD_CONTENT_LENGTH);
    drop_ours(response);
    bool via_named = is_dropped(response, FIELD_VIA);
    head_drop(response, FIELD_VIA);
    head_drop(response, FIELD_X_REQUEST_ID);
    x->relay.is_event_stream =
        str_starts_nocase(head_value(response, FIELD_CONTENT_TYPE), STR("text/event-stream"));
    buf_clear(out);
    buf_add_c(out, "HTTP/1.1 ");
    buf_add_u64(out, (uint64_t)response->status);
    buf_add_char(out, ' ');
    buf_add_str(out, response->reason);
    buf_add_c(out, "\r\n");
    add_location(x, response, out);
    head_copy_fields(out, response);
    add_via(out, response, via_named);
    add_line(out, STR("X-Request-ID"), str_from_c(x->request.id));
    if (upstream_id)
        head_add(out, STR("X-Upstream-Request-ID"), upstream_id->value);
    if (switched)
        return switch_protocols(x, response, out);
    add_response_framing(x, &framing, out);
    buf_add_c(out, "\r\n");
    return buf_err(out);
}
