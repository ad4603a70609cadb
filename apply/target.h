/* target: a table of this region's database as apply writes it, and how a relation of the log maps onto it.  Plain data, filled by apply/catalog;
 * what only decides (apply/fold) needs no more. */
#ifndef PANGEA_APPLY_TARGET_H
#define PANGEA_APPLY_TARGET_H

#include "base/map.h"
#include "change/change.h"

struct target_column {
        char *name;  /* as in the catalog */
        char *ident; /* quoted */
        char *type;  /* quoted, schema-qualified, without typmod: for casts */
        char *eq;    /* OPERATOR(schema.=) of its key index, for key columns; NULL otherwise */
        bool generated, identity_always, is_text;
        char *type_plain; /* unquoted schema.type, to compare with the log's */
};

struct set_rule; /* apply/rules.h */
struct clash_def;

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
        uint16_t *keys;          /* indexes into cols, in the order of the key index */
        unsigned unique_extra;   /* unique indexes besides the key */
        bool deferrable;         /* one of them is: PostgreSQL checks it by a trigger, which does not fire for apply */
        bool multi;              /* more than one leader writes it */
        bool fixed;              /* no column can be updated (all are generated or identity columns) */
        struct set_rule *set;    /* a rule that needs the siblings of a key; NULL: last write wins */
        bool replaces;           /* a column beside the key is GENERATED ALWAYS AS IDENTITY: an update is a delete and an insert */
        unsigned meets;          /* so many batches of changes are still expected to meet conflicts: they met some lately */
        unsigned wary;           /* so many batches of inserts still ask whether their keys are there (apply/write.c) */
        unsigned wariness;       /* how many after the next one that was there */
        struct map statements;   /* shape -> struct stmt of apply/sql.c */
        struct clash_def *clash; /* what its rows can clash in besides the key (apply/clash.h); NULL: not read yet */
};

/* How a relation of the log maps onto the target: for each of its columns the target's index, or -1 (a generated column). */
struct mapping {
        struct target *target;
        int16_t *to;  /* ncols of the relation; arena */
        bool applied; /* this region takes what that origin writes to it */
};

#endif
