#include "daemon/conflicts.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define LIMIT 100

static const char HISTORY_SQL[] = "SELECT " CONFLICT_ID " AS id, c.rel, " READABLE(
        "c.key") " AS key, c.region, c.hlc,"
                 " (extract(epoch FROM c.at) * 1000000)::int8 AS at_us, to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS at,"
                 " c.kind, c.rule, c.winner, " READABLE("c.image") " AS image, c.involved, c.xids, " READABLE(
                         "c.stands") " AS stands"
                                     " FROM pangea.conflict c WHERE ($1::text IS NULL OR c.rel LIKE $1) AND ($2::text IS NULL OR c.kind = $2)"
                                     " AND ($3::text IS NULL OR c.rule = $3) AND ($4::int8 IS NULL OR c.at >= now() - $4::int8 * interval '1 second')"
                                     " AND ($5::text IS NULL OR " CONFLICT_ID
                                     " LIKE $5 || '%') ORDER BY c.at DESC, c.rel, c.hlc LIMIT $6::int8";
static const char THERE_SQL[] = "SELECT to_regclass('pangea.conflict') IS NOT NULL AND to_regclass('pangea.sibling') IS NOT NULL";

/* ---- connections -------------------------------------------------------------------------------------------------------------------- */
static void *connect_one(void *arg)
{
        struct conflict_region *r = arg;
        struct pgres *res = NULL;
        enum status s = region_connect(r->region, "conflicts", &r->pg, &r->err);
        if (s == ST_OK)
                s = pg_exec(r->pg, THERE_SQL, &res, &r->err);
        if (s == ST_OK && pgres_text(res, 0, 0)[0] != 't')
                s = err_named(&r->err, ST_CONFIG, "not_initialized", "region %s: run `pangea init --region %s`", r->region->name,
                              r->region->name);
        pgres_free(res);
        if (s != ST_OK && r->pg) {
                pg_close(r->pg);
                r->pg = NULL;
        }
        return NULL;
}

/* A region that does not answer must not hold up the others: one thread each. */
size_t conflicts_connect(const struct topology *t, struct conflict_region *regions)
{
        pthread_t threads[MAX_REGIONS];
        bool started[MAX_REGIONS] = {0};
        size_t n = 0;
        for (size_t i = 0; i < t->nregions; i++) {
                regions[i] = (struct conflict_region){.region = &t->regions[i]};
                started[i] = pthread_create(&threads[i], NULL, connect_one, &regions[i]) == 0;
                if (!started[i])
                        connect_one(&regions[i]);
        }
        for (size_t i = 0; i < t->nregions; i++) {
                if (started[i])
                        pthread_join(threads[i], NULL);
                n += regions[i].pg != NULL;
        }
        return n;
}

void conflicts_close(const struct topology *t, struct conflict_region *regions)
{
        for (size_t i = 0; i < t->nregions; i++)
                pg_close(regions[i].pg);
}

/* ---- rows as JSON -------------------------------------------------------------------------------------------------------------------- */
/* "public.*" as LIKE sees it; a name without wildcards matches itself. */
static const char *like(struct arena *a, const char *pattern)
{
        if (!pattern)
                return NULL;
        char *out = arena_alloc(a, 2 * strlen(pattern) + 1), *to = out;
        for (; *pattern; pattern++) {
                if (*pattern == '%' || *pattern == '_' || *pattern == '\\')
                        *to++ = '\\';
                *to++ = *pattern == '*' ? '%' : *pattern;
        }
        return out;
}

static const char *number(struct arena *a, int64_t n)
{
        return n ? arena_printf(a, "%lld", (long long)n) : NULL;
}

/* All rows of a statement as one JSON array of objects. */
static json_t *ask(struct conflict_region *r, const char *sql, int n, const struct pg_param *p, struct err *e)
{
        struct buf all;
        struct pgres *res = NULL;
        json_t *rows = NULL;
        buf_init(&all, 0);
        buf_printf(&all, "SELECT coalesce(json_agg(to_json(x)), '[]'::json) FROM (%s) x", sql);
        if (pg_query(r->pg, buf_cstr(&all), n, p, false, &res, e) == ST_OK) {
                rows = json_loads(pgres_text(res, 0, 0), JSON_DECODE_ANY, NULL);
                if (!rows)
                        err_set(e, ST_DATA, "region %s: what its database answered is no JSON", r->region->name);
        }
        pgres_free(res);
        buf_release(&all);
        return rows;
}

