/* The shepherd and its wardens with real processes: what they start, tell, and above all what they leave. */
#include "loop/shepherd.h"

#include "base/buf.h"
#include "loop/thread.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- a child under observation ------------------------------------------------------------------------- */

static struct loop *l;
static struct shepherd *s;
static struct timer guard;

struct subject {
    struct child child;
    struct watch log_watch;
    struct buf log;
    bool spawned, failed, left, gone, log_ended;
    pid_t stray; /* when set: must be gone, not just doomed, when the end is told */
    int status, failure;
};

static void on_spawned(struct child *c)
{
    CONTAINER_OF(c, struct subject, child)->spawned = true;
    loop_stop(l);
}

static void on_spawn_failed(struct child *c, int error_number)
{
    struct subject *x = CONTAINER_OF(c, struct subject, child);
    x->failed = true;
    x->failure = error_number;
    loop_stop(l);
}

static void on_leader_exit(struct child *c, int status)
{
    struct subject *x = CONTAINER_OF(c, struct subject, child);
    assert_false(x->gone);
    x->left = true;
    x->status = status;
    loop_stop(l);
}

static void on_exit_(struct child *c, int status)
{
    struct subject *x = CONTAINER_OF(c, struct subject, child);
    assert_true(x->left);
    assert_int_equal(status, x->status);
    if (x->stray)
        assert_true(kill(x->stray, 0) < 0 && errno == ESRCH);
    x->gone = true;
    loop_stop(l);
}

static void log_on_event(struct watch *w, uint32_t events)
{
    struct subject *x = CONTAINER_OF(w, struct subject, log_watch);
    char bytes[4096];
    ssize_t n;
    while ((n = read(w->fd, bytes, sizeof bytes)) > 0)
        buf_add(&x->log, bytes, (size_t)n);
    x->log_ended = n == 0;
    loop_stop(l);
}

static void on_guard(struct timer *timer)
{
    fail_msg("nothing happened for 30 s");
}

/* Turns the loop until it is so. */
#define UNTIL(condition)                                                                                     \
    do {                                                                                                     \
        timer_set(l, &guard, clock_after(clock_now(), 30000));                                               \
        while (!(condition))                                                                                 \
            loop_run(l);                                                                                     \
    } while (0)

static const char *const plain_environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL};

static enum err subject_spawn(struct subject *x, const struct child_options *options)
{
    *x = (struct subject){.child = {.on_spawned = on_spawned,
                                    .on_spawn_failed = on_spawn_failed,
                                    .on_exit = on_exit_,
                                    .on_leader_exit = on_leader_exit},
                          .log_watch.on_event = log_on_event,
                          .log = BUF(1 << 20)};
    TRY(child_spawn(s, &x->child, options));
    return watch_add(l, &x->log_watch, x->child.log_fd);
}

static void subject_start(struct subject *x, const char *const *argv)
{
    struct child_options options = {.argv = argv, .environment = plain_environment, .workdir = "/"};
    assert_int_equal(subject_spawn(x, &options), OK);
}

static void subject_shell(struct subject *x, const char *script)
{
    subject_start(x, (const char *const[]){"sh", "-c", script, NULL});
}

static void subject_end(struct subject *x)
{
    watch_remove(l, &x->log_watch);
    close(x->child.log_fd);
    buf_free(&x->log);
}

static bool log_has(struct subject *x, const char *text)
{
    return str_find_str(buf_str(&x->log), str_from_c(text)) < x->log.n;
}

static int setup(void **state)
{
    guard = (struct timer){.on_due = on_guard, .due = CLOCK_NEVER};
    s = shepherd_fork();
    l = loop_new();
    return s && l && shepherd_attach(s, l) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    shepherd_end(s);
    timer_remove(l, &guard);
    loop_free(l);
    /* It was waited for: no child of ours is left, not even a zombie. */
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD ? 0 : -1;
}

/* ---- looking at processes ------------------------------------------------------------------------------ */

/* Parent of a process and its state letter; 0 when there is none. */
static pid_t process_look(pid_t pid, char *process_state)
{
    char path[64], text[512] = {0};
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    const char *name_end = n > 0 ? strrchr(text, ')') : NULL;
    return name_end && sscanf(name_end + 1, " %c %d", process_state, &parent) == 2 ? parent : 0;
}

