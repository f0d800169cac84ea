/* The heads of a completion: the request as the provider sees it, the response as the client sees it. */
#include "gateway/llm.h"

#include "base/num.h"

/* ---- to the provider ------------------------------------------------------------------------------------
 */

static const char *endpoint_path(enum llm_endpoint endpoint)
{
    switch (endpoint) {
    case LLM_COMPLETIONS:
        return "/completions";
    case LLM_EMBEDDINGS:
        return "/embeddings";
    default:
        return "/chat/completions";
    }
}

/* The client's credentials are its own, and what we write ourselves is not copied. */
static void drop_fields(struct head *h)
{
    static const bool stays_here[FIELD_COUNT] = {
        [FIELD_HOST] = true,
        [FIELD_AUTHORIZATION] = true,
        [FIELD_X_API_KEY] = true,
        [FIELD_COOKIE] = true,
        [FIELD_CONTENT_LENGTH] = true,
        [FIELD_ACCEPT_ENCODING] = true,
        [FIELD_EXPECT] = true,
        [FIELD_X_REQUEST_ID] = true,
        [FIELD_X_FORWARDED_FOR] = true,
        [FIELD_X_FORWARDED_HOST] = true,
        [FIELD_X_FORWARDED_PROTO] = true,
        [FIELD_FORWARDED] = true,
        [FIELD_X_FORWARDED_PREFIX] = true,
        [FIELD_X_REAL_IP] = true,
        [FIELD_ORIGIN] = true,
        [FIELD_VIA] = true,
    };
    for (struct field *f = h->fields; f < h->fields + h->field_count; f++)
        if (stays_here[f->id] || (f->id == FIELD_OTHER && (str_eq_nocase(f->name, STR("api-key")) ||
                                                           str_eq_nocase(f->name, STR("x-goog-api-key")))))
            f->hop = true;
}

/* What the configuration says stands above what the client said. */
static void drop_configured(struct head *h, const struct provider_config *p)
{
    for (int at = 0; p->header_count && at < h->field_count; at++)
        if (provider_sets_field(p, h->fields[at].name))
            h->fields[at].hop = true;
}

/* A model's name as one segment of a path. */
static enum err add_segment(struct llm_call *l, struct buf *out, struct str text)
{
    if (str_eq(text, STR(".")) || str_eq(text, STR(".."))) {
        error_set(&l->x->error, ERR_BAD_REQUEST, "no deployment can have this name");
        l->x->error.param = "model";
        return ERR_BAD_REQUEST;
    }
    percent_encode(out, text);
    return OK;
}

static enum err add_target(struct llm_call *l, struct buf *out, const struct url *url)
{
    const struct provider_config *p = provider_config_of(l->provider);
    bool has_deployments = provider_has_deployments(p, url->prefix);
    provider_add_base(out, p, url->prefix);
    if (has_deployments) {
        buf_add_c(out, "/deployments/");
        TRY(add_segment(l, out, l->sent_model));
    }
    buf_add_c(out, endpoint_path(l->x->route.api->llm));
    if (has_deployments) {
        buf_add_c(out, "?api-version=");
        buf_add_str(out, p->api_version);
    }
    return OK;
}

enum err llm_forward_request(struct llm_call *l, const struct url *url, struct llm_parts *parts)
{
    struct exchange *x = l->x;
    const struct provider_config *p = provider_config_of(l->provider);
    bool add_usage =
        p->stream_usage && l->body.stream && !l->body.include_usage && x->route.api->llm != LLM_EMBEDDINGS;
    struct buf *out = &x->head;
    l->events.drop_usage = add_usage;
    TRY(llm_body_splice(&x->request.arena, &l->body, l->sent_model, add_usage, parts));
    buf_clear(out);
    buf_add_c(out, "POST ");
    TRY(add_target(l, out, url));
    buf_add_c(out, " HTTP/1.1\r\n");
    head_add(out, STR("Host"), url->host_field);
    drop_fields(&x->request.head);
    drop_configured(&x->request.head, p);
    head_copy_fields(out, &x->request.head);
    provider_add_credentials(out, p);
    buf_add_c(out, "Accept-Encoding: identity\r\nContent-Length: ");
    buf_add_u64(out, parts->total);
    buf_add_c(out, "\r\n");
    head_add(out, STR("X-Request-ID"), str_from_c(x->request.id));
    buf_add_c(out, "\r\n");
    return buf_err(out);
}

/* ---- to the client --------------------------------------------------------------------------------------
 */

