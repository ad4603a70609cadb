#include "apply/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/applier.h"
#include "apply/plugin.h"
#include "base/mem.h"

/* Of one rule; in the set_rule's arena. */
struct resolver {
        struct applier *a;
        struct set_rule *set;
        const char *what;                   /* for messages */
        const char *sql;                    /* the call */
        const struct pangea_plugin *plugin; /* NULL: sql */
        struct pangea_table table;
};

static enum status failed(const struct resolver *r, const char *why, struct err *e)
{
        char text[600];
        snprintf(text, sizeof text, "%s", why);
        return err_named(e, ST_DATA, "resolver_failed",
                         "table %s.%s: %s: %s; mend it in every region, the origin goes on by itself then", r->set->rel.schema,
                         r->set->rel.name, r->what, text);
}

/* What was made may not be another key's row. */
static enum status check_key(const struct resolver *r, const struct version *v, const struct cell *row, struct err *e)
{
        const struct relation *rel = &r->set->rel;
        for (uint16_t k = 0; k < rel->nkeys; k++)
                if (!cell_equal(v->row[rel->keys[k]], row[rel->keys[k]]))
                        return failed(r, "it gives a row with another key", e);
        return ST_OK;
}

/* ---- an SQL function ------------------------------------------------------------------------------------------------------------------ */

struct answer {
        struct arena *arena;
        struct cell *row;
        uint16_t ncols;
        int rows;
};

static void on_answer(void *ctx, void *arg, const struct pgres *r)
{
        struct answer *a = arg;
        (void)ctx;
        a->rows = pgres_rows(r);
        for (uint16_t i = 0; a->rows == 1 && i < a->ncols; i++) {
                a->row[i] = (struct cell){NULL, 0};
                if (pgres_null(r, 0, i))
                        continue;
                uint32_t len = (uint32_t)pgres_len(r, 0, i);
                a->row[i] = (struct cell){arena_strndup(a->arena, pgres_text(r, 0, i), len), len};
        }
}

static enum status call_sql(void *ctx, const struct rule *rule, const struct version *v, size_t n, struct arena *arena,
                            struct cell *row, struct err *e)
{
        const struct resolver *r = ctx;
        const struct relation *rel = &r->set->rel;
        struct applier *a = r->a;
        size_t np = (size_t)rel->ncols + 2;
        struct buf *b = mem_zalloc(sizeof *b * np);
        struct pg_param *p = mem_zalloc(sizeof *p * np);
        (void)rule;
        for (size_t i = 0; i < np; i++) {
                array_begin(&b[i], i == np - 1 ? 20 : 25);
                for (size_t k = 0; k < n; k++) {
                        if (i < rel->ncols) {
                                array_add(&b[i], v[k].row[i].data, v[k].row[i].len);
                        } else if (i == rel->ncols) {
                                const char *name = regset_name(&a->regs, v[k].dot.region);
                                array_add(&b[i], name, strlen(name));
                        } else {
                                buf_put_u32(&b[i], 8);
                                buf_put_u64(&b[i], v[k].dot.hlc.v);
                        }
                }
                p[i] = array_end(&b[i], (uint32_t)n, i == np - 1 ? 1016 : 1009);
        }
        struct answer out = {.arena = arena, .row = row, .ncols = rel->ncols};
        enum status s = session_query(a->db, r->sql, (int)np, p, on_answer, &out, e);
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        for (size_t i = 0; i < np; i++)
                buf_release(&b[i]);
        free(b);
        free(p);
        if (s == ST_DATA)
                return failed(r, e->msg, e);
        if (s == ST_OK && out.rows != 1)
                return failed(r, "it gives no row", e);
        return s == ST_OK ? check_key(r, v, row, e) : s;
}

/* SELECT r.a, .. FROM f(ARRAY(SELECT ROW(s.c0::type, ..)::t FROM unnest(..) ORDER BY s.n), regions, hlcs) AS r */
static const char *call_text(struct set_rule *set, const char *function)
{
        const struct target *t = set->map.target;
        struct buf sql;
        uint16_t n = 0;
        buf_init(&sql, 0);
        buf_put_str(&sql, "SELECT ");
        for (uint16_t i = 0; i < t->ncols; i++)
                if (set->at[i] >= 0)
                        buf_printf(&sql, "%sr.%s", n++ ? ", " : "", t->cols[i].ident);
        buf_printf(&sql, " FROM %s(ARRAY(SELECT ROW(", function);
        for (uint16_t i = 0; i < t->ncols; i++) {
                buf_put_str(&sql, i ? ", " : "");
                if (set->at[i] >= 0)
                        buf_printf(&sql, "s.c%d::%s", set->at[i], t->cols[i].type);
                else
                        buf_printf(&sql, "NULL::%s", t->cols[i].type);
        }
        buf_printf(&sql, ")::%s FROM ROWS FROM (", t->qualified);
        for (uint16_t i = 0; i < n; i++)
                buf_printf(&sql, "%sunnest($%u::text[])", i ? ", " : "", i + 1u);
        buf_put_str(&sql, ") WITH ORDINALITY AS s(");
        for (uint16_t i = 0; i < n; i++)
                buf_printf(&sql, "c%u, ", i);
        buf_printf(&sql, "n) ORDER BY s.n), $%u::text[], $%u::int8[]) AS r", n + 1u, n + 2u);
        const char *text = arena_strdup(&set->arena, buf_cstr(&sql));
        buf_release(&sql);
        return text;
}

