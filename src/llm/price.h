/*
 * Prices: what a model's tokens cost, in pico-dollars per token (int64, checked). The catalog is data
 * (prices.def: the well-known models), an import in LiteLLM's format goes over it, the configuration's
 * `pricing` over both. Immutable, part of a snapshot; reading it is pure.
 */
#ifndef HESTIA_LLM_PRICE_H
#define HESTIA_LLM_PRICE_H

#include "config/config.h"
#include "llm/usage.h"

struct price {
    int64_t input, output;           /* pico-dollars per token */
    int64_t cached_input, reasoning; /* for cached prompt tokens and reasoning tokens; -1: as input, output */
    uint32_t context_window;         /* tokens; 0 = unknown */
    uint32_t max_output;
    bool known;      /* somebody says what it costs (it may be 0: free) */
    bool overridden; /* by the configuration */
};

struct prices; /* reference-counted, immutable */
/* Blocking (the import is a file): boot and reload, control thread. NULL with the reason. */
struct prices *prices_new(const struct pricing_config *config, struct error *error);
struct prices *prices_ref(struct prices *p);
void prices_unref(struct prices *p);

/* The price of a provider's model, by the name that is sent to it: as it is, then without a date, "-latest"
   or
   ":tag" at its end, then without what stands before the last '/'; of each form the import, then the catalog,
   where a name may also be "provider/model". Over that, whatever form it names: an override of the model, and
   over that one of (provider, model). ASCII case does not matter. Allocates nothing. Unknown: all 0, known =
   false. */
struct price prices_find(const struct prices *p, struct str provider, struct str model);

/* What this usage costs: cached tokens are part of the prompt's, reasoning tokens part of the completion's.
   Saturates at INT64_MAX. */
int64_t price_cost(const struct price *p, const struct llm_usage *usage);

#endif
