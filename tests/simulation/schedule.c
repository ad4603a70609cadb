/* schedule: random histories from a seed. */
#include <string.h>

#include "tests/simulation/sim.h"

struct rng {
        uint64_t s;
};

static uint32_t next(struct rng *g, uint32_t n) /* xorshift64*: [0, n) */
{
        g->s ^= g->s >> 12;
        g->s ^= g->s << 25;
        g->s ^= g->s >> 27;
        return (uint32_t)(((g->s * UINT64_C(0x2545F4914F6CDD1D)) >> 32) * n >> 32);
}

static bool chance(struct rng *g, uint32_t percent)
{
        return next(g, 100) < percent;
}

static struct rng seeded(uint64_t seed, uint64_t salt)
{
        struct rng g = {seed * UINT64_C(0x9E3779B97F4A7C15) + salt};
        g.s ^= g.s >> 29;
        g.s *= UINT64_C(0xBF58476D1CE4E5B9);
        g.s |= 1;
        for (int i = 0; i < 4; i++)
                next(&g, 2);
        return g;
}

struct setup setup_random(uint64_t seed, const struct rules *rules, unsigned regions)
{
        struct rng g = seeded(seed, 77);
        static const int skews[] = {0, 0, 0, 30, -30};
        struct setup s = {.rules = rules, .regions = regions ? regions : 2 + next(&g, 10) / 3};
        s.regions = s.regions > REGIONS ? REGIONS : s.regions;
        s.followers = s.regions > 2 && chance(&g, 20) ? 1 : 0;
        s.keys = rules->unique ? 3 : 1 + next(&g, 2);
        s.async = chance(&g, 35);
        s.chunks = seed % 8 == 7;
        for (unsigned i = 0; i < REGIONS; i++)
                s.skew[i] = skews[next(&g, 5)];
        return s;
}

/* ---- what applications do -------------------------------------------------------------------------------------------------------------- */

static void edit(struct rng *g, struct op *op, unsigned col, int *fresh)
{
        bool ins = op->kind == OP_INS;
        enum edit e = EDIT_SET;
        int value = ++*fresh;
        switch ((enum col)col) {
        case C_K:
        case C_V:
        case C_X: break;
        case C_G: value = (int)next(g, 6) - 1; break;
        case C_N:
                e = ins ? EDIT_SET : EDIT_PLUS;
                value = (int)next(g, 14) - 4;
                break;
        case C_S:
                e = ins || chance(g, 10) ? EDIT_SET : chance(g, 60) ? EDIT_ADD : EDIT_REMOVE;
                value = (int)next(g, 4);
                break;
        case C_J:
                e = ins || chance(g, 10) ? EDIT_SET : chance(g, 70) ? EDIT_ADD : EDIT_REMOVE;
                value = (int)next(g, 9);
                break;
        case C_T:
                e = ins ? EDIT_SET : EDIT_ADD;
                value = (int)next(g, 9);
                break;
        case C_U:
        case C_W: value = (int)next(g, UNIQUE_VALUES + 1) - 1; break;
        }
        if (op->nsets < sizeof op->set / sizeof *op->set) {
                op->set[op->nsets].col = (uint8_t)col;
                op->set[op->nsets].edit = e;
                op->set[op->nsets++].value = (int16_t)value;
        }
}

static struct op random_op(struct rng *g, const struct setup *set, int *fresh)
{
        static const enum op_kind kinds[] = {OP_INS, OP_INS, OP_INS, OP_INS, OP_UPD, OP_UPD, OP_UPD,
                                             OP_UPD, OP_UPD, OP_UPD, OP_DEL, OP_DEL, OP_DEL, OP_MOVE};
        unsigned table = chance(g, 25);
        struct op op = {.kind = kinds[next(g, sizeof kinds / sizeof *kinds)]};
        unsigned cols = set->rules->cols[table];
        op.key = (uint8_t)(table * PER_TABLE + next(g, set->keys));
        op.to = (uint8_t)(table * PER_TABLE + next(g, set->keys));
        if (chance(g, 3))
                op.kind = OP_TRUNC;
        if (op.kind != OP_INS && op.kind != OP_UPD)
                return op;
        unsigned n = 0, list[NCOLS];
        for (unsigned c = C_V; c < NCOLS; c++)
                if (cols >> c & 1)
                        list[n++] = c;
        for (unsigned i = 0; i < n; i++)
                if (op.kind == OP_INS || chance(g, n > 3 ? 40 : 60))
                        edit(g, &op, list[i], fresh);
        if (!op.nsets)
                edit(g, &op, list[next(g, n)], fresh);
        return op;
}

