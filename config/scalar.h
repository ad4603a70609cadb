/* scalar: text -> numbers, durations, sizes, booleans, and ${ENV}.  Pure but for getenv; any thread. */
#ifndef PANGEA_CONFIG_SCALAR_H
#define PANGEA_CONFIG_SCALAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

struct unit {
        const char *name;
        int64_t factor;
        const char *instead; /* not allowed: the unit that was probably meant */
};
extern const struct unit duration_units[]; /* us: ms s min h d; ends with a NULL name */
extern const struct unit size_units[];     /* B kB MB GB, of 1024 each as in PostgreSQL */

/* Decimal, no leading zeros, no sign but '-'. */
bool scalar_int(const char *s, int64_t *out);
bool scalar_bool(const char *s, bool *out);
#define SCALAR_HINT 48
/* "5min" -> 300000000.  When it is not one, hint (SCALAR_HINT bytes) is what was probably meant ("5min" for "5m"), or "". */
bool scalar_quantity(const char *s, const struct unit *units, int64_t *out, char *hint);
/* The shortest way to write it: "90d", "900kB". buf holds SCALAR_HINT bytes and is returned. */
const char *quantity_str(char *buf, int64_t v, const struct unit *units);

/* ${NAME} -> the environment's value, $${ -> ${.  NULL, with *why (in the arena, no value in it), when it cannot. A value that came
 * from the environment is not expanded again. */
const char *scalar_expand(struct arena *a, const char *raw, const char **why);

#endif
