/* The index of the own log: below which xid every local transaction is covered (H), and which group a local row belongs to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apply/ownlog.h"

#define ME ((region_id){1})

static void note_group(struct ownlog *o, uint64_t hlc, uint64_t commit, int64_t offset, struct item_tx *txs, uint32_t ntxs)
{
        struct log_item i = {.kind = ITEM_GROUP,
                             .hlc = {hlc},
                             .first_commit = {commit},
                             .end_lsn = {commit + 8},
                             .offset = {offset},
                             .first_offset = {offset},
                             .txs = txs,
                             .ntxs = ntxs};
        ownlog_note(o, &i);
}

static void note_one(struct ownlog *o, uint64_t hlc, uint64_t commit, int64_t offset, int64_t us, uint32_t xid)
{
        struct item_tx tx = {.xid = xid, .commit_us = us};
        note_group(o, hlc, commit, offset, &tx, 1);
}

static void note_progress(struct ownlog *o, uint64_t xmin, uint64_t xmin_lsn, uint64_t decoded)
{
        struct log_item i = {.kind = ITEM_PROGRESS, .xmin = {xmin}, .xmin_lsn = {xmin_lsn}, .end_lsn = {decoded}};
        ownlog_note(o, &i);
}

/* ---- H ------------------------------------------------------------------------------------------------------------------------------ */

/* Groups of HLC 10, 20, 30, .. begin at LSN 100, 200, 300, .. */
static void below_h_all_is_covered(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                int groups;
                struct {
                        uint64_t xmin, lsn;
                } progress[3];
                uint64_t seen, want;
        } t[] = {
                {"nothing is known", 3, {{0, 0}}, 30, 0},
                {"a PROGRESS that knows no xmin", 3, {{0, 250}}, 30, 0},
                {"all groups before the xmin was read are seen", 3, {{7, 250}}, 20, 7},
                {"and later ones", 3, {{7, 250}}, 29, 7},
                {"the last of them is not", 3, {{7, 250}}, 19, 0},
                {"a commit at the very LSN came later", 3, {{7, 200}}, 10, 7},
                {"one byte before it did not", 3, {{7, 201}}, 10, 0},
                {"read before the first group: true for everybody", 3, {{7, 50}}, 0, 7},
                {"behind the last group", 3, {{7, 1000}}, 30, 7},
                {"the greatest that holds is taken", 3, {{7, 150}, {8, 250}, {9, 350}}, 25, 8},
                {"two of one place: the later", 3, {{7, 250}, {9, 260}}, 20, 9},
                {"one that does not grow says nothing", 3, {{7, 150}, {7, 250}}, 10, 7},
                {"one that falls (another primary?) is not believed", 3, {{7, 150}, {5, 250}}, 30, 7},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct ownlog *o = ownlog_new(ME);
                for (int g = 1; g <= t[i].groups; g++)
                        note_one(o, (uint64_t)g * 10, (uint64_t)g * 100, g, g, (uint32_t)g);
                for (int p = 0; p < 3; p++)
                        note_progress(o, t[i].progress[p].xmin, t[i].progress[p].lsn, 1000);
                if (ownlog_h(o, (hlc_t){t[i].seen}).v != t[i].want)
                        fail_msg("%s: %d, not %d", t[i].why, (int)ownlog_h(o, (hlc_t){t[i].seen}).v, (int)t[i].want);
                ownlog_free(o);
        }
}

static void a_record_that_is_read_again_says_no_xmin(void **state)
{
        (void)state;
        struct ownlog *o = ownlog_new(ME);
        struct log_item i = {.kind = ITEM_PROGRESS, .xmin = {7}, .xmin_lsn = {50}, .end_lsn = {60}, .replay = true};
        ownlog_note(o, &i); /* the groups before it are not known */
        assert_int_equal(ownlog_h(o, (hlc_t){100}).v, 0);
        assert_int_equal(ownlog_read_lsn(o).v, 60);
        ownlog_free(o);
}

/* A database: transactions begin in the order of their xids and commit in any; now and then somebody reads xmin. Whatever is forgotten,
 * H never covers a transaction whose group was not seen; and while nothing is forgotten it covers all it may. */
