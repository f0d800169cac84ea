/*
 * From sources to one tree: which files there are, what they say laid over one another, and the environment
 * on top. Run by config_load() and `hestia config show`; blocking file I/O.
 */
#ifndef HESTIA_CONFIG_ASSEMBLE_H
#define HESTIA_CONFIG_ASSEMBLE_H

#include "config/interpolate.h"
#include "config/yaml.h"

struct assembly {
    struct arena arena; /* the trees and their text */
    struct variables variables;
    struct node *root; /* a map; values not interpolated yet */
    struct strs files; /* absolute paths of those that were read */
    struct str folder; /* of the first file, else the current directory */
    bool incomplete;   /* a file could not be read or parsed: what is missing may be in it */
};

/* False when there was an error; free it either way. */
bool assemble(const struct config_sources *sources, struct assembly *a, struct findings *findings) MUST_CHECK;
void assembly_free(struct assembly *a);

/* sources.c: the configuration files there are, in the order in which they are laid over one another. */
struct config_file {
    struct str name; /* for people */
    struct str path; /* absolute */
};
struct config_files {
    struct config_file *list;
    size_t count, capacity;
    size_t main; /* index of the one whose folder is the configuration's */
};
enum err files_choose(struct arena *arena, const struct config_sources *sources, struct config_files *files,
                      struct error *error) MUST_CHECK;
/* The whole file; ERR_IO with a sentence. */
enum err file_read(struct arena *arena, struct str path, struct str *text, struct error *error) MUST_CHECK;
/* Where the file lies; "/" at the least. */
struct str path_folder(struct str path);
/* The current directory. */
struct str folder_current(struct arena *arena);

/* environment.c: what variables say, as a tree to lay over `root` (which tells the services there are), or
   NULL when they say nothing. A variable with a bad value is a warning and is left out. */
struct node *environment_tree(struct arena *arena, const struct variables *variables, const struct node *root,
                              struct str folder, struct findings *findings);

#endif
