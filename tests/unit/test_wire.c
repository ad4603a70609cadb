/* The log record: what is written is read back the same, and shown as it is. */
#include <jansson.h>

#include "tests/unit/wire_bench.h"

static void same_group(const struct group *a, const struct group *b, const char *what)
{
        const char *diff = group_diff(a, b);
        if (diff)
                fail_msg("%s: %s", what, diff);
}

/* ---- every kind, groups ---------------------------------------------------------------------------------------------------- */
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
        const struct CMUnitTest tests[] = {
                TEST(epoch_comes_back),
                TEST(progress_comes_back),
                TEST(marker_comes_back),
                TEST(random_groups_come_back),
                TEST(equal_vectors_are_one),
                TEST(end_of_a_transaction_is_known_later),
                TEST(regions_unknown_here_are_added),
                TEST(head_only),
                TEST(prints_json),
                TEST(document_shows_these_bytes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
