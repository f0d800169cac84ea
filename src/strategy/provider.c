/*
 * One provider's state: what its attempts and checks have taught, and what follows from that. While all is
 * well a report is a handful of relaxed atomics; only trouble takes the lock. Any thread, unless said.
 */
#include "base/mem.h"
#include "strategy/inside.h"

#include <stdio.h>

/* ---- memory ------------------------------------------------------------------------------------------ */

static void recovered_arrived(struct message *m);

static char *copy_of(struct str s)
{
    char *p = mem_alloc(s.n + 1);
    if (p && s.n)
        memcpy(p, s.p, s.n);
    return p;
}

static void state_free(struct provider_state *s)
{
    pthread_mutex_destroy(&s->lock);
    model_shelf_free(&s->models);
    gate_unref(s->gate);
    mem_free((void *)(uintptr_t)s->name.p);
    mem_free((void *)(uintptr_t)s->fingerprint.p);
    mem_free(s);
}

struct provider_state *provider_state_new(struct providers *all, const struct provider_config *config,
                                          struct gate *gate)
{
    struct provider_state *s = mem_alloc(sizeof *s);
    if (!s || pthread_mutex_init(&s->lock, NULL) != 0) {
        gate_unref(gate);
        mem_free(s);
        return NULL;
    }
    atomic_init(&s->references, 1);
    s->gate = gate;
    s->all = all;
    s->control = all->control;
    s->name = str_make(copy_of(config->name), config->name.n);
    s->fingerprint = str_make(copy_of(config->fingerprint), config->fingerprint.n);
    s->label = label_intern(config->name);
    s->recovered_message.on_arrival = recovered_arrived;
    if (gate && s->name.p && s->fingerprint.p)
        return s;
    state_free(s);
    return NULL;
}

struct provider_state *provider_state_ref(struct provider_state *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void provider_state_unref(struct provider_state *s)
{
    if (s && atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) == 1)
        state_free(s);
}

/* ---- what is so now (under the lock) ----------------------------------------------------------------- */

static enum standing standing_under_lock(struct provider_state *s, uint64_t now)
{
    enum breaker_state breaker = breaker_state(&s->breaker, now);
    if (now < s->cool_until)
        return STANDING_COOLING;
    s->cool_until = 0;
    if (s->auth && now < s->auth_until)
        return STANDING_OUT;
    if (breaker == BREAKER_OPEN || (s->is_unhealthy && now < s->retry_at))
        return STANDING_OUT;
    if (breaker == BREAKER_HALF_OPEN || s->is_unhealthy || s->auth)
        return s->breaker.trial ? STANDING_OUT : STANDING_TRIAL;
    atomic_store_explicit(&s->is_troubled, false, memory_order_relaxed);
    return STANDING_GOOD;
}

static bool is_troubled(const struct provider_state *s)
{
    return UNLIKELY(atomic_load_explicit(&s->is_troubled, memory_order_relaxed));
}

enum standing provider_standing(struct provider *p, uint64_t now)
{
    struct provider_state *s = p->state;
    if (!is_troubled(s))
        return STANDING_GOOD;
    pthread_mutex_lock(&s->lock);
    enum standing standing = standing_under_lock(s, now);
    pthread_mutex_unlock(&s->lock);
    return standing;
}

static bool is_sick(const struct provider_state *s)
{
    return s->is_unhealthy || s->breaker.is_open || s->auth;
}

bool provider_claim(struct provider *p, struct provider_tour *tour, bool last_resort, uint64_t now)
{
    struct provider_state *s = p->state;
    tour->is_trial = false;
    if (!is_troubled(s))
        return true;
    pthread_mutex_lock(&s->lock);
    enum standing standing = standing_under_lock(s, now);
    if (standing == STANDING_TRIAL || (last_resort && is_sick(s)))
        tour->is_trial = breaker_begin_trial(&s->breaker);
    pthread_mutex_unlock(&s->lock);
    return last_resort || standing == STANDING_GOOD || tour->is_trial;
}

/* ---- what an outcome changes (under the lock) -------------------------------------------------------- */

/* What is to be told when the lock is open again. */
struct news {
    bool unhealthy, opened, recovered;
    uint64_t cooldown_ms;
};

static struct breaker_rules rules_of(const struct provider *p)
{
    const struct routing_config *r = &p->pool->config->routing;
    return (struct breaker_rules){r->circuit_breaker.failures, r->circuit_breaker.window_ms * CLOCK_MS,
                                  r->circuit_breaker.open_ms * CLOCK_MS};
}

