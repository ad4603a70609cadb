#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/conflicts.h"
#include "daemon/errors.h"
#include "daemon/refuse.h"
#include "daemon/table.h"

/* One invocation on its way. */
struct look {
        struct invocation *in;
        struct topology *t;
        struct conflict_region *regions;
        struct conflict_filter filter;
        struct err e;
};

static const char *text(const json_t *o, const char *name)
{
        const char *s = json_string_value(json_object_get(o, name));
        return s ? s : "";
}

static char *compact(const json_t *o)
{
        char *s = json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY);
        return s ? s : mem_strdup("null");
}

static int failed(const struct look *l)
{
        return refuse_for("conflicts", &l->e);
}

/* What is not known is said, and shows in the exit code. */
static int say_unreachable(const struct look *l)
{
        int code = EXIT_DONE;
        for (size_t i = 0; i < l->t->nregions; i++)
                if (!l->regions[i].pg) {
                        (void)refuse(error_name(&l->regions[i].err), "region %s is not counted, its database does not answer: %s",
                                     l->regions[i].region->name, l->regions[i].err.msg);
                        code = EXIT_DEGRADED;
                }
        return code;
}

static json_t *unreachable(const struct look *l)
{
        json_t *names = json_array();
        for (size_t i = 0; i < l->t->nregions; i++)
                if (!l->regions[i].pg)
                        json_array_append_new(names, json_string(l->regions[i].region->name));
        return names;
}

static void print_json(json_t *o)
{
        json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        puts("");
        json_decref(o);
}

/* ---- list ---------------------------------------------------------------------------------------------------------------------------- */
static void print_history(const json_t *list)
{
        static const struct text_column columns[] = {
                {.title = "ID", .keep = KEEP_ALWAYS}, {.title = "AT (UTC)", .keep = 3}, {.title = "TABLE", .keep = KEEP_ALWAYS},
                {.title = "KEY", .keep = 6},          {.title = "KIND", .keep = 2},     {.title = "RULE", .keep = 1},
                {.title = "LOST", .keep = 5},         {.title = "ITS ROW", .keep = 4}};
        struct text_table t;
        size_t i;
        json_t *c;
        if (!json_array_size(list)) {
                puts("no conflicts");
                return;
        }
        text_table_init(&t, columns, sizeof columns / sizeof *columns);
        text_table_cut(&t, 2, 16);
        text_table_cut(&t, 3, 12);
        text_table_cut(&t, 7, 16);
        json_array_foreach(list, i, c)
        {
                char *key = compact(json_object_get(c, "key")), *image = compact(json_object_get(c, "image"));
                text_table_row(&t);
                text_table_cell(&t, 0, STYLE_STRONG, "%s", text(c, "id"));
                text_table_cell(&t, 1, STYLE_NONE, "%.19s", text(c, "at"));
                text_table_cell(&t, 2, STYLE_NONE, "%s", text(c, "table"));
                text_table_cell(&t, 3, STYLE_NONE, "%s", key);
                text_table_cell(&t, 4, STYLE_NONE, "%s", text(c, "kind"));
                text_table_cell(&t, 5, STYLE_NONE, "%s", text(c, "rule"));
                text_table_cell(&t, 6, STYLE_NONE, "%s", text(json_object_get(c, "lost"), "region"));
                text_table_cell(&t, 7, STYLE_NONE, "%s", strcmp(image, "null") == 0 ? "(a delete)" : image);
                free(key);
                free(image);
        }
        text_table_show(&t);
        text_table_release(&t);
}

static void print_waiting(const json_t *open)
{
        size_t i, k;
        json_t *s, *v;
        json_array_foreach(json_object_get(open, "siblings"), i, s)
        {
                char *key = compact(json_object_get(s, "key"));
                printf("%s %s: concurrent versions since %s (%s)%s\n", text(s, "table"), key, text(s, "since"), text(s, "rule"),
                       strcmp(text(s, "rule"), "manual") == 0 ? ", wait for a decision: pangea conflicts resolve"
                                                              : ", until they are stable");
                json_array_foreach(json_object_get(s, "versions"), k, v)
                {
                        char *image = compact(json_object_get(v, "image"));
                        printf("    %-10s %s\n", text(v, "region"), image);
                        free(image);
                }
                free(key);
        }
        json_array_foreach(json_object_get(open, "suppressed"), i, s)
        {
                char *image = compact(json_object_get(s, "image")), *by = compact(json_object_get(s, "held_by"));
                printf("%s: a row of %s waits since %s: %s holds one of its unique values (%s); it comes back when that row is changed or deleted\n"
                       "    %s\n",
                       text(s, "table"), text(s, "region"), text(s, "since"), by, text(s, "constraint"), image);
                free(image);
                free(by);
        }
        if (!json_array_size(json_object_get(open, "siblings")) && !json_array_size(json_object_get(open, "suppressed")))
                puts("nothing waits");
}

