#include "apply/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/rules.h"
#include "apply/clash.h"
#include "base/mem.h"
#include "postgres/collation.h"

struct catalog {
        const struct topology *topo;
        region_id me;
        const struct rules_known *known; /* NULL: none */
        struct map targets;              /* "schema\0table" -> struct target */
};

struct catalog *catalog_new(const struct topology *t, region_id me)
{
        struct catalog *c = MEM_NEW(struct catalog);
        c->topo = t;
        c->me = me;
        map_init(&c->targets, 0);
        return c;
}

void catalog_set_rules(struct catalog *c, const struct rules_known *known)
{
        c->known = known;
        catalog_forget(c);
}

static void target_free(struct target *t)
{
        size_t it = 0, len;
        const void *key;
        void *stmt;
        for (uint16_t i = 0; i < t->ncols; i++) {
                free(t->cols[i].name);
                free(t->cols[i].ident);
                free(t->cols[i].type);
                free(t->cols[i].type_plain);
                free(t->cols[i].eq);
        }
        while (map_next(&t->statements, &it, &key, &len, &stmt))
                free(stmt);
        map_release(&t->statements);
        rules_free(t->set);
        clash_def_free(t->clash);
        free(t->cols);
        free(t->keys);
        free(t->name);
        free(t->schema);
        free(t->table);
        free(t->qualified);
        free(t);
}

void catalog_forget(struct catalog *c)
{
        size_t it = 0, len;
        const void *key;
        void *t;
        while (map_next(&c->targets, &it, &key, &len, &t))
                target_free(t);
        map_clear(&c->targets);
}

void catalog_free(struct catalog *c)
{
        if (!c)
                return;
        catalog_forget(c);
        map_release(&c->targets);
        free(c);
}

void catalog_set_topology(struct catalog *c, const struct topology *t)
{
        c->topo = t;
        catalog_forget(c);
}

static const char table_sql[] =
        "SELECT c.oid, c.relkind, (SELECT count(*) FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND (x.indisunique OR x.indisexclusion)), "
        "EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND NOT x.indimmediate) "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')";

/* The last: does its collation compare bytes? */
static const char columns_sql[] =
        "SELECT a.attnum, a.attname, n.nspname, t.typname, a.attgenerated <> '', a.attidentity = 'a', t.typcategory = 'S',"
        " " COLUMN_IS_BYTEWISE " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
        "WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/* DESIGN 4.3: the primary key, else the replica identity index, else the first usable unique index without NULLs, by name. LIMIT and OFFSET keep
 * the planner from beginning with all operators there are: 0.3 to 0.5 ms for a table, 0.15 so. */
static const char key_sql[] =
        "SELECT u.indkey[k.i], e.nspname, e.oprname FROM ("
        "  SELECT x.indkey, x.indclass, x.indnkeyatts"
        "  FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid"
        "  WHERE x.indrelid = $1::oid AND x.indisunique AND x.indimmediate AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL"
        "    AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.indrelid"
        "                    AND a.attnum = ANY (x.indkey[0:x.indnkeyatts - 1]) AND NOT a.attnotnull) "
        "  ORDER BY x.indisprimary DESC, x.indisreplident DESC, ic.relname COLLATE \"C\" LIMIT 1) u "
        "CROSS JOIN LATERAL pg_catalog.generate_series(0, u.indnkeyatts - 1) AS k(i) "
        "CROSS JOIN LATERAL (SELECT n.nspname, o.oprname FROM pg_catalog.pg_opclass oc"
        "  JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3"
        "    AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype"
        "  JOIN pg_catalog.pg_operator o ON o.oid = ao.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace"
        "  WHERE oc.oid = u.indclass[k.i] OFFSET 0) e "
        "ORDER BY k.i";

static char *quoted(const char *a, const char *b)
{
        struct buf out;
        buf_init(&out, 0);
        if (a)
                pg_qualified(&out, a, b);
        else
                pg_ident(&out, b);
        return buf_taken(&out);
}

static char *joined(const char *schema, const char *name)
{
        struct buf out;
        buf_init(&out, 0);
        buf_printf(&out, "%s.%s", schema, name);
        return buf_taken(&out);
}

