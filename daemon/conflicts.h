/* conflicts: `pangea conflicts`: what the regions recorded of versions that lost (pangea.conflict), what is not settled yet
 * (pangea.sibling, pangea.suppressed), and how a decision is undone.
 * The history is read in every region that answers and joined by id: table, key and dot of the version that lost.
 * Main thread; everything is JSON until it is printed. */
#ifndef PANGEA_DAEMON_CONFLICTS_H
#define PANGEA_DAEMON_CONFLICTS_H

#include <jansson.h>

#include "daemon/command.h"
#include "postgres/pg.h"

struct conflict_filter {
        const char *table; /* a pattern as in --tables; NULL: all */
        const char *kind, *rule;
        const char *id;  /* the beginning of one */
        int64_t since_s; /* 0: no limit */
        int64_t limit;   /* of each region; 0: the default */
};

struct conflict_region {
        const struct region *region;
        struct pg *pg; /* NULL: does not answer, err says why */
        struct err err;
};

/* Connects to every region; those without the tables count as not answering. Returns how many answer. */
size_t conflicts_connect(const struct topology *t, struct conflict_region *regions);
void conflicts_close(const struct topology *t, struct conflict_region *regions);

/* The union of the histories, newest first: [{id, table, key, lost: {region, hlc}, at, kind, rule, winner, image, involved, xids, stands,
 * recorded_in: [..]}]; owned by the caller. *unreachable: names of regions that did not answer. NULL: *e. */
json_t *conflicts_history(const struct topology *t, struct conflict_region *regions, const struct conflict_filter *f,
                          struct err *e);
/* What is not settled: {siblings: [{table, key, rule, since, region_of_view, versions: [{region, hlc, image}]}], suppressed: [..]}. */
json_t *conflicts_open(const struct topology *t, struct conflict_region *regions, const struct conflict_filter *f, struct err *e);
/* Numbers by table, kind and rule: [{table, kind, rule, count: {us: 3, ..}, newest}]. */
json_t *conflicts_numbers(const struct topology *t, struct conflict_region *regions, const struct conflict_filter *f,
                          struct err *e);

/* The row that stands under the key of a conflict in one region, as JSON; json null: none. */
json_t *conflicts_standing(struct conflict_region *r, const json_t *conflict, struct err *e);

/* How `resolve` decides. */
enum decision { DECIDE_NOTHING, DECIDE_TAKE, DECIDE_KEEP, DECIDE_SET, DECIDE_DELETE };
/* Writes the statement that makes an ordinary, causally later change of the row into *sql, and runs it unless dry. set: JSON text. */
MUSTCHECK enum status conflict_resolve(struct conflict_region *r, const json_t *conflict, enum decision d, const char *set,
                                       bool dry, struct buf *sql, struct err *e);

/* ---- pieces of SQL ---- */
/* The id of a row c of pangea.conflict. */
#define CONFLICT_ID "substr(md5(c.rel || chr(31) || c.key::text || chr(31) || c.region || chr(31) || c.hlc), 1, 12)"
/* An object whose numbers are texts: JSON's readers would lose digits of a numeric. */
#define READABLE(jsonb)                                                                                                         \
        "(SELECT CASE pg_catalog.jsonb_typeof(o.j) WHEN 'object' THEN coalesce((SELECT pg_catalog.jsonb_object_agg(m.key, CASE" \
        " pg_catalog.jsonb_typeof(m.value) WHEN 'number' THEN pg_catalog.to_jsonb(m.value::text) ELSE m.value END)"             \
        " FROM pg_catalog.jsonb_each(o.j) m), '{}') ELSE o.j END FROM (SELECT " jsonb " AS j) o)"

#endif
