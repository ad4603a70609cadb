/* conflict_laws_oracle: what the whole history of a world, judged at once and naively, says that the row must be. */
#ifndef PANGEA_TESTS_CONFLICT_LAWS_ORACLE_H
#define PANGEA_TESTS_CONFLICT_LAWS_ORACLE_H

#include "conflict_laws_world.h"

static bool covers(const struct incoming *later, const struct incoming *earlier)
{
        return earlier->v.dot.hlc.v <= later->v.seen.at[earlier->v.dot.region.i].v;
}

static bool deletes(const struct incoming *in)
{
        return in->had_del || !in->v.row;
}

/* Is there a delete that ends this version: by killing it, or because it had seen it? */
static bool ended(const struct world *w, const struct incoming *in)
{
        for (size_t i = 0; i < w->n; i++) {
                const struct incoming *d = &w->log[i];
                if (!deletes(d) || d == in)
                        continue;
                if (covers(d, in))
                        return true;
                if (!covers(in, d) && (in->v.rule->delete_wins || dot_cmp(d->v.dot, in->v.dot, &w->regs) > 0))
                        return true;
        }
        return false;
}

static bool any_delete(const struct world *w)
{
        for (size_t i = 0; i < w->n; i++)
                if (deletes(&w->log[i]))
                        return true;
        return false;
}

/* The versions that nobody has seen and no delete has ended, ascending dots. */
static size_t living(const struct world *w, struct version *out)
{
        size_t n = 0;
        for (size_t i = 0; i < w->n; i++) {
                bool seen = !w->log[i].v.row || ended(w, &w->log[i]);
                for (size_t k = 0; k < w->n && !seen; k++)
                        seen = k != i && covers(&w->log[k], &w->log[i]);
                if (seen)
                        continue;
                size_t at = n++;
                for (; at && dot_cmp(out[at - 1].dot, w->log[i].v.dot, &w->regs) > 0; at--)
                        out[at] = out[at - 1];
                out[at] = w->log[i].v;
        }
        return n;
}

static struct cell before_of(const struct incoming *in, int col)
{
        return in->v.old ? in->v.old[col] : cell(NULL);
}

/* Changes that add up: those of this life of the row. */
static bool counts(const struct world *w, const struct incoming *in)
{
        return in->v.row && !ended(w, in);
}

/* In tenths of thousandths; the values of random_value have at most three digits behind the point. */
static __int128 thousandths(struct cell c)
{
        __int128 v = 0;
        int behind = -1;
        for (uint32_t i = 0; i < c.len; i++) {
                if (c.data[i] == '.')
                        behind = 0;
                else if (c.data[i] != '-')
                        v = v * 10 + (c.data[i] - '0'), behind += behind >= 0;
        }
        for (behind = behind < 0 ? 0 : behind; behind < 3; behind++)
                v *= 10;
        return c.len && c.data[0] == '-' ? -v : v;
}

static void sums_are_exact(const struct world *w, int col)
{
        const struct cell *row = w->r[0].state.row;
        __int128 sum = w->common && !any_delete(w) ? thousandths(w->common[col]) : 0;
        for (size_t i = 0; i < w->n; i++)
                if (counts(w, &w->log[i]))
                        sum += thousandths(w->log[i].v.row[col]) - thousandths(before_of(&w->log[i], col));
        if (row && thousandths(row[col]) != sum)
                fail_at(w, arena_printf(w->arena, "%s: the sum is not that of all changes", world_columns[col].name));
}

/* Does the text of an array or an object hold this element? By hand, on purpose: elements are told apart by what surrounds them. */
static bool holds(struct world *w, struct cell c, const char *element)
{
        if (!c.data || c.len < 2)
                return false;
        const char *s = arena_printf(w->arena, ",%.*s,", (int)c.len - 2, c.data + 1);
        return strstr(s, arena_printf(w->arena, ",%s,", element)) || strstr(s, arena_printf(w->arena, ", %s,", element));
}

static bool is_kind(struct cell c, char open)
{
        return !c.data || c.data[0] == open;
}

