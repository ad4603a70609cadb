/* What one change makes of what stands: which rule keeps which version, what is written, what is recorded, what a delete kills. */
#include "conflict_world.h"

/* A version in short: "eu:5" or "eu:5<us:3,ap:2" (what it had seen beside itself), its values of (g, n, a), its values before. */
struct short_version {
        const char *dot, *seen;
        const char *g, *n, *a;
        const char *old_n; /* NULL: inserted */
};

struct bench {
        struct arena arena;
        struct regset regs;
};

static int setup(void **state)
{
        struct bench *b = calloc(1, sizeof *b);
        arena_init(&b->arena);
        b->regs = world_regions();
        *state = b;
        return 0;
}

static int teardown(void **state)
{
        struct bench *b = *state;
        arena_release(&b->arena);
        free(b);
        return 0;
}

static struct dot dot_of(const struct bench *b, const char *s)
{
        if (!s)
                return (struct dot){.region = REGION_NONE};
        return (struct dot){.region = regset_find(&b->regs, s, 2), .hlc = {strtoull(s + 3, NULL, 10)}};
}

static struct vector vector_of(const struct bench *b, const char *list, struct dot own)
{
        struct vector v = {.at = {{0}}};
        for (const char *s = list; s && *s; s = strchr(s, ' ') ? strchr(s, ' ') + 1 : NULL) {
                struct dot d = dot_of(b, s);
                v.at[d.region.i] = d.hlc;
        }
        if (own.hlc.v)
                v.at[own.region.i] = own.hlc;
        return v;
}

static const struct cell *row_of(struct bench *b, const char *g, const char *n, const char *a)
{
        struct cell *row = ARENA_ARRAY(&b->arena, struct cell, NCOLS);
        row[C_ID] = cell("1"), row[C_G] = cell(g), row[C_N] = cell(n), row[C_A] = cell(a);
        return row;
}

static struct version version_of(struct bench *b, const struct short_version *s, const struct rule *rule)
{
        struct version v = {.dot = dot_of(b, s->dot), .rule = rule};
        v.seen = vector_of(b, s->seen, v.dot);
        v.row = row_of(b, s->g, s->n, s->a);
        v.old = s->old_n ? row_of(b, s->g, s->old_n, s->a) : NULL;
        return v;
}

static const char *losers_str(struct bench *b, const struct merge *m)
{
        const char *s = "";
        for (size_t i = 0; i < m->nlosers; i++)
                s = arena_printf(&b->arena, "%s%s%s>%s %s%s", s, i ? ", " : "", dot_text(&b->arena, m->losers[i].winner, &b->regs),
                                 dot_text(&b->arena, m->losers[i].dot, &b->regs), conflict_kind_name(m->losers[i].kind),
                                 m->losers[i].row ? "" : " (delete)");
        return s;
}

static const char *sibs_str(struct bench *b, const struct key_state *k)
{
        const char *s = "";
        for (size_t i = 0; i < k->nsibs; i++)
                s = arena_printf(&b->arena, "%s%s%s", s, i ? " " : "", dot_text(&b->arena, k->sibs[i].dot, &b->regs));
        return s;
}

static const char *act_str(enum merge_act a)
{
        return a == MERGE_KEEP ? "keep" : a == MERGE_PUT ? "put" : "delete";
}

/* Holds the answer to "act | g n a | siblings | losers". */
static void expect(struct bench *b, const char *why, const struct merge *m, const char *want)
{
        const struct cell *r = m->after.row;
        struct arena *a = &b->arena;
        const char *row = r ? arena_printf(a, "%s %s %s", cell_str(a, r[C_G]), cell_str(a, r[C_N]), cell_str(a, r[C_A])) : "-";
        const char *got = arena_printf(a, "%s | %s | %s | %s", act_str(m->act), row, sibs_str(b, &m->after), losers_str(b, m));
        if (strcmp(got, want))
                fail_msg("%s:\n  want %s\n  got  %s", why, want, got);
        if ((m->rule != NULL) != (m->nlosers > 0))
                fail_msg("%s: a rule is named exactly when there was a conflict", why);
}

