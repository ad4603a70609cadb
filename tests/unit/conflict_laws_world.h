/* conflict_laws_world: rules, and random regions that write one key under one of them, hear of each other in any order that causality allows,
 * forget what is stable, start again. Every answer of the core is held to what every answer must hold to. */
#ifndef PANGEA_TESTS_CONFLICT_LAWS_WORLD_H
#define PANGEA_TESTS_CONFLICT_LAWS_WORLD_H

#include "conflict_world.h"

#define REGIONS 4 /* at most; worlds have two to four */
#define MAX_MESSAGES 14

static enum status resolve_mix(void *ctx, const struct rule *r, const struct version *v, size_t n, struct arena *arena,
                               struct cell *row, struct err *e);

static const char *const priority[] = {"us", "ap"}, *const by_g[] = {"g"}, *const by_m_g[] = {"m", "g"};
#define COLUMNS(...)                                                                                \
        .ncolumns = sizeof((const struct column_spec[]){__VA_ARGS__}) / sizeof(struct column_spec), \
        .columns = (const struct column_spec[])                                                     \
        {                                                                                           \
                __VA_ARGS__                                                                         \
        }

static const struct rule_case {
        const char *name;
        struct rule_spec spec;
} rules[] = {
        {"last write wins", {.row = RULE_LAST_WRITE_WINS}},
        {"first write wins", {.row = RULE_FIRST_WRITE_WINS}},
        {"region priority", {.row = RULE_REGION_PRIORITY, .norder = 2, .order = priority}},
        {"greatest", {.row = RULE_GREATEST, .nby = 1, .by = by_g}},
        {"least of two columns", {.row = RULE_LEAST, .nby = 2, .by = by_m_g}},
        {"manual", {.row = RULE_MANUAL}},
        {"greatest, delete wins", {.row = RULE_GREATEST, .nby = 1, .by = by_g, .delete_wins = true}},
        {"last write wins, delete wins", {.row = RULE_LAST_WRITE_WINS, .delete_wins = true}},
        {"sql", {.row = RULE_SQL, .function = "public.f"}},
        {"columns by value", {.row = RULE_LAST_WRITE_WINS, COLUMNS({"g", COLUMN_GREATEST}, {"m", COLUMN_LEAST})}},
        {"greatest, one column by time", {.row = RULE_GREATEST, .nby = 1, .by = by_g, COLUMNS({"a", COLUMN_LAST_WRITE_WINS})}},
        {"text by lines", {.row = RULE_LAST_WRITE_WINS, COLUMNS({"t", COLUMN_TEXT_MERGE})}},
        {"text by words", {.row = RULE_FIRST_WRITE_WINS, COLUMNS({"t", COLUMN_TEXT_MERGE_WORDS})}},
        {"delta", {.row = RULE_LAST_WRITE_WINS, COLUMNS({"n", COLUMN_DELTA}, {"m", COLUMN_DELTA})}},
        {"delta, greatest", {.row = RULE_GREATEST, .nby = 1, .by = by_g, COLUMNS({"n", COLUMN_DELTA})}},
        {"union", {.row = RULE_LAST_WRITE_WINS, COLUMNS({"s", COLUMN_UNION}, {"j", COLUMN_UNION})}},
        {"json_merge", {.row = RULE_LAST_WRITE_WINS, COLUMNS({"d", COLUMN_JSON_MERGE})}},
        {"all that adds up",
         {.row = RULE_REGION_PRIORITY,
          .norder = 2,
          .order = priority,
          COLUMNS({"n", COLUMN_DELTA}, {"s", COLUMN_UNION}, {"d", COLUMN_JSON_MERGE}, {"g", COLUMN_GREATEST})}},
        {"column_merge", {.row = RULE_COLUMN_MERGE}},
        {"column_merge with rules",
         {.row = RULE_COLUMN_MERGE,
          COLUMNS({"g", COLUMN_GREATEST}, {"n", COLUMN_DELTA}, {"s", COLUMN_UNION}, {"j", COLUMN_UNION}, {"d", COLUMN_JSON_MERGE},
                  {"t", COLUMN_TEXT_MERGE_WORDS}, {"m", COLUMN_LEAST})}},
};
enum { NRULES = sizeof rules / sizeof *rules };