/* An element is in when somebody added it and nobody who had seen that took it out; or it was there at first and nobody took it out. */
static bool alive(struct world *w, int col, const char *element)
{
        for (size_t a = 0; a <= w->n; a++) {
                const struct incoming *add = a < w->n ? &w->log[a] : NULL;
                bool there = add ? counts(w, add) && holds(w, add->v.row[col], element) && !holds(w, before_of(add, col), element)
                                 : w->common && !any_delete(w) && holds(w, w->common[col], element);
                for (size_t i = 0; i < w->n && there; i++) {
                        const struct incoming *r = &w->log[i];
                        bool takes = r != add && counts(w, r) && holds(w, before_of(r, col), element) &&
                                     !holds(w, r->v.row[col], element);
                        there = !(takes && (!add || covers(r, add)));
                }
                if (there)
                        return true;
        }
        return false;
}

/* Was the column ever something else than an array (or object)? Such histories are only held to agreement. */
static bool was_other(const struct world *w, int col, char open, const char *but)
{
        for (size_t i = 0; i <= w->n; i++) {
                const struct cell *row = i < w->n ? w->log[i].v.row : w->common;
                if (row && (!is_kind(row[col], open) || (but && row[col].data && strncmp(row[col].data, but, strlen(but)) == 0)))
                        return true;
        }
        return false;
}

static void set_is_right(struct world *w, int col)
{
        static const char *const elements[] = {"a", "b", "\"c d\"", "NULL", "\"x\\\"},y\""}, *const json[] = {"1", "1.0",
                                                                                                              "{\"a\": [1, 2]}",
                                                                                                              "\"],\""};
        const char *const *all = col == C_S ? elements : json;
        const struct cell *row = w->r[0].state.row;
        if (!row || was_other(w, col, col == C_S ? '{' : '[', col == C_S ? "{{" : NULL))
                return;
        for (int i = 0; i < (col == C_S ? 5 : 4); i++)
                if (holds(w, row[col], all[i]) != alive(w, col, all[i]))
                        fail_at(w, arena_printf(w->arena, "%s: element %s", world_columns[col].name, all[i]));
}

/* The value of a field: the one number or array behind its name. NULL: no such field. */
static const char *field(struct world *w, struct cell object, const char *name)
{
        const char *s = object.data ? arena_strndup(w->arena, object.data, object.len) : "";
        const char *at = strstr(s, arena_printf(w->arena, "%s: ", name));
        if (!at)
                return NULL;
        at += strlen(name) + 2;
        const char *end = strchr(at, at[0] == '[' ? ']' : at[strcspn(at, ",}")]);
        return arena_strndup(w->arena, at, (size_t)(end - at) + (at[0] == '['));
}

static bool str_same(const char *a, const char *b)
{
        return a == b || (a && b && strcmp(a, b) == 0);
}

static void fields_are_right(struct world *w)
{
        static const char *const names[] = {"\"a\"", "\"b\"", "\"\\\"\""};
        const struct cell *row = w->r[0].state.row;
        if (!row || was_other(w, C_D, '{', NULL))
                return;
        for (int f = 0; f < 3; f++) {
                const char *want = w->common && !any_delete(w) ? field(w, w->common[C_D], names[f]) : NULL;
                const struct incoming *last = NULL;
                bool touched = false;
                for (size_t i = 0; i < w->n; i++) {
                        const struct incoming *p = &w->log[i];
                        const char *to = p->v.row ? field(w, p->v.row[C_D], names[f]) : NULL;
                        if (!counts(w, p) || str_same(to, field(w, before_of(p, C_D), names[f])))
                                continue;
                        touched = true;
                        bool replaced = !to;
                        for (size_t k = 0; k < w->n && !replaced; k++) {
                                const struct incoming *q = &w->log[k];
                                replaced = k != i && counts(w, q) && covers(q, p) &&
                                           !str_same(field(w, q->v.row[C_D], names[f]), field(w, before_of(q, C_D), names[f]));
                        }
                        if (!replaced && (!last || dot_cmp(p->v.dot, last->v.dot, &w->regs) > 0))
                                last = p;
                }
                if (touched)
                        want = last ? field(w, last->v.row[C_D], names[f]) : NULL;
                const char *got = field(w, row[C_D], names[f]);
                if (!str_same(want, got))
                        fail_at(w,
                                arena_printf(w->arena, "field %s: %s, not %s", names[f], got ? got : "none", want ? want : "none"));
        }
}

