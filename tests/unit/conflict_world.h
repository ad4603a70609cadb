/* conflict_world: for tests of conflict/: a table, rules bound to it, and regions that write one key and read each other's logs, in memory.
 * Everything lives in one arena that the test resets. */
#ifndef PANGEA_TESTS_CONFLICT_WORLD_H
#define PANGEA_TESTS_CONFLICT_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>

#include <cmocka.h>

#include "base/arena.h"
#include "conflict/merge.h"

enum { C_ID, C_A, C_G, C_N, C_S, C_J, C_D, C_T, C_M, NCOLS };
static const struct rule_table_column world_columns[NCOLS] = {
        [C_ID] = {"id", "pg_catalog.int4", false, true}, [C_A] = {"a", "pg_catalog.text", true, false},
        [C_G] = {"g", "pg_catalog.int4", false, false},  [C_N] = {"n", "pg_catalog.numeric", false, false},
        [C_S] = {"s", "pg_catalog._text", false, false}, [C_J] = {"j", "pg_catalog.jsonb", false, false},
        [C_D] = {"d", "pg_catalog.jsonb", false, false}, [C_T] = {"t", "pg_catalog.text", false, false},
        [C_M] = {"m", "pg_catalog.int8", false, false},
};

static inline struct regset world_regions(void)
{
        struct regset s = {.n = 0};
        regset_add(&s, "ap", 2);
        regset_add(&s, "eu", 2);
        regset_add(&s, "us", 2);
        regset_add(&s, "za", 2);
        return s;
}

static inline struct cell cell(const char *s)
{
        return (struct cell){s, s ? (uint32_t)strlen(s) : 0};
}

static inline const char *cell_str(struct arena *a, struct cell c)
{
        return c.data ? arena_strndup(a, c.data, c.len) : "NULL";
}

static inline const char *row_str(struct arena *a, const struct cell *row)
{
        if (!row)
                return "absent";
        const char *s = "";
        for (int i = 0; i < NCOLS; i++)
                s = arena_printf(a, "%s%s%s=%s", s, i ? " " : "", world_columns[i].name, cell_str(a, row[i]));
        return s;
}

static inline bool row_same(const struct cell *a, const struct cell *b)
{
        if (!a || !b)
                return a == b;
        for (int i = 0; i < NCOLS; i++)
                if (!cell_equal(a[i], b[i]))
                        return false;
        return true;
}

static inline const char *dot_text(struct arena *a, struct dot d, const struct regset *regs)
{
        return d.hlc.v ? arena_printf(a, "%s:%llu", regset_name(regs, d.region), (unsigned long long)d.hlc.v) : "-";
}

/* A state as text: equal texts, equal states. */
static inline const char *state_str(struct arena *a, const struct key_state *s, const struct regset *regs)
{
        const char *t = arena_printf(a, "%s\n    siblings", row_str(a, s->row));
        for (size_t i = 0; i < s->nsibs; i++)
                t = arena_printf(a, "%s %s", t, dot_text(a, s->sibs[i].dot, regs));
        t = arena_printf(a, "%s\n    dots", t);
        for (size_t i = 0; i < s->ndots; i++)
                t = arena_printf(a, "%s %u/%s/%s", t, s->dots[i].col, cell_str(a, s->dots[i].element),
                                 dot_text(a, s->dots[i].dot, regs));
        t = arena_printf(a, "%s\n    tombs", t);
        for (uint8_t i = 0; i < regs->n; i++)
                if (s->tombs.at[i].v)
                        t = arena_printf(a, "%s %s", t, dot_text(a, (struct dot){{i}, s->tombs.at[i]}, regs));
        return t;
}

static inline struct rule *bind_rule(struct arena *a, const struct rule_spec *spec, const struct regset *regs)
{
        struct rule *r = ARENA_NEW(a, struct rule);
        struct err e;
        if (rule_bind(spec, world_columns, NCOLS, regs, a, r, &e) != ST_OK)
                fail_msg("%s", e.msg);
        return r;
}

#endif
