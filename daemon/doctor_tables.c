/* doctor: the routed tables of one region, each against its route. */
#include <stdio.h>
#include <string.h>

#include "daemon/doctor.h"

static const char *named(struct patient *p, const char *schema, const char *name)
{
        return arena_printf(&p->arena, "%s.%s", schema, name);
}

static uint32_t bit(region_id r)
{
        return UINT32_C(1) << r.i;
}

/* Does this region apply what another writes? */
static bool applied_here(const struct patient *p, const char *schema, const char *name)
{
        const struct route *r = topology_route(p->t, schema, name);
        uint32_t me = bit(p->region->id);
        return r && (r->to & me) && (route_writers(p->t, r) & ~me);
}

static bool written_here(const struct patient *p, const char *schema, const char *name)
{
        const struct route *r = topology_route(p->t, schema, name);
        return r && (route_writers(p->t, r) & bit(p->region->id));
}

/* ---- unlogged ------------------------------------------------------------------------------------------------------------------------ */
static const char sql_unlogged[] =
        "SELECT n.nspname, c.relname, rn.nspname, r.relname FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_class r ON r.oid = CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid) ELSE c.oid END"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace"
        " WHERE c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY 1, 2";

void check_unlogged(struct patient *p)
{
        struct pgres *res;
        for (int i = 0, n = ask(p, sql_unlogged, 0, NULL, &res) ? pgres_rows(res) : 0; i < n; i++) {
                const char *schema = pgres_text(res, i, 0), *name = pgres_text(res, i, 1);
                const char *root_schema = pgres_text(res, i, 2), *root = pgres_text(res, i, 3);
                if (!written_here(p, root_schema, root) && !applied_here(p, root_schema, root))
                        continue;
                find(p, SEVERITY_ERROR, named(p, schema, name),
                     arena_printf(&p->arena, "ALTER TABLE %s SET LOGGED", quoted(p, schema, name)), "the table is unlogged");
        }
        pgres_free(res);
}

static bool told(const struct patient *p, const char *check, const char *object)
{
        for (const struct finding *f = p->first; f; f = f->next)
                if (strcmp(f->check->name, check) == 0 && f->object && strcmp(f->object, object) == 0)
                        return true;
        return false;
}

/* ---- identity and publication -------------------------------------------------------------------------------------------------------- */
static const char *statements_of(struct patient *p, const struct table_plan *plan, bool *identity)
{
        const char *all = "";
        *identity = false;
        for (size_t i = 0; i < plan->nstatements; i++) {
                all = arena_printf(&p->arena, "%s%s%s", all, i ? ";\n" : "", plan->statements[i]);
                *identity |= strstr(plan->statements[i], " REPLICA IDENTITY ") != NULL;
        }
        return all;
}

static void judge_plan(struct patient *p, const struct table_plan *plan)
{
        const char *name = named(p, plan->schema, plan->name);
        bool identity;
        const char *statements = statements_of(p, plan, &identity);
        const char *init = arena_printf(&p->arena, "pangea init --region %s", p->region->name);
        switch (plan->state) {
        case TABLE_WAITS:
                if (!told(p, "unlogged", name))
                        find(p, SEVERITY_ERROR, name, plan->todo, "it is not replicated: %s", plan->why);
                break;
        case TABLE_TO_ADOPT:
                if (!p->init.has_meta && identity)
                        find(p, SEVERITY_NOTE, name, init, "`pangea init` will set another REPLICA IDENTITY%s",
                             plan->sets_full ? " (FULL: old rows are in the WAL whole)" : "");
                else if (p->init.has_meta && identity)
                        find(p, SEVERITY_ERROR, name, arena_printf(&p->arena, "%s   -- sets it: %s", init, statements),
                             "its REPLICA IDENTITY is not what its route needs");
                else if (p->init.has_meta)
                        find(p, SEVERITY_WARNING, name,
                             arena_printf(&p->arena, "%s   -- or wait: a running capture agent does it", init),
                             "it is not in the publication as its route says");
                break;
        case TABLE_PUBLISHED:
        case TABLE_NOT_SENT: break;
        }
}

void check_identity(struct patient *p)
{
        struct err e = {0};
        if (tables_plan(p->init.db, p->t, p->region->id, &p->arena, &p->plans, &p->nplans, &e) != ST_OK) {
                find_error(p, SEVERITY_ERROR, NULL, &e);
                p->nplans = 0;
        }
        for (size_t i = 0; i < p->nplans; i++)
                judge_plan(p, &p->plans[i]);
}

