/* sets: keys of tables whose rule needs the siblings, on their way through a pass (internal to apply).  DESIGN 6.3 - 6.5, 7.
 * Everything is in the pass's arena.  Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_SETS_H
#define PANGEA_APPLY_SETS_H

#include "apply/pass.h"
#include "apply/rules.h"
#include "base/map.h"
#include "change/binary.h"

struct set_table;

/* One key. */
struct set_key {
        struct set_table *table;
        struct net *net;
        /* what stands */
        struct standing *standing; /* the row, locked; NULL: none, or only our placeholder */
        const struct cell *row;    /* its columns; NULL: none */
        struct dot row_dot;        /* of a row without siblings; hlc 0: older than everything unstable */
        bool local;                /* written locally, and not known to be covered */
        bool taken;                /* a placeholder of ours keeps the key from local inserts: to be kept, changed or deleted */
        bool waits;                /* the row waits in pangea.suppressed, with this dot */
        bool beside;               /* .. and a local one stands under its key (own log only) */
        bool from_outside;         /* of the own log: merged like another region's change */
        struct dot wait_dot;
        bool stale; /* siblings of a row that somebody has overwritten since */
        size_t nsibs, ndots, cap;
        struct version *sibs;
        struct column_dot *dots;
        struct vector tombs;
        struct version closed; /* of a row without siblings */
        /* what is made of it */
        struct incoming in;
        struct merge out;
};

/* The keys of one table in a segment. */
struct set_table {
        struct set_rule *set;
        const struct fold_table *table; /* as the log has it */
        const char *name;
        enum binary_type *types; /* per column of the log */
        bool whole;              /* the log has every column of a version */
        struct fold_table here;  /* as it is here: for what merges make; its nets are texts */
        struct set_key *keys;
        uint32_t n;
};

/* setrows.c: rows and values. */
struct set_table *set_table_new(struct pass *p, const struct fold_table *t, uint32_t room);
struct set_key *set_key_add(struct set_table *t, struct net *n);
/* The values of a row of the log as a version's; what it does not have is taken from `here` (may be NULL). */
const struct cell *set_cells(struct arena *arena, const struct set_table *t, const struct value *row, const struct cell *here);
/* A net that writes these values; its key is the row's. */
struct net *set_net(struct arena *arena, const struct set_table *t, const struct set_key *k, const struct cell *row);
bool set_rows_equal(const struct set_table *t, const struct cell *a, const struct cell *b);
/* {"column": "text" or null, ..} */
const char *set_json(struct arena *arena, const struct set_table *t, const struct cell *row);
/* Locks the rows of the keys, or of those without a row only, in key order, and reads them; not those that are taken. */
MUSTCHECK enum status set_lock(struct pass *p, struct set_table *t, bool only_absent, struct err *e);
/* The first lock of a pass: keys that the guarded statement wrote are settled, not locked again. */
MUSTCHECK enum status set_lock_unwritten(struct pass *p, struct set_table *t, struct err *e);
/* Takes the absent keys: a placeholder each (waits for a local insert in flight); then reads again what is there after all. */
MUSTCHECK enum status set_take_absent(struct pass *p, struct set_table *t, struct err *e);

/* Locks and reads all rows of the segment's truncated table (qualified: it, or the leaf), each as the key of a delete. */
MUSTCHECK enum status set_lock_all(struct pass *p, const char *qualified, uint32_t tx, struct set_table **out, struct err *e);

/* siblings.c: pangea.sibling, pangea.column_dot. */
bool siblings_perhaps(const struct applier *a, const char *rel, const struct net *n);
/* Reads siblings, column dots and tombstones of the keys of all tables. */
MUSTCHECK enum status siblings_load(struct pass *p, struct set_table *const *tables, size_t n, struct err *e);
/* Writes those that the merges changed. */
MUSTCHECK enum status siblings_store(struct pass *p, struct set_table *const *tables, size_t n, struct err *e);
MUSTCHECK enum status siblings_drop(struct pass *p, struct set_key *const *keys, uint32_t n, struct err *e);
/* The region's own deletes: contributions that they have seen are dead. */
MUSTCHECK enum status siblings_deleted(struct pass *p, const struct fold_table *t, struct err *e);
/* The same for a TRUNCATE, anybody's: the segment's. */
MUSTCHECK enum status siblings_truncated(struct pass *p, const char *rel, struct err *e);

/* setwait.c: rows that wait in pangea.suppressed. Finds which of the keys do (after set_lock): waits, row, wait_dot. own: a local row beside it
 * is left to set_wait_own; else ST_RETRY. */
MUSTCHECK enum status set_wait_load(struct pass *p, struct set_table *t, bool own, struct err *e);
MUSTCHECK enum status set_wait_again(struct pass *p, struct set_table *t, struct err *e);
/* Writes what was decided on rows that wait. */
MUSTCHECK enum status set_wait_write(struct pass *p, struct set_table *t, struct err *e);
/* Will the row of this key wait when the transaction has ended? */
bool set_outside(const struct pass *p, const struct set_key *k);
/* Local changes against rows that wait: those that have seen the register end it. */
MUSTCHECK enum status set_wait_own(struct pass *p, struct set_table *t, bool *wrote, struct err *e);
/* A TRUNCATE of another region. */
MUSTCHECK enum status set_wait_truncate(struct pass *p, struct target *t, const struct relation *rel, struct err *e);

/* sets.c */
/* May a guarded statement write it? Else it waits for pass_sets. */
bool set_takes_fast_path(const struct pass *p, const struct fold_table *t, const struct net *n);
/* Whatever nets of tables with such rules are not settled. */
MUSTCHECK enum status pass_sets(struct pass *p, struct err *e);
/* The same for keys that are locked or taken already. */
MUSTCHECK enum status pass_set_tables(struct pass *p, struct set_table *const *tables, size_t n, struct err *e);
/* Fills row_dot and local of the keys; the own log has been read far enough. */
MUSTCHECK enum status sets_standing(struct pass *p, struct set_table *t, struct err *e);
/* Decides on every key. */
MUSTCHECK enum status sets_merge(struct pass *p, struct set_table *const *tables, size_t n, bool own, struct err *e);
/* Writes what was decided. */
MUSTCHECK enum status sets_write(struct pass *p, struct set_table *const *tables, size_t n, struct err *e);

/* setown.c: the own log. */
/* The name of a key in pass.taken. */
const void *set_taken_key(struct arena *arena, const char *table, const struct net *n, size_t *len);
/* One segment of an own group: what it means for tables with such rules. begin() begins the transaction if it has not begun yet.
 * *wrote: a row was changed. */
typedef enum status own_begin(void *ctx, struct err *e);
MUSTCHECK enum status own_sets(struct pass *p, own_begin *begin, void *ctx, bool *wrote, struct err *e);

/* repair.c: what waits in the own log's queue, for tables with such rules only, inside the transaction of p; the items are marked when it
 * commits (own_sets_done), and stay as they are when it does not. taken: keys that hold a placeholder: nothing stands there. */
MUSTCHECK enum status own_process_sets(struct pass *p, struct set_table *const *taken, size_t n, bool *wrote, struct err *e);

#endif
