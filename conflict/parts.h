/* parts: what the files of conflict/ share; not for others.
 *
 * A set of versions is settled in three layers: the row rule finds a winner, whose columns the row gets (outcome.c); column rules that are
 * functions of the set overwrite theirs (outcome.c, text_merge.c); columns that add up what came, or keep a register of their own, are merged
 * into what stood before (columns.c, union.c, json_merge.c).  For the last, column dots (dots.c) say who contributed what. */
#ifndef PANGEA_CONFLICT_PARTS_H
#define PANGEA_CONFLICT_PARTS_H

#include "conflict/merge.h"

/* How a column is settled under a rule. */
enum how {
        HOW_ROW, /* with the row; in column_merge: a column of the key */
        /* functions of the set of versions */
        HOW_LAST,
        HOW_GREATEST,
        HOW_LEAST,
        HOW_LINES,
        HOW_WORDS,
        /* merged by themselves */
        HOW_DELTA,
        HOW_UNION,
        HOW_FIELDS,
        /* column_merge: registers over the changes of that column */
        HOW_REGISTER_LAST,
        HOW_REGISTER_GREATEST,
        HOW_REGISTER_LEAST,
        HOW_REGISTER_LINES,
        HOW_REGISTER_WORDS,
};
enum how column_how(const struct rule *r, uint16_t col);
static inline bool how_is_own(enum how h)
{
        return h >= HOW_DELTA;
}

/* ---- versions (outcome.c) -------------------------------------------------------------------------------------------------------------- */
/* Has this vector's owner seen the version? One without a time is older than everything. */
static inline bool seen_covers(const struct vector *seen, struct dot d)
{
        return d.hlc.v == 0 || (d.region.i < MAX_REGIONS && vector_covers(seen, d));
}
/* The rule of the highest (generation, name of its region) among n >= 1 versions. */
const struct rule *settling_rule(const struct version *v, size_t n, const struct regset *regs);
size_t greatest_dot(const struct version *v, size_t n, const struct regset *regs);

/* ---- column dots (dots.c) ---------------------------------------------------------------------------------------------------------------- */
struct dots {
        struct column_dot *d; /* ascending (column, element, region) once dots_sort was called */
        size_t n, cap;
};
void dots_copy(struct dots *to, const struct column_dot *d, size_t n, size_t more, struct arena *arena);
void dots_add(struct dots *s, struct arena *arena, uint16_t col, struct cell element, struct dot d);
/* Takes out what the vector covers of one column. */
void dots_drop_seen(struct dots *s, uint16_t col, const struct vector *seen);
/* A delete took the row: what the vector covers (NULL: everything) goes, but for what is noted. */
void dots_end_life(struct dots *s, const struct rule *r, const struct vector *seen);
void dots_sort(struct dots *s);
/* Those of one column, in a sorted set. */
struct column_dot *dots_of(const struct dots *s, uint16_t col, size_t *n);
/* The newest version of each region is noted under the key's first column, also beyond deletes, until it is stable: whatever comes twice (the
 * own log is read again after a restart) contributes once. Only for rules that keep dots. */
bool dots_noted(const struct dots *s, const struct rule *r, struct dot d);
void dots_note(struct dots *s, const struct rule *r, struct dot d, struct arena *arena);

/* ---- columns that are merged by themselves (columns.c) -------------------------------------------------------------------------------------- */
/* What is known when the values of a settled set are made. */
struct settling {
        const struct rule *rule; /* that settles the set */
        const struct version *v; /* the set, ascending dots */
        size_t n;
        const struct version *before; /* the set that stood; nbefore 0: nothing to go on from */
        size_t nbefore;
        const struct cell *row;    /* what it had made; NULL with nbefore 0 */
        const struct incoming *in; /* what came, one of v; NULL: nothing came, something went */
        const struct dots *dots;   /* sorted; after what came is noted */
        const struct regset *regs;
        struct arena *arena;
};
/* What a put does to the column dots, by its own rule. */
void columns_note(struct dots *dots, const struct incoming *in, const struct regset *regs, struct arena *arena);
/* Overwrites the columns of *row that are merged by themselves. ST_DATA: see merge_remote. */
MUSTCHECK enum status columns_settle(const struct settling *s, struct cell *row, struct err *e);

/* Does the version take part in how the settling rule merges this column? Not when it was written under a rule that did otherwise. */
bool takes_part(const struct settling *s, const struct version *v, uint16_t col);
/* Does `row` hold what these versions made of the column by the same rule? */
bool carries_on(const struct settling *s, uint16_t col);
/* The one with the greatest dot of those that take part (the greatest of all when none does). */
struct cell last_value(const struct settling *s, uint16_t col);

/* A change of one column: from (the value that the version replaced; NULL when inserted) to. */
struct column_change {
        uint16_t col;
        enum value_type type;
        struct cell from, to;
        struct dot dot;
        const struct vector *seen;
};
struct column_change column_change_of(const struct incoming *in, uint16_t col);

/* A column whose values are taken apart, merged part by part (elements of an array, members of an object), and put together again. */
struct cells;
struct parts {
        /* false: it is none of these (no array, no object) */
        bool (*split)(enum value_type type, struct cell value, struct arena *arena, struct cells *out);
        struct cell (*join)(enum value_type type, const struct cells *parts, struct arena *arena);
        /* What shows of those that have column dots. */
        struct cells (*showing)(const struct settling *s, uint16_t col);
        /* From what stood, by what came; false: not to be told from these. */
        bool (*carried)(const struct settling *s, uint16_t col, const struct cells *shown, struct cells *out);
        /* From the versions alone. */
        struct cells (*anew)(const struct settling *s, uint16_t col, const struct cells *shown);
};
struct cell parts_value(const struct settling *s, uint16_t col, const struct parts *how);

void union_note(struct dots *dots, const struct column_change *c, struct arena *arena);
struct cell union_value(const struct settling *s, uint16_t col);
void fields_note(struct dots *dots, const struct column_change *c, struct arena *arena);
struct cell fields_value(const struct settling *s, uint16_t col);

/* ---- numbers (value.c) ------------------------------------------------------------------------------------------------------------------------- */
/* Digits behind the point. */
uint32_t scale_of(struct cell c);
/* The same (finite) number with so many of them; more when they are not all zeros. */
struct cell scale_to(struct cell c, uint32_t scale, struct arena *arena);

/* ---- text (text_merge.c) ------------------------------------------------------------------------------------------------------------------- */
/* What n values, all made from old, are together. false: two of them changed the same place, or the texts are too long to compare. */
bool text_merge(struct cell old, const struct cell *values, size_t n, bool words, struct arena *arena, struct cell *out);

/* The value that a function of n versions gives: HOW_LAST .. HOW_WORDS; olds NULL: not known. values are in ascending order of their dots. */
struct cell function_of(enum how h, enum value_type type, const struct cell *values, const struct cell *olds, size_t n,
                        struct arena *arena);

#endif
