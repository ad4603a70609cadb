/* rule: a table's rule bound to the columns of its versions; values, typed.  Pure; a struct rule is read-only once it is bound, any thread.
 *
 * A rule belongs to a generation: a set of versions is settled by the rule of the highest (generation, region) among them, so that regions
 * that learn of a new rule at different moments still agree (DESIGN 7). */
#ifndef PANGEA_CONFLICT_RULE_H
#define PANGEA_CONFLICT_RULE_H

#include "base/arena.h"
#include "change/rule.h"

/* One value as PostgreSQL prints it (the session settings of DESIGN 4.2); data NULL: SQL NULL. Not 0-terminated. */
struct cell {
        const char *data;
        uint32_t len;
};

/* How values of a column are compared and added. Whatever is not here can only be kept whole. */
enum value_type {
        TYPE_OTHER,
        TYPE_BOOL,
        TYPE_INT,     /* int2 int4 int8 oid */
        TYPE_NUMERIC, /* NaN is greater than all, as in PostgreSQL; infinities too */
        TYPE_TEXT,    /* text, varchar, bpchar, name under a collation that compares bytes */
        TYPE_BYTEA,
        TYPE_UUID,
        TYPE_DATE,
        TYPE_TIMESTAMP, /* with and without time zone */
        TYPE_ARRAY,     /* of any type: union (of one dimension) */
        TYPE_JSONB,
        TYPE_BPCHAR, /* char(n), as TYPE_TEXT: the blanks at its end do not count */
};

struct rule;
struct version;
/* sql and plugin: the row for these versions (n >= 2, in canonical order: ascending dots). row: ncols cells, to be filled, arena memory.
 * ST_DATA resolver_failed: the group cannot be applied. */
typedef enum status resolve_fn(void *ctx, const struct rule *rule, const struct version *v, size_t n, struct arena *arena,
                               struct cell *row, struct err *e);

struct rule_column {
        const char *name;
        enum value_type type;
        enum column_rule rule;
        bool by;  /* greatest, least: one of the compared columns; their order is rule.by */
        bool key; /* the same in all versions */
};

struct rule {
        uint32_t generation;
        region_id from; /* whose log announced it: breaks ties between equal generations, by name */
        enum row_rule row;
        bool delete_wins; /* a delete kills whatever version of this rule has not seen it; else only what is earlier than itself */
        bool accumulates; /* column_merge, or a column with delta, union or json_merge */
        uint8_t rank[MAX_REGIONS]; /* region_priority: the lower goes first; 255 = not named */
        uint16_t ncols;
        const struct rule_column *cols;
        uint16_t nby;
        const uint16_t *by;
        resolve_fn *resolve; /* sql, plugin; NULL otherwise */
        void *resolve_ctx;
};

/* Last write wins for whole rows, deletes included: the winner's dot is all there is to know, no siblings are kept (conflict/lww.h). */
bool rule_is_register(const struct rule *r);
/* Columns are merged by column dots (column_merge, union, json_merge): every change of such a table goes through merge_remote or
 * merge_own, also one that has seen all that stands: no fast path. */
bool rule_keeps_dots(const struct rule *r);

/* What there is to know of a column besides its name. */
struct rule_table_column {
        const char *name;
        const char *type; /* schema-qualified, unquoted: "pg_catalog.int4"; arrays "pg_catalog._int4" */
        bool bytewise;    /* text: its collation compares bytes (C, POSIX, ucs_basic) */
        bool key;
};

enum value_type value_type_of(const struct rule_table_column *c);
/* The bound rule, in the arena. ST_CONFIG, named rule_refused: a column that is not there, a type that the rule cannot work on (says which,
 * why and what is allowed). resolve is left NULL. */
MUSTCHECK enum status rule_bind(const struct rule_spec *spec, const struct rule_table_column *cols, uint16_t ncols,
                                const struct regset *regs, struct arena *arena, struct rule *out, struct err *e);

/* <0, 0, >0 as PostgreSQL orders values of this type; NULL is less than everything (so that greatest prefers a value, and least prefers it
 * too: value_cmp is asked the other way round there and NULL still loses). OTHER, ARRAY and JSONB (which no rule
 * compares) go by their bytes. */
int value_cmp(enum value_type type, struct cell a, struct cell b);
/* Equal bytes, or both NULL. */
bool cell_equal(struct cell a, struct cell b);
/* sum = base + (to - from), exactly, as PostgreSQL prints it (int: no range check here; numeric: the greatest scale of the three, NaN and
 * infinities as PostgreSQL adds them). A NULL counts as 0; all NULL gives NULL. TYPE_INT and TYPE_NUMERIC only. */
struct cell value_add_delta(enum value_type type, struct cell base, struct cell from, struct cell to, struct arena *arena);

#endif
