/* wire: the log record, one byte layout, encode and decode side by side.  docs/log-format.md tells the same to other readers, with an
 * example.  Numbers are big-endian; v = varint (LEB128), z = zigzag varint of a difference (wraps at 64 bits), s = string with its final 0.
 *
 *   every record                                  GROUP
 *   +----+-----------------------------------+    +----+--------------------------------------------------------------+
 *   |  0 | "PGEA"                            |    |  1 | flags: 1 last chunk, 2 fragment                              |
 *   |  4 | CRC32C of all bytes from 8 on     |    |  8 | HLC                                                          |
 *   |  8 | version = 1                       |    |  v | chunk number                                                 |
 *   |  9 | kind: 1 EPOCH 2 GROUP             |    |  v | transactions, v vectors among them                           |
 *   |    |       3 PROGRESS 4 MARKER         |    |  * | transaction: flags (1 a vector follows, else the same as     |
 *   | 10 | flags (2 bytes) = 0               |    |    |   before), z xid, z commit LSN, z end LSN - commit LSN,      |
 *   | 12 | epoch (8)                         |    |    |   z commit time (the first: less the HLC), [vector]          |
 *   | 20 | seq (8)                           |    |    | vector: v n, n x (1 region, z less the vector before)        |
 *   | 28 | incarnation (4)                   |    +----+--- fragment: ------------------------------------------------+
 *   | 32 | rules generation (4)              |    |  v | place in the whole, v length of the whole, then the bytes    |
 *   | 36 | n regions, n x (1 length, name);  |    +----+--- else: -----------------------------------------------------+
 *   |    | 0 is the region of this log;      |    |  v | relations, v changes, v values (of all rows as decoded)      |
 *   |    | vectors name regions by place     |    |  * | relation: flags (1 leaf, 2 full), s schema, s name,          |
 *   |    | in this table, ascending          |    |    |   [s leaf schema, s leaf name], v columns, v keys,           |
 *   +----+-----------------------------------+    |    |   v column of each key, each column: s name, s type          |
 *                                                 |  * | change: flags, [v relation], [v transactions to step],       |
 *   EPOCH     1 writes, 1 reads from, 1 to,       |    |   [row], [old row]                                           |
 *             s system id, 4 timeline,            |    |   flags: 1|2 operation, 4 old row, 8 of it only the key      |
 *             s database, s slot, 8 wall clock    |    |   columns in key order, 16 relation follows (else as         |
 *   PROGRESS  vector (against zero), 8 decoded    |    |   before), 32 step follows; 64 (changed-column bitmap) and   |
 *             LSN, 8 xmin, 8 its LSN, 8 wall      |    |   128 (key and dot only) are reserved and refused            |
 *   MARKER    s what, s text (JSON)               |    | value: v length * 4 + kind (0 NULL 1 text 2 binary           |
 *                                                 |    |   3 unsent), bytes; NULL and unsent have length 0            |
 *   a large change, out of its fragments:         +----+--------------------------------------------------------------+
 *   v values, relation, change
 *
 * Bytes from Kafka are untrusted: the CRC32C (ISA-L) is checked first of all, every count against the bytes that are left (values: against
 * WIRE_VALUES_MAX) before anything is allocated; unknown versions, kinds and flags are refused, and so is what is left over at the end.
 * Decoding takes 16 bytes for each value and less than 64 for each byte of the record.  Pure; an encoder belongs to one thread.
 * Fails: ST_DATA, named record_damaged or record_version, saying what is wrong and at which byte; *out is then empty. */
#ifndef PANGEA_CHANGE_WIRE_H
#define PANGEA_CHANGE_WIRE_H

#include "base/arena.h"
#include "base/buf.h"
#include "change/change.h"

#define WIRE_VERSION 1
#define WIRE_VALUES_MAX (1u << 20) /* in one record: bounds what decoding allocates */

enum record_kind { RECORD_EPOCH = 1, RECORD_GROUP, RECORD_PROGRESS, RECORD_MARKER };

/* What every record begins with. */
struct record_head {
        enum record_kind kind;
        uint64_t epoch;
        uint64_t seq; /* GROUP chunks and PROGRESS count on over epochs; an EPOCH or MARKER carries 0 */
        region_id region;
        uint32_t incarnation;
        uint32_t generation; /* of the conflict rules */
};

/* Published when a capture agent (or, in a follower, an apply agent) starts: fences every record of a lower epoch behind it. */
struct record_epoch {
        uint8_t writes, reads_min, reads_max; /* record versions */
        const char *system_id;                /* IDENTIFY_SYSTEM */
        uint32_t timeline;
        const char *database, *slot; /* slot "" for a follower */
        int64_t wall_us;
};

/* Heartbeat and acknowledgement: what this region has applied and decoded. */
struct record_progress {
        struct vector vec; /* own component: HLC of the last group in this log */
        lsn_t decoded;     /* every commit before it is in this log */
        fullxid_t xmin;    /* pg_snapshot_xmin read before xmin_lsn, 0 = none known */
        lsn_t xmin_lsn;    /* the insert position read in the same statement */
        int64_t wall_us;   /* wall clock of the region when it was made */
};

