#include "apply/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct sent {
        on_result *fn;
        void *arg;
        struct stmt *prepares; /* not NULL: this was the PREPARE of it */
};

struct session {
        struct pg *db;
        struct sent *sent;
        size_t nsent, cap;
        uint64_t next_name;
        void *ctx;               /* of the sync under way */
        struct control *control; /* borrowed; NULL: nobody is told */
};

enum status session_open(struct session **out, const struct pg_opts *o, struct err *e)
{
        struct session *s = MEM_NEW(struct session);
        enum status st = pg_open(&s->db, o, e);
        if (st == ST_OK)
                st = pg_pipe_begin(s->db, e);
        if (st != ST_OK) {
                session_close(s);
                return st;
        }
        *out = s;
        return ST_OK;
}

void session_tells(struct session *s, struct control *c)
{
        s->control = c;
}

static void waits(struct session *s)
{
        if (s->control)
                atomic_store_explicit(&s->control->turned_us, CONTROL_WAITS, memory_order_relaxed);
}

static void goes_on(struct session *s)
{
        if (s->control)
                control_turned(s->control);
}

void session_close(struct session *s)
{
        if (!s)
                return;
        if (s->db)
                pg_close(s->db);
        free(s->sent);
        free(s);
}

bool session_lost(const struct session *s)
{
        return pg_lost(s->db);
}

int session_backend_pid(const struct session *s)
{
        return pg_backend_pid(s->db);
}

static void note(struct session *s, struct sent what)
{
        if (s->nsent == s->cap) {
                s->cap = s->cap ? 2 * s->cap : 64;
                s->sent = mem_realloc(s->sent, s->cap * sizeof *s->sent);
        }
        s->sent[s->nsent++] = what;
}

enum status session_send(struct session *s, struct stmt *stmt, const char *sql, int nparams, const struct pg_param *params,
                         on_result *fn, void *arg, struct err *e)
{
        if (!stmt->name[0]) {
                uint32_t *types = mem_zalloc(sizeof *types * (size_t)(nparams + 1));
                for (int i = 0; i < nparams; i++)
                        types[i] = params[i].type;
                snprintf(stmt->name, sizeof stmt->name, "p%" PRIu64, ++s->next_name);
                stmt->pending = true;
                enum status st = pg_pipe_prepare(s->db, stmt->name, sql, nparams, types, e);
                free(types);
                note(s, (struct sent){.prepares = stmt});
                if (st != ST_OK)
                        return st;
        }
        waits(s);
        enum status st = pg_pipe_exec_prepared(s->db, stmt->name, nparams, params, false, e);
        goes_on(s);
        note(s, (struct sent){.fn = fn, .arg = arg});
        return st;
}

enum status session_query(struct session *s, const char *sql, int nparams, const struct pg_param *params, on_result *fn, void *arg,
                          struct err *e)
{
        waits(s);
        enum status st = pg_pipe_query(s->db, sql, nparams, params, false, e);
        goes_on(s);
        note(s, (struct sent){.fn = fn, .arg = arg});
        return st;
}

static void deal(void *ctx, int number, struct pgres *r)
{
        struct session *s = ctx;
        if ((size_t)number < s->nsent) {
                const struct sent *what = &s->sent[number];
                if (what->prepares)
                        what->prepares->pending = false;
                if (what->fn)
                        what->fn(s->ctx, what->arg, r);
        }
        pgres_free(r);
}

enum status session_sync(struct session *s, void *ctx, struct err *e)
{
        s->ctx = ctx;
        waits(s);
        enum status st = pg_pipe_sync(s->db, deal, s, e);
        goes_on(s);
        for (size_t i = 0; i < s->nsent; i++) {
                struct stmt *p = s->sent[i].prepares;
                if (p && p->pending) { /* skipped by the server, or refused: prepare it anew under another name */
                        p->pending = false;
                        p->name[0] = 0;
                }
        }
        s->nsent = 0;
        return st;
}

enum status session_do(struct session *s, const char *sql, struct err *e)
{
        enum status st = pg_pipe_query(s->db, sql, 0, NULL, false, e);
        note(s, (struct sent){.fn = NULL});
        return st == ST_OK ? session_sync(s, NULL, e) : st;
}

void session_rollback(struct session *s)
{
        struct err ignored = {.code = ST_OK};
        for (size_t i = 0; i < s->nsent; i++)
                s->sent[i].fn = NULL; /* what was sent and not yet waited for: nobody wants it */
        enum status st = s->nsent ? session_sync(s, NULL, &ignored) : ST_OK;
        if (session_lost(s))
                return;
        (void)st; /* ROLLBACK follows whatever it was */
        if (session_do(s, "ROLLBACK", &ignored) != ST_OK)
                session_lost(s); /* a session that cannot roll back is lost; the caller asks */
}

enum status session_forget(struct session *s, struct err *e)
{
        return session_do(s, "DEALLOCATE ALL", e);
}

static void big_endian(uint8_t *room, uint64_t v, int n)
{
        for (int i = 0; i < n; i++)
                room[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

struct pg_param param_i64(uint8_t room[8], int64_t v)
{
        big_endian(room, (uint64_t)v, 8);
        return (struct pg_param){.data = room, .len = 8, .binary = true, .type = 20};
}

struct pg_param param_ts(uint8_t room[8], int64_t unix_us)
{
        big_endian(room, (uint64_t)(unix_us == INT64_MAX ? INT64_MAX : unix_us - PG_EPOCH_US), 8);
        return (struct pg_param){.data = room, .len = 8, .binary = true, .type = 1184};
}

struct pg_param param_xid(uint8_t room[4], uint32_t v)
{
        big_endian(room, v, 4);
        return (struct pg_param){.data = room, .len = 4, .binary = true, .type = 28};
}

struct pg_param param_text(const char *s)
{
        return (struct pg_param){.data = s, .len = 0, .binary = false, .type = 25};
}

void array_begin(struct buf *b, uint32_t element_oid)
{
        buf_init(b, 0);
        buf_put_u32(b, 1); /* dimensions */
        buf_put_u32(b, 1); /* may hold NULLs */
        buf_put_u32(b, element_oid);
        buf_put_u32(b, 0); /* length, set by array_end */
        buf_put_u32(b, 1); /* lower bound */
}

void array_add(struct buf *b, const void *p, size_t n)
{
        if (!p) {
                buf_put_u32(b, UINT32_MAX);
                return;
        }
        buf_put_u32(b, (uint32_t)n);
        buf_put(b, p, n);
}

struct pg_param array_end(struct buf *b, uint32_t n, uint32_t array_oid)
{
        if (b->len >= 20)
                big_endian(b->data + 12, n, 4);
        return (struct pg_param){.data = b->data, .len = (int)b->len, .binary = true, .type = array_oid};
}