static pid_t parent_of(pid_t pid)
{
    char process_state;
    return process_look(pid, &process_state);
}

static int children_count(pid_t parent)
{
    char process_state;
    int count = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    for (struct dirent *entry; (entry = readdir(proc));)
        if (isdigit((unsigned char)entry->d_name[0]))
            count += process_look(atoi(entry->d_name), &process_state) == parent;
    closedir(proc);
    return count;
}

static int descriptor_count(pid_t pid)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count - (pid == getpid());
}

static void assert_name(pid_t pid, const char *name)
{
    char path[64], text[64] = {0};
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    text[strcspn(text, "\n")] = 0;
    assert_string_equal(text, name);
}

/* ---- starting ------------------------------------------------------------------------------------------ */

static void output_and_status(void **state)
{
    struct subject x;
    subject_shell(&x, "echo out; echo err >&2; exit 7");
    UNTIL(x.gone && x.log_ended);
    assert_true(x.spawned);
    assert_true(WIFEXITED(x.status) && WEXITSTATUS(x.status) == 7);
    assert_true(log_has(&x, "out\nerr\n"));
    subject_end(&x);
}

static void signal_status(void **state)
{
    struct subject x;
    subject_shell(&x, "kill -USR2 $$");
    UNTIL(x.gone);
    assert_true(WIFSIGNALED(x.status) && WTERMSIG(x.status) == SIGUSR2);
    subject_end(&x);
}

static void missing_program(void **state)
{
    struct subject x;
    subject_start(&x, (const char *const[]){"no-such-program-here", NULL});
    UNTIL(x.failed && x.log_ended);
    assert_int_equal(x.failure, ENOENT);
    assert_string_equal(x.child.failed_step, "exec");
    assert_false(x.spawned);
    subject_end(&x);
    subject_start(&x, (const char *const[]){"/etc/passwd", NULL});
    UNTIL(x.failed);
    assert_int_equal(x.failure, EACCES);
    subject_end(&x);
}

static void missing_workdir(void **state)
{
    struct subject x;
    const char *const argv[] = {"true", NULL};
    struct child_options options = {argv, plain_environment, "/no/such/folder"};
    assert_int_equal(subject_spawn(&x, &options), OK);
    UNTIL(x.failed);
    assert_int_equal(x.failure, ENOENT);
    assert_string_equal(x.child.failed_step, "chdir");
    subject_end(&x);
}

/* The PATH that counts is the child's, and so are its folder and its environment. */
static void path_of_the_child(void **state)
{
    char folder[] = "/tmp/hestia-test-XXXXXX", file[64], path[64], expected[128];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/only-here", folder);
    snprintf(path, sizeof path, "PATH=/nowhere:%s", folder);
    FILE *f = fopen(file, "w");
    fputs("#!/bin/sh\necho \"$PWD|$A|$#|$2\"\n/usr/bin/env | /usr/bin/wc -l\n", f);
    fclose(f);
    chmod(file, 0755);
    struct subject x;
    const char *const argv[] = {"only-here", "", "two words", NULL};
    const char *const environment[] = {path, "A=b=c", NULL};
    struct child_options options = {argv, environment, folder};
    assert_int_equal(subject_spawn(&x, &options), OK);
    UNTIL(x.gone && x.log_ended);
    snprintf(expected, sizeof expected, "%s|b=c|2|two words\n", folder);
    assert_true(log_has(&x, expected));
    subject_end(&x);
    unlink(file);
    rmdir(folder);
}

static void clean_descriptors(void **state)
{
    struct subject x;
    int extra = open("/dev/zero", O_RDONLY); /* not close-on-exec: still the child must not see it */
    subject_shell(&x, "ls /proc/$$/fd; readlink /proc/$$/fd/0; true");
    UNTIL(x.gone && x.log_ended);
    assert_true(str_eq(buf_str(&x.log), STR("0\n1\n2\n/dev/null\n")));
    subject_end(&x);
    close(extra);
}

static void clean_signals(void **state)
{
    struct subject x;
    subject_start(&x, (const char *const[]){"grep", "-cE", "^Sig(Blk|Ign):\t0+$", "/proc/self/status", NULL});
    UNTIL(x.gone && x.log_ended);
    assert_true(str_eq(buf_str(&x.log), STR("2\n")));
    subject_end(&x);
}

