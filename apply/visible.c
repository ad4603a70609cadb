/* visible: which waiting rows may come back.  DESIGN 7, unique keys.
 *
 * At rest every waiting row has a visible row before it (in the order of the keys) that holds one of its values, and visible rows do not
 * clash: that is the one set which the order of the keys gives, whatever the way to it was. So it is enough to look again at rows whose
 * holder was touched. Who comes back does so in a transaction with those of the same dot, under its origin with ts = its HLC, so that its
 * xmin is its dot again; visible rows behind it that clash with it leave in the same transaction. Each step makes the visible set greater
 * in the order of the keys: it ends. */
#include "apply/hide.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "change/key.h"

#define BATCH 50
#define SLICE_US 50000 /* its share of a turn */
#define BACKOFF_MAX_US 1000000
#define SAY_AFTER_TRIES 8

/* A row that waits, looked at. */
struct guest {
        struct hidden_row *row;
        struct hidden_image image;
        uint32_t at; /* in the clash set */
        bool tried;
};

static int by_key(const void *a, const void *b)
{
        const struct hidden_row *x = ((const struct guest *)a)->row, *y = ((const struct guest *)b)->row;
        int d = memcmp(x->kb, y->kb, x->klen < y->klen ? x->klen : y->klen);
        return d ? d : (x->klen > y->klen) - (x->klen < y->klen);
}

/* The first rows to be looked at, in the order of their keys: those come back first that others wait for. */
static uint32_t choose(struct arena *arena, struct hidden_table *t, struct guest **out)
{
        struct guest *all = ARENA_ARRAY(arena, struct guest, t->nchecks);
        size_t it = 0, len, n = 0;
        const void *key;
        void *row;
        while (n < t->nchecks && map_next(&t->rows, &it, &key, &len, &row))
                if (((struct hidden_row *)row)->to_check)
                        all[n++].row = row;
        qsort(all, n, sizeof *all, by_key);
        *out = all;
        return n > BATCH ? BATCH : (uint32_t)n;
}

/* Reads their images; *left: those that wait still, in the same order. */
static enum status read_images(struct applier *a, struct hidden_table *t, struct guest *g, uint32_t n, struct guest ***left,
                               uint32_t *nleft, struct err *e)
{
        struct hidden_image *keys = ARENA_ARRAY(&a->arena, struct hidden_image, n), *images;
        *left = ARENA_ARRAY(&a->arena, struct guest *, n);
        *nleft = 0;
        for (uint32_t i = 0; i < n; i++)
                keys[i] = (struct hidden_image){.kb = g[i].row->kb, .klen = g[i].row->klen};
        enum status s = hidden_fetch(a->db, &a->regs, &a->arena, t->name, keys, n, &images, e);
        for (uint32_t i = 0; i < n && s == ST_OK; i++) {
                g[i].image = images[i];
                if (images[i].kb)
                        (*left)[(*nleft)++] = &g[i];
                else
                        hidden_gone(a->hidden, g[i].row);
        }
        return s;
}

/* false: its image cannot be read */
static bool add_guest(struct clash_set *c, struct guest *g)
{
        const struct value *row = clash_values(c->arena, c->table->rel, g->image.image);
        struct buf key;
        if (!row)
                return false;
        buf_init(&key, 0);
        key_json(&key, c->table->rel, row);
        struct clash_row r = {.kb = g->image.kb,
                              .klen = g->image.klen,
                              .key = arena_strndup(c->arena, (const char *)key.data, key.len),
                              .image = g->image.image};
        g->at = clash_add(c, &r);
        buf_release(&key);
        return true;
}

static enum status add_guests(struct clash_set *c, const struct hidden_table *t, struct guest *const *g, uint32_t n, struct err *e)
{
        for (uint32_t i = 0; i < n; i++)
                if (!add_guest(c, g[i]))
                        return err_named(e, ST_DATA, "row_refused", "table %s: the image of a waiting row cannot be read", t->name);
        return ST_OK;
}

