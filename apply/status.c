/* status: the apply agent's state as one JSON value in pangea.status (shape: docs/status.md). */
#include "apply/applier.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apply/hidden.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"

#define PROOF_US 5000000 /* running is said on a heartbeat this young */
#define FEW_RECORDS 1000 /* more of them behind is catching up */

static json_t *iso(int64_t us)
{
        char text[40];
        struct tm tm;
        time_t t = (time_t)(us / 1000000);
        gmtime_r(&t, &tm);
        size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(text + n, sizeof text - n, ".%03dZ", (int)(us / 1000 % 1000));
        return json_string(text);
}

static json_t *vector_json(const struct vector *v, const struct regset *s)
{
        json_t *o = json_object();
        for (unsigned i = 0; i < s->n; i++)
                json_object_set_new(o, s->name[i], json_integer((json_int_t)v->at[i].v));
        return o;
}

static json_t *regions_json(const struct regset *s, uint32_t which)
{
        json_t *list = json_array();
        for (unsigned i = 0; i < s->n; i++)
                if (which >> i & 1)
                        json_array_append_new(list, json_string(s->name[i]));
        return list;
}

static json_t *lsn_json(lsn_t lsn)
{
        char text[LSN_STRLEN];
        return json_string(lsn_str(text, lsn));
}

static json_t *text_or_null(const char *s)
{
        return s && *s ? json_string(s) : json_null();
}

static void put_why(json_t *o, const struct err *why)
{
        bool any = why && why->msg[0];
        /* messages end with what to do next, behind the last "; " */
        const char *todo = any ? strrchr(why->msg, ';') : NULL;
        json_object_set_new(o, "why", any ? json_string(why->msg) : json_null());
        json_object_set_new(o, "todo", todo ? json_string(todo + 1 + strspn(todo + 1, " ")) : json_null());
        json_object_set_new(o, "error", text_or_null(why ? why->name : NULL));
}

struct origin_look origin_look(const struct origin *o)
{
        struct origin_look l = {.state = o->state, .end = {-1}, .read = {-1}, .behind_bytes = -1};
        if (o->log) {
                l.end = inlog_end_offset(o->log);
                l.read = inlog_read_offset(o->log);
                l.behind = inlog_behind(o->log, l.end);
                l.behind_bytes = inlog_behind_bytes(o->log, l.end);
        }
        if (l.behind < 0) /* not known: where the log ends, or how far it is read */
                l.behind = 0;
        if (l.state == STATE_RUNNING && (!o->heartbeat_us || clock_mono_us() - o->moved_at > PROOF_US))
                l.state = STATE_WAITING;
        else if (l.state == STATE_RUNNING && l.behind > FEW_RECORDS)
                l.state = STATE_CATCHING_UP;
        return l;
}

static json_t *origin_json(struct applier *a, struct origin *o)
{
        int64_t wall = clock_wall_us();
        struct origin_look l = origin_look(o);
        json_t *j = json_object();
        json_object_set_new(j, "origin", json_string(regset_name(&a->regs, o->id)));
        json_object_set_new(j, "state", json_string(state_name(l.state)));
        json_object_set_new(j, "since", iso(o->since_us));
        put_why(j, &o->why);
        if (l.state == STATE_WAITING && !o->why.msg[0])
                json_object_set_new(
                        j, "why",
                        o->tries ? json_sprintf("its next group was tried %u times and rolled back each time; a lock that "
                                                "an application holds, most likely",
                                                o->tries)
                                 : json_string("no heartbeat of this region came within the last 5 seconds"));
        json_object_set_new(j, "waits_for", text_or_null(o->waits_for));
        json_object_set_new(j, "hlc", json_integer((json_int_t)a->applied.at[o->id.i].v));
        json_object_set_new(j, "lsn", lsn_json(o->applied_lsn));
        json_object_set_new(j, "offset", json_integer(o->applied_offset.v));
        json_object_set_new(j, "read_offset", json_integer(l.read.v));
        json_object_set_new(j, "log_end_offset", json_integer(l.end.v));
        json_object_set_new(j, "lag_seconds", o->heartbeat_us ? json_real((double)(wall - o->heartbeat_us) / 1e6) : json_null());
        json_object_set_new(j, "lag_records", json_integer(l.behind));
        json_object_set_new(j, "lag_bytes", l.behind_bytes >= 0 ? json_integer(l.behind_bytes) : json_null());
        json_object_set_new(j, "heartbeat_us", json_integer(o->heartbeat_us));
        json_object_set_new(j, "epoch", json_integer((json_int_t)(o->log ? inlog_epoch(o->log) : 0)));
        json_object_set_new(j, "incarnation", json_integer(1));
        json_object_set_new(j, "transactions", json_integer((json_int_t)o->txs));
        json_object_set_new(j, "rows", json_integer((json_int_t)o->rows));
        json_object_set_new(j, "groups", json_integer((json_int_t)o->groups));
        json_object_set_new(j, "conflicts", json_integer((json_int_t)o->conflicts));
        json_object_set_new(j, "retries", json_integer((json_int_t)o->retries));
        return j;
}

