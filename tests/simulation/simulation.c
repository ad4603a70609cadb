/* simulation: random histories of a world of regions, each held against the oracle.
 *
 *   build/test/simulation [--seed N] [--runs N] [--rule R] [--regions N] [--seconds S] [--trace]
 *   build/test/simulation --seeds FILE      lines: rule regions seed
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
        bool trace;
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
static bool one(struct machine *m, uint64_t seed, unsigned regions, bool trace)
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
        for (size_t i = 0; i < n; i++) {
                if (o->rule ? !find_rule(m, o->rule) : !rules_at(i, &m->rules)) {
                        result(m, false, "there is no such rule");
                        return;
                }
                double begin = now();
                uint64_t runs = o->runs / n ? o->runs / n : 1, k = 0;
                bool ok = true;
                for (; ok && (o->seconds > 0 ? now() - begin < o->seconds / (double)n : k < runs); k++)
                        ok = one(m, o->seed + k, o->regions, o->trace);
                char what[120];
                snprintf(what, sizeof what, "%s: %llu histories in %.1f s", m->rules.name, (unsigned long long)k, now() - begin);
                result(m, ok, what);
        }
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
                result(m, find_rule(m, rule) && one(m, seed, regions, false), what);
        }
        fclose(f);
}

static bool parse(int argc, char **argv, struct options *o)
{
        static const struct option names[] = {{"seed", 1, NULL, 's'},    {"runs", 1, NULL, 'n'},    {"rule", 1, NULL, 'r'},
                                              {"regions", 1, NULL, 'g'}, {"seconds", 1, NULL, 't'}, {"trace", 0, NULL, 'v'},
                                              {"seeds", 1, NULL, 'f'},   {NULL, 0, NULL, 0}};
        int c;
        while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
                switch (c) {
                case 's': o->seed = strtoull(optarg, NULL, 10); break;
                case 'n': o->runs = strtoull(optarg, NULL, 10); break;
                case 'r': o->rule = optarg; break;
                case 'g': o->regions = (unsigned)atoi(optarg); break;
                case 't': o->seconds = atof(optarg); break;
                case 'v': o->trace = true; break;
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
        if (o.seeds)
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
