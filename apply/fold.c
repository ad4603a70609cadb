#include "apply/fold.h"

#include <string.h>

#include "base/map.h"
#include "change/key.h"

#define FORGOTTEN UINT32_MAX

struct folder {
        const struct group *g;
        struct arena *arena;
        fold_map *map;
        void *ctx;
        struct mapping *maps; /* one per relation of the group */
        bool *mapped;
        uint32_t *as;   /* per relation: the first of the group that has its target and layout (leaves of one table are alike) */
        uint32_t *open; /* per relation: nets in the open segment */
        struct segment *first, **tail;
        struct segment *truncates, **last_truncate; /* go before all others */
        /* the open segment */
        struct net *nets; /* room for two per change; NULL: none yet */
        uint32_t nnets, cap;
        uint32_t *table_of; /* per net: index of its relation, FORGOTTEN when a TRUNCATE came after it */
        uint32_t *slots;    /* hash table over (relation's target, key): net + 1 */
        uint32_t nslots;
        struct buf key;
};

static bool same_layout(const struct relation *a, const struct relation *b)
{
        if (a->ncols != b->ncols || a->nkeys != b->nkeys || a->full != b->full)
                return false;
        for (uint16_t i = 0; i < a->nkeys; i++)
                if (a->keys[i] != b->keys[i])
                        return false;
        for (uint16_t i = 0; i < a->ncols; i++)
                if (strcmp(a->cols[i].name, b->cols[i].name) != 0 || strcmp(a->cols[i].type, b->cols[i].type) != 0)
                        return false;
        return true;
}

static uint32_t alike(const struct folder *f, uint32_t at)
{
        for (uint32_t i = 0; i < f->g->nrels; i++)
                if (i != at && f->mapped[i] && f->as[i] == i && f->maps[i].target == f->maps[at].target &&
                    same_layout(&f->g->rels[i], &f->g->rels[at]))
                        return i;
        return at;
}

static enum status mapping_of(struct folder *f, const struct relation *rel, const struct mapping **out, struct err *e)
{
        uint32_t at = (uint32_t)(rel - f->g->rels);
        *out = &f->maps[at];
        if (f->mapped[at])
                return ST_OK;
        enum status s = f->map(f->ctx, rel, &f->maps[at], e);
        f->as[at] = s == ST_OK ? alike(f, at) : at;
        f->mapped[at] = true;
        return s;
}

static uint32_t rel_of(const struct folder *f, const struct change *c)
{
        return f->as[c->rel - f->g->rels];
}

/* The open segment's nets, table by table. */
static struct segment *close_segment(struct folder *f)
{
        struct segment *s = ARENA_NEW(f->arena, struct segment);
        *f->tail = s;
        f->tail = &s->next;
        if (!f->nnets)
                return s;
        uint32_t nrels = f->g->nrels;
        s->tables = ARENA_ARRAY(f->arena, struct fold_table, nrels);
        uint32_t *index = ARENA_ARRAY(f->arena, uint32_t, nrels);
        for (uint32_t r = 0; r < nrels; r++) {
                if (!f->open[r])
                        continue;
                index[r] = s->ntables;
                struct fold_table *t = &s->tables[s->ntables++];
                t->rel = &f->g->rels[r];
                t->map = f->maps[r];
                t->nets = ARENA_ROOM(f->arena, struct net *, f->open[r]);
        }
        for (uint32_t i = 0; i < f->nnets; i++) {
                if (f->table_of[i] == FORGOTTEN)
                        continue;
                struct fold_table *t = &s->tables[index[f->table_of[i]]];
                t->nets[t->n++] = &f->nets[i];
        }
        memset(f->slots, 0, sizeof *f->slots * f->nslots);
        memset(f->open, 0, sizeof *f->open * nrels);
        f->nets = NULL;
        f->nnets = 0;
        return s;
}

/* Nets of another layout of the same table must be written first. */
static void barrier_on_new_layout(struct folder *f, uint32_t rel, const struct target *target)
{
        for (uint32_t i = 0; i < f->g->nrels; i++) {
                if (i != rel && f->open[i] && f->maps[i].target == target) {
                        close_segment(f);
                        return;
                }
        }
}

static struct net *new_net(struct folder *f, const struct change *c, const struct value *key_row)
{
        if (!f->nets) {
                f->nets = ARENA_ROOM(f->arena, struct net, f->cap);
                f->table_of = ARENA_ROOM(f->arena, uint32_t, f->cap);
        }
        f->table_of[f->nnets] = rel_of(f, c);
        f->open[rel_of(f, c)]++;
        struct net *n = &f->nets[f->nnets++];
        *n = (struct net){.key = key_row, .tx = c->tx};
        return n;
}

