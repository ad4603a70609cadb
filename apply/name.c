/* name: which row of a refused group is it?  The group is gone (rolled back); its changes are tried again in savepoints, halving, in a
 * transaction that is rolled back too: only to name the row, never to skip it.  DESIGN 6.1. */
#include "apply/pass.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "change/key.h"

struct hunt {
        struct work w;
        struct group g;
        uint32_t found; /* index of the first change that fails alone; UINT32_MAX: none */
};

/* Does this range of changes fail? Leaves the transaction as it was when it does. */
static bool fails(struct hunt *h, uint32_t from, uint32_t to)
{
        struct err e;
        struct group part = h->g;
        part.changes += from;
        part.nchanges = to - from;
        if (session_do(h->w.a->db, "SAVEPOINT hunt", &e) != ST_OK)
                return false;
        enum status s = write_group(&h->w, &part, &e);
        if (s == ST_OK)
                return false;
        struct err ignored;
        if (session_do(h->w.a->db, "ROLLBACK TO SAVEPOINT hunt", &ignored) != ST_OK)
                return false;
        return s == ST_DATA;
}

/* The changes before `from` are in the transaction; [from, to) fails as a whole. */
static void halve(struct hunt *h, uint32_t from, uint32_t to)
{
        while (to - from > 1) {
                uint32_t mid = from + (to - from) / 2;
                if (fails(h, from, mid))
                        to = mid;
                else
                        from = mid;
        }
        h->found = from;
}

void name_refused_row(struct applier *a, struct origin *o, const struct log_item *item, struct err *e)
{
        struct hunt h = {.found = UINT32_MAX};
        struct record r;
        struct err ignored;
        struct arena arena;
        char table[140];
        if (item->kind != ITEM_GROUP)
                return;
        h.w.o = o;
        h.w.replace = o->replace;
        arena_init(&arena);
        if (wire_decode(item->msg.data, item->msg.len, &a->regs, &arena, &r, &ignored) == ST_OK &&
            work_fill(a, item, o->id, &h.w, &ignored) == ST_OK && begin_as(a, o->id, item->end_lsn, item->hlc, &ignored) == ST_OK) {
                h.g = r.u.group;
                if (fails(&h, 0, h.g.nchanges))
                        halve(&h, 0, h.g.nchanges);
        }
        group_rollback(a);
        if (h.found < h.g.nchanges) {
                const struct change *c = &h.g.changes[h.found];
                struct buf key;
                buf_init(&key, 300);
                if (c->rel->nkeys && change_key_row(c))
                        key_json(&key, c->rel, change_key_row(c));
                err_wrap(e, "table %s, %s of row %.200s", relation_str(table, sizeof table, c->rel), change_op_name(c->op),
                         key.len ? buf_cstr(&key) : "without a key");
                buf_release(&key);
        }
        arena_release(&arena);
}
