#include "apply/hide.h"

#include <string.h>

#include "apply/rules.h"
#include "change/key.h"

bool hides(const struct target *t)
{
        return t && t->multi && t->unique_extra && t->nkeys && !(t->set && t->set->rule->accumulates);
}

/* ---- what version is a visible row? --------------------------------------------------------------------------------------------------- */

static bool asks_own_log(const struct applier *a, const struct standing *st)
{
        return !a->follower && !st->mine && !st->old && pass_origin_region(a, st->origin).i == REGION_NONE.i &&
               !ownlog_knows(a->own, st->ts_us, st->xmin);
}

/* A row whose dot is forgotten is stable: any stable dot will do. */
static enum status dot_of(struct applier *a, const struct clash_set *c, const struct clash_row *row, struct dot mine,
                          struct dot *out, struct err *e)
{
        const struct standing *st = row->standing;
        region_id from = pass_origin_region(a, st->origin);
        bool stable = false;
        *out = (struct dot){.region = from.i == REGION_NONE.i ? a->me : from, .hlc = {(uint64_t)st->ts_us}};
        if (st->mine)
                *out = mine;
        if (st->mine || st->old || from.i != REGION_NONE.i)
                return ST_OK;
        if (a->follower) {
                out->hlc.v = 0;
                return ST_OK;
        }
        if (st->ts_us == 0)
                return err_named(
                        e, ST_DATA, "timestamp_gone",
                        "table %s: the commit timestamp of xid %u is gone (VACUUM FREEZE) while older versions are not stable yet",
                        c->target->name, st->xmin);
        struct dot dot;
        enum status s = own_dot(a, st->ts_us, st->xmin, c->table->rel, clash_net(c->arena, c->table->rel, row), &dot, &stable, e);
        if (s == ST_OK && !stable)
                *out = dot;
        return s;
}

/* ---- hiding --------------------------------------------------------------------------------------------------------------------------- */

static void record(const struct hiding *h, uint32_t i, struct dot dot, struct loser *l)
{
        const struct clash_set *c = h->set;
        const struct clash_pair *by = h->holder[i];
        const struct clash_row *winner = &c->rows[clash_other(by, i)];
        struct net *net = clash_net(c->arena, c->table->rel, &c->rows[i]);
        net->tx = c->rows[i].standing ? winner->tx : c->rows[i].tx;
        *l = (struct loser){.table = c->table,
                            .net = net,
                            .dot = dot,
                            .kind = CONFLICT_MULTIPLE_UNIQUE,
                            .rule = c->target->set ? c->target->set->name : NULL,
                            .label = c->target->set ? c->target->set->label : NULL,
                            .winner = h->mine,
                            .winner_known = true,
                            .by_text = true,
                            .text = c->rows[i].image,
                            .stands_text = winner->image,
                            .constraint = by->constraint,
                            .holder = winner->key};
        const struct standing *st = winner->standing;
        if (!st || st->mine)
                return;
        l->winner.region = pass_origin_region(c->a, st->origin);
        l->winner_known = l->winner.region.i != REGION_NONE.i && st->ts_us;
        l->winner.hlc.v = (uint64_t)st->ts_us;
        if (l->winner.region.i == REGION_NONE.i)
                l->winner.region = c->a->me;
}

static enum status hide_one(struct applier *a, const struct hiding *h, uint32_t i, struct dot dot, struct err *e)
{
        struct clash_set *c = h->set;
        const struct clash_row *row = &c->rows[i], *by = &c->rows[clash_other(h->holder[i], i)];
        struct hidden_image w = {.kb = row->kb,
                                 .klen = row->klen,
                                 .dot = dot,
                                 .image = row->image,
                                 .held_by = by->key,
                                 .constraint = h->holder[i]->constraint,
                                 .holder = by->kb,
                                 .holder_len = by->klen};
        enum status s = hidden_put(a->hidden, a->db, &a->regs, c->target, &w, e);
        if (s != ST_OK || !row->standing)
                return s;
        hidden_touched(hidden_table(a->hidden, c->target->name), row->kb, row->klen);
        return hidden_untie(a->db, c->target->name, row->kb, row->klen, row->standing->xmin, e);
}

static enum status delete_visible(struct applier *a, struct clash_set *c, const uint32_t *rows, uint32_t n, struct err *e)
{
        int64_t done = 0;
        if (!n)
                return ST_OK;
        enum status s = clash_send_delete(c, rows, n, &done, e);
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        if (s == ST_OK && done != (int64_t)n)
                return err_set(e, ST_RETRY, "table %s: %" PRId64 " of %u rows were there to be hidden", c->target->name, done, n);
        return s;
}

