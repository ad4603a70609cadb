#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/status.h"
#include "daemon/table.h"

static const char *const agent_names[] = {[STATUS_CAPTURE] = "capture", [STATUS_APPLY] = "apply"};

bool status_expected(const struct status_region *r, int agent)
{
        return agent == STATUS_APPLY || r->region->role == ROLE_LEADER;
}

bool status_alive(const struct status_region *r, int agent)
{
        return r->docs[agent] && r->age_s[agent] <= STATUS_STALE_S;
}

/* ---- members of a document ---------------------------------------------------------------------------------------------------------- */
static const char *text(const json_t *doc, const char *name)
{
        return json_string_value(json_object_get(doc, name));
}

static double number(const json_t *doc, const char *name)
{
        return json_number_value(json_object_get(doc, name));
}

const char *status_span(char *buf, size_t size, double s)
{
        if (s < 0)
                s = 0;
        if (s < 10)
                snprintf(buf, size, "%.1f s", s);
        else if (s < 120)
                snprintf(buf, size, "%.0f s", s);
        else if (s < 7200)
                snprintf(buf, size, "%.0f min", s / 60);
        else if (s < 172800)
                snprintf(buf, size, "%.1f h", s / 3600);
        else
                snprintf(buf, size, "%.0f d", s / 86400);
        return buf;
}

const char *status_bytes(char *buf, size_t size, double n)
{
        static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
        size_t u = 0;
        for (; n >= 10000 && u < 4; u++)
                n /= 1000;
        snprintf(buf, size, "%.0f %s", n, units[u]);
        return buf;
}

/* How long ago an ISO time (UTC) was; "" when it cannot be read. */
static const char *since_str(char *buf, size_t size, const char *iso)
{
        struct tm tm = {0};
        buf[0] = 0;
        if (iso && strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm))
                status_span(buf, size, difftime(time(NULL), timegm(&tm)));
        return buf;
}

const json_t *status_origin(const struct status_region *r, const char *origin)
{
        size_t i;
        json_t *o;
        json_array_foreach(json_object_get(r->docs[STATUS_APPLY], "origins"), i,
                           o) if (text(o, "origin") && strcmp(text(o, "origin"), origin) == 0) return o;
        return NULL;
}

bool status_stopped(const struct status_region *r, int agent)
{
        const char *state = text(r->docs[agent], "state");
        return state && strcmp(state, "stopped") == 0 && text(r->docs[agent], "error");
}

/* ---- what is wrong, and what to do ---------------------------------------------------------------------------------------------------- */
static bool bad_state(const char *state)
{
        return !state || strcmp(state, "stopped") == 0 || strcmp(state, "waiting") == 0 || strcmp(state, "paused") == 0;
}

static void problem(struct status_view *v, const char *who, const json_t *doc)
{
        const char *why = text(doc, "why"), *todo = text(doc, "todo"), *error = text(doc, "error"), *state = text(doc, "state");
        const char *waits = text(doc, "waits_for");
        if (why && todo && strstr(why, todo)) /* said already */
                todo = NULL;
        if (error && state && strcmp(error, state) == 0)
                error = NULL;
        v->degraded = true;
        buf_printf(v->problems, "%s: %s%s%s%s%s%s%s%s\n", who, state ? state : "", error ? " (" : "", error ? error : "",
                   error ? ")" : "", why || waits ? ": " : "",
                   why     ? why
                   : waits ? waits
                           : "",
                   todo ? ". To do: " : "", todo ? todo : "");
}

static void silent(struct status_view *v, const struct status_region *r, int agent)
{
        char span[32], who[256];
        v->degraded = true;
        if (status_stopped(r, agent)) { /* long ago, but still what has to be mended before anything else */
                snprintf(who, sizeof who, "%s: %s", r->region->name, agent_names[agent]);
                problem(v, who, r->docs[agent]);
                return;
        }
        if (!r->docs[agent])
                buf_printf(v->problems, "%s: no %s daemon, and none was heard of yet. To do: pangea run --region %s\n",
                           r->region->name, agent_names[agent], r->region->name);
        else
                buf_printf(v->problems, "%s: no %s daemon: last heard %s ago. To do: pangea run --region %s\n", r->region->name,
                           agent_names[agent], status_span(span, sizeof span, r->age_s[agent]), r->region->name);
}

/* Warned of before it can stop anything. */
static void timestamps_problem(struct status_view *v, const struct status_region *r, const json_t *t)
{
        char span[32];
        const char *state = text(t, "state"), *todo = text(t, "todo");
        if (!state || (strcmp(state, "near") != 0 && strcmp(state, "gone") != 0))
                return;
        v->degraded = true;
        buf_printf(v->problems, "%s: commit timestamps %s for %s: %s. To do: %s\n", r->region->name,
                   strcmp(state, "near") == 0 ? "are in danger" : "are gone", since_str(span, sizeof span, text(t, "since")),
                   text(t, "why") ? text(t, "why") : "?", todo ? todo : "?");
}

