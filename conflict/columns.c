#include "conflict/parts.h"

#include <stdlib.h>
#include <string.h>

#include "conflict/elements.h"

bool takes_part(const struct settling *s, const struct version *v, uint16_t col)
{
        return column_how(v->rule, col) == column_how(s->rule, col);
}

bool carries_on(const struct settling *s, uint16_t col)
{
        return s->nbefore && column_how(settling_rule(s->before, s->nbefore, s->regs), col) == column_how(s->rule, col);
}

struct cell last_value(const struct settling *s, uint16_t col)
{
        for (size_t i = s->n; i-- > 0;)
                if (takes_part(s, &s->v[i], col))
                        return s->v[i].row[col];
        return s->v[s->n - 1].row[col];
}

struct column_change column_change_of(const struct incoming *in, uint16_t col)
{
        const struct version *v = &in->v;
        return (struct column_change){.col = col,
                                      .type = v->rule->cols[col].type,
                                      .from = in->fresh || !v->old ? (struct cell){NULL, 0} : v->old[col],
                                      .to = v->row[col],
                                      .dot = v->dot,
                                      .seen = &v->seen};
}

static bool changed(const struct incoming *in, uint16_t col)
{
        return in->fresh || !in->v.old || !cell_equal(in->v.old[col], in->v.row[col]);
}

/* ---- delta ------------------------------------------------------------------------------------------------------------------------------- */
static bool finite(struct cell c)
{
        return !c.data || (c.len && c.data[c.len - 1] >= '0' && c.data[c.len - 1] <= '9');
}

static bool zero(struct cell c)
{
        for (uint32_t i = 0; i < c.len; i++)
                if (c.data[i] != '0' && c.data[i] != '.')
                        return false;
        return true; /* NULL, too */
}

/* The scale of a sum, or whether nothing is NULL or 0, would tell in which order it was made: it gets the scale of the versions, and more only
 * when the number needs it; and nothing is NULL when it is so in all of them. */
static struct cell in_their_form(const struct settling *s, uint16_t col, struct cell sum)
{
        uint32_t scale = 0;
        bool null = zero(sum);
        for (size_t i = 0; i < s->n; i++) {
                if (!takes_part(s, &s->v[i], col))
                        continue;
                null = null && !s->v[i].row[col].data;
                scale = scale_of(s->v[i].row[col]) > scale ? scale_of(s->v[i].row[col]) : scale;
        }
        if (null)
                return (struct cell){NULL, 0};
        return scale_to(sum.data ? sum : (struct cell){"0", 1}, scale, s->arena);
}

/* NaN and infinity swallow what is added to them: they cannot be taken out of a sum again, in whatever order they come. */
static enum status delta_value(const struct settling *s, uint16_t col, struct cell *out, struct err *e)
{
        bool comes = s->in && takes_part(s, &s->in->v, col);
        *out = carries_on(s, col) ? s->row[col] : last_value(s, col);
        if (!carries_on(s, col) || !comes) {
                *out = finite(*out) ? in_their_form(s, col, *out) : *out;
                return ST_OK;
        }
        struct column_change c = column_change_of(s->in, col);
        if (!finite(c.from) || !finite(c.to) || !finite(*out))
                return err_named(
                        e, ST_DATA, "delta_not_finite",
                        "column %s has the rule delta, and one of two concurrent changes of it is from or to NaN or infinity, "
                        "which cannot be added up",
                        s->rule->cols[col].name);
        *out = in_their_form(s, col, value_add_delta(c.type, *out, c.from, c.to, s->arena));
        return ST_OK;
}

/* ---- registers of column_merge ------------------------------------------------------------------------------------------------------------------ */
/* An entry of a register is a change of the column that no other has seen: "n" or "v" and the value; for texts also the length of that, a
 * colon, and behind it the value that was replaced ("-" when there was none). The last change alone needs no value: it stands in the row. */
static struct cell optional(const struct cell *c, struct arena *arena)
{
        if (!c)
                return (struct cell){"-", 1};
        if (!c->data)
                return (struct cell){"n", 1};
        char *p = arena_alloc(arena, (size_t)c->len + 1);
        *p = 'v';
        memcpy(p + 1, c->data, c->len);
        return (struct cell){p, c->len + 1};
}

static struct cell optional_value(struct cell c)
{
        return c.len && c.data[0] == 'v' ? (struct cell){c.data + 1, c.len - 1} : (struct cell){NULL, 0};
}

static bool with_old(enum how h)
{
        return h == HOW_REGISTER_LINES || h == HOW_REGISTER_WORDS;
}

static struct cell entry_of(enum how h, const struct column_change *c, bool fresh, struct arena *arena)
{
        struct cell to = optional(&c->to, arena);
        if (!with_old(h))
                return to;
        struct cell from = optional(fresh ? NULL : &c->from, arena);
        char *s = arena_printf(arena, "%u:%.*s%.*s", to.len, (int)to.len, to.data, (int)from.len, from.data);
        return (struct cell){s, (uint32_t)strlen(s)};
}

/* false: nothing was replaced (or this is no such entry): there is no old value. */
static bool entry_parts(enum how h, struct cell entry, struct cell *value, struct cell *old)
{
        *old = (struct cell){NULL, 0};
        if (!with_old(h)) {
                *value = optional_value(entry);
                return false;
        }
        const char *colon = entry.len ? memchr(entry.data, ':', entry.len) : NULL;
        uint32_t head = colon ? (uint32_t)(colon - entry.data) + 1 : 0;
        uint32_t len = colon ? (uint32_t)strtoul(entry.data, NULL, 10) : 0;
        if (len > entry.len - head)
                len = entry.len - head;
        *value = optional_value((struct cell){entry.data + head, len});
        struct cell from = {entry.data + head + len, entry.len - head - len};
        *old = optional_value(from);
        return from.len && from.data[0] != '-';
}

