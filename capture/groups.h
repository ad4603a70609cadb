/* groups: consecutive transactions become one record of the log, or one large transaction becomes several (DESIGN 5.4).
 *
 *      begin change* end  begin change* end   close          -> GROUP {tx, tx} chunk 0 last
 *      begin change* (full) change* (full) .. end            -> GROUP chunk 0, chunk 1 .. chunk n last, all with one HLC
 *
 * Whoever feeds it hands over whole transactions, or says beforehand that one is large: then what is open is closed first, so that a
 * large transaction is a group of its own.  The HLC of a group is taken when its first record is written:
 * max(previous + 1, newest raw commit time, highest HLC in the vector of its last transaction + 1).
 * Owner: one capture session.  Thread: capture only.  Fails with the errors of wire and outlet. */
#ifndef PANGEA_CAPTURE_GROUPS_H
#define PANGEA_CAPTURE_GROUPS_H

#include "capture/outlet.h"

/* Transactions that committed further apart than this do not share a group: its HLC is that of the newest, and after a pause of capture
 * (its host was away) old writes would otherwise count as written when it came back. Under load a group is full long before. */
#define GROUP_SPREAD_US 20000

/* Where finished records go: outlet_head and outlet_put, or a test's list. */
struct group_sink {
        struct record_head (*head)(void *ctx);
        enum status (*put)(void *ctx, const struct record_head *h, const struct buf *record, lsn_t confirms, struct err *e);
        void *ctx;
};

struct groups {
        struct wire_group *wire;
        struct buf record, whole; /* one record; one change that is larger than a record */
        struct group_sink sink;
        const struct regset *regs;
        size_t max_bytes;
        uint32_t max_rows;

        hlc_t hlc;    /* of the last group that was begun to be written */
        bool open;    /* between begin and end */
        bool chunked; /* a chunk of the open transaction has been written */
        uint32_t chunk;
        int64_t oldest_us, newest_us; /* raw commit times of the transactions in the group */
        struct vector vec;            /* of the transaction begun last */
        lsn_t end_lsn;                /* of the last finished transaction */

        uint64_t ngroups, ntxs, nrows; /* published since the start */
};

void groups_init(struct groups *g, const struct group_sink *sink, const struct regset *regs, size_t max_bytes, uint32_t max_rows);
void groups_release(struct groups *g);
/* estimate: an upper bound of the encoded transaction, SIZE_MAX for one whose end is not in sight; the open group is closed first when
 * both do not fit in one record. tx->end_lsn need not be known yet. */
MUSTCHECK enum status groups_begin(struct groups *g, const struct txn *tx, size_t estimate, struct err *e);
MUSTCHECK enum status groups_change(struct groups *g, const struct change *c, struct err *e);
/* Ends the transaction; closes the group when it is full, or when this transaction was chunked. */
MUSTCHECK enum status groups_end(struct groups *g, lsn_t commit_lsn, lsn_t end_lsn, struct err *e);
/* Writes what is there; nothing when nothing is. May not be called while a transaction is open. */
MUSTCHECK enum status groups_close(struct groups *g, struct err *e);
static inline bool groups_empty(const struct groups *g)
{
        return !g->open && wire_group_txs(g->wire) == 0;
}

#endif
