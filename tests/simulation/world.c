/* world: all regions together: steps, the seeded scheduler, coming to rest. */
#include <stdio.h>
#include <string.h>

#include "tests/simulation/sim.h"

/* ---- a world at its beginning ---------------------------------------------------------------------------------------------------------- */

void world_init(struct world *w, const struct setup *set, struct arena *arena, struct arena *scratch)
{
        static const char names[REGIONS][4] = {"us", "eu", "ap", "sa", "af"}; /* the numbers are not in the order of the names */
        memset(w, 0, sizeof *w);
        w->set = *set;
        w->arena = arena;
        w->scratch = scratch;
        w->now = 40;
        w->regs.n = set->regions;
        for (unsigned i = 0; i < set->regions; i++)
                strcpy(w->regs.name[i], names[i]);
        for (unsigned i = 0; i < set->regions; i++) {
                struct region *r = &w->r[i];
                r->follower = i >= set->regions - set->followers;
                r->d.next_xid = 1;
                r->flushed = set->async ? 0 : -1;
                if (set->async)
                        r->snap[0].d = arena_copy(arena, &r->d, sizeof r->d);
                apply_reset(w, r, 0);
                if (!r->follower)
                        capture_land(w, r, capture_new(w, r));
        }
}

/* ---- steps ------------------------------------------------------------------------------------------------------------------------------- */

static struct capture *capture_at(struct region *r, int arg)
{
        int i = r->ncap - 1 - arg;
        return i >= 0 ? &r->cap[i] : NULL;
}

static bool step_capture(struct world *w, struct region *r, const struct step *s)
{
        struct capture *c = capture_at(r, s->arg);
        if (!c)
                return false;
        if (s->kind == STEP_DECODE)
                return capture_decode(w, r, c);
        if (s->kind == STEP_CLOSE)
                return capture_close(w, r, c);
        if (s->kind == STEP_PROGRESS)
                return capture_progress(w, r, c);
        if (s->kind == STEP_PROBE)
                return capture_probe(r, c);
        if (s->kind == STEP_CONFIRM)
                return capture_confirm(r, c);
        if (s->kind == STEP_LAND) {
                if (c->state != CAP_NEW || c->dead)
                        return false;
                capture_land(w, r, c);
                return true;
        }
        if (s->kind == STEP_NEWCAP) {
                if (!(c->dead || c->zombie) || r->ncap >= CAPTURES - 1)
                        return false;
                capture_new(w, r);
                return true;
        }
        if (c->dead || c->zombie)
                return false;
        if (s->kind == STEP_KILLCAP)
                capture_kill(r, c);
        else
                capture_zombie(r, c);
        return true;
}

static bool do_step(struct world *w, const struct step *s)
{
        struct region *r = &w->r[s->r];
        switch (s->kind) {
        case STEP_BEGIN: return !r->follower && db_begin(w, r, s->ops, s->nops, s->sub);
        case STEP_COMMIT: return db_commit(w, r, s->arg, s->late);
        case STEP_SHOW: return db_show(r);
        case STEP_TX: return !r->follower && db_begin(w, r, s->ops, s->nops, s->sub) && db_commit(w, r, s->arg, s->late);
        case STEP_DECODE:
        case STEP_CLOSE:
        case STEP_PROGRESS:
        case STEP_PROBE:
        case STEP_CONFIRM:
        case STEP_LAND:
        case STEP_KILLCAP:
        case STEP_ZOMBIE:
        case STEP_NEWCAP: return !r->follower && step_capture(w, r, s);
        case STEP_OWNREAD: return own_read(w, r);
        case STEP_OWNFIX: return own_fix(w, r);
        case STEP_EXEC: return s->o != s->r && apply_exec(w, r, s->o, s->arg != 0);
        case STEP_DONE: return apply_done(w, r);
        case STEP_KILLAPPLY: apply_reset(w, r, s->arg); return true;
        case STEP_STABLE: return stability_turn_of(w, r);
        case STEP_UNIQUE: return w->set.rules->unique && unique_again(w, r);
        case STEP_FLUSH:
                if (r->flushed < 0 || r->flushed == r->nwal)
                        return false;
                r->flushed = r->nwal;
                return true;
        case STEP_CRASH:
                if (r->flushed < 0)
                        return false;
                db_crash(w, r, s->arg);
                return true;
        case STEP_RULE: return r->gen + 1 < w->set.rules->generations && (r->gen++, true);
        case STEP_KINDS: break;
        }
        return false;
}

