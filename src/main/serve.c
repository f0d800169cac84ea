/* `hestia serve`: from the command line to running workers, and back. Main thread. */
#include "admin/admin.h"
#include "base/mem.h"
#include "config/report.h"
#include "gateway/exchange.h"
#include "llm/approach.h"
#include "loop/crash.h"
#include "loop/offload.h"
#include "loop/process.h"
#include "main/cli.h"
#include "main/control.h"
#include "main/identity.h"
#include "main/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKERS_MAX = 256, LISTEN_MAX = 16 };

struct boot {
    struct control control;
    char executable[4096];
    struct address bound[LISTEN_MAX];
    size_t bound_count;
    int listeners[WORKERS_MAX][LISTEN_MAX]; /* of each worker, until it takes them over */
    size_t worker_count;
    struct worker *workers[WORKERS_MAX];
};

static int fail(const char *why)
{
    fprintf(stderr, "hestia: %s\n", why);
    return EXIT_FAILED;
}

/* ---- configuration --------------------------------------------------------------------------------------
 */

static bool options_apply(struct control *c, const struct cli_options *options)
{
    enum log_level level;
    if (options->log_format && strcmp(options->log_format, "text") != 0 &&
        strcmp(options->log_format, "json") != 0) {
        fprintf(stderr, "hestia: --log-format is json or text\n");
        return false;
    }
    log_set_text(options->log_format && strcmp(options->log_format, "text") == 0);
    if (options->log_level) {
        if (!log_level_parse(str_from_c(options->log_level), &level)) {
            fprintf(stderr, "hestia: --log-level is DEBUG, INFO, WARNING or ERROR\n");
            return false;
        }
        log_set_level(level);
        c->log_level_forced = true;
    }
    const char *approach = options->approach ? options->approach : getenv("HULUMANAGE_APPROACH");
    if (!approach)
        approach = getenv("hulumanage_APPROACH");
    if (!approach)
        approach = getenv("hulumanage_approach");
    if (options->approach && !approach_is_known(str_from_c(options->approach))) {
        fprintf(stderr,
                "hestia: --approach %s: no such approach; proxy sends every request through the pool\n",
                options->approach);
        return false;
    }
    c->gateway.approach = approach;
    return true;
}

static bool config_read(struct boot *b, const struct cli_options *options)
{
    struct control *c = &b->control;
    struct findings findings = {0};
    ssize_t n = readlink("/proc/self/exe", b->executable, sizeof b->executable - 1);
    b->executable[n > 0 ? n : 0] = '\0';
    c->sources = (struct config_sources){
        .files = options->files,
        .file_count = options->file_count,
        .environment = environment_copy(), /* identity.c changes ours */
        .listen = options->listen,
        .listen_count = options->listen_count,
        .executable = b->executable,
    };
    c->config = config_load(&c->sources, &findings);
    if (c->config) {
        control_log_level(c, c->config);
        control_log_findings(&findings);
    } else {
        struct buf out = BUF(0);
        findings_write(&findings, &out);
        fwrite(out.p, 1, out.n, stderr);
        buf_free(&out);
    }
    findings_free(&findings);
    return c->config != NULL;
}

/* ---- listeners and workers ------------------------------------------------------------------------------
 */

/* A plain bind first: with SO_REUSEPORT alone a second gateway on the same port would succeed silently. */
static enum err probe(struct boot *b, struct error *error)
{
    const struct strs *listen = &b->control.config->server.listen;
    for (size_t i = 0; i < listen->count && i < LISTEN_MAX; i++) {
        int fd;
        if (str_starts(listen->items[i], STR("unix:"))) {
            address_parse(listen->items[i], &b->bound[b->bound_count++]);
            continue;
        }
        TRY(listener_bind(listen->items[i], false, &fd, &b->bound[b->bound_count], error));
        b->bound_count++;
        close(fd);
    }
    return OK;
}

/* Each worker has its own listening socket for TCP; a Unix socket is one, shared. */
static enum err listen_for_worker(struct boot *b, int *shared, int *fds, struct error *error)
{
    for (size_t i = 0; i < b->bound_count; i++) {
        char text[160];
        struct address bound;
        struct str where = address_format(&b->bound[i], true, text, sizeof text);
        if (b->bound[i].storage.ss_family != AF_UNIX) {
            TRY(listener_bind(where, true, &fds[i], &bound, error));
            continue;
        }
        if (shared[i] < 0)
            TRY(listener_bind(where, false, &shared[i], &bound, error));
        fds[i] = dup(shared[i]);
        if (fds[i] < 0)
            return error_set(error, ERR_IO, "out of file descriptors");
    }
    return OK;
}

