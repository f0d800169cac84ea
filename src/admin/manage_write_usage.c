/* The JSON of what was used: points, requests, the audit trail. Pure. */
#include "admin/manage_write.h"

const char *manage_outcome_name(enum entry_outcome outcome)
{
    static const char *const names[] = {"open", "ok", "failed", "cancelled", "aborted"};
    return names[outcome];
}

static void write_dollars(struct json *j, const char *key, int64_t pico)
{
    json_key(j, key);
    json_decimal(j, pico, DOLLAR_DIGITS);
}

/* ---- points ----------------------------------------------------------------------------------------------
 */

/* sum / count in milliseconds; null where nothing was measured. */
static void write_mean(struct json *j, const char *key, uint64_t sum, uint64_t count)
{
    if (count)
        json_key_double(j, key, (double)sum / (double)count, 3);
    else
        json_key_null(j, key);
}

static void write_latency(struct json *j, const struct usage_point *p)
{
    static const struct {
        const char *key;
        double share;
    } quantiles[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}};
    uint64_t measured = 0;
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        measured += p->latency[i];
    json_key_object(j, "latency_ms");
    write_mean(j, "avg", p->latency_sum_ms, measured);
    for (size_t i = 0; i < COUNT_OF(quantiles); i++) {
        if (measured)
            json_key_double(j, quantiles[i].key, usage_quantile(p, quantiles[i].share), 3);
        else
            json_key_null(j, quantiles[i].key);
    }
    json_end(j);
}

void manage_write_point(struct json *j, const struct usage_point *p)
{
    json_put_object(j);
    if (p->at >= 0)
        manage_write_seconds(j, "at", p->at);
    json_key_u64(j, "requests", p->requests);
    json_key_u64(j, "ok", p->ok);
    json_key_u64(j, "failed", p->failed);
    json_key_u64(j, "cancelled", p->cancelled);
    json_key_u64(j, "aborted", p->aborted);
    json_key_i64(j, "input_tokens", p->input_tokens);
    json_key_i64(j, "output_tokens", p->output_tokens);
    json_key_i64(j, "cached_tokens", p->cached_tokens);
    json_key_i64(j, "reasoning_tokens", p->reasoning_tokens);
    write_dollars(j, "cost", p->cost);
    write_latency(j, p);
    write_mean(j, "first_byte_ms", p->first_byte_sum_ms, p->first_byte_count);
    json_end(j);
}

static void add_saturating(int64_t *sum, int64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum))
        *sum = value < 0 ? INT64_MIN : INT64_MAX;
}

void manage_add_point(struct usage_point *sum, const struct usage_point *p)
{
    sum->requests += p->requests;
    sum->ok += p->ok;
    sum->failed += p->failed;
    sum->cancelled += p->cancelled;
    sum->aborted += p->aborted;
    add_saturating(&sum->input_tokens, p->input_tokens);
    add_saturating(&sum->output_tokens, p->output_tokens);
    add_saturating(&sum->cached_tokens, p->cached_tokens);
    add_saturating(&sum->reasoning_tokens, p->reasoning_tokens);
    add_saturating(&sum->cost, p->cost);
    sum->latency_sum_ms += p->latency_sum_ms;
    sum->first_byte_sum_ms += p->first_byte_sum_ms;
    sum->first_byte_count += p->first_byte_count;
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        sum->latency[i] += p->latency[i];
}

/* ---- requests, audit -------------------------------------------------------------------------------------
 */

static void write_text_or_null(struct json *j, const char *key, struct str text)
{
    if (text.n)
        json_key_str(j, key, text);
    else
        json_key_null(j, key);
}

/* 0 = no answer. */
static void write_status(struct json *j, int status)
{
    if (status)
        json_key_i64(j, "status", status);
    else
        json_key_null(j, "status");
}

static void write_attempts(struct json *j, const struct entry_state *s)
{
    json_key_i64(j, "attempt_count", s->attempt_count);
    json_key_array(j, "attempts");
    for (int i = 0; i < s->attempt_count && i < ENTRY_ATTEMPTS_MAX; i++) {
        json_put_object(j);
        json_key_str(j, "provider", s->attempts[i].provider);
        json_key_str(j, "model", s->attempts[i].model);
        json_key_str(j, "outcome", s->attempts[i].outcome);
        write_status(j, s->attempts[i].status);
        json_end(j);
    }
    json_end(j);
}

void manage_write_request(struct json *j, const struct request_row *row)
{
    const struct entry_open *o = &row->open;
    const struct entry_state *s = &row->state;
    json_put_object(j);
    json_key_str(j, "request_id", o->request_id);
    manage_write_time(j, "at", o->at_us);
    manage_write_time(j, "ended_at", row->ended_us);
    write_text_or_null(j, "client", o->client);
    write_text_or_null(j, "strategy", o->strategy);
    json_key_str(j, "endpoint", o->endpoint);
    json_key_bool(j, "stream", o->stream);
    json_key_str(j, "model", o->model);
    write_text_or_null(j, "provider", s->provider);
    write_text_or_null(j, "provider_model", s->model);
    json_key_c(j, "outcome", manage_outcome_name(s->outcome));
    write_status(j, s->status);
    json_key_i64(j, "input_tokens", s->input_tokens);
    json_key_i64(j, "output_tokens", s->output_tokens);
    json_key_i64(j, "cached_tokens", s->cached_tokens);
    json_key_i64(j, "reasoning_tokens", s->reasoning_tokens);
    json_key_bool(j, "estimated", s->estimated);
    write_dollars(j, "cost", s->cost);
    json_key_double(j, "duration_ms", (double)s->duration_us / 1000, 3);
    if (s->first_byte_us)
        json_key_double(j, "first_byte_ms", (double)s->first_byte_us / 1000, 3);
    else
        json_key_null(j, "first_byte_ms");
    write_attempts(j, s);
    json_end(j);
}

void manage_write_audit(struct json *j, const struct store_audit *a)
{
    json_put_object(j);
    manage_write_time(j, "at", a->at_us);
    json_key_str(j, "actor", a->actor);
    json_key_str(j, "action", a->action);
    json_key_str(j, "target", a->target);
    json_key(j, "detail");
    if (a->detail.n)
        json_raw(j, a->detail); /* written by the books, as JSON */
    else
        json_put_null(j);
    json_end(j);
}
