/* retain: deletes from the own log what is older than `log.retention` and what every leader has applied (the region's own position:
 * processed, stable, and applied by every follower, DESIGN 6.1 and 9).  Thread: the caller's; it may wait for Kafka's answers.
 * Fails: errors of pg and kafka; nothing is deleted then. */
#ifndef PANGEA_CAPTURE_RETAIN_H
#define PANGEA_CAPTURE_RETAIN_H

#include "postgres/pg.h"
#include "topology/topology.h"

MUSTCHECK enum status retain_log(struct pg *c, const struct topology *topo, region_id me, struct err *e);

#endif
