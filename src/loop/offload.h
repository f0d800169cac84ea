/* Blocking work on a thread of its own, while the task waits. */
#ifndef HESTIA_LOOP_OFFLOAD_H
#define HESTIA_LOOP_OFFLOAD_H

#include "loop/task.h"

/* Runs work(argument) on an offload thread; waits for its end, deaf to cancellation (the argument usually
   lies on the task's stack). ERR_NOMEM when no thread could be made. */
enum err offload_run(struct task *t, void (*work)(void *argument), void *argument) MUST_CHECK;
/* At exit, after the loops have ended. */
void offload_stop(void);

#endif
