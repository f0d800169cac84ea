/* The schema, as the steps that led to it. Boot. */
#ifndef HESTIA_STORE_MIGRATE_H
#define HESTIA_STORE_MIGRATE_H

#include "store/sqlite.h"

/* The schema this program knows. */
extern const int64_t schema_version;

/* Brings the database to it, in one transaction, durable. A newer one is refused with what to do. */
enum err database_migrate(struct db *db, const char *path, struct error *error) MUST_CHECK;

#endif
