/* The conflict core: one answer for a set of versions, whatever the order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conflict/lww.h"
#include "conflict/merge.h"
#include "conflict/stable.h"
#include "conflict/standing.h"

static struct regset regions(void)
{
        struct regset s = {.n = 0};
        regset_add(&s, "ap", 2);
        regset_add(&s, "eu", 2);
        regset_add(&s, "us", 2);
        return s;
}

static struct dot dot(const struct regset *s, const char *region, uint64_t hlc)
{
        return (struct dot){.region = regset_find(s, region, strlen(region)), .hlc = {hlc}};
}

static void decides(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                uint64_t mine;
                const char *mo;
                uint64_t theirs;
                const char *to;
                uint64_t seen_of_mine; /* what the incoming transaction had applied of the region that wrote mine */
                enum verdict want;
        } t[] = {
                {"what was seen is overwritten, even by an earlier clock", 10, "eu", 5, "us", 10, VERDICT_OVERWRITE},
                {"newer than what was seen: concurrent", 11, "eu", 12, "us", 10, VERDICT_TAKE_THEIRS},
                {"newer remote wins", 10, "eu", 11, "us", 0, VERDICT_TAKE_THEIRS},
                {"older remote loses", 11, "eu", 10, "us", 0, VERDICT_KEEP_MINE},
                {"tie goes to the greater name", 10, "eu", 10, "us", 0, VERDICT_TAKE_THEIRS},
                {"and mirrored, local keeps", 10, "us", 10, "eu", 0, VERDICT_KEEP_MINE},
        };
        struct regset s = regions();
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct dot mine = dot(&s, t[i].mo, t[i].mine);
                struct vector seen = {.at = {{0}}};
                seen.at[mine.region.i].v = t[i].seen_of_mine;
                if (lww_decide(mine, dot(&s, t[i].to, t[i].theirs), &seen, &s) != t[i].want)
                        fail_msg("%s", t[i].why);
        }
}

static void tombstones_kill(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                uint64_t tomb_eu, tomb_ap, incoming, seen_eu;
                bool want;
                uint64_t killer;
        } t[] = {
                {"no tombstone", 0, 0, 5, 0, false, 0},
                {"a later unseen delete kills", 9, 0, 5, 0, true, 9},
                {"an earlier unseen delete does not", 4, 0, 5, 0, false, 0},
                {"a delete that was seen does not", 9, 0, 5, 9, false, 0},
                {"the greatest of several is named", 9, 8, 5, 0, true, 9},
                {"one seen, one not", 9, 8, 5, 9, true, 8},
                {"at the same time the greater name wins: us > eu", 5, 0, 5, 0, false, 0},
        };
        struct regset s = regions();
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct vector tombs = {.at = {{0}}}, seen = tombs;
                tombs.at[regset_find(&s, "eu", 2).i].v = t[i].tomb_eu;
                tombs.at[regset_find(&s, "ap", 2).i].v = t[i].tomb_ap;
                seen.at[regset_find(&s, "eu", 2).i].v = t[i].seen_eu;
                struct dot killer = {.hlc = {0}};
                bool got = lww_killed(&tombs, dot(&s, "us", t[i].incoming), &seen, &s, &killer);
                if (got != t[i].want || killer.hlc.v != t[i].killer)
                        fail_msg("%s", t[i].why);
        }
}

/* Any order of arrival of concurrent versions ends with the same one: lww_decide applied along every permutation. */
static void any_order_one_winner(void **state)
{
        (void)state;
        struct regset s = regions();
        unsigned seed = 7;
        for (int round = 0; round < 2000; round++) {
                struct dot v[3];
                for (unsigned i = 0; i < 3; i++)
                        v[i] = (struct dot){.region = {(uint8_t)i}, .hlc = {1 + (uint64_t)rand_r(&seed) % 3}};
                static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
                struct dot winner[6];
                for (int o = 0; o < 6; o++) {
                        struct vector nothing = {.at = {{0}}};
                        winner[o] = v[orders[o][0]];
                        for (int i = 1; i < 3; i++)
                                if (lww_decide(winner[o], v[orders[o][i]], &nothing, &s) == VERDICT_TAKE_THEIRS)
                                        winner[o] = v[orders[o][i]];
                        assert_int_equal(dot_cmp(winner[o], winner[0], &s), 0);
                }
        }
}

