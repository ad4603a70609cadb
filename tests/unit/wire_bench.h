/* wire_bench: for test_wire*.c: where a record is made and decoded, and one of every kind. */
#ifndef PANGEA_TESTS_WIRE_BENCH_H
#define PANGEA_TESTS_WIRE_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/wire_sample.h"

struct bench {
        struct regset regs;
        struct arena arena, made; /* decoded; what the test made */
        struct buf out;
        struct wire_group *w;
        struct record_head head;
        struct err e;
};

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
        struct bench *b = *state;
        wire_group_free(b->w);
        buf_release(&b->out);
        arena_release(&b->arena);
        arena_release(&b->made);
        free(b);
        return 0;
}

static inline void check(struct bench *b, enum status st, const char *what)
{
        if (st != ST_OK)
                fail_msg("%s: %s: %s", what, status_name(st), b->e.msg);
}

static inline void decode(struct bench *b, struct record *r)
{
        check(b, wire_decode(b->out.data, b->out.len, &b->regs, &b->arena, r, &b->e), "decode");
        assert_int_equal(r->head.epoch, 7);
        assert_true(r->head.seq == UINT64_C(1) << 40);
        assert_string_equal(regset_name(&b->regs, r->head.region), "r01");
        assert_int_equal(r->head.incarnation, 2);
        assert_int_equal(r->head.generation, 3);
}

/* ---- every kind -------------------------------------------------------------------------------------------------------------------- */
static inline void make_epoch(struct bench *b)
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

static inline void make_progress(struct bench *b)
{
        struct record_progress r = {.decoded = {0x16B374D848}, .xmin = {(UINT64_C(3) << 32) + 5}, .xmin_lsn = {99}, .wall_us = -1};
        r.vec.at[0].v = 1790000000000000;
        r.vec.at[1].v = INT64_MAX;
        check(b, wire_encode_progress(&b->out, &b->head, &r, &b->regs, &b->e), "progress");
}

static inline void make_marker(struct bench *b)
{
        struct record_marker r = {.what = "rules", .text = "{\"generation\":4}"};
        check(b, wire_encode_marker(&b->out, &b->head, &r, &b->regs, &b->e), "marker");
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
static inline void make_example(struct bench *b)
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
static inline void make_group(struct bench *b)
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

/* Each of them. */
static void (*const makers[])(struct bench *) = {make_epoch, make_progress, make_marker, make_example, make_group};
enum { MAKERS = sizeof makers / sizeof *makers };

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
