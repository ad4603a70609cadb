/* capture: DESIGN 5. WAL in commit order -> groups with one HLC and a vector per transaction; epochs; progress; restarts and zombies. */
#include <string.h>

#include "tests/simulation/sim.h"

/* The next record that is not fenced; NULL: nothing there. */
const struct rec *reader_peek(struct reader *c, const struct region *log)
{
        for (; c->pos < log->nlog; c->pos++) {
                const struct rec *r = log->log[c->pos];
                if (r->kind == REC_EPOCH)
                        c->epoch = r->epoch > c->epoch ? r->epoch : c->epoch;
                else if (r->epoch >= c->epoch)
                        return r;
        }
        return NULL;
}

static bool append(struct world *w, struct region *r, struct rec rec)
{
        if (r->nlog == LOG_MAX)
                return false;
        r->log[r->nlog++] = arena_copy(w->arena, &rec, sizeof rec);
        return true;
}

/* The last record that readers accept; NULL: none. */
static const struct rec *last_of(const struct region *r, int *epoch)
{
        struct reader c = {0};
        const struct rec *last = NULL, *rec;
        while ((rec = reader_peek(&c, r)) != NULL) {
                last = rec;
                c.pos++;
        }
        *epoch = c.epoch;
        return last;
}

/* Takes the slot, then a number from the counter in the database (synchronously: it does not fall back). */
struct capture *capture_new(struct world *w, struct region *r)
{
        (void)w;
        int last;
        struct capture *c = &r->cap[r->ncap++];
        memset(c, 0, sizeof *c);
        c->wal_limit = c->pos = -1;
        c->owns_slot = true;
        c->slot_start = r->slot_confirmed;
        last_of(r, &last);
        r->epoch = (r->epoch > last ? r->epoch : last) + 1;
        c->epoch = r->epoch;
        return c;
}

/* Its EPOCH record is in the log: it reads the log up to it. */
void capture_land(struct world *w, struct region *r, struct capture *c)
{
        int epoch;
        if (!append(w, r, (struct rec){.kind = REC_EPOCH, .epoch = c->epoch}))
                return;
        r->log_epoch = c->epoch > r->log_epoch ? c->epoch : r->log_epoch;
        const struct rec *last = last_of(r, &epoch);
        if (last) {
                c->skip_to = last->lsn;
                c->hlc = last->hlc;
                c->vec = last->vec;
        }
        c->vec.at[id_of(w, r)].v = 0;
        c->published = c->vec;
        c->state = CAP_RUN;
}

bool capture_decode(struct world *w, struct region *r, struct capture *c)
{
        if (c->state != CAP_RUN || c->dead || c->npending == sizeof c->pending / sizeof *c->pending)
                return false;
        if (c->pos < 0) {
                if (c->zombie && !c->owns_slot && c->slot_start < 0)
                        return false;
                c->pos = c->slot_start;
        }
        if (c->pos >= (c->wal_limit < 0 ? db_visible_wal(r) : c->wal_limit) || c->pos >= r->nwal)
                return false;
        const struct wal *e = &r->wal[c->pos++];
        if (!e->tx) {
                if (e->origin.i != id_of(w, r))
                        c->vec.at[e->origin.i] = hlc_max(c->vec.at[e->origin.i], e->hlc);
        } else if ((uint64_t)c->pos > c->skip_to) {
                c->pending_vec[c->npending] = arena_copy(w->arena, &c->vec, sizeof c->vec);
                c->pending[c->npending++] = e->tx;
        }
        return true;
}

/* ---- a group --------------------------------------------------------------------------------------------------------------------------- */

static const struct value *values(struct world *w, image img)
{
        if (!img)
                return NULL;
        struct value *v = ARENA_ARRAY(w->arena, struct value, NCOLS);
        for (unsigned i = 0; i < NCOLS; i++)
                v[i] = (struct value){.kind = img[i].data ? VALUE_TEXT : VALUE_NULL,
                                      .len = img[i].data ? img[i].len : 0,
                                      .data = (const uint8_t *)img[i].data};
        return v;
}

/* The changes of the stream: a key change is one, a TRUNCATE too. */
static unsigned changes_of(struct world *w, const struct ltx *tx, uint32_t number, struct change *out, uint8_t *vids)
{
        unsigned n = 0;
        for (unsigned i = 0; i < tx->n; i++) {
                const struct write *x = &tx->w[i];
                bool moved =
                        x->op == CHANGE_DELETE && i + 1 < tx->n && tx->w[i + 1].op == CHANGE_UPDATE && tx->w[i + 1].old == x->old;
                if (x->op == CHANGE_TRUNCATE && x->key % PER_TABLE)
                        continue;
                out[n] = (struct change){.op = x->op,
                                         .rel = &w->set.rules->rels[table_of(x->key)],
                                         .row = values(w, x->img),
                                         .old = x->op == CHANGE_INSERT ? NULL : values(w, x->old),
                                         .tx = number};
                vids[n] = x->vid;
                if (moved) {
                        out[n].op = CHANGE_UPDATE;
                        out[n].row = values(w, tx->w[++i].img);
                }
                n++;
        }
        return n;
}

