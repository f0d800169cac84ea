/*
 * What Hestia (shepherd.c) and the processes that look after its children (warden.c) say to each other.
 * Each message is one record on a SOCK_SEQPACKET socket, so there is nothing to frame.
 */
#ifndef HESTIA_LOOP_WARDEN_H
#define HESTIA_LOOP_WARDEN_H

#include "base/err.h"

/* To the shepherd: one byte, "start a child", with these descriptors. */
enum spawn_fd {
    SPAWN_SOCKET, /* the warden's end of the child's socket */
    SPAWN_LOG,    /* write end of the log pipe */
    SPAWN_TEXTS,  /* memory file: a spawn_head, then workdir, arguments, environment, each with its NUL */
    SPAWN_FDS,
};
struct spawn_head {
    uint32_t argument_count;
    uint32_t environment_count;
};
enum { SPAWN_TEXTS_MAX = 4 << 20 };

/* To a warden: an int, the signal for the group. */

/* From a warden, in this order; FAILED and GONE are the last. */
enum child_event_kind {
    CHILD_SPAWNED,     /* number = pid */
    CHILD_FAILED,      /* number = errno, step says of what */
    CHILD_LEADER_EXIT, /* number = wait status */
    CHILD_GONE,        /* number = wait status */
};
enum child_step { STEP_FORK, STEP_CHDIR, STEP_EXEC, STEP_COUNT };
struct child_event {
    int32_t kind;
    int32_t number;
    int32_t step;
};

void child_event_send(int fd, enum child_event_kind kind, int number, enum child_step step);

/* A warden's life; never returns. Forked with all descriptors of the shepherd but its socket to Hestia. */
_Noreturn void warden_process(const int fds[SPAWN_FDS], int signals);

/* The shepherd's life; never returns. Holds `fd`, Hestia's socket, and nothing else of Hestia. */
_Noreturn void shepherd_process(int fd);

#endif
