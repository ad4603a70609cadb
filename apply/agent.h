/* agent: the apply agent of one region: every other region's log (and its own) -> the region's database.  DESIGN 6.
 * apply_run blocks in its thread until it is asked to stop, or every origin has stopped by name.  It reconnects by itself, with
 * back-off and jitter; after a loss of the database session it forgets everything and starts from pangea.position.
 * In a follower it also publishes EPOCH and PROGRESS into the region's log.
 * Returns ST_STOP (drained as asked) or ST_DATA / ST_FATAL / ST_CONFIG with a named stop in *e, already in pangea.status. */
#ifndef PANGEA_APPLY_AGENT_H
#define PANGEA_APPLY_AGENT_H

#include "topology/control.h"

MUSTCHECK enum status apply_run(const struct agent_opts *o, struct err *e);

#endif
