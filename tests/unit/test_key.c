/* Keys as bytes, and values between text and binary: equal for PostgreSQL = equal bytes, whatever the way they came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "change/binary.h"
#include "change/json.h"
#include "change/key.h"

static struct value text(const char *s)
{
        return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)strlen(s), .data = (const uint8_t *)s};
}

static void key_of(struct buf *out, const char *type, struct value v)
{
        struct column col = {.name = "k", .type = type, .key = true};
        static const uint16_t keys[] = {0};
        struct relation rel = {.schema = "s", .name = "t", .ncols = 1, .nkeys = 1, .cols = &col, .keys = keys};
        buf_reset(out);
        key_bytes(out, &rel, &v);
}

static void canonical_text(void **state)
{
        (void)state;
        static const struct {
                const char *why, *type, *in, *want;
        } t[] = {
                {"trailing zeros", "pg_catalog.numeric", "12.500", "12.5"},
                {"nothing behind the point", "pg_catalog.numeric", "12.000", "12"},
                {"zeros before the point stay", "pg_catalog.numeric", "1200", "1200"},
                {"leading zeros", "pg_catalog.numeric", "0012", "12"},
                {"below one", "pg_catalog.numeric", "0.50", "0.5"},
                {"no digit before the point", "pg_catalog.numeric", ".50", "0.5"},
                {"zero", "pg_catalog.numeric", "0.000", "0"},
                {"minus zero", "pg_catalog.numeric", "-0.00", "0"},
                {"negative", "pg_catalog.numeric", "-7.10", "-7.1"},
                {"plus", "pg_catalog.numeric", "+7.10", "7.1"},
                {"NaN", "pg_catalog.numeric", "NaN", "NaN"},
                {"infinite", "pg_catalog.numeric", "-Infinity", "-Infinity"},
                {"not a number: as it is", "pg_catalog.numeric", "1.2.30", "1.2.30"},
                {"a point alone: as it is", "pg_catalog.numeric", ".", "."},
                {"empty: as it is", "pg_catalog.numeric", "", ""},
                {"minus alone: as it is", "pg_catalog.numeric", "-", "-"},
                {"float minus zero", "pg_catalog.float8", "-0", "0"},
                {"float zero", "pg_catalog.float8", "0", "0"},
                {"float4 minus zero", "pg_catalog.float4", "-0", "0"},
                {"float with exponent", "pg_catalog.float8", "1e+15", "1000000000000000"},
                {"float NaN", "pg_catalog.float8", "NaN", "NaN"},
                {"bpchar loses blanks", "pg_catalog.bpchar", "ab  ", "ab"},
                {"bpchar of blanks", "pg_catalog.bpchar", "   ", ""},
                {"bpchar keeps blanks before", "pg_catalog.bpchar", "  a ", "  a"},
                {"text keeps blanks", "pg_catalog.text", "ab  ", "ab  "},
                {"text is no number", "pg_catalog.text", "1.50", "1.50"},
                {"a type of that name elsewhere", "public.numeric", "1.50", "1.50"},
                {"int", "pg_catalog.int4", "-5", "-5"},
        };
        struct buf out;
        buf_init(&out, 0);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                key_of(&out, t[i].type, text(t[i].in));
                if (out.len != strlen(t[i].want) + 1 || out.data[0] != strlen(t[i].want) + 1 ||
                    memcmp(out.data + 1, t[i].want, strlen(t[i].want)) != 0)
                        fail_msg("%s: %s became %.*s", t[i].why, t[i].in, (int)out.len - 1, (const char *)out.data + 1);
        }
        buf_release(&out);
}

/* type, text, hex of the send format ("" = stays text) */
static const struct {
        const char *type, *in, *hex;
} values[] = {
        {"pg_catalog.bool", "t", "01"},
        {"pg_catalog.bool", "f", "00"},
        {"pg_catalog.bool", "true", ""},
        {"pg_catalog.int2", "-32768", "8000"},
        {"pg_catalog.int2", "32767", "7fff"},
        {"pg_catalog.int2", "32768", ""},
        {"pg_catalog.int2", "-32769", ""},
        {"pg_catalog.int4", "0", "00000000"},
        {"pg_catalog.int4", "-1", "ffffffff"},
        {"pg_catalog.int4", "2147483647", "7fffffff"},
        {"pg_catalog.int4", "-2147483648", "80000000"},
        {"pg_catalog.int4", "2147483648", ""},
        {"pg_catalog.int4", "", ""},
        {"pg_catalog.int4", "-", ""},
        {"pg_catalog.int4", "-0", ""},
        {"pg_catalog.int4", "+1", ""},
        {"pg_catalog.int4", "01", ""},
        {"pg_catalog.int4", " 1", ""},
        {"pg_catalog.int4", "1 ", ""},
        {"pg_catalog.int4", "1a", ""},
        {"pg_catalog.int8", "9223372036854775807", "7fffffffffffffff"},
        {"pg_catalog.int8", "-9223372036854775808", "8000000000000000"},
        {"pg_catalog.int8", "9223372036854775808", ""},
        {"pg_catalog.int8", "-9223372036854775809", ""},
        {"pg_catalog.int8", "99999999999999999999", ""},
        {"pg_catalog.oid", "4294967295", "ffffffff"},
        {"pg_catalog.oid", "4294967296", ""},
        {"pg_catalog.oid", "-1", ""},
        {"pg_catalog.uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"},
        {"pg_catalog.uuid", "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", ""},
        {"pg_catalog.uuid", "a0eebc999-c0b-4ef8-bb6d-6bb9bd380a11", ""},
        {"pg_catalog.uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", ""},
        {"pg_catalog.bytea", "\\x", "-"}, /* empty, but binary */
        {"pg_catalog.bytea", "\\x00ff10", "00ff10"},
        {"pg_catalog.bytea", "\\x0", ""},
        {"pg_catalog.bytea", "\\x0g", ""},
        {"pg_catalog.bytea", "abc", ""},
        {"pg_catalog.bytea", "", ""},
        {"pg_catalog.float8", "1.5", "3ff8000000000000"},
        {"pg_catalog.float8", "-0", "8000000000000000"},
        {"pg_catalog.float8", "NaN", "7ff8000000000000"},
        {"pg_catalog.float8", "Infinity", "7ff0000000000000"},
        {"pg_catalog.float8", "-Infinity", "fff0000000000000"},
        {"pg_catalog.float8", "5e-324", "0000000000000001"},
        {"pg_catalog.float8", "1.7976931348623157e+308", "7fefffffffffffff"},
        {"pg_catalog.float8", "2.2250738585072014e-308", "0010000000000000"},
        {"pg_catalog.float8", "1e+15", "430c6bf526340000"},
        {"pg_catalog.float8", "100000000000000", "42d6bcc41e900000"},
        {"pg_catalog.float8", "0.0001", "3f1a36e2eb1c432d"},
        {"pg_catalog.float8", "1e-05", "3ee4f8b588e368f1"},
        {"pg_catalog.float8", "0.1", "3fb999999999999a"},
        {"pg_catalog.float8", "5.684341886080802e-14", "3d30000000000000"}, /* a power of two */
        {"pg_catalog.float8", "9.999999999999999e+22", "44b52d02c7e14af6"}, /* 1e23 lies exactly on its bound */
        {"pg_catalog.float8", "1e309", ""},
        {"pg_catalog.float8", "0x10", ""},
        {"pg_catalog.float8", "nan", ""},
        {"pg_catalog.float8", "inf", ""},
        {"pg_catalog.float8", "1,5", ""},
        {"pg_catalog.float8", "1e", ""},
        {"pg_catalog.float8", "", ""},
        {"pg_catalog.float4", "1.5", "3fc00000"},
        {"pg_catalog.float4", "100000", "47c35000"},
        {"pg_catalog.float4", "1e+06", "49742400"},
        {"pg_catalog.float4", "1e-45", "00000001"},
        {"pg_catalog.float4", "3.4028235e+38", "7f7fffff"},
        {"pg_catalog.float4", "1e39", ""},
        {"pg_catalog.text", "5", ""},
        {"pg_catalog.numeric", "5", ""},
        {"public.int4", "5", ""},
        {"int4", "5", ""},
};

