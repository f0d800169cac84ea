/* Privileges and secrecy of a process: see process.h. Single-threaded callers only. */
#include "loop/process.h"

#include "base/mem.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

extern char **environ;

static bool core_is_allowed(void)
{
    const char *text = getenv("HESTIA_ALLOW_CORE");
    return text && strcmp(text, "1") == 0;
}

void process_seal(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* Set either way: the kernel takes it away from a process that has changed its user. */
    prctl(PR_SET_DUMPABLE, core_is_allowed(), 0, 0, 0);
    if (!core_is_allowed())
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

enum err identity_find(struct identity *identity, const char *name, char *home, size_t home_size,
                       struct error *error)
{
    errno = 0;
    const struct passwd *entry = getpwnam(name);
    if (!entry)
        return error_set(error, ERR_CONFIG, "server.user: there is no user %s%s%s", name, errno ? ": " : "",
                         errno ? strerror(errno) : "");
    if (entry->pw_uid == 0)
        return error_set(error, ERR_CONFIG, "server.user: %s is root; name one with fewer rights", name);
    int count = GROUPS_MAX;
    *identity = (struct identity){.user = entry->pw_uid, .group = entry->pw_gid};
    snprintf(home, home_size, "%s", entry->pw_dir);
    if (getgrouplist(name, entry->pw_gid, identity->groups, &count) < 0)
        return error_set(error, ERR_CONFIG, "server.user: %s is in more than %d groups", name, GROUPS_MAX);
    identity->group_count = count;
    return OK;
}

bool identity_is_own(const struct identity *identity)
{
    uid_t real, effective, saved;
    return getresuid(&real, &effective, &saved) == 0 && real == identity->user &&
           effective == identity->user && saved == identity->user;
}

static bool group_is_own(const struct identity *identity)
{
    gid_t real, effective, saved;
    return getresgid(&real, &effective, &saved) == 0 && real == identity->group &&
           effective == identity->group && saved == identity->group;
}

/* The group while the right to change it is there. */
int identity_become(const struct identity *identity)
{
    size_t count = (size_t)identity->group_count;
    if (count > GROUPS_MAX)
        return EINVAL;
    if (setgroups(count, identity->groups) != 0 ||
        setresgid(identity->group, identity->group, identity->group) != 0 ||
        setresuid(identity->user, identity->user, identity->user) != 0)
        return errno;
    bool regained = setuid(0) == 0 || (identity->group != 0 && setgid(0) == 0);
    if (regained || !identity_is_own(identity) || !group_is_own(identity))
        return EPERM;
    return 0;
}

const char *const *environment_copy(void)
{
    size_t count = 0;
    while (environ && environ[count])
        count++;
    const char **copy = mem_alloc((count + 1) * sizeof *copy);
    for (size_t i = 0; copy && i < count; i++)
        copy[i] = environ[i];
    return copy;
}

void environment_wipe(void)
{
    for (char **pair = environ; pair && *pair; pair++)
        explicit_bzero(*pair, strlen(*pair));
}
