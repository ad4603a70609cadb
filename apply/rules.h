/* rules: the conflict rules of a table, bound to its columns as they are here.  DESIGN 7.
 * A table for which no rule but last write wins is on its way has none: it keeps the path of apply/write.c and slow.c.  Made when the catalog
 * loads the table, freed with it (a MARKER about rules forgets all tables).  Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_RULES_H
#define PANGEA_APPLY_RULES_H

#include "apply/catalog.h"
#include "apply/rulebooks.h"
#include "base/arena.h"
#include "conflict/merge.h"

struct bound_rule;
struct set_rule;

/* What the catalog needs to know of rules. */
struct rules_known {
        const struct rulebooks *books;
        const struct vector *stable;
        /* who answers for sql and plugin; NULL: they are refused. ST_CONFIG: why not */
        enum status (*resolver)(void *ctx, struct set_rule *set, const struct rule_spec *spec, struct rule *rule, struct err *e);
        void *ctx;
};

/* How versions of a table are laid out: the columns of the target that are not generated, in its order. */
struct set_rule {
        struct arena arena;
        const struct rules_known *known;
        const struct rule *rule; /* in force now: of the newest generation that is known */
        bool dots;               /* contributions are kept in pangea.column_dot: every write of it goes the slow path */
        bool olds;               /* text_merge: what a version replaced is kept until it is stable: likewise */
        bool full;               /* old rows are needed: REPLICA IDENTITY FULL */
        const char *name;        /* of the rule, for people: "greatest", "last_write_wins, balance: delta" */
        const char *label;       /* of the rule, for metrics: one word, never freed */
        int16_t *at;             /* per column of the target: its place in a version; -1: a generated one */
        struct relation rel;     /* the table here, as if it were a relation of a log: what a merge makes is written through it */
        struct mapping map;
        const struct regset *regs;
        const struct rule_table_column *cols;
        struct bound_rule *bound; /* by rulebook */
};

/* *out NULL: last write wins, nothing else. bytewise: per column of the target. ST_DATA rule_refused: the origin waits by name. */
MUSTCHECK enum status rules_bind(struct set_rule **out, const struct rules_known *known, const struct topology *topo,
                                 struct target *t, const bool *bytewise, struct err *e);
void rules_free(struct set_rule *s);
/* The rule under which a version was written. ST_DATA rule_refused. */
MUSTCHECK enum status rules_of(struct set_rule *s, struct dot dot, const struct rule **out, struct err *e);
/* Must the own log's changes of the table be read one by one (dots, olds)? Asked before the table is loaded. */
bool rules_note_own(const struct rulebooks *books, const struct regset *regs, const char *schema, const char *name);

#endif