static size_t unhex(const char *s, uint8_t *out)
{
        size_t n = 0;
        for (; s[0] && s[1]; s += 2) {
                static const char digits[] = "0123456789abcdef";
                out[n++] = (uint8_t)((strchr(digits, s[0]) - digits) << 4 | (strchr(digits, s[1]) - digits));
        }
        return n;
}

static void binary_and_back(void **state)
{
        (void)state;
        struct buf out, back;
        buf_init(&out, 0);
        buf_init(&back, 0);
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
                const char *in = values[i].in, *type = values[i].type;
                uint8_t want[16];
                size_t n = unhex(values[i].hex, want);
                bool converts = values[i].hex[0] != 0;
                buf_reset(&out);
                buf_reset(&back);
                buf_put_str(&out, "before"); /* it appends */
                if (binary_from_text(binary_type_of(type), (const uint8_t *)in, (uint32_t)strlen(in), &out) != converts)
                        fail_msg("%s %s: %s", type, in, converts ? "stays text" : "was taken");
                if (out.len != 6 + n || (n && memcmp(out.data + 6, want, n) != 0))
                        fail_msg("%s %s: other bytes, or bytes left by a refusal", type, in);
                if (!converts)
                        continue;
                if (!binary_to_text(binary_type_of(type), out.data + 6, (uint32_t)n, &back) || strcmp(buf_cstr(&back), in) != 0)
                        fail_msg("%s %s: came back as %s", type, in, buf_cstr(&back));
        }
        buf_release(&out);
        buf_release(&back);
}

