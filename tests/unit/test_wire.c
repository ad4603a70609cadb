/* The log record: what is written is read back the same; what is damaged is refused by name, never a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/wire_sample.h"

struct bench {
        struct regset regs;
        struct arena arena, made; /* decoded; what the test made */
        struct buf out;
        struct wire_group *w;
        struct record_head head;
        struct err e;
};

static int setup(void **state)
{
        struct bench *b = calloc(1, sizeof *b);
        if (!b)
                return -1;
        b->regs = sample_regions(3);
        arena_init(&b->arena);
        arena_init(&b->made);
        buf_init(&b->out, 0);
        b->w = wire_group_new(900000);
        b->head = (struct record_head){.epoch = 7, .seq = UINT64_C(1) << 40, .region = {1}, .incarnation = 2, .generation = 3};
        *state = b;
        return 0;
}

static int teardown(void **state)
{
        struct bench *b = *state;
        wire_group_free(b->w);
        buf_release(&b->out);
        arena_release(&b->arena);
        arena_release(&b->made);
        free(b);
        return 0;
}

static void check(struct bench *b, enum status st, const char *what)
{
        if (st != ST_OK)
                fail_msg("%s: %s: %s", what, status_name(st), b->e.msg);
}

static void decode(struct bench *b, struct record *r)
{
        check(b, wire_decode(b->out.data, b->out.len, &b->regs, &b->arena, r, &b->e), "decode");
        assert_int_equal(r->head.epoch, 7);
        assert_true(r->head.seq == UINT64_C(1) << 40);
        assert_string_equal(regset_name(&b->regs, r->head.region), "r01");
        assert_int_equal(r->head.incarnation, 2);
        assert_int_equal(r->head.generation, 3);
}

static void same_group(const struct group *a, const struct group *b, const char *what)
{
        const char *diff = group_diff(a, b);
        if (diff)
                fail_msg("%s: %s", what, diff);
}

/* ---- every kind -------------------------------------------------------------------------------------------------------------------- */
static void make_epoch(struct bench *b)
{
        struct record_epoch r = {.writes = 1,
                                 .reads_min = 1,
                                 .reads_max = 2,
                                 .system_id = "7412345678901234567",
                                 .timeline = 4,
                                 .database = "shop",
                                 .slot = "pangea_shop_us",
                                 .wall_us = 1790000000000001};
        check(b, wire_encode_epoch(&b->out, &b->head, &r, &b->regs, &b->e), "epoch");
}

static void make_progress(struct bench *b)
{
        struct record_progress r = {.decoded = {0x16B374D848}, .xmin = {(UINT64_C(3) << 32) + 5}, .xmin_lsn = {99}, .wall_us = -1};
        r.vec.at[0].v = 1790000000000000;
        r.vec.at[1].v = INT64_MAX;
        check(b, wire_encode_progress(&b->out, &b->head, &r, &b->regs, &b->e), "progress");
}

static void make_marker(struct bench *b)
{
        struct record_marker r = {.what = "rules", .text = "{\"generation\":4}"};
        check(b, wire_encode_marker(&b->out, &b->head, &r, &b->regs, &b->e), "marker");
}

static void epoch_comes_back(void **state)
{
        struct bench *b = *state;
        struct record r;
        make_epoch(b);
        decode(b, &r);
        assert_int_equal(r.head.kind, RECORD_EPOCH);
        assert_int_equal(r.u.epoch.writes, 1);
        assert_int_equal(r.u.epoch.reads_min, 1);
        assert_int_equal(r.u.epoch.reads_max, 2);
        assert_string_equal(r.u.epoch.system_id, "7412345678901234567");
        assert_int_equal(r.u.epoch.timeline, 4);
        assert_string_equal(r.u.epoch.database, "shop");
        assert_string_equal(r.u.epoch.slot, "pangea_shop_us");
        assert_int_equal(r.u.epoch.wall_us, 1790000000000001);
}

static void progress_comes_back(void **state)
{
        struct bench *b = *state;
        struct record r;
        make_progress(b);
        decode(b, &r);
        assert_int_equal(r.head.kind, RECORD_PROGRESS);
        assert_int_equal(r.u.progress.vec.at[0].v, 1790000000000000);
        assert_true(r.u.progress.vec.at[1].v == INT64_MAX);
        assert_int_equal(r.u.progress.vec.at[2].v, 0);
        assert_true(r.u.progress.decoded.v == 0x16B374D848);
        assert_true(r.u.progress.xmin.v == (UINT64_C(3) << 32) + 5);
        assert_int_equal(r.u.progress.xmin_lsn.v, 99);
        assert_int_equal(r.u.progress.wall_us, -1);
}