/* A row of its own: the greatest text of each column. */
static enum status resolve_mix(void *ctx, const struct rule *r, const struct version *v, size_t n, struct arena *arena,
                               struct cell *row, struct err *e)
{
        (void)ctx, (void)arena, (void)e;
        for (uint16_t c = 0; c < r->ncols; c++) {
                row[c] = v[0].row[c];
                for (size_t i = 1; i < n; i++)
                        if (value_cmp(TYPE_OTHER, v[i].row[c], row[c]) > 0)
                                row[c] = v[i].row[c];
        }
        return ST_OK;
}

/* ---- the world ----------------------------------------------------------------------------------------------------------------------- */
struct region {
        struct key_state state;
        struct vector seen;
        hlc_t last;
        struct dot local;             /* the version that stands was written here; hlc 0: it was not */
        struct vector heard[REGIONS]; /* what each log says that its region had applied, as far as it is applied here */
        bool may_race;                /* nobody wrote here since a delete was applied: */
        struct vector raced;          /* .. a transaction that had begun before it may still insert */
        const struct rule *rule;
};
struct world {
        const char *name;
        struct arena *arena;
        struct regset regs;
        unsigned rand;
        enum forgets { NOTHING, CLOSED_SETS, STABLE_DOTS } forgets;
        uint8_t regions;
        struct region r[REGIONS];
        const struct cell *common; /* the row at the beginning, or NULL */
        size_t n;
        struct incoming log[MAX_MESSAGES]; /* in the order in which they were written */
};

static unsigned pick(struct world *w, unsigned n)
{
        return (unsigned)rand_r(&w->rand) / 7 % n;
}

static struct dot common_dot(void)
{
        return (struct dot){.region = {0}, .hlc = {0}};
}

static struct key_state first_state(struct world *w, const struct rule *rule)
{
        struct key_state s = {.row = w->common};
        if (w->common) {
                struct version *v = ARENA_NEW(w->arena, struct version);
                *v = (struct version){.dot = common_dot(), .row = w->common, .rule = rule};
                s.nsibs = 1, s.sibs = v;
        }
        return s;
}

/* Some of these words, as an array or an object, in any order. */
static const char *some(struct world *w, const char *open, const char *comma, const char *close, const char *const *words,
                        unsigned n)
{
        const char *s = open;
        bool any = false;
        unsigned start = pick(w, n);
        for (unsigned i = 0; i < n; i++)
                if (pick(w, 2)) {
                        s = arena_printf(w->arena, "%s%s%s", s, any ? comma : "", words[(start + i) % n]);
                        any = true;
                }
        return arena_printf(w->arena, "%s%s", s, close);
}

static struct cell random_value(struct world *w, int col)
{
        static const char *const elements[] = {"a", "b", "\"c d\"", "NULL", "\"x\\\"},y\""}, *const json[] = {"1", "1.0",
                                                                                                              "{\"a\": [1, 2]}",
                                                                                                              "\"],\""};
        static const char *const numbers[] = {"1", "-2.50", "10.125", "99999999999999999999", "0"};
        static const char *const lines[] = {"one two\nthree\nfour five\n", "one 2\nthree\nfour five\n", "one two\nthree\nfour 5\n",
                                            "one two\n3\nfour five\n", "one two\nfour five\n"};
        switch (col) {
        case C_ID: return cell("1");
        case C_A: return cell(arena_printf(w->arena, "text%u", pick(w, 5)));
        case C_G: return pick(w, 8) ? cell(arena_printf(w->arena, "%d", (int)pick(w, 30) - 10)) : cell(NULL);
        case C_M: return pick(w, 8) ? cell(arena_printf(w->arena, "%u", pick(w, 4))) : cell(NULL);
        case C_N: return pick(w, 8) ? cell(numbers[pick(w, 5)]) : cell(NULL);
        case C_S:
                if (pick(w, 12) == 0)
                        return pick(w, 3) ? cell(NULL) : cell("{{1,2},{3,4}}");
                return cell(some(w, "{", ",", "}", elements, 5));
        case C_J:
                return pick(w, 12) ? cell(some(w, "[", ", ", "]", json, 4)) : pick(w, 2) ? cell(NULL) : cell("{\"no\": \"array\"}");
        case C_D: {
                if (pick(w, 12) == 0)
                        return pick(w, 2) ? cell(NULL) : cell("[1, 2]");
                const char *fields[] = {arena_printf(w->arena, "\"a\": %u", pick(w, 3)),
                                        arena_printf(w->arena, "\"b\": [%u, \"}\"]", pick(w, 2)),
                                        arena_printf(w->arena, "\"\\\"\": %u", pick(w, 2))};
                /* as jsonb prints it: shorter keys first, then by bytes ('"' is before 'a') */
                const char *s = "";
                static const int order[] = {2, 0, 1};
                for (int i = 0; i < 3; i++)
                        if (pick(w, 3))
                                s = arena_printf(w->arena, "%s%s%s", s, *s ? ", " : "", fields[order[i]]);
                return cell(arena_printf(w->arena, "{%s}", s));
        }
        case C_T: return cell(lines[pick(w, 5)]);
        default: return cell("?");
        }
}