static void h_is_right_in_any_history(void **state)
{
        (void)state;
        enum { TXS = 30000, RUNNING = 12 };
        static uint64_t hlc_of[TXS + RUNNING + 1];
        for (unsigned seed = 1; seed <= 6; seed++) {
                struct ownlog *o = ownlog_new(ME);
                unsigned r = seed;
                uint32_t running[RUNNING], xid = 1, progress_every = seed % 2 ? 3 : 100, last_xmin = 0;
                uint64_t lsn = 1000, hlc = 0, stable = 0;
                memset(hlc_of, 0, sizeof hlc_of);
                for (int k = 0; k < RUNNING; k++)
                        running[k] = xid++;
                for (int n = 0; n < TXS; n++) {
                        int k = rand_r(&r) % RUNNING;
                        hlc_of[running[k]] = hlc += 1 + (uint64_t)rand_r(&r) % 5;
                        note_one(o, hlc, lsn, n, (int64_t)hlc, running[k]);
                        running[k] = xid++;
                        lsn += 10;
                        if ((uint32_t)n % progress_every == 0) {
                                last_xmin = running[0];
                                for (k = 1; k < RUNNING; k++)
                                        last_xmin = running[k] < last_xmin ? running[k] : last_xmin;
                                note_progress(o, last_xmin, lsn, lsn);
                                assert_int_equal(ownlog_h(o, (hlc_t){hlc}).v, last_xmin);
                        }
                        if (rand_r(&r) % 5000 == 0) {
                                stable = hlc / 2;
                                ownlog_forget(o, (hlc_t){stable});
                        }
                        if (rand_r(&r) % 16)
                                continue;
                        hlc_t seen = {(uint64_t)rand_r(&r) % (hlc + 2)};
                        uint64_t h = ownlog_h(o, seen).v;
                        for (uint64_t x = h > 600 ? h - 600 : 1; x < h; x++)
                                if (hlc_of[x] == 0 || hlc_of[x] > seen.v)
                                        fail_msg("seed %u: H(%d) = %d covers xid %d of HLC %d", seed, (int)seen.v, (int)h, (int)x,
                                                 (int)hlc_of[x]);
                }
                ownlog_free(o);
        }
}

static void what_was_stable_stays_covered(void **state)
{
        (void)state;
        struct ownlog *o = ownlog_new(ME);
        for (int g = 1; g <= 10; g++) {
                note_one(o, (uint64_t)g * 10, (uint64_t)g * 100, g, g, (uint32_t)g);
                note_progress(o, (uint64_t)g * 5, (uint64_t)g * 100 + 50, 0);
        }
        ownlog_forget(o, (hlc_t){55});
        assert_int_equal(ownlog_h(o, (hlc_t){55}).v, 25);
        assert_int_equal(ownlog_h(o, (hlc_t){60}).v, 30);
        assert_int_equal(ownlog_h(o, (hlc_t){49}).v, 0); /* nobody asks for less than stable; the careful answer */
        ownlog_free(o);
}

/* ---- who wrote it? ------------------------------------------------------------------------------------------------------------------- */

static void the_group_of_a_local_row(void **state)
{
        (void)state;
        struct item_tx a[] = {{.xid = 5, .commit_us = 1000}, {.xid = 6, .commit_us = 1001}}, b[] = {{.xid = 8, .commit_us = 1001}},
                       c[] = {{.xid = 9, .commit_us = 1002}, {.xid = 10, .commit_us = 1002}};
        struct ownlog *o = ownlog_new(ME);
        ownlog_from(o, (hlc_t){1001});
        note_group(o, 2000, 100, 40, a, 2);
        note_group(o, 2001, 200, 41, b, 1);
        note_group(o, 2002, 300, 45, c, 2);
        static const struct {
                const char *why;
                int64_t us;
                uint32_t xid;
                enum own_found want;
                uint64_t hlc;
                int64_t first, last;
        } t[] = {
                {"time and xid", 1000, 5, OWN_FOUND, 2000, 0, 0},
                {"equal times are told apart by xid", 1001, 6, OWN_FOUND, 2000, 0, 0},
                {"both of them", 1001, 8, OWN_FOUND, 2001, 0, 0},
                {"the time alone may be that of a forgotten transaction", 1000, 77, OWN_AMBIGUOUS, 0, 40, 40},
                {"two groups hold it", 1001, 77, OWN_AMBIGUOUS, 0, 40, 41},
                {"two of one group, and nothing of that time is forgotten: written in a savepoint of either", 1002, 77, OWN_FOUND,
                 2002, 0, 0},
                {"an unknown time is older than all that is unstable", 999, 5, OWN_OLDER, 0, 0, 0},
                {"even between known ones", 1003, 5, OWN_OLDER, 0, 0, 0},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                hlc_t hlc = {0};
                koffset_t first = {-1}, last = {-1};
                enum own_found got = ownlog_find(o, t[i].us, t[i].xid, &hlc, &first, &last);
                if (got != t[i].want || (got == OWN_FOUND && hlc.v != t[i].hlc))
                        fail_msg("%s: %d, HLC %d", t[i].why, (int)got, (int)hlc.v);
                if (got == OWN_AMBIGUOUS && (first.v != t[i].first || last.v != t[i].last))
                        fail_msg("%s: to be read back from %d to %d", t[i].why, (int)first.v, (int)last.v);
                assert_true(ownlog_knows(o, t[i].us, t[i].xid) == (t[i].want == OWN_FOUND && t[i].xid != 77));
        }
        assert_int_equal(ownlog_read_lsn(o).v, 308);
        ownlog_forget(o, (hlc_t){2001});
        hlc_t hlc;
        koffset_t first, last;
        assert_int_equal(ownlog_size(o), 2);
        assert_int_equal(ownlog_find(o, 1000, 5, &hlc, &first, &last), OWN_OLDER);
        assert_int_equal(ownlog_find(o, 1002, 9, &hlc, &first, &last), OWN_FOUND);
        note_one(o, 2003, 400, 50, 1001, 11); /* its time is not in the order: one of that time is forgotten */
        assert_int_equal(ownlog_find(o, 1001, 77, &hlc, &first, &last), OWN_AMBIGUOUS);
        assert_false(ownlog_knows(o, 1001, 8));
        ownlog_free(o);
}

