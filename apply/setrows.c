/* setrows: rows of tables whose rule needs the siblings, as the values of versions: from the log, from the database, and back. */
#include "apply/hide.h"
#include "apply/sets.h"

#include <string.h>

#include "change/binary.h"
#include "change/json.h"
#include "change/key.h"

struct set_table *set_table_new(struct pass *p, const struct fold_table *t, uint32_t room)
{
        struct set_table *s = ARENA_NEW(p->arena, struct set_table);
        const struct target *target = t->map.target;
        *s = (struct set_table){.set = target->set, .table = t, .name = target->name};
        s->here = (struct fold_table){.rel = &target->set->rel, .map = target->set->map, .n = room};
        s->keys = ARENA_ARRAY(p->arena, struct set_key, room);
        s->types = ARENA_ARRAY(p->arena, enum binary_type, t->rel->ncols);
        uint16_t had = 0;
        for (uint16_t i = 0; i < t->rel->ncols; i++) {
                s->types[i] = binary_type_of(t->rel->cols[i].type);
                if (t->map.to[i] >= 0)
                        had++;
        }
        s->whole = had == target->set->rel.ncols;
        return s;
}

struct set_key *set_key_add(struct set_table *t, struct net *n)
{
        struct set_key *k = &t->keys[t->n++];
        *k = (struct set_key){.table = t, .net = n};
        return k;
}

static struct cell cell_of(struct arena *arena, const struct value *v, enum binary_type type)
{
        struct cell c = {(const char *)v->data, v->len};
        if (v->kind == VALUE_NULL || v->kind == VALUE_UNSENT)
                return (struct cell){NULL, 0};
        if (v->kind == VALUE_BINARY) {
                struct buf text;
                buf_init(&text, 0);
                if (binary_to_text(type, v->data, v->len, &text))
                        c = (struct cell){arena_copy(arena, text.len ? text.data : (const uint8_t *)"", text.len),
                                          (uint32_t)text.len};
                buf_release(&text);
        } else if (!c.data) {
                c.data = "";
        }
        return c;
}

const struct cell *set_cells(struct arena *arena, const struct set_table *t, const struct value *row, const struct cell *here)
{
        uint16_t n = t->set->rel.ncols;
        struct cell *cells = ARENA_ARRAY(arena, struct cell, n);
        if (here && !t->whole)
                memcpy(cells, here, sizeof *cells * n);
        for (uint16_t i = 0; i < t->table->rel->ncols; i++) {
                int to = t->table->map.to[i];
                int at = to < 0 ? -1 : t->set->at[to];
                if (at >= 0 && !(row[i].kind == VALUE_UNSENT && here))
                        cells[at] = cell_of(arena, &row[i], t->types[i]);
                else if (at >= 0)
                        cells[at] = here[at];
        }
        return cells;
}

struct net *set_net(struct arena *arena, const struct set_table *t, const struct set_key *k, const struct cell *row)
{
        uint16_t n = t->set->rel.ncols;
        struct value *v = ARENA_ARRAY(arena, struct value, n);
        struct net *net = ARENA_NEW(arena, struct net);
        for (uint16_t i = 0; i < n; i++)
                v[i] = row[i].data ? (struct value){VALUE_TEXT, row[i].len, (const uint8_t *)row[i].data}
                                   : (struct value){VALUE_NULL, 0, NULL};
        *net = (struct net){.tx = k->net->tx, .row = v, .key = v, .kb = k->net->kb, .klen = k->net->klen, .fresh = true};
        return net;
}

bool set_rows_equal(const struct set_table *t, const struct cell *a, const struct cell *b)
{
        if (a == b)
                return true;
        for (uint16_t i = 0; i < t->set->rel.ncols; i++)
                if (!cell_equal(a[i], b[i]))
                        return false;
        return true;
}

const char *set_json(struct arena *arena, const struct set_table *t, const struct cell *row)
{
        struct buf b;
        buf_init(&b, 0);
        buf_put_u8(&b, '{');
        for (uint16_t i = 0; i < t->set->rel.ncols; i++) {
                if (i)
                        buf_put_str(&b, ", ");
                json_put_cstr(&b, t->set->rel.cols[i].name);
                buf_put_str(&b, ": ");
                if (row[i].data)
                        json_put_string(&b, row[i].data, row[i].len);
                else
                        buf_put_str(&b, "null");
        }
        buf_put_u8(&b, '}');
        const char *s = arena_strndup(arena, (const char *)b.data, b.len);
        buf_release(&b);
        return s;
}

/* ---- rows that stand ----------------------------------------------------------------------------------------------------------------- */