static enum status read_columns(struct target *t, struct pg *db, const struct pg_param *oid, int **attnums, bool **bytewise,
                                struct err *e)
{
        struct pgres *r = NULL;
        enum status s = pg_query(db, columns_sql, 1, oid, false, &r, e);
        if (s != ST_OK)
                return s;
        t->ncols = (uint16_t)pgres_rows(r);
        t->cols = mem_zalloc(sizeof *t->cols * t->ncols);
        *attnums = mem_zalloc(sizeof **attnums * (t->ncols + 1u));
        *bytewise = mem_zalloc(sizeof **bytewise * (t->ncols + 1u));
        for (uint16_t i = 0; i < t->ncols; i++) {
                struct target_column *c = &t->cols[i];
                (*attnums)[i] = (int)pgres_i64(r, i, 0);
                c->name = mem_strdup(pgres_text(r, i, 1));
                c->ident = quoted(NULL, c->name);
                c->type = quoted(pgres_text(r, i, 2), pgres_text(r, i, 3));
                c->type_plain = joined(pgres_text(r, i, 2), pgres_text(r, i, 3));
                c->generated = pgres_text(r, i, 4)[0] == 't';
                c->identity_always = pgres_text(r, i, 5)[0] == 't';
                c->is_text = pgres_text(r, i, 6)[0] == 't';
                (*bytewise)[i] = pgres_text(r, i, 7)[0] == 't';
                t->identity_always |= c->identity_always;
        }
        pgres_free(r);
        return ST_OK;
}

static enum status read_key(struct target *t, struct pg *db, const struct pg_param *oid, const int *attnums, struct err *e)
{
        struct pgres *r = NULL;
        enum status s = pg_query(db, key_sql, 1, oid, false, &r, e);
        if (s != ST_OK)
                return s;
        int n = pgres_rows(r);
        t->keys = mem_zalloc(sizeof *t->keys * (size_t)(n + 1));
        for (int k = 0; k < n; k++) {
                for (uint16_t i = 0; i < t->ncols; i++) {
                        if (attnums[i] != (int)pgres_i64(r, k, 0))
                                continue;
                        struct buf eq;
                        buf_init(&eq, 0);
                        buf_printf(&eq, "OPERATOR(");
                        pg_ident(&eq, pgres_text(r, k, 1));
                        buf_printf(&eq, ".%s)", pgres_text(r, k, 2));
                        free(t->cols[i].eq);
                        t->cols[i].eq = buf_taken(&eq);
                        t->keys[t->nkeys++] = i;
                }
        }
        pgres_free(r);
        return ST_OK;
}

static enum status load(struct catalog *c, struct pg *db, const char *schema, const char *table, struct target **out, struct err *e)
{
        struct pg_param names[2] = {PG_TEXT(schema), PG_TEXT(table)};
        struct pgres *r = NULL;
        enum status s = pg_query(db, table_sql, 2, names, false, &r, e);
        if (s != ST_OK)
                return s;
        *out = NULL;
        if (pgres_rows(r) == 0) {
                pgres_free(r);
                return ST_OK;
        }
        struct target *t = MEM_NEW(struct target);
        char oid_text[16];
        int *attnums = NULL;
        bool *bytewise = NULL;
        t->relid = (uint32_t)pgres_i64(r, 0, 0);
        t->partitioned = pgres_text(r, 0, 1)[0] == 'p';
        t->unique_extra = (unsigned)pgres_i64(r, 0, 2);
        t->deferrable = pgres_text(r, 0, 3)[0] == 't';
        pgres_free(r);
        t->schema = mem_strdup(schema);
        t->table = mem_strdup(table);
        t->name = joined(schema, table);
        t->qualified = quoted(schema, table);
        t->multi = topology_multi_writer(c->topo, schema, table);
        map_init(&t->statements, 4096);
        snprintf(oid_text, sizeof oid_text, "%u", t->relid);
        struct pg_param oid = PG_TEXT(oid_text);
        s = read_columns(t, db, &oid, &attnums, &bytewise, e);
        if (s == ST_OK)
                s = read_key(t, db, &oid, attnums, e);
        if (s == ST_OK && c->known)
                s = rules_bind(&t->set, c->known, c->topo, t, bytewise, e);
        free(attnums);
        free(bytewise);
        if (s != ST_OK) {
                target_free(t);
                return s;
        }
        if (t->unique_extra && t->nkeys)
                t->unique_extra--;
        t->fixed = true;
        for (uint16_t i = 0; i < t->ncols; i++) {
                t->fixed &= t->cols[i].generated || t->cols[i].identity_always;
                t->replaces |= t->cols[i].identity_always && !t->cols[i].eq;
        }
        *out = t;
        return ST_OK;
}

