/* repair: what is read in the own log is held against what was applied meanwhile.  DESIGN 6.5.
 * A local delete meets a row that another region wrote concurrently and that was applied before the delete was read; a local insert or
 * update meets a tombstone that arrived while it was in flight. Idempotent: repeated after a restart. */
#include "apply/hide.h"
#include "apply/sets.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "change/key.h"

#define BATCH_ITEMS 256
#define BATCH_BYTES ((size_t)1 << 20)

struct repair {
        struct applier *a;
        struct arena *arena;
        bool open; /* the transaction is begun: something was found that must be written */
        const struct log_item *item;
        /* in the middle of another group's transaction: only for tables whose rule needs siblings */
        const struct pass *outer;
        const struct map *taken;
        bool wrote;
        hlc_t parts; /* of the last group that came in several parts, to tables whose rule needs siblings; 0: none */
};

/* Only tables that several leaders write can need a repair. */
static enum status map_own(void *ctx, const struct relation *rel, struct mapping *out, struct err *e)
{
        struct repair *r = ctx;
        struct applier *a = r->a;
        memset(out, 0, sizeof *out);
        if (!rel->nkeys || !topology_multi_writer(a->topo, rel->schema, rel->name))
                return ST_OK;
        enum status s = catalog_map(a->catalog, a->side, rel, a->me, r->arena, out, e);
        if (s == ST_DATA && strcmp(e->name, "rule_refused") == 0)
                return e->code = ST_RETRY; /* its deletes must leave their tombstones: the own log waits for the mend */
        if (s == ST_DATA) { /* dropped or changed since: there is no row to repair any more, a tombstone by name is enough */
                log_event(LOG_INFO, "apply.own_log_table", "table=%s.%s\twhy=%s", rel->schema, rel->name, e->msg);
                err_clear(e);
                s = ST_OK;
                out->applied = false;
                return s;
        }
        out->applied = s == ST_OK && (!r->outer || out->target->set);
        return s;
}

static enum status begin_repair(void *ctx, struct err *e)
{
        struct repair *r = ctx;
        if (r->open)
                return ST_OK;
        r->open = true;
        return begin_as(r->a, r->a->me, r->item->end_lsn, r->item->hlc, e);
}

/* What a later part of a group notes cannot be told from what was noted before a restart: such a group is taken in once, and that is kept. */
static enum status note_parts(struct repair *r, const struct segment *seg, enum status s, struct err *e)
{
        bool sets = false;
        for (uint32_t i = 0; i < seg->ntables; i++)
                sets |= seg->tables[i].map.target->set != NULL;
        if (s != ST_OK || !sets)
                return s;
        r->parts = r->item->hlc;
        return begin_repair(r, e);
}

static enum status keep_parts(const struct repair *r, enum status s, struct err *e)
{
        uint8_t room[8];
        struct pg_param p = param_i64(room, (int64_t)r->parts.v);
        return s == ST_OK && r->parts.v ? session_query(r->a->db, "UPDATE pangea.meta SET own_parts = $1", 1, &p, NULL, NULL, e)
                                        : s;
}

static enum status lock_nets(struct pass *p, const struct fold_table *t, struct net **nets, uint32_t n, struct err *e)
{
        struct run run = {.w = p->w, .table = t, .kind = SQL_LOCK, .nets = nets, .n = n};
        enum status s = pass_send_run(p, &run, &p->w->guard, pass_on_locked, e);
        return s == ST_OK ? session_sync(p->a->db, p, e) : s;
}

/* The row's writer had surely not seen this own version. Where that is not known (its log at a restart, not read yet; a later transaction of it
 * has), nothing is lost by silence: a version that wins without having seen ours meets it in its own region, and there it is recorded. */
static bool surely_unseen(const struct applier *a, struct dot row, struct dot own)
{
        const struct vector *v = &a->seen[row.region.i];
        return v->at[row.region.i].v >= row.hlc.v && !vector_covers(v, own);
}

