/* What loop.c, task.c and sock.c need of each other. */
#ifndef HESTIA_LOOP_TASK_PRIVATE_H
#define HESTIA_LOOP_TASK_PRIVATE_H

#include "loop/crash_frames.h"
#include "loop/task.h"

void task_run(struct task *t);   /* from the loop's own stack */
void tasks_free(struct loop *l); /* the pooled ones */
/* Drops what is left of this turn's events for a watch whose descriptor is closed anyway. */
void watch_forget(struct loop *l, struct watch *w);
/* The stack of the task that this thread runs; false outside one. Async-signal-safe. */
bool task_stack_here(struct stack_bounds *stack);

#endif
