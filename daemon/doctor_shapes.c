/* doctor: routed tables have what a change from another region needs. */
#include <stdio.h>
#include <string.h>

#include "daemon/doctor.h"

/* "name<TAB>type" a line; generated columns are each region's own. */
static const char sql_shapes[] =
        "SELECT n.nspname, c.relname, string_agg(a.attname || E'\\t' || pg_catalog.format_type(a.atttypid, a.atttypmod), E'\\n' ORDER BY a.attnum)"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'"
        " AND n.nspname NOT IN ('information_schema', 'pangea') GROUP BY 1, 2 ORDER BY 1, 2";

void check_shapes(struct patient *p)
{
        struct pgres *res;
        if (!ask(p, sql_shapes, 0, NULL, &res))
                return;
        int rows = pgres_rows(res);
        p->shapes = ARENA_ARRAY(&p->arena, struct table_shape, rows);
        for (int i = 0; i < rows; i++) {
                const char *schema = pgres_text(res, i, 0), *name = pgres_text(res, i, 1);
                if (topology_route(p->t, schema, name))
                        p->shapes[p->nshapes++] = (struct table_shape){.schema = arena_strdup(&p->arena, schema),
                                                                       .name = arena_strdup(&p->arena, name),
                                                                       .columns = arena_strdup(&p->arena, pgres_text(res, i, 2))};
        }
        pgres_free(res);
}

static const struct table_shape *shape_of(const struct patient *p, const struct table_shape *like)
{
        for (size_t i = 0; i < p->nshapes; i++)
                if (strcmp(p->shapes[i].name, like->name) == 0 && strcmp(p->shapes[i].schema, like->schema) == 0)
                        return &p->shapes[i];
        return NULL;
}

/* A literal name of a route: `identity` says already that it is missing. */
static bool said_missing(const struct patient *p, const struct table_shape *s)
{
        for (size_t i = 0; i < p->nplans; i++)
                if (p->plans[i].missing && strcmp(p->plans[i].name, s->name) == 0 && strcmp(p->plans[i].schema, s->schema) == 0)
                        return true;
        return false;
}

/* The type of a column in a shape; NULL: it has none of this name. */
static const char *type_in(struct arena *a, const struct table_shape *s, const char *column, size_t n)
{
        for (const char *line = s->columns; *line;) {
                size_t len = strcspn(line, "\n");
                if (len > n && line[n] == '\t' && strncmp(line, column, n) == 0)
                        return arena_strndup(a, line + n + 1, len - n - 1);
                line += len + (line[len] == '\n');
        }
        return NULL;
}

static bool carried(const struct route *r, const char *column)
{
        for (size_t i = 0; i < r->ncolumns; i++)
                if (strcmp(r->columns[i], column) == 0)
                        return true;
        return r->ncolumns == 0;
}

struct compared {
        struct doctor *d;
        const struct patient *from, *to;
        const struct table_shape *here, *there;
        const struct route *route;
        const char *object, *table; /* as one says it; quoted */
};

static bool told_before(const struct compared *c, const char *what)
{
        for (const struct finding *f = c->d->together.first; f; f = f->next)
                if (f->region == c->to->region && f->object && strcmp(f->object, c->object) == 0 && strcmp(f->what, what) == 0)
                        return true;
        return false;
}

static void say(const struct compared *c, enum severity s, const char *todo, const char *what)
{
        if (!told_before(c, what))
                find(&c->d->together, s, c->object, todo, "%s", what)->region = c->to->region;
}

static void compare_columns(const struct compared *c)
{
        struct arena *a = &c->d->together.arena;
        struct buf quoted_name;
        buf_init(&quoted_name, 1024);
        for (const char *line = c->here->columns; *line;) {
                size_t len = strcspn(line, "\n"), n = strcspn(line, "\t");
                const char *column = arena_strndup(a, line, n), *type = arena_strndup(a, line + n + 1, len - n - 1);
                const char *there = type_in(a, c->there, column, n);
                buf_reset(&quoted_name);
                pg_ident(&quoted_name, column);
                if (!there && carried(c->route, column))
                        say(c, SEVERITY_ERROR,
                            arena_printf(a, "ALTER TABLE %s ADD COLUMN %s %s", c->table, buf_cstr(&quoted_name), type),
                            arena_printf(a, "column %s is missing, and other regions write it", column));
                else if (there && carried(c->route, column) && strcmp(there, type) != 0)
                        say(c, SEVERITY_WARNING,
                            arena_printf(a, "ALTER TABLE %s ALTER COLUMN %s TYPE %s", c->table, buf_cstr(&quoted_name), type),
                            arena_printf(a, "column %s is %s, in %s it is %s", column, there, c->from->region->name, type));
                line += len + (line[len] == '\n');
        }
        buf_release(&quoted_name);
}

static void compare_regions(struct doctor *d, struct patient *from, struct patient *to)
{
        struct arena *a = &d->together.arena;
        for (size_t i = 0; i < from->nshapes; i++) {
                struct compared c = {
                        .d = d, .from = from, .to = to, .here = &from->shapes[i], .there = shape_of(to, &from->shapes[i])};
                if (!topology_applies(d->t, c.here->schema, c.here->name, from->region->id, to->region->id))
                        continue;
                c.route = topology_route(d->t, c.here->schema, c.here->name);
                c.object = arena_printf(a, "%s.%s", c.here->schema, c.here->name);
                c.table = quoted(&d->together, c.here->schema, c.here->name);
                if (c.there)
                        compare_columns(&c);
                else if (!said_missing(to, c.here))
                        say(&c, SEVERITY_ERROR,
                            arena_printf(a, "pg_dump --schema-only -t '%s' -d \"CONNINFO OF %s\" | psql -d \"CONNINFO OF %s\"",
                                         c.table, from->region->name, to->region->name),
                            "the table does not exist, and other regions write it");
        }
}

void check_shapes_equal(struct doctor *d)
{
        for (size_t i = 0; i < d->t->nregions; i++)
                for (size_t k = 0; k < d->t->nregions; k++)
                        if (i != k && d->patients[i].shapes && d->patients[k].shapes)
                                compare_regions(d, &d->patients[i], &d->patients[k]);
}
