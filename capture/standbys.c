#include "capture/standbys.h"

#include <inttypes.h>
#include <string.h>

#include "base/rd.h"
#include "capture/stops.h"

#define PAUSE_MIN_US 1000    /* a standby nearby answers within a millisecond: this is added to the latency */
#define PAUSE_FLOW_US 5000   /* data flows: one look serves many transactions */
#define PAUSE_MAX_US 20000   /* it does not move */
#define PAUSE_IDLE_US 100000 /* nothing is held, only the decoded position is */
#define FLOWING 64
#define LATE_US 1000000

void standbys_init(struct standbys *s, const struct region *r)
{
        memset(s, 0, sizeof *s);
        s->n = r->nwait;
        s->name = r->wait;
        s->pause = PAUSE_MIN_US;
}

lsn_t standbys_need(const uint8_t *p, size_t n, lsn_t start)
{
        struct rd r = rd_init(p, n);
        uint8_t kind = rd_u8(&r);
        if (kind != 'B' && kind != 'C')
                return (lsn_t){0};
        if (kind == 'C')
                (void)rd_u8(&r); /* flags */
        lsn_t commit = {rd_u64(&r)};
        lsn_t need = {kind == 'B' ? commit.v + 1 : rd_u64(&r)};
        if (r.bad || lsn_before(commit, start)) /* cut: whoever decodes it says so */
                need.v = 0;
        return need;
}

bool standbys_hold(struct standbys *s, lsn_t need)
{
        bool hold = s->n > 0 && lsn_before(s->safe, need);
        s->need = hold ? need : (lsn_t){0};
        s->passed += !hold;
        return hold;
}

lsn_t standbys_clip(const struct standbys *s, lsn_t at)
{
        return s->n > 0 && lsn_before(s->safe, at) ? s->safe : at;
}

static lsn_t lowest(const struct standbys *s)
{
        lsn_t low = {UINT64_MAX};
        for (size_t i = 0; i < s->n; i++) {
                lsn_t at = s->seen[i].connected ? s->seen[i].flush : (lsn_t){0};
                if (lsn_before(at, low))
                        low = at;
        }
        return low;
}

/* Under load they are behind at every look and yet in time: so it is asked when they pass the place where the primary was. */
static void mark(struct standbys *s, int64_t now)
{
        if (s->mark.v && !lsn_before(s->safe, s->mark))
                s->mark.v = 0;
        if (!s->mark.v && lsn_before(s->safe, s->server)) {
                s->mark = s->server;
                s->marked_at = now;
        }
}

void standbys_look(struct standbys *s, const struct standby_seen *seen, lsn_t server, int64_t now)
{
        lsn_t before = s->safe;
        memcpy(s->seen, seen, s->n * sizeof *seen);
        s->server = server;
        s->safe = lowest(s);
        if (lsn_before(before, s->safe))
                s->pause = s->passed > FLOWING ? PAUSE_FLOW_US : PAUSE_MIN_US;
        else
                s->pause = s->pause * 2 > PAUSE_MAX_US ? PAUSE_MAX_US : s->pause * 2;
        s->passed = 0;
        s->looked_at = now;
        mark(s, now);
}

int64_t standbys_due_in(const struct standbys *s, int64_t now)
{
        if (s->n == 0)
                return INT64_MAX;
        if (s->looked_at == 0)
                return 0;
        if (s->need.v)
                return s->looked_at + s->pause - now;
        if (s->mark.v || lsn_before(s->safe, s->reached))
                return s->looked_at + PAUSE_IDLE_US - now;
        return INT64_MAX;
}

bool standbys_late(const struct standbys *s, int64_t now)
{
        return s->mark.v != 0 && now - s->marked_at > LATE_US;
}

enum status standbys_blame(const struct standbys *s, const char *region, struct err *e)
{
        char at[LSN_STRLEN];
        size_t worst = 0;
        for (size_t i = 0; i < s->n; i++) {
                const struct standby_seen *x = &s->seen[i];
                if (!x->connected)
                        return stop_named(e, "standby_missing", region,
                                          "region %s: its standby %s is not connected (no such application_name in "
                                          "pg_stat_replication): nothing that commits is published",
                                          region, s->name[i]);
                if (x->hidden)
                        return stop_named(e, "standby_hidden", region,
                                          "region %s: the run-time role may not see how far standby %s is: nothing that commits is "
                                          "published",
                                          region, s->name[i]);
                if (lsn_before(x->flush, s->seen[worst].flush))
                        worst = i;
        }
        lsn_t flush = s->seen[worst].flush;
        return stop_named(e, "standby_behind", region,
                          "region %s: its standby %s has flushed up to %s and is %" PRIu64
                          " bytes behind: what commits later is not published",
                          region, s->name[worst], lsn_str(at, flush), s->server.v - flush.v);
}
