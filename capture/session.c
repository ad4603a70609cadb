#include "capture/session.h"

#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#define FEEDBACK_EVERY_US 1000000

struct record_head session_group_head(void *session)
{
        struct session *s = session;
        return outlet_head(&s->outlet, RECORD_GROUP);
}

enum status session_group_put(void *session, const struct record_head *h, const struct buf *record, lsn_t confirms, struct err *e)
{
        struct session *s = session;
        return outlet_put(&s->outlet, h, record, confirms, e);
}

/* apply is left at 0: it would promise durability in other regions (DESIGN 8). */
enum status session_feedback(struct session *s, struct err *e)
{
        lsn_t flush = s->outlet.delivered, received = lsn_max(s->received, flush);
        enum status st = pgstream_feedback(s->stream, received, flush, (lsn_t){0}, false, e);
        if (st != ST_OK)
                return st;
        bool moved = lsn_before(s->fed, flush);
        s->fed = flush;
        s->fed_at = clock_mono_us();
        if (moved)
                FAILPOINT("capture.feedback");
        return ST_OK;
}

enum status session_idle(void *session, struct err *e)
{
        struct session *s = session;
        int64_t now = clock_mono_us();
        control_turned(s->control);
        int stop = atomic_load(&s->control->stop);
        if (stop == STOP_NOW)
                return err_set(e, ST_STOP, "asked to stop at once");
        if (stop == STOP_DRAIN && s->drain_until == 0)
                s->drain_until =
                        s->groups.wire ? now + s->topo->drain_timeout_us : now; /* before it runs there is nothing to drain */
        if (s->drain_until != 0 && now >= s->drain_until)
                return err_set(e, ST_STOP, "asked to stop");
        if (!s->stream || now - s->fed_at < FEEDBACK_EVERY_US)
                return ST_OK;
        return session_feedback(s, e);
}

static void release(struct session *s)
{
        txread_release(&s->tx);
        groups_release(&s->groups);
        relcache_release(&s->tables);
        outlet_close(&s->outlet);
        if (s->stream)
                pgstream_close(s->stream);
        if (s->side)
                pg_close(s->side);
        s->stream = NULL;
        s->side = NULL;
}

enum status session_run(struct session *s, struct err *e)
{
        s->outlet.wake[0] = s->outlet.wake[1] = -1;
        s->outlet.offset.v = -1;
        s->outlet.key = s->region->name;
        s->outlet.idle = session_idle;
        s->outlet.ctx = s;
        s->outlet.head.region = s->me;
        s->regs = s->topo->names;
        s->fed_at = clock_mono_us();
        enum status st = session_start(s, e);
        if (st == ST_OK)
                st = session_loop(s, e);
        release(s);
        return st;
}
