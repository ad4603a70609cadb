/* metrics: every metric of the daemon as one const table: the agents and the HTTP server fill it (base/metrics.h), docs/metrics.md is
 * printed from it.  Pure; any thread. */
#ifndef PANGEA_TOPOLOGY_METRICS_H
#define PANGEA_TOPOLOGY_METRICS_H

#include "base/metrics.h"
#include "topology/control.h"

enum metric {
        /* the process */
        METRIC_BUILD_INFO,
        METRIC_START_TIME,
        METRIC_CPU_SECONDS,
        METRIC_MEMORY,
        METRIC_FILES,
        METRIC_HTTP_REQUESTS,
        METRIC_SERIES_DROPPED,
        METRIC_EVENTS,
        /* the agents */
        METRIC_AGENT_STATE,
        METRIC_AGENT_STATE_AGE,
        METRIC_AGENT_LOOP_AGE,
        METRIC_AGENT_PROOF_AGE,
        METRIC_AGENT_SESSIONS,
        /* capture */
        METRIC_CAPTURE_LAG_SECONDS,
        METRIC_CAPTURE_LAG_BYTES,
        METRIC_CAPTURE_TRANSACTIONS,
        METRIC_CAPTURE_GROUPS,
        METRIC_CAPTURE_ROWS,
        METRIC_CAPTURE_BYTES,
        METRIC_CAPTURE_EPOCH,
        METRIC_PRODUCER_QUEUE,
        METRIC_TABLES_WAITING,
        METRIC_SLOT_ACTIVE,
        METRIC_SLOT_RETAINED_BYTES,
        METRIC_SLOT_ROOM_BYTES,
        METRIC_SLOT_FULL_SECONDS,
        METRIC_SLOT_SPILL_TRANSACTIONS,
        METRIC_SLOT_SPILL_BYTES,
        /* apply, for each origin */
        METRIC_ORIGIN_STATE,
        METRIC_ORIGIN_STATE_AGE,
        METRIC_LAG_SECONDS,
        METRIC_LAG_RECORDS,
        METRIC_LAG_BYTES,
        METRIC_CAUSAL_WAITING,
        METRIC_CAUSAL_WAIT,
        METRIC_APPLY_TRANSACTIONS,
        METRIC_APPLY_GROUPS,
        METRIC_APPLY_ROWS,
        METRIC_APPLY_TABLE_ROWS,
        METRIC_APPLY_RETRIES,
        METRIC_COMMIT_TO_APPLY,
        METRIC_CLOCK_AHEAD,
        METRIC_LOG_EPOCH,
        METRIC_LOG_OFFSET,
        /* apply, of the region */
        METRIC_CONFLICTS,
        METRIC_TOMBSTONES,
        METRIC_SIBLINGS_OPEN,
        METRIC_MANUAL_WAITING,
        METRIC_UNSTABLE_SECONDS,
        METRIC_HOLDS_STABILITY,
        METRIC_TIMESTAMPS_STATE,
        METRIC_TIMESTAMPS_LEFT,
        METRIC_LOG_KEPT_FOR,
        METRIC_MIRROR_STATE,
        METRIC_MIRROR_OFFSET,
};
enum { METRIC_COUNT = METRIC_MIRROR_OFFSET + 1 };

extern const struct metric_row metric_table[METRIC_COUNT];

/* One series for each state: 1 for the one that it is, 0 for the others. The row's labels are `who` and "state". */
void metrics_state(struct metrics *m, enum metric row, const char *who, enum agent_state state);
/* What ended a session, as a label: the error's name, else postgres (it has an SQLSTATE), else other. */
const char *metrics_class(const struct err *e);
/* docs/metrics.md */
void metrics_markdown(struct buf *out);

#endif
