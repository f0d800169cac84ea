/*
 * `hestia clients`, `hestia strategies`, `hestia usage`: a running gateway's management API from the command
 * line. One table says what each verb calls and which columns a person sees. Main thread.
 */
#include "main/manage.h"

#include "base/json.h"
#include "http/target.h"

#include <stdio.h>

enum { BODY_MAX = 1 << 20 };

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

/* A verb of a command. `path`: below /admin/v1, {} stands for the id that the first word gives. */
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

static void path_write(const struct cli_options *o, const struct verb *v, struct str id, struct buf *out)
{
    struct str path = str_from_c(v->path);
    size_t hole = str_find(path, '{');
    buf_add_str(out, str_first(path, hole));
    if (hole < path.n) {
        percent_encode(out, id);
        buf_add_str(out, str_from(path, hole + 2));
    }
    query_add(out, "scope", o->scope);
    query_add(out, "id", o->id);
    query_add(out, "range", o->range);
    query_add(out, "limit", o->limit);
}

/* ---- the whole ------------------------------------------------------------------------------------------
 */

static int answer_show(const struct cli_options *o, const struct verb *v, const struct answer *answer)
{
    if (answer->status >= 300) {
        manage_show_error(o->command, answer->status, buf_str(&answer->body));
        return EXIT_FAILED;
    }
    if (o->json) {
        fwrite(answer->body.p, 1, answer->body.n, stdout);
        putchar('\n');
    } else {
        manage_show(v->columns, buf_str(&answer->body));
    }
    return EXIT_OK;
}

static int verb_run(const struct cli_options *o, const struct verb *v, struct str body)
{
    struct buf path CLEANUP(buf_free) = BUF(8192), id CLEANUP(buf_free) = BUF(4096);
    struct answer answer CLEANUP(answer_free) = {0};
    int code = EXIT_OK;
    if (str_starts(str_from_c(v->path), STR("/clients/{}")))
        code = manage_find_client(o, o->rest[1], &id);
    else if (v->words)
        buf_add_c(&id, o->rest[1]);
    if (code != EXIT_OK)
        return code;
    path_write(o, v, buf_str(&id), &path);
    code = manage_ask(o, v->method, &path, body, &answer);
    return code == EXIT_OK ? answer_show(o, v, &answer) : code;
}

int manage_main(const struct cli_options *o)
{
    const struct verb *v = verb_find(o);
    struct buf body = BUF(BODY_MAX);
    size_t given = o->rest_count ? o->rest_count - 1 : 0;
    if (!v)
        return complain(o, o->rest[0], ": no such thing to do");
    if (given != (size_t)v->words && !(v->sending == SEND_NAME && o->data && !given))
        return complain(o, v->name,
                        given < (size_t)v->words ? ": something is missing after it"
                                                 : ": too many words after it");
    int code = EXIT_FAILED;
    if (body_write(o, v->sending, &body))
        code = verb_run(o, v, buf_str(&body));
    else
        fprintf(stderr, "hestia %s: %s cannot be read, or is larger than 1 MiB\n", o->command,
                o->data ? o->data : "standard input");
    buf_free(&body);
    return code;
}
