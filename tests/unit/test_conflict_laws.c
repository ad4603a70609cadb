/* Laws of the conflict core: regions that write one key and hear of each other in every order that causality allows end with the same row, the
 * same siblings and the same column dots; what comes twice changes nothing; and the row is the one that the whole history, judged at once by a
 * naive oracle, gives.  WORLDS=n seeds for each rule (default 400), SEED=s only that one. */
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

/* ---- every order that causality allows ------------------------------------------------------------------------------------------------ */
struct orders {
        struct world *w;
        const struct rule *rule;
        const char *want;
        unsigned left;
};

static void every_order(struct orders *x, struct key_state s, struct vector seen)
{
        bool end = true;
        for (uint8_t o = 0; o < x->w->regions && x->left; o++) {
                const struct incoming *in = next_of(x->w, &seen, o);
                if (!in)
                        continue;
                end = false;
                struct vector then = seen;
                then.at[o] = in->v.dot.hlc;
                every_order(x, remote(x->w, x->rule, &s, in), then);
        }
        if (!end || !x->left)
                return;
        x->left--;
        const char *got = state_str(x->w->arena, &s, &x->w->regs);
        if (strcmp(got, x->want))
                fail_at(x->w, arena_printf(x->w->arena, "another order gives another end:\n%s\n%s", x->want, got));
}

/* ---- the oracle ------------------------------------------------------------------------------------------------------------------------ */
static bool covers(const struct incoming *later, const struct incoming *earlier)
{
        return earlier->v.dot.hlc.v <= later->v.seen.at[earlier->v.dot.region.i].v;
}

static bool deletes(const struct incoming *in)
{
        return in->had_del || !in->v.row;
}

/* Is there a delete that ends this version: by killing it, or because it had seen it? */
static bool ended(const struct world *w, const struct incoming *in)
{
        for (size_t i = 0; i < w->n; i++) {
                const struct incoming *d = &w->log[i];
                if (!deletes(d) || d == in)
                        continue;
                if (covers(d, in))
                        return true;
                if (!covers(in, d) && (in->v.rule->delete_wins || dot_cmp(d->v.dot, in->v.dot, &w->regs) > 0))
                        return true;
        }
        return false;
}

static bool any_delete(const struct world *w)
{
        for (size_t i = 0; i < w->n; i++)
                if (deletes(&w->log[i]))
                        return true;
        return false;
}

/* The versions that nobody has seen and no delete has ended, ascending dots. */
static size_t living(const struct world *w, struct version *out)
{
        size_t n = 0;
        for (size_t i = 0; i < w->n; i++) {
                bool seen = !w->log[i].v.row || ended(w, &w->log[i]);
                for (size_t k = 0; k < w->n && !seen; k++)
                        seen = k != i && covers(&w->log[k], &w->log[i]);
                if (seen)
                        continue;
                size_t at = n++;
                for (; at && dot_cmp(out[at - 1].dot, w->log[i].v.dot, &w->regs) > 0; at--)
                        out[at] = out[at - 1];
                out[at] = w->log[i].v;
        }
        return n;
}

static struct cell before_of(const struct incoming *in, int col)
{
        return in->v.old ? in->v.old[col] : cell(NULL);
}

/* Changes that add up: those of this life of the row. */
static bool counts(const struct world *w, const struct incoming *in)
{
        return in->v.row && !ended(w, in);
}

/* In tenths of thousandths; the values of random_value have at most three digits behind the point. */
static __int128 thousandths(struct cell c)
{
        __int128 v = 0;
        int behind = -1;
        for (uint32_t i = 0; i < c.len; i++) {
                if (c.data[i] == '.')
                        behind = 0;
                else if (c.data[i] != '-')
                        v = v * 10 + (c.data[i] - '0'), behind += behind >= 0;
        }
        for (behind = behind < 0 ? 0 : behind; behind < 3; behind++)
                v *= 10;
        return c.len && c.data[0] == '-' ? -v : v;
}

static void sums_are_exact(const struct world *w, int col)
{
        const struct cell *row = w->r[0].state.row;
        __int128 sum = w->common && !any_delete(w) ? thousandths(w->common[col]) : 0;
        for (size_t i = 0; i < w->n; i++)
                if (counts(w, &w->log[i]))
                        sum += thousandths(w->log[i].v.row[col]) - thousandths(before_of(&w->log[i], col));
        if (row && thousandths(row[col]) != sum)
                fail_at(w, arena_printf(w->arena, "%s: the sum is not that of all changes", world_columns[col].name));
}

