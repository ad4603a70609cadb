/* The decoder of pgoutput: what each message means, and that no bytes whatever make it read too far or accept what it does not know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "capture/pgoutput.h"

static struct pgout_msg msg; /* large */

/* Decodes from memory of exactly this size, so that a sanitizer sees one byte too much. */
static enum status decode(const uint8_t *p, size_t n, struct err *e)
{
        uint8_t *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, p, n);
        enum status st = pgoutput_decode(copy, n, &msg, e);
        free(copy);
        return st;
}

#define ROW1 "\0\1t\0\0\0\2ab"
#define LSN "\0\0\0\1\0\0\0\2"
#define TIME "\0\0\0\0\0\0\0\3"
#define OID "\0\0\x40\1"
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

/* One good message of each shape. */
static const struct {
        const char *why;
        const uint8_t *p;
        size_t n;
} good[] = {
        {"begin", BYTES("B" LSN TIME "\0\0\2\xda")},
        {"commit", BYTES("C\0" LSN LSN TIME)},
        {"origin", BYTES("O" LSN "pangea_x\0")},
        {"relation", BYTES("R" OID "public\0t\0"
                           "d\0\2\1id\0\0\0\0\x17\xff\xff\xff\xff\0Name\0\0\0\0\x19\0\0\0\7")},
        {"relation without columns", BYTES("R" OID "\0t\0n\0\0")},
        {"type", BYTES("Y" OID "public\0mood\0")},
        {"insert", BYTES("I" OID "N\0\4t\0\0\0\2abnub\0\0\0\1x")},
        {"insert without columns", BYTES("I" OID "N\0\0")},
        {"update", BYTES("U" OID "N" ROW1)},
        {"update of a key", BYTES("U" OID "K" ROW1 "N" ROW1)},
        {"update under FULL", BYTES("U" OID "O" ROW1 "N" ROW1)},
        {"delete by key", BYTES("D" OID "K" ROW1)},
        {"delete under FULL", BYTES("D" OID "O" ROW1)},
        {"truncate", BYTES("T\0\0\0\2\3" OID OID)},
        {"message", BYTES("M\1" LSN "pangea\0\0\0\0\3abc")},
        {"empty message", BYTES("M\0" LSN "\0\0\0\0\0")},
};
#define NGOOD (sizeof good / sizeof *good)

static void every_shape_is_read(void **state)
{
        (void)state;
        struct err e;
        for (size_t i = 0; i < NGOOD; i++)
                if (decode(good[i].p, good[i].n, &e) != ST_OK)
                        fail_msg("%s: %s", good[i].why, e.msg);
}

static void cut_anywhere_is_refused(void **state)
{
        (void)state;
        struct err e;
        for (size_t i = 0; i < NGOOD; i++)
                for (size_t n = 0; n < good[i].n; n++)
                        if (decode(good[i].p, n, &e) != ST_DATA)
                                fail_msg("%s cut at byte %zu was accepted", good[i].why, n);
}

static void a_byte_too_much_is_refused(void **state)
{
        (void)state;
        struct err e;
        for (size_t i = 0; i < NGOOD; i++) {
                uint8_t longer[256];
                memcpy(longer, good[i].p, good[i].n);
                longer[good[i].n] = 0;
                assert_int_equal(decode(longer, good[i].n + 1, &e), ST_DATA);
                assert_non_null(strstr(e.msg, "bytes behind its end"));
        }
}

/* Not a judgement of the outcome: whatever a byte becomes, nothing is read beyond the message (the sanitizer run sees it). */
static void any_byte_changed_stays_inside(void **state)
{
        (void)state;
        struct err e;
        for (size_t i = 0; i < NGOOD; i++)
                for (size_t at = 0; at < good[i].n; at++)
                        for (unsigned v = 0; v < 256; v++) {
                                uint8_t bad[256];
                                memcpy(bad, good[i].p, good[i].n);
                                bad[at] = (uint8_t)v;
                                enum status st = decode(bad, good[i].n, &e);
                                assert_true(st == ST_OK || st == ST_DATA);
                        }
}