static json_t *history_of(struct conflict_region *r, const struct conflict_filter *f, struct err *e)
{
        struct arena a;
        arena_init(&a);
        int64_t limit = f->limit ? f->limit : LIMIT;
        struct pg_param p[] = {PG_TEXT(like(&a, f->table)),     PG_TEXT(f->kind), PG_TEXT(f->rule),
                               PG_TEXT(number(&a, f->since_s)), PG_TEXT(f->id),   PG_TEXT(number(&a, limit))};
        json_t *rows = ask(r, HISTORY_SQL, 6, p, e);
        arena_release(&a);
        return rows;
}

static int newest_first(const void *a, const void *b)
{
        json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "at_us"));
        json_int_t y = json_integer_value(json_object_get(*(json_t *const *)b, "at_us"));
        return x < y   ? 1
               : x > y ? -1
                       : strcmp(json_string_value(json_object_get(*(json_t *const *)a, "id")),
                                json_string_value(json_object_get(*(json_t *const *)b, "id")));
}

static void join(json_t *by_id, const json_t *rows, const char *region)
{
        size_t i;
        json_t *row;
        json_array_foreach(rows, i, row)
        {
                const char *id = json_string_value(json_object_get(row, "id"));
                json_t *known = json_object_get(by_id, id);
                if (!known) {
                        json_object_set_new(row, "recorded_in", json_array());
                        json_object_set_new(row, "lost",
                                            json_pack("{s:O, s:O}", "region", json_object_get(row, "region"), "hlc",
                                                      json_object_get(row, "hlc")));
                        json_object_set(row, "table", json_object_get(row, "rel"));
                        json_object_set(by_id, id, row);
                        known = row;
                }
                json_array_append_new(json_object_get(known, "recorded_in"), json_string(region));
        }
}

static json_t *sorted(json_t *by_id, int64_t limit)
{
        static const char *const inner[] = {"at_us", "region", "hlc", "rel"};
        size_t n = json_object_size(by_id), i = 0;
        json_t **list = mem_alloc(sizeof *list * (n + 1)), *out = json_array(), *row;
        const char *id;
        json_object_foreach(by_id, id, row) list[i++] = row;
        qsort(list, n, sizeof(json_t *), newest_first);
        for (i = 0; i < n && (int64_t)i < limit; i++) {
                for (size_t k = 0; k < sizeof inner / sizeof *inner; k++)
                        json_object_del(list[i], inner[k]);
                json_array_append(out, list[i]);
        }
        free(list);
        return out;
}

json_t *conflicts_history(const struct topology *t, struct conflict_region *regions, const struct conflict_filter *f, struct err *e)
{
        json_t *by_id = json_object(), *out = NULL;
        bool ok = true;
        for (size_t i = 0; i < t->nregions && ok; i++) {
                if (!regions[i].pg)
                        continue;
                json_t *rows = history_of(&regions[i], f, e);
                ok = rows != NULL;
                join(by_id, rows, regions[i].region->name);
                json_decref(rows);
        }
        if (ok)
                out = sorted(by_id, f->limit ? f->limit : LIMIT);
        json_decref(by_id);
        return out;
}

/* ---- what is not settled -------------------------------------------------------------------------------------------------------------- */
/* The key as people read it stands in the history: every set has losers there. */
static const char SIBLINGS_SQL[] =
        "SELECT s.rel AS \"table\", s.rule, to_char(min(s.at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since,"
        " (SELECT c.key FROM pangea.sibling x JOIN pangea.conflict c ON c.rel = x.rel AND c.region = x.region AND c.hlc = x.hlc"
        " AND x.image @> c.key WHERE x.rel = s.rel AND x.key = s.key LIMIT 1) AS key,"
        " json_agg(json_build_object('region', s.region, 'hlc', s.hlc, 'image', s.image) ORDER BY s.hlc, s.region COLLATE \"C\") AS versions"
        " FROM pangea.sibling s WHERE ($1::text IS NULL OR s.rel LIKE $1) AND ($2::text IS NULL OR s.rule = $2)"
        " GROUP BY s.rel, s.key, s.rule HAVING count(*) > 1 ORDER BY min(s.at) LIMIT $3::int8";
static const char SUPPRESSED_SQL[] =
        "SELECT s.rel AS \"table\", to_char(s.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since, s.region, s.hlc, s.image,"
        " s.held_by, s.constraint_name AS \"constraint\" FROM pangea.suppressed s WHERE $1::text IS NULL OR s.rel LIKE $1"
        " ORDER BY s.at LIMIT $2::int8";

