#include "daemon/verify.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

static int by_id(const void *x, const void *y)
{
        const struct ventry *a = x, *b = y;
        int c = strcmp(a->id, b->id);
        return c ? c : strcmp(a->value, b->value);
}

/* The entries of one id in one region: usually one, several when the id is no key there. */
struct run {
        const struct ventry *e;
        size_t n;
};

static struct run take(const struct ventries *v, size_t *at, const char *id)
{
        struct run r = {.e = v->e + *at, .n = 0};
        while (*at < v->n && strcmp(v->e[*at].id, id) == 0) {
                r.n++;
                ++*at;
        }
        return r;
}

static bool same(struct run a, struct run b)
{
        if (a.n != b.n)
                return false;
        for (size_t i = 0; i < a.n; i++)
                if (strcmp(a.e[i].value, b.e[i].value) != 0)
                        return false;
        return true;
}

static uint64_t run_print(uint64_t seed, struct run r)
{
        uint64_t h = hash64(&r.n, sizeof r.n, seed);
        for (size_t i = 0; i < r.n; i++) {
                h = hash64(r.e[i].value, strlen(r.e[i].value), h);
                h = hash64(r.e[i].version, strlen(r.e[i].version), h);
        }
        return h;
}

static bool all_own(struct run r)
{
        for (size_t i = 0; i < r.n; i++)
                if (!r.e[i].own)
                        return false;
        return true;
}

static const char *least(const struct ventries *regions, size_t n, const size_t *at)
{
        const char *id = NULL;
        for (size_t r = 0; r < n; r++)
                if (at[r] < regions[r].n && (!id || strcmp(regions[r].e[at[r]].id, id) < 0))
                        id = regions[r].e[at[r]].id;
        return id;
}

void vdiff_find(struct ventries *regions, size_t n, int64_t now_us, struct arena *a, struct vsuspects *out)
{
        size_t at[MAX_REGIONS] = {0}, most = 0;
        for (size_t r = 0; r < n; r++) {
                if (regions[r].n)
                        qsort(regions[r].e, regions[r].n, sizeof *regions[r].e, by_id);
                most += regions[r].n;
        }
        *out = (struct vsuspects){.s = ARENA_ARRAY(a, struct vsuspect, most)};
        for (const char *id; (id = least(regions, n, at));) {
                struct run first = {0};
                uint64_t print = 0;
                bool equal = true, own = true;
                for (size_t r = 0; r < n; r++) {
                        struct run here = take(&regions[r], &at[r], id);
                        if (r == 0)
                                first = here;
                        equal = equal && same(first, here);
                        own = own && all_own(here);
                        print = run_print(print, here);
                }
                if (own)
                        out->own++;
                else if (!equal)
                        out->s[out->n++] = (struct vsuspect){.id = arena_strdup(a, id), .print = print, .since_us = now_us};
        }
}

void vdiff_narrow(const struct vsuspects *before, struct vsuspects *now)
{
        size_t kept = 0, b = 0;
        for (size_t i = 0; i < now->n; i++) {
                while (b < before->n && strcmp(before->s[b].id, now->s[i].id) < 0)
                        b++;
                if (b == before->n || strcmp(before->s[b].id, now->s[i].id) != 0)
                        continue;
                now->s[kept] = now->s[i];
                if (before->s[b].print == now->s[i].print)
                        now->s[kept].since_us = before->s[b].since_us;
                kept++;
        }
        now->n = kept;
}