static void what_is_unknown_is_refused(void **state)
{
        (void)state;
        static const struct {
                const char *why, *says;
                const uint8_t *p;
                size_t n;
        } t[] = {
                {"a kind of a later protocol (stream start)", "unknown kind", BYTES("S\0\0\0\1\1")},
                {"nothing at all", "cut", BYTES("")},
                {"commit flags", "commit flags", BYTES("C\1" LSN LSN TIME)},
                {"column flags", "column flags", BYTES("R" OID "p\0t\0d\0\1\2id\0\0\0\0\x17\0\0\0\0")},
                {"replica identity", "identity", BYTES("R" OID "p\0t\0x\0\0")},
                {"column kind", "column of unknown kind", BYTES("I" OID "N\0\1z")},
                {"insert with an old row", "row of unknown kind", BYTES("I" OID "K" ROW1)},
                {"update whose second row is old", "row of unknown kind", BYTES("U" OID "K" ROW1 "K" ROW1)},
                {"delete with a new row", "row of unknown kind", BYTES("D" OID "N" ROW1)},
                {"truncate flags", "truncate flags", BYTES("T\0\0\0\0\4")},
                {"message flags", "message flags", BYTES("M\2" LSN "\0\0\0\0\0")},
                {"a length that would wrap around", "cut",
                 BYTES("I" OID "N\0\1t\xff\xff\xff\xff"
                       "a")},
                {"more relations than bytes", "cut", BYTES("T\xff\xff\xff\xff\0" OID)},
                {"more columns than PostgreSQL has", "more columns", BYTES("I" OID "N\xff\xff")},
                {"more columns in a relation", "more columns", BYTES("R" OID "p\0t\0d\x06\x81")},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct err e = {0};
                if (decode(t[i].p, t[i].n, &e) != ST_DATA)
                        fail_msg("%s was accepted", t[i].why);
                if (!strstr(e.msg, t[i].says))
                        fail_msg("%s: the message says: %s", t[i].why, e.msg);
        }
}

static void a_transaction_is_framed(void **state)
{
        (void)state;
        assert_int_equal(pgoutput_decode(BYTES("B" LSN TIME "\0\0\2\xda"), &msg, NULL), ST_OK);
        assert_int_equal(msg.kind, PGOUT_BEGIN);
        assert_true(msg.u.begin.final_lsn.v == 0x100000002);
        assert_true(msg.u.begin.commit_us == PG_EPOCH_US + 3);
        assert_int_equal(msg.u.begin.xid, 730);
        assert_int_equal(pgoutput_decode(BYTES("O" LSN "pangea_x\0"), &msg, NULL), ST_OK);
        assert_string_equal(msg.u.origin.name, "pangea_x");
        assert_true(msg.u.origin.lsn.v == 0x100000002);
        assert_int_equal(pgoutput_decode(BYTES("C\0" LSN "\0\0\0\1\0\0\0\x20" TIME), &msg, NULL), ST_OK);
        assert_true(msg.u.commit.commit_lsn.v == 0x100000002 && msg.u.commit.end_lsn.v == 0x100000020);
        assert_true(msg.u.commit.commit_us == PG_EPOCH_US + 3);
        /* a time before 2000 */
        assert_int_equal(pgoutput_decode(BYTES("B" LSN "\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\1"), &msg, NULL), ST_OK);
        assert_true(msg.u.begin.commit_us == PG_EPOCH_US - 1);
}

static void relations_and_types_are_named(void **state)
{
        (void)state;
        assert_int_equal(pgoutput_decode(good[3].p, good[3].n, &msg, NULL), ST_OK);
        assert_int_equal(msg.u.relation.oid, 0x4001);
        assert_string_equal(msg.u.relation.schema, "public");
        assert_string_equal(msg.u.relation.name, "t");
        assert_int_equal(msg.u.relation.identity, 'd');
        assert_int_equal(msg.u.relation.ncols, 2);
        const struct pgout_col *c = msg.u.relation.cols;
        assert_string_equal(c[0].name, "id");
        assert_true(c[0].identity && c[0].type_oid == 23 && c[0].typmod == -1);
        assert_string_equal(c[1].name, "Name");
        assert_true(!c[1].identity && c[1].type_oid == 25 && c[1].typmod == 7);
        /* the protocol's empty schema is pg_catalog */
        assert_int_equal(pgoutput_decode(good[4].p, good[4].n, &msg, NULL), ST_OK);
        assert_string_equal(msg.u.relation.schema, "pg_catalog");
        assert_int_equal(pgoutput_decode(good[5].p, good[5].n, &msg, NULL), ST_OK);
        assert_string_equal(msg.u.type.name, "mood");
}

static void assert_value(const struct pgout_row *row, unsigned i, enum value_kind kind, const char *bytes)
{
        assert_true(i < row->ncols);
        assert_int_equal(row->values[i].kind, kind);
        assert_int_equal(row->values[i].len, strlen(bytes));
        assert_memory_equal(row->values[i].data ? (const char *)row->values[i].data : "", bytes, strlen(bytes));
}

static void values_are_told_apart(void **state)
{
        (void)state;
        assert_int_equal(pgoutput_decode(good[6].p, good[6].n, &msg, NULL), ST_OK);
        assert_int_equal(msg.u.change.oid, 0x4001);
        const struct pgout_row *row = &msg.u.change.row;
        assert_int_equal(row->ncols, 4);
        assert_value(row, 0, VALUE_TEXT, "ab");
        assert_value(row, 1, VALUE_NULL, "");
        assert_null(row->values[1].data);
        assert_value(row, 2, VALUE_UNSENT, "");
        assert_null(row->values[2].data);
        assert_value(row, 3, VALUE_BINARY, "x");
        assert_null(msg.u.change.old.values);
        /* an empty text is not NULL */
        assert_int_equal(pgoutput_decode(BYTES("I" OID "N\0\1t\0\0\0\0"), &msg, NULL), ST_OK);
        assert_value(&msg.u.change.row, 0, VALUE_TEXT, "");
        assert_non_null(msg.u.change.row.values[0].data);
}