/* All of them, while this is still the user that may. */
static enum err listeners_open(struct boot *b, struct error *error)
{
    uint64_t wanted = b->control.config->server.workers;
    int shared[LISTEN_MAX];
    b->worker_count = MIN(wanted ? wanted : (uint64_t)thread_core_count(), (uint64_t)WORKERS_MAX);
    for (size_t i = 0; i < LISTEN_MAX; i++)
        shared[i] = -1;
    for (size_t i = 0; i < b->worker_count; i++)
        TRY(listen_for_worker(b, shared, b->listeners[i], error));
    for (size_t i = 0; i < LISTEN_MAX; i++)
        if (shared[i] >= 0)
            close(shared[i]);
    return OK;
}

static enum err workers_make(struct boot *b, struct snapshot *snapshot, struct error *error)
{
    struct gateway *g = &b->control.gateway;
    g->workers = b->workers;
    for (uint32_t i = 0; i < b->worker_count; i++) {
        g->workers[i] = worker_new(g, i, snapshot, b->listeners[i], b->bound_count, error);
        if (!g->workers[i])
            return error->err;
        g->workers[i]->journal = g->store ? store_journal(g->store, i) : NULL;
        g->worker_count++;
    }
    return OK;
}

static void log_start(const struct boot *b)
{
    struct log_line l;
    char text[160];
    if (!log_begin(&l, LOG_ALWAYS, "gateway_start", "Hestia Gateway starting up"))
        return;
    json_key_array(&l.json, "listen");
    for (size_t i = 0; i < b->bound_count; i++)
        json_str(&l.json, address_format(&b->bound[i], true, text, sizeof text));
    json_end(&l.json);
    json_key_i64(&l.json, "pid", getpid());
    json_key_c(&l.json, "version", HESTIA_VERSION);
    json_key_u64(&l.json, "workers", b->control.gateway.worker_count);
    json_key_object(&l.json, "metadata");
    json_key_c(&l.json, "log_level", log_level_name(log_threshold));
    json_key_bool(&l.json, "debug_enabled", log_enabled(LOG_DEBUG));
    log_end(&l);
}

/* ---- the books --------------------------------------------------------------------------------------------
 */

/* The default place may be out of reach (a read-only container, a second gateway): then accounts are not
   kept, and that is said. A place that was asked for must be there. */
static enum err store_begin(struct control *c, struct error *error)
{
    const struct storage_config *storage = &c->config->storage;
    struct store_options options = {storage->path, storage->request_days};
    c->gateway.store = store_open(&options, error);
    if (!c->gateway.store && (storage->path.n || storage->reject_on_failure))
        return error->err;
    if (!c->gateway.store)
        log_event(LOG_WARNING, "store_unavailable",
                  "Accounts are not kept: %s; storage.path says where they may lie", error_text(error));
    error->err = OK;
    return OK;
}

/* Nobody gets in because a file is out of reach. */
static void missed_clients_settle(struct gateway *g, const struct storage_config *storage)
{
    if (!store_misses_clients(g->store, &(struct store_options){.path = storage->path}))
        return;
    books_miss_clients(g->books);
    log_event(LOG_WARNING, "clients_unknown",
              "There may be clients whose keys cannot be checked now: the LLM routes want a key of "
              "auth.api_keys, of a client in the configuration or of a new one. %s",
              g->store ? "Repair or remove the damaged database beside the new one, then restart"
                       : "Give this gateway a storage.path of its own, or make its own readable");
}

static enum err books_begin(struct control *c, struct error *error)
{
    struct gateway *g = &c->gateway;
    TRY(store_begin(c, error));
    g->rests = rests_new();
    g->books = books_new(c->loop, g->store);
    if (!g->rests || !g->books)
        return error_set(error, ERR_NOMEM, "out of memory");
    missed_clients_settle(g, &c->config->storage);
    return books_load(g->books, c->config, error);
}

/* ---- up and down ----------------------------------------------------------------------------------------
 */

