/* clash: which rows of a table cannot stand beside each other: its unique indexes besides the key and its exclusion constraints, as the
 * catalog describes them (several columns, expressions, predicates, NULLS NOT DISTINCT, collations, deferrable ones).  DESIGN 7.
 *
 *     candidates (rows to be written, rows that wait)  --clash_find-->  + the visible rows that clash with one of them, locked, and the pairs
 *
 * Rows travel as JSON objects of texts as PostgreSQL prints them, so that one form serves the log's rows, the table's and those in
 * pangea.suppressed. Visible rows never clash with each other: the database sees to that.
 * Owner: the apply agent's thread.  Everything is in the arena.  Fails as apply/session.h says. */
#ifndef PANGEA_APPLY_CLASH_H
#define PANGEA_APPLY_CLASH_H

#include "apply/pass.h"

struct clash_def; /* of a target, read when it is first needed, freed with it */
void clash_def_free(struct clash_def *d);

/* A row that is visible, or would like to be. */
struct clash_row {
        const uint8_t *kb; /* canonical key bytes */
        uint32_t klen;
        const char *key;                 /* JSON of the key columns */
        const char *image;               /* JSON of the row */
        const struct standing *standing; /* of a visible one; NULL: a candidate */
        uint32_t tx;                     /* of a candidate that a group brings: its transaction there */
};

struct clash_pair {
        uint32_t a, b;          /* indexes of rows, a < b */
        const char *constraint; /* that would be violated */
};

struct clash_set {
        struct applier *a;
        struct arena *arena;
        struct target *target;
        const struct fold_table *table; /* the target as a relation, every column in its place */
        const struct map *gone;         /* key bytes -> anything: visible rows that are being replaced; NULL: none */
        struct clash_row *rows;         /* candidates first, then visible ones */
        uint32_t n, ncandidates, cap;
        struct clash_pair *pairs;
        uint32_t npairs, cap_pairs;
        struct map keys; /* of visible rows -> their place + 1 */
        bool broken;     /* a row came back that cannot be read */
};

/* Begins a set without candidates; ST_OK also when the table has nothing that could clash. */
MUSTCHECK enum status clash_begin(struct clash_set *c, struct applier *a, struct arena *arena, struct target *t, struct err *e);
void clash_end(struct clash_set *c);
/* Returns the candidate's index. */
uint32_t clash_add(struct clash_set *c, const struct clash_row *row);
/* Finds the visible rows that clash with the candidates, locks them, and all pairs. */
MUSTCHECK enum status clash_find(struct clash_set *c, struct err *e);
/* Who may be visible: keep[i] for each row; holder[i]: the pair by which row i is kept out (NULL for those that may). Arrays in the arena. */
void clash_decide(struct clash_set *c, bool **keep, const struct clash_pair ***holder);
/* The row at the other end. */
static inline uint32_t clash_other(const struct clash_pair *p, uint32_t i)
{
        return p->a == i ? p->b : p->a;
}

/* Deletes / inserts rows in the target by their JSON; *done: how many, after the next sync. */
MUSTCHECK enum status clash_send_delete(struct clash_set *c, const uint32_t *rows, uint32_t n, int64_t *done, struct err *e);
MUSTCHECK enum status clash_send_insert(struct clash_set *c, uint32_t row, int64_t *done, struct err *e);

/* ---- clash_sql.c: what the catalog says, and the statements ------------------------------------------------------------------------- */
MUSTCHECK enum status clash_def_load(struct target *t, struct pg *side, struct err *e);
/* Result rows: candidate (from 1), other candidate or NULL, key of a visible row or NULL, constraint. */
MUSTCHECK enum status clash_send_find(struct clash_set *c, on_result *fn, struct err *e);
/* Locks the visible rows of the set in key order: columns of enum lock_column (LOCK_N: place in the set + 1), then the exact image. */
MUSTCHECK enum status clash_send_lock(struct clash_set *c, on_result *fn, struct err *e);

/* Sends the question for all waiting rows of the table, or of its partition rel.leaf: region, hlc, image. */
MUSTCHECK enum status clash_send_waiting(struct applier *a, struct target *t, const struct relation *rel, on_result *fn, void *arg,
                                         struct err *e);

/* The target as a relation with its mapping. */
const struct fold_table *clash_table(struct arena *arena, struct target *t);
/* The values of a JSON row in the order of rel's columns; a column that is not there is UNSENT. NULL: not JSON. */
struct value *clash_values(struct arena *arena, const struct relation *rel, const char *json);
/* A net that stands for a row of its own: for recording it and asking who wrote it. */
struct net *clash_net(struct arena *arena, const struct relation *rel, const struct clash_row *row);
/* {"column": text, ..} of every column of a value row; arena. */
const char *clash_image(struct arena *arena, const struct relation *rel, const struct value *row);

#endif
