#include "daemon/verify.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "daemon/command.h"

/* $1: the publication. The key is chosen as capture chooses it (DESIGN 4.3): primary key, replica identity, first usable unique index. */
static const char catalog_sql[] =
        "SELECT n.nspname, c.relname, c.relkind = 'p', greatest(c.reltuples, 0)::bigint, a.attname, "
        "  CASE WHEN array_position(k.cols, a.attnum) < k.n THEN array_position(k.cols, a.attnum) + 1 ELSE 0 END, "
        "  NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $1) OR EXISTS (SELECT FROM pg_publication p "
        "    JOIN pg_publication_rel pr ON pr.prpubid = p.oid WHERE p.pubname = $1 AND (pr.prrelid = c.oid OR (c.relkind = 'p' "
        "    AND pr.prrelid IN (SELECT relid FROM pg_partition_tree(c.oid))))), "
        "  (SELECT coalesce(sum(pg_relation_size(s.relid)), 0) FROM (SELECT c.oid AS relid WHERE c.relkind = 'r' "
        "    UNION ALL SELECT relid FROM pg_partition_tree(c.oid) WHERE c.relkind = 'p' AND isleaf) s) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' "
        "LEFT JOIN LATERAL (SELECT i.indkey::int2[] AS cols, i.indnkeyatts AS n FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid "
        "  WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL "
        "  AND NOT EXISTS (SELECT FROM pg_attribute ka WHERE ka.attrelid = c.oid AND NOT ka.attnotnull "
        "    AND ka.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) "
        "  ORDER BY i.indisprimary DESC, i.indisreplident DESC, ic.relname COLLATE \"C\" LIMIT 1) k ON true "
        "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' "
        "  AND n.nspname NOT IN ('pangea', 'information_schema') AND n.nspname !~ '^pg_' "
        "ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\", a.attname COLLATE \"C\"";

/* How long ago each agent said something; no rows before `pangea init`. */
static const char session_sql[] = "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; "
                                  "SELECT current_setting('server_encoding') = 'UTF8', to_regclass('pangea.status') IS NOT NULL";
static const char alive_sql[] =
        "SELECT s.agent, greatest(0, extract(epoch FROM clock_timestamp() - s.at) * 1000)::bigint, "
        "  EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name LIKE 'pangea ' || s.agent || '%') "
        "FROM pangea.status s";

/* A frozen daemon keeps its sessions, a killed one loses them at once; one that starts again has none for a moment. */
#define ALIVE_MS 5000
#define SESSIONLESS_US INT64_C(2000000)

/* It may be initialised by now. */
static enum status look_again(struct vregion *r, struct err *e)
{
        struct pgres *res = NULL;
        enum status s = pg_exec(r->pg, "SELECT to_regclass('pangea.status') IS NOT NULL", &res, e);
        r->initialised = s == ST_OK && pgres_text(res, 0, 0)[0] == 't';
        pgres_free(res);
        return s;
}

enum status verify_daemons(struct vregion *r, struct err *e)
{
        struct pgres *res = NULL;
        int64_t now_us = clock_mono_us();
        r->capture_age_ms = r->apply_age_ms = -1;
        enum status s = r->initialised ? ST_OK : look_again(r, e);
        if (s == ST_OK && !r->initialised)
                return ST_OK;
        if (s == ST_OK)
                s = pg_exec(r->pg, alive_sql, &res, e);
        for (int i = 0; s == ST_OK && i < pgres_rows(res); i++) {
                bool capture = strcmp(pgres_text(res, i, 0), "capture") == 0;
                *(capture ? &r->capture_age_ms : &r->apply_age_ms) = pgres_i64(res, i, 1);
                if (pgres_text(res, i, 2)[0] == 't')
                        *(capture ? &r->capture_seen_us : &r->apply_seen_us) = now_us;
        }
        r->capture_alive = r->capture_age_ms >= 0 && r->capture_age_ms < ALIVE_MS && now_us - r->capture_seen_us < SESSIONLESS_US;
        r->apply_alive = r->apply_age_ms >= 0 && r->apply_age_ms < ALIVE_MS && now_us - r->apply_seen_us < SESSIONLESS_US;
        pgres_free(res);
        return s == ST_OK ? s : err_wrap(e, "region %s", r->region->name);
}

enum status verify_open(struct vregion *r, const struct region *region, struct err *e)
{
        struct pgres *res = NULL;
        *r = (struct vregion){.region = region, .capture_seen_us = clock_mono_us(), .apply_seen_us = clock_mono_us()};
        arena_init(&r->arena);
        enum status s = region_connect(region, "verify", &r->pg, e);
        if (s == ST_OK)
                s = pg_exec(r->pg, session_sql, &res, e);
        if (s == ST_OK) {
                r->utf8 = strcmp(pgres_text(res, 0, 0), "t") == 0;
                r->initialised = strcmp(pgres_text(res, 0, 1), "t") == 0;
        }
        pgres_free(res);
        return s == ST_OK ? verify_daemons(r, e) : err_wrap(e, "region %s", region->name);
}

