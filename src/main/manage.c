/*
 * `hestia clients`, `hestia strategies`, `hestia usage`: a running gateway's management API from the command
 * line. One table says what each verb calls and which columns a person sees. Main thread, with a loop of its
 * own for the one request.
 */
#include "main/manage.h"

#include "base/json.h"
#include "base/mem.h"
#include "http/target.h"
#include "loop/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CALL_MS = 30000, BODY_MAX = 1 << 20, ANSWER_MAX = 64 << 20 };

/* Where a verb's words go in the body. */
enum sending { SEND_NONE, SEND_NAME, SEND_RENAME, SEND_ENABLE, SEND_DISABLE, SEND_ASSIGN, SEND_DATA };

static const struct column client_columns[] = {{"ID", "id"},
                                               {"NAME", "name"},
                                               {"ENABLED", "enabled"},
                                               {"STRATEGY", "strategy_id"},
                                               {"KEY", "key_hint"},
                                               {"LAST USED", "last_used"},
                                               {NULL, NULL}};
static const struct column strategy_columns[] = {
    {"ID", "id"},         {"NAME", "name"},         {"CLIENTS", "client_count"},
    {"PARENT", "parent"}, {"REVISION", "revision"}, {NULL, NULL}};
static const struct column usage_columns[] = {{"FROM", "at"},
                                              {"REQUESTS", "requests"},
                                              {"OK", "ok"},
                                              {"FAILED", "failed"},
                                              {"CANCELLED", "cancelled"},
                                              {"INPUT", "input_tokens"},
                                              {"OUTPUT", "output_tokens"},
                                              {"COST $", "cost"},
                                              {NULL, NULL}};
static const struct column limit_columns[] = {{"STRATEGY", "strategy_name"},
                                              {"LIMIT", "limit_type"},
                                              {"PER", "time_window"},
                                              {"VALUE", "value"},
                                              {"USED", "used"},
                                              {"RESERVED", "reserved"},
                                              {"REMAINING", "remaining"},
                                              {"RESET S", "reset_seconds"},
                                              {NULL, NULL}};
static const struct column request_columns[] = {{"AT", "at"},
                                                {"CLIENT", "client"},
                                                {"ASKED", "model"},
                                                {"PROVIDER", "provider"},
                                                {"MODEL", "provider_model"},
                                                {"OUTCOME", "outcome"},
                                                {"STATUS", "status"},
                                                {"INPUT", "input_tokens"},
                                                {"OUTPUT", "output_tokens"},
                                                {"COST $", "cost"},
                                                {NULL, NULL}};

/* A verb of a command. `path`: below /admin/v1, {} stands for the first word. */
struct verb {
    const char *command, *name;
    int words; /* after the verb */
    enum method method;
    const char *path;
    enum sending sending;
    const struct column *columns; /* of a list; NULL: one object */
};

static const struct verb verbs[] = {
    {"clients", "list", 0, METHOD_GET, "/clients", SEND_NONE, client_columns},
    {"clients", "show", 1, METHOD_GET, "/clients/{}", SEND_NONE, NULL},
    {"clients", "create", 1, METHOD_POST, "/clients", SEND_NAME, NULL},
    {"clients", "rename", 2, METHOD_PATCH, "/clients/{}", SEND_RENAME, NULL},
    {"clients", "enable", 1, METHOD_PATCH, "/clients/{}", SEND_ENABLE, NULL},
    {"clients", "disable", 1, METHOD_PATCH, "/clients/{}", SEND_DISABLE, NULL},
    {"clients", "assign", 2, METHOD_PATCH, "/clients/{}", SEND_ASSIGN, NULL},
    {"clients", "rotate", 1, METHOD_POST, "/clients/{}/rotate", SEND_NONE, NULL},
    {"clients", "delete", 1, METHOD_DELETE, "/clients/{}", SEND_NONE, NULL},
    {"strategies", "list", 0, METHOD_GET, "/strategies", SEND_NONE, strategy_columns},
    {"strategies", "show", 1, METHOD_GET, "/strategies/{}", SEND_NONE, NULL},
    {"strategies", "create", 1, METHOD_POST, "/strategies", SEND_NAME, NULL},
    {"strategies", "rename", 2, METHOD_PATCH, "/strategies/{}", SEND_RENAME, NULL},
    {"strategies", "update", 1, METHOD_PATCH, "/strategies/{}", SEND_DATA, NULL},
    {"strategies", "clients", 1, METHOD_GET, "/strategies/{}/clients", SEND_NONE, client_columns},
    {"strategies", "delete", 1, METHOD_DELETE, "/strategies/{}", SEND_NONE, NULL},
    {"usage", "show", 0, METHOD_GET, "/usage", SEND_NONE, usage_columns},
    {"usage", "ids", 0, METHOD_GET, "/usage/ids", SEND_NONE, NULL},
    {"usage", "limits", 0, METHOD_GET, "/limits", SEND_NONE, limit_columns},
    {"usage", "requests", 0, METHOD_GET, "/requests", SEND_NONE, request_columns},
};