static void marker_comes_back(void **state)
{
        struct bench *b = *state;
        struct record r;
        make_marker(b);
        decode(b, &r);
        assert_int_equal(r.head.kind, RECORD_MARKER);
        assert_string_equal(r.u.marker.what, "rules");
        assert_string_equal(r.u.marker.text, "{\"generation\":4}");
}

/* ---- groups ------------------------------------------------------------------------------------------------------------------------ */
#define TEXT(s)                                                                        \
        {                                                                              \
                .kind = VALUE_TEXT, .len = sizeof(s) - 1, .data = (const uint8_t *)(s) \
        }
#define UNSENT                       \
        {                            \
                .kind = VALUE_UNSENT \
        }

static const struct column account_cols[] = {
        {"id", "pg_catalog.int4", true}, {"owner", "pg_catalog.text", false}, {"balance", "pg_catalog.numeric", false}};
static const uint16_t account_keys[] = {0};
static const struct relation accounts = {
        .schema = "public", .name = "accounts", .ncols = 3, .nkeys = 1, .cols = account_cols, .keys = account_keys};
static const struct vector seen_eu = {.at = {[0] = {1790000000000000}}};
static const struct txn one_tx = {
        .xid = {1000}, .commit_lsn = {0x1A00}, .end_lsn = {0x1A30}, .commit_us = 1790000000123400, .vec = &seen_eu};

/* The example of docs/log-format.md: one transaction that inserts a row and updates another. */
static void make_example(struct bench *b)
{
        static const uint8_t one[] = {0, 0, 0, 1};
        static const struct value row[] = {{.kind = VALUE_BINARY, .len = 4, .data = one}, TEXT("Ada"), TEXT("12.50")};
        static const struct value new_row[] = {TEXT("3"), UNSENT, {.kind = VALUE_NULL}}, old_key[] = {TEXT("2"), UNSENT, UNSENT};
        struct change insert = {.op = CHANGE_INSERT, .rel = &accounts, .row = row};
        struct change update = {.op = CHANGE_UPDATE, .rel = &accounts, .row = new_row, .old = old_key};
        b->regs = (struct regset){.n = 2, .name = {"eu", "us"}};
        b->head = (struct record_head){.epoch = 3, .seq = 42, .region = {1}, .incarnation = 1};
        wire_group_begin_tx(b->w, &one_tx, &b->regs);
        assert_int_equal(wire_group_add(b->w, &insert), ST_OK);
        assert_int_equal(wire_group_add(b->w, &update), ST_OK);
        check(b, wire_group_finish(b->w, &b->out, &b->head, (hlc_t){1790000000123456}, 0, true, &b->regs, &b->e), "finish");
}

/* A random group of a size for which trying every byte takes no time. */
static void make_group(struct bench *b)
{
        b->regs = sample_regions(3);
        for (uint64_t seed = 0;; seed++) {
                struct rng r = {.s = seed};
                struct group g;
                wire_group_reset(b->w);
                sample_group(&r, &b->made, 3, 8, &g);
                if (g.nchanges < 6 || sample_add(b->w, &g, &b->regs) != ST_OK)
                        continue;
                check(b, wire_group_finish(b->w, &b->out, &b->head, g.hlc, 0, true, &b->regs, &b->e), "finish");
                if (b->out.len < 1500)
                        return;
        }
}

static void make_small_group(struct bench *b)
{
        make_example(b);
}

static void random_groups_come_back(void **state)
{
        struct bench *b = *state;
        wire_group_free(b->w);
        b->w = wire_group_new((size_t)16 << 20);
        for (uint64_t seed = 0; seed < 400; seed++) {
                struct rng r = {.s = seed};
                struct group g;
                struct record back;
                char what[40];
                snprintf(what, sizeof what, "seed %llu", (unsigned long long)seed);
                sample_group(&r, &b->made, 3, 12, &g);
                g.chunk = rng_below(&r, 3);
                g.last = rng_below(&r, 2);
                enum status st = sample_add(b->w, &g, &b->regs);
                if (st == ST_OK) {
                        size_t bound = wire_group_bytes(b->w);
                        assert_int_equal(wire_group_rows(b->w), g.nchanges);
                        assert_int_equal(wire_group_txs(b->w), g.ntxs);
                        check(b, wire_group_finish(b->w, &b->out, &b->head, g.hlc, g.chunk, g.last, &b->regs, &b->e), what);
                        assert_in_range(b->out.len, 40, bound);
                        decode(b, &back);
                        same_group(&g, &back.u.group, what);
                }
                assert_int_equal(st, ST_OK);
                wire_group_reset(b->w);
                arena_reset(&b->made);
                arena_reset(&b->arena);
        }
}