/* ---- one comes back -------------------------------------------------------------------------------------------------------------------- */

/* Rows with one dot, that the judge has let in. */
struct party {
        struct guest **guests;
        uint32_t n;
        struct dot dot;
};

static bool one_of(const struct party *p, const struct buf *kb)
{
        for (uint32_t i = 0; i < p->n; i++) {
                const struct hidden_image *w = &p->guests[i]->image;
                if (kb->len == w->klen && memcmp(kb->data, w->kb, w->klen) == 0)
                        return true;
        }
        return false;
}

static bool touches(const struct group *g, const struct relation *rel, const struct party *p)
{
        struct buf kb;
        bool found = false;
        buf_init(&kb, 0);
        for (uint32_t i = 0; i < g->nchanges && !found; i++) {
                const struct change *c = &g->changes[i];
                const struct value *rows[2] = {c->row, c->old};
                if (strcmp(c->rel->name, rel->name) != 0 || strcmp(c->rel->schema, rel->schema) != 0)
                        continue;
                found = c->op == CHANGE_TRUNCATE;
                for (int k = 0; k < 2 && !found; k++) {
                        if (!rows[k] || key_has_unsent(c->rel, rows[k]))
                                continue;
                        buf_reset(&kb);
                        key_bytes(&kb, c->rel, rows[k]);
                        found = one_of(p, &kb);
                }
        }
        buf_release(&kb);
        return found;
}

/* Is there a local write of one of their keys, deletes included, that is read but not processed? It decides first. */
static bool own_log_speaks(struct applier *a, const struct relation *rel, const struct party *p)
{
        struct arena arena;
        bool found = false;
        arena_init(&arena);
        for (const struct log_item *i = a->own_log ? inlog_head(a->own_log) : NULL; i && !found; i = i->next) {
                struct record r;
                struct err ignored;
                if (i->replay || (i->kind != ITEM_GROUP && i->kind != ITEM_BIG))
                        continue;
                arena_reset(&arena);
                found = i->kind == ITEM_BIG || wire_decode(i->msg.data, i->msg.len, &a->regs, &arena, &r, &ignored) != ST_OK ||
                        touches(&r.u.group, rel, p);
        }
        arena_release(&arena);
        return found;
}

static void on_xid(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        ((fullxid_t *)arg)->v = (uint64_t)pgres_i64(r, 0, 0);
}

/* A follower's stray rows of those keys are nobody's. *strays lives until the next sync. */
static enum status send_delete_strays(struct clash_set *c, const struct party *p, int64_t *strays, struct err *e)
{
        uint32_t *rows = ARENA_ARRAY(c->arena, uint32_t, p->n);
        for (uint32_t i = 0; i < p->n; i++)
                rows[i] = p->guests[i]->at;
        return clash_send_delete(c, rows, p->n, strays, e);
}

static enum status insert_party(struct applier *a, struct clash_set *c, const struct hidden_table *t, const struct party *p,
                                fullxid_t *xid, struct err *e)
{
        int64_t strays = 0, done = 0;
        enum status s = a->follower ? send_delete_strays(c, p, &strays, e) : ST_OK;
        for (uint32_t i = 0; i < p->n && s == ST_OK; i++) {
                const struct guest *g = p->guests[i];
                s = hidden_drop(a->hidden, a->db, t->name, g->image.kb, g->image.klen, e);
                if (s == ST_OK)
                        s = clash_send_insert(c, g->at, &done, e);
                if (s == ST_OK)
                        s = hidden_tie(a->db, t->name, g->image.kb, g->image.klen, e);
        }
        if (s == ST_OK)
                s = session_query(a->db, "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8", 0, NULL,
                                  on_xid, xid, e);
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        /* their keys are taken now: whoever wrote one before is in the own log, up to here */
        if (s == ST_OK && !a->follower)
                s = own_catch_up(a, e);
        if (s == ST_OK && own_log_speaks(a, c->table->rel, p))
                s = err_set(e, ST_RETRY, "table %s: a local write of a row that waits is not processed yet", t->name);
        return s;
}

