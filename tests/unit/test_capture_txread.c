/* The slot's stream, byte by byte, into records: what is published, skipped, chunked; vectors and HLCs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "capture/stops.h"
#include "capture/txread.h"

#define MAX_BYTES 16384
#define TABLE 100

/* Records as they would lie in Kafka. */
struct world {
        struct regset regs;
        struct groups groups;
        struct progress progress;
        struct relcache tables;
        struct txread tx;
        struct buf msg;
        struct arena arena;
        struct record records[64];
        lsn_t confirms[64];
        size_t n;
        uint64_t lsn, seq;
};

static struct record_head next_head(void *ctx)
{
        struct world *w = ctx;
        return (struct record_head){.kind = RECORD_GROUP, .epoch = 1, .seq = w->seq + 1, .region = {1}};
}

static enum status put_record(void *ctx, const struct record_head *h, const struct buf *record, lsn_t confirms, struct err *e)
{
        struct world *w = ctx;
        assert_true(w->n < 64);
        w->seq = h->seq;
        uint8_t *copy = arena_copy(&w->arena, record->data, record->len);
        w->confirms[w->n] = confirms;
        return wire_decode(copy, record->len, &w->regs, &w->arena, &w->records[w->n++], e);
}

/* A table t(id, a, b) as the Relation message and the catalog describe it. */
static void know_table(struct world *w, uint32_t oid, const char *name, char identity, bool leaf)
{
        struct pgout_msg *m = mem_zalloc(sizeof *m);
        struct captured_table *t = MEM_NEW(struct captured_table);
        struct err e = {0};
        static const char *const keys[] = {"id"};
        static const uint32_t oids[] = {23, 25};
        static const char *const types[] = {"pg_catalog.int4", "pg_catalog.text"};
        struct table_facts f = {
                .found = true, .root_schema = "public", .root_name = leaf ? "root" : name, .nkeys = 1, .keys = keys};
        f.ntypes = 2;
        f.type_oids = oids;
        f.type_names = types;
        m->kind = PGOUT_RELATION;
        m->u.relation.oid = oid;
        m->u.relation.schema = "public";
        m->u.relation.name = name;
        m->u.relation.identity = identity;
        m->u.relation.ncols = 3;
        m->u.relation.cols = m->col_memory;
        m->col_memory[0] = (struct pgout_col){"id", 23, -1, identity != 'n'};
        m->col_memory[1] = (struct pgout_col){"a", 25, -1, identity == 'f'};
        m->col_memory[2] = (struct pgout_col){"b", 25, -1, identity == 'f'};
        arena_init(&t->arena);
        assert_int_equal(captured_table_build(t, m, &f, "us", &e), ST_OK);
        assert_true(map_put(&w->tables.tables, &t->oid, sizeof t->oid, t));
        free(m);
}

static int setup(void **state)
{
        struct world *w = MEM_NEW(struct world);
        struct group_sink sink = {next_head, put_record, w};
        regset_add(&w->regs, "eu", 2);
        regset_add(&w->regs, "us", 2);
        arena_init(&w->arena);
        buf_init(&w->msg, 0);
        groups_init(&w->groups, &sink, &w->regs, MAX_BYTES, 10);
        relcache_init(&w->tables, NULL, "us");
        txread_init(&w->tx, &w->groups, &w->progress, &w->tables, &w->regs);
        w->tx.region = "us";
        w->tx.me.i = 1;
        w->tx.xid_near.v = 1000;
        strcpy(w->tx.origin_prefix, "pangea_shop_us_");
        w->lsn = 1000;
        know_table(w, TABLE, "t", 'd', false);
        know_table(w, TABLE + 1, "f", 'f', false);
        know_table(w, TABLE + 2, "leaf", 'd', true);
        know_table(w, TABLE + 3, "n", 'n', false);
        *state = w;
        return 0;
}

static int teardown(void **state)
{
        struct world *w = *state;
        txread_release(&w->tx);
        groups_release(&w->groups);
        relcache_release(&w->tables);
        buf_release(&w->msg);
        arena_release(&w->arena);
        free(w);
        return 0;
}

