/* What settles conflicts: last write wins over dots, and the merge of siblings under each rule that is computed here. */
#include <stdlib.h>
#include <string.h>

#include "bench/micro/micro.h"
#include "conflict/merge.h"

#define DECISIONS 200

enum { ID, AMOUNT, COUNT, TAGS, DOC, NOTE, COLS };
static const struct rule_table_column columns[COLS] = {
        [ID] = {"id", "pg_catalog.int8", false, true},        [AMOUNT] = {"amount", "pg_catalog.numeric", false, false},
        [COUNT] = {"count", "pg_catalog.int4", false, false}, [TAGS] = {"tags", "pg_catalog._text", false, false},
        [DOC] = {"doc", "pg_catalog.jsonb", false, false},    [NOTE] = {"note", "pg_catalog.text", true, false},
};

/* What two concurrent changes come to in the column that the rule is about. */
struct settled {
        uint16_t col;
        const char *value;
};

struct settling {
        struct regset regs;
        struct arena made, arena;
        struct rule rule;
        struct key_state stands;
        struct incoming in;
        struct settled want;
};

static struct cell cell(const char *s)
{
        return (struct cell){s, (uint32_t)strlen(s)};
}

static const struct cell *row(struct arena *a, const char *amount, const char *count, const char *tags, const char *doc,
                              const char *note)
{
        struct cell *r = ARENA_ARRAY(a, struct cell, COLS);
        r[ID] = cell("5000001"), r[AMOUNT] = cell(amount), r[COUNT] = cell(count);
        r[TAGS] = cell(tags), r[DOC] = cell(doc), r[NOTE] = cell(note);
        return r;
}

static struct version version(const struct rule *rule, uint8_t region, uint64_t hlc, const struct cell *new, const struct cell *old)
{
        struct version v = {.dot = {{region}, {hlc}}, .row = new, .old = old, .rule = rule};
        v.seen.at[region].v = hlc;
        v.seen.at[0].v = hlc < 1000 ? 0 : 900;
        return v;
}

/* ---- last write wins --------------------------------------------------------------------------------------------------------- */

static void lww(void *ctx)
{
        struct settling *s = ctx;
        unsigned taken = 0;
        for (unsigned i = 0; i < DECISIONS; i++) {
                struct dot stands = {{0}, {1000 + i % 7}}, comes = {{1}, {1000 + i % 5}}, killer;
                struct vector seen = s->in.v.seen, tombs = {.at = {{0}}};
                seen.at[0].v = i % 3 ? 0 : 2000;
                taken += lww_decide(stands, comes, &seen, &s->regs) != VERDICT_KEEP_MINE;
                tombs.at[0].v = 1000 + i % 3;
                taken += lww_killed(&tombs, comes, &seen, &s->regs, &killer);
        }
        micro_check(taken > DECISIONS / 4 && taken < 2 * DECISIONS, "last write wins");
}

/* ---- rules that need the siblings -------------------------------------------------------------------------------------------- */

/* us's version stands; eu's comes, which has not seen it. */
static void merge(void *ctx)
{
        struct settling *s = ctx;
        struct merge m;
        struct err e;
        for (unsigned i = 0; i < DECISIONS; i++) {
                arena_reset(&s->arena);
                if (merge_remote(&s->rule, &s->stands, &s->in, &s->regs, &s->arena, &m, &e) != ST_OK)
                        micro_check(false, e.msg);
                struct cell got = m.after.row[s->want.col];
                micro_check(m.after.nsibs == 2 && m.nlosers == 1, "two siblings, one of them recorded");
                micro_check(cell_equal(got, cell(s->want.value)), s->want.value);
        }
}

static void fill(struct settling *s)
{
        struct arena *a = &s->made;
        struct version *sib = ARENA_NEW(a, struct version);
        const struct cell *old = row(a, "10.00", "1", "{a,b,c}", "{\"a\": 1, \"b\": 2}", "one\ntwo\nthree\nfour");
        const struct cell *mine = row(a, "12.50", "3", "{a,b,c,d}", "{\"a\": 1, \"b\": 3}", "one\n2\nthree\nfour");
        const struct cell *theirs = row(a, "11.25", "2", "{a,c,e}", "{\"a\": 1, \"b\": 2, \"c\": 4}", "one\ntwo\nthree\n4");
        *sib = version(&s->rule, 1, 2000, mine, old);
        s->stands = (struct key_state){.row = mine, .nsibs = 1, .sibs = sib};
        s->in = (struct incoming){.v = version(&s->rule, 2, 2001, theirs, old)};
}

static void merge_case(const char *name, const struct rule_spec *spec, struct settled want)
{
        struct settling s = {.want = want};
        struct err e;
        arena_init(&s.made);
        arena_init(&s.arena);
        regset_add(&s.regs, "ap", 2);
        regset_add(&s.regs, "eu", 2);
        regset_add(&s.regs, "us", 2);
        if (rule_bind(spec, columns, COLS, &s.regs, &s.made, &s.rule, &e) != ST_OK)
                micro_check(false, e.msg);
        fill(&s);
        micro(name, DECISIONS, rule_is_register(&s.rule) ? lww : merge, &s);
        arena_release(&s.made);
        arena_release(&s.arena);
}

void micro_resolve(void)
{
        static const char *const by[] = {"amount"};
        static const struct column_spec delta = {"count", COLUMN_DELTA}, tags = {"tags", COLUMN_UNION},
                                        doc = {"doc", COLUMN_JSON_MERGE}, note = {"note", COLUMN_TEXT_MERGE};
        static const struct {
                const char *name;
                struct rule_spec spec;
                struct settled want;
        } t[] = {
                {"resolve/last_write_wins", {.row = RULE_LAST_WRITE_WINS}, {0, NULL}},
                {"resolve/greatest", {.row = RULE_GREATEST, .nby = 1, .by = by}, {AMOUNT, "12.50"}},
                {"resolve/column_merge", {.row = RULE_COLUMN_MERGE, .delete_wins = true}, {AMOUNT, "11.25"}},
                {"resolve/delta",
                 {.row = RULE_LAST_WRITE_WINS, .delete_wins = true, .ncolumns = 1, .columns = &delta},
                 {COUNT, "4"}},
                {"resolve/union",
                 {.row = RULE_LAST_WRITE_WINS, .delete_wins = true, .ncolumns = 1, .columns = &tags},
                 {TAGS, "{a,c,d,e}"}},
                {"resolve/json_merge",
                 {.row = RULE_LAST_WRITE_WINS, .delete_wins = true, .ncolumns = 1, .columns = &doc},
                 {DOC, "{\"a\": 1, \"b\": 3, \"c\": 4}"}},
                {"resolve/text_merge", {.row = RULE_LAST_WRITE_WINS, .ncolumns = 1, .columns = &note}, {NOTE, "one\n2\nthree\n4"}},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                merge_case(t[i].name, &t[i].spec, t[i].want);
}
