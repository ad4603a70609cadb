/* standing: what a row's xmin says about the version that stands, against an incoming change: what the slow path decides from.  DESIGN 6.3.
 * Pure: facts in, answer out; the row is locked, the own log is the caller's. (The fast path asks the same in SQL: apply/sql.c.) */
#ifndef PANGEA_CONFLICT_STANDING_H
#define PANGEA_CONFLICT_STANDING_H

#include "change/vector.h"

/* Of a locked row. */
struct standing_facts {
        uint32_t xmin;
        int64_t ts_us;  /* its commit timestamp, Unix microseconds; 0 = gone */
        region_id from; /* whose group wrote it; REGION_NONE: it was written locally (or by somebody else's replication) */
        bool mine;      /* written by the transaction that asks */
        bool old;       /* older than everything unstable */
};

/* Who asks. */
struct standing_view {
        region_id me;
        bool follower; /* a row written there by mistake is nobody's */
        struct dot incoming;
        const struct vector *seen; /* what the incoming version has seen; its own component is its own group */
        fullxid_t h;               /* H(seen[me]): every local xid below it is in a group that seen covers; 0 = not known */
        fullxid_t newest_xid;      /* not far from the present one: xmin has 32 bits only */
        bool greatest_dot_wins;    /* last write wins or manual, and no open siblings: the short cut is right */
};

enum standing_answer {
        STANDING_DOMINATED,      /* whatever it is, the incoming change has seen it (or nobody minds) */
        STANDING_DOT,            /* it is a version of another region, with this dot: compare */
        STANDING_ASK_OWN_LOG,    /* written locally: its dot is that of the last group in the own log that wrote its key */
        STANDING_TIMESTAMP_GONE, /* it is not older than everything unstable, and nobody can say whose it is (VACUUM FREEZE) */
        STANDING_WON_ALREADY,    /* written locally, and later than the incoming one, whatever its HLC will be */
};

enum standing_answer standing_judge(const struct standing_facts *f, const struct standing_view *v, struct dot *dot);

#endif
