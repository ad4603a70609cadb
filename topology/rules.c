#include <string.h>

#include "change/json.h"
#include "config/suggest.h"
#include "topology/build.h"
#include "topology/spec.h"

/* The rules of conflicts out of the document; whatever cannot converge is refused here, with its place. What depends on the types of columns
 * is checked by init and run, against the catalog. */

static const char *path(const struct build *b, const struct node *n)
{
        return node_path(b->arena, n);
}

static void refuse_without(struct build *b, const struct node *table, const char *key, const char *what)
{
        problem_error(b->p, table->name_at, path(b, table), "%s is missing: %s", key, what);
}

/* A key that says something to another resolver. */
static void refuse_stray(struct build *b, const struct node *table, const char *key, const char *rules)
{
        const struct node *n = node_get(table, key);
        if (n)
                problem_error(b->p, n->name_at, path(b, n), "says something to resolver: %s only; remove it", rules);
}

static void read_order(struct build *b, const struct node *table, struct rule_spec *s)
{
        const struct node *list = node_get(table, "order");
        if (!list) {
                refuse_without(b, table, "order", "region_priority needs the regions in their order, such as order: [us, eu]");
                return;
        }
        const char **order = ARENA_ARRAY(b->arena, const char *, list->n);
        s->order = order;
        for (size_t i = 0; i < list->n; i++) {
                const struct node *n = list->items[i];
                bool twice = false;
                if (n->bad)
                        continue;
                if (regset_find(&b->t->names, n->text, strlen(n->text)).i == REGION_NONE.i) {
                        if (b->names_known)
                                build_unknown_region(b, n);
                        continue;
                }
                for (size_t k = 0; k < s->norder; k++)
                        twice |= strcmp(order[k], n->text) == 0;
                if (twice)
                        problem_error(b->p, n->at, path(b, n), "stands here a second time");
                else
                        order[s->norder++] = n->text;
        }
}

static void read_by(struct build *b, const struct node *table, struct rule_spec *s)
{
        const struct node *n = node_get(table, "by");
        if (!n) {
                refuse_without(b, table, "by", "greatest and least compare a column, such as by: revision");
                return;
        }
        const char **by = ARENA_ARRAY(b->arena, const char *, strlen(n->text) + 1);
        s->by = by;
        for (const char *at = n->text;; at++) {
                at += strspn(at, " \t");
                size_t len = strcspn(at, ","), name = len;
                while (name && (at[name - 1] == ' ' || at[name - 1] == '\t'))
                        name--;
                by[s->nby] = arena_strndup(b->arena, at, name);
                if (!name || name > PG_NAME_MAX)
                        problem_error(b->p, n->at, path(b, n), "a column's name has 1 to %d bytes", PG_NAME_MAX);
                for (size_t k = 0; k < s->nby; k++)
                        if (strcmp(by[k], by[s->nby]) == 0)
                                problem_error(b->p, n->at, path(b, n), "%s stands here a second time", by[k]);
                s->nby++;
                at += len;
                if (!*at)
                        break;
        }
}

static void read_function(struct build *b, const struct node *table, struct rule_spec *s)
{
        const struct node *n = node_get(table, "function");
        struct table_pattern p;
        const char *why;
        if (!n)
                refuse_without(b, table, "function", "sql needs a function, such as function: public.settle");
        else if (!pattern_parse(b->arena, n->text, &p, &why) || p.wildcard)
                problem_error(b->p, n->at, path(b, n), "%s is no function; it is written schema.function, such as public.settle",
                              problem_quote(b->p, n->raw));
        else
                s->function = pattern_str(b->arena, &p);
}

static void read_plugin(struct build *b, const struct node *table, struct rule_spec *s)
{
        const struct node *n = node_get(table, "path");
        if (!n)
                refuse_without(b, table, "path", "plugin needs the path of a shared object");
        else if (n->text[0] != '/' || strstr(n->text, "/../"))
                problem_error(b->p, n->at, path(b, n), "%s is not an absolute path, which it must be in every region",
                              problem_quote(b->p, n->raw));
        else
                s->path = n->text;
}

static void read_column(struct build *b, const struct node *n, struct rule_spec *s, struct column_spec *c)
{
        struct suggestion meant = {.written = n->text};
        const char *all = "";
        c->name = n->name;
        if (strlen(n->name) > PG_NAME_MAX)
                problem_error(b->p, n->name_at, path(b, n), "is longer than a column's name can be (%d bytes)", PG_NAME_MAX);
        if (column_rule_parse(n->text, &c->rule)) {
                s->ncolumns++;
                return;
        }
        for (size_t i = COLUMN_OF_ROW + 1; i < COLUMN_RULE_COUNT; i++) {
                const char *name = column_rule_name((enum column_rule)i);
                suggest_offer(&meant, name);
                all = arena_printf(b->arena, "%s%s%s", all, *all ? ", " : "", name);
        }
        problem_error(b->p, n->at, path(b, n), "%s is no rule for a column; it must be one of %s%s%s%s",
                      problem_quote(b->p, n->raw), all, meant.best ? "; did you mean " : "", meant.best ? meant.best : "",
                      meant.best ? "?" : "");
}

