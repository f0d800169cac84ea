/*
 * The grammar of approaches (approach.h has it), and the list of their names. A slug that does not exist is
 * the client's error and found first; only an expression that is right can name what is not built yet.
 */
#include "llm/approach.h"

static const struct str slugs[] = {
#define SLUG(name)                                                                                           \
    {                                                                                                        \
        name, sizeof name - 1                                                                                \
    }
    SLUG("none"),
    SLUG("proxy"),
    SLUG("bon"),
    SLUG("moa"),
    SLUG("self_consistency"),
    SLUG("cot_reflection"),
    SLUG("re2"),
    SLUG("rto"),
    SLUG("leap"),
    SLUG("plansearch"),
    SLUG("pvg"),
    SLUG("mcts"),
    SLUG("rstar"),
    SLUG("majority_voting"),
    SLUG("genselect"),
    SLUG("deepthink"),
    SLUG("cepo"),
    SLUG("mars"),
    SLUG("spl"),
    SLUG("memory"),
    SLUG("longcepo"),
    SLUG("compact"),
    SLUG("readurls"),
    SLUG("web_search"),
    SLUG("deep_research"),
    SLUG("mcp"),
    SLUG("privacy"),
    SLUG("json"),
    SLUG("router"),
    SLUG("executecode"),
    SLUG("coc"),
    SLUG("z3"),
    SLUG("cot_decoding"),
    SLUG("thinkdeeper"),
    SLUG("autothink"),
    SLUG("deepconf"),
    SLUG("entropy_decoding"),
#undef SLUG
};

bool approach_is_known(struct str slug)
{
    for (size_t i = 0; i < COUNT_OF(slugs); i++)
        if (str_eq(slugs[i], slug))
            return true;
    return false;
}

static bool is_none(struct str slug)
{
    return str_eq(slug, STR("none"));
}

static bool is_proxy(struct str slug)
{
    return str_eq(slug, STR("proxy"));
}

static bool is_expression(struct str part)
{
    return str_find(part, '&') < part.n || str_find(part, '|') < part.n;
}

struct parse {
    struct approach_plan *plan;
    struct error *error;
    struct str unbuilt; /* the first slug that is not built */
    bool ended;         /* `none-` was met: no slug may follow */
};

static enum err fail(struct parse *p, struct str slug, const char *why)
{
    return error_set(p->error, ERR_BAD_REQUEST, "the approach '%.*s' %s", STR_ARG(str_first(slug, 64)), why);
}

static enum err check_slug(struct parse *p, struct str slug, struct str whole)
{
    if (!slug.n)
        return fail(p, whole, "has an empty name in it");
    if (!approach_is_known(slug))
        return fail(p, slug, "is unknown");
    if (!p->unbuilt.n && !is_none(slug) && !is_proxy(slug))
        p->unbuilt = slug;
    return OK;
}

static enum err stage_add(struct parse *p, struct str slug, bool alternative)
{
    struct approach_plan *plan = p->plan;
    if (plan->stage_count == APPROACH_STAGES_MAX)
        return fail(p, slug, "is one too many: at most 16 can be combined");
    if (alternative)
        plan->alternatives |= (uint32_t)1 << plan->stage_count;
    plan->is_or |= alternative;
    plan->stages[plan->stage_count++] = slug;
    return OK;
}

/* Cuts the next slug; *separator is what stands behind it, 0 at the end. */
static struct str next_slug(struct str *rest, char *separator)
{
    size_t n = MIN(str_find(*rest, '&'), str_find(*rest, '|'));
    struct str slug = str_first(*rest, n);
    *separator = n < rest->n ? rest->p[n] : 0;
    *rest = str_from(*rest, n + (*separator != 0));
    return slug;
}

/* Several slugs, or one. `add`: they become stages, otherwise they are only checked. */
static enum err read_expression(struct parse *p, struct str part, bool add)
{
    struct str rest = part;
    char before = 0, after;
    do {
        struct str slug = next_slug(&rest, &after);
        TRY(check_slug(p, slug, part));
        if (is_none(slug) && (before || after))
            return fail(p, part, "combines 'none' with others");
        if (add)
            TRY(stage_add(p, slug, before == '|'));
        before = after;
    } while (after);
    return OK;
}