/* Rows under `manual`: not degraded, one version stands everywhere. */
static void decisions(struct status_view *v, const struct status_region *r, const json_t *queue)
{
        char span[32];
        size_t i;
        json_t *o;
        json_array_foreach(queue, i, o)
        {
                buf_printf(
                        v->problems,
                        "%s: %s: %lld rows wait for a decision, the oldest for %s: versions were written at the same time, and the "
                        "latest stands. To do: pangea conflicts list --waiting, then pangea conflicts resolve\n",
                        r->region->name, text(o, "table") ? text(o, "table") : "?",
                        (long long)json_integer_value(json_object_get(o, "rows")), since_str(span, sizeof span, text(o, "oldest")));
        }
}

static void agent_problems(struct status_view *v, const struct status_region *r, int agent)
{
        char who[256];
        size_t i;
        json_t *o;
        const json_t *doc = r->docs[agent];
        bool named = false, paused = text(doc, "state") && strcmp(text(doc, "state"), "paused") == 0;
        if (!status_alive(r, agent)) {
                silent(v, r, agent);
                return;
        }
        json_array_foreach(json_object_get(doc, "origins"), i, o)
        {
                if (!bad_state(text(o, "state")) || paused) /* its own state says it for all */
                        continue;
                snprintf(who, sizeof who, "%s -> %s", text(o, "origin") ? text(o, "origin") : "?", r->region->name);
                problem(v, who, o);
                named = true;
        }
        json_array_foreach(json_object_get(doc, "mirrors"), i, o)
        {
                if (!bad_state(text(o, "state")) || !text(o, "why")) /* waiting without a why: the log is silent */
                        continue;
                snprintf(who, sizeof who, "%s: mirror of %s", r->region->name, text(o, "log") ? text(o, "log") : "?");
                problem(v, who, o);
        }
        o = json_object_get(doc, "own_log");
        if (text(o, "state") && bad_state(text(o, "state"))) { /* older daemons do not say it */
                snprintf(who, sizeof who, "%s: its own log, held against what the others wrote", r->region->name);
                problem(v, who, o);
        }
        json_array_foreach(json_object_get(doc, "tables_waiting"), i, o)
        {
                const char *todo = text(o, "todo");
                v->degraded = true;
                buf_printf(v->problems, "%s: table %s is not replicated: %s%s%s\n", r->region->name, text(o, "table"),
                           text(o, "why") ? text(o, "why") : "waiting", todo ? ". To do: " : "", todo ? todo : "");
        }
        json_array_foreach(json_object_get(json_object_get(doc, "own_log"), "kept_for"), i, o)
        {
                const char *name = json_string_value(o);
                v->degraded = true;
                buf_printf(
                        v->problems,
                        "%s: its log grows: records older than log.retention stay for %s, which has not applied them. To do: let %s "
                        "catch up\n",
                        r->region->name, name ? name : "?", name ? name : "?");
        }
        json_array_foreach(json_object_get(doc, "suppressed"), i, o) /* the same in every region, and no fault: not degraded */
        {
                char since[32];
                buf_printf(v->problems, "%s: table %s: %.0f rows wait outside it, the oldest for %s: %s. To do: %s\n",
                           r->region->name, text(o, "table") ? text(o, "table") : "?", number(o, "rows"),
                           since_str(since, sizeof since, text(o, "since")), text(o, "why") ? text(o, "why") : "?",
                           text(o, "todo") ? text(o, "todo") : "?");
        }
        timestamps_problem(v, r, json_object_get(doc, "commit_timestamps"));
        decisions(v, r, json_object_get(json_object_get(doc, "siblings"), "manual"));
        if (bad_state(text(doc, "state")) && !named) {
                snprintf(who, sizeof who, "%s: %s", r->region->name, agent_names[agent]);
                problem(v, who, doc);
        }
}

void status_problems(struct status_view *v)
{
        v->degraded = false;
        for (size_t i = 0; i < v->topology->nregions; i++) {
                const struct status_region *r = &v->regions[i];
                if (r->err.msg[0] || !r->initialised) {
                        v->degraded = true;
                        if (r->err.msg[0])
                                buf_printf(v->problems, "%s: database does not answer: %s\n", r->region->name, r->err.msg);
                        else
                                buf_printf(v->problems, "%s: not initialised. To do: pangea init --region %s\n", r->region->name,
                                           r->region->name);
                        continue;
                }
                for (int a = 0; a < 2; a++)
                        if (status_expected(r, a))
                                agent_problems(v, r, a);
        }
}

