#include "conflict/merge.h"

#include <string.h>

#include "conflict/parts.h"

/* One merge under way: the register as it is by now. */
struct work {
        const struct key_state *stands;
        const struct incoming *in; /* with its rule */
        const struct regset *regs;
        struct arena *arena;
        struct err *e;
        struct version *v; /* the living versions, ascending dots; room for one more */
        size_t n;
        const struct cell *row; /* what they make; NULL when n is 0 */
        struct dots dots;
        struct vector tombs;
        const struct rule *settled; /* by which the last conflict was */
        struct merge_loser *losers;
        size_t nlosers, maxlosers;
};

static void begin(struct work *w, const struct rule *rule, const struct key_state *stands, const struct incoming *in,
                  const struct regset *regs, struct arena *arena, struct err *e)
{
        struct incoming *mine = arena_copy(arena, in, sizeof *in);
        if (!mine->v.rule)
                mine->v.rule = rule;
        *w = (struct work){
                .stands = stands, .in = mine, .regs = regs, .arena = arena, .e = e, .n = stands->nsibs, .tombs = stands->tombs};
        w->row = stands->row;
        w->v = ARENA_ARRAY(arena, struct version, stands->nsibs + 1);
        for (size_t i = 0; i < w->n; i++) {
                w->v[i] = stands->sibs[i];
                if (!w->v[i].rule)
                        w->v[i].rule = rule;
        }
        dots_copy(&w->dots, stands->dots, stands->ndots, in->v.row ? (size_t)rule->ncols + 1 : 0, arena);
        dots_sort(&w->dots);
}

static void lose(struct work *w, const struct version *v, struct dot winner, enum conflict_kind kind, const struct rule *by)
{
        if (w->nlosers == w->maxlosers) {
                struct merge_loser *more = ARENA_ARRAY(w->arena, struct merge_loser, w->maxlosers * 2 + 8);
                if (w->nlosers)
                        memcpy(more, w->losers, w->nlosers * sizeof *more);
                w->losers = more;
                w->maxlosers = w->maxlosers * 2 + 8;
        }
        w->losers[w->nlosers++] = (struct merge_loser){.dot = v->dot, .row = v->row, .winner = winner, .kind = kind};
        w->settled = by;
}

static bool same_dot(struct dot a, struct dot b)
{
        return a.hlc.v == b.hlc.v && a.region.i == b.region.i;
}

/* Is it known what the version's transaction had seen? */
static bool knows(const struct version *v)
{
        return v->dot.region.i < MAX_REGIONS && v->dot.hlc.v && v->seen.at[v->dot.region.i].v == v->dot.hlc.v;
}

static const struct version *find(const struct work *w, struct dot d)
{
        for (size_t i = 0; i < w->n; i++)
                if (same_dot(w->v[i].dot, d))
                        return &w->v[i];
        return NULL;
}

static enum conflict_kind put_kind(const struct work *w)
{
        return w->in->is_insert ? CONFLICT_INSERT_EXISTS : CONFLICT_UPDATE_ORIGIN_DIFFERS;
}

/* The incoming version was here. */
static void note(struct work *w)
{
        dots_note(&w->dots, w->in->v.rule, w->in->v.dot, w->arena);
        dots_sort(&w->dots);
}

/* ---- deletes kill ------------------------------------------------------------------------------------------------------------------------ */
/* By the version's own rule, so that it depends on nothing but the two. */
static bool kills(struct dot tomb, const struct version *v, const struct regset *regs)
{
        return tomb.hlc.v && !seen_covers(&v->seen, tomb) && (v->rule->delete_wins || dot_cmp(tomb, v->dot, regs) > 0);
}

/* The greatest delete that kills the version. */
static bool killed(const struct work *w, const struct version *v, struct dot *killer)
{
        bool any = false;
        for (uint8_t i = 0; i < w->regs->n; i++) {
                struct dot d = {.region = {i}, .hlc = w->tombs.at[i]};
                if (!kills(d, v, w->regs) || (any && dot_cmp(d, *killer, w->regs) < 0))
                        continue;
                *killer = d;
                any = true;
        }
        return any;
}

