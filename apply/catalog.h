/* catalog: how a table that the log names looks in this region's database, and who may write it.  DESIGN 6.2, 7.
 * Identifiers and types come from here only, never from the log.  Entries live until catalog_forget (a statement failed with a class 42
 * error, the topology changed, the session was lost).  Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_CATALOG_H
#define PANGEA_APPLY_CATALOG_H

#include "apply/target.h"
#include "base/arena.h"
#include "postgres/pg.h"
#include "topology/topology.h"

struct catalog;
struct catalog *catalog_new(const struct topology *t, region_id me);
void catalog_free(struct catalog *c);
/* Which rules of conflict tables are bound to, from their next loading on. Borrowed. */
struct rules_known;
void catalog_set_rules(struct catalog *c, const struct rules_known *known);
void catalog_set_topology(struct catalog *c, const struct topology *t);
/* Forgets all tables and their statements (which the caller deallocates, or whose session is gone). */
void catalog_forget(struct catalog *c);

/* The table of a relation as it came from `origin`. ST_DATA table_missing, column_missing, key_differs: the origin waits by name. */
MUSTCHECK enum status catalog_map(struct catalog *c, struct pg *db, const struct relation *rel, region_id origin,
                                  struct arena *arena, struct mapping *out, struct err *e);
/* The target of a table by name; NULL in *out when it does not exist. */
MUSTCHECK enum status catalog_target(struct catalog *c, struct pg *db, const char *schema, const char *table, struct target **out,
                                     struct err *e);

#endif
