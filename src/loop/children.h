/*
 * A process and its own children, for the shepherd and the wardens: hearing of their ends, and ending them
 * all. Single-threaded processes only.
 */
#ifndef HESTIA_LOOP_CHILDREN_H
#define HESTIA_LOOP_CHILDREN_H

#include "base/base.h"

#include <sys/types.h>

/* SIGCHLD as a descriptor, all signals blocked. -1 with errno. A forked process may go on using it: it tells
   of the signals of whoever reads. */
int child_signals_open(void);
void child_signals_drain(int fd);

/* Kills this process's children outside the group `spared` (0 = spares none). False when /proc cannot be
 * read. */
bool children_kill(pid_t spared);
/* Goes on until no child, own or adopted, is left; those of `spared` are waited for. */
void children_end(int signals, pid_t spared);

#endif
