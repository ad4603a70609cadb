/* txread: the messages of the slot's stream -> transactions -> groups (DESIGN 5.3, 5.4).
 *
 *   B [O] .. C    A transaction comes whole, in commit order.  Its messages are kept until C and then encoded, so that a group only
 *                 ever holds whole transactions; when they pass the size of a record it becomes a group of its own and is encoded as it
 *                 comes.  One that the log already holds, and one that bears an origin of ours (it was applied here, so it only moves
 *                 the vector), is skipped: its rows are not even parsed.
 *
 * Owner: one capture session.  Thread: capture only.  Fails: ST_DATA stream_unreadable and the named stops of relcache; errors of groups. */
#ifndef PANGEA_CAPTURE_TXREAD_H
#define PANGEA_CAPTURE_TXREAD_H

#include "capture/groups.h"
#include "capture/pgoutput.h"
#include "capture/progress.h"
#include "capture/relcache.h"

enum tx_mode {
        TX_NONE,   /* between transactions */
        TX_KEPT,   /* its messages are kept in raw */
        TX_DIRECT, /* large: encoded as it comes */
        TX_SKIPPED,
};

struct txread {
        struct groups *groups; /* all borrowed */
        struct progress *progress;
        struct relcache *tables;
        struct regset *regs;
        const char *region;
        char origin_prefix[128]; /* pangea_<cluster>_<region>_ */
        region_id me;
        lsn_t start;        /* what committed before it is in the log */
        fullxid_t xid_near; /* a full xid of about now */
        size_t max_bytes;

        struct vector vec; /* what this region had applied at the place of the WAL that is reached */
        lsn_t decoded;     /* every commit before it is in a group, or published */

        enum tx_mode mode;
        struct txn txn;
        struct vector txn_vec;
        uint64_t txn_moves, group_moves; /* progress.vec_moves at the begin; of the transaction last put into a group */
        region_id origin;                /* whose transaction was applied here; REGION_NONE: local */
        bool mark, flush;
        struct buf raw; /* {length:4 bytes}* */
        size_t described, nchanges;
        uint64_t serial; /* of the transaction, for captured_table.seen */
        uint32_t last_oid;
        struct pgout_msg *msg;    /* owned */
        struct value *old_memory; /* owned */
        struct buf bits;          /* values in binary, of the change that is encoded now */
};

void txread_init(struct txread *t, struct groups *g, struct progress *p, struct relcache *tables, struct regset *regs);
void txread_release(struct txread *t);
MUSTCHECK enum status txread_message(struct txread *t, const uint8_t *p, size_t n, int64_t now, struct err *e);
/* A keepalive said that everything before it was sent. */
void txread_reached(struct txread *t, lsn_t at);
/* Closes the open group, if there is one; nothing while a large transaction is on its way. */
MUSTCHECK enum status txread_close(struct txread *t, struct err *e);

/* The region in an origin's name `pangea_<cluster>_<me>_<region>`; REGION_NONE when it is somebody else's. */
region_id origin_region(const char *name, const char *prefix, struct regset *regs);

#endif
