#include "apply/meter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "apply/applier.h"
#include "base/clock.h"
#include "base/mem.h"
#include "topology/metrics.h"

#define MINUTE_US INT64_C(60000000)

static const char *const op_names[METER_OPS] = {
        [METER_INSERT] = "insert", [METER_UPDATE] = "update", [METER_DELETE] = "delete", [METER_TRUNCATE] = "truncate"};
static const char *const retry_names[METER_RETRIES] = {[RETRY_LOCK] = "lock",
                                                       [RETRY_DEADLOCK] = "deadlock",
                                                       [RETRY_SERIALIZATION] = "serialization",
                                                       [RETRY_OWN_LOG] = "own_log",
                                                       [RETRY_OTHER] = "other"};

void meter_init(struct meter *m, struct metrics *metrics)
{
        *m = (struct meter){.metrics = metrics};
}

void meter_release(struct meter *m)
{
        meter_rolled_back(m);
        free(m->lost);
        m->lost = NULL;
        m->cap_lost = 0;
}

void meter_applied(struct meter *m, struct dot dot, uint64_t txs, const uint64_t ops[METER_OPS])
{
        struct meter_origin *o = &m->from[dot.region.i];
        o->groups++;
        o->txs += txs;
        for (int i = 0; i < METER_OPS; i++)
                o->ops[i] += ops[i];
        histogram_add(&o->delay, (double)(clock_wall_us() - (int64_t)dot.hlc.v) / 1e6, txs);
        meter_committed(m);
}

static enum meter_retry retry_class(const struct err *why)
{
        static const struct {
                const char *sqlstate;
                enum meter_retry class;
        } known[] = {{"55P03", RETRY_LOCK}, {"40P01", RETRY_DEADLOCK}, {"40001", RETRY_SERIALIZATION}, {"", RETRY_OWN_LOG}};
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
                if (strcmp(why->sqlstate, known[i].sqlstate) == 0)
                        return known[i].class;
        return RETRY_OTHER;
}

void meter_retry(struct meter *m, region_id origin, const struct err *why)
{
        m->from[origin.i].retries[retry_class(why)]++;
}

void meter_waits(struct meter *m, region_id origin, bool waits)
{
        struct meter_origin *o = &m->from[origin.i];
        if (waits == (o->waits_since_us != 0))
                return;
        int64_t now = clock_wall_us();
        if (!waits && now > o->waits_since_us)
                o->waited_us += now - o->waits_since_us;
        o->waits_since_us = waits ? now : 0;
}

void meter_heard(struct meter *m, region_id origin, int64_t wall_us)
{
        struct meter_origin *o = &m->from[origin.i];
        int64_t now = clock_wall_us(), minute = now / MINUTE_US, ahead = wall_us - now;
        if (minute != o->minute) {
                o->heard_before = minute == o->minute + 1;
                o->ahead_us[1] = o->ahead_us[0];
                o->ahead_us[0] = ahead;
                o->minute = minute;
        }
        if (ahead > o->ahead_us[0])
                o->ahead_us[0] = ahead;
}

/* ---- what is done to tables: shown once its transaction has committed ------------------------------------------------------------------------------ */
static void note(struct meter *m, const char *table, const char *kind, const char *rule, uint64_t times)
{
        for (size_t i = 0; i < m->nlost; i++)
                if (m->lost[i].kind == kind && m->lost[i].rule == rule && strcmp(m->lost[i].table, table) == 0) {
                        m->lost[i].n += times;
                        return;
                }
        if (m->nlost == m->cap_lost) {
                m->cap_lost = m->cap_lost ? 2 * m->cap_lost : 16;
                m->lost = mem_realloc(m->lost, m->cap_lost * sizeof *m->lost);
        }
        m->lost[m->nlost++] = (struct meter_lost){.table = mem_strdup(table), .kind = kind, .rule = rule, .n = times};
}

void meter_rows(struct meter *m, const char *table, uint64_t n)
{
        if (n)
                note(m, table, NULL, NULL, n);
}

