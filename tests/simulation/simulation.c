/* simulation: random histories of a world of regions, each held against the oracle.
 *
 *   build/test/simulation [--seed N] [--runs N] [--rule R] [--regions N] [--seconds S] [--trace]
 *   build/test/simulation --seeds FILE      lines: rule regions seed
 *   build/test/simulation --exhaustive STATES   all interleavings of small scripts, as many as that many states are
 * --stop ends at the first failure without shrinking it.
 *
 * Speaks TAP, a test for each rule; a seed that fails is shrunk to a minimal schedule and printed. --trace prints the schedule of one seed. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "tests/simulation/sim.h"

enum { TRACE_MAX = 2000 };

struct options {
        uint64_t seed, runs;
        unsigned regions;
        double seconds;
        const char *rule, *seeds;
        uint64_t exhaustive; /* states */
        bool trace, stop;    /* stop: after the first failure, not shrunk */
};

struct machine {
        struct world *w;
        struct arena arena, scratch;
        struct step trace[TRACE_MAX];
        struct rules rules;
        unsigned tests, failed;
        uint64_t histories, versions;
};

static double now(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* True when the history of this seed is as the oracle says. */
static bool one(struct machine *m, uint64_t seed, unsigned regions, bool trace, bool quick)
{
        struct setup set = setup_random(seed, &m->rules, regions);
        char why[240];
        arena_reset(&m->arena);
        world_init(m->w, &set, &m->arena, &m->scratch);
        unsigned n = world_random(m->w, seed, m->trace, TRACE_MAX);
        world_rest(m->w);
        m->histories++;
        m->versions += m->w->nv;
        if (!m->w->nfaults) {
                if (trace)
                        print_schedule(&set, m->trace, n);
                return true;
        }
        printf("# rule %s, regions %u, seed %llu: %s\n", m->rules.name, regions, (unsigned long long)seed, m->w->fault[0]);
        fflush(stdout);
        if (quick)
                return false;
        n = shrink(&set, m->trace, n, why);
        print_schedule(&set, m->trace, n);
        return false;
}

static bool find_rule(struct machine *m, const char *name)
{
        for (size_t i = 0; rules_at(i, &m->rules); i++)
                if (strcmp(m->rules.name, name) == 0)
                        return true;
        return false;
}

static void result(struct machine *m, bool ok, const char *what)
{
        m->tests++;
        m->failed += !ok;
        printf("%s %u - %s\n", ok ? "ok" : "not ok", m->tests, what);
        fflush(stdout);
}

/* Each rule gets its share of the runs, or of the time. */
static void all_rules(struct machine *m, const struct options *o)
{
        size_t n = 0;
        while (rules_at(n, &m->rules))
                n++;
        n = o->rule ? 1 : n;
        for (size_t i = 0; i < n && !(o->stop && m->failed); i++) {
                if (o->rule ? !find_rule(m, o->rule) : !rules_at(i, &m->rules)) {
                        result(m, false, "there is no such rule");
                        return;
                }
                double begin = now();
                uint64_t runs = o->runs / n ? o->runs / n : 1, k = 0;
                bool ok = true;
                for (; ok && (o->seconds > 0 ? now() - begin < o->seconds / (double)n : k < runs); k++)
                        ok = one(m, o->seed + k, o->regions, o->trace, o->stop);
                char what[120];
                snprintf(what, sizeof what, "%s: %llu histories in %.1f s", m->rules.name, (unsigned long long)k, now() - begin);
                result(m, ok, what);
        }
}

/* ---- all interleavings of small scripts ------------------------------------------------------------------------------------------------------- */

/* The scripts of a region: one or two transactions of one or two operations; numbered, in an order that mixes them. */
static void small_tx(uint64_t *number, unsigned keys, uint8_t *nops, struct op ops[3], unsigned cols, int value)
{
        static const enum op_kind kinds[][2] = {{OP_INS, OP_KINDS}, {OP_UPD, OP_KINDS}, {OP_DEL, OP_KINDS}, {OP_INS, OP_DEL},
                                                {OP_DEL, OP_INS},   {OP_UPD, OP_UPD},   {OP_MOVE, OP_KINDS}};
        unsigned kind = (unsigned)(*number % (keys > 1 ? 7 : 6)), key = (unsigned)(*number / 7 % keys);
        *number /= 7 * keys;
        *nops = kinds[kind][1] == OP_KINDS ? 1 : 2;
        for (unsigned i = 0; i < *nops; i++) {
                ops[i] = (struct op){.kind = kinds[kind][i], .key = (uint8_t)key, .to = (uint8_t)(1 - key % 2)};
                for (unsigned c = C_V; c < NCOLS; c++)
                        if (cols >> c & 1 && ops[i].nsets < 4) {
                                bool first = ops[i].kind == OP_INS;
                                ops[i].set[ops[i].nsets].col = (uint8_t)c;
                                ops[i].set[ops[i].nsets].edit = first      ? EDIT_SET
                                                                : c == C_N ? EDIT_PLUS
                                                                : c == C_S ? EDIT_ADD
                                                                           : EDIT_SET;
                                ops[i].set[ops[i].nsets++].value = (int16_t)(value % 5 + (int)i);
                        }
        }
}

static bool one_script(struct machine *m, struct search *s, uint64_t number, size_t limit, uint64_t *states, bool *complete)
{
        struct script x = {.split = number % 6 == 5, .acks = number % 8 == 7};
        struct setup set = {.rules = &m->rules, .regions = number % 4 == 3 ? 3 : 2, .keys = 2, .still = true};
        unsigned keys = number % 3 ? 1 : 2;
        uint64_t code = number * UINT64_C(0x9E3779B97F4A7C15) >> 8;
        set.skew[0] = number % 7 == 0 ? 30 : 0;
        for (unsigned r = 0; r < set.regions; r++) {
                x.txs[r] = set.regions == 3 && r ? 1 : 2;
                for (unsigned t = 0; t < x.txs[r]; t++)
                        small_tx(&code, keys, &x.nops[r][t], x.ops[r][t], m->rules.cols[0], (int)(r * 2 + t + number));
        }
        struct explored e = exhaust(s, &set, &x, limit);
        *states += e.states;
        *complete = e.complete;
        if (!e.right) {
                printf("# rule %s, script %llu\n", m->rules.name, (unsigned long long)number);
                print_schedule(&set, e.trace, e.n);
        }
        return e.right;
}

/* Each rule gets its share of the states. */
static void exhaustive(struct machine *m, const struct options *o)
{
        size_t n = 0;
        struct search *s = search_new();
        while (rules_at(n, &m->rules))
                n++;
        for (size_t i = 0; i < n && !(o->stop && m->failed); i++) {
                rules_at(i, &m->rules);
                if (o->rule && strcmp(o->rule, m->rules.name) != 0)
                        continue;
                uint64_t states = 0, scripts = 0, whole = 0, share = o->rule ? o->exhaustive : o->exhaustive / n;
                bool ok = true, complete;
                for (; ok && states < share; scripts++) {
                        ok = one_script(m, s, o->seed + scripts, share > 20000 ? share / 4 : share, &states, &complete);
                        whole += complete;
                }
                char what[160];
                snprintf(what, sizeof what, "%s: all interleavings of %llu scripts (%llu to the end), %llu states", m->rules.name,
                         (unsigned long long)scripts, (unsigned long long)whole, (unsigned long long)states);
                result(m, ok, what);
        }
        search_free(s);
}

/* Seeds that failed once. */
static void seeds(struct machine *m, const char *path)
{
        char line[300], rule[40], what[120];
        unsigned regions;
        unsigned long long seed;
        FILE *f = fopen(path, "r");
        if (!f) {
                result(m, false, path);
                return;
        }
        while (fgets(line, sizeof line, f)) {
                if (sscanf(line, "%39s %u %llu", rule, &regions, &seed) != 3 || rule[0] == '#')
                        continue;
                snprintf(what, sizeof what, "seed %s %u %llu", rule, regions, seed);
                result(m, find_rule(m, rule) && one(m, seed, regions, false, false), what);
        }
        fclose(f);
}

static bool parse(int argc, char **argv, struct options *o)
{
        static const struct option names[] = {{"seed", 1, NULL, 's'},    {"runs", 1, NULL, 'n'},    {"rule", 1, NULL, 'r'},
                                              {"regions", 1, NULL, 'g'}, {"seconds", 1, NULL, 't'}, {"trace", 0, NULL, 'v'},
                                              {"stop", 0, NULL, 'x'},    {"seeds", 1, NULL, 'f'},   {"exhaustive", 1, NULL, 'e'},
                                              {NULL, 0, NULL, 0}};
        int c;
        while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
                switch (c) {
                case 's': o->seed = strtoull(optarg, NULL, 10); break;
                case 'n': o->runs = strtoull(optarg, NULL, 10); break;
                case 'r': o->rule = optarg; break;
                case 'g': o->regions = (unsigned)atoi(optarg); break;
                case 't': o->seconds = atof(optarg); break;
                case 'v': o->trace = true; break;
                case 'x': o->stop = true; break;
                case 'e': o->exhaustive = strtoull(optarg, NULL, 10); break;
                case 'f': o->seeds = optarg; break;
                default: return false;
                }
        }
        return optind == argc && o->regions != 1 && o->regions <= REGIONS;
}

int main(int argc, char **argv)
{
        struct options o = {.seed = 1, .runs = 10000};
        struct machine *m = MEM_NEW(struct machine);
        if (!parse(argc, argv, &o)) {
                fprintf(stderr,
                        "usage: simulation [--seed N] [--runs N] [--rule R] [--regions 2..%d] [--seconds S] [--trace] [--seeds FILE]\n",
                        REGIONS);
                return 2;
        }
        if (o.trace)
                o.runs = 1;
        arena_init(&m->arena);
        arena_init(&m->scratch);
        m->w = MEM_NEW(struct world);
        double begin = now();
        if (o.exhaustive)
                exhaustive(m, &o);
        else if (o.seeds)
                seeds(m, o.seeds);
        else
                all_rules(m, &o);
        double took = now() - begin;
        printf("# %llu histories, %llu versions, %.1f s, %.0f histories/s\n", (unsigned long long)m->histories,
               (unsigned long long)m->versions, took, (double)m->histories / took);
        unsigned failed = m->failed;
        arena_release(&m->arena);
        arena_release(&m->scratch);
        free(m->w);
        free(m);
        return failed != 0;
}
