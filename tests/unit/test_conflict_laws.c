/* Laws of the conflict core: regions that write one key and hear of each other in every order that causality allows end with the same row, the
 * same siblings and the same column dots; what comes twice changes nothing; and the row is the one that the whole history, judged at once by a
 * naive oracle, gives.  WORLDS=n seeds for each rule (default 400), SEED=s only that one. */
#include "conflict_laws_oracle.h"

/* ---- every order that causality allows ------------------------------------------------------------------------------------------------ */
struct orders {
        struct world *w;
        const struct rule *rule;
        const char *want;
        unsigned left;
};

static void every_order(struct orders *x, struct key_state s, struct vector seen)
{
        bool end = true;
        for (uint8_t o = 0; o < x->w->regions && x->left; o++) {
                const struct incoming *in = next_of(x->w, &seen, o);
                if (!in)
                        continue;
                end = false;
                struct vector then = seen;
                then.at[o] = in->v.dot.hlc;
                every_order(x, remote(x->w, x->rule, &s, in), then);
        }
        if (!end || !x->left)
                return;
        x->left--;
        const char *got = state_str(x->w->arena, &s, &x->w->regs);
        if (strcmp(got, x->want))
                fail_at(x->w, arena_printf(x->w->arena, "another order gives another end:\n%s\n%s", x->want, got));
}

/* ---- the laws --------------------------------------------------------------------------------------------------------------------------- */
static unsigned number(const char *name, unsigned otherwise)
{
        const char *s = getenv(name);
        return s && *s ? (unsigned)strtoul(s, NULL, 10) : otherwise;
}

static struct rule *bound(struct arena *arena, const struct rule_case *c, const struct regset *regs, uint32_t generation)
{
        struct rule *r = bind_rule(arena, &c->spec, regs);
        r->generation = generation;
        r->from = (region_id){0};
        r->resolve = c->spec.row == RULE_SQL ? resolve_mix : NULL;
        return r;
}

static void one_world(struct arena *arena, const struct rule_case *c, unsigned seed)
{
        struct world w = {
                .name = arena_printf(arena, "%s, SEED=%u", c->name, seed), .arena = arena, .regs = world_regions(), .rand = seed};
        const struct rule *rule = bound(arena, c, &w.regs, 1);
        w.regions = (uint8_t)(2 + pick(&w, 3));
        w.forgets = (enum forgets)(pick(&w, 4) % 3);
        for (int i = 0; i < w.regions; i++)
                w.r[i].rule = rule;
        run(&w, 3 + pick(&w, MAX_MESSAGES - 3));
        judge(&w, rule);
        if (w.n > 7 || w.forgets)
                return;
        struct orders x = {&w, rule, state_str(arena, &w.r[0].state, &w.regs), 60};
        every_order(&x, first_state(&w, rule), (struct vector){0});
}

static void regions_agree(void **state)
{
        (void)state;
        unsigned seed = number("SEED", 0), worlds = number("WORLDS", 400);
        struct arena arena;
        arena_init(&arena);
        for (int r = 0; r < NRULES; r++)
                for (unsigned s = 1; s <= worlds; s++) {
                        one_world(&arena, &rules[r], seed ? seed : s);
                        arena_reset(&arena);
                }
        arena_release(&arena);
}

/* Regions that learn of a new rule at different moments. Changes that need a quiet table (rulebook_hard_change) are left out. */
static void generations_agree(void **state)
{
        (void)state;
        unsigned seed = number("SEED", 0), worlds = number("WORLDS", 400);
        struct arena arena;
        arena_init(&arena);
        for (unsigned s = 1; s <= worlds * 10; s++) {
                struct world w = {.arena = &arena, .regs = world_regions(), .rand = seed ? seed : s};
                w.regions = (uint8_t)(2 + pick(&w, 3));
                const struct rule_case *plain[NRULES];
                unsigned n = 0;
                for (int r = 0; r < NRULES; r++)
                        if (!rule_spec_accumulates(&rules[r].spec))
                                plain[n++] = &rules[r];
                const struct rule_case *from = plain[pick(&w, n)], *to = plain[pick(&w, n)];
                if ((from == &rules[0] && to->spec.delete_wins) || (to == &rules[0] && from->spec.delete_wins))
                        continue;
                w.name = arena_printf(&arena, "from %s to %s, SEED=%u", from->name, to->name, s);
                const struct rule *first = bound(&arena, from, &w.regs, 1), *then = bound(&arena, to, &w.regs, 2);
                unsigned when[REGIONS], messages = 3 + pick(&w, MAX_MESSAGES - 3);
                for (int i = 0; i < w.regions; i++)
                        w.r[i].rule = first, when[i] = pick(&w, messages);
                w.common = pick(&w, 2) ? random_row(&w, NULL) : NULL;
                for (uint8_t i = 0; i < w.regions; i++)
                        w.r[i].state = first_state(&w, first);
                while (w.n < messages) {
                        uint8_t me = (uint8_t)pick(&w, w.regions);
                        w.r[me].rule = w.n >= when[me] ? then : first;
                        if (pick(&w, 3) == 0)
                                write_local(&w, me);
                        else
                                apply_next(&w, me, (uint8_t)pick(&w, w.regions));
                }
                drain(&w);
                for (uint8_t i = 1; i < w.regions; i++) {
                        const char *a = state_str(&arena, &w.r[0].state, &w.regs), *b = state_str(&arena, &w.r[i].state, &w.regs);
                        if (strcmp(a, b))
                                fail_at(&w, arena_printf(&arena, "regions differ:\n%s\n%s", a, b));
                }
                arena_reset(&arena);
        }
        arena_release(&arena);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(regions_agree),
                cmocka_unit_test(generations_agree),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
