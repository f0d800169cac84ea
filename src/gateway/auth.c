/*
 * Who may call (details.md section 7): operators' keys for services and management, clients' keys for the LLM
 * routes, admin keys for /admin/v1. Runs in the exchange's task; never suspends.
 */
#include "gateway/exchange.h"
#include "loop/crypto.h"

/* Whose a key is. */
enum holder_kind { HOLDER_UNKNOWN, HOLDER_OPERATOR, HOLDER_ADMIN, HOLDER_CLIENT };

struct holder {
    enum holder_kind kind;
    const void *of; /* struct api_key, struct book_client */
};

/* "Bearer x" -> x; anything else is a credential of another scheme and not ours. */
static struct str bearer_token(struct str value)
{
    if (!str_starts_nocase(value, STR("Bearer ")))
        return STR_NONE;
    return str_trim(str_from(value, 7));
}

/* ---- whose key it is ------------------------------------------------------------------------------------
 */

/* All keys are compared, whatever matches, in constant time. */
static const struct api_key *key_find(const struct api_key *keys, size_t count,
                                      const uint8_t hash[SHA256_SIZE])
{
    const struct api_key *found = NULL;
    for (size_t i = 0; i < count; i++)
        if (crypto_equal(keys[i].sha256, hash, SHA256_SIZE))
            found = &keys[i];
    return found;
}

static struct holder holder_find(const struct snapshot *s, struct str token)
{
    const struct auth_config *auth = &s->config->auth;
    const struct api_key *key;
    uint8_t hash[SHA256_SIZE];
    const struct book_client *client = book_client_by_key(s->book, token);
    if (client)
        return (struct holder){HOLDER_CLIENT, client};
    crypto_sha256(token, hash);
    if ((key = key_find(auth->admin_keys, auth->admin_key_count, hash)))
        return (struct holder){HOLDER_ADMIN, key};
    if ((key = key_find(auth->api_keys, auth->api_key_count, hash)))
        return (struct holder){HOLDER_OPERATOR, key};
    return (struct holder){HOLDER_UNKNOWN, NULL};
}

/* A kept-alive connection brings the same key again and again: looked up once for each snapshot. */
static bool holder_remembered(const struct exchange *x, struct str token, struct holder *holder)
{
    const struct conn *c = x->conn;
    if (c->credential.epoch != x->snapshot->epoch || c->credential.length != token.n ||
        !crypto_equal(c->credential.text, token.p, token.n))
        return false;
    *holder = (struct holder){(enum holder_kind)c->credential.kind, c->credential.holder};
    return true;
}

static void holder_remember(struct exchange *x, struct str token, const struct holder *holder)
{
    struct conn *c = x->conn;
    if (token.n > sizeof c->credential.text)
        return;
    c->credential.epoch = x->snapshot->epoch;
    c->credential.length = (uint16_t)token.n;
    c->credential.kind = (uint8_t)holder->kind;
    c->credential.holder = holder->of;
    memcpy(c->credential.text, token.p, token.n);
}

/* ERR_RATE_LIMIT: this address has brought too many wrong ones, and none is looked at. */
static enum err holder_of(struct exchange *x, struct str token, struct holder *holder)
{
    *holder = (struct holder){HOLDER_UNKNOWN, NULL};
    if (!token.n || holder_remembered(x, token, holder))
        return OK;
    TRY(limit_auth(x));
    *holder = holder_find(x->snapshot, token);
    if (holder->kind != HOLDER_UNKNOWN)
        holder_remember(x, token, holder);
    return OK;
}

/* ---- what a route asks for ------------------------------------------------------------------------------
 */

static enum api_access access_of(const struct exchange *x)
{
    if (x->route.kind == ROUTE_OPTIONS)
        return ACCESS_OPEN;
    return x->route.api ? x->route.api->access : ACCESS_KEY;
}

