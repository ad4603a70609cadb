/* fold: the changes of one group (or chunk) as the net effect on each key.  DESIGN 6.2; pure but for the catalog's mapping, which the
 * caller supplies.
 *
 *   changes:  ins a, upd b, del a, upd b, TRUNCATE t, ins c    (a and b in another table than t)
 *   nets:     truncate t   [del a, put b(last row), put c]
 *
 * A row that moves from one partition to another comes as delete and insert; when the rows are whole it folds to an update.
 * A key inserted and deleted folds to the delete; its vector is that of the last transaction that touched it. A TRUNCATE goes first: what came
 * before it is gone. A segment ends where order matters between keys: a TRUNCATE of one partition, a key change whose row is not complete, a
 * new layout of a table, an update without a key.
 * Everything is in the arena and borrows from the group. */
#ifndef PANGEA_APPLY_FOLD_H
#define PANGEA_APPLY_FOLD_H

#include "apply/target.h"
#include "base/arena.h"

/* The row that stands under a key, locked. */
struct standing {
        uint32_t xmin, origin; /* local id of its replication origin; 0 = written locally */
        int64_t ts_us;         /* its commit timestamp, Unix microseconds; 0 = gone */
        bool mine;             /* written by this very transaction */
        bool old;              /* older than everything unstable */
        const char *image;     /* JSON; arena */
};

/* The net effect on one key. */
struct net {
        bool del;                /* ends deleted; else ends as row */
        bool had_del;            /* was deleted somewhere in the group */
        bool fresh;              /* began with an insert, or was replaced: row is complete */
        bool is_insert;          /* the first change was an insert (names the conflict) */
        uint32_t tx;             /* the last transaction that touched it */
        const struct value *row; /* ncols; NULL when del */
        const struct value *key; /* a row that holds the key values */
        const struct value *old; /* of a delete under a full relation: the row that was deleted; else NULL */
        /* full relations: the row before the group's first change of it; NULL when it was inserted since. For rules that need it. */
        const struct value *before;
        const uint8_t *kb; /* canonical key bytes */
        uint32_t klen;
        uint64_t hash;
        /* what the last delete found, to take it back when the row only moved to another partition */
        const struct relation *del_rel;
        bool was_del, was_fresh;
        /* filled while it is written */
        struct standing *standing; /* the row that stands, once it was locked; NULL: none */
        bool settled;              /* killed by a tombstone, lost, or written: nothing more to do */
        bool lost;                 /* settled without having been written */
        bool written;              /* a guarded statement has said so */
        bool fast_tried;           /* a guarded statement went before: a row of this very transaction is its work */
        bool tomb;                 /* of a rule with siblings: leaves a tombstone */
        bool hidden;               /* settled: it waits in pangea.suppressed */
};

/* One table within a segment. */
struct fold_table {
        const struct relation *rel;
        struct mapping map;
        uint32_t n;
        struct net **nets; /* in the order of their first change */
        int64_t touched;   /* rows that guarded statements wrote which did not find all of theirs; of rules with siblings */
};

struct segment {
        struct segment *next;
        uint32_t ntables;
        struct fold_table *tables;
        /* then, at most one of: */
        const struct change *truncate; /* with its mapping */
        const struct change *keyless;  /* an update or delete of a table without a key (its inserts are nets without kb) */
        struct mapping map;
};

/* Gives the mapping of a relation; called once per relation and group. */
typedef enum status fold_map(void *ctx, const struct relation *rel, struct mapping *out, struct err *e);

/* Folds g; skips relations that are not applied here. *out is the first segment, NULL when there is nothing to do. ST_DATA: a change that
 * makes no sense (an update without a key). */
MUSTCHECK enum status fold_group(const struct group *g, struct arena *arena, fold_map *map, void *ctx, struct segment **out,
                                 struct err *e);

#endif
