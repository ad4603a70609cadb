#include "apply/hidden.h"

#include <stdlib.h>
#include <string.h>

#include "apply/catalog.h"
#include "base/clock.h"
#include "base/mem.h"

#define ROWS_MAX ((size_t)1000000)

struct hidden {
        struct hidden_table *tables;
        size_t count;
        struct hidden_row **noted; /* added, changed or removed by the open transaction */
        size_t nnoted, cap;
};

/* ---- the set ---------------------------------------------------------------------------------------------------------------------- */

struct hidden *hidden_new(void)
{
        return MEM_NEW(struct hidden);
}

static void unhold(struct hidden_row *r)
{
        struct hidden_table *t = r->table;
        if (!r->holder)
                return;
        if (r->next)
                r->next->prev = r->prev;
        if (r->prev)
                r->prev->next = r->next;
        else if (r->next)
                map_put(&t->holders, r->holder, r->holder_len, r->next);
        else
                map_del(&t->holders, r->holder, r->holder_len);
        free(r->holder);
        r->holder = NULL;
        r->next = r->prev = NULL;
}

void hidden_held_by(struct hidden_row *r, const uint8_t *kb, uint32_t klen)
{
        unhold(r);
        if (!kb)
                return;
        r->holder = mem_alloc(klen + 1u);
        memcpy(r->holder, kb, klen);
        r->holder_len = klen;
        r->next = map_get(&r->table->holders, kb, klen);
        if (r->next)
                r->next->prev = r;
        map_put(&r->table->holders, kb, klen, r);
}

static void row_free(struct hidden_row *r)
{
        unhold(r);
        free((void *)(uintptr_t)r->kb);
        free(r);
}

void hidden_clear(struct hidden *h)
{
        struct hidden_table *t;
        while ((t = h->tables) != NULL) {
                size_t it = 0, len;
                const void *key;
                void *row;
                h->tables = t->next;
                while (map_next(&t->rows, &it, &key, &len, &row))
                        row_free(row);
                map_release(&t->rows);
                map_release(&t->holders);
                free(t->name);
                free(t->schema);
                free(t->table);
                free(t);
        }
        h->count = h->nnoted = 0;
}

void hidden_free(struct hidden *h)
{
        if (!h)
                return;
        hidden_clear(h);
        free(h->noted);
        free(h);
}

size_t hidden_count(const struct hidden *h)
{
        return h->count;
}

struct hidden_table *hidden_tables(const struct hidden *h)
{
        return h->tables;
}

struct hidden_table *hidden_table(const struct hidden *h, const char *rel)
{
        for (struct hidden_table *t = h->tables; t; t = t->next)
                if (t->rows.count && strcmp(t->name, rel) == 0)
                        return t;
        return NULL;
}

struct hidden_row *hidden_perhaps(const struct hidden_table *t, const uint8_t *kb, uint32_t klen)
{
        return t ? map_get(&t->rows, kb, klen) : NULL;
}

int64_t hidden_oldest(const struct hidden_table *t)
{
        int64_t oldest = INT64_MAX;
        size_t it = 0, len;
        const void *key;
        void *row;
        while (map_next(&t->rows, &it, &key, &len, &row))
                if (((struct hidden_row *)row)->since_us < oldest)
                        oldest = ((struct hidden_row *)row)->since_us;
        return oldest;
}

static struct hidden_table *table_of(struct hidden *h, const char *name, const char *schema, const char *table)
{
        struct hidden_table *t = h->tables;
        while (t && strcmp(t->name, name) != 0)
                t = t->next;
        if (t && !t->schema && schema) { /* it was made since */
                t->schema = mem_strdup(schema);
                t->table = mem_strdup(table);
        }
        if (t)
                return t;
        t = MEM_NEW(struct hidden_table);
        t->name = mem_strdup(name);
        t->schema = schema ? mem_strdup(schema) : NULL;
        t->table = table ? mem_strdup(table) : NULL;
        map_init(&t->rows, 0);
        map_init(&t->holders, 0);
        t->next = h->tables;
        h->tables = t;
        return t;
}

