/* run: the supervisor of one region's agents: a thread each, signals in the main thread, a new topology on SIGHUP.
 * Main thread only; the agents see struct control (topology/control.h) and nothing else of this. */
#ifndef PANGEA_DAEMON_RUN_H
#define PANGEA_DAEMON_RUN_H

#include "topology/control.h"

typedef enum status agent_main(const struct agent_opts *o, struct err *e);

struct run_opts {
        const char *file;          /* the topology, read again on SIGHUP */
        struct topology *topology; /* borrowed */
        const struct region *region;
        const char *http;            /* --http; may be NULL */
        agent_main *capture, *apply; /* NULL: this process does not run it */
        bool accept_rules;           /* topology/control.h */
        const char *allow_plugins;   /* likewise */
};

/* Runs until every agent has ended; the exit code. Signals must be blocked by run_block_signals() before any thread starts. */
int run_agents(const struct run_opts *o);
void run_block_signals(void);
/* May a running daemon of region `me` take `next` instead of `now`?  ST_CONFIG says why not. Pure. */
MUSTCHECK enum status run_may_change(const struct topology *now, const struct topology *next, region_id me, struct err *e);

#endif
