/* pass: one segment of a group on its way through the steps of apply/write.c (internal to apply).  Everything is in the group's arena.
 * Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_PASS_H
#define PANGEA_APPLY_PASS_H

#include "apply/applier.h"

/* Nets of one table that go by one statement. */
struct run {
        struct run *next;
        struct work *w;
        const struct fold_table *table;
        enum sql_kind kind;
        struct net **nets;
        uint32_t n;
        int64_t touched;
        bool locked;     /* goes the slow path */
        bool fast_tried; /* a guarded statement went before it */
        bool tell;       /* it says which rows it has written */
        void *arg;       /* of whoever gets its result */
};

/* One segment under way. */
struct pass {
        struct work *w;
        struct applier *a;
        struct arena *arena;
        const struct segment *seg;
        struct run *runs, **tail;
        struct loser *losers;
        size_t nlosers, cap_losers;
        bool own_parts;          /* the own group under way comes in chunks */
        bool again;              /* an earlier chunk or segment of the group may have written the same keys */
        const struct map *taken; /* "schema.table\0key": only a placeholder of this transaction stands there; NULL: none */
};

/* write.c */
void pass_clear_runs(struct pass *p);
/* Puts the net into the open run that it fits into, or a new one. */
void pass_place(struct pass *p, const struct fold_table *t, struct net *n, enum sql_kind kind);
MUSTCHECK enum status pass_send_run(struct pass *p, struct run *r, const struct sql_guard *guard, on_result *fn, struct err *e);
/* Deletes of all tables first, then updates, then inserts; waits for all. */
MUSTCHECK enum status pass_send_runs(struct pass *p, bool guarded, struct err *e);
/* Rows of this table are written by delete and insert in this pass. */
bool pass_replaces(const struct pass *p, const struct target *t);

/* slow.c */
MUSTCHECK enum status pass_slow(struct pass *p, struct err *e);
/* Result function of SQL_LOCK runs (arg: the run). */
void pass_on_locked(void *ctx, void *arg, const struct pgres *r);
struct standing *standing_of(struct arena *arena, const struct pgres *r, int row);
region_id pass_origin_region(const struct applier *a, uint32_t roident); /* REGION_NONE: written locally (or by somebody else) */
/* Does deciding on this net need the own log read to the end? */
bool pass_needs_own_log(const struct pass *p, const struct fold_table *t, const struct net *n);
MUSTCHECK enum status pass_decide(struct pass *p, const struct fold_table *t, struct net *n, enum verdict *v, struct err *e);
struct vector pass_seen_by(const struct work *w, const struct net *n);
void pass_lose(struct pass *p, struct loser l);
/* After pass_send_runs of locked rows: each was there. */
MUSTCHECK enum status pass_check_touched(const struct pass *p, struct err *e);
enum conflict_kind pass_kind_of(const struct net *n); /* of a conflict that an incoming net meets */

/* own.c: is the local row that stands, and is locked, one that the own group under way wrote? */
MUSTCHECK enum status own_wrote(struct pass *p, const struct relation *rel, const struct net *n, const struct standing *st,
                                bool *ours, struct err *e);
/* own.c: the own group under way, and all before it, is visible; ST_RETRY: not yet (apply/unseen.h). */
MUSTCHECK enum status own_visible(struct pass *p, struct err *e);

/* hold.c: puts of the segment that a tombstone kills. */
struct tomb_hit {
        const struct fold_table *table;
        struct net *net;
        struct dot killer;
};
/* Which deletes of these keys are known. own_too: also those of the region whose group it is. */
struct tomb_question {
        const struct fold_table *table;
        const struct net *net;
        struct vector tombs;
};
MUSTCHECK enum status pass_ask_tombs(struct pass *p, struct tomb_question *q, size_t n, bool own_too, struct err *e);
bool pass_tombs_perhaps(const struct pass *p, const struct fold_table *t, const struct net *n);
MUSTCHECK enum status pass_find_killed(struct pass *p, struct tomb_hit **hits, size_t *n, struct err *e);
MUSTCHECK enum status pass_hold_against_tombs(struct pass *p, struct err *e);
MUSTCHECK enum status pass_leave_tombs(struct pass *p, struct err *e);

/* "schema.leaf" of a partition, in the arena; NULL when the relation is none. */
const char *pass_leaf_name(struct arena *arena, const struct relation *rel);

/* truncate.c */
MUSTCHECK enum status pass_truncate(struct pass *p, struct err *e);
/* The own region's TRUNCATE, read in the own log: against rows that others wrote meanwhile. */
MUSTCHECK enum status pass_truncate_own(struct pass *p, struct err *e);
MUSTCHECK enum status pass_keyless(struct pass *p, struct err *e);

#endif
