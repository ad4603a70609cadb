/* change: what a database committed, as plain data: relations, values, row changes, transactions, groups.
 * Everything points into an arena of whoever decoded it and is valid until that arena is reset (*borrowed* for everybody else).
 * Pure, any thread.  Source of the words: docs/architecture.md. */
#ifndef PANGEA_CHANGE_CHANGE_H
#define PANGEA_CHANGE_CHANGE_H

#include "change/vector.h"

/* One column as the origin had it when the change was made. */
struct column {
        const char *name;
        const char *type; /* schema-qualified name of the type, unquoted: "pg_catalog.int4", "public.mood" */
        bool key; /* one of the key columns (DESIGN 4.3: primary key, else identity index, else first usable unique index) */
};

/* The layout of a table. schema.name is the root of a partitioned table; leaf is where the row really was. */
struct relation {
        const char *schema, *name;
        const char *leaf_schema, *leaf_name; /* NULL unless the table is a partition */
        uint16_t ncols, nkeys;               /* nkeys 0: a table without a key */
        const struct column *cols;
        const uint16_t *keys; /* nkeys indexes into cols, in the order of the key index */
        bool full;            /* REPLICA IDENTITY FULL: old rows are whole, new rows are complete */
};

enum value_kind {
        VALUE_NULL,
        VALUE_TEXT,   /* the type's output, UTF-8, with the session settings of DESIGN 4.2 */
        VALUE_BINARY, /* the type's send format; only types listed in change/binary.h */
        VALUE_UNSENT, /* unchanged and out of line (TOAST): the stream did not carry it. Never for full relations. */
};

struct value {
        enum value_kind kind;
        uint32_t len;
        const uint8_t *data; /* len bytes, not 0-terminated; NULL for NULL and UNSENT */
};

enum change_op { CHANGE_INSERT, CHANGE_UPDATE, CHANGE_DELETE, CHANGE_TRUNCATE };
enum { CHANGE_OP_COUNT = CHANGE_TRUNCATE + 1 };

/* One row change.
 *   INSERT    row = the whole row, old = NULL
 *   UPDATE    row = the new row (unsent values possible unless rel->full), old = the old row when the key changed or the relation is
 *             full: ncols values, only the key columns of it unless rel->full (the others VALUE_UNSENT); else NULL
 *   DELETE    row = NULL, old = the old row: key columns, or all of it when rel->full
 *   TRUNCATE  row = old = NULL (one change per table) */
struct change {
        enum change_op op;
        const struct relation *rel;
        const struct value *row, *old;
        uint32_t tx; /* index into group.txs */
};

/* One source transaction. */
struct txn {
        fullxid_t xid; /* of the top transaction */
        lsn_t commit_lsn, end_lsn;
        int64_t commit_us;        /* raw commit time of the origin's database, Unix microseconds */
        const struct vector *vec; /* what its region had applied at its commit; the own component is 0 */
};

/* One group, or one chunk of it when the transaction was larger than a record. */
struct group {
        hlc_t hlc;
        uint32_t ntxs;
        const struct txn *txs;
        uint32_t nrels;
        const struct relation *rels;
        uint32_t nchanges;
        const struct change *changes;
        uint32_t chunk; /* 0, 1, 2 .. */
        bool last;      /* the last chunk (chunk 0 of an ordinary group is also its last) */
        /* A row larger than a record travels in fragments: this chunk then holds no changes but bytes of one encoded change, to be put
         * together by wire_fragment_*(). NULL otherwise. */
        const uint8_t *frag;
        uint32_t frag_len;
        uint64_t frag_at, frag_total; /* where these bytes belong, and how long the whole is */
};

const char *change_op_name(enum change_op op);
/* "schema.name", in arena memory of the caller's choice: writes into buf and returns it. */
const char *relation_str(char *buf, size_t size, const struct relation *rel);
/* The row that identifies the change: old when it is there, else row. */
static inline const struct value *change_key_row(const struct change *c)
{
        return c->old ? c->old : c->row;
}

#endif
