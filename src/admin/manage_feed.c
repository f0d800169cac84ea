/* Log lines to subscribers. The lines are handed over on the threads that log, under one lock. */
#include "admin/manage_feed.h"

#include "base/log.h"

#include <pthread.h>

static struct {
    pthread_mutex_t mutex;
    struct list readers;
    size_t count;
} feed = {.mutex = PTHREAD_MUTEX_INITIALIZER, .readers = LIST_INIT(feed.readers)};

static bool list_has(struct str list, struct str word)
{
    struct str element;
    while (str_next_element(&list, &element))
        if (str_eq(element, word))
            return true;
    return false;
}

static bool reader_wants(const struct feed_reader *r, struct str type)
{
    if (r->types.n && list_has(r->types, type))
        return true;
    if (str_eq(type, STR("request_start")) || str_eq(type, STR("request_end")))
        return r->with_requests && !r->types.n;
    return !r->types.n;
}

static void event_add(struct buf *out, struct str type, struct str line)
{
    buf_add_c(out, "event: ");
    buf_add_str(out, type);
    buf_add_c(out, "\ndata: ");
    buf_add_str(out, line); /* ends in '\n' and has no other */
    buf_add_char(out, '\n');
}

/* Never a part of an event: the room is made before. */
static void reader_give(struct feed_reader *r, struct str type, struct str line)
{
    size_t size = type.n + line.n + 16;
    if (r->backlog.n + size > FEED_BACKLOG_MAX || !buf_reserve(&r->backlog, size)) {
        r->backlog.err = OK;
        r->lost++;
        return;
    }
    event_add(&r->backlog, type, line);
}

static void feed_line(enum log_level level, const char *event_type, struct str line)
{
    struct str type = str_from_c(event_type);
    pthread_mutex_lock(&feed.mutex);
    LIST_EACH(node, &feed.readers)
    {
        struct feed_reader *r = CONTAINER_OF(node, struct feed_reader, node);
        if (reader_wants(r, type))
            reader_give(r, type, line);
    }
    pthread_mutex_unlock(&feed.mutex);
}

bool feed_join(struct feed_reader *reader)
{
    pthread_mutex_lock(&feed.mutex);
    bool has_room = feed.count < FEED_MAX;
    if (has_room) {
        reader->backlog = BUF(FEED_BACKLOG_MAX);
        list_push_back(&feed.readers, &reader->node);
        if (feed.count++ == 0)
            log_set_tap(feed_line);
    }
    pthread_mutex_unlock(&feed.mutex);
    return has_room;
}

void feed_leave(struct feed_reader *reader)
{
    pthread_mutex_lock(&feed.mutex);
    if (list_linked(&reader->node)) {
        list_remove(&reader->node);
        if (--feed.count == 0)
            log_set_tap(NULL);
    }
    pthread_mutex_unlock(&feed.mutex);
    buf_free(&reader->backlog);
}

void feed_take(struct feed_reader *reader, struct buf *out)
{
    struct buf empty = *out;
    pthread_mutex_lock(&feed.mutex);
    uint64_t lost = reader->lost;
    *out = reader->backlog;
    empty.max = FEED_BACKLOG_MAX;
    reader->backlog = empty;
    reader->lost = 0;
    pthread_mutex_unlock(&feed.mutex);
    if (!lost)
        return;
    out->max = FEED_BACKLOG_MAX + 128;
    buf_addf(out, "event: events_lost\ndata: {\"lost\":%llu}\n\n", (unsigned long long)lost);
}
