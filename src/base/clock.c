/* Clocks. Any thread. */
#include "base/clock.h"

#include <time.h>

uint64_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * CLOCK_S + (uint64_t)ts.tv_nsec;
}

int64_t clock_wall_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_at(uint64_t monotonic)
{
    static _Thread_local uint64_t looked_at;
    static _Thread_local int64_t ahead_us;                                 /* of the monotonic clock */
    if (UNLIKELY(!looked_at || monotonic - looked_at >= 100 * CLOCK_MS)) { /* also when it lies before */
        looked_at = clock_now();
        ahead_us = clock_wall_us() - (int64_t)(looked_at / 1000);
    }
    return ahead_us + (int64_t)(monotonic / 1000);
}

void clock_format(struct buf *b, int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    buf_addf(b, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_us % 1000000));
}

int64_t date_parse(struct str text)
{
    char copy[40];
    struct tm tm = {0};
    const char *end = text.n < sizeof copy
                          ? strptime(str_to_c(text, copy, sizeof copy), "%a, %d %b %Y %H:%M:%S GMT", &tm)
                          : NULL;
    return end && !*end ? (int64_t)timegm(&tm) : -1;
}
