/*
 * The warden of one child: starts it, passes signals on, tells Hestia of its end, and kills all that came of
 * it. Forked by the shepherd; single-threaded, with a poll loop of its own.
 */
#include "loop/warden.h"

#include "loop/children.h"
#include "loop/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct warden {
    int socket;    /* to Hestia */
    int signals;   /* SIGCHLD */
    int report_fd; /* from the child: EOF = exec worked, a child_event = it did not; -1 = known */
    pid_t leader;
};

void child_event_send(int fd, enum child_event_kind kind, int number, enum child_step step)
{
    struct child_event event = {.kind = kind, .number = number, .step = step};
    /* Fails only when Hestia is gone, which the next read will tell. */
    (void)!send(fd, &event, sizeof event, MSG_NOSIGNAL);
}

/* False with errno. */
static bool leader_fork(struct warden *w, const struct program *p, int log_fd)
{
    int report[2];
    pid_t me = getpid();
    if (pipe2(report, O_CLOEXEC) != 0)
        return false;
    w->leader = fork();
    if (w->leader == 0)
        program_exec(p, me, log_fd, report[1]);
    int failure = errno;
    /* Both sides do it, so that a signal that comes next finds the group; EACCES = the child was first. */
    if (w->leader > 0)
        setpgid(w->leader, w->leader);
    close(report[1]);
    w->report_fd = report[0];
    errno = failure;
    return w->leader > 0;
}

/* How exec went. */
static void report_take(struct warden *w)
{
    struct child_event event;
    ssize_t n = read(w->report_fd, &event, sizeof event);
    close(w->report_fd);
    w->report_fd = -1;
    if (n != (ssize_t)sizeof event) {
        child_event_send(w->socket, CHILD_SPAWNED, w->leader, STEP_EXEC);
        return;
    }
    waitpid(w->leader, NULL, 0);
    child_event_send(w->socket, event.kind, event.number, (enum child_step)event.step);
    _exit(0);
}

/* While the leader is a zombie its number, and so its group's, belongs to nobody else. A group that got
   SIGKILL cannot grow: fork fails with a signal pending. */
_Noreturn static void leader_end(struct warden *w)
{
    int status = 0;
    kill(-w->leader, SIGKILL);
    waitpid(w->leader, &status, 0);
    children_end(w->signals, 0);
    child_event_send(w->socket, CHILD_GONE, status, STEP_EXEC);
    _exit(0);
}

/* The status as waitpid gives it, from waitid's. */
static int wait_status(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 0xff) << 8;
    return (info->si_status & 0x7f) | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

/* Adopted children are reaped, the leader is only looked at. */
static void warden_reap(struct warden *w)
{
    child_signals_drain(w->signals);
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return;
        if (info.si_pid != w->leader) {
            waitpid(info.si_pid, NULL, 0);
            continue;
        }
        if (w->report_fd >= 0)
            report_take(w);
        child_event_send(w->socket, CHILD_LEADER_EXIT, wait_status(&info), STEP_EXEC);
        leader_end(w);
    }
}

static void warden_obey(struct warden *w)
{
    int number = 0;
    ssize_t n = recv(w->socket, &number, sizeof number, 0);
    if (n == (ssize_t)sizeof number)
        kill(-w->leader, number);
    else if (n >= 0 || errno != EINTR)
        leader_end(w); /* Hestia is gone */
}

_Noreturn static void warden_run(struct warden *w)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = w->socket, .events = POLLIN},
                               {.fd = w->signals, .events = POLLIN},
                               {.fd = w->report_fd, .events = POLLIN}};
        poll(fds, COUNT_OF(fds), -1);
        if (fds[2].revents)
            report_take(w);
        if (fds[1].revents)
            warden_reap(w);
        if (fds[0].revents)
            warden_obey(w);
    }
}

void warden_process(const int fds[SPAWN_FDS], int signals)
{
    struct warden w = {.socket = fds[SPAWN_SOCKET], .signals = signals, .report_fd = -1};
    struct program program;
    prctl(PR_SET_NAME, "hestia-warden");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (!program_read(&program, fds[SPAWN_TEXTS]) || !leader_fork(&w, &program, fds[SPAWN_LOG])) {
        child_event_send(w.socket, CHILD_FAILED, errno, STEP_FORK);
        _exit(0);
    }
    program_free(&program);
    close(fds[SPAWN_TEXTS]);
    close(fds[SPAWN_LOG]); /* so that its reader sees the end when the child and its own have closed it */
    warden_run(&w);
}
