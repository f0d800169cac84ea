/* Building log lines. The sink (loop/log_writer) owns the writing. Any thread. */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 64 << 10 };

enum log_level log_threshold = LOG_INFO;
static log_sink *sink_now;
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

void log_set_level(enum log_level level)
{
    __atomic_store_n(&log_threshold, level, __ATOMIC_RELAXED);
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

static void begin_json(struct log_line *l, enum log_level level, const char *event_type, struct str message)
{
    json_put_object(&l->json);
    buf_add_c(&l->text, "\"timestamp\":\"");
    clock_format(&l->text, clock_wall_us());
    buf_add_char(&l->text, '"');
    l->json.comma = true;
    json_key_c(&l->json, "level", level_names[level]);
    json_key_c(&l->json, "event_type", event_type);
    json_key_str(&l->json, "message", message);
}

/* "TIME LEVEL event message {fields}": the fields stay JSON, which is readable enough and cannot be forged.
 */
static void begin_text(struct log_line *l, enum log_level level, const char *event_type, struct str message)
{
    clock_format(&l->text, clock_wall_us());
    buf_addf(&l->text, " %-7s %s ", level_names[level], event_type);
    json_escape(&l->text, message);
    buf_add_char(&l->text, ' ');
    json_put_object(&l->json);
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
    struct str text = str_make(message, MIN((size_t)MAX(n, 0), sizeof message - 1));
    (text_format ? begin_text : begin_json)(l, level, event_type, text);
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

void log_end(struct log_line *l)
{
    log_sink *sink = __atomic_load_n(&sink_now, __ATOMIC_ACQUIRE);
    while (l->json.depth)
        json_end(&l->json);
    if (text_format && l->text.n > 3 && memcmp(l->text.p + l->text.n - 3, " {}", 3) == 0)
        buf_truncate(&l->text, l->text.n - 3);
    buf_add_char(&l->text, '\n');
    if (buf_err(&l->text) == OK)
        (sink ? sink : sink_stdout)(buf_str(&l->text));
    buf_free(&l->text);
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
