/* build: how a checked document becomes a struct topology; only for the .c files of this folder.
 * Everything points into the topology's arena; every fault is reported and the rest built all the same, so that all is said at once. */
#ifndef PANGEA_TOPOLOGY_BUILD_H
#define PANGEA_TOPOLOGY_BUILD_H

#include "config/check.h"
#include "topology/topology.h"

struct build {
        struct topology *t;
        struct arena *arena;
        struct problems *p;
        const struct node *root;
        bool names_known; /* every name of `regions` could be taken: who is not among them does not exist */
};

/* t->names and t->regions from `regions`; conninfo, brokers, properties checked; two regions with one database refused. */
void build_regions(struct build *b);
/* t->routes from `routes`, or the default route. After build_regions. */
void build_routes(struct build *b);

/* t->default_rule and t->rules from `conflicts`. After build_routes. */
void build_rules(struct build *b);
/* t->links from `links`. After build_regions. */
void build_links(struct build *b);
/* n names no region: said, with those that there are. */
void build_unknown_region(struct build *b, const struct node *n);

/* r->http from `http`. */
void build_http(struct build *b, const struct node *region, struct region *r);

/* One pattern; *why says what is wrong with it when false. */
bool pattern_parse(struct arena *a, const char *text, struct table_pattern *out, const char **why);
bool pattern_match(const struct table_pattern *p, const char *schema, const char *name);
/* As it would stand in the file. */
const char *pattern_str(struct arena *a, const struct table_pattern *p);
/* pg_*, information_schema, pangea: never replicated. */
bool schema_is_reserved(const char *schema);
/* * matches any text, also none. */
bool glob_match(const char *glob, const char *text);

/* The secret in a file: malloc'ed, the newline at its end cut. */
MUSTCHECK enum status secret_read(const char *file, char **out, struct err *e);
/* Is a librdkafka property's value never to be shown? */
bool property_is_secret(const char *key);
/* A path of the topology file: relative ones count from its folder. */
const char *path_beside(struct arena *a, const char *file, const char *path);

static inline uint32_t region_bit(region_id r)
{
        return UINT32_C(1) << r.i;
}

#endif