/* Does the text of an array or an object hold this element? By hand, on purpose: elements are told apart by what surrounds them. */
static bool holds(struct world *w, struct cell c, const char *element)
{
        if (!c.data || c.len < 2)
                return false;
        const char *s = arena_printf(w->arena, ",%.*s,", (int)c.len - 2, c.data + 1);
        return strstr(s, arena_printf(w->arena, ",%s,", element)) || strstr(s, arena_printf(w->arena, ", %s,", element));
}

static bool is_kind(struct cell c, char open)
{
        return !c.data || c.data[0] == open;
}

/* An element is in when somebody added it and nobody who had seen that took it out; or it was there at first and nobody took it out. */
static bool alive(struct world *w, int col, const char *element)
{
        for (size_t a = 0; a <= w->n; a++) {
                const struct incoming *add = a < w->n ? &w->log[a] : NULL;
                bool there = add ? counts(w, add) && holds(w, add->v.row[col], element) && !holds(w, before_of(add, col), element)
                                 : w->common && !any_delete(w) && holds(w, w->common[col], element);
                for (size_t i = 0; i < w->n && there; i++) {
                        const struct incoming *r = &w->log[i];
                        bool takes = r != add && counts(w, r) && holds(w, before_of(r, col), element) &&
                                     !holds(w, r->v.row[col], element);
                        there = !(takes && (!add || covers(r, add)));
                }
                if (there)
                        return true;
        }
        return false;
}

/* Was the column ever something else than an array (or object)? Such histories are only held to agreement. */
static bool was_other(const struct world *w, int col, char open, const char *but)
{
        for (size_t i = 0; i <= w->n; i++) {
                const struct cell *row = i < w->n ? w->log[i].v.row : w->common;
                if (row && (!is_kind(row[col], open) || (but && row[col].data && strncmp(row[col].data, but, strlen(but)) == 0)))
                        return true;
        }
        return false;
}

static void set_is_right(struct world *w, int col)
{
        static const char *const elements[] = {"a", "b", "\"c d\"", "NULL", "\"x\\\"},y\""}, *const json[] = {"1", "1.0",
                                                                                                              "{\"a\": [1, 2]}",
                                                                                                              "\"],\""};
        const char *const *all = col == C_S ? elements : json;
        const struct cell *row = w->r[0].state.row;
        if (!row || was_other(w, col, col == C_S ? '{' : '[', col == C_S ? "{{" : NULL))
                return;
        for (int i = 0; i < (col == C_S ? 5 : 4); i++)
                if (holds(w, row[col], all[i]) != alive(w, col, all[i]))
                        fail_at(w, arena_printf(w->arena, "%s: element %s", world_columns[col].name, all[i]));
}

/* The value of a field: the one number or array behind its name. NULL: no such field. */
static const char *field(struct world *w, struct cell object, const char *name)
{
        const char *s = object.data ? arena_strndup(w->arena, object.data, object.len) : "";
        const char *at = strstr(s, arena_printf(w->arena, "%s: ", name));
        if (!at)
                return NULL;
        at += strlen(name) + 2;
        const char *end = strchr(at, at[0] == '[' ? ']' : at[strcspn(at, ",}")]);
        return arena_strndup(w->arena, at, (size_t)(end - at) + (at[0] == '['));
}

static bool str_same(const char *a, const char *b)
{
        return a == b || (a && b && strcmp(a, b) == 0);
}

static void fields_are_right(struct world *w)
{
        static const char *const names[] = {"\"a\"", "\"b\"", "\"\\\"\""};
        const struct cell *row = w->r[0].state.row;
        if (!row || was_other(w, C_D, '{', NULL))
                return;
        for (int f = 0; f < 3; f++) {
                const char *want = w->common && !any_delete(w) ? field(w, w->common[C_D], names[f]) : NULL;
                const struct incoming *last = NULL;
                bool touched = false;
                for (size_t i = 0; i < w->n; i++) {
                        const struct incoming *p = &w->log[i];
                        const char *to = p->v.row ? field(w, p->v.row[C_D], names[f]) : NULL;
                        if (!counts(w, p) || str_same(to, field(w, before_of(p, C_D), names[f])))
                                continue;
                        touched = true;
                        bool replaced = !to;
                        for (size_t k = 0; k < w->n && !replaced; k++) {
                                const struct incoming *q = &w->log[k];
                                replaced = k != i && counts(w, q) && covers(q, p) &&
                                           !str_same(field(w, q->v.row[C_D], names[f]), field(w, before_of(q, C_D), names[f]));
                        }
                        if (!replaced && (!last || dot_cmp(p->v.dot, last->v.dot, &w->regs) > 0))
                                last = p;
                }
                if (touched)
                        want = last ? field(w, last->v.row[C_D], names[f]) : NULL;
                const char *got = field(w, row[C_D], names[f]);
                if (!str_same(want, got))
                        fail_at(w,
                                arena_printf(w->arena, "field %s: %s, not %s", names[f], got ? got : "none", want ? want : "none"));
        }
}

