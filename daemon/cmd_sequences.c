/* pangea sequences: plans, and with --apply sets, what keeps the leaders' numbers apart.
 * Setting one sequence: a transaction in every leader; the sequence is locked in all of them, then looked at (what is locked cannot give a number
 * any more), then altered, then all commit.  So the new numbers begin above every one that was given anywhere. */
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/suggest.h"
#include "daemon/command.h"
#include "daemon/refuse.h"
#include "daemon/sequences.h"
#include "daemon/table.h"

#define LOCK_TRIES 30
#define LOCK_WAIT_MS 300

struct outcome {
        bool apart;              /* at the end */
        const char *wrong, *why; /* what would happen; why there is no plan */
        const char *statement[MAX_REGIONS];
};

struct run {
        const struct topology *t;
        const struct invocation *in;
        enum sequence_mode mode;
        struct arena arena;
        struct pg *pg[MAX_REGIONS]; /* by region id; NULL: a follower */
        struct sequence *lists[MAX_REGIONS];
        size_t count[MAX_REGIONS];
        struct sequence_set *sets;
        struct outcome *outcomes;
        size_t nsets, ncollide;
};

/* ---- reading ------------------------------------------------------------------------------------------------------------------------- */
static enum status read_all(struct run *r, struct err *e)
{
        enum status st = ST_OK;
        for (size_t i = 0; i < r->t->nregions && st == ST_OK; i++) {
                const struct region *region = &r->t->regions[i];
                if (region->role != ROLE_LEADER)
                        continue;
                st = region_connect(region, "sequences", &r->pg[i], e);
                if (st == ST_OK && sequences_read(r->pg[i], r->t, region->id, &r->arena, &r->lists[i], &r->count[i], e) != ST_OK)
                        st = err_wrap(e, "region %s", region->name);
        }
        r->nsets = sequence_sets(r->t, r->lists, r->count, &r->arena, &r->sets);
        r->outcomes = ARENA_ARRAY(&r->arena, struct outcome, r->nsets);
        return st;
}

static void judge(struct run *r, size_t i)
{
        struct outcome *o = &r->outcomes[i];
        o->wrong = sequence_set_wrong(&r->sets[i], &r->arena);
        o->apart = !o->wrong;
        if (o->wrong && !sequence_set_plan(&r->sets[i], r->mode, &r->arena, o->statement, &o->why))
                memset(o->statement, 0, sizeof o->statement);
}

/* What the statements have made of them, for the table that is shown at the end. */
static void altered(struct run *r, size_t i)
{
        const struct sequence_set *s = &r->sets[i];
        struct sequence *list;
        size_t n;
        struct err ignored;
        for (size_t k = 0; k < s->n; k++) {
                region_id id = s->region[k]->id;
                if (sequences_read(r->pg[id.i], r->t, id, &r->arena, &list, &n, &ignored) != ST_OK)
                        continue;
                for (size_t j = 0; j < n; j++)
                        if (strcmp(list[j].name, s->name) == 0 && strcmp(list[j].schema, s->schema) == 0)
                                *s->seq[k] = list[j];
        }
}

/* ---- setting ------------------------------------------------------------------------------------------------------------------------- */
static enum status each_member(struct run *r, const struct sequence_set *s,
                               enum status (*step)(struct pg *, struct sequence *, struct err *), struct err *e)
{
        for (size_t k = 0; k < s->n; k++)
                if (step(r->pg[s->region[k]->id.i], s->seq[k], e) != ST_OK)
                        return err_wrap(e, "region %s", s->region[k]->name);
        return ST_OK;
}

/* Its START is set to what it is: nothing changes, and whoever wants a number waits. (LOCK TABLE takes no sequences.) */
static enum status lock(struct pg *c, struct sequence *s, struct err *e)
{
        struct buf sql;
        buf_init(&sql, 4096);
        buf_put_str(&sql, "BEGIN; SET LOCAL lock_timeout = '1s'; ALTER SEQUENCE ");
        pg_qualified(&sql, s->schema, s->name);
        buf_printf(&sql, " START WITH %" PRId64, s->start);
        enum status st = pg_exec(c, buf_cstr(&sql), NULL, e);
        buf_release(&sql);
        return st;
}

static enum status commit(struct pg *c, struct sequence *s, struct err *e)
{
        (void)s;
        return pg_exec(c, "COMMIT", NULL, e);
}

static void rollback(struct run *r, const struct sequence_set *s)
{
        struct err ignored;
        for (size_t k = 0; k < s->n; k++)
                if (!pg_lost(r->pg[s->region[k]->id.i]))
                        (void)!pg_exec(r->pg[s->region[k]->id.i], "ROLLBACK", NULL, &ignored);
}