static void trouble(struct provider_state *s, uint64_t now, const char *why)
{
    s->troubled_at = now;
    if (why)
        snprintf(s->last_error, sizeof s->last_error, "%s", why);
    atomic_store_explicit(&s->is_troubled, true, memory_order_relaxed);
}

static void mark_failed(struct provider *p, bool trial, uint64_t now, const char *why, struct news *news)
{
    struct provider_state *s = p->state;
    struct breaker_rules rules = rules_of(p);
    trouble(s, now, why);
    news->unhealthy = !s->is_unhealthy;
    news->opened = breaker_failure(&s->breaker, &rules, now, trial);
    s->is_unhealthy = true;
    s->retry_at = MAX(s->retry_at, now + rules.open);
}

static void mark_refused(struct provider_state *s, enum auth_mark mark, uint64_t now, const char *why,
                         struct news *news)
{
    trouble(s, now, why);
    news->unhealthy = s->auth == AUTH_GOOD;
    s->auth = mark;
    s->auth_until = clock_after(now, AUTH_PAUSE_MS);
}

static void mark_cooling(struct provider_state *s, uint64_t ms, uint64_t now, const char *why,
                         struct news *news)
{
    uint64_t until = clock_after(now, MIN(ms, (uint64_t)COOLDOWN_MAX_MS));
    trouble(s, now, why);
    news->cooldown_ms = s->cool_until <= now ? (until - now) / CLOCK_MS : 0;
    s->cool_until = MAX(s->cool_until, until);
    if (news->cooldown_ms)
        atomic_fetch_add_explicit(&s->cooldowns, 1, memory_order_relaxed);
}

/* A success of a request that had begun before the trouble proves nothing; while the breaker is not closed,
 * only the trial's counts. */
static void mark_good(struct provider_state *s, bool trial, uint64_t started, uint64_t now, struct news *news)
{
    bool was_sick = is_sick(s);
    breaker_success(&s->breaker, trial);
    if (!trial && (started < s->troubled_at || s->breaker.is_open))
        return;
    news->recovered = was_sick;
    s->is_unhealthy = false;
    s->retry_at = s->cool_until = 0;
    s->auth = AUTH_GOOD;
    s->last_error[0] = '\0';
    enum standing ignored = standing_under_lock(s, now); /* clears is_troubled where nothing is left */
    (void)ignored;
}

/* ---- telling ----------------------------------------------------------------------------------------- */

static void recovered_arrived(struct message *m)
{
    struct provider_state *s = CONTAINER_OF(m, struct provider_state, recovered_message);
    atomic_store(&s->recovered_posted, false);
    chore_soon(&s->list, loop_now(s->control)); /* it may have come back with other models */
    provider_state_unref(s);
}

static void tell(struct provider_state *s, const struct news *news, const char *why)
{
    if (news->unhealthy || news->opened)
        provider_event_unhealthy(s, why, news->opened);
    if (news->cooldown_ms)
        provider_event_cooldown(s, news->cooldown_ms, why);
    if (!news->recovered)
        return;
    provider_event_recovered(s);
    if (!atomic_exchange(&s->recovered_posted, true))
        loop_post(provider_state_ref(s)->control, &s->recovered_message);
}

/* ---- reports ----------------------------------------------------------------------------------------- */

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void count(struct provider_state *s, enum provider_outcome outcome, uint64_t head_ns,
                  uint64_t total_ns, uint64_t now)
{
    add(&s->requests, 1);
    if (outcome != PROVIDER_OK) {
        add(&s->failures, outcome != PROVIDER_CANCELLED);
        return;
    }
    add(&s->successes, 1);
    add(&s->head_ns, head_ns);
    add(&s->head_count, head_ns > 0);
    add(&s->total_ns, total_ns);
    add(&s->total_count, total_ns > 0);
    if (head_ns || total_ns)
        latency_observe(&s->latency, head_ns ? head_ns : total_ns, now);
}

static void settle(struct provider *p, enum provider_outcome outcome, bool trial, uint64_t started,
                   uint64_t retry_after_ms, uint64_t now, const char *why, struct news *news)
{
    struct provider_state *s = p->state;
    bool ejects = p->pool->config->monitoring.track_errors;
    switch (outcome) {
    case PROVIDER_OK:
        mark_good(s, trial, started, now, news);
        break;
    case PROVIDER_FAILED:
        if (ejects)
            mark_failed(p, trial, now, why, news);
        break;
    case PROVIDER_RATE_LIMITED:
        mark_cooling(s, retry_after_ms ? retry_after_ms : COOLDOWN_MS, now, why, news);
        break;
    case PROVIDER_QUOTA:
        mark_cooling(s, COOLDOWN_QUOTA_MS, now, why, news);
        break;
    case PROVIDER_AUTH:
        if (ejects)
            mark_refused(s, AUTH_REFUSED, now, why, news);
        break;
    case PROVIDER_CANCELLED:
        break;
    }
    if (trial)
        breaker_end_trial(&s->breaker);
}

