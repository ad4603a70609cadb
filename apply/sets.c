/* sets: nets of tables whose rule needs the siblings.  DESIGN 6.3, 6.4, 7.
 *
 *   fast        a guarded statement, for keys that are surely closed and have no tombstone; rows it does not touch come here
 *   lock        the rows that are there; absent keys are taken: a placeholder of ours waits for a local insert in flight, and keeps others out
 *   own log     is read to the insert position when the dot of a row is not known yet, or a row comes into an absent key; what is
 *               in its queue is processed first, inside this transaction: its deletes and contributions count
 *   state       row, siblings (when they are this row's), contributions, tombstones
 *   merge       conflict/merge.h, key by key
 *   write       one statement for each kind of write; losers, siblings, contributions, tombstones */
#include "apply/hide.h"
#include "apply/sets.h"

#include <string.h>

#include "conflict/standing.h"

bool set_takes_fast_path(const struct pass *p, const struct fold_table *t, const struct net *n)
{
        const struct set_rule *set = t->map.target->set;
        return !set->dots && !set->olds && !n->fresh && !(n->had_del && !n->del) && (t->rel->full || !set->full) &&
               !siblings_perhaps(p->a, t->map.target->name, n) && !pass_tombs_perhaps(p, t, n);
}

/* ---- what stands ---------------------------------------------------------------------------------------------------------------------- */

static enum standing_answer judge(const struct pass *p, const struct set_key *k, struct dot *dot)
{
        const struct applier *a = p->a;
        const struct standing *st = k->standing;
        struct vector seen = pass_seen_by(p->w, k->net);
        fullxid_t h = {0}; /* of an own change: its own row is not one that it has seen */
        if (p->w->dot.region.i != a->me.i)
                h = ownlog_h(a->own, seen.at[a->me.i]);
        struct standing_facts f = {
                .xmin = st->xmin, .ts_us = st->ts_us, .from = pass_origin_region(a, st->origin), .mine = st->mine, .old = st->old};
        struct standing_view v = {
                .me = a->me, .follower = a->follower, .incoming = p->w->dot, .seen = &seen, .h = h, .newest_xid = a->newest_xid};
        return standing_judge(&f, &v, dot);
}

static bool needs_own_log(const struct pass *p, const struct set_key *k)
{
        struct dot dot;
        if (p->a->follower)
                return false;
        if (!k->standing)
                return k->waits || !k->net->del;
        return judge(p, k, &dot) == STANDING_ASK_OWN_LOG && !ownlog_knows(p->a->own, k->standing->ts_us, k->standing->xmin);
}

static enum status timestamp_gone(const struct pass *p, const struct set_key *k, struct err *e)
{
        return err_named(
                e, ST_DATA, "timestamp_gone",
                "table %s: the commit timestamp of a row that xid %u wrote is gone (VACUUM FREEZE) while older versions are not "
                "stable yet; make a new version of what shall stand%s: UPDATE %s SET (any column to itself) WHERE xmin = '%u'",
                k->table->name, k->standing->xmin, p->a->follower ? " in a leader, then here" : ", here", k->table->name,
                k->standing->xmin);
}

static enum status local_dot(struct pass *p, struct set_key *k, struct err *e)
{
        bool older = false;
        const struct standing *st = k->standing;
        enum status s = own_dot(p->a, st->ts_us, st->xmin, k->table->table->rel, k->net, &k->row_dot, &older, e);
        if (s == ST_OK && older)
                k->row_dot.hlc.v = 0;
        k->local = s == ST_OK && !older;
        return s;
}