static struct hidden_row *add_row(struct hidden *h, struct hidden_table *t, const uint8_t *kb, uint32_t klen, int64_t since_us)
{
        struct hidden_row *r = MEM_NEW(struct hidden_row);
        uint8_t *copy = mem_alloc(klen + 1u);
        memcpy(copy, kb, klen);
        r->table = t;
        r->kb = copy;
        r->klen = klen;
        r->since_us = since_us;
        map_put(&t->rows, r->kb, r->klen, r);
        h->count++;
        return r;
}

static void remove_row(struct hidden *h, struct hidden_row *r)
{
        map_del(&r->table->rows, r->kb, r->klen);
        h->count--;
        row_free(r);
}

void hidden_check(struct hidden_row *r)
{
        if (!r->to_check)
                r->table->nchecks++;
        r->to_check = true;
}

void hidden_checked(struct hidden_row *r)
{
        if (r->to_check)
                r->table->nchecks--;
        r->to_check = false;
}

void hidden_touched(struct hidden_table *t, const uint8_t *kb, uint32_t klen)
{
        for (struct hidden_row *r = map_get(&t->holders, kb, klen); r; r = r->next)
                hidden_check(r);
}

void hidden_check_all(struct hidden_table *t)
{
        size_t it = 0, len;
        const void *key;
        void *row;
        while (map_next(&t->rows, &it, &key, &len, &row))
                hidden_check(row);
}

/* ---- transactions ------------------------------------------------------------------------------------------------------------------- */

static void note(struct hidden *h, struct hidden_row *r)
{
        if (r->noted)
                return;
        r->noted = true;
        if (h->nnoted == h->cap) {
                h->cap = h->cap ? 2 * h->cap : 16;
                h->noted = mem_realloc(h->noted, h->cap * sizeof(struct hidden_row *));
        }
        h->noted[h->nnoted++] = r;
}

/* gone: what has become of a row that is both new and removed, or only one of them */
static void ended(struct hidden *h, bool committed)
{
        for (size_t i = 0; i < h->nnoted; i++) {
                struct hidden_row *r = h->noted[i];
                bool stays = committed ? !r->leaving : !r->coming;
                r->noted = r->coming = r->leaving = false;
                if (!stays) {
                        hidden_checked(r);
                        remove_row(h, r);
                } else if (!committed) {
                        hidden_check(r); /* who holds its value is not known for sure any more */
                }
        }
        h->nnoted = 0;
}

struct hidden_row *hidden_add(struct hidden *h, const char *rel, const char *schema, const char *table, const uint8_t *kb,
                              uint32_t klen)
{
        struct hidden_table *t = table_of(h, rel, schema, table);
        struct hidden_row *r = map_get(&t->rows, kb, klen);
        if (!r && h->count >= ROWS_MAX)
                return NULL;
        if (!r) {
                r = add_row(h, t, kb, klen, clock_wall_us());
                r->coming = true;
        }
        r->leaving = false;
        note(h, r);
        return r;
}

void hidden_remove(struct hidden *h, struct hidden_row *r)
{
        r->leaving = true;
        note(h, r);
}

void hidden_gone(struct hidden *h, struct hidden_row *r)
{
        hidden_remove(h, r);
        ended(h, true);
}

void hidden_committed(struct hidden *h)
{
        ended(h, true);
}

void hidden_rolled_back(struct hidden *h)
{
        ended(h, false);
}

/* ---- the table ---------------------------------------------------------------------------------------------------------------------- */

