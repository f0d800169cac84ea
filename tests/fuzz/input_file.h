/* The input as a file, for what reads one: in memory, always the same, with a path like any other. */
#ifndef HESTIA_FUZZ_INPUT_FILE_H
#define HESTIA_FUZZ_INPUT_FILE_H

#include "fuzz.h"
#include "base/log.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static inline void log_nothing(struct str line)
{
    (void)line;
}

/* Valid until the next call. What reads it must not fill the screen with its log. */
static inline const char *input_file(struct str text)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("input", MFD_CLOEXEC);
        REQUIRE(fd >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        log_set_sink(log_nothing);
    }
    REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, text.p, text.n, 0) == (ssize_t)text.n);
    return path;
}

#endif
