/* rulebooks: which rules of conflict held in a region when it wrote a version: what the MARKERs of the logs said, kept in pangea.rules.
 * A log that never said anything: generation 0, last write wins everywhere.  DESIGN 7: a set of versions is settled by the rules of the
 * highest generation in it.  Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_RULEBOOKS_H
#define PANGEA_APPLY_RULEBOOKS_H

#include "base/arena.h"
#include "postgres/pg.h"
#include "topology/topology.h"

struct rulebook_at {
        uint32_t generation;
        region_id from; /* whose log said it */
        hlc_t after;    /* holds for its versions with a higher HLC, up to the next entry's */
        struct rulebook book;
};

struct rulebooks;
struct rulebooks *rulebooks_new(const struct regset *regs);
void rulebooks_free(struct rulebooks *b);
/* Reads pangea.rules. ST_DATA rules_unknown. */
MUSTCHECK enum status rulebooks_load(struct rulebooks *b, struct pg *side, struct err *e);
/* A MARKER "rules" of this region's log: kept in memory and, committed, in pangea.rules before it returns (idempotent). Other markers are
 * ignored. *changed: something is known now that was not. */
MUSTCHECK enum status rulebooks_marker(struct rulebooks *b, struct pg *side, region_id from, const char *text, bool *changed,
                                       struct err *e);
/* What held when this version was written; never NULL. dot.hlc 0 (older than everything unstable): the oldest of its region. */
const struct rulebook_at *rulebooks_at(const struct rulebooks *b, struct dot dot);
/* The newest that this region's log has said. */
const struct rulebook_at *rulebooks_newest(const struct rulebooks *b, region_id from);
/* Has any of the rulebooks under which a version could still be on its way (the newest of each region, and older ones whose successor
 * began behind what is stable) a rule for this table that needs the siblings? */
bool rulebooks_need_siblings(const struct rulebooks *b, const struct vector *stable, const char *schema, const char *table);

#endif