enum status hidden_load(struct hidden *h, struct pg *side, struct err *e)
{
        static const char sql[] =
                "SELECT w.rel, pg_catalog.encode(w.key, 'hex'), (EXTRACT(EPOCH FROM w.at) * 1000000)::pg_catalog.int8, c.nspname, c.relname"
                " FROM pangea.suppressed w LEFT JOIN (SELECT n.nspname, c.relname FROM pg_catalog.pg_class c"
                " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')) c"
                " ON c.nspname || '.' || c.relname = w.rel";
        struct pgres *r = NULL;
        hidden_clear(h);
        enum status s = pg_exec(side, sql, &r, e);
        for (int i = 0; s == ST_OK && i < pgres_rows(r); i++) {
                bool there = !pgres_null(r, i, 3);
                struct hidden_table *t =
                        table_of(h, pgres_text(r, i, 0), there ? pgres_text(r, i, 3) : NULL, there ? pgres_text(r, i, 4) : NULL);
                uint32_t len = (uint32_t)pgres_len(r, i, 1) / 2;
                uint8_t *key = mem_alloc(len + 1u);
                for (uint32_t b = 0; b < len; b++) {
                        char hex[3] = {pgres_text(r, i, 1)[2 * b], pgres_text(r, i, 1)[2 * b + 1], 0};
                        key[b] = (uint8_t)strtoul(hex, NULL, 16);
                }
                if (!map_get(&t->rows, key, len))
                        hidden_check(add_row(h, t, key, len, pgres_i64(r, i, 2)));
                free(key);
        }
        pgres_free(r);
        return s;
}

static struct pg_param param_bytes(const uint8_t *p, uint32_t n)
{
        return (struct pg_param){.data = p ? p : (const uint8_t *)"", .len = (int)n, .binary = true, .type = 17};
}

static struct pg_param param_json(const char *text)
{
        struct pg_param p = param_text(text);
        p.type = 0;
        return p;
}

enum status hidden_put(struct hidden *h, struct session *s, const struct regset *regs, const struct target *t,
                       const struct hidden_image *w, struct err *e)
{
        static const char sql[] =
                "INSERT INTO pangea.suppressed AS w (rel, key, region, hlc, image, held_by, constraint_name)"
                " VALUES ($1, $2, $3, $4, $5::pg_catalog.jsonb, $6::pg_catalog.jsonb, $7) ON CONFLICT (rel, key) DO UPDATE SET region = EXCLUDED.region,"
                " hlc = EXCLUDED.hlc, image = EXCLUDED.image, held_by = COALESCE(EXCLUDED.held_by, w.held_by),"
                " constraint_name = COALESCE(EXCLUDED.constraint_name, w.constraint_name)";
        struct hidden_row *r = hidden_add(h, t->name, t->schema, t->table, w->kb, w->klen);
        if (!r)
                return err_named(
                        e, ST_DATA, "suppressed_full",
                        "table %s: %zu rows wait already because others hold their unique values; change or delete the rows that "
                        "pangea.suppressed.held_by names, the origin goes on by itself then",
                        t->name, h->count);
        if (w->holder)
                hidden_held_by(r, w->holder, w->holder_len);
        else
                hidden_check(r);
        uint8_t room[8];
        struct pg_param p[7] = {param_text(t->name),
                                param_bytes(w->kb, w->klen),
                                param_text(regset_name(regs, w->dot.region)),
                                param_i64(room, (int64_t)w->dot.hlc.v),
                                param_json(w->image),
                                param_json(w->held_by),
                                param_text(w->constraint)};
        return session_query(s, sql, 7, p, NULL, NULL, e);
}

enum status hidden_drop(struct hidden *h, struct session *s, const char *rel, const uint8_t *kb, uint32_t klen, struct err *e)
{
        struct hidden_row *r = hidden_perhaps(hidden_table(h, rel), kb, klen);
        if (r)
                hidden_remove(h, r);
        struct pg_param p[2] = {param_text(rel), param_bytes(kb, klen)};
        return session_query(s, "DELETE FROM pangea.suppressed WHERE rel = $1 AND key = $2", 2, p, NULL, NULL, e);
}

