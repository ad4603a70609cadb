#include "daemon/graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const graph_format_names[GRAPH_FORMATS] = {
        [GRAPH_TABLE] = "table", [GRAPH_ASCII] = "ascii", [GRAPH_MERMAID] = "mermaid", [GRAPH_DOT] = "dot", [GRAPH_SVG] = "svg"};

/* ---- edges --------------------------------------------------------------------------------------------------------------------------- */
#define PATTERNS_SHOWN 3

static const char *tables_between(const struct topology *t, const struct region *from, const struct region *to, struct arena *a)
{
        const char *list = "";
        size_t n = 0;
        for (size_t i = 0; i < t->nroutes; i++) {
                const struct route *r = &t->routes[i];
                if (!(route_writers(t, r) >> from->id.i & 1) || !(r->to >> to->id.i & 1))
                        continue;
                for (size_t k = 0; k < r->ntables; k++)
                        if (n++ < PATTERNS_SHOWN)
                                list = arena_printf(a, "%s%s%s.%s", list, *list ? ", " : "", r->tables[k].schema,
                                                    r->tables[k].name);
        }
        return n > PATTERNS_SHOWN ? arena_printf(a, "%s and %zu more", list, n - PATTERNS_SHOWN) : list;
}

size_t graph_edges(const struct topology *t, struct arena *arena, struct graph_edge **out)
{
        struct graph_edge *edges = ARENA_ARRAY(arena, struct graph_edge, t->nregions * t->nregions);
        size_t n = 0;
        for (size_t i = 0; i < t->nregions; i++)
                for (size_t k = 0; k < t->nregions; k++) {
                        const struct region *from = &t->regions[i], *to = &t->regions[k];
                        char topic[256];
                        if (i == k || from->role != ROLE_LEADER)
                                continue;
                        struct graph_edge *e = &edges[n++];
                        *e = (struct graph_edge){.from = from, .to = to, .mirror = topology_mirrors(t, from->id, to->id)};
                        e->place = topology_log_place(t, from->id, to->id, topic, sizeof topic);
                        e->topic = arena_strdup(arena, topic);
                        e->tables = tables_between(t, from, to, arena);
                }
        *out = edges;
        return n;
}

/* "read in eu", "mirrored"; "" for the ordinary way. */
static const char *way_of(const struct graph_edge *e, struct arena *a)
{
        if (e->mirror)
                return "mirrored";
        return e->place == e->from ? "" : arena_printf(a, "read in %s", e->place->name);
}

static const char *label_of(const struct graph_edge *e, struct arena *a)
{
        const char *way = way_of(e, a), *tables = *e->tables ? e->tables : "nothing";
        return *way ? arena_printf(a, "%s (%s)", tables, way) : tables;
}

static const char *role_name(const struct region *r)
{
        return r->role == ROLE_LEADER ? "leader" : "follower";
}

/* ---- ascii --------------------------------------------------------------------------------------------------------------------------- */
/*  +-------------+
 *  | us (leader) |--> eu  public.*
 *  |             |--> ap  public.*
 *  +-------------+              */
static void border(struct buf *out, size_t width)
{
        buf_put_str(out, "+");
        for (size_t i = 0; i < width + 2; i++)
                buf_put_str(out, "-");
        buf_put_str(out, "+\n");
}

static void draw_ascii(const struct topology *t, const struct graph_edge *edges, size_t n, struct arena *a, struct buf *out)
{
        size_t width = 0, names = 0;
        for (size_t i = 0; i < t->nregions; i++) {
                size_t name = strlen(t->regions[i].name), w = name + strlen(role_name(&t->regions[i])) + 3;
                width = w > width ? w : width;
                names = name > names ? name : names;
        }
        for (size_t i = 0; i < t->nregions; i++) {
                const struct region *r = &t->regions[i];
                const char *title = arena_printf(a, "%s (%s)", r->name, role_name(r));
                size_t lines = 0;
                border(out, width);
                for (size_t k = 0; k < n; k++)
                        if (edges[k].from == r)
                                buf_printf(out, "| %-*s |--> %-*s  %s\n", (int)width, lines++ ? "" : title, (int)names,
                                           edges[k].to->name, label_of(&edges[k], a));
                if (lines == 0)
                        buf_printf(out, "| %-*s |\n", (int)width, title);
                border(out, width);
        }
}

