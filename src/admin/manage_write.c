/* The JSON of clients, strategies, limits, providers and models; dates. Pure. */
#include "admin/manage_write.h"

#include "base/clock.h"
#include "base/num.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

/* ---- dates -----------------------------------------------------------------------------------------------
 */

void manage_write_time(struct json *j, const char *key, int64_t wall_us)
{
    struct buf text CLEANUP(buf_free) = BUF(64);
    if (wall_us <= 0) {
        json_key_null(j, key);
        return;
    }
    clock_format(&text, wall_us);
    json_key_str(j, key, buf_str(&text));
}

void manage_write_seconds(struct json *j, const char *key, int64_t seconds)
{
    char text[64];
    struct tm tm;
    time_t time = (time_t)seconds;
    size_t n = gmtime_r(&time, &tm) ? strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) : 0;
    if (n)
        json_key_str(j, key, str_make(text, n));
    else
        json_key_null(j, key);
}

/* The number of exactly n digits at the start of *s, which moves behind them. */
static bool take_digits(struct str *s, size_t n, int *number)
{
    uint64_t value;
    if (s->n < n || !num_parse_u64(str_first(*s, n), &value))
        return false;
    *number = (int)value;
    *s = str_from(*s, n);
    return true;
}

static bool take_char(struct str *s, const char *one_of)
{
    if (!s->n || !s->p[0] || !strchr(one_of, s->p[0]))
        return false;
    *s = str_from(*s, 1);
    return true;
}

/* "2026-01-31"; tm_mday that does not exist is seen when timegm has made another of it. */
static bool take_day(struct str *s, struct tm *tm)
{
    int year, month;
    if (!take_digits(s, 4, &year) || !take_char(s, "-") || !take_digits(s, 2, &month) || !take_char(s, "-") ||
        !take_digits(s, 2, &tm->tm_mday))
        return false;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    return year >= 1970 && month >= 1 && month <= 12 && tm->tm_mday >= 1;
}

/* "T10:00:00.25" */
static bool take_time(struct str *s, struct tm *tm)
{
    if (!take_char(s, "Tt ") || !take_digits(s, 2, &tm->tm_hour) || !take_char(s, ":") ||
        !take_digits(s, 2, &tm->tm_min) || !take_char(s, ":") || !take_digits(s, 2, &tm->tm_sec))
        return false;
    if (take_char(s, ".")) {
        size_t digits = s->n;
        while (take_char(s, "0123456789"))
            ;
        if (digits == s->n)
            return false;
    }
    return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec < 61;
}

