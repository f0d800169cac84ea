/*
 * The shepherd's process: forks a warden for each child, and cleans up where a warden cannot.
 * Single-threaded, with a poll loop of its own. Whoever dies is survived by someone who cleans up. When
 * Hestia dies, each warden reads EOF and kills its own. When a warden dies, its child dies with it
 * (PDEATHSIG) and the rest falls to the shepherd, which kills it. When the shepherd dies, the wardens go on,
 * but no new child can be started.
 */
#include "loop/warden.h"

#include "loop/children.h"
#include "loop/process.h"
#include "loop/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Takes one command; what recvmsg returned. Missing descriptors stay -1. A command of one byte starts a
   child, a longer one is an identity. */
static ssize_t command_recv(int fd, struct identity *identity, int fds[SPAWN_FDS])
{
    struct iovec part = {identity, sizeof *identity};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(SPAWN_FDS * sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    for (int i = 0; i < SPAWN_FDS; i++)
        fds[i] = -1;
    ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = n < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return n;
}

/* The answer is 0 or errno. A shepherd that could not is no use: Hestia ends, and so does this. A change of
   user makes a process unreadable to its own kind; nothing secret is here, and /proc must stay in reach. */
static void identity_take(int fd, const struct identity *identity)
{
    int failed = identity_become(identity);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    (void)!send(fd, &failed, sizeof failed, MSG_NOSIGNAL);
}

/* False when Hestia is gone. A command that lost descriptors is dropped: Hestia sees the socket close. */
static bool shepherd_obey(int fd, int signals)
{
    int fds[SPAWN_FDS];
    struct identity identity;
    ssize_t n = command_recv(fd, &identity, fds);
    if (n == 0 || (n < 0 && errno != EINTR))
        return false;
    if (n == (ssize_t)sizeof identity) {
        identity_take(fd, &identity);
        return true;
    }
    if (n > 0 && fds[SPAWN_FDS - 1] >= 0) {
        pid_t warden = fork();
        if (warden == 0) {
            close(fd);
            warden_process(fds, signals);
        }
        if (warden < 0)
            child_event_send(fds[SPAWN_SOCKET], CHILD_FAILED, errno, STEP_FORK);
    }
    for (int i = 0; i < SPAWN_FDS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return true;
}

/* A warden ends with 0. Anything else was killed, and what it had falls to us: all that is not in the group
   of shepherd and wardens. */
static void shepherd_reap(int signals)
{
    int status;
    bool orphans = false;
    child_signals_drain(signals);
    while (waitpid(-1, &status, WNOHANG) > 0)
        orphans |= status != 0;
    if (orphans)
        children_kill(getpgrp());
}

static void null_input_output(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        dup2(fd, STDIN_FILENO);
        dup2(fd, STDOUT_FILENO);
        if (fd > STDERR_FILENO)
            close(fd);
    }
}

_Noreturn void shepherd_process(int fd)
{
    prctl(PR_SET_NAME, "hestia-shepherd");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* for Hestia's ports, not for children */
    environment_wipe();
    setsid(); /* no terminal, and a group of its own */
    descriptors_keep_only(fd);
    null_input_output();
    int signals = child_signals_open();
    for (bool go_on = signals >= 0; go_on;) {
        struct pollfd fds[] = {{.fd = KEPT_FD, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        poll(fds, COUNT_OF(fds), -1);
        if (fds[1].revents)
            shepherd_reap(signals);
        if (fds[0].revents)
            go_on = shepherd_obey(KEPT_FD, signals);
    }
    /* The wardens have seen Hestia go too, and end when their work is done. */
    children_end(signals, getpgrp());
    _exit(0);
}