/* "; all stable for 12 s", or whom that waits for. */
static const char *stability_str(char *buf, size_t size, const json_t *s)
{
        char since[32];
        size_t i, n;
        json_t *o;
        buf[0] = 0;
        if (!json_is_object(s))
                return buf;
        if (json_is_true(json_object_get(s, "all_stable"))) {
                snprintf(buf, size, "; all stable for %s", since_str(since, sizeof since, text(s, "since")));
                return buf;
        }
        n = (size_t)snprintf(buf, size, "; not all stable: waits for");
        json_array_foreach(json_object_get(s, "waits_for"), i, o)
        {
                snprintf(buf + n, size - n, "%s %s", i ? "," : "", json_string_value(o));
                n += strlen(buf + n);
        }
        return buf;
}

/* ---- for people --------------------------------------------------------------------------------------------------------------------- */
enum { AGENT_REGION, AGENT_ROLE, AGENT_AGENT, AGENT_STATE, AGENT_SINCE, AGENT_DID };
static const struct text_column agent_columns[] = {
        [AGENT_REGION] = {"REGION", false, KEEP_ALWAYS},
        [AGENT_ROLE] = {"ROLE", false, 1},
        [AGENT_AGENT] = {"AGENT", false, KEEP_ALWAYS},
        [AGENT_STATE] = {"STATE", false, KEEP_ALWAYS},
        [AGENT_SINCE] = {"SINCE", false, 3},
        [AGENT_DID] = {"SINCE ITS START", false, 2},
};

enum term_style status_style(const char *state)
{
        if (!state || strcmp(state, "stopped") == 0 || strcmp(state, "no daemon") == 0 || strcmp(state, "unreachable") == 0)
                return STYLE_BAD;
        if (strcmp(state, "running") == 0)
                return STYLE_GOOD;
        return STYLE_WARN;
}

static void add_agent(struct text_table *t, const struct status_region *r, int agent)
{
        char since[32], held[32], stable[400];
        const json_t *doc = r->docs[agent];
        const char *state = r->err.msg[0] ? "unreachable" : !r->initialised ? "no init" : text(doc, "state");
        if (!r->err.msg[0] && r->initialised && !status_alive(r, agent) && !status_stopped(r, agent))
                state = "no daemon";
        text_table_row(t);
        text_table_cell(t, AGENT_REGION, STYLE_NONE, "%s", r->region->name);
        text_table_cell(t, AGENT_ROLE, STYLE_NONE, "%s", r->region->role == ROLE_LEADER ? "leader" : "follower");
        text_table_cell(t, AGENT_AGENT, STYLE_NONE, "%s", agent_names[agent]);
        text_table_cell(t, AGENT_STATE, status_style(state), "%s", state ? state : "?");
        if (!status_alive(r, agent)) {
                if (doc)
                        text_table_cell(t, AGENT_DID, STYLE_NONE, "last heard %s ago",
                                        status_span(held, sizeof held, r->age_s[agent]));
                return;
        }
        text_table_cell(t, AGENT_SINCE, STYLE_NONE, "%s", since_str(since, sizeof since, text(doc, "since")));
        if (agent == STATUS_CAPTURE)
                text_table_cell(t, AGENT_DID, STYLE_NONE, "%.0f transactions in %.0f groups, %.0f rows; %s of WAL held",
                                number(doc, "transactions"), number(doc, "groups"), number(doc, "rows"),
                                status_bytes(held, sizeof held, number(doc, "retained_bytes")));
        else
                text_table_cell(t, AGENT_DID, STYLE_NONE, "%.0f tombstones%s", number(doc, "tombstones"),
                                stability_str(stable, sizeof stable, json_object_get(doc, "stability")));
}

enum { PAIR_NAMES, PAIR_STATE, PAIR_LAG, PAIR_RECORDS, PAIR_BYTES, PAIR_TRANSACTIONS, PAIR_CONFLICTS, PAIR_WAITS };
static const struct text_column pair_columns[] = {
        [PAIR_NAMES] = {"ORIGIN -> REGION", false, KEEP_ALWAYS},
        [PAIR_STATE] = {"STATE", false, KEEP_ALWAYS},
        [PAIR_LAG] = {"LAG", true, KEEP_ALWAYS},
        [PAIR_RECORDS] = {"RECORDS", true, 3},
        [PAIR_BYTES] = {"BYTES", true, 2},
        [PAIR_TRANSACTIONS] = {"TRANSACTIONS", true, 1},
        [PAIR_CONFLICTS] = {"CONFLICTS", true, 4},
        [PAIR_WAITS] = {"WAITS FOR", false, 5},
};

