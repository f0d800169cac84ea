/* What the commands that manage a running gateway share: manage.c knows the verbs, manage_call.c asks the
   gateway, manage_find.c finds clients by their names, manage_show.c prints. */
#ifndef HESTIA_MAIN_MANAGE_H
#define HESTIA_MAIN_MANAGE_H

#include "http/client.h"
#include "main/cli.h"

/* A column of a printed list; the last has a NULL title. */
struct column {
    const char *title, *key;
};

struct answer {
    int status;
    struct buf body;
};
void answer_free(struct answer *answer);

/* One request to the management API: `path` (with its query) is below /admin/v1, `body` may be empty. EXIT_OK
   when there is an answer, of whatever status; else the reason stands on standard error. */
int manage_ask(const struct cli_options *o, enum method method, const struct buf *path, struct str body,
               struct answer *answer) MUST_CHECK;
/* The id that `word` stands for: an id itself, or the name of one client, whatever its case; a word that is
   neither is left to the gateway to refuse. EXIT_OK, or the reason stands on standard error. */
int manage_find_client(const struct cli_options *o, const char *word, struct buf *id) MUST_CHECK;

/* Prints an answer of the management API for people: a list as a table, an object as lines; of usage the
   points at which there was some, and the total last. NULL columns: an object, or a list of texts. */
void manage_show(const struct column *columns, struct str json);
/* To standard error: what the gateway said against it. */
void manage_show_error(const char *command, int status, struct str json);

#endif
