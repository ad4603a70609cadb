#include <string.h>

#include "base/map.h"
#include "config/suggest.h"
#include "topology/build.h"
#include "topology/spec.h"

/* Routes out of the document. Each table has one route, found by topology_route (routing.c). */

/* One route on its way, and where its parts stand. */
struct making {
        struct route r;
        const struct node *node;
        bool bad; /* one of its regions is unknown: what follows from them is not judged */
};

static const char *path(const struct build *b, const struct node *n)
{
        return node_path(b->arena, n);
}

static uint32_t leaders(const struct topology *t)
{
        uint32_t bits = 0;
        for (size_t i = 0; i < t->nregions; i++)
                if (t->regions[i].role == ROLE_LEADER)
                        bits |= region_bit((region_id){(uint8_t)i});
        return bits;
}

static uint32_t everyone(const struct topology *t)
{
        return t->nregions >= 32 ? UINT32_MAX : (UINT32_C(1) << t->nregions) - 1;
}

/* "us, eu" */
static const char *names_of(struct build *b, uint32_t bits)
{
        const char *all = "";
        for (unsigned i = 0; i < b->t->names.n; i++)
                if (bits & region_bit((region_id){(uint8_t)i}))
                        all = arena_printf(b->arena, "%s%s%s", all, *all ? ", " : "", b->t->names.name[i]);
        return all;
}

void build_unknown_region(struct build *b, const struct node *n)
{
        struct suggestion s = {.written = n->text};
        for (unsigned i = 0; i < b->t->names.n; i++)
                suggest_offer(&s, b->t->names.name[i]);
        problem_error(b->p, n->at, path(b, n), "there is no region %s; the regions are %s%s%s%s", problem_quote(b->p, n->raw),
                      names_of(b, everyone(b->t)), s.best ? "; did you mean " : "", s.best ? s.best : "", s.best ? "?" : "");
}

static uint32_t read_regions(struct build *b, struct making *m, const char *key, uint32_t standard)
{
        const struct node *list = node_get(m->node, key);
        uint32_t bits = 0;
        if (!list) {
                for (size_t i = 0; i < m->node->n; i++) /* there, but refused by the table */
                        m->bad = m->bad || (m->node->items[i]->bad && strcmp(m->node->items[i]->name, key) == 0);
                return standard;
        }
        for (size_t i = 0; i < list->n; i++) {
                const struct node *n = list->items[i];
                region_id id = n->bad ? REGION_NONE : regset_find(&b->t->names, n->text, strlen(n->text));
                if (id.i == REGION_NONE.i) {
                        m->bad = true;
                        if (!n->bad && b->names_known)
                                build_unknown_region(b, n);
                } else if (bits & region_bit(id)) {
                        problem_error(b->p, n->at, path(b, n), "stands here a second time");
                } else {
                        bits |= region_bit(id);
                }
        }
        return bits;
}

static void refuse_followers(struct build *b, struct making *m)
{
        const struct node *list = node_get(m->node, "from");
        for (size_t i = 0; list && i < list->n; i++) {
                const struct node *n = list->items[i];
                region_id id = n->bad ? REGION_NONE : regset_find(&b->t->names, n->text, strlen(n->text));
                if (id.i != REGION_NONE.i && b->t->regions[id.i].role == ROLE_FOLLOWER) {
                        problem_error(b->p, n->at, path(b, n),
                                      "%s is a follower, which writes nothing of its own; only leaders can be in from", n->text);
                        m->bad = true;
                }
        }
}

static void read_columns(struct build *b, struct making *m)
{
        const struct node *list = node_get(m->node, "columns");
        struct map seen;
        if (!list)
                return;
        const char **columns = ARENA_ARRAY(b->arena, const char *, list->n);
        map_init(&seen, 0);
        for (size_t i = 0; i < list->n; i++) {
                const struct node *n = list->items[i];
                if (n->bad)
                        continue;
                if (strlen(n->text) > PG_NAME_MAX)
                        problem_error(b->p, n->at, path(b, n), "is longer than a column's name can be (%d bytes)", PG_NAME_MAX);
                else if (map_get(&seen, n->text, strlen(n->text)))
                        problem_error(b->p, n->at, path(b, n), "stands here a second time");
                else
                        map_put(&seen, n->text, strlen(n->text), list->items[i]);
                columns[m->r.ncolumns++] = n->text;
        }
        map_release(&seen);
        m->r.columns = columns;
}

static void read_tables(struct build *b, struct making *m)
{
        const struct node *list = node_get(m->node, "tables");
        size_t max = list ? list->n : 0;
        struct table_pattern *tables = ARENA_ARRAY(b->arena, struct table_pattern, max);
        m->r.tables = tables;
        for (size_t i = 0; i < max; i++) {
                const struct node *n = list->items[i];
                struct table_pattern *t = &tables[m->r.ntables];
                const char *why;
                if (n->bad)
                        continue;
                if (!pattern_parse(b->arena, n->text, t, &why)) {
                        problem_error(b->p, n->at, path(b, n), "%s %s", problem_quote(b->p, n->raw), why);
                        continue;
                }
                t->line = n->at.line;
                t->column = n->at.column;
                m->r.ntables++;
        }
}

/* What goes between several writers must be whole, everywhere among them: else a vector would say "applied" for rows that never came
 * (DESIGN 7). */
