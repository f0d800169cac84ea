/* What the commands that manage a running gateway share: manage.c asks, manage_show.c prints. */
#ifndef HESTIA_MAIN_MANAGE_H
#define HESTIA_MAIN_MANAGE_H

#include "http/client.h"
#include "main/cli.h"

/* A column of a printed list; the last has a NULL title. */
struct column {
    const char *title, *key;
};

/* Prints an answer of the management API for people: a list as a table, an object as lines. NULL columns: an
   object, or a list of texts. */
void manage_show(const struct column *columns, struct str json);
/* To standard error: what the gateway said against it. */
void manage_show_error(const char *command, int status, struct str json);

#endif
