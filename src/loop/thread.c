/*
 * Threads, signals as events, and the descriptor limit. Called by main/ while it sets the process up;
 * on_signal runs on the loop that opened the signals.
 */
#include "loop/thread.h"

#include "base/mem.h"
#include "loop/crash.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* ---- threads ------------------------------------------------------------------------------------------- */

struct thread_start {
    void (*run)(void *argument);
    void *argument;
    char name[16]; /* the kernel keeps no more */
};

static void *thread_main(void *argument)
{
    struct thread_start start = *(struct thread_start *)argument;
    mem_free(argument);
    pthread_setname_np(pthread_self(), start.name);
    crash_thread_begin(start.name);
    start.run(start.argument);
    crash_thread_end();
    return NULL;
}

enum err thread_start(pthread_t *thread, const char *name, void (*run)(void *), void *argument)
{
    sigset_t all, before;
    struct thread_start *start = mem_alloc(sizeof *start);
    if (!start)
        return ERR_NOMEM;
    start->run = run;
    start->argument = argument;
    snprintf(start->name, sizeof start->name, "%s", name);
    /* The new thread inherits the mask: no window in which it could take a signal. */
    sigfillset(&all);
    crash_signals_spare(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        mem_free(start);
    return failed ? ERR_NOMEM : OK;
}

int thread_core_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return MAX(CPU_COUNT(&set), 1);
    /* More processors than the fixed set holds. */
    return (int)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
}

/* ---- signals ------------------------------------------------------------------------------------------- */

static sigset_t signals_set(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        sigaddset(&set, numbers[i]);
    return set;
}

/* SIGPIPE is ignored, not blocked: a blocked one would stay pending after every write to a closed socket. */
void signals_block(void)
{
    sigset_t set = signals_set();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void signals_on_event(struct watch *w, uint32_t events)
{
    struct signals *s = CONTAINER_OF(w, struct signals, watch);
    struct signalfd_siginfo info;
    while (read(w->fd, &info, sizeof info) == (ssize_t)sizeof info)
        s->on_signal(s, (int)info.ssi_signo);
}

enum err signals_open(struct loop *l, struct signals *s)
{
    sigset_t set = signals_set();
    s->watch = (struct watch){.on_event = signals_on_event, .fd = -1};
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return errno == ENOMEM ? ERR_NOMEM : ERR_IO;
    enum err err = watch_add(l, &s->watch, fd);
    if (err != OK)
        close(fd);
    return err;
}

void signals_close(struct loop *l, struct signals *s)
{
    int fd = s->watch.fd;
    watch_remove(l, &s->watch);
    close(fd);
}

/* ---- limits -------------------------------------------------------------------------------------------- */

uint64_t files_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}
