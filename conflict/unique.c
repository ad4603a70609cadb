#include "conflict/merge.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int cmp_keys(const void *x, const void *y)
{
        const struct unique_row *a = *(const struct unique_row *const *)x, *b = *(const struct unique_row *const *)y;
        uint32_t n = a->klen < b->klen ? a->klen : b->klen;
        int c = n ? memcmp(a->key, b->key, n) : 0;
        return c ? c : (a->klen > b->klen) - (a->klen < b->klen);
}

/* In the order of the keys: it needs no dots, which regions forget at different times. */
void unique_keep(const struct unique_row *rows, size_t n, clash_fn *clash, void *ctx, bool *keep)
{
        const struct unique_row **order = mem_alloc((n + 1) * sizeof *order);
        for (size_t i = 0; i < n; i++)
                order[i] = &rows[i];
        qsort(order, n, sizeof *order, cmp_keys);
        for (size_t i = 0; i < n; i++) {
                size_t me = (size_t)(order[i] - rows);
                keep[me] = true;
                for (size_t j = 0; j < i && keep[me]; j++) {
                        size_t other = (size_t)(order[j] - rows);
                        keep[me] = !(keep[other] && clash(ctx, me, other));
                }
        }
        free(order);
}
