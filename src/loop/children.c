/* Ending children, and all that they leave behind. In the shepherd and the wardens. */
#include "loop/children.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between two rounds of killing when no exit is heard of: something hangs in the kernel. */
enum { RETRY_MS = 50, RETRY_MAX_MS = 1000 };

/* SIGCHLD as a descriptor. Everything else stays blocked: a Ctrl-C or a kill of the whole session must not
   take the shepherd from a Hestia that drains. */
int child_signals_open(void)
{
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

void child_signals_drain(int fd)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) > 0)
        ;
}

/* Parent and group of a process, from "pid (name) state ppid pgrp …"; the name may hold anything. */
static bool process_parent(const char *pid, pid_t *parent, pid_t *group)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[MAX(n, 0)] = 0;
    const char *end_of_name = strrchr(text, ')');
    return end_of_name && sscanf(end_of_name + 1, " %*c %d %d", parent, group) == 2;
}

/* The pids cannot go to others meanwhile: only we reap them. */
bool children_kill(pid_t spared)
{
    pid_t me = getpid(), parent, group;
    DIR *proc = opendir("/proc");
    if (!proc)
        return false;
    for (struct dirent *entry; (entry = readdir(proc));)
        if (isdigit((unsigned char)entry->d_name[0]) && process_parent(entry->d_name, &parent, &group) &&
            parent == me && group != spared)
            kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
    closedir(proc);
    return true;
}

/* Each round kills one generation: the next one then becomes ours. */
void children_end(int signals, pid_t spared)
{
    pid_t pid;
    for (int pause = RETRY_MS;; pause = MIN(2 * pause, RETRY_MAX_MS)) {
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (pid < 0 || !children_kill(spared))
            return;
        poll(&(struct pollfd){.fd = signals, .events = POLLIN}, 1, pause);
        child_signals_drain(signals);
    }
}