static void equal_vectors_are_one(void **state)
{
        struct bench *b = *state;
        struct vector v[2] = {{.at = {[0] = {50}}}, {.at = {[0] = {60}, [2] = {5}}}};
        struct record r;
        size_t alone = 0;
        for (unsigned i = 0; i < 6; i++) {
                struct vector copy = v[i / 3];
                struct txn x = one_tx;
                x.xid.v += i;
                x.vec = &copy;
                wire_group_begin_tx(b->w, &x, &b->regs);
        }
        check(b, wire_group_finish(b->w, &b->out, &b->head, (hlc_t){100}, 0, true, &b->regs, &b->e), "finish");
        decode(b, &r);
        for (unsigned i = 0; i < 6; i++)
                assert_memory_equal(r.u.group.txs[i].vec, &v[i / 3], sizeof *v);
        assert_ptr_equal(r.u.group.txs[0].vec, r.u.group.txs[2].vec);
        assert_ptr_equal(r.u.group.txs[3].vec, r.u.group.txs[5].vec);
        alone = b->out.len;
        wire_group_begin_tx(b->w,
                            &(struct txn){.xid = {1006},
                                          .commit_lsn = one_tx.commit_lsn,
                                          .end_lsn = one_tx.end_lsn,
                                          .commit_us = one_tx.commit_us,
                                          .vec = &v[1]},
                            &b->regs);
        check(b, wire_group_finish(b->w, &b->out, &b->head, (hlc_t){100}, 0, true, &b->regs, &b->e), "finish");
        assert_int_equal(b->out.len - alone, 5); /* flags, xid + 1, LSN + 0, its length, time + 0 */
}

static void end_of_a_transaction_is_known_later(void **state)
{
        struct bench *b = *state;
        struct record r;
        struct txn x = one_tx;
        x.commit_lsn.v = x.end_lsn.v = 0;
        wire_group_begin_tx(b->w, &x, &b->regs);
        wire_group_end_tx(b->w, (lsn_t){500}, (lsn_t){548});
        check(b, wire_group_finish(b->w, &b->out, &b->head, (hlc_t){100}, 0, true, &b->regs, &b->e), "finish");
        decode(b, &r);
        assert_int_equal(r.u.group.txs[0].commit_lsn.v, 500);
        assert_int_equal(r.u.group.txs[0].end_lsn.v, 548);
}

static void regions_unknown_here_are_added(void **state)
{
        struct bench *b = *state;
        struct regset other = {.n = 1, .name = {"zz"}};
        struct record r;
        make_progress(b);
        check(b, wire_decode(b->out.data, b->out.len, &other, &b->arena, &r, &b->e), "decode");
        assert_int_equal(other.n, 3);
        assert_string_equal(regset_name(&other, r.head.region), "r01");
        region_id r00 = regset_find(&other, "r00", 3);
        assert_int_equal(r.u.progress.vec.at[r00.i].v, 1790000000000000);
        assert_int_equal(r.u.progress.vec.at[0].v, 0); /* zz */

        struct regset full = {.n = 0};
        for (unsigned i = 0; i < MAX_REGIONS; i++) {
                char name[16];
                snprintf(name, sizeof name, "x%u", i);
                regset_add(&full, name, strlen(name));
        }
        assert_int_equal(wire_decode(b->out.data, b->out.len, &full, &b->arena, &r, &b->e), ST_DATA);
}

/* ---- damage ------------------------------------------------------------------------------------------------------------------------ */
static void (*const makers[])(struct bench *) = {make_epoch, make_progress, make_marker, make_small_group, make_group};
enum { MAKERS = sizeof makers / sizeof *makers };

/* A copy of exactly n bytes (so that a sanitizer sees the first byte too far) is refused, and nothing is left behind. */
static void refused(struct bench *b, const uint8_t *p, size_t n, const char *what, size_t at)
{
        struct record r, empty;
        memset(&r, 0x55, sizeof r);
        memset(&empty, 0, sizeof empty);
        uint8_t *copy = test_malloc(n + 1);
        memcpy(copy + 1, p, n); /* at an odd address, too */
        unsigned known = b->regs.n;
        enum status st = wire_decode(copy + 1, n, &b->regs, &b->arena, &r, &b->e);
        if (st != ST_DATA || b->e.code != ST_DATA || !b->e.name[0])
                fail_msg("%s at %zu: %s (%s)", what, at, status_name(st), b->e.name);
        assert_memory_equal(&r, &empty, sizeof r);
        assert_int_equal(b->regs.n, known);
        arena_reset(&b->arena);
        test_free(copy);
}