static enum status give(struct world *w, struct err *e)
{
        /* a copy of exactly that size, so that a sanitizer sees every byte read beyond it */
        uint8_t *exact = mem_alloc(w->msg.len);
        memcpy(exact, w->msg.data, w->msg.len);
        enum status st = txread_message(&w->tx, exact, w->msg.len, 0, e);
        free(exact);
        buf_reset(&w->msg);
        return st;
}

static void must(struct world *w)
{
        struct err e = {0};
        if (give(w, &e) != ST_OK)
                fail_msg("%s", e.msg);
}

static void begin_at(struct world *w, uint32_t xid, int64_t unix_us, uint64_t commit_lsn)
{
        buf_put_u8(&w->msg, 'B');
        buf_put_u64(&w->msg, commit_lsn);
        buf_put_u64(&w->msg, (uint64_t)(unix_us - PG_EPOCH_US));
        buf_put_u32(&w->msg, xid);
        must(w);
}

static void begin(struct world *w, uint32_t xid, int64_t us)
{
        begin_at(w, xid, PG_EPOCH_US + us, w->lsn + 50);
}

static void commit(struct world *w)
{
        buf_put_u8(&w->msg, 'C');
        buf_put_u8(&w->msg, 0);
        buf_put_u64(&w->msg, w->lsn + 50);
        buf_put_u64(&w->msg, w->lsn + 100);
        buf_put_u64(&w->msg, 0);
        must(w);
        w->lsn += 100;
}

static void origin(struct world *w, const char *name)
{
        buf_put_u8(&w->msg, 'O');
        buf_put_u64(&w->msg, 1);
        buf_put(&w->msg, name, strlen(name) + 1);
        must(w);
}

static void message(struct world *w, bool transactional, const char *prefix)
{
        buf_put_u8(&w->msg, 'M');
        buf_put_u8(&w->msg, transactional);
        buf_put_u64(&w->msg, w->lsn);
        buf_put(&w->msg, prefix, strlen(prefix) + 1);
        buf_put_u32(&w->msg, 0);
        must(w);
}

/* A row; NULL: an SQL null, "?": unchanged and out of line. */
static void row(struct world *w, const char *id, const char *a, const char *b)
{
        const char *const v[] = {id, a, b};
        buf_put_u16(&w->msg, 3);
        for (int i = 0; i < 3; i++) {
                if (!v[i] || strcmp(v[i], "?") == 0) {
                        buf_put_u8(&w->msg, v[i] ? 'u' : 'n');
                        continue;
                }
                buf_put_u8(&w->msg, 't');
                buf_put_u32(&w->msg, (uint32_t)strlen(v[i]));
                buf_put_str(&w->msg, v[i]);
        }
}

static void change(struct world *w, char kind, uint32_t oid, char which)
{
        buf_put_u8(&w->msg, (uint8_t)kind);
        buf_put_u32(&w->msg, oid);
        buf_put_u8(&w->msg, (uint8_t)which);
}

static void insert(struct world *w, const char *id, const char *a)
{
        change(w, 'I', TABLE, 'N');
        row(w, id, a, NULL);
        must(w);
}

static void close_group(struct world *w)
{
        struct err e = {0};
        assert_int_equal(txread_close(&w->tx, &e), ST_OK);
}

static bool value_is_int(const struct value *v, int32_t n)
{
        const uint8_t *d = v->data;
        return v->kind == VALUE_BINARY && v->len == 4 &&
               (int32_t)((uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3]) == n;
}

static bool value_is(const struct value *v, const char *s)
{
        return v->kind == VALUE_TEXT && v->len == strlen(s) && memcmp(v->data, s, v->len) == 0;
}

/* ---------------------------------------------------------------------------------------------------------------------------------------- */

