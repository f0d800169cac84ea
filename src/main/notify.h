/*
 * Telling systemd how it stands with us (sd_notify's protocol, one datagram each): ready, reloading,
 * stopping, and the watchdog's sign of life while every worker turns. Nothing happens where nobody listens.
 * Control thread.
 */
#ifndef HESTIA_MAIN_NOTIFY_H
#define HESTIA_MAIN_NOTIFY_H

#include "gateway/worker.h"

/* Reads NOTIFY_SOCKET and WATCHDOG_USEC, and takes them out of the environment. */
void notify_open(void);
void notify_close(void);

/* The workers run. Starts the watchdog where one is wanted. */
void notify_ready(struct loop *control, struct worker *const *workers, size_t count);
void notify_reloading(void);
void notify_reloaded(void); /* with success or without: what is in force serves */
void notify_stopping(void);

#endif
