/* elements: PostgreSQL's own text of arrays, jsonb arrays and jsonb objects taken apart at the first level, and put together again.
 *
 * Elements and members stay the bytes that PostgreSQL printed (quotes and escapes included): array_out and jsonb_out print equal values
 * alike, and a JSON library would turn numbers into doubles and lose digits.  Two numerics that differ in scale (1.0, 1.00) are two elements.
 * Pure; what is returned is in the arena and borrows from the value. */
#ifndef PANGEA_CONFLICT_ELEMENTS_H
#define PANGEA_CONFLICT_ELEMENTS_H

#include "conflict/rule.h"

struct cells {
        size_t n;
        struct cell *c;
};

/* The elements of a TYPE_ARRAY ("{a,NULL,\"b c\"}") or TYPE_JSONB ("[1, {\"a\": 2}]"), ascending bytes, distinct. NULL has none.
 * false: no array, or one of several dimensions, whose rows PostgreSQL would not let us mix (then *out is empty). */
bool elements_split(enum value_type type, struct cell value, struct arena *arena, struct cells *out);
struct cell elements_join(enum value_type type, const struct cells *e, struct arena *arena);
bool elements_have(const struct cells *sorted, struct cell c);
/* Those of a that are not in b, as a new list. */
struct cells elements_less(const struct cells *a, const struct cells *b, struct arena *arena);

/* The members of a jsonb object, each "\"key\": value", in jsonb's own order of keys: by length, then by bytes. */
bool members_split(struct cell value, struct arena *arena, struct cells *out);
struct cell members_join(const struct cells *m, struct arena *arena);
int member_cmp(struct cell a, struct cell b); /* by their keys */
/* The member of the same key; NULL: there is none. */
const struct cell *members_find(const struct cells *sorted, struct cell member);

#endif
