/* Who may call: operators' keys (details.md section 7). Runs in the exchange's task; never suspends. */
#include "gateway/exchange.h"
#include "loop/crypto.h"

/* "Bearer x" -> x; anything else is a credential of another scheme and not ours. */
static struct str bearer_token(struct str value)
{
    if (!str_starts_nocase(value, STR("Bearer ")))
        return STR_NONE;
    return str_trim(str_from(value, 7));
}

/* All keys are compared, whatever matches, in constant time. */
static bool key_is_known(const struct auth_config *auth, const uint8_t hash[SHA256_SIZE])
{
    bool known = false;
    for (size_t i = 0; i < auth->api_key_count; i++)
        known |= crypto_equal(auth->api_keys[i].sha256, hash, SHA256_SIZE);
    for (size_t i = 0; i < auth->admin_key_count; i++)
        known |= crypto_equal(auth->admin_keys[i].sha256, hash, SHA256_SIZE);
    return known;
}

/* A kept-alive connection brings the same key again and again: hash it once for each configuration. */
static enum err token_check(struct exchange *x, struct str token)
{
    struct conn *c = x->conn;
    uint8_t hash[SHA256_SIZE];
    if (token.n && c->credential.epoch == x->snapshot->epoch && c->credential.length == token.n &&
        crypto_equal(c->credential.text, token.p, token.n))
        return OK;
    TRY(limit_auth(x));
    if (token.n == 0)
        return ERR_INVALID_API_KEY;
    crypto_sha256(token, hash);
    if (!key_is_known(&x->snapshot->config->auth, hash))
        return ERR_INVALID_API_KEY;
    if (token.n <= sizeof c->credential.text) {
        c->credential.epoch = x->snapshot->epoch;
        c->credential.length = (uint16_t)token.n;
        memcpy(c->credential.text, token.p, token.n);
    }
    return OK;
}

static void log_outcome(struct exchange *x, bool good, bool presented)
{
    struct log_line l;
    enum log_level level = good ? LOG_DEBUG : LOG_WARNING;
    if (!good)
        metric_add(x->worker->metrics, METRIC_AUTH_FAILURES,
                   LABELS(worker_label(x->worker, presented ? "wrong_key" : "no_key")), 1);
    if (!log_begin(&l, level, good ? "auth_success" : "auth_failure", "%s",
                   good        ? "API key accepted"
                   : presented ? "Unknown API key"
                               : "No API key"))
        return;
    json_key_c(&l.json, "request_id", x->request.id);
    json_key_str(&l.json, "path", str_first(x->request.target.path, 2048));
    log_end(&l);
}

static bool is_open(const struct exchange *x)
{
    if (x->route.kind != ROUTE_API)
        return x->route.kind == ROUTE_OPTIONS;
    if (x->route.api->access == ACCESS_METRICS)
        return x->snapshot->config->auth.public_metrics;
    return x->route.api->access == ACCESS_OPEN;
}

/* Our credential is ours: the upstream never sees it, nor what else stands in a field of that name. */
static void drop_all(struct head *h, enum field_id id)
{
    for (int i = h->first[id] - 1; i >= 0; i = head_next(h, id, i))
        h->fields[i].hop = true;
}

enum err auth_require(struct exchange *x)
{
    struct field *key = head_field(&x->request.head, FIELD_X_API_KEY);
    struct field *authorization = head_field(&x->request.head, FIELD_AUTHORIZATION);
    if (!snapshot_needs_key(x->snapshot) || is_open(x))
        return OK;
    struct field *carrier = key;
    enum err err = key ? token_check(x, key->value) : ERR_INVALID_API_KEY;
    if (err != OK && authorization) {
        carrier = authorization;
        err = token_check(x, bearer_token(authorization->value));
    }
    if (err == ERR_RATE_LIMIT)
        return err;
    log_outcome(x, err == OK, key || authorization);
    if (err == OK) {
        drop_all(&x->request.head, (enum field_id)carrier->id);
        return OK;
    }
    if (key || authorization)
        TRY(limit_auth_failed(x));
    return error_set(&x->error, ERR_INVALID_API_KEY, "%s; send X-API-Key or Authorization: Bearer",
                     key || authorization ? "this API key is not known" : "an API key is required");
}