static void dots_of(struct world *w, const struct capture *c, struct dot dot, int gen)
{
        w->ngroups++;
        for (unsigned t = 0; t < c->npending; t++)
                for (unsigned i = 0; i < c->pending[t]->n; i++) {
                        struct true_version *v = &w->v[c->pending[t]->w[i].vid];
                        if (v->dot.hlc.v)
                                world_fault(w, "C2: version %u of %s was published twice in effect", c->pending[t]->w[i].vid,
                                            w->regs.name[dot.region.i]);
                        v->dot = dot;
                        v->gen = gen;
                        v->group = w->ngroups;
                }
}

bool capture_close(struct world *w, struct region *r, struct capture *c)
{
        if (c->state != CAP_RUN || c->dead || !c->npending || r->nlog >= LOG_MAX - 1)
                return false;
        region_id me = {(uint8_t)id_of(w, r)};
        struct rec rec = {.kind = REC_GROUP, .epoch = c->epoch, .gen = r->gen, .vec = *c->pending_vec[c->npending - 1]};
        struct txn *txs = ARENA_ARRAY(w->arena, struct txn, c->npending);
        struct change *changes = ARENA_ARRAY(w->arena, struct change, 16 * c->npending);
        uint8_t *vids = ARENA_ARRAY(w->arena, uint8_t, 16 * c->npending);
        rec.hlc.v = c->hlc.v + 1;
        for (unsigned t = 0; t < c->npending; t++) {
                const struct ltx *tx = c->pending[t];
                rec.hlc = hlc_max(rec.hlc, (hlc_t){(uint64_t)tx->ts});
                txs[t] = (struct txn){.xid = {tx->xid},
                                      .commit_lsn = {tx->lsn},
                                      .end_lsn = {tx->lsn},
                                      .commit_us = tx->ts,
                                      .vec = c->pending_vec[t]};
                for (unsigned i = 0; i < tx->n; i++)
                        vset_add(&rec.all, tx->w[i].vid);
                rec.g.nchanges += changes_of(w, tx, t, changes + rec.g.nchanges, vids + rec.g.nchanges);
        }
        for (unsigned o = 0; o < REGIONS; o++)
                rec.hlc = hlc_max(rec.hlc, (hlc_t){rec.vec.at[o].v ? rec.vec.at[o].v + 1 : 0});
        rec.vec.at[me.i] = c->hlc = rec.hlc;
        rec.lsn = c->delivered = c->pending[c->npending - 1]->lsn;
        rec.first_commit = c->pending[0]->lsn - 1;
        rec.vids = vids;
        rec.g.hlc = rec.hlc;
        rec.g.ntxs = c->npending;
        rec.g.txs = txs;
        rec.g.nrels = TABLES;
        rec.g.rels = w->set.rules->rels;
        rec.g.changes = changes;
        rec.g.last = true;
        append(w, r, rec);
        if (c->epoch >= r->log_epoch)
                dots_of(w, c, (struct dot){.region = me, .hlc = rec.hlc}, r->gen);
        c->npending = 0;
        return true;
}

/* pg_snapshot_xmin and the insert position, read in one statement. */
bool capture_probe(struct region *r, struct capture *c)
{
        if (c->state != CAP_RUN || c->dead || c->zombie)
                return false;
        c->probe.xmin = db_lowest_running(r);
        c->probe.lsn = (uint64_t)r->nwal;
        return true;
}

bool capture_progress(struct world *w, struct region *r, struct capture *c)
{
        if (c->state != CAP_RUN || c->dead || c->npending || c->pos < 0 || r->nlog >= LOG_MAX - 1)
                return false;
        bool pair = c->probe.xmin > c->probe_published && c->probe.lsn <= (uint64_t)c->pos;
        if (!pair && memcmp(&c->vec, &c->published, sizeof c->vec) == 0 && c->delivered >= (uint64_t)c->pos)
                return false;
        struct rec rec = {.kind = REC_PROGRESS, .epoch = c->epoch, .hlc = c->hlc, .vec = c->vec};
        rec.lsn = (uint64_t)c->pos > c->skip_to ? (uint64_t)c->pos : c->skip_to;
        rec.vec.at[id_of(w, r)] = c->hlc;
        if (pair) {
                rec.xmin = c->probe_published = c->probe.xmin;
                rec.xmin_lsn = c->probe.lsn;
        }
        c->published = c->vec;
        c->delivered = rec.lsn;
        return append(w, r, rec);
}

bool capture_confirm(struct region *r, struct capture *c)
{
        if (c->state != CAP_RUN || c->dead || !c->owns_slot || c->delivered <= (uint64_t)r->slot_confirmed)
                return false;
        r->slot_confirmed = (int)c->delivered;
        return true;
}

void capture_kill(struct region *r, struct capture *c)
{
        (void)r;
        c->dead = true;
        c->owns_slot = false;
}

/* It freezes: its walsender times out, what its socket held is still there when it thaws. */
void capture_zombie(struct region *r, struct capture *c)
{
        c->zombie = true;
        c->owns_slot = false;
        c->wal_limit = db_visible_wal(r);
}