enum { BIG_PART = 100000, BIG_PARTS = 10 };

static void big_environment(void **state)
{
    static char parts[BIG_PARTS][BIG_PART + 1], huge[5 << 20];
    const char *environment[BIG_PARTS + 2] = {"PATH=/usr/bin:/bin"};
    for (int i = 0; i < BIG_PARTS; i++) {
        memset(parts[i], 'x', BIG_PART);
        memcpy(parts[i], (char[]){'V', (char)('0' + i), '='}, 3);
        environment[i + 1] = parts[i];
    }
    struct subject x;
    const char *const argv[] = {"sh", "-c", "echo ${#V0} ${#V9}", NULL};
    struct child_options options = {argv, environment, "/"};
    assert_int_equal(subject_spawn(&x, &options), OK);
    UNTIL(x.gone && x.log_ended);
    assert_true(str_eq(buf_str(&x.log), STR("99997 99997\n")));
    subject_end(&x);

    memset(huge, 'x', sizeof huge - 1);
    options.environment = (const char *const[]){huge, NULL};
    int before = descriptor_count(getpid());
    assert_int_equal(subject_spawn(&x, &options), ERR_LIMIT);
    assert_int_equal(descriptor_count(getpid()), before);
}

/* ---- ending -------------------------------------------------------------------------------------------- */

/* The leader waits for the inner shell, which hears the signal too. */
static void term_reaches_the_group(void **state)
{
    struct subject x;
    subject_shell(&x, "trap : TERM; (trap 'echo inner; exit' TERM; sleep 1000 & echo ready; wait) & "
                      "wait; wait; exit 6");
    UNTIL(log_has(&x, "ready"));
    child_signal(&x.child, SIGTERM);
    UNTIL(x.gone);
    assert_int_equal(x.status, 6 << 8);
    assert_true(log_has(&x, "inner"));
    subject_end(&x);
}

static void end_await(struct pollfd *process)
{
    assert_true(process->fd >= 0);
    assert_int_equal(poll(process, 1, 30000), 1);
    close(process->fd);
}

/* The warden ends with the second signal unread, which resets the socket: what it told must still arrive. */
static void signal_crosses_the_end(void **state)
{
    struct subject x;
    subject_shell(&x, "sleep 1000");
    UNTIL(x.spawned);
    pid_t warden = parent_of(x.child.pid);
    struct pollfd leader = {.fd = pidfd_open(x.child.pid, 0), .events = POLLIN};
    struct pollfd ended = {.fd = pidfd_open(warden, 0), .events = POLLIN};
    kill(warden, SIGSTOP);
    kill(x.child.pid, SIGUSR1);
    child_signal(&x.child, SIGTERM);
    end_await(&leader);
    kill(warden, SIGCONT);
    end_await(&ended);
    UNTIL(x.gone);
    assert_int_equal(x.status, SIGUSR1);
    subject_end(&x);
}

static void term_ignored_then_kill(void **state)
{
    struct subject x;
    subject_shell(&x, "trap '' TERM; echo ready; sleep 1000");
    UNTIL(log_has(&x, "ready"));
    child_signal(&x.child, SIGTERM);
    child_signal(&x.child, SIGKILL);
    UNTIL(x.gone && x.log_ended);
    assert_true(WIFSIGNALED(x.status) && WTERMSIG(x.status) == SIGKILL);
    subject_end(&x);
}

/* The end of the log tells that nobody holds the pipe any more. */
static void background_process_dies_with_leader(void **state)
{
    struct subject x;
    subject_shell(&x, "sleep 1000 & (sleep 1000 & sleep 1000) & exit 3");
    UNTIL(x.gone && x.log_ended);
    assert_int_equal(WEXITSTATUS(x.status), 3);
    subject_end(&x);
}

/* In a session of its own, with an empty environment, its parent gone: still ours. Tells its pid. */
static const char escape[] =
    "env -i setsid sh -c 'sh -c \"echo escaped \\$\\$; exec sleep 1000\" &' & sleep 1000";

static pid_t escaped_pid(struct subject *x)
{
    int pid = 0;
    assert_int_equal(sscanf(buf_c(&x->log), "escaped %d", &pid), 1);
    assert_int_equal(kill(pid, 0), 0);
    return pid;
}

