/* base: buffers, readers, arenas, tables, errors, types, the clock, and the form of a log line. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rd.h"
#include "base/types.h"

/* ---- buf --------------------------------------------------------------------------------------------------------------------------- */
static void buf_writes_big_endian(void **state)
{
        (void)state;
        static const uint8_t want[] = {1,  2,  3,  4,   5,   6,   7,   8,   9,   10, 11,  12,
                                       13, 14, 15, 'a', 'b', 'c', 'x', '-', '7', 2,  'h', 'i'};
        struct buf b;
        buf_init(&b, 0);
        buf_put_u8(&b, 1);
        buf_put_u16(&b, 0x0203);
        buf_put_u32(&b, 0x04050607);
        buf_put_u64(&b, UINT64_C(0x08090a0b0c0d0e0f));
        buf_put(&b, "abc", 3);
        buf_put(&b, NULL, 0);
        buf_put_str(&b, "x");
        buf_printf(&b, "%d", -7);
        buf_put_bytes(&b, "hi", 2);
        assert_int_equal(b.len, sizeof want);
        assert_memory_equal(b.data, want, sizeof want);
        assert_int_equal(strlen(buf_cstr(&b)), sizeof want);
        assert_int_equal(b.len, sizeof want); /* the final 0 does not count */
        buf_release(&b);
        assert_int_equal(b.len, 0);
        assert_string_equal(buf_cstr(&b), "");
        buf_put_str(&b, "abc");
        char *own = buf_taken(&b);
        assert_string_equal(own, "abc");
        assert_int_equal(b.len, 0);
        free(own);
}

static void buf_maximum_is_sticky(void **state)
{
        (void)state;
        struct buf b;
        buf_init(&b, 8);
        buf_put(&b, "12345678", 8);
        assert_false(b.full);
        buf_put_u8(&b, '9');
        assert_true(b.full);
        assert_int_equal(b.len, 8);
        assert_null(buf_reserve(&b, 0));
        buf_reset(&b);
        buf_put(&b, "123456789", 9);
        assert_int_equal(b.len, 0); /* nothing or all */
        buf_put(&b, "1", 1);
        assert_true(b.full && b.len == 0); /* later writes do nothing */
        buf_reset(&b);
        buf_printf(&b, "%s", "1234567");
        assert_false(b.full);
        buf_printf(&b, "%s", "12");
        assert_true(b.full && b.len == 7);
        assert_null(buf_reserve(&b, SIZE_MAX));
        buf_release(&b);
        assert_int_equal(b.max, 8);
}

static void buf_grows_and_keeps(void **state)
{
        (void)state;
        struct buf b;
        buf_init(&b, 0);
        for (unsigned i = 0; i < 100000; i++)
                buf_put_u32(&b, i);
        for (unsigned i = 0; i < 100000; i += 9999)
                assert_int_equal(b.data[4 * i + 3], i & 0xff);
        size_t cap = b.cap;
        buf_reset(&b);
        assert_int_equal(b.cap, cap);
        buf_release(&b);
}

/* ---- rd ---------------------------------------------------------------------------------------------------------------------------- */
static void rd_reads_what_buf_writes(void **state)
{
        (void)state;
        static const uint64_t numbers[] = {0,         1, 127, 128, 16383, 16384, UINT32_MAX, (uint64_t)INT64_MAX, UINT64_MAX - 1,
                                           UINT64_MAX};
        struct buf b;
        buf_init(&b, 0);
        buf_put_u16(&b, 65535);
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
                buf_put_varint(&b, numbers[i]);
                buf_put_u64(&b, numbers[i]);
        }
        buf_put(&b, "str", 4);
        buf_put_bytes(&b, "by", 2);
        struct rd r = rd_init(b.data, b.len);
        assert_int_equal(rd_u16(&r), 65535);
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
                assert_true(rd_varint(&r) == numbers[i]);
                assert_true(rd_u64(&r) == numbers[i]);
        }
        size_t n;
        assert_string_equal(rd_cstr(&r), "str");
        assert_memory_equal(rd_bytes(&r, &n), "by", 2);
        assert_int_equal(n, 2);
        assert_true(!r.bad && r.left == 0);
        buf_release(&b);
}

