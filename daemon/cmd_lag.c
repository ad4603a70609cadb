/* pangea lag: how far each region is behind each leader. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/command.h"
#include "daemon/status.h"
#include "daemon/table.h"

#define WATCH_MS 1000

struct lag {
        const char *state, *why, *error;                 /* borrowed from the document; state is never NULL */
        const json_t *seconds, *records, *bytes, *since; /* NULL: not known */
};

static const char *text_of(const json_t *o, const char *name)
{
        return json_string_value(json_object_get(o, name));
}

static struct lag lag_of(const struct status_region *origin, const struct status_region *target)
{
        struct lag l = {.state = "unknown"};
        const json_t *o = status_alive(target, STATUS_APPLY) ? status_origin(target, origin->region->name) : NULL;
        if (target->err.msg[0])
                l = (struct lag){.state = "unreachable", .why = target->err.msg};
        else if (!target->initialised)
                l.why = "not initialised";
        else if (!o)
                l = (struct lag){.state = "no daemon", .why = "no apply daemon is heard of"};
        if (!o)
                return l;
        l.state = text_of(o, "state") ? text_of(o, "state") : "unknown";
        l.why = text_of(o, "why") ? text_of(o, "why") : text_of(o, "waits_for");
        l.error = text_of(o, "error");
        l.seconds = json_object_get(o, "lag_seconds");
        l.records = json_object_get(o, "lag_records");
        l.bytes = json_object_get(o, "lag_bytes");
        l.since = json_object_get(o, "since");
        return l;
}

static bool moving(const struct lag *l)
{
        return json_is_number(l->seconds) && strcmp(l->state, "stopped") != 0 && strcmp(l->state, "waiting") != 0 &&
               strcmp(l->state, "paused") != 0;
}

/* ---- for people ---------------------------------------------------------------------------------------------------------------------- */
/* "0.3 s"; with the state when that is not just running. */
static void put_lag(struct text_table *t, size_t column, const struct lag *l)
{
        char span[32];
        const char *seconds = json_is_number(l->seconds) ? status_span(span, sizeof span, json_number_value(l->seconds)) : "";
        bool plain = strcmp(l->state, "running") == 0 && *seconds;
        text_table_cell(t, column, status_style(l->state), "%s%s%s", plain ? "" : l->state, plain || !*seconds ? "" : " ", seconds);
}

static void matrix(const struct status_view *v)
{
        struct text_column columns[MAX_REGIONS + 1] = {{"ORIGIN \\ REGION", false, KEEP_ALWAYS}};
        struct text_table t;
        size_t n = v->topology->nregions;
        for (size_t i = 0; i < n; i++)
                columns[i + 1] = (struct text_column){v->topology->regions[i].name, true, KEEP_ALWAYS};
        text_table_init(&t, columns, n + 1);
        for (size_t o = 0; o < n; o++) {
                if (v->regions[o].region->role != ROLE_LEADER)
                        continue;
                text_table_row(&t);
                text_table_cell(&t, 0, STYLE_NONE, "%s", v->regions[o].region->name);
                for (size_t r = 0; r < n; r++) {
                        struct lag l = lag_of(&v->regions[o], &v->regions[r]);
                        if (r == o)
                                text_table_cell(&t, r + 1, STYLE_FAINT, "-");
                        else
                                put_lag(&t, r + 1, &l);
                }
        }
        text_table_show(&t);
        text_table_release(&t);
}

/* What a matrix of that many regions has no room for: one pair a line. */
static void list(const struct status_view *v)
{
        static const struct text_column columns[] = {{"ORIGIN -> REGION", false, KEEP_ALWAYS}, {"LAG", true, KEEP_ALWAYS}};
        struct text_table t;
        size_t n = v->topology->nregions;
        text_table_init(&t, columns, 2);
        for (size_t o = 0; o < n; o++)
                for (size_t r = 0; r < n; r++) {
                        if (o == r || v->regions[o].region->role != ROLE_LEADER)
                                continue;
                        struct lag l = lag_of(&v->regions[o], &v->regions[r]);
                        text_table_row(&t);
                        text_table_cell(&t, 0, STYLE_NONE, "%s -> %s", v->regions[o].region->name, v->regions[r].region->name);
                        put_lag(&t, 1, &l);
                }
        text_table_show(&t);
        text_table_release(&t);
}