/* ---- what fires on apply -------------------------------------------------------------------------------------------------------------- */
/* A clone of a partitioned table's trigger goes with the original. */
static const char sql_triggers[] =
        "SELECT n.nspname, c.relname, rn.nspname, r.relname, x.what, x.name, x.enabled"
        " FROM (SELECT tgrelid, 'TRIGGER', tgname, tgenabled FROM pg_catalog.pg_trigger WHERE NOT tgisinternal AND tgparentid = 0"
        "  UNION ALL SELECT ev_class, 'RULE', rulename, ev_enabled FROM pg_catalog.pg_rewrite WHERE ev_type <> '1') x (rel, what, name, enabled)"
        " JOIN pg_catalog.pg_class c ON c.oid = x.rel"
        " JOIN pg_catalog.pg_class r ON r.oid = CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid) ELSE c.oid END"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace"
        " WHERE x.enabled IN ('A', 'R') ORDER BY 1, 2, 5, 6";

void check_triggers(struct patient *p)
{
        struct pgres *res;
        struct buf todo;
        buf_init(&todo, 4096);
        for (int i = 0, n = ask(p, sql_triggers, 0, NULL, &res) ? pgres_rows(res) : 0; i < n; i++) {
                const char *schema = pgres_text(res, i, 0), *name = pgres_text(res, i, 1), *what = pgres_text(res, i, 4);
                if (!applied_here(p, pgres_text(res, i, 2), pgres_text(res, i, 3)))
                        continue;
                buf_reset(&todo);
                buf_printf(&todo, "ALTER TABLE %s ENABLE %s ", quoted(p, schema, name), what);
                pg_ident(&todo, pgres_text(res, i, 5));
                buf_put_str(&todo, "   -- unless it must run here too and writes no replicated table");
                find(p, SEVERITY_WARNING, named(p, schema, name), buf_cstr(&todo),
                     "%s %s is ENABLE %s: it fires when changes are applied", strcmp(what, "RULE") ? "trigger" : "rule",
                     pgres_text(res, i, 5), pgres_text(res, i, 6)[0] == 'A' ? "ALWAYS" : "REPLICA");
        }
        pgres_free(res);
        buf_release(&todo);
}