static void wrong_lengths_are_no_values(void **state)
{
        (void)state;
        static const uint8_t zeros[32] = {0};
        static const struct {
                const char *type;
                uint32_t right;
        } t[] = {{"pg_catalog.bool", 1}, {"pg_catalog.int2", 2},  {"pg_catalog.int4", 4},   {"pg_catalog.int8", 8},
                 {"pg_catalog.oid", 4},  {"pg_catalog.uuid", 16}, {"pg_catalog.float4", 4}, {"pg_catalog.float8", 8}};
        struct buf out;
        buf_init(&out, 0);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                for (uint32_t n = 0; n <= sizeof zeros; n++)
                        if (binary_to_text(binary_type_of(t[i].type), zeros, n, &out) != (n == t[i].right))
                                fail_msg("%s of %u bytes", t[i].type, n);
        assert_false(binary_to_text(BINARY_BOOL, (const uint8_t *)"\x02", 1, &out));
        assert_false(binary_to_text(BINARY_NONE, zeros, 4, &out));
        buf_release(&out);
}

static void text_and_binary_give_one_key(void **state)
{
        (void)state;
        struct buf a, b;
        buf_init(&a, 0);
        buf_init(&b, 0);
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
                uint8_t bytes[16];
                struct value v = {.kind = VALUE_BINARY, .data = bytes, .len = (uint32_t)unhex(values[i].hex, bytes)};
                if (!values[i].hex[0])
                        continue;
                key_of(&a, values[i].type, text(values[i].in));
                key_of(&b, values[i].type, v);
                if (a.len != b.len || memcmp(a.data, b.data, a.len) != 0)
                        fail_msg("%s %s", values[i].type, values[i].in);
        }
        static const uint8_t other_nan[] = {0xff, 0xf0, 0, 0, 0, 0, 0, 1};
        key_of(&a, "pg_catalog.float8", text("NaN"));
        key_of(&b, "pg_catalog.float8", (struct value){.kind = VALUE_BINARY, .data = other_nan, .len = 8});
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        buf_release(&a);
        buf_release(&b);
}

static const struct column cols[] = {
        {"note", "pg_catalog.text", false}, {"b", "pg_catalog.text", true}, {"a\"", "pg_catalog.numeric", true}};
static const uint16_t keys[] = {2, 1}; /* the index is (a, b) */
static const struct relation rel = {.schema = "public", .name = "t", .ncols = 3, .nkeys = 2, .cols = cols, .keys = keys};

static void columns_in_the_order_of_the_index(void **state)
{
        (void)state;
        static const uint8_t want[] = {4, '1', '.', '5', 3, 'x', 'y'};
        struct value row[] = {text("n"), text("xy"), text("1.50")};
        struct buf out;
        buf_init(&out, 0);
        key_bytes(&out, &rel, row);
        assert_int_equal(out.len, sizeof want);
        assert_memory_equal(out.data, want, sizeof want);
        buf_release(&out);
}

static void neighbours_cannot_be_confused(void **state)
{
        (void)state;
        const struct {
                const char *why;
                struct value a[3], b[3];
        } t[] = {
                {"a border that moves", {text(""), text("bc"), text("1")}, {text(""), text("c"), text("1b")}},
                {"empty and NULL", {text(""), text(""), text("1")}, {text(""), {.kind = VALUE_NULL}, text("1")}},
                {"swapped", {text(""), text("1"), text("2")}, {text(""), text("2"), text("1")}},
        };
        struct buf a, b;
        buf_init(&a, 0);
        buf_init(&b, 0);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                buf_reset(&a);
                buf_reset(&b);
                key_bytes(&a, &rel, t[i].a);
                key_bytes(&b, &rel, t[i].b);
                if (a.len == b.len && memcmp(a.data, b.data, a.len) == 0)
                        fail_msg("%s", t[i].why);
                assert_false(key_equal_rows(&rel, t[i].a, t[i].b));
        }
        buf_release(&a);
        buf_release(&b);
}

