/* shrink: the minimal schedule of a failure: steps and operations are left out while a fault of the same kind stays. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/simulation/sim.h"

/* "C5: ..": the kind of a fault is what stands before the colon. */
static void kind_of(const char *fault, char kind[16])
{
        size_t n = strcspn(fault, ":");
        snprintf(kind, 16, "%.*s", (int)(n < 15 ? n : 15), fault);
}

struct trial {
        struct world *w;
        struct arena arena, scratch;
        const struct setup *set;
        char kind[16];
};

static bool fails(struct trial *t, const struct step *trace, unsigned n, char why[240])
{
        char kind[16];
        arena_reset(&t->arena);
        world_init(t->w, t->set, &t->arena, &t->scratch);
        for (unsigned i = 0; i < n; i++)
                world_step(t->w, &trace[i]);
        world_rest(t->w);
        for (unsigned i = 0; i < t->w->nfaults; i++) {
                kind_of(t->w->fault[i], kind);
                if (strcmp(kind, t->kind) != 0 && t->kind[0])
                        continue;
                snprintf(why, 240, "%s", t->w->fault[i]);
                return true;
        }
        return false;
}

static bool shrink_steps(struct trial *t, struct step *trace, unsigned *n, char why[240])
{
        bool changed = false;
        struct step *less = mem_alloc(sizeof *less * (*n + 1));
        for (unsigned size = 16; size; size /= 2)
                for (unsigned i = 0; i + size <= *n;) {
                        memcpy(less, trace, sizeof *less * i);
                        memcpy(less + i, trace + i + size, sizeof *less * (*n - i - size));
                        if (!fails(t, less, *n - size, why)) {
                                i += size;
                                continue;
                        }
                        *n -= size;
                        memcpy(trace, less, sizeof *less * *n);
                        changed = true;
                }
        free(less);
        return changed;
}

static bool shrink_ops(struct trial *t, struct step *trace, unsigned n, char why[240])
{
        bool changed = false;
        for (unsigned i = 0; i < n; i++)
                for (unsigned k = 0; k < trace[i].nops && trace[i].nops > 1;) {
                        struct step before = trace[i];
                        memmove(trace[i].ops + k, trace[i].ops + k + 1, sizeof *trace[i].ops * (trace[i].nops - k - 1u));
                        trace[i].nops--;
                        if (fails(t, trace, n, why)) {
                                changed = true;
                        } else {
                                trace[i] = before;
                                k++;
                        }
                }
        return changed;
}

unsigned shrink(const struct setup *set, struct step *trace, unsigned n, char why[240])
{
        struct trial t = {.set = set, .w = MEM_NEW(struct world)};
        char first[240];
        arena_init(&t.arena);
        arena_init(&t.scratch);
        if (fails(&t, trace, n, why)) {
                kind_of(why, t.kind);
                for (int i = 0; i < 10; i++)
                        if (!(shrink_steps(&t, trace, &n, first) | shrink_ops(&t, trace, n, first)))
                                break;
                fails(&t, trace, n, why);
        } else {
                n = 0; /* does not fail again: the simulation itself is at fault */
        }
        arena_release(&t.arena);
        arena_release(&t.scratch);
        free(t.w);
        return n;
}

/* ---- a schedule as a table ---------------------------------------------------------------------------------------------------------------- */

static size_t ops_str(char *buf, size_t size, const struct step *s)
{
        static const char *const kinds[OP_KINDS] = {"insert", "update", "delete", "move", "truncate"};
        static const char cols[] = "kvxgnsjtuw";
        static const char *const edits[] = {"=", "+=", " add ", " remove "};
        size_t n = 0;
        for (unsigned i = 0; i < s->nops && n < size; i++) {
                const struct op *op = &s->ops[i];
                n += (size_t)snprintf(buf + n, size - n, "%s%s %u", i ? ", " : "", kinds[op->kind], op->key);
                if (op->kind == OP_MOVE && n < size)
                        n += (size_t)snprintf(buf + n, size - n, " to %u", op->to);
                for (unsigned k = 0; k < op->nsets && n < size; k++)
                        n += (size_t)snprintf(buf + n, size - n, " %c%s%d", cols[op->set[k].col], edits[op->set[k].edit],
                                              op->set[k].value);
        }
        return n;
}