/* Inside their transaction. */
static enum status enter(struct applier *a, struct clash_set *c, const struct hidden_table *t, const struct party *p,
                         fullxid_t *xid, struct err *e)
{
        bool *keep;
        const struct clash_pair **holder;
        struct loser *losers = NULL;
        size_t n = 0;
        enum status s = add_guests(c, t, p->guests, p->n, e);
        if (s == ST_OK)
                s = clash_find(c, e);
        if (s != ST_OK)
                return s;
        clash_decide(c, &keep, &holder);
        for (uint32_t i = 0; i < p->n; i++)
                if (!keep[p->guests[i]->at])
                        return err_set(e, ST_RETRY, "table %s: a unique value was taken meanwhile", t->name);
        struct hiding h = {.set = c, .mine = p->dot, .keep = keep, .holder = holder, .visible_only = true};
        s = hide_losers(a, &h, &losers, &n, e);
        FAILPOINT("apply.hidden");
        if (s == ST_OK)
                s = insert_party(a, c, t, p, xid, e);
        if (s == ST_OK && n)
                s = losers_record(&(struct work){.a = a}, losers, n, e);
        return s;
}

/* The origin's progress is given as it is: PostgreSQL moves it only forward. A dot of a region that is gone, or that never had an origin
 * here, is stable: the own one will do. */
static enum status come_back(struct applier *a, struct target *target, struct hidden_table *t, const struct party *p, struct err *e)
{
        struct dot dot = p->dot;
        struct clash_set c;
        fullxid_t xid = {0};
        if (dot.region.i >= a->topo->names.n || !a->origins.roident[dot.region.i])
                dot.region = a->me;
        bool mine = dot.region.i == a->me.i;
        enum status s = clash_begin(&c, a, &a->arena, target, e);
        if (s == ST_OK)
                s = begin_as(a, dot.region, mine ? a->own_stable.lsn : a->from[dot.region.i].applied_lsn, dot.hlc, e);
        if (s == ST_OK)
                s = enter(a, &c, t, p, &xid, e);
        if (s == ST_OK)
                s = session_query(a->db, "COMMIT", 0, NULL, NULL, NULL, e);
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        if (s == ST_OK) {
                FAILPOINT("apply.visible");
                log_event(LOG_DEBUG, "apply.visible", "table=%s\tback=%u\thid=%u", t->name, p->n, c.n - c.ncandidates);
                a->origin_sure = true;
                a->newest_xid = xid;
                stability_note(a, dot, xid);
                hidden_committed(a->hidden);
                meter_committed(&a->meter);
        } else {
                group_rollback(a);
        }
        clash_end(&c);
        return s;
}

/* ---- a batch --------------------------------------------------------------------------------------------------------------------------- */

/* Those that go on waiting: for whom is remembered, and written down for people when it is somebody else now. */
static enum status wait_on(struct applier *a, const struct clash_set *c, const struct hidden_table *t, struct guest *const *g,
                           uint32_t n, const bool *keep, const struct clash_pair *const *holder, struct err *e)
{
        enum status s = ST_OK;
        for (uint32_t i = 0; i < n && s == ST_OK; i++) {
                if (keep[g[i]->at])
                        continue;
                const struct clash_pair *p = holder[g[i]->at];
                const struct clash_row *by = &c->rows[clash_other(p, g[i]->at)];
                g[i]->image.held_by = by->key;
                g[i]->image.constraint = p->constraint;
                s = hidden_send_holder(a->db, t->name, &g[i]->image, e);
                hidden_held_by(g[i]->row, by->kb, by->klen);
                hidden_checked(g[i]->row);
        }
        return s;
}

/* The visible rows are locked: a local change that is in the own log already may not be visible yet (a commit that waits for a standby is
 * decoded long before), but holds its rows. */