static void did_the_key_change(void **state)
{
        (void)state;
        const struct value unsent = {.kind = VALUE_UNSENT}, null = {.kind = VALUE_NULL};
        const struct {
                const char *why;
                struct value a[3], b[3];
                bool equal;
        } t[] = {
                {"the same", {text("n"), text("x"), text("1")}, {text("n"), text("x"), text("1")}, true},
                {"another column", {text("n"), text("x"), text("1")}, {text("m"), text("x"), text("1")}, true},
                {"another scale", {text("n"), text("x"), text("1.0")}, {text("n"), text("x"), text("1.00")}, true},
                {"unsent is unchanged", {text("n"), text("x"), text("1")}, {text("n"), unsent, text("1")}, true},
                {"changed", {text("n"), text("x"), text("1")}, {text("n"), text("y"), text("1")}, false},
                {"changed in the second", {text("n"), text("x"), text("1")}, {text("n"), unsent, text("2")}, false},
                {"from NULL", {text("n"), null, text("1")}, {text("n"), text("x"), text("1")}, false},
                {"both NULL", {text("n"), null, text("1")}, {text("n"), null, text("1")}, true},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                if (key_equal_rows(&rel, t[i].a, t[i].b) != t[i].equal)
                        fail_msg("%s", t[i].why);
        assert_true(key_equal_rows(&rel, NULL, t[0].b));
        assert_true(key_has_unsent(&rel, t[3].b));
        assert_false(key_has_unsent(&rel, t[0].a));
        struct value row[] = {unsent, text("x"), text("1")};
        assert_false(key_has_unsent(&rel, row)); /* not a key column */
}

static void readable(void **state)
{
        (void)state;
        static const struct column int_col[] = {{"id", "pg_catalog.int4", true}, {"x", "public.odd", false}};
        static const uint16_t first[] = {0};
        static const struct relation ints = {.schema = "s", .name = "t", .ncols = 2, .nkeys = 1, .cols = int_col, .keys = first};
        struct value row[] = {{.kind = VALUE_UNSENT}, {.kind = VALUE_NULL}, text("1.5")};
        struct value bin[] = {{.kind = VALUE_BINARY, .len = 4, .data = (const uint8_t *)"\xff\xff\xff\xfe"},
                              {.kind = VALUE_BINARY, .len = 2, .data = (const uint8_t *)"\x01\xab"}};
        struct buf out;
        buf_init(&out, 0);
        key_json(&out, &rel, row);
        assert_string_equal(buf_cstr(&out), "{\"a\\\"\":\"1.5\",\"b\":null}");
        buf_reset(&out);
        row_json(&out, &rel, row);
        assert_string_equal(buf_cstr(&out), "{\"note\":{\"unsent\":true},\"b\":null,\"a\\\"\":\"1.5\"}");
        buf_reset(&out);
        row_json(&out, &ints, bin);
        assert_string_equal(buf_cstr(&out), "{\"id\":\"-2\",\"x\":\"01ab\"}");
        buf_release(&out);
}

static void json_strings(void **state)
{
        (void)state;
        static const struct {
                const char *why, *in, *want;
        } t[] = {
                {"plain", "abc", "\"abc\""},
                {"quote and backslash", "a\"\\", "\"a\\\"\\\\\""},
                {"control characters", "\x01\n\t\r\x7f", "\"\\u0001\\n\\t\\r\\u007f\""},
                {"UTF-8 as it is", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
                {"a byte that is none",
                 "a\xff"
                 "b",
                 "\"a\xef\xbf\xbd"
                 "b\""},
                {"cut in the middle", "a\xe2\x82", "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
                {"overlong", "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
                {"surrogate", "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
                {"empty", "", "\"\""},
        };
        struct buf out;
        buf_init(&out, 0);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                buf_reset(&out);
                json_put_cstr(&out, t[i].in);
                if (strcmp(buf_cstr(&out), t[i].want) != 0)
                        fail_msg("%s: %s", t[i].why, buf_cstr(&out));
        }
        buf_release(&out);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(canonical_text),
                cmocka_unit_test(binary_and_back),
                cmocka_unit_test(wrong_lengths_are_no_values),
                cmocka_unit_test(text_and_binary_give_one_key),
                cmocka_unit_test(columns_in_the_order_of_the_index),
                cmocka_unit_test(neighbours_cannot_be_confused),
                cmocka_unit_test(did_the_key_change),
                cmocka_unit_test(readable),
                cmocka_unit_test(json_strings),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