static void truncated_at_every_byte(void **state)
{
        struct bench *b = *state;
        for (size_t k = 0; k < MAKERS; k++) {
                wire_group_reset(b->w);
                makers[k](b);
                for (size_t n = 0; n < b->out.len; n++)
                        refused(b, b->out.data, n, "cut", n);
                /* the same with a CRC that agrees: the lengths inside must notice */
                for (size_t n = 37; n < b->out.len; n++) {
                        uint8_t *copy = test_malloc(n);
                        memcpy(copy, b->out.data, n);
                        wire_seal(copy, n);
                        refused(b, copy, n, "cut and sealed", n);
                        test_free(copy);
                }
        }
}

static void every_byte_flipped(void **state)
{
        struct bench *b = *state;
        for (size_t k = 0; k < MAKERS; k++) {
                wire_group_reset(b->w);
                makers[k](b);
                for (size_t i = 0; i < b->out.len; i++) {
                        static const uint8_t flips[] = {0x01, 0x80, 0xff};
                        for (size_t f = 0; f < sizeof flips; f++) {
                                b->out.data[i] ^= flips[f];
                                refused(b, b->out.data, b->out.len, "flipped", i);
                                b->out.data[i] ^= flips[f];
                        }
                }
        }
}

/* With a CRC that agrees every byte may be anything: it decodes to something or is refused, and never reads outside (sanitizers). */
static void every_byte_anything(void **state)
{
        struct bench *b = *state;
        unsigned taken = 0, not_taken = 0;
        for (size_t k = 0; k < 4; k++) {
                wire_group_reset(b->w);
                makers[k](b);
                uint8_t *copy = test_malloc(b->out.len);
                for (size_t i = 9; i < b->out.len; i++) {
                        for (unsigned v = 0; v < 256; v++) {
                                struct regset regs = b->regs;
                                struct record r;
                                memcpy(copy, b->out.data, b->out.len);
                                copy[i] = (uint8_t)v;
                                wire_seal(copy, b->out.len);
                                enum status st = wire_decode(copy, b->out.len, &regs, &b->arena, &r, &b->e);
                                assert_true(st == ST_OK || st == ST_DATA);
                                taken += st == ST_OK;
                                not_taken += st == ST_DATA;
                                arena_reset(&b->arena);
                        }
                }
                test_free(copy);
        }
        assert_true(taken > 1000 && not_taken > 1000);
}

static void longer_than_it_says(void **state)
{
        struct bench *b = *state;
        for (size_t k = 0; k < MAKERS; k++) {
                wire_group_reset(b->w);
                makers[k](b);
                buf_put_u8(&b->out, 0);
                wire_seal(b->out.data, b->out.len);
                refused(b, b->out.data, b->out.len, "a byte too many", b->out.len);
        }
}

static void refusals_say_what_and_where(void **state)
{
        struct bench *b = *state;
        /* the example: 36 head, 1 + 3 + 3 regions, then the GROUP at 43 */
        static const struct {
                const char *why;
                size_t at;
                uint8_t value;
                bool sealed;
                const char *name, *msg;
        } t[] = {
                {"not ours", 0, 'X', true, "record_damaged", "do not begin as a record does"},
                {"bytes changed on the way", 60, 0xee, false, "record_damaged", "the CRC over"},
                {"a newer version", 8, 2, true, "record_version", "of version 2, this program reads version 1: upgrade"},
                {"kind 0", 9, 0, true, "record_version", "kind 0 with flags 0000 is unknown"},
                {"a newer kind", 9, 5, true, "record_version", "byte 9: kind 5"},
                {"flags of the record", 10, 1, true, "record_version", "byte 10: kind 2 with flags 0100"},
                {"no region", 36, 0, true, "record_damaged", "number of regions"},
                {"too many regions", 36, 33, true, "record_damaged", "number of regions"},
                {"region without a name", 37, 0, true, "record_damaged", "byte 38: a region name is empty"},
                {"a region twice", 41, 'u', true, "record_damaged", "stands twice"},
                {"flags of the group", 43, 4, true, "record_damaged", "byte 44: unknown flags of a group"},
                {"more transactions than bytes", 53, 0x7f, true, "record_damaged", "more transactions than"},
                {"more vectors than transactions", 54, 2, true, "record_damaged", "more vectors than transactions"},
                {"flags of a transaction", 55, 2, true, "record_damaged", "unknown flags of a transaction"},
                {"a transaction without vector", 55, 0, true, "record_damaged", "vectors do not agree"},
        };
        make_example(b);
        b->out.data[41] = 'u'; /* us, us: for "twice"; the others see it only behind their own fault */
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                uint8_t copy[400];
                struct record r;
                assert_true(b->out.len <= sizeof copy);
                b->out.data[41] = strstr(t[i].why, "twice") ? 'u' : 'e';
                b->out.data[42] = strstr(t[i].why, "twice") ? 's' : 'u';
                wire_seal(b->out.data, b->out.len);
                memcpy(copy, b->out.data, b->out.len);
                copy[t[i].at] = t[i].value;
                if (t[i].sealed)
                        wire_seal(copy, b->out.len);
                assert_int_equal(wire_decode(copy, b->out.len, &b->regs, &b->arena, &r, &b->e), ST_DATA);
                if (strcmp(b->e.name, t[i].name) != 0 || !strstr(b->e.msg, t[i].msg))
                        fail_msg("%s: %s: %s", t[i].why, b->e.name, b->e.msg);
        }
}