/* ---- row rules: {10 | eu:5}, and what comes ------------------------------------------------------------------------------------------- */
static const struct column_spec delta_n = {"n", COLUMN_DELTA};
static const char *const order[] = {"us", "eu"}, *const by_g[] = {"g"};
#define LWW                                 \
        {                                   \
                .row = RULE_LAST_WRITE_WINS \
        }

static void row_rules(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why;
                struct rule_spec spec;
                struct short_version stands, comes;
                const char *want;
        } t[] = {
                {"last write wins: the later comes",
                 LWW,
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"us:6", "", "2", "2", "y", NULL},
                 "put | 2 2 y | us:6 | us:6>eu:5 insert_exists"},
                {"the earlier comes",
                 LWW,
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"us:4", "", "2", "2", "y", "0"},
                 "keep | 1 1 x | eu:5 | eu:5>us:4 update_origin_differs"},
                {"at the same time the greater name wins",
                 LWW,
                 {"us:5", "", "1", "1", "x", NULL},
                 {"eu:5", "", "2", "2", "y", NULL},
                 "keep | 1 1 x | us:5 | us:5>eu:5 insert_exists"},
                {"what was seen is no conflict",
                 LWW,
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"us:6", "eu:5", "2", "2", "y", "1"},
                 "put | 2 2 y | us:6 | "},
                {"seen under another rule",
                 {.row = RULE_FIRST_WRITE_WINS},
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"us:6", "eu:5", "2", "2", "y", "1"},
                 "put | 2 2 y | us:6 | "},
                {"seen, and the same row: the dot is new",
                 {.row = RULE_FIRST_WRITE_WINS},
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"us:6", "eu:5", "1", "1", "x", "1"},
                 "put | 1 1 x | us:6 | "},
                {"first write wins",
                 {.row = RULE_FIRST_WRITE_WINS},
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"us:6", "", "2", "2", "y", NULL},
                 "keep | 1 1 x | eu:5 us:6 | eu:5>us:6 insert_exists"},
                {"first write wins: the earlier comes late",
                 {.row = RULE_FIRST_WRITE_WINS},
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"us:4", "", "2", "2", "y", NULL},
                 "put | 2 2 y | us:4 eu:5 | us:4>eu:5 insert_exists"},
                {"priority beats time",
                 {.row = RULE_REGION_PRIORITY, .norder = 2, .order = order},
                 {"eu:9", "", "1", "1", "x", NULL},
                 {"us:4", "", "2", "2", "y", NULL},
                 "put | 2 2 y | us:4 eu:9 | us:4>eu:9 insert_exists"},
                {"a region that is not listed is behind all that are",
                 {.row = RULE_REGION_PRIORITY, .norder = 2, .order = order},
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"ap:9", "", "2", "2", "y", NULL},
                 "keep | 1 1 x | eu:5 ap:9 | eu:5>ap:9 insert_exists"},
                {"two of them by time",
                 {.row = RULE_REGION_PRIORITY, .norder = 1, .order = order},
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"ap:9", "", "2", "2", "y", NULL},
                 "put | 2 2 y | eu:5 ap:9 | ap:9>eu:5 insert_exists"},
                {"the greatest, as a number",
                 {.row = RULE_GREATEST, .nby = 1, .by = by_g},
                 {"eu:5", "", "10", "1", "x", NULL},
                 {"us:6", "", "9", "2", "y", NULL},
                 "keep | 10 1 x | eu:5 us:6 | eu:5>us:6 insert_exists"},
                {"NULL is not the greatest",
                 {.row = RULE_GREATEST, .nby = 1, .by = by_g},
                 {"eu:5", "", "-3", "1", "x", NULL},
                 {"us:6", "", NULL, "2", "y", NULL},
                 "keep | -3 1 x | eu:5 us:6 | eu:5>us:6 insert_exists"},
                {"nor the least",
                 {.row = RULE_LEAST, .nby = 1, .by = by_g},
                 {"eu:5", "", "-3", "1", "x", NULL},
                 {"us:6", "", NULL, "2", "y", NULL},
                 "keep | -3 1 x | eu:5 us:6 | eu:5>us:6 insert_exists"},
                {"the least",
                 {.row = RULE_LEAST, .nby = 1, .by = by_g},
                 {"eu:5", "", "10", "1", "x", NULL},
                 {"us:6", "", "9", "2", "y", NULL},
                 "put | 9 2 y | eu:5 us:6 | us:6>eu:5 insert_exists"},
                {"equal values by time",
                 {.row = RULE_GREATEST, .nby = 1, .by = by_g},
                 {"eu:5", "", "7", "1", "x", NULL},
                 {"us:6", "", "7", "2", "y", NULL},
                 "put | 7 2 y | eu:5 us:6 | us:6>eu:5 insert_exists"},
                {"manual: the later stands, both wait",
                 {.row = RULE_MANUAL},
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"us:6", "", "2", "2", "y", NULL},
                 "put | 2 2 y | eu:5 us:6 | us:6>eu:5 insert_exists"},
                {"equal rows: nothing is written, the set is remembered",
                 {.row = RULE_MANUAL},
                 {"eu:5", "", "1", "1", "x", NULL},
                 {"us:6", "", "1", "1", "x", NULL},
                 "keep | 1 1 x | eu:5 us:6 | us:6>eu:5 insert_exists"},
                {"delta adds to what stands; the other columns are the latest's",
                 {.ncolumns = 1, .columns = &delta_n},
                 {"eu:5", "", "1", "13", "x", "10"},
                 {"us:6", "", "2", "15", "y", "10"},
                 "put | 2 18 y | eu:5 us:6 | us:6>eu:5 update_origin_differs"},
                {"and also when it loses",
                 {.ncolumns = 1, .columns = &delta_n},
                 {"eu:5", "", "1", "13", "x", "10"},
                 {"us:4", "", "2", "15", "y", "10"},
                 "put | 1 18 x | us:4 eu:5 | eu:5>us:4 update_origin_differs"},
                {"two inserts add up",
                 {.ncolumns = 1, .columns = &delta_n},
                 {"eu:5", "", "1", "9", "x", NULL},
                 {"us:6", "", "2", "1", "y", NULL},
                 "put | 2 10 y | eu:5 us:6 | us:6>eu:5 insert_exists"},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                const struct rule *rule = bind_rule(&b->arena, &t[i].spec, &b->regs);
                struct version v = version_of(b, &t[i].stands, rule);
                struct key_state stands = {.row = v.row, .nsibs = 1, .sibs = &v};
                struct incoming in = {
                        .v = version_of(b, &t[i].comes, rule), .fresh = !t[i].comes.old_n, .is_insert = !t[i].comes.old_n};
                struct merge m;
                struct err e;
                if (merge_remote(rule, &stands, &in, &b->regs, &b->arena, &m, &e) != ST_OK)
                        fail_msg("%s: %s", t[i].why, e.msg);
                expect(b, t[i].why, &m, t[i].want);
                if (m.sibs_changed != (strcmp(sibs_str(b, &stands), sibs_str(b, &m.after)) != 0))
                        fail_msg("%s: sibs_changed", t[i].why);
        }
}

