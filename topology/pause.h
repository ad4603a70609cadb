/* pause: what an operator has paused in a region (`pangea pause`), as the region's database keeps it: pangea.pause.  Both agents read it by
 * this, several times a second, and the commands too.
 * Plain data.  Thread: whoever owns the connection. */
#ifndef PANGEA_TOPOLOGY_PAUSE_H
#define PANGEA_TOPOLOGY_PAUSE_H

#include "postgres/pg.h"
#include "topology/topology.h"

#define PAUSE_LOOK_US INT64_C(400000) /* an agent obeys within a second */

struct pause {
        bool on;
        int64_t since_us;       /* wall clock; 0 when not on */
        char by[100], why[300]; /* who; the reason that was given, "" = none */
};

struct pauses {
        bool read;                        /* looked at once */
        bool no_table;                    /* the schema is older: nothing can be paused */
        struct pause agent;               /* all of it */
        struct pause origin[MAX_REGIONS]; /* only what one region wrote; by region id */
};

/* Of one agent, "capture" or "apply". Begin with {0}, once for each connection. *out is as before when it fails. */
MUSTCHECK enum status pauses_read(struct pg *c, const struct regset *names, const char *agent, struct pauses *out, struct err *e);
/* *e becomes what status shows: ST_RETRY paused, "paused by .. since ..: reason; <the command that resumes>". origin NULL: the agent. */
void pause_words(const struct pause *p, const char *region, const char *agent, const char *origin, struct err *e);

#endif
