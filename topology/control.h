/* control: what the supervisor (daemon/run.c) and one agent thread share: asking it to stop, handing it a new topology, and the words
 * for its state.  The agent's state itself goes to people through pangea.status (a JSON document, shape in docs/status.md).
 * Threads: stop, next and turned_us are atomic; metrics has a lock of its own; wake_fd is an eventfd that the supervisor writes and the agent polls. */
#ifndef PANGEA_TOPOLOGY_CONTROL_H
#define PANGEA_TOPOLOGY_CONTROL_H

#include <stdatomic.h>

#include "base/clock.h"
#include "topology/topology.h"

struct metrics;

enum stop_level {
        STOP_NO,    /* run */
        STOP_DRAIN, /* finish what is begun, publish and report what is decoded, end within drain_timeout */
        STOP_NOW,   /* end at once; everything is in PostgreSQL and Kafka anyway */
};

/* The words for states, the same in CLI, log, /status and UI. */
enum agent_state {
        STATE_STARTING,    /* connecting, taking the slot, reading the log's tail */
        STATE_RUNNING,     /* only on proof of movement: a heartbeat passed within the last seconds */
        STATE_CATCHING_UP, /* moving, but behind */
        STATE_WAITING,     /* for something that may come by itself or by an operator: says for what */
        STATE_PAUSED,      /* by an operator: `pangea resume` */
        STATE_STOPPED,     /* by name; does not go on before somebody has done something */
};
enum { STATE_COUNT = STATE_STOPPED + 1 };
/* "starting" "running" "catching up" "waiting" "paused" "stopped" */
const char *state_name(enum agent_state s);

struct control {
        _Atomic int stop;                /* enum stop_level */
        _Atomic(struct topology *) next; /* SIGHUP: the agent exchanges it for NULL at a group boundary, frees its old one */
        int wake_fd;
        const char *allow_plugins; /* run --allow-plugins DIR; NULL: none may be loaded */
        bool accept_rules;         /* run --accept-rules: rules that add up may change, the tables are quiet */
        struct metrics *metrics;   /* borrowed; NULL: nobody looks (topology/metrics.h) */
        _Atomic int64_t turned_us; /* monotonic: when the agent's loop turned last; CONTROL_WAITS while PostgreSQL has its thread */
};

#define CONTROL_WAITS INT64_MAX
/* The agent's loop turns: said often enough that a supervisor can tell a loop that hangs from one that waits. */
static inline void control_turned(struct control *c)
{
        atomic_store_explicit(&c->turned_us, clock_mono_us(), memory_order_relaxed);
}

#define CONTROL_HANGS_US INT64_C(120000000)
/* Its loop has not turned for so long that it never will: a bug, or a thread that the system does not run. */
static inline bool control_hangs(struct control *c, int64_t now_us)
{
        int64_t at = atomic_load_explicit(&c->turned_us, memory_order_relaxed);
        return at != CONTROL_WAITS && at < now_us - CONTROL_HANGS_US;
}

/* What an agent's main function gets. The agent owns *topology from the call on (and every later one) and frees it. */
struct agent_opts {
        struct topology *topology;
        region_id me;
        struct control *control;
};

#endif
