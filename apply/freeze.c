#include "apply/freeze.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/applier.h"
#include "base/clock.h"
#include "base/log.h"

/* A region that is merely some seconds behind under load is no reason to warn, however small vacuum_freeze_min_age is. */
#define BEHIND_UNDER_LOAD 10000

/* A table may ask for less than the server's setting; autovacuum never waits for more than half of autovacuum_freeze_max_age. */
static const char look_sql[] =
        "SELECT pg_catalog.pg_snapshot_xmin(s.now), pg_catalog.pg_snapshot_xmax(s.now),"
        " (SELECT max(greatest(age(xmin), age(catalog_xmin))) FROM pg_catalog.pg_replication_slots),"
        " (SELECT datfrozenxid FROM pg_catalog.pg_database ORDER BY age(datfrozenxid) DESC LIMIT 1),"
        " least(current_setting('vacuum_freeze_min_age')::int8, current_setting('autovacuum_freeze_max_age')::int8 / 2,"
        "  (SELECT min(o.option_value::int8) FROM pg_catalog.pg_class c, pg_catalog.pg_options_to_table(c.reloptions) o"
        "   WHERE o.option_name = 'autovacuum_freeze_min_age')),"
        " pg_catalog.has_function_privilege('pg_catalog.pg_control_checkpoint()', 'EXECUTE')"
        " FROM (SELECT pg_catalog.pg_current_snapshot() AS now) s";
/* Everybody may by default; without it datfrozenxid says nearly the same, but not that track_commit_timestamp was off for a while. */
static const char control_sql[] = "SELECT oldest_commit_ts_xid FROM pg_catalog.pg_control_checkpoint()";

static const char *const names[] = {[FREEZE_SAFE] = "safe", [FREEZE_NEAR] = "near", [FREEZE_GONE] = "gone"};

const char *freeze_name(enum freeze_state s)
{
        return names[s];
}

uint64_t freeze_exposed(const struct freeze_facts *f)
{
        return f->reach > f->stable ? f->reach - f->stable : 0;
}

uint64_t freeze_left(const struct freeze_facts *f)
{
        uint64_t exposed = freeze_exposed(f);
        return exposed < f->min_age ? f->min_age - exposed : 0;
}

enum freeze_state freeze_judge(const struct freeze_facts *f)
{
        if (!f->held)
                return FREEZE_SAFE;
        if (f->horizon > f->stable)
                return FREEZE_GONE;
        return freeze_exposed(f) > f->min_age / 2 + BEHIND_UNDER_LOAD ? FREEZE_NEAR : FREEZE_SAFE;
}

static enum status read_facts(struct applier *a, struct freeze_facts *f, struct err *e)
{
        struct pgres *r = NULL;
        enum status s = pg_exec(a->side, look_sql, &r, e);
        if (s != ST_OK)
                return s;
        uint64_t next = strtoull(pgres_text(r, 0, 1), NULL, 10), slots = (uint64_t)pgres_i64(r, 0, 2);
        f->reach = strtoull(pgres_text(r, 0, 0), NULL, 10);
        if (next - slots < f->reach)
                f->reach = next - slots;
        f->horizon = fullxid_near((fullxid_t){next}, (uint32_t)pgres_i64(r, 0, 3)).v;
        f->min_age = (uint64_t)pgres_i64(r, 0, 4);
        bool may = pgres_text(r, 0, 5)[0] == 't';
        pgres_free(r);
        r = NULL;
        if (may)
                s = pg_exec(a->side, control_sql, &r, e);
        uint64_t erased = may && s == ST_OK ? fullxid_near((fullxid_t){next}, (uint32_t)pgres_i64(r, 0, 0)).v : 0;
        if (erased > f->horizon)
                f->horizon = erased;
        pgres_free(r);
        return s;
}

void freeze_look(struct applier *a)
{
        struct err e;
        struct freeze *z = &a->freeze;
        struct freeze_facts f = {.held = a->held != 0};
        if (read_facts(a, &f, &e) != ST_OK) {
                log_event(LOG_WARN, "apply.commit_timestamps", "why=cannot look at them: %s", e.msg);
                return;
        }
        stability_xmin(a, (fullxid_t){f.reach});
        f.stable = a->stable_xid.v;
        z->facts = f;
        enum freeze_state now = freeze_judge(&f);
        if (z->since_us && now == z->state)
                return;
        char why[600], todo[400];
        z->state = now;
        z->since_us = clock_wall_us();
        freeze_words(a, why, sizeof why, todo, sizeof todo);
        log_event(now == FREEZE_SAFE ? LOG_INFO : LOG_WARN, "apply.commit_timestamps",
                  "state=%s\tunstable_xid=%" PRIu64 "\twhy=%s\ttodo=%s", freeze_name(now), f.stable, why, todo);
}

static void join_names(const struct applier *a, uint32_t which, char *out, size_t size)
{
        size_t n = 0;
        out[0] = 0;
        for (unsigned i = 0; i < a->topo->names.n; i++)
                if (which >> i & 1 && n < size)
                        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", a->topo->names.name[i]);
}

void freeze_words(const struct applier *a, char *why, unsigned long why_size, char *todo, unsigned long todo_size)
{
        const struct freeze_facts *f = &a->freeze.facts;
        char who[200];
        const char *me = regset_name(&a->topo->names, a->me);
        why[0] = todo[0] = 0;
        if (a->freeze.state == FREEZE_SAFE)
                return;
        join_names(a, a->held, who, sizeof who);
        if (a->freeze.state == FREEZE_NEAR)
                snprintf(why, why_size,
                         "rows that the last %" PRIu64
                         " transactions here wrote may still meet a conflict, because %s has not shown that "
                         "it knows them; %" PRIu64
                         " transactions more, and VACUUM may erase the commit timestamps by which they are "
                         "judged (vacuum_freeze_min_age %" PRIu64 ")",
                         freeze_exposed(f), *who ? who : "nobody", freeze_left(f), f->min_age);
        else
                snprintf(
                        why, why_size,
                        "commit timestamps are erased up to xid %" PRIu64 ", while rows from xid %" PRIu64
                        " on may still meet a conflict, because %s has not shown that it knows them: such a conflict stops its origin "
                        "(timestamp_gone)",
                        f->horizon, f->stable, *who ? who : "nobody");
        if (a->held >> a->me.i & 1)
                snprintf(todo, todo_size, "run the capture agent of %s; until then no VACUUM FREEZE in any database of this server",
                         me);
        else
                snprintf(
                        todo, todo_size,
                        "let %s catch up (its daemon, its Kafka and the link to it must work); until then no VACUUM FREEZE in any database "
                        "of this server, and if it takes long a greater vacuum_freeze_min_age",
                        *who ? who : "the others");
}