/* A column of column_merge: the last change, or the greatest or least of those that no other has seen. */
static void register_is_right(struct world *w, int col, enum column_rule rule)
{
        const struct cell *row = w->r[0].state.row;
        if (!row)
                return;
        const struct incoming *best = NULL;
        for (size_t i = 0; i < w->n; i++) {
                const struct incoming *p = &w->log[i];
                if (!counts(w, p) || (p->v.old && cell_equal(p->v.old[col], p->v.row[col])))
                        continue;
                bool replaced = false;
                for (size_t k = 0; k < w->n; k++) {
                        const struct incoming *q = &w->log[k];
                        replaced = replaced || (k != i && counts(w, q) && covers(q, p) &&
                                                !(q->v.old && cell_equal(q->v.old[col], q->v.row[col])));
                }
                if (replaced)
                        continue;
                int c = best ? dot_cmp(p->v.dot, best->v.dot, &w->regs) : 1;
                if (best && rule != COLUMN_OF_ROW) {
                        struct cell a = p->v.row[col], b = best->v.row[col];
                        int by = value_cmp(TYPE_INT, a, b);
                        by = rule == COLUMN_LEAST && a.data && b.data ? -by : by;
                        c = by ? by : c;
                }
                if (c > 0)
                        best = p;
        }
        struct cell want = best ? best->v.row[col] : w->common ? w->common[col] : cell(NULL);
        if (!cell_equal(want, row[col]))
                fail_at(w, arena_printf(w->arena, "%s: %s, not %s", world_columns[col].name, cell_str(w->arena, row[col]),
                                        cell_str(w->arena, want)));
}

static void check_column(struct world *w, const struct rule *rule, int col, const struct cell *outcome)
{
        enum column_rule r = rule->cols[col].rule;
        bool merge = rule->row == RULE_COLUMN_MERGE && col != C_ID;
        if (r == COLUMN_DELTA)
                sums_are_exact(w, col);
        else if (r == COLUMN_UNION)
                set_is_right(w, col);
        else if (r == COLUMN_JSON_MERGE)
                fields_are_right(w);
        else if (merge && r != COLUMN_TEXT_MERGE_WORDS)
                register_is_right(w, col, r);
        else if (!merge && !cell_equal(w->r[0].state.row[col], outcome[col]))
                fail_at(w, arena_printf(w->arena, "%s is not the outcome of the set", world_columns[col].name));
}

static void judge(struct world *w, const struct rule *rule)
{
        const struct key_state *s = &w->r[0].state;
        struct version v[MAX_MESSAGES];
        size_t n = living(w, v), winner;
        bool common = n == 0 && w->common && !any_delete(w) && w->n == 0;
        if (rule_is_register(rule) && n > 1)
                v[0] = v[n - 1], n = 1;
        if (common)
                return;
        if ((n > 0) != (s->nsibs > 0))
                fail_at(w, n ? "a version lives, but there is no row" : "a row without a living version");
        if (!w->forgets && n != s->nsibs)
                fail_at(w, arena_printf(w->arena, "%zu living versions, not %zu", s->nsibs, n));
        for (size_t i = 0; !w->forgets && i < n; i++)
                if (dot_cmp(v[i].dot, s->sibs[i].dot, &w->regs))
                        fail_at(w, arena_printf(w->arena, "%s is not among the living", dot_text(w->arena, v[i].dot, &w->regs)));
        if (n == 0)
                return;
        struct cell outcome[NCOLS];
        struct err e;
        if (merge_outcome(v, n, &w->regs, w->arena, outcome, &winner, &e) != ST_OK)
                fail_at(w, e.msg);
        for (int col = 0; col < NCOLS; col++)
                check_column(w, rule, col, outcome);
}

#endif
