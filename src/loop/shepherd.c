/*
 * Hestia's side of the shepherd: starts it, hands it what is to be spawned, and turns what the wardens say
 * into callbacks. Control thread only, but for shepherd_fork and shepherd_end, which main/ calls.
 */
#include "loop/shepherd.h"

#include "base/log.h"
#include "base/mem.h"
#include "loop/process.h"
#include "loop/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { END_WAIT_MS = 10000 };

struct shepherd {
    struct loop *loop;  /* NULL before shepherd_attach */
    struct watch watch; /* the socket to the shepherd */
    pid_t pid;
    struct list children; /* of struct child */
    _Atomic bool lost;    /* it ended by itself */
};

static const char *const step_names[STEP_COUNT] = {
    [STEP_FORK] = "fork", [STEP_CHDIR] = "chdir", [STEP_EXEC] = "exec"};

static void descriptor_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Both ends close-on-exec, the first one also non-blocking. */
static bool record_pair(int ends[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        ends[0] = ends[1] = -1;
        return false;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return true;
}

static void spawn_fds_close(struct child *c)
{
    for (int i = 0; i < SPAWN_FDS; i++)
        descriptor_close(&c->spawn_fds[i]);
}

/* ---- what a warden says -------------------------------------------------------------------------------- */

static void child_forget(struct child *c)
{
    watch_remove(c->shepherd->loop, &c->watch);
    descriptor_close(&c->watch.fd);
    spawn_fds_close(c);
    list_remove(&c->node);
}

/* The callback comes last: it may free the child. */
static void child_failed(struct child *c, int error_number, const char *step)
{
    child_forget(c);
    c->failed_step = step;
    c->on_spawn_failed(c, error_number);
}

static void child_gone(struct child *c, int status)
{
    child_forget(c);
    c->on_exit(c, status);
}

static void child_left(struct child *c, int status)
{
    c->left = true;
    c->status = status;
    if (c->on_leader_exit)
        c->on_leader_exit(c, status);
}

/* The warden, or the shepherd before there was one, was killed. The leader died with its warden, strays fall
   to the shepherd; the group is ours to finish in case the shepherd is gone too. */
static void child_lost(struct child *c)
{
    if (!c->pid) {
        child_failed(c, EPIPE, step_names[STEP_FORK]);
        return;
    }
    kill(-c->pid, SIGKILL);
    if (!c->left)
        child_left(c, SIGKILL);
    child_gone(c, c->status);
}

/* False when the child is over: c may be gone. */
static bool child_event_take(struct child *c, const struct child_event *event)
{
    switch ((enum child_event_kind)event->kind) {
    case CHILD_SPAWNED:
        c->pid = event->number;
        c->on_spawned(c);
        return true;
    case CHILD_LEADER_EXIT:
        child_left(c, event->number);
        return true;
    case CHILD_FAILED:
        child_failed(c, event->number, step_names[event->step]);
        return false;
    case CHILD_GONE:
        child_gone(c, event->number);
        return false;
    }
    return true;
}

static void signals_flush(struct child *c)
{
    for (int number = 1; c->signals_due && number < 64; number++)
        if (c->signals_due & (uint64_t)1 << number) {
            if (send(c->watch.fd, &number, sizeof number, MSG_NOSIGNAL) < 0 && errno == EAGAIN)
                return;
            c->signals_due &= ~((uint64_t)1 << number);
        }
}

/* True when there may be more to read. */
static bool child_read(struct child *c)
{
    struct child_event event;
    ssize_t n = recv(c->watch.fd, &event, sizeof event, 0);
    if (n == (ssize_t)sizeof event)
        return child_event_take(c, &event);
    /* A warden that ended with a signal unread resets the socket, but what it said before still comes. */
    if (n < 0 && (errno == EINTR || errno == ECONNRESET))
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    child_lost(c);
    return false;
}

static void child_on_event(struct watch *w, uint32_t events)
{
    struct child *c = CONTAINER_OF(w, struct child, watch);
    signals_flush(c);
    while (child_read(c))
        ;
}

void child_signal(struct child *c, int signal_number)
{
    REQUIRE(signal_number > 0 && signal_number < 64);
    c->signals_due |= (uint64_t)1 << signal_number;
    signals_flush(c);
}

/* ---- spawning ------------------------------------------------------------------------------------------ */

static uint32_t texts_add(struct buf *b, const char *const *list)
{
    uint32_t count = 0;
    for (; list[count]; count++)
        buf_add(b, list[count], strlen(list[count]) + 1);
    return count;
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno != EINTR)
            return false;
        bytes = str_from(bytes, (size_t)MAX(n, 0));
    }
    return true;
}

