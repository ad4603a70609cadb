/* mirror_trim: what retention has deleted from a log is deleted from its mirrors too, so that a mirror's topic does not grow for ever.
 * The source's region deletes only what every region has applied and what is stable (log.retention, capture/retain.h): nobody needs it in a
 * copy either.  Offsets differ, and a copy may hold a record twice: the place is found by Kafka's timestamps, which a mirror takes over from the
 * source, less a margin, and believed only when the records before it come before the source's first one by epoch and seq.
 * One thread for all mirrors of a region, beside theirs: a connection that hangs must not hold up a copy.  The topology must outlive it. */
#ifndef PANGEA_APPLY_MIRROR_TRIM_H
#define PANGEA_APPLY_MIRROR_TRIM_H

#include "change/wire.h"
#include "topology/topology.h"

struct mirror_trim;
/* NULL when `me` mirrors nothing. */
struct mirror_trim *mirror_trim_start(const struct topology *t, region_id me);
void mirror_trim_stop(struct mirror_trim *m); /* ends and waits; NULL is fine */

/* May whatever ends with this record go, when the source begins with first? Pure. */
bool mirror_trim_may_go(const struct record_head *first, const struct record_head *last);

#endif
