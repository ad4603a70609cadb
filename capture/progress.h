/* progress: what a PROGRESS record says and when it is due (DESIGN 5.7): the vector, how far the WAL is decoded, and up to which xid
 * every transaction is finished.
 *
 * A pair (xmin, insert LSN) is read in one statement and may be said only when that LSN is decoded, because only flushed WAL is decoded:
 * after a crash of PostgreSQL an xid that was not flushed is used again.  Pairs die with the database session.
 * Pure. Thread: capture only. */
#ifndef PANGEA_CAPTURE_PROGRESS_H
#define PANGEA_CAPTURE_PROGRESS_H

#include "change/wire.h"

#define PROGRESS_PAIRS 32
#define PROGRESS_HEARTBEAT_US 1000000
#define PROGRESS_VECTOR_US 5000 /* how long a moved vector waits for a group to carry it */

struct xmin_pair {
        fullxid_t xmin;
        lsn_t lsn;
};

struct progress {
        struct xmin_pair waiting[PROGRESS_PAIRS]; /* ring, LSNs ascending; the newest beyond the ring's size are not kept */
        unsigned first, n;
        struct xmin_pair known; /* may be said */

        uint64_t vec_moves, vec_said; /* how often the vector moved; the count that the last record carried */
        int64_t moved_at;             /* clock_mono_us when it moved first since then */
        bool due_now;                 /* pangea.flush, or a server that asks before it shuts down */
        int64_t said_at;              /* of the last PROGRESS */
};

void progress_pair(struct progress *p, struct xmin_pair pair);
/* The newest pair whose LSN is decoded. */
struct xmin_pair progress_known(struct progress *p, lsn_t decoded);
void progress_moved(struct progress *p, int64_t now);
/* A record carried the vector as it was after this many moves. */
void progress_carried(struct progress *p, uint64_t moves);
/* Microseconds until a PROGRESS is due; <= 0: now. */
int64_t progress_due_in(const struct progress *p, int64_t now);
void progress_said(struct progress *p, int64_t now);

#endif
