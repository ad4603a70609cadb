/* Arrays as observed-remove sets: concurrent adds survive, a remove takes out only what it had seen.  Not the union of the versions that
 * stand, which would bring removed elements back: each add leaves a dot, a remove takes the dots that its vector covers, and an element goes
 * with its last one.  An element without a dot is stable, so that every vector covers it.  Causal delivery makes tombstones needless.
 *
 * A value that is no array, where one was expected, shows above all arrays (the latest of several) until somebody replaces it: so who writes
 * over it can be told from who takes elements out. */
#include "conflict/elements.h"
#include "conflict/parts.h"

/* What a change adds and removes. A value that is no array has no elements. false: it replaced such a value, and with it whatever elements
 * that had hidden. */
static bool differences(const struct column_change *c, struct arena *arena, struct cells *added, struct cells *removed)
{
        struct cells from, to;
        bool array = elements_split(c->type, c->from, arena, &from);
        elements_split(c->type, c->to, arena, &to);
        *added = elements_less(&to, &from, arena);
        *removed = elements_less(&from, &to, arena);
        return array;
}

void union_note(struct dots *dots, const struct column_change *c, struct arena *arena)
{
        struct cells added, removed;
        bool all = !differences(c, arena, &added, &removed);
        size_t n = 0;
        for (size_t i = 0; i < dots->n; i++) {
                const struct column_dot *d = &dots->d[i];
                bool meant = d->col == c->col && (all || elements_have(&added, d->element) || elements_have(&removed, d->element));
                if (!meant || !seen_covers(c->seen, d->dot))
                        dots->d[n++] = *d;
        }
        dots->n = n;
        for (size_t i = 0; i < added.n; i++)
                dots_add(dots, arena, c->col, added.c[i], c->dot);
}

/* Elements that have a dot, ascending. */
static struct cells with_dots(const struct settling *s, uint16_t col)
{
        size_t n;
        const struct column_dot *d = dots_of(s->dots, col, &n);
        struct cells out = {0, ARENA_ARRAY(s->arena, struct cell, n)};
        for (size_t i = 0; i < n; i++)
                if (i == 0 || !cell_equal(d[i].element, d[i - 1].element))
                        out.c[out.n++] = d[i].element;
        return out;
}

static struct cells joined(const struct cells *a, const struct cells *b, struct arena *arena)
{
        struct cells more = elements_less(b, a, arena), out = {0, ARENA_ARRAY(arena, struct cell, a->n + more.n)};
        for (size_t i = 0, j = 0; i < a->n || j < more.n;)
                if (j == more.n || (i < a->n && value_cmp(TYPE_OTHER, a->c[i], more.c[j]) < 0))
                        out.c[out.n++] = a->c[i++];
                else
                        out.c[out.n++] = more.c[j++];
        return out;
}

static bool carried(const struct settling *s, uint16_t col, const struct cells *dotted, struct cells *out)
{
        struct column_change c = column_change_of(s->in, col);
        struct cells stood, added, removed;
        elements_split(c.type, s->row[col], s->arena, &stood);
        if (!differences(&c, s->arena, &added, &removed))
                return false;
        removed = elements_less(&removed, dotted, s->arena);
        stood = elements_less(&stood, &removed, s->arena);
        *out = joined(&stood, &added, s->arena);
        return true;
}

/* What has a dot, and what all versions hold. */
static struct cells anew(const struct settling *s, uint16_t col, const struct cells *dotted)
{
        struct cells common = {0, NULL};
        bool first = true;
        for (size_t i = 0; i < s->n; i++) {
                struct cells mine;
                if (!takes_part(s, &s->v[i], col))
                        continue;
                elements_split(s->rule->cols[col].type, s->v[i].row[col], s->arena, &mine);
                struct cells gone = elements_less(&common, &mine, s->arena);
                common = first ? mine : elements_less(&common, &gone, s->arena);
                first = false;
        }
        return joined(&common, dotted, s->arena);
}

static const struct parts elements = {
        .split = elements_split,
        .join = elements_join,
        .showing = with_dots,
        .carried = carried,
        .anew = anew,
};

struct cell union_value(const struct settling *s, uint16_t col)
{
        return parts_value(s, col, &elements);
}