/* A local delete against the row that stands. */
static void judge_delete(struct pass *p, const struct fold_table *t, struct net *n)
{
        const struct standing *st = n->standing;
        region_id from = st ? pass_origin_region(p->a, st->origin) : REGION_NONE;
        if (from.i == REGION_NONE.i || from.i == p->a->me.i || st->mine || st->old)
                return; /* absent, or written here after the delete */
        struct dot dot = {.region = from, .hlc = {(uint64_t)st->ts_us}};
        struct vector seen = pass_seen_by(p->w, n);
        struct loser l = {.table = t, .net = n, .winner_known = true, .kind = CONFLICT_DELETE_ORIGIN_DIFFERS};
        switch (lww_decide(dot, p->w->dot, &seen, &p->a->regs)) {
        case VERDICT_OVERWRITE: return;
        case VERDICT_KEEP_MINE:
                l.dot = p->w->dot;
                l.winner = dot;
                l.stands = st->image;
                n->lost = true;
                if (!surely_unseen(p->a, dot, p->w->dot))
                        return;
                break;
        case VERDICT_TAKE_THEIRS:
                l.dot = dot;
                l.winner = p->w->dot;
                l.image = st->image ? st->image : "null";
                pass_place(p, t, n, SQL_DELETE);
                break;
        }
        pass_lose(p, l);
}

static enum status repair_deletes(struct pass *p, struct repair *r, struct err *e)
{
        enum status s = ST_OK;
        for (uint32_t i = 0; i < p->seg->ntables && s == ST_OK; i++) {
                const struct fold_table *t = &p->seg->tables[i];
                if (t->map.target->set)
                        continue; /* apply/setown.c */
                struct net **dels = ARENA_ARRAY(p->arena, struct net *, t->n);
                uint32_t n = 0;
                for (uint32_t k = 0; k < t->n; k++)
                        if (t->nets[k]->del)
                                dels[n++] = t->nets[k];
                if (!n)
                        continue;
                s = begin_repair(r, e);
                if (s == ST_OK)
                        s = lock_nets(p, t, dels, n, e);
                for (uint32_t k = 0; k < n && s == ST_OK; k++)
                        judge_delete(p, t, dels[k]);
        }
        return s;
}

/* A local put that a tombstone kills: the row goes, if it is still the one that this group wrote. */
static enum status judge_put(struct pass *p, const struct fold_table *t, struct net *n, struct dot killer, struct err *e)
{
        const struct standing *st = n->standing;
        bool ours;
        if (!st || pass_origin_region(p->a, st->origin).i != REGION_NONE.i)
                return ST_OK;
        enum status s = own_wrote(p, t->rel, n, st, &ours, e);
        if (s != ST_OK || !ours)
                return s;
        pass_place(p, t, n, SQL_DELETE);
        pass_lose(p, (struct loser){.table = t,
                                    .net = n,
                                    .dot = p->w->dot,
                                    .winner_known = true,
                                    .winner = killer,
                                    .kind = CONFLICT_UPDATE_DELETED});
        return ST_OK;
}

static enum status repair_puts(struct pass *p, struct repair *r, struct err *e)
{
        struct tomb_hit *hits;
        size_t nhits;
        enum status s = pass_find_killed(p, &hits, &nhits, e);
        for (size_t i = 0; i < nhits && s == ST_OK; i++) {
                struct net *n = hits[i].net;
                if (n->lost)
                        continue;
                s = begin_repair(r, e);
                if (s == ST_OK)
                        s = own_visible(p, e);
                if (s == ST_OK)
                        s = lock_nets(p, hits[i].table, &n, 1, e);
                if (s == ST_OK)
                        s = judge_put(p, hits[i].table, n, hits[i].killer, e);
        }
        return s;
}

/* Own deletes are tombstones too, once they are read here; also those of keys that exist again. */
static enum status own_tombs(struct pass *p, struct repair *r, struct err *e)
{
        struct applier *a = p->a;
        struct tomb_list l;
        enum status s = ST_OK;
        tomb_list_init(&l);
        for (uint32_t i = 0; i < p->seg->ntables; i++) {
                const struct fold_table *t = &p->seg->tables[i];
                for (uint32_t k = 0; k < t->n; k++)
                        if (t->nets[k]->had_del)
                                tomb_list_add(&l, a->tombs, t->map.target->name, t->nets[k]->kb, t->nets[k]->klen, p->w->dot.hlc);
        }
        if (l.n)
                s = begin_repair(r, e);
        if (s == ST_OK)
                s = tomb_list_send(&l, a->db, &a->fixed[FIXED_TOMB_PUT], regset_name(&a->regs, a->me), e);
        tomb_list_release(&l);
        return s;
}