/* schema.name, each half perhaps in double quotes, as the topology writes it. */
static const char *quote_function(struct arena *arena, const char *name)
{
        char schema[140];
        const char *dot = name[0] == '"' ? strchr(name + 1, '"') : NULL;
        dot = strchr(dot ? dot : name, '.');
        if (!dot)
                return name;
        snprintf(schema, sizeof schema, "%.*s", (int)(dot - name), name);
        char *halves[2] = {schema, arena_strdup(arena, dot + 1)};
        for (int i = 0; i < 2; i++) {
                size_t n = strlen(halves[i]);
                if (halves[i][0] == '"' && n > 1) {
                        halves[i][n - 1] = 0;
                        halves[i]++;
                }
        }
        struct buf b;
        buf_init(&b, 0);
        pg_qualified(&b, halves[0], halves[1]);
        const char *quoted = arena_strdup(arena, buf_cstr(&b));
        buf_release(&b);
        return quoted;
}

static enum status bind_sql(struct resolver *r, const char *function, struct err *e)
{
        static const char ask[] =
                "SELECT p.provolatile, p.prorettype = (SELECT c.reltype FROM pg_catalog.pg_class c"
                " WHERE c.oid = $2::regclass), p.proretset FROM pg_catalog.pg_proc p WHERE p.oid = pg_catalog.to_regprocedure($1)";
        const struct target *t = r->set->map.target;
        const char *quoted = quote_function(&r->set->arena, function);
        const char *signature = arena_printf(&r->set->arena, "%s(%s[], text[], bigint[])", quoted, t->qualified);
        struct pg_param p[2] = {PG_TEXT(signature), PG_TEXT(t->qualified)};
        struct pgres *res = NULL;
        enum status s = pg_query(r->a->side, ask, 2, p, false, &res, e);
        if (s != ST_OK)
                return s;
        if (pgres_rows(res) == 0)
                s = err_set(
                        e, ST_CONFIG,
                        "function %s does not exist; write CREATE FUNCTION %s(versions %s[], regions text[], hlcs bigint[]) RETURNS %s .. IMMUTABLE",
                        signature, quoted, t->qualified, t->qualified);
        else if (pgres_text(res, 0, 0)[0] != 'i')
                s = err_set(e, ST_CONFIG, "function %s is not IMMUTABLE: it could give another answer in another region",
                            signature);
        else if (pgres_text(res, 0, 1)[0] != 't' || pgres_text(res, 0, 2)[0] == 't')
                s = err_set(e, ST_CONFIG, "function %s does not return one row of type %s", signature, t->qualified);
        pgres_free(res);
        r->what = arena_printf(&r->set->arena, "function %s", quoted);
        r->sql = call_text(r->set, quoted);
        return s;
}

/* ---- a plug-in ------------------------------------------------------------------------------------------------------------------------ */

static void *plugin_alloc(struct pangea_result *r, size_t size)
{
        return arena_alloc(r->context, size);
}

static enum status call_plugin(void *ctx, const struct rule *rule, const struct version *v, size_t n, struct arena *arena,
                               struct cell *row, struct err *e)
{
        const struct resolver *r = ctx;
        uint16_t ncols = r->set->rel.ncols;
        struct pangea_version *versions = ARENA_ARRAY(arena, struct pangea_version, n);
        struct pangea_result out = {
                .values = ARENA_ARRAY(arena, struct pangea_value, ncols), .alloc = plugin_alloc, .context = arena};
        (void)rule;
        for (size_t k = 0; k < n; k++) {
                struct pangea_value *values = ARENA_ARRAY(arena, struct pangea_value, ncols);
                for (uint16_t i = 0; i < ncols; i++)
                        values[i] = (struct pangea_value){v[k].row[i].data, v[k].row[i].len};
                versions[k] = (struct pangea_version){
                        .region = regset_name(&r->a->regs, v[k].dot.region), .hlc = v[k].dot.hlc.v, .values = values};
        }
        memcpy(out.values, versions[n - 1].values, sizeof *out.values * ncols);
        int rc = r->plugin->settle(&r->table, versions, n, &out);
        out.error[sizeof out.error - 1] = 0;
        if (rc != 0)
                return failed(r, out.error[0] ? out.error : "it has no answer and does not say why", e);
        for (uint16_t i = 0; i < ncols; i++)
                row[i] = (struct cell){out.values[i].data, out.values[i].data ? out.values[i].len : 0};
        return check_key(r, v, row, e);
}

static enum status bind_plugin(struct resolver *r, const char *path, struct err *e)
{
        const struct relation *rel = &r->set->rel;
        struct arena *arena = &r->set->arena;
        const char **names = ARENA_ARRAY(arena, const char *, rel->ncols), **types = ARENA_ARRAY(arena, const char *, rel->ncols);
        uint8_t *key = ARENA_ARRAY(arena, uint8_t, rel->ncols);
        for (uint16_t i = 0; i < rel->ncols; i++) {
                names[i] = rel->cols[i].name;
                types[i] = rel->cols[i].type;
                key[i] = rel->cols[i].key;
        }
        r->table = (struct pangea_table){
                .schema = rel->schema, .name = rel->name, .ncolumns = rel->ncols, .columns = names, .types = types, .key = key};
        r->what = arena_printf(arena, "plug-in %s", path);
        return plugin_load(r->a->plugins, path, &r->plugin, e);
}

enum status resolver_bind(void *ctx, struct set_rule *set, const struct rule_spec *spec, struct rule *rule, struct err *e)
{
        if (spec->row != RULE_SQL && spec->row != RULE_PLUGIN)
                return ST_OK;
        struct resolver *r = ARENA_NEW(&set->arena, struct resolver);
        r->a = ctx;
        r->set = set;
        enum status s = spec->row == RULE_SQL ? bind_sql(r, spec->function, e) : bind_plugin(r, spec->path, e);
        rule->resolve = spec->row == RULE_SQL ? call_sql : call_plugin;
        rule->resolve_ctx = r;
        return s;
}