static bool changes_nothing(const struct provider_state *s, enum provider_outcome outcome, bool trial)
{
    return !trial && (outcome == PROVIDER_CANCELLED || (outcome == PROVIDER_OK && !is_troubled(s)));
}

void provider_answered(struct provider *p, struct provider_tour *tour, uint64_t now)
{
    struct provider_state *s = p->state;
    struct news news = {0};
    if (LIKELY(!tour->is_trial))
        return;
    tour->is_trial = false;
    pthread_mutex_lock(&s->lock);
    settle(p, PROVIDER_OK, true, now, 0, now, NULL, &news);
    pthread_mutex_unlock(&s->lock);
    tell(s, &news, "");
}

void provider_report(struct provider *p, struct provider_tour *tour, enum provider_outcome outcome,
                     uint64_t head_ns, uint64_t total_ns, uint64_t retry_after_ms, uint64_t now,
                     const char *why)
{
    struct provider_state *s = p->state;
    struct news news = {0};
    bool trial = tour->is_trial;
    tour->is_trial = false;
    count(s, outcome, head_ns, total_ns, now);
    if (!changes_nothing(s, outcome, trial)) {
        uint64_t started = now - MIN(total_ns, now);
        pthread_mutex_lock(&s->lock);
        settle(p, outcome, trial, started, retry_after_ms, now, why, &news);
        pthread_mutex_unlock(&s->lock);
        tell(s, &news, why ? why : "");
    }
    gate_leave(s->gate);
}

/* ---- checks (control) -------------------------------------------------------------------------------- */

static void check_passed(struct provider_state *s, uint64_t begun, struct news *news)
{
    if (s->auth == AUTH_REFUSED_CHECK)
        s->auth = AUTH_GOOD;
    if (begun < s->troubled_at || !s->is_unhealthy)
        return;
    s->is_unhealthy = false;
    s->retry_at = 0;
    news->recovered = !is_sick(s);
}

static void check_failed(struct provider *p, uint64_t now, const char *why, struct news *news)
{
    struct provider_state *s = p->state;
    if (s->is_unhealthy)
        return; /* the trial of real traffic keeps its date */
    trouble(s, now, why);
    s->is_unhealthy = true;
    s->retry_at = now + rules_of(p).open;
    news->unhealthy = true;
}

/* A key that serves real requests is good, though it may not list models. */
static bool key_has_served(const struct provider_state *s)
{
    return atomic_load_explicit(&s->successes, memory_order_relaxed) > 0;
}

void provider_checked(struct provider *p, enum check_result result, const char *why, uint64_t begun,
                      uint64_t now)
{
    struct provider_state *s = p->state;
    struct news news = {0};
    bool ejects = p->pool->config->monitoring.track_errors;
    pthread_mutex_lock(&s->lock);
    bool is_news = result == CHECK_PASSED ? s->is_unhealthy : strcmp(why, s->last_error) != 0;
    s->last_check_us = clock_wall_us();
    if (result == CHECK_PASSED)
        check_passed(s, begun, &news);
    else if (result == CHECK_FAILED && ejects)
        check_failed(p, now, why, &news);
    else if (result == CHECK_REFUSED && ejects && !key_has_served(s) && s->auth != AUTH_REFUSED)
        mark_refused(s, AUTH_REFUSED_CHECK, now, why, &news);
    pthread_mutex_unlock(&s->lock);
    provider_event_check(s, result, is_news, now - begun, why);
    tell(s, &news, why);
}

void provider_forgive(struct provider_state *s, bool failures_too)
{
    pthread_mutex_lock(&s->lock);
    s->auth = AUTH_GOOD;
    if (failures_too)
        s->is_unhealthy = s->breaker.is_open = false;
    pthread_mutex_unlock(&s->lock);
}

/* ---- looking ----------------------------------------------------------------------------------------- */

bool provider_sets_field(const struct provider_config *config, struct str name)
{
    for (size_t i = 0; i < config->header_count; i++)
        if (str_eq_nocase(config->headers[i].name, name))
            return true;
    return false;
}