/* ---- mermaid, dot -------------------------------------------------------------------------------------------------------------------- */
/* What Mermaid or the browser behind it would take for something else than a letter. */
static void mermaid_text(struct buf *out, const char *s)
{
        for (; *s; s++) {
                const char *as = *s == '"'   ? "#quot;"
                                 : *s == '#' ? "#35;"
                                 : *s == '<' ? "#lt;"
                                 : *s == '>' ? "#gt;"
                                 : *s == '&' ? "#amp;"
                                             : NULL;
                if (as)
                        buf_put_str(out, as);
                else
                        buf_put(out, s, 1);
        }
}

/* A region's name could be a word of the language ("graph", "end"): its number cannot. */
static void draw_mermaid(const struct topology *t, const struct graph_edge *edges, size_t n, struct arena *a, struct buf *out)
{
        buf_put_str(out, "flowchart LR\n");
        for (size_t i = 0; i < t->nregions; i++)
                buf_printf(out, "    r%zu[\"%s<br/>%s\"]\n", i, t->regions[i].name, role_name(&t->regions[i]));
        for (size_t k = 0; k < n; k++) {
                const char *label = label_of(&edges[k], a);
                buf_printf(out, "    r%u %s|\"", edges[k].from->id.i, *edges[k].tables ? "-->" : "-.->");
                mermaid_text(out, label);
                buf_printf(out, "\"| r%u\n", edges[k].to->id.i);
        }
}

/* Of a label: Graphviz takes &lt; and the like there for the sign that they name. */
static void dot_text(struct buf *out, const char *s)
{
        buf_put_str(out, "\"");
        for (; *s; s++) {
                if (*s == '"' || *s == '\\')
                        buf_put_str(out, "\\");
                if (*s == '&')
                        buf_put_str(out, "&amp;");
                else
                        buf_put(out, s, 1);
        }
        buf_put_str(out, "\"");
}

static void draw_dot(const struct topology *t, const struct graph_edge *edges, size_t n, struct arena *a, struct buf *out)
{
        buf_put_str(out, "digraph ");
        dot_text(out, t->cluster);
        buf_put_str(
                out,
                " {\n    rankdir=LR;\n    node [shape=box, style=rounded, fontname=\"sans-serif\"];\n    edge [fontname=\"sans-serif\", "
                "fontsize=10];\n");
        for (size_t i = 0; i < t->nregions; i++)
                buf_printf(out, "    \"%s\" [label=\"%s\\n%s\"%s];\n", t->regions[i].name, t->regions[i].name,
                           role_name(&t->regions[i]), t->regions[i].role == ROLE_LEADER ? ", penwidth=2" : "");
        for (size_t k = 0; k < n; k++) {
                buf_printf(out, "    \"%s\" -> \"%s\" [label=", edges[k].from->name, edges[k].to->name);
                dot_text(out, label_of(&edges[k], a));
                buf_printf(out, "%s];\n", *edges[k].tables ? "" : ", style=dashed");
        }
        buf_put_str(out, "}\n");
}

/* ---- svg ----------------------------------------------------------------------------------------------------------------------------- */
#define PI 3.14159265358979
#define BOX_WIDTH 150.0
#define BOX_HEIGHT 52.0

struct place {
        double x, y;
};

/* On a circle, the first one at the left. */
static struct place place_of(const struct topology *t, size_t i, double radius, double centre_x, double centre_y)
{
        double angle = PI + 2 * PI * (double)i / (double)t->nregions;
        return (struct place){centre_x + radius * 1.35 * cos(angle), centre_y + radius * sin(angle)};
}

static void xml_text(struct buf *out, const char *s)
{
        for (; *s; s++)
                switch (*s) {
                case '<': buf_put_str(out, "&lt;"); break;
                case '>': buf_put_str(out, "&gt;"); break;
                case '&': buf_put_str(out, "&amp;"); break;
                case '"': buf_put_str(out, "&quot;"); break;
                default: buf_put(out, s, 1); break;
                }
}

/* Where the line from a box's centre in this direction leaves the box. */
static double leaves(double dx, double dy)
{
        double across = fabs(dx) > 1e-9 ? (BOX_WIDTH / 2 + 4) / fabs(dx) : 1e9,
               down = fabs(dy) > 1e-9 ? (BOX_HEIGHT / 2 + 4) / fabs(dy) : 1e9;
        return across < down ? across : down;
}

