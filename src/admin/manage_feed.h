/*
 * The log as a feed: up to FEED_MAX subscribers, each with a bounded backlog of server-sent events. While
 * there is one, the log's tap is open. Lines come on any thread, a subscriber is served on its own.
 */
#ifndef HESTIA_ADMIN_MANAGE_FEED_H
#define HESTIA_ADMIN_MANAGE_FEED_H

#include "base/buf.h"
#include "base/list.h"

enum { FEED_MAX = 32, FEED_BACKLOG_MAX = 256 << 10 /* bytes */ };

/* Zero it, set the first two, join. */
struct feed_reader {
    struct str types;   /* "a,b": only these event types; empty: all but request_start and request_end */
    bool with_requests; /* those too */
    struct list node;
    struct buf backlog;
    uint64_t lost; /* events, since the last that was taken */
};

/* False: there are FEED_MAX already. */
bool feed_join(struct feed_reader *reader) MUST_CHECK;
/* Harmless for one that has not joined. Frees its backlog. */
void feed_leave(struct feed_reader *reader);
/* Everything since the last call into `out`, which must be empty; events that were lost because the backlog
   was full are followed by one that tells how many. */
void feed_take(struct feed_reader *reader, struct buf *out);

#endif