/* Each region has its own view; the one that answers first in the order of the names is shown, and who says the same is named with it. */
static void join_open(json_t *all, json_t *rows, const char *region)
{
        size_t i, k;
        json_t *row, *known;
        json_array_foreach(rows, i, row)
        {
                bool found = false;
                json_array_foreach(all, k, known)
                {
                        json_t *seen = json_incref(json_object_get(known, "seen_in")),
                               *since = json_incref(json_object_get(known, "since"));
                        json_object_del(known, "seen_in");
                        json_object_set(known, "since", json_object_get(row, "since"));
                        found = json_equal(known, row);
                        json_object_set_new(known, "since", since);
                        json_object_set_new(known, "seen_in", seen);
                        if (found) {
                                json_array_append_new(seen, json_string(region));
                                break;
                        }
                }
                if (!found) {
                        json_object_set_new(row, "seen_in", json_pack("[s]", region));
                        json_array_append(all, row);
                }
        }
}

json_t *conflicts_open(const struct topology *t, struct conflict_region *regions, const struct conflict_filter *f, struct err *e)
{
        json_t *siblings = json_array(), *suppressed = json_array();
        struct arena a;
        bool ok = true;
        arena_init(&a);
        struct pg_param p[] = {PG_TEXT(like(&a, f->table)), PG_TEXT(f->rule), PG_TEXT(number(&a, f->limit ? f->limit : LIMIT))};
        struct pg_param q[] = {p[0], p[2]};
        for (size_t i = 0; i < t->nregions && ok; i++) {
                if (!regions[i].pg)
                        continue;
                json_t *s = ask(&regions[i], SIBLINGS_SQL, 3, p, e), *h = s ? ask(&regions[i], SUPPRESSED_SQL, 2, q, e) : NULL;
                ok = s && h;
                join_open(siblings, s, regions[i].region->name);
                join_open(suppressed, h, regions[i].region->name);
                json_decref(s);
                json_decref(h);
        }
        arena_release(&a);
        json_t *out = ok ? json_pack("{s:O, s:O}", "siblings", siblings, "suppressed", suppressed) : NULL;
        json_decref(siblings);
        json_decref(suppressed);
        return out;
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------------------- */
static const char NUMBERS_SQL[] =
        "SELECT c.rel AS \"table\", c.kind, c.rule, count(*) AS n,"
        " to_char(max(c.at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS newest"
        " FROM pangea.conflict c WHERE ($1::text IS NULL OR c.rel LIKE $1) AND ($2::text IS NULL OR c.kind = $2)"
        " AND ($3::text IS NULL OR c.rule = $3) AND ($4::int8 IS NULL OR c.at >= now() - $4::int8 * interval '1 second')"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";

static void join_numbers(json_t *all, const json_t *rows, const char *region)
{
        size_t i, k;
        json_t *row, *known;
        json_array_foreach(rows, i, row)
        {
                json_t *into = NULL;
                json_array_foreach(all, k, known)
                {
                        bool same = json_equal(json_object_get(known, "table"), json_object_get(row, "table")) &&
                                    json_equal(json_object_get(known, "kind"), json_object_get(row, "kind")) &&
                                    json_equal(json_object_get(known, "rule"), json_object_get(row, "rule"));
                        if (same)
                                into = known;
                }
                if (!into) {
                        into = json_pack("{s:O, s:O, s:O, s:{}, s:O}", "table", json_object_get(row, "table"), "kind",
                                         json_object_get(row, "kind"), "rule", json_object_get(row, "rule"), "count", "newest",
                                         json_object_get(row, "newest"));
                        json_array_append_new(all, into);
                }
                json_object_set(json_object_get(into, "count"), region, json_object_get(row, "n"));
                if (strcmp(json_string_value(json_object_get(into, "newest")), json_string_value(json_object_get(row, "newest"))) <
                    0)
                        json_object_set(into, "newest", json_object_get(row, "newest"));
        }
}

json_t *conflicts_numbers(const struct topology *t, struct conflict_region *regions, const struct conflict_filter *f, struct err *e)
{
        json_t *all = json_array();
        struct arena a;
        arena_init(&a);
        struct pg_param p[] = {PG_TEXT(like(&a, f->table)), PG_TEXT(f->kind), PG_TEXT(f->rule), PG_TEXT(number(&a, f->since_s))};
        for (size_t i = 0; i < t->nregions && all; i++) {
                if (!regions[i].pg)
                        continue;
                json_t *rows = ask(&regions[i], NUMBERS_SQL, 4, p, e);
                join_numbers(all, rows, regions[i].region->name);
                if (!rows) {
                        json_decref(all);
                        all = NULL;
                }
                json_decref(rows);
        }
        arena_release(&a);
        return all;
}