/* A note in the log that changes how what follows is read (rules generation, region added or removed). */
struct record_marker {
        const char *what; /* "rules", .. */
        const char *text; /* JSON */
};

struct record {
        struct record_head head;
        union {
                struct record_epoch epoch;
                struct record_progress progress;
                struct record_marker marker;
                struct group group;
        } u;
};

/* Encoders append one whole record to *out (which is reset first). ST_DATA: larger than out->max. */
MUSTCHECK enum status wire_encode_epoch(struct buf *out, const struct record_head *h, const struct record_epoch *r,
                                        const struct regset *regs, struct err *e);
MUSTCHECK enum status wire_encode_progress(struct buf *out, const struct record_head *h, const struct record_progress *r,
                                           const struct regset *regs, struct err *e);
MUSTCHECK enum status wire_encode_marker(struct buf *out, const struct record_head *h, const struct record_marker *r,
                                         const struct regset *regs, struct err *e);

/* A group is encoded as it is decoded from the stream: transactions, relations and changes are appended while they arrive, so that a
 * change is copied once.  One wire_group is used again for every group. */
struct wire_group;
#define WIRE_RECORD_MIN 4096
struct wire_group *wire_group_new(size_t max_bytes); /* of one record; at least WIRE_RECORD_MIN */
void wire_group_free(struct wire_group *g);
void wire_group_reset(struct wire_group *g); /* forget everything: the next group */
/* Begin a transaction; the changes that follow are its. (vec is copied) */
void wire_group_begin_tx(struct wire_group *g, const struct txn *tx, const struct regset *regs);
/* The commit's end and LSNs are known only at its end: sets them for the transaction begun last. */
void wire_group_end_tx(struct wire_group *g, lsn_t commit_lsn, lsn_t end_lsn);
/* Appends a change of the transaction begun last. rel must be the same pointer for the same layout while it is used in this group
 * (the descriptor is written once per record).  Returns ST_OK; ST_RETRY when the record would pass max_bytes (nothing was appended:
 * finish this chunk, reset, and append again); ST_DATA when this change alone is larger than a record: use wire_group_fragment. */
enum status wire_group_add(struct wire_group *g, const struct change *c);
/* Bytes and rows gathered so far. */
size_t wire_group_bytes(const struct wire_group *g);
uint32_t wire_group_rows(const struct wire_group *g);
uint32_t wire_group_txs(const struct wire_group *g);
/* Writes the record: head, hlc, chunk number, whether it is the last.  Does not reset g. */
MUSTCHECK enum status wire_group_finish(struct wire_group *g, struct buf *out, const struct record_head *h, hlc_t hlc,
                                        uint32_t chunk, bool last, const struct regset *regs, struct err *e);
/* The next chunk of the same transaction: forgets changes and relations, keeps the transaction begun last as number 0. */
void wire_group_next_chunk(struct wire_group *g);
/* A change larger than a record: encodes it alone (relation descriptor and all) into *whole; the caller cuts *whole into pieces and
 * writes each with wire_group_finish_fragment (g holds the transaction and no changes then). */
MUSTCHECK enum status wire_group_encode_large(struct wire_group *g, const struct change *c, struct buf *whole, struct err *e);
MUSTCHECK enum status wire_group_finish_fragment(struct wire_group *g, struct buf *out, const struct record_head *h, hlc_t hlc,
                                                 uint32_t chunk, bool last, const uint8_t *piece, uint32_t len, uint64_t at,
                                                 uint64_t total, const struct regset *regs, struct err *e);

/* Puts the bytes of one fragment behind those that came before it; the first (at 0) resets *whole, whose max bounds the change. *done says
 * that all are there: wire_decode_large. ST_DATA: a piece is missing, or the change is larger than whole->max. */
MUSTCHECK enum status wire_fragment_add(struct buf *whole, const struct group *piece, bool *done, struct err *e);

/* Decodes one record. Strings and values point into p (borrowed, as long as p lives), everything else into the arena. Regions that the
 * record names are added to *regs. */
MUSTCHECK enum status wire_decode(const uint8_t *p, size_t n, struct regset *regs, struct arena *arena, struct record *out,
                                  struct err *e);
/* Only the head (and for a GROUP its HLC, chunk and last, for PROGRESS and EPOCH all): cheap; changes are not decoded, group.changes is
 * NULL, group.txs are there.  CRC checked. */
MUSTCHECK enum status wire_decode_head(const uint8_t *p, size_t n, struct regset *regs, struct arena *arena, struct record *out,
                                       struct err *e);
/* Decodes a change that came in fragments, once all its bytes are there (values point into p). */
MUSTCHECK enum status wire_decode_large(const uint8_t *p, size_t n, struct arena *arena, struct change *out, struct err *e);

/* Sets the CRC of a record of n bytes that was changed by hand (tests, fuzzing). */
void wire_seal(uint8_t *p, size_t n);

/* One record as JSON text for people (`pangea event decode`); appended to *out. */
void wire_print(const struct record *r, const struct regset *regs, struct buf *out);

#endif
