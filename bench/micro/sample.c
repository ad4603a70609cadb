#include "bench/micro/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/target.h"
#include "base/mem.h"
#include "bench/micro/micro.h"

#define OID(table) (1000u + (unsigned)(table))
#define MAX_BYTES 900000
#define MAX_ROWS 1000
#define NCOLS_MAX 60
#define COMMIT_US INT64_C(1790000000000000)

enum col_type { INT8, INT4, NUMERIC, TEXT, TIMESTAMPTZ, BOOL, UUID, FLOAT8, COL_TYPES };
static const struct {
        uint32_t oid;
        const char *name;
} col_types[COL_TYPES] = {
        [INT8] = {20, "pg_catalog.int8"},
        [INT4] = {23, "pg_catalog.int4"},
        [NUMERIC] = {1700, "pg_catalog.numeric"},
        [TEXT] = {25, "pg_catalog.text"},
        [TIMESTAMPTZ] = {1184, "pg_catalog.timestamptz"},
        [BOOL] = {16, "pg_catalog.bool"},
        [UUID] = {2950, "pg_catalog.uuid"},
        [FLOAT8] = {701, "pg_catalog.float8"},
};

static const struct {
        const char *name;
        char identity;
        unsigned ncols;
} tables[SAMPLE_TABLES] = {[NARROW] = {"narrow", 'd', 4}, [WHOLE] = {"whole", 'f', 8}, [WIDE] = {"wide", 'f', NCOLS_MAX}};

/* The first column is the key; narrow has the first four types, the others all in turn. */
static enum col_type type_of(unsigned col)
{
        return (enum col_type)(col % COL_TYPES);
}

/* ---- the stream -------------------------------------------------------------------------------------------------------------- */

void stream_init(struct stream *s)
{
        memset(s, 0, sizeof *s);
        buf_init(&s->bytes, 0);
        s->cap = 1024;
        s->at = mem_zalloc(sizeof *s->at * s->cap);
}

void stream_release(struct stream *s)
{
        buf_release(&s->bytes);
        free(s->at);
}

static void end_message(struct stream *s)
{
        if (++s->count == s->cap) {
                s->cap *= 2;
                s->at = mem_realloc(s->at, sizeof *s->at * s->cap);
        }
        s->at[s->count] = s->bytes.len;
}

static uint64_t lsn_of(unsigned tx)
{
        return 0x16B374D848 + (uint64_t)tx * 200;
}

void stream_begin(struct stream *s, unsigned tx)
{
        buf_put_u8(&s->bytes, 'B');
        buf_put_u64(&s->bytes, lsn_of(tx));
        buf_put_u64(&s->bytes, (uint64_t)(COMMIT_US + 10 * (int64_t)tx - PG_EPOCH_US));
        buf_put_u32(&s->bytes, 1000 + tx);
        end_message(s);
}

void stream_origin(struct stream *s, const char *name)
{
        buf_put_u8(&s->bytes, 'O');
        buf_put_u64(&s->bytes, 1);
        buf_put(&s->bytes, name, strlen(name) + 1);
        end_message(s);
}

void stream_commit(struct stream *s, unsigned tx)
{
        buf_put_u8(&s->bytes, 'C');
        buf_put_u8(&s->bytes, 0);
        buf_put_u64(&s->bytes, lsn_of(tx));
        buf_put_u64(&s->bytes, lsn_of(tx) + 150);
        buf_put_u64(&s->bytes, (uint64_t)(COMMIT_US + 10 * (int64_t)tx - PG_EPOCH_US));
        end_message(s);
}

/* As PostgreSQL prints it; v makes rows and versions of a row differ. */
static void print_value(char *to, size_t size, enum col_type type, unsigned row, unsigned v)
{
        unsigned n = row * 7919 % 100000 + v;
        switch (type) {
        case INT8: snprintf(to, size, "%u", 5000000 + row); return;
        case INT4: snprintf(to, size, "%u", n); return;
        case NUMERIC: snprintf(to, size, "%u.%02u", n, n % 100); return;
        case TEXT: snprintf(to, size, "a note of some sixty bytes about order %010u, as people write", n); return;
        case TIMESTAMPTZ: snprintf(to, size, "2026-01-01 10:%02u:%02u.%06u+00", n / 60 % 60, n % 60, n); return;
        case BOOL: snprintf(to, size, "%s", n % 2 ? "t" : "f"); return;
        case UUID: snprintf(to, size, "8c5bf2a0-1b2c-4d3e-8f90-%012x", n); return;
        case FLOAT8: snprintf(to, size, "%u.5", n); return;
        case COL_TYPES: break;
        }
        abort();
}