enum status catalog_target(struct catalog *c, struct pg *db, const char *schema, const char *table, struct target **out,
                           struct err *e)
{
        char key[140];
        size_t a = strlen(schema), b = strlen(table);
        if (a + b + 2 > sizeof key)
                return err_named(e, ST_DATA, "table_missing", "table %s.%s: a name longer than PostgreSQL allows", schema, table);
        memcpy(key, schema, a + 1);
        memcpy(key + a + 1, table, b + 1);
        *out = map_get(&c->targets, key, a + b + 1);
        if (*out)
                return ST_OK;
        enum status s = load(c, db, schema, table, out, e);
        if (s == ST_OK && *out)
                map_put(&c->targets, key, a + b + 1, *out);
        return s;
}

/* Looked for from a column on, round to the one before: columns mostly stand in one order everywhere. */
static int find_column(const struct target *t, const char *name, int from)
{
        for (int i = 0; i < t->ncols; i++) {
                int at = (from + i) % t->ncols;
                if (strcmp(t->cols[at].name, name) == 0)
                        return at;
        }
        return -1;
}

static enum status map_columns(const struct relation *rel, const struct target *t, struct mapping *m, const char *from,
                               struct err *e)
{
        for (int i = 0, at = -1; i < rel->ncols; i++) {
                at = find_column(t, rel->cols[i].name, at + 1);
                if (at < 0)
                        return err_named(
                                e, ST_DATA, "column_missing",
                                "table %s: column \"%s\" (%s) of region %s does not exist here; add it (ALTER TABLE %s ADD COLUMN "
                                "..), the origin goes on by itself then",
                                t->name, rel->cols[i].name, rel->cols[i].type, from, t->name);
                m->to[i] = t->cols[at].generated ? -1 : (int16_t)at;
        }
        return ST_OK;
}

/* The key of the log must be the key here, in the same order: two regions that key differently would not agree on what a row is. */
static enum status check_key(const struct relation *rel, const struct target *t, const char *from, struct err *e)
{
        bool same = rel->nkeys == t->nkeys;
        for (uint16_t k = 0; same && k < rel->nkeys; k++)
                same = strcmp(rel->cols[rel->keys[k]].name, t->cols[t->keys[k]].name) == 0;
        /* a table without a key here takes inserts only when it has none there either */
        if (same)
                return ST_OK;
        return err_named(
                e, ST_DATA, "key_differs",
                "table %s: its key (primary key, else identity index, else first unique index) is not the one of region %s; give "
                "both the same, the origin goes on by itself then",
                t->name, from);
}

enum status catalog_map(struct catalog *c, struct pg *db, const struct relation *rel, region_id origin, struct arena *arena,
                        struct mapping *out, struct err *e)
{
        memset(out, 0, sizeof *out);
        out->applied = topology_applies(c->topo, rel->schema, rel->name, origin, c->me);
        if (!out->applied && origin.i != c->me.i)
                return ST_OK;
        const char *from = regset_name(&c->topo->names, origin);
        enum status s = catalog_target(c, db, rel->schema, rel->name, &out->target, e);
        if (s != ST_OK)
                return s;
        if (!out->target)
                return err_named(
                        e, ST_DATA, "table_missing",
                        "table %s.%s, written in region %s, does not exist here; create it, the origin goes on by itself then",
                        rel->schema, rel->name, from);
        out->to = ARENA_ARRAY(arena, int16_t, rel->ncols);
        s = map_columns(rel, out->target, out, from, e);
        return s == ST_OK ? check_key(rel, out->target, from, e) : s;
}