static enum status standing_version(struct pass *p, struct set_key *k, struct err *e)
{
        const struct standing *st = k->standing;
        k->local = false;
        k->row_dot = (struct dot){.region = p->a->me};
        if (k->waits) {
                k->row_dot = k->wait_dot;
                k->local = k->wait_dot.region.i == p->a->me.i;
        }
        if (!st)
                return ST_OK;
        if (st->mine) {
                k->row_dot = p->w->stamp;
                return ST_OK;
        }
        switch (judge(p, k, &k->row_dot)) {
        case STANDING_DOT: return ST_OK;
        case STANDING_ASK_OWN_LOG: return local_dot(p, k, e);
        case STANDING_TIMESTAMP_GONE: return timestamp_gone(p, k, e);
        case STANDING_DOMINATED:
        case STANDING_WON_ALREADY: break; /* never: not asked for */
        }
        if (!p->a->follower && st->ts_us > (int64_t)p->w->dot.hlc.v)
                return err_named(e, ST_FATAL, "invariant",
                                 "table %s: a row of xid %u, written at %" PRId64 ", counts as seen by a change of HLC %" PRIu64
                                 " before it; this is a bug in pangea: nothing was written, please report it",
                                 k->table->name, st->xmin, st->ts_us, p->w->dot.hlc.v);
        return ST_OK;
}

enum status sets_standing(struct pass *p, struct set_table *t, struct err *e)
{
        enum status s = ST_OK;
        for (uint32_t i = 0; i < t->n && s == ST_OK; i++)
                s = standing_version(p, &t->keys[i], e);
        return s;
}

static struct key_state state_of(struct set_key *k)
{
        struct key_state st = {.tombs = k->tombs};
        if (!k->row)
                return st;
        k->closed = (struct version){.dot = k->row_dot, .row = k->row}; /* what it had seen is not known, and nobody asks */
        st.row = k->row;
        st.sibs = k->nsibs ? k->sibs : &k->closed;
        st.nsibs = k->nsibs ? k->nsibs : 1;
        st.dots = k->dots;
        st.ndots = k->ndots;
        return st;
}

static void set_incoming(struct pass *p, struct set_key *k)
{
        const struct set_table *t = k->table;
        const struct net *n = k->net;
        k->in = (struct incoming){.had_del = n->had_del, .fresh = n->fresh, .is_insert = n->is_insert, .again = p->again};
        k->in.v = (struct version){.dot = p->w->dot, .seen = pass_seen_by(p->w, n)};
        if (n->row)
                k->in.v.row = set_cells(p->arena, t, n->row, k->row);
        if (n->row && n->before)
                k->in.v.old = set_cells(p->arena, t, n->before, k->row);
}

/* ---- what is written ------------------------------------------------------------------------------------------------------------------ */

static void put(struct pass *p, struct set_key *k)
{
        const struct set_table *t = k->table;
        const struct target *target = t->table->map.target;
        const struct cell *row = k->out.after.row;
        bool theirs = k->in.v.row && set_rows_equal(t, row, k->in.v.row);
        const struct fold_table *via = theirs ? t->table : &t->here;
        bool there = k->standing || k->taken;
        if (k->taken && theirs && !(hides(target) && pass_replaces(p, target)))
                return; /* the placeholder is that very row */
        struct net *n = theirs ? k->net : set_net(p->arena, t, k, row);
        if (there && !pass_replaces(p, target)) {
                if (!target->fixed)
                        pass_place(p, via, n, SQL_UPDATE);
                return;
        }
        if (there)
                pass_place(p, t->table, k->net, SQL_DELETE);
        pass_place(p, via, n, SQL_INSERT);
}

static void lose(struct pass *p, struct set_key *k, const struct key_state *stood)
{
        const struct merge *m = &k->out;
        const struct cell *now = m->act == MERGE_PUT ? m->after.row : m->act == MERGE_KEEP ? k->row : NULL;
        if (!m->nlosers)
                return;
        struct dot *dots = ARENA_ARRAY(p->arena, struct dot, stood->nsibs + 1);
        for (size_t i = 0; i < stood->nsibs; i++)
                dots[i] = stood->sibs[i].dot;
        dots[stood->nsibs] = k->in.v.dot;
        const char *stands = now ? set_json(p->arena, k->table, now) : NULL;
        for (size_t i = 0; i < m->nlosers; i++) {
                const struct merge_loser *l = &m->losers[i];
                pass_lose(p, (struct loser){.table = k->table->table,
                                            .net = k->net,
                                            .dot = l->dot,
                                            .winner_known = true,
                                            .winner = l->winner,
                                            .kind = l->kind,
                                            .rule = k->table->set->name,
                                            .label = k->table->set->label,
                                            .by_text = true,
                                            .text = l->row ? set_json(p->arena, k->table, l->row) : NULL,
                                            .stands_text = stands,
                                            .involved = dots,
                                            .ninvolved = stood->nsibs + 1});
        }
}

