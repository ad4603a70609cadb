/* relcache: relation oid -> the table as the log names it, from the stream's Relation messages and a look-up in the catalog at each:
 * root of a partition, key columns, type names (DESIGN 4.3).
 * The key is looked up, not taken from the message: under REPLICA IDENTITY FULL every column is flagged there.
 * Pointers given out are borrowed until relcache_sweep, so that one group can name two layouts of one table.
 * Owner: one capture session.  Thread: capture only; relcache_announce asks the catalog and waits for the answer.
 * Fails: ST_RETRY (connection), ST_DATA key_not_sent, identity_unfit; the cache is then unchanged. */
#ifndef PANGEA_CAPTURE_RELCACHE_H
#define PANGEA_CAPTURE_RELCACHE_H

#include "base/arena.h"
#include "base/map.h"
#include "capture/pgoutput.h"
#include "postgres/pg.h"

struct captured_table {
        struct arena arena; /* everything below lives in it */
        struct relation rel;
        uint32_t oid;
        uint8_t *binary;             /* enum binary_type of each column; NULL when all travel as text */
        bool identity_holds_key;     /* old rows carry every key column */
        size_t described;            /* bytes of its description in a record, about */
        uint64_t seen;               /* the transaction (by a counter) that met it last: for estimates */
        struct captured_table *next; /* in the list of the retired */
};

struct relcache {
        struct pg *pg; /* borrowed */
        const char *region;
        struct map tables; /* oid -> struct captured_table */
        struct captured_table *retired;
};

void relcache_init(struct relcache *c, struct pg *pg, const char *region);
void relcache_release(struct relcache *c);
/* A Relation message. (Whatever changes a table, its identity or the publication makes PostgreSQL announce it anew.) */
MUSTCHECK enum status relcache_announce(struct relcache *c, const struct pgout_msg *m, struct err *e);
/* NULL: never announced. */
struct captured_table *relcache_get(const struct relcache *c, uint32_t oid);
/* Frees what has been replaced. Only when no group is open. */
void relcache_sweep(struct relcache *c);

/* What the catalog says; pure part of relcache_announce. */
struct table_facts {
        bool found;
        const char *root_schema, *root_name; /* "" when not found */
        size_t nkeys;
        const char *const *keys;
        size_t ntypes;
        const uint32_t *type_oids;
        const char *const *type_names;
};
MUSTCHECK enum status captured_table_build(struct captured_table *t, const struct pgout_msg *m, const struct table_facts *f,
                                           const char *region, struct err *e);

#endif
