/* oracle: the true causal history of all versions, and what it says every region must hold at rest. Written as naively as the definitions of
 * DESIGN 7 read, and without the code under test (but text_merge, which is asked of it: the set that it gets is computed here). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/sim.h"

void world_fault(struct world *w, const char *fmt, ...)
{
        va_list ap;
        if (w->nfaults == FAULT_MAX)
                return;
        va_start(ap, fmt);
        vsnprintf(w->fault[w->nfaults++], sizeof w->fault[0], fmt, ap);
        va_end(ap);
}

unsigned oracle_write(struct world *w, struct region *r, const struct write *wr, const struct row *stands)
{
        unsigned vid = w->nv++;
        struct true_version *v = &w->v[vid];
        bool moved = wr->op == CHANGE_UPDATE && wr->old[C_K].data[0] != wr->img[C_K].data[0];
        *v = (struct true_version){.region = {(uint8_t)id_of(w, r)},
                                   .key = wr->key,
                                   .op = moved                       ? CHANGE_INSERT
                                         : wr->op == CHANGE_TRUNCATE ? CHANGE_DELETE
                                                                     : wr->op,
                                   .img = wr->img,
                                   .old = moved ? NULL : wr->old,
                                   .past = r->known,
                                   .gen = r->gen};
        vset_add(&r->known, vid); /* later writes of the same transaction come after it */
        if (stands->img)
                vset_join(&w->accounted, &stands->vids);
        return vid;
}

/* C4: what comes rests on nothing that a reader cannot see here. */
void oracle_causal(struct world *w, const struct region *r, const struct rec *rec)
{
        for (unsigned i = 0; i < w->nv; i++) {
                if (!vset_has(&rec->all, i))
                        continue;
                for (unsigned p = 0; p < w->nv; p++)
                        if (vset_has(&w->v[i].past, p) && !w->v[p].lost && !vset_has(&r->known, p) && !vset_has(&rec->all, p))
                                world_fault(w, "C4: version %u is applied in %s before version %u, which it has seen", i,
                                            w->regs.name[id_of(w, r)], p);
                for (int t = 0; t < 2; t++)
                        for (unsigned k = 0; r->running[t].committed && k < r->running[t].n; k++)
                                if (vset_has(&w->v[i].past, r->running[t].w[k].vid))
                                        world_fault(
                                                w,
                                                "C4: version %u is applied in %s before version %u, which it has seen, is visible there",
                                                i, w->regs.name[id_of(w, r)], r->running[t].w[k].vid);
        }
}

bool oracle_before(const struct world *w, unsigned a, unsigned b)
{
        return vset_has(&w->v[b].past, a);
}

static int later(const struct world *w, unsigned a, unsigned b)
{
        const struct true_version *x = &w->v[a], *y = &w->v[b];
        if (x->dot.hlc.v != y->dot.hlc.v)
                return x->dot.hlc.v < y->dot.hlc.v ? -1 : 1;
        int c = strcmp(w->regs.name[x->dot.region.i], w->regs.name[y->dot.region.i]);
        return c ? c : (a > b) - (a < b);
}

/* A group is one version of a key: its last, whose old row is that of its first update of this life of the key. */
static image group_old(const struct world *w, unsigned v)
{
        image old = w->v[v].old;
        for (unsigned i = v; i > 0; i--)
                if (w->v[i - 1].key == w->v[v].key && w->v[i - 1].region.i == w->v[v].region.i && !w->v[i - 1].lost) {
                        if (w->v[i - 1].group != w->v[v].group || w->v[i - 1].op == CHANGE_DELETE || !old)
                                break;
                        old = w->v[i - 1].old;
                }
        return old;
}

static void fold_groups(struct world *w)
{
        for (unsigned i = 0; i < w->nv; i++) {
                struct true_version *v = &w->v[i];
                v->group_old = group_old(w, i);
                v->last = true;
                for (unsigned k = i + 1; k < w->nv; k++)
                        if (w->v[k].key == v->key && w->v[k].region.i == v->region.i && w->v[k].group == v->group && !w->v[k].lost)
                                v->last = false;
        }
}

/* ---- one key ----------------------------------------------------------------------------------------------------------------------------- */

struct set {
        unsigned n, v[VERSIONS];
};

struct expected {
        bool present;
        struct cell img[NCOLS];
        struct vset winners, losers; /* of the versions that are maximal at rest */
};