static void place(struct pass *p, struct set_key *k)
{
        if (k->waits)
                return;
        switch (k->out.act) {
        case MERGE_PUT: put(p, k); break;
        case MERGE_DELETE:
                if (k->standing || k->taken)
                        pass_place(p, k->table->table, k->net, SQL_DELETE);
                break;
        case MERGE_KEEP:
                if (k->taken)
                        pass_place(p, k->table->table, k->net, SQL_DELETE);
                break;
        }
}

enum status sets_write(struct pass *p, struct set_table *const *tables, size_t n, struct err *e)
{
        pass_clear_runs(p);
        for (size_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < tables[i]->n; k++)
                        place(p, &tables[i]->keys[k]);
        enum status s = ST_OK;
        for (size_t i = 0; i < n && s == ST_OK; i++)
                s = set_wait_write(p, tables[i], e);
        if (s == ST_OK)
                s = pass_hide(p, e);
        if (s == ST_OK)
                s = pass_send_runs(p, false, e);
        if (s == ST_OK)
                s = pass_check_touched(p, e);
        return s == ST_OK ? siblings_store(p, tables, n, e) : s;
}

/* Every version is under the rule that held where and when it was written. */
static enum status find_rules(struct set_key *k, struct err *e)
{
        struct set_rule *set = k->table->set;
        enum status s = rules_of(set, k->in.v.dot, &k->in.v.rule, e);
        if (s == ST_OK && k->row && !k->nsibs)
                s = rules_of(set, k->closed.dot, &k->closed.rule, e);
        for (size_t i = 0; i < k->nsibs && s == ST_OK; i++)
                s = rules_of(set, k->sibs[i].dot, &k->sibs[i].rule, e);
        return s;
}

enum status sets_merge(struct pass *p, struct set_table *const *tables, size_t n, bool own, struct err *e)
{
        enum status s = ST_OK;
        for (size_t i = 0; i < n; i++)
                for (uint32_t j = 0; j < tables[i]->n && s == ST_OK; j++) {
                        struct set_key *k = &tables[i]->keys[j];
                        const struct rule *rule = tables[i]->set->rule;
                        struct key_state stands = state_of(k);
                        set_incoming(p, k);
                        bool ours = own && !k->from_outside;
                        bool local = ours && k->local && k->row_dot.hlc.v == p->w->dot.hlc.v;
                        if (local && tables[i]->set->olds)
                                k->closed = k->in.v,
                                k->closed.row =
                                        k->row; /* now it is known what it replaced; a later part of the group may have gone on */
                        s = find_rules(k, e);
                        if (s != ST_OK)
                                return s;
                        s = ours ? merge_own(rule, &stands, &k->in, local, &p->a->regs, p->arena, &k->out, e)
                                 : merge_remote(rule, &stands, &k->in, &p->a->regs, p->arena, &k->out, e);
                        if (s != ST_OK)
                                return err_wrap(e, "table %s", tables[i]->name);
                        k->net->settled = true;
                        k->net->tomb = k->out.tomb;
                        k->net->lost = k->out.act == MERGE_KEEP;
                        lose(p, k, &stands);
                }
        return s;
}

/* ---- the step of a pass ---------------------------------------------------------------------------------------------------------------- */

/* A table that has just been given its rule may have been written without REPLICA IDENTITY FULL: a new row that is whole is enough, unless the
 * rule needs to know what an update changed. */
