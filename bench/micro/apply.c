/* The apply agent's work on a record up to libpq: read, folded, guarded statements with their arrays; and all of it together.
 * The session is this file's (see the Makefile: --wrap): it takes what is sent, counts it, and says that every row was written. */
#include <stdlib.h>
#include <string.h>

#include "apply/hidden.h"
#include "apply/pass.h"
#include "base/mem.h"
#include "bench/micro/micro.h"
#include "bench/micro/sample.h"

#define ROWS 500

/* ---- a session without a database -------------------------------------------------------------------------------------------- */

struct told {
        on_result *fn;
        void *arg;
};

struct session {
        struct told sent[64];
        unsigned nsent, statements;
        size_t bytes;
        const struct mapping *map; /* of every relation */
};

enum status __wrap_session_send(struct session *s, struct stmt *stmt, const char *sql, int nparams, const struct pg_param *params,
                                on_result *fn, void *arg, struct err *e);
enum status __wrap_session_query(struct session *s, const char *sql, int nparams, const struct pg_param *params, on_result *fn,
                                 void *arg, struct err *e);
enum status __wrap_session_sync(struct session *s, void *ctx, struct err *e);
int64_t __wrap_pgres_affected(const struct pgres *r);
enum status __wrap_catalog_map(struct catalog *c, struct pg *side, const struct relation *rel, region_id origin,
                               struct arena *arena, struct mapping *out, struct err *e);

enum status __wrap_session_query(struct session *s, const char *sql, int nparams, const struct pg_param *params, on_result *fn,
                                 void *arg, struct err *e)
{
        (void)sql;
        (void)e;
        for (int i = 0; i < nparams; i++)
                s->bytes += params[i].binary ? (size_t)params[i].len : strlen(params[i].data);
        s->statements++;
        s->sent[s->nsent++] = (struct told){fn, arg};
        return ST_OK;
}

enum status __wrap_session_send(struct session *s, struct stmt *stmt, const char *sql, int nparams, const struct pg_param *params,
                                on_result *fn, void *arg, struct err *e)
{
        if (!stmt->name[0])
                strcpy(stmt->name, "p1");
        return __wrap_session_query(s, sql, nparams, params, fn, arg, e);
}

enum status __wrap_session_sync(struct session *s, void *ctx, struct err *e)
{
        (void)e;
        for (unsigned i = 0; i < s->nsent; i++)
                if (s->sent[i].fn)
                        s->sent[i].fn(ctx, s->sent[i].arg, NULL);
        s->nsent = 0;
        return ST_OK;
}

int64_t __wrap_pgres_affected(const struct pgres *r)
{
        (void)r;
        return INT64_MAX;
}

static const struct mapping *catalog_knows;

enum status __wrap_catalog_map(struct catalog *c, struct pg *side, const struct relation *rel, region_id origin,
                               struct arena *arena, struct mapping *out, struct err *e)
{
        (void)c, (void)side, (void)rel, (void)origin, (void)arena, (void)e;
        *out = *catalog_knows;
        return ST_OK;
}

/* ---- the agent, as far as a group needs it ----------------------------------------------------------------------------------- */

struct agent {
        struct sample_group in;
        struct arena made; /* the mapping */
        struct mapping map;
        struct session db;
        struct applier a;
        struct stmt fixed[FIXED_COUNT];
        struct work w;
        struct segment *folded;
        struct arena arena; /* of the fold */
        uint32_t want;
};

static enum status map_all(void *ctx, const struct relation *rel, struct mapping *out, struct err *e)
{
        const struct agent *g = ctx;
        (void)rel, (void)e;
        *out = g->map;
        return ST_OK;
}