static const struct cell *random_row(struct world *w, const struct cell *from)
{
        struct cell *row = ARENA_ARRAY(w->arena, struct cell, NCOLS);
        for (int i = 0; i < NCOLS; i++)
                row[i] = from && (i == C_ID || pick(w, 2)) ? from[i] : random_value(w, i);
        return row;
}

static void fail_at(const struct world *w, const char *what)
{
        printf("rule %s, history:\n  common %s\n", w->name, row_str(w->arena, w->common));
        for (size_t i = 0; i < w->n; i++) {
                char seen[200];
                const struct incoming *in = &w->log[i];
                printf("  %s%s%s saw %s: %s\n     from %s\n", dot_text(w->arena, in->v.dot, &w->regs), in->had_del ? " del" : "",
                       in->fresh ? " fresh" : "", vector_str(seen, sizeof seen, &in->v.seen, &w->regs),
                       row_str(w->arena, in->v.row), row_str(w->arena, in->v.old));
        }
        fail_msg("%s", what);
}

/* What every answer must hold to. */
static void check(const struct world *w, const struct key_state *before, const struct merge *m)
{
        const struct key_state *a = &m->after;
        if ((a->row != NULL) != (a->nsibs > 0) || (!a->row && a->ndots && a->dots[a->ndots - 1].col != C_ID))
                fail_at(w, "a row without siblings, or siblings without a row");
        if (a->nsibs == 1 && !row_same(a->row, a->sibs[0].row))
                fail_at(w, "one version, but the row is not its image");
        for (size_t i = 1; i < a->nsibs; i++)
                if (dot_cmp(a->sibs[i - 1].dot, a->sibs[i].dot, &w->regs) >= 0)
                        fail_at(w, "siblings are not in the order of their dots");
        if (m->act == MERGE_KEEP && !row_same(before->row, a->row))
                fail_at(w, "KEEP, but the row changed");
        if (m->act == MERGE_DELETE && (a->row || !before->row))
                fail_at(w, "DELETE of nothing, or of a row that stays");
        if (m->act == MERGE_PUT && !a->row)
                fail_at(w, "PUT of nothing");
        if (a->nsibs > 1 && m->sibs_changed && m->nlosers == 0)
                fail_at(w, "a conflict that nobody lost");
}

static struct key_state remote(const struct world *w, const struct rule *rule, const struct key_state *s, const struct incoming *in)
{
        struct merge m;
        struct err e;
        if (merge_remote(rule, s, in, &w->regs, w->arena, &m, &e) != ST_OK)
                fail_at(w, e.msg);
        check(w, s, &m);
        return m.after;
}

static struct key_state own(const struct world *w, const struct rule *rule, const struct key_state *s, const struct incoming *in,
                            bool local)
{
        struct merge m;
        struct err e;
        if (merge_own(rule, s, in, local, &w->regs, w->arena, &m, &e) != ST_OK)
                fail_at(w, e.msg);
        check(w, s, &m);
        return m.after;
}

static bool is_local(const struct region *r, const struct incoming *in)
{
        return r->local.hlc.v && r->local.hlc.v == in->v.dot.hlc.v && r->local.region.i == in->v.dot.region.i;
}