/* ---- text_merge: what two versions make of one old text, or of two ----------------------------------------------------------------------- */
static void texts(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why;
                const char *eu_old, *eu, *us_old, *us; /* old "": inserted */
                const char *want;
        } t[] = {
                {"different words", "a b c", "X b c", "a b c", "a b Y", "X b Y"},
                {"the same word: the later", "a b c", "X b c", "a b c", "Y b c", "Y b c"},
                {"made from different texts: the later, though they would merge", "a b c", "X b c", "a b", "a b Y", "a b Y"},
                {"one was inserted: the later", "", "X b c", "a b c", "a b Y", "a b Y"},
                {"unchanged by the later", "a b c", "X b c", "a b c", "a b c", "X b c"},
                {"set to NULL by the earlier alone", "a b c", NULL, "a b c", "a b c", NULL},
                {"set to NULL, and changed: the later", "a b c", NULL, "a b c", "a b Y", "a b Y"},
                {"from NULL, alike", NULL, "n", NULL, "n", "n"},
        };
        static const struct column_spec words = {"a", COLUMN_TEXT_MERGE_WORDS};
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                for (int merge = 0; merge < 2; merge++) {
                        struct rule_spec spec = {
                                .row = merge ? RULE_COLUMN_MERGE : RULE_LAST_WRITE_WINS, .ncolumns = 1, .columns = &words};
                        const struct rule *rule = bind_rule(&b->arena, &spec, &b->regs);
                        struct incoming eu = {
                                .v = version_of(b, &(struct short_version){"eu:5", "", "1", "1", t[i].eu, NULL}, rule)};
                        struct incoming us = {
                                .v = version_of(b, &(struct short_version){"us:6", "", "1", "1", t[i].us, NULL}, rule)};
                        eu.fresh = t[i].eu_old && !*t[i].eu_old;
                        eu.v.old = eu.fresh ? NULL : row_of(b, "1", "1", t[i].eu_old);
                        us.v.old = row_of(b, "1", "1", t[i].us_old);
                        struct merge m;
                        struct err e;
                        assert_int_equal(merge_remote(rule, &(struct key_state){.row = NULL}, &eu, &b->regs, &b->arena, &m, &e),
                                         ST_OK);
                        struct key_state one = m.after;
                        assert_int_equal(merge_remote(rule, &one, &us, &b->regs, &b->arena, &m, &e), ST_OK);
                        if (!cell_equal(m.after.row[C_A], cell(t[i].want)))
                                fail_msg("%s%s: %s", t[i].why, merge ? ", under column_merge" : "",
                                         cell_str(&b->arena, m.after.row[C_A]));
                }
}