static void rd_fails_once_and_for_all(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                uint8_t bytes[12];
                size_t n;
                char read; /* 1 2 4 8 v(arint) s(tring) b(ytes) */
        } t[] = {
                {"nothing there", {0}, 0, '1'},
                {"half a number", {1}, 1, '2'},
                {"three bytes of four", {1, 2, 3}, 3, '4'},
                {"seven bytes of eight", {1, 2, 3, 4, 5, 6, 7}, 7, '8'},
                {"varint without end", {0x80, 0x80}, 2, 'v'},
                {"varint of 65 bits", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}, 10, 'v'},
                {"varint of eleven bytes", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0}, 11, 'v'},
                {"string without end", {'a', 'b'}, 2, 's'},
                {"no string", {0}, 0, 's'},
                {"bytes that are not there", {3, 'a', 'b'}, 3, 'b'},
                {"a length near 2^64", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'a'}, 11, 'b'},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                uint8_t *copy = test_malloc(t[i].n + 1); /* exactly as long: a sanitizer sees a byte too far */
                memcpy(copy + 1, t[i].bytes, t[i].n);
                struct rd r = rd_init(copy + 1, t[i].n);
                size_t n = 7;
                uint64_t got = t[i].read == '1'   ? rd_u8(&r)
                               : t[i].read == '2' ? rd_u16(&r)
                               : t[i].read == '4' ? rd_u32(&r)
                               : t[i].read == 'v' ? rd_varint(&r)
                               : t[i].read == 's' ? (uint64_t)rd_cstr(&r)[0]
                               : t[i].read == 'b' ? (uint64_t)(rd_bytes(&r, &n) != NULL)
                                                  : 0;
                if (t[i].read == '8') {
                        rd_u64(&r);
                } else if (got) {
                        fail_msg("%s: a value in spite of it", t[i].why);
                }
                if (!r.bad || (t[i].read == 'b' && n != 0))
                        fail_msg("%s: not noticed", t[i].why);
                assert_int_equal(rd_u8(&r), 0); /* sticky, even if there are bytes */
                assert_null(rd_take(&r, 0));
                test_free(copy);
        }
}

/* ---- arena ------------------------------------------------------------------------------------------------------------------------- */
static void arena_memory(void **state)
{
        (void)state;
        static const size_t sizes[] = {0, 1, 15, 16, 17, 4000, 40000, 65536, 65537, 1000000};
        struct arena a;
        arena_init(&a);
        for (unsigned round = 0; round < 3; round++) {
                uint8_t *got[100];
                for (unsigned i = 0; i < 100; i++) {
                        size_t n = sizes[i % 10];
                        got[i] = arena_alloc(&a, n);
                        assert_int_equal((uintptr_t)got[i] % 16, 0);
                        for (size_t k = 0; k < n; k += n / 7 + 1)
                                assert_int_equal(got[i][k], 0); /* zeroed, also when used again */
                        memset(got[i], (int)i + 1, n);
                }
                for (unsigned i = 0; i < 100; i++) { /* nobody's bytes were somebody else's */
                        size_t n = sizes[i % 10];
                        if (n && (got[i][0] != i + 1 || got[i][n - 1] != i + 1))
                                fail_msg("allocation %u of %zu bytes was overwritten", i, n);
                }
                assert_true(a.used >= 10 * 1000000);
                arena_reset(&a);
                assert_int_equal(a.used, 0);
        }
        assert_string_equal(arena_strdup(&a, "text"), "text");
        assert_string_equal(arena_strndup(&a, "text", 2), "te");
        assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
        assert_memory_equal(arena_copy(&a, "abc", 3), "abc", 3);
        assert_non_null(arena_copy(&a, NULL, 0));
        arena_release(&a);
        arena_release(&a);
}

/* ---- map --------------------------------------------------------------------------------------------------------------------------- */
static void map_against_a_plain_array(void **state)
{
        (void)state;
        enum { KEYS = 700 };
        static int values[KEYS][2];
        const int *is[KEYS] = {NULL};
        struct map m;
        uint64_t s = 1;
        size_t count = 0;
        map_init(&m, 0);
        for (unsigned step = 0; step < 40000; step++) {
                s = s * UINT64_C(6364136223846793005) + 1442695040888963407u;
                unsigned k = (unsigned)(s >> 33) % KEYS, what = (unsigned)(s >> 60);
                if (what < 8) {
                        assert_true(map_put(&m, &k, sizeof k, &values[k][what & 1]));
                        count += is[k] == NULL;
                        is[k] = &values[k][what & 1];
                } else if (what < 15) {
                        assert_ptr_equal(map_del(&m, &k, sizeof k), is[k]);
                        count -= is[k] != NULL;
                        is[k] = NULL;
                } else {
                        assert_ptr_equal(map_get(&m, &k, sizeof k), is[k]);
                }
                assert_int_equal(m.count, count);
        }
        size_t it = 0, len, seen = 0;
        const void *key;
        void *value;
        while (map_next(&m, &it, &key, &len, &value)) {
                unsigned k;
                assert_int_equal(len, sizeof k);
                memcpy(&k, key, sizeof k);
                assert_ptr_equal(value, is[k]);
                seen++;
        }
        assert_int_equal(seen, count);
        map_clear(&m);
        assert_int_equal(m.count, 0);
        assert_null(map_get(&m, &(unsigned){1}, sizeof(unsigned)));
        map_release(&m);
}