static void transactions_that_are_ready_are_one_group(void **state)
{
        struct world *w = *state;
        for (uint32_t i = 0; i < 3; i++) {
                begin(w, 500 + i, 100 - i); /* commit times out of order */
                insert(w, "1", "x");
                commit(w);
        }
        assert_int_equal(w->n, 0);
        close_group(w);
        assert_int_equal(w->n, 1);
        const struct group *g = &w->records[0].u.group;
        assert_int_equal(g->ntxs, 3);
        assert_int_equal(g->nchanges, 3);
        assert_true(g->last);
        assert_int_equal(g->hlc.v, PG_EPOCH_US + 100); /* the newest, not the last */
        assert_int_equal(w->confirms[0].v, w->lsn);
        assert_int_equal(g->txs[2].xid.v, 502);
        assert_int_equal(g->changes[2].tx, 2);
        close_group(w);
        assert_int_equal(w->n, 1); /* nothing is not a group */
}

static void a_full_group_closes_itself(void **state)
{
        struct world *w = *state;
        for (uint32_t i = 0; i < 25; i++) {
                begin(w, 500 + i, 100);
                insert(w, "1", "x");
                commit(w);
        }
        assert_int_equal(w->n, 2);                                                      /* max_rows is 10 */
        assert_int_equal(w->records[1].u.group.hlc.v, w->records[0].u.group.hlc.v + 1); /* the clock stands still: HLC runs on */
}

static void applied_transactions_move_the_vector_and_nothing_else(void **state)
{
        struct world *w = *state;
        begin(w, 500, 10);
        insert(w, "1", "x");
        commit(w);
        begin(w, 501, 5000); /* applied here from eu, with eu's HLC as its commit time */
        origin(w, "pangea_shop_us_eu");
        change(w, 'I', 9999, 'N'); /* not parsed: the relation is unknown */
        row(w, "7", "y", NULL);
        must(w);
        commit(w);
        begin(w, 502, 20);
        insert(w, "2", "x");
        commit(w);
        begin(w, 503, 9000); /* a repair from the own log */
        origin(w, "pangea_shop_us_us");
        insert(w, "3", "x");
        commit(w);
        begin(w, 504, 30); /* somebody else's replication is a local write */
        origin(w, "pg_16400");
        insert(w, "4", "x");
        commit(w);
        close_group(w);
        const struct group *g = &w->records[0].u.group;
        assert_int_equal(g->ntxs, 3);
        assert_int_equal(g->txs[0].vec->at[0].v, 0);
        assert_int_equal(g->txs[1].vec->at[0].v, PG_EPOCH_US + 5000);
        assert_int_equal(g->txs[2].vec->at[0].v, PG_EPOCH_US + 5000);
        assert_int_equal(g->txs[2].vec->at[1].v, 0);    /* own component */
        assert_int_equal(g->hlc.v, PG_EPOCH_US + 5001); /* above all it has seen */
        assert_int_equal(w->tx.decoded.v, w->lsn);
        assert_int_equal(w->progress.vec_said, w->progress.vec_moves); /* the group carried it */
}

static void a_group_before_the_move_does_not_carry_it(void **state)
{
        struct world *w = *state;
        begin(w, 500, 10);
        insert(w, "1", "x");
        commit(w);
        begin(w, 501, 5000);
        origin(w, "pangea_shop_us_eu");
        commit(w);
        close_group(w);
        assert_int_equal(w->n, 1);
        assert_true(w->progress.vec_said < w->progress.vec_moves);
}

static void what_the_log_holds_is_skipped(void **state)
{
        struct world *w = *state;
        w->tx.start.v = w->lsn + 100; /* the end of the first */
        w->tx.decoded = w->tx.start;
        begin(w, 500, 10);
        insert(w, "1", "x");
        commit(w);
        begin(w, 501, 20);
        insert(w, "2", "x");
        commit(w);
        close_group(w);
        assert_int_equal(w->n, 1);
        assert_int_equal(w->records[0].u.group.ntxs, 1);
        assert_int_equal(w->records[0].u.group.txs[0].xid.v, 501);
}

static void messages(void **state)
{
        struct world *w = *state;
        begin(w, 500, 10); /* no published change */
        message(w, true, "pangea");
        commit(w);
        begin(w, 501, 10);
        message(w, true, "pangea.flush");
        assert_false(w->progress.due_now); /* not before its commit is decoded */
        commit(w);
        assert_true(w->progress.due_now);
        close_group(w);
        assert_int_equal(w->n, 0);
        assert_int_equal(w->tx.decoded.v, w->lsn);
        begin(w, 502, 10);
        message(w, true, "pangea.mark");
        commit(w);
        close_group(w);
        assert_int_equal(w->n, 1);
        assert_int_equal(w->records[0].u.group.ntxs, 1);
        assert_int_equal(w->records[0].u.group.nchanges, 0);
}