static int complain(const struct cli_options *o, const char *word, const char *what)
{
    fprintf(stderr, "hestia %s: %s%s\nTry: hestia %s --help\n", o->command, word, what, o->command);
    return EXIT_USAGE;
}

/* The first word, else what the command shows by itself. */
static const struct verb *verb_find(const struct cli_options *o)
{
    const char *name = o->rest_count ? o->rest[0] : NULL;
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (strcmp(verbs[i].command, o->command) == 0 && (!name || strcmp(verbs[i].name, name) == 0))
            return &verbs[i];
    return NULL;
}

/* ---- what is asked --------------------------------------------------------------------------------------
 */

static bool data_read(const char *path, struct buf *out)
{
    char piece[4096];
    size_t n;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!file)
        return false;
    while ((n = fread(piece, 1, sizeof piece, file)) > 0)
        buf_add(out, piece, n);
    bool good = !ferror(file) && buf_err(out) == OK;
    if (file != stdin)
        fclose(file);
    return good;
}

static void write_text(struct buf *out, const char *key, const char *value)
{
    struct json j = json_to(out);
    json_put_object(&j);
    json_key_c(&j, key, value);
    json_end(&j);
}

static void write_create(const struct cli_options *o, struct buf *out)
{
    struct json j = json_to(out);
    json_put_object(&j);
    json_key_c(&j, "name", o->rest[1]);
    if (o->strategy)
        json_key_c(&j, "strategy_id", o->strategy);
    json_end(&j);
}

/* False: --data cannot be read. */
static bool body_write(const struct cli_options *o, enum sending sending, struct buf *out)
{
    switch (sending) {
    case SEND_NONE:
        return true;
    case SEND_NAME:
        if (o->data)
            return data_read(o->data, out);
        write_create(o, out);
        return true;
    case SEND_RENAME:
        write_text(out, "name", o->rest[2]);
        return true;
    case SEND_ASSIGN:
        write_text(out, "strategy_id", o->rest[2]);
        return true;
    case SEND_DATA:
        return data_read(o->data ? o->data : "-", out);
    default:
        buf_add_c(out, sending == SEND_ENABLE ? "{\"enabled\":true}" : "{\"enabled\":false}");
        return true;
    }
}

static void query_add(struct buf *out, const char *name, const char *value)
{
    if (!value)
        return;
    buf_add_char(out, str_find(buf_str(out), '?') < out->n ? '&' : '?');
    buf_add_c(out, name);
    buf_add_char(out, '=');
    percent_encode(out, str_from_c(value));
}

static void target_write(const struct cli_options *o, const struct verb *v, struct str prefix,
                         struct buf *out)
{
    struct str path = str_from_c(v->path);
    size_t hole = str_find(path, '{');
    buf_add_str(out, prefix);
    buf_add_c(out, "/admin/v1");
    buf_add_str(out, str_first(path, hole));
    if (hole < path.n) {
        percent_encode(out, str_from_c(o->rest[1]));
        buf_add_str(out, str_from(path, hole + 2));
    }
    query_add(out, "scope", o->scope);
    query_add(out, "id", o->id);
    query_add(out, "range", o->range);
    query_add(out, "limit", o->limit);
}

/* ---- the call -------------------------------------------------------------------------------------------
 */

struct call {
    struct loop *loop;
    struct pool *pool;
    struct fetch fetch;
    struct error error;
    enum err err;
};