static enum err boot(struct boot *b, struct error *error)
{
    static const struct api_route *const tables[] = {gateway_routes, llm_routes, admin_routes};
    struct control *c = &b->control;
    error_set(error, ERR_NOMEM, "out of memory");
    c->gateway.route_tables = tables;
    c->gateway.route_table_count = COUNT_OF(tables);
    c->gateway.sources = &c->sources;
    c->loop = loop_new();
    c->metrics = metric_set_new();
    if (!c->loop || !c->metrics)
        return ERR_NOMEM;
    c->loop->metrics = c->metrics;
    c->gateway.control = c->loop;
    c->gateway.shepherd = c->shepherd;
    c->gateway.peers = peers_new(PEERS_SHARDS, PEERS_PER_SHARD);
    if (!c->gateway.peers)
        return ERR_NOMEM;
    TRY(shepherd_attach(c->shepherd, c->loop));
    c->services = services_new(c->loop, c->shepherd);
    c->providers = c->services ? providers_new(c->loop, c->services) : NULL;
    if (!c->providers)
        return ERR_NOMEM;
    TRY(probe(b, error)); /* before anything is written: a second gateway on the port ends here */
    TRY(listeners_open(b, error));
    TRY(identity_settle(c->shepherd, &c->config->server, b->bound, b->bound_count, error));
    TRY(books_begin(c, error));
    c->snapshot = control_snapshot(c, c->config, error);
    if (!c->snapshot)
        return error->err;
    TRY(workers_make(b, c->snapshot, error));
    TRY(control_watch(c));
    for (size_t i = 0; i < c->gateway.worker_count; i++)
        TRY(worker_start(c->gateway.workers[i]));
    return OK;
}

static void sockets_remove(const struct boot *b)
{
    char text[160];
    for (size_t i = 0; i < b->bound_count; i++)
        if (b->bound[i].storage.ss_family == AF_UNIX) {
            address_format(&b->bound[i], true, text, sizeof text);
            unlink(text + strlen("unix:"));
        }
}

/* What would outlast the process. A worker that runs may be using the store. */
static void boot_undo(struct boot *b)
{
    const struct gateway *g = &b->control.gateway;
    for (size_t i = 0; i < g->worker_count; i++)
        if (g->workers[i]->running)
            return;
    store_close(g->store);
    sockets_remove(b);
}

static void shut_down(struct boot *b)
{
    struct control *c = &b->control;
    for (size_t i = 0; i < c->gateway.worker_count; i++)
        if (c->gateway.workers[i]->running)
            pthread_join(c->gateway.workers[i]->thread, NULL);
    notify_close();
    sockets_remove(b);
    control_unwatch(c);
    for (size_t i = 0; i < c->gateway.worker_count; i++)
        worker_free(c->gateway.workers[i]);
    store_close(c->gateway.store);
    snapshot_unref(c->snapshot);
    books_free(c->gateway.books);
    rests_free(c->gateway.rests);
    peers_free(c->gateway.peers);
    providers_free(c->providers);
    services_free(c->services);
    config_unref(c->config);
    offload_stop();
    shepherd_end(c->shepherd); /* while the loop that watches it is there */
    loop_free(c->loop);
    origins_free();
    log_event(LOG_INFO, "gateway_stop", "Hestia Gateway stopped");
    log_writer_stop();
}

int serve_main(const struct cli_options *options)
{
    static struct boot b;
    struct error error = {.err = OK};
    b.control.shepherd = shepherd_fork(); /* before any thread */
    if (!b.control.shepherd)
        return fail("cannot start the process that looks after the services' children");
    process_seal();
    crash_install("control", getenv("HESTIA_CRASH_REPORT"));
    notify_open();
    signals_block();
    files_raise_limit();
    if (!options_apply(&b.control, options)) {
        shepherd_end(b.control.shepherd);
        return EXIT_USAGE;
    }
    if (!config_read(&b, options)) {
        shepherd_end(b.control.shepherd);
        return EXIT_FAILED;
    }
    if (boot(&b, &error) != OK) {
        boot_undo(&b);
        shepherd_end(b.control.shepherd);
        return fail(error_text(&error));
    }
    if (log_writer_start() != OK)
        return fail("cannot start the log writer");
    log_start(&b);
    notify_ready(b.control.loop, b.workers, b.worker_count);
    loop_run(b.control.loop);
    shut_down(&b);
    return EXIT_OK;
}