void verify_close(struct vregion *r)
{
        pg_close(r->pg);
        r->pg = NULL;
        arena_release(&r->arena);
}

static bool same_table(const struct vtable *t, const struct pgres *res, int row)
{
        return strcmp(t->schema, pgres_text(res, row, 0)) == 0 && strcmp(t->name, pgres_text(res, row, 1)) == 0;
}

enum status verify_catalog(struct vregion *r, const struct topology *t, struct arena *a, struct vcatalog *out, struct err *e)
{
        char publication[128];
        struct pgres *res = NULL;
        struct pg_param param = PG_TEXT(topology_publication(t, r->region->id, publication, sizeof publication));
        *out = (struct vcatalog){0};
        if (pg_query(r->pg, catalog_sql, 1, &param, false, &res, e) != ST_OK)
                return err_wrap(e, "region %s", r->region->name);
        int rows = pgres_rows(res);
        struct vcolumn *cols = ARENA_ARRAY(a, struct vcolumn, rows);
        out->tables = ARENA_ARRAY(a, struct vtable, rows);
        for (int i = 0; i < rows; i++) {
                struct vtable *v = out->n ? &out->tables[out->n - 1] : NULL;
                if (!v || !same_table(v, res, i)) {
                        v = &out->tables[out->n++];
                        v->schema = arena_strdup(a, pgres_text(res, i, 0));
                        v->name = arena_strdup(a, pgres_text(res, i, 1));
                        v->partitioned = strcmp(pgres_text(res, i, 2), "t") == 0;
                        v->estimate = pgres_i64(res, i, 3);
                        v->published = strcmp(pgres_text(res, i, 6), "t") == 0;
                        v->bytes = pgres_i64(res, i, 7);
                        v->cols = &cols[i];
                }
                v->cols[v->ncols++] = (struct vcolumn){arena_strdup(a, pgres_text(res, i, 4)), (int)pgres_i64(res, i, 5)};
        }
        pgres_free(res);
        return ST_OK;
}

/* ---- what a region's thread does ---------------------------------------------------------------------------------------------------- */
static enum status read_sums(struct vregion *r, const struct vplan *p, struct vsums *out)
{
        struct buf sql;
        struct pgres *res = NULL;
        buf_init(&sql, 0);
        vsql_sums(&sql, p, r->region->id, r->utf8);
        enum status s = pg_exec(r->pg, buf_cstr(&sql), &res, &r->err);
        out->buckets = ARENA_ARRAY(&r->arena, const char *, UINT32_C(1) << p->bits);
        for (int i = 0; s == ST_OK && i < pgres_rows(res); i++) {
                const char *sums = arena_strdup(&r->arena, pgres_text(res, i, 2));
                if (!pgres_null(res, i, 0)) {
                        out->buckets[pgres_i64(res, i, 0)] = sums;
                } else {
                        out->total = sums;
                        out->rows = arena_strdup(&r->arena, pgres_text(res, i, 1));
                }
        }
        pgres_free(res);
        buf_release(&sql);
        return s;
}

static enum status read_rows(struct vregion *r, const struct vplan *p, const uint32_t *buckets, size_t n, struct ventries *out,
                             bool *truncated)
{
        struct buf sql;
        struct pgres *res = NULL;
        buf_init(&sql, 0);
        vsql_rows(&sql, p, r->region->id, r->utf8, buckets, n);
        enum status s = pg_exec(r->pg, buf_cstr(&sql), &res, &r->err);
        buf_release(&sql);
        if (s != ST_OK)
                return s;
        out->n = (size_t)pgres_rows(res);
        *truncated = out->n > VERIFY_ROWS;
        out->e = ARENA_ARRAY(&r->arena, struct ventry, out->n);
        for (size_t i = 0; i < out->n; i++) {
                out->e[i].id = arena_strdup(&r->arena, pgres_text(res, (int)i, 0));
                out->e[i].value = arena_strdup(&r->arena, pgres_text(res, (int)i, 1));
                out->e[i].version = arena_strdup(&r->arena, pgres_text(res, (int)i, 2));
                out->e[i].own = pgres_text(res, (int)i, 3)[0] == 't';
        }
        pgres_free(res);
        return ST_OK;
}

static void *region_thread(void *arg)
{
        struct vregion *r = arg;
        r->code = ST_OK;
        if (!r->buckets)
                r->code = pg_exec(r->pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, &r->err);
        for (size_t i = 0; i < r->nplan && r->code == ST_OK; i++) {
                const struct vplan *p = &r->plan[i];
                if (!r->todo[i] || !(p->present >> r->region->id.i & 1))
                        continue;
                if (r->buckets && !r->nbuckets[i])
                        continue;
                if (!r->buckets)
                        r->code = read_sums(r, p, &r->sums[i]);
                else
                        r->code = read_rows(r, p, r->buckets[i], r->nbuckets[i], &r->entries[i], &r->truncated[i]);
                progress_step(r->progress);
                if (r->code != ST_OK)
                        err_wrap(&r->err, "region %s: %s.%s", r->region->name, p->schema, p->name);
        }
        return NULL;
}

