/* The change of the user: see identity.h. */
#include "main/identity.h"

#include "base/log.h"
#include "loop/process.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

enum { USER_NAME_MAX = 256 };

/* Services and the default place of the store go by these; those of root would mislead them. */
static void environment_adopt(const char *name, const char *home)
{
    setenv("HOME", home, 1);
    setenv("USER", name, 1);
    setenv("LOGNAME", name, 1);
}

/* So that its clients reach it, and it can be removed at the end where the folder permits. */
static enum err sockets_give(const struct identity *identity, const struct address *bound, size_t count,
                             struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        const char *path = ((const struct sockaddr_un *)&bound[i].storage)->sun_path;
        if (bound[i].storage.ss_family == AF_UNIX && path[0] &&
            lchown(path, identity->user, identity->group) != 0)
            return error_set(error, ERR_IO, "cannot give %s to server.user: %s", path, strerror(errno));
    }
    return OK;
}

static enum err become(struct shepherd *shepherd, const char *name, const struct address *bound, size_t count,
                       struct error *error)
{
    struct identity identity;
    char home[PATH_MAX];
    TRY(identity_find(&identity, name, home, sizeof home, error));
    if (identity_is_own(&identity))
        return OK;
    if (geteuid() != 0)
        return error_set(error, ERR_CONFIG,
                         "server.user is %s, but only root can become another user: start Hestia as root or "
                         "as %s, or leave server.user out",
                         name, name);
    TRY(sockets_give(&identity, bound, count, error));
    TRY(shepherd_become(shepherd, &identity, error));
    int failed = identity_become(&identity);
    if (failed)
        return error_set(error, ERR_IO, "cannot become %s: %s", name, strerror(failed));
    process_seal(); /* the kernel has changed what is visible of us */
    environment_adopt(name, home);
    log_event(LOG_INFO, "privileges_dropped", "Running as %s from here on, and so do the services", name);
    return OK;
}

enum err identity_check(const struct server_config *server, struct error *error)
{
    struct identity identity;
    char name[USER_NAME_MAX], home[PATH_MAX];
    if (!server->user.n)
        return OK;
    if (server->user.n >= sizeof name)
        return error_set(error, ERR_CONFIG, "server.user: is too long");
    return identity_find(&identity, str_to_c(server->user, name, sizeof name), home, sizeof home, error);
}

enum err identity_settle(struct shepherd *shepherd, const struct server_config *server,
                         const struct address *bound, size_t bound_count, struct error *error)
{
    char name[USER_NAME_MAX];
    TRY(identity_check(server, error));
    if (server->user.n)
        return become(shepherd, str_to_c(server->user, name, sizeof name), bound, bound_count, error);
    if (geteuid() == 0)
        log_event(LOG_WARNING, "running_as_root",
                  "Hestia and its services run as root, which none of them needs: make a user and name it in "
                  "server.user, or start Hestia as that user");
    return OK;
}
