/*
 * Services that are processes of ours: each start allocates a port, the shepherd spawns the command in a
 * group of its own, and its output comes through a pipe. Ending it is SIGTERM to the group, then SIGKILL.
 * Control thread.
 */
#include "service/orchestrator.h"

#include "base/mem.h"
#include "loop/crypto.h"
#include "service/child_texts.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_CHUNK = 16 << 10, OUTPUT_PER_TURN = 256 << 10, PORT_ATTEMPTS = 32 };

struct orchestration {
    struct child child;
    struct loop *loop;
    struct watch output;  /* the log pipe; fd -1 = closed */
    struct timer killing; /* end of the grace */
    struct timer reading; /* goes on reading after a long turn */
    void *owner;
    const struct orchestration_events *events;
    uint16_t port;
    bool stop_asked;
    uint64_t grace_ms;
    char command[64], workdir[256]; /* for messages */
};

/* ---- the port ---------------------------------------------------------------------------------------- */

static bool port_probe(int family, uint16_t *port)
{
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback, .sin6_port = htons(*port)};
    struct sockaddr_in four = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};
    bool is_four = family == AF_INET;
    struct sockaddr *address = is_four ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    socklen_t length = is_four ? sizeof four : sizeof six;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, address, length) == 0 && getsockname(fd, address, &length) == 0;
    *port = ntohs(is_four ? four.sin_port : six.sin6_port);
    bool is_absent = fd < 0 || errno == EADDRNOTAVAIL;
    if (fd >= 0)
        close(fd);
    return ok || (!is_four && is_absent); /* a machine without IPv6 has no conflict there */
}

/* Any of those that no connection gets by itself (ip_local_port_range begins at 32768): between our look at
   it and the moment when the service takes it, a second may pass. The last tries leave the choice to the
   kernel.
 */
static uint16_t port_propose(int attempt)
{
    enum { PROPOSED_FIRST = 20000, PROPOSED = 12768 };
    uint16_t random;
    crypto_random(&random, sizeof random);
    return attempt < PORT_ATTEMPTS / 2 ? (uint16_t)(PROPOSED_FIRST + random % PROPOSED) : 0;
}

/* Free on 127.0.0.1 and on ::1, because "localhost" may be either. */
static bool port_allocate(uint16_t *port)
{
    for (int i = 0; i < PORT_ATTEMPTS; i++) {
        uint16_t four = port_propose(i);
        bool is_free = port_probe(AF_INET, &four);
        uint16_t six = four;
        if (is_free && port_probe(AF_INET6, &six)) {
            *port = four;
            return true;
        }
    }
    return false;
}

/* ---- output ------------------------------------------------------------------------------------------ */

static void output_close(struct orchestration *o)
{
    if (o->output.fd < 0)
        return;
    watch_remove(o->loop, &o->output);
    close(o->output.fd);
    o->output.fd = -1;
}

