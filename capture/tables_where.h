/* tables_where: which columns a row filter may use, read from its text, and whether two texts are the same filter.
 * Pure; any thread; results live in the caller's arena. */
#ifndef PANGEA_CAPTURE_TABLES_WHERE_H
#define PANGEA_CAPTURE_TABLES_WHERE_H

#include <stdbool.h>

#include "base/arena.h"

/* Every word of an SQL expression that could be a column's name (keywords and function names included: the caller intersects with the
 * table's columns), folded as PostgreSQL folds it; strings, comments and numbers are passed over. Returns how many. */
size_t where_names(const char *sql, struct arena *a, const char ***out);
/* True when the texts differ in nothing but blanks and parentheses around them. False does not say that they differ in meaning. */
bool where_same(const char *a, const char *b);

#endif
