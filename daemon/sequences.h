/* sequences: the sequences that number keys of tables which several leaders write, whether two of them will ever give the same number,
 * and the ALTER SEQUENCE that keeps them apart.  Read from the catalog of one region at a time, judged and planned without a connection.
 * Used by `pangea sequences` and `pangea doctor`.  Plain data in the caller's arena.  Thread: whoever owns the connection. */
#ifndef PANGEA_DAEMON_SEQUENCES_H
#define PANGEA_DAEMON_SEQUENCES_H

#include "base/arena.h"
#include "postgres/pg.h"
#include "topology/topology.h"

/* As one region has it. */
struct sequence {
        const char *schema, *name;                 /* of the sequence */
        const char *table_schema, *table, *column; /* one that it numbers */
        int64_t last, increment, min, max, start;
        int64_t limit; /* what its type and the column's can hold; max is never above it */
        bool called;   /* last was given already; else it is the next one */
        bool cycle;
        bool taken;  /* the next number stands in the table already */
        int64_t top; /* the greatest number in the table; INT64_MIN: none, or not a number */
};

/* Sequences of columns that are part of a unique key, in tables that this region and another write. Sorted by name. A sequence that numbers
 * several columns shows once. */
MUSTCHECK enum status sequences_read(struct pg *c, const struct topology *t, region_id me, struct arena *arena,
                                     struct sequence **out, size_t *n, struct err *e);
/* last and called as they are now. */
MUSTCHECK enum status sequence_look(struct pg *c, struct sequence *s, struct err *e);
/* The number that it gives next; false: there is none left. Pure. */
bool sequence_next(const struct sequence *s, int64_t *out);
/* Will they ever give the same number?  *first: the first one. Pure. */
bool sequences_collide(const struct sequence *a, const struct sequence *b, int64_t *first);

/* One sequence in all regions that write its table. */
struct sequence_set {
        const char *schema, *name;
        size_t n;
        const struct region *region[MAX_REGIONS];
        struct sequence *seq[MAX_REGIONS];
};
/* lists[k] (of count[k]) is region k's; regions without a list have NULL. Pure. */
size_t sequence_sets(const struct topology *t, struct sequence *const *lists, const size_t *count, struct arena *arena,
                     struct sequence_set **out);
/* NULL: they keep apart. Else what will happen, as text. Pure. */
const char *sequence_set_wrong(const struct sequence_set *s, struct arena *arena);

enum sequence_mode {
        SEQUENCE_INTERLEAVE, /* INCREMENT BY n, each region beginning at another number: odd and even, when there are two */
        SEQUENCE_RANGES,     /* each region a range of its own */
};
/* statement[k] for member k, beginning above every number that any region has given or holds. False, with *why, when there is no room
 * or it counts downwards. Pure. */
bool sequence_set_plan(const struct sequence_set *s, enum sequence_mode mode, struct arena *arena, const char **statement,
                       const char **why);

#endif