static void map_keys_and_maximum(void **state)
{
        (void)state;
        int v = 0;
        struct map m;
        map_init(&m, 3);
        assert_null(map_get(&m, "a", 1)); /* empty: no slots yet */
        assert_null(map_del(&m, "a", 1));
        char key[] = "ab";
        assert_true(map_put(&m, key, 2, &v));
        key[0] = 'x'; /* keys are copied */
        assert_ptr_equal(map_get(&m, "ab", 2), &v);
        assert_null(map_get(&m, "a", 1));    /* no prefix, */
        assert_null(map_get(&m, "ab\0", 3)); /* and no longer one */
        assert_true(map_put(&m, "", 0, &v)); /* the empty key is a key */
        assert_ptr_equal(map_get(&m, "", 0), &v);
        assert_true(map_put(&m, "c", 1, &v));
        assert_false(map_put(&m, "d", 1, &v)); /* full */
        assert_true(map_put(&m, "c", 1, &v));  /* replacing is not adding */
        assert_ptr_equal(map_del(&m, "ab", 2), &v);
        assert_true(map_put(&m, "d", 1, &v));
        map_release(&m);
        assert_int_equal(m.max, 3);
        assert_true(hash64("a", 1, 0) != hash64("b", 1, 0) && hash64("a", 1, 0) != hash64("a", 1, 1));
}

/* ---- err --------------------------------------------------------------------------------------------------------------------------- */
static void errors_keep_their_cause(void **state)
{
        (void)state;
        struct err e;
        memset(&e, 0x55, sizeof e);
        assert_int_equal(err_set(&e, ST_RETRY, "slot %s: gone\n", "x"), ST_RETRY);
        assert_string_equal(e.msg, "slot x: gone");
        assert_string_equal(e.name, "");
        assert_string_equal(e.sqlstate, "");
        assert_int_equal(err_named(&e, ST_DATA, "slot_missing", "two\nlines\tand a tab"), ST_DATA);
        assert_string_equal(e.name, "slot_missing");
        assert_string_equal(e.msg, "two lines and a tab");
        assert_int_equal(err_wrap(&e, "region %s", "us"), ST_DATA);
        assert_string_equal(e.msg, "region us: two lines and a tab");
        assert_string_equal(e.name, "slot_missing"); /* context does not take the name away */

        char longer[3000];
        memset(longer, 'c', sizeof longer - 1);
        longer[sizeof longer - 1] = 0;
        err_set(&e, ST_FATAL, "the cause");
        err_wrap(&e, "%s", longer);
        assert_int_equal(strcmp(e.msg + strlen(e.msg) - 9, "the cause"), 0);
        err_set(&e, ST_FATAL, "%s", longer);
        assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
        err_wrap(&e, "context");
        assert_memory_equal(e.msg, "context: ccc", 12);
        err_clear(&e);
        assert_int_equal(e.code, ST_OK);
        assert_string_equal(e.msg, "");
        assert_int_equal(err_set(NULL, ST_STOP, "nobody asks"), ST_STOP);
        err_clear(NULL);
        for (int s = 0; s < ST_COUNT; s++)
                assert_true(strlen(status_name((enum status)s)) > 1);
}

/* ---- types, clock ------------------------------------------------------------------------------------------------------------------ */
static void lsn_text(void **state)
{
        (void)state;
        static const struct {
                const char *text;
                bool ok;
                uint64_t v;
        } t[] = {
                {"0/0", true, 0},
                {"16/B374D848", true, UINT64_C(0x16B374D848)},
                {"16/b374d848", true, UINT64_C(0x16B374D848)},
                {"FFFFFFFF/FFFFFFFF", true, UINT64_MAX},
                {"", false, 0},
                {"16", false, 0},
                {"16/", false, 0},
                {"/1", false, 0},
                {"1/2x", false, 0},
                {"1/123456789", false, 0},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                lsn_t lsn = {77};
                char s[LSN_STRLEN];
                if (lsn_parse(t[i].text, &lsn) != t[i].ok)
                        fail_msg("%s", t[i].text);
                if (!t[i].ok)
                        continue;
                assert_true(lsn.v == t[i].v);
                lsn_t again = {0};
                assert_true(lsn_parse(lsn_str(s, lsn), &again) && again.v == lsn.v);
        }
        char s[LSN_STRLEN];
        assert_string_equal(lsn_str(s, (lsn_t){UINT64_MAX}), "FFFFFFFF/FFFFFFFF");
        assert_string_equal(lsn_str(s, (lsn_t){UINT64_C(0x16B374D848)}), "16/B374D848");
}

