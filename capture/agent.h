/* agent: the capture agent of one region: slot -> groups -> the region's log.  DESIGN 5.
 * capture_run blocks in its thread until it is asked to stop or stops by name.  It reconnects by itself, with back-off and jitter, when
 * PostgreSQL or Kafka are away; after every loss of the database session or a fatal producer error it starts from step 1 of DESIGN 5.
 * Returns ST_STOP (drained as asked) or ST_DATA / ST_FATAL / ST_CONFIG with a named stop in *e, already in pangea.status. */
#ifndef PANGEA_CAPTURE_AGENT_H
#define PANGEA_CAPTURE_AGENT_H

#include "topology/control.h"

MUSTCHECK enum status capture_run(const struct agent_opts *o, struct err *e);

#endif
