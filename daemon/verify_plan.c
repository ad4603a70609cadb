#include "daemon/verify.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* ---- which tables ------------------------------------------------------------------------------------------------------------------ */
bool vplan_wanted(const char *filter, const char *schema, const char *name)
{
        char whole[256], pattern[256];
        if (!filter)
                return true;
        snprintf(whole, sizeof whole, "%s.%s", schema, name);
        for (const char *p = filter; *p;) {
                size_t n = strcspn(p, ",");
                snprintf(pattern, sizeof pattern, "%.*s", (int)n, p);
                if (fnmatch(pattern, whole, 0) == 0)
                        return true;
                p += n;
                p += *p == ',';
        }
        return false;
}

static const struct vtable *find_table(const struct vcatalog *c, const char *schema, const char *name)
{
        for (size_t i = 0; i < c->n; i++)
                if (strcmp(c->tables[i].schema, schema) == 0 && strcmp(c->tables[i].name, name) == 0)
                        return &c->tables[i];
        return NULL;
}

static const struct vcolumn *find_column(const struct vtable *t, const char *name)
{
        for (size_t i = 0; i < t->ncols; i++)
                if (strcmp(t->cols[i].name, name) == 0)
                        return &t->cols[i];
        return NULL;
}

static bool on_route(const struct route *r, const char *column)
{
        for (size_t i = 0; i < r->ncolumns; i++)
                if (strcmp(r->columns[i], column) == 0)
                        return true;
        return r->ncolumns == 0;
}

/* The regions that must hold the same rows of this table: its writers, and whoever applies what one of them wrote. */
static uint32_t members(const struct topology *t, const char *schema, const char *name, uint32_t writers)
{
        uint32_t all = writers;
        for (size_t to = 0; to < t->nregions; to++)
                for (size_t from = 0; from < t->nregions; from++)
                        if ((writers >> from & 1) && topology_applies(t, schema, name, t->regions[from].id, t->regions[to].id))
                                all |= UINT32_C(1) << to;
        return all;
}

/* The columns that the route carries and every region has; the others are named in the note. */
static void common_columns(struct vplan *p, const struct topology *t, const struct route *route, const struct vtable *const *tables,
                           struct arena *a)
{
        size_t most = 0;
        for (size_t r = 0; r < t->nregions; r++)
                most += tables[r] ? tables[r]->ncols : 0;
        const char **cols = ARENA_ARRAY(a, const char *, most);
        for (size_t r = 0; r < t->nregions; r++) {
                if (!tables[r])
                        continue;
                for (size_t c = 0; c < tables[r]->ncols; c++) {
                        const char *name = tables[r]->cols[c].name, *lacks = NULL;
                        if (!on_route(route, name))
                                continue;
                        for (size_t o = 0; o < t->nregions && !lacks; o++)
                                if (tables[o] && !find_column(tables[o], name))
                                        lacks = t->regions[o].name;
                        if (lacks)
                                p->note = arena_printf(a, "column %s of %s is not in %s: not compared", name, t->regions[r].name,
                                                       lacks);
                        else if (p->regions && r == (size_t)__builtin_ctz(p->present))
                                cols[p->ncols++] = name;
                }
        }
        p->cols = cols;
}

static bool has(const char *const *list, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(list[i], name) == 0)
                        return true;
        return false;
}

/* The key of the first region that has one, if all of it is compared. */
static void choose_key(struct vplan *p, size_t nregions, const struct vtable *const *tables, struct arena *a)
{
        for (size_t r = 0; r < nregions && !p->nkeys; r++) {
                size_t n = 0;
                const char **keys = ARENA_ARRAY(a, const char *, tables[r] ? tables[r]->ncols : 0);
                for (size_t c = 0; tables[r] && c < tables[r]->ncols; c++)
                        n += tables[r]->cols[c].key > 0;
                for (size_t c = 0; n && c < tables[r]->ncols; c++) {
                        const struct vcolumn *col = &tables[r]->cols[c];
                        if (col->key <= 0)
                                continue;
                        if ((size_t)col->key > n || !has(p->cols, p->ncols, col->name))
                                n = 0;
                        else
                                keys[col->key - 1] = col->name;
                }
                p->keys = keys;
                p->nkeys = n;
        }
}