static void add_pair(struct text_table *t, const struct status_region *origin, const struct status_region *target)
{
        char lag[32], bytes[32];
        const json_t *o = status_origin(target, origin->region->name);
        text_table_row(t);
        text_table_cell(t, PAIR_NAMES, STYLE_NONE, "%s -> %s", origin->region->name, target->region->name);
        if (!o || !status_alive(target, STATUS_APPLY)) {
                text_table_cell(t, PAIR_STATE, STYLE_BAD, "unknown");
                return;
        }
        const json_t *seconds = json_object_get(o, "lag_seconds");
        const char *waits = text(o, "waits_for"), *state = text(o, "state");
        text_table_cell(t, PAIR_STATE, status_style(state), "%s", state ? state : "?");
        text_table_cell(t, PAIR_LAG, STYLE_NONE, "%s",
                        json_is_number(seconds) ? status_span(lag, sizeof lag, json_number_value(seconds)) : "unknown");
        text_table_cell(t, PAIR_RECORDS, STYLE_NONE, "%.0f", number(o, "lag_records"));
        text_table_cell(t, PAIR_BYTES, STYLE_NONE, "%s", status_bytes(bytes, sizeof bytes, number(o, "lag_bytes")));
        text_table_cell(t, PAIR_TRANSACTIONS, STYLE_NONE, "%.0f", number(o, "transactions"));
        text_table_cell(t, PAIR_CONFLICTS, STYLE_NONE, "%.0f", number(o, "conflicts"));
        text_table_cell(t, PAIR_WAITS, STYLE_NONE, "%s", waits ? waits : "");
}

static void print_agents(const struct status_view *v)
{
        struct text_table t;
        text_table_init(&t, agent_columns, sizeof agent_columns / sizeof *agent_columns);
        for (size_t i = 0; i < v->topology->nregions; i++)
                for (int a = 0; a < 2; a++)
                        if (status_expected(&v->regions[i], a))
                                add_agent(&t, &v->regions[i], a);
        text_table_show(&t);
        text_table_release(&t);
}

static void print_pairs(const struct status_view *v)
{
        struct text_table t;
        size_t n = v->topology->nregions;
        text_table_init(&t, pair_columns, sizeof pair_columns / sizeof *pair_columns);
        for (size_t o = 0; o < n; o++)
                for (size_t r = 0; r < n; r++)
                        if (o != r && v->regions[o].region->role == ROLE_LEADER)
                                add_pair(&t, &v->regions[o], &v->regions[r]);
        text_table_show(&t);
        text_table_release(&t);
}

void status_print_head(const struct topology *t)
{
        char now[64];
        time_t clock = time(NULL);
        struct tm tm;
        gmtime_r(&clock, &tm);
        strftime(now, sizeof now, "%Y-%m-%d %H:%M:%S UTC", &tm);
        printf("cluster %s, %s\n\n", t->cluster, now);
}

void status_print_text(const struct status_view *v)
{
        status_print_head(v->topology);
        print_agents(v);
        puts("");
        print_pairs(v);
        if (v->problems->len)
                printf("\n%s", buf_cstr(v->problems));
}

/* ---- for programs ------------------------------------------------------------------------------------------------------------------- */
static json_t *agent_json(const struct status_region *r, int agent)
{
        json_t *doc = r->docs[agent] ? json_deep_copy(r->docs[agent]) : json_object();
        bool alive = status_alive(r, agent);
        json_object_set_new(doc, "alive", json_boolean(alive));
        json_object_set_new(doc, "age_seconds", r->docs[agent] ? json_real(r->age_s[agent]) : json_null());
        return doc;
}

static json_t *problems_json(const struct buf *b)
{
        json_t *list = json_array();
        const char *p = (const char *)b->data, *end = p + b->len;
        for (const char *nl; b->len && p < end && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1)
                json_array_append_new(list, json_stringn(p, (size_t)(nl - p)));
        return list;
}

json_t *status_json(const struct status_view *v)
{
        json_t *regions = json_array();
        for (size_t i = 0; i < v->topology->nregions; i++) {
                const struct status_region *r = &v->regions[i];
                json_t *o = json_pack("{s:s, s:s, s:b, s:b, s:s?}", "region", r->region->name, "role",
                                      r->region->role == ROLE_LEADER ? "leader" : "follower", "reachable", !r->err.msg[0],
                                      "initialised", r->initialised, "error", r->err.msg[0] ? r->err.msg : NULL);
                for (int a = 0; a < 2; a++)
                        if (status_expected(r, a))
                                json_object_set_new(o, agent_names[a], agent_json(r, a));
                json_array_append_new(regions, o);
        }
        return json_pack("{s:s, s:b, s:o, s:o}", "cluster", v->topology->cluster, "degraded", v->degraded, "problems",
                         problems_json(v->problems), "regions", regions);
}