static void standing(void **state)
{
        (void)state;
        enum { LOCAL = 255 };
        static const struct {
                const char *why;
                uint32_t xmin;
                int64_t ts;
                uint8_t from; /* 0 = ap, 1 = eu (who asks), 2 = us (whose change comes in) */
                bool mine, old, follower, any_rule;
                uint64_t h, seen_of_me;
                enum standing_answer want;
        } t[] = {
                {"written by this transaction", 700, 90, 2, true, false, false, false, 0, 0, STANDING_DOMINATED},
                {"older than everything unstable", 700, 0, LOCAL, false, true, false, false, 0, 0, STANDING_DOMINATED},
                {"another region's version is compared by its dot", 700, 40, 0, false, false, false, false, 0, 0, STANDING_DOT},
                {"also when the short cut would let it win", 700, 90, 0, false, false, false, false, 0, 0, STANDING_DOT},
                {"a stray row on a follower", 700, 40, LOCAL, false, false, true, false, 0, 0, STANDING_DOMINATED},
                {"a local row below H", 699, 40, LOCAL, false, false, false, false, 700, 10, STANDING_DOMINATED},
                {"H itself is not below H", 700, 40, LOCAL, false, false, false, false, 700, 10, STANDING_ASK_OWN_LOG},
                {"H is not known", 699, 40, LOCAL, false, false, false, false, 0, 10, STANDING_ASK_OWN_LOG},
                {"later than the incoming one: won already", 700, 51, LOCAL, false, false, false, false, 0, 10,
                 STANDING_WON_ALREADY},
                {"at its very time: its HLC may be the same", 700, 50, LOCAL, false, false, false, false, 0, 10,
                 STANDING_ASK_OWN_LOG},
                {"later, but perhaps seen", 700, 51, LOCAL, false, false, false, false, 0, 60, STANDING_ASK_OWN_LOG},
                {"later is not better under greatest", 700, 51, LOCAL, false, false, false, true, 0, 10, STANDING_ASK_OWN_LOG},
                {"its timestamp is gone", 700, 0, LOCAL, false, false, false, false, 0, 10, STANDING_TIMESTAMP_GONE},
                {"gone: it may be another region's, also below H", 699, 0, LOCAL, false, false, false, false, 700, 10,
                 STANDING_TIMESTAMP_GONE},
                {"gone, on a follower", 700, 0, LOCAL, false, false, true, false, 0, 0, STANDING_TIMESTAMP_GONE},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct vector seen = {.at = {{0}}};
                seen.at[1].v = t[i].seen_of_me;
                struct standing_facts f = {
                        .xmin = t[i].xmin, .ts_us = t[i].ts, .from = {t[i].from}, .mine = t[i].mine, .old = t[i].old};
                struct standing_view v = {.me = {1},
                                          .follower = t[i].follower,
                                          .incoming = {.region = {2}, .hlc = {50}},
                                          .seen = &seen,
                                          .h = {t[i].h},
                                          .newest_xid = {710},
                                          .greatest_dot_wins = !t[i].any_rule};
                struct dot d = {.hlc = {0}};
                if (standing_judge(&f, &v, &d) != t[i].want || (t[i].want == STANDING_DOT && d.hlc.v != (uint64_t)t[i].ts))
                        fail_msg("%s", t[i].why);
        }
}

/* What a group does to a key in a second chunk, or behind its own TRUNCATE, bears the dot of what it did before, and is no repetition. */
static void one_group_goes_on(void **state)
{
        (void)state;
        struct regset s = regions();
        static const struct rule_column cols[2] = {{.name = "k", .type = TYPE_INT, .key = true}, {.name = "v", .type = TYPE_TEXT}};
        const struct rule rule = {.row = RULE_FIRST_WRITE_WINS, .ncols = 2, .cols = cols};
        const struct cell first[2] = {{"1", 1}, {"a", 1}}, then[2] = {{"1", 1}, {"b", 1}};
        const struct dot d = dot(&s, "us", 10);
        struct version was = {.dot = d, .row = first, .rule = &rule};
        struct incoming in = {.v = {.dot = d, .row = then, .old = first, .rule = &rule}, .again = true};
        was.seen.at[d.region.i].v = in.v.seen.at[d.region.i].v = 10;
        struct arena arena;
        struct err e;
        struct merge m;
        arena_init(&arena);
        struct key_state stands = {.row = first, .nsibs = 1, .sibs = &was};
        assert_int_equal(merge_remote(&rule, &stands, &in, &s, &arena, &m, &e), ST_OK);
        assert_int_equal(m.act, MERGE_PUT);
        assert_true(cell_equal(m.after.row[1], then[1]));
        assert_true(m.sibs_changed && !m.after.sibs[0].old); /* the group inserted it */
        in.v.row = first;
        assert_int_equal(merge_remote(&rule, &stands, &in, &s, &arena, &m, &e), ST_OK);
        assert_int_equal(m.act, MERGE_KEEP); /* the same again */
        struct key_state truncated = {.row = NULL};
        truncated.tombs.at[d.region.i].v = 10;
        in = (struct incoming){.v = was, .had_del = true, .fresh = true, .is_insert = true, .again = true};
        assert_int_equal(merge_remote(&rule, &truncated, &in, &s, &arena, &m, &e), ST_OK);
        assert_int_equal(m.act, MERGE_PUT); /* TRUNCATE, insert, delete, insert */
        in.v.row = NULL;
        assert_int_equal(merge_remote(&rule, &stands, &in, &s, &arena, &m, &e), ST_OK);
        assert_int_equal(m.act, MERGE_DELETE);
        arena_release(&arena);
}

static void stability(void **state)
{
        (void)state;
        struct vector seen[MAX_REGIONS] = {0}, out;
        seen[0].at[0].v = 5, seen[0].at[1].v = 9, seen[1].at[0].v = 4, seen[1].at[1].v = 12, seen[2].at[0].v = 1;
        stable_vector(seen, 0x3, &out);
        assert_int_equal(out.at[0].v, 4);
        assert_int_equal(out.at[1].v, 9);
        stable_vector(seen, 0x7, &out);
        assert_int_equal(out.at[0].v, 1);
        assert_int_equal(out.at[1].v, 0);
        stable_vector(seen, 0, &out);
        assert_int_equal(out.at[0].v, 0); /* nobody to ask: nothing is stable */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(decides),   cmocka_unit_test(tombstones_kill), cmocka_unit_test(any_order_one_winner),
                cmocka_unit_test(stability), cmocka_unit_test(standing),        cmocka_unit_test(one_group_goes_on),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
