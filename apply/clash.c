#include "apply/clash.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "change/key.h"
#include "conflict/merge.h"

#define ROUNDS 4

/* ---- rows as JSON ----------------------------------------------------------------------------------------------------------------- */

/* Generated columns are not in it, as they are not in the log. */
const struct fold_table *clash_table(struct arena *arena, struct target *t)
{
        struct fold_table *ft = ARENA_NEW(arena, struct fold_table);
        struct relation *rel = ARENA_NEW(arena, struct relation);
        struct column *cols = ARENA_ARRAY(arena, struct column, t->ncols);
        uint16_t *keys = ARENA_ARRAY(arena, uint16_t, t->nkeys);
        ft->map.target = t;
        ft->map.applied = true;
        ft->map.to = ARENA_ARRAY(arena, int16_t, t->ncols);
        *rel = (struct relation){
                .schema = t->schema, .name = t->table, .cols = cols, .keys = keys, .nkeys = t->nkeys, .full = true};
        for (uint16_t i = 0; i < t->ncols; i++) {
                if (t->cols[i].generated)
                        continue;
                cols[rel->ncols] =
                        (struct column){.name = t->cols[i].name, .type = t->cols[i].type_plain, .key = t->cols[i].eq != NULL};
                for (uint16_t k = 0; k < t->nkeys; k++)
                        if (t->keys[k] == i)
                                keys[k] = rel->ncols;
                ft->map.to[rel->ncols++] = (int16_t)i;
        }
        ft->rel = rel;
        return ft;
}

struct value *clash_values(struct arena *arena, const struct relation *rel, const char *json)
{
        json_t *o = json_loads(json, 0, NULL);
        if (!json_is_object(o)) {
                json_decref(o);
                return NULL;
        }
        struct value *row = ARENA_ARRAY(arena, struct value, rel->ncols);
        for (uint16_t i = 0; i < rel->ncols; i++) {
                const json_t *v = json_object_get(o, rel->cols[i].name);
                row[i].kind = !v ? VALUE_UNSENT : json_is_string(v) ? VALUE_TEXT : VALUE_NULL;
                if (row[i].kind != VALUE_TEXT)
                        continue;
                row[i].len = (uint32_t)json_string_length(v);
                row[i].data = arena_copy(arena, json_string_value(v), row[i].len + 1u);
        }
        json_decref(o);
        return row;
}

const char *clash_image(struct arena *arena, const struct relation *rel, const struct value *row)
{
        struct buf b;
        buf_init(&b, 0);
        row_json(&b, rel, row);
        const char *text = arena_strndup(arena, (const char *)b.data, b.len);
        buf_release(&b);
        return text;
}

struct net *clash_net(struct arena *arena, const struct relation *rel, const struct clash_row *row)
{
        struct net *n = ARENA_NEW(arena, struct net);
        n->row = row->image ? clash_values(arena, rel, row->image) : NULL;
        n->key = n->row ? n->row : clash_values(arena, rel, row->key);
        n->kb = row->kb;
        n->klen = row->klen;
        return n;
}

/* ---- the set ---------------------------------------------------------------------------------------------------------------------- */

uint32_t clash_add(struct clash_set *c, const struct clash_row *row)
{
        if (c->n == c->cap) {
                uint32_t cap = c->cap ? 2 * c->cap : 16;
                struct clash_row *more = ARENA_ARRAY(c->arena, struct clash_row, cap);
                if (c->n)
                        memcpy(more, c->rows, sizeof *row * c->n);
                c->rows = more;
                c->cap = cap;
        }
        c->rows[c->n] = *row;
        if (!row->standing)
                c->ncandidates = c->n + 1;
        return c->n++;
}

static void add_pair(struct clash_set *c, uint32_t a, uint32_t b, const char *constraint)
{
        if (c->npairs == c->cap_pairs) {
                uint32_t cap = c->cap_pairs ? 2 * c->cap_pairs : 16;
                struct clash_pair *more = ARENA_ARRAY(c->arena, struct clash_pair, cap);
                if (c->npairs)
                        memcpy(more, c->pairs, sizeof *more * c->npairs);
                c->pairs = more;
                c->cap_pairs = cap;
        }
        c->pairs[c->npairs++] = (struct clash_pair){.a = a < b ? a : b, .b = a < b ? b : a, .constraint = constraint};
}

enum status clash_begin(struct clash_set *c, struct applier *a, struct arena *arena, struct target *t, struct err *e)
{
        *c = (struct clash_set){.a = a, .arena = arena, .target = t, .table = clash_table(arena, t)};
        map_init(&c->keys, 0);
        return clash_def_load(t, a->side, e);
}

void clash_end(struct clash_set *c)
{
        map_release(&c->keys);
}