/* ---- unique keys beside the key ------------------------------------------------------------------------------------------------------- */
/* The first is the key, in the order of capture/tables.sql; what cannot be one is at the end. */
static const char sql_unique[] =
        "SELECT n.nspname, c.relname, x.relname, x.indisexclusion FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " CROSS JOIN LATERAL (SELECT ic.relname, i.indisexclusion, row_number() OVER (ORDER BY i.indisprimary DESC, u.usable DESC,"
        "  i.indisreplident DESC, ic.relname COLLATE \"C\") AS place, u.usable"
        "  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid, LATERAL (SELECT i.indisunique AND i.indimmediate"
        "   AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS (SELECT FROM unnest((i.indkey::int2[])[0:i.indnkeyatts"
        "   - 1]) k JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k WHERE NOT a.attnotnull) AS usable) u"
        "  WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)) x"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_' AND (x.place > 1 OR NOT x.usable)"
        " ORDER BY 1, 2, 3";

void check_unique(struct patient *p)
{
        struct pgres *res;
        for (int i = 0, n = ask(p, sql_unique, 0, NULL, &res) ? pgres_rows(res) : 0; i < n; i++) {
                const char *schema = pgres_text(res, i, 0), *name = pgres_text(res, i, 1);
                const struct route *r = topology_route(p->t, schema, name);
                if (!r || !topology_multi_writer(p->t, schema, name) || !applied_here(p, schema, name))
                        continue;
                const char *one = "";
                for (size_t k = 0; k < p->t->nregions && !*one; k++)
                        if (route_writers(p->t, r) >> k & 1)
                                one = p->t->regions[k].name;
                find(p, SEVERITY_WARNING, named(p, schema, name),
                     arena_printf(
                             &p->arena,
                             "in %s: routes: [.., {tables: [%s.%s], from: [%s]}]   -- or keep it: pangea explain unique_conflict",
                             p->t->file, schema, name, one),
                     "%s %s can be violated by two regions at once",
                     pgres_text(res, i, 3)[0] == 't' ? "exclusion constraint" : "unique key", pgres_text(res, i, 2));
        }
        pgres_free(res);
}

static const char sql_foreign[] =
        "SELECT n.nspname, c.relname, fn.nspname, f.relname, k.conname,"
        " (SELECT string_agg(pg_catalog.format('p.%I = c.%I', fa.attname, ca.attname), ' AND ' ORDER BY u.o)"
        "  FROM unnest(k.conkey, k.confkey) WITH ORDINALITY u(c, f, o)"
        "  JOIN pg_catalog.pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = u.c"
        "  JOIN pg_catalog.pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = u.f),"
        " (SELECT string_agg(pg_catalog.format('c.%I IS NOT NULL', ca.attname), ' AND ' ORDER BY u.o)"
        "  FROM unnest(k.conkey) WITH ORDINALITY u(c, o) JOIN pg_catalog.pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = u.c)"
        " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_class f ON f.oid = k.confrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace"
        " WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 1, 2, 5";

void check_foreign_keys(struct patient *p)
{
        struct pgres *res;
        for (int i = 0, n = ask(p, sql_foreign, 0, NULL, &res) ? pgres_rows(res) : 0; i < n; i++) {
                const char *schema = pgres_text(res, i, 0), *name = pgres_text(res, i, 1);
                const char *to_schema = pgres_text(res, i, 2), *to = pgres_text(res, i, 3);
                const struct route *r = topology_route(p->t, schema, name), *f = topology_route(p->t, to_schema, to);
                /* one region writes both: what it accepts holds everywhere */
                if (!r || !f || !(applied_here(p, schema, name) || applied_here(p, to_schema, to)))
                        continue;
                uint32_t writers = route_writers(p->t, r) | route_writers(p->t, f);
                if ((writers & (writers - 1)) == 0)
                        continue;
                find(p, SEVERITY_NOTE, named(p, schema, name),
                     arena_printf(&p->arena,
                                  "SELECT * FROM %s c WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)   -- what is torn",
                                  quoted(p, schema, name), pgres_text(res, i, 6), quoted(p, to_schema, to), pgres_text(res, i, 5)),
                     "foreign key %s to %s.%s holds within a region only", pgres_text(res, i, 4), to_schema, to);
        }
        pgres_free(res);
}

/* ---- sequences ----------------------------------------------------------------------------------------------------------------------- */
void check_sequences(struct patient *p)
{
        struct err e = {0};
        p->sequences_known = sequences_read(p->init.db, p->t, p->region->id, &p->arena, &p->sequences, &p->nsequences, &e) == ST_OK;
        if (!p->sequences_known)
                find_error(p, SEVERITY_ERROR, NULL, &e);
}

static void judge_set(struct doctor *d, const struct sequence_set *s)
{
        struct arena *a = &d->together.arena;
        const char *wrong = sequence_set_wrong(s, a), *why = NULL, *statements[MAX_REGIONS], *todo;
        if (!wrong)
                return;
        if (sequence_set_plan(s, SEQUENCE_INTERLEAVE, a, statements, &why)) {
                todo = "pangea sequences --apply   -- or by hand, while nobody writes:";
                for (size_t i = 0; i < s->n; i++)
                        todo = arena_printf(a, "%s\n%s: %s;", todo, s->region[i]->name, statements[i]);
        } else {
                todo = why;
        }
        find(&d->together, SEVERITY_ERROR, arena_printf(a, "%s.%s", s->schema, s->name), todo, "%s (it numbers %s.%s.%s)", wrong,
             s->seq[0]->table_schema, s->seq[0]->table, s->seq[0]->column);
}

void check_sequences_apart(struct doctor *d)
{
        struct sequence *lists[MAX_REGIONS] = {0};
        size_t count[MAX_REGIONS] = {0};
        struct sequence_set *sets;
        for (size_t i = 0; i < d->t->nregions; i++)
                if (d->patients[i].sequences_known) {
                        lists[i] = d->patients[i].sequences;
                        count[i] = d->patients[i].nsequences;
                }
        size_t n = sequence_sets(d->t, lists, count, &d->together.arena, &sets);
        for (size_t i = 0; i < n; i++)
                judge_set(d, &sets[i]);
}