static enum status repair_segment(struct work *w, struct repair *r, const struct segment *seg, bool again, struct err *e)
{
        struct pass p = {.w = w, .a = w->a, .arena = r->arena, .seg = seg, .taken = r->taken, .again = again};
        p.own_parts = w->g->chunk || !w->g->last;
        pass_clear_runs(&p);
        enum status s = ST_OK;
        if (!r->outer) {
                s = repair_deletes(&p, r, e);
                if (s == ST_OK)
                        s = repair_puts(&p, r, e);
                if (s == ST_OK && pass_waiting_concerned(&p)) {
                        s = begin_repair(r, e);
                        if (s == ST_OK)
                                s = pass_waiting_own(&p, e);
                }
                if (s == ST_OK && p.runs)
                        s = pass_send_runs(&p, false, e);
                pass_waiting_touched(&p);
        }
        if (s == ST_OK && !r->item->sets_done && r->item->hlc.v > p.a->own_parts.v) {
                s = own_sets(&p, begin_repair, r, &r->wrote, e);
                if (again)
                        s = note_parts(r, seg, s, e);
        }
        if (s == ST_OK)
                s = own_tombs(&p, r, e);
        if (s == ST_OK && seg->truncate) {
                s = begin_repair(r, e);
                if (s == ST_OK)
                        s = pass_truncate_own(&p, e);
        }
        if (s == ST_OK && p.nlosers)
                s = losers_record(w, p.losers, p.nlosers, e);
        return s;
}

/* Nothing here can meet what was applied meanwhile: it deletes nothing, and no tombstone is there that could kill its rows, nor siblings that
 * they replace, nor contributions to be noted. */
static bool quiet(const struct applier *a, const struct group *g)
{
        if (tombs_count(a->tombs) || tombs_count(a->open) || hidden_count(a->hidden))
                return false;
        for (uint32_t i = 0; i < g->nrels; i++)
                if (rules_note_own(a->books, &a->topo->names, g->rels[i].schema, g->rels[i].name))
                        return false;
        for (uint32_t i = 0; i < g->nchanges; i++) {
                const struct change *c = &g->changes[i];
                if (c->op != CHANGE_INSERT && (c->op != CHANGE_UPDATE || (c->old && !key_equal_rows(c->rel, c->old, c->row))))
                        return false;
        }
        return true;
}

static enum status repair_group(void *ctx, const struct group *g, struct err *e)
{
        struct repair *r = ctx;
        struct work w = {.a = r->a};
        struct segment *seg = NULL;
        if (quiet(r->a, g))
                return ST_OK;
        if (r->item->kind == ITEM_BIG)
                arena_reset(r->arena); /* the chunk before this one is done with */
        enum status s = work_fill(r->a, r->item, r->a->me, &w, e);
        w.guard.h_xid = 0;
        w.replace = w.hide = true; /* what a merge writes may clash, too */
        w.g = g;
        if (r->outer)
                w.stamp = r->outer->w->stamp;
        if (s == ST_OK)
                s = fold_group(g, r->arena, map_own, r, &seg, e);
        bool again = g->chunk != 0;
        for (; s == ST_OK && seg; seg = seg->next, again = true)
                s = repair_segment(&w, r, seg, again, e);
        return s;
}

static enum status repair_item(struct repair *r, struct err *e)
{
        struct applier *a = r->a;
        struct record rec;
        if (r->item->replay || ((a->leaders & (a->leaders - 1)) == 0 && r->item->kind != ITEM_MARKER))
                return ST_OK; /* processed before; or nobody else writes */
        switch (r->item->kind) {
        case ITEM_EPOCH:
        case ITEM_PROGRESS: return ST_OK;
        case ITEM_MARKER: return apply_marker(a, a->me, r->item, e);
        case ITEM_BIG: return inlog_reread(a->own_log, r->item->first_offset, r->item->offset, r->item->epoch, repair_group, r, e);
        case ITEM_GROUP: break;
        }
        enum status s = wire_decode(r->item->msg.data, r->item->msg.len, &a->regs, r->arena, &rec, e);
        return s == ST_OK ? repair_group(r, &rec.u.group, e) : s;
}

static void processed(struct applier *a, const struct log_item *i)
{
        if (i->kind == ITEM_EPOCH || i->kind == ITEM_MARKER)
                return;
        vector_join(&a->seen[a->me.i], &i->vec);
        a->seen[a->me.i].at[a->me.i] = hlc_max(a->seen[a->me.i].at[a->me.i], i->hlc);
        a->applied.at[a->me.i] = a->seen[a->me.i].at[a->me.i];
        a->own_turn.lsn = lsn_max(a->own_turn.lsn, i->end_lsn);
        own_mark_add(a, i);
        a->from[a->me.i].moved_at = clock_mono_us();
        if (i->wall_us)
                a->from[a->me.i].heartbeat_us = i->wall_us;
}

/* A try that was given up in the middle: the next one ends before that record, so that those which went well are done with. Each record that needs
 * the own log read to the insert position may fail by itself; all of a batch would never get through where that is slow. */
