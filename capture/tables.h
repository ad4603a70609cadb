/* tables: every table of a region's database that a route names: what it needs to be published (DESIGN 4.3, 5.8, 7), what is missing,
 * and the statements that mend it.  Used by `pangea init` and by the running capture agent (adoption).
 * Plain data in the caller's arena.  Thread: whoever owns the connection. */
#ifndef PANGEA_CAPTURE_TABLES_H
#define PANGEA_CAPTURE_TABLES_H

#include "base/arena.h"
#include "postgres/pg.h"
#include "topology/topology.h"

enum table_state {
        TABLE_PUBLISHED, /* as it should be */
        TABLE_TO_ADOPT,  /* can be published with the statements of the plan */
        TABLE_WAITS,     /* cannot: why and todo say it */
        TABLE_NOT_SENT,  /* routed, but this region does not write it (follower, or not in `from`): needs no publication */
};

struct table_leaf {
        const char *schema, *name;
        bool keyed; /* its rows can be touched by an UPDATE that the stream carries whole */
};

struct table_plan {
        const char *schema, *name; /* the root of a partitioned table */
        enum table_state state;
        const char *why, *todo; /* for TABLE_WAITS: what is wrong, and the command that mends it */
        const char *owner;      /* the role whose member the run-time role must be; NULL when the table does not exist */
        bool missing;           /* named literally by a route, and not there */
        bool unfit;             /* waits because the topology asks what cannot be: an error of `init` */
        bool partitioned, has_rows;
        size_t ntouch; /* tables or leaves that the statements put into the publication: adoption touches their rows */
        const struct table_leaf *touch;
        bool sets_full; /* the statements set REPLICA IDENTITY FULL on it (and its leaves) */
        size_t nstatements;
        size_t nbefore;                /* of them: before rows are taken out (identity, DROP TABLE); the rest publishes */
        const char *const *statements; /* in order, without the LOCK: REPLICA IDENTITY, ALTER PUBLICATION .. */
};

/* Looks at the catalog and plans every routed table; a literal table of a route that does not exist becomes a TABLE_WAITS entry ("does
 * not exist"). Writes nothing. Outside of a transaction only (a filter is tried out in one that is rolled back).
 * Statements may stand in every state: a table that no route names any more is TABLE_NOT_SENT and leaves the publication; one that lost
 * its key waits, and gets FULL so that the application's UPDATE does not fail. So whoever keeps tables in order adopts every entry
 * with nstatements > 0. */
MUSTCHECK enum status tables_plan(struct pg *c, const struct topology *t, region_id me, struct arena *arena,
                                  struct table_plan **out, size_t *n, struct err *e);
/* Adopts one table that appeared on a running system, as DESIGN 5.8 says, in one transaction (lock_timeout 1 s: ST_RETRY).
 * max_rows bounds the table whose rows are touched; above it ST_DATA "waits for bootstrap". */
MUSTCHECK enum status tables_adopt(struct pg *c, const struct topology *t, region_id me, const struct table_plan *p,
                                   int64_t max_rows, struct err *e);

#endif