/* About 64 rows in a bucket: few rows are read again when few differ. */
static unsigned bucket_bits(int64_t rows)
{
        unsigned bits = 4;
        while (bits < VERIFY_MAX_BITS && rows >> bits > 64)
                bits++;
        return bits;
}

static bool plan_table(const struct topology *t, const struct vcatalog *catalogs, const struct vtable *one, struct arena *a,
                       struct vplan *p)
{
        const struct route *route = topology_route(t, one->schema, one->name);
        if (!route)
                return false;
        uint32_t writers = route_writers(t, route);
        const struct vtable *tables[MAX_REGIONS] = {0};
        int64_t estimate = 0;
        *p = (struct vplan){.schema = one->schema, .name = one->name, .where = route->where};
        p->regions = members(t, one->schema, one->name, writers);
        for (size_t r = 0; r < t->nregions; r++) {
                uint32_t bit = UINT32_C(1) << r;
                const struct vtable *v = p->regions & bit ? find_table(&catalogs[r], one->schema, one->name) : NULL;
                if (!v)
                        continue;
                tables[r] = v;
                p->present |= bit;
                p->partitioned |= v->partitioned ? bit : 0;
                estimate = v->estimate > estimate ? v->estimate : estimate;
                p->bytes = v->bytes > p->bytes ? v->bytes : p->bytes;
                if (!(writers & bit) && t->regions[r].role == ROLE_LEADER)
                        p->apart |= bit;
                if ((writers & bit) && !v->published)
                        p->skipped = arena_printf(a, "%s does not publish it yet; `pangea status` says why", t->regions[r].name);
        }
        if (__builtin_popcount(p->regions) < 2 || !p->present)
                return false;
        common_columns(p, t, route, tables, a);
        if (!p->ncols && !p->skipped)
                p->skipped = "the regions have no column in common";
        choose_key(p, t->nregions, tables, a);
        p->bits = bucket_bits(estimate);
        return true;
}

static int by_name(const void *x, const void *y)
{
        const struct vplan *a = x, *b = y;
        int c = strcmp(a->schema, b->schema);
        return c ? c : strcmp(a->name, b->name);
}

void vplan_build(const struct topology *t, const struct vcatalog *catalogs, const char *filter, struct arena *a, struct vplan **out,
                 size_t *n)
{
        size_t most = 0;
        for (size_t r = 0; r < t->nregions; r++)
                most += catalogs[r].n;
        *out = ARENA_ARRAY(a, struct vplan, most);
        *n = 0;
        for (size_t r = 0; r < t->nregions; r++) {
                for (size_t i = 0; i < catalogs[r].n; i++) {
                        const struct vtable *v = &catalogs[r].tables[i];
                        bool seen = false;
                        for (size_t b = 0; b < r && !seen; b++)
                                seen = find_table(&catalogs[b], v->schema, v->name) != NULL;
                        if (!seen && vplan_wanted(filter, v->schema, v->name))
                                *n += plan_table(t, catalogs, v, a, &(*out)[*n]);
                }
        }
        qsort(*out, *n, sizeof **out, by_name);
}

/* ---- the statements ---------------------------------------------------------------------------------------------------------------- */
static void put_array(struct buf *out, const char *const *names, size_t n)
{
        buf_put_str(out, "ARRAY[");
        for (size_t i = 0; i < n; i++) {
                buf_put_str(out, i ? ", t." : "t.");
                pg_ident(out, names[i]);
                buf_put_str(out, "::text");
        }
        buf_put_str(out, "]::text");
}

/* The canonical text of a row is that of a text array: every value quoted where it must be, NULL unlike 'NULL'. */
static void put_hash(struct buf *out, const struct vplan *p, bool utf8)
{
        buf_put_str(out, utf8 ? "md5(" : "md5(convert_to(");
        put_array(out, p->cols, p->ncols);
        buf_put_str(out, utf8 ? ")" : ", 'UTF8'))");
}

static void put_from(struct buf *out, const struct vplan *p, region_id r)
{
        buf_put_str(out, p->partitioned >> r.i & 1 ? " FROM " : " FROM ONLY ");
        pg_qualified(out, p->schema, p->name);
        buf_put_str(out, " AS t");
        if (p->where)
                buf_printf(out, " WHERE (%s)", p->where);
}