enum status hidden_untie(struct session *s, const char *rel, const uint8_t *kb, uint32_t klen, uint32_t xmin, struct err *e)
{
        uint8_t room[8];
        struct pg_param p[3] = {param_text(rel), param_bytes(kb, klen), param_i64(room, xmin)};
        enum status st = session_query(s, "DELETE FROM pangea.sibling WHERE rel = $1 AND key = $2 AND row_xid IS DISTINCT FROM $3",
                                       3, p, NULL, NULL, e);
        if (st != ST_OK)
                return st;
        return session_query(s, "UPDATE pangea.sibling SET row_xid = NULL WHERE rel = $1 AND key = $2", 2, p, NULL, NULL, e);
}

enum status hidden_tie(struct session *s, const char *rel, const uint8_t *kb, uint32_t klen, struct err *e)
{
        struct pg_param p[2] = {param_text(rel), param_bytes(kb, klen)};
        return session_query(
                s,
                "UPDATE pangea.sibling SET row_xid = (pg_catalog.pg_current_xact_id()::pg_catalog.xid)::pg_catalog.text::pg_catalog.int8"
                " WHERE rel = $1 AND key = $2 AND row_xid IS NULL",
                2, p, NULL, NULL, e);
}

enum status hidden_send_holder(struct session *s, const char *rel, const struct hidden_image *w, struct err *e)
{
        struct pg_param p[4] = {param_text(rel), param_bytes(w->kb, w->klen), param_json(w->held_by), param_text(w->constraint)};
        return session_query(
                s,
                "UPDATE pangea.suppressed SET held_by = $3::pg_catalog.jsonb, constraint_name = $4 WHERE rel = $1 AND key = $2"
                " AND (held_by, constraint_name) IS DISTINCT FROM ($3::pg_catalog.jsonb, $4)",
                4, p, NULL, NULL, e);
}

struct fetch {
        struct regset *regs;
        struct arena *arena;
        struct hidden_image *out;
        const struct hidden_image *keys;
        size_t n;
};

static void on_images(void *ctx, void *arg, const struct pgres *r)
{
        struct fetch *f = arg;
        (void)ctx;
        for (int k = 0; k < pgres_rows(r); k++) {
                int64_t n = pgres_i64(r, k, 0);
                if (n < 1 || n > (int64_t)f->n)
                        continue;
                const char *region = pgres_text(r, k, 1);
                f->out[n - 1] = (struct hidden_image){
                        .kb = f->keys[n - 1].kb,
                        .klen = f->keys[n - 1].klen,
                        .dot = {.region = regset_add(f->regs, region, strlen(region)), .hlc = {(uint64_t)pgres_i64(r, k, 2)}},
                        .image = arena_strdup(f->arena, pgres_text(r, k, 3))};
        }
}

enum status hidden_fetch(struct session *s, struct regset *regs, struct arena *arena, const char *rel,
                         const struct hidden_image *keys, size_t n, struct hidden_image **out, struct err *e)
{
        static const char sql[] =
                "SELECT s.n, w.region, w.hlc, w.image FROM pg_catalog.unnest($2::pg_catalog.bytea[]) WITH ORDINALITY AS s(key, n)"
                " JOIN pangea.suppressed w ON w.rel = $1 AND w.key = s.key";
        struct fetch f = {.regs = regs, .arena = arena, .keys = keys, .n = n};
        struct buf kb;
        *out = f.out = ARENA_ARRAY(arena, struct hidden_image, n);
        array_begin(&kb, 17);
        for (size_t i = 0; i < n; i++)
                array_add(&kb, keys[i].kb, keys[i].klen);
        struct pg_param p[2] = {param_text(rel), array_end(&kb, (uint32_t)n, 1001)};
        enum status st = session_query(s, sql, 2, p, on_images, &f, e);
        buf_release(&kb);
        return st == ST_OK ? session_sync(s, NULL, e) : st;
}
