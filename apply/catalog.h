/* catalog: how a table that the log names looks in this region's database, and who may write it.  DESIGN 6.2, 7.
 * Identifiers and types come from here only, never from the log.  Entries live until catalog_forget (a statement failed with a class 42
 * error, the topology changed, the session was lost).  Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_CATALOG_H
#define PANGEA_APPLY_CATALOG_H

#include "base/arena.h"
#include "base/map.h"
#include "change/change.h"
#include "postgres/pg.h"
#include "topology/topology.h"

struct target_column {
        char *name;  /* as in the catalog */
        char *ident; /* quoted */
        char *type;  /* quoted, schema-qualified, without typmod: for casts */
        char *eq;    /* OPERATOR(schema.=) of its key index, for key columns; NULL otherwise */
        bool generated, identity_always, is_text;
        char *type_plain; /* unquoted schema.type, to compare with the log's */
};

struct set_rule; /* apply/rules.h */

/* Prepared statements of one table are numbered by their shape (apply/sql.c). */
struct target {
        char *name; /* schema.table, for messages and pangea.* */
        char *schema, *table;
        char *qualified; /* quoted */
        uint32_t relid;
        bool partitioned;
        bool identity_always; /* some column is GENERATED ALWAYS AS IDENTITY: inserts override */
        uint16_t ncols;
        struct target_column *cols;
        uint16_t nkeys;
        uint16_t *keys;        /* indexes into cols, in the order of the key index */
        unsigned unique_extra; /* unique indexes besides the key */
        bool multi;            /* more than one leader writes it */
        bool fixed;            /* no column can be updated (all are generated or identity columns) */
        struct set_rule *set;  /* a rule that needs the siblings of a key; NULL: last write wins */
        bool replaces;         /* a column beside the key is GENERATED ALWAYS AS IDENTITY: an update is a delete and an insert */
        struct map statements; /* shape -> struct stmt of apply/sql.c */
};

/* How a relation of the log maps onto the target: for each of its columns the target's index, or -1 (a generated column). */
struct mapping {
        struct target *target;
        int16_t *to;  /* ncols of the relation; arena */
        bool applied; /* this region takes what that origin writes to it */
};

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