/* Counts that promise more than the bytes can hold are refused before anything is allocated for them. */
static void huge_counts_allocate_nothing(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why;
                size_t before_end; /* of the example: where the count stands, from the start of the changes' header */
        } t[] = {{"relations", 0}, {"changes", 1}, {"values", 2}};
        static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
        make_example(b);
        const uint8_t *schema = memmem(b->out.data, b->out.len, "public", 7);
        assert_non_null(schema);
        size_t counts = (size_t)(schema - b->out.data) - 4; /* three counts of one byte, flags of the relation */
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                uint8_t copy[400];
                struct record r;
                size_t at = counts + t[i].before_end, n = b->out.len + sizeof huge - 1;
                assert_true(n <= sizeof copy);
                memcpy(copy, b->out.data, at);
                memcpy(copy + at, huge, sizeof huge);
                memcpy(copy + at + sizeof huge, b->out.data + at + 1, b->out.len - at - 1);
                wire_seal(copy, n);
                arena_reset(&b->arena);
                assert_int_equal(wire_decode(copy, n, &b->regs, &b->arena, &r, &b->e), ST_DATA);
                if (!strstr(b->e.msg, t[i].why))
                        fail_msg("%s: %s", t[i].why, b->e.msg);
                assert_true(b->arena.used < 1000);
        }
}

/* ---- sizes, chunks, fragments ------------------------------------------------------------------------------------------------------ */
static const struct value *wide_row(struct bench *b, uint32_t bytes)
{
        struct value *row = ARENA_ARRAY(&b->made, struct value, 3);
        uint8_t *text = arena_alloc(&b->made, bytes);
        for (uint32_t i = 0; i < bytes; i++)
                text[i] = (uint8_t)('a' + i % 26);
        row[0] = (struct value){.kind = VALUE_TEXT, .len = 1, .data = (const uint8_t *)"1"};
        row[1] = (struct value){.kind = VALUE_TEXT, .len = bytes, .data = text};
        row[2] = (struct value){.kind = VALUE_NULL};
        return row;
}

static void a_record_never_passes_its_maximum(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why;
                size_t max;
                uint32_t row;
        } t[] = {
                {"smallest record, tiny rows", WIRE_RECORD_MIN, 1},
                {"smallest record, rows of a third", WIRE_RECORD_MIN, 900},
                {"ordinary record", 900000, 150},
                {"wide rows", 900000, 5000},
                {"rows nearly as large as the record", 100000, 98000},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct wire_group *w = wire_group_new(t[i].max);
                struct change c = {.op = CHANGE_INSERT, .rel = &accounts, .row = wide_row(b, t[i].row)};
                struct record r;
                buf_release(&b->out);
                buf_init(&b->out, t[i].max); /* as Kafka would refuse it */
                wire_group_begin_tx(w, &one_tx, &b->regs);
                enum status st;
                while ((st = wire_group_add(w, &c)) == ST_OK)
                        ;
                assert_int_equal(st, ST_RETRY);
                uint32_t rows = wire_group_rows(w);
                assert_true(rows > 0);
                check(b, wire_group_finish(w, &b->out, &b->head, (hlc_t){5}, 0, false, &b->regs, &b->e), t[i].why);
                /* nearly full: what is missing is less than one more row and the bound of the head */
                assert_in_range(b->out.len, t[i].max - t[i].row - 1300, t[i].max);
                decode(b, &r);
                assert_int_equal(r.u.group.nchanges, rows);
                wire_group_reset(w);
                wire_group_begin_tx(w, &one_tx, &b->regs);
                assert_int_equal(wire_group_add(w, &c), ST_OK); /* after ST_RETRY it must fit in the next one */
                wire_group_free(w);
        }
}