static int jitter(struct rng *g)
{
        return chance(g, 40) ? -(int)next(g, 3) : 0;
}

static struct step random_tx(struct rng *g, const struct setup *set, unsigned r, bool whole, int *fresh)
{
        struct step s = {.kind = whole ? STEP_TX : STEP_BEGIN, .r = (uint8_t)r, .sub = chance(g, 25), .arg = (int8_t)jitter(g)};
        static const uint8_t n[] = {1, 1, 1, 2, 3};
        s.nops = n[next(g, 5)];
        for (unsigned i = 0; i < s.nops; i++)
                s.ops[i] = random_op(g, set, fresh);
        return s;
}

/* ---- the scheduler --------------------------------------------------------------------------------------------------------------------- */

struct run {
        struct world *w;
        struct rng g, late; /* late: when commits become visible; apart, so that a seed's history is otherwise what it was */
        bool hides;         /* commits are decoded before they are visible */
        struct step *trace;
        unsigned n, max;
};

static bool take(struct run *x, struct step s)
{
        if (x->n == x->max || !world_step(x->w, &s))
                return false;
        x->trace[x->n++] = s;
        return true;
}

static void simple(struct run *x, enum step_kind kind, unsigned r, unsigned o, int times)
{
        for (int i = 0; i < times; i++)
                if (!take(x, (struct step){.kind = kind, .r = (uint8_t)r, .o = (uint8_t)o}))
                        break;
}

/* What o has written reaches r. */
static void pull(struct run *x, unsigned r, unsigned o)
{
        simple(x, STEP_FLUSH, o, 0, 1);
        simple(x, STEP_DECODE, o, 0, 4);
        simple(x, STEP_CLOSE, o, 0, 1);
        simple(x, STEP_PROGRESS, o, 0, 1);
        simple(x, STEP_FLUSH, r, 0, 1);
        simple(x, STEP_DECODE, r, 0, 3);
        simple(x, STEP_CLOSE, r, 0, 1);
        simple(x, STEP_OWNREAD, r, 0, 3);
        simple(x, STEP_DONE, r, 0, 1);
        simple(x, STEP_OWNFIX, r, 0, 3);
        for (int i = 0; i < 3; i++) {
                simple(x, STEP_EXEC, r, o, 1);
                simple(x, STEP_DONE, r, 0, 1);
        }
}

/* Weights of the ordinary steps, and of the faults. */
static const struct {
        enum step_kind kind;
        uint8_t weight, fault, async;
} weights[] = {
        {STEP_DECODE, 5, 0, 0},  {STEP_CLOSE, 4, 0, 0},     {STEP_PROGRESS, 2, 0, 0}, {STEP_PROBE, 2, 0, 0},
        {STEP_CONFIRM, 1, 0, 0}, {STEP_STABLE, 2, 0, 0},    {STEP_EXEC, 7, 0, 0},     {STEP_DONE, 7, 0, 0},
        {STEP_OWNREAD, 3, 0, 0}, {STEP_OWNFIX, 3, 0, 0},    {STEP_TX, 6, 0, 0},       {STEP_BEGIN, 3, 0, 0},
        {STEP_COMMIT, 5, 0, 0},  {STEP_KILLAPPLY, 0, 1, 0}, {STEP_KILLCAP, 0, 1, 0},  {STEP_ZOMBIE, 0, 1, 0},
        {STEP_NEWCAP, 0, 4, 3},  {STEP_LAND, 0, 3, 3},      {STEP_FLUSH, 0, 0, 4},    {STEP_CRASH, 0, 0, 2},
        {STEP_RULE, 1, 0, 0},    {STEP_UNIQUE, 0, 0, 0}, /* 3 where there are unique keys */
};

static unsigned weight_of(const struct run *x, unsigned i, bool faults)
{
        if (weights[i].kind == STEP_UNIQUE)
                return x->w->set.rules->unique ? 3 : 0;
        return weights[i].weight + (faults ? weights[i].fault : 0u) + (x->w->set.async ? weights[i].async : 0u);
}

