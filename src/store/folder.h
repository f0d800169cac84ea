/* The store's files: their folder, the lock, the pepper, where a damaged database goes. Boot, blocking. */
#ifndef HESTIA_STORE_FOLDER_H
#define HESTIA_STORE_FOLDER_H

#include "base/buf.h"

enum { PEPPER_SIZE = 32 };

/* The database's path: as configured, else the default place; terminated. */
enum err folder_path(struct buf *path, struct str configured, struct error *error) MUST_CHECK;
/* Makes the folders above the path, 0700; what is there stays as it is. */
enum err folder_make(const char *path, struct error *error) MUST_CHECK;
/* Makes the file, or makes sure that nobody else may read it. */
enum err folder_file(const char *path, struct error *error) MUST_CHECK;

/* Holds PATH-lock until folder_unlock. *was_clean: the one who held it last has closed the store. */
enum err folder_lock(const char *path, int *lock, bool *was_clean, struct error *error) MUST_CHECK;
void folder_unlock(int lock, bool clean);

/* Reads PATH-pepper, or makes it. */
enum err folder_pepper(const char *path, uint8_t pepper[PEPPER_SIZE], bool *made,
                       struct error *error) MUST_CHECK;

/* Renames the database and its log to PATH.damaged-TIME…; `to` gets the new name. */
enum err folder_move_aside(const char *path, struct buf *to, struct error *error) MUST_CHECK;
/* Whether such a one is there. */
bool folder_has_damaged(const char *path);

#endif
