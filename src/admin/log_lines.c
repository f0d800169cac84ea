/* The forms in which log lines of a service are shown. Pure. */
#include "admin/log_lines.h"

#include "base/json.h"

void log_lines_write_text(struct buf *out, const struct log_text *text)
{
    for (size_t i = 0; i < text->count; i++) {
        buf_add_str(out, text->lines[i].text);
        buf_add_char(out, '\n');
    }
}

static void event_write(struct buf *out, const struct log_text_line *line)
{
    struct buf timestamp = BUF(64);
    struct json j = json_to(out);
    clock_format(&timestamp, line->wall_us);
    buf_add_c(out, "id: ");
    buf_add_u64(out, line->offset);
    buf_add_c(out, "\ndata: ");
    json_put_object(&j);
    json_key_u64(&j, "offset", line->offset);
    json_key_str(&j, "timestamp", buf_str(&timestamp));
    json_key_str(&j, "line", line->text);
    json_end(&j);
    buf_add_c(out, "\n\n");
    buf_free(&timestamp);
}

void log_lines_write_events(struct buf *out, const struct log_text *text)
{
    for (size_t i = 0; i < text->count; i++)
        event_write(out, &text->lines[i]);
}
