/* adopt: a thread that keeps the publication as the routes want it (DESIGN 5.8) and the log as long as `log.retention` says (DESIGN 9):
 * every two seconds it plans the tables and adopts what has appeared; every minute, or twice in a short
 * `log.retention`, it deletes records that are old and that nobody needs.  It has a connection of its own, because both may wait.  Tables that wait are told to the view.
 * Owner: the agent.  Topology and view are borrowed until adopt_stop. */
#ifndef PANGEA_CAPTURE_ADOPT_H
#define PANGEA_CAPTURE_ADOPT_H

#include "capture/view.h"

struct adopt_thread {
        pthread_t thread;
        bool started;
        const struct topology *topo;
        region_id me;
        struct view *view;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool end;
        struct pg *pg; /* under the lock, for adopt_stop to cancel what it waits for */
};

void adopt_start(struct adopt_thread *a, const struct topology *topo, region_id me, struct view *view);
void adopt_stop(struct adopt_thread *a);

#endif
