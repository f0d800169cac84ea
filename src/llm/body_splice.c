/*
 * A body for one provider: the original in pieces, with a few short texts between them. Pure.
 */
#include "llm/body.h"

#include "base/buf.h"
#include "base/json.h"

#define USAGE_MEMBER "\"include_usage\":true"

enum { EDITS_MAX = 12 };

/* Bytes [at, at + gone) of the original become `in`. */
struct edit {
    size_t at, gone;
    struct str in;
};

struct splice {
    const struct llm_body *body;
    struct edit edits[EDITS_MAX];
    int count;
};

/* Keeps them in order; there are few. */
static void edit_add(struct splice *s, const char *at, size_t gone, struct str in)
{
    REQUIRE(s->count < EDITS_MAX);
    struct edit edit = {(size_t)(at - s->body->text.p), gone, in};
    int i = s->count++;
    for (; i > 0 && s->edits[i - 1].at > edit.at; i--)
        s->edits[i] = s->edits[i - 1];
    s->edits[i] = edit;
}

static void edit_remove(struct splice *s, struct llm_member member)
{
    if (member.whole.n)
        edit_add(s, member.whole.p, member.whole.n, STR_NONE);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A removed member takes one comma along: the one before it; or, when nothing is left before it in its object
   (it is the first, or all before it went, each with the comma behind it), the one behind it, if any.
   `free_from`: where the edit before this one ended. */
static void widen(struct str text, struct edit *edit, size_t free_from)
{
    size_t before = edit->at, after = edit->at + edit->gone;
    while (before > free_from && is_space(text.p[before - 1]))
        before--;
    if (before > free_from && text.p[before - 1] == ',') {
        edit->gone += edit->at - (before - 1);
        edit->at = before - 1;
        return;
    }
    while (after < text.n && is_space(text.p[after]))
        after++;
    if (after < text.n && text.p[after] == ',')
        edit->gone = after + 1 - edit->at;
}

static void add_private(struct splice *s)
{
    const struct llm_body *body = s->body;
    edit_remove(s, body->approach);
    for (size_t i = 0; i < COUNT_OF(body->wrap); i++)
        edit_remove(s, body->wrap[i]);
    if (body->extra_private_count == body->extra_count) {
        edit_remove(s, body->extra_body);
        return;
    }
    for (size_t i = 0; i < body->extra_private_count; i++)
        edit_remove(s, body->extra_private[i]);
}

static void add_usage_option(struct splice *s)
{
    const struct llm_body *body = s->body;
    struct str options = body->stream_options.value;
    if (body->include_usage)
        return;
    if (!body->stream_options.whole.n) /* behind the one member that is always there */
        edit_add(s, body->model_at.value.p + body->model_at.value.n, 0,
                 STR(",\"stream_options\":{" USAGE_MEMBER "}"));
    else if (!body->has_stream_options) /* null */
        edit_add(s, options.p, options.n, STR("{" USAGE_MEMBER "}"));
    else if (body->include_usage_at.n)
        edit_add(s, body->include_usage_at.p, body->include_usage_at.n, STR("true"));
    else
        edit_add(s, options.p + 1, 0, body->stream_options_empty ? STR(USAGE_MEMBER) : STR(USAGE_MEMBER ","));
}

static enum err add_model(struct arena *arena, struct splice *s, struct str model)
{
    CLEANUP(buf_free) struct buf quoted = BUF(0);
    struct json j = json_to(&quoted);
    if (str_eq(model, s->body->model))
        return OK;
    json_str(&j, model);
    TRY(buf_err(&quoted));
    struct str in = arena_str(arena, buf_str(&quoted));
    if (!in.p)
        return ERR_NOMEM;
    edit_add(s, s->body->model_at.value.p, s->body->model_at.value.n, in);
    return OK;
}

static void part_add(struct llm_parts *parts, struct str part)
{
    if (!part.n)
        return;
    REQUIRE(parts->count < LLM_PARTS_MAX);
    parts->part[parts->count++] = part;
    parts->total += part.n;
}

enum err llm_body_splice(struct arena *arena, const struct llm_body *body, struct str model, bool add_usage,
                         struct llm_parts *parts)
{
    struct splice s; /* not cleared, nor are the parts: most of both stays unused */
    s.body = body;
    s.count = 0;
    size_t done = 0;
    TRY(add_model(arena, &s, model));
    add_private(&s);
    if (add_usage)
        add_usage_option(&s);
    parts->count = 0;
    parts->total = 0;
    for (int i = 0; i < s.count; i++) {
        struct edit edit = s.edits[i];
        if (!edit.in.n)
            widen(body->text, &edit, done);
        part_add(parts, str_make(body->text.p + done, edit.at - done));
        part_add(parts, edit.in);
        done = edit.at + edit.gone;
    }
    part_add(parts, str_from(body->text, done));
    return OK;
}