static void chunks_of_one_transaction(void **state)
{
        struct bench *b = *state;
        struct record r;
        struct change c = {.op = CHANGE_INSERT, .rel = &accounts, .row = wide_row(b, 10)};
        uint32_t rows = 0, chunk = 0;
        wire_group_begin_tx(b->w, &(struct txn){.vec = &(struct vector){.at = {{0}}}},
                            &b->regs); /* one before it: not carried on */
        wire_group_begin_tx(b->w, &one_tx, &b->regs);
        for (; chunk < 4; chunk++) {
                for (unsigned i = 0; i < 10; i++)
                        assert_int_equal(wire_group_add(b->w, &c), ST_OK);
                if (chunk == 3)
                        wire_group_end_tx(b->w, (lsn_t){777}, (lsn_t){888});
                check(b, wire_group_finish(b->w, &b->out, &b->head, (hlc_t){9}, chunk, chunk == 3, &b->regs, &b->e), "finish");
                decode(b, &r);
                assert_int_equal(r.u.group.chunk, chunk);
                assert_int_equal(r.u.group.last, chunk == 3);
                assert_int_equal(r.u.group.ntxs, chunk ? 1 : 2);
                const struct txn *x = &r.u.group.txs[r.u.group.ntxs - 1];
                assert_int_equal(x->xid.v, 1000);
                assert_memory_equal(x->vec, &seen_eu, sizeof seen_eu);
                assert_int_equal(r.u.group.changes[0].tx, chunk ? 0 : 1);
                assert_string_equal(r.u.group.changes[9].rel->name, "accounts");
                rows += r.u.group.nchanges;
                wire_group_next_chunk(b->w);
                assert_int_equal(wire_group_rows(b->w), 0);
        }
        assert_int_equal(rows, 40);
        assert_int_equal(r.u.group.txs[0].commit_lsn.v, 777);
}

static void a_row_larger_than_a_record(void **state)
{
        struct bench *b = *state;
        static const uint32_t sizes[] = {900000, 3000000};
        for (size_t i = 0; i < 2; i++) {
                struct change c = {.op = i ? CHANGE_UPDATE : CHANGE_INSERT,
                                   .rel = &accounts,
                                   .row = wide_row(b, sizes[i]),
                                   .tx = 0},
                              back;
                static const struct value old_key[] = {TEXT("2"), UNSENT, UNSENT};
                c.old = i ? old_key : NULL;
                struct buf whole, put_together;
                struct record r;
                uint32_t chunk = 0;
                bool done = false;
                buf_init(&whole, 4 << 20);
                buf_init(&put_together, 4 << 20);
                wire_group_reset(b->w);
                wire_group_begin_tx(b->w, &one_tx, &b->regs);
                assert_int_equal(wire_group_add(b->w, &c), ST_DATA);
                check(b, wire_group_encode_large(b->w, &c, &whole, &b->e), "large");
                for (size_t at = 0; at < whole.len; at += 500000, chunk++) {
                        uint32_t len = (uint32_t)(whole.len - at < 500000 ? whole.len - at : 500000);
                        assert_false(done);
                        check(b,
                              wire_group_finish_fragment(b->w, &b->out, &b->head, (hlc_t){9}, chunk, at + len == whole.len,
                                                         whole.data + at, len, at, whole.len, &b->regs, &b->e),
                              "fragment");
                        decode(b, &r);
                        assert_int_equal(r.u.group.chunk, chunk);
                        assert_int_equal(r.u.group.nchanges, 0);
                        assert_int_equal(r.u.group.frag_at, at);
                        check(b, wire_fragment_add(&put_together, &r.u.group, &done, &b->e), "put together");
                }
                assert_true(done && chunk > 1);
                check(b, wire_decode_large(put_together.data, put_together.len, &b->arena, &back, &b->e), "decode large");
                const char *diff = change_diff(&c, &back);
                assert_null(diff);
                buf_release(&whole);
                buf_release(&put_together);
        }
}

