/* standbys: how far the named physical standbys have flushed, and what may be published therefore (DESIGN 9.2).
 *
 *     WAL  ----- B1 .. C1 ---- B2 .. C2 ---- keepalive
 *                        ^ safe = the lowest flush position of the standbys
 *              published | held: the first message that passes `safe`, and with it everything behind it in the socket
 *
 * A transaction begins only when its commit record's first byte is flushed there, and is finished when its last one is: a standby may hold
 * half a record.  Without names nothing is ever held.  `safe` may step back, when a standby was made anew: what is decoded does not.
 * Pure. Owner: one capture session.  Thread: capture only. */
#ifndef PANGEA_CAPTURE_STANDBYS_H
#define PANGEA_CAPTURE_STANDBYS_H

#include "base/err.h"
#include "topology/topology.h"

struct standby_seen {
        bool connected;
        bool hidden; /* the run-time role may not see its position */
        lsn_t flush; /* 0: none said */
};

struct standbys {
        size_t n;
        const char *const *name; /* borrowed from the topology */
        struct standby_seen seen[STANDBYS_MAX];
        lsn_t safe;    /* every standby has flushed everything before it */
        lsn_t server;  /* what the primary itself had flushed at the last look */
        lsn_t need;    /* what the held message waits for; 0: nothing is held */
        lsn_t reached; /* between transactions: the slot's server has sent everything before it */

        int64_t looked_at, pause; /* clock_mono_us of the last look, 0: none yet; from then to the next one */
        unsigned passed;          /* messages since the last look */
        lsn_t mark;               /* a position of the primary that they have not flushed yet; 0: none */
        int64_t marked_at;        /* when it was the primary's */
};

void standbys_init(struct standbys *s, const struct region *r);
/* What must be flushed before this message of the stream is handled; 0: nothing (it neither begins nor ends a transaction, or the log
 * holds it already: it committed before `start`). */
lsn_t standbys_need(const uint8_t *p, size_t n, lsn_t start);
/* True: hold the message back. */
bool standbys_hold(struct standbys *s, lsn_t need);
/* As much of `at` as may be said to be decoded. */
lsn_t standbys_clip(const struct standbys *s, lsn_t at);
/* A look: seen[n], in the order of the names. */
void standbys_look(struct standbys *s, const struct standby_seen *seen, lsn_t server, int64_t now);
/* Microseconds until the next look; <= 0 now, INT64_MAX when there is nothing to look for. */
int64_t standbys_due_in(const struct standbys *s, int64_t now);
/* For more than a second something is not flushed there. */
bool standbys_late(const struct standbys *s, int64_t now);
/* Which one everything waits for, and why: standby_missing, standby_hidden or standby_behind. Only when late. */
enum status standbys_blame(const struct standbys *s, const char *region, struct err *e);

#endif
