/* Names of fields: the fast way from a name to its id. Used by this folder only; the rest is in head.h. Pure.
 */
#ifndef HESTIA_HTTP_FIELD_H
#define HESTIA_HTTP_FIELD_H

#include "http/head.h"

/* Any case; FIELD_OTHER when the gateway does not know it. `name` has no controls. */
enum field_id field_id_find(struct str name);

/* The hash behind it, for the test that keeps both tables in step with field.def. */
enum { FIELD_SLOTS = 256, FIELD_NAME_MAX = 25 };
struct field_factors {
    uint8_t first, middle, last;
};
#define FIELD_FACTORS ((struct field_factors){1, 4, 17})
extern const uint8_t field_slots[FIELD_SLOTS];

static inline unsigned field_hash(struct str name, struct field_factors factors)
{
    unsigned first = (uint8_t)name.p[0] | 0x20, middle = (uint8_t)name.p[name.n / 2] | 0x20,
             last = (uint8_t)name.p[name.n - 1] | 0x20;
    return (factors.first * first + factors.middle * middle + factors.last * last + (unsigned)name.n) %
           FIELD_SLOTS;
}

#endif
