/* stability: once a second, what is stable is forgotten: tombstones, index entries, xids.  DESIGN 6.6, 4.1. */
#include "apply/applier.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "conflict/stable.h"

#define MARKS_MAX ((size_t)1 << 15)
#define SILENT_US 5000000
#define TOMBS_AT_ONCE "20000"

void own_mark_add(struct applier *a, const struct log_item *i)
{
        /* Only groups: the other regions begin at the last group they applied, and log.retention may take what is before our position. */
        if (i->no_start || i->kind == ITEM_PROGRESS)
                return;
        if (a->nown_marks == MARKS_MAX) { /* fewer places to begin from are still right */
                for (size_t k = 0; k < MARKS_MAX / 2; k++)
                        a->own_marks[k] = a->own_marks[2 * k + 1];
                a->nown_marks = MARKS_MAX / 2;
        }
        if (a->nown_marks == a->cap_own_marks) {
                a->cap_own_marks = a->cap_own_marks ? 2 * a->cap_own_marks : 256;
                a->own_marks = mem_realloc(a->own_marks, a->cap_own_marks * sizeof *a->own_marks);
        }
        a->own_marks[a->nown_marks++].at = (struct log_position){.incarnation = 1,
                                                                 .epoch = i->epoch,
                                                                 .seq = i->seq,
                                                                 .hlc = a->seen[a->me.i].at[a->me.i],
                                                                 .lsn = i->end_lsn,
                                                                 .offset = i->offset};
}

/* Which xid applied which group: until it is stable. A full list makes one entry of two: the older xid, what both need. */
void stability_note(struct applier *a, struct dot dot, fullxid_t xid)
{
        if (a->npending == PENDING_XIDS) {
                for (size_t k = 0; k < PENDING_XIDS / 2; k++) {
                        struct pending_xid both = a->pending[2 * k];
                        vector_join(&both.need, &a->pending[2 * k + 1].need);
                        a->pending[k] = both;
                }
                a->npending = PENDING_XIDS / 2;
        }
        struct pending_xid *p = &a->pending[a->npending++];
        *p = (struct pending_xid){.xid = xid};
        p->need.at[dot.region.i] = dot.hlc;
}

/* S: every version written by an xid below it is stable. */
static void move_stable_xid(struct applier *a)
{
        size_t n = 0;
        if (!vector_le(&a->at_start, &a->stable))
                return; /* xids of groups that were applied before this session began are not known */
        while (n < a->npending && vector_le(&a->pending[n].need, &a->stable))
                n++;
        fullxid_t s = n < a->npending ? a->pending[n].xid : n ? a->pending[n - 1].xid : a->start_xid;
        memmove(a->pending, a->pending + n, sizeof *a->pending * (a->npending - n));
        a->npending -= n;
        if (!a->follower) {
                fullxid_t h = ownlog_h(a->own, a->stable.at[a->me.i]);
                if (h.v < s.v)
                        s = h;
        }
        if (s.v > a->stable_xid.v)
                a->stable_xid = s;
}

void stability_xmin(struct applier *a, fullxid_t xmin)
{
        if (a->follower && !a->held && a->npending == 0 && xmin.v > a->stable_xid.v)
                a->stable_xid = xmin; /* all that was applied is stable, and nobody else writes here */
}

/* Whose log lacks what keeps the stable vector back. The own log counts as behind when capture says nothing. */
static uint32_t held_by(const struct applier *a)
{
        uint32_t who = 0;
        for (unsigned i = 0; i < a->topo->names.n; i++)
                for (unsigned l = 0; a->stable.at[i].v < a->applied.at[i].v && l < a->topo->names.n; l++)
                        if (a->leaders >> l & 1 && a->seen[l].at[i].v <= a->stable.at[i].v)
                                who |= UINT32_C(1) << l;
        const struct origin *own = &a->from[a->me.i];
        if (!a->follower && clock_mono_us() - own->moved_at > SILENT_US)
                who |= UINT32_C(1) << a->me.i;
        return who;
}

static void note_held(struct applier *a)
{
        uint32_t who = held_by(a);
        if (!a->held_since_us || !who != !a->held)
                a->held_since_us = clock_wall_us();
        a->held = who;
}

