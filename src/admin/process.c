/* What the system says about this process: /proc/self, getrusage. Any thread. */
#include "admin/process.h"

#include "base/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(clockid_t clock)
{
    struct timespec ts = {0};
    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The fields of /proc/self/stat behind the name, which may hold blanks and parentheses. */
static bool stat_read(unsigned long long *start_ticks, unsigned long long *virtual_bytes, long long *pages)
{
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strrchr(text, ')');
    return at && sscanf(at + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d"
                        " %llu %llu %lld",
                        start_ticks, virtual_bytes, pages) == 3;
}

/* The same at every reading, though it comes out of two clocks. */
static int64_t start_time_us(unsigned long long start_ticks)
{
    static _Atomic int64_t known;
    int64_t none = 0;
    double since_boot = (double)start_ticks / (double)sysconf(_SC_CLK_TCK);
    double age = seconds_of(CLOCK_BOOTTIME) - since_boot;
    int64_t start = clock_wall_us() - (int64_t)(age * 1e6);
    atomic_compare_exchange_strong(&known, &none, start);
    return atomic_load(&known);
}

static uint64_t count_open_fds(void)
{
    uint64_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count - 1; /* not the one that was opened for looking */
}

static double cpu_percent(double cpu_seconds, double start_time)
{
    static _Thread_local double previous_cpu, previous_time;
    double now = seconds_of(CLOCK_MONOTONIC);
    double elapsed = previous_time > 0 ? now - previous_time : (double)clock_wall_us() / 1e6 - start_time;
    double percent = elapsed > 0 ? (cpu_seconds - previous_cpu) / elapsed * 100 : 0;
    previous_cpu = cpu_seconds;
    previous_time = now;
    return percent;
}

void process_read(struct process_usage *usage)
{
    struct rusage used = {0};
    struct rlimit fds = {0};
    unsigned long long start_ticks = 0, virtual_bytes = 0;
    long long pages = 0;
    *usage = (struct process_usage){0};
    getrusage(RUSAGE_SELF, &used);
    getrlimit(RLIMIT_NOFILE, &fds);
    usage->cpu_seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    if (stat_read(&start_ticks, &virtual_bytes, &pages)) {
        usage->start_time = (double)start_time_us(start_ticks) / 1e6;
        usage->virtual_bytes = virtual_bytes;
        usage->resident_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    usage->cpu_percent = cpu_percent(usage->cpu_seconds, usage->start_time);
    usage->open_fds = count_open_fds();
    usage->max_fds = fds.rlim_cur;
}
