/* One request of the command line to a running gateway. Main thread, with a loop of its own for it. */
#include "main/manage.h"

#include "loop/task.h"

#include <stdio.h>
#include <stdlib.h>

enum { CALL_MS = 30000, ANSWER_MAX = 64 << 20 };

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

static int url_refuse(const struct cli_options *o, const struct error *error)
{
    fprintf(stderr, "hestia %s: --url: %s\nTry: hestia %s --help\n", o->command, error_text(error),
            o->command);
    return EXIT_USAGE;
}

/* Takes the answer over from the call. */
static int call_make(const struct cli_options *o, const struct url *url, struct call *c,
                     struct answer *answer)
{
    if (call_run(c, url) != OK) {
        fprintf(stderr,
                "hestia %s: no answer from the gateway at %s: %s\nIs it running? --url or HESTIA_URL say "
                "where.\n",
                o->command, base_url(o), error_text(&c->error));
        return EXIT_FAILED;
    }
    *answer = (struct answer){c->fetch.status, c->fetch.response};
    c->fetch.response = (struct buf)BUF(ANSWER_MAX);
    return EXIT_OK;
}

int manage_ask(const struct cli_options *o, enum method method, const struct buf *path, struct str body,
               struct answer *answer)
{
    struct buf target CLEANUP(buf_free) = BUF(8192), fields CLEANUP(buf_free) = BUF(8192);
    struct arena arena CLEANUP(arena_free) = {0};
    struct call c = {.fetch = {.method = method, .body = body, .response = BUF(ANSWER_MAX)}};
    struct url url;
    int code = EXIT_FAILED;
    if (url_parse(&arena, str_from_c(base_url(o)), &url, &c.error) != OK)
        return url_refuse(o, &c.error);
    buf_add_str(&target, url.prefix);
    buf_add_c(&target, "/admin/v1");
    buf_add_str(&target, buf_str(path));
    fields_write(&fields);
    c.fetch.target = buf_str(&target);
    c.fetch.fields = buf_str(&fields);
    if (buf_err(path) != OK || buf_err(&target) != OK || buf_err(&fields) != OK)
        fprintf(stderr,
                "hestia %s: an argument, or HESTIA_ADMIN_KEY, is too long or holds control characters\n",
                o->command);
    else
        code = call_make(o, &url, &c, answer);
    call_free(&c);
    return code;
}

void answer_free(struct answer *answer)
{
    buf_free(&answer->body);
}