/* The net of a key, or NULL; *at is then where it belongs, and f->key holds its bytes. */
static struct net *find_net(struct folder *f, const struct change *c, const struct value *key_row, uint32_t *at, uint64_t *hash)
{
        uint32_t rel = rel_of(f, c);
        buf_reset(&f->key);
        key_bytes(&f->key, c->rel, key_row);
        *hash = hash64(f->key.data, f->key.len, rel);
        for (*at = (uint32_t)*hash & (f->nslots - 1); f->slots[*at]; *at = (*at + 1) & (f->nslots - 1)) {
                struct net *n = &f->nets[f->slots[*at] - 1];
                if (n->hash == *hash && f->table_of[f->slots[*at] - 1] == rel && n->klen == f->key.len &&
                    memcmp(n->kb, f->key.data, f->key.len) == 0)
                        return n;
        }
        return NULL;
}

static struct net *net_of(struct folder *f, const struct change *c, const struct value *key_row, bool *is_new)
{
        uint32_t at;
        uint64_t hash;
        struct net *n = find_net(f, c, key_row, &at, &hash);
        *is_new = n == NULL;
        if (n)
                return n;
        f->slots[at] = f->nnets + 1;
        n = new_net(f, c, key_row);
        n->hash = hash;
        n->klen = (uint32_t)f->key.len;
        n->kb = arena_copy(f->arena, f->key.data, f->key.len);
        return n;
}

/* Values that were not sent did not change: what the group itself wrote before stands. */
static const struct value *merge_unsent(struct folder *f, uint16_t ncols, const struct value *before, const struct value *row)
{
        if (!before)
                return row;
        struct value *merged = NULL;
        for (uint16_t i = 0; i < ncols; i++) {
                if (row[i].kind != VALUE_UNSENT || before[i].kind == VALUE_UNSENT)
                        continue;
                if (!merged)
                        merged = arena_copy(f->arena, row, sizeof *row * ncols);
                merged[i] = before[i];
        }
        return merged ? merged : row;
}

static bool complete(const struct relation *rel, const struct value *row)
{
        for (uint16_t i = 0; i < rel->ncols; i++)
                if (row[i].kind == VALUE_UNSENT)
                        return false;
        return true;
}

static void fold_delete(struct folder *f, const struct change *c, const struct value *key_row)
{
        bool is_new;
        struct net *n = net_of(f, c, key_row, &is_new);
        n->was_del = n->had_del;
        n->was_fresh = n->fresh;
        n->del_rel = c->rel;
        if (c->rel->full && !n->before && !n->fresh)
                n->before = key_row;
        n->del = n->had_del = true;
        n->fresh = false;
        n->row = NULL;
        n->old = c->rel->full ? key_row : NULL;
        n->tx = c->tx;
}

/* Deleted in one partition and inserted in another by one transaction: the row moved. */
static bool moves_here(const struct net *n, const struct change *c)
{
        const struct relation *from = n->del_rel;
        return n->del && from && c->op == CHANGE_INSERT && n->tx == c->tx && c->rel->full && from->full && c->rel->leaf_name &&
               from->leaf_name && strcmp(from->leaf_name, c->rel->leaf_name) != 0;
}

static void fold_put(struct folder *f, const struct change *c, bool insert, const struct value *row)
{
        bool is_new;
        struct net *n = net_of(f, c, row, &is_new);
        if (is_new) {
                n->is_insert = insert;
                n->before = !insert && c->rel->full ? c->old : NULL;
        } else if (insert && moves_here(n, c)) {
                n->had_del = n->was_del;
                n->fresh = n->was_fresh;
                insert = false;
        }
        if (insert)
                n->before = NULL;
        n->old = NULL;
        n->row = merge_unsent(f, c->rel->ncols, n->row, row);
        n->key = n->row;
        n->fresh |= insert;
        n->del = false;
        n->tx = c->tx;
}

/* A key change: delete and insert, when the new row is whole; what the group knows of the old row fills it up. */
static void fold_key_change(struct folder *f, const struct change *c, const struct value *sent)
{
        bool is_new;
        uint32_t at;
        uint64_t hash;
        const struct net *before = find_net(f, c, c->old, &at, &hash);
        const struct value *row = merge_unsent(f, c->rel->ncols, before ? before->row : NULL, sent);
        if (complete(c->rel, row)) {
                fold_delete(f, c, c->old);
                fold_put(f, c, true, row);
                return;
        }
        /* not whole: the row that stands here moves. A segment of its own, so that nothing is re-ordered around it. */
        if (f->nnets)
                close_segment(f);
        struct net *move = net_of(f, c, c->old, &is_new);
        move->row = row;
        close_segment(f);
}