static bool matrix_fits(const struct status_view *v)
{
        size_t need = strlen("ORIGIN \\ REGION"), width = (size_t)term_width();
        for (size_t i = 0; i < v->topology->nregions; i++) {
                size_t n = strlen(v->topology->regions[i].name);
                need += 2 + (n > 13 ? n : 13); /* "waiting 5 min" */
        }
        return width == 0 || need <= width;
}

/* ---- for programs -------------------------------------------------------------------------------------------------------------------- */
static json_t *copy_or_null(const json_t *j)
{
        return j ? json_deep_copy(j) : json_null();
}

static json_t *pair_json(const struct region *origin, const struct region *target, const struct lag *l)
{
        json_t *o = json_pack("{s:s, s:s, s:s, s:s?, s:s?}", "origin", origin->name, "region", target->name, "state", l->state,
                              "why", l->why, "error", l->error);
        json_object_set_new(o, "since", copy_or_null(l->since));
        json_object_set_new(o, "lag_seconds", copy_or_null(l->seconds));
        json_object_set_new(o, "lag_records", copy_or_null(l->records));
        json_object_set_new(o, "lag_bytes", copy_or_null(l->bytes));
        return o;
}

static void print_json(const struct status_view *v, bool compact, bool behind)
{
        json_t *pairs = json_array(), *o;
        for (size_t i = 0; i < v->topology->nregions; i++)
                for (size_t k = 0; k < v->topology->nregions; k++) {
                        const struct region *origin = v->regions[i].region, *target = v->regions[k].region;
                        if (i == k || origin->role != ROLE_LEADER)
                                continue;
                        struct lag l = lag_of(&v->regions[i], &v->regions[k]);
                        json_array_append_new(pairs, pair_json(origin, target, &l));
                }
        o = json_pack("{s:s, s:b, s:o}", "cluster", v->topology->cluster, "degraded", behind, "pairs", pairs);
        json_dumpf(o, stdout, (compact ? JSON_COMPACT : JSON_INDENT(2)) | JSON_REAL_PRECISION(9));
        puts("");
        json_decref(o);
}

/* ---- the command --------------------------------------------------------------------------------------------------------------------- */
/* Why, below the table; true when any pair does not move. */
static bool reasons(const struct status_view *v, bool say)
{
        bool any = false;
        for (size_t i = 0; i < v->topology->nregions; i++)
                for (size_t k = 0; k < v->topology->nregions; k++) {
                        if (i == k || v->regions[i].region->role != ROLE_LEADER)
                                continue;
                        struct lag l = lag_of(&v->regions[i], &v->regions[k]);
                        if (moving(&l))
                                continue;
                        if (say)
                                printf("%s%s -> %s: %s%s%s\n", any ? "" : "\n", v->regions[i].region->name,
                                       v->regions[k].region->name, l.state, l.why ? ": " : "", l.why ? l.why : "");
                        any = true;
                }
        return any;
}

static int look(struct status_view *v, const struct invocation *in)
{
        status_read(v);
        if (in->json) {
                bool behind = reasons(v, false);
                print_json(v, in->watch, behind);
                fflush(stdout);
                return behind ? EXIT_DEGRADED : EXIT_DONE;
        }
        if (in->watch)
                fputs(isatty(STDOUT_FILENO) ? "\033[H\033[2J" : "\n", stdout);
        status_print_head(v->topology);
        if (matrix_fits(v))
                matrix(v);
        else
                list(v);
        bool behind = reasons(v, true);
        fflush(stdout);
        return behind ? EXIT_DEGRADED : EXIT_DONE;
}

int cmd_lag(struct invocation *in)
{
        int code = EXIT_USAGE;
        struct status_view v;
        struct topology *t = invocation_topology(in, &code);
        if (!t)
                return code;
        status_open(&v, t, NULL);
        code = look(&v, in);
        while (in->watch && !ferror(stdout)) { /* until Ctrl-C, or nobody reads any more */
                poll(NULL, 0, WATCH_MS);
                code = look(&v, in);
        }
        status_close(&v);
        topology_free(t);
        return code;
}