static bool needs_key(const struct exchange *x, enum api_access access)
{
    const struct snapshot *s = x->snapshot;
    switch (access) {
    case ACCESS_OPEN:
        return false;
    case ACCESS_METRICS:
        return !s->config->auth.public_metrics && s->needs_key;
    case ACCESS_LLM:
        return s->llm_needs_key;
    default:
        return s->needs_key;
    }
}

/* A key that is known, but not for this. */
static bool is_allowed(const struct exchange *x, enum api_access access, enum holder_kind kind)
{
    if (access == ACCESS_LLM)
        return true;
    if (access == ACCESS_ADMIN && x->snapshot->config->auth.admin_key_count)
        return kind == HOLDER_ADMIN;
    return kind != HOLDER_CLIENT;
}

/* auth.anonymous serves who brings no key, or one that was never meant to be ours ("dummy"). */
static bool is_anonymous(const struct exchange *x, enum api_access access, struct str token)
{
    return access == ACCESS_LLM && book_anonymous(x->snapshot->book) && !book_key_is_ours(token);
}

/* ---- saying so ------------------------------------------------------------------------------------------
 */

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
    if (good)
        json_key_str(&l.json, "actor", x->actor);
    log_end(&l);
}

/* Whoever set up clients alone has no key for the rest, and learns here which one is missing. */
static const char *keys_wanted(const struct exchange *x, enum api_access access)
{
    const struct auth_config *auth = &x->snapshot->config->auth;
    if (access == ACCESS_LLM)
        return "";
    if (access == ACCESS_ADMIN && auth->admin_key_count)
        return "one of auth.admin_keys as ";
    if (auth->api_key_count + auth->admin_key_count)
        return "";
    return access == ACCESS_ADMIN ? "one of auth.admin_keys (the configuration has none) as "
                                  : "one of auth.api_keys (the configuration has none) as ";
}

static enum err refuse(struct exchange *x, enum api_access access, bool presented)
{
    log_outcome(x, false, presented);
    if (presented)
        TRY(limit_auth_failed(x));
    return error_set(&x->error, ERR_INVALID_API_KEY, "%s; send %sX-API-Key or Authorization: Bearer",
                     presented ? "this API key is not known" : "an API key is required",
                     keys_wanted(x, access));
}

static enum err holder_admit(struct exchange *x, enum api_access access, const struct holder *holder,
                             const struct field *carrier)
{
    if (!is_allowed(x, access, holder->kind))
        return error_set(&x->error, ERR_PERMISSION,
                         holder->kind == HOLDER_CLIENT
                             ? "a client's key is for the LLM routes; this one wants an operator's"
                             : "this route wants one of auth.admin_keys");
    if (holder->kind == HOLDER_CLIENT) {
        x->client = holder->of;
        x->strategy = x->client->strategy;
        x->actor = x->client->config.id;
    } else {
        x->strategy = x->snapshot->operators_strategy;
        x->actor = ((const struct api_key *)holder->of)->name;
    }
    log_outcome(x, true, true);
    /* Our credential is ours: the upstream never sees it, nor what else stands in a field of that name. */
    head_drop(&x->request.head, (enum field_id)carrier->id);
    return OK;
}

enum err auth_require(struct exchange *x)
{
    enum api_access access = access_of(x);
    struct field *key = head_field(&x->request.head, FIELD_X_API_KEY);
    struct field *authorization = head_field(&x->request.head, FIELD_AUTHORIZATION);
    struct str token = key ? key->value : STR_NONE;
    struct field *carrier = key;
    struct holder holder = {HOLDER_UNKNOWN, NULL};
    x->actor = STR("anonymous");
    x->strategy = x->snapshot->open_strategy;
    if (!needs_key(x, access))
        return OK;
    TRY(holder_of(x, token, &holder));
    if (holder.kind == HOLDER_UNKNOWN && authorization) {
        carrier = authorization;
        token = bearer_token(authorization->value);
        TRY(holder_of(x, token, &holder));
    }
    if (holder.kind != HOLDER_UNKNOWN)
        return holder_admit(x, access, &holder, carrier);
    if (is_anonymous(x, access, token))
        return OK;
    return refuse(x, access, key || authorization);
}
