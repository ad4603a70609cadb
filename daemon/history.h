/* history: the last 15 minutes of this region, sampled from the metrics: what the page draws when it is opened.
 * Owner: http.c.  Thread: any (a lock within). */
#ifndef PANGEA_DAEMON_HISTORY_H
#define PANGEA_DAEMON_HISTORY_H

#include <jansson.h>

#include "topology/metrics.h"

#define HISTORY_STEP_S 5
#define HISTORY_SAMPLES 181

struct history;
/* regions are borrowed. */
struct history *history_new(const struct regset *regions, region_id me);
/* The same regions, in a topology that was read anew. */
void history_regions(struct history *h, const struct regset *regions);
void history_free(struct history *h);
/* Takes a sample when one is due at now_s (Unix seconds). */
void history_tick(struct history *h, struct metrics *m, double now_s);
/* {"step_seconds", "at": [..], "lag_seconds": {origin: [..]}, "applied_per_second": {origin: [..]}, "published_per_second": [..],
 * "capture_lag_seconds": [..]}; null where nothing is known. */
json_t *history_json(struct history *h);

#endif
