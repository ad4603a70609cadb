/* group: one group of another region becomes one transaction here.  DESIGN 6.1, 6.2. */
#include "apply/applier.h"

#include <stdio.h>
#include <string.h>

#include "apply/hidden.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#define HIDE_TRIES 10

enum status session_as(struct applier *a, region_id origin, struct err *e)
{
        char name[200];
        if (a->session_origin.i == origin.i)
                return ST_OK;
        enum status s = ST_OK;
        if (a->session_origin.i != REGION_NONE.i)
                s = session_query(a->db, "SELECT pg_catalog.pg_replication_origin_session_reset()", 0, NULL, NULL, NULL, e);
        topology_origin(a->topo, a->me, origin, name, sizeof name);
        struct pg_param p = param_text(name);
        if (s == ST_OK)
                s = session_query(a->db, "SELECT pg_catalog.pg_replication_origin_session_setup($1)", 1, &p, NULL, NULL, e);
        a->session_origin = origin;
        a->origin_sure = false;
        return s;
}

void session_as_nobody(struct applier *a)
{
        struct err e;
        if (a->origin_sure || session_lost(a->db))
                return;
        /* fails when none is set up: then that is what we want to know */
        if (session_do(a->db, "SELECT pg_catalog.pg_replication_origin_session_reset()", &e) != ST_OK)
                log_event(LOG_DEBUG, "apply.origin_reset", "why=%s", e.msg);
        a->session_origin = REGION_NONE;
}

/* 55006: another session has this origin, perhaps an old backend that lingers; PostgreSQL's message names its pid. */
static enum status origin_error(enum status s, struct applier *a, struct err *e)
{
        if (s != ST_OK && strcmp(e->sqlstate, "42704") == 0 && strstr(e->msg, "replication origin"))
                return err_named(e, ST_FATAL, "not_initialized",
                                 "a replication origin does not exist: run pangea init --region %s (%.400s)",
                                 regset_name(&a->topo->names, a->me), arena_strdup(&a->arena, e->msg));
        return s;
}

enum status session_take(struct applier *a, region_id origin, struct err *e)
{
        enum status s = session_as(a, origin, e);
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        if (s == ST_OK)
                a->origin_sure = true;
        return origin_error(s, a, e);
}

enum status begin_as(struct applier *a, region_id origin, lsn_t lsn, hlc_t hlc, struct err *e)
{
        char text[LSN_STRLEN];
        uint8_t room[8];
        enum status s = session_as(a, origin, e);
        if (s != ST_OK)
                return s;
        FAILPOINT("apply.begin");
        s = session_query(a->db, "BEGIN", 0, NULL, NULL, NULL, e);
        if (s != ST_OK)
                return s;
        struct pg_param p[2] = {param_text(lsn_str(text, lsn)), param_ts(room, (int64_t)hlc.v)};
        return session_send(a->db, &a->fixed[FIXED_SETUP],
                            "SELECT pg_catalog.pg_replication_origin_xact_setup($1::text::pg_catalog.pg_lsn, $2)", 2, p, NULL, NULL,
                            e);
}

enum status position_send(struct applier *a, region_id origin, const struct log_position *p, struct err *e)
{
        static const char sql[] =
                "INSERT INTO pangea.position AS p (origin, incarnation, epoch, seq, hlc, lsn, kafka_offset)"
                " VALUES ($1, $2::int8::int4, $3, $4, $5, $6::text::pg_catalog.pg_lsn, $7) ON CONFLICT (origin) DO UPDATE SET"
                " incarnation = EXCLUDED.incarnation, epoch = EXCLUDED.epoch, seq = EXCLUDED.seq, hlc = EXCLUDED.hlc, lsn = EXCLUDED.lsn,"
                " kafka_offset = EXCLUDED.kafka_offset";
        uint8_t room[5][8];
        char lsn[LSN_STRLEN];
        struct pg_param v[7] = {param_text(regset_name(&a->regs, origin)),
                                param_i64(room[0], p->incarnation),
                                param_i64(room[1], (int64_t)p->epoch),
                                param_i64(room[2], (int64_t)p->seq),
                                param_i64(room[3], (int64_t)p->hlc.v),
                                param_text(lsn_str(lsn, p->lsn)),
                                param_i64(room[4], p->offset.v)};
        return session_send(a->db, &a->fixed[FIXED_POSITION], sql, 7, v, NULL, NULL, e);
}