static void old_rows(void **state)
{
        struct world *w = *state;
        begin(w, 500, 10);
        change(w, 'U', TABLE, 'K'); /* the key changed; the others come as nulls */
        row(w, "1", NULL, NULL);
        buf_put_u8(&w->msg, 'N');
        row(w, "2", "x", "?");
        must(w);
        change(w, 'U', TABLE + 1, 'O'); /* FULL: what is unsent stands in the old row */
        row(w, "1", "x", "large");
        buf_put_u8(&w->msg, 'N');
        row(w, "1", "y", "?");
        must(w);
        change(w, 'D', TABLE, 'K');
        row(w, "2", NULL, NULL);
        must(w);
        change(w, 'I', TABLE + 2, 'N');
        row(w, "9", NULL, NULL);
        must(w);
        commit(w);
        close_group(w);
        const struct group *g = &w->records[0].u.group;
        assert_int_equal(g->nchanges, 4);
        const struct change *c = g->changes;
        assert_int_equal(c[0].op, CHANGE_UPDATE);
        assert_true(value_is_int(&c[0].old[0], 1));
        assert_true(value_is_int(&c[0].row[0], 2));
        assert_int_equal(c[0].old[1].kind, VALUE_UNSENT);
        assert_int_equal(c[0].row[2].kind, VALUE_UNSENT);
        assert_true(c[1].rel->full);
        assert_true(value_is(&c[1].row[2], "large"));
        assert_true(value_is(&c[1].old[1], "x"));
        assert_int_equal(c[2].op, CHANGE_DELETE);
        assert_null(c[2].row);
        assert_true(value_is_int(&c[2].old[0], 2));
        assert_string_equal(c[3].rel->name, "root");
        assert_string_equal(c[3].rel->leaf_name, "leaf");
}

static void a_truncated_root_speaks_for_its_leaves(void **state)
{
        struct world *w = *state;
        know_table(w, TABLE + 4, "root", 'd', false);
        begin(w, 500, 10);
        buf_put_u8(&w->msg, 'T');
        buf_put_u32(&w->msg, 2);
        buf_put_u8(&w->msg, 0);
        buf_put_u32(&w->msg, TABLE + 2);
        buf_put_u32(&w->msg, TABLE + 4);
        must(w);
        buf_put_u8(&w->msg, 'T');
        buf_put_u32(&w->msg, 1);
        buf_put_u8(&w->msg, 0);
        buf_put_u32(&w->msg, TABLE + 2);
        must(w);
        commit(w);
        close_group(w);
        const struct group *g = &w->records[0].u.group;
        assert_int_equal(g->nchanges, 2);
        assert_null(g->changes[0].rel->leaf_name);
        assert_string_equal(g->changes[1].rel->leaf_name, "leaf");
}

static void a_large_transaction_is_a_group_of_its_own_in_chunks(void **state)
{
        struct world *w = *state;
        char text[1001];
        memset(text, 'x', 1000);
        text[1000] = 0;
        begin(w, 500, 10);
        insert(w, "1", "small");
        commit(w);
        begin(w, 501, 20);
        for (int i = 0; i < 100; i++)
                insert(w, "2", text);
        assert_true(w->n > 3); /* chunks go out as they come */
        commit(w);
        begin(w, 502, 30);
        insert(w, "3", "small");
        commit(w);
        close_group(w);
        assert_int_equal(w->records[0].u.group.ntxs, 1); /* what was open before it */
        assert_int_equal(w->records[0].u.group.txs[0].xid.v, 500);
        uint32_t rows = 0;
        size_t i = 1;
        for (; i < w->n - 1; i++) {
                const struct group *g = &w->records[i].u.group;
                rows += g->nchanges;
                assert_int_equal(g->chunk, i - 1);
                assert_int_equal(g->last, i == w->n - 2);
                assert_int_equal(g->hlc.v, PG_EPOCH_US + 20);
                assert_int_equal(g->txs[0].xid.v, 501);
                assert_int_equal(w->confirms[i].v, g->last ? g->txs[0].end_lsn.v : 0);
                assert_int_equal(w->records[i].head.seq, i + 1);
        }
        assert_int_equal(rows, 100);
        assert_int_equal(w->records[i].u.group.txs[0].xid.v, 502);
}