static void fill_guard(struct agent *g)
{
        g->w = (struct work){.a = &g->a, .dot = {.region = {1}, .hlc = g->in.g->hlc}, .bold = true};
        g->w.stamp = g->w.dot;
        g->w.guard = (struct sql_guard){.stable_xid = 700, .h_xid = 900, .hlc_us = (int64_t)g->in.g->hlc.v};
        g->w.guard.ts[0] = (int64_t)g->in.g->hlc.v - 500;
        g->w.guard.ts[1] = INT64_MAX;
}

static void agent_init(struct agent *g, enum sample_table table, enum sample_op op, unsigned ntxs, unsigned nrows,
                       unsigned distinct)
{
        memset(g, 0, sizeof *g);
        sample_group(&g->in, table, op, ntxs, nrows, distinct);
        arena_init(&g->made);
        arena_init(&g->arena);
        sample_mapping(&g->made, &g->in.g->rels[0], &g->map);
        g->a.regs = g->in.regs;
        g->a.me.i = 0;
        g->a.db = &g->db;
        g->a.fixed = g->fixed;
        g->a.origins = (struct sql_origins){.regs = &g->a.regs, .roident = {1, 2}};
        g->a.tombs = tombs_new();
        g->a.open = tombs_new();
        g->a.hidden = hidden_new();
        g->want = distinct ? distinct : ntxs * nrows;
        meter_init(&g->a.meter, NULL);
        fill_guard(g);
}

static void agent_release(struct agent *g)
{
        size_t it = 0, len;
        const void *shape;
        void *stmt;
        while (map_next(&g->map.target->statements, &it, &shape, &len, &stmt))
                free(stmt);
        map_release(&g->map.target->statements);
        arena_release(&g->a.arena);
        tombs_free(g->a.tombs);
        tombs_free(g->a.open);
        hidden_free(g->a.hidden);
        meter_release(&g->a.meter);
        arena_release(&g->arena);
        arena_release(&g->made);
        sample_group_release(&g->in);
}

/* ---- read: a record -> a group ----------------------------------------------------------------------------------------------- */

static void read_record(void *ctx)
{
        struct agent *g = ctx;
        struct record r;
        struct err e;
        arena_reset(&g->arena);
        micro_check(wire_decode(g->in.record.data, g->in.record.len, &g->a.regs, &g->arena, &r, &e) == ST_OK, "read");
        micro_check(r.u.group.nchanges == g->in.g->nchanges, "read");
}

static void read_head(void *ctx)
{
        struct agent *g = ctx;
        struct record r;
        struct err e;
        arena_reset(&g->arena);
        micro_check(wire_decode_head(g->in.record.data, g->in.record.len, &g->a.regs, &g->arena, &r, &e) == ST_OK, "read");
        micro_check(r.u.group.ntxs == g->in.g->ntxs, "read");
}

/* ---- fold: a group -> the net effect on each key ----------------------------------------------------------------------------- */

static void fold(void *ctx)
{
        struct agent *g = ctx;
        struct err e;
        arena_reset(&g->arena);
        micro_check(fold_group(g->in.g, &g->arena, map_all, g, &g->folded, &e) == ST_OK, "fold");
        micro_check(g->folded->ntables == 1 && g->folded->tables[0].n == g->want && !g->folded->next, "fold");
}

/* ---- guard: net effects -> a guarded statement with its arrays --------------------------------------------------------------- */

static void guard(void *ctx)
{
        struct agent *g = ctx;
        struct err e;
        const struct fold_table *t = &g->folded->tables[0];
        struct sql_batch b = {.table = t, .nets = t->nets, .n = t->n, .guard = &g->w.guard};
        b.kind = t->nets[0]->del ? SQL_DELETE : t->nets[0]->fresh ? SQL_UPSERT : SQL_UPDATE;
        g->db = (struct session){.nsent = 0};
        micro_check(sql_send(&g->db, &g->a.origins, &b, NULL, NULL, &e) == ST_OK && g->db.statements == 1, "guard");
}

/* ---- apply: a record -> all statements of its rows --------------------------------------------------------------------------- */

