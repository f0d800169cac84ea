/* Collecting what is wrong with a configuration. Used by every file of config/; one thread. */
#ifndef HESTIA_CONFIG_FINDING_H
#define HESTIA_CONFIG_FINDING_H

#include "config/config.h"

struct node;

/* `at` gives the place (NULL: none); the sentence names what to do where that is known. Beyond 500 findings
   only the counts grow. Never quotes a value that may be secret: the caller sees to that. */
void finding_add(struct findings *f, enum severity severity, const struct node *at, struct str key,
                 const char *format, ...) PRINTF_LIKE(5, 6);
void finding_no_memory(struct findings *f);

#endif
