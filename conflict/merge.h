/* merge: the register of one key under any rule: what a change from another region, or one read in the own log, makes of the versions that
 * stand.  DESIGN 6.4, 6.5, 7.  Pure and symmetric: whatever the order in which the versions come, all regions end with the same row and the
 * same siblings.  No connection, no clock, no "which region am I".
 *
 *     stands: row + siblings + tombstones + column dots  --(incoming)-->  row' + siblings' + column dots' + what lost
 *
 * A history is a set of versions and deletes, each with what it had seen.  A version is alive when no other has seen it and no delete kills
 * it; the siblings are the living ones, and the row is a function of them (and, for what accumulates, of the changes since the last delete).
 * Every sentence below is there so that this does not depend on the order in which they come.
 *
 * Invariants of a state:
 *   - row NULL: nsibs 0, and of dots only what is noted under the key's first column.  Else nsibs >= 1.
 *   - nsibs 1: the row is that version's image, byte for byte, also under rules that merge.  nsibs > 1: the row is the outcome of the set.
 *   - siblings are in ascending order of their dots, pairwise concurrent, and none is killed by tombs.
 *   - dots are ascending by (column, element, region).
 *
 * Rules: a set is settled by the rule of the highest (generation, name of rule.from) among its versions.  How a delete kills a version is
 * said by the version's own rule (struct rule, delete_wins).  A version under plain last write wins (rule_is_register) goes as soon as there
 * is a later one, whatever that one's rule: a region in which last write wins was in force has forgotten it.  A version whose rule merges a
 * column in another way than the settling one contributes nothing to that column (it is recorded as every sibling that does not win).
 *
 * What merges a column by itself (delta, union, json_merge, column_merge) goes on from the row that stands, so the caller must have processed
 * the own log (merge_own) as far as the version that stands before it merges a remote change of a rule_keeps_dots table.
 *   union:       a NULL has no elements; while any sibling holds what is no array (or one of several dimensions) the column shows that, the latest
 *                of several.  More than one sibling: sorted by bytes, distinct, without bounds.
 *   json_merge:  the same for what is no object; members in jsonb's own order.
 *   delta:       NULL counts as 0; NaN and infinity in one of two concurrent changes: ST_DATA delta_not_finite.
 *   text_merge:  when all siblings (in column_merge: all changes that nobody has seen) replaced one and the same value; otherwise, and when two
 *                of them changed the same place, the column goes to the latest.
 *
 * Everything is in the arena and borrows from what went in. */
#ifndef PANGEA_CONFLICT_MERGE_H
#define PANGEA_CONFLICT_MERGE_H

#include "conflict/lww.h"
#include "conflict/rule.h"

/* A living version. */
struct version {
        struct dot dot;     /* hlc 0: older than everything unstable, covered by every vector */
        struct vector seen; /* what its transaction had seen, own component = its HLC; all 0 when not known (nobody asks then) */
        const struct cell *row;  /* ncols of the rule */
        const struct cell *old;  /* the row that its transaction (group) replaced; NULL: inserted, or not known */
        const struct rule *rule; /* in force in its region when it was written; NULL: what is in force here. All of one ncols */
};

/* A contribution to a column that is merged by itself, until it is stable. What element holds is merge's own affair:
 * column_merge: "" ; greatest/least/text_merge inside column_merge: the value (and its old value); union: the element; json_merge: field
 * and value. Under the key's first column, element "": the newest version of each region (so that nothing contributes twice); these outlive a
 * delete of the row, until they are stable. */
struct column_dot {
        uint16_t col;
        struct cell element;
        struct dot dot;
};

struct key_state {
        const struct cell *row; /* NULL: absent */
        size_t nsibs;
        const struct version *sibs;
        size_t ndots;
        const struct column_dot *dots;
        struct vector tombs; /* {region: highest HLC of a delete}, of the key and of the whole table joined */
};

/* The net effect of one group on the key. v.row NULL: it ends deleted. v.old: the row before the group's first update (of this life of
 * the row); NULL when fresh. */
struct incoming {
        struct version v;
        bool had_del;   /* the key was deleted in this group, at its end or before v.row was inserted */
        bool fresh;     /* v.row was inserted in this group */
        bool is_insert; /* the first change was an insert (names the conflict) */
        bool again; /* an earlier part of the same group (a chunk, what came before a TRUNCATE) may have changed the key: it is no repetition */
};

enum merge_act { MERGE_KEEP, MERGE_PUT, MERGE_DELETE };

/* A version that a rule discarded, or that a merge keeps only in part: to be recorded (C9). */
struct merge_loser {
        struct dot dot;
        const struct cell *row; /* NULL: it was a delete */
        struct dot
                winner; /* the version or the delete that it lost to; hlc 0, REGION_NONE: a row that a resolver made of several */
        enum conflict_kind kind;
};

struct merge {
        enum merge_act act; /* what is to be done to the row that stands; KEEP: nothing (also when the outcome equals it) */
        struct key_state
                after; /* act PUT: after.row is to be written. One sibling needs no record of its own when it is the incoming version and
                                 * act is PUT: the dot of the written row says it all */
        bool tomb; /* the incoming delete leaves its tombstone (it is in after.tombs) */
        bool sibs_changed, dots_changed;
        const struct rule *rule; /* by which it was settled; NULL when there was no conflict */
        size_t nlosers;
        const struct merge_loser *losers;
};

/* A change of another region. rule: what is in force here now. What comes twice changes nothing.
 * ST_DATA: resolver_failed; delta_not_finite; old_row_missing (an update without v.old under a rule that accumulates). */
MUSTCHECK enum status merge_remote(const struct rule *rule, const struct key_state *stands, const struct incoming *in,
                                   const struct regset *regs, struct arena *arena, struct merge *out, struct err *e);

/* A change of the region itself, read in its own log: the row already holds it (or what came after). local: the row that stands was written
 * locally by this very change and nothing else since. Tombstones that it has not seen may kill it; its contributions to columns get their
 * dots. Idempotent. */
MUSTCHECK enum status merge_own(const struct rule *rule, const struct key_state *stands, const struct incoming *in, bool local,
                                const struct regset *regs, struct arena *arena, struct merge *out, struct err *e);

/* The outcome of a set of maximal versions (n >= 1, ascending dots): row (ncols cells) and the version whose plain columns it has
 * (*winner: index; n when none is whole: sql, plugin). What accumulates is not decided here: row gets the winner's value. */
MUSTCHECK enum status merge_outcome(const struct version *v, size_t n, const struct regset *regs, struct arena *arena,
                                    struct cell *row, size_t *winner, struct err *e);

/* What may be forgotten at this stable vector: true when the set is closed for good (all of it stable); dots that are stable are taken out
 * of *dots in place, the new number is returned through ndots. While siblings are open their dots are better kept (merge_stable first): a
 * set that leaves an exception (a value that is no array, another generation of the rule) is merged anew from versions and dots. */
bool merge_stable(const struct version *v, size_t n, const struct vector *stable);
void merge_forget_dots(struct column_dot *dots, size_t *ndots, const struct vector *stable);

/* Of the visible and waiting rows that touch each other by unique keys, who may be visible: in the order of the keys (bytes), each that
 * clashes with nobody who is in already. clash(ctx, i, j) is symmetric. keep: n bools, filled. */
typedef bool clash_fn(void *ctx, size_t i, size_t j);
struct unique_row {
        const uint8_t *key;
        uint32_t klen;
};
void unique_keep(const struct unique_row *rows, size_t n, clash_fn *clash, void *ctx, bool *keep);

#endif