static void escaped_process_dies_with_leader(void **state)
{
    struct subject x;
    subject_shell(&x, escape);
    UNTIL(x.spawned && log_has(&x, "escaped"));
    x.stray = escaped_pid(&x);
    assert_int_not_equal(getpgid(x.stray), x.child.pid);
    kill(x.child.pid, SIGKILL);
    UNTIL(x.gone && x.log_ended);
    assert_int_equal(WTERMSIG(x.status), SIGKILL);
    subject_end(&x);
}

static void warden_killed(void **state)
{
    struct subject x;
    subject_shell(&x, escape);
    UNTIL(x.spawned && log_has(&x, "escaped"));
    kill(parent_of(x.child.pid), SIGKILL);
    UNTIL(x.gone && x.log_ended);
    assert_int_equal(x.status, SIGKILL);
    subject_end(&x);
    /* The next one is not concerned. */
    subject_shell(&x, "exit 0");
    UNTIL(x.gone);
    subject_end(&x);
}

/* Nobody is left to do anything: the kernel does. */
static void shepherd_and_warden_killed(void **state)
{
    struct subject x;
    char byte;
    subject_shell(&x, "exec sleep 1000");
    UNTIL(x.spawned);
    pid_t warden = parent_of(x.child.pid);
    kill(parent_of(warden), SIGKILL);
    kill(warden, SIGKILL);
    struct pollfd p = {.fd = x.child.log_fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 30000), 1);
    assert_int_equal(read(x.child.log_fd, &byte, 1), 0);
    UNTIL(x.gone);
    assert_int_equal(x.status, SIGKILL);
    subject_end(&x);
}

static void shepherd_killed(void **state)
{
    struct subject x, y;
    subject_shell(&x, "echo ready; sleep 1000");
    UNTIL(x.spawned && log_has(&x, "ready"));
    pid_t shepherd = parent_of(parent_of(x.child.pid));
    kill(shepherd, SIGSTOP);
    subject_shell(&y, "sleep 1000"); /* sent, never read */
    kill(shepherd, SIGKILL);
    UNTIL(y.failed && y.log_ended);
    assert_int_equal(y.failure, EPIPE);
    subject_end(&y);
    UNTIL(shepherd_is_lost(s));
    /* What runs goes on and can be ended. */
    assert_false(x.left);
    child_signal(&x.child, SIGTERM);
    UNTIL(x.gone && x.log_ended);
    assert_int_equal(x.status, SIGTERM);
    subject_end(&x);
    const char *const argv[] = {"true", NULL};
    int before = descriptor_count(getpid());
    assert_int_equal(child_spawn(s, &y.child, &(struct child_options){argv, plain_environment, "/"}),
                     ERR_SHEPHERD_LOST);
    assert_int_equal(descriptor_count(getpid()), before);
}

/* A Ctrl-C or a stop of the unit reaches everybody: Hestia decides what it means. */
static void shepherd_survives_signals(void **state)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGPIPE};
    struct subject x;
    subject_shell(&x, "echo ready; sleep 1000");
    UNTIL(x.spawned && log_has(&x, "ready"));
    pid_t warden = parent_of(x.child.pid), shepherd = parent_of(warden);
    assert_int_equal(parent_of(shepherd), getpid());
    assert_int_not_equal(getpgid(shepherd), getpgrp());
    assert_name(warden, "hestia-warden");
    assert_name(shepherd, "hestia-shepherd");
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        kill(warden, numbers[i]);
        kill(shepherd, numbers[i]);
    }
    child_signal(&x.child, SIGKILL);
    UNTIL(x.gone);
    assert_int_equal(x.status, SIGKILL);
    subject_end(&x);
    subject_shell(&x, "exit 0");
    UNTIL(x.gone);
    subject_end(&x);
}

/* shepherd_end with a child that nobody stopped. */
static void end_kills_what_is_left(void **state)
{
    struct subject x;
    subject_shell(&x, escape);
    UNTIL(log_has(&x, "escaped"));
    shepherd_end(s);
    UNTIL(x.log_ended);
    assert_false(x.gone);
    subject_end(&x);
    s = shepherd_fork();
    assert_int_equal(shepherd_attach(s, l), OK);
}

