/* turn: one turn of the apply agent: what has come is read, what can be applied is applied.  DESIGN 6.1. */
#include "apply/hide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define TURN_US 20000 /* one origin's share of a turn */
#define BACKOFF_MAX_US 1000000
#define MEND_US 2000000 /* how often a waiting origin looks whether it was mended */
#define SAY_AFTER_TRIES 20
#define OWN_TRIES 5
#define UNSEEN_MANY 16384

void origin_state(struct applier *a, struct origin *o, enum agent_state state, const struct err *why)
{
        bool changed = state != o->state || (why && strcmp(why->msg, o->why.msg) != 0);
        if (!changed)
                return;
        if (state != o->state)
                o->since_us = clock_wall_us();
        o->state = state;
        if (why)
                o->why = *why;
        else
                err_clear(&o->why);
        char lsn[LSN_STRLEN];
        log_event(state == STATE_STOPPED || state == STATE_WAITING ? LOG_WARN : LOG_INFO, "apply.origin",
                  "origin=%s\tstate=%s\terror=%s\tsqlstate=%s\tlsn=%s\twhy=%s", regset_name(&a->regs, o->id), state_name(state),
                  o->why.name, o->why.sqlstate, lsn_str(lsn, o->applied_lsn), o->why.msg);
}

/* Half to all of the exponential back-off, so that two that collided do not collide again. */
static int64_t backoff(unsigned tries)
{
        int64_t us = tries < 10 ? INT64_C(1000) << tries : BACKOFF_MAX_US;
        if (us > BACKOFF_MAX_US)
                us = BACKOFF_MAX_US;
        return us / 2 + (int64_t)(random() % (us / 2 + 1));
}

static void log_trouble(struct applier *a, struct origin *o, enum status s, const struct err *e)
{
        if (s == ST_OK || s == ST_RETRY)
                return; /* nothing there yet; a broker that is away shows as a missing heartbeat */
        bool missing = strcmp(e->name, "topic_missing") == 0;
        o->retry_at = clock_mono_us() + MEND_US;
        o->dead = true;
        origin_state(a, o, missing ? STATE_WAITING : STATE_STOPPED, e);
}

static void read_logs(struct applier *a)
{
        struct err e;
        for (unsigned i = 0; i < a->topo->names.n; i++) {
                struct origin *o = &a->from[i];
                if (i == a->me.i || !(a->leaders >> i & 1))
                        continue;
                if (o->dead) {
                        if (strcmp(o->why.name, "topic_missing") != 0 || clock_mono_us() < o->retry_at)
                                continue;
                        o->dead = false;
                        if (apply_open_log(a, o, &e) != ST_OK) {
                                log_trouble(a, o, ST_DATA, &e);
                                continue;
                        }
                }
                log_trouble(a, o, inlog_pump(o->log, &e), &e);
                const char *searched = inlog_searches(o->log);
                if (!o->dead && *searched && !pause_of(a, o)) {
                        err_set(&e, ST_RETRY, "waits for %s", searched);
                        origin_state(a, o, STATE_WAITING, &e);
                }
        }
}

static void processed(struct applier *a, struct origin *o, const struct log_item *i)
{
        vector_join(&a->seen[o->id.i], &i->vec);
        o->moved_at = clock_mono_us();
        if (i->wall_us)
                o->heartbeat_us = i->wall_us;
        else if (i->kind == ITEM_GROUP || i->kind == ITEM_BIG)
                o->heartbeat_us = (int64_t)i->hlc.v > o->heartbeat_us ? (int64_t)i->hlc.v : o->heartbeat_us;
        if (i->wall_us && !inlog_queued(o->log))
                meter_heard(&a->meter, o->id, i->wall_us);
        o->tries = 0;
        o->retry_at = 0;
        origin_state(a, o, STATE_RUNNING, NULL);
}