static enum err texts_store(int *fd, const struct child_options *o)
{
    struct spawn_head head = {0};
    CLEANUP(buf_free) struct buf b = BUF(SPAWN_TEXTS_MAX);
    buf_add(&b, &head, sizeof head);
    buf_add(&b, o->workdir, strlen(o->workdir) + 1);
    head.argument_count = texts_add(&b, o->argv);
    head.environment_count = texts_add(&b, o->environment);
    TRY(buf_err(&b));
    memcpy(b.p, &head, sizeof head);
    *fd = memfd_create("hestia-spawn", MFD_CLOEXEC);
    return *fd >= 0 && write_all(*fd, buf_str(&b)) ? OK : ERR_IO;
}

/* What runs goes on under its wardens; nothing can be started any more. */
static void shepherd_lose(struct shepherd *s)
{
    if (!atomic_exchange(&s->lost, true))
        log_event(LOG_ERROR, err_row(ERR_SHEPHERD_LOST)->code, "No service can be started: %s",
                  err_row(ERR_SHEPHERD_LOST)->text);
}

bool shepherd_is_lost(const struct shepherd *s)
{
    return atomic_load_explicit(&s->lost, memory_order_relaxed);
}

/* ERR_AGAIN when the shepherd is behind. */
static enum err command_send(struct shepherd *s, const int fds[SPAWN_FDS])
{
    char byte = 0;
    struct iovec part = {&byte, sizeof byte};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(SPAWN_FDS * sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(SPAWN_FDS * sizeof(int));
    memcpy(CMSG_DATA(&control.header), fds, SPAWN_FDS * sizeof(int));
    if (sendmsg(s->watch.fd, &message, MSG_NOSIGNAL) >= 0)
        return OK;
    if (errno == EAGAIN)
        return ERR_AGAIN;
    if (errno != EPIPE && errno != ECONNRESET)
        return ERR_IO;
    shepherd_lose(s);
    return ERR_SHEPHERD_LOST;
}

/* Sends the command, or leaves it for the moment when the shepherd's socket takes it. */
static enum err child_send(struct child *c)
{
    enum err err = command_send(c->shepherd, c->spawn_fds);
    if (err == ERR_AGAIN)
        return OK;
    spawn_fds_close(c);
    return err;
}

/* Makes the pipe, the socket and the memory file; what was made before a failure is in c. */
static enum err child_prepare(struct child *c, const struct child_options *o, int *socket)
{
    int log[2], ends[2];
    if (pipe2(log, O_CLOEXEC) != 0)
        return ERR_IO;
    c->log_fd = log[0];
    c->spawn_fds[SPAWN_LOG] = log[1];
    fcntl(c->log_fd, F_SETFL, O_NONBLOCK);
    if (!record_pair(ends))
        return ERR_IO;
    *socket = ends[0];
    c->spawn_fds[SPAWN_SOCKET] = ends[1];
    return texts_store(&c->spawn_fds[SPAWN_TEXTS], o);
}

/* The socket and the descriptors are in c, or still -1. */
static enum err child_start(struct shepherd *s, struct child *c, const struct child_options *o)
{
    int socket = -1;
    enum err err = child_prepare(c, o, &socket);
    if (err == OK)
        err = watch_add(s->loop, &c->watch, socket);
    if (err != OK) {
        descriptor_close(&socket);
        return err;
    }
    c->watch.fd = socket;
    list_push_back(&s->children, &c->node);
    err = child_send(c);
    if (err != OK)
        child_forget(c);
    return err;
}

enum err child_spawn(struct shepherd *s, struct child *c, const struct child_options *options)
{
    REQUIRE(s->loop && options->argv[0]);
    c->shepherd = s;
    c->watch = (struct watch){.on_event = child_on_event, .fd = -1};
    c->node = (struct list){0};
    c->signals_due = 0;
    c->pid = c->status = 0;
    c->left = false;
    c->failed_step = NULL;
    c->log_fd = -1;
    for (int i = 0; i < SPAWN_FDS; i++)
        c->spawn_fds[i] = -1;
    enum err err = child_start(s, c, options);
    if (err != OK) {
        spawn_fds_close(c);
        descriptor_close(&c->log_fd);
    }
    return err;
}

/* ---- the shepherd -------------------------------------------------------------------------------------- */

/* It has nothing to say any more but that. Commands that it had not read reset the socket. */
static bool is_gone(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, sizeof byte, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* The socket takes commands again, or the shepherd is gone: then the commands fail, which their children's
   sockets tell. */
static void shepherd_on_event(struct watch *w, uint32_t events)
{
    struct shepherd *s = CONTAINER_OF(w, struct shepherd, watch);
    LIST_EACH(node, &s->children)
    {
        struct child *c = CONTAINER_OF(node, struct child, node);
        if (c->spawn_fds[SPAWN_SOCKET] >= 0)
            (void)!child_send(c);
    }
    if (is_gone(w->fd))
        shepherd_lose(s);
}

struct shepherd *shepherd_fork(void)
{
    int ends[2];
    struct shepherd *s = mem_alloc(sizeof *s);
    if (!s || !record_pair(ends)) {
        mem_free(s);
        return NULL;
    }
    s->pid = fork();
    if (s->pid == 0)
        shepherd_process(ends[1]);
    close(ends[1]);
    if (s->pid < 0) {
        close(ends[0]);
        mem_free(s);
        return NULL;
    }
    s->watch = (struct watch){.on_event = shepherd_on_event, .fd = ends[0]};
    list_init(&s->children);
    return s;
}

enum err shepherd_attach(struct shepherd *s, struct loop *l)
{
    TRY(watch_add(l, &s->watch, s->watch.fd));
    s->loop = l;
    return OK;
}

enum err shepherd_become(struct shepherd *s, const struct identity *identity, struct error *error)
{
    int fd = s->watch.fd, failed = EPIPE;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    REQUIRE(list_empty(&s->children));
    if (send(fd, identity, sizeof *identity, MSG_NOSIGNAL) == (ssize_t)sizeof *identity &&
        poll(&p, 1, END_WAIT_MS) == 1 && recv(fd, &failed, sizeof failed, 0) != (ssize_t)sizeof failed)
        failed = EPIPE;
    if (failed)
        return error_set(error, ERR_IO, "the services' parent process cannot change its user: %s",
                         strerror(failed));
    return OK;
}

/* Bounded: a process that hangs in the kernel is not worth hanging for. */
static void shepherd_wait(pid_t pid)
{
    int fd = pidfd_open(pid, 0);
    if (fd >= 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        while (poll(&p, 1, END_WAIT_MS) < 0 && errno == EINTR)
            ;
        close(fd);
    }
    waitpid(pid, NULL, fd >= 0 ? WNOHANG : 0);
}

void shepherd_end(struct shepherd *s)
{
    LIST_EACH_SAFE(node, &s->children)
    {
        child_forget(CONTAINER_OF(node, struct child, node));
    }
    if (s->loop)
        watch_remove(s->loop, &s->watch);
    close(s->watch.fd);
    shepherd_wait(s->pid);
    mem_free(s);
}
