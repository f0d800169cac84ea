/*
 * A library to preload into the gateway under test: system calls and allocations that fail on demand, and a
 * wall clock that jumps. HESTIA_FAULTS names a file that test and gateway map (tests/faults/fault_page.py
 * writes it): a clock offset, a word of the path for calls that have a file, and one lever per call. A lever
 * lets `skip` calls pass and then makes `count` of them fail with `error`; `seen` counts the calls it applied
 * to, `failed` those it made fail. Children do not inherit it: the gateway passes only chosen variables on.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum call {
    CALL_ACCEPT,
    CALL_CONNECT,
    CALL_SOCKET,
    CALL_OPEN,
    CALL_ALLOCATE, /* posix_fallocate */
    CALL_WRITE,    /* write, pwrite */
    CALL_SYNC,     /* fsync, fdatasync */
    CALL_TRUNCATE,
    CALL_FORK,
    CALL_PIPE,
    CALL_MEMORY, /* calloc and realloc by the program itself */
    CALL_READ,   /* pread: of files */
    CALLS,
};

struct lever {
    int64_t error; /* 0 = off */
    _Atomic int64_t skip, count, seen, failed;
};

/* fault_page.py knows this layout. */
struct page {
    _Atomic int64_t clock_offset_ns;
    char path[120];
    struct lever levers[CALLS];
};

static struct page *page;
static uintptr_t program_begin, program_end;

#define NEXT(name)                                                                                           \
    static __typeof__(name) *next;                                                                           \
    if (!next)                                                                                               \
    next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* The first object is the program. */
static int program_find(struct dl_phdr_info *object, size_t size, void *argument)
{
    (void)size, (void)argument;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        program_begin = object->dlpi_addr + part->p_vaddr;
        program_end = program_begin + part->p_memsz;
    }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("HESTIA_FAULTS");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    dl_iterate_phdr(program_find, NULL);
    void *mapped = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    page = mapped == MAP_FAILED ? NULL : mapped;
}

static bool must_fail(enum call call)
{
    struct lever *lever = &page->levers[call];
    if (atomic_load(&lever->skip) > 0 && atomic_fetch_sub(&lever->skip, 1) > 0) {
        atomic_fetch_add(&lever->seen, 1);
        return false;
    }
    atomic_fetch_add(&lever->seen, 1);
    if (atomic_load(&lever->count) <= 0 || atomic_fetch_sub(&lever->count, 1) <= 0)
        return false;
    atomic_fetch_add(&lever->failed, 1);
    errno = (int)lever->error;
    return true;
}

static bool fails(enum call call)
{
    return page && page->levers[call].error && must_fail(call);
}

static bool path_fails(enum call call, const char *path)
{
    return page && page->levers[call].error && (!page->path[0] || strstr(path, page->path)) &&
           must_fail(call);
}

static bool file_fails(enum call call, int fd)
{
    char link[40], path[512];
    if (!page || !page->levers[call].error)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return false;
    path[n] = 0;
    return path[0] == '/' && path_fails(call, path);
}

/* ---- sockets, processes */

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    NEXT(accept4);
    return fails(CALL_ACCEPT) ? -1 : next(fd, address, length, flags);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    NEXT(connect);
    return fails(CALL_CONNECT) ? -1 : next(fd, address, length);
}

int socket(int domain, int type, int protocol)
{
    NEXT(socket);
    return fails(CALL_SOCKET) ? -1 : next(domain, type, protocol);
}

pid_t fork(void)
{
    NEXT(fork);
    return fails(CALL_FORK) ? -1 : next();
}

int pipe2(int ends[2], int flags)
{
    NEXT(pipe2);
    return fails(CALL_PIPE) ? -1 : next(ends, flags);
}

/* ---- files, under both names */

#define OPEN(name)                                                                                           \
    int name(const char *path, int flags, ...)                                                               \
    {                                                                                                        \
        NEXT(name);                                                                                          \
        va_list list;                                                                                        \
        va_start(list, flags);                                                                               \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;                            \
        va_end(list);                                                                                        \
        return path_fails(CALL_OPEN, path) ? -1 : next(path, flags, mode);                                   \
    }
OPEN(open)
OPEN(open64)

#define ALLOCATE(name, type)                                                                                 \
    int name(int fd, type from, type n)                                                                      \
    {                                                                                                        \
        NEXT(name);                                                                                          \
        return file_fails(CALL_ALLOCATE, fd) ? errno : next(fd, from, n);                                    \
    }
ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

#define WRITE_AT(name, type)                                                                                 \
    ssize_t name(int fd, const void *bytes, size_t n, type at)                                               \
    {                                                                                                        \
        NEXT(name);                                                                                          \
        return file_fails(CALL_WRITE, fd) ? -1 : next(fd, bytes, n, at);                                     \
    }
WRITE_AT(pwrite, off_t)
WRITE_AT(pwrite64, off64_t)

#define READ_AT(name, type)                                                                                  \
    ssize_t name(int fd, void *bytes, size_t n, type at)                                                     \
    {                                                                                                        \
        NEXT(name);                                                                                          \
        return file_fails(CALL_READ, fd) ? -1 : next(fd, bytes, n, at);                                      \
    }
READ_AT(pread, off_t)
READ_AT(pread64, off64_t)

ssize_t write(int fd, const void *bytes, size_t n)
{
    NEXT(write);
    return file_fails(CALL_WRITE, fd) ? -1 : next(fd, bytes, n);
}

int fsync(int fd)
{
    NEXT(fsync);
    return file_fails(CALL_SYNC, fd) ? -1 : next(fd);
}

int fdatasync(int fd)
{
    NEXT(fdatasync);
    return file_fails(CALL_SYNC, fd) ? -1 : next(fd);
}

int ftruncate(int fd, off_t n)
{
    NEXT(ftruncate);
    return file_fails(CALL_TRUNCATE, fd) ? -1 : next(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    NEXT(ftruncate64);
    return file_fails(CALL_TRUNCATE, fd) ? -1 : next(fd, n);
}

/* ---- memory: what libraries allocate is theirs, and passes */

static bool memory_fails(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    return page && page->levers[CALL_MEMORY].error && at >= program_begin && at < program_end &&
           must_fail(CALL_MEMORY);
}

void *calloc(size_t count, size_t n)
{
    NEXT(calloc);
    return memory_fails(__builtin_return_address(0)) ? NULL : next(count, n);
}

void *realloc(void *block, size_t n)
{
    NEXT(realloc);
    return memory_fails(__builtin_return_address(0)) ? NULL : next(block, n);
}

/* ---- the wall clock */

static int64_t offset_ns(void)
{
    return page ? atomic_load_explicit(&page->clock_offset_ns, memory_order_relaxed) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    NEXT(clock_gettime);
    int result = next(clock, ts);
    int64_t offset = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? offset_ns() : 0;
    if (result != 0 || offset == 0)
        return result;
    int64_t ns = (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec + offset;
    *ts = (struct timespec){ns / 1000000000, ns % 1000000000};
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
        return -1;
    *tv = (struct timeval){ts.tv_sec, ts.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *seconds)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (seconds)
        *seconds = ts.tv_sec;
    return ts.tv_sec;
}
