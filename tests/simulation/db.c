/* db: what PostgreSQL does for us: committed rows with an xmin, row locks, commits in the order of the WAL, a crash that falls back to what was
 * flushed. Local transactions have two steps (execute: takes locks, invisible; commit), so that races with apply happen. */
#include <string.h>

#include "tests/simulation/sim.h"

bool db_lock(struct region *r, unsigned key, int owner)
{
        if (r->lock[key] != LOCK_FREE && r->lock[key] != owner)
                return false;
        r->lock[key] = owner;
        return true;
}

void db_unlock(struct region *r, int owner)
{
        int *u = &r->ulock[0][0][0];
        for (unsigned k = 0; k < KEYS; k++)
                if (r->lock[k] == owner)
                        r->lock[k] = LOCK_FREE;
        for (unsigned i = 0; i < TABLES * 2 * UNIQUE_VALUES; i++)
                if (u[i] == owner)
                        u[i] = LOCK_FREE;
}

int db_visible_wal(const struct region *r)
{
        return r->flushed < 0 ? r->nwal : r->flushed;
}

bool db_any_running(const struct region *r)
{
        return r->running[0].xid || r->running[1].xid;
}

/* pg_snapshot_xmin */
uint64_t db_lowest_running(const struct region *r)
{
        uint64_t x = r->d.next_xid;
        for (int i = 0; i < 2; i++)
                if (r->running[i].xid && r->running[i].xid < x)
                        x = r->running[i].xid;
        return r->a.tx.open && r->a.tx.xid < x ? r->a.tx.xid : x;
}

bool row_clash(const struct world *w, unsigned a, image ia, unsigned b, image ib)
{
        if (!w->set.rules->unique || a == b || table_of(a) != table_of(b) || !ia || !ib)
                return false;
        for (unsigned c = C_U; c <= C_W; c++)
                if (ia[c].data && ib[c].data && ia[c].data[0] == ib[c].data[0])
                        return true;
        return false;
}

/* ---- a local transaction executes -------------------------------------------------------------------------------------------------- */

struct executing {
        struct world *w;
        struct region *r;
        int owner;
        unsigned n;
        struct write out[16];
};

static image sees(const struct executing *x, unsigned key)
{
        for (unsigned i = x->n; i > 0; i--)
                if (x->out[i - 1].key == key)
                        return x->out[i - 1].img;
        return x->r->d.row[key].img;
}

static bool lock_values(struct executing *x, unsigned key, image img)
{
        if (!x->w->set.rules->unique || !img)
                return true;
        for (unsigned c = 0; c < 2; c++) {
                int v = unique_value(&img[C_U + c]);
                int *l = v < 0 ? NULL : &x->r->ulock[table_of(key)][c][v];
                if (l && *l != LOCK_FREE && *l != x->owner)
                        return false;
        }
        for (unsigned c = 0; c < 2; c++) {
                int v = unique_value(&img[C_U + c]);
                if (v >= 0)
                        x->r->ulock[table_of(key)][c][v] = x->owner;
        }
        return true;
}

static bool clashes(const struct executing *x, unsigned key, image img)
{
        for (unsigned k = table_of(key) * PER_TABLE; k < (table_of(key) + 1) * PER_TABLE; k++)
                if (row_clash(x->w, key, img, k, sees(x, k)))
                        return true;
        return false;
}

static void writes(struct executing *x, unsigned key, enum change_op op, image img, image old)
{
        if (x->n < sizeof x->out / sizeof *x->out)
                x->out[x->n++] = (struct write){.key = key, .op = op, .img = img, .old = old};
}

static void truncates(struct executing *x, unsigned table)
{
        struct region *r = x->r;
        for (int i = 0; i < 2; i++)
                if (r->running[i].xid && i + 1 != x->owner)
                        return; /* ACCESS EXCLUSIVE: nobody else is writing */
        for (unsigned k = table * PER_TABLE; k < (table + 1) * PER_TABLE; k++)
                if (r->lock[k] != LOCK_FREE && r->lock[k] != x->owner)
                        return;
        for (unsigned k = table * PER_TABLE; k < (table + 1) * PER_TABLE; k++)
                r->lock[k] = x->owner;
        writes(x, table * PER_TABLE, CHANGE_TRUNCATE, NULL, NULL);
        for (unsigned k = table * PER_TABLE + 1; k < table * PER_TABLE + x->w->set.keys; k++)
                writes(x, k, CHANGE_TRUNCATE, NULL, NULL);
}

