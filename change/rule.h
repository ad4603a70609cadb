/* rule: the rules by which concurrent versions of a row are settled, as the topology names them and as the log tells them to the other
 * regions (MARKER "rules").  Plain data, borrowed from whoever read it; conflict/rule.h binds it to the columns of a table.  Pure. */
#ifndef PANGEA_CHANGE_RULE_H
#define PANGEA_CHANGE_RULE_H

#include "base/buf.h"
#include "change/vector.h"

/* Of a whole row. */
enum row_rule {
        RULE_LAST_WRITE_WINS,
        RULE_FIRST_WRITE_WINS,
        RULE_REGION_PRIORITY,
        RULE_GREATEST,
        RULE_LEAST,
        RULE_COLUMN_MERGE,
        RULE_SQL,
        RULE_PLUGIN,
        RULE_MANUAL,
};
enum { ROW_RULE_COUNT = RULE_MANUAL + 1 };

/* Of one column; the others go with the row. */
enum column_rule {
        COLUMN_OF_ROW, /* none of its own */
        COLUMN_LAST_WRITE_WINS,
        COLUMN_GREATEST,
        COLUMN_LEAST,
        COLUMN_DELTA,
        COLUMN_UNION,
        COLUMN_TEXT_MERGE,       /* by lines */
        COLUMN_TEXT_MERGE_WORDS, /* by words */
        COLUMN_JSON_MERGE,
};
enum { COLUMN_RULE_COUNT = COLUMN_JSON_MERGE + 1 };

const char *row_rule_name(enum row_rule r);
const char *column_rule_name(enum column_rule r); /* "" for COLUMN_OF_ROW */
bool row_rule_parse(const char *name, enum row_rule *out);
bool column_rule_parse(const char *name, enum column_rule *out);

/* A delete kills whatever has not seen it, also what is later: contributions cannot be taken out of a merged row again. */
bool column_rule_accumulates(enum column_rule r); /* delta, union, json_merge */

struct column_spec {
        const char *name;
        enum column_rule rule;
};

/* The rule of one table. */
struct rule_spec {
        enum row_rule row;
        bool delete_wins; /* said, or because the rule accumulates */
        size_t norder;    /* region_priority: the regions from the first to the last, by name */
        const char *const *order;
        size_t nby; /* greatest, least: the columns that are compared, in order */
        const char *const *by;
        const char *function; /* sql: schema.function */
        const char *path;     /* plugin: absolute */
        size_t ncolumns;
        const struct column_spec *columns;
};

/* Anything but last write wins for whole rows (and manual, which is that and a mark): needs the siblings and REPLICA IDENTITY FULL. */
bool rule_spec_needs_full(const struct rule_spec *s);
bool rule_spec_accumulates(const struct rule_spec *s); /* column_merge, or a column that does */
/* Canonical JSON: equal rules give equal bytes. Appends. */
void rule_spec_json(struct buf *out, const struct rule_spec *s);
bool rule_spec_equal(const struct rule_spec *a, const struct rule_spec *b);

#endif