/* OFFSET 0 keeps the planner from pulling the subquery up, which would compute the hash once for each use. */
static void put_hashed(struct buf *out, const struct vplan *p, region_id r, bool utf8)
{
        buf_put_str(
                out,
                "(SELECT h, id, version, ('x' || left(h, 16))::bit(64)::bigint AS h1, ('x' || right(h, 16))::bit(64)::bigint AS h2 "
                "FROM (SELECT ");
        put_hash(out, p, utf8);
        buf_put_str(out, " AS h, ");
        if (p->nkeys)
                put_array(out, p->keys, p->nkeys);
        else
                buf_put_str(out, "NULL::text");
        buf_put_str(out, " AS id, t.xmin::text AS version");
        put_from(out, p, r);
        buf_put_str(out, " OFFSET 0) s OFFSET 0) s");
}

void vsql_sums(struct buf *out, const struct vplan *p, region_id r, bool utf8)
{
        unsigned mask = (1U << p->bits) - 1;
        buf_printf(out, "SELECT h1 & %u, count(*), concat_ws('/', count(*), coalesce(sum(h1), 0), coalesce(sum(h2), 0)) FROM ",
                   mask);
        put_hashed(out, p, r, utf8);
        buf_printf(out, " GROUP BY GROUPING SETS ((h1 & %u), ())", mask);
}

/* A row that the application wrote here, and not before init. A follower's rows are never its own. */
static const char own_sql[] =
        "CASE WHEN current_setting('track_commit_timestamp') <> 'on' OR age(version::xid) > age((SELECT base_xid::xid FROM pangea.meta)) "
        "THEN false ELSE coalesce((pg_xact_commit_timestamp_origin(version::xid)).roident = 0, false) END";

void vsql_rows(struct buf *out, const struct vplan *p, region_id r, bool utf8, const uint32_t *buckets, size_t n)
{
        const char *own = p->apart >> r.i & 1 ? own_sql : "false";
        if (p->nkeys)
                buf_printf(out, "SELECT id, h, version, %s FROM ", own);
        else
                buf_printf(out, "SELECT h, count(*), '', bool_and(%s) FROM ", own);
        put_hashed(out, p, r, utf8);
        buf_printf(out, " WHERE h1 & %u IN (", (1U << p->bits) - 1);
        for (size_t i = 0; i < n; i++)
                buf_printf(out, i ? ",%u" : "%u", buckets[i]);
        buf_printf(out, ")%s LIMIT %d", p->nkeys ? "" : " GROUP BY h", VERIFY_ROWS + 1);
}

/* A long value as its length, hash and beginning: two that differ only far behind must not look the same. */
static void put_shown(struct buf *out, const char *column, bool utf8)
{
        struct buf name;
        buf_init(&name, 1024);
        pg_ident(&name, column);
        const char *c = buf_cstr(&name);
        buf_printf(out, ", CASE WHEN length(t.%s::text) > %d THEN '[' || length(t.%s::text) || ' characters, md5 ' || ", c,
                   VERIFY_SHOWN_CHARS, c);
        if (utf8)
                buf_printf(out, "md5(t.%s::text)", c);
        else
                buf_printf(out, "md5(convert_to(t.%s::text, 'UTF8'))", c);
        buf_printf(out, " || '] ' || left(t.%s::text, %d) ELSE t.%s::text END", c, VERIFY_SHOWN_CHARS, c);
        buf_release(&name);
}

void vsql_values(struct buf *out, const struct vplan *p, region_id r, bool utf8, const char *const *ids, size_t n)
{
        buf_put_str(out, "SELECT ");
        if (p->nkeys)
                put_array(out, p->keys, p->nkeys);
        else
                put_hash(out, p, utf8);
        for (size_t i = 0; i < p->ncols; i++)
                put_shown(out, p->cols[i], utf8);
        put_from(out, p, r);
        buf_put_str(out, p->where ? " AND " : " WHERE ");
        if (p->nkeys)
                put_array(out, p->keys, p->nkeys);
        else
                put_hash(out, p, utf8);
        buf_put_str(out, " IN (");
        for (size_t i = 0; i < n; i++) {
                if (i)
                        buf_put_str(out, ", ");
                pg_literal(out, ids[i]);
        }
        buf_put_str(out, ")");
}
