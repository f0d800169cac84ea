/*
 * The account of a completion (details.md section 10): what it may use is reserved in the strategy's limits,
 * what it uses is in the ledger before the client sees it, and at the end both are settled with what the
 * upstream counted. Runs in the exchange's task; never suspends.
 */
#include "gateway/llm.h"

static const struct llm_usage *usage_of(const struct llm_call *l)
{
    return l->is_stream ? &l->events.usage : &l->usage.usage;
}

/* ---- admission ------------------------------------------------------------------------------------------
 */

/* "openai/gpt-4o" of a provider is priced as its "gpt-4o". */
static int64_t cost_at(const struct llm_call *l, struct str provider, struct str model,
                       const struct amounts *tokens)
{
    struct price price = prices_find(l->x->snapshot->prices, provider, model);
    struct llm_usage usage = {.known = true,
                              .prompt_tokens = (uint64_t)tokens->of[LIMIT_INPUT_TOKENS],
                              .completion_tokens = (uint64_t)tokens->of[LIMIT_OUTPUT_TOKENS]};
    return price_cost(&price, &usage);
}

/* The dearest of those that may be asked: a reservation errs on the safe side. */
static int64_t dearest(const struct llm_call *l, const struct amounts *tokens)
{
    const struct model_names *list = &l->x->strategy->config.auto_config.prioritized;
    if (!l->is_auto)
        return cost_at(l, STR_NONE, l->model, tokens);
    int64_t most = 0;
    for (size_t i = 0; i < list->count; i++)
        most = MAX(most, cost_at(l, list->items[i].provider, list->items[i].model, tokens));
    return most;
}

static enum err refuse(struct llm_call *l, const struct limit_refusal *r)
{
    static const char *const nouns[] = {"requests", "input tokens", "output tokens", "total tokens",
                                        "pico-dollars"};
    struct exchange *x = l->x;
    const struct strategy_config *s = &x->strategy->config;
    enum err err = r->kind == LIMIT_COST ? ERR_INSUFFICIENT_QUOTA : ERR_RATE_LIMIT;
    x->retry_after = (int)MAX((r->retry_after_ms + 999) / 1000, (uint64_t)1);
    metric_add(x->worker->metrics, METRIC_LIMIT_REJECTIONS,
               LABELS(x->client ? (label)x->client->label : 0, (label)x->strategy->label,
                      worker_label(x->worker, limit_kind_name(r->kind))),
               1);
    return error_set(
        &x->error, err,
        "Limit of strategy '%.*s': %lld %s per %s; used %lld, reserved %lld, this request %s %lld",
        STR_ARG(str_first(s->name, 100)), (long long)r->limit, nouns[r->kind], limit_window_name(r->window),
        (long long)r->used, (long long)r->reserved, r->never ? "alone asks for" : "needs about",
        (long long)r->asked);
}

enum err llm_account_admit(struct llm_call *l)
{
    struct exchange *x = l->x;
    struct limiter *limiter = x->strategy->limiter;
    struct limit_refusal refusal;
    int64_t average_cost;
    if (!limiter_count(limiter))
        return OK;
    struct amounts amounts = limiter_estimate(limiter, l->body.prompt_bytes, l->body.max_tokens,
                                              l->x->worker->loop->now, &average_cost);
    int64_t cost = limiter_limits(limiter, LIMIT_COST) ? dearest(l, &amounts) : 0;
    amounts.of[LIMIT_COST] = cost ? MAX(cost, average_cost) : 0;
    if (limiter_reserve(limiter, &amounts, l->body.max_tokens == 0, l->x->worker->loop->now, &l->hold,
                        &refusal))
        return OK;
    return refuse(l, &refusal);
}

/* ---- the ledger -----------------------------------------------------------------------------------------
 */

enum err llm_account_open(struct llm_call *l)
{
    static const struct str endpoints[] = {
        [LLM_NONE] = {"", 0},
        [LLM_CHAT] = {"chat", 4},
        [LLM_COMPLETIONS] = {"completions", 11},
        [LLM_EMBEDDINGS] = {"embeddings", 10},
    };
    struct exchange *x = l->x;
    struct entry_open open = {
        .at_us = clock_wall_at(x->request.started),
        .request_id = str_from_c(x->request.id),
        .client = x->client ? x->client->config.id : STR_NONE,
        .strategy = x->strategy->config.id,
        .model = l->body.model,
        .endpoint = endpoints[x->route.api->llm],
        .stream = l->body.stream,
    };
    if (!x->worker->journal)
        return OK;
    enum err err = journal_open(x->worker->journal, &open, &l->entry);
    return err != OK && x->snapshot->config->storage.reject_on_failure ? err : OK;
}