/* One try. What was planned before it is planned anew, from what is there once nobody can take a number. */
static enum status set_once(struct run *r, size_t i, struct err *e)
{
        const struct sequence_set *s = &r->sets[i];
        struct outcome *o = &r->outcomes[i];
        enum status st = each_member(r, s, lock, e);
        if (st == ST_OK)
                st = each_member(r, s, sequence_look, e);
        if (st == ST_OK && !sequence_set_plan(s, r->mode, &r->arena, o->statement, &o->why))
                st = err_set(e, ST_CONFIG, "sequence %s.%s: %s", s->schema, s->name, o->why);
        for (size_t k = 0; k < s->n && st == ST_OK; k++)
                if (pg_exec(r->pg[s->region[k]->id.i], o->statement[k], NULL, e) != ST_OK)
                        st = err_wrap(e, "region %s: %s", s->region[k]->name, o->statement[k]);
        if (st == ST_OK && each_member(r, s, commit, e) != ST_OK)
                return err_wrap(e, "sequence %s.%s may be set in some regions only: run this again", s->schema, s->name);
        if (st != ST_OK)
                rollback(r, s);
        return st;
}

static enum status set_apart(struct run *r, size_t i, struct err *e)
{
        const struct sequence_set *s = &r->sets[i];
        struct outcome *o = &r->outcomes[i];
        enum status st;
        if (!o->statement[0])
                return ST_OK; /* there is no plan for it: shown */
        for (int try = 0;; try++) {
                st = set_once(r, i, e);
                if (st != ST_RETRY || strcmp(e->sqlstate, "55P03") != 0 || try == LOCK_TRIES)
                        break;
                if (try == 0)
                        fprintf(stderr, "%s.%s: in use, trying for half a minute: %s\n", s->schema, s->name, e->msg);
                (void)poll(NULL, 0, LOCK_WAIT_MS);
        }
        o->apart = st == ST_OK;
        for (size_t k = 0; k < s->n && st == ST_OK; k++)
                fprintf(stderr, "%s: %s\n", s->region[k]->name, o->statement[k]);
        if (st == ST_OK)
                altered(r, i);
        return st;
}

/* ---- showing ------------------------------------------------------------------------------------------------------------------------- */
static void add_set(struct text_table *t, const struct sequence_set *s, const struct outcome *o)
{
        for (size_t k = 0; k < s->n; k++) {
                const struct sequence *q = s->seq[k];
                int64_t next;
                text_table_row(t);
                if (k == 0) {
                        text_table_cell(t, 0, STYLE_NONE, "%s.%s", s->schema, s->name);
                        text_table_cell(t, 1, STYLE_NONE, "%s.%s.%s", q->table_schema, q->table, q->column);
                        text_table_cell(t, 6, o->apart ? STYLE_GOOD : STYLE_BAD, "%s", o->apart ? "apart" : "collide");
                }
                text_table_cell(t, 2, STYLE_NONE, "%s", s->region[k]->name);
                if (sequence_next(q, &next))
                        text_table_cell(t, 3, STYLE_NONE, "%" PRId64, next);
                else
                        text_table_cell(t, 3, STYLE_WARN, "none left");
                text_table_cell(t, 4, STYLE_NONE, "%" PRId64, q->increment);
                text_table_cell(t, 5, STYLE_NONE, "%" PRId64, q->max);
        }
}

static void print_table(const struct run *r)
{
        static const struct text_column columns[] = {
                {"SEQUENCE", false, KEEP_ALWAYS}, {"NUMBERS", false, 2}, {"REGION", false, KEEP_ALWAYS},
                {"NEXT", true, KEEP_ALWAYS},      {"STEP", true, 3},     {"MAX", true, 1},
                {"", false, KEEP_ALWAYS},
        };
        struct text_table t;
        text_table_init(&t, columns, sizeof columns / sizeof *columns);
        for (size_t i = 0; i < r->nsets; i++)
                add_set(&t, &r->sets[i], &r->outcomes[i]);
        text_table_show(&t);
        text_table_release(&t);
}

/* As comments, so that a region's part can be given to psql. */
static void print_statements(const struct run *r)
{
        for (size_t i = 0; i < r->nsets; i++)
                if (r->outcomes[i].wrong && !r->outcomes[i].apart)
                        printf("%s-- %s.%s: %s%s%s\n", i ? "" : "\n", r->sets[i].schema, r->sets[i].name, r->outcomes[i].wrong,
                               r->outcomes[i].why ? "; no plan: " : "", r->outcomes[i].why ? r->outcomes[i].why : "");
        for (size_t g = 0; g < r->t->nregions; g++) {
                bool any = false;
                for (size_t i = 0; i < r->nsets; i++)
                        for (size_t k = 0; k < r->sets[i].n; k++) {
                                if (r->sets[i].region[k] != &r->t->regions[g] || !r->outcomes[i].statement[k])
                                        continue;
                                if (!any)
                                        printf("\n-- region %s\n", r->t->regions[g].name);
                                any = true;
                                printf("%s;\n", r->outcomes[i].statement[k]);
                        }
        }
}

