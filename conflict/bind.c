#include "conflict/rule.h"

#include <string.h>

bool rule_is_register(const struct rule *r)
{
        if (r->row != RULE_LAST_WRITE_WINS || r->delete_wins)
                return false;
        for (uint16_t i = 0; i < r->ncols; i++)
                if (r->cols[i].rule != COLUMN_OF_ROW && r->cols[i].rule != COLUMN_LAST_WRITE_WINS)
                        return false;
        return true;
}

bool rule_keeps_dots(const struct rule *r)
{
        if (r->row == RULE_COLUMN_MERGE)
                return true;
        for (uint16_t i = 0; i < r->ncols; i++)
                if (r->cols[i].rule == COLUMN_UNION || r->cols[i].rule == COLUMN_JSON_MERGE)
                        return true;
        return false;
}

static bool one_of(const char *type, const char *const *names, size_t n)
{
        if (strncmp(type, "pg_catalog.", 11) == 0)
                type += 11;
        for (size_t i = 0; i < n; i++)
                if (strcmp(type, names[i]) == 0)
                        return true;
        return false;
}
#define ONE_OF(type, ...) \
        one_of(type, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* Why values of this column cannot be put in an order that all regions agree on; NULL: they can. */
static const char *no_order(const struct rule_table_column *c)
{
        switch (value_type_of(c)) {
        case TYPE_BOOL:
        case TYPE_INT:
        case TYPE_NUMERIC:
        case TYPE_TEXT:
        case TYPE_BPCHAR:
        case TYPE_BYTEA:
        case TYPE_UUID:
        case TYPE_DATE:
        case TYPE_TIMESTAMP: return NULL;
        case TYPE_ARRAY:
        case TYPE_JSONB:
        case TYPE_OTHER: break;
        }
        if (ONE_OF(c->type, "text", "varchar", "bpchar", "name"))
                return "its collation is not one that compares bytes, and another version of the operating system may order it differently; "
                       "allowed: a column with COLLATE \"C\"";
        if (ONE_OF(c->type, "float4", "float8"))
                return "NaN and -0 have no place of their own in the order of floats; allowed: numeric";
        return "allowed: bool, integers, numeric, text with COLLATE \"C\", bytea, uuid, date, timestamp with or without time zone";
}

/* The same for adding up. */
static const char *no_sum(const struct rule_table_column *c)
{
        if (ONE_OF(c->type, "int2", "int4", "int8", "numeric"))
                return NULL;
        if (ONE_OF(c->type, "float4", "float8"))
                return "a sum of floats depends on the order in which they are added; allowed: integers, numeric";
        return "allowed: int2, int4, int8, numeric";
}

static const char *no_union(const struct rule_table_column *c)
{
        enum value_type t = value_type_of(c);
        if (t == TYPE_ARRAY || t == TYPE_JSONB)
                return NULL;
        return ONE_OF(c->type, "json") ? "json keeps the text that was written and has no canonical form; allowed: arrays, jsonb"
                                       : "allowed: arrays, jsonb";
}

static const char *no_fields(const struct rule_table_column *c)
{
        if (value_type_of(c) == TYPE_JSONB)
                return NULL;
        return ONE_OF(c->type, "json") ? "json keeps the text that was written, and may hold one field twice; allowed: jsonb"
                                       : "allowed: jsonb";
}

static const char *no_text(const struct rule_table_column *c)
{
        return ONE_OF(c->type, "text", "varchar") ? NULL : "allowed: text, varchar";
}

static const char *column_refused(enum column_rule r, const struct rule_table_column *c)
{
        if (c->key && r != COLUMN_OF_ROW)
                return "it is part of the key, which is the same in all versions of a row";
        switch (r) {
        case COLUMN_OF_ROW:
        case COLUMN_LAST_WRITE_WINS: return NULL;
        case COLUMN_GREATEST:
        case COLUMN_LEAST: return no_order(c);
        case COLUMN_DELTA: return no_sum(c);
        case COLUMN_UNION: return no_union(c);
        case COLUMN_TEXT_MERGE:
        case COLUMN_TEXT_MERGE_WORDS: return no_text(c);
        case COLUMN_JSON_MERGE: return no_fields(c);
        }
        return NULL;
}

static bool find(const struct rule_table_column *cols, uint16_t ncols, const char *name, uint16_t *at)
{
        for (*at = 0; *at < ncols; ++*at)
                if (strcmp(cols[*at].name, name) == 0)
                        return true;
        return false;
}

static enum status refuse(struct err *e, const char *rule, const struct rule_table_column *c, const char *why)
{
        return err_named(e, ST_CONFIG, "rule_refused", "%s cannot work on column %s of type %s: %s", rule, c->name, c->type, why);
}

static enum status bind_columns(const struct rule_spec *s, const struct rule_table_column *cols, struct rule_column *out,
                                uint16_t ncols, struct err *e)
{
        for (size_t i = 0; i < s->ncolumns; i++) {
                uint16_t at;
                const char *rule = column_rule_name(s->columns[i].rule);
                if (!find(cols, ncols, s->columns[i].name, &at))
                        return err_named(e, ST_CONFIG, "rule_refused", "%s: the table has no column %s", rule, s->columns[i].name);
                const char *why = column_refused(s->columns[i].rule, &cols[at]);
                if (why)
                        return refuse(e, rule, &cols[at], why);
                if (s->row == RULE_SQL || s->row == RULE_PLUGIN)
                        return err_named(e, ST_CONFIG, "rule_refused",
                                         "column %s has the rule %s, but %s returns whole rows: leave one of them out",
                                         s->columns[i].name, rule, row_rule_name(s->row));
                out[at].rule = s->columns[i].rule;
        }
        return ST_OK;
}

static enum status bind_by(const struct rule_spec *s, const struct rule_table_column *cols, struct rule_column *out, uint16_t ncols,
                           struct arena *arena, struct rule *r, struct err *e)
{
        if (s->row != RULE_GREATEST && s->row != RULE_LEAST)
                return ST_OK;
        const char *rule = row_rule_name(s->row);
        if (s->nby == 0)
                return err_named(e, ST_CONFIG, "rule_refused", "%s: by is missing: name the columns that are compared", rule);
        uint16_t *by = ARENA_ARRAY(arena, uint16_t, s->nby);
        for (size_t i = 0; i < s->nby; i++) {
                if (!find(cols, ncols, s->by[i], &by[i]))
                        return err_named(e, ST_CONFIG, "rule_refused", "%s: the table has no column %s", rule, s->by[i]);
                const char *why = no_order(&cols[by[i]]);
                if (why)
                        return refuse(e, rule, &cols[by[i]], why);
                out[by[i]].by = true;
        }
        r->nby = (uint16_t)s->nby;
        r->by = by;
        return ST_OK;
}

enum status rule_bind(const struct rule_spec *spec, const struct rule_table_column *cols, uint16_t ncols, const struct regset *regs,
                      struct arena *arena, struct rule *out, struct err *e)
{
        *out = (struct rule){.from = REGION_NONE, .row = spec->row, .ncols = ncols};
        memset(out->rank, 255, sizeof out->rank);
        for (size_t i = 0; spec->row == RULE_REGION_PRIORITY && i < spec->norder; i++) {
                region_id r = regset_find(regs, spec->order[i], strlen(spec->order[i]));
                if (r.i != REGION_NONE.i && out->rank[r.i] == 255)
                        out->rank[r.i] = (uint8_t)i;
        }
        struct rule_column *c = ARENA_ARRAY(arena, struct rule_column, ncols);
        for (uint16_t i = 0; i < ncols; i++)
                c[i] = (struct rule_column){
                        .name = arena_strdup(arena, cols[i].name), .type = value_type_of(&cols[i]), .key = cols[i].key};
        out->cols = c;
        enum status st = bind_columns(spec, cols, c, ncols, e);
        if (st == ST_OK)
                st = bind_by(spec, cols, c, ncols, arena, out, e);
        for (uint16_t i = 0; i < ncols; i++)
                out->accumulates = out->accumulates || column_rule_accumulates(c[i].rule);
        out->accumulates = out->accumulates || spec->row == RULE_COLUMN_MERGE;
        out->delete_wins = spec->delete_wins || out->accumulates;
        return st;
}