static struct set all_of(const struct world *w, unsigned key)
{
        struct set s = {.n = 0};
        for (unsigned i = 0; i < w->nv; i++)
                if (w->v[i].key == key && !w->v[i].lost)
                        s.v[s.n++] = i;
        return s;
}

static struct set maximal(const struct world *w, const struct set *of)
{
        struct set s = {.n = 0};
        for (unsigned i = 0; i < of->n; i++) {
                bool below = false;
                for (unsigned k = 0; k < of->n; k++)
                        below |= oracle_before(w, of->v[i], of->v[k]);
                if (!below)
                        s.v[s.n++] = of->v[i];
        }
        return s;
}

static struct set living(const struct world *w, const struct set *of, bool kill_all)
{
        struct set s = {.n = 0};
        for (unsigned i = 0; i < of->n; i++) {
                bool dead = w->v[of->v[i]].op == CHANGE_DELETE || !w->v[of->v[i]].last;
                for (unsigned k = 0; k < of->n; k++) {
                        unsigned d = of->v[k], v = of->v[i];
                        if (w->v[d].op != CHANGE_DELETE || oracle_before(w, d, v))
                                continue;
                        dead |= kill_all || oracle_before(w, v, d) || later(w, d, v) > 0;
                }
                if (!dead)
                        s.v[s.n++] = of->v[i];
        }
        return s;
}

static int number(struct cell c)
{
        return c.data ? atoi(c.data) : 0;
}

/* Of two values: does a beat b under greatest (least)? NULL never does. */
static int beats(struct cell a, struct cell b, bool least)
{
        if (!a.data || !b.data)
                return (a.data != NULL) - (b.data != NULL);
        int c = (number(a) > number(b)) - (number(a) < number(b));
        return least ? -c : c;
}

static bool wins(const struct world *w, const struct rule *rule, unsigned a, unsigned b)
{
        const struct true_version *x = &w->v[a], *y = &w->v[b];
        int c = 0;
        switch (rule->row) {
        case RULE_LAST_WRITE_WINS:
        case RULE_COLUMN_MERGE:
        case RULE_MANUAL:
        case RULE_SQL:
        case RULE_PLUGIN: break;
        case RULE_FIRST_WRITE_WINS: return later(w, a, b) < 0;
        case RULE_REGION_PRIORITY: c = (int)rule->rank[y->region.i] - (int)rule->rank[x->region.i]; break;
        case RULE_GREATEST:
        case RULE_LEAST:
                for (uint16_t i = 0; i < rule->nby && !c; i++)
                        c = beats(x->img[rule->by[i]], y->img[rule->by[i]], rule->row == RULE_LEAST);
                break;
        }
        return c ? c > 0 : later(w, a, b) > 0;
}

