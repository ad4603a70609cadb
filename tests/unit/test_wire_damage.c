/* The log record: what is cut, flipped or lies about its size is refused by name, never a crash. */
#include "tests/unit/wire_bench.h"

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

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(truncated_at_every_byte), TEST(every_byte_flipped),          TEST(every_byte_anything),
                TEST(longer_than_it_says),     TEST(refusals_say_what_and_where), TEST(huge_counts_allocate_nothing),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
