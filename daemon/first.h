/* first: a region's first `run` compares the regions and names the tables that differ (DESIGN 10.1): rows that were there before `init`
 * must have been the same everywhere, and nothing else would ever say that they were not.
 * It is a child process: however large the tables are, the agents' memory is their own. It waits until every region's daemons live, at most
 * ten minutes, logs what it finds, ends by itself, and ends with its parent. One region at a time does it.
 * Main thread only, before any other thread is started. */
#ifndef PANGEA_DAEMON_FIRST_H
#define PANGEA_DAEMON_FIRST_H

#include "topology/topology.h"

/* Never fails: what hinders it is logged. */
void first_compare(const struct topology *t, const struct region *me);

#endif