static enum status fold_keyed(struct folder *f, const struct change *c, const struct mapping *m, struct err *e)
{
        const struct value *key_row = change_key_row(c), *row;
        if (!key_row || key_has_unsent(c->rel, key_row)) {
                char name[140];
                return err_named(e, ST_DATA, "row_refused", "table %s: an %s without its key: REPLICA IDENTITY does not carry it",
                                 relation_str(name, sizeof name, c->rel), change_op_name(c->op));
        }
        barrier_on_new_layout(f, rel_of(f, c), m->target);
        switch (c->op) {
        case CHANGE_INSERT: fold_put(f, c, true, c->row); break;
        case CHANGE_UPDATE:
                row = merge_unsent(f, c->rel->ncols, c->old, c->row); /* a long key that did not change comes in the old row only */
                if (c->old && !key_equal_rows(c->rel, c->old, row))
                        fold_key_change(f, c, row);
                else
                        fold_put(f, c, false, row);
                break;
        case CHANGE_DELETE: fold_delete(f, c, c->old); break;
        case CHANGE_TRUNCATE: break;
        }
        return ST_OK;
}

/* Inserts of a table without a key go with the others; updates and deletes of it are done one by one, in their order. */
static void fold_keyless(struct folder *f, const struct change *c, const struct mapping *m)
{
        if (c->op == CHANGE_INSERT) {
                struct net *n = new_net(f, c, c->row);
                n->row = c->row;
                n->fresh = n->is_insert = true;
                return;
        }
        struct segment *seg = close_segment(f);
        seg->map = *m;
        seg->keyless = c;
}

/* A TRUNCATE is a delete of every row: what the group did to the table before it is as if it had not been, and what it does after it comes after
 * it. So it goes first, and the other tables' nets stay together: a version and a delete, or two versions, of one key and one dot never meet
 * as two. (A leaf's leaves the rows of the other leaves: it stands where it stood.) */
static struct segment *truncate_segment(struct folder *f, const struct target *target)
{
        for (uint32_t i = 0; i < f->nnets; i++) {
                if (f->table_of[i] == FORGOTTEN || f->maps[f->table_of[i]].target != target)
                        continue;
                f->open[f->table_of[i]]--;
                f->table_of[i] = FORGOTTEN;
        }
        for (struct segment *s = f->first; s; s = s->next) {
                for (uint32_t i = 0; i < s->ntables; i++)
                        if (s->tables[i].map.target == target)
                                s->tables[i].n = 0;
                if (s->keyless && s->map.target == target)
                        s->keyless = NULL;
        }
        struct segment *seg = ARENA_NEW(f->arena, struct segment);
        *f->last_truncate = seg;
        f->last_truncate = &seg->next;
        return seg;
}

static enum status fold_one(struct folder *f, const struct change *c, struct err *e)
{
        const struct mapping *m;
        enum status s = mapping_of(f, c->rel, &m, e);
        if (s != ST_OK || !m->applied)
                return s;
        if (c->op == CHANGE_TRUNCATE) {
                struct segment *seg = c->rel->leaf_name ? close_segment(f) : truncate_segment(f, m->target);
                seg->map = *m;
                seg->truncate = c;
                return ST_OK;
        }
        if (c->rel->nkeys == 0) {
                fold_keyless(f, c, m);
                return ST_OK;
        }
        return fold_keyed(f, c, m, e);
}

enum status fold_group(const struct group *g, struct arena *arena, fold_map *map, void *ctx, struct segment **out, struct err *e)
{
        struct folder f = {.g = g, .arena = arena, .map = map, .ctx = ctx};
        struct group own;
        f.tail = &f.first;
        f.last_truncate = &f.truncates;
        *out = NULL;
        if (!g->nchanges)
                return ST_OK;
        if (!g->nrels || g->changes[0].rel < g->rels || g->changes[0].rel >= g->rels + g->nrels) {
                own = *g; /* a fragmented row: its descriptor as a table of one */
                own.rels = g->changes[0].rel;
                own.nrels = 1;
                f.g = &own;
        }
        f.maps = ARENA_ARRAY(arena, struct mapping, f.g->nrels);
        f.mapped = ARENA_ARRAY(arena, bool, f.g->nrels);
        f.as = ARENA_ARRAY(arena, uint32_t, f.g->nrels);
        f.open = ARENA_ARRAY(arena, uint32_t, f.g->nrels);
        f.cap = 2 * g->nchanges + 2;
        for (f.nslots = 16; f.nslots < 2 * f.cap; f.nslots *= 2)
                ;
        f.slots = ARENA_ARRAY(arena, uint32_t, f.nslots);
        buf_init(&f.key, 0);
        enum status s = ST_OK;
        for (uint32_t i = 0; i < g->nchanges && s == ST_OK; i++)
                s = fold_one(&f, &g->changes[i], e);
        if (s == ST_OK && f.nnets)
                close_segment(&f);
        buf_release(&f.key);
        *f.last_truncate = f.first;
        *out = f.truncates;
        return s;
}
