/* status: a thread that keeps the capture agent's row of pangea.status (docs/status.md): once a second and at each change of state.  It also looks
 * whether somebody has paused the agent (topology/pause.h).
 * It has a connection of its own, so that it still tells when the capture thread waits; while PostgreSQL is away nothing can be told.
 * Owner: the agent.  Everything else is borrowed until status_stop. */
#ifndef PANGEA_CAPTURE_STATUS_H
#define PANGEA_CAPTURE_STATUS_H

#include "base/buf.h"
#include "capture/gauges.h"

struct status_thread {
        pthread_t thread;
        bool started;
        const struct region *region;
        const struct regset *names; /* of the regions */
        struct control *control;    /* woken when somebody pauses or resumes */
        struct view *view;
        struct gauges gauges;
};

void status_start(struct status_thread *s, const struct region *region, const struct regset *names, struct control *control,
                  struct view *view);
/* Writes the last state and ends; bounded by the connection's own time limits. */
void status_stop(struct status_thread *s);
/* The row at once (lag_bytes: as below), from the caller's thread and connection: after it whoever looks knows that the agent lives. */
MUSTCHECK enum status status_tell(struct view *v, struct pg *c, int64_t lag_bytes, struct err *e);
/* The document as JSON; lag_bytes is how far the WAL's end is ahead of what is decoded (a running agent far behind is catching up).
 * Takes the lock. */
void status_doc(struct view *v, int64_t lag_bytes, struct buf *out);

#endif