/* What it has used so far, or in the end. */
static void amounts_now(const struct llm_call *l, struct entry_state *state)
{
    struct llm_usage usage = *usage_of(l);
    bool embeds = l->x->route.api->llm == LLM_EMBEDDINGS;
    state->estimated = !usage.known && l->head_ns;
    if (state->estimated) {
        usage.prompt_tokens = (l->body.prompt_bytes + 3) / 4;
        usage.completion_tokens = l->is_stream ? l->events.content_events
                                  : embeds     ? 0
                                               : (l->x->relay.response_bytes + 3) / 4;
    }
    state->input_tokens = (int64_t)MIN(usage.prompt_tokens, (uint64_t)1 << 40);
    state->output_tokens = (int64_t)MIN(usage.completion_tokens, (uint64_t)1 << 40);
    state->cached_tokens = (int64_t)MIN(usage.cached_tokens, (uint64_t)1 << 40);
    state->reasoning_tokens = (int64_t)MIN(usage.reasoning_tokens, (uint64_t)1 << 40);
    state->cost = price_cost(&l->price, &usage);
}

static void attempts_fill(const struct llm_call *l, struct entry_state *state)
{
    int n = 0;
    for (int i = 0; i < l->failure_count && n < ENTRY_ATTEMPTS_MAX; i++)
        state->attempts[n++] =
            (struct entry_attempt){l->failures[i].provider, l->failures[i].model,
                                   str_from_c(l->failures[i].outcome), l->failures[i].status};
    state->attempt_count = l->failure_count;
    if (!l->served.n)
        return;
    if (n < ENTRY_ATTEMPTS_MAX)
        state->attempts[n] = (struct entry_attempt){l->served, l->sent_model, STR("ok"), l->upstream_status};
    state->attempt_count++;
}

/* Field by field: attempts beyond attempt_count are nobody's, and clearing them costs more than the rest. */
static void state_fill(const struct llm_call *l, enum entry_outcome outcome, struct entry_state *state)
{
    const struct exchange *x = l->x;
    state->provider = l->served;
    state->model = l->served.n ? l->sent_model : STR_NONE;
    state->duration_us = (clock_now() - x->request.started) / 1000;
    state->first_byte_us = l->head_ns / 1000;
    state->status = x->status;
    state->outcome = outcome;
    amounts_now(l, state);
    attempts_fill(l, state);
}

/* The same few models are asked for again and again. */
static struct price price_of_answer(struct llm_call *l)
{
    const struct snapshot *s = l->x->snapshot;
    const struct provider_config *provider = provider_config_of(l->provider);
    struct str model = l->sent_model;
    size_t at =
        ((uintptr_t)provider >> 4 ^ model.n ^ (uint8_t)(model.n ? model.p[model.n - 1] : 0)) % WORKER_PRICES;
    struct price_memo *memo = &l->x->worker->prices[at];
    if (LIKELY(memo->epoch == s->epoch && memo->provider == provider &&
               str_eq(str_make(memo->model, memo->model_n), model)))
        return memo->price;
    struct price price = prices_find(s->prices, provider->name, model);
    if (model.n > sizeof memo->model)
        return price;
    memcpy(memo->model, model.p, model.n);
    memo->model_n = (uint8_t)model.n;
    memo->epoch = s->epoch;
    memo->provider = provider;
    memo->price = price;
    return price;
}

void llm_account_answer(struct llm_call *l)
{
    struct exchange *x = l->x;
    struct entry_state state;
    l->head_ns = MAX(x->worker->loop->now - l->attempt_started, (uint64_t)1);
    l->served = provider_config_of(l->provider)->name;
    l->served_label = (label)provider_label(l->provider);
    l->price = price_of_answer(l);
    if (!l->is_stream)
        return; /* of a plain answer nothing is known before its end */
    if (l->entry.journal) {
        state_fill(l, ENTRY_OPEN, &state);
        journal_progress(&l->entry, &state);
    }
    llm_account_count(l); /* the whole stream may be at hand already */
}

/* ---- the end --------------------------------------------------------------------------------------------
 */

static void count_usage(const struct llm_call *l, const struct entry_state *state)
{
    struct worker *w = l->x->worker;
    if (state->cost > 0)
        metric_add(w->metrics, METRIC_LLM_COST, LABELS(l->served_label), (uint64_t)state->cost);
    if (!l->served.n || state->estimated)
        return;
    metric_add(w->metrics, METRIC_LLM_TOKENS, LABELS(l->served_label, worker_label(w, "input")),
               (uint64_t)state->input_tokens);
    metric_add(w->metrics, METRIC_LLM_TOKENS, LABELS(l->served_label, worker_label(w, "output")),
               (uint64_t)state->output_tokens);
}

