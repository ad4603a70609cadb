/* jsonb objects field by field: each field is a register of what was put and not yet replaced by a change that had seen it; the latest shows.
 * A put is a column dot whose element is the member as jsonb prints it ("\"key\": value"); a put or a removal takes the dots of its field
 * that its vector covers.  A field without dots is stable. */
#include <stdlib.h>

#include "conflict/elements.h"
#include "conflict/parts.h"

/* What a change puts (added, or given another value) and removes. A value that is no object has no fields. false: it replaced such a value,
 * and with it whatever fields that had hidden. */
static bool differences(const struct column_change *c, struct arena *arena, struct cells *put, struct cells *removed)
{
        struct cells from, to;
        bool object = members_split(c->from, arena, &from);
        members_split(c->to, arena, &to);
        *put = (struct cells){0, ARENA_ARRAY(arena, struct cell, to.n)};
        *removed = (struct cells){0, ARENA_ARRAY(arena, struct cell, from.n)};
        for (size_t i = 0; i < to.n; i++) {
                const struct cell *before = members_find(&from, to.c[i]);
                if (!before || !cell_equal(*before, to.c[i]))
                        put->c[put->n++] = to.c[i];
        }
        for (size_t i = 0; i < from.n; i++)
                if (!members_find(&to, from.c[i]))
                        removed->c[removed->n++] = from.c[i];
        return object;
}

/* A dot that an earlier rule of this column left (an element of a union) is no member. */
static bool is_member(struct cell c)
{
        return c.len && c.data[0] == '"';
}

void fields_note(struct dots *dots, const struct column_change *c, struct arena *arena)
{
        struct cells put, removed;
        bool all = !differences(c, arena, &put, &removed);
        size_t n = 0;
        for (size_t i = 0; i < dots->n; i++) {
                const struct column_dot *d = &dots->d[i];
                bool meant = d->col == c->col && is_member(d->element) &&
                             (all || members_find(&put, d->element) || members_find(&removed, d->element));
                if (!meant || !seen_covers(c->seen, d->dot))
                        dots->d[n++] = *d;
        }
        dots->n = n;
        for (size_t i = 0; i < put.n; i++)
                dots_add(dots, arena, c->col, put.c[i], c->dot);
}

static int by_field(const void *x, const void *y, void *regs)
{
        const struct column_dot *a = x, *b = y;
        int c = member_cmp(a->element, b->element);
        return c ? c : dot_cmp(a->dot, b->dot, regs);
}

/* The member that shows of each field with dots, in the order of the keys. */
static struct cells showing(const struct settling *s, uint16_t col)
{
        size_t n, m = 0;
        const struct column_dot *d = dots_of(s->dots, col, &n);
        struct column_dot *sorted = ARENA_ARRAY(s->arena, struct column_dot, n);
        for (size_t i = 0; i < n; i++)
                if (is_member(d[i].element))
                        sorted[m++] = d[i];
        if (m)
                qsort_r(sorted, m, sizeof *sorted, by_field, (void *)(uintptr_t)s->regs);
        struct cells out = {0, ARENA_ARRAY(s->arena, struct cell, m)};
        for (size_t i = 0; i < m; i++)
                if (i + 1 == m || member_cmp(sorted[i].element, sorted[i + 1].element))
                        out.c[out.n++] = sorted[i].element;
        return out;
}

/* Both, in the order of the keys; of a field in both the member of over. */
static struct cells overlaid(const struct cells *under, const struct cells *over, struct arena *arena)
{
        struct cells out = {0, ARENA_ARRAY(arena, struct cell, under->n + over->n)};
        for (size_t i = 0, j = 0; i < under->n || j < over->n;) {
                int c = j == over->n ? -1 : i == under->n ? 1 : member_cmp(under->c[i], over->c[j]);
                out.c[out.n++] = c < 0 ? under->c[i] : over->c[j];
                i += c <= 0;
                j += c >= 0;
        }
        return out;
}

/* Only the fields that came are looked at. */
static bool carried(const struct settling *s, uint16_t col, const struct cells *shown, struct cells *out)
{
        struct column_change c = column_change_of(s->in, col);
        struct cells stood, put, removed;
        members_split(s->row[col], s->arena, &stood);
        if (!differences(&c, s->arena, &put, &removed))
                return false;
        struct cells kept = {0, ARENA_ARRAY(s->arena, struct cell, stood.n)};
        struct cells over = {0, ARENA_ARRAY(s->arena, struct cell, shown->n)};
        for (size_t i = 0; i < stood.n; i++)
                if (!members_find(&removed, stood.c[i]))
                        kept.c[kept.n++] = stood.c[i];
        for (size_t i = 0; i < shown->n; i++)
                if (members_find(&put, shown->c[i]) || members_find(&removed, shown->c[i]))
                        over.c[over.n++] = shown->c[i];
        *out = overlaid(&kept, &over, s->arena);
        return true;
}

/* Fields with dots, and those that all versions hold (with the latest one's value). */
static struct cells anew(const struct settling *s, uint16_t col, const struct cells *shown)
{
        struct cells common = {0, NULL};
        bool first = true;
        for (size_t i = 0; i < s->n; i++) {
                struct cells mine;
                if (!takes_part(s, &s->v[i], col))
                        continue;
                members_split(s->v[i].row[col], s->arena, &mine);
                size_t n = 0;
                for (size_t k = 0; k < mine.n; k++)
                        if (first || members_find(&common, mine.c[k]))
                                mine.c[n++] = mine.c[k];
                common = (struct cells){n, mine.c};
                first = false;
        }
        return overlaid(&common, shown, s->arena);
}

static bool split(enum value_type type, struct cell value, struct arena *arena, struct cells *out)
{
        (void)type;
        return members_split(value, arena, out);
}

static struct cell join(enum value_type type, const struct cells *m, struct arena *arena)
{
        (void)type;
        return members_join(m, arena);
}

static const struct parts members = {
        .split = split,
        .join = join,
        .showing = showing,
        .carried = carried,
        .anew = anew,
};

struct cell fields_value(const struct settling *s, uint16_t col)
{
        return parts_value(s, col, &members);
}