/* ---- the row of a set ---------------------------------------------------------------------------------------------------------------------- */
/* A version under plain last write wins is gone as soon as there is a later one: regions in which that rule was in force have forgotten it. */
static void drop_overwritten(struct work *w)
{
        struct dot last = w->n ? w->v[greatest_dot(w->v, w->n, w->regs)].dot : (struct dot){.hlc = {0}};
        size_t n = 0;
        for (size_t i = 0; i < w->n; i++) {
                if (rule_is_register(w->v[i].rule) && !same_dot(w->v[i].dot, last))
                        lose(w, &w->v[i], last, put_kind(w), w->v[i].rule);
                else
                        w->v[n++] = w->v[i];
        }
        w->n = n;
}

static bool rows_equal(const struct cell *a, const struct cell *b, uint16_t ncols)
{
        for (uint16_t i = 0; i < ncols; i++)
                if (!cell_equal(a[i], b[i]))
                        return false;
        return true;
}

/* The set's row and what it leaves behind. came: w->in is in the set. before: what stood, when it can be gone on from. */
static enum status settle(struct work *w, const struct version *before, size_t nbefore, const struct cell *stood, bool came)
{
        if (w->n <= 1) {
                w->row = w->n ? w->v[0].row : NULL;
                return ST_OK;
        }
        struct settling s = {.rule = settling_rule(w->v, w->n, w->regs),
                             .v = w->v,
                             .n = w->n,
                             .before = before,
                             .nbefore = nbefore,
                             .row = stood,
                             .in = came ? w->in : NULL,
                             .dots = &w->dots,
                             .regs = w->regs,
                             .arena = w->arena};
        struct cell *row = ARENA_ARRAY(w->arena, struct cell, s.rule->ncols);
        size_t winner;
        enum status st = merge_outcome(w->v, w->n, w->regs, w->arena, row, &winner, w->e);
        if (st == ST_OK)
                st = columns_settle(&s, row, w->e);
        if (st != ST_OK)
                return st;
        struct dot won = winner < w->n ? w->v[winner].dot : (struct dot){.region = REGION_NONE};
        for (size_t i = 0; i < w->n; i++)
                if (i != winner)
                        lose(w, &w->v[i], won, put_kind(w), s.rule);
        w->settled = s.rule;
        w->row = row;
        return ST_OK;
}

/* After versions went and none came. */
static enum status settle_rest(struct work *w)
{
        if (w->n == 0)
                dots_end_life(&w->dots, w->in->v.rule, NULL);
        return settle(w, NULL, 0, NULL, false);
}

/* ---- what came ------------------------------------------------------------------------------------------------------------------------------- */
/* It came twice, or somebody who had seen it was here before it. Not what the same group does to the key once more: that goes on from there. */
static bool known_already(const struct work *w)
{
        struct dot d = w->in->v.dot;
        if (w->in->again)
                return false;
        bool deletes = w->in->had_del || !w->in->v.row;
        if (deletes && w->stands->tombs.at[d.region.i].v >= d.hlc.v)
                return true;
        for (size_t i = 0; i < w->n; i++)
                if (same_dot(w->v[i].dot, d) || seen_covers(&w->v[i].seen, d))
                        return true;
        return !deletes && dots_noted(&w->dots, w->in->v.rule, d);
}

/* A version written here just before the delete that kills it was applied, and not looked at since. */
static enum status drop_killed(struct work *w)
{
        size_t n = 0;
        for (size_t i = 0; i < w->n; i++) {
                struct dot killer;
                if (knows(&w->v[i]) && killed(w, &w->v[i], &killer))
                        lose(w, &w->v[i], killer, CONFLICT_UPDATE_DELETED, w->v[i].rule);
                else
                        w->v[n++] = w->v[i];
        }
        if (n == w->n)
                return ST_OK;
        w->n = n;
        return settle_rest(w);
}

