/*
 * The shepherd: a small process forked before any thread starts, which starts the children of services, so
 * that not even a kill -9 of Hestia leaves an orphan (details.md section 11). For each child it forks a
 * warden: the child's parent and the subreaper of everything the child starts, so the kernel itself says what
 * belongs to a service, whatever left the group or wiped its environment. A warden whose socket to Hestia
 * closes kills all of its own; the shepherd does the same for a warden that dies. The control thread talks to
 * them; events arrive on its loop.
 */
#ifndef HESTIA_LOOP_SHEPHERD_H
#define HESTIA_LOOP_SHEPHERD_H

#include "loop/loop.h"

struct shepherd;

/* Forks it. Call first in main, single-threaded. NULL with errno on failure. */
struct shepherd *shepherd_fork(void);
/* Registers with the control loop; from then on children can be started. */
enum err shepherd_attach(struct shepherd *s, struct loop *l) MUST_CHECK;
/* Whether its process ended by itself, which the event shepherd_lost tells once. Any thread. */
bool shepherd_is_lost(const struct shepherd *s);
/* Makes it, and so every child from then on, another user, which it must have the right to; none of them can
   gain rights after that. Waits for the answer. Before the first child. */
struct identity;
enum err shepherd_become(struct shepherd *s, const struct identity *identity, struct error *error) MUST_CHECK;
/* Ends it and every child still alive (without callbacks: their memory is the caller's again) and waits, 10 s
   at most, until all are gone. Frees s. */
void shepherd_end(struct shepherd *s);

struct child_options {
    const char *const
        *argv; /* NULL-terminated; argv[0] is looked up in the child's PATH when it has no '/' */
    const char *const *environment; /* NULL-terminated, complete */
    const char *workdir;            /* absolute */
};

/* One child, from spawn to on_exit. The caller owns the memory and keeps it until on_exit or on_spawn_failed
 * came; either may free it. Fill in the four callbacks, child_spawn does the rest. When on_exit comes, all
 * that was written is in the log pipe; the pipe's end may follow a moment later. */
struct child {
    struct shepherd *shepherd;
    struct list node;     /* among the shepherd's children */
    struct watch watch;   /* the socket to the child's warden */
    uint64_t signals_due; /* bit n: signal n is to be sent when the socket takes it */
    int spawn_fds[3];     /* what the shepherd needs, until it is sent; -1 = sent */
    int pid;              /* the leader and its group; 0 until on_spawned */
    int status;           /* wait status of the leader */
    bool left;            /* the leader ended */
    int log_fd;           /* read end of stdout+stderr, non-blocking, close-on-exec; the caller closes it */
    const char *failed_step; /* for on_spawn_failed: "exec", "chdir", "fork", … */
    void (*on_spawned)(struct child *c);
    void (*on_spawn_failed)(struct child *c, int error_number); /* exec or fork failed; the child is over */
    void (*on_exit)(struct child *c,
                    int wait_status); /* the leader ended, the group and all strays are gone */
    void (*on_leader_exit)(struct child *c, int wait_status); /* at once when the leader ends; may be NULL */
};

/* Starts it in a process group of its own. Fills log_fd. ERR_LIMIT when arguments and environment are beyond
   4 MiB, ERR_SHEPHERD_LOST, ERR_IO when descriptors are short; then no callback comes. */
enum err child_spawn(struct shepherd *s, struct child *c, const struct child_options *options) MUST_CHECK;
/* Sends a signal to the whole group. When the leader has ended, what is left of the group and strays that
   left it are killed without being asked. */
void child_signal(struct child *c, int signal_number);

#endif