void provider_status_write(struct json *j, const struct provider_status *s)
{
    static const char *const breakers[] = {"closed", "half_open", "open"};
    json_key_str(j, "name", s->name);
    json_key_bool(j, "healthy", s->healthy);
    json_key_bool(j, "disabled", s->disabled);
    json_key_bool(j, "auth_failed", s->auth_failed);
    json_key_bool(j, "fallback_only", s->fallback_only);
    json_key_c(j, "breaker", breakers[s->breaker]);
    json_key_u64(j, "cooldown_ms", s->cooldown_ms);
    json_key_u64(j, "in_flight", s->in_flight);
    json_key_u64(j, "waiting", s->waiting);
    json_key_u64(j, "requests", s->requests);
    json_key_u64(j, "failures", s->failures);
    json_key_double(j, "avg_latency_ms", s->latency_ms, 3);
    json_key_double(j, "avg_first_byte_ms", s->first_byte_ms, 3);
    json_key_u64(j, "models", s->model_count);
    if (s->last_error.n)
        json_key_str(j, "last_error", s->last_error);
    else
        json_key_null(j, "last_error");
}

bool provider_has_deployments(const struct provider_config *config, struct str prefix)
{
    struct str openai = str_from(prefix, str_find_str(prefix, STR("/openai")));
    return config->type == PROVIDER_AZURE && !str_starts(openai, STR("/openai/v1"));
}

void provider_add_base(struct buf *out, const struct provider_config *config, struct str prefix)
{
    if (provider_has_deployments(config, prefix)) {
        buf_add_str(out, str_first(prefix, str_find_str(prefix, STR("/openai"))));
        buf_add_c(out, "/openai");
        return;
    }
    buf_add_str(out, prefix);
    if (config->service.n && !config->base_url_text.n)
        buf_add_c(out, "/v1");
}

void provider_add_credentials(struct buf *out, const struct provider_config *config)
{
    bool azure = config->type == PROVIDER_AZURE;
    bool add =
        config->api_key.n && !provider_sets_field(config, azure ? STR("api-key") : STR("Authorization"));
    if (add && azure) {
        head_add(out, STR("api-key"), config->api_key);
    } else if (add) {
        buf_add_c(out, "Authorization: Bearer ");
        buf_add_str(out, config->api_key); /* checked when the configuration was read */
        buf_add_c(out, "\r\n");
    }
    for (size_t i = 0; i < config->header_count; i++)
        head_add(out, config->headers[i].name, config->headers[i].value);
}

const struct provider_config *provider_config_of(const struct provider *p)
{
    return p->config;
}

const struct origin *provider_origin(const struct provider *p)
{
    return p->origin;
}

struct service *provider_service(const struct provider *p)
{
    return p->service;
}

uint32_t provider_label(const struct provider *p)
{
    return p->state->label;
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static double average_ms(uint64_t ns, uint64_t n)
{
    return n ? (double)ns / (double)n / (double)CLOCK_MS : 0;
}

static void status_under_lock(struct provider_state *s, struct arena *arena, struct provider_status *out)
{
    uint64_t now = clock_now();
    pthread_mutex_lock(&s->lock);
    out->healthy = !is_sick(s);
    out->auth_failed = s->auth != AUTH_GOOD;
    out->breaker = breaker_state(&s->breaker, now);
    out->cooldown_ms = s->cool_until > now ? (s->cool_until - now + CLOCK_MS - 1) / CLOCK_MS : 0;
    out->last_check_us = s->last_check_us;
    out->last_error = arena_str(arena, str_from_c(s->last_error));
    pthread_mutex_unlock(&s->lock);
}

void provider_status(const struct provider *p, struct arena *arena, struct provider_status *out)
{
    struct provider_state *s = p->state;
    *out = (struct provider_status){
        .name = arena_str(arena, s->name),
        .disabled = p->config->disabled,
        .fallback_only = p->config->fallback_only,
        .in_flight = gate_inside(s->gate),
        .waiting = gate_waiting(s->gate),
        .requests = get(&s->requests),
        .failures = get(&s->failures),
        .latency_ms = average_ms(get(&s->total_ns), get(&s->total_count)),
        .first_byte_ms = average_ms(get(&s->head_ns), get(&s->head_count)),
        .model_count = p->config->models.count,
    };
    if (!out->model_count) {
        const struct model_list *list = model_shelf_look(&s->models);
        out->model_count = list ? list->count : 0;
        model_shelf_done(&s->models);
    }
    status_under_lock(s, arena, out);
}
