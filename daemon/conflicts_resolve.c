/* resolve: a decision is an ordinary write of the application's kind: it commits in one region, bears a later version than all that were in
 * the conflict (they are applied there: it recorded them), and travels like any other change. */
#include "daemon/conflicts.h"

#include <stdlib.h>
#include <string.h>

/* A table as the history names it, and the columns that a statement may write. */
struct place {
        struct buf qualified;
        struct pgres *columns; /* name, generated or identity always */
};

static const char TABLE_SQL[] = "SELECT n.nspname, c.relname, c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                                " ON n.oid = c.relnamespace WHERE n.nspname || '.' || c.relname = $1 AND c.relkind IN ('r', 'p')";
static const char COLUMNS_SQL[] = "SELECT a.attname, a.attidentity = 'a' FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::oid"
                                  " AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum";

static enum status find_place(struct conflict_region *r, const char *table, struct place *p, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param name = PG_TEXT(table);
        buf_init(&p->qualified, 4096);
        p->columns = NULL;
        enum status s = pg_query(r->pg, TABLE_SQL, 1, &name, false, &res, e);
        if (s == ST_OK && pgres_rows(res) != 1)
                s = err_set(e, ST_DATA, "region %s has no table %s", r->region->name, table);
        if (s == ST_OK) {
                struct pg_param oid = PG_TEXT(pgres_text(res, 0, 2));
                pg_qualified(&p->qualified, pgres_text(res, 0, 0), pgres_text(res, 0, 1));
                s = pg_query(r->pg, COLUMNS_SQL, 1, &oid, false, &p->columns, e);
        }
        pgres_free(res);
        return s;
}

static void place_release(struct place *p)
{
        buf_release(&p->qualified);
        pgres_free(p->columns);
}

/* "k" = x."k" AND ..: the row of this key; x is the key as a row of the table's type. */
static void put_key(struct buf *sql, const json_t *key, const char *row)
{
        const char *name;
        json_t *value;
        const char *and = "";
        json_object_foreach((json_t *)key, name, value)
        {
                buf_printf(sql, "%st.", and);
                pg_ident(sql, name);
                buf_printf(sql, " = %s.", row);
                pg_ident(sql, name);
                and = " AND ";
        }
}

static void put_record(struct buf *sql, const struct place *p, const char *json)
{
        buf_printf(sql, "pg_catalog.jsonb_populate_record(NULL::%s, ", (const char *)p->qualified.data);
        pg_literal(sql, json);
        buf_put_str(sql, "::pg_catalog.jsonb)");
}

json_t *conflicts_standing(struct conflict_region *r, const json_t *conflict, struct err *e)
{
        struct place p;
        struct buf sql;
        struct pgres *res = NULL;
        json_t *key = json_object_get(conflict, "key"), *row = NULL;
        char *text = json_dumps(key, JSON_COMPACT);
        buf_init(&sql, 0);
        enum status s = find_place(r, json_string_value(json_object_get(conflict, "table")), &p, e);
        (void)buf_cstr(&p.qualified);
        if (s == ST_OK) {
                buf_printf(&sql, "SELECT " READABLE("pg_catalog.to_jsonb(t)") " FROM %s t, ", buf_cstr(&p.qualified));
                put_record(&sql, &p, text);
                buf_put_str(&sql, " k WHERE ");
                put_key(&sql, key, "k");
                s = pg_exec(r->pg, buf_cstr(&sql), &res, e);
        }
        if (s == ST_OK)
                row = pgres_rows(res) ? json_loads(pgres_text(res, 0, 0), JSON_DECODE_ANY, NULL) : json_null();
        pgres_free(res);
        buf_release(&sql);
        place_release(&p);
        free(text);
        return row;
}

/* The image as the region's own history has it: numbers keep every digit. */
static void put_image(struct buf *sql, const json_t *conflict)
{
        buf_printf(sql, "(SELECT c.image FROM pangea.conflict c WHERE %s = '%s' ORDER BY c.at LIMIT 1)", CONFLICT_ID,
                   json_string_value(json_object_get(conflict, "id")));
}

/* The columns of these that may be written here, with something before each name. */
static size_t put_columns(struct buf *sql, const struct place *p, const json_t *names, const char *before)
{
        size_t n = 0;
        for (int i = 0; i < pgres_rows(p->columns); i++) {
                const char *name = pgres_text(p->columns, i, 0);
                if (!json_object_get(names, name))
                        continue;
                buf_printf(sql, "%s%s", n++ ? ", " : "", before);
                pg_ident(sql, name);
        }
        return n;
}

/* a = from.a, ..: the columns that an UPDATE may set. */
static void put_sets(struct buf *sql, const struct place *p, const json_t *names, const json_t *key, const char *from)
{
        size_t n = 0;
        for (int pass = 0; pass < 2 && n == 0; pass++) /* a row that is nothing but its key is set to itself */
                for (int i = 0; i < pgres_rows(p->columns); i++) {
                        const char *name = pgres_text(p->columns, i, 0);
                        bool skip = pass == 0 && json_object_get(key, name);
                        if (!json_object_get(names, name) || pgres_text(p->columns, i, 1)[0] == 't' || skip)
                                continue;
                        buf_put_str(sql, n++ ? ", " : "");
                        pg_ident(sql, name);
                        buf_printf(sql, " = %s.", from);
                        pg_ident(sql, name);
                }
}

