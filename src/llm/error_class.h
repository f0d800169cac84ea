/*
 * What an upstream's error is about, by status first and then by code and text, ASCII case set aside
 * (contract/localrouter 3.4, "Recommended status-first mapping"). Pure.
 */
#ifndef HESTIA_LLM_ERROR_CLASS_H
#define HESTIA_LLM_ERROR_CLASS_H

#include "base/str.h"

enum error_class {
    CLASS_NONE,           /* a good answer */
    CLASS_RATE_LIMITED,   /* 429 */
    CLASS_QUOTA,          /* 402, and 429 for lack of credit: rests for long */
    CLASS_POLICY,         /* the content was refused */
    CLASS_CONTEXT_LENGTH, /* the prompt is too long for the model */
    CLASS_UNREACHABLE,    /* no answer, 502, 503, 504, 529 */
    CLASS_UNSUPPORTED,    /* 404: this provider has no such model or endpoint */
    CLASS_AUTH,           /* 401, 403: the provider's key */
    CLASS_OTHER,          /* 500 and what else an upstream may do */
    CLASS_CLIENT,         /* 400, 413, 422: the request itself is wrong; no other model will like it */
};

/* status 0: no answer came. `body`: of the error answer, as far as it was read. */
enum error_class error_class_of(int status, struct str body);
/* Whether auto-routing goes on to the next model: all but CLASS_NONE and CLASS_CLIENT; CLASS_OTHER only where
   the strategy says so. */
bool error_class_retryable(enum error_class c, bool fallback_on_other);
const char *error_class_name(enum error_class c); /* "rate_limited", "policy_violation", … */

#endif