static int list(struct look *l)
{
        int code = say_unreachable(l);
        bool waiting = l->in->waiting;
        json_t *found = waiting ? conflicts_open(l->t, l->regions, &l->filter, &l->e)
                                : conflicts_history(l->t, l->regions, &l->filter, &l->e);
        if (!found)
                return failed(l);
        if (l->in->json) {
                print_json(json_pack("{s:o, s:o}", waiting ? "waiting" : "conflicts", found, "unreachable", unreachable(l)));
                return code;
        }
        if (waiting)
                print_waiting(found);
        else
                print_history(found);
        json_decref(found);
        return code;
}

/* ---- show ---------------------------------------------------------------------------------------------------------------------------- */
/* The one conflict that the operand means; NULL with *code set. */
static json_t *find(struct look *l, const char *id, int *code)
{
        if (strspn(id, "0123456789abcdef") != strlen(id) || strlen(id) < 4 || strlen(id) > 12) {
                *code = refuse("bad_value",
                               "conflicts: '%s' is no id; `pangea conflicts list` shows them, 4 digits of one are enough", id);
                return NULL;
        }
        l->filter.id = id;
        json_t *all = conflicts_history(l->t, l->regions, &l->filter, &l->e), *one = NULL;
        if (!all)
                *code = failed(l);
        else if (json_array_size(all) == 1)
                one = json_incref(json_array_get(all, 0));
        else
                *code = refuse("unknown_conflict", "conflicts: %s %s",
                               json_array_size(all) ? "several conflicts begin with" : "no region knows a conflict", id);
        json_decref(all);
        return one;
}

/* Both rows, column by column; what differs is marked. */
static void print_rows(const json_t *lost, const json_t *stands)
{
        static const struct text_column columns[] = {{.title = "  COLUMN", .keep = KEEP_ALWAYS},
                                                     {.title = "LOST", .keep = KEEP_ALWAYS},
                                                     {.title = "STANDS", .keep = KEEP_ALWAYS}};
        const char *name;
        json_t *value;
        const json_t *all = json_is_object(stands) ? stands : lost;
        struct text_table t;
        text_table_init(&t, columns, sizeof columns / sizeof *columns);
        for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
                text_table_cut(&t, i, 12);
        json_object_foreach((json_t *)all, name, value)
        {
                json_t *a = json_object_get(lost, name), *b = json_object_get(stands, name);
                char *x = a ? compact(a) : mem_strdup("-"), *y = b ? compact(b) : mem_strdup("-");
                bool same = json_equal(a, b);
                text_table_row(&t);
                text_table_cell(&t, 0, same ? STYLE_NONE : STYLE_STRONG, "%s %s", same ? " " : "*", name);
                text_table_cell(&t, 1, STYLE_NONE, "%s", x);
                text_table_cell(&t, 2, STYLE_NONE, "%s", y);
                free(x);
                free(y);
        }
        text_table_show(&t);
        text_table_release(&t);
}

static const char *joined(struct arena *a, const json_t *names)
{
        const char *all = "";
        size_t i;
        json_t *s;
        json_array_foreach(names, i, s) all = arena_printf(a, "%s%s%s", all, *all ? ", " : "", json_string_value(s));
        return all;
}

