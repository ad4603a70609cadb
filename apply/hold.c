/* hold: every incoming version is held against the tombstones before it is written, and deletes leave theirs.  DESIGN 6.4. */
#include "apply/pass.h"

#include <string.h>

struct tomb_questions {
        struct pass *p;
        struct tomb_question *q;
        size_t n;
        bool own_too;
};

static void on_tombs(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        struct tomb_questions *qs = arg;
        for (int row = 0; row < pgres_rows(r); row++) {
                int64_t n = pgres_i64(r, row, 0);
                const char *region = pgres_text(r, row, 1);
                region_id id = regset_find(&qs->p->a->regs, region, strlen(region));
                if (n < 1 || n > (int64_t)qs->n || id.i == REGION_NONE.i || (id.i == qs->p->w->dot.region.i && !qs->own_too))
                        continue; /* its own later deletes come after it in its log */
                hlc_t *at = &qs->q[n - 1].tombs.at[id.i];
                *at = hlc_max(*at, (hlc_t){(uint64_t)pgres_i64(r, row, 2)});
        }
}

const char *pass_leaf_name(struct arena *arena, const struct relation *rel)
{
        return rel->leaf_name ? arena_printf(arena, "%s.%s", rel->leaf_schema, rel->leaf_name) : NULL;
}

/* Three look-ups by the whole key each: as one join with OR it was a scan of all tombstones for every row. */
static enum status ask_tombs(struct tomb_questions *qs, struct err *e)
{
        static const char sql[] =
                "SELECT s.n, t.region, t.hlc FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[]),"
                " pg_catalog.unnest($3::bytea[])) WITH ORDINALITY AS s(rel, leaf, key, n), LATERAL ("
                "SELECT k.region, k.hlc FROM pangea.tombstone k WHERE k.rel = s.rel AND k.key = s.key"
                " UNION ALL SELECT k.region, k.hlc FROM pangea.tombstone k WHERE k.rel = s.rel AND k.key = ''"
                " UNION ALL SELECT k.region, k.hlc FROM pangea.tombstone k WHERE k.rel = s.leaf AND k.key = '') t";
        struct pass *p = qs->p;
        struct buf rel, leaf, key;
        array_begin(&rel, 25);
        array_begin(&leaf, 25);
        array_begin(&key, 17);
        for (size_t i = 0; i < qs->n; i++) {
                const struct fold_table *t = qs->q[i].table;
                const char *l = pass_leaf_name(p->arena, t->rel);
                array_add(&rel, t->map.target->name, strlen(t->map.target->name));
                array_add(&leaf, l ? l : "", l ? strlen(l) : 0);
                array_add(&key, qs->q[i].net->kb, qs->q[i].net->klen);
        }
        uint32_t n = (uint32_t)qs->n;
        struct pg_param params[3] = {array_end(&rel, n, 1009), array_end(&leaf, n, 1009), array_end(&key, n, 1001)};
        enum status s = session_send(p->a->db, &p->a->fixed[FIXED_TOMB_FIND], sql, 3, params, on_tombs, qs, e);
        buf_release(&rel);
        buf_release(&leaf);
        buf_release(&key);
        return s == ST_OK ? session_sync(p->a->db, p, e) : s;
}

static bool perhaps(const struct tombs *t, const char *rel, const char *leaf, const struct net *n)
{
        return tombs_perhaps(t, rel, n->kb, n->klen) || tombs_perhaps(t, rel, NULL, 0) || (leaf && tombs_perhaps(t, leaf, NULL, 0));
}

bool pass_tombs_perhaps(const struct pass *p, const struct fold_table *t, const struct net *n)
{
        const struct tombs *tombs = p->a->tombs;
        return tombs_count(tombs) && perhaps(tombs, t->map.target->name, pass_leaf_name(p->arena, t->rel), n);
}

enum status pass_ask_tombs(struct pass *p, struct tomb_question *q, size_t n, bool own_too, struct err *e)
{
        struct tomb_questions qs = {.p = p, .q = q, .n = n, .own_too = own_too};
        return n ? ask_tombs(&qs, e) : ST_OK;
}