const char *step_str(char *buf, size_t size, const struct world *w, const struct step *s)
{
        static const char *const names[STEP_KINDS] = {
                [STEP_BEGIN] = "a transaction executes:",
                [STEP_COMMIT] = "it commits",
                [STEP_SHOW] = "its commit becomes visible",
                [STEP_TX] = "a transaction:",
                [STEP_DECODE] = "capture decodes one WAL entry",
                [STEP_CLOSE] = "capture publishes a group",
                [STEP_PROGRESS] = "capture publishes PROGRESS",
                [STEP_PROBE] = "capture reads the oldest running xid",
                [STEP_CONFIRM] = "capture reports flush to the slot",
                [STEP_LAND] = "the EPOCH record lands",
                [STEP_KILLCAP] = "capture is killed",
                [STEP_ZOMBIE] = "capture freezes (a zombie)",
                [STEP_NEWCAP] = "a new capture starts",
                [STEP_OWNREAD] = "apply reads its own log",
                [STEP_OWNFIX] = "apply holds that record against what was applied",
                [STEP_EXEC] = "apply executes the next record of",
                [STEP_DONE] = "apply commits it",
                [STEP_KILLAPPLY] = "apply is killed and restarts",
                [STEP_STABLE] = "forgets what is stable",
                [STEP_FLUSH] = "the WAL is flushed",
                [STEP_CRASH] = "PostgreSQL crashes",
                [STEP_UNIQUE] = "looks who may come back",
                [STEP_RULE] = "learns of the next rules generation",
        };
        size_t n = (size_t)snprintf(buf, size, "%s", names[s->kind]);
        if (s->kind == STEP_EXEC)
                n += (size_t)snprintf(buf + n, size - n, " %s%s", w->regs.name[s->o], s->arg ? " (locks first)" : "");
        else if (s->kind == STEP_TX || s->kind == STEP_BEGIN)
                n += (size_t)snprintf(buf + n, size - n, " ") + ops_str(buf + n + 1, size - n - 1, s);
        else if (s->kind == STEP_CRASH || s->kind == STEP_KILLAPPLY)
                n += (size_t)snprintf(buf + n, size - n, ", %d back", s->arg);
        else if (s->arg && s->kind != STEP_COMMIT)
                n += (size_t)snprintf(buf + n, size - n, " [the older process]");
        if (s->sub && n < size)
                n += (size_t)snprintf(buf + n, size - n, " (in a savepoint)");
        if ((s->kind == STEP_TX || s->kind == STEP_COMMIT) && s->arg && n < size)
                snprintf(buf + n, size - n, " (clock %+d)", s->arg);
        return buf;
}

static void print_db(const struct world *w, const struct region *r)
{
        char img[160];
        for (unsigned k = 0; k < KEYS; k++) {
                const struct row *row = &r->d.row[k];
                if (!row->img && !r->d.supp[k].row.img && !r->d.sib[k].n)
                        continue;
                image_str(img, sizeof img, row->img);
                printf("        | %-4s |   key %u: %s xid %u", w->regs.name[id_of(w, r)], k, img, (unsigned)row->xid);
                if (row->img)
                        printf(" %s:%d", row->from.i == REGION_NONE.i ? "local" : w->regs.name[row->from.i], (int)row->ts);
                for (size_t i = 0; i < r->d.sib[k].n; i++) {
                        image_str(img, sizeof img, r->d.sib[k].v[i].row);
                        printf("%s %s:%u %s",
                               i                             ? ","
                               : r->d.sib[k].xid == row->xid ? "; siblings"
                                                             : "; old siblings",
                               w->regs.name[r->d.sib[k].v[i].dot.region.i], (unsigned)r->d.sib[k].v[i].dot.hlc.v, img);
                }
                if (r->d.supp[k].row.img) {
                        image_str(img, sizeof img, r->d.supp[k].row.img);
                        printf("; waits: %s %s:%u", img, w->regs.name[r->d.supp[k].dot.region.i], (unsigned)r->d.supp[k].dot.hlc.v);
                }
                printf("\n");
        }
}

static void print_record(const struct world *w, const struct region *r, int nlog)
{
        char vec[200], text[2][160];
        for (; nlog < r->nlog; nlog++) {
                const struct rec *p = r->log[nlog];
                printf("        | %-4s |   record: %s epoch %d hlc %u lsn %u xmin %u sees %s\n", w->regs.name[id_of(w, r)],
                       p->kind == REC_GROUP   ? "GROUP"
                       : p->kind == REC_EPOCH ? "EPOCH"
                                              : "PROGRESS",
                       p->epoch, (unsigned)p->hlc.v, (unsigned)p->lsn, (unsigned)p->xmin,
                       vector_str(vec, sizeof vec, &p->vec, &w->regs));
                for (uint32_t i = 0; i < p->g.nchanges; i++) {
                        const struct true_version *v = &w->v[p->vids[i]];
                        image_str(text[0], sizeof text[0], v->old);
                        image_str(text[1], sizeof text[1], v->img);
                        printf("        |      |     version %u: %s key %u %s -> %s\n", p->vids[i],
                               change_op_name(p->g.changes[i].op), v->key, text[0], text[1]);
                }
        }
}

void print_schedule(const struct setup *set, const struct step *trace, unsigned n)
{
        struct world *w = MEM_NEW(struct world);
        struct arena arena, scratch;
        char text[300];
        arena_init(&arena);
        arena_init(&scratch);
        world_init(w, set, &arena, &scratch);
        printf("rule %s, %u regions (%u followers), commits %s, clocks", set->rules->name, set->regions, set->followers,
               set->async ? "asynchronous" : "synchronous");
        for (unsigned i = 0; i < set->regions; i++)
                printf(" %s%+d", w->regs.name[i], set->skew[i]);
        printf("\n   step | at   | what\n");
        for (unsigned i = 0; i <= n; i++) {
                int logs[REGIONS];
                for (unsigned r = 0; r < set->regions; r++)
                        logs[r] = w->r[r].nlog;
                if (i == n) {
                        printf("        |      | everything arrives\n");
                        world_rest(w);
                } else {
                        bool ok = world_step(w, &trace[i]);
                        printf("    %3u | %-4s | %s%s\n", i + 1, w->regs.name[trace[i].r],
                               step_str(text, sizeof text, w, &trace[i]), ok ? "" : " -- waits");
                }
                for (unsigned r = 0; r < set->regions; r++) {
                        print_record(w, &w->r[r], logs[r]);
                        if (i == n || trace[i].r == r)
                                print_db(w, &w->r[r]);
                }
        }
        for (unsigned i = 0; i < w->nfaults; i++)
                printf("     => %s\n", w->fault[i]);
        arena_release(&arena);
        arena_release(&scratch);
        free(w);
}
