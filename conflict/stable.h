/* stable: which versions no conflict can touch any more.  DESIGN 6.6.  Pure. */
#ifndef PANGEA_CONFLICT_STABLE_H
#define PANGEA_CONFLICT_STABLE_H

#include "change/vector.h"

/* (o, h) is stable when the vector of every leader's log, at the position this region has applied (own log: processed), covers it:
 * *out is the component-wise minimum of seen[l] over the leaders (a bit per region). No leaders: nothing is stable. */
void stable_vector(const struct vector seen[MAX_REGIONS], uint32_t leaders, struct vector *out);

#endif
