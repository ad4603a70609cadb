#include "conflict/parts.h"

#include <stdlib.h>
#include <string.h>

void dots_copy(struct dots *to, const struct column_dot *d, size_t n, size_t more, struct arena *arena)
{
        *to = (struct dots){.d = ARENA_ARRAY(arena, struct column_dot, n + more), .n = n, .cap = n + more};
        if (n)
                memcpy(to->d, d, n * sizeof *d);
}

void dots_add(struct dots *s, struct arena *arena, uint16_t col, struct cell element, struct dot d)
{
        if (s->n == s->cap) {
                struct dots larger;
                dots_copy(&larger, s->d, s->n, s->n + 8, arena);
                *s = larger;
        }
        s->d[s->n++] = (struct column_dot){.col = col, .element = element, .dot = d};
}

void dots_drop_seen(struct dots *s, uint16_t col, const struct vector *seen)
{
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++)
                if (s->d[i].col != col || !seen_covers(seen, s->d[i].dot))
                        s->d[n++] = s->d[i];
        s->n = n;
}

static int by_place(const void *x, const void *y)
{
        const struct column_dot *a = x, *b = y;
        if (a->col != b->col)
                return a->col < b->col ? -1 : 1;
        int c = value_cmp(TYPE_OTHER, a->element, b->element);
        if (c)
                return c;
        if (a->dot.region.i != b->dot.region.i)
                return a->dot.region.i < b->dot.region.i ? -1 : 1;
        return (a->dot.hlc.v > b->dot.hlc.v) - (a->dot.hlc.v < b->dot.hlc.v);
}

void dots_sort(struct dots *s)
{
        if (s->n)
                qsort(s->d, s->n, sizeof *s->d, by_place);
}

struct column_dot *dots_of(const struct dots *s, uint16_t col, size_t *n)
{
        size_t first = 0;
        while (first < s->n && s->d[first].col < col)
                first++;
        for (*n = 0; first + *n < s->n && s->d[first + *n].col == col;)
                ++*n;
        return s->d + first;
}

static bool key_column(const struct rule *r, uint16_t *col)
{
        for (*col = 0; *col < r->ncols; ++*col)
                if (r->cols[*col].key)
                        return true;
        return false;
}

void dots_end_life(struct dots *s, const struct rule *r, const struct vector *seen)
{
        uint16_t notes;
        bool noted = key_column(r, &notes);
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++)
                if ((noted && s->d[i].col == notes) || (seen && !seen_covers(seen, s->d[i].dot)))
                        s->d[n++] = s->d[i];
        s->n = n;
}

static struct column_dot *noted_by(const struct dots *s, uint16_t col, region_id region)
{
        for (size_t i = 0; i < s->n; i++)
                if (s->d[i].col == col && s->d[i].dot.region.i == region.i)
                        return &s->d[i];
        return NULL;
}

bool dots_noted(const struct dots *s, const struct rule *r, struct dot d)
{
        uint16_t col;
        if (!rule_keeps_dots(r) || !key_column(r, &col))
                return false;
        const struct column_dot *before = noted_by(s, col, d.region);
        return before && before->dot.hlc.v >= d.hlc.v;
}

void dots_note(struct dots *s, const struct rule *r, struct dot d, struct arena *arena)
{
        uint16_t col;
        if (!rule_keeps_dots(r) || !key_column(r, &col))
                return;
        struct column_dot *before = noted_by(s, col, d.region);
        if (!before)
                dots_add(s, arena, col, (struct cell){"", 0}, d);
        else if (before->dot.hlc.v < d.hlc.v)
                before->dot = d;
}

bool merge_stable(const struct version *v, size_t n, const struct vector *stable)
{
        for (size_t i = 0; i < n; i++)
                if (!seen_covers(stable, v[i].dot))
                        return false;
        return true;
}

void merge_forget_dots(struct column_dot *dots, size_t *ndots, const struct vector *stable)
{
        size_t n = 0;
        for (size_t i = 0; i < *ndots; i++)
                if (!seen_covers(stable, dots[i].dot))
                        dots[n++] = dots[i];
        *ndots = n;
}
