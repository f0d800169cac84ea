/*
 * Inside of price*.c: lists of prices by name, and the file format that fills one. Built by the control
 * thread, read by all once they are part of a `struct prices`.
 */
#ifndef HESTIA_LLM_PRICE_LIST_H
#define HESTIA_LLM_PRICE_LIST_H

#include "llm/price.h"

enum { PRICE_NAME_MAX = 1280 }; /* bytes of a provider, a separator and a model */

/* Adds or replaces; the name is copied in lower case. */
enum err price_list_put(struct arena *arena, struct map *list, struct str name,
                        const struct price *price) MUST_CHECK;

/* Reads a file in the format of LiteLLM's price list into `list`. Entries that make no sense are left out and
   counted in the log. ERR_CONFIG with path and place, ERR_NOMEM. */
enum err price_import(struct arena *arena, struct str path, struct map *list, struct error *error) MUST_CHECK;

#endif