void meter_lost(struct meter *m, const char *table, const char *kind, const char *rule)
{
        note(m, table, kind, rule, 1);
}

void meter_committed(struct meter *m)
{
        for (size_t i = 0; i < m->nlost; i++) {
                const struct meter_lost *l = &m->lost[i];
                if (l->kind)
                        metrics_add(m->metrics, METRIC_CONFLICTS, METRIC_LABELS(l->table, l->kind, l->rule), (double)l->n);
                else
                        metrics_add(m->metrics, METRIC_APPLY_TABLE_ROWS, METRIC_LABELS(l->table), (double)l->n);
        }
        meter_rolled_back(m);
}

void meter_rolled_back(struct meter *m)
{
        for (size_t i = 0; i < m->nlost; i++)
                free(m->lost[i].table);
        m->nlost = 0;
}

/* ---- into the registry -------------------------------------------------------------------------------------------------------------- */
static void publish_counts(struct metrics *m, const char *name, const struct meter_origin *o)
{
        const char *const *labels = METRIC_LABELS(name);
        int64_t now = clock_wall_us(), waited = o->waited_us;
        if (o->waits_since_us && now > o->waits_since_us)
                waited += now - o->waits_since_us;
        metrics_set(m, METRIC_APPLY_TRANSACTIONS, labels, (double)o->txs);
        metrics_set(m, METRIC_APPLY_GROUPS, labels, (double)o->groups);
        metrics_set(m, METRIC_CAUSAL_WAITING, labels, (double)o->waits_since_us / 1e6);
        metrics_set(m, METRIC_CAUSAL_WAIT, labels, (double)waited / 1e6);
        metrics_histogram(m, METRIC_COMMIT_TO_APPLY, labels, &o->delay);
        for (int i = 0; i < METER_OPS; i++)
                metrics_set(m, METRIC_APPLY_ROWS, METRIC_LABELS(name, op_names[i]), (double)o->ops[i]);
        for (int i = 0; i < METER_RETRIES; i++)
                metrics_set(m, METRIC_APPLY_RETRIES, METRIC_LABELS(name, retry_names[i]), (double)o->retries[i]);
        int64_t age = now / MINUTE_US - o->minute;
        if (!o->minute || age > 1) {
                metrics_unset(m, METRIC_CLOCK_AHEAD, labels); /* nothing was heard lately */
                return;
        }
        int64_t ahead = o->ahead_us[0];
        if (age == 0 && o->heard_before && o->ahead_us[1] > ahead)
                ahead = o->ahead_us[1];
        metrics_set(m, METRIC_CLOCK_AHEAD, labels, (double)ahead / 1e6);
}

static void publish_origin(struct applier *a, const struct origin *o)
{
        struct metrics *m = a->meter.metrics;
        const char *name = regset_name(&a->topo->names, o->id), *const *labels = METRIC_LABELS(name);
        struct origin_look l = origin_look(o);
        metrics_state(m, METRIC_ORIGIN_STATE, name, l.state);
        metrics_set(m, METRIC_ORIGIN_STATE_AGE, labels, (double)o->since_us / 1e6);
        if (o->heartbeat_us)
                metrics_set(m, METRIC_LAG_SECONDS, labels, (double)o->heartbeat_us / 1e6);
        metrics_set(m, METRIC_LAG_RECORDS, labels, (double)l.behind);
        if (l.behind_bytes >= 0)
                metrics_set(m, METRIC_LAG_BYTES, labels, (double)l.behind_bytes);
        else
                metrics_unset(m, METRIC_LAG_BYTES, labels);
        if (o->log) {
                metrics_set(m, METRIC_LOG_EPOCH, labels, (double)inlog_epoch(o->log));
                metrics_set(m, METRIC_LOG_OFFSET, labels, (double)o->applied_offset.v);
        }
        publish_counts(m, name, &a->meter.from[o->id.i]);
}