static void old_rows_are_told_apart(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                const uint8_t *p;
                size_t n;
                enum pgout_old old_kind;
                const char *old, *row; /* the only value; NULL: no such row */
        } t[] = {
                {"update without old row", BYTES("U" OID "N\0\1t\0\0\0\1n"), PGOUT_OLD_NONE, NULL, "n"},
                {"update of the key", BYTES("U" OID "K\0\1t\0\0\0\1oN\0\1t\0\0\0\1n"), PGOUT_OLD_KEY, "o", "n"},
                {"update under FULL", BYTES("U" OID "O\0\1t\0\0\0\1oN\0\1t\0\0\0\1n"), PGOUT_OLD_FULL, "o", "n"},
                {"delete by key", BYTES("D" OID "K\0\1t\0\0\0\1o"), PGOUT_OLD_KEY, "o", NULL},
                {"delete under FULL", BYTES("D" OID "O\0\1t\0\0\0\1o"), PGOUT_OLD_FULL, "o", NULL},
                {"insert after them", BYTES("I" OID "N\0\1t\0\0\0\1n"), PGOUT_OLD_NONE, NULL, "n"},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                assert_int_equal(pgoutput_decode(t[i].p, t[i].n, &msg, NULL), ST_OK);
                assert_int_equal(msg.u.change.old_kind, t[i].old_kind);
                assert_int_equal(msg.u.change.old.ncols, t[i].old != NULL);
                assert_int_equal(msg.u.change.row.ncols, t[i].row != NULL);
                if (t[i].old)
                        assert_value(&msg.u.change.old, 0, VALUE_TEXT, t[i].old);
                if (t[i].row)
                        assert_value(&msg.u.change.row, 0, VALUE_TEXT, t[i].row);
        }
}

static void truncates_and_messages(void **state)
{
        (void)state;
        assert_int_equal(pgoutput_decode(BYTES("T\0\0\0\2\1\0\0\x40\1\xff\0\0\2"), &msg, NULL), ST_OK);
        assert_true(msg.u.truncate.cascade && !msg.u.truncate.restart_identity);
        assert_int_equal(msg.u.truncate.n, 2);
        assert_int_equal(pgout_truncated(&msg, 0), 0x4001);
        assert_true(pgout_truncated(&msg, 1) == 0xff000002U);
        assert_int_equal(pgoutput_decode(BYTES("T\0\0\0\1\2" OID), &msg, NULL), ST_OK);
        assert_true(!msg.u.truncate.cascade && msg.u.truncate.restart_identity);
        assert_int_equal(pgoutput_decode(BYTES("M\1" LSN "pangea.flush\0\0\0\0\3a\0c"), &msg, NULL), ST_OK);
        assert_true(msg.u.message.transactional && msg.u.message.lsn.v == 0x100000002);
        assert_string_equal(msg.u.message.prefix, "pangea.flush");
        assert_int_equal(msg.u.message.len, 3);
        assert_memory_equal(msg.u.message.content, "a\0c", 3);
}

static void sixteen_hundred_columns(void **state)
{
        (void)state;
        struct buf b;
        buf_init(&b, 0);
        buf_put(&b, "U" OID "O", 6);
        for (int row = 0; row < 2; row++) {
                buf_put_u16(&b, PGOUT_MAX_COLS);
                for (int i = 0; i < PGOUT_MAX_COLS; i++) {
                        char text[16];
                        int n = snprintf(text, sizeof text, "%d/%d", row, i);
                        buf_put_u8(&b, 't');
                        buf_put_u32(&b, (uint32_t)n);
                        buf_put(&b, text, (size_t)n);
                }
                if (row == 0)
                        buf_put_u8(&b, 'N');
        }
        assert_int_equal(pgoutput_decode(b.data, b.len, &msg, NULL), ST_OK);
        assert_value(&msg.u.change.old, PGOUT_MAX_COLS - 1, VALUE_TEXT, "0/1663");
        assert_value(&msg.u.change.row, PGOUT_MAX_COLS - 1, VALUE_TEXT, "1/1663");
        assert_value(&msg.u.change.old, 0, VALUE_TEXT, "0/0");
        buf_release(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_shape_is_read),           cmocka_unit_test(cut_anywhere_is_refused),
                cmocka_unit_test(a_byte_too_much_is_refused),    cmocka_unit_test(any_byte_changed_stays_inside),
                cmocka_unit_test(what_is_unknown_is_refused),    cmocka_unit_test(a_transaction_is_framed),
                cmocka_unit_test(relations_and_types_are_named), cmocka_unit_test(values_are_told_apart),
                cmocka_unit_test(old_rows_are_told_apart),       cmocka_unit_test(truncates_and_messages),
                cmocka_unit_test(sixteen_hundred_columns),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
