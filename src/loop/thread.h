/* Threads, signals, file watching, the log writer: the rest of what main/ needs from the system. */
#ifndef HESTIA_LOOP_THREAD_H
#define HESTIA_LOOP_THREAD_H

#include "loop/loop.h"

#include <pthread.h>

/* A thread that runs main(argument) with all signals blocked. ERR_NOMEM when it cannot be made. */
enum err thread_start(pthread_t *thread, const char *name, void (*main)(void *), void *argument) MUST_CHECK;
int thread_core_count(void); /* of this process's affinity mask */

/* Signals as events on a loop: blocks them for the whole process (call before threads start), then delivers.
 */
struct signals {
    struct watch watch;
    void (*on_signal)(struct signals *s, int number);
};
void signals_block(void); /* TERM INT HUP USR1 CHLD; ignores PIPE */
enum err signals_open(struct loop *l, struct signals *s) MUST_CHECK;
void signals_close(struct loop *l, struct signals *s); /* they stay blocked */

/* Tells that a file may have changed: inotify on its folder, and mtime every 2 s (bind mounts). */
struct file_watch {
    struct loop *loop;
    struct watch watch;
    struct timer timer;
    void (*on_change)(struct file_watch *f);
    struct file_watch_entry *entries;
    int count;
    bool pending;
};
enum err file_watch_open(struct loop *l, struct file_watch *f, const char *const *paths,
                         int count) MUST_CHECK;
void file_watch_close(struct file_watch *f);

/* Standard output by a thread of its own; lines beyond 4 MiB of backlog are dropped and counted. */
enum err log_writer_start(void) MUST_CHECK;
void log_writer_stop(void); /* writes what is queued, for 2 s at most */

/* Raises RLIMIT_NOFILE to its hard limit. Returns the limit. */
uint64_t files_raise_limit(void);

#endif