/* "Z" or "+01:00"; a '+' that nobody escaped in a query has become a space. */
static bool take_zone(struct str *s, int64_t *seconds)
{
    bool west = s->n && s->p[0] == '-';
    int hours, minutes;
    *seconds = 0;
    if (take_char(s, "Zz"))
        return true;
    if (!take_char(s, "+- ") || !take_digits(s, 2, &hours) || !take_char(s, ":") ||
        !take_digits(s, 2, &minutes))
        return false;
    *seconds = (west ? -1 : 1) * ((int64_t)hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60;
}

bool manage_parse_time(struct str text, int64_t *seconds)
{
    struct tm tm = {0};
    uint64_t number;
    int64_t zone = 0;
    if (num_parse_u64(text, &number)) {
        *seconds = (int64_t)number;
        return number < (uint64_t)1 << 36; /* the year 4147; beyond are microseconds by mistake */
    }
    if (!take_day(&text, &tm) || (text.n && (!take_time(&text, &tm) || !take_zone(&text, &zone))) || text.n)
        return false;
    int day = tm.tm_mday;
    *seconds = (int64_t)timegm(&tm) - zone;
    return tm.tm_mday == day && *seconds >= 0;
}

/* ---- clients and strategies ------------------------------------------------------------------------------
 */

static void write_text_or_null(struct json *j, const char *key, struct str text)
{
    if (text.n)
        json_key_str(j, key, text);
    else
        json_key_null(j, key);
}

static void write_strings(struct json *j, const char *key, const struct strs *list)
{
    json_key_array(j, key);
    for (size_t i = 0; i < list->count; i++)
        json_str(j, list->items[i]);
    json_end(j);
}

void manage_write_client(struct json *j, const struct book_client *c, int64_t last_used_us)
{
    struct buf hint CLEANUP(buf_free) = BUF(256);
    if (c->lookup.n)
        buf_addf(&hint, "hk_%.*s_…", STR_ARG(c->lookup));
    json_key_str(j, "id", c->config.id);
    json_key_str(j, "name", c->config.name);
    json_key_bool(j, "enabled", c->config.enabled);
    json_key_str(j, "strategy_id", c->strategy->config.id);
    write_strings(j, "allowed_llm_providers", &c->config.allowed_llm_providers);
    write_text_or_null(j, "key_hint", buf_str(&hint));
    manage_write_time(j, "created_at", c->created_us);
    manage_write_time(j, "updated_at", c->updated_us);
    manage_write_time(j, "last_used", last_used_us);
    json_key_bool(j, "managed_by_config", c->is_managed);
    json_key_u64(j, "revision", c->revision);
}

void manage_write_strategy(struct json *j, const struct book_strategy *s)
{
    const struct strategy_config *c = &s->config;
    json_key_str(j, "id", c->id);
    json_key_str(j, "name", c->name);
    write_text_or_null(j, "parent", c->parent);
    strategy_write_allowed(j, c);
    if (c->has_auto) {
        json_key_object(j, "auto_config");
        strategy_write_auto(j, c);
        json_end(j);
    } else {
        json_key_null(j, "auto_config");
    }
    strategy_write_limits(j, c);
    json_key_bool(j, "fallback_on_other", c->fallback_on_other);
    json_key_u64(j, "client_count", s->client_count);
    json_key_bool(j, "managed_by_config", s->is_managed);
    json_key_u64(j, "revision", s->revision);
    manage_write_time(j, "created_at", s->created_us);
    manage_write_time(j, "updated_at", s->updated_us);
}

/* ---- warnings --------------------------------------------------------------------------------------------
 */

__attribute__((format(printf, 2, 3))) static void warn(struct json *j, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_c(j, text);
}

static void warn_about_model(struct json *j, const struct strategy_config *s, const struct model_name *m,
                             const struct pool_knowledge *pool)
{
    struct str provider = str_first(m->provider, 128), model = str_first(m->model, 128);
    if (!strategy_allows(s, m->provider, m->model))
        warn(j, "Prioritized model %.*s of %.*s is not allowed by this strategy: auto-routing skips it.",
             STR_ARG(model), STR_ARG(provider));
    if (!pool->has_provider(pool->argument, m->provider))
        warn(j, "Prioritized model %.*s: provider %.*s is not configured, or disabled.", STR_ARG(model),
             STR_ARG(provider));
    else if (!pool->serves(pool->argument, m->provider, m->model))
        warn(j, "Prioritized model %.*s is unknown to provider %.*s.", STR_ARG(model), STR_ARG(provider));
}

static bool stands_on_one_provider(const struct model_names *list)
{
    for (size_t i = 1; i < list->count; i++)
        if (!str_eq_nocase(list->items[i].provider, list->items[0].provider))
            return false;
    return list->count > 1;
}

void manage_write_warnings(struct json *j, const struct strategy_config *s, const struct pool_knowledge *pool)
{
    const struct model_names *prioritized = &s->auto_config.prioritized;
    json_key_array(j, "warnings");
    if (!s->allowed.selected_all && !s->allowed.providers.count && !s->allowed.models.count)
        warn(j, "No model is allowed: every request is refused.");
    for (size_t i = 0; s->has_auto && i < prioritized->count; i++)
        warn_about_model(j, s, &prioritized->items[i], pool);
    if (s->has_auto && s->auto_config.enabled && !prioritized->count)
        warn(j, "Auto-routing is enabled, but no model is prioritized: it has nothing to try.");
    if (s->has_auto && s->auto_config.enabled && stands_on_one_provider(prioritized))
        warn(j, "All prioritized models are on provider %.*s: when it fails, so does auto-routing.",
             STR_ARG(str_first(prioritized->items[0].provider, 128)));
    json_end(j);
}

void manage_write_client_warnings(struct json *j, const struct client_config *c,
                                  const struct pool_knowledge *pool)
{
    json_key_array(j, "warnings");
    for (size_t i = 0; i < c->allowed_llm_providers.count; i++)
        if (!pool->has_provider(pool->argument, c->allowed_llm_providers.items[i]))
            warn(j, "Allowed provider %.*s is not configured, or disabled.",
                 STR_ARG(str_first(c->allowed_llm_providers.items[i], 128)));
    json_end(j);
}

/* ---- limits, providers, models ---------------------------------------------------------------------------
 */

void manage_write_limit(struct json *j, const struct book_strategy *s, const struct limit_status *status)
{
    int digits = limit_digits(status->config.kind);
    json_put_object(j);
    json_key_str(j, "strategy_id", s->config.id);
    json_key_str(j, "strategy_name", s->config.name);
    strategy_write_limit(j, &status->config);
    json_key_decimal(j, "used", status->used, digits);
    json_key_decimal(j, "reserved", status->reserved, digits);
    json_key_decimal(j, "remaining", status->remaining, digits);
    json_key_u64(j, "reset_seconds", status->reset_ms / 1000 + (status->reset_ms % 1000 != 0));
    json_end(j);
}

void manage_write_provider(struct json *j, const struct provider_config *config,
                           const struct provider_status *status)
{
    json_put_object(j);
    provider_status_write(j, status);
    json_key_c(j, "type", config->type == PROVIDER_AZURE ? "azure" : "openai");
    write_text_or_null(j, "service", config->service);
    json_key_u64(j, "weight", config->weight);
    json_key_u64(j, "max_concurrent", config->max_concurrent);
    manage_write_time(j, "last_check", status->last_check_us);
    json_end(j);
}

static void write_price(struct json *j, const char *key, bool known, int64_t price)
{
    if (known)
        json_key_decimal(j, key, price, PER_MILLION_DIGITS);
    else
        json_key_null(j, key);
}

void manage_write_model(struct json *j, struct str id, struct str provider, const struct price *price)
{
    json_put_object(j);
    json_key_str(j, "id", id);
    json_key_str(j, "provider", provider);
    write_price(j, "input_per_million", price->known, price->input);
    write_price(j, "output_per_million", price->known, price->output);
    if (price->context_window)
        json_key_u64(j, "context_window", price->context_window);
    else
        json_key_null(j, "context_window");
    json_end(j);
}
