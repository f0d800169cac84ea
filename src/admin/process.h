/* What the system says about this process. */
#ifndef HESTIA_ADMIN_PROCESS_H
#define HESTIA_ADMIN_PROCESS_H

#include "base/base.h"

struct process_usage {
    double cpu_seconds; /* user and system, since the start */
    double cpu_percent; /* of one core, since this thread's previous reading (at first: since the start) */
    double start_time;  /* seconds since 1970 */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t open_fds, max_fds;
};

/* Reads /proc: some microseconds, never blocks on a disk. What cannot be read is 0. Any thread. */
void process_read(struct process_usage *usage);

#endif
