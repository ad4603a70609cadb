#include "capture/relcache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "capture/stops.h"
#include "change/binary.h"

/* The root of a partition, and its key: primary key, else replica identity index, else the first usable unique index by name. */
static const char TABLE_SQL[] =
        "SELECT n.nspname, c.relname, k.col "
        "FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN LATERAL ("
        " SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS cols"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid"
        " WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indislive"
        " AND i.indpred IS NULL AND i.indexprs IS NULL"
        " AND NOT EXISTS (SELECT FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) u(attnum)"
        "  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum WHERE NOT a.attnotnull)"
        " ORDER BY i.indisprimary DESC, i.indisreplident DESC, ic.relname COLLATE \"C\" LIMIT 1) x ON true "
        "LEFT JOIN LATERAL ("
        " SELECT a.attname AS col, u.ord FROM unnest(x.cols) WITH ORDINALITY u(attnum, ord)"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum) k ON true "
        "WHERE c.oid = coalesce(pg_catalog.pg_partition_root($1::oid), $1::oid) ORDER BY k.ord";

static const char TYPES_SQL[] = "SELECT t.oid, n.nspname || '.' || t.typname "
                                "FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
                                "WHERE t.oid = ANY ($1::oid[])";

void relcache_init(struct relcache *c, struct pg *pg, const char *region)
{
        c->pg = pg;
        c->region = region;
        c->retired = NULL;
        map_init(&c->tables, 0);
}

static void table_free(struct captured_table *t)
{
        arena_release(&t->arena);
        free(t);
}

void relcache_sweep(struct relcache *c)
{
        while (c->retired) {
                struct captured_table *t = c->retired;
                c->retired = t->next;
                table_free(t);
        }
}

void relcache_release(struct relcache *c)
{
        size_t it = 0, len;
        const void *key;
        void *t;
        if (!c->region)
                return;
        relcache_sweep(c);
        while (map_next(&c->tables, &it, &key, &len, &t))
                table_free(t);
        map_release(&c->tables);
        c->region = NULL;
}

struct captured_table *relcache_get(const struct relcache *c, uint32_t oid)
{
        return map_get(&c->tables, &oid, sizeof oid);
}

static const char *type_name(const struct table_facts *f, uint32_t oid)
{
        for (size_t i = 0; i < f->ntypes; i++)
                if (f->type_oids[i] == oid)
                        return f->type_names[i];
        return NULL;
}

static enum status put_keys(struct captured_table *t, struct column *cols, const struct pgout_msg *m, const struct table_facts *f,
                            const char *region, struct err *e)
{
        struct relation *r = &t->rel;
        uint16_t *keys = ARENA_ARRAY(&t->arena, uint16_t, f->nkeys);
        r->keys = keys;
        t->identity_holds_key = true;
        for (size_t k = 0; k < f->nkeys; k++) {
                uint16_t i = 0;
                while (i < r->ncols && strcmp(cols[i].name, f->keys[k]) != 0)
                        i++;
                if (i == r->ncols)
                        return stop_named(e, "key_not_sent", region,
                                          "region %s: table %s.%s: its key column %s is not in the stream", region, r->schema,
                                          r->name, f->keys[k]);
                cols[i].key = true;
                keys[r->nkeys++] = i;
                if (!m->u.relation.cols[i].identity)
                        t->identity_holds_key = false;
        }
        return ST_OK;
}

/* A table that was dropped after its changes: its identity is the best that is left. */
static void keys_of_dropped(struct captured_table *t, struct column *cols, const struct pgout_msg *m)
{
        struct relation *r = &t->rel;
        uint16_t *keys = ARENA_ARRAY(&t->arena, uint16_t, r->ncols);
        r->keys = keys;
        t->identity_holds_key = true;
        for (uint16_t i = 0; i < r->ncols && !r->full; i++) {
                cols[i].key = m->u.relation.cols[i].identity;
                if (cols[i].key)
                        keys[r->nkeys++] = i;
        }
}