static void print_text(const struct run *r)
{
        if (r->nsets == 0) {
                printf("no sequence numbers a key of a table that several leaders write\n");
                return;
        }
        print_table(r);
        if (r->in->apply && r->ncollide == 0)
                return;
        print_statements(r);
        if (r->ncollide && !r->in->apply)
                fprintf(stderr, "%zu of %zu will collide; `pangea sequences --apply` runs the statements%s\n", r->ncollide,
                        r->nsets, r->mode == SEQUENCE_INTERLEAVE ? " (--mode ranges: another way)" : "");
}

static json_t *set_json(const struct sequence_set *s, const struct outcome *o)
{
        json_t *regions = json_array();
        for (size_t k = 0; k < s->n; k++) {
                int64_t next;
                bool more = sequence_next(s->seq[k], &next);
                json_array_append_new(regions, json_pack("{s:s, s:o, s:I, s:I, s:s?}", "region", s->region[k]->name, "next",
                                                         more ? json_integer(next) : json_null(), "increment",
                                                         (json_int_t)s->seq[k]->increment, "max", (json_int_t)s->seq[k]->max,
                                                         "statement", o->statement[k]));
        }
        return json_pack("{s:o, s:o, s:s, s:b, s:s?, s:s?, s:o}", "sequence", json_sprintf("%s.%s", s->schema, s->name), "table",
                         json_sprintf("%s.%s", s->seq[0]->table_schema, s->seq[0]->table), "column", s->seq[0]->column, "apart",
                         o->apart, "wrong", o->wrong, "why", o->why, "regions", regions);
}

static void print_json(const struct run *r)
{
        json_t *list = json_array();
        for (size_t i = 0; i < r->nsets; i++)
                json_array_append_new(list, set_json(&r->sets[i], &r->outcomes[i]));
        json_t *o = json_pack("{s:s, s:s, s:b, s:I, s:o}", "cluster", r->t->cluster, "mode",
                              r->mode == SEQUENCE_RANGES ? "ranges" : "interleave", "applied", r->in->apply, "collide",
                              (json_int_t)r->ncollide, "sequences", list);
        json_dumpf(o, stdout, JSON_INDENT(2));
        puts("");
        json_decref(o);
}

/* ---- the command --------------------------------------------------------------------------------------------------------------------- */
static int mode_of(const char *name, enum sequence_mode *out)
{
        struct suggestion s = {.written = name ? name : ""};
        *out = name && strcmp(name, "ranges") == 0 ? SEQUENCE_RANGES : SEQUENCE_INTERLEAVE;
        if (!name || strcmp(name, "ranges") == 0 || strcmp(name, "interleave") == 0)
                return EXIT_DONE;
        suggest_offer(&s, "interleave");
        suggest_offer(&s, "ranges");
        return refuse("bad_value", "--mode '%s': it is interleave or ranges%s", name, refuse_meant(&s, (char[REFUSE_MEANT]){0}));
}

static enum status go(struct run *r, struct err *e)
{
        enum status st = read_all(r, e);
        for (size_t i = 0; i < r->nsets && st == ST_OK; i++)
                judge(r, i);
        for (size_t i = 0; i < r->nsets && st == ST_OK && r->in->apply; i++)
                if (!r->outcomes[i].apart)
                        st = set_apart(r, i, e);
        for (size_t i = 0; i < r->nsets; i++)
                r->ncollide += !r->outcomes[i].apart;
        return st;
}

int cmd_sequences(struct invocation *in)
{
        int code;
        struct run *r = mem_zalloc(sizeof *r);
        struct err e = {0};
        r->in = in;
        code = mode_of(in->mode, &r->mode);
        if (code == EXIT_DONE && in->apply && in->dry_run)
                code = refuse("option_clash", "--apply and --dry-run: one of them");
        struct topology *t = code == EXIT_DONE ? invocation_topology(in, &code) : NULL;
        if (!t) {
                free(r);
                return code;
        }
        r->t = t;
        arena_init(&r->arena);
        if (go(r, &e) != ST_OK) {
                code = refuse_for("sequences", &e);
        } else {
                if (in->json)
                        print_json(r);
                else
                        print_text(r);
                code = r->ncollide ? EXIT_DEGRADED : EXIT_DONE;
        }
        for (size_t i = 0; i < t->nregions; i++)
                pg_close(r->pg[i]);
        arena_release(&r->arena);
        topology_free(t);
        free(r);
        return code;
}
