/*
 * The log: one JSON object per line on standard output (contract of section 6; text for people on request).
 * A line is built with the JSON writer and handed over whole; a thread of its own writes, so that a slow
 * reader never blocks a request. When the reader is too slow, lines are dropped and the loss is logged.
 *
 *     struct log_line l;
 *     if (log_begin(&l, LOG_INFO, "service_ready", "Service ready: %.*s", STR_ARG(id))) {
 *         json_key_str(&l.json, "service_id", id);
 *         log_end(&l);
 *     }
 */
#ifndef HESTIA_BASE_LOG_H
#define HESTIA_BASE_LOG_H

#include "base/json.h"

/* LOG_ALWAYS passes every threshold and is shown as INFO: for the line that says where Hestia listens. */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_ALWAYS };

struct log_line {
    struct buf text;
    struct json json; /* add fields with json_key_… */
    /* For the tap: */
    enum log_level level;
    const char *event_type;
    struct buf json_head; /* of a line that is text for people: its JSON up to the fields */
    size_t fields_at;     /* where the fields begin in `text` */
};

extern enum log_level log_threshold; /* read by log_enabled only: the lower of the log's and the tap's */

static inline bool log_enabled(enum log_level level)
{
    return level >= __atomic_load_n(&log_threshold, __ATOMIC_RELAXED);
}

/* Opens a line with timestamp, level, event_type and message; false (nothing to end) below the threshold. */
bool log_begin(struct log_line *l, enum log_level level, const char *event_type, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* Closes the object and queues the line. Never blocks. */
void log_end(struct log_line *l);
/* A line without further fields. */
void log_event(enum log_level level, const char *event_type, const char *format, ...) PRINTF_LIKE(3, 4);

void log_set_level(enum log_level level);
bool log_level_parse(struct str name, enum log_level *level); /* "INFO", "warn", … any case */
const char *log_level_name(enum log_level level);

/* Where finished lines go. The default (before main starts the writer thread, and in unit tests) writes to
   standard output at once. `line` ends in '\n'. */
typedef void log_sink(struct str line);
void log_set_sink(log_sink *sink);
/* A second reader: every line from INFO on, always as JSON with its '\n', whatever level and format the log
   itself has. Called on the thread that logs; must not log. `event_type` is a constant. NULL: nobody listens,
   and then a tap costs nothing; a call that has begun may still be under way. */
typedef void log_tap(enum log_level level, const char *event_type, struct str line);
void log_set_tap(log_tap *tap);
/* Text instead of JSON: "12:00:01 INFO service_ready Service ready: x service_id=x". */
void log_set_text(bool text);

#endif
