/* The table of checks, and how they are run. */
#include "daemon/doctor.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/errors.h"

const struct doctor_check doctor_checks[] = {
        /* the server */
        {.name = "connection",
         .line = "the database answers",
         .why = "neither agent can work without it",
         .severities = "error",
         .alone = check_connection},
        {.name = "prepared",
         .line = "the database is the one that init prepared for this region",
         .why = "a copy or another region's database would publish changes under a wrong name",
         .severities = "error, note",
         .needs = NEEDS_DATABASE,
         .alone = check_prepared},
        {.name = "standby",
         .line = "the connection leads to the primary",
         .why = "a standby accepts no writes: nothing can be applied",
         .severities = "error",
         .needs = NEEDS_DATABASE,
         .alone = check_standby},
        {.name = "wal_level",
         .line = "wal_level = logical (leaders)",
         .why = "without it the WAL does not hold what logical decoding needs: nothing can be captured",
         .severities = "error",
         .needs = NEEDS_DATABASE,
         .leaders_only = true,
         .alone = check_wal_level},
        {.name = "commit_timestamps",
         .line = "track_commit_timestamp = on",
         .why = "a row's commit timestamp and origin are its version: without them no conflict can be seen",
         .severities = "error",
         .needs = NEEDS_DATABASE,
         .alone = check_commit_timestamps},
        {.name = "slots_left",
         .line = "a replication slot is left for this region (leaders)",
         .why = "without a slot nothing can be captured",
         .severities = "error",
         .needs = NEEDS_DATABASE,
         .leaders_only = true,
         .alone = check_slots_left},
        {.name = "senders_left",
         .line = "a WAL sender is left for capture (leaders)",
         .why = "capture reads the slot through a WAL sender; `init` needs one more for a moment",
         .severities = "error, warning",
         .needs = NEEDS_DATABASE,
         .leaders_only = true,
         .alone = check_senders_left},
        {.name = "origins_left",
         .line = "replication origins are left, one for each region",
         .why = "apply keeps its progress in them: without one a region's changes cannot be applied",
         .severities = "error, warning",
         .needs = NEEDS_DATABASE,
         .alone = check_origins_left},
        {.name = "slot_limit",
         .line = "max_slot_wal_keep_size (leaders)",
         .why = "while Kafka is away the slot keeps WAL: without a limit it can fill the disk, with a small one the slot is lost soon and the "
                "region must be set up anew",
         .severities = "warning, note",
         .needs = NEEDS_DATABASE,
         .leaders_only = true,
         .alone = check_slot_limit},
        {.name = "slot",
         .line = "the slot is there, whole and read (leaders)",
         .why = "what a lost slot had not decoded yet reaches no other region; a slot that nobody reads keeps WAL on the disk",
         .severities = "error, warning, note",
         .needs = NEEDS_SCHEMA,
         .leaders_only = true,
         .alone = check_slot},
        {.name = "freeze",
         .line = "freeze age against the oldest change that is not stable",
         .why = "VACUUM FREEZE erases commit timestamps: when that of a row goes on which a conflict is still possible, its origin stops",
         .severities = "error, warning",
         .needs = NEEDS_SCHEMA,
         .alone = check_freeze},
        {.name = "server_versions",
         .line = "PostgreSQL's versions",
         .why = "tested is 15; between major versions the texts of some types differ",
         .severities = "note",
         .together = check_server_versions},
        {.name = "daemon_versions",
         .line = "Pangea's versions",
         .why = "a log may hold records that an older version refuses",
         .severities = "warning",
         .together = check_daemon_versions},
        /* rights */
        {.name = "rights",
         .line = "the rights of the run-time role",
         .why = "the daemon is no superuser: what it may not do it cannot do",
         .severities = "error",
         .needs = NEEDS_DATABASE,
         .alone = check_rights},
        {.name = "replication_login",
         .line = "the run-time role gets a replication connection (leaders)",
         .why = "capture reads the slot through it; a pooler passes ordinary connections on only",
         .severities = "error",
         .needs = NEEDS_DATABASE,
         .leaders_only = true,
         .alone = check_replication_login},
        {.name = "row_security",
         .line = "row level security that holds for the run-time role",
         .why = "apply would not see all rows, so PostgreSQL refuses its statements: every change of the table stops its origin",
         .severities = "error",
         .needs = NEEDS_DATABASE,
         .alone = check_row_security},
        /* tables */
        {.name = "unlogged",
         .line = "unlogged tables",
         .why = "their changes are in no WAL, so they reach no other region; where they are applied a crash empties them",
         .severities = "error",
         .needs = NEEDS_DATABASE,
         .alone = check_unlogged},
        {.name = "identity",
         .line = "key, REPLICA IDENTITY and publication of every routed table, against its route",
         .why = "a change of a table without the right identity cannot be published whole; the table is left out",
         .severities = "error, warning, note",
         .needs = NEEDS_DATABASE,
         .alone = check_identity},
        {.name = "triggers",
         .line = "triggers and rules that fire on apply (ENABLE ALWAYS or REPLICA)",
         .why = "they ran in the region that wrote the row, and what they wrote arrives by itself: here it would be done twice, and stay here",
         .severities = "warning",
         .needs = NEEDS_DATABASE,
         .alone = check_triggers},
        {.name = "unique",
         .line = "further unique keys of tables that several leaders write",
         .why = "two regions can take one value at the same time: the row with the greater key then waits outside the table until the value is free "
                "(or, under a rule that adds contributions up, its origin stops)",
         .severities = "warning",
         .needs = NEEDS_DATABASE,
         .alone = check_unique},
        {.name = "foreign_keys",
         .line = "foreign keys that writes in two regions can break",
         .why = "they hold within a region; a parent deleted in one and a child inserted in another at once leave a child without a parent",
         .severities = "note",
         .needs = NEEDS_DATABASE,
         .alone = check_foreign_keys},
        {.name = "shapes",
         .line = "routed tables have the same columns in every region that applies them",
         .why = "a change whose table or columns are missing makes its origin wait",
         .severities = "error, warning",
         .needs = NEEDS_DATABASE,
         .alone = check_shapes,
         .together = check_shapes_equal},
        {.name = "sequences",
         .line = "sequences and identity columns of tables that several leaders write",
         .why = "two regions that give one number to two rows: one of the rows is lost to the other as a conflict",
         .severities = "error, warning",
         .needs = NEEDS_DATABASE,
         .leaders_only = true,
         .alone = check_sequences,
         .together = check_sequences_apart},
        /* clocks */
        {.name = "clocks",
         .line = "the servers' clocks",
         .why = "\"last write\" of two writes that did not know of each other is by clock; one that is clock.max_skew ahead is paused",
         .severities = "error, warning",
         .needs = NEEDS_DATABASE,
         .alone = check_clock,
         .together = check_clocks_together},
        /* Kafka */
        {.name = "topic",
         .line = "the logs' topics: there, one partition, nothing deleted or compacted by Kafka, replicas, min.insync.replicas, message size",
         .why = "a record that Kafka drops before every region has applied it is a change that is lost there",
         .severities = "error, warning, note",
         .alone = check_topic},
        {.name = "compression",
         .line = "records are compressed on their way and on disk: the settings of topology and topic, and what the youngest records really "
                 "take when they are read (not how the daemon sent them to a broker that packs them anew)",
         .why = "a log is text: without compression it takes several times the disk and the bandwidth between regions",
         .severities = "warning, note",
         .leaders_only = true,
         .alone = check_compression},
        {.name = "kafka_clusters",
         .line = "a mirror's two Kafka clusters are two",
         .why = "a mirror into the cluster it reads from would write into the log itself, and keeps nothing when that cluster is lost",
         .severities = "error",
         .together = check_clusters},
};
const size_t doctor_check_count = sizeof doctor_checks / sizeof *doctor_checks;