static void print_conflict(const json_t *c, const json_t *standing)
{
        struct arena a;
        arena_init(&a);
        char *key = compact(json_object_get(c, "key"));
        const json_t *lost = json_object_get(c, "lost"), *winner = json_object_get(c, "winner");
        size_t i;
        json_t *d;
        printf("%s  %s %s\n\n", text(c, "id"), text(c, "table"), key);
        printf("  what      %s, settled by %s\n  when      %s, recorded in %s\n", text(c, "kind"), text(c, "rule"), text(c, "at"),
               joined(&a, json_object_get(c, "recorded_in")));
        printf("  lost      the version of %s, HLC %lld\n", text(lost, "region"),
               (long long)json_integer_value(json_object_get(lost, "hlc")));
        if (json_is_object(winner))
                printf("  won       the version of %s, HLC %lld\n", text(winner, "region"),
                       (long long)json_integer_value(json_object_get(winner, "hlc")));
        json_array_foreach(json_object_get(c, "involved"), i, d)
                printf("  %s  %s, HLC %lld\n", i ? "        " : "involved", text(d, "region"),
                       (long long)json_integer_value(json_object_get(d, "hlc")));
        const char *region;
        free(key);
        json_object_foreach((json_t *)standing, region, d)
        {
                printf("\n  in %s now:%s\n", region, json_is_object(d) ? "" : " no row");
                if (json_is_object(d) || json_is_object(json_object_get(c, "image")))
                        print_rows(json_object_get(c, "image"), d);
        }
        printf("\nTo undo it: pangea conflicts resolve %s --take     (or --set '{\"column\": \"value\"}', --confirm, --delete)\n",
               text(c, "id"));
        arena_release(&a);
}

static json_t *standing_everywhere(struct look *l, const json_t *c)
{
        json_t *all = json_object();
        for (size_t i = 0; i < l->t->nregions; i++) {
                json_t *row = l->regions[i].pg ? conflicts_standing(&l->regions[i], c, &l->e) : NULL;
                if (row)
                        json_object_set_new(all, l->regions[i].region->name, row);
        }
        return all;
}

static int show(struct look *l)
{
        int code, missing = say_unreachable(l);
        json_t *c = find(l, l->in->operands[1], &code);
        if (!c)
                return code;
        json_t *standing = standing_everywhere(l, c);
        if (l->in->json)
                print_json(json_pack("{s:O, s:O, s:o}", "conflict", c, "now", standing, "unreachable", unreachable(l)));
        else
                print_conflict(c, standing);
        json_decref(standing);
        json_decref(c);
        return missing;
}

/* ---- resolve ------------------------------------------------------------------------------------------------------------------------- */
static enum decision decision_of(const struct invocation *in)
{
        static const enum decision all[] = {DECIDE_TAKE, DECIDE_KEEP, DECIDE_SET, DECIDE_DELETE};
        const bool said[] = {in->take, in->keep, in->set != NULL, in->delete};
        enum decision d = DECIDE_NOTHING;
        int n = 0;
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                if (said[i]) {
                        d = all[i];
                        n++;
                }
        return n == 1 ? d : DECIDE_NOTHING;
}

/* A leader that has the conflict applied: what is written there comes after all of its versions. */
static struct conflict_region *writer(struct look *l, const json_t *c)
{
        for (size_t i = 0; i < l->t->nregions; i++) {
                struct conflict_region *r = &l->regions[i];
                bool recorded = false;
                size_t k;
                json_t *name;
                json_array_foreach(json_object_get(c, "recorded_in"), k, name) recorded |=
                        strcmp(json_string_value(name), r->region->name) == 0;
                if (l->in->region ? strcmp(l->in->region, r->region->name) != 0 : !recorded)
                        continue;
                if (r->pg && r->region->role == ROLE_LEADER && recorded)
                        return r;
                if (l->in->region)
                        (void)refuse("no_writer", "conflicts: region %s %s", r->region->name,
                                     !r->pg ? "does not answer"
                                     : r->region->role != ROLE_LEADER
                                             ? "is a follower: nothing is written there"
                                             : "did not record this conflict: it may not have applied all of its versions");
        }
        if (!l->in->region)
                (void)refuse("no_writer", "conflicts: no leader that recorded this conflict answers");
        return NULL;
}