static void executes(struct executing *x, const struct op *op)
{
        image old = sees(x, op->key), img = NULL;
        switch (op->kind) {
        case OP_TRUNC: truncates(x, table_of(op->key)); return;
        case OP_MOVE:
                if (!old || op->to == op->key || sees(x, op->to) || !db_lock(x->r, op->key, x->owner) ||
                    !db_lock(x->r, op->to, x->owner) || !lock_values(x, op->key, old))
                        return;
                img = image_rekey(x->w, op->to, old);
                writes(x, op->key, CHANGE_DELETE, NULL, old);
                writes(x, op->to, CHANGE_UPDATE, img, old); /* one change of the stream: an update that changes the key */
                return;
        case OP_INS:
                if (old)
                        return;
                break;
        case OP_UPD:
        case OP_DEL:
                if (!old)
                        return;
                break;
        case OP_KINDS: return;
        }
        if (op->kind != OP_DEL)
                img = image_edit(x->w, op->key, old, op);
        if ((img && clashes(x, op->key, img)) || !lock_values(x, op->key, old) || !lock_values(x, op->key, img) ||
            !db_lock(x->r, op->key, x->owner))
                return;
        writes(x, op->key, op->kind == OP_DEL ? CHANGE_DELETE : op->kind == OP_INS ? CHANGE_INSERT : CHANGE_UPDATE, img, old);
}

bool db_begin(struct world *w, struct region *r, const struct op *ops, unsigned n, bool sub)
{
        int i = r->running[0].xid ? 1 : 0;
        struct executing x = {.w = w, .r = r, .owner = i + 1};
        if (r->running[i].xid)
                return false;
        for (unsigned k = 0; k < n; k++)
                executes(&x, &ops[k]);
        if (!x.n) {
                db_unlock(r, x.owner);
                return false;
        }
        r->running[i].xid = r->d.next_xid++;
        r->running[i].rowxid = sub ? r->d.next_xid++ : r->running[i].xid;
        r->running[i].n = x.n;
        r->running[i].w = arena_copy(w->arena, x.out, sizeof *x.out * x.n);
        return true;
}

static bool may_commit(const struct running *t)
{
        return t->xid && !t->committed;
}

/* The youngest one commits. */
bool db_commit(struct world *w, struct region *r, int jitter, bool late)
{
        const struct running *both = r->running;
        int i = may_commit(&both[1]) && (!may_commit(&both[0]) || both[1].xid > both[0].xid) ? 1 : 0;
        struct running *t = &r->running[i];
        if (!may_commit(t) || r->nwal >= WAL_MAX - 1 || w->nv + t->n > VERSIONS)
                return false;
        int64_t ts = w->now + w->set.skew[id_of(w, r)] + jitter;
        struct write *out = arena_copy(w->arena, t->w, sizeof *out * t->n);
        for (unsigned k = 0; k < t->n; k++) {
                struct row *row = &r->d.row[out[k].key];
                out[k].vid = (uint8_t)oracle_write(w, r, &out[k], row);
                *row = (struct row){.img = out[k].img, .xid = t->rowxid, .from = REGION_NONE, .ts = ts < 1 ? 1 : ts};
                vset_add(&row->vids, out[k].vid);
        }
        struct ltx *tx = ARENA_NEW(w->arena, struct ltx);
        *tx = (struct ltx){.xid = t->xid, .rowxid = t->rowxid, .ts = ts < 1 ? 1 : ts, .n = t->n, .w = out};
        tx->lsn = (uint64_t)r->nwal + 1;
        r->d.last_local_lsn = tx->lsn;
        t->w = out;
        t->committed = true;
        db_wal(w, r, (struct wal){.tx = tx});
        if (!late)
                db_show(r);
        return true;
}

bool db_show(struct region *r)
{
        int i = r->running[0].committed ? 0 : 1;
        if (!r->running[i].committed)
                return false;
        memset(&r->running[i], 0, sizeof r->running[i]);
        db_unlock(r, i + 1);
        return true;
}