/* What the mirrors of this region do. */
static json_t *mirrors_json(struct applier *a)
{
        json_t *list = json_array();
        struct mirror_state s;
        for (size_t i = 0; a->mirrors && mirrors_look(a->mirrors, i, &s); i++) {
                json_t *j = json_object();
                json_object_set_new(j, "log", json_string(s.log));
                json_object_set_new(j, "state", json_string(state_name(s.state)));
                json_object_set_new(j, "since", iso(s.since_us));
                put_why(j, &s.why);
                json_object_set_new(j, "source_offset", json_integer(s.source.v));
                json_object_set_new(j, "mirrored_offset", json_integer(s.mirrored.v));
                json_array_append_new(list, j);
        }
        return list;
}

/* May a table be rewritten (which makes every row of it local and of unknown age)? Only when nothing of it can meet a conflict any more. */
static json_t *stability_json(const struct applier *a)
{
        json_t *j = json_object();
        json_object_set_new(j, "all_stable", json_boolean(a->held_since_us && !a->held));
        json_object_set_new(j, "since", a->held_since_us ? iso(a->held_since_us) : json_null());
        json_object_set_new(j, "waits_for", regions_json(&a->topo->names, a->held));
        return j;
}

static json_t *timestamps_json(const struct applier *a)
{
        const struct freeze *z = &a->freeze;
        char why[600], todo[400];
        json_t *j = json_object();
        freeze_words(a, why, sizeof why, todo, sizeof todo);
        json_object_set_new(j, "state", json_string(z->since_us ? freeze_name(z->state) : "unknown"));
        json_object_set_new(j, "since", z->since_us ? iso(z->since_us) : json_null());
        json_object_set_new(j, "why", text_or_null(why));
        json_object_set_new(j, "todo", text_or_null(todo));
        json_object_set_new(j, "unstable_xid", json_integer((json_int_t)z->facts.stable));
        json_object_set_new(j, "unstable_transactions", json_integer((json_int_t)freeze_exposed(&z->facts)));
        json_object_set_new(j, "freeze_min_age", json_integer((json_int_t)z->facts.min_age));
        json_object_set_new(j, "left", json_integer((json_int_t)freeze_left(&z->facts)));
        json_object_set_new(j, "horizon_xid", json_integer((json_int_t)z->facts.horizon));
        return j;
}

/* Open keys, contributions, and the queue of manual. */
static json_t *siblings_json(const struct applier *a)
{
        json_t *j = a->open_doc ? json_loads(a->open_doc, 0, NULL) : NULL;
        return j ? j : json_pack("{s:i, s:n, s:i, s:[]}", "open", 0, "oldest", "column_dots", 0, "manual");
}

/* Rows that wait because others hold their unique values, by table. */
static json_t *suppressed_json(const struct applier *a)
{
        json_t *list = json_array();
        char todo[400];
        for (const struct hidden_table *t = hidden_tables(a->hidden); t; t = t->next) {
                if (!t->rows.count)
                        continue;
                json_t *j = json_object();
                json_object_set_new(j, "table", json_string(t->name));
                json_object_set_new(j, "rows", json_integer((json_int_t)t->rows.count));
                json_object_set_new(j, "since", iso(hidden_oldest(t)));
                json_object_set_new(j, "why",
                                    json_string(!t->schema      ? "their table does not exist any more"
                                                : t->why.msg[0] ? t->why.msg
                                                                : "rows with smaller keys hold their unique values"));
                snprintf(
                        todo, sizeof todo,
                        "change or delete a row that holds the value, or the one that waits: pangea conflicts list --waiting --tables %s names "
                        "both; what waits comes back by itself",
                        t->name);
                json_object_set_new(j, "todo", json_string(todo));
                json_array_append_new(list, j);
        }
        return list;
}