/* one_key: only the key is sent, as the identity of a table that is not FULL is. */
static void put_row(struct stream *s, enum sample_table table, unsigned row, unsigned v, bool one_key)
{
        unsigned ncols = tables[table].ncols;
        buf_put_u16(&s->bytes, (uint16_t)ncols);
        for (unsigned i = 0; i < ncols; i++) {
                char text[100];
                if ((i > 0 && one_key) || (i > 8 && i % 15 == 0)) {
                        buf_put_u8(&s->bytes, 'n');
                        continue;
                }
                print_value(text, sizeof text, i == 0 ? INT8 : i % COL_TYPES == 0 ? INT4 : type_of(i), row, v);
                buf_put_u8(&s->bytes, 't');
                buf_put_u32(&s->bytes, (uint32_t)strlen(text));
                buf_put_str(&s->bytes, text);
        }
}

static void begin_change(struct stream *s, char op, enum sample_table table)
{
        buf_put_u8(&s->bytes, (uint8_t)op);
        buf_put_u32(&s->bytes, OID(table));
}

void stream_insert(struct stream *s, enum sample_table table, unsigned row)
{
        begin_change(s, 'I', table);
        buf_put_u8(&s->bytes, 'N');
        put_row(s, table, row, 0, false);
        end_message(s);
}

void stream_update(struct stream *s, enum sample_table table, unsigned row)
{
        begin_change(s, 'U', table);
        if (tables[table].identity == 'f') {
                buf_put_u8(&s->bytes, 'O');
                put_row(s, table, row, 0, false);
        }
        buf_put_u8(&s->bytes, 'N');
        put_row(s, table, row, 1, false);
        end_message(s);
}

void stream_delete(struct stream *s, enum sample_table table, unsigned row)
{
        bool full = tables[table].identity == 'f';
        begin_change(s, 'D', table);
        buf_put_u8(&s->bytes, full ? 'O' : 'K');
        put_row(s, table, row, 0, !full);
        end_message(s);
}

void stream_load(struct stream *s, enum sample_table table, enum sample_op op, unsigned ntxs, unsigned nrows, unsigned distinct)
{
        static void (*const change[])(struct stream *, enum sample_table, unsigned) = {
                [SAMPLE_INSERT] = stream_insert, [SAMPLE_UPDATE] = stream_update, [SAMPLE_DELETE] = stream_delete};
        for (unsigned tx = 0; tx < ntxs; tx++) {
                stream_begin(s, tx);
                for (unsigned i = 0; i < nrows; i++) {
                        unsigned row = tx * nrows + i;
                        change[op](s, table, distinct ? row % distinct : row);
                }
                stream_commit(s, tx);
        }
}

/* ---- capture ----------------------------------------------------------------------------------------------------------------- */

static struct record_head next_head(void *ctx)
{
        struct reader *r = ctx;
        return (struct record_head){
                .kind = RECORD_GROUP, .epoch = 3, .seq = r->seq + 1, .region = {1}, .incarnation = 1, .generation = 1};
}

static enum status put_record(void *ctx, const struct record_head *h, const struct buf *record, lsn_t confirms, struct err *e)
{
        struct reader *r = ctx;
        (void)confirms;
        (void)e;
        r->seq = h->seq;
        r->records++;
        buf_reset(&r->record);
        buf_put(&r->record, record->data, record->len);
        return ST_OK;
}

/* What the stream's Relation message and the catalog say of a table. */
static void know_table(struct reader *r, enum sample_table table)
{
        static const char *const keys[] = {"c0"};
        struct pgout_msg *m = mem_zalloc(sizeof *m);
        struct captured_table *t = MEM_NEW(struct captured_table);
        char names[NCOLS_MAX][16];
        uint32_t oids[COL_TYPES];
        const char *type_names[COL_TYPES];
        struct table_facts f = {.found = true, .root_schema = "public", .root_name = tables[table].name, .nkeys = 1, .keys = keys};
        struct err e;
        for (unsigned i = 0; i < COL_TYPES; i++) {
                oids[i] = col_types[i].oid;
                type_names[i] = col_types[i].name;
        }
        f.ntypes = COL_TYPES;
        f.type_oids = oids;
        f.type_names = type_names;
        m->kind = PGOUT_RELATION;
        m->u.relation.oid = OID(table);
        m->u.relation.schema = "public";
        m->u.relation.name = tables[table].name;
        m->u.relation.identity = tables[table].identity;
        m->u.relation.ncols = (uint16_t)tables[table].ncols;
        m->u.relation.cols = m->col_memory;
        for (unsigned i = 0; i < tables[table].ncols; i++) {
                snprintf(names[i], sizeof names[i], "c%u", i);
                enum col_type type = i == 0 ? INT8 : i % COL_TYPES == 0 ? INT4 : type_of(i);
                m->col_memory[i] = (struct pgout_col){names[i], col_types[type].oid, -1, i == 0 || tables[table].identity == 'f'};
        }
        arena_init(&t->arena);
        micro_check(captured_table_build(t, m, &f, "us", &e) == ST_OK, "a table's description");
        micro_check(map_put(&r->tables.tables, &t->oid, sizeof t->oid, t), "a table in the cache");
        free(m);
}

