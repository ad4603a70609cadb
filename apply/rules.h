/* rules: the conflict rule of a table that several leaders write, bound to its columns as they are here.  DESIGN 7.
 * A table under plain last write wins has none: it keeps the path of apply/write.c and slow.c.  Made when the catalog loads the table, freed
 * with it.  Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_RULES_H
#define PANGEA_APPLY_RULES_H

#include "apply/catalog.h"
#include "base/arena.h"
#include "conflict/merge.h"

/* How versions of a table are laid out: the columns of the target that are not generated, in its order. */
struct set_rule {
        struct arena arena;
        struct rule rule;
        bool dots; /* contributions are kept in pangea.column_dot: every write of it goes the slow path */
        bool full; /* old rows are needed: REPLICA IDENTITY FULL */
        const char *name; /* of the rule, for pangea.conflict and people: "greatest", "last_write_wins, balance: delta" */
        int16_t *at;      /* per column of the target: its place in a version; -1: a generated one */
        struct relation rel; /* the table here, as if it were a relation of a log: what a merge makes is written through it */
        struct mapping map;
};

/* *out NULL: plain last write wins. bytewise: per column of the target. ST_DATA rule_refused: the origin waits by name. */
MUSTCHECK enum status rules_bind(struct set_rule **out, const struct topology *topo, struct target *t, const bool *bytewise,
                                 struct err *e);
void rules_free(struct set_rule *s);
/* Must the own log's changes of the table be read one by one (their contributions get dots)? Asked before the table is loaded. */
bool rules_have_dots(const struct topology *topo, const char *schema, const char *name);

#endif
