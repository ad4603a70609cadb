/* pangea topology: the regions, what goes from whom to whom, and where it is read.  Offline: from the file alone. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "config/suggest.h"
#include "daemon/command.h"
#include "daemon/graph.h"
#include "daemon/refuse.h"
#include "daemon/table.h"
#include "postgres/conninfo.h"

static const char *database_of(const struct region *r, struct arena *a)
{
        struct conninfo c;
        struct err e;
        if (pg_conninfo_check(r->conninfo, a, &c, &e) != ST_OK)
                return "?";
        return arena_printf(a, "%s%s/%s", c.nhosts ? c.hosts[0] : "", c.nhosts > 1 ? ",.." : "", c.dbname);
}

/* "us, eu" */
static const char *names_of(const struct topology *t, uint32_t bits, struct arena *a)
{
        const char *list = "";
        for (size_t i = 0; i < t->nregions; i++)
                if (bits >> i & 1)
                        list = arena_printf(a, "%s%s%s", list, *list ? ", " : "", t->regions[i].name);
        return list;
}

static const char *patterns_of(const struct route *r, struct arena *a)
{
        const char *list = "";
        for (size_t i = 0; i < r->ntables; i++)
                list = arena_printf(a, "%s%s%s.%s", list, i ? ", " : "", r->tables[i].schema, r->tables[i].name);
        return list;
}

static const char *filter_of(const struct route *r, struct arena *a)
{
        const char *s = r->insert_only ? "insert only" : "";
        if (r->where)
                s = arena_printf(a, "%s%swhere %s", s, *s ? "; " : "", r->where);
        if (r->ncolumns)
                s = arena_printf(a, "%s%s%zu columns", s, *s ? "; " : "", r->ncolumns);
        return s;
}

/* ---- for people ---------------------------------------------------------------------------------------------------------------------- */
static void print_regions(const struct topology *t, struct arena *a)
{
        static const struct text_column columns[] = {{"REGION", false, KEEP_ALWAYS},
                                                     {"ROLE", false, KEEP_ALWAYS},
                                                     {"DATABASE", false, 3},
                                                     {"KAFKA", false, 2},
                                                     {"LOG", false, 1}};
        struct text_table out;
        text_table_init(&out, columns, sizeof columns / sizeof *columns);
        for (size_t i = 0; i < t->nregions; i++) {
                const struct region *r = &t->regions[i];
                char topic[128];
                text_table_row(&out);
                text_table_cell(&out, 0, STYLE_STRONG, "%s", r->name);
                text_table_cell(&out, 1, STYLE_NONE, "%s", r->role == ROLE_LEADER ? "leader" : "follower");
                text_table_cell(&out, 2, STYLE_NONE, "%s", database_of(r, a));
                text_table_cell(&out, 3, STYLE_NONE, "%s", r->kafka.brokers);
                text_table_cell(&out, 4, STYLE_NONE, "%s", topology_topic(t, r->id, topic, sizeof topic));
        }
        text_table_show(&out);
        text_table_release(&out);
}

static void print_routes(const struct topology *t, struct arena *a)
{
        static const struct text_column columns[] = {
                {"TABLES", false, KEEP_ALWAYS}, {"FROM", false, KEEP_ALWAYS}, {"TO", false, KEEP_ALWAYS}, {"ONLY", false, 1}};
        struct text_table out;
        text_table_init(&out, columns, sizeof columns / sizeof *columns);
        for (size_t i = 0; i < t->nroutes; i++) {
                text_table_row(&out);
                text_table_cell(&out, 0, STYLE_NONE, "%s", patterns_of(&t->routes[i], a));
                text_table_cell(&out, 1, STYLE_NONE, "%s", names_of(t, route_writers(t, &t->routes[i]), a));
                text_table_cell(&out, 2, STYLE_NONE, "%s", names_of(t, t->routes[i].to, a));
                text_table_cell(&out, 3, STYLE_NONE, "%s", filter_of(&t->routes[i], a));
        }
        text_table_show(&out);
        text_table_release(&out);
}

/* Only what is not read where it is written. */
static void print_links(const struct graph_edge *edges, size_t n)
{
        static const struct text_column columns[] = {
                {"LOG", false, KEEP_ALWAYS}, {"READ BY", false, KEEP_ALWAYS}, {"IN", false, KEEP_ALWAYS}, {"TOPIC", false, 1}};
        struct text_table out;
        bool any = false;
        text_table_init(&out, columns, sizeof columns / sizeof *columns);
        for (size_t i = 0; i < n; i++) {
                if (edges[i].place == edges[i].from)
                        continue;
                any = true;
                text_table_row(&out);
                text_table_cell(&out, 0, STYLE_NONE, "%s", edges[i].from->name);
                text_table_cell(&out, 1, STYLE_NONE, "%s", edges[i].to->name);
                text_table_cell(&out, 2, STYLE_NONE, "%s's Kafka%s", edges[i].place->name, edges[i].mirror ? " (mirrors it)" : "");
                text_table_cell(&out, 3, STYLE_NONE, "%s", edges[i].topic);
        }
        if (any)
                puts("");
        if (any)
                text_table_show(&out);
        text_table_release(&out);
}

