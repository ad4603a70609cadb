/* sql: the set-based statements of apply, one for each (table, operation, set of columns), over unnest arrays.  DESIGN 6.2, 6.3.
 *
 * The guard stands in the WHERE of the statement: a row may be overwritten when its version is dominated,
 *
 *     age(t.xmin) > age(S)                                  older than everything unstable
 *     t.xmin = this transaction                             written by an earlier chunk or segment of the group
 *     origin o of t.xmin, timestamp <= V[o]                 (V[A] = infinity for the group's own origin A)
 *     no origin of ours, age(t.xmin) > age(H(V[me]))        local, and covered
 *
 * so no row is read first.  V is the vector of the first transaction of the group: a lower bound for all of it; a row it does not let
 * through goes the slow path, which is exact.  Values are parameters only.  Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_SQL_H
#define PANGEA_APPLY_SQL_H

#include "apply/fold.h"
#include "apply/session.h"

enum sql_kind {
        SQL_INSERT,     /* of a table without a key, or of keys that are taken to be absent: 23505 when one is not */
        SQL_UPSERT,     /* INSERT .. ON CONFLICT (key) DO UPDATE */
        SQL_PUT_ABSENT, /* INSERT .. ON CONFLICT (key) DO NOTHING */
        SQL_UPDATE,
        SQL_DELETE,
        SQL_LOCK,        /* the rows of these keys, locked in key order, with what their xmin says */
        SQL_LOCK_OTHERS, /* likewise, without those that this transaction has written */
};

/* Origins of this region's database: local id of each region's replication origin. */
struct sql_origins {
        const struct regset *regs;
        region_id me;
        uint32_t roident[MAX_REGIONS]; /* 0 = none */
};

/* What the guard compares with. */
struct sql_guard {
        uint32_t stable_xid;     /* S */
        uint32_t h_xid;          /* H, 0 = none: no local row is known to be covered */
        int64_t hlc_us;          /* of the incoming group: no local version that it covers can be later */
        int64_t ts[MAX_REGIONS]; /* per region: highest HLC that is covered, Unix microseconds; INT64_MAX = all */
};

/* Columns of the locked rows, in order. */
enum lock_column {
        LOCK_N,
        LOCK_XMIN,
        LOCK_TS_US,
        LOCK_ORIGIN,
        LOCK_MINE,
        LOCK_OLD,
        LOCK_IMAGE /* of a rule with siblings: the columns of a version, in order */
};

/* What a locked row's xmin says; the hole (%u) is the number of the parameter S.  The timestamp and its origin are asked in the select list, not
 * in a LATERAL join: when the lock had to wait, PostgreSQL evaluates the select list anew for the row as it is now, but joins it with the
 * function's result for the row as it was. */
#define SQL_LOCK_COLUMNS                                                                                                                       \
        "t.xmin::text::pg_catalog.int8,"                                                                                                       \
        " (SELECT (EXTRACT(EPOCH FROM c.timestamp) * 1000000)::pg_catalog.int8 FROM pg_catalog.pg_xact_commit_timestamp_origin(t.xmin) AS c)," \
        " (SELECT COALESCE(c.roident, 0)::pg_catalog.int8 FROM pg_catalog.pg_xact_commit_timestamp_origin(t.xmin) AS c),"                      \
        " COALESCE(t.xmin = pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid, false),"                                              \
        " COALESCE(pg_catalog.age(t.xmin) > pg_catalog.age($%u) OR pg_catalog.age(t.xmin) < 0"                                                 \
        " AND (SELECT c.timestamp IS NULL FROM pg_catalog.pg_xact_commit_timestamp_origin(t.xmin) AS c), false)"

struct sql_batch {
        enum sql_kind kind;
        const struct fold_table *table;
        struct net *const *nets;
        uint32_t n;
        const struct sql_guard *guard; /* NULL: no guard */
        bool tell;                     /* of an update or delete: the result has the number of each net that was written */
};

/* Sends one statement for all nets of the batch, which carry the same columns (see sql_same_columns). */
MUSTCHECK enum status sql_send(struct session *s, const struct sql_origins *o, const struct sql_batch *b, on_result *fn, void *arg,
                               struct err *e);
/* The prepared statement of a table that goes by this shape; a new one when there is none yet. NULL: the table has too many. */
struct stmt *target_stmt(struct target *t, const void *shape, size_t len);
/* The statements of a TRUNCATE: delete what the guard lets through; lock the rest (columns of enum lock_column, then tableoid and ctid);
 * qualified is the table or the leaf. They are sent without being prepared. */
MUSTCHECK enum status sql_send_truncate(struct session *s, const struct sql_origins *o, const struct target *t,
                                        const char *qualified, const struct sql_guard *g, on_result *fn, void *arg, struct err *e);
MUSTCHECK enum status sql_send_lock_all(struct session *s, const struct target *t, const char *qualified, const struct sql_guard *g,
                                        on_result *fn, void *arg, struct err *e);
/* keyless.c. One update or delete of a table without a key: the first row that equals the old one. */
MUSTCHECK enum status sql_send_keyless(struct session *s, const struct mapping *m, const struct change *c, on_result *fn, void *arg,
                                       struct err *e);
/* Do two rows carry the same columns (none of them unsent in one only)? */
bool sql_same_columns(const struct relation *rel, const struct value *a, const struct value *b);

#endif