static bool same(struct cell a, struct cell b)
{
        return (!a.data && !b.data) || (a.data && b.data && a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
}

static bool changed(const struct true_version *v, unsigned col)
{
        return !v->group_old || !same(v->group_old[col], v->img[col]);
}

/* ---- columns ------------------------------------------------------------------------------------------------------------------------------- */

static struct cell print_number(struct world *w, int n)
{
        return cell_of(arena_printf(w->arena, "%d", n));
}

static struct cell delta(struct world *w, const struct set *alive, unsigned col)
{
        int sum = 0;
        for (unsigned i = 0; i < alive->n; i++) {
                const struct true_version *v = &w->v[alive->v[i]];
                sum += number(v->img[col]) - (v->group_old ? number(v->group_old[col]) : 0);
        }
        return print_number(w, sum);
}

static bool has_element(image img, unsigned col, char e)
{
        return img && img[col].data && memchr(img[col].data, e, img[col].len);
}

/* The observed-remove set: an element is there when some add of it was not seen by any remove of it. */
static struct cell orset(struct world *w, const struct set *alive, unsigned col)
{
        char out[40] = "{", *p = out + 1;
        for (char e = 'a'; e <= 'h'; e++) {
                bool in = false;
                for (unsigned i = 0; i < alive->n; i++) {
                        const struct true_version *a = &w->v[alive->v[i]];
                        if (!has_element(a->img, col, e) || has_element(a->group_old, col, e))
                                continue;
                        bool removed = false;
                        for (unsigned k = 0; k < alive->n; k++) {
                                const struct true_version *x = &w->v[alive->v[k]];
                                removed |= oracle_before(w, alive->v[i], alive->v[k]) && has_element(x->group_old, col, e) &&
                                           !has_element(x->img, col, e);
                        }
                        in |= !removed;
                }
                if (in)
                        p += sprintf(p, "%s%c", p[-1] == '{' ? "" : ",", e);
        }
        sprintf(p, "}");
        return cell_of(arena_strdup(w->arena, out));
}

/* The value of a field, -1: not there. */
static int field(image img, unsigned col, char f)
{
        char name[8];
        if (!img || !img[col].data)
                return -1;
        snprintf(name, sizeof name, "\"%c\": ", f);
        const char *at = strstr(img[col].data, name);
        return at ? atoi(at + 5) : -1;
}

/* Field by field: the latest of those that set it and were not seen by anybody who set or removed it. */
static struct cell object(struct world *w, const struct set *alive, unsigned col)
{
        char out[80] = "{", *p = out + 1;
        for (char f = 'a'; f <= 'c'; f++) {
                unsigned best = VERSIONS;
                for (unsigned i = 0; i < alive->n; i++) {
                        const struct true_version *a = &w->v[alive->v[i]];
                        bool over = field(a->img, col, f) < 0 || field(a->group_old, col, f) == field(a->img, col, f);
                        for (unsigned k = 0; k < alive->n && !over; k++) {
                                const struct true_version *x = &w->v[alive->v[k]];
                                over = oracle_before(w, alive->v[i], alive->v[k]) &&
                                       field(x->group_old, col, f) != field(x->img, col, f);
                        }
                        if (!over && (best == VERSIONS || later(w, alive->v[i], best) > 0))
                                best = alive->v[i];
                }
                if (best != VERSIONS)
                        p += sprintf(p, "%s\"%c\": %d", p[-1] == '{' ? "" : ", ", f, field(w->v[best].img, col, f));
        }
        sprintf(p, "}");
        return cell_of(arena_strdup(w->arena, out));
}

/* A column of its own within column_merge: of those that changed it and were not seen by anybody who changed it. */
static struct cell merged(struct world *w, const struct set *alive, unsigned col, enum column_rule rule)
{
        unsigned best = VERSIONS;
        for (unsigned i = 0; i < alive->n; i++) {
                bool over = !changed(&w->v[alive->v[i]], col);
                for (unsigned k = 0; k < alive->n && !over; k++)
                        over = oracle_before(w, alive->v[i], alive->v[k]) && changed(&w->v[alive->v[k]], col);
                if (over)
                        continue;
                int c = best == VERSIONS ? 1 : 0;
                if (!c && (rule == COLUMN_GREATEST || rule == COLUMN_LEAST))
                        c = beats(w->v[alive->v[i]].img[col], w->v[best].img[col], rule == COLUMN_LEAST);
                if (c > 0 || (!c && later(w, alive->v[i], best) > 0))
                        best = alive->v[i];
        }
        return best == VERSIONS ? (struct cell){NULL, 0} : w->v[best].img[col];
}

/* The column over the maximal versions: greatest, least, last write wins. */
static struct cell of_set(const struct world *w, const struct set *m, unsigned col, enum column_rule rule)
{
        unsigned best = m->v[0];
        for (unsigned i = 1; i < m->n; i++) {
                int c = rule == COLUMN_LAST_WRITE_WINS ? 0
                                                       : beats(w->v[m->v[i]].img[col], w->v[best].img[col], rule == COLUMN_LEAST);
                if (c > 0 || (!c && later(w, m->v[i], best) > 0))
                        best = m->v[i];
        }
        return w->v[best].img[col];
}

static const struct rule *highest(const struct world *w, const struct set *m, unsigned key)
{
        int gen = 0;
        for (unsigned i = 0; i < m->n; i++)
                gen = w->v[m->v[i]].gen > gen ? w->v[m->v[i]].gen : gen;
        return &w->set.rules->rule[table_of(key)][gen];
}

/* sql, plugin and text_merge: a function of the set, in the order of the dots; the function itself is the one under test. */
static void outcome(struct world *w, const struct set *m, const struct rule *rule, struct cell *row)
{
        struct version v[VERSIONS];
        size_t n = 0, winner;
        struct err e;
        for (unsigned i = 0; i < m->n; i++) {
                struct version x = {
                        .dot = w->v[m->v[i]].dot, .row = w->v[m->v[i]].img, .old = w->v[m->v[i]].group_old, .rule = rule};
                for (unsigned k = 0; k < w->nv; k++)
                        if (oracle_before(w, k, m->v[i]))
                                x.seen.at[w->v[k].region.i] = hlc_max(x.seen.at[w->v[k].region.i], w->v[k].dot.hlc);
                size_t at = n++;
                for (; at > 0 && dot_cmp(v[at - 1].dot, x.dot, &w->regs) > 0; at--)
                        v[at] = v[at - 1];
                v[at] = x;
        }
        if (merge_outcome(v, n, &w->regs, w->arena, row, &winner, &e) != ST_OK)
                world_fault(w, "merge_outcome: %s", e.msg);
}

static void columns(struct world *w, const struct set *alive, const struct set *m, const struct rule *rule, struct cell *img)
{
        struct cell *set_img = NULL;
        for (unsigned c = C_V; c < NCOLS; c++) {
                switch (rule->cols[c].rule) {
                case COLUMN_OF_ROW:
                        if (rule->row == RULE_COLUMN_MERGE)
                                img[c] = merged(w, alive, c, COLUMN_LAST_WRITE_WINS);
                        break;
                case COLUMN_LAST_WRITE_WINS:
                case COLUMN_GREATEST:
                case COLUMN_LEAST:
                        img[c] = rule->row == RULE_COLUMN_MERGE ? merged(w, alive, c, rule->cols[c].rule)
                                                                : of_set(w, m, c, rule->cols[c].rule);
                        break;
                case COLUMN_DELTA: img[c] = delta(w, alive, c); break;
                case COLUMN_UNION: img[c] = orset(w, alive, c); break;
                case COLUMN_JSON_MERGE: img[c] = object(w, alive, c); break;
                case COLUMN_TEXT_MERGE:
                case COLUMN_TEXT_MERGE_WORDS:
                        if (m->n < 2)
                                break;
                        if (!set_img) {
                                set_img = ARENA_ARRAY(w->arena, struct cell, NCOLS);
                                outcome(w, m, rule, set_img);
                        }
                        img[c] = set_img[c];
                        break;
                }
        }
}

static struct expected expect(struct world *w, unsigned key)
{
        struct expected x = {.present = false};
        const struct rule *rule = &w->set.rules->rule[table_of(key)][0];
        struct set all = all_of(w, key), top = maximal(w, &all), alive, m;
        unsigned win;
        if (!all.n)
                return x;
        bool lww = w->set.rules->lww[table_of(key)];
        alive = living(w, &all, rule->delete_wins);
        m = maximal(w, &alive);
        if (lww)
                m = top; /* a maximum over dots, deletes included */
        else
                for (unsigned i = 0; i < top.n; i++)
                        if (w->v[top.v[i]].op != CHANGE_DELETE)
                                vset_add(&x.losers, top.v[i]);
        for (unsigned i = 0; i < m.n; i++)
                vset_add(&x.losers, m.v[i]);
        if (!m.n)
                return x;
        rule = highest(w, &m, key);
        win = m.v[0];
        for (unsigned i = 1; i < m.n; i++)
                if (lww ? later(w, m.v[i], win) > 0 : wins(w, rule, m.v[i], win))
                        win = m.v[i];
        if (w->v[win].op == CHANGE_DELETE) {
                x.losers.w[win / 64] &= ~(UINT64_C(1) << (win % 64));
                return x;
        }
        x.present = true;
        memcpy(x.img, w->v[win].img, sizeof x.img);
        if (!lww && m.n > 1 && (rule->row == RULE_SQL || rule->row == RULE_PLUGIN)) {
                outcome(w, &m, rule, x.img);
        } else {
                vset_add(&x.winners, win);
                x.losers.w[win / 64] &= ~(UINT64_C(1) << (win % 64));
        }
        if (!lww)
                columns(w, &alive, &m, rule, x.img);
        return x;
}

/* ---- at rest ------------------------------------------------------------------------------------------------------------------------------- */

static bool image_equal(image a, image b)
{
        for (unsigned c = 0; a && b && c < NCOLS; c++)
                if (!same(a[c], b[c]))
                        return false;
        return !a == !b;
}

static bool recorded(const struct world *w, const struct region *r, unsigned vid)
{
        const struct true_version *v = &w->v[vid];
        for (const struct lost *l = r->d.losers; l; l = l->next)
                if (l->vid == vid || (l->key == v->key && l->dot.hlc.v == v->dot.hlc.v && l->dot.region.i == v->dot.region.i))
                        return true;
        return false;
}

/* In the order of the keys, a row is visible when no visible row before it holds one of its unique values. */
static void visibility(const struct world *w, struct expected x[KEYS], bool visible[KEYS])
{
        for (unsigned k = 0; k < KEYS; k++) {
                visible[k] = x[k].present;
                for (unsigned b = table_of(k) * PER_TABLE; b < k && visible[k]; b++)
                        if (visible[b] && row_clash(w, k, x[k].img, b, x[b].img))
                                visible[k] = false;
        }
}

static void check_key(struct world *w, unsigned k, struct expected *x, bool visible)
{
        char got[160], want[160];
        for (unsigned i = 0; i < w->set.regions; i++) {
                const struct region *r = &w->r[i];
                const char *name = w->regs.name[i];
                if (!image_equal(r->d.row[k].img, visible ? x->img : NULL)) {
                        image_str(got, sizeof got, r->d.row[k].img);
                        image_str(want, sizeof want, visible ? x->img : NULL);
                        world_fault(w, "RULE: key %u at %s is %s, the whole history gives %s", k, name, got, want);
                }
                for (unsigned v = 0; v < w->nv; v++)
                        if (w->v[v].op != CHANGE_DELETE && !recorded(w, r, v) &&
                            (vset_has(&x->losers, v) || (x->present && !visible && vset_has(&x->winners, v))))
                                world_fault(w, "C9: version %u (%s:%u) of key %u lost and is not recorded at %s", v,
                                            w->regs.name[w->v[v].region.i], (unsigned)w->v[v].dot.hlc.v, k, name);
        }
}

void oracle_check(struct world *w)
{
        struct expected *x = ARENA_ARRAY(w->arena, struct expected, KEYS);
        struct vset final = w->accounted;
        bool visible[KEYS];
        for (unsigned v = 0; v < w->nv; v++)
                if (!w->v[v].dot.hlc.v && !w->v[v].lost) {
                        world_fault(w, "C1: version %u of %s (key %u) never reached the log", v, w->regs.name[w->v[v].region.i],
                                    w->v[v].key);
                        return;
                }
        fold_groups(w);
        for (unsigned k = 0; k < KEYS; k++)
                x[k] = expect(w, k);
        visibility(w, x, visible);
        for (unsigned k = 0; k < KEYS; k++) {
                check_key(w, k, &x[k], visible[k]);
                vset_join(&final, &x[k].winners);
                vset_join(&final, &x[k].losers);
        }
        for (unsigned v = 0; v < w->nv; v++) {
                bool kept = vset_has(&final, v) || w->v[v].lost || w->v[v].op == CHANGE_DELETE;
                for (unsigned i = 0; i < w->set.regions && !kept; i++)
                        kept = recorded(w, &w->r[i], v);
                if (!kept)
                        world_fault(w, "C9: version %u (%s:%u) of key %u vanished without a record anywhere", v,
                                    w->regs.name[w->v[v].region.i], (unsigned)w->v[v].dot.hlc.v, w->v[v].key);
        }
}

/* A tombstone is forgotten: no version that it could meet may still be on its way. */
void oracle_forgets(struct world *w, const struct region *r, unsigned key, region_id o, hlc_t h)
{
        for (unsigned d = 0; d < w->nv; d++) {
                const struct true_version *del = &w->v[d];
                if (del->key != key || del->region.i != o.i || del->op != CHANGE_DELETE || del->lost || !del->dot.hlc.v ||
                    del->dot.hlc.v > h.v)
                        continue;
                for (unsigned i = 0; i < w->set.regions; i++)
                        if (!w->r[i].follower && !vset_has(&w->r[i].known, d))
                                world_fault(w, "STABLE: %s forgets the delete %s:%u of key %u, %s has not applied it",
                                            w->regs.name[id_of(w, r)], w->regs.name[o.i], (unsigned)h.v, key, w->regs.name[i]);
                for (unsigned v = 0; v < w->nv; v++)
                        if (w->v[v].key == key && !w->v[v].lost && !oracle_before(w, d, v) && !oracle_before(w, v, d) && v != d &&
                            !vset_has(&r->known, v))
                                world_fault(w, "STABLE: %s forgets the delete %s:%u of key %u, version %u is on its way",
                                            w->regs.name[id_of(w, r)], w->regs.name[o.i], (unsigned)h.v, key, v);
        }
}
