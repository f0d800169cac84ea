/* GET /openapi.json: generated from route tables. Pure. */
#ifndef HESTIA_ADMIN_OPENAPI_H
#define HESTIA_ADMIN_OPENAPI_H

#include "gateway/routes.h"

/* An OpenAPI 3.1 document of these tables (each ends with a row whose path is NULL) and of the way through to
   a service, which is no row. */
void openapi_write(struct buf *out, const struct api_route *const *tables, size_t table_count);

/* A component schema: its JSON. */
struct openapi_schema {
    const char *name, *text;
};
const struct openapi_schema *openapi_schemas(size_t *count);
const struct openapi_schema *manage_schemas(size_t *count); /* of the management API */

#endif