bool db_hides(const struct region *r, uint64_t xid)
{
        for (int i = 0; i < 2; i++)
                if (r->running[i].committed && r->running[i].xid == xid)
                        return true;
        return false;
}

/* ---- the WAL ------------------------------------------------------------------------------------------------------------------------- */

void db_wal(struct world *w, struct region *r, struct wal entry)
{
        r->wal[r->nwal++] = entry;
        if (r->flushed < 0)
                return;
        r->snap[r->nwal].d = arena_copy(w->arena, &r->d, sizeof r->d);
        r->snap[r->nwal].known = r->known;
}

void db_effect(struct db *d, const struct effect *fx)
{
        unsigned k = fx->key;
        hlc_t *at;
        switch (fx->kind) {
        case FX_PUT:
                d->row[k] = fx->row;
                memset(&d->supp[k], 0, sizeof d->supp[k]);
                break;
        case FX_DROP:
                memset(&d->row[k], 0, sizeof d->row[k]);
                memset(&d->supp[k], 0, sizeof d->supp[k]);
                break;
        case FX_DROP_ROW: memset(&d->row[k], 0, sizeof d->row[k]); break;
        case FX_TOMB:
        case FX_TTOMB:
                at = &(fx->kind == FX_TOMB ? &d->tomb[k] : &d->ttomb[table_of(k)])->at[fx->dot.region.i];
                *at = hlc_max(*at, fx->dot.hlc);
                break;
        case FX_SIBS: d->sib[k] = fx->sibs; break;
        case FX_DOTS:
                d->cdot[k].n = fx->ndots;
                d->cdot[k].dots = fx->dots;
                break;
        case FX_LOSE: break; /* tx_commit */
        case FX_HIDE:
                d->supp[k].row = fx->row;
                d->supp[k].dot = fx->dot;
                if (d->sib[k].n && d->sib[k].xid == d->row[k].xid)
                        d->sib[k].xid = fx->row.xid;
                memset(&d->row[k], 0, sizeof d->row[k]);
                break;
        case FX_WAIT:
                d->supp[k].row = fx->row;
                d->supp[k].dot = fx->dot;
                break;
        case FX_UNHIDE:
                if (d->sib[k].n && d->sib[k].xid == d->supp[k].row.xid)
                        memset(&d->sib[k], 0, sizeof d->sib[k]);
                memset(&d->supp[k], 0, sizeof d->supp[k]);
                break;
        case FX_BACK:
                d->row[k] = fx->row;
                memset(&d->supp[k], 0, sizeof d->supp[k]);
                break;
        }
}

/* PostgreSQL falls back to `back` commits before the newest, never behind what was flushed. */
void db_crash(struct world *w, struct region *r, int back)
{
        int at = r->nwal - back > r->flushed ? r->nwal - back : r->flushed;
        for (int i = at; i < r->nwal; i++)
                for (unsigned k = 0; r->wal[i].tx && k < r->wal[i].tx->n; k++) {
                        unsigned vid = r->wal[i].tx->w[k].vid;
                        w->v[vid].lost = true;
                        for (unsigned q = 0; q < w->set.regions; q++)
                                if (&w->r[q] != r && vset_has(&w->r[q].known, vid))
                                        world_fault(w, "C1: version %u of %s was seen by %s and is lost", vid,
                                                    w->regs.name[id_of(w, r)], w->regs.name[q]);
                }
        r->d = *r->snap[at].d;
        r->known = r->snap[at].known;
        r->nwal = r->flushed = at;
        memset(r->running, 0, sizeof r->running);
        memset(r->lock, 0, sizeof r->lock);
        memset(r->ulock, 0, sizeof r->ulock);
        memset(&r->a.tx, 0, sizeof r->a.tx);
        apply_reset(w, r, 0);
        if (r->follower)
                return;
        struct capture *c = &r->cap[r->ncap - 1];
        c->owns_slot = false;
        if (c->dead || c->zombie)
                return;
        if (c->state == CAP_NEW) { /* its session is lost before its EPOCH landed: the record may land later */
                c->zombie = true;
                c->wal_limit = 0;
        } else {
                capture_kill(r, c);
        }
}