/* A column of column_merge: the last change, or the greatest or least of those that no other has seen. */
static void register_is_right(struct world *w, int col, enum column_rule rule)
{
        const struct cell *row = w->r[0].state.row;
        if (!row)
                return;
        const struct incoming *best = NULL;
        for (size_t i = 0; i < w->n; i++) {
                const struct incoming *p = &w->log[i];
                if (!counts(w, p) || (p->v.old && cell_equal(p->v.old[col], p->v.row[col])))
                        continue;
                bool replaced = false;
                for (size_t k = 0; k < w->n; k++) {
                        const struct incoming *q = &w->log[k];
                        replaced = replaced || (k != i && counts(w, q) && covers(q, p) &&
                                                !(q->v.old && cell_equal(q->v.old[col], q->v.row[col])));
                }
                if (replaced)
                        continue;
                int c = best ? dot_cmp(p->v.dot, best->v.dot, &w->regs) : 1;
                if (best && rule != COLUMN_OF_ROW) {
                        struct cell a = p->v.row[col], b = best->v.row[col];
                        int by = value_cmp(TYPE_INT, a, b);
                        by = rule == COLUMN_LEAST && a.data && b.data ? -by : by;
                        c = by ? by : c;
                }
                if (c > 0)
                        best = p;
        }
        struct cell want = best ? best->v.row[col] : w->common ? w->common[col] : cell(NULL);
        if (!cell_equal(want, row[col]))
                fail_at(w, arena_printf(w->arena, "%s: %s, not %s", world_columns[col].name, cell_str(w->arena, row[col]),
                                        cell_str(w->arena, want)));
}

static void check_column(struct world *w, const struct rule *rule, int col, const struct cell *outcome)
{
        enum column_rule r = rule->cols[col].rule;
        bool merge = rule->row == RULE_COLUMN_MERGE && col != C_ID;
        if (r == COLUMN_DELTA)
                sums_are_exact(w, col);
        else if (r == COLUMN_UNION)
                set_is_right(w, col);
        else if (r == COLUMN_JSON_MERGE)
                fields_are_right(w);
        else if (merge && r != COLUMN_TEXT_MERGE_WORDS)
                register_is_right(w, col, r);
        else if (!merge && !cell_equal(w->r[0].state.row[col], outcome[col]))
                fail_at(w, arena_printf(w->arena, "%s is not the outcome of the set", world_columns[col].name));
}

static void judge(struct world *w, const struct rule *rule)
{
        const struct key_state *s = &w->r[0].state;
        struct version v[MAX_MESSAGES];
        size_t n = living(w, v), winner;
        bool common = n == 0 && w->common && !any_delete(w) && w->n == 0;
        if (rule_is_register(rule) && n > 1)
                v[0] = v[n - 1], n = 1;
        if (common)
                return;
        if ((n > 0) != (s->nsibs > 0))
                fail_at(w, n ? "a version lives, but there is no row" : "a row without a living version");
        if (!w->forgets && n != s->nsibs)
                fail_at(w, arena_printf(w->arena, "%zu living versions, not %zu", s->nsibs, n));
        for (size_t i = 0; !w->forgets && i < n; i++)
                if (dot_cmp(v[i].dot, s->sibs[i].dot, &w->regs))
                        fail_at(w, arena_printf(w->arena, "%s is not among the living", dot_text(w->arena, v[i].dot, &w->regs)));
        if (n == 0)
                return;
        struct cell outcome[NCOLS];
        struct err e;
        if (merge_outcome(v, n, &w->regs, w->arena, outcome, &winner, &e) != ST_OK)
                fail_at(w, e.msg);
        for (int col = 0; col < NCOLS; col++)
                check_column(w, rule, col, outcome);
}