static void call_task(struct task *t, void *argument)
{
    struct call *c = argument;
    c->err = fetch_run(t, c->pool, &c->fetch, task_deadline(t, CALL_MS), &c->error);
    loop_stop(c->loop);
}

static enum err call_run(struct call *c, const struct url *url)
{
    static const struct tls_client_options tls;
    c->loop = loop_new();
    c->pool = c->loop ? pool_new(c->loop) : NULL;
    c->fetch.origin = origin_intern(url, &tls, &c->error);
    if (!c->pool || !c->fetch.origin || !task_spawn(c->loop, call_task, c))
        return ERR_NOMEM;
    loop_run(c->loop);
    return c->err;
}

static void call_free(struct call *c)
{
    fetch_free(&c->fetch);
    if (c->pool)
        pool_free(c->pool);
    if (c->loop)
        loop_free(c->loop);
    origins_free();
}

/* --url, HESTIA_URL, or where a gateway listens by default. */
static const char *base_url(const struct cli_options *o)
{
    const char *url = o->url ? o->url : getenv("HESTIA_URL");
    return url ? url : "http://127.0.0.1:8080";
}

/* The key comes from the environment, so that it stands in no shell history and no process list. */
static void fields_write(struct buf *out)
{
    const char *key = getenv("HESTIA_ADMIN_KEY");
    buf_add_c(out, "Content-Type: application/json\r\n");
    if (key && *key)
        head_add(out, STR("X-API-Key"), str_from_c(key));
}

static int answer_show(const struct cli_options *o, const struct verb *v, const struct fetch *f)
{
    if (f->status >= 300) {
        manage_show_error(o->command, f->status, buf_str(&f->response));
        return EXIT_FAILED;
    }
    if (o->json) {
        fwrite(f->response.p, 1, f->response.n, stdout);
        putchar('\n');
    } else {
        manage_show(v->columns, buf_str(&f->response));
    }
    return EXIT_OK;
}

static int manage_call(const struct cli_options *o, const struct verb *v, struct buf *body,
                       struct arena *arena)
{
    struct buf target = BUF(8192), fields = BUF(8192);
    struct call c = {.fetch = {.method = v->method, .response = BUF(ANSWER_MAX)}};
    struct url url;
    int code = EXIT_FAILED;
    if (url_parse(arena, str_from_c(base_url(o)), &url, &c.error) != OK)
        return complain(o, "--url: ", error_text(&c.error));
    target_write(o, v, url.prefix, &target);
    fields_write(&fields);
    c.fetch.target = buf_str(&target);
    c.fetch.fields = buf_str(&fields);
    c.fetch.body = buf_str(body);
    if (buf_err(&target) != OK || buf_err(&fields) != OK)
        fprintf(stderr,
                "hestia %s: an argument, or HESTIA_ADMIN_KEY, is too long or holds control characters\n",
                o->command);
    else if (call_run(&c, &url) != OK)
        fprintf(stderr,
                "hestia %s: no answer from the gateway at %s: %s\nIs it running? --url or HESTIA_URL say "
                "where.\n",
                o->command, base_url(o), error_text(&c.error));
    else
        code = answer_show(o, v, &c.fetch);
    call_free(&c);
    buf_free(&target);
    buf_free(&fields);
    return code;
}

int manage_main(const struct cli_options *o)
{
    const struct verb *v = verb_find(o);
    struct buf body = BUF(BODY_MAX);
    struct arena arena = {0};
    size_t given = o->rest_count ? o->rest_count - 1 : 0;
    if (!v)
        return complain(o, o->rest[0], ": no such thing to do");
    if (given != (size_t)v->words && !(v->sending == SEND_NAME && o->data && !given))
        return complain(o, v->name,
                        given < (size_t)v->words ? ": something is missing after it"
                                                 : ": too many words after it");
    int code = EXIT_FAILED;
    if (body_write(o, v->sending, &body))
        code = manage_call(o, v, &body, &arena);
    else
        fprintf(stderr, "hestia %s: %s cannot be read, or is larger than 1 MiB\n", o->command,
                o->data ? o->data : "standard input");
    buf_free(&body);
    arena_free(&arena);
    return code;
}