static bool move_own_position(struct applier *a)
{
        size_t n = 0;
        hlc_t acked = acks_of_mine(a), visible = unseen_visible(a->unseen); /* a session that starts there believes that it is */
        while (n < a->nown_marks && a->own_marks[n].at.hlc.v <= acked.v && a->own_marks[n].at.hlc.v <= visible.v)
                n++;
        if (n == 0)
                return false;
        bool moved = a->own_marks[n - 1].at.hlc.v != a->own_stable.hlc.v;
        if (moved)
                a->own_stable = a->own_marks[n - 1].at;
        if (n > 1) { /* the last one stays: it may be wanted when time has passed */
                memmove(a->own_marks, a->own_marks + n - 1, sizeof *a->own_marks * (a->nown_marks - n + 1));
                a->nown_marks -= n - 1;
        }
        return moved;
}

static void on_removed(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        *(int64_t *)arg += pgres_affected(r);
}

static enum status forget_tombs(struct applier *a, int64_t *removed, struct err *e)
{
        static const char sql[] =
                "DELETE FROM pangea.tombstone WHERE ctid = ANY (ARRAY(SELECT ctid FROM pangea.tombstone WHERE region = $1"
                " AND hlc <= $2 LIMIT " TOMBS_AT_ONCE "))";
        uint8_t room[8];
        enum status s = ST_OK;
        for (unsigned r = 0; r < a->topo->names.n && s == ST_OK; r++) {
                if (!a->stable.at[r].v)
                        continue;
                struct pg_param p[2] = {param_text(a->regs.name[r]), param_i64(room, (int64_t)a->stable.at[r].v)};
                s = session_send(a->db, &a->fixed[FIXED_TOMB_FORGET], sql, 2, p, on_removed, removed, e);
        }
        return s;
}

static enum status save(struct applier *a, bool position, int64_t *removed, int64_t *closed, struct err *e)
{
        uint8_t room[8];
        enum status s = begin_as(a, a->me, a->own_stable.lsn, a->own_stable.hlc, e);
        if (s == ST_OK && position)
                s = position_send(a, a->me, &a->own_stable, e);
        if (s == ST_OK && a->stable_xid.v > a->stable_xid_saved.v) {
                struct pg_param p = param_i64(room, (int64_t)a->stable_xid.v);
                s = session_query(a->db,
                                  "UPDATE pangea.meta SET stable_xid = ($1::pg_catalog.int8)::pg_catalog.text::pg_catalog.xid8", 1,
                                  &p, NULL, NULL, e);
        }
        if (s == ST_OK && tombs_count(a->tombs))
                s = forget_tombs(a, removed, e);
        if (s == ST_OK)
                s = siblings_forget(a, closed, e);
        if (s == ST_OK)
                s = session_query(a->db, "COMMIT", 0, NULL, NULL, NULL, e);
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        if (s != ST_OK) {
                group_rollback(a);
                return s;
        }
        a->origin_sure = true;
        a->stable_xid_saved = a->stable_xid;
        return ST_OK;
}

enum status stability_turn(struct applier *a, struct err *e)
{
        int64_t removed = 0, closed = 0;
        struct vector before = a->stable;
        acks_read(a);
        siblings_look(a);
        stable_vector(a->seen, a->leaders, &a->stable);
        vector_join(&a->stable, &before);
        move_stable_xid(a);
        note_held(a);
        bool moved = !a->follower && move_own_position(a);
        ownlog_forget(a->own, a->own_stable.hlc);
        bool grown = memcmp(&before, &a->stable, sizeof before) != 0;
        bool held = tombs_count(a->tombs) || tombs_count(a->open) || a->has_dots;
        if (!moved && !(grown && held) && a->stable_xid.v < a->stable_xid_saved.v + 10000)
                return ST_OK;
        enum status s = save(a, moved, &removed, &closed, e);
        if (s == ST_OK && removed && tombs_removed(a->tombs, (uint64_t)removed))
                s = tombs_load(a->tombs, a->side, "pangea.tombstone", e);
        if (s == ST_OK && tombs_removed(a->open, (uint64_t)closed) && tombs_count(a->open))
                s = siblings_load_open(a, e);
        return s;
}