static void check_writers(struct build *b, const struct making *m)
{
        uint32_t writers = m->r.from;
        bool several = writers & (writers - 1);
        const struct node *from = node_get(m->node, "from"), *to = node_get(m->node, "to");
        static const char *const filters[] = {"where", "columns"};
        for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
                const struct node *n = node_get(m->node, filters[i]);
                if (n && several)
                        problem_error(b->p, n->name_at, path(b, n),
                                      "these tables are written by %s; a filter is for tables with one writing leader: "
                                      "name it with from: [..], or remove the filter",
                                      names_of(b, writers));
        }
        if (several && (writers & ~m->r.to))
                problem_error(b->p, to->at, path(b, to),
                              "%s %s missing; a table that several leaders write (%s) goes between all of them",
                              names_of(b, writers & ~m->r.to), (writers & ~m->r.to) & ((writers & ~m->r.to) - 1) ? "are" : "is",
                              names_of(b, writers));
        else if (!several && to && from && !(m->r.to & ~writers))
                problem_error(b->p, to->at, path(b, to), "leads nowhere: %s is where the changes come from", names_of(b, writers));
}

static struct making make_route(struct build *b, const struct node *n)
{
        struct making m = {.node = n};
        m.r.line = n->at.line;
        m.r.column = n->at.column;
        m.r.from = read_regions(b, &m, "from", leaders(b->t));
        m.r.to = read_regions(b, &m, "to", everyone(b->t));
        m.r.where = node_text(n, "where");
        m.r.insert_only = node_num(n, "insert_only");
        read_columns(b, &m);
        read_tables(b, &m);
        if (!m.bad)
                refuse_followers(b, &m);
        if (!m.bad && b->names_known && m.r.from)
                check_writers(b, &m);
        return m;
}

static bool filtered(const struct route *r)
{
        return r->where || r->ncolumns;
}

/* Where a pattern stands, from its place alone: entries that were refused are not among the patterns. */
static const char *pattern_path(struct build *b, const struct table_pattern *t)
{
        const struct node *routes = node_get(b->root, "routes");
        for (size_t i = 0; routes && i < routes->n; i++) {
                const struct node *list = node_get(routes->items[i], "tables");
                for (size_t j = 0; list && j < list->n; j++)
                        if (list->items[j]->at.line == t->line && list->items[j]->at.column == t->column)
                                return path(b, list->items[j]);
        }
        return "routes";
}

/* A pattern that stands in two routes (or twice in one): which of them is meant? There is one log, so there can be one filter. */
static void refuse_twice(struct build *b, const struct route *routes, size_t n)
{
        struct map seen; /* pattern -> route */
        map_init(&seen, 0);
        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < routes[i].ntables; j++) {
                        const struct table_pattern *t = &routes[i].tables[j];
                        const char *text = pattern_str(b->arena, t);
                        const struct route *first = map_get(&seen, text, strlen(text));
                        if (!first) {
                                map_put(&seen, text, strlen(text), (void *)(uintptr_t)&routes[i]);
                                continue;
                        }
                        bool filters = first != &routes[i] && (filtered(first) || filtered(&routes[i]));
                        problem_error(b->p, (struct place){t->line, t->column}, pattern_path(b, t),
                                      "%s stands in the route of line %d already; %s", text, first->line,
                                      filters ? "a table cannot have two different filters, because its leader has one log"
                                              : "a table has one route: put them together");
                }
        map_release(&seen);
}

/* The last wildcard that matches wins; one that an equally wide or wider one follows never does. */
static void warn_hidden(struct build *b, const struct route *routes, size_t n)
{
        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < routes[i].ntables; j++) {
                        const struct table_pattern *t = &routes[i].tables[j], *by = NULL;
                        for (size_t k = i + 1; t->wildcard && !by && k < n; k++)
                                for (size_t l = 0; !by && l < routes[k].ntables; l++)
                                        if (routes[k].tables[l].wildcard && pattern_match(&routes[k].tables[l], t->schema, t->name))
                                                by = &routes[k].tables[l];
                        if (by && strcmp(pattern_str(b->arena, t), pattern_str(b->arena, by)) != 0)
                                problem_warn(
                                        b->p, (struct place){t->line, t->column}, pattern_path(b, t),
                                        "%s has no effect: the last wildcard that matches wins, and %s in line %d matches all of it; "
                                        "put the wider one first",
                                        pattern_str(b->arena, t), pattern_str(b->arena, by), by->line);
                }
}

static void default_route(struct build *b)
{
        struct table_pattern *all = ARENA_NEW(b->arena, struct table_pattern);
        struct route *r = ARENA_NEW(b->arena, struct route);
        *all = (struct table_pattern){.schema = "*", .name = "*", .wildcard = true, .schema_wild = true, .name_wild = true};
        *r = (struct route){.ntables = 1, .tables = all, .from = leaders(b->t), .to = everyone(b->t)};
        b->t->routes = r;
        b->t->nroutes = 1;
        b->t->default_routes = true;
}

void build_routes(struct build *b)
{
        const struct node *list = node_get(b->root, "routes");
        if (!list) {
                default_route(b);
                return;
        }
        struct route *routes = ARENA_ARRAY(b->arena, struct route, list->n);
        for (size_t i = 0; i < list->n; i++) {
                if (list->items[i]->bad)
                        continue;
                routes[b->t->nroutes++] = make_route(b, list->items[i]).r;
        }
        b->t->routes = routes;
        refuse_twice(b, routes, b->t->nroutes);
        warn_hidden(b, routes, b->t->nroutes);
}
