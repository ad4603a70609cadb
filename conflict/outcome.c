#include "conflict/parts.h"

#include <string.h>

enum how column_how(const struct rule *r, uint16_t col)
{
        bool registers = r->row == RULE_COLUMN_MERGE;
        switch (r->cols[col].rule) {
        case COLUMN_OF_ROW: return registers && !r->cols[col].key ? HOW_REGISTER_LAST : HOW_ROW;
        case COLUMN_LAST_WRITE_WINS: return registers ? HOW_REGISTER_LAST : HOW_LAST;
        case COLUMN_GREATEST: return registers ? HOW_REGISTER_GREATEST : HOW_GREATEST;
        case COLUMN_LEAST: return registers ? HOW_REGISTER_LEAST : HOW_LEAST;
        case COLUMN_TEXT_MERGE: return registers ? HOW_REGISTER_LINES : HOW_LINES;
        case COLUMN_TEXT_MERGE_WORDS: return registers ? HOW_REGISTER_WORDS : HOW_WORDS;
        case COLUMN_DELTA: return HOW_DELTA;
        case COLUMN_UNION: return HOW_UNION;
        case COLUMN_JSON_MERGE: return HOW_FIELDS;
        }
        return HOW_ROW;
}

const struct rule *settling_rule(const struct version *v, size_t n, const struct regset *regs)
{
        const struct rule *best = v[0].rule;
        for (size_t i = 1; i < n; i++) {
                const struct rule *r = v[i].rule;
                if (r->generation > best->generation ||
                    (r->generation == best->generation && strcmp(regset_name(regs, r->from), regset_name(regs, best->from)) > 0))
                        best = r;
        }
        return best;
}

size_t greatest_dot(const struct version *v, size_t n, const struct regset *regs)
{
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
                if (dot_cmp(v[i].dot, v[best].dot, regs) > 0)
                        best = i;
        return best;
}

/* ---- the winner of a row ----------------------------------------------------------------------------------------------------------------- */
/* > 0: a wins over b by the values of the columns that the rule names. NULL loses, whatever is asked for. */
static int cmp_by(const struct rule *r, const struct cell *a, const struct cell *b)
{
        for (uint16_t i = 0; i < r->nby; i++) {
                uint16_t col = r->by[i];
                int c = value_cmp(r->cols[col].type, a[col], b[col]);
                if (c)
                        return r->row == RULE_LEAST && a[col].data && b[col].data ? -c : c;
        }
        return 0;
}

static unsigned rank_of(const struct rule *r, struct dot d)
{
        return d.region.i < MAX_REGIONS ? r->rank[d.region.i] : 255;
}

/* > 0: a wins over b. Versions have different dots, so it is a total order. */
static int beats(const struct rule *r, const struct version *a, const struct version *b, const struct regset *regs)
{
        int later = dot_cmp(a->dot, b->dot, regs), by = 0;
        switch (r->row) {
        case RULE_FIRST_WRITE_WINS: return -later;
        case RULE_REGION_PRIORITY: by = (int)rank_of(r, b->dot) - (int)rank_of(r, a->dot); break;
        case RULE_GREATEST:
        case RULE_LEAST: by = cmp_by(r, a->row, b->row); break;
        case RULE_LAST_WRITE_WINS:
        case RULE_COLUMN_MERGE:
        case RULE_SQL:
        case RULE_PLUGIN:
        case RULE_MANUAL: break;
        }
        return by ? by : later;
}

static bool rows_equal(const struct cell *a, const struct cell *b, uint16_t ncols)
{
        for (uint16_t i = 0; i < ncols; i++)
                if (!cell_equal(a[i], b[i]))
                        return false;
        return true;
}

/* A resolver's row that is one of the versions' makes that one the winner (the latest of those that are alike). */
static enum status resolved(const struct rule *r, const struct version *v, size_t n, struct arena *arena, struct cell *row,
                            size_t *winner, struct err *e)
{
        if (!r->resolve)
                return err_named(e, ST_DATA, "resolver_failed", "the rule %s has no resolver in this process",
                                 row_rule_name(r->row));
        enum status st = r->resolve(r->resolve_ctx, r, v, n, arena, row, e);
        if (st != ST_OK)
                return st;
        *winner = n;
        for (size_t i = 0; i < n; i++)
                if (rows_equal(v[i].row, row, r->ncols))
                        *winner = i;
        return ST_OK;
}

/* ---- columns that are functions of the set --------------------------------------------------------------------------------------------------- */
/* The greatest or least value; of equal ones (1.0 and 1.00) the latest. NULL loses under both. */
static struct cell extreme(enum how h, enum value_type type, const struct cell *values, size_t n)
{
        bool least = h == HOW_LEAST || h == HOW_REGISTER_LEAST;
        struct cell best = values[0];
        for (size_t i = 1; i < n; i++) {
                int c = value_cmp(type, values[i], best);
                if (least && values[i].data && best.data)
                        c = -c;
                if (c >= 0)
                        best = values[i];
        }
        return best;
}

static bool all_equal(const struct cell *c, size_t n)
{
        for (size_t i = 1; i < n; i++)
                if (!cell_equal(c[i], c[0]))
                        return false;
        return true;
}

struct cell function_of(enum how h, enum value_type type, const struct cell *values, const struct cell *olds, size_t n,
                        struct arena *arena)
{
        struct cell merged;
        switch (h) {
        case HOW_GREATEST:
        case HOW_LEAST:
        case HOW_REGISTER_GREATEST:
        case HOW_REGISTER_LEAST: return extreme(h, type, values, n);
        case HOW_LINES:
        case HOW_WORDS:
        case HOW_REGISTER_LINES:
        case HOW_REGISTER_WORDS:
                if (olds && all_equal(olds, n) &&
                    text_merge(olds[0], values, n, h == HOW_WORDS || h == HOW_REGISTER_WORDS, arena, &merged))
                        return merged;
                break;
        case HOW_ROW:
        case HOW_LAST:
        case HOW_REGISTER_LAST:
        case HOW_DELTA:
        case HOW_UNION:
        case HOW_FIELDS: break;
        }
        return values[n - 1];
}

static void set_column(const struct rule *r, uint16_t col, enum how h, const struct version *v, size_t n, struct arena *arena,
                       struct cell *out)
{
        struct cell *values = ARENA_ARRAY(arena, struct cell, n), *olds = ARENA_ARRAY(arena, struct cell, n);
        bool known = true;
        for (size_t i = 0; i < n; i++) {
                values[i] = v[i].row[col];
                known = known && v[i].old;
                if (v[i].old)
                        olds[i] = v[i].old[col];
        }
        *out = function_of(h, r->cols[col].type, values, known ? olds : NULL, n, arena);
}

enum status merge_outcome(const struct version *v, size_t n, const struct regset *regs, struct arena *arena, struct cell *row,
                          size_t *winner, struct err *e)
{
        const struct rule *r = settling_rule(v, n, regs);
        *winner = 0;
        if (n > 1 && (r->row == RULE_SQL || r->row == RULE_PLUGIN))
                return resolved(r, v, n, arena, row, winner, e);
        for (size_t i = 1; i < n; i++)
                if (beats(r, &v[i], &v[*winner], regs) > 0)
                        *winner = i;
        memcpy(row, v[*winner].row, sizeof *row * r->ncols);
        for (uint16_t c = 0; n > 1 && c < r->ncols; c++) {
                enum how h = column_how(r, c);
                if (h != HOW_ROW && !how_is_own(h))
                        set_column(r, c, h, v, n, arena, &row[c]);
        }
        return ST_OK;
}