/* C4: everything its transactions could have seen must be here, and visible: of the own commits too (apply/unseen.h), which the own log names. */
static bool causally_ready(const struct applier *a, struct origin *o, const struct log_item *item)
{
        for (unsigned r = 0; r < a->regs.n; r++) {
                if (r == o->id.i || r == a->me.i || !(a->leaders >> r & 1))
                        continue;
                if (item->vec.at[r].v <= a->applied.at[r].v)
                        continue;
                snprintf(o->waits_for, sizeof o->waits_for, "changes of %s up to HLC %" PRIu64 " (here: %" PRIu64 ")",
                         a->regs.name[r], item->vec.at[r].v, a->applied.at[r].v);
                return false;
        }
        if (a->unseen && item->vec.at[a->me.i].v > unseen_read(a->unseen).v) {
                snprintf(o->waits_for, sizeof o->waits_for, "this region's own log up to HLC %" PRIu64 " (read: %" PRIu64 ")",
                         item->vec.at[a->me.i].v, unseen_read(a->unseen).v);
                return false;
        }
        return true;
}

/* 6.7: a clock that is far ahead is not followed. */
static enum status clock_guard(const struct applier *a, const struct origin *o, const struct log_item *item, struct err *e)
{
        int64_t ahead = (int64_t)item->hlc.v - clock_wall_us();
        if (ahead <= a->topo->max_skew_us)
                return ST_OK;
        return err_named(
                e, ST_DATA, "clock_skew",
                "region %s: its HLC is %.1f s ahead of this region's clock, clock.max_skew is %.1f s; mend the clock of %s (or of "
                "this host), the origin goes on by itself then",
                regset_name(&a->regs, o->id), (double)ahead / 1e6, (double)a->topo->max_skew_us / 1e6,
                regset_name(&a->regs, o->id));
}

static uint32_t usable(const struct applier *a, fullxid_t x)
{
        return x.v && a->newest_xid.v - x.v < (UINT64_C(1) << 30) ? (uint32_t)x.v : 0;
}

enum status work_fill(struct applier *a, const struct log_item *item, region_id origin, struct work *w, struct err *e)
{
        (void)e;
        w->a = a;
        w->item = item;
        w->dot = w->stamp = (struct dot){.region = origin, .hlc = item->hlc};
        w->guard.hlc_us = (int64_t)item->hlc.v;
        w->guard.stable_xid = usable(a, a->stable_xid);
        w->guard.h_xid = usable(a, ownlog_h(a->own, item->vec_first.at[a->me.i]));
        for (unsigned r = 0; r < a->regs.n; r++)
                w->guard.ts[r] = r == origin.i ? INT64_MAX : (int64_t)item->vec_first.at[r].v;
        return ST_OK;
}

static enum status on_chunk(void *ctx, const struct group *g, struct err *e)
{
        struct work *w = ctx;
        arena_reset(&w->a->arena);
        enum status s = write_group(w, g, e);
        return s;
}

static enum status rows_of(struct work *w, struct err *e)
{
        struct applier *a = w->a;
        struct record r;
        if (w->item->kind == ITEM_BIG)
                return inlog_reread(w->o->log, w->item->first_offset, w->item->offset, w->item->epoch, on_chunk, w, e);
        arena_reset(&a->arena);
        enum status s = wire_decode(w->item->msg.data, w->item->msg.len, &a->regs, &a->arena, &r, e);
        w->bold = !w->o->asks; /* not a large one: all of it would have to be written again */
        if (s != ST_OK) {
                struct err why = *e;
                return err_named(e, ST_DATA, "record_corrupt", "log of %s offset %" PRId64 ": %.900s",
                                 regset_name(&a->regs, w->o->id), w->item->offset.v, why.msg);
        }
        return write_group(w, &r.u.group, e);
}

struct group_xids {
        fullxid_t own, xmin;
};

static void on_xids(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        struct group_xids *x = arg;
        x->own.v = (uint64_t)pgres_i64(r, 0, 0);
        x->xmin.v = (uint64_t)pgres_i64(r, 0, 1);
}

static enum status finish(struct work *w, struct group_xids *xids, struct err *e)
{
        struct applier *a = w->a;
        const struct log_item *i = w->item;
        struct log_position p = {
                .incarnation = 1, .epoch = i->epoch, .seq = i->seq, .hlc = i->hlc, .lsn = i->end_lsn, .offset = i->offset};
        enum status s = position_send(a, w->o->id, &p, e);
        if (s == ST_OK)
                s = session_send(a->db, &a->fixed[FIXED_EMIT], "SELECT pg_catalog.pg_logical_emit_message(true, 'pangea', '')", 0,
                                 NULL, NULL, NULL, e);
        if (s == ST_OK)
                s = session_send(a->db, &a->fixed[FIXED_XID],
                                 "SELECT pg_catalog.pg_current_xact_id()::text::pg_catalog.int8,"
                                 " pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::pg_catalog.int8",
                                 0, NULL, on_xids, xids, e);
        FAILPOINT("apply.rows");
        if (s == ST_OK)
                s = session_query(a->db, "COMMIT", 0, NULL, NULL, NULL, e);
        FAILPOINT("apply.commit");
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        if (s == ST_OK)
                FAILPOINT("apply.committed");
        return s;
}