static void a_group_that_is_read_again_is_stable(void **state)
{
        (void)state;
        struct item_tx tx = {.xid = 5, .commit_us = 1000};
        struct log_item i = {
                .kind = ITEM_GROUP, .hlc = {10}, .first_commit = {100}, .end_lsn = {108}, .txs = &tx, .ntxs = 1, .replay = true};
        struct ownlog *o = ownlog_new(ME);
        hlc_t hlc;
        koffset_t first, last;
        ownlog_note(o, &i);
        assert_int_equal(ownlog_find(o, 1000, 5, &hlc, &first, &last), OWN_OLDER);
        note_progress(o, 7, 150, 150); /* but it is where H begins */
        assert_int_equal(ownlog_h(o, (hlc_t){9}).v, 0);
        assert_int_equal(ownlog_h(o, (hlc_t){10}).v, 7);
        ownlog_free(o);
}

/* More transactions than are kept one by one, their times up to 2 ms out of order: each is found, or lies in what is to be read back. */
static void what_falls_out_is_read_back(void **state)
{
        (void)state;
        enum { TXS = 700000, KEPT = 1 << 18 };
        int64_t *us = malloc(sizeof *us * TXS);
        assert_non_null(us);
        struct ownlog *o = ownlog_new(ME);
        unsigned r = 1;
        uint32_t ranges = 0;
        for (int n = 0; n < TXS; n++) {
                us[n] = INT64_C(10000000) + n * 10 + rand_r(&r) % 2000;
                note_one(o, (uint64_t)n + 1, (uint64_t)n * 10 + 10, n, us[n], (uint32_t)n);
        }
        assert_int_equal(ownlog_size(o), KEPT);
        for (int round = 0; round < 2; round++) {
                int from = round ? TXS / 2 : 0;
                for (int n = from; n < TXS; n += 7) {
                        hlc_t hlc = {0};
                        koffset_t first = {-1}, last = {-1};
                        enum own_found got = ownlog_find(o, us[n], (uint32_t)n, &hlc, &first, &last);
                        ranges += got == OWN_RANGE;
                        if (!(got == OWN_FOUND && hlc.v == (uint64_t)n + 1) && !(got == OWN_RANGE && first.v <= n && n <= last.v))
                                fail_msg("transaction %d: %d, HLC %d, offsets %d to %d", n, (int)got, (int)hlc.v, (int)first.v,
                                         (int)last.v);
                        if (got == OWN_RANGE && last.v - first.v > 3000)
                                fail_msg("transaction %d: to be read back from %d to %d", n, (int)first.v, (int)last.v);
                }
                ownlog_forget(o, (hlc_t){TXS / 2}); /* the first half is stable now */
        }
        assert_true(ranges > 50000);
        ownlog_forget(o, (hlc_t){TXS});
        assert_int_equal(ownlog_size(o), 0);
        hlc_t hlc;
        koffset_t first, last;
        for (int n = 0; n < TXS; n += 997)
                assert_int_equal(ownlog_find(o, us[n], (uint32_t)n, &hlc, &first, &last), OWN_OLDER);
        ownlog_free(o);
        free(us);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(below_h_all_is_covered),      cmocka_unit_test(a_record_that_is_read_again_says_no_xmin),
                cmocka_unit_test(h_is_right_in_any_history),   cmocka_unit_test(what_was_stable_stays_covered),
                cmocka_unit_test(the_group_of_a_local_row),    cmocka_unit_test(a_group_that_is_read_again_is_stable),
                cmocka_unit_test(what_falls_out_is_read_back),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
