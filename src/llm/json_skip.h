/*
 * Over what is nested in JSON and of no interest, however it is split: 64 bytes at a time where the processor
 * can. Used by usage.c. Pure.
 */
#ifndef HESTIA_LLM_JSON_SKIP_H
#define HESTIA_LLM_JSON_SKIP_H

#include "base/base.h"

struct json_nest {
    uint32_t depth; /* brackets of both kinds that are open */
    bool in_string;
    bool escaped; /* in a string, behind a backslash */
};

/* From p on until `depth` is down to `floor` (below it before), which is behind a closing bracket, or as far
   as whole blocks go; what is left is the caller's, as is all where something is not as in JSON: a backslash
   outside of a string. Returns where it stopped: p itself if it could do nothing. */
const char *json_skip_nested(const char *p, const char *end, uint32_t floor, struct json_nest *nest);

#endif