static void fragments_that_do_not_fit_together(void **state)
{
        struct bench *b = *state;
        static const struct {
                const char *why;
                uint64_t at, total;
                uint32_t len;
                enum status want;
        } t[] = {
                {"the first", 0, 30, 10, ST_OK},     {"a gap", 11, 30, 10, ST_DATA},
                {"the second", 10, 30, 10, ST_OK},   {"the same again", 10, 30, 10, ST_DATA},
                {"too large", 20, 101, 10, ST_DATA}, {"from the start again", 0, 10, 10, ST_OK},
        };
        uint8_t bytes[10] = {0};
        struct buf whole;
        bool done;
        buf_init(&whole, 100);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct group g = {.frag = bytes, .frag_len = t[i].len, .frag_at = t[i].at, .frag_total = t[i].total};
                if (wire_fragment_add(&whole, &g, &done, &b->e) != t[i].want)
                        fail_msg("%s: %s", t[i].why, b->e.msg);
        }
        assert_true(done);
        struct buf small;
        struct change c = {.op = CHANGE_INSERT, .rel = &accounts, .row = wide_row(b, 1000)};
        buf_init(&small, 500);
        assert_int_equal(wire_group_encode_large(b->w, &c, &small, &b->e), ST_DATA);
        assert_non_null(strstr(b->e.msg, "public.accounts"));
        buf_release(&small);
        buf_release(&whole);
}

/* A large change cut anywhere is refused (its fragments have a CRC, the whole has none). */
static void large_change_truncated(void **state)
{
        struct bench *b = *state;
        struct change c = {.op = CHANGE_INSERT, .rel = &accounts, .row = wide_row(b, 100)}, back;
        struct buf whole;
        buf_init(&whole, 0);
        check(b, wire_group_encode_large(b->w, &c, &whole, &b->e), "large");
        for (size_t n = 0; n < whole.len; n++) {
                uint8_t *copy = test_malloc(n + 1);
                memcpy(copy, whole.data, n);
                assert_int_equal(wire_decode_large(copy, n, &b->arena, &back, &b->e), ST_DATA);
                assert_null(back.rel);
                test_free(copy);
        }
        buf_release(&whole);
}

static void values_of_a_record_are_bounded(void **state)
{
        struct bench *b = *state;
        static struct column cols[1600];
        static struct value old[1600];
        for (unsigned i = 0; i < 1600; i++) {
                cols[i] = (struct column){.name = "c", .type = "t", .key = i == 0};
                old[i].kind = VALUE_UNSENT;
        }
        old[0] = (struct value)TEXT("1");
        struct relation rel = {.schema = "s", .name = "t", .ncols = 1600, .nkeys = 1, .cols = cols, .keys = account_keys};
        struct change c = {.op = CHANGE_DELETE, .rel = &rel, .old = old};
        struct record r;
        wire_group_begin_tx(b->w, &one_tx, &b->regs);
        enum status st;
        while ((st = wire_group_add(b->w, &c)) == ST_OK)
                ;
        assert_int_equal(st, ST_RETRY);
        assert_int_equal(wire_group_rows(b->w), WIRE_VALUES_MAX / 1600);
        check(b, wire_group_finish(b->w, &b->out, &b->head, (hlc_t){9}, 0, true, &b->regs, &b->e), "finish");
        assert_in_range(b->out.len, 1, 20000); /* keys only, not 1600 marks each */
        decode(b, &r);
        assert_in_range(b->arena.used, 0, 17 * WIRE_VALUES_MAX + 200000);
        assert_int_equal(r.u.group.changes[654].old[1599].kind, VALUE_UNSENT);
}

/* ---- head only, people ------------------------------------------------------------------------------------------------------------- */
static void head_only(void **state)
{
        struct bench *b = *state;
        struct record r;
        make_example(b);
        check(b, wire_decode_head(b->out.data, b->out.len, &b->regs, &b->arena, &r, &b->e), "head");
        assert_int_equal(r.head.kind, RECORD_GROUP);
        assert_int_equal(r.head.seq, 42);
        assert_int_equal(r.u.group.hlc.v, 1790000000123456);
        assert_true(r.u.group.last);
        assert_int_equal(r.u.group.ntxs, 1);
        assert_int_equal(r.u.group.txs[0].end_lsn.v, 0x1A30);
        assert_int_equal(r.u.group.nchanges, 0);
        assert_null(r.u.group.changes);
        make_progress(b);
        check(b, wire_decode_head(b->out.data, b->out.len, &b->regs, &b->arena, &r, &b->e), "head");
        assert_int_equal(r.u.progress.xmin_lsn.v, 99);
}

static json_t *printed(struct bench *b)
{
        struct record r;
        struct buf text;
        json_error_t why;
        check(b, wire_decode(b->out.data, b->out.len, &b->regs, &b->arena, &r, &b->e), "decode");
        buf_init(&text, 0);
        wire_print(&r, &b->regs, &text);
        json_t *j = json_loads(buf_cstr(&text), JSON_ALLOW_NUL, &why);
        if (!j)
                fail_msg("%s: %s", why.text, buf_cstr(&text));
        buf_release(&text);
        return j;
}