static enum status judge(struct applier *a, struct target *target, const struct hidden_table *t, struct guest *const *g, uint32_t n,
                         bool **keep, struct err *e)
{
        struct clash_set c;
        const struct clash_pair **holder;
        enum status s = clash_begin(&c, a, &a->arena, target, e);
        if (s == ST_OK)
                s = add_guests(&c, t, g, n, e);
        if (s == ST_OK)
                s = begin_as(a, a->me, a->own_stable.lsn, a->own_stable.hlc, e);
        if (s == ST_OK)
                s = clash_find(&c, e);
        if (s == ST_OK) {
                clash_decide(&c, keep, &holder);
                s = wait_on(a, &c, t, g, n, *keep, holder, e);
        }
        if (s == ST_OK)
                s = session_query(a->db, "COMMIT", 0, NULL, NULL, NULL, e);
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        a->origin_sure |= s == ST_OK;
        if (s != ST_OK) {
                group_rollback(a);
                for (uint32_t i = 0; i < n; i++)
                        hidden_check(g[i]->row);
        }
        clash_end(&c);
        return s;
}

/* The first that may come back, and those of the batch that were written with it. After a failure it comes alone. */
static bool next_party(const struct applier *a, struct guest *const *g, uint32_t n, const bool *keep, struct party *p)
{
        p->n = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (g[i]->tried || !keep[g[i]->at])
                        continue;
                if (p->n && (a->visible_tries || dot_cmp(g[i]->image.dot, p->dot, &a->regs) != 0))
                        continue;
                p->dot = g[i]->image.dot;
                p->guests[p->n++] = g[i];
        }
        for (uint32_t i = 0; i < p->n; i++)
                p->guests[i]->tried = true;
        return p->n > 0;
}

static enum status table_turn(struct applier *a, struct hidden_table *t, bool *moved, struct err *e)
{
        struct target *target = NULL;
        struct guest *all, **g;
        bool *keep;
        struct party party;
        arena_reset(&a->arena);
        enum status s = t->schema ? catalog_target(a->catalog, a->side, t->schema, t->table, &target, e) : ST_OK;
        if (s != ST_OK || !target)
                return s;
        uint32_t n = choose(&a->arena, t, &all);
        s = read_images(a, t, all, n, &g, &n, e);
        if (s != ST_OK || !n)
                return s;
        s = judge(a, target, t, g, n, &keep, e);
        party.guests = ARENA_ARRAY(&a->arena, struct guest *, n);
        int64_t end = clock_mono_us() + SLICE_US;
        while (s == ST_OK && clock_mono_us() < end && next_party(a, g, n, keep, &party)) {
                s = come_back(a, target, t, &party, e);
                *moved = true;
        }
        return s;
}

static enum status failed(struct applier *a, struct hidden_table *t, enum status s, struct err *e)
{
        if (session_lost(a->db) || pg_lost(a->side))
                return ST_RETRY;
        int64_t us = a->visible_tries < 10 ? INT64_C(1000) << a->visible_tries : BACKOFF_MAX_US;
        a->visible_tries++;
        a->visible_at = clock_mono_us() + us / 2 + random() % (us / 2 + 1);
        if (a->visible_tries >= SAY_AFTER_TRIES)
                t->why = *e;
        log_event(LOG_DEBUG, "apply.visible_retry", "table=%s\ttries=%u\tsqlstate=%s\twhy=%s", t->name, a->visible_tries,
                  e->sqlstate, e->msg);
        if (s == ST_FATAL || s == ST_STOP)
                return s;
        schema_forget(a, e);
        return ST_OK;
}

enum status visible_turn(struct applier *a, bool *moved, struct err *e)
{
        if (!hidden_count(a->hidden) || clock_mono_us() < a->visible_at)
                return ST_OK;
        for (struct hidden_table *t = hidden_tables(a->hidden); t; t = t->next) {
                if (!t->nchecks)
                        continue;
                enum status s = table_turn(a, t, moved, e);
                if (s != ST_OK)
                        return failed(a, t, s, e);
                a->visible_tries = 0;
                err_clear(&t->why);
        }
        return ST_OK;
}
