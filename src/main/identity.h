/*
 * Which user the gateway is: becomes server.user together with the shepherd, or says that it runs as root.
 * Main thread, once, while there is no other.
 */
#ifndef HESTIA_MAIN_IDENTITY_H
#define HESTIA_MAIN_IDENTITY_H

#include "config/config.h"
#include "loop/shepherd.h"
#include "loop/sock.h"

/* Whether server.user, where it is given, is a user that the gateway may become. ERR_CONFIG with the reason.
 */
enum err identity_check(const struct server_config *server, struct error *error) MUST_CHECK;

/* After the listeners are open, before the store is. `bound` are their addresses: a Unix socket is given to
   the user. ERR_CONFIG and ERR_IO with the reason. */
enum err identity_settle(struct shepherd *shepherd, const struct server_config *server,
                         const struct address *bound, size_t bound_count, struct error *error) MUST_CHECK;

#endif
