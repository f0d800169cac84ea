/* Building log lines. The sink (loop/log_writer) owns the writing. Any thread. */
#include "base/log.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 64 << 10 };

enum log_level log_threshold = LOG_INFO;
static pthread_mutex_t threshold_lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_level sink_threshold = LOG_INFO; /* of the log; log_threshold may be lower for the tap */
static log_sink *sink_now;
static log_tap *tap_now;
static bool text_format;

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "INFO"};

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

bool log_level_parse(struct str name, enum log_level *level)
{
    for (size_t i = 0; i < COUNT_OF(level_names); i++)
        if (str_eq_nocase(name, str_from_c(level_names[i]))) {
            *level = (enum log_level)i;
            return true;
        }
    *level = LOG_WARNING;
    return str_eq_nocase(name, STR("warn"));
}

/* The lock only orders those who set: readers need one value, not both. */
static void thresholds_set(const enum log_level *level, log_tap *const *tap)
{
    pthread_mutex_lock(&threshold_lock);
    if (level)
        __atomic_store_n(&sink_threshold, *level, __ATOMIC_RELAXED);
    if (tap)
        __atomic_store_n(&tap_now, *tap, __ATOMIC_RELEASE);
    enum log_level lower = tap_now ? MIN(sink_threshold, LOG_INFO) : sink_threshold;
    __atomic_store_n(&log_threshold, lower, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&threshold_lock);
}

void log_set_level(enum log_level level)
{
    thresholds_set(&level, NULL);
}

void log_set_tap(log_tap *tap)
{
    thresholds_set(NULL, &tap);
}

void log_set_sink(log_sink *sink)
{
    __atomic_store_n(&sink_now, sink, __ATOMIC_RELEASE);
}

void log_set_text(bool text)
{
    text_format = text;
}

static void sink_stdout(struct str line)
{
    while (line.n) {
        ssize_t n = write(STDOUT_FILENO, line.p, line.n);
        if (n <= 0)
            return;
        line = str_from(line, (size_t)n);
    }
}

static void write_json_head(struct json *j, const struct log_line *l, struct str message)
{
    json_put_object(j);
    buf_add_c(j->out, "\"timestamp\":\"");
    clock_format(j->out, clock_wall_us());
    buf_add_char(j->out, '"');
    j->comma = true;
    json_key_c(j, "level", level_names[l->level]);
    json_key_c(j, "event_type", l->event_type);
    json_key_str(j, "message", message);
}

/* As JSON has it but for quotes, which need no backslash here: no line break, no sequence of a terminal. */
static void add_plain(struct buf *out, struct str message)
{
    size_t quote;
    for (; (quote = str_find(message, '"')) < message.n; message = str_from(message, quote + 1)) {
        json_escape(out, str_first(message, quote));
        buf_add_char(out, '"');
    }
    json_escape(out, message);
}

/* "TIME LEVEL event message {fields}": the fields stay JSON, which is readable enough and cannot be forged.
 */
static void begin_text(struct log_line *l, struct str message)
{
    clock_format(&l->text, clock_wall_us());
    buf_addf(&l->text, " %-7s %s ", level_names[l->level], l->event_type);
    add_plain(&l->text, message);
    buf_add_char(&l->text, ' ');
    l->fields_at = l->text.n;
    json_put_object(&l->json);
    if (!__atomic_load_n(&tap_now, __ATOMIC_RELAXED))
        return;
    struct json head = json_to(&l->json_head);
    write_json_head(&head, l, message);
}

__attribute__((format(printf, 4, 0))) static bool
line_begin(struct log_line *l, enum log_level level, const char *event_type, const char *format, va_list args)
{
    char message[2048];
    if (!log_enabled(level))
        return false;
    int n = vsnprintf(message, sizeof message, format, args);
    l->text = BUF(LINE_MAX_BYTES);
    l->json = json_to(&l->text);
    l->level = level;
    l->event_type = event_type;
    l->json_head = BUF(LINE_MAX_BYTES * 2);
    struct str text = str_make(message, MIN((size_t)MAX(n, 0), sizeof message - 1));
    if (text_format)
        begin_text(l, text);
    else
        write_json_head(&l->json, l, text);
    return true;
}

bool log_begin(struct log_line *l, enum log_level level, const char *event_type, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool wanted = line_begin(l, level, event_type, format, args);
    va_end(args);
    return wanted;
}

/* The line is whole, but for the '\n' of a text line's JSON. */
static void tap_give(struct log_line *l, log_tap *tap)
{
    if (!text_format) {
        tap(l->level, l->event_type, buf_str(&l->text));
        return;
    }
    if (!l->json_head.n)
        return;                                                        /* nobody listened when it began */
    struct str fields = str_from(buf_str(&l->text), l->fields_at + 1); /* behind its '{', with '}' and '\n' */
    if (fields.n > 2)
        buf_add_char(&l->json_head, ',');
    buf_add_str(&l->json_head, fields);
    if (buf_err(&l->json_head) == OK)
        tap(l->level, l->event_type, buf_str(&l->json_head));
}

void log_end(struct log_line *l)
{
    log_tap *tap = __atomic_load_n(&tap_now, __ATOMIC_ACQUIRE);
    log_sink *sink = __atomic_load_n(&sink_now, __ATOMIC_ACQUIRE);
    while (l->json.depth)
        json_end(&l->json);
    buf_add_char(&l->text, '\n');
    if (UNLIKELY(tap && l->level >= LOG_INFO && buf_err(&l->text) == OK))
        tap_give(l, tap);
    if (text_format && l->text.n > 4 && memcmp(l->text.p + l->text.n - 4, " {}\n", 4) == 0) {
        buf_truncate(&l->text, l->text.n - 4);
        buf_add_char(&l->text, '\n');
    }
    if (l->level >= __atomic_load_n(&sink_threshold, __ATOMIC_RELAXED) && buf_err(&l->text) == OK)
        (sink ? sink : sink_stdout)(buf_str(&l->text));
    buf_free(&l->text);
    buf_free(&l->json_head);
}

void log_event(enum log_level level, const char *event_type, const char *format, ...)
{
    struct log_line l;
    va_list args;
    va_start(args, format);
    bool wanted = line_begin(&l, level, event_type, format, args);
    va_end(args);
    if (wanted)
        log_end(&l);
}
