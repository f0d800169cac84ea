/* A client by the name that people know it by: the list of the running gateway tells its id. Main thread. */
#include "main/manage.h"

#include "http/target.h"

#include <jansson.h>
#include <stdio.h>

/* What the pages of the list had so far. */
struct search {
    struct str word;
    bool is_id;        /* the word is an id: names do not matter */
    size_t count;      /* clients of that name */
    struct buf id;     /* of the first of them */
    struct buf listed; /* all of them, for the complaint */
    struct buf after;  /* the last page's end; empty: there is no other */
};

static void search_free(struct search *s)
{
    buf_free(&s->id);
    buf_free(&s->listed);
    buf_free(&s->after);
}

/* What a terminal might obey becomes '?'. */
static void listed_add(struct search *s, const char *text)
{
    buf_add_c(&s->listed, "  ");
    for (; *text; text++)
        buf_add_char(&s->listed, (unsigned char)*text < 32 || *text == 127 ? '?' : *text);
}

static void client_look(struct search *s, const json_t *client)
{
    const char *id = json_string_value(json_object_get(client, "id"));
    const char *name = json_string_value(json_object_get(client, "name"));
    if (!id || !name)
        return;
    s->is_id |= str_eq(s->word, str_from_c(id));
    if (!str_eq_nocase(s->word, str_from_c(name)))
        return;
    if (!s->count++)
        buf_add_c(&s->id, id);
    listed_add(s, id);
    listed_add(s, name);
    buf_add_char(&s->listed, '\n');
}

static void page_look(struct search *s, struct str text)
{
    json_t *root = json_loadb(text.p ? text.p : "", text.n, 0, NULL);
    const json_t *data = json_object_get(root, "data");
    const char *next = json_string_value(json_object_get(root, "next"));
    for (size_t i = 0; i < json_array_size(data); i++)
        client_look(s, json_array_get(data, i));
    buf_clear(&s->after);
    if (next)
        buf_add_c(&s->after, next);
    json_decref(root);
}

static int page_ask(const struct cli_options *o, struct search *s)
{
    struct buf path CLEANUP(buf_free) = BUF(8192);
    struct answer answer CLEANUP(answer_free) = {0};
    buf_add_c(&path, "/clients?limit=1000");
    if (s->after.n) {
        buf_add_c(&path, "&after=");
        percent_encode(&path, buf_str(&s->after));
    }
    int code = manage_ask(o, METHOD_GET, &path, STR_NONE, &answer);
    if (code != EXIT_OK)
        return code;
    if (answer.status >= 300) {
        manage_show_error(o->command, answer.status, buf_str(&answer.body));
        return EXIT_FAILED;
    }
    page_look(s, buf_str(&answer.body));
    return EXIT_OK;
}

int manage_find_client(const struct cli_options *o, const char *word, struct buf *id)
{
    struct search s CLEANUP(search_free) = {
        .word = str_from_c(word), .id = BUF(4096), .listed = BUF(1 << 20), .after = BUF(4096)};
    int code;
    do
        code = page_ask(o, &s);
    while (code == EXIT_OK && !s.is_id && s.after.n);
    if (code != EXIT_OK)
        return code;
    if (!s.is_id && s.count > 1) {
        fprintf(stderr, "hestia %s: %zu clients have the name %s; say which by its id:\n%.*s", o->command,
                s.count, word, STR_ARG(buf_str(&s.listed)));
        return EXIT_FAILED;
    }
    buf_add_str(id, s.is_id || !s.count ? s.word : buf_str(&s.id));
    return EXIT_OK;
}