/* ---- what is stable is forgotten ------------------------------------------------------------------------------------------------------- */
static struct vector stable_at(const struct world *w, uint8_t me)
{
        struct vector v = w->r[me].may_race ? w->r[me].raced : w->r[me].seen;
        for (uint8_t o = 0; o < w->regions; o++)
                for (uint8_t i = 0; o != me && i < w->regions; i++)
                        if (w->r[me].heard[o].at[i].v < v.at[i].v)
                                v.at[i] = w->r[me].heard[o].at[i];
        return v;
}

static const struct incoming *next_of(const struct world *w, const struct vector *seen, uint8_t o);

/* A PROGRESS of each region whose log is applied to its end, and what may go then. */
static void forget(struct world *w, uint8_t me)
{
        struct region *r = &w->r[me];
        for (uint8_t o = 0; o < w->regions; o++) {
                bool behind = false;
                for (size_t i = 0; i < w->n; i++)
                        behind = behind || (w->log[i].v.dot.region.i == o && w->log[i].v.dot.hlc.v > r->seen.at[o].v);
                if (!behind)
                        r->heard[o] = w->r[o].may_race ? w->r[o].raced : w->r[o].seen; /* it may still write without it */
        }
        struct vector stable = stable_at(w, me);
        for (uint8_t i = 0; i < w->regions; i++)
                if (r->state.tombs.at[i].v <= stable.at[i].v)
                        r->state.tombs.at[i].v = 0;
        bool closed = merge_stable(r->state.sibs, r->state.nsibs, &stable);
        if (closed || w->forgets == STABLE_DOTS) {
                struct column_dot *left = ARENA_ARRAY(w->arena, struct column_dot, r->state.ndots);
                for (size_t i = 0; i < r->state.ndots; i++)
                        left[i] = r->state.dots[i];
                merge_forget_dots(left, &r->state.ndots, &stable);
                r->state.dots = left;
        }
        if (!closed || !r->state.row)
                return;
        struct version *v = ARENA_NEW(w->arena, struct version);
        *v = (struct version){.dot = common_dot(), .row = r->state.row, .rule = r->rule};
        r->state.nsibs = 1, r->state.sibs = v;
        r->local.hlc.v = 0;
}

/* The daemon starts again, and reads its own log from some point on: nothing changes. */
static void reread(struct world *w, uint8_t me)
{
        struct region *r = &w->r[me];
        size_t from = w->n ? pick(w, (unsigned)w->n) : 0;
        uint64_t stable = stable_at(w, me).at[me].v; /* nobody reads what lies before */
        const char *before = state_str(w->arena, &r->state, &w->regs);
        for (size_t i = from; i < w->n; i++)
                if (w->log[i].v.dot.region.i == me && (!w->forgets || w->log[i].v.dot.hlc.v > stable))
                        r->state = own(w, r->rule, &r->state, &w->log[i], is_local(r, &w->log[i]));
        const char *after = state_str(w->arena, &r->state, &w->regs);
        if (strcmp(before, after))
                fail_at(w, arena_printf(w->arena, "the own log read twice, at %s:\n%s\n%s", w->regs.name[me], before, after));
}

static void write_local(struct world *w, uint8_t me)
{
        struct region *r = &w->r[me];
        bool race = r->may_race && pick(w, 2);
        struct incoming *in = &w->log[w->n++];
        *in = (struct incoming){.v = {.dot = {.region = {me}}, .seen = race ? r->raced : r->seen, .rule = r->rule}};
        uint64_t h = r->last.v + 1 + pick(w, 4);
        for (int i = 0; i < w->regions; i++)
                h = in->v.seen.at[i].v >= h ? in->v.seen.at[i].v + 1 : h;
        if (pick(w, 6) == 0)
                h += 20; /* a clock that is ahead */
        in->v.dot.hlc = r->last = in->v.seen.at[me] = (hlc_t){h};
        unsigned what = pick(w, 6);
        bool was = r->state.row != NULL;
        in->is_insert = !was;
        in->had_del = was && what <= 1;
        in->fresh = !was || what == 1;
        in->v.row = was && what == 0 ? NULL : random_row(w, in->fresh ? NULL : r->state.row);
        in->v.old = in->fresh || !in->v.row ? NULL : r->state.row;
        struct version *v = ARENA_NEW(w->arena, struct version);
        *v = in->v;
        r->state.row = in->v.row;
        r->state.nsibs = in->v.row ? 1 : 0;
        r->state.sibs = v;
        r->local = in->v.row ? in->v.dot : (struct dot){.hlc = {0}};
        r->seen.at[me] = in->v.dot.hlc;
        r->may_race = false;
        r->state = own(w, r->rule, &r->state, in, in->v.row != NULL);
}