/* A Hestia in a process of its own, which tells where its log pipe is. */
_Noreturn static void doomed_hestia(int tell_fd)
{
    struct subject x;
    if (setup(NULL) != 0)
        _exit(1);
    subject_shell(&x, escape);
    UNTIL(log_has(&x, "escaped"));
    (void)!write(tell_fd, &x.child.log_fd, sizeof x.child.log_fd);
    for (;;)
        loop_run(l);
}

static void hestia_killed(void **state)
{
    int tell[2], log_number;
    char path[64], byte;
    assert_int_equal(pipe(tell), 0);
    pid_t hestia = fork();
    if (hestia == 0)
        doomed_hestia(tell[1]);
    close(tell[1]);
    assert_int_equal(read(tell[0], &log_number, sizeof log_number), sizeof log_number);
    close(tell[0]);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", hestia, log_number);
    int log_fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(log_fd >= 0);
    struct pollfd p = {.fd = log_fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0); /* they live */
    kill(hestia, SIGKILL);
    waitpid(hestia, NULL, 0);
    assert_int_equal(poll(&p, 1, 30000), 1);
    assert_int_equal(read(log_fd, &byte, 1), 0); /* they do not */
    close(log_fd);
}

/* ---- many ---------------------------------------------------------------------------------------------- */

static void cycles_leak_nothing(void **state)
{
    struct subject x;
    char process_state;
    subject_shell(&x, "sleep 1000");
    UNTIL(x.spawned);
    pid_t shepherd = parent_of(parent_of(x.child.pid));
    int own = descriptor_count(getpid()), its = descriptor_count(shepherd);
    for (int i = 0; i < 200; i++) {
        struct subject y;
        subject_start(&y, (const char *const[]){i % 4 ? "true" : "no-such-program-here", NULL});
        UNTIL(y.gone || y.failed);
        subject_end(&y);
    }
    assert_int_equal(descriptor_count(getpid()), own);
    /* The last wardens may still be on their way out: wait for the shepherd to sleep with one child. */
    for (int i = 0; i < 5000 && children_count(shepherd) != 1; i++)
        poll(NULL, 0, 1);
    assert_int_equal(children_count(shepherd), 1);
    assert_int_equal(descriptor_count(shepherd), its);
    assert_int_equal(process_look(parent_of(x.child.pid), &process_state), shepherd);
    child_signal(&x.child, SIGKILL);
    UNTIL(x.gone);
    subject_end(&x);
}

enum { CROWD = 400 };

/* More commands than the socket to a shepherd that does not read can take. */
static void commands_queue(void **state)
{
    static struct subject crowd[CROWD];
    int queued = 0;
    files_raise_limit();
    subject_shell(&crowd[0], "sleep 1000");
    UNTIL(crowd[0].spawned);
    pid_t shepherd = parent_of(parent_of(crowd[0].child.pid));
    child_signal(&crowd[0].child, SIGKILL);
    kill(shepherd, SIGSTOP);
    for (int i = 1; i < CROWD; i++) {
        subject_shell(&crowd[i], "exit 5");
        queued += crowd[i].child.spawn_fds[0] >= 0;
    }
    assert_true(queued > 0);
    kill(shepherd, SIGCONT);
    for (int i = 0; i < CROWD; i++) {
        UNTIL(crowd[i].gone);
        assert_int_equal(crowd[i].status, i ? 5 << 8 : SIGKILL);
        subject_end(&crowd[i]);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(output_and_status),
        TEST(signal_status),
        TEST(missing_program),
        TEST(missing_workdir),
        TEST(path_of_the_child),
        TEST(clean_descriptors),
        TEST(clean_signals),
        TEST(big_environment),
        TEST(term_reaches_the_group),
        TEST(signal_crosses_the_end),
        TEST(term_ignored_then_kill),
        TEST(background_process_dies_with_leader),
        TEST(escaped_process_dies_with_leader),
        TEST(warden_killed),
        TEST(shepherd_killed),
        TEST(shepherd_and_warden_killed),
        TEST(shepherd_survives_signals),
        TEST(end_kills_what_is_left),
        TEST(hestia_killed),
        TEST(cycles_leak_nothing),
        TEST(commands_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
