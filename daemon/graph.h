/* graph: the topology as a picture: regions, and what travels from whom to whom.  Pure: from the file alone, no connection.
 * Main thread. */
#ifndef PANGEA_DAEMON_GRAPH_H
#define PANGEA_DAEMON_GRAPH_H

#include "base/arena.h"
#include "topology/topology.h"

/* The log of `from` as `to` reads it. */
struct graph_edge {
        const struct region *from, *to;
        const struct region *place; /* whose Kafka it is read from */
        const char *topic;
        bool mirror;        /* `to` copies it there itself */
        const char *tables; /* "public.*, public.audit"; "" when no route carries anything */
};

size_t graph_edges(const struct topology *t, struct arena *arena, struct graph_edge **out);

enum graph_format { GRAPH_TABLE, GRAPH_ASCII, GRAPH_MERMAID, GRAPH_DOT, GRAPH_SVG };
enum { GRAPH_FORMATS = GRAPH_SVG + 1 };
extern const char *const graph_format_names[GRAPH_FORMATS];

/* Everything but GRAPH_TABLE, which is cmd_topology.c's. */
void graph_draw(const struct topology *t, enum graph_format f, struct buf *out);

#endif