static enum status run_threads(struct vregion *regions, size_t n, struct err *e)
{
        pthread_t threads[MAX_REGIONS];
        bool started[MAX_REGIONS] = {0};
        enum status s = ST_OK;
        for (size_t r = 0; r < n; r++) {
                started[r] = pthread_create(&threads[r], NULL, region_thread, &regions[r]) == 0;
                if (!started[r])
                        region_thread(&regions[r]); /* no thread to be had: one after the other then */
        }
        for (size_t r = 0; r < n; r++) {
                if (started[r])
                        pthread_join(threads[r], NULL);
                if (regions[r].code != ST_OK && s == ST_OK) {
                        *e = regions[r].err;
                        s = regions[r].code;
                }
        }
        return s;
}

enum status verify_read_sums(struct vregion *regions, size_t n, struct err *e)
{
        for (size_t r = 0; r < n; r++) {
                struct vregion *v = &regions[r];
                arena_reset(&v->arena);
                v->sums = ARENA_ARRAY(&v->arena, struct vsums, v->nplan);
                v->entries = ARENA_ARRAY(&v->arena, struct ventries, v->nplan);
                v->truncated = ARENA_ARRAY(&v->arena, bool, v->nplan);
                v->buckets = NULL;
        }
        return run_threads(regions, n, e);
}

enum status verify_read_rows(struct vregion *regions, size_t n, struct err *e)
{
        return run_threads(regions, n, e);
}

enum status verify_read_end(struct vregion *regions, size_t n, struct err *e)
{
        for (size_t r = 0; r < n; r++)
                if (pg_exec(regions[r].pg, "COMMIT", NULL, e) != ST_OK)
                        return err_wrap(e, "region %s", regions[r].region->name);
        return ST_OK;
}

/* ---- the rows that are shown -------------------------------------------------------------------------------------------------------- */
static json_t *text_or_null(const struct pgres *res, int row, int col)
{
        return pgres_null(res, row, col) ? json_null() : verify_text(pgres_text(res, row, col));
}

static void put_row(const struct vplan *p, const struct pgres *res, int row, const char *region, json_t *difference)
{
        json_t *rows = json_object_get(difference, "rows"), *here = json_object_get(rows, region), *one = json_object(), *key;
        for (size_t c = 0; c < p->ncols; c++)
                json_object_set_new(one, p->cols[c], text_or_null(res, row, (int)c + 1));
        key = json_object_get(difference, "key");
        for (size_t k = 0; k < p->nkeys; k++)
                json_object_set(key, p->keys[k], json_object_get(one, p->keys[k]));
        if (json_is_object(here)) /* without a key the same row may be there several times */
                json_object_set_new(here, "(times)", json_integer(1 + json_integer_value(json_object_get(here, "(times)"))));
        else
                json_object_set(rows, region, one);
        json_decref(one);
}

static enum status region_values(struct vregion *r, const struct vplan *p, const char *const *ids, size_t nids, json_t *out,
                                 struct err *e)
{
        struct buf sql;
        struct pgres *res = NULL;
        buf_init(&sql, 0);
        vsql_values(&sql, p, r->region->id, r->utf8, ids, nids);
        enum status s = pg_exec(r->pg, buf_cstr(&sql), &res, e);
        buf_release(&sql);
        for (int i = 0; s == ST_OK && i < pgres_rows(res); i++)
                for (size_t k = 0; k < nids; k++)
                        if (strcmp(ids[k], pgres_text(res, i, 0)) == 0)
                                put_row(p, res, i, r->region->name, json_array_get(out, k));
        pgres_free(res);
        return s == ST_OK ? s : err_wrap(e, "region %s: %s.%s", r->region->name, p->schema, p->name);
}

enum status verify_read_values(struct vregion *regions, size_t n, const struct vplan *p, const char *const *ids, size_t nids,
                               json_t **out, struct err *e)
{
        enum status s = ST_OK;
        *out = json_array();
        for (size_t k = 0; k < nids; k++) {
                json_t *rows = json_object();
                for (size_t r = 0; r < n; r++)
                        if (p->present >> r & 1)
                                json_object_set_new(rows, regions[r].region->name, json_null());
                json_array_append_new(*out, json_pack("{s:o, s:o}", "key", p->nkeys ? json_object() : json_null(), "rows", rows));
        }
        for (size_t r = 0; r < n && s == ST_OK; r++)
                if (p->present >> r & 1)
                        s = region_values(&regions[r], p, ids, nids, *out, e);
        return s;
}