/* ---- a dot that was forgotten too early ---------------------------------------------------------------------------------------------------- */
static const struct cell *set_row(struct bench *b, const char *s, const char *d)
{
        struct cell *row = ARENA_ARRAY(&b->arena, struct cell, NCOLS);
        row[C_ID] = cell("1"), row[C_S] = cell(s), row[C_D] = cell(d);
        return row;
}

/* eu:5 added e and set k to 1; both are stable, and their dots gone. us:12, which had not seen it, still stands beside it: the row goes on from
 * what stands, not from the versions. */
static void forgotten_dots_take_nothing_away(void **state)
{
        struct bench *b = *state;
        static const struct column_spec columns[] = {{"s", COLUMN_UNION}, {"d", COLUMN_JSON_MERGE}};
        const struct rule *rule = bind_rule(&b->arena, &(struct rule_spec){.ncolumns = 2, .columns = columns}, &b->regs);
        struct version v[2] = {{.dot = dot_of(b, "eu:5"),
                                .rule = rule,
                                .row = set_row(b, "{a,e}", "{\"k\": 1}"),
                                .old = set_row(b, "{a}", "{\"k\": 0}")},
                               {.dot = dot_of(b, "us:12"),
                                .rule = rule,
                                .row = set_row(b, "{a}", "{\"k\": 0, \"u\": 6}"),
                                .old = set_row(b, "{a}", "{\"k\": 0}")}};
        v[0].seen = vector_of(b, "", v[0].dot), v[1].seen = vector_of(b, "", v[1].dot);
        struct column_dot dots[] = {{.col = C_D, .element = cell("\"u\": 6"), .dot = v[1].dot}};
        struct key_state stands = {
                .row = set_row(b, "{a,e}", "{\"k\": 1, \"u\": 6}"), .nsibs = 2, .sibs = v, .ndots = 1, .dots = dots};
        struct incoming in = {.v = {.dot = dot_of(b, "ap:9"),
                                    .rule = rule,
                                    .row = set_row(b, "{a,e,f}", "{\"k\": 1, \"z\": 2}"),
                                    .old = v[0].row}};
        in.v.seen = vector_of(b, "eu:5", in.v.dot);
        struct merge m;
        struct err e;
        assert_int_equal(merge_remote(rule, &stands, &in, &b->regs, &b->arena, &m, &e), ST_OK);
        assert_string_equal(cell_str(&b->arena, m.after.row[C_S]), "{a,e,f}");
        assert_string_equal(cell_str(&b->arena, m.after.row[C_D]), "{\"k\": 1, \"u\": 6, \"z\": 2}");
}