/* Of region o, the first that r has not applied. */
static const struct incoming *next_of(const struct world *w, const struct vector *seen, uint8_t o)
{
        for (size_t i = 0; i < w->n; i++) {
                const struct vector *needs = &w->log[i].v.seen;
                if (w->log[i].v.dot.region.i != o || w->log[i].v.dot.hlc.v <= seen->at[o].v)
                        continue;
                for (uint8_t x = 0; x < w->regions; x++)
                        if (x != o && needs->at[x].v > seen->at[x].v)
                                return NULL;
                return &w->log[i];
        }
        return NULL;
}

static bool apply_next(struct world *w, uint8_t me, uint8_t o)
{
        struct region *r = &w->r[me];
        const struct incoming *in = o == me ? NULL : next_of(w, &r->seen, o);
        if (!in)
                return false;
        bool absent = !r->state.row;
        struct vector before = r->seen;
        struct key_state was = r->state;
        r->state = remote(w, r->rule, &r->state, in);
        r->seen.at[o] = in->v.dot.hlc;
        if (r->state.nsibs != 1 || dot_cmp(r->state.sibs[0].dot, r->local, &w->regs))
                r->local.hlc.v = 0;
        if (absent && !r->state.row && !in->v.row && !r->may_race)
                r->may_race = true, r->raced = before;
        else if (r->state.row)
                r->may_race = false;
        if (pick(w, 5) == 0) {
                const char *once = state_str(w->arena, &r->state, &w->regs);
                struct key_state twice = remote(w, r->rule, &r->state, in);
                if (strcmp(once, state_str(w->arena, &twice, &w->regs)))
                        fail_at(w, arena_printf(w->arena, "%s twice: %s\n%s\nwas %s", dot_text(w->arena, in->v.dot, &w->regs), once,
                                                state_str(w->arena, &twice, &w->regs), state_str(w->arena, &was, &w->regs)));
        }
        return true;
}

static void drain(struct world *w)
{
        for (bool any = true; any;) {
                any = false;
                for (uint8_t me = 0; me < w->regions; me++)
                        for (uint8_t k = 0, o0 = (uint8_t)pick(w, w->regions); k < w->regions; k++)
                                any = apply_next(w, me, (uint8_t)((o0 + k) % w->regions)) || any;
        }
}

static void run(struct world *w, unsigned messages)
{
        w->common = pick(w, 3) ? random_row(w, NULL) : NULL;
        for (uint8_t i = 0; i < w->regions; i++)
                w->r[i].state = first_state(w, w->r[i].rule);
        while (w->n < messages) {
                uint8_t me = (uint8_t)pick(w, w->regions);
                switch (pick(w, 4)) {
                case 0: write_local(w, me); break;
                case 1:
                        reread(w, me);
                        if (w->forgets)
                                forget(w, me);
                        break;
                default: apply_next(w, me, (uint8_t)pick(w, w->regions)); break;
                }
        }
        drain(w);
        for (uint8_t i = 0; i < w->regions; i++)
                w->r[i].may_race = false;
        for (uint8_t i = 0; w->forgets && i < w->regions; i++)
                forget(w, i); /* everything: nothing but the row is left */
        for (uint8_t i = 1; i < w->regions; i++) {
                const char *a = state_str(w->arena, &w->r[0].state, &w->regs), *b = state_str(w->arena, &w->r[i].state, &w->regs);
                if (strcmp(a, b))
                        fail_at(w,
                                arena_printf(w->arena, "regions differ:\n%s: %s\n%s: %s", w->regs.name[0], a, w->regs.name[i], b));
        }
}

#endif
