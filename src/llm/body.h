/*
 * Bodies of LLM requests: checked and read without being rebuilt. One pass finds the spans of what Hestia
 * must know; a splice replaces single values and everything else passes byte for byte, unknown fields
 * included. Pure. Rules: issue "The pool" item 4, details.md sections 9, 11 and 14.
 */
#ifndef HESTIA_LLM_BODY_H
#define HESTIA_LLM_BODY_H

#include "base/arena.h"
#include "base/err.h"

enum { LLM_DEPTH_MAX = 64, LLM_KEYS_MAX = 10000, LLM_MODEL_MAX = 1024 };

/* A top-level member: from the key's quote to the end of the value, and the value alone. n == 0: absent. */
struct llm_member {
    struct str whole, value;
};

struct llm_body {
    struct str text;  /* the whole body */
    struct str model; /* decoded */
    struct llm_member model_at;
    bool stream;                            /* "stream": true */
    bool has_stream_options, include_usage; /* stream_options.include_usage: true */
    struct llm_member stream_options;
    struct str include_usage_at; /* the value of stream_options.include_usage; n == 0: absent */
    bool stream_options_empty;   /* {} */
    struct llm_member approach;  /* hulumanage_approach, top level */
    struct str approach_text;    /* decoded; also from extra_body.hulumanage_approach (top level wins) */
    struct str wrap_text;        /* proxy_wrap | wrapped_approach | wrap, top level or in extra_body */
    struct llm_member wrap[3];
    struct llm_member extra_body;       /* the member, when it holds private fields of ours */
    struct llm_member extra_private[4]; /* those inside it, in their order */
    size_t extra_private_count;
    size_t extra_count;  /* members of extra_body in all */
    uint64_t max_tokens; /* max_completion_tokens, max_tokens; 0 = not given */
    size_t prompt_bytes; /* of messages / prompt / input: for estimates */
    struct str user;     /* decoded `user`, may be empty */
};

/* Structure, strings, control characters, UTF-8, depth, number of keys (json_scan.h says how strictly); model
   missing, empty, no string, longer than LLM_MODEL_MAX, or with control characters; a wrong type of another
   field that Hestia acts upon; and any such key that stands twice (however it is escaped), as the upstream
   might heed the other one. ERR_BAD_REQUEST with a sentence; *param names the field ("model") or is NULL.
   ERR_NOMEM. Spans point into `text`, decoded texts into it or into the arena. */
enum err llm_body_scan(struct arena *arena, struct str text, struct llm_body *body, const char **param,
                       struct error *error) MUST_CHECK;

/* The body as it is sent to one provider: `model` replaced (when different), private members taken out, an
   emptied extra_body removed, and with add_usage stream_options.include_usage: true put in. As up to
   LLM_PARTS_MAX pieces of the original and of short texts in the arena, to be sent in order; *total is their
   length. */
enum { LLM_PARTS_MAX = 32 };
struct llm_parts {
    struct str part[LLM_PARTS_MAX];
    int count;
    size_t total;
};
enum err llm_body_splice(struct arena *arena, const struct llm_body *body, struct str model, bool add_usage,
                         struct llm_parts *parts) MUST_CHECK;

#endif
