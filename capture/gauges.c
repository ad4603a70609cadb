#include "capture/gauges.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "topology/metrics.h"

static const char SLOT_SQL[] =
        "SELECT s.active::int4, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::int8, s.safe_wal_size,"
        " t.spill_txns, t.spill_bytes FROM pg_catalog.pg_replication_slots s"
        " LEFT JOIN pg_catalog.pg_stat_replication_slots t USING (slot_name) WHERE s.slot_name = $1";
/* The end of what is inserted, not of what is flushed: an asynchronous commit was acknowledged before its flush. */
static const char END_SQL[] = "SELECT pg_catalog.pg_current_wal_insert_lsn()";

int64_t gauges_mark(struct gauges *g, struct wal_mark now, lsn_t confirmed)
{
        size_t passed = 0;
        if (g->n == GAUGES_MARKS) { /* fewer places are still right, only coarser */
                for (size_t i = 0; i < GAUGES_MARKS / 2; i++)
                        g->marks[i] = g->marks[2 * i];
                g->n = GAUGES_MARKS / 2;
        }
        g->marks[g->n++] = now;
        while (passed < g->n && g->marks[passed].end.v <= confirmed.v)
                passed++;
        if (passed == 0)
                return 0;
        memmove(g->marks, g->marks + passed - 1, sizeof *g->marks * (g->n - passed + 1));
        g->n -= passed - 1;
        return g->marks[0].at_us;
}

double gauges_rate(struct gauges *g, struct wal_mark now)
{
        uint64_t first = g->nrecent < GAUGES_RATE ? 0 : g->nrecent - GAUGES_RATE + 1;
        while (first < g->nrecent && now.at_us - g->recent[first % GAUGES_RATE].at_us > 60 * INT64_C(1000000))
                first++;
        g->recent[g->nrecent++ % GAUGES_RATE] = now;
        struct wal_mark then = g->recent[first % GAUGES_RATE];
        if (now.at_us <= then.at_us || now.end.v <= then.end.v)
                return 0;
        return (double)(now.end.v - then.end.v) / ((double)(now.at_us - then.at_us) / 1e6);
}

void gauges_show(const struct gauges *g, struct view *v)
{
        struct metrics *m = v->metrics;
        if (!m)
                return;
        pthread_mutex_lock(&v->lock);
        struct view_numbers n = v->now;
        enum agent_state state = v->state == STATE_RUNNING && g->lag_bytes > BEHIND_BYTES ? STATE_CATCHING_UP : v->state;
        int64_t since = v->since_us;
        json_t *tables = v->tables ? json_loads(v->tables, 0, NULL) : NULL;
        pthread_mutex_unlock(&v->lock);
        metrics_state(m, METRIC_AGENT_STATE, "capture", state);
        metrics_set(m, METRIC_AGENT_STATE_AGE, METRIC_LABELS("capture"), (double)since / 1e6);
        if (n.delivered_us)
                metrics_set(m, METRIC_AGENT_PROOF_AGE, METRIC_LABELS("capture"), (double)n.delivered_us / 1e6);
        metrics_set(m, METRIC_CAPTURE_TRANSACTIONS, METRIC_NO_LABELS, (double)n.transactions);
        metrics_set(m, METRIC_CAPTURE_GROUPS, METRIC_NO_LABELS, (double)n.groups);
        metrics_set(m, METRIC_CAPTURE_ROWS, METRIC_NO_LABELS, (double)n.rows);
        metrics_set(m, METRIC_CAPTURE_BYTES, METRIC_NO_LABELS, (double)n.bytes);
        metrics_set(m, METRIC_CAPTURE_EPOCH, METRIC_NO_LABELS, (double)n.epoch);
        metrics_set(m, METRIC_PRODUCER_QUEUE, METRIC_NO_LABELS, (double)n.pending);
        metrics_set(m, METRIC_TABLES_WAITING, METRIC_NO_LABELS, (double)json_array_size(tables));
        json_decref(tables);
}

static void set_or_unset(struct metrics *m, enum metric row, const char *slot, bool known, double value)
{
        if (known)
                metrics_set(m, row, METRIC_LABELS(slot), value);
        else
                metrics_unset(m, row, METRIC_LABELS(slot));
}

static void show_slot(struct metrics *m, const char *slot, const struct pgres *r, double rate)
{
        bool there = pgres_rows(r) == 1, bounded = there && !pgres_null(r, 0, 2);
        double room = bounded ? (double)pgres_i64(r, 0, 2) : 0;
        metrics_set(m, METRIC_SLOT_ACTIVE, METRIC_LABELS(slot), there ? (double)pgres_i64(r, 0, 0) : 0);
        set_or_unset(m, METRIC_SLOT_RETAINED_BYTES, slot, there && !pgres_null(r, 0, 1), there ? (double)pgres_i64(r, 0, 1) : 0);
        set_or_unset(m, METRIC_SLOT_ROOM_BYTES, slot, bounded, room > 0 ? room : 0);
        set_or_unset(m, METRIC_SLOT_FULL_SECONDS, slot, bounded, room <= 0 ? 0 : rate > 0 ? room / rate : (double)INFINITY);
        bool spilled = there && !pgres_null(r, 0, 3);
        set_or_unset(m, METRIC_SLOT_SPILL_TRANSACTIONS, slot, spilled, spilled ? (double)pgres_i64(r, 0, 3) : 0);
        set_or_unset(m, METRIC_SLOT_SPILL_BYTES, slot, spilled, spilled ? (double)pgres_i64(r, 0, 4) : 0);
}

enum status gauges_read(struct gauges *g, struct view *v, struct pg *c, int64_t lag_bytes, struct err *e)
{
        struct wal_mark now = {.at_us = clock_wall_us()};
        g->lag_bytes = lag_bytes;
        struct pgres *res = NULL;
        struct pg_param slot = PG_TEXT(v->slot);
        if (!v->metrics)
                return ST_OK;
        pthread_mutex_lock(&v->lock);
        lsn_t confirmed = v->now.confirmed;
        pthread_mutex_unlock(&v->lock);
        enum status st = pg_exec(c, END_SQL, &res, e);
        bool read = st == ST_OK && lsn_parse(pgres_text(res, 0, 0), &now.end);
        pgres_free(res);
        res = NULL;
        if (!read)
                return st;
        int64_t since = gauges_mark(g, now, confirmed);
        if (since)
                metrics_set(v->metrics, METRIC_CAPTURE_LAG_SECONDS, METRIC_NO_LABELS, (double)since / 1e6);
        metrics_set(v->metrics, METRIC_CAPTURE_LAG_BYTES, METRIC_NO_LABELS, lag_bytes > 0 ? (double)lag_bytes : 0);
        double rate = gauges_rate(g, now);
        st = pg_query(c, SLOT_SQL, 1, &slot, false, &res, e);
        if (st == ST_OK)
                show_slot(v->metrics, v->slot, res, rate);
        pgres_free(res);
        return st;
}