static void read_columns(struct build *b, const struct node *table, struct rule_spec *s)
{
        const struct node *map = node_get(table, "columns");
        size_t n = map ? map->n : 0;
        struct column_spec *columns = ARENA_ARRAY(b->arena, struct column_spec, n);
        s->columns = columns;
        for (size_t i = 0; i < n; i++)
                if (!map->items[i]->bad)
                        read_column(b, map->items[i], s, &columns[s->ncolumns]);
        if (n && (s->row == RULE_SQL || s->row == RULE_PLUGIN))
                problem_error(b->p, map->name_at, path(b, map), "%s settles the whole row; remove the rules of its columns",
                              row_rule_name(s->row));
}

static void read_delete(struct build *b, const struct node *table, struct rule_spec *s)
{
        const struct node *n = node_get(table, "delete");
        bool all = rule_spec_accumulates(s);
        s->delete_wins = all || (n && n->num == 1);
        if (n && n->num == 0 && all)
                problem_error(
                        b->p, n->at, path(b, n),
                        "later_wins cannot converge here: what column_merge, delta, union and json_merge have put into a row cannot "
                        "be taken out again; a delete wins over what it has not seen; remove this key");
}

static void read_resolver(struct build *b, const struct node *table, struct rule_spec *s)
{
        bool greatest = s->row == RULE_GREATEST || s->row == RULE_LEAST;
        if (s->row == RULE_REGION_PRIORITY)
                read_order(b, table, s);
        else
                refuse_stray(b, table, "order", "region_priority");
        if (greatest)
                read_by(b, table, s);
        else
                refuse_stray(b, table, "by", "greatest, or least");
        if (s->row == RULE_SQL)
                read_function(b, table, s);
        else
                refuse_stray(b, table, "function", "sql");
        if (s->row == RULE_PLUGIN)
                read_plugin(b, table, s);
        else
                refuse_stray(b, table, "path", "plugin");
}

static void warn(struct build *b, const struct node *table, const struct table_rule *r)
{
        if (rule_spec_accumulates(&r->spec))
                problem_warn(
                        b->p, table->name_at, path(b, table),
                        "if the table has a unique key besides its key, two regions that take one value at once stop each other by "
                        "name (unique_conflict) until one of the rows is changed");
        if (r->table.wildcard)
                return;
        const struct route *route = topology_route(b->t, r->table.schema, r->table.name);
        if (!route) {
                problem_warn(b->p, table->name_at, path(b, table), "no route names this table, so it is not replicated");
                return;
        }
        uint32_t writers = route_writers(b->t, route);
        if (!(writers & (writers - 1)))
                problem_warn(b->p, table->name_at, path(b, table),
                             "one leader writes this table, so there are no conflicts to settle");
}

static bool make_rule(struct build *b, const struct node *n, struct table_rule *r)
{
        const struct node *resolver = node_get(n, "resolver");
        const char *why;
        memset(r, 0, sizeof *r);
        if (!pattern_parse(b->arena, n->name, &r->table, &why)) {
                problem_error(b->p, n->name_at, path(b, n), "%s %s", problem_quote(b->p, n->name), why);
                return false;
        }
        r->table.line = n->name_at.line;
        r->table.column = n->name_at.column;
        r->path = path(b, n);
        r->spec.row = resolver ? (enum row_rule)resolver->num : RULE_LAST_WRITE_WINS;
        if (resolver || !node_text(n, "resolver"))
                read_resolver(b, n, &r->spec);
        read_columns(b, n, &r->spec);
        read_delete(b, n, &r->spec);
        return true;
}

void build_rules(struct build *b)
{
        const struct node *conflicts = node_get(b->root, "conflicts"), *tables = node_get(conflicts, "tables");
        const struct node *standard = node_get(conflicts, "default");
        struct rulebook *book = &b->t->rules;
        size_t max = tables ? tables->n : 0;
        struct table_rule *rules = ARENA_ARRAY(b->arena, struct table_rule, max);
        if (!standard || !row_rule_parse(standard->text, &book->standard.row))
                book->standard.row = RULE_LAST_WRITE_WINS;
        book->standard.delete_wins = rule_spec_accumulates(&book->standard);
        book->tables = rules;
        for (size_t i = 0; i < max; i++) {
                struct table_rule *r = &rules[book->n];
                if (tables->items[i]->bad || !make_rule(b, tables->items[i], r))
                        continue;
                book->n++;
                if (b->t->nroutes)
                        warn(b, tables->items[i], r);
        }
}