static void apply(void *ctx)
{
        struct agent *g = ctx;
        struct record r;
        struct err e;
        catalog_knows = &g->map;
        g->db = (struct session){.nsent = 0};
        fill_guard(g);
        arena_reset(&g->a.arena);
        micro_check(wire_decode(g->in.record.data, g->in.record.len, &g->a.regs, &g->a.arena, &r, &e) == ST_OK, "apply");
        micro_check(write_group(&g->w, &r.u.group, &e) == ST_OK && g->w.rows == g->want, "apply");
        meter_committed(&g->a.meter);
}

/* ---- cases ------------------------------------------------------------------------------------------------------------------- */

struct apply_case {
        const char *name;
        enum sample_table table;
        enum sample_op op;
        unsigned ntxs, nrows, distinct;
};

static void run_cases(const struct apply_case *c, size_t n, void (*before)(void *), void (*run)(void *))
{
        for (size_t i = 0; i < n; i++) {
                struct agent *g = MEM_NEW(struct agent);
                agent_init(g, c[i].table, c[i].op, c[i].ntxs, c[i].nrows, c[i].distinct);
                if (before)
                        before(g);
                micro(c[i].name, c[i].ntxs * c[i].nrows, run, g);
                agent_release(g);
                free(g);
        }
}
#define CASES(c) (c), sizeof(c) / sizeof *(c)

void micro_read(void)
{
        static const struct apply_case rows[] = {
                {"read/insert", NARROW, SAMPLE_INSERT, 1, ROWS, 0},
                {"read/insert_single", NARROW, SAMPLE_INSERT, ROWS, 1, 0},
                {"read/update_full", WHOLE, SAMPLE_UPDATE, 1, ROWS, 0},
        };
        static const struct apply_case heads[] = {{"read/head_single", NARROW, SAMPLE_INSERT, ROWS, 1, 0}};
        run_cases(CASES(rows), NULL, read_record);
        run_cases(CASES(heads), NULL, read_head);
}

void micro_fold(void)
{
        static const struct apply_case t[] = {
                {"fold/insert", NARROW, SAMPLE_INSERT, 1, ROWS, 0},         {"fold/update_full", WHOLE, SAMPLE_UPDATE, 1, ROWS, 0},
                {"fold/delete", NARROW, SAMPLE_DELETE, 1, ROWS, 0},         {"fold/hot_keys", WHOLE, SAMPLE_UPDATE, ROWS, 1, 10},
                {"fold/update_wide", WIDE, SAMPLE_UPDATE, 1, ROWS / 10, 0},
        };
        run_cases(CASES(t), NULL, fold);
}

void micro_guard(void)
{
        static const struct apply_case t[] = {
                {"guard/insert", NARROW, SAMPLE_INSERT, 1, ROWS, 0},
                {"guard/update_full", WHOLE, SAMPLE_UPDATE, 1, ROWS, 0},
                {"guard/delete", NARROW, SAMPLE_DELETE, 1, ROWS, 0},
                {"guard/one", NARROW, SAMPLE_UPDATE, 1, 1, 0},
                {"guard/update_wide", WIDE, SAMPLE_UPDATE, 1, ROWS / 10, 0},
        };
        run_cases(CASES(t), fold, guard);
}

void micro_apply(void)
{
        static const struct apply_case t[] = {
                {"apply/insert_single", NARROW, SAMPLE_INSERT, ROWS, 1, 0},
                {"apply/insert_1000", NARROW, SAMPLE_INSERT, 1, ROWS, 0},
                {"apply/update_full", WHOLE, SAMPLE_UPDATE, ROWS, 1, 0},
                {"apply/delete", NARROW, SAMPLE_DELETE, ROWS, 1, 0},
                {"apply/update_wide", WIDE, SAMPLE_UPDATE, 1, ROWS / 10, 0},
                {"apply/one", NARROW, SAMPLE_INSERT, 1, 1, 0},
        };
        run_cases(CASES(t), NULL, apply);
}