static int resolve(struct look *l)
{
        int code;
        enum decision d = decision_of(l->in);
        json_t *set = l->in->set ? json_loads(l->in->set, 0, NULL) : NULL;
        struct buf sql;
        bool no_object = l->in->set && !json_is_object(set);
        json_decref(set);
        if (no_object)
                return refuse("bad_value", "conflicts: --set needs a JSON object of columns and values");
        if (d == DECIDE_NOTHING)
                return refuse("word_missing", "conflicts resolve needs one of --take, --confirm, --set JSON, --delete");
        (void)say_unreachable(l);
        json_t *c = find(l, l->in->operands[1], &code);
        struct conflict_region *r = c ? writer(l, c) : NULL;
        if (c && !r)
                code = EXIT_USAGE;
        buf_init(&sql, 0);
        if (r && conflict_resolve(r, c, d, l->in->set, l->in->dry_run, &sql, &l->e) != ST_OK)
                code = failed(l);
        else if (r) {
                code = EXIT_DONE;
                if (l->in->json)
                        print_json(json_pack("{s:s, s:s, s:b, s:s}", "id", text(c, "id"), "region", r->region->name, "written",
                                             !l->in->dry_run, "statement", buf_cstr(&sql)));
                else if (l->in->dry_run)
                        printf("-- in %s:\n%s;\n", r->region->name, buf_cstr(&sql));
                else
                        printf("written in %s; it travels to the other regions like every change\n", r->region->name);
        }
        buf_release(&sql);
        json_decref(c);
        return code;
}

/* ---- stats --------------------------------------------------------------------------------------------------------------------------- */
static void print_numbers(const struct look *l, const json_t *all)
{
        size_t i;
        json_t *n;
        if (!json_array_size(all)) {
                puts("no conflicts");
                return;
        }
        struct text_column columns[TABLE_COLUMNS] = {
                {.title = "TABLE", .keep = KEEP_ALWAYS}, {.title = "KIND", .keep = KEEP_ALWAYS}, {.title = "RULE", .keep = 2}};
        struct text_table t;
        size_t regions = l->t->nregions;
        for (size_t r = 0; r < regions; r++)
                columns[3 + r] = (struct text_column){.title = l->t->regions[r].name, .right = true, .keep = 3};
        columns[3 + regions] = (struct text_column){.title = "NEWEST (UTC)", .keep = 1};
        text_table_init(&t, columns, regions + 4);
        text_table_cut(&t, 0, 16);
        json_array_foreach(all, i, n)
        {
                text_table_row(&t);
                text_table_cell(&t, 0, STYLE_NONE, "%s", text(n, "table"));
                text_table_cell(&t, 1, STYLE_NONE, "%s", text(n, "kind"));
                text_table_cell(&t, 2, STYLE_NONE, "%s", text(n, "rule"));
                for (size_t r = 0; r < regions; r++)
                        text_table_cell(
                                &t, 3 + r, STYLE_NONE, "%lld",
                                (long long)json_integer_value(json_object_get(json_object_get(n, "count"), l->t->regions[r].name)));
                text_table_cell(&t, 3 + regions, STYLE_NONE, "%s", text(n, "newest"));
        }
        text_table_show(&t);
        text_table_release(&t);
}

static int stats(struct look *l)
{
        int code = say_unreachable(l);
        json_t *all = conflicts_numbers(l->t, l->regions, &l->filter, &l->e);
        if (!all)
                return failed(l);
        if (l->in->json) {
                print_json(json_pack("{s:o, s:o}", "numbers", all, "unreachable", unreachable(l)));
                return code;
        }
        print_numbers(l, all);
        json_decref(all);
        return code;
}

/* ---- the command --------------------------------------------------------------------------------------------------------------------- */
static const struct verb {
        const char *name;
        int operands;
        int (*run)(struct look *l);
} verbs[] = {{"list", 1, list}, {"show", 2, show}, {"resolve", 2, resolve}, {"stats", 1, stats}};

int cmd_conflicts(struct invocation *in)
{
        const struct verb *verb = NULL;
        int code = EXIT_USAGE;
        for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
                if (in->noperands > 0 && strcmp(in->operands[0], verbs[i].name) == 0 && in->noperands == verbs[i].operands)
                        verb = &verbs[i];
        if (!verb)
                return refuse(
                        "word_missing",
                        "usage: pangea conflicts list [--waiting] | show ID | resolve ID --take|--confirm|--set JSON|--delete | stats");
        struct look l = {.in = in, .t = invocation_topology(in, &code)};
        if (!l.t)
                return code;
        l.filter = (struct conflict_filter){
                .table = in->tables, .kind = in->kind, .rule = in->rule, .since_s = in->since_s, .limit = in->limit};
        l.regions = mem_zalloc(sizeof *l.regions * l.t->nregions);
        if (conflicts_connect(l.t, l.regions) == 0) {
                (void)say_unreachable(&l);
                code = EXIT_POSTGRES;
        } else {
                code = verb->run(&l);
        }
        conflicts_close(l.t, l.regions);
        free(l.regions);
        topology_free(l.t);
        return code;
}
