/*
 * The control thread: the one owner of services and configuration. Reload, drain and the children's life
 * happen here; it runs on the process's main thread.
 */
#ifndef HESTIA_MAIN_CONTROL_H
#define HESTIA_MAIN_CONTROL_H

#include "gateway/worker.h"
#include "loop/thread.h"

struct control {
    struct loop *loop;
    struct shepherd *shepherd;
    struct services *services;
    struct providers *providers;
    struct gateway gateway;
    struct config_sources sources;
    struct config *config;
    struct snapshot *snapshot; /* in force; a reference */
    size_t open_rounds;        /* snapshots that some worker has still to take */
    bool workers_may_stop;
    struct signals signals;
    struct file_watch files;
    bool files_open;
    bool log_level_forced; /* by the command line */
    struct metric_set *metrics;
    struct timer drain_timer;
    struct worker_message *tells; /* for all that the workers can be told: an end needs no memory */
    size_t told;
    struct timer publish_timer; /* a change of the books that waits for memory, and whom to tell then */
    void (*published)(void *argument);
    void *publish_argument;
    size_t ended_workers;
    enum { CONTROL_RUNNING, CONTROL_DRAINING, CONTROL_CANCELLING, CONTROL_STOPPING } phase;
};

/* Reads the configuration again and passes it to the workers; on an error everything stays as it is. */
void control_reload(struct control *c, const char *cause);
/* First call: stop taking requests, finish what runs, stop the children, end the loop. Second call: at once.
 */
void control_drain(struct control *c);
/* A snapshot of a configuration with all that control owns. NULL with the reason. */
struct snapshot *control_snapshot(struct control *c, struct config *config, struct error *error);
/* Signals, changes of the books, and the file watch. */
enum err control_watch(struct control *c) MUST_CHECK;
/* Gives back what control_watch took; the workers have ended. */
void control_unwatch(struct control *c);
/* Log level as the configuration says, unless the command line did. */
void control_log_level(const struct control *c, const struct config *config);
/* Every finding as a log line. */
void control_log_findings(const struct findings *findings);

#endif