/* ---- the visible rows ------------------------------------------------------------------------------------------------------------- */

/* The place of a visible row by its key as JSON; UINT32_MAX: it does not count, it is being replaced. */
static uint32_t visible_row(struct clash_set *c, const char *key)
{
        const struct relation *rel = c->table->rel;
        const struct value *values = clash_values(c->arena, rel, key);
        struct buf kb;
        if (!values || key_has_unsent(rel, values)) {
                c->broken = true;
                return UINT32_MAX;
        }
        buf_init(&kb, 0);
        key_bytes(&kb, rel, values);
        uint32_t at = UINT32_MAX;
        uintptr_t known = (uintptr_t)map_get(&c->keys, kb.data, kb.len);
        if (known) {
                at = (uint32_t)known - 1;
        } else if (!c->gone || !map_get(c->gone, kb.data, kb.len)) {
                struct standing *none = ARENA_NEW(c->arena, struct standing); /* not locked: filled when it is */
                struct clash_row row = {.kb = arena_copy(c->arena, kb.data, kb.len),
                                        .klen = (uint32_t)kb.len,
                                        .key = arena_strdup(c->arena, key),
                                        .standing = none};
                at = clash_add(c, &row);
                map_put(&c->keys, row.kb, row.klen, (void *)(uintptr_t)(at + 1u));
        }
        buf_release(&kb);
        return at;
}

static bool candidate_key(const struct clash_set *c, uint32_t i, uint32_t v)
{
        return c->rows[i].klen == c->rows[v].klen && memcmp(c->rows[i].kb, c->rows[v].kb, c->rows[i].klen) == 0;
}

/* n of a candidate; n of another one, or NULL and the key of a visible row; name of the constraint */
static void on_pairs(void *ctx, void *arg, const struct pgres *r)
{
        struct clash_set *c = arg;
        (void)ctx;
        for (int k = 0; k < pgres_rows(r); k++) {
                int64_t a = pgres_i64(r, k, 0), b = pgres_i64(r, k, 1);
                if (a < 1 || a > (int64_t)c->ncandidates || b > (int64_t)c->ncandidates)
                        continue;
                uint32_t other = pgres_null(r, k, 1) ? visible_row(c, pgres_text(r, k, 2)) : (uint32_t)(b - 1);
                if (other == UINT32_MAX || candidate_key(c, (uint32_t)(a - 1), other))
                        continue; /* an older version of itself */
                add_pair(c, (uint32_t)(a - 1), other, arena_strdup(c->arena, pgres_text(r, k, 3)));
        }
}

static void on_locked(void *ctx, void *arg, const struct pgres *r)
{
        struct clash_set *c = arg;
        (void)ctx;
        for (int k = 0; k < pgres_rows(r); k++) {
                int64_t n = pgres_i64(r, k, LOCK_N);
                if (n < 1 || n > (int64_t)c->n)
                        continue;
                c->rows[n - 1].standing = standing_of(c->arena, r, k);
                c->rows[n - 1].image = arena_strdup(c->arena, pgres_text(r, k, LOCK_IMAGE + 1));
        }
}

/* Visible rows that were found and are not locked yet: locked in key order. */
static enum status lock_found(struct clash_set *c, bool *all, struct err *e)
{
        *all = true;
        for (uint32_t i = c->ncandidates; i < c->n; i++)
                *all &= c->rows[i].image != NULL;
        if (*all)
                return ST_OK;
        enum status s = clash_send_lock(c, on_locked, e);
        return s == ST_OK ? session_sync(c->a->db, NULL, e) : s;
}

static void forget_found(struct clash_set *c)
{
        c->n = c->ncandidates;
        c->npairs = 0;
        map_clear(&c->keys);
}

/* Rows that are locked already keep what was read under the lock. */
static void know_again(struct clash_set *c, const struct map *locked)
{
        for (uint32_t i = c->ncandidates; i < c->n; i++) {
                const struct clash_row *known = map_get(locked, c->rows[i].kb, c->rows[i].klen);
                if (known)
                        c->rows[i] = *known;
        }
}

static void remember_locked(struct clash_set *c, struct map *locked)
{
        for (uint32_t i = c->ncandidates; i < c->n; i++)
                if (c->rows[i].image)
                        map_put(locked, c->rows[i].kb, c->rows[i].klen, arena_copy(c->arena, &c->rows[i], sizeof c->rows[i]));
}