/* What is not known to have been there cannot have seen it. What was seen goes unsaid; what it kills is recorded. */
static enum status take_delete(struct work *w)
{
        const struct version *in = &w->in->v;
        size_t n = 0;
        for (size_t i = 0; i < w->n; i++) {
                if (seen_covers(&in->seen, w->v[i].dot))
                        continue;
                if (kills(in->dot, &w->v[i], w->regs))
                        lose(w, &w->v[i], in->dot, CONFLICT_DELETE_ORIGIN_DIFFERS, w->v[i].rule);
                else
                        w->v[n++] = w->v[i];
        }
        w->n = n;
        w->tombs.at[in->dot.region.i] = hlc_max(w->tombs.at[in->dot.region.i], in->dot.hlc);
        if (n && !in->row) {
                const struct version *last = &w->v[greatest_dot(w->v, n, w->regs)];
                struct version deleted = {.dot = in->dot};
                lose(w, &deleted, last->dot, CONFLICT_DELETE_ORIGIN_DIFFERS, last->rule);
        }
        /* whoever leaves column dots is under delete_wins, and gone */
        dots_end_life(&w->dots, in->rule, NULL);
        return settle_rest(w);
}

static void insert_version(struct work *w, const struct version *v)
{
        size_t at = w->n++;
        for (; at && dot_cmp(w->v[at - 1].dot, v->dot, w->regs) > 0; at--)
                w->v[at] = w->v[at - 1];
        w->v[at] = *v;
}

static enum status take_put(struct work *w)
{
        const struct version *in = &w->in->v;
        size_t nbefore = w->n, n = 0;
        const struct version *before = arena_copy(w->arena, w->v, (nbefore + 1) * sizeof *w->v);
        const struct cell *stood = w->row;
        struct version put = *in;
        for (size_t i = 0; i < w->n; i++) {
                if (same_dot(w->v[i].dot, in->dot))
                        put.old = w->v[i].old; /* one version: what it replaced is what its first change replaced */
                if (!seen_covers(&in->seen, w->v[i].dot))
                        w->v[n++] = w->v[i];
        }
        w->n = n;
        struct dot killer;
        if (killed(w, in, &killer)) {
                lose(w, in, killer, CONFLICT_UPDATE_DELETED, in->rule);
                note(w);
                return n == nbefore ? ST_OK : settle_rest(w);
        }
        if (!w->in->fresh && !in->old && in->rule->accumulates)
                return err_named(
                        w->e, ST_DATA, "old_row_missing",
                        "an update of a table with delta, union, json_merge or column_merge came without the row that it replaced");
        insert_version(w, &put);
        columns_note(&w->dots, w->in, w->regs, w->arena);
        drop_overwritten(w);
        return settle(w, before, nbefore, stood, find(w, in->dot) != NULL);
}

/* ---- the answer --------------------------------------------------------------------------------------------------------------------------------- */
static bool sibs_changed(const struct work *w)
{
        if (w->n != w->stands->nsibs)
                return true;
        for (size_t i = 0; i < w->n; i++)
                if (!same_dot(w->v[i].dot, w->stands->sibs[i].dot) || w->v[i].row != w->stands->sibs[i].row ||
                    w->v[i].old != w->stands->sibs[i].old)
                        return true;
        return false;
}

static bool dots_changed(const struct work *w)
{
        struct dots before;
        dots_copy(&before, w->stands->dots, w->stands->ndots, 0, w->arena);
        dots_sort(&before);
        if (before.n != w->dots.n)
                return true;
        for (size_t i = 0; i < before.n; i++)
                if (before.d[i].col != w->dots.d[i].col || !same_dot(before.d[i].dot, w->dots.d[i].dot) ||
                    !cell_equal(before.d[i].element, w->dots.d[i].element))
                        return true;
        return false;
}

