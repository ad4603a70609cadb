/* wire: the log record, one byte layout: encode and decode side by side.        (layout: drawn in docs/log-format.md and below)
 *
 * [LAYOUT: to be drawn here by whoever writes wire.c]
 *
 * Bytes from Kafka are untrusted: every length is checked before anything is allocated, the CRC32C (ISA-L) first of all, unknown
 * versions, kinds and flags are refused.  Pure; an encoder belongs to one thread.
 * Fails: ST_DATA, saying what is wrong and at which byte; nothing is returned then. */
#ifndef PANGEA_CHANGE_WIRE_H
#define PANGEA_CHANGE_WIRE_H

#include "base/arena.h"
#include "base/buf.h"
#include "change/change.h"

#define WIRE_VERSION 1

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
struct wire_group *wire_group_new(size_t max_bytes); /* of one record */
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
MUSTCHECK enum status wire_group_finish(struct wire_group *g, struct buf *out, const struct record_head *h, hlc_t hlc, uint32_t chunk,
                                        bool last, const struct regset *regs, struct err *e);
/* The next chunk of the same transaction: forgets changes and relations, keeps the transaction begun last as number 0. */
void wire_group_next_chunk(struct wire_group *g);
/* A change larger than a record: encodes it alone (relation descriptor and all) into *whole; the caller cuts *whole into pieces and
 * writes each with wire_group_finish_fragment (g holds the transaction and no changes then). */
MUSTCHECK enum status wire_group_encode_large(struct wire_group *g, const struct change *c, struct buf *whole, struct err *e);
MUSTCHECK enum status wire_group_finish_fragment(struct wire_group *g, struct buf *out, const struct record_head *h, hlc_t hlc,
                                                 uint32_t chunk, bool last, const uint8_t *piece, uint32_t len, uint64_t at,
                                                 uint64_t total, const struct regset *regs, struct err *e);

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

/* One record as JSON text for people (`pangea event decode`); appended to *out. */
void wire_print(const struct record *r, const struct regset *regs, struct buf *out);

#endif
