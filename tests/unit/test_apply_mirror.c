/* What a mirror may copy: records that connect to what its topic holds; a hole is found whatever stands around it. In words as the log is:
 *     E2 EPOCH of epoch 2    2:7 a record of epoch 2 with seq 7    M marker */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/mirror.h"
#include "apply/mirror_trim.h"

static const struct {
        const char *why, *log;
        int hole; /* number of the first record that does not connect, from 1; 0: none */
} t[] = {
        {"an empty mirror begins anywhere", "1:500 1:501", 0},
        {"in sequence", "E1 1:1 1:2 1:3", 0},
        {"one is missing", "E1 1:1 1:3", 3},
        {"it goes back and on", "E1 1:1 1:2 1:3 1:2 1:3 1:4", 0},
        {"it goes back, and one is missing behind what was there", "E1 1:1 1:2 1:3 1:2 1:3 1:5", 7},
        {"going back does not hide a hole", "E1 1:1 1:2 1:3 1:1 1:5", 6},
        {"a new epoch goes on counting", "E1 1:1 E2 2:2", 0},
        {"one is missing behind an EPOCH", "E1 1:1 E2 2:3", 4},
        {"an EPOCH is missing", "E1 1:1 2:2", 3},
        {"back behind an EPOCH", "E1 1:1 E2 2:2 1:1 E2 2:2 2:3", 0},
        {"what an EPOCH has fenced does not count", "E1 1:1 E2 1:2 1:3 2:2 2:3", 0},
        {"nor does it fill a hole", "E1 1:1 E2 1:2 2:3", 5},
        {"a marker has no number", "E1 1:1 M 1:2", 0},
        {"an EPOCH alone says nothing of numbers", "E3 3:77", 0},
};

static void holes_are_found(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct mirror_tail tail = {0};
                int n = 0, hole = 0;
                for (const char *s = t[i].log; *s && !hole; s += *s == ' ') {
                        struct record_head h = {.kind = *s == 'E' ? RECORD_EPOCH : *s == 'M' ? RECORD_MARKER : RECORD_PROGRESS};
                        char *end = (char *)(uintptr_t)s;
                        if (*s == 'E')
                                h.epoch = strtoull(s + 1, &end, 10);
                        else if (*s != 'M')
                                h.epoch = strtoull(s, &end, 10);
                        else
                                h.epoch = tail.epoch, end++;
                        if (*end == ':')
                                h.seq = strtoull(end + 1, &end, 10);
                        s = end;
                        n++;
                        if (!mirror_connects(&tail, &h))
                                hole = n;
                }
                if (hole != t[i].hole)
                        fail_msg("%s: %s: the hole is at %d, not at %d", t[i].why, t[i].log, hole, t[i].hole);
        }
}

static void only_what_is_surely_older_goes(void **state)
{
        (void)state;
        static const struct {
                uint64_t epoch, seq; /* of the last record that would go; the source begins with 2:10 */
                bool may_go;
        } rows[] = {{2, 9, true}, {1, 3, true}, {2, 10, false}, {2, 11, false}, {1, 12, false}, {3, 5, false}};
        const struct record_head first = {.kind = RECORD_PROGRESS, .epoch = 2, .seq = 10};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct record_head last = {.kind = RECORD_PROGRESS, .epoch = rows[i].epoch, .seq = rows[i].seq};
                if (mirror_trim_may_go(&first, &last) != rows[i].may_go)
                        fail_msg("%" PRIu64 ":%" PRIu64, last.epoch, last.seq);
        }
}

static void without_a_link_there_is_no_mirror(void **state)
{
        (void)state;
        struct region regions[] = {{.name = "eu", .id = {0}}, {.name = "us", .id = {1}}};
        struct topology topo = {.nregions = 2, .regions = regions, .names = {.n = 2, .name = {"eu", "us"}}};
        assert_null(mirrors_start(&topo, (region_id){0}));
        assert_false(mirrors_alive(NULL));
        mirrors_stop(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(holes_are_found),
                cmocka_unit_test(only_what_is_surely_older_goes),
                cmocka_unit_test(without_a_link_there_is_no_mirror),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