static enum status check_whole(const struct pass *p, const struct fold_table *t, const struct net *n, struct err *e)
{
        const struct target *target = t->map.target;
        bool lacks = !n->del && !n->fresh && !n->before && target->set->rule->accumulates;
        for (uint16_t i = 0; n->row && i < t->rel->ncols && !lacks; i++)
                lacks = n->row[i].kind == VALUE_UNSENT;
        if (t->rel->full || !lacks)
                return ST_OK;
        return err_named(
                e, ST_DATA, "identity_not_full",
                "table %s: its rule (%s) needs the old rows, and region %s wrote it without REPLICA IDENTITY FULL; run ALTER "
                "TABLE %s REPLICA IDENTITY FULL there (pangea init does it), and for what was written before it let the table "
                "have last_write_wins until this origin has gone on",
                target->name, target->set->name, regset_name(&p->a->regs, p->w->dot.region), target->name);
}

/* Rows that the guarded statement wrote are done with. */
static void drop_settled(struct set_table *t)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < t->n; i++) {
                struct set_key *k = &t->keys[i];
                if (k->net->settled || (k->net->fast_tried && k->standing && k->standing->mine)) {
                        k->net->settled = true;
                        k->net->tomb = k->net->del;
                        continue;
                }
                t->keys[n++] = *k;
        }
        t->n = n;
}

static enum status take_all(struct pass *p, struct set_table *const *tables, size_t n, struct err *e)
{
        enum status s = ST_OK;
        for (size_t i = 0; i < n && s == ST_OK; i++) {
                s = set_lock_unwritten(p, tables[i], e);
                if (s == ST_OK) {
                        drop_settled(tables[i]);
                        s = set_wait_load(p, tables[i], false, e);
                }
                if (s == ST_OK) {
                        s = set_take_absent(p, tables[i], e);
                }
        }
        return s;
}

/* What is in the own log's queue counts before what comes in; read on first when something must be known that it will say. */
static enum status own_first(struct pass *p, struct set_table *const *tables, size_t n, struct err *e)
{
        bool wait = false, wrote = false;
        for (size_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < tables[i]->n; k++)
                        wait |= needs_own_log(p, &tables[i]->keys[k]);
        enum status s = wait ? own_catch_up(p->a, e) : ST_OK;
        if (s == ST_OK && !p->a->follower)
                s = own_process_sets(p, tables, n, &wrote, e);
        for (size_t i = 0; i < n && s == ST_OK && wrote; i++)
                s = set_wait_again(p, tables[i], e);
        return s;
}

enum status pass_set_tables(struct pass *p, struct set_table *const *tables, size_t n, struct err *e)
{
        enum status s = own_first(p, tables, n, e);
        if (s == ST_OK)
                s = siblings_load(p, tables, n, e);
        for (size_t i = 0; i < n && s == ST_OK; i++)
                s = sets_standing(p, tables[i], e);
        if (s == ST_OK)
                s = sets_merge(p, tables, n, false, e);
        return s == ST_OK ? sets_write(p, tables, n, e) : s;
}

enum status pass_sets(struct pass *p, struct err *e)
{
        size_t n = 0;
        enum status s = ST_OK;
        struct set_table **tables = ARENA_ARRAY(p->arena, struct set_table *, p->seg->ntables);
        for (uint32_t i = 0; i < p->seg->ntables && s == ST_OK; i++) {
                const struct fold_table *t = &p->seg->tables[i];
                uint32_t k = 0;
                while (k < t->n && t->nets[k]->settled)
                        k++;
                if (!t->map.target->set || k == t->n)
                        continue;
                struct set_table *set = set_table_new(p, t, t->n - k);
                tables[n++] = set;
                for (; k < t->n && s == ST_OK; k++) {
                        if (t->nets[k]->settled)
                                continue;
                        s = check_whole(p, t, t->nets[k], e);
                        set_key_add(set, t->nets[k]);
                }
        }
        if (s != ST_OK || !n)
                return s;
        s = take_all(p, tables, n, e);
        return s == ST_OK ? pass_set_tables(p, tables, n, e) : s;
}
