#include "apply/rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define COLUMNS_MAX 800 /* a sibling is read as two values a column, and PostgreSQL has 1664 in a result */

struct bound_rule {
        struct bound_rule *next;
        const struct rulebook_at *book;
        struct rule rule;
        const char *name;
};

static bool spec_has_dots(const struct rule_spec *s)
{
        if (s->row == RULE_COLUMN_MERGE)
                return true;
        for (size_t i = 0; i < s->ncolumns; i++)
                if (s->columns[i].rule == COLUMN_UNION || s->columns[i].rule == COLUMN_JSON_MERGE)
                        return true;
        return false;
}

static bool spec_has_olds(const struct rule_spec *s)
{
        for (size_t i = 0; i < s->ncolumns; i++)
                if (s->columns[i].rule == COLUMN_TEXT_MERGE || s->columns[i].rule == COLUMN_TEXT_MERGE_WORDS)
                        return true;
        return false;
}

/* The newest generation of all logs; of equal ones that of the greatest region's name. */
static const struct rulebook_at *newest(const struct rulebooks *books, const struct regset *regs)
{
        const struct rulebook_at *best = NULL;
        for (unsigned r = 0; r < regs->n; r++) {
                const struct rulebook_at *b = rulebooks_newest(books, (region_id){(uint8_t)r});
                if (!best || b->generation > best->generation ||
                    (b->generation == best->generation && strcmp(regs->name[b->from.i], regs->name[best->from.i]) > 0))
                        best = b;
        }
        return best;
}

bool rules_note_own(const struct rulebooks *books, const struct regset *regs, const char *schema, const char *name)
{
        const struct rule_spec *s = rulebook_rule(&newest(books, regs)->book, schema, name);
        return spec_has_dots(s) || spec_has_olds(s);
}

static const char *name_of(const struct rule_spec *s, struct arena *arena)
{
        const char *name = row_rule_name(s->row);
        for (size_t i = 0; i < s->ncolumns; i++)
                if (s->columns[i].rule != COLUMN_OF_ROW)
                        name = arena_printf(arena, "%s, %s: %s", name, s->columns[i].name, column_rule_name(s->columns[i].rule));
        return name;
}

static const char *label_of(const struct rule_spec *s)
{
        for (size_t i = 0; i < s->ncolumns && s->row == RULE_LAST_WRITE_WINS; i++)
                if (s->columns[i].rule != COLUMN_OF_ROW)
                        return column_rule_name(s->columns[i].rule);
        return row_rule_name(s->row);
}

/* The table here as a relation, and its columns as the rule wants to know them. */
static void lay_out(struct set_rule *s, struct target *t, const bool *bytewise)
{
        struct rule_table_column *cols = ARENA_ARRAY(&s->arena, struct rule_table_column, t->ncols);
        struct column *rc = ARENA_ARRAY(&s->arena, struct column, t->ncols);
        uint16_t *keys = ARENA_ARRAY(&s->arena, uint16_t, t->nkeys), n = 0;
        s->at = ARENA_ARRAY(&s->arena, int16_t, t->ncols);
        s->map = (struct mapping){.target = t, .to = ARENA_ARRAY(&s->arena, int16_t, t->ncols), .applied = true};
        for (uint16_t i = 0; i < t->ncols; i++) {
                const struct target_column *c = &t->cols[i];
                s->at[i] = -1;
                if (c->generated)
                        continue;
                cols[n] = (struct rule_table_column){
                        .name = c->name, .type = c->type_plain, .bytewise = bytewise[i], .key = c->eq != NULL};
                rc[n] = (struct column){.name = c->name, .type = c->type_plain, .key = c->eq != NULL};
                s->map.to[n] = (int16_t)i;
                s->at[i] = (int16_t)n++;
        }
        for (uint16_t k = 0; k < t->nkeys; k++)
                keys[k] = (uint16_t)s->at[t->keys[k]];
        s->rel = (struct relation){
                .schema = t->schema, .name = t->table, .ncols = n, .nkeys = t->nkeys, .cols = rc, .keys = keys, .full = true};
        s->cols = cols;
}

static enum status refused(const struct set_rule *s, const struct rulebook_at *b, struct err *e)
{
        struct err why = *e;
        return err_named(
                e, ST_DATA, "rule_refused",
                "table %s.%s: its rule (generation %u, of %s) cannot be used here: %.600s; change the table or the topology's "
                "conflicts.tables, the origin goes on by itself then",
                s->rel.schema, s->rel.name, b->generation, regset_name(s->regs, b->from), why.msg);
}

static enum status bind(struct set_rule *s, const struct rulebook_at *book, struct bound_rule **out, struct err *e)
{
        const struct rule_spec *spec = rulebook_rule(&book->book, s->rel.schema, s->rel.name);
        for (*out = s->bound; *out; *out = (*out)->next)
                if ((*out)->book == book)
                        return ST_OK;
        struct bound_rule *b = ARENA_NEW(&s->arena, struct bound_rule);
        b->book = book;
        b->name = name_of(spec, &s->arena);
        enum status st = rule_bind(spec, s->cols, s->rel.ncols, s->regs, &s->arena, &b->rule, e);
        b->rule.generation = book->generation;
        b->rule.from = book->from;
        if (st == ST_OK && s->known->resolver)
                st = s->known->resolver(s->known->ctx, s, spec, &b->rule, e);
        if (st == ST_RETRY)
                return st;
        if (st != ST_OK)
                return refused(s, book, e);
        b->next = s->bound;
        *out = s->bound = b;
        return ST_OK;
}

enum status rules_of(struct set_rule *s, struct dot dot, const struct rule **out, struct err *e)
{
        struct bound_rule *b;
        enum status st = bind(s, rulebooks_at(s->known->books, dot), &b, e);
        *out = st == ST_OK ? &b->rule : NULL;
        return st;
}

static enum status bind_newest(struct set_rule *s, struct err *e)
{
        const struct rulebook_at *now = newest(s->known->books, s->regs);
        const struct rule_spec *spec = rulebook_rule(&now->book, s->rel.schema, s->rel.name);
        struct bound_rule *b;
        if (s->rel.ncols > COLUMNS_MAX) {
                err_set(e, ST_CONFIG, "it has %u columns, and a rule that needs the siblings works with %d at most", s->rel.ncols,
                        COLUMNS_MAX);
                return refused(s, now, e);
        }
        enum status st = bind(s, now, &b, e);
        if (st != ST_OK)
                return st;
        s->rule = &b->rule;
        s->name = b->name;
        s->label = label_of(spec);
        s->dots = spec_has_dots(spec);
        s->olds = spec_has_olds(spec);
        s->full = rule_spec_needs_full(spec);
        return ST_OK;
}

enum status rules_bind(struct set_rule **out, const struct rules_known *known, const struct topology *topo, struct target *t,
                       const bool *bytewise, struct err *e)
{
        *out = NULL;
        if (!t->multi || !t->nkeys || !known->books || !rulebooks_need_siblings(known->books, known->stable, t->schema, t->table))
                return ST_OK;
        struct set_rule *s = MEM_NEW(struct set_rule);
        arena_init(&s->arena);
        s->known = known;
        s->regs = &topo->names;
        lay_out(s, t, bytewise);
        enum status st = bind_newest(s, e);
        if (st != ST_OK) {
                rules_free(s);
                return st;
        }
        *out = s;
        return ST_OK;
}

void rules_free(struct set_rule *s)
{
        if (!s)
                return;
        arena_release(&s->arena);
        free(s);
}
