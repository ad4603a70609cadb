/* mirror: copies another region's log into the own Kafka, record for record.  DESIGN 9.1.
 * A thread for each mirrored log; it shares nothing with the apply agent but the topology (read only) and its state, behind a lock.
 *
 * What is promised: the mirror's topic holds, from its first record on, everything that the source holds, in the source's order, each
 * record at least once.  It goes on, after whatever happened, from a source record that is surely delivered (pangea.mirror, at most a
 * second old), so that a part may be there twice, never missing; readers know by epoch and seq what they have had.  Two mirrors of one log
 * into one topic (a frozen one that thaws) do no harm for the same reason: behind any prefix of the log, an earlier part of it says nothing.
 * Before it goes on it holds the source against the end of its own topic: a hole (offset_gone) is a stop, not a copy.
 * Owner: the apply agent's thread.  The topology must outlive it. */
#ifndef PANGEA_APPLY_MIRROR_H
#define PANGEA_APPLY_MIRROR_H

#include "change/wire.h"
#include "topology/control.h"

struct mirrors;
struct mirror_state {
        const char *log; /* the region's name */
        enum agent_state state;
        int64_t since_us;
        struct err why;
        koffset_t source, mirrored; /* of the last record that is surely delivered; -1: none yet (mirrored: or Kafka did not say) */
};

/* One thread for each log that `me` mirrors; NULL when there is none. */
struct mirrors *mirrors_start(const struct topology *t, region_id me);
/* Ends and waits for all. NULL is fine. */
void mirrors_stop(struct mirrors *m);
/* The i-th; false: there is none. */
bool mirrors_look(struct mirrors *m, size_t i, struct mirror_state *out);
/* Is there one that has not stopped by name? */
bool mirrors_alive(struct mirrors *m);

/* How far a log has been seen: what a copy must connect to. */
struct mirror_tail {
        uint64_t epoch, seq; /* 0 = nothing yet */
};
/* Takes one record into account, as a reader would: false when records are missing before it. */
bool mirror_connects(struct mirror_tail *t, const struct record_head *h);

#endif