const struct doctor_check *doctor_check_find(const char *name)
{
        for (size_t i = 0; i < doctor_check_count; i++)
                if (strcmp(doctor_checks[i].name, name) == 0)
                        return &doctor_checks[i];
        return NULL;
}

const char *severity_name(enum severity s)
{
        static const char *const names[SEVERITY_COUNT] = {
                [SEVERITY_NOTE] = "note", [SEVERITY_WARNING] = "warning", [SEVERITY_ERROR] = "error"};
        return names[s];
}

/* ---- findings ------------------------------------------------------------------------------------------------------------------------ */
struct finding *find(struct patient *p, enum severity s, const char *object, const char *todo, const char *fmt, ...)
{
        struct finding *f = ARENA_NEW(&p->arena, struct finding);
        va_list ap;
        char text[2000];
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        *f = (struct finding){.check = p->check, .severity = s, .region = p->region};
        f->object = object ? arena_strdup(&p->arena, object) : NULL;
        f->what = arena_strdup(&p->arena, text);
        f->todo = arena_strdup(&p->arena, todo ? todo : "");
        if (p->last)
                p->last->next = f;
        else
                p->first = f;
        p->last = f;
        p->count[s]++;
        return f;
}

void find_error(struct patient *p, enum severity s, const char *object, const struct err *e)
{
        const struct error_row *row = error_find(e->name);
        const char *what = e->msg;
        char here[96];
        snprintf(here, sizeof here, "region %s: ", p->region ? p->region->name : "");
        if (strncmp(what, here, strlen(here)) == 0)
                what += strlen(here);
        find(p, s, object, row ? row->cure : "see the message", "%s", what);
}

