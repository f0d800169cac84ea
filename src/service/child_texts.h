/* What a child process is told: its arguments and its environment, with ${PORT} replaced. Pure. */
#ifndef HESTIA_SERVICE_CHILD_TEXTS_H
#define HESTIA_SERVICE_CHILD_TEXTS_H

#include "config/config.h"

/* NULL-terminated, in the arena; with `shell` it is /bin/sh -c TEXT. NULL when memory is short. */
const char *const *child_arguments(struct arena *arena, const struct service_config *config, uint16_t port);

/* Only what details.md section 11 lists: PATH HOME LANG TMPDIR LD_LIBRARY_PATH CUDA_* HF_* and `env_inherit`
   from `parent` ("NAME=value", NULL-terminated), PORT, and `env`; later ones replace earlier ones. PORT is
   `port`, or without one the port of a fixed base_url. NULL when memory is short. */
const char *const *child_environment(struct arena *arena, const struct service_config *config, uint16_t port,
                                     const char *const *parent);

#endif