/* ---- deletes: {eu:5, us:9} under greatest, row eu:5; what comes ------------------------------------------------------------------------ */
static void deletes_and_tombstones(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why;
                bool delete_wins, put, had_del;
                const char *dot, *seen, *tombs;
                const char *want;
        } t[] = {
                {"a delete that has seen all", false, false, true, "ap:20", "eu:5 us:9", "", "delete | - |  | "},
                {"a delete kills what is earlier and leaves what is later", false, false, true, "ap:7", "", "",
                 "put | 2 2 y | us:9 | ap:7>eu:5 delete_origin_differs, us:9>ap:7 delete_origin_differs (delete)"},
                {"it kills all when it wins by rule", true, false, true, "ap:7", "", "",
                 "delete | - |  | ap:7>eu:5 delete_origin_differs, ap:7>us:9 delete_origin_differs"},
                {"an early one kills nothing", false, false, true, "ap:2", "", "",
                 "keep | 10 1 x | eu:5 us:9 | us:9>ap:2 delete_origin_differs (delete), eu:5>us:9 update_origin_differs"},
                {"what was seen goes without a word", false, false, true, "ap:7", "eu:5", "",
                 "put | 2 2 y | us:9 | us:9>ap:7 delete_origin_differs (delete)"},
                {"a put that a tombstone kills", false, true, false, "ap:12", "", "za:30",
                 "keep | 10 1 x | eu:5 us:9 | za:30>ap:12 update_deleted"},
                {"one that is later than the tombstone", false, true, false, "ap:31", "", "za:30",
                 "keep | 10 1 x | eu:5 us:9 ap:31 | eu:5>us:9 update_origin_differs, eu:5>ap:31 update_origin_differs"},
                {"unless deletes win", true, true, false, "ap:31", "", "za:30",
                 "keep | 10 1 x | eu:5 us:9 | za:30>ap:31 update_deleted"},
                {"a tombstone that it has seen", true, true, false, "ap:31", "za:30", "za:30",
                 "keep | 10 1 x | eu:5 us:9 ap:31 | eu:5>us:9 update_origin_differs, eu:5>ap:31 update_origin_differs"},
                {"deleted and inserted in one group: the delete first", false, true, true, "ap:20", "", "",
                 "put | 3 3 z | ap:20 | ap:20>eu:5 delete_origin_differs, ap:20>us:9 delete_origin_differs"},
                {"the same, early: what is later stays beside it", false, true, true, "ap:7", "", "",
                 "put | 3 3 z | ap:7 us:9 | ap:7>eu:5 delete_origin_differs, ap:7>us:9 update_origin_differs"},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct rule_spec spec = {.row = RULE_GREATEST, .nby = 1, .by = by_g, .delete_wins = t[i].delete_wins};
                const struct rule *rule = bind_rule(&b->arena, &spec, &b->regs);
                /* those that stand have seen the tombstone of the row above, or it would have killed them */
                struct version v[] = {version_of(b, &(struct short_version){"eu:5", t[i].tombs, "10", "1", "x", "0"}, rule),
                                      version_of(b, &(struct short_version){"us:9", t[i].tombs, "2", "2", "y", "0"}, rule)};
                struct key_state stands = {
                        .row = v[0].row, .nsibs = 2, .sibs = v, .tombs = vector_of(b, t[i].tombs, (struct dot){.hlc = {0}})};
                struct short_version comes = {t[i].dot, t[i].seen, "3", "3", "z", t[i].had_del ? NULL : "0"};
                struct incoming in = {.v = version_of(b, &comes, rule), .had_del = t[i].had_del, .fresh = t[i].had_del && t[i].put};
                if (!t[i].put)
                        in.v.row = NULL;
                struct merge m;
                struct err e;
                if (merge_remote(rule, &stands, &in, &b->regs, &b->arena, &m, &e) != ST_OK)
                        fail_msg("%s: %s", t[i].why, e.msg);
                expect(b, t[i].why, &m, t[i].want);
                if (m.tomb != t[i].had_del || (m.tomb && m.after.tombs.at[in.v.dot.region.i].v != in.v.dot.hlc.v))
                        fail_msg("%s: the tombstone", t[i].why);
        }
}

