/*
 * A program that a warden starts: its texts as Hestia sent them, and the way from fork to exec.
 */
#ifndef HESTIA_LOOP_PROGRAM_H
#define HESTIA_LOOP_PROGRAM_H

#include "loop/warden.h"

#include <sys/types.h>

struct program {
    const char *workdir;
    char **arguments; /* at least one */
    char **environment;
    char *file; /* mapped; the lists point into it */
    size_t size;
};

/* Maps the memory file. False with errno; program_free in any case. */
bool program_read(struct program *p, int fd) MUST_CHECK;
void program_free(struct program *p);

/* In the child, between fork and exec. Becomes the program, or tells report_fd why not (struct child_event).
 */
_Noreturn void program_exec(const struct program *p, pid_t warden, int log_fd, int report_fd);

/* Moves fd to KEPT_FD and closes everything above; close-on-exec stays. Async-signal-safe. */
enum { KEPT_FD = 3 };
void descriptors_keep_only(int fd);

#endif