static enum step_kind random_kind(struct run *x, bool faults)
{
        unsigned sum = 0, n = sizeof weights / sizeof *weights, i;
        for (i = 0; i < n; i++)
                sum += weight_of(x, i, faults);
        unsigned at = next(&x->g, sum);
        for (i = 0; i < n; i++) {
                unsigned one = weight_of(x, i, faults);
                if (at < one)
                        break;
                at -= one;
        }
        return weights[i].kind;
}

static void random_step(struct run *x, bool faults, const uint8_t slow[REGIONS], int *fresh, bool may_write)
{
        struct rng *g = &x->g;
        unsigned regions = x->w->set.regions;
        struct step s = {.kind = random_kind(x, faults), .r = (uint8_t)next(g, regions)};
        s.o = (uint8_t)((s.r + 1 + next(g, regions - 1)) % regions);
        switch (s.kind) {
        case STEP_TX:
        case STEP_BEGIN:
                if (!may_write)
                        return;
                s = random_tx(g, &x->w->set, s.r, s.kind == STEP_TX, fresh);
                break;
        case STEP_COMMIT: s.arg = (int8_t)jitter(g); break;
        case STEP_EXEC:
                if (!chance(g, slow[s.o]))
                        return;
                s.arg = chance(g, 15);
                break;
        case STEP_DECODE:
        case STEP_CLOSE:
        case STEP_CONFIRM:
        case STEP_LAND: s.arg = faults && chance(g, 15); break; /* an older process */
        case STEP_KILLAPPLY: s.arg = (int8_t)next(g, 4); break;
        case STEP_CRASH: s.arg = (int8_t)(1 + next(g, 5)); break;
        case STEP_RULE:
                if (!chance(g, 40))
                        return;
                break;
        case STEP_PROGRESS:
        case STEP_SHOW:
        case STEP_PROBE:
        case STEP_KILLCAP:
        case STEP_ZOMBIE:
        case STEP_NEWCAP:
        case STEP_OWNREAD:
        case STEP_OWNFIX:
        case STEP_DONE:
        case STEP_STABLE:
        case STEP_FLUSH:
        case STEP_UNIQUE:
        case STEP_KINDS: break;
        }
        s.late = x->hides && (s.kind == STEP_TX || s.kind == STEP_COMMIT) && chance(&x->late, 60);
        take(x, s);
        for (unsigned r = 0; x->hides && r < regions; r++)
                if (chance(&x->late, 8))
                        simple(x, STEP_SHOW, r, 0, 1);
}

unsigned world_random(struct world *w, uint64_t seed, struct step *trace, unsigned max)
{
        struct run x = {.w = w, .g = seeded(seed, 1), .late = seeded(seed, 3), .hides = seed % 8 == 5, .trace = trace, .max = max};
        static const uint8_t speeds[] = {10, 50, 100, 100};
        unsigned steps = 60 + next(&x.g, 120), txs = 5 + next(&x.g, 10), pulls = next(&x.g, 4) * 3, regions = w->set.regions;
        bool faults = chance(&x.g, 60);
        uint8_t slow[REGIONS];
        int fresh = 0;
        for (unsigned i = 0; i < REGIONS; i++)
                slow[i] = speeds[next(&x.g, 4)];
        for (unsigned i = 0; i < steps; i++) {
                unsigned made = 0;
                for (unsigned k = 0; k < x.n; k++)
                        made += trace[k].kind == STEP_TX || trace[k].kind == STEP_BEGIN;
                if (pulls && chance(&x.g, pulls)) {
                        unsigned r = next(&x.g, regions);
                        pull(&x, r, (r + 1 + next(&x.g, regions - 1)) % regions);
                } else if (chance(&x.g, 1)) {
                        for (unsigned r = 0; r < regions; r++)
                                for (unsigned o = 0; o < regions; o++)
                                        if (o != r)
                                                pull(&x, r, o);
                        for (unsigned r = 0; r < regions; r++)
                                simple(&x, STEP_STABLE, r, 0, 1);
                } else {
                        random_step(&x, faults, slow, &fresh, made < txs * (i + 1) / steps + 1);
                }
        }
        return x.n;
}