static void prints_json(void **state)
{
        struct bench *b = *state;
        for (size_t k = 0; k < MAKERS; k++) {
                wire_group_reset(b->w);
                makers[k](b);
                json_decref(printed(b));
        }
        wire_group_reset(b->w);
        make_example(b);
        json_t *j = printed(b), *changes = json_object_get(j, "changes"),
               *tx = json_array_get(json_object_get(j, "transactions"), 0);
        assert_string_equal(json_string_value(json_object_get(j, "kind")), "group");
        assert_string_equal(json_string_value(json_object_get(j, "region")), "us");
        assert_int_equal(json_integer_value(json_object_get(j, "hlc")), 1790000000123456);
        assert_string_equal(json_string_value(json_object_get(j, "hlc_time")), "2026-09-21T14:13:20.123456Z");
        assert_string_equal(json_string_value(json_object_get(tx, "commit_lsn")), "0/1A00");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(tx, "vector"), "eu")), 1790000000000000);
        json_t *row = json_object_get(json_array_get(changes, 0), "row"),
               *next = json_object_get(json_array_get(changes, 1), "row");
        assert_string_equal(json_string_value(json_object_get(json_object_get(row, "id"), "hex")), "00000001");
        assert_string_equal(json_string_value(json_object_get(json_object_get(row, "id"), "text")), "1");
        assert_string_equal(json_string_value(json_object_get(row, "owner")), "Ada");
        assert_true(json_is_true(json_object_get(json_object_get(next, "owner"), "unsent")));
        assert_true(json_is_null(json_object_get(next, "balance")));
        json_decref(j);
}

/* ---- the document ------------------------------------------------------------------------------------------------------------------ */
static char *file_text(const char *name)
{
        FILE *f = fopen(name, "rb");
        if (!f)
                return NULL;
        struct buf b;
        char part[4096];
        size_t n;
        buf_init(&b, 0);
        while ((n = fread(part, 1, sizeof part, f)) > 0)
                buf_put(&b, part, n);
        fclose(f);
        char *s = strdup(buf_cstr(&b));
        buf_release(&b);
        return s;
}

/* docs/log-format.md takes the example apart: the first column of its table, put together, is the record. */
static void document_shows_these_bytes(void **state)
{
        struct bench *b = *state;
        char *text = file_text("docs/log-format.md");
        if (!text)
                fail_msg("docs/log-format.md is not there: run this from the root of the project");
        struct buf doc;
        buf_init(&doc, 0);
        const char *p = text ? strstr(text, "<!-- example -->") : NULL;
        const char *end = p ? strstr(p, "<!-- end of the example -->") : NULL;
        assert_non_null(end);
        while (p && p < end) { /* lines:  | `50 47 45 41` | what it is | */
                if (strncmp(p, "| `", 3) == 0)
                        for (p += 3; *p != '`'; p += *p == ' ')
                                for (char *after = NULL; *p != ' ' && *p != '`'; p = after)
                                        buf_put_u8(&doc, (uint8_t)strtoul(p, &after, 16));
                p = strchr(p, '\n');
                p = p ? p + 1 : NULL;
        }
        make_example(b);
        if (doc.len != b->out.len || memcmp(doc.data, b->out.data, doc.len) != 0) {
                for (size_t i = 0; i < b->out.len; i++)
                        print_message("%02x%s", b->out.data[i], i % 16 == 15 ? "\n" : " ");
                fail_msg("\ndocs/log-format.md shows %zu other bytes than these %zu", doc.len, b->out.len);
        }
        buf_release(&doc);
        free(text);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(epoch_comes_back),
                TEST(progress_comes_back),
                TEST(marker_comes_back),
                TEST(random_groups_come_back),
                TEST(equal_vectors_are_one),
                TEST(end_of_a_transaction_is_known_later),
                TEST(regions_unknown_here_are_added),
                TEST(truncated_at_every_byte),
                TEST(every_byte_flipped),
                TEST(every_byte_anything),
                TEST(longer_than_it_says),
                TEST(refusals_say_what_and_where),
                TEST(huge_counts_allocate_nothing),
                TEST(a_record_never_passes_its_maximum),
                TEST(chunks_of_one_transaction),
                TEST(a_row_larger_than_a_record),
                TEST(fragments_that_do_not_fit_together),
                TEST(large_change_truncated),
                TEST(values_of_a_record_are_bounded),
                TEST(head_only),
                TEST(prints_json),
                TEST(document_shows_these_bytes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