enum status captured_table_build(struct captured_table *t, const struct pgout_msg *m, const struct table_facts *f,
                                 const char *region, struct err *e)
{
        struct arena *a = &t->arena;
        struct relation *r = &t->rel;
        const char *schema = m->u.relation.schema, *name = m->u.relation.name;
        t->oid = m->u.relation.oid;
        r->schema = arena_strdup(a, f->found ? f->root_schema : schema);
        r->name = arena_strdup(a, f->found ? f->root_name : name);
        if (strcmp(r->schema, schema) != 0 || strcmp(r->name, name) != 0) {
                r->leaf_schema = arena_strdup(a, schema);
                r->leaf_name = arena_strdup(a, name);
        }
        r->full = m->u.relation.identity == 'f';
        r->ncols = m->u.relation.ncols;
        struct column *cols = ARENA_ARRAY(a, struct column, r->ncols);
        r->cols = cols;
        t->described = 64 + 2 * (strlen(schema) + strlen(name)) + strlen(r->schema) + strlen(r->name);
        for (uint16_t i = 0; i < r->ncols; i++) {
                const struct pgout_col *from = &m->u.relation.cols[i];
                const char *type = type_name(f, from->type_oid);
                cols[i].name = arena_strdup(a, from->name);
                cols[i].type = type ? arena_strdup(a, type) : "pg_catalog.unknown";
                t->described += strlen(cols[i].name) + strlen(cols[i].type) + 16;
                enum binary_type binary = binary_type_of(cols[i].type);
                if (binary != BINARY_NONE && !t->binary)
                        t->binary = ARENA_ARRAY(a, uint8_t, r->ncols); /* zeroed: BINARY_NONE */
                if (binary != BINARY_NONE)
                        t->binary[i] = (uint8_t)binary;
        }
        if (f->found)
                return put_keys(t, cols, m, f, region, e);
        keys_of_dropped(t, cols, m);
        return ST_OK;
}

static enum status ask_types(struct relcache *c, const struct pgout_msg *m, struct arena *a, struct table_facts *f, struct err *e)
{
        struct buf list;
        struct pgres *res = NULL;
        buf_init(&list, 0);
        for (uint16_t i = 0; i < m->u.relation.ncols; i++)
                buf_printf(&list, "%s%u", i ? "," : "{", m->u.relation.cols[i].type_oid);
        buf_put_str(&list, m->u.relation.ncols ? "}" : "{}");
        enum status st = pg_query(c->pg, TYPES_SQL, 1, &PG_TEXT(buf_cstr(&list)), false, &res, e);
        buf_release(&list);
        if (st != ST_OK)
                return st;
        size_t n = (size_t)pgres_rows(res);
        uint32_t *oids = ARENA_ARRAY(a, uint32_t, n);
        const char **names = ARENA_ARRAY(a, const char *, n);
        for (size_t i = 0; i < n; i++) {
                oids[i] = (uint32_t)pgres_i64(res, (int)i, 0);
                names[i] = arena_strdup(a, pgres_text(res, (int)i, 1));
        }
        f->ntypes = n;
        f->type_oids = oids;
        f->type_names = names;
        pgres_free(res);
        return ST_OK;
}

static enum status ask_table(struct relcache *c, uint32_t oid, struct arena *a, struct table_facts *f, struct err *e)
{
        char text[16];
        struct pgres *res = NULL;
        snprintf(text, sizeof text, "%u", oid);
        enum status st = pg_query(c->pg, TABLE_SQL, 1, &PG_TEXT(text), false, &res, e);
        if (st != ST_OK)
                return st;
        int n = pgres_rows(res);
        f->found = n > 0;
        if (f->found) {
                f->root_schema = arena_strdup(a, pgres_text(res, 0, 0));
                f->root_name = arena_strdup(a, pgres_text(res, 0, 1));
        }
        const char **keys = ARENA_ARRAY(a, const char *, n);
        for (int i = 0; i < n; i++)
                if (!pgres_null(res, i, 2))
                        keys[f->nkeys++] = arena_strdup(a, pgres_text(res, i, 2));
        f->keys = keys;
        pgres_free(res);
        return ST_OK;
}

static void replace(struct relcache *c, struct captured_table *t)
{
        struct captured_table *old = relcache_get(c, t->oid);
        if (old) {
                old->next = c->retired;
                c->retired = old;
        }
        (void)map_put(&c->tables, &t->oid, sizeof t->oid, t); /* a map without a limit takes everything */
}

enum status relcache_announce(struct relcache *c, const struct pgout_msg *m, struct err *e)
{
        struct table_facts facts = {0};
        struct captured_table *t = MEM_NEW(struct captured_table);
        arena_init(&t->arena);
        enum status st = ask_table(c, m->u.relation.oid, &t->arena, &facts, e);
        if (st == ST_OK)
                st = ask_types(c, m, &t->arena, &facts, e);
        if (st == ST_OK)
                st = captured_table_build(t, m, &facts, c->region, e);
        if (st != ST_OK) {
                table_free(t);
                return err_wrap(e, "table %s.%s", m->u.relation.schema, m->u.relation.name);
        }
        if (!facts.found)
                log_event(LOG_WARN, "capture.table_dropped", "table=%s.%s\twhy=%s", t->rel.schema, t->rel.name,
                          "it was dropped after these changes; its key is read from its replica identity");
        replace(c, t);
        return ST_OK;
}
