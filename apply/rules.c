#include "apply/rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define COLUMNS_MAX 800 /* a sibling is read as two values a column, and PostgreSQL has 1664 in a result */

static bool is_set_rule(const struct rule_spec *s)
{
        return s->row == RULE_MANUAL || rule_spec_needs_full(s);
}

static bool spec_has_dots(const struct rule_spec *s)
{
        if (s->row == RULE_COLUMN_MERGE)
                return true;
        for (size_t i = 0; i < s->ncolumns; i++)
                if (s->columns[i].rule == COLUMN_UNION || s->columns[i].rule == COLUMN_JSON_MERGE)
                        return true;
        return false;
}

bool rules_have_dots(const struct topology *topo, const char *schema, const char *name)
{
        return topology_multi_writer(topo, schema, name) && spec_has_dots(topology_rule(topo, schema, name));
}

static const char *name_of(const struct rule_spec *s, struct arena *arena)
{
        const char *name = row_rule_name(s->row);
        for (size_t i = 0; i < s->ncolumns; i++)
                if (s->columns[i].rule != COLUMN_OF_ROW)
                        name = arena_printf(arena, "%s, %s: %s", name, s->columns[i].name, column_rule_name(s->columns[i].rule));
        return name;
}

/* The table here as a relation, and its columns as the rule wants to know them. */
static struct rule_table_column *lay_out(struct set_rule *s, struct target *t, const bool *bytewise)
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
        return cols;
}

enum status rules_bind(struct set_rule **out, const struct topology *topo, struct target *t, const bool *bytewise, struct err *e)
{
        const struct rule_spec *spec = topology_rule(topo, t->schema, t->table);
        *out = NULL;
        if (!t->multi || !t->nkeys || !is_set_rule(spec))
                return ST_OK;
        struct set_rule *s = MEM_NEW(struct set_rule);
        arena_init(&s->arena);
        struct rule_table_column *cols = lay_out(s, t, bytewise);
        enum status st = ST_OK;
        if (s->rel.ncols > COLUMNS_MAX)
                st = err_set(e, ST_CONFIG, "it has %u columns, and a rule that needs the siblings works with %d at most", s->rel.ncols,
                             COLUMNS_MAX);
        if (st == ST_OK)
                st = rule_bind(spec, cols, s->rel.ncols, &topo->names, &s->arena, &s->rule, e);
        if (st != ST_OK) {
                struct err why = *e;
                rules_free(s);
                return err_named(e, ST_DATA, "rule_refused",
                                 "table %s: its rule cannot be used here: %.600s; change the table or the topology's conflicts.tables, "
                                 "the origin goes on by itself then",
                                 t->name, why.msg);
        }
        s->dots = spec_has_dots(spec);
        s->full = rule_spec_needs_full(spec);
        s->name = name_of(spec, &s->arena);
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
