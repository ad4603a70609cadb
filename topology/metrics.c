#include "topology/metrics.h"

/* The order here is the order in /metrics and docs/metrics.md. */
const struct metric_row metric_table[METRIC_COUNT] = {
        [METRIC_BUILD_INFO] = {"pangea_build_info", METRIC_GAUGE, {"version", "cluster"}, "1; the labels say what runs."},
        [METRIC_START_TIME] = {"pangea_start_time_seconds", METRIC_GAUGE, {0}, "When this process started, Unix time."},
        [METRIC_CPU_SECONDS] = {"pangea_process_cpu_seconds_total",
                                METRIC_COUNTER,
                                {0},
                                "CPU time of this process, user and system."},
        [METRIC_MEMORY] = {"pangea_process_resident_memory_bytes", METRIC_GAUGE, {0}, "Memory that this process has in RAM."},
        [METRIC_FILES] = {"pangea_process_open_fds", METRIC_GAUGE, {0}, "Open file descriptors of this process."},
        [METRIC_HTTP_REQUESTS] = {"pangea_http_requests_total", METRIC_COUNTER, {"path", "code"}, "Answers of the HTTP server."},
        [METRIC_SERIES_DROPPED] = {"pangea_metric_series_dropped_total",
                                   METRIC_COUNTER,
                                   {0},
                                   "Values that are not shown because their metric has 5000 series already (tables, most likely)."},
        [METRIC_EVENTS] = {"pangea_log_events_total", METRIC_COUNTER, {"level"}, "Lines of the log, repeats included, by level."},

        [METRIC_AGENT_STATE] = {"pangea_agent_state",
                                METRIC_GAUGE,
                                {"agent", "state"},
                                "1 for the state that the agent (capture, apply) is in, 0 for the others."},
        [METRIC_AGENT_STATE_AGE] = {"pangea_agent_state_seconds",
                                    METRIC_AGE,
                                    {"agent"},
                                    "How long the agent has been in its state."},
        [METRIC_AGENT_LOOP_AGE] = {"pangea_agent_loop_age_seconds",
                                   METRIC_AGE,
                                   {"agent"},
                                   "Since the agent's loop turned last. /healthz fails above 120."},
        [METRIC_AGENT_PROOF_AGE] = {"pangea_agent_proof_age_seconds",
                                    METRIC_AGE,
                                    {"agent"},
                                    "Since the last proof of movement: a record that Kafka acknowledged (capture), a record of any "
                                    "origin that was processed (apply). Heartbeats come every second."},
        [METRIC_AGENT_SESSIONS] = {"pangea_agent_sessions_ended_total",
                                   METRIC_COUNTER,
                                   {"agent", "class"},
                                   "Sessions of the agent that ended and were begun anew, by what ended them: the "
                                   "name of the error, else postgres or other."},

        [METRIC_CAPTURE_LAG_SECONDS] = {"pangea_capture_lag_seconds",
                                        METRIC_AGE,
                                        {0},
                                        "All that was committed here longer ago than this is in the region's log, acknowledged. "
                                        "Looked at once a second."},
        [METRIC_CAPTURE_LAG_BYTES] = {"pangea_capture_lag_bytes", METRIC_GAUGE, {0}, "WAL that is flushed and not yet decoded."},
        [METRIC_CAPTURE_TRANSACTIONS] = {"pangea_capture_transactions_total", METRIC_COUNTER, {0}, "Transactions published."},
        [METRIC_CAPTURE_GROUPS] = {"pangea_capture_groups_total", METRIC_COUNTER, {0}, "Groups of transactions published."},
        [METRIC_CAPTURE_ROWS] = {"pangea_capture_rows_total", METRIC_COUNTER, {0}, "Row changes published."},
        [METRIC_CAPTURE_BYTES] = {"pangea_capture_log_bytes_total",
                                  METRIC_COUNTER,
                                  {0},
                                  "Bytes of the records published, uncompressed."},
        [METRIC_CAPTURE_EPOCH] = {"pangea_capture_epoch",
                                  METRIC_GAUGE,
                                  {0},
                                  "Epoch under which capture publishes; each session takes a new one."},
        [METRIC_PRODUCER_QUEUE] = {"pangea_producer_queue_records",
                                   METRIC_GAUGE,
                                   {0},
                                   "Records handed to the Kafka producer and not yet acknowledged."},
        [METRIC_TABLES_WAITING] = {"pangea_tables_waiting",
                                   METRIC_GAUGE,
                                   {0},
                                   "Routed tables that are not replicated; status names them."},
        [METRIC_SLOT_ACTIVE] = {"pangea_slot_active", METRIC_GAUGE, {"slot"}, "1 while a process reads the slot."},
        [METRIC_SLOT_RETAINED_BYTES] = {"pangea_slot_retained_bytes",
                                        METRIC_GAUGE,
                                        {"slot"},
                                        "WAL that the slot holds on the region's disk."},
        [METRIC_SLOT_ROOM_BYTES] = {"pangea_slot_room_bytes",
                                    METRIC_GAUGE,
                                    {"slot"},
                                    "WAL that may still be written before the slot is lost; absent without max_slot_wal_keep_size "
                                    "(then the disk is the limit)."},
        [METRIC_SLOT_FULL_SECONDS] =
                {"pangea_slot_full_seconds",
                 METRIC_GAUGE,
                 {"slot"},
                 "Until the slot is lost when it stays where it is and WAL is written as in the last minute; +Inf "
                 "when no WAL is written; absent without max_slot_wal_keep_size."},
        [METRIC_SLOT_SPILL_TRANSACTIONS] = {"pangea_slot_spill_transactions_total",
                                            METRIC_COUNTER,
                                            {"slot"},
                                            "Transactions that PostgreSQL's decoding wrote to disk because they passed "
                                            "logical_decoding_work_mem."},
        [METRIC_SLOT_SPILL_BYTES] = {"pangea_slot_spill_bytes_total", METRIC_COUNTER, {"slot"}, "Bytes that it wrote for them."},

        [METRIC_ORIGIN_STATE] = {"pangea_origin_state",
                                 METRIC_GAUGE,
                                 {"origin", "state"},
                                 "1 for the state in which this region's apply agent is with the origin, 0 for the others."},
        [METRIC_ORIGIN_STATE_AGE] = {"pangea_origin_state_seconds", METRIC_AGE, {"origin"}, "How long it has been in that state."},
        [METRIC_LAG_SECONDS] =
                {"pangea_lag_seconds",
                 METRIC_AGE,
                 {"origin"},
                 "Replication lag: age, by the origin's clock, of the newest record of the origin that is applied here. "
                 "It stays below about 1 s in rest (heartbeats), and grows while nothing comes."},
        [METRIC_LAG_RECORDS] = {"pangea_lag_records",
                                METRIC_GAUGE,
                                {"origin"},
                                "Records of the origin's log that are not applied here."},
        [METRIC_LAG_BYTES] =
                {"pangea_lag_bytes",
                 METRIC_GAUGE,
                 {"origin"},
                 "Bytes of these records, not compressed. Those that are read were counted; Kafka does not tell the bytes of those "
                 "that are not, so these are taken to be as large as the records read last. Absent while nothing can be said."},
        [METRIC_CAUSAL_WAITING] =
                {"pangea_causal_waiting_seconds",
                 METRIC_AGE,
                 {"origin"},
                 "How long the origin's next group has been waiting for changes of another region that it has seen; 0: "
                 "it does not."},
        [METRIC_CAUSAL_WAIT] = {"pangea_causal_wait_seconds_total", METRIC_COUNTER, {"origin"}, "Time spent in such waits."},
        [METRIC_APPLY_TRANSACTIONS] = {"pangea_apply_transactions_total",
                                       METRIC_COUNTER,
                                       {"origin"},
                                       "Source transactions applied."},
        [METRIC_APPLY_GROUPS] = {"pangea_apply_groups_total",
                                 METRIC_COUNTER,
                                 {"origin"},
                                 "Groups applied: each is one transaction here."},
        [METRIC_APPLY_ROWS] =
                {"pangea_apply_rows_total",
                 METRIC_COUNTER,
                 {"origin", "operation"},
                 "Net changes of keys processed, by operation: insert, update, delete, truncate (a whole table). What a "
                 "rule discarded is among them."},
        [METRIC_APPLY_TABLE_ROWS] = {"pangea_apply_table_rows_total",
                                     METRIC_COUNTER,
                                     {"table"},
                                     "Net changes of keys processed, by table, of all origins."},
        [METRIC_APPLY_RETRIES] = {"pangea_apply_retries_total",
                                  METRIC_COUNTER,
                                  {"origin", "class"},
                                  "Groups rolled back and tried again: lock (a row lock was not free within 50 ms), deadlock, "
                                  "serialization, own_log (the own log did not come within 50 ms), other."},
        [METRIC_COMMIT_TO_APPLY] =
                {"pangea_commit_to_apply_seconds",
                 METRIC_HISTOGRAM,
                 {"origin"},
                 "From a group's HLC (its newest commit in the origin) to its commit here, counted once for each of "
                 "its transactions. Two clocks: it can be off by their difference."},
        [METRIC_CLOCK_AHEAD] =
                {"pangea_clock_ahead_seconds",
                 METRIC_GAUGE,
                 {"origin"},
                 "How far the origin's clock is ahead of this region's at least (negative: behind, or the way is long): the "
                 "greatest difference in the last minute between its heartbeat and the time here when it came."},
        [METRIC_LOG_EPOCH] = {"pangea_log_epoch", METRIC_GAUGE, {"origin"}, "Epoch of the origin's log as read here."},
        [METRIC_LOG_OFFSET] = {"pangea_log_applied_offset",
                               METRIC_GAUGE,
                               {"origin"},
                               "Kafka offset of the last record applied here."},

        [METRIC_CONFLICTS] = {"pangea_conflicts_total",
                              METRIC_COUNTER,
                              {"table", "kind", "rule"},
                              "Versions that a rule discarded in this region, as recorded in pangea.conflict."},
        [METRIC_TOMBSTONES] = {"pangea_tombstones",
                               METRIC_GAUGE,
                               {0},
                               "Deletes that are remembered until every leader has seen them (estimate)."},
        [METRIC_SIBLINGS_OPEN] = {"pangea_siblings_open",
                                  METRIC_GAUGE,
                                  {0},
                                  "Keys with concurrent versions whose conflict can still change, or waits for a decision."},
        [METRIC_MANUAL_WAITING] = {"pangea_manual_waiting",
                                   METRIC_GAUGE,
                                   {0},
                                   "Rows under the rule manual that wait for a decision (pangea conflicts resolve)."},
        [METRIC_UNSTABLE_SECONDS] =
                {"pangea_unstable_seconds",
                 METRIC_GAUGE,
                 {"origin"},
                 "How far the origin's changes applied here reach beyond those that are stable (seen by every leader): "
                 "for so long tombstones and index entries are kept. 0: all is stable."},
        [METRIC_HOLDS_STABILITY] =
                {"pangea_stability_held_seconds",
                 METRIC_GAUGE,
                 {"leader"},
                 "How far this leader is behind what is applied here, of whatever origin; the largest holds tombstones "
                 "back."},
        [METRIC_TIMESTAMPS_STATE] =
                {"pangea_commit_timestamps_state",
                 METRIC_GAUGE,
                 {"state"},
                 "1 for what is true of the commit timestamps that tell versions apart, 0 for the rest: safe, near (VACUUM "
                 "may soon erase some that are still needed), gone (some are erased)."},
        [METRIC_TIMESTAMPS_LEFT] =
                {"pangea_commit_timestamps_left_transactions",
                 METRIC_GAUGE,
                 {0},
                 "Transactions of this database that may pass before a VACUUM erases commit timestamps that are still "
                 "needed."},
        [METRIC_LOG_KEPT_FOR] = {"pangea_log_kept_for",
                                 METRIC_GAUGE,
                                 {"target"},
                                 "1 while this region's log keeps records older than log.retention for that region."},
        [METRIC_MIRROR_STATE] = {"pangea_mirror_state",
                                 METRIC_GAUGE,
                                 {"log", "state"},
                                 "1 for the state in which this region's mirror of a log is, 0 for the others."},
        [METRIC_MIRROR_OFFSET] = {"pangea_mirror_source_offset",
                                  METRIC_GAUGE,
                                  {"log"},
                                  "Offset in the log up to which everything is surely copied."},
};

void metrics_state(struct metrics *m, enum metric row, const char *who, enum agent_state state)
{
        for (int s = 0; s < STATE_COUNT; s++)
                metrics_set(m, row, METRIC_LABELS(who, state_name((enum agent_state)s)), s == (int)state);
}

const char *metrics_class(const struct err *e)
{
        return e->name[0] ? e->name : e->sqlstate[0] ? "postgres" : "other";
}

void metrics_markdown(struct buf *out)
{
        buf_put_str(
                out,
                "# Metrics\n\n<!-- printed from topology/metrics.c; tests/unit/test_metrics.c holds them together (UPDATE=1 rewrites) -->\n\n"
                "A daemon with `http: {listen: ..}` in its region of the topology shows these at `/metrics`, in Prometheus' text format. Every "
                "series bears `region`, the region of the daemon, besides the labels named here; what is said of an `origin` is the way from "
                "that region to this one. A series whose value is not known is absent. Counters begin at 0 with the process; those of "
                "capture also when its session begins anew.\n\n");
        metrics_print_docs(metric_table, METRIC_COUNT, out);
}
