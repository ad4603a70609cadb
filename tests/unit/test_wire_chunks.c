/* The log record: none passes its maximum; transactions in chunks, rows in fragments. */
#include "tests/unit/wire_bench.h"

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

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(a_record_never_passes_its_maximum),  TEST(chunks_of_one_transaction), TEST(a_row_larger_than_a_record),
                TEST(fragments_that_do_not_fit_together), TEST(large_change_truncated),    TEST(values_of_a_record_are_bounded),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