bool ask(struct patient *p, const char *sql, int n, const struct pg_param *params, struct pgres **res)
{
        struct err e = {0};
        *res = NULL;
        if (pg_query(p->init.db, sql, n, params, false, res, &e) == ST_OK)
                return true;
        find(p, SEVERITY_ERROR, NULL, "see the message", "could not be looked at: %s", e.msg);
        return false;
}

const char *quoted(struct patient *p, const char *schema, const char *name)
{
        struct buf b;
        buf_init(&b, 4096);
        pg_qualified(&b, schema, name);
        const char *s = arena_strdup(&p->arena, buf_cstr(&b));
        buf_release(&b);
        return s;
}

/* ---- running them -------------------------------------------------------------------------------------------------------------------- */
static bool applies(const struct patient *p, const struct doctor_check *c)
{
        if (!c->alone || (c->leaders_only && p->region->role != ROLE_LEADER))
                return false;
        switch (c->needs) {
        case NEEDS_NOTHING: return true;
        case NEEDS_DATABASE: return p->reachable;
        case NEEDS_SCHEMA: return p->reachable && p->known && p->init.has_meta;
        }
        return false;
}

static void *look_at(void *arg)
{
        struct patient *p = arg;
        for (size_t i = 0; i < doctor_check_count; i++) {
                p->check = &doctor_checks[i];
                if (applies(p, p->check))
                        p->check->alone(p);
                if (p->reachable && pg_lost(p->init.db)) {
                        find(p, SEVERITY_ERROR, NULL, "run doctor again", "the connection was lost meanwhile");
                        p->reachable = false;
                }
        }
        return NULL;
}

static void look_at_all(struct doctor *d)
{
        pthread_t threads[MAX_REGIONS];
        bool started[MAX_REGIONS] = {0};
        for (size_t i = 0; i < d->t->nregions; i++) {
                if (!d->patients[i].region)
                        continue;
                started[i] = pthread_create(&threads[i], NULL, look_at, &d->patients[i]) == 0;
                if (!started[i])
                        look_at(&d->patients[i]);
        }
        for (size_t i = 0; i < d->t->nregions; i++)
                if (started[i])
                        pthread_join(threads[i], NULL);
}

void doctor_run(struct doctor *d, const struct topology *t, const struct region *only)
{
        *d = (struct doctor){.t = t, .only = only, .patients = mem_zalloc(sizeof *d->patients * t->nregions)};
        d->together.t = t;
        arena_init(&d->together.arena);
        for (size_t i = 0; i < t->nregions; i++) {
                struct patient *p = &d->patients[i];
                arena_init(&p->arena);
                arena_init(&p->init.arena);
                p->t = t;
                if (!only || only == &t->regions[i])
                        p->region = &t->regions[i];
        }
        look_at_all(d);
        for (size_t i = 0; i < doctor_check_count; i++) {
                d->together.check = &doctor_checks[i];
                if (doctor_checks[i].together)
                        doctor_checks[i].together(d);
        }
}

void doctor_free(struct doctor *d)
{
        for (size_t i = 0; i < d->t->nregions; i++) {
                init_close(&d->patients[i].init);
                arena_release(&d->patients[i].arena);
        }
        arena_release(&d->together.arena);
        free(d->patients);
}

/* ---- documentation ------------------------------------------------------------------------------------------------------------------- */
void doctor_markdown(struct buf *out)
{
        buf_put_str(
                out,
                "# What `pangea doctor` looks at\n\n<!-- printed from daemon/doctor.c; tests/unit/test_doctor.c holds them together (UPDATE=1 "
                "rewrites) -->\n\n"
                "An *error* does not work or loses changes, a *warning* works and will hurt, a *note* is good to know. Each finding says what was\n"
                "found, why it matters and what to type. `--json` has the names of the first column as `check`.\n\n"
                "| check | looks at | why it matters | can find |\n|---|---|---|---|\n");
        for (size_t i = 0; i < doctor_check_count; i++)
                buf_printf(out, "| `%s` | %s | %s | %s |\n", doctor_checks[i].name, doctor_checks[i].line, doctor_checks[i].why,
                           doctor_checks[i].severities);
}