static void order_and_time(void **state)
{
        (void)state;
        assert_true(lsn_before((lsn_t){1}, (lsn_t){2}) && !lsn_before((lsn_t){2}, (lsn_t){2}));
        assert_int_equal(lsn_max((lsn_t){1}, (lsn_t){2}).v, 2);
        assert_true(hlc_before((hlc_t){1}, (hlc_t){2}) && !hlc_before((hlc_t){2}, (hlc_t){2}));
        assert_int_equal(hlc_max((hlc_t){3}, (hlc_t){2}).v, 3);
        assert_int_equal(hlc_to_pg((hlc_t){(uint64_t)PG_EPOCH_US}), 0); /* 2000-01-01 */
        assert_int_equal(hlc_to_pg((hlc_t){0}), -PG_EPOCH_US);
        assert_int_equal(hlc_from_pg(-1).v, PG_EPOCH_US - 1);
        assert_true(clock_wall_us() > INT64_C(1700000000000000)); /* microseconds, not another unit */
        int64_t a = clock_mono_us(), b = clock_mono_us();
        assert_true(a > 0 && b >= a);
}

/* ---- log --------------------------------------------------------------------------------------------------------------------------- */
/* What one event writes on stderr. */
static void logged(char *out, size_t size, bool json, const char *event, const char *pairs)
{
        int fds[2], keep = dup(STDERR_FILENO);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_true(keep >= 0 && dup2(fds[1], STDERR_FILENO) >= 0);
        log_setup("shop", "us", LOG_INFO, json);
        log_event(LOG_WARN, event, "%s", pairs);
        log_event(LOG_DEBUG, "below.the.least", "x=1");
        dup2(keep, STDERR_FILENO);
        close(keep);
        close(fds[1]);
        size_t n = 0;
        ssize_t got;
        while (n < size - 1 && (got = read(fds[0], out + n, size - 1 - n)) > 0)
                n += (size_t)got;
        out[n] = 0;
        close(fds[0]);
}

static void a_line_of_text(void **state)
{
        (void)state;
        char s[8192];
        logged(s, sizeof s, false, "apply.group", "origin=eu\trows=5\twhy=a b \"c\"\tempty=\talone");
        assert_non_null(strstr(s, " warn us apply.group origin=eu rows=5 why=\"a b \\\"c\\\"\" empty=\"\" alone\n"));
        int year, month, day, hour, minute, second, ms, end = 0;
        assert_int_equal(sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour, &minute, &second, &ms, &end), 7);
        assert_int_equal(end, 24);
        assert_int_equal(strlen(strchr(s, '\n')), 1); /* one line, and nothing of the debug event */
        assert_false(log_wants(LOG_DEBUG));
        assert_true(log_wants(LOG_ERROR));
}

static void a_line_of_json(void **state)
{
        (void)state;
        static const struct {
                const char *why, *pairs, *key, *want;
        } t[] = {
                {"plain", "origin=eu\trows=5", "rows", "5"},
                {"an equals sign in a value", "conninfo=host=x port=1", "conninfo", "host=x port=1"},
                {"quotes and backslashes", "m=say \"a\\b\"", "m", "say \"a\\b\""},
                {"a newline", "m=a\nb", "m", "a\nb"},
                {"UTF-8", "m=\xc3\xa9", "m", "\xc3\xa9"},
                {"no key", "only words", "msg", "only words"},
                {"empty", "m=", "m", ""},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                char s[8192];
                logged(s, sizeof s, true, "apply.\"group\"", t[i].pairs);
                json_t *j = json_loads(s, 0, NULL);
                if (!j)
                        fail_msg("%s: no JSON: %s", t[i].why, s);
                assert_string_equal(json_string_value(json_object_get(j, "event")), "apply.\"group\"");
                assert_string_equal(json_string_value(json_object_get(j, "level")), "warn");
                assert_string_equal(json_string_value(json_object_get(j, "cluster")), "shop");
                assert_string_equal(json_string_value(json_object_get(j, "region")), "us");
                const char *got = json_string_value(json_object_get(j, t[i].key));
                if (!got || strcmp(got, t[i].want) != 0)
                        fail_msg("%s: %s", t[i].why, s);
                json_decref(j);
        }
}

