#include "change/rule.h"

#include <string.h>

#include "change/json.h"

static const char *const row_names[] = {
        [RULE_LAST_WRITE_WINS] = "last_write_wins",
        [RULE_FIRST_WRITE_WINS] = "first_write_wins",
        [RULE_REGION_PRIORITY] = "region_priority",
        [RULE_GREATEST] = "greatest",
        [RULE_LEAST] = "least",
        [RULE_COLUMN_MERGE] = "column_merge",
        [RULE_SQL] = "sql",
        [RULE_PLUGIN] = "plugin",
        [RULE_MANUAL] = "manual",
};
_Static_assert(sizeof row_names / sizeof *row_names == ROW_RULE_COUNT, "a rule without a name");

static const char *const column_names[] = {
        [COLUMN_OF_ROW] = "",
        [COLUMN_LAST_WRITE_WINS] = "last_write_wins",
        [COLUMN_GREATEST] = "greatest",
        [COLUMN_LEAST] = "least",
        [COLUMN_DELTA] = "delta",
        [COLUMN_UNION] = "union",
        [COLUMN_TEXT_MERGE] = "text_merge",
        [COLUMN_TEXT_MERGE_WORDS] = "text_merge_words",
        [COLUMN_JSON_MERGE] = "json_merge",
};
_Static_assert(sizeof column_names / sizeof *column_names == COLUMN_RULE_COUNT, "a rule without a name");

const char *row_rule_name(enum row_rule r)
{
        return row_names[r];
}

const char *column_rule_name(enum column_rule r)
{
        return column_names[r];
}

bool row_rule_parse(const char *name, enum row_rule *out)
{
        for (size_t i = 0; i < ROW_RULE_COUNT; i++)
                if (strcmp(name, row_names[i]) == 0) {
                        *out = (enum row_rule)i;
                        return true;
                }
        return false;
}

bool column_rule_parse(const char *name, enum column_rule *out)
{
        for (size_t i = COLUMN_OF_ROW + 1; i < COLUMN_RULE_COUNT; i++)
                if (strcmp(name, column_names[i]) == 0) {
                        *out = (enum column_rule)i;
                        return true;
                }
        return false;
}

bool column_rule_accumulates(enum column_rule r)
{
        switch (r) {
        case COLUMN_DELTA:
        case COLUMN_UNION:
        case COLUMN_JSON_MERGE: return true;
        case COLUMN_OF_ROW:
        case COLUMN_LAST_WRITE_WINS:
        case COLUMN_GREATEST:
        case COLUMN_LEAST:
        case COLUMN_TEXT_MERGE:
        case COLUMN_TEXT_MERGE_WORDS: break;
        }
        return false;
}

bool rule_spec_accumulates(const struct rule_spec *s)
{
        for (size_t i = 0; i < s->ncolumns; i++)
                if (column_rule_accumulates(s->columns[i].rule))
                        return true;
        return s->row == RULE_COLUMN_MERGE;
}

bool rule_spec_needs_full(const struct rule_spec *s)
{
        return s->ncolumns > 0 || (s->row != RULE_LAST_WRITE_WINS && s->row != RULE_MANUAL) || s->delete_wins;
}

static void put_list(struct buf *out, const char *key, size_t n, const char *const *items)
{
        if (!n)
                return;
        buf_printf(out, ",\"%s\":[", key);
        for (size_t i = 0; i < n; i++) {
                buf_put_str(out, i ? "," : "");
                json_put_cstr(out, items[i]);
        }
        buf_put_str(out, "]");
}

static void put_text(struct buf *out, const char *key, const char *value)
{
        if (!value)
                return;
        buf_printf(out, ",\"%s\":", key);
        json_put_cstr(out, value);
}

/* Columns in the order of their names, so that the order in the file does not matter. */
static void put_columns(struct buf *out, const struct rule_spec *s)
{
        const char *before = NULL;
        for (size_t k = 0; k < s->ncolumns; k++) {
                const struct column_spec *next = NULL;
                for (size_t i = 0; i < s->ncolumns; i++)
                        if ((!before || strcmp(s->columns[i].name, before) > 0) &&
                            (!next || strcmp(s->columns[i].name, next->name) < 0))
                                next = &s->columns[i];
                if (!next)
                        break;
                buf_put_str(out, before ? "," : ",\"columns\":{");
                json_put_cstr(out, next->name);
                buf_printf(out, ":\"%s\"", column_rule_name(next->rule));
                before = next->name;
        }
        buf_put_str(out, before ? "}" : "");
}

void rule_spec_json(struct buf *out, const struct rule_spec *s)
{
        buf_printf(out, "{\"resolver\":\"%s\"", row_rule_name(s->row));
        put_list(out, "order", s->norder, s->order);
        put_list(out, "by", s->nby, s->by);
        put_text(out, "function", s->function);
        put_text(out, "path", s->path);
        if (s->delete_wins)
                put_text(out, "delete", "delete_wins");
        put_columns(out, s);
        buf_put_str(out, "}");
}

bool rule_spec_equal(const struct rule_spec *a, const struct rule_spec *b)
{
        struct buf x, y;
        buf_init(&x, 0);
        buf_init(&y, 0);
        rule_spec_json(&x, a);
        rule_spec_json(&y, b);
        bool equal = x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
        buf_release(&x);
        buf_release(&y);
        return equal;
}
