/*
 * load_measure.c: clocks and sums: the gateway's CPU time, how busy the machine was besides, latency
 * percentiles, and the one line of JSON that the run ends with.
 */
#include "load.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void histogram_add(struct histogram *histogram, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    unsigned shift = value < 128 ? 0 : 57 - (unsigned)__builtin_clzll(value); /* leaves 64..127 */

    histogram->cells[shift * 64 + (value >> shift)]++;
    histogram->total++;
}

/* The middle of the cell that holds the share, in microseconds. */
static double histogram_us(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->total);
    uint64_t seen = 0;

    for (size_t i = 0; i < sizeof(histogram->cells) / sizeof(*histogram->cells); i++) {
        seen += histogram->cells[i];
        if (seen > wanted) {
            unsigned shift = i < 128 ? 0 : (unsigned)(i / 64) - 1;
            return ((double)(i - shift * 64) + 0.5) * (double)(UINT64_C(1) << shift) / 1000.0;
        }
    }
    return 0;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        return 0;
    return time.tv_sec * NS_PER_SECOND + time.tv_nsec;
}

/* All threads of the process, also those that have ended. */
static int64_t process_cpu(pid_t pid)
{
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) != 0) {
        tally_error("process %d is gone", (int)pid);
        return 0;
    }
    return clock_ns(clock);
}

static void process_ticks(pid_t pid, struct usage *usage)
{
    char path[64], line[1024];
    unsigned long user = 0, system = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return;
    if (fgets(line, sizeof(line), file)) {
        char *after_name = strrchr(line, ')');
        if (after_name && sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                 &user, &system) == 2) {
            usage->ticks_user += (int64_t)user;
            usage->ticks_system += (int64_t)system;
        }
    }
    fclose(file);
}

/* Busy time of the watched CPUs: everything but idle and waiting for disks; stolen time counts as busy. */
static int64_t machine_busy(void)
{
    int64_t ticks = 0;
    char line[512];
    FILE *file = fopen("/proc/stat", "re");

    while (file && fgets(line, sizeof(line), file)) {
        unsigned cpu;
        unsigned long t[8] = {0};
        if (sscanf(line, "cpu%u %lu %lu %lu %lu %lu %lu %lu %lu", &cpu, &t[0], &t[1], &t[2], &t[3], &t[4],
                   &t[5], &t[6], &t[7]) != 9)
            continue;
        if ((int)cpu == settings.cpus[0] || (int)cpu == settings.cpus[1])
            ticks += (int64_t)(t[0] + t[1] + t[2] + t[5] + t[6] + t[7]);
    }
    if (file)
        fclose(file);
    return ticks * (NS_PER_SECOND / sysconf(_SC_CLK_TCK));
}

void usage_read(struct usage *usage)
{
    memset(usage, 0, sizeof(*usage));
    usage->machine_busy = machine_busy();
    for (int i = 0; i < settings.pid_count; i++) {
        process_ticks(settings.pids[i], usage);
        usage->gateway += process_cpu(settings.pids[i]);
    }
    usage->self = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    usage->wall = now_ns();
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static void print_cpu(const struct usage *before, const struct usage *after)
{
    double wall = (double)(after->wall - before->wall);
    double gateway = (double)(after->gateway - before->gateway);
    double self = (double)(after->self - before->self);
    double busy = (double)(after->machine_busy - before->machine_busy);
    double user = (double)(after->ticks_user - before->ticks_user);
    double system = (double)(after->ticks_system - before->ticks_system);
    double other = ratio(busy - gateway - self, wall) * 100;

    if (settings.pid_count > 0) {
        printf("\"cpu_ns_per_request\": %.0f, ", ratio(gateway, (double)tally.requests));
        if (settings.sse) {
            /* Where a gateway merges or adds events, those of the backend are what counts. */
            double events = (double)(settings.any_answer ? tally.upstream_events : tally.chunks);
            printf("\"cpu_ns_per_chunk\": %.0f, \"cpu_ns_per_stream\": %.0f, ", ratio(gateway, events),
                   ratio(gateway, events) * (settings.chunks + 1));
        }
        printf("\"gateway_util\": %.3f, \"user_pct\": %.1f, ", ratio(gateway, wall),
               ratio(user, user + system) * 100);
    }
    if (settings.cpus[0] >= 0)
        printf("\"other_cpu_pct\": %.1f, ", other > 0 ? other : 0.0);
    printf("\"load_util\": %.3f, ", ratio(self, wall));
}

void report_print(const struct usage *before, const struct usage *after, bool finished, unsigned stuck)
{
    double seconds = (double)(after->wall - before->wall) / (double)NS_PER_SECOND;

    /* A gateway whose answers nobody compares must at least have asked for them. */
    if (settings.any_answer && tally.requests > tally.upstream_requests + (unsigned)settings.connections)
        tally_error("the gateway answered more requests than it sent on");
    printf("{\"finished\": %s, \"connections\": %d, \"seconds\": %.3f, \"requests\": %llu, \"errors\": %llu, "
           "\"stuck\": %u, \"reconnects\": %llu, \"req_per_s\": %.1f, ",
           finished ? "true" : "false", settings.connections, seconds, (unsigned long long)tally.requests,
           (unsigned long long)tally.errors, stuck, (unsigned long long)tally.reconnects,
           ratio((double)tally.requests, seconds));
    printf("\"latency_p50_us\": %.1f, \"latency_p99_us\": %.1f, ", histogram_us(&tally.latency, 0.50),
           histogram_us(&tally.latency, 0.99));
    if (settings.sse)
        printf("\"chunks\": %llu, \"chunks_late\": %llu, \"chunk_delay_p50_us\": %.1f, "
               "\"chunk_delay_p99_us\": %.1f, ",
               (unsigned long long)tally.chunks, (unsigned long long)tally.late,
               histogram_us(&tally.delay, 0.50), histogram_us(&tally.delay, 0.99));
    print_cpu(before, after);
    printf("\"upstream_requests\": %llu, ", (unsigned long long)tally.upstream_requests);
    printf("\"bytes_sent\": %llu, \"bytes_received\": %llu, \"first_error\": \"%s\"}\n",
           (unsigned long long)tally.bytes_sent, (unsigned long long)tally.bytes_received, tally.first_error);
}