/* How far the own log is held against what the others wrote (apply/repair.c). */
static json_t *own_log_json(struct applier *a)
{
        json_t *j = json_object();
        const struct own_turn *t = &a->own_turn;
        bool stuck = t->since_us && !a->pauses.agent.on && clock_wall_us() - t->since_us > PROOF_US;
        int64_t behind = a->own_log ? inlog_behind(a->own_log, inlog_end_offset(a->own_log)) : 0;
        json_object_set_new(j, "state",
                            json_string(state_name(stuck                  ? STATE_WAITING
                                                   : behind > FEW_RECORDS ? STATE_CATCHING_UP
                                                                          : STATE_RUNNING)));
        json_object_set_new(j, "since", stuck ? iso(t->since_us) : json_null());
        put_why(j, stuck ? &t->why : NULL);
        json_object_set_new(j, "processed_hlc", json_integer((json_int_t)a->applied.at[a->me.i].v));
        json_object_set_new(j, "processed_lsn", lsn_json(t->lsn));
        json_object_set_new(j, "read_lsn", a->own ? lsn_json(ownlog_read_lsn(a->own)) : json_null());
        json_object_set_new(j, "offset", json_integer(a->own_stable.offset.v));
        json_object_set_new(j, "lag_records", behind < 0 ? json_null() : json_integer(behind));
        json_object_set_new(j, "kept_for", regions_json(&a->topo->names, acks_missing(a)));
        return j;
}

void status_write(struct applier *a, enum agent_state state, int64_t since_us, const struct err *why)
{
        json_t *j = json_object(), *origins = json_array();
        for (unsigned r = 0; r < a->topo->names.n; r++)
                if (r != a->me.i && a->leaders >> r & 1)
                        json_array_append_new(origins, origin_json(a, &a->from[r]));
        json_object_set_new(j, "agent", json_string("apply"));
        json_object_set_new(j, "region", json_string(regset_name(&a->topo->names, a->me)));
        json_object_set_new(j, "pid", json_integer(getpid()));
        json_object_set_new(j, "version", json_string(PANGEA_VERSION));
        json_object_set_new(j, "state", json_string(state_name(state)));
        json_object_set_new(j, "since", iso(since_us));
        put_why(j, why);
        json_object_set_new(j, "origins", origins);
        json_object_set_new(j, "mirrors", mirrors_json(a));
        json_object_set_new(j, "own_log", own_log_json(a));
        json_object_set_new(j, "suppressed", suppressed_json(a));
        json_object_set_new(j, "tombstones", json_integer((json_int_t)(a->tombs ? tombs_count(a->tombs) : 0)));
        json_object_set_new(j, "siblings", siblings_json(a));
        json_object_set_new(j, "stability", stability_json(a));
        json_object_set_new(j, "commit_timestamps", timestamps_json(a));
        json_object_set_new(j, "stable", vector_json(&a->stable, &a->topo->names));
        json_object_set_new(j, "vector", vector_json(&a->applied, &a->topo->names));
        char *text = json_dumps(j, JSON_COMPACT);
        json_decref(j);
        struct pg_param p = PG_TEXT(text);
        struct err e;
        if (a->side && !pg_lost(a->side) &&
            pg_query(a->side,
                     "INSERT INTO pangea.status (agent, at, doc) VALUES ('apply', clock_timestamp(), $1::jsonb)"
                     " ON CONFLICT (agent) DO UPDATE SET at = EXCLUDED.at, doc = EXCLUDED.doc",
                     1, &p, false, NULL, &e) != ST_OK)
                log_event(LOG_WARN, "apply.status", "why=%s", e.msg);
        free(text);
        meter_publish(a, state, since_us);
}