/* 'none' ends the prefix. It may follow only `proxy`, which then wraps nothing. */
static enum err read_none(struct parse *p)
{
    for (int i = 0; i < p->plan->stage_count; i++)
        if (!is_proxy(p->plan->stages[i]))
            return fail(p, STR("none"), "cannot be combined with others");
    p->ended = true;
    return p->plan->stage_count ? OK : stage_add(p, STR("none"), false);
}

/* A part of the chain A-B-…: slugs that follow a plain `proxy` are what it wraps. */
static enum err read_part(struct parse *p, struct str part)
{
    if (is_none(part))
        return read_none(p);
    if (!p->plan->wrap.n && p->plan->stage_count == 1 && is_proxy(p->plan->stages[0]))
        p->plan->wrap = part;
    return read_expression(p, part, true);
}

/* The field or the flag: nothing but slugs. */
static enum err read_prefix(struct parse *p, struct str prefix)
{
    if (!prefix.n || str_eq(prefix, STR("auto")))
        return OK;
    while (prefix.n && !p->ended) {
        struct str part = str_cut(&prefix, '-');
        TRY(read_part(p, part));
    }
    return prefix.n ? fail(p, STR("none"), "cannot be combined with others") : OK;
}

static enum err read_model(struct parse *p, struct str model, bool is_listed)
{
    struct str rest = model;
    while (!is_listed && !p->ended && rest.n) {
        struct str after = rest, part = str_cut(&after, '-');
        if (!approach_is_known(part) && !is_expression(part))
            break;
        TRY(read_part(p, part));
        rest = after;
    }
    p->plan->model = rest;
    if (!p->plan->stage_count)
        TRY(stage_add(p, STR("none"), false));
    if (!rest.n)
        return error_set(p->error, ERR_BAD_REQUEST, "no model is left of '%.*s' after its approach",
                         STR_ARG(str_first(model, 64)));
    return OK;
}

static bool has_proxy(const struct approach_plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++)
        if (is_proxy(plan->stages[i]))
            return true;
    return false;
}

/* It is always checked, and counts only where there is a proxy that wraps (contract 1.7). */
static enum err read_wrap(struct parse *p, struct str wrap)
{
    struct parse ignored = {.plan = p->plan, .error = p->error};
    if (!wrap.n)
        return OK;
    bool counts = has_proxy(p->plan);
    if (counts)
        p->plan->wrap = wrap;
    return read_expression(counts ? p : &ignored, wrap, false);
}

enum err approach_parse(struct arena *arena, struct str model, struct str field, const char *flag,
                        struct str wrap, bool model_is_listed, struct approach_plan *plan, const char **param,
                        struct error *error)
{
    struct parse p = {.plan = plan, .error = error};
    bool from_field = field.n && !str_eq(field, STR("auto"));
    struct str default_approach = str_from_c(flag);
    if (is_none(default_approach)) /* of the server: no more than the absence of another */
        default_approach = STR_NONE;
    *plan = (struct approach_plan){0};
    *param = "hulumanage_approach";
    TRY(read_prefix(&p, from_field ? field : default_approach));
    bool unbuilt_before = p.unbuilt.n;
    *param = "model";
    TRY(read_model(&p, model, model_is_listed));
    bool unbuilt_in_model = p.unbuilt.n;
    *param = "proxy_wrap";
    TRY(read_wrap(&p, wrap));
    if (!p.unbuilt.n) {
        *param = NULL;
        return OK;
    }
    *param = unbuilt_before ? "hulumanage_approach" : unbuilt_in_model ? "model" : "proxy_wrap";
    return error_set(error, ERR_NOT_AVAILABLE, "the approach '%.*s' is not available in this version",
                     STR_ARG(p.unbuilt));
}
