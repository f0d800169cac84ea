/* Where a running service can be reached, and which place is next. See placement.h. */
#include "service/placement.h"

#include "base/clock.h"
#include "base/mem.h"

/* ---- building ---------------------------------------------------------------------------------------- */

struct str port_substitute(struct arena *arena, struct str text, uint16_t port)
{
    static const struct str mark = {"${PORT}", 7};
    struct buf out CLEANUP(buf_free) = BUF(1 << 20);
    while (port && text.n) {
        size_t at = str_find_str(text, mark);
        buf_add_str(&out, str_first(text, at));
        if (at < text.n)
            buf_add_u64(&out, port);
        text = str_from(text, at < text.n ? at + mark.n : text.n);
    }
    buf_add_str(&out, text);
    return buf_err(&out) == OK ? arena_str(arena, buf_str(&out)) : STR_NONE;
}

static enum err place_init(struct placement *p, struct place *place, const struct service_config *config,
                           struct str text, uint16_t port, struct error *error)
{
    struct tls_client_options tls = {.ca_file = config->tls.ca,
                                     .insecure_skip_verify = config->tls.insecure_skip_verify,
                                     .allow_unclean_close = config->tls.allow_unclean_close};
    text = port_substitute(&p->arena, text, port);
    if (!text.p)
        return error_set(error, ERR_NOMEM, "out of memory");
    TRY(url_parse(&p->arena, text, &place->url, error));
    place->origin = origin_intern(&place->url, &tls, error);
    atomic_init(&place->aside_until, 0);
    return place->origin ? OK : error->err != OK ? error->err : ERR_NOMEM;
}

static enum err places_init(struct placement *p, const struct service_config *config, uint16_t port,
                            struct error *error)
{
    size_t count = config->instance_count ? config->instance_count : 1;
    REQUIRE(count <= PLACES_MAX);
    p->list = arena_alloc(&p->arena, count * sizeof *p->list);
    if (!p->list)
        return error_set(error, ERR_NOMEM, "out of memory");
    if (config->instance_count == 0 && config->base_url_text.n == 0)
        return error_set(error, ERR_START_FAILED, "it has no base_url");
    for (size_t i = 0; i < count; i++) {
        const struct instance_config *instance = config->instance_count ? &config->instances[i] : NULL;
        TRY(place_init(p, &p->list[i], config, instance ? instance->url_text : config->base_url_text, port,
                       error));
        p->list[i].weight = instance ? (uint32_t)MIN(MAX(instance->weight, 1), 1000000) : 1;
    }
    p->count = count;
    return OK;
}

static enum err health_init(struct placement *p, const struct service_config *config, uint16_t port,
                            struct error *error)
{
    p->has_health = config->health_url_text.n > 0;
    return p->has_health ? place_init(p, &p->health, config, config->health_url_text, port, error) : OK;
}

static enum err turns_init(struct placement *p, struct error *error)
{
    uint32_t weights[PLACES_MAX];
    uint16_t turns[TURNS_MAX];
    for (size_t i = 0; i < p->count; i++)
        weights[i] = p->list[i].weight;
    p->turn_count = turns_fill(weights, p->count, turns);
    p->turns = arena_alloc(&p->arena, p->turn_count * sizeof *turns);
    if (!p->turns)
        return error_set(error, ERR_NOMEM, "out of memory");
    memcpy(p->turns, turns, p->turn_count * sizeof *turns);
    return OK;
}

struct placement *placement_new(const struct service_config *config, uint16_t port, struct error *error)
{
    struct placement *p = mem_alloc(sizeof *p);
    if (!p) {
        error_set(error, ERR_NOMEM, "out of memory");
        return NULL;
    }
    if (places_init(p, config, port, error) == OK && health_init(p, config, port, error) == OK &&
        turns_init(p, error) == OK)
        return p;
    placement_free(p);
    return NULL;
}

void placement_free(struct placement *p)
{
    if (!p)
        return;
    arena_free(&p->arena);
    mem_free(p);
}

/* ---- turns ------------------------------------------------------------------------------------------- */

static uint64_t divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Smallest whole weights in the same proportion, rounded so that their sum fits one round. */
static uint64_t weights_reduce(const uint32_t *weights, size_t count, uint32_t *reduced)
{
    uint64_t common = 0, sum = 0, fitted = 0;
    for (size_t i = 0; i < count; i++) {
        common = divisor(weights[i], common);
        sum += weights[i];
    }
    uint64_t room = TURNS_MAX - count;
    for (size_t i = 0; i < count; i++) {
        reduced[i] = sum / common <= TURNS_MAX ? (uint32_t)(weights[i] / common)
                                               : (uint32_t)MAX(weights[i] * room / sum, 1);
        fitted += reduced[i];
    }
    return fitted;
}

size_t turns_fill(const uint32_t *weights, size_t count, uint16_t turns[TURNS_MAX])
{
    uint32_t reduced[PLACES_MAX];
    int64_t credit[PLACES_MAX] = {0};
    REQUIRE(count > 0 && count <= PLACES_MAX);
    uint64_t sum = weights_reduce(weights, count, reduced);
    REQUIRE(sum <= TURNS_MAX);
    for (size_t turn = 0; turn < sum; turn++) {
        size_t best = 0;
        for (size_t i = 0; i < count; i++) {
            credit[i] += reduced[i];
            if (credit[i] > credit[best])
                best = i;
        }
        credit[best] -= (int64_t)sum;
        turns[turn] = (uint16_t)best;
    }
    return sum;
}

/* ---- picking ----------------------------------------------------------------------------------------- */

static bool was_tried(uint64_t tried, size_t index)
{
    return index < 64 && (tried >> index & 1);
}

/* In use; or its time aside is over and this request is the one that finds out. */
static bool place_usable(struct place *place)
{
    uint64_t until = atomic_load_explicit(&place->aside_until, memory_order_relaxed);
    if (LIKELY(until == 0))
        return true;
    uint64_t now = clock_now();
    return now >= until && atomic_compare_exchange_strong_explicit(
                               &place->aside_until, &until, clock_after(now, PLACE_ASIDE_MS),
                               memory_order_relaxed, memory_order_relaxed);
}

bool placement_pick(struct placement *p, uint64_t tried, size_t *index)
{
    for (size_t n = 0; p->count > 1 && n < p->turn_count; n++) {
        uint32_t turn = atomic_fetch_add_explicit(&p->turn, 1, memory_order_relaxed);
        *index = p->turns[turn % p->turn_count];
        if (!was_tried(tried, *index) && place_usable(&p->list[*index]))
            return true;
    }
    for (*index = 0; *index < p->count; (*index)++)
        if (!was_tried(tried, *index))
            return true;
    return false;
}

void placement_report(struct placement *p, size_t index, bool ok)
{
    struct place *place = &p->list[index];
    if (!ok)
        atomic_store_explicit(&place->aside_until, clock_after(clock_now(), PLACE_ASIDE_MS),
                              memory_order_relaxed);
    else if (UNLIKELY(atomic_load_explicit(&place->aside_until, memory_order_relaxed) != 0))
        atomic_store_explicit(&place->aside_until, 0, memory_order_relaxed);
}