/* Always drained: a full pipe would stop the service. But a flood must not stop the control thread. */
static void output_read(struct orchestration *o, size_t budget)
{
    char bytes[OUTPUT_CHUNK];
    for (size_t total = 0; o->output.fd >= 0;) {
        if (total >= budget) {
            timer_set(o->loop, &o->reading, loop_now(o->loop) + 1);
            return;
        }
        ssize_t n = read(o->output.fd, bytes, sizeof bytes);
        if (n > 0) {
            total += (size_t)n;
            o->events->on_output(o->owner, str_make(bytes, (size_t)n));
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            output_close(o);
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static void output_event(struct watch *w, uint32_t events)
{
    output_read(CONTAINER_OF(w, struct orchestration, output), OUTPUT_PER_TURN);
}

static void output_due(struct timer *timer)
{
    output_read(CONTAINER_OF(timer, struct orchestration, reading), OUTPUT_PER_TURN);
}

/* ---- what the shepherd tells ------------------------------------------------------------------------- */

static void kill_due(struct timer *timer)
{
    struct orchestration *o = CONTAINER_OF(timer, struct orchestration, killing);
    child_signal(&o->child, SIGKILL);
}

static void process_end(struct orchestration *o)
{
    if (o->grace_ms == 0) {
        child_signal(&o->child, SIGKILL);
        return;
    }
    child_signal(&o->child, SIGTERM);
    timer_set(o->loop, &o->killing, clock_after(loop_now(o->loop), o->grace_ms));
}

static void child_spawned(struct child *c)
{
    struct orchestration *o = CONTAINER_OF(c, struct orchestration, child);
    if (o->stop_asked)
        process_end(o);
    else
        o->events->on_started(o->owner, o->port);
}

static void child_spawn_failed(struct child *c, int error_number)
{
    struct orchestration *o = CONTAINER_OF(c, struct orchestration, child);
    struct error error;
    output_close(o);
    const char *step = c->failed_step ? c->failed_step : "exec";
    bool in_workdir = strcmp(step, "chdir") == 0;
    error_set(&error, ERR_START_FAILED, "%s: %s%s%s failed: %s", o->command, step, in_workdir ? " to " : "",
              in_workdir ? o->workdir : "", strerror(error_number));
    o->events->on_failed(o->owner, &error);
}

static void child_exited(struct child *c, int status)
{
    struct orchestration *o = CONTAINER_OF(c, struct orchestration, child);
    char why[160];
    output_read(o, SIZE_MAX); /* the group is gone: what is in the pipe is all there is */
    output_close(o);
    if (WIFSIGNALED(status))
        snprintf(why, sizeof why, "%s was ended by signal %d (%s)", o->command, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(why, sizeof why, "%s exited with status %d", o->command, WEXITSTATUS(status));
    o->events->on_stopped(o->owner, str_from_c(why), !o->stop_asked);
}

/* ---- the interface ----------------------------------------------------------------------------------- */

static void process_free(struct orchestration *o)
{
    output_close(o);
    timer_remove(o->loop, &o->killing);
    timer_remove(o->loop, &o->reading);
    mem_free(o);
}

static void process_stop(struct orchestration *o, uint64_t grace_ms)
{
    if (o->stop_asked && grace_ms >= o->grace_ms)
        return;
    o->stop_asked = true;
    o->grace_ms = grace_ms;
    if (o->child.pid)
        process_end(o);
}

static enum err process_spawn(struct orchestration *o, struct shepherd *shepherd,
                              const struct service_config *config, struct error *error)
{
    struct arena arena CLEANUP(arena_free) = {0};
    struct child_options options = {
        .argv = child_arguments(&arena, config, o->port),
        .environment = child_environment(&arena, config, o->port, (const char *const *)environ),
        .workdir = config->workdir.n ? arena_c(&arena, config->workdir) : "/",
    };
    if (!options.argv || !options.environment || !options.workdir)
        return error_set(error, ERR_NOMEM, "out of memory");
    if (!options.argv[0])
        return error_set(error, ERR_START_FAILED, "its command is empty");
    snprintf(o->command, sizeof o->command, "%s", options.argv[0]);
    snprintf(o->workdir, sizeof o->workdir, "%s", options.workdir);
    enum err err = child_spawn(shepherd, &o->child, &options);
    if (err != OK)
        return error_set(error, ERR_START_FAILED, "%s could not be spawned: %s", o->command,
                         err_row(err)->text);
    return OK;
}

/* Its port, the process, and the reading of its output. */
static enum err process_begin(struct orchestration *o, struct services *all,
                              const struct service_config *config, struct error *error)
{
    if (config->uses_port && !port_allocate(&o->port))
        return error_set(error, ERR_START_FAILED, "no free port: %s", strerror(errno));
    return process_spawn(o, services_shepherd(all), config, error);
}

static struct orchestration *process_start(struct services *all, const struct service_config *config,
                                           void *owner, const struct orchestration_events *events,
                                           struct error *error)
{
    struct orchestration *o = mem_alloc(sizeof *o);
    if (!o) {
        error_set(error, ERR_NOMEM, "out of memory");
        return NULL;
    }
    o->loop = services_loop(all);
    o->owner = owner;
    o->events = events;
    o->output.fd = -1;
    o->output.on_event = output_event;
    o->killing.on_due = kill_due;
    o->reading.on_due = output_due;
    o->child.on_spawned = child_spawned;
    o->child.on_spawn_failed = child_spawn_failed;
    o->child.on_exit = child_exited;
    if (process_begin(o, all, config, error) != OK) {
        mem_free(o);
        return NULL;
    }
    if (watch_add(o->loop, &o->output, o->child.log_fd) != OK) {
        close(o->child.log_fd); /* it runs without a log: it would stop at a full pipe otherwise */
        o->output.fd = -1;
    }
    return o;
}

const struct orchestrator orchestrator_process = {
    .name = "process",
    .is_built = true,
    .is_local = true,
    .adopts_running = true,
    .start = process_start,
    .stop = process_stop,
    .free = process_free,
};