/* The row that lost (and what is set over it) becomes the row, whether one stands or not. */
static void write_upsert(struct buf *sql, const struct place *p, const json_t *conflict, const json_t *names, const char *set)
{
        const char *name, *comma = "";
        json_t *value, *key = json_object_get(conflict, "key");
        buf_printf(sql, "INSERT INTO %s AS t (", (const char *)p->qualified.data);
        put_columns(sql, p, names, "");
        buf_put_str(sql, ") OVERRIDING SYSTEM VALUE SELECT ");
        put_columns(sql, p, names, "x.");
        buf_printf(sql, " FROM pg_catalog.jsonb_populate_record(NULL::%s, ", (const char *)p->qualified.data);
        put_image(sql, conflict);
        if (set) {
                buf_put_str(sql, " || ");
                pg_literal(sql, set);
                buf_put_str(sql, "::pg_catalog.jsonb");
        }
        buf_put_str(sql, ") x ON CONFLICT (");
        json_object_foreach(key, name, value)
        {
                buf_put_str(sql, comma);
                pg_ident(sql, name);
                comma = ", ";
        }
        buf_put_str(sql, ") DO UPDATE SET ");
        put_sets(sql, p, names, key, "EXCLUDED");
}

static void write_update(struct buf *sql, const struct place *p, const json_t *key, const json_t *names, const char *set)
{
        char *text = json_dumps(key, JSON_COMPACT);
        buf_printf(sql, "UPDATE %s AS t SET ", (const char *)p->qualified.data);
        put_sets(sql, p, names, key, set ? "x" : "t");
        buf_put_str(sql, " FROM ");
        put_record(sql, p, text);
        buf_put_str(sql, " k");
        if (set) {
                buf_put_str(sql, ", ");
                put_record(sql, p, set);
                buf_put_str(sql, " x");
        }
        buf_put_str(sql, " WHERE ");
        put_key(sql, key, "k");
        free(text);
}

static void write_delete(struct buf *sql, const struct place *p, const json_t *key)
{
        char *text = json_dumps(key, JSON_COMPACT);
        buf_printf(sql, "DELETE FROM %s AS t USING ", (const char *)p->qualified.data);
        put_record(sql, p, text);
        buf_put_str(sql, " k WHERE ");
        put_key(sql, key, "k");
        free(text);
}

static enum status check_set(const struct place *p, const json_t *conflict, const json_t *set, struct err *e)
{
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)set, name, value)
        {
                bool there = false;
                for (int i = 0; i < pgres_rows(p->columns); i++)
                        there |= strcmp(pgres_text(p->columns, i, 0), name) == 0;
                if (!there)
                        return err_set(e, ST_CONFIG, "--set: table %s has no column %s that can be written",
                                       json_string_value(json_object_get(conflict, "table")), name);
                if (json_object_get(json_object_get(conflict, "key"), name))
                        return err_set(e, ST_CONFIG, "--set: %s is the key; a row under another key is another row", name);
        }
        return ST_OK;
}

static enum status write_decision(struct conflict_region *r, const struct place *p, const json_t *conflict, enum decision d,
                                  const char *set, struct buf *sql, struct err *e)
{
        json_t *image = json_object_get(conflict, "image"), *key = json_object_get(conflict, "key");
        json_t *standing = conflicts_standing(r, conflict, e), *named = set ? json_loads(set, 0, NULL) : NULL;
        if (!standing)
                return e->code;
        bool stands = json_is_object(standing), lost_row = json_is_object(image);
        json_t *names = json_is_object(image) ? json_deep_copy(image) : json_object();
        json_object_update(names, named);
        enum status s = ST_OK;
        if (d == DECIDE_DELETE || (d == DECIDE_TAKE && !lost_row))
                write_delete(sql, p, key);
        else if (d == DECIDE_TAKE)
                write_upsert(sql, p, conflict, names, NULL);
        else if (stands)
                write_update(sql, p, key, d == DECIDE_SET ? named : standing, set);
        else if (d == DECIDE_SET && lost_row)
                write_upsert(sql, p, conflict, names, set);
        else
                s = err_set(e, ST_CONFIG, "no row stands under this key in region %s; --take writes the one that lost",
                            r->region->name);
        json_decref(standing);
        json_decref(named);
        json_decref(names);
        return s;
}

enum status conflict_resolve(struct conflict_region *r, const json_t *conflict, enum decision d, const char *set, bool dry,
                             struct buf *sql, struct err *e)
{
        struct place p;
        json_t *named = set ? json_loads(set, 0, NULL) : NULL;
        enum status s = find_place(r, json_string_value(json_object_get(conflict, "table")), &p, e);
        (void)buf_cstr(&p.qualified);
        if (s == ST_OK)
                s = check_set(&p, conflict, named, e);
        if (s == ST_OK)
                s = write_decision(r, &p, conflict, d, set, sql, e);
        if (s == ST_OK && !dry)
                s = pg_exec(r->pg, "SET lock_timeout = '10s'", NULL, e);
        if (s == ST_OK && !dry)
                s = pg_exec(r->pg, buf_cstr(sql), NULL, e);
        json_decref(named);
        place_release(&p);
        return s;
}
