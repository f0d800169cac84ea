/* The forms in which log lines of a service are shown. Pure. */
#ifndef HESTIA_ADMIN_LOG_LINES_H
#define HESTIA_ADMIN_LOG_LINES_H

#include "service/service.h"

/* The lines, each with '\n'. */
void log_lines_write_text(struct buf *out, const struct log_text *text);
/* One server-sent event per line: id is the offset, data {"offset","timestamp","line"}. */
void log_lines_write_events(struct buf *out, const struct log_text *text);

#endif