static void print_table(const struct topology *t)
{
        struct arena a;
        struct graph_edge *edges;
        arena_init(&a);
        size_t n = graph_edges(t, &a, &edges);
        printf("cluster %s (%s)\n\n", t->cluster, t->file);
        print_regions(t, &a);
        puts("");
        print_routes(t, &a);
        print_links(edges, n);
        arena_release(&a);
}

/* ---- for programs -------------------------------------------------------------------------------------------------------------------- */
static json_t *regions_json(const struct topology *t, uint32_t bits)
{
        json_t *list = json_array();
        for (size_t i = 0; i < t->nregions; i++)
                if (bits >> i & 1)
                        json_array_append_new(list, json_string(t->regions[i].name));
        return list;
}

static json_t *route_json(const struct topology *t, const struct route *r)
{
        json_t *tables = json_array(), *columns = json_array();
        for (size_t i = 0; i < r->ntables; i++)
                json_array_append_new(tables, json_sprintf("%s.%s", r->tables[i].schema, r->tables[i].name));
        for (size_t i = 0; i < r->ncolumns; i++)
                json_array_append_new(columns, json_string(r->columns[i]));
        return json_pack("{s:o, s:o, s:o, s:s?, s:o, s:b}", "tables", tables, "from", regions_json(t, route_writers(t, r)), "to",
                         regions_json(t, r->to), "where", r->where, "columns", columns, "insert_only", r->insert_only);
}

static json_t *log_json(const struct graph_edge *e)
{
        return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "log", e->from->name, "read_by", e->to->name, "in", e->place->name,
                         "topic", e->topic, "mirror", e->mirror, "tables", e->tables);
}

static void print_json(const struct topology *t)
{
        struct arena a;
        struct graph_edge *edges;
        json_t *regions = json_array(), *routes = json_array(), *logs = json_array();
        char topic[128], slot[64];
        arena_init(&a);
        size_t n = graph_edges(t, &a, &edges);
        for (size_t i = 0; i < t->nregions; i++) {
                const struct region *r = &t->regions[i];
                json_array_append_new(regions,
                                      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "region", r->name, "role",
                                                r->role == ROLE_LEADER ? "leader" : "follower", "database", database_of(r, &a),
                                                "brokers", r->kafka.brokers, "log", topology_topic(t, r->id, topic, sizeof topic),
                                                "slot", topology_slot(t, r->id, slot, sizeof slot)));
        }
        for (size_t i = 0; i < t->nroutes; i++)
                json_array_append_new(routes, route_json(t, &t->routes[i]));
        for (size_t i = 0; i < n; i++)
                json_array_append_new(logs, log_json(&edges[i]));
        json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:o}", "cluster", t->cluster, "file", t->file, "regions", regions, "routes",
                              routes, "logs", logs);
        json_dumpf(o, stdout, JSON_INDENT(2));
        puts("");
        json_decref(o);
        arena_release(&a);
}

/* ---- the command --------------------------------------------------------------------------------------------------------------------- */
static int format_of(const char *name, enum graph_format *out)
{
        struct suggestion s = {.written = name ? name : ""};
        for (int i = 0; name && i < GRAPH_FORMATS; i++) {
                if (strcmp(graph_format_names[i], name) == 0) {
                        *out = (enum graph_format)i;
                        return EXIT_DONE;
                }
                suggest_offer(&s, graph_format_names[i]);
        }
        *out = GRAPH_TABLE;
        if (!name)
                return EXIT_DONE;
        return refuse("bad_value", "--format '%s': it is table, ascii, mermaid, dot or svg%s", name,
                      refuse_meant(&s, (char[REFUSE_MEANT]){0}));
}

int cmd_topology(struct invocation *in)
{
        enum graph_format format;
        int code = format_of(in->format, &format);
        if (code != EXIT_DONE)
                return code;
        struct topology *t = invocation_topology(in, &code);
        if (!t)
                return code;
        if (in->json) {
                print_json(t);
        } else if (format == GRAPH_TABLE) {
                print_table(t);
        } else {
                struct buf out;
                buf_init(&out, 0);
                graph_draw(t, format, &out);
                fputs(buf_cstr(&out), stdout);
                buf_release(&out);
        }
        topology_free(t);
        return EXIT_DONE;
}
