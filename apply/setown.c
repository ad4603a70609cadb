/* setown: the region's own changes of tables whose rule needs the siblings, read in the own log.  DESIGN 6.5.
 * Its deletes leave tombstones (apply/repair.c); a row that another region's change put there since was put with the delete known (a put into an
 * absent key waits for the own log), so no row is looked at. Its rows: a tombstone that they have not seen may kill them, and contributions to
 * columns get their dots. */
#include "apply/hide.h"
#include "apply/sets.h"

#include <string.h>

static bool is_taken(const struct pass *p, const struct fold_table *t, const struct net *n)
{
        if (!p->taken)
                return false;
        size_t len;
        const void *key = set_taken_key(p->arena, t->map.target->name, n, &len);
        return map_get(p->taken, key, len) != NULL;
}

const void *set_taken_key(struct arena *arena, const char *table, const struct net *n, size_t *len)
{
        size_t name = strlen(table) + 1;
        char *key = arena_alloc(arena, name + n->klen);
        memcpy(key, table, name);
        memcpy(key + name, n->kb, n->klen);
        *len = name + n->klen;
        return key;
}

/* The keys that may be concerned: open ones (whoever wrote them here has seen and replaced the siblings), those with contributions, those that
 * a tombstone may kill (*killed). */
static struct set_table *concerned(struct pass *p, const struct fold_table *t, bool *killed)
{
        const struct set_rule *set = t->map.target->set;
        struct set_table *out = NULL;
        for (uint32_t i = 0; i < t->n; i++) {
                struct net *n = t->nets[i];
                bool perhaps = !n->del && pass_tombs_perhaps(p, t, n);
                bool open = siblings_perhaps(p->a, t->map.target->name, n);
                bool waits = hidden_perhaps(hidden_table(p->a->hidden, t->map.target->name), n->kb, n->klen) != NULL;
                if (is_taken(p, t, n) || (!perhaps && !open && !waits && (n->del || !(set->dots || set->olds))))
                        continue;
                if (!out)
                        out = set_table_new(p, t, t->n);
                set_key_add(out, n);
                *killed |= perhaps;
        }
        return out;
}

/* Keys that are gone have no siblings; rows that stand where this change deleted are later ones. */
static enum status drop_others(struct pass *p, struct set_table *t, struct err *e)
{
        uint32_t n = 0, gone = 0;
        struct set_key **absent = ARENA_ARRAY(p->arena, struct set_key *, t->n);
        for (uint32_t i = 0; i < t->n; i++)
                if (!t->keys[i].standing && !t->keys[i].waits && siblings_perhaps(p->a, t->name, t->keys[i].net))
                        absent[gone++] = &t->keys[i];
        enum status s = siblings_drop(p, absent, gone, e);
        for (uint32_t i = 0; i < t->n; i++)
                if ((t->keys[i].standing || t->keys[i].waits) && !t->keys[i].net->del)
                        t->keys[n++] = t->keys[i];
        t->n = n;
        return s;
}

/* What a version replaced is kept with the very row that stands: one whose transaction is not known by its xid (it was written in a savepoint)
 * may be a later one of the same microsecond, as long as the log is not read to the end. */
static bool must_be_sure(const struct pass *p, const struct set_table *t)
{
        for (uint32_t i = 0; t->set->olds && i < t->n; i++) {
                const struct standing *st = t->keys[i].standing;
                if (st && !st->old && pass_origin_region(p->a, st->origin).i == REGION_NONE.i &&
                    !ownlog_knows(p->a->own, st->ts_us, st->xmin))
                        return true;
        }
        return false;
}

static enum status own_table(struct pass *p, struct set_table *t, bool killed, bool *wrote, struct err *e)
{
        enum status s = ST_OK;
        bool outside = false;
        for (uint32_t i = 0; i < t->n && !outside; i++)
                outside = !t->keys[i].net->del && set_outside(p, &t->keys[i]);
        if (outside)
                s = own_visible(p, e);
        if (s == ST_OK)
                s = set_lock(p, t, false, e);
        if (s == ST_OK)
                s = set_wait_load(p, t, true, e);
        if (s == ST_OK)
                s = set_wait_own(p, t, wrote, e);
        if (s == ST_OK)
                s = drop_others(p, t, e);
        if (s != ST_OK || !t->n)
                return s;
        if (killed || must_be_sure(p, t))
                s = own_catch_up(p->a, e); /* whether it is this very change that stands must be known for sure */
        if (s == ST_OK)
                s = sets_standing(p, t, e);
        if (s == ST_OK)
                s = siblings_load(p, &t, 1, e);
        if (s == ST_OK)
                s = sets_merge(p, &t, 1, true, e);
        for (uint32_t i = 0; i < t->n && s == ST_OK; i++)
                *wrote |= t->keys[i].out.act != MERGE_KEEP;
        return s == ST_OK ? sets_write(p, &t, 1, e) : s;
}

enum status own_sets(struct pass *p, own_begin *begin, void *ctx, bool *wrote, struct err *e)
{
        enum status s = ST_OK;
        for (uint32_t i = 0; i < p->seg->ntables && s == ST_OK; i++) {
                const struct fold_table *t = &p->seg->tables[i];
                const struct set_rule *set = t->map.target ? t->map.target->set : NULL;
                bool killed = false, deletes = false;
                if (!set)
                        continue;
                for (uint32_t k = 0; k < t->n; k++)
                        deletes |= t->nets[k]->del;
                struct set_table *rows = concerned(p, t, &killed);
                if (rows || (set->dots && deletes))
                        s = begin(ctx, e);
                if (s == ST_OK && set->dots && deletes)
                        s = siblings_deleted(p, t, e);
                if (s == ST_OK && rows)
                        s = own_table(p, rows, killed, wrote, e);
        }
        return s;
}