void reader_init(struct reader *r)
{
        struct group_sink sink = {next_head, put_record, r};
        memset(r, 0, sizeof *r);
        regset_add(&r->regs, "eu", 2);
        regset_add(&r->regs, "us", 2);
        buf_init(&r->record, 0);
        groups_init(&r->groups, &sink, &r->regs, MAX_BYTES, MAX_ROWS);
        relcache_init(&r->tables, NULL, "us");
        txread_init(&r->tx, &r->groups, &r->progress, &r->tables, &r->regs);
        r->tx.region = "us";
        r->tx.me.i = 1;
        r->tx.xid_near.v = 1000;
        r->tx.vec.at[0].v = (uint64_t)COMMIT_US - 500;
        snprintf(r->tx.origin_prefix, sizeof r->tx.origin_prefix, "pangea_shop_us_");
        for (unsigned i = 0; i < SAMPLE_TABLES; i++)
                know_table(r, (enum sample_table)i);
}

void reader_release(struct reader *r)
{
        txread_release(&r->tx);
        groups_release(&r->groups);
        relcache_release(&r->tables);
        buf_release(&r->record);
}

void reader_read(struct reader *r, const struct stream *s)
{
        struct err e;
        for (unsigned i = 0; i < s->count; i++)
                if (txread_message(&r->tx, s->bytes.data + s->at[i], s->at[i + 1] - s->at[i], 0, &e) != ST_OK)
                        micro_check(false, e.msg);
        if (txread_close(&r->tx, &e) != ST_OK)
                micro_check(false, e.msg);
}

/* ---- groups ------------------------------------------------------------------------------------------------------------------ */

void sample_group(struct sample_group *out, enum sample_table table, enum sample_op op, unsigned ntxs, unsigned nrows,
                  unsigned distinct)
{
        struct stream s;
        struct reader r;
        struct err e;
        memset(out, 0, sizeof *out);
        stream_init(&s);
        stream_load(&s, table, op, ntxs, nrows, distinct);
        reader_init(&r);
        reader_read(&r, &s);
        micro_check(r.records == 1, "one group in one record");
        out->regs = r.regs;
        buf_init(&out->record, 0);
        buf_put(&out->record, r.record.data, r.record.len);
        arena_init(&out->arena);
        micro_check(wire_decode(out->record.data, out->record.len, &out->regs, &out->arena, &out->decoded, &e) == ST_OK,
                    "a record");
        out->g = &out->decoded.u.group;
        micro_check(out->g->nchanges == ntxs * nrows && out->g->ntxs == ntxs, "all rows of the group");
        reader_release(&r);
        stream_release(&s);
}

void sample_group_release(struct sample_group *g)
{
        buf_release(&g->record);
        arena_release(&g->arena);
}

void sample_mapping(struct arena *a, const struct relation *rel, struct mapping *out)
{
        struct target *t = ARENA_NEW(a, struct target);
        struct target_column *cols = ARENA_ARRAY(a, struct target_column, rel->ncols);
        uint16_t *keys = ARENA_ARRAY(a, uint16_t, rel->nkeys);
        int16_t *to = ARENA_ARRAY(a, int16_t, rel->ncols);
        for (uint16_t i = 0; i < rel->ncols; i++) {
                cols[i] = (struct target_column){.name = arena_strdup(a, rel->cols[i].name),
                                                 .ident = arena_printf(a, "\"%s\"", rel->cols[i].name),
                                                 .type = arena_strdup(a, rel->cols[i].type),
                                                 .type_plain = arena_strdup(a, rel->cols[i].type),
                                                 .is_text = strcmp(rel->cols[i].type, "pg_catalog.text") == 0};
                to[i] = (int16_t)i;
        }
        for (uint16_t k = 0; k < rel->nkeys; k++) {
                keys[k] = rel->keys[k];
                cols[keys[k]].eq = arena_strdup(a, "OPERATOR(pg_catalog.=)");
        }
        *t = (struct target){.name = arena_printf(a, "%s.%s", rel->schema, rel->name),
                             .schema = arena_strdup(a, rel->schema),
                             .table = arena_strdup(a, rel->name),
                             .qualified = arena_printf(a, "\"%s\".\"%s\"", rel->schema, rel->name),
                             .relid = 5000,
                             .ncols = rel->ncols,
                             .cols = cols,
                             .nkeys = rel->nkeys,
                             .keys = keys,
                             .multi = true};
        map_init(&t->statements, 0);
        *out = (struct mapping){.target = t, .to = to, .applied = true};
}