static enum status not_applied(struct applier *a, struct origin *o, enum status s, const struct err *e)
{
        if (session_lost(a->db) || pg_lost(a->side))
                return ST_RETRY;
        switch (s) {
        case ST_RETRY:
                if (o->waits_for[0]) { /* for another origin: asked again as soon as something moved */
                        origin_state(a, o, STATE_RUNNING, NULL);
                        return ST_OK;
                }
                o->retries++;
                meter_retry(&a->meter, o->id, e);
                o->tries++;
                o->retry_at = clock_mono_us() + backoff(o->tries);
                if (o->tries == SAY_AFTER_TRIES)
                        origin_state(a, o, STATE_WAITING, e);
                log_event(LOG_DEBUG, "apply.retry", "origin=%s\ttries=%u\tsqlstate=%s\twhy=%s", regset_name(&a->regs, o->id),
                          o->tries, e->sqlstate, e->msg);
                return ST_OK;
        case ST_DATA: {
                struct err why = *e;
                bool unique = strcmp(e->sqlstate, "23505") == 0 || strcmp(e->sqlstate, "23P01") == 0;
                if (!why.name[0])
                        snprintf(why.name, sizeof why.name, "%s", unique ? "unique_conflict" : "row_refused");
                o->asks = o->replace = o->hide = false;
                o->hide_tries = 0;
                o->retry_at = clock_mono_us() + MEND_US;
                origin_state(a, o, unique ? STATE_STOPPED : STATE_WAITING, &why);
                return ST_OK;
        }
        case ST_OK:
        case ST_CONFIG:
        case ST_FATAL:
        case ST_STOP: break;
        }
        return s;
}

enum status apply_marker(struct applier *a, region_id from, const struct log_item *i, struct err *e)
{
        bool changed = false;
        if (strcmp(i->what, "rules") != 0)
                return ST_OK;
        enum status s = rulebooks_marker(a->books, a->side, from, i->text, &changed, e);
        if (s == ST_OK && changed)
                tables_forget(a);
        return s;
}

static enum status apply_head(struct applier *a, struct origin *o, struct log_item *i, struct err *e)
{
        if (i->replay)
                return ST_OK;
        switch (i->kind) {
        case ITEM_MARKER: return apply_marker(a, o->id, i, e);
        case ITEM_EPOCH:
        case ITEM_PROGRESS: return ST_OK;
        case ITEM_GROUP:
        case ITEM_BIG: break;
        }
        return group_apply(a, o, i, e);
}

/* As many records of one origin as its share of the turn allows. */
static enum status work_origin(struct applier *a, struct origin *o, bool *moved, struct err *e)
{
        int64_t end = clock_mono_us() + TURN_US;
        struct log_item *i;
        while (!o->dead && o->log && (i = inlog_head(o->log)) != NULL) {
                if (clock_mono_us() < o->retry_at)
                        return ST_OK;
                struct err why = {.code = ST_OK};
                enum status s = apply_head(a, o, i, &why);
                if (s != ST_OK) {
                        s = not_applied(a, o, s, &why);
                        *e = why;
                        return s;
                }
                i = inlog_take(o->log);
                processed(a, o, i);
                log_item_free(i);
                *moved = true;
                if (clock_mono_us() > end || atomic_load(&a->control->stop) != STOP_NO)
                        break;
        }
        return ST_OK;
}

/* Commits to ask for though nothing rests on them: a long transaction keeps the xmin back that else says so. */
static enum status ask_if_many(struct applier *a, struct err *e)
{
        if (unseen_count(a->unseen) < UNSEEN_MANY)
                return ST_OK;
        enum status s = unseen_ask(a->unseen, a->db, unseen_read(a->unseen), NULL, e);
        return s == ST_RETRY && !session_lost(a->db) ? ST_OK : s;
}

static enum status work_own(struct applier *a, bool *moved, struct err *e)
{
        if (!a->own_log)
                return ST_OK;
        enum status s = own_pump(a, e);
        if (s != ST_OK && s != ST_RETRY)
                return strcmp(e->name, "topic_missing") == 0 ? (e->code = ST_RETRY) : s;
        s = ask_if_many(a, e);
        if (s != ST_OK)
                return s;
        s = own_process(a, moved, e);
        if (s == ST_DATA && e->sqlstate[0] && a->own_tries++ < OWN_TRIES) { /* a table was changed or dropped since we looked */
                schema_forget(a, e);
                return ST_OK;
        }
        if (s == ST_OK)
                a->own_tries = 0;
        if (s == ST_RETRY && !session_lost(a->db) && !pg_lost(a->side)) {
                log_event(LOG_DEBUG, "apply.own_retry", "why=%s", e->msg);
                return ST_OK;
        }
        return s;
}

enum status apply_turn(struct applier *a, bool *moved, struct err *e)
{
        *moved = false;
        read_logs(a);
        if (a->pauses.agent.on)
                return ST_OK;
        enum status s = work_own(a, moved, e);
        for (unsigned i = 0; i < a->topo->names.n && s == ST_OK; i++)
                if (i != a->me.i && a->leaders >> i & 1 && !a->pauses.origin[i].on)
                        s = work_origin(a, &a->from[i], moved, e);
        if (s == ST_OK)
                s = visible_turn(a, moved, e);
        return s;
}
