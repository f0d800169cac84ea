/* The command line: one table of commands, each with its own --help. */
#ifndef HESTIA_MAIN_CLI_H
#define HESTIA_MAIN_CLI_H

#include <stdbool.h>
#include <stddef.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Runs the command that argv names (none: serve). Returns the exit code. */
int cli_run(int argc, char **argv);

/* Options that several commands share. */
struct cli_options {
    const char *files[32]; /* -c */
    size_t file_count;
    const char *listen[16];
    size_t listen_count;
    const char *log_format, *log_level;
    const char *approach;
    const char *command; /* as it was found */
    const char *url, *strategy, *data, *scope, *id, *range,
        *limit; /* of those that manage a running gateway */
    bool strict, json;
    const char *rest[64]; /* positional arguments */
    size_t rest_count;
};

int serve_main(const struct cli_options *options);  /* serve.c */
int manage_main(const struct cli_options *options); /* manage.c */
int mock_llm_main(int argc, char **argv);           /* mock_llm.c */

#endif
