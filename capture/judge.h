/* judge: may this database's slot go on writing this log?  What the start has found out, held against the log (DESIGN 5.1, 5.2).
 * Judged anew at each start, before anything is published (a clone that published an EPOCH would fence the living capture), and again
 * when the own EPOCH has landed.  Pure.  Fails: the named stops of docs/errors.md. */
#ifndef PANGEA_CAPTURE_JUDGE_H
#define PANGEA_CAPTURE_JUDGE_H

#include "capture/tail.h"

/* Who wrote a log, or wants to. */
struct identity {
        char system_id[32], database[64], slot[64];
        uint32_t timeline;
};

struct judge_facts {
        const char *region;
        struct identity server, meta; /* the server now; what init stored (timeline unused) */
        bool has_last;                /* an EPOCH whose landing the database remembers is still in the log */
        struct identity last;         /* what it says */
        uint64_t counter;             /* pangea.capture.epoch, before it is moved */
        koffset_t low, high;          /* of the log */
        koffset_t landed;             /* pangea.capture.epoch_offset, -1 none */
        bool landed_wrong;            /* what stands there is not an EPOCH that this counter can have given */
        struct tail tail;
        lsn_t server_lsn;          /* flushed */
        lsn_t confirmed, base_lsn; /* of the slot; its consistent point at init */
        bool has_commit_us;        /* the database still knows the commit time of tail.xid */
        int64_t commit_us;
        fullxid_t next_xid; /* the first that the server has not given yet */
};

MUSTCHECK enum status judge_start(const struct judge_facts *f, struct err *e);

#endif