enum status pass_find_killed(struct pass *p, struct tomb_hit **hits, size_t *n, struct err *e)
{
        struct tomb_questions qs = {.p = p};
        size_t room = 0;
        *n = 0;
        if (!tombs_count(p->a->tombs))
                return ST_OK;
        for (uint32_t i = 0; i < p->seg->ntables; i++)
                room += p->seg->tables[i].n;
        qs.q = ARENA_ARRAY(p->arena, struct tomb_question, room);
        struct net **nets = ARENA_ARRAY(p->arena, struct net *, room);
        for (uint32_t i = 0; i < p->seg->ntables; i++) {
                const struct fold_table *t = &p->seg->tables[i];
                if (!t->map.target->multi || !t->rel->nkeys || t->map.target->set)
                        continue; /* where siblings count, apply/sets.c asks */
                const char *leaf = pass_leaf_name(p->arena, t->rel);
                for (uint32_t k = 0; k < t->n; k++)
                        if (!t->nets[k]->del && perhaps(p->a->tombs, t->map.target->name, leaf, t->nets[k])) {
                                nets[qs.n] = t->nets[k];
                                qs.q[qs.n++] = (struct tomb_question){.table = t, .net = t->nets[k]};
                        }
        }
        enum status s = qs.n ? ask_tombs(&qs, e) : ST_OK;
        *hits = ARENA_ARRAY(p->arena, struct tomb_hit, qs.n);
        for (size_t i = 0; s == ST_OK && i < qs.n; i++) {
                struct tomb_hit *h = &(*hits)[*n];
                struct vector seen = pass_seen_by(p->w, qs.q[i].net);
                if (!lww_killed(&qs.q[i].tombs, p->w->dot, &seen, &p->a->regs, &h->killer))
                        continue;
                h->table = qs.q[i].table;
                h->net = nets[i];
                ++*n;
        }
        return s;
}

/* The key of what was deleted may be in use again: the row that stands there now. */
static enum status look_at_rows(struct pass *p, const struct tomb_hit *hits, size_t n, struct err *e)
{
        enum status s = ST_OK;
        for (size_t i = 0; i < n; i++)
                pass_place(p, hits[i].table, hits[i].net, SQL_LOCK);
        for (struct run *r = p->runs; s == ST_OK && r; r = r->next)
                s = pass_send_run(p, r, &p->w->guard, pass_on_locked, e);
        if (s == ST_OK && n)
                s = session_sync(p->a->db, p, e);
        pass_clear_runs(p);
        return s;
}

/* Every incoming version is held against the tombstones before any statement writes it. */
enum status pass_hold_against_tombs(struct pass *p, struct err *e)
{
        struct tomb_hit *hits = NULL;
        size_t n = 0;
        enum status s = pass_find_killed(p, &hits, &n, e);
        if (s == ST_OK)
                s = look_at_rows(p, hits, n, e);
        for (size_t i = 0; s == ST_OK && i < n; i++) {
                const struct standing *st = hits[i].net->standing;
                hits[i].net->settled = hits[i].net->lost = true;
                pass_lose(p, (struct loser){.table = hits[i].table,
                                            .net = hits[i].net,
                                            .dot = p->w->dot,
                                            .winner_known = true,
                                            .winner = hits[i].killer,
                                            .stands = st ? st->image : NULL,
                                            .kind = CONFLICT_UPDATE_DELETED});
        }
        return s;
}

/* Deletes that did not lose leave a tombstone. */
enum status pass_leave_tombs(struct pass *p, struct err *e)
{
        struct tomb_list l;
        tomb_list_init(&l);
        for (uint32_t i = 0; i < p->seg->ntables; i++) {
                const struct fold_table *t = &p->seg->tables[i];
                for (uint32_t n = 0; t->map.target->multi && n < t->n; n++)
                        if (t->map.target->set ? t->nets[n]->tomb : t->nets[n]->del && !t->nets[n]->lost)
                                tomb_list_add(&l, p->a->tombs, t->map.target->name, t->nets[n]->kb, t->nets[n]->klen,
                                              p->w->dot.hlc);
        }
        enum status s = tomb_list_send(&l, p->a->db, &p->a->fixed[FIXED_TOMB_PUT], regset_name(&p->a->regs, p->w->dot.region), e);
        tomb_list_release(&l);
        return s;
}
