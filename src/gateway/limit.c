/*
 * What one client address may do (http.md sections 3.7, 6 and 7): asks the table of peers, and says so in the
 * log and in the metrics. Worker threads. A connection of an exempt address (this machine's own, a trusted
 * proxy's) is counted nowhere and has no limit.
 */
#include "gateway/exchange.h"

static void count(struct worker *w, const char *reason)
{
    metric_add(w->metrics, METRIC_CLIENTS_LIMITED, LABELS(worker_label(w, reason)), 1);
}

/* Once for each address and penalty: whoever sends floods does not fill the log as well. */
static void log_limited(const struct address *address, const char *reason, const char *what)
{
    struct log_line l;
    char text[128];
    struct str ip = address_format(address, false, text, sizeof text);
    if (!log_begin(&l, LOG_WARNING, "client_limited", "Client %.*s: %s", STR_ARG(ip), what))
        return;
    json_key_str(&l.json, "client_ip", ip);
    json_key_c(&l.json, "reason", reason);
    log_end(&l);
}

static const struct {
    const char *reason, *what;
} refusals[] = {
    [PEER_TOO_MANY] = {"connections", "too many connections; further ones are closed"},
    [PEER_TOO_FAST] = {"connection_rate", "new connections come too fast; some are closed"},
    [PEER_BANNED] = {"errors", "too many malformed requests; new connections are closed for 60 s"},
};
static const char auth_reason[] = "auth_failures";

bool limit_admit(struct server *s, const struct address *address, struct peer **counted)
{
    struct worker *w = s->owner;
    const struct snapshot *snapshot = w->held->shared;
    if (address_is_loopback(address) || snapshot_trusts(snapshot, address))
        return true;
    struct peer_admission admission =
        peers_admit(w->gateway->peers, address, &snapshot->peer_limits, loop_now(s->loop));
    *counted = admission.peer;
    if (admission.verdict == PEER_WELCOME)
        return true;
    count(w, refusals[admission.verdict].reason);
    if (admission.first)
        log_limited(address, refusals[admission.verdict].reason, refusals[admission.verdict].what);
    return false;
}

void limit_syntax_error(struct exchange *x)
{
    struct conn *c = x->conn;
    if (c->counted && peer_erred(c->counted, &x->snapshot->peer_limits, loop_now(x->worker->loop)))
        log_limited(&c->peer, refusals[PEER_BANNED].reason, refusals[PEER_BANNED].what);
}

enum err limit_auth(struct exchange *x)
{
    struct conn *c = x->conn;
    uint64_t wait =
        c->counted ? peer_auth_wait(c->counted, &x->snapshot->peer_limits, loop_now(x->worker->loop)) : 0;
    if (!wait)
        return OK;
    count(x->worker, auth_reason);
    x->retry_after = (int)((wait + CLOCK_S - 1) / CLOCK_S);
    return error_set(&x->error, ERR_RATE_LIMIT, "too many wrong API keys came from this address");
}

enum err limit_auth_failed(struct exchange *x)
{
    struct conn *c = x->conn;
    if (c->counted && peer_auth_failed(c->counted, &x->snapshot->peer_limits, loop_now(x->worker->loop)))
        log_limited(&c->peer, auth_reason, "too many wrong API keys; none is looked at for 60 s");
    return limit_auth(x);
}
