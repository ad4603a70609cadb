/* Where the own log ends, with zombies, lost epochs and unfinished groups in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "capture/tail.h"

enum what { END, E, G, C, L, P }; /* EPOCH, whole GROUP, chunk, last chunk, PROGRESS */
struct rec {
        enum what what;
        uint64_t epoch, seq, lsn;
};

static const struct {
        region_id me;
} us = {{1}};

static void feed(struct tail_scan *s, const struct rec *recs)
{
        struct vector vec = {{{5}, {77}, {0}}}; /* the own component is not taken over */
        tail_scan_init(s, us.me);
        for (int64_t i = 0; recs[i].what != END; i++) {
                struct txn tx = {.xid = {recs[i].lsn}, .commit_lsn = {recs[i].lsn}, .end_lsn = {recs[i].lsn}, .vec = &vec};
                struct record r = {.head = {.epoch = recs[i].epoch, .seq = recs[i].seq}};
                if (recs[i].what == E) {
                        r.head.kind = RECORD_EPOCH;
                } else if (recs[i].what == P) {
                        r.head.kind = RECORD_PROGRESS;
                        r.u.progress.decoded.v = recs[i].lsn;
                        r.u.progress.vec.at[us.me.i].v = recs[i].lsn * 10;
                } else {
                        r.head.kind = RECORD_GROUP;
                        r.u.group = (struct group){.hlc = {recs[i].lsn * 10}, .ntxs = 1, .txs = &tx, .last = recs[i].what != C};
                }
                tail_scan_record(s, &r, (koffset_t){i});
        }
}

static const struct {
        const char *why;
        struct rec recs[12];
        uint64_t counter;
        bool found, certain;
        uint64_t lsn, seq, hlc, max_epoch;
} cases[] = {
        {"an empty log", {{END}}, 0, false, false, 0, 0, 0, 0},
        {"only an EPOCH", {{E, 1, 0, 0}, {END}}, 1, false, false, 0, 0, 0, 1},
        {"the last group counts", {{E, 1, 0, 0}, {G, 1, 1, 10}, {G, 1, 2, 20}, {END}}, 1, true, true, 20, 2, 200, 1},
        {"progress moves the position", {{E, 1, 0, 0}, {G, 1, 1, 10}, {P, 1, 2, 15}, {END}}, 1, true, true, 15, 2, 150, 1},
        {"a zombie behind an EPOCH is ignored",
         {{E, 1, 0, 0}, {G, 1, 1, 10}, {E, 2, 0, 0}, {G, 2, 2, 20}, {G, 1, 2, 30}, {G, 1, 3, 40}, {END}},
         2,
         true,
         true,
         20,
         2,
         200,
         2},
        {"an EPOCH that lands late is ignored",
         {{E, 3, 0, 0}, {G, 3, 1, 10}, {E, 2, 0, 0}, {G, 2, 2, 20}, {G, 3, 2, 30}, {END}},
         3,
         true,
         true,
         30,
         2,
         300,
         3},
        {"an unfinished group counts for seq and HLC, not for the position",
         {{E, 1, 0, 0}, {G, 1, 1, 10}, {C, 1, 2, 90}, {C, 1, 3, 90}, {END}},
         1,
         true,
         true,
         10,
         3,
         900,
         1},
        {"its last chunk makes it count", {{E, 1, 0, 0}, {C, 1, 1, 90}, {L, 1, 2, 90}, {END}}, 1, true, true, 90, 2, 900, 1},
        {"an epoch was taken and may have landed before the window: not certain",
         {{G, 1, 7, 10}, {END}},
         2,
         true,
         false,
         10,
         7,
         100,
         1},
        {"it landed behind: certain", {{G, 1, 7, 10}, {E, 2, 0, 0}, {END}}, 2, true, true, 10, 7, 100, 2},
        {"one of two landed behind: not certain", {{G, 1, 7, 10}, {E, 3, 0, 0}, {END}}, 3, true, false, 10, 7, 100, 3},
        {"both landed behind, the older one later",
         {{G, 1, 7, 10}, {E, 3, 0, 0}, {E, 2, 0, 0}, {END}},
         3,
         true,
         true,
         10,
         7,
         100,
         3},
        {"a window full of a zombie's records: not certain", {{G, 1, 5, 50}, {G, 1, 6, 60}, {END}}, 4, true, false, 60, 6, 600, 1},
        {"a log of a higher epoch than the counter shows", {{E, 9, 0, 0}, {G, 9, 1, 10}, {END}}, 3, true, true, 10, 1, 100, 9},
};

static void the_end_of_the_log(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct tail_scan s;
                feed(&s, cases[i].recs);
                print_message("  %s\n", cases[i].why);
                assert_int_equal(s.tail.found, cases[i].found);
                assert_int_equal(tail_scan_certain(&s, cases[i].counter), cases[i].certain);
                assert_int_equal(s.tail.lsn.v, cases[i].lsn);
                assert_int_equal(s.tail.seq, cases[i].seq);
                assert_int_equal(s.tail.hlc.v, cases[i].hlc);
                assert_int_equal(s.tail.max_epoch, cases[i].max_epoch);
                assert_int_equal(s.tail.vec.at[us.me.i].v, 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(the_end_of_the_log)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
