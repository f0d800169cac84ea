/*
 * What is left of a process that crashes: a report on standard error with version, build id, signal, address,
 * frames and the last events of every thread, and then the signal's own end, so that who started it sees how
 * it died. No registers, no stack contents, no bytes of clients. main/ installs it; thread.c names threads.
 */
#ifndef HESTIA_LOOP_CRASH_H
#define HESTIA_LOOP_CRASH_H

#include "base/base.h"

#include <signal.h>

/* Reports SEGV, BUS, FPE, ILL and ABRT from now on. Main thread, before others start; it becomes `name`. A
   sanitizer's own report tells more: in a build with one this does nothing unless `even_sanitized`. */
void crash_install(const char *name, bool even_sanitized);

/* The calling thread has this name, a trail, and a stack for the handler until crash_thread_end. */
void crash_thread_begin(const char *name);
void crash_thread_end(void);

/* Takes the signals of a crash out of a set that is to be blocked: the kernel ends a process whose fault is
   blocked without asking a handler. */
void crash_signals_spare(sigset_t *set);

#endif
