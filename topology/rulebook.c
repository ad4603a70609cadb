#include <jansson.h>
#include <string.h>

#include "change/json.h"
#include "topology/build.h"

/* Rules as a whole: which one a table has, and how they travel in the log. */

static const struct table_rule *entry(const struct rulebook *b, const char *schema, const char *name)
{
        for (int wild = 0; wild < 2; wild++)
                for (size_t i = b->n; i-- > 0;)
                        if (b->tables[i].table.wildcard == wild && pattern_match(&b->tables[i].table, schema, name))
                                return &b->tables[i];
        return NULL;
}

const struct rule_spec *rulebook_rule(const struct rulebook *b, const char *schema, const char *name)
{
        const struct table_rule *r = entry(b, schema, name);
        return r ? &r->spec : &b->standard;
}

const struct table_rule *topology_table_rule(const struct topology *t, const char *schema, const char *name)
{
        return entry(&t->rules, schema, name);
}

const struct rule_spec *topology_rule(const struct topology *t, const char *schema, const char *name)
{
        return rulebook_rule(&t->rules, schema, name);
}

bool rulebook_plain(const struct rulebook *b)
{
        for (size_t i = 0; i < b->n; i++)
                if (b->tables[i].spec.row != RULE_LAST_WRITE_WINS || rule_spec_needs_full(&b->tables[i].spec))
                        return false;
        return b->standard.row == RULE_LAST_WRITE_WINS;
}

/* ---- as JSON ---------------------------------------------------------------------------------------------------------------------- */

void rulebook_json(const struct rulebook *b, struct buf *out)
{
        struct arena a;
        arena_init(&a);
        buf_put_str(out, "{\"default\":");
        rule_spec_json(out, &b->standard);
        buf_put_str(out, ",\"tables\":[");
        for (size_t i = 0; i < b->n; i++) {
                buf_put_str(out, i ? ",{\"table\":" : "{\"table\":");
                json_put_cstr(out, pattern_str(&a, &b->tables[i].table));
                buf_put_str(out, ",\"rule\":");
                rule_spec_json(out, &b->tables[i].spec);
                buf_put_str(out, "}");
        }
        buf_put_str(out, "]}");
        arena_release(&a);
}

static size_t read_names(const json_t *list, struct arena *arena, const char *const **out)
{
        const char **names = ARENA_ARRAY(arena, const char *, json_array_size(list));
        size_t n = 0;
        for (size_t i = 0; i < json_array_size(list); i++) {
                const char *s = json_string_value(json_array_get(list, i));
                if (s)
                        names[n++] = arena_strdup(arena, s);
        }
        *out = names;
        return n;
}

static const char *read_text(const json_t *rule, const char *key, struct arena *arena)
{
        const char *s = json_string_value(json_object_get(rule, key));
        return s ? arena_strdup(arena, s) : NULL;
}

static bool read_spec(json_t *rule, struct arena *arena, struct rule_spec *s)
{
        const char *resolver = json_string_value(json_object_get(rule, "resolver")), *name;
        json_t *columns = json_object_get(rule, "columns"), *value;
        struct column_spec *list = ARENA_ARRAY(arena, struct column_spec, json_object_size(columns));
        memset(s, 0, sizeof *s);
        s->columns = list;
        if (!resolver || !row_rule_parse(resolver, &s->row))
                return false;
        s->norder = read_names(json_object_get(rule, "order"), arena, &s->order);
        s->nby = read_names(json_object_get(rule, "by"), arena, &s->by);
        s->function = read_text(rule, "function", arena);
        s->path = read_text(rule, "path", arena);
        s->delete_wins = json_object_get(rule, "delete") != NULL;
        json_object_foreach(columns, name, value)
        {
                struct column_spec *c = &list[s->ncolumns++];
                c->name = arena_strdup(arena, name);
                if (!json_is_string(value) || !column_rule_parse(json_string_value(value), &c->rule))
                        return false;
        }
        return true;
}

enum status rulebook_parse(const char *json, size_t len, struct arena *arena, struct rulebook *out, struct err *e)
{
        json_t *root = json_loadb(json, len, 0, NULL), *tables = json_object_get(root, "tables");
        struct table_rule *list = ARENA_ARRAY(arena, struct table_rule, json_array_size(tables));
        const char *why;
        memset(out, 0, sizeof *out);
        out->tables = list;
        bool ok = json_is_array(tables) && read_spec(json_object_get(root, "default"), arena, &out->standard);
        for (size_t i = 0; i < json_array_size(tables) && ok; i++) {
                json_t *one = json_array_get(tables, i);
                const char *name = json_string_value(json_object_get(one, "table"));
                struct table_rule *r = &list[out->n++];
                memset(r, 0, sizeof *r);
                ok = name && pattern_parse(arena, arena_strdup(arena, name), &r->table, &why) &&
                     read_spec(json_object_get(one, "rule"), arena, &r->spec);
        }
        json_decref(root);
        return ok ? ST_OK
                  : err_named(e, ST_DATA, "rules_unknown",
                              "these rules of conflict cannot be read, a newer version of Pangea may have written them: %.300s",
                              json);
}

/* ---- changes ---------------------------------------------------------------------------------------------------------------------- */

/* Under plain last write wins nobody remembers the versions that lost. A later version that has seen the winner hides that; when a delete
 * then kills this one although it is later (delete_wins), regions that met the loser afterwards would keep it, the others not. */
static bool forgets(const struct rule_spec *s)
{
        bool columns = false;
        for (size_t i = 0; i < s->ncolumns; i++)
                columns = columns || s->columns[i].rule != COLUMN_LAST_WRITE_WINS;
        return s->row == RULE_LAST_WRITE_WINS && !s->delete_wins && !columns;
}

static bool hard(const struct rule_spec *from, const struct rule_spec *to)
{
        if (rule_spec_accumulates(from) || rule_spec_accumulates(to))
                return !rule_spec_equal(from, to);
        return (forgets(from) && to->delete_wins) || (forgets(to) && from->delete_wins);
}

static const char *hard_among(const struct rulebook *names, const struct rulebook *from, const struct rulebook *to,
                              struct arena *arena)
{
        for (size_t i = 0; i < names->n; i++) {
                const struct table_pattern *t = &names->tables[i].table;
                if (hard(rulebook_rule(from, t->schema, t->name), rulebook_rule(to, t->schema, t->name)))
                        return pattern_str(arena, t);
        }
        return NULL;
}

const char *rulebook_hard_change(const struct rulebook *from, const struct rulebook *to, struct arena *arena)
{
        if (hard(&from->standard, &to->standard))
                return "conflicts.default";
        const char *name = hard_among(to, from, to, arena);
        return name ? name : hard_among(from, from, to, arena);
}