/* A version that stands alone is written even when its row is there already: the row's dot must be its own. */
static enum merge_act act_of(const struct work *w)
{
        const struct cell *stood = w->stands->row;
        if (!w->row)
                return stood ? MERGE_DELETE : MERGE_KEEP;
        if (!stood || (w->n == 1 && sibs_changed(w) && same_dot(w->v[0].dot, w->in->v.dot)))
                return MERGE_PUT;
        return rows_equal(stood, w->row, w->v[0].rule->ncols) ? MERGE_KEEP : MERGE_PUT;
}

static void answer(struct work *w, struct merge *out)
{
        bool deletes = w->in->had_del || !w->in->v.row;
        if (!w->row)
                dots_end_life(&w->dots, w->in->v.rule, NULL);
        *out = (struct merge){
                .act = act_of(w),
                .after = {.row = w->row, .nsibs = w->n, .sibs = w->v, .ndots = w->dots.n, .dots = w->dots.d, .tombs = w->tombs},
                .tomb = deletes && w->tombs.at[w->in->v.dot.region.i].v == w->in->v.dot.hlc.v,
                .sibs_changed = sibs_changed(w),
                .dots_changed = dots_changed(w),
                .rule = w->nlosers ? w->settled : NULL,
                .nlosers = w->nlosers,
                .losers = w->losers};
}

enum status merge_remote(const struct rule *rule, const struct key_state *stands, const struct incoming *in,
                         const struct regset *regs, struct arena *arena, struct merge *out, struct err *e)
{
        struct work w;
        begin(&w, rule, stands, in, regs, arena, e);
        enum status st = ST_OK;
        if (!known_already(&w)) {
                st = drop_killed(&w);
                if (st == ST_OK && (in->had_del || !in->v.row))
                        st = take_delete(&w);
                if (st == ST_OK && in->v.row)
                        st = take_put(&w);
        }
        if (st == ST_OK)
                answer(&w, out);
        return st;
}

/* ---- the own log ---------------------------------------------------------------------------------------------------------------------------------- */
static enum status own_killed(struct work *w, struct dot killer, bool local)
{
        const struct version *me = find(w, w->in->v.dot);
        if (!w->row || (!local && !me))
                return ST_OK;
        size_t n = 0;
        for (size_t i = 0; i < w->n && !local; i++)
                if (&w->v[i] != me)
                        w->v[n++] = w->v[i];
        w->n = n;
        enum status st = settle_rest(w);
        lose(w, &w->in->v, killer, CONFLICT_UPDATE_DELETED, w->in->v.rule);
        return st;
}

/* A later chunk deleted the row and made it anew: the version replaces nothing any more. */
static void begin_anew(struct work *w)
{
        for (size_t i = 0; i < w->n && w->in->fresh; i++)
                if (same_dot(w->v[i].dot, w->in->v.dot))
                        w->v[i].old = NULL;
}

enum status merge_own(const struct rule *rule, const struct key_state *stands, const struct incoming *in, bool local,
                      const struct regset *regs, struct arena *arena, struct merge *out, struct err *e)
{
        struct work w;
        begin(&w, rule, stands, in, regs, arena, e);
        const struct version *v = &w.in->v;
        enum status st = ST_OK;
        struct dot killer;
        bool noted = v->row && !in->again && dots_noted(&w.dots, v->rule, v->dot);
        begin_anew(&w);
        if (in->had_del || !in->v.row) {
                w.tombs.at[v->dot.region.i] = hlc_max(w.tombs.at[v->dot.region.i], v->dot.hlc);
                if (!noted)
                        dots_end_life(&w.dots, v->rule, &v->seen);
        }
        if (v->row && killed(&w, v, &killer)) {
                st = own_killed(&w, killer, local);
                note(&w);
        } else if (v->row && w.row && !noted) {
                columns_note(&w.dots, w.in, regs, arena);
        }
        if (st == ST_OK)
                answer(&w, out);
        return st;
}