static struct cell *cells_of(struct arena *arena, const struct pgres *r, int row, uint16_t ncols)
{
        struct cell *cells = ARENA_ARRAY(arena, struct cell, ncols);
        for (uint16_t i = 0; i < ncols; i++) {
                if (pgres_null(r, row, LOCK_IMAGE + i))
                        continue;
                uint32_t len = (uint32_t)pgres_len(r, row, LOCK_IMAGE + i);
                cells[i] = (struct cell){arena_strndup(arena, pgres_text(r, row, LOCK_IMAGE + i), len), len};
        }
        return cells;
}

static void on_rows(void *ctx, void *arg, const struct pgres *r)
{
        struct pass *p = ctx;
        struct run *run = arg;
        struct set_key *const *keys = run->arg;
        for (int row = 0; row < pgres_rows(r); row++) {
                int64_t n = pgres_i64(r, row, LOCK_N);
                if (n < 1 || n > (int64_t)run->n)
                        continue;
                struct set_key *k = keys[n - 1];
                k->standing = standing_of(p->arena, r, row);
                k->row = cells_of(p->arena, r, row, k->table->set->rel.ncols);
        }
}

typedef bool set_which(const struct set_key *k);

static enum status send_lock(struct pass *p, struct set_table *t, enum sql_kind kind, set_which *which, struct err *e)
{
        struct run *run = ARENA_NEW(p->arena, struct run);
        struct set_key **keys = ARENA_ARRAY(p->arena, struct set_key *, t->n);
        *run = (struct run){.w = p->w, .table = t->table, .kind = kind, .arg = keys};
        run->nets = ARENA_ARRAY(p->arena, struct net *, t->n);
        for (uint32_t i = 0; i < t->n; i++) {
                struct set_key *k = &t->keys[i];
                if (k->taken || k->waits || !which(k))
                        continue;
                k->standing = NULL;
                k->row = NULL;
                keys[run->n] = k;
                run->nets[run->n++] = k->net;
        }
        return run->n ? pass_send_run(p, run, &p->w->guard, on_rows, e) : ST_OK;
}

static bool every(const struct set_key *k)
{
        (void)k;
        return true;
}

static bool absent(const struct set_key *k)
{
        return !k->standing;
}

static bool tried(const struct set_key *k)
{
        return k->net->fast_tried;
}

static bool not_tried(const struct set_key *k)
{
        return !k->net->fast_tried;
}

static bool tried_and_absent(const struct set_key *k)
{
        return tried(k) && absent(k);
}

enum status set_lock(struct pass *p, struct set_table *t, bool only_absent, struct err *e)
{
        enum status s = send_lock(p, t, SQL_LOCK, only_absent ? absent : every, e);
        return s == ST_OK ? session_sync(p->a->db, p, e) : s;
}

/* Whether those that were not found are as many as the guarded statements wrote: then it was they that wrote them. */
static bool explained(const struct set_table *t)
{
        int64_t n = 0;
        for (uint32_t i = 0; i < t->n; i++)
                n += tried_and_absent(&t->keys[i]);
        return n == t->table->touched;
}

enum status set_lock_unwritten(struct pass *p, struct set_table *t, struct err *e)
{
        enum status s = send_lock(p, t, t->table->touched ? SQL_LOCK_OTHERS : SQL_LOCK, tried, e);
        if (s == ST_OK)
                s = send_lock(p, t, SQL_LOCK, not_tried, e);
        if (s == ST_OK)
                s = session_sync(p->a->db, p, e);
        if (s != ST_OK || !t->table->touched)
                return s;
        if (!explained(t)) { /* some are absent */
                s = send_lock(p, t, SQL_LOCK, tried_and_absent, e);
                return s == ST_OK ? session_sync(p->a->db, p, e) : s;
        }
        for (uint32_t i = 0; i < t->n; i++)
                if (tried_and_absent(&t->keys[i]))
                        t->keys[i].net->settled = true;
        return ST_OK;
}

static void on_taken(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        ((struct run *)arg)->touched = pgres_affected(r);
}

/* The row that keeps the key's place: the incoming one, or the one that was deleted. */
static const struct value *placeholder(const struct net *n)
{
        return n->row ? n->row : n->old;
}

/* Sends placeholders and says how many are ours. *clash: another row holds one of their unique values; nothing was written then (their keys
 * are absent: PostgreSQL looks at the key first, and waits for local inserts in flight). */
static enum status send_placeholders(struct pass *p, struct run *run, bool *clash, struct err *e)
{
        bool guarded = p->w->hide && hides(run->table->map.target);
        *clash = false;
        run->touched = 0;
        enum status s = guarded ? session_do(p->a->db, "SAVEPOINT taken", e) : ST_OK;
        if (s == ST_OK)
                s = pass_send_run(p, run, NULL, on_taken, e);
        if (s == ST_OK)
                s = session_sync(p->a->db, p, e);
        if (!guarded || session_lost(p->a->db))
                return s;
        *clash = s == ST_DATA && (strcmp(e->sqlstate, "23505") == 0 || strcmp(e->sqlstate, "23P01") == 0);
        if (*clash) {
                err_clear(e);
                return session_do(p->a->db, "ROLLBACK TO SAVEPOINT taken", e);
        }
        return s == ST_OK ? session_do(p->a->db, "RELEASE SAVEPOINT taken", e) : s;
}