bool world_step(struct world *w, const struct step *s)
{
        bool did = do_step(w, s);
        w->now += did && !w->set.still; /* what did nothing leaves no trace, so that a schedule can be told without it */
        return did;
}

/* ---- rest -------------------------------------------------------------------------------------------------------------------------------- */

static void settle_captures(struct world *w, struct region *r)
{
        while (db_show(r) || db_commit(w, r, 0, false))
                ;
        if (r->flushed >= 0)
                r->flushed = r->nwal;
        if (r->follower)
                return;
        for (int i = 0; i < r->ncap; i++) {
                struct capture *c = &r->cap[i];
                if (i == r->ncap - 1 && !c->zombie && !c->dead)
                        break;
                if (c->state == CAP_NEW && !c->dead)
                        capture_land(w, r, c);
                while (capture_decode(w, r, c))
                        ;
                capture_close(w, r, c);
                capture_confirm(r, c);
                capture_kill(r, c);
        }
        struct capture *c = &r->cap[r->ncap - 1];
        if (c->dead)
                c = capture_new(w, r);
        if (c->state == CAP_NEW)
                capture_land(w, r, c);
}

static bool region_turn(struct world *w, struct region *r)
{
        bool moved = false;
        struct capture *c = r->follower ? NULL : &r->cap[r->ncap - 1];
        if (r->flushed >= 0)
                r->flushed = r->nwal;
        if (c) {
                while (capture_decode(w, r, c) || capture_close(w, r, c))
                        moved = true;
                capture_probe(r, c);
                moved |= capture_progress(w, r, c);
        }
        while (own_read(w, r))
                moved = true;
        for (unsigned o = 0; o < w->set.regions; o++)
                while (apply_done(w, r) || (o != id_of(w, r) && apply_exec(w, r, o, false)))
                        moved = true;
        while (own_fix(w, r))
                moved = true;
        while (w->set.rules->unique && unique_again(w, r))
                moved = true;
        return stability_turn_of(w, r) || moved;
}

static void check_alive(struct world *w)
{
        for (unsigned i = 0; i < w->set.regions; i++) {
                struct region *r = &w->r[i];
                for (unsigned o = 0; o < w->set.regions; o++)
                        if (o != i && reader_peek(&r->a.cur[o], &w->r[o]))
                                world_fault(w, "LIVE: %s never applies the rest of %s", w->regs.name[i], w->regs.name[o]);
                for (unsigned k = 0; k < KEYS; k++)
                        for (unsigned o = 0; o < w->set.regions; o++)
                                if (tombs_of(&r->d, k).at[o].v)
                                        world_fault(w, "LIVE: a tombstone of key %u stays at %s", k, w->regs.name[i]);
                for (unsigned k = 0; k < KEYS; k++)
                        if (r->d.sib[k].n || r->d.cdot[k].n)
                                world_fault(w, "LIVE: siblings of key %u stay at %s", k, w->regs.name[i]);
        }
}

void world_rest(struct world *w)
{
        bool moved = true;
        for (unsigned i = 0; i < w->set.regions; i++)
                settle_captures(w, &w->r[i]);
        for (int turn = 0; moved && turn < 100; turn++) {
                moved = false;
                for (unsigned i = 0; i < w->set.regions; i++)
                        moved |= region_turn(w, &w->r[i]);
        }
        if (moved)
                world_fault(w, "LIVE: does not come to rest");
        if (w->nfaults)
                return;
        oracle_check(w);
        if (!w->nfaults)
                check_alive(w);
}
