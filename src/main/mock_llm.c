/*
 * `hestia mock-llm`: boot, the end by a signal. Called by cli.c; the main thread is the only one and runs the
 * loop.
 */
#include "main/mock_llm.h"

#include "base/log.h"
#include "base/mem.h"
#include "loop/thread.h"
#include "main/cli.h"

#include <signal.h>
#include <stdio.h>

static void log_start(const struct mock *m, const struct address *bound)
{
    char text[160];
    struct log_line l;
    struct str listen = address_format(bound, true, text, sizeof text);
    if (!log_begin(&l, LOG_INFO, "mock_start", "mock-llm listens on %.*s", STR_ARG(listen)))
        return;
    json_key_str(&l.json, "listen", listen);
    json_key_u64(&l.json, "load_ms", m->options.load_ms);
    log_end(&l);
}

static void load_due(struct timer *timer)
{
    struct mock *m = CONTAINER_OF(timer, struct mock, load);
    m->loading = false;
    if (!m->options.quiet)
        log_event(LOG_INFO, "mock_ready", "mock-llm has loaded its models");
}

/* ---- the end --------------------------------------------------------------------------------------------
 */

static struct mock *mock_of(struct signals *signals);

static void server_idle(struct server *s)
{
    loop_stop(s->loop);
}

/* At once: every exchange is broken off. */
static void on_signal(struct signals *signals, int number)
{
    struct mock *m = mock_of(signals);
    if ((number != SIGTERM && number != SIGINT) || m->server.draining)
        return;
    server_stop_listening(&m->server);
    server_drain(&m->server);
    server_cancel_all(&m->server);
    if (m->server.conn_count == 0)
        loop_stop(m->loop);
}

/* ---- boot -----------------------------------------------------------------------------------------------
 */

struct process {
    struct mock mock;
    struct signals signals;
};

static struct mock *mock_of(struct signals *signals)
{
    return &CONTAINER_OF(signals, struct process, signals)->mock;
}

static void server_set_up(struct mock *m)
{
    server_init(&m->server, m->loop);
    m->server.serve = mock_serve;
    m->server.owner = m;
    m->server.on_idle = server_idle;
    m->server.settings = (struct server_settings){
        .limits = {.target = 32 << 10, .field = 64 << 10, .head = 128 << 10, .fields = HEAD_FIELDS_MAX},
        .head_timeout_ms = 60000,
        .keepalive_timeout_ms = 600000, /* longer than any gateway keeps its pool */
        .stream_idle_ms = 600000,
        .keepalive_requests = UINT64_MAX,
        .abort_on_half_close = true, /* who closes while a model thinks has gone */
    };
}

static enum err listen_and_run(struct process *p, struct error *error)
{
    struct mock *m = &p->mock;
    struct address bound;
    int fd = -1;
    TRY(listener_bind(m->options.listen, false, &fd, &bound, error));
    TRY(server_listen(&m->server, fd));
    TRY(signals_open(m->loop, &p->signals));
    m->load.on_due = load_due;
    m->loading = m->options.load_ms > 0;
    if (m->loading)
        timer_set(m->loop, &m->load, clock_after(clock_now(), m->options.load_ms));
    log_start(m, &bound);
    loop_run(m->loop);
    signals_close(m->loop, &p->signals);
    timer_remove(m->loop, &m->load);
    return OK;
}

static int process_run(struct process *p)
{
    struct mock *m = &p->mock;
    struct error error = {0};
    signals_block();
    files_raise_limit();
    json_set_alloc_funcs(mem_alloc, mem_free);
    m->random = m->options.seed;
    p->signals.on_signal = on_signal;
    m->loop = loop_new();
    enum err err = ERR_NOMEM;
    if (m->loop) {
        server_set_up(m);
        err = listen_and_run(p, &error);
        server_stop_listening(&m->server);
        loop_free(m->loop);
    }
    if (err == OK)
        return EXIT_OK;
    error.err = err;
    fprintf(stderr, "hestia mock-llm: %s\n", error_text(&error));
    return EXIT_FAILED;
}

int mock_llm_main(int argc, char **argv)
{
    struct error error = {0};
    struct process *p = mem_alloc(sizeof *p);
    int code = EXIT_FAILED;
    if (!p) {
        fprintf(stderr, "hestia mock-llm: out of memory\n");
    } else if (mock_options_parse(&p->mock.options, argc, argv, &error) != OK) {
        fprintf(stderr, "hestia mock-llm: %s\nTry: hestia mock-llm --help\n", error_text(&error));
        code = EXIT_USAGE;
    } else if (p->mock.options.help) {
        struct buf help CLEANUP(buf_free) = BUF(0);
        mock_options_help(&help);
        fputs(buf_c(&help), stdout);
        code = EXIT_OK;
    } else {
        code = process_run(p);
    }
    mem_free(p);
    return code;
}