/* A request that failed counts for what it used and not as a request. */
static struct amounts amounts_used(const struct entry_state *state)
{
    struct amounts used = {{0}};
    used.of[LIMIT_REQUESTS] = state->outcome == ENTRY_OK || state->outcome == ENTRY_CANCELLED;
    used.of[LIMIT_INPUT_TOKENS] = state->input_tokens;
    used.of[LIMIT_OUTPUT_TOKENS] = state->output_tokens;
    used.of[LIMIT_TOTAL_TOKENS] = state->input_tokens + state->output_tokens;
    used.of[LIMIT_COST] = state->cost;
    return used;
}

void llm_account_settle(struct llm_call *l)
{
    struct entry_state state;
    if (l->is_settled || (!l->entry.journal && !l->hold.limiter && !l->served.n))
        return;
    l->is_settled = true;
    state_fill(l, l->outcome == ENTRY_OPEN ? ENTRY_CANCELLED : l->outcome, &state);
    count_usage(l, &state);
    struct amounts used = amounts_used(&state);
    if (l->hold.limiter)
        limiter_settle(&l->hold, &used, l->x->worker->loop->now);
    if (l->entry.journal)
        journal_settle(&l->entry, &state);
}

/* Everything that can be counted has been seen. */
static bool is_complete(const struct llm_call *l)
{
    return l->is_stream ? l->events.saw_done : l->usage.complete && l->usage.usage.known;
}

void llm_account_count(struct llm_call *l)
{
    struct entry_state state;
    if (!l->head_ns || l->is_settled)
        return;
    if (is_complete(l)) { /* who has its last byte finds it in the books */
        l->outcome = ENTRY_OK;
        llm_account_settle(l);
    } else if (l->entry.journal && l->is_stream) {
        amounts_now(l, &state);
        journal_count(&l->entry, state.output_tokens, state.cost);
    }
}

/* ---- what is left ---------------------------------------------------------------------------------------
 */

/* A limit's three lines but for their numbers; each begins where the one before ends. */
#define LINE(text)                                                                                           \
    {                                                                                                        \
        text, sizeof(text) - 1                                                                               \
    }
#define LINES(noun)                                                                                          \
    {                                                                                                        \
        .limit = LINE("X-RateLimit-Limit-" noun ": "),                                                       \
        .remaining = LINE("\r\nX-RateLimit-Remaining-" noun ": "),                                           \
        .reset = LINE("\r\nX-RateLimit-Reset-" noun ": "),                                                   \
    }
static const struct {
    struct str limit, remaining, reset;
} lines[LIMIT_KINDS] = {
    [LIMIT_REQUESTS] = LINES("requests"),
    [LIMIT_INPUT_TOKENS] = LINES("input-tokens"),
    [LIMIT_OUTPUT_TOKENS] = LINES("output-tokens"),
    [LIMIT_TOTAL_TOKENS] = LINES("tokens"),
    [LIMIT_COST] = LINES("cost"),
};
#undef LINES
#undef LINE

/* Money in dollars with six digits. */
static void add_number(struct buf *out, struct str before, enum limit_kind kind, int64_t n)
{
    buf_add_str(out, before);
    if (kind != LIMIT_COST) {
        buf_add_u64(out, (uint64_t)n);
        return;
    }
    char digits[8] = ".000000";
    uint64_t micros = (uint64_t)n / 1000000;
    for (int i = 6; i > 0; i--, micros /= 10)
        digits[i] = (char)('0' + micros % 10);
    buf_add_u64(out, micros);
    buf_add_c(out, digits);
}

static void add_status(struct buf *out, const struct limit_status *s)
{
    enum limit_kind kind = s->config.kind;
    add_number(out, lines[kind].limit, kind, s->config.value);
    add_number(out, lines[kind].remaining, kind, s->remaining);
    buf_add_str(out, lines[kind].reset);
    buf_add_u64(out, (s->reset_ms + 999) / 1000);
    buf_add_str(out, STR("s\r\n"));
}

/* Of several limits of a kind the one with the least left. */
void llm_account_fields(const struct llm_call *l, struct buf *out)
{
    const struct exchange *x = l->x;
    struct limiter *limiter = x->strategy->limiter;
    struct limit_status tightest[LIMIT_KINDS];
    bool has[LIMIT_KINDS] = {false};
    for (size_t i = 0; i < limiter_count(limiter); i++) {
        struct limit_status s;
        limiter_status(limiter, i, x->worker->loop->now, &s);
        enum limit_kind kind = s.config.kind;
        if (s.config.enabled && (!has[kind] || s.remaining < tightest[kind].remaining))
            tightest[kind] = s;
        has[kind] |= s.config.enabled;
    }
    for (int kind = 0; kind < LIMIT_KINDS; kind++)
        if (has[kind])
            add_status(out, &tightest[kind]);
}
