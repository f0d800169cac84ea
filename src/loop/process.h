/*
 * What this process may do, and what others may see of it: the user it runs as, core dumps. Called by main/
 * before threads start, and by the shepherd for itself.
 */
#ifndef HESTIA_LOOP_PROCESS_H
#define HESTIA_LOOP_PROCESS_H

#include "base/err.h"

#include <sys/types.h>

enum { GROUPS_MAX = 64 };

/* A user as the kernel knows it. Sent to the shepherd as it is. */
struct identity {
    uid_t user;
    gid_t group;
    int32_t group_count;
    gid_t groups[GROUPS_MAX];
};

/* While keys are in memory: no core dump, no reading by other processes of the same user, and no program run
   from here gains rights. HESTIA_ALLOW_CORE=1 in the environment leaves out the first two. */
void process_seal(void);

/* A user by name, and the name of its home (the caller's buffer). ERR_CONFIG when there is none. */
enum err identity_find(struct identity *identity, const char *name, char *home, size_t home_size,
                       struct error *error) MUST_CHECK;
/* Becomes that user for good. 0, or errno; EPERM also when the old rights could be had again. */
int identity_become(const struct identity *identity);
/* Whether the process is that user already. */
bool identity_is_own(const struct identity *identity);

/* The environment as it is now, NULL-terminated: later changes do not show in it. Kept until the end. NULL
   when memory is short. */
const char *const *environment_copy(void) MUST_CHECK;
/* Overwrites the environment, for a process that needs nothing of it: it may hold keys. */
void environment_wipe(void);

#endif