/* The two directions between two regions run side by side. */
static void svg_edge(const struct graph_edge *e, struct place a, struct place b, struct arena *arena, struct buf *out)
{
        double length = hypot(b.x - a.x, b.y - a.y), dx = (b.x - a.x) / length, dy = (b.y - a.y) / length;
        double off = 9, from = leaves(dx, dy), x1 = a.x + dx * from - dy * off, y1 = a.y + dy * from + dx * off;
        double x2 = b.x - dx * from - dy * off, y2 = b.y - dy * from + dx * off;
        buf_printf(out, "<g class=\"edge%s\"><title>", *e->tables ? "" : " none");
        xml_text(out, arena_printf(arena, "%s to %s: %s, topic %s", e->from->name, e->to->name, label_of(e, arena), e->topic));
        buf_printf(out, "</title><line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" marker-end=\"url(#head)\"/>", x1, y1, x2,
                   y2);
        buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", x1 + (x2 - x1) * 0.4 - dy * 12,
                   y1 + (y2 - y1) * 0.4 + dx * 12 + 4);
        xml_text(out, label_of(e, arena));
        buf_put_str(out, "</text></g>\n");
}

static void svg_region(const struct region *r, struct place p, struct buf *out)
{
        buf_printf(out, "<g class=\"%s\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.0f\" height=\"%.0f\" rx=\"8\"/>", role_name(r),
                   p.x - BOX_WIDTH / 2, p.y - BOX_HEIGHT / 2, BOX_WIDTH, BOX_HEIGHT);
        buf_printf(out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>", p.x, p.y - 3, r->name);
        buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text></g>\n", p.x, p.y + 15, role_name(r));
}

static const char svg_style[] =
        "<style>\n"
        "svg{--ink:#1b1f24;--faint:#59636e;--paper:#fff;--box:#eef4fb;--line:#0969da;color-scheme:light dark}\n"
        "@media (prefers-color-scheme:dark){svg{--ink:#e6edf3;--faint:#9aa4af;--paper:#0d1117;--box:#161b22;--line:#58a6ff}}\n"
        "rect{fill:var(--box);stroke:var(--line);stroke-width:1} .leader rect{stroke-width:2.5} .paper{fill:var(--paper);stroke:none}\n"
        "text{font:12px sans-serif;fill:var(--faint)} .name{font:bold 15px sans-serif;fill:var(--ink)}\n"
        "line{stroke:var(--line);stroke-width:1.5} .none line{stroke-dasharray:4 4} marker path{fill:var(--line)}\n"
        "</style>\n"
        "<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">"
        "<path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n";

static void draw_svg(const struct topology *t, const struct graph_edge *edges, size_t n, struct arena *a, struct buf *out)
{
        double radius = t->nregions < 2 ? 0 : 70.0 + 45.0 * (double)t->nregions;
        double width = 2 * radius * 1.35 + BOX_WIDTH + 60, height = 2 * radius + BOX_HEIGHT + 60;
        buf_printf(
                out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\" "
                "aria-label=\"Topology of cluster %s\">\n<title>Topology of cluster %s</title>\n%s<rect class=\"paper\" "
                "width=\"100%%\" height=\"100%%\"/>\n",
                width, height, width, height, t->cluster, t->cluster, svg_style);
        for (size_t k = 0; k < n; k++)
                svg_edge(&edges[k], place_of(t, edges[k].from->id.i, radius, width / 2, height / 2),
                         place_of(t, edges[k].to->id.i, radius, width / 2, height / 2), a, out);
        for (size_t i = 0; i < t->nregions; i++)
                svg_region(&t->regions[i], place_of(t, i, radius, width / 2, height / 2), out);
        buf_put_str(out, "</svg>\n");
}

void graph_draw(const struct topology *t, enum graph_format f, struct buf *out)
{
        struct arena a;
        struct graph_edge *edges;
        arena_init(&a);
        size_t n = graph_edges(t, &a, &edges);
        switch (f) {
        case GRAPH_TABLE: break;
        case GRAPH_ASCII: draw_ascii(t, edges, n, &a, out); break;
        case GRAPH_MERMAID: draw_mermaid(t, edges, n, &a, out); break;
        case GRAPH_DOT: draw_dot(t, edges, n, &a, out); break;
        case GRAPH_SVG: draw_svg(t, edges, n, &a, out); break;
        }
        arena_release(&a);
}
