/* watch: what the agents of every region say about themselves, kept at hand for HTTP: a thread for each region, which reads its database
 * once a second while somebody asks, and sleeps otherwise.  A region that does not answer holds up nobody: what it said last is shown,
 * with how long ago that was.
 * Owner: http.c.  Thread: any.  The topology is borrowed until watch_stop. */
#ifndef PANGEA_DAEMON_WATCH_H
#define PANGEA_DAEMON_WATCH_H

#include "daemon/status.h"

struct watch;
struct watch *watch_start(const struct topology *t);
/* Whoever waits for an answer gets what there is, at once; nothing is read any more. */
void watch_end(struct watch *w);
/* Ends within moments, whatever a server does. NULL is fine. */
void watch_stop(struct watch *w);
/* The value of `pangea status --json`; waits up to 3 s for what was not read yet. */
json_t *watch_status(struct watch *w);
/* One region as it is now: calls fn with it, under the watch's lock. err.msg says when it was not read within 3 s. */
void watch_region(struct watch *w, region_id id, void (*fn)(void *ctx, const struct status_region *r), void *ctx);

#endif