/* ---- an absent key ----------------------------------------------------------------------------------------------------------------------- */
static void absent_keys(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why;
                bool put, fresh;
                const char *dot, *seen, *tombs, *want;
        } t[] = {
                {"an insert", true, true, "ap:5", "", "", "put | 3 3 z | ap:5 | "},
                {"an update writes the whole row: it has seen the delete", true, false, "ap:5", "eu:4", "eu:4",
                 "put | 3 3 z | ap:5 | "},
                {"an insert that the tombstone kills", true, true, "ap:5", "", "eu:7", "keep | - |  | eu:7>ap:5 update_deleted"},
                {"a delete leaves its tombstone", false, false, "ap:5", "", "eu:7", "keep | - |  | "},
        };
        const struct rule *rule = bind_rule(&b->arena, &(struct rule_spec){.row = RULE_FIRST_WRITE_WINS}, &b->regs);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct key_state stands = {.tombs = vector_of(b, t[i].tombs, (struct dot){.hlc = {0}})};
                struct incoming in = {
                        .v = version_of(b, &(struct short_version){t[i].dot, t[i].seen, "3", "3", "z", t[i].fresh ? NULL : "0"},
                                        rule),
                        .fresh = t[i].fresh,
                        .had_del = !t[i].put};
                if (!t[i].put)
                        in.v.row = NULL;
                struct merge m;
                struct err e;
                assert_int_equal(merge_remote(rule, &stands, &in, &b->regs, &b->arena, &m, &e), ST_OK);
                expect(b, t[i].why, &m, t[i].want);
        }
}

/* ---- the own log -------------------------------------------------------------------------------------------------------------------------- */
static void own_log(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why;
                bool local;
                const char *dot, *sibs[2], *tombs, *want;
        } t[] = {
                {"nothing to mend", true, "eu:5", {"eu:5"}, "", "keep | 1 1 x | eu:5 | "},
                {"a delete was applied while the insert was on its way",
                 true,
                 "eu:5",
                 {"eu:5"},
                 "us:9",
                 "delete | - |  | us:9>eu:5 update_deleted"},
                {"an earlier delete does not matter", true, "eu:5", {"eu:5"}, "us:4", "keep | 1 1 x | eu:5 | "},
                {"among siblings: it goes, the rest is settled again",
                 false,
                 "eu:5",
                 {"eu:5", "us:12"},
                 "us:9",
                 "put | 2 2 y | us:12 | us:9>eu:5 update_deleted"},
                {"not there any more", false, "eu:5", {"us:12"}, "us:9", "keep | 2 2 y | us:12 | "},
        };
        const struct rule *rule = bind_rule(&b->arena, &(struct rule_spec){.row = RULE_FIRST_WRITE_WINS}, &b->regs);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct version v[2];
                struct key_state stands = {.sibs = v, .tombs = vector_of(b, t[i].tombs, (struct dot){.hlc = {0}})};
                for (; stands.nsibs < 2 && t[i].sibs[stands.nsibs]; stands.nsibs++) {
                        bool mine = t[i].sibs[stands.nsibs][0] == 'e';
                        struct short_version s = {t[i].sibs[stands.nsibs], mine ? "" : t[i].tombs, mine ? "1" : "2",
                                                  mine ? "1" : "2",        mine ? "x" : "y",       "0"};
                        v[stands.nsibs] = version_of(b, &s, rule);
                }
                stands.row = v[0].row;
                struct incoming in = {.v = version_of(b, &(struct short_version){t[i].dot, "", "1", "1", "x", "0"}, rule)};
                struct merge m;
                struct err e;
                assert_int_equal(merge_own(rule, &stands, &in, t[i].local, &b->regs, &b->arena, &m, &e), ST_OK);
                expect(b, t[i].why, &m, t[i].want);
        }
        struct incoming gone = {.v = {.dot = dot_of(b, "eu:5"), .rule = rule}, .had_del = true};
        gone.v.seen = vector_of(b, "", gone.v.dot);
        struct merge m;
        struct err e;
        assert_int_equal(merge_own(rule, &(struct key_state){.row = NULL}, &gone, false, &b->regs, &b->arena, &m, &e), ST_OK);
        assert_true(m.tomb && m.act == MERGE_KEEP && m.after.tombs.at[gone.v.dot.region.i].v == 5);
}