/* How far each origin's changes here are ahead of what is stable, and how far each leader is behind them. */
static void publish_stability(struct applier *a)
{
        struct metrics *m = a->meter.metrics;
        const struct regset *names = &a->topo->names;
        for (unsigned l = 0; l < names->n; l++) {
                double held = 0;
                if (!(a->leaders >> l & 1))
                        continue;
                uint64_t applied = a->applied.at[l].v, stable = a->stable.at[l].v;
                if (applied == 0 || stable)
                        metrics_set(m, METRIC_UNSTABLE_SECONDS, METRIC_LABELS(names->name[l]),
                                    applied > stable ? (double)(applied - stable) / 1e6 : 0);
                else
                        metrics_set(m, METRIC_UNSTABLE_SECONDS, METRIC_LABELS(names->name[l]), (double)INFINITY);
                for (unsigned o = 0; o < names->n; o++) {
                        uint64_t here = a->applied.at[o].v, there = a->seen[l].at[o].v;
                        if (o == l || !(a->leaders >> o & 1) || here <= there)
                                continue;
                        double behind = there ? (double)(here - there) / 1e6 : (double)INFINITY;
                        held = behind > held ? behind : held;
                }
                metrics_set(m, METRIC_HOLDS_STABILITY, METRIC_LABELS(names->name[l]), held);
        }
}

static void publish_timestamps(struct metrics *m, const struct freeze *f)
{
        if (!f->since_us)
                return;
        for (int s = FREEZE_SAFE; s <= FREEZE_GONE; s++)
                metrics_set(m, METRIC_TIMESTAMPS_STATE, METRIC_LABELS(freeze_name((enum freeze_state)s)), s == (int)f->state);
        metrics_set(m, METRIC_TIMESTAMPS_LEFT, METRIC_NO_LABELS, (double)freeze_left(&f->facts));
}

static void publish_region(struct applier *a)
{
        struct metrics *m = a->meter.metrics;
        const struct regset *names = &a->topo->names;
        struct mirror_state s;
        uint32_t missing = acks_missing(a);
        metrics_set(m, METRIC_TOMBSTONES, METRIC_NO_LABELS, a->tombs ? (double)tombs_count(a->tombs) : 0);
        publish_timestamps(m, &a->freeze);
        metrics_set(m, METRIC_SIBLINGS_OPEN, METRIC_NO_LABELS, (double)a->open_keys);
        metrics_set(m, METRIC_MANUAL_WAITING, METRIC_NO_LABELS, (double)a->manual_keys);
        for (unsigned r = 0; r < names->n; r++)
                if (r != a->me.i)
                        metrics_set(m, METRIC_LOG_KEPT_FOR, METRIC_LABELS(names->name[r]), missing >> r & 1);
        for (size_t i = 0; a->mirrors && mirrors_look(a->mirrors, i, &s); i++) {
                metrics_state(m, METRIC_MIRROR_STATE, s.log, s.state);
                metrics_set(m, METRIC_MIRROR_OFFSET, METRIC_LABELS(s.log), (double)s.source.v);
        }
}

void meter_publish(struct applier *a, enum agent_state state, int64_t since_us)
{
        struct metrics *m = a->meter.metrics;
        int64_t moved = 0;
        if (!m)
                return;
        for (unsigned r = 0; r < a->topo->names.n; r++) {
                if (r == a->me.i || !(a->leaders >> r & 1))
                        continue;
                publish_origin(a, &a->from[r]);
                moved = a->from[r].moved_at > moved ? a->from[r].moved_at : moved;
        }
        metrics_state(m, METRIC_AGENT_STATE, "apply", state);
        metrics_set(m, METRIC_AGENT_STATE_AGE, METRIC_LABELS("apply"), (double)since_us / 1e6);
        if (moved)
                metrics_set(m, METRIC_AGENT_PROOF_AGE, METRIC_LABELS("apply"),
                            (double)(clock_wall_us() - (clock_mono_us() - moved)) / 1e6);
        if (state == STATE_RUNNING) { /* else what is known was forgotten with the session, or is not sure */
                publish_stability(a);
                publish_region(a);
        }
}
