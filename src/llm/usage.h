/*
 * Usage as the answer passes: token counts of a plain JSON answer or of a stream of events, read across any
 * split of the bytes, without holding the answer. And the event filter: takes out the usage chunk that only
 * we asked for. Pure.
 */
#ifndef HESTIA_LLM_USAGE_H
#define HESTIA_LLM_USAGE_H

#include "base/buf.h"

struct llm_usage {
    bool known;
    uint64_t prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens;
};

/* Plain answers: feed every byte, in order; the top-level "usage" object is found at any size and depth of
 * the rest. It looks and does not judge: what is no JSON gives no usage, or sets `broken`. Zero it first. */
struct usage_reader {
    struct llm_usage usage; /* known once the object's end has passed */
    bool empty_choices;     /* "choices": [] */
    bool has_error;         /* "error": an object or a string */
    bool complete;          /* the outermost object has ended */
    bool broken;
    /* private: an incremental scanner that remembers no more than where it is */
    uint8_t state, wanted;
    uint8_t places[4]; /* what the outermost containers are; see usage.c */
    bool escaped, expect_key, counted;
    uint8_t key_n;
    char key[32];
    uint32_t depth;
    uint64_t number;
};
void usage_reader_feed(struct usage_reader *r, struct str bytes);

/* Streams: cuts the bytes into events (lines end in LF, CRLF or CR; an event ends with an empty line; at most
   1 MiB), looks at each `data:` for usage, error objects and [DONE], and forwards the events to `out` byte
   for byte, but for those whose choices are empty and which have usage, when drop_usage is set. Incomplete
   events wait inside. Where several events bring usage, the last one counts. Zero it first. */
enum { EVENT_MAX = 1 << 20 };
struct event_filter {
    bool drop_usage;
    struct llm_usage usage;
    bool saw_event;        /* a complete event with data has passed (comments do not count) */
    bool saw_done;         /* data: [DONE] */
    bool began_with_error; /* the very first one was */
    bool saw_error;        /* an event whose data is an error object */
    /* Events with data so far, but for [DONE], errors and those that only bring usage: about one token each.
     */
    uint64_t content_events;
    struct buf pending; /* of the incomplete event; free it */
    /* private */
    bool in_line;      /* the current line has bytes */
    bool after_cr;     /* a LF that comes now belongs to the CR before it */
    bool in_event;     /* bytes of an event have come; else that LF belongs to the event before */
    bool last_dropped; /* that event was taken out */
};
/* ERR_LIMIT: an event beyond EVENT_MAX, or `out` is full; ERR_NOMEM. The filter is of no use afterwards. */
enum err event_filter_feed(struct event_filter *f, struct str bytes, struct buf *out) MUST_CHECK;
/* At the end of the stream: what is left (an event without its empty line) is looked at, and goes out as it
   is, or not at all, like any other. */
enum err event_filter_end(struct event_filter *f, struct buf *out) MUST_CHECK;
void event_filter_free(struct event_filter *f);

#endif