static void a_row_larger_than_a_record_travels_in_fragments(void **state)
{
        struct world *w = *state;
        size_t size = 3 * MAX_BYTES;
        char *text = mem_zalloc(size + 1);
        struct buf whole;
        struct err e = {0};
        struct change c;
        bool done = false;
        memset(text, 'y', size);
        buf_init(&whole, 0);
        begin(w, 500, 10);
        insert(w, "1", "before");
        insert(w, "2", text);
        insert(w, "3", "after");
        commit(w);
        assert_true(w->n > 4);
        for (size_t i = 1; i + 1 < w->n; i++) {
                assert_non_null(w->records[i].u.group.frag);
                assert_int_equal(wire_fragment_add(&whole, &w->records[i].u.group, &done, &e), ST_OK);
        }
        assert_true(done);
        assert_int_equal(wire_decode_large(whole.data, whole.len, &w->arena, &c, &e), ST_OK);
        assert_int_equal(c.row[1].len, size);
        assert_true(w->records[w->n - 1].u.group.last);
        assert_int_equal(w->records[w->n - 1].u.group.nchanges, 1);
        buf_release(&whole);
        free(text);
}

static void a_stream_that_makes_no_sense_stops_by_name(void **state)
{
        struct world *w = *state;
        struct err e = {0};
        buf_put_u8(&w->msg, 'C'); /* outside a transaction */
        buf_put(&w->msg, "0123456789012345678901234", 25);
        assert_int_equal(give(w, &e), ST_DATA);
        assert_string_equal(e.name, "stream_unreadable");
        change(w, 'I', TABLE, 'N');
        row(w, "1", NULL, NULL);
        assert_int_equal(give(w, &e), ST_DATA);
        buf_put_u8(&w->msg, 'S'); /* streaming was not asked for */
        assert_int_equal(give(w, &e), ST_DATA);
        begin(w, 500, 10);
        change(w, 'I', 9999, 'N'); /* never announced: told at the commit, which encodes */
        row(w, "1", NULL, NULL);
        must(w);
        buf_put_u8(&w->msg, 'C');
        buf_put_u8(&w->msg, 0);
        for (int i = 0; i < 3; i++)
                buf_put_u64(&w->msg, 1);
        assert_int_equal(give(w, &e), ST_DATA);
        assert_string_equal(e.name, "stream_unreadable");
}

static void an_identity_without_the_key_stops_by_name(void **state)
{
        struct world *w = *state;
        struct err e = {0};
        begin(w, 500, 10);
        change(w, 'U', TABLE + 3, 'N');
        row(w, "1", "x", NULL);
        must(w);
        buf_put_u8(&w->msg, 'C');
        buf_put_u8(&w->msg, 0);
        for (int i = 0; i < 3; i++)
                buf_put_u64(&w->msg, 1);
        assert_int_equal(give(w, &e), ST_DATA);
        assert_string_equal(e.name, "identity_unfit");
        assert_non_null(strstr(e.msg, "public.n"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
        const struct CMUnitTest tests[] = {
                T(transactions_that_are_ready_are_one_group),
                T(a_full_group_closes_itself),
                T(applied_transactions_move_the_vector_and_nothing_else),
                T(a_group_before_the_move_does_not_carry_it),
                T(what_the_log_holds_is_skipped),
                T(messages),
                T(old_rows),
                T(a_truncated_root_speaks_for_its_leaves),
                T(a_large_transaction_is_a_group_of_its_own_in_chunks),
                T(a_row_larger_than_a_record_travels_in_fragments),
                T(a_stream_that_makes_no_sense_stops_by_name),
                T(an_identity_without_the_key_stops_by_name),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
