/*
 * From the texts of a spawn command to a running program. program_exec runs in the forked child of a warden,
 * which is single-threaded, so it may call what it likes.
 */
#include "loop/program.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ------------------------------------------------------------------------------------------- */

void program_free(struct program *p)
{
    mem_free(p->arguments);
    mem_free(p->environment);
    if (p->file)
        munmap(p->file, p->size);
}

/* The next text of the memory file, NULL behind the end. */
static char *text_next(struct program *p, size_t *at)
{
    char *text = p->file + *at;
    size_t left = p->size - *at;
    size_t n = left ? strnlen(text, left) : 0;
    if (n == left)
        return NULL;
    *at += n + 1;
    return text;
}

static char **texts_list(struct program *p, size_t *at, uint32_t count)
{
    char **list = mem_alloc(((size_t)count + 1) * sizeof *list);
    for (uint32_t i = 0; list && i < count; i++)
        list[i] = text_next(p, at);
    return list;
}

bool program_read(struct program *p, int fd)
{
    struct stat st;
    struct spawn_head head;
    size_t at = sizeof head;
    *p = (struct program){0};
    if (fstat(fd, &st) != 0)
        return false;
    errno = EINVAL;
    if ((size_t)st.st_size < sizeof head)
        return false;
    p->size = (size_t)st.st_size;
    void *file = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED)
        return false;
    p->file = file;
    memcpy(&head, file, sizeof head);
    p->workdir = text_next(p, &at);
    p->arguments = texts_list(p, &at, head.argument_count);
    p->environment = texts_list(p, &at, head.environment_count);
    bool complete = p->arguments && p->environment;
    errno = complete ? EINVAL : ENOMEM;
    return complete && p->workdir && p->arguments[0];
}

/* ---- the way to exec ----------------------------------------------------------------------------------- */

void descriptors_keep_only(int fd)
{
    if (fd == KEPT_FD)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    else
        dup3(fd, KEPT_FD, O_CLOEXEC);
    closefrom(KEPT_FD + 1);
}

static const char *environment_get(char **environment, const char *name)
{
    size_t n = strlen(name);
    for (; *environment; environment++)
        if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
            return *environment + n + 1;
    return NULL;
}

/* Like execvpe, but with the PATH of the child, and without a shell for a file of unknown format. Returns
   only with errno. */
static void exec_in_path(const struct program *p)
{
    const char *name = p->arguments[0];
    const char *path = environment_get(p->environment, "PATH");
    struct str rest = str_from_c(path ? path : "/usr/local/bin:/usr/bin:/bin");
    char file[PATH_MAX];
    int failure = ENOENT;
    while (rest.n) {
        struct str folder = str_cut(&rest, ':');
        if (folder.n + strlen(name) + 2 > sizeof file)
            continue;
        snprintf(file, sizeof file, "%.*s%s%s", STR_ARG(folder), folder.n ? "/" : "", name);
        execve(file, p->arguments, p->environment);
        if (errno == EACCES)
            failure = EACCES; /* what is found elsewhere counts, else this is the reason */
        else if (errno != ENOENT && errno != ENOTDIR)
            return;
    }
    errno = failure;
}

static void signals_reset(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* fails for KILL, STOP and the C library's own: as it should */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* When memory runs out, the kernel should take the model before the gateway. */
static void oom_offer(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "500", 3);
        close(fd);
    }
}

/* The order matters: what opens something comes before the descriptors are put in their places, what loses
   the mask comes last. Returns on failure only. */
static enum child_step become(const struct program *p, int log_fd, int report_fd)
{
    oom_offer();
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0)
        return STEP_FORK;
    descriptors_keep_only(report_fd);
    if (chdir(p->workdir) != 0)
        return STEP_CHDIR;
    signals_reset();
    if (strchr(p->arguments[0], '/'))
        execve(p->arguments[0], p->arguments, p->environment);
    else
        exec_in_path(p);
    return STEP_EXEC;
}

void program_exec(const struct program *p, pid_t warden, int log_fd, int report_fd)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != warden)
        _exit(127); /* it died before the line above */
    enum child_step step = become(p, log_fd, report_fd);
    struct child_event event = {CHILD_FAILED, errno, (int32_t)step};
    (void)!write(step == STEP_FORK ? report_fd : KEPT_FD, &event, sizeof event);
    _exit(127);
}
