/*
 * Approaches: which technique a request asks for, by model prefix, body field or --approach
 * (contract/hulumanage 1.4, 1.5, 1.7). In this version `none` and `proxy` do the work; every other known slug
 * is answered 501 by name. Each will be one file. Pure.
 *
 *     model string  =  { expression "-" } model          parts are taken while they are slugs or have & or |
 *     expression    =  pipeline { "|" pipeline }         alternatives; & binds tighter
 *     pipeline      =  slug { "&" slug }
 *
 * `none-` ends the prefix: what follows is the model even if it looks like a slug. proxy-X-model wraps X in
 * the pool, as proxy_wrap does. The body field, else --approach, stands before the model string; `auto` is no
 * approach at all, and `none` as --approach neither.
 */
#ifndef HESTIA_LLM_APPROACH_H
#define HESTIA_LLM_APPROACH_H

#include "base/arena.h"
#include "base/err.h"

enum { APPROACH_STAGES_MAX = 16 };

struct approach_plan {
    struct str stages[APPROACH_STAGES_MAX]; /* slugs in order */
    int stage_count;
    bool is_or;            /* there are alternatives (|), otherwise a pipeline (&) */
    uint32_t alternatives; /* bit i: stage i begins an alternative; bit 0 is not used */
    struct str wrap;       /* proxy_wrap; only where a stage is proxy */
    struct str model;      /* what is left of the model string */
};

bool approach_is_known(struct str slug);
/* model: as the client sent it; field: hulumanage_approach or empty; flag: --approach or NULL; wrap:
   proxy_wrap or empty. model_is_listed: the whole model string is a model that some provider lists, so it is
   no expression. ERR_BAD_REQUEST: unknown slug, broken expression, `none` combined, no model left;
   ERR_NOT_AVAILABLE naming the first slug that is not built yet. OK: only none/proxy: the pool serves
   plan->model. *param is "model", "hulumanage_approach" (also for a bad flag) or "proxy_wrap" on error. Spans
   point into the arguments; the arena is for what must be built, which is nothing so far. */
enum err approach_parse(struct arena *arena, struct str model, struct str field, const char *flag,
                        struct str wrap, bool model_is_listed, struct approach_plan *plan, const char **param,
                        struct error *error) MUST_CHECK;

#endif