/* Rows that were found are locked, and asked once more: a row may have changed before its lock was there. */
enum status clash_find(struct clash_set *c, struct err *e)
{
        struct map locked;
        enum status s = ST_OK;
        bool all = false;
        map_init(&locked, 0);
        for (int round = 0; round < ROUNDS && s == ST_OK && !all; round++) {
                forget_found(c);
                s = clash_send_find(c, on_pairs, e);
                if (s == ST_OK)
                        s = session_sync(c->a->db, NULL, e);
                if (s == ST_OK && c->broken)
                        s = err_set(e, ST_RETRY, "table %s: a row without its key came back", c->target->name);
                know_again(c, &locked);
                if (s == ST_OK)
                        s = lock_found(c, &all, e);
                remember_locked(c, &locked);
        }
        map_release(&locked);
        if (s == ST_OK && !all)
                return err_set(e, ST_RETRY, "table %s: rows that hold unique values keep changing", c->target->name);
        return s;
}

/* ---- who stays -------------------------------------------------------------------------------------------------------------------- */

/* Rows that touch each other through clashes are judged together; nearly always a pair. */
struct judge {
        const struct clash_set *c;
        struct map pairs;     /* (a, b) -> pair */
        uint32_t *root;       /* of each row: another one of its component, in the end its first */
        const uint32_t *rows; /* of the component under way */
};

static uint32_t root_of(struct judge *j, uint32_t i)
{
        while (j->root[i] != i)
                i = j->root[i] = j->root[j->root[i]];
        return i;
}

static bool do_clash(void *ctx, size_t i, size_t k)
{
        const struct judge *j = ctx;
        uint32_t a = j->rows[i], b = j->rows[k], key[2] = {a < b ? a : b, a < b ? b : a};
        return map_get(&j->pairs, key, sizeof key) != NULL;
}

struct member {
        uint32_t root, row;
};

static int by_root(const void *a, const void *b)
{
        const struct member *x = a, *y = b;
        if (x->root != y->root)
                return x->root < y->root ? -1 : 1;
        return (x->row > y->row) - (x->row < y->row);
}

static void judge_component(struct judge *j, const struct member *m, uint32_t n, bool *keep)
{
        const struct clash_set *c = j->c;
        uint32_t *at = ARENA_ARRAY(c->arena, uint32_t, n);
        struct unique_row *rows = ARENA_ARRAY(c->arena, struct unique_row, n);
        bool *in = ARENA_ARRAY(c->arena, bool, n);
        for (uint32_t i = 0; i < n; i++) {
                at[i] = m[i].row;
                rows[i] = (struct unique_row){.key = c->rows[at[i]].kb, .klen = c->rows[at[i]].klen};
        }
        j->rows = at;
        unique_keep(rows, n, do_clash, j, in);
        for (uint32_t i = 0; i < n; i++)
                keep[at[i]] = in[i];
}

static void judge_all(struct clash_set *c, bool *keep)
{
        struct judge j = {.c = c, .root = ARENA_ARRAY(c->arena, uint32_t, c->n)};
        struct member *m = ARENA_ARRAY(c->arena, struct member, c->n);
        map_init(&j.pairs, 0);
        for (uint32_t i = 0; i < c->n; i++)
                j.root[i] = i;
        for (uint32_t i = 0; i < c->npairs; i++) {
                uint32_t key[2] = {c->pairs[i].a, c->pairs[i].b};
                map_put(&j.pairs, key, sizeof key, &c->pairs[i]);
                j.root[root_of(&j, key[0])] = root_of(&j, key[1]);
        }
        for (uint32_t i = 0; i < c->n; i++)
                m[i] = (struct member){.root = root_of(&j, i), .row = i};
        qsort(m, c->n, sizeof *m, by_root);
        for (uint32_t i = 0, n; i < c->n; i += n) {
                for (n = 1; i + n < c->n && m[i + n].root == m[i].root;)
                        n++;
                judge_component(&j, m + i, n, keep);
        }
        map_release(&j.pairs);
}

static int key_order(const struct clash_row *a, const struct clash_row *b)
{
        int d = memcmp(a->kb, b->kb, a->klen < b->klen ? a->klen : b->klen);
        return d ? d : (a->klen > b->klen) - (a->klen < b->klen);
}

void clash_decide(struct clash_set *c, bool **keep, const struct clash_pair ***holder)
{
        *keep = ARENA_ARRAY(c->arena, bool, c->n);
        *holder = ARENA_ARRAY(c->arena, const struct clash_pair *, c->n);
        judge_all(c, *keep);
        for (uint32_t i = 0; i < c->npairs; i++) {
                const struct clash_pair *p = &c->pairs[i];
                uint32_t first = key_order(&c->rows[p->a], &c->rows[p->b]) < 0 ? p->a : p->b, later = clash_other(p, first);
                if ((*keep)[first] && !(*keep)[later] && !(*holder)[later])
                        (*holder)[later] = p;
        }
}