void group_rollback(struct applier *a)
{
        own_sets_done(a, false);
        session_rollback(a->db);
        meter_rolled_back(&a->meter);
        hidden_rolled_back(a->hidden);
        session_as_nobody(a);
}

void tables_forget(struct applier *a)
{
        struct err ignored;
        catalog_forget(a->catalog);
        if (!session_lost(a->db) && session_forget(a->db, &ignored) == ST_OK)
                memset(a->fixed, 0, sizeof *a->fixed * FIXED_COUNT);
}

/* Class 42: the schema is not what we remember. */
void schema_forget(struct applier *a, const struct err *e)
{
        if (strncmp(e->sqlstate, "42", 2) != 0 && strncmp(e->sqlstate, "0A", 2) != 0 && strcmp(e->name, "column_missing") != 0 &&
            strcmp(e->name, "key_differs") != 0 && e->sqlstate[0] != '2')
                return;
        tables_forget(a);
}

/* A unique key or an exclusion constraint is violated: an insert had not asked whether its key is there; two rows of the group may have
 * swapped their values (delete and insert); or rows of several regions clash (who may not be visible waits outside). A local commit may
 * have come between: again some times. */
static bool try_otherwise(struct work *w, struct err *e)
{
        struct origin *o = w->o;
        if (e->code != ST_DATA || (strcmp(e->sqlstate, "23505") != 0 && strcmp(e->sqlstate, "23P01") != 0))
                return false;
        const char *how = "trying delete and insert";
        if (w->met) {
                err_wrap(e, "asking before the insert");
                return o->asks = true;
        }
        if (o->replace && !w->can_hide)
                return false;
        if (o->replace)
                how = "hiding who may not be visible";
        if (o->hide && o->hide_tries++ >= HIDE_TRIES)
                return false;
        o->hide = o->replace;
        o->replace = true;
        err_wrap(e, "%s", how);
        return true;
}

static enum status refused(struct work *w, struct err *e)
{
        struct applier *a = w->a;
        group_rollback(a);
        origin_error(e->code, a, e);
        if (session_lost(a->db))
                return e->code == ST_DATA ? ST_DATA : err_set(e, ST_RETRY, "the session was lost");
        if (try_otherwise(w, e))
                return e->code = ST_RETRY;
        if (e->code == ST_DATA && e->sqlstate[0])
                name_refused_row(a, w->o, w->item, e);
        schema_forget(a, e);
        return e->code;
}

enum status group_apply(struct applier *a, struct origin *o, const struct log_item *item, struct err *e)
{
        struct work w = {.o = o, .replace = o->replace, .hide = o->hide};
        struct group_xids xids = {{0}, {0}};
        o->waits_for[0] = 0;
        bool ready = causally_ready(a, o, item);
        meter_waits(&a->meter, o->id, !ready);
        if (!ready)
                return err_set(e, ST_RETRY, "waits for %s", o->waits_for);
        enum status s = clock_guard(a, o, item, e);
        if (s == ST_OK)
                s = work_fill(a, item, o->id, &w, e);
        if (s != ST_OK)
                return s;
        if (a->unseen) {
                s = unseen_ask(a->unseen, a->db, item->vec.at[a->me.i], NULL, e);
                if (s != ST_OK)
                        return s;
        }
        s = begin_as(a, o->id, item->end_lsn, item->hlc, e);
        if (s == ST_OK)
                s = rows_of(&w, e);
        if (s == ST_OK)
                s = finish(&w, &xids, e);
        if (s != ST_OK)
                return refused(&w, e);
        own_sets_done(a, true);
        o->asks = o->replace = o->hide = false;
        o->hide_tries = 0;
        hidden_committed(a->hidden);
        a->origin_sure = true;
        a->newest_xid = xids.own;
        if (a->unseen)
                unseen_ended(a->unseen, xids.xmin);
        a->applied.at[o->id.i] = item->hlc;
        stability_note(a, w.dot, xids.own);
        o->groups++;
        o->txs += item->ntxs;
        o->rows += w.rows;
        o->conflicts += w.conflicts;
        meter_applied(&a->meter, w.dot, item->ntxs, w.ops);
        o->applied_offset = item->offset;
        o->applied_lsn = item->end_lsn;
        return ST_OK;
}
