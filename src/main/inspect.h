/* Whether what a configuration names is there and of use. */
#ifndef HESTIA_MAIN_INSPECT_H
#define HESTIA_MAIN_INSPECT_H

#include "config/config.h"

/* The checks that a start makes beyond the configuration's own text: certificates, authorities, the price
   list, the user. What fails is an error of `findings`. Blocking; for `hestia validate-config`. */
void inspect_config(const struct config *config, const struct config_sources *sources,
                    struct findings *findings);

#endif