static void a_line_too_long(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                char fill;
        } t[] = {{"plain", 'x'}, {"delete characters", '\x7f'}};
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                for (unsigned json = 0; json < 2; json++) {
                        char pairs[6000] = "m=", s[16384];
                        memset(pairs + 2, t[i].fill, sizeof pairs - 3);
                        pairs[sizeof pairs - 1] = 0;
                        logged(s, sizeof s, json, "too.long", pairs);
                        size_t n = strlen(s);
                        if (n > 4096 || n < 2000 || s[n - 1] != '\n' || strchr(s, '\n') != s + n - 1)
                                fail_msg("%s: %zu bytes", t[i].why, n);
                        json_error_t why;
                        json_t *j = json ? json_loads(s, 0, &why) : NULL;
                        if (json && !j)
                                fail_msg("%s: cut, and no JSON any more: %s", t[i].why, why.text);
                        json_decref(j);
                }
}

/* Says it all, then lets the repeats be told. */
static void said(char *out, size_t size, const char *const *lines, size_t n)
{
        int fds[2], keep = dup(STDERR_FILENO);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_true(keep >= 0 && dup2(fds[1], STDERR_FILENO) >= 0);
        log_setup("shop", "us", LOG_INFO, false);
        for (size_t i = 0; i < n; i++)
                log_event(lines[i][0] == '!' ? LOG_WARN : LOG_INFO, "e", "%s", lines[i] + 1);
        log_repeats(false); /* their minute is not over */
        log_repeats(true);
        dup2(keep, STDERR_FILENO);
        close(keep);
        close(fds[1]);
        ssize_t got = read(fds[0], out, size - 1);
        out[got > 0 ? got : 0] = 0;
        close(fds[0]);
        for (char *p = out, *w = out;; p++) { /* without the times */
                if (p == out || p[-1] == '\n')
                        p += strcspn(p, " ");
                *w++ = *p;
                if (!*p)
                        break;
        }
}

static void repeats_are_counted(void **state)
{
        (void)state;
        static const char *const lines[] = {"!why=a", " why=a",          "!why=a", "!why=b\tin_ms=1",
                                            " why=a", "!why=b\tin_ms=2", "!why=a", "!why=b\tn=3"};
        char s[4096];
        uint64_t warned = log_count(LOG_WARN);
        said(s, sizeof s, lines, sizeof lines / sizeof *lines);
        assert_string_equal(s,
                            " warn us e why=a\n info us e why=a\n warn us e why=b in_ms=1\n info us e why=a\n warn us e why=b n=3\n"
                            " warn us e why=a repeats=2\n warn us e why=b in_ms=1 repeats=1\n");
        assert_int_equal(log_count(LOG_WARN) - warned, 6); /* all of them count */
}

static void full_xids(void **state)
{
        (void)state;
        const uint64_t epoch = UINT64_C(1) << 32;
        assert_int_equal(fullxid_near((fullxid_t){1000}, 900).v, 900);
        assert_int_equal(fullxid_near((fullxid_t){1000}, 1100).v, 1100);
        assert_int_equal(fullxid_near((fullxid_t){3 * epoch + 10}, 5).v, 3 * epoch + 5);
        assert_int_equal(fullxid_near((fullxid_t){3 * epoch + 10}, UINT32_MAX).v, 3 * epoch - 1); /* before the wrap */
        assert_int_equal(fullxid_near((fullxid_t){3 * epoch - 1}, 3).v, 3 * epoch + 3);           /* behind it */
        assert_int_equal(fullxid_near((fullxid_t){10}, 0xFFFFFFF0u).v, 0); /* before the first xid there was none */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(full_xids),
                cmocka_unit_test(buf_writes_big_endian),
                cmocka_unit_test(buf_maximum_is_sticky),
                cmocka_unit_test(buf_grows_and_keeps),
                cmocka_unit_test(rd_reads_what_buf_writes),
                cmocka_unit_test(rd_fails_once_and_for_all),
                cmocka_unit_test(arena_memory),
                cmocka_unit_test(map_against_a_plain_array),
                cmocka_unit_test(map_keys_and_maximum),
                cmocka_unit_test(errors_keep_their_cause),
                cmocka_unit_test(lsn_text),
                cmocka_unit_test(order_and_time),
                cmocka_unit_test(a_line_of_text),
                cmocka_unit_test(a_line_of_json),
                cmocka_unit_test(a_line_too_long),
                cmocka_unit_test(repeats_are_counted),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
