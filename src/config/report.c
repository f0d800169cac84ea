/* Findings for people and for programs. Pure; called by the command line and by a reload that failed. */
#include "config/report.h"

#include "base/json.h"

static const char *const severities[] = {"error", "warning", "notice"};

void findings_write(const struct findings *f, struct buf *out)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct finding *one = &f->list[i];
        buf_addf(out, "%s: ", severities[one->severity]);
        if (one->where.n)
            buf_addf(out, "%.*s: ", STR_ARG(one->where));
        if (one->key.n)
            buf_addf(out, "%.*s: ", STR_ARG(one->key));
        buf_addf(out, "%.*s\n", STR_ARG(one->message));
    }
}

void findings_write_json(const struct findings *f, struct buf *out)
{
    struct json j = json_to(out);
    json_put_object(&j);
    json_key_bool(&j, "valid", f->errors == 0);
    json_key_u64(&j, "errors", f->errors);
    json_key_u64(&j, "warnings", f->warnings);
    json_key_array(&j, "findings");
    for (size_t i = 0; i < f->count; i++) {
        json_put_object(&j);
        json_key_c(&j, "severity", severities[f->list[i].severity]);
        json_key_str(&j, "where", f->list[i].where);
        json_key_str(&j, "key", f->list[i].key);
        json_key_str(&j, "message", f->list[i].message);
        json_end(&j);
    }
    json_end(&j);
    json_end(&j);
    buf_add_char(out, '\n');
}