/* ---- generations --------------------------------------------------------------------------------------------------------------------------- */
static void the_highest_generation_settles(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why;
                enum row_rule stands, comes;
                uint32_t stands_generation, comes_generation;
                const char *from; /* of the coming rule; the other is eu's */
                const char *want;
        } t[] = {
                {"the one that comes", RULE_MANUAL, RULE_FIRST_WRITE_WINS, 1, 2, "eu",
                 "keep | 1 1 x | eu:5 us:6 | eu:5>us:6 insert_exists"},
                {"the one that stands", RULE_FIRST_WRITE_WINS, RULE_MANUAL, 2, 1, "eu",
                 "keep | 1 1 x | eu:5 us:6 | eu:5>us:6 insert_exists"},
                {"of equal ones the greater region", RULE_MANUAL, RULE_FIRST_WRITE_WINS, 2, 2, "us",
                 "keep | 1 1 x | eu:5 us:6 | eu:5>us:6 insert_exists"},
                {"and mirrored", RULE_MANUAL, RULE_FIRST_WRITE_WINS, 2, 2, "ap",
                 "put | 2 2 y | eu:5 us:6 | us:6>eu:5 insert_exists"},
                {"plain last write wins goes when a later one comes", RULE_LAST_WRITE_WINS, RULE_FIRST_WRITE_WINS, 1, 2, "eu",
                 "put | 2 2 y | us:6 | us:6>eu:5 insert_exists"},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct rule *first = bind_rule(&b->arena, &(struct rule_spec){.row = t[i].stands}, &b->regs);
                struct rule *then = bind_rule(&b->arena, &(struct rule_spec){.row = t[i].comes}, &b->regs);
                first->generation = t[i].stands_generation, then->generation = t[i].comes_generation;
                first->from = regset_find(&b->regs, "eu", 2), then->from = regset_find(&b->regs, t[i].from, 2);
                struct version v = version_of(b, &(struct short_version){"eu:5", "", "1", "1", "x", NULL}, first);
                struct key_state stands = {.row = v.row, .nsibs = 1, .sibs = &v};
                struct incoming in = {.v = version_of(b, &(struct short_version){"us:6", "", "2", "2", "y", NULL}, then),
                                      .fresh = true,
                                      .is_insert = true};
                struct merge m;
                struct err e;
                assert_int_equal(merge_remote(first, &stands, &in, &b->regs, &b->arena, &m, &e), ST_OK);
                expect(b, t[i].why, &m, t[i].want);
        }
}

/* ---- resolvers -------------------------------------------------------------------------------------------------------------------------------- */
static enum status takes(void *ctx, const struct rule *r, const struct version *v, size_t n, struct arena *arena, struct cell *row,
                         struct err *e)
{
        (void)arena;
        const char *what = ctx;
        for (size_t i = 1; i < n; i++)
                assert_true(v[i - 1].dot.hlc.v < v[i].dot.hlc.v); /* canonical order */
        if (what[0] == '!')
                return err_named(e, ST_DATA, "resolver_failed", "%s", what);
        memcpy(row, v[what[0] - '0'].row, sizeof *row * r->ncols);
        if (what[1])
                row[C_A] = cell("made up");
        return ST_OK;
}

static void resolvers(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why, *takes, *want; /* want NULL: ST_DATA */
        } t[] = {
                {"one of the versions wins", "0", "keep | 1 1 x | eu:5 us:6 | eu:5>us:6 insert_exists"},
                {"the other", "1", "put | 2 2 y | eu:5 us:6 | us:6>eu:5 insert_exists"},
                {"a row of its own: all lose", "1+", "put | 2 2 made up | eu:5 us:6 | ->eu:5 insert_exists, ->us:6 insert_exists"},
                {"it fails", "! no", NULL},
        };
        struct rule *rule = bind_rule(&b->arena, &(struct rule_spec){.row = RULE_SQL, .function = "public.f"}, &b->regs);
        for (size_t i = 0; i <= sizeof t / sizeof *t; i++) {
                bool none = i == sizeof t / sizeof *t;
                rule->resolve = none ? NULL : takes;
                rule->resolve_ctx = none ? NULL : (void *)(uintptr_t)t[i].takes;
                struct version v = version_of(b, &(struct short_version){"eu:5", "", "1", "1", "x", NULL}, rule);
                struct key_state stands = {.row = v.row, .nsibs = 1, .sibs = &v};
                struct incoming in = {.v = version_of(b, &(struct short_version){"us:6", "", "2", "2", "y", NULL}, rule),
                                      .fresh = true,
                                      .is_insert = true};
                struct merge m;
                struct err e;
                enum status st = merge_remote(rule, &stands, &in, &b->regs, &b->arena, &m, &e);
                if (none || !t[i].want)
                        assert_true(st == ST_DATA && strcmp(e.name, "resolver_failed") == 0);
                else
                        expect(b, t[i].why, &m, t[i].want);
        }
}