/* ---- the laws --------------------------------------------------------------------------------------------------------------------------- */
static unsigned number(const char *name, unsigned otherwise)
{
        const char *s = getenv(name);
        return s && *s ? (unsigned)strtoul(s, NULL, 10) : otherwise;
}

static struct rule *bound(struct arena *arena, const struct rule_case *c, const struct regset *regs, uint32_t generation)
{
        struct rule *r = bind_rule(arena, &c->spec, regs);
        r->generation = generation;
        r->from = (region_id){0};
        r->resolve = c->spec.row == RULE_SQL ? resolve_mix : NULL;
        return r;
}

static void one_world(struct arena *arena, const struct rule_case *c, unsigned seed)
{
        struct world w = {
                .name = arena_printf(arena, "%s, SEED=%u", c->name, seed), .arena = arena, .regs = world_regions(), .rand = seed};
        const struct rule *rule = bound(arena, c, &w.regs, 1);
        w.regions = (uint8_t)(2 + pick(&w, 3));
        w.forgets = (enum forgets)(pick(&w, 4) % 3);
        for (int i = 0; i < w.regions; i++)
                w.r[i].rule = rule;
        run(&w, 3 + pick(&w, MAX_MESSAGES - 3));
        judge(&w, rule);
        if (w.n > 7 || w.forgets)
                return;
        struct orders x = {&w, rule, state_str(arena, &w.r[0].state, &w.regs), 60};
        every_order(&x, first_state(&w, rule), (struct vector){0});
}

static void regions_agree(void **state)
{
        (void)state;
        unsigned seed = number("SEED", 0), worlds = number("WORLDS", 400);
        struct arena arena;
        arena_init(&arena);
        for (int r = 0; r < NRULES; r++)
                for (unsigned s = 1; s <= worlds; s++) {
                        one_world(&arena, &rules[r], seed ? seed : s);
                        arena_reset(&arena);
                }
        arena_release(&arena);
}

/* Regions that learn of a new rule at different moments. Changes that need a quiet table (rulebook_hard_change) are left out. */
static void generations_agree(void **state)
{
        (void)state;
        unsigned seed = number("SEED", 0), worlds = number("WORLDS", 400);
        struct arena arena;
        arena_init(&arena);
        for (unsigned s = 1; s <= worlds * 10; s++) {
                struct world w = {.arena = &arena, .regs = world_regions(), .rand = seed ? seed : s};
                w.regions = (uint8_t)(2 + pick(&w, 3));
                const struct rule_case *plain[NRULES];
                unsigned n = 0;
                for (int r = 0; r < NRULES; r++)
                        if (!rule_spec_accumulates(&rules[r].spec))
                                plain[n++] = &rules[r];
                const struct rule_case *from = plain[pick(&w, n)], *to = plain[pick(&w, n)];
                if ((from == &rules[0] && to->spec.delete_wins) || (to == &rules[0] && from->spec.delete_wins))
                        continue;
                w.name = arena_printf(&arena, "from %s to %s, SEED=%u", from->name, to->name, s);
                const struct rule *first = bound(&arena, from, &w.regs, 1), *then = bound(&arena, to, &w.regs, 2);
                unsigned when[REGIONS], messages = 3 + pick(&w, MAX_MESSAGES - 3);
                for (int i = 0; i < w.regions; i++)
                        w.r[i].rule = first, when[i] = pick(&w, messages);
                w.common = pick(&w, 2) ? random_row(&w, NULL) : NULL;
                for (uint8_t i = 0; i < w.regions; i++)
                        w.r[i].state = first_state(&w, first);
                while (w.n < messages) {
                        uint8_t me = (uint8_t)pick(&w, w.regions);
                        w.r[me].rule = w.n >= when[me] ? then : first;
                        if (pick(&w, 3) == 0)
                                write_local(&w, me);
                        else
                                apply_next(&w, me, (uint8_t)pick(&w, w.regions));
                }
                drain(&w);
                for (uint8_t i = 1; i < w.regions; i++) {
                        const char *a = state_str(&arena, &w.r[0].state, &w.regs), *b = state_str(&arena, &w.r[i].state, &w.regs);
                        if (strcmp(a, b))
                                fail_at(&w, arena_printf(&arena, "regions differ:\n%s\n%s", a, b));
                }
                arena_reset(&arena);
        }
        arena_release(&arena);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(regions_agree),
                cmocka_unit_test(generations_agree),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