enum status hide_losers(struct applier *a, const struct hiding *h, struct loser **losers, size_t *n, struct err *e)
{
        struct clash_set *c = h->set;
        uint32_t *leave = ARENA_ARRAY(c->arena, uint32_t, c->n), nleave = 0;
        bool wait = false;
        *losers = ARENA_ARRAY(c->arena, struct loser, c->n);
        *n = 0;
        for (uint32_t i = c->ncandidates; i < c->n; i++)
                if (!h->keep[i]) {
                        wait |= asks_own_log(a, c->rows[i].standing);
                        leave[nleave++] = i;
                }
        enum status s = wait ? own_catch_up(a, e) : ST_OK;
        for (uint32_t i = h->visible_only ? c->ncandidates : 0; i < c->n && s == ST_OK; i++) {
                struct dot dot = h->mine;
                if (h->keep[i])
                        continue;
                if (c->rows[i].standing)
                        s = dot_of(a, c, &c->rows[i], h->mine, &dot, e);
                if (s == ST_OK)
                        s = hide_one(a, h, i, dot, e);
                if (s == ST_OK)
                        record(h, i, dot, &(*losers)[(*n)++]);
        }
        return s == ST_OK ? delete_visible(a, c, leave, nleave, e) : s;
}

/* ---- the third try of a group ----------------------------------------------------------------------------------------------------------- */

static bool is_put(enum sql_kind k)
{
        return k == SQL_PUT_ABSENT || k == SQL_UPSERT || k == SQL_INSERT;
}

/* Rows of the segment that are to be written, in the order of the runs. */
static void add_candidates(struct pass *p, struct clash_set *c, struct map *gone)
{
        for (struct run *r = p->runs; r; r = r->next) {
                if (r->table->map.target != c->target)
                        continue;
                for (uint32_t i = 0; i < r->n; i++) {
                        const struct net *n = r->nets[i];
                        struct buf key;
                        map_put(gone, n->kb, n->klen, r);
                        if (!is_put(r->kind))
                                continue;
                        buf_init(&key, 0);
                        key_json(&key, r->table->rel, n->key);
                        struct clash_row row = {.kb = n->kb,
                                                .klen = n->klen,
                                                .key = arena_strndup(p->arena, (const char *)key.data, key.len),
                                                .image = clash_image(p->arena, r->table->rel, n->row),
                                                .tx = n->tx};
                        clash_add(c, &row);
                        buf_release(&key);
                }
        }
}

/* In the same order: nets that may not be visible go out of their runs. */
static void take_out(struct pass *p, const struct clash_set *c, const bool *keep)
{
        uint32_t at = 0;
        for (struct run *r = p->runs; r; r = r->next) {
                uint32_t left = 0;
                if (r->table->map.target != c->target || !is_put(r->kind))
                        continue;
                for (uint32_t i = 0; i < r->n; i++) {
                        if (keep[at++])
                                r->nets[left++] = r->nets[i];
                        else
                                r->nets[i]->settled = r->nets[i]->hidden = true;
                }
                r->n = left;
        }
        struct run *r = p->runs;
        pass_clear_runs(p);
        for (; r; r = r->next) {
                if (!r->n)
                        continue;
                *p->tail = r;
                p->tail = &r->next;
        }
        *p->tail = NULL;
}

static enum status hide_target(struct pass *p, struct target *t, struct err *e)
{
        struct clash_set c;
        struct map gone;
        struct hiding h = {.set = &c, .mine = p->w->stamp};
        bool *keep;
        const struct clash_pair **holder;
        struct loser *losers = NULL;
        size_t n = 0;
        map_init(&gone, 0);
        enum status s = clash_begin(&c, p->a, p->arena, t, e);
        if (s == ST_OK) {
                add_candidates(p, &c, &gone);
                c.gone = &gone;
                s = clash_find(&c, e);
        }
        if (s == ST_OK) {
                clash_decide(&c, &keep, &holder);
                h.keep = keep;
                h.holder = holder;
                s = hide_losers(p->a, &h, &losers, &n, e);
        }
        if (s == ST_OK)
                take_out(p, &c, keep);
        for (size_t i = 0; i < n && s == ST_OK; i++)
                pass_lose(p, losers[i]);
        clash_end(&c);
        map_release(&gone);
        return s;
}

enum status pass_hide(struct pass *p, struct err *e)
{
        enum status s = ST_OK;
        for (uint32_t i = 0; i < p->seg->ntables && s == ST_OK; i++) {
                struct target *t = p->seg->tables[i].map.target;
                bool seen = !(p->w->hide || (t && t->deferrable)) || !hides(t);
                for (uint32_t k = 0; k < i && !seen; k++)
                        seen = p->seg->tables[k].map.target == t;
                if (!seen)
                        s = hide_target(p, t, e);
        }
        return s;
}