/* ---- what cannot be merged is said, not guessed ---------------------------------------------------------------------------------------------- */
static void refusals(void **state)
{
        struct bench *b = *state;
        struct rule_spec spec = {.ncolumns = 1, .columns = &delta_n};
        const struct rule *rule = bind_rule(&b->arena, &spec, &b->regs);
        struct version v = version_of(b, &(struct short_version){"eu:5", "", "1", "7", "x", "3"}, rule);
        struct key_state stands = {.row = v.row, .nsibs = 1, .sibs = &v};
        struct merge m;
        struct err e;
        struct incoming in = {.v = version_of(b, &(struct short_version){"us:6", "", "2", "9", "y", NULL}, rule)};
        assert_int_equal(merge_remote(rule, &stands, &in, &b->regs, &b->arena, &m, &e), ST_DATA);
        assert_string_equal(e.name, "old_row_missing");
        in.v = version_of(b, &(struct short_version){"us:6", "", "2", "NaN", "y", "3"}, rule);
        assert_int_equal(merge_remote(rule, &stands, &in, &b->regs, &b->arena, &m, &e), ST_DATA);
        assert_string_equal(e.name, "delta_not_finite");
        in.v = version_of(b, &(struct short_version){"us:6", "eu:5", "2", "NaN", "y", "7"}, rule);
        assert_int_equal(merge_remote(rule, &stands, &in, &b->regs, &b->arena, &m, &e), ST_OK); /* alone it may be anything */
        expect(b, "NaN that has seen all", &m, "put | 2 NaN y | us:6 | ");
}

/* ---- rows that clash in unique values ------------------------------------------------------------------------------------------------------------ */
static bool clash(void *ctx, size_t i, size_t j)
{
        const char *const *values = ctx; /* one letter for each unique value of a row */
        return strpbrk(values[i], values[j]) != NULL;
}

static void unique_rows(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                const char *keys[4], *values[4];
                const char *keep;
        } t[] = {
                {"nobody clashes", {"1", "2", "3"}, {"p", "q", "r"}, "111"},
                {"the smaller key stays", {"2", "1"}, {"p", "p"}, "01"},
                {"a chain: whom the first hides cannot hide the third", {"1", "2", "3"}, {"p", "pq", "q"}, "101"},
                {"the same in another order of the rows", {"3", "2", "1"}, {"q", "pq", "p"}, "101"},
                {"a shorter key goes first", {"10", "1"}, {"p", "p"}, "01"},
                {"one row, many clashes", {"1", "2", "3", "4"}, {"pqr", "p", "q", "r"}, "1000"},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct unique_row rows[4];
                bool keep[4] = {false};
                size_t n = strlen(t[i].keep);
                for (size_t k = 0; k < n; k++)
                        rows[k] = (struct unique_row){(const uint8_t *)t[i].keys[k], (uint32_t)strlen(t[i].keys[k])};
                unique_keep(rows, n, clash, (void *)(uintptr_t)t[i].values, keep);
                for (size_t k = 0; k < n; k++)
                        if (keep[k] != (t[i].keep[k] == '1'))
                                fail_msg("%s: row %zu", t[i].why, k);
        }
        unique_keep(NULL, 0, clash, NULL, NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(row_rules),   T(texts),       T(forgotten_dots_take_nothing_away), T(deletes_and_tombstones),
                T(absent_keys), T(own_log),     T(the_highest_generation_settles),   T(resolvers),
                T(refusals),    T(unique_rows),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