static void gave_up(struct own_turn *t, size_t n, const struct err *e)
{
        t->at_once = n > 1 ? n - 1 : 1;
        t->why = *e;
        t->since_us = t->since_us ? t->since_us : clock_wall_us();
}

static void went_well(struct own_turn *t)
{
        t->at_once = t->at_once * 2 < BATCH_ITEMS ? t->at_once * 2 : BATCH_ITEMS;
        t->since_us = 0;
}

enum status own_process(struct applier *a, bool *moved, struct err *e)
{
        struct repair r = {.a = a, .arena = &a->arena};
        const struct log_item *last = NULL;
        size_t bytes = 0, n = 0;
        *moved = false;
        if (!a->own_log || !inlog_head(a->own_log))
                return ST_OK;
        arena_reset(&a->arena);
        enum status s = ST_OK;
        if (!a->own_turn.at_once)
                a->own_turn.at_once = BATCH_ITEMS;
        for (struct log_item *i = inlog_head(a->own_log); i && n < a->own_turn.at_once && bytes < BATCH_BYTES && s == ST_OK;
             i = i->next, n++) {
                bool alone = i->kind == ITEM_BIG;
                if (alone && n)
                        break;
                r.item = i;
                bytes += i->bytes;
                s = repair_item(&r, e);
                if (s == ST_OK)
                        last = i;
                if (alone)
                        break;
        }
        s = keep_parts(&r, s, e);
        if (s == ST_OK && r.open) {
                s = session_query(a->db, "COMMIT", 0, NULL, NULL, NULL, e);
                if (s == ST_OK)
                        s = session_sync(a->db, NULL, e);
                if (s == ST_OK)
                        hidden_committed(a->hidden);
                a->origin_sure |= s == ST_OK;
                if (s == ST_OK)
                        meter_committed(&a->meter);
                if (s == ST_OK)
                        a->own_parts = hlc_max(a->own_parts, r.parts);
        }
        if (s != ST_OK) {
                gave_up(&a->own_turn, n, e);
                group_rollback(a);
                return s;
        }
        went_well(&a->own_turn);
        while (last) {
                struct log_item *i = inlog_take(a->own_log);
                bool end = i == last;
                processed(a, i);
                log_item_free(i);
                *moved = true;
                if (end)
                        break;
        }
        return ST_OK;
}

/* ---- in the middle of another group's transaction ------------------------------------------------------------------------------------ */

static void note_taken(struct pass *p, struct set_table *const *tables, size_t n, struct map *out)
{
        for (size_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < tables[i]->n; k++) {
                        size_t len;
                        if (!tables[i]->keys[k].taken)
                                continue;
                        const void *key = set_taken_key(p->arena, tables[i]->name, tables[i]->keys[k].net, &len);
                        map_put(out, key, len, &tables[i]->keys[k]);
                }
}

enum status own_process_sets(struct pass *p, struct set_table *const *tables, size_t n, bool *wrote, struct err *e)
{
        struct applier *a = p->a;
        struct map taken;
        struct repair r = {.a = a, .arena = &a->own_arena, .open = true, .outer = p, .taken = &taken};
        enum status s = ST_OK;
        if (!a->own_log || !inlog_head(a->own_log))
                return ST_OK;
        arena_reset(&a->own_arena);
        map_init(&taken, 0);
        note_taken(p, tables, n, &taken);
        for (const struct log_item *i = a->sets_ahead ? a->sets_ahead->next : inlog_head(a->own_log); i && s == ST_OK;
             i = i->next) {
                if (i->sets_done)
                        continue;
                r.item = i;
                s = i->kind == ITEM_BIG || i->kind == ITEM_MARKER ? err_set(e, ST_RETRY, "the own log must be processed first")
                                                                  : repair_item(&r, e);
                if (s == ST_OK)
                        a->sets_ahead = i;
        }
        map_release(&taken);
        *wrote = r.wrote;
        a->parts_ahead = hlc_max(a->parts_ahead, r.parts);
        return keep_parts(&r, s, e);
}

void own_sets_done(struct applier *a, bool committed)
{
        struct log_item *i = a->sets_ahead && a->own_log ? inlog_head(a->own_log) : NULL;
        for (; i && committed; i = i->next) {
                i->sets_done = true;
                if (i == a->sets_ahead)
                        break;
        }
        a->sets_ahead = NULL;
        if (committed)
                a->own_parts = hlc_max(a->own_parts, a->parts_ahead);
        a->parts_ahead.v = 0;
}