static void add_count(struct buf *out, struct str before, uint64_t n)
{
    buf_add_str(out, before);
    buf_add_u64(out, n);
}

void llm_add_fields(const struct llm_call *l, struct buf *out)
{
    struct exchange *x = l->x;
    exchange_take_overhead(x, l->queued_ns);
    uint64_t overhead = x->overhead_ns;
    if (l->provider) {
        head_add(out, STR("X-Hestia-Provider"), provider_config_of(l->provider)->name);
        head_add(out, STR("X-Hestia-Model"), l->sent_model);
    } else if (l->failure_count) {
        head_add(out, STR("X-Hestia-Provider"), l->failures[l->failure_count - 1].provider);
    }
    add_count(out, STR("X-Hestia-Attempts: "), (uint64_t)x->attempts);
    add_count(out, STR("\r\nX-Hestia-Queue-Ms: "), l->queued_ns / CLOCK_MS);
    add_count(out, STR("\r\nX-Hestia-Overhead-Ms: "), overhead / CLOCK_MS);
    char thousandths[] = {'.',
                          (char)('0' + overhead / 100000 % 10),
                          (char)('0' + overhead / 10000 % 10),
                          (char)('0' + overhead / 1000 % 10),
                          '\r',
                          '\n'};
    buf_add(out, thousandths, sizeof thousandths);
    llm_account_fields(l, out);
}

enum err llm_forward_response(struct llm_call *l, struct head *response)
{
    struct exchange *x = l->x;
    struct str coding = head_value(response, FIELD_CONTENT_ENCODING);
    l->is_readable = !coding.n || str_eq_nocase(coding, STR("identity"));
    l->is_stream = l->is_readable &&
                   str_starts_nocase(head_value(response, FIELD_CONTENT_TYPE), STR("text/event-stream"));
    /* A plain answer of known length passes as it is; what is cut or may be changed is framed anew. */
    x->reframe = l->is_stream || (l->is_readable && response->first[FIELD_TRANSFER_ENCODING]);
    x->relay.tap = NULL;
    TRY(forward_response_head(x, response));
    buf_truncate(&x->head, x->head.n - 2); /* before the empty line */
    llm_add_fields(l, &x->head);
    buf_add_c(&x->head, "\r\n");
    return buf_err(&x->head);
}

struct str llm_error_fields(struct llm_call *l, struct head *response)
{
    static const uint16_t ids[] = {FIELD_CONTENT_LENGTH, FIELD_CONTENT_TYPE, FIELD_DATE, FIELD_RETRY_AFTER,
                                   FIELD_LOCATION};
    struct buf lines = BUF(64 << 10);
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        head_drop(response, ids[i]);
    head_copy_fields(&lines, response);
    struct str masked = buf_err(&lines) == OK ? llm_mask(l, buf_str(&lines)) : STR_NONE;
    buf_free(&lines);
    return masked;
}

/* How much of `text` is the key, written plainly or with JSON's escapes; 0: it does not begin with it. */
static size_t key_length_at(struct str text, struct str key)
{
    size_t at = 0;
    for (size_t i = 0; i < key.n; i++) {
        unsigned code = 0;
        struct str rest = str_from(text, at);
        if (rest.n >= 2 && rest.p[0] == '\\' && rest.p[1] == key.p[i]) {
            at += 2;
            continue;
        }
        for (size_t d = 2; rest.n >= 6 && rest.p[0] == '\\' && rest.p[1] == 'u' && d < 6; d++)
            code = code << 4 | (unsigned)(num_hex_digit(rest.p[d]) & 15);
        if (code == (unsigned char)key.p[i] && code)
            at += 6;
        else if (rest.n && rest.p[0] == key.p[i])
            at++;
        else
            return 0;
    }
    return at;
}

struct str llm_mask(struct llm_call *l, struct str text)
{
    struct str key = provider_config_of(l->provider)->api_key;
    struct buf masked = BUF(LLM_ERROR_BODY_MAX * 2);
    if (key.n < 4)
        return arena_str(&l->x->request.arena, text);
    for (size_t i = 0; i < text.n;) {
        size_t n = text.p[i] == key.p[0] || text.p[i] == '\\' ? key_length_at(str_from(text, i), key) : 0;
        if (n)
            buf_add_c(&masked, "***");
        else
            buf_add_char(&masked, text.p[i]);
        i += n ? n : 1;
    }
    struct str result = arena_str(&l->x->request.arena, buf_str(&masked));
    buf_free(&masked);
    return result;
}