static enum status after_taking(struct pass *p, struct set_table *t, const struct run *run, struct set_key *const *keys,
                                struct err *e)
{
        bool all = run->touched == (int64_t)run->n;
        enum status s = all ? ST_OK : set_lock(p, t, true, e); /* somebody was first */
        for (uint32_t i = 0; i < run->n && s == ST_OK; i++) {
                struct set_key *k = keys[i];
                k->taken = all || (k->standing && k->standing->mine);
                if (k->taken) {
                        k->standing = NULL;
                        k->row = NULL;
                }
        }
        return s;
}

static enum status take_one_by_one(struct pass *p, struct set_table *t, const struct run *all, struct set_key *const *keys,
                                   struct err *e)
{
        enum status s = ST_OK;
        for (uint32_t i = 0; i < all->n && s == ST_OK; i++) {
                struct run *one = ARENA_NEW(p->arena, struct run);
                bool clash;
                *one = (struct run){.w = p->w, .table = all->table, .kind = all->kind, .nets = &all->nets[i], .n = 1};
                s = send_placeholders(p, one, &clash, e);
                if (s == ST_OK && !clash)
                        s = after_taking(p, t, one, &keys[i], e);
        }
        return s;
}

enum status set_take_absent(struct pass *p, struct set_table *t, struct err *e)
{
        struct run *run = ARENA_NEW(p->arena, struct run);
        struct set_key **keys = ARENA_ARRAY(p->arena, struct set_key *, t->n);
        *run = (struct run){.w = p->w, .table = t->table, .kind = SQL_PUT_ABSENT};
        run->nets = ARENA_ARRAY(p->arena, struct net *, t->n);
        for (uint32_t i = 0; i < t->n; i++) {
                struct set_key *k = &t->keys[i];
                const struct value *row = placeholder(k->net);
                if (k->standing || k->waits || !row)
                        continue;
                struct net *n = ARENA_NEW(p->arena, struct net);
                *n = (struct net){.row = row, .key = row, .fresh = true};
                keys[run->n] = k;
                run->nets[run->n++] = n;
        }
        if (!run->n)
                return ST_OK;
        bool clash;
        enum status s = send_placeholders(p, run, &clash, e);
        if (s != ST_OK)
                return s;
        return clash ? take_one_by_one(p, t, run, keys, e) : after_taking(p, t, run, keys, e);
}

/* ---- TRUNCATE: all rows that the guard kept ------------------------------------------------------------------------------------------ */

struct rows_of_table {
        struct set_table *t;
        uint32_t tx;
};

static void on_all_rows(void *ctx, void *arg, const struct pgres *r)
{
        struct pass *p = ctx;
        struct rows_of_table *q = arg;
        struct set_table *t = q->t;
        uint16_t ncols = t->set->rel.ncols;
        int rows = pgres_rows(r);
        struct buf key;
        buf_init(&key, 0);
        t->keys = ARENA_ARRAY(p->arena, struct set_key, rows);
        t->here.n = (uint32_t)rows;
        for (int row = 0; row < rows; row++) {
                struct cell *cells = cells_of(p->arena, r, row, ncols);
                struct net *n = ARENA_NEW(p->arena, struct net);
                struct set_key *k = set_key_add(t, n);
                *n = (struct net){.del = true, .had_del = true, .tx = q->tx};
                n->key = n->old = set_net(p->arena, t, k, cells)->row;
                buf_reset(&key);
                key_bytes(&key, &t->set->rel, n->key);
                n->kb = arena_copy(p->arena, key.data, key.len);
                n->klen = (uint32_t)key.len;
                k->standing = standing_of(p->arena, r, row);
                k->row = cells;
        }
        buf_release(&key);
}

enum status set_lock_all(struct pass *p, const char *qualified, uint32_t tx, struct set_table **out, struct err *e)
{
        const struct target *target = p->seg->map.target;
        struct fold_table *t = ARENA_NEW(p->arena, struct fold_table);
        struct rows_of_table q = {.tx = tx};
        *t = (struct fold_table){.rel = &target->set->rel, .map = target->set->map};
        q.t = *out = set_table_new(p, t, 0);
        enum status s = sql_send_lock_all(p->a->db, target, qualified, &p->w->guard, on_all_rows, &q, e);
        if (s == ST_OK)
                s = session_sync(p->a->db, p, e);
        t->n = q.t->n;
        return s;
}