static void note_last(struct dots *dots, const struct column_change *c, const struct regset *regs, struct arena *arena)
{
        size_t n = 0;
        bool later = false; /* a change that this one has not seen */
        for (size_t i = 0; i < dots->n; i++) {
                if (dots->d[i].col == c->col && dot_cmp(dots->d[i].dot, c->dot, regs) <= 0)
                        continue;
                later = later || dots->d[i].col == c->col;
                dots->d[n++] = dots->d[i];
        }
        dots->n = n;
        if (!later)
                dots_add(dots, arena, c->col, (struct cell){"", 0}, c->dot);
}

/* Entries of a register in ascending order of their dots. */
static size_t entries(const struct settling *s, uint16_t col, const struct column_dot **out)
{
        size_t n;
        const struct column_dot *d = dots_of(s->dots, col, &n);
        struct column_dot *sorted = ARENA_ARRAY(s->arena, struct column_dot, n);
        for (size_t i = 0; i < n; i++) {
                size_t at = i;
                for (; at && dot_cmp(sorted[at - 1].dot, d[i].dot, s->regs) > 0; at--)
                        sorted[at] = sorted[at - 1];
                sorted[at] = d[i];
        }
        *out = sorted;
        return n;
}

static struct cell register_of(const struct settling *s, uint16_t col, enum how h)
{
        const struct column_dot *d;
        size_t n = entries(s, col, &d);
        if (n == 0)
                return last_value(s, col);
        struct cell *values = ARENA_ARRAY(s->arena, struct cell, n), *olds = ARENA_ARRAY(s->arena, struct cell, n);
        bool known = true;
        for (size_t i = 0; i < n; i++)
                known = entry_parts(h, d[i].element, &values[i], &olds[i]) && known;
        return function_of(h, s->rule->cols[col].type, values, known ? olds : NULL, n, s->arena);
}

static struct cell register_value(const struct settling *s, uint16_t col, enum how h)
{
        bool on = carries_on(s, col);
        if (on && (!s->in || !takes_part(s, &s->in->v, col) || !changed(s->in, col)))
                return s->row[col];
        if (h != HOW_REGISTER_LAST)
                return register_of(s, col, h);
        if (!on)
                return last_value(s, col);
        size_t n;
        const struct column_dot *d = dots_of(s->dots, col, &n);
        bool mine = n && dot_cmp(d[n - 1].dot, s->in->v.dot, s->regs) == 0;
        return mine ? s->in->v.row[col] : s->row[col];
}

/* ---- values that have parts ---------------------------------------------------------------------------------------------------------------------- */
/* The latest value that cannot be taken apart, of those that take part; false: there is none. */
static bool other(const struct settling *s, const struct version *v, size_t n, uint16_t col, const struct parts *how,
                  struct cell *out)
{
        for (size_t i = n; i-- > 0;) {
                struct cells parts;
                *out = v[i].row[col];
                if (takes_part(s, &v[i], col) && !how->split(s->rule->cols[col].type, *out, s->arena, &parts))
                        return true;
        }
        return false;
}

static bool all_null(const struct settling *s, uint16_t col)
{
        for (size_t i = 0; i < s->n; i++)
                if (takes_part(s, &s->v[i], col) && s->v[i].row[col].data)
                        return false;
        return true;
}

struct cell parts_value(const struct settling *s, uint16_t col, const struct parts *how)
{
        enum value_type type = s->rule->cols[col].type;
        struct cell value;
        if (other(s, s->v, s->n, col, how, &value))
                return value;
        bool on = carries_on(s, col) && !other(s, s->before, s->nbefore, col, how, &value);
        struct cells shown = how->showing(s, col), parts;
        if (on && (!s->in || !takes_part(s, &s->in->v, col)))
                how->split(type, s->row[col], s->arena, &parts);
        else if (!on || !how->carried(s, col, &shown, &parts))
                parts = how->anew(s, col, &shown);
        return parts.n == 0 && all_null(s, col) ? (struct cell){NULL, 0} : how->join(type, &parts, s->arena);
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------------------ */
void columns_note(struct dots *dots, const struct incoming *in, const struct regset *regs, struct arena *arena)
{
        const struct rule *r = in->v.rule;
        if (!rule_keeps_dots(r))
                return;
        for (uint16_t col = 0; col < r->ncols; col++) {
                enum how h = column_how(r, col);
                struct column_change c = column_change_of(in, col);
                if (h == HOW_UNION) {
                        union_note(dots, &c, arena);
                } else if (h == HOW_FIELDS) {
                        fields_note(dots, &c, arena);
                } else if (h == HOW_REGISTER_LAST && changed(in, col)) {
                        note_last(dots, &c, regs, arena);
                } else if (h > HOW_REGISTER_LAST && changed(in, col)) {
                        dots_drop_seen(dots, col, &in->v.seen);
                        dots_add(dots, arena, col, entry_of(h, &c, in->fresh || !in->v.old, arena), c.dot);
                }
        }
        dots_note(dots, r, in->v.dot, arena);
        dots_sort(dots);
}

enum status columns_settle(const struct settling *s, struct cell *row, struct err *e)
{
        for (uint16_t col = 0; col < s->rule->ncols; col++) {
                enum how h = column_how(s->rule, col);
                enum status st = ST_OK;
                if (h == HOW_DELTA)
                        st = delta_value(s, col, &row[col], e);
                else if (h == HOW_UNION)
                        row[col] = union_value(s, col);
                else if (h == HOW_FIELDS)
                        row[col] = fields_value(s, col);
                else if (how_is_own(h))
                        row[col] = register_value(s, col, h);
                if (st != ST_OK)
                        return st;
        }
        return ST_OK;
}
