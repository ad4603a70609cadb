#include "config/suggest.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#define WORD_MAX 63

static size_t min3(size_t a, size_t b, size_t c)
{
        size_t m = a < b ? a : b;
        return m < c ? m : c;
}

/* Damerau-Levenshtein over three rows: two before the current one, for the swaps. */
size_t edit_distance(const char *a, const char *b)
{
        size_t rows[3][WORD_MAX + 1], la = strlen(a), lb = strlen(b);
        if (la > WORD_MAX || lb > WORD_MAX)
                return SIZE_MAX;
        size_t *before = rows[0], *last = rows[1], *now = rows[2];
        memset(rows, 0, sizeof rows);
        for (size_t j = 0; j <= lb; j++)
                last[j] = j;
        for (size_t i = 1; i <= la; i++) {
                now[0] = i;
                for (size_t j = 1; j <= lb; j++) {
                        now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < now[j])
                                now[j] = before[j - 2] + 1;
                }
                size_t *oldest = before;
                before = last;
                last = now;
                now = oldest;
        }
        return last[lb];
}

void suggest_offer(struct suggestion *s, const char *candidate)
{
        size_t allowed = strlen(s->written) / 3;
        size_t d = strcasecmp(s->written, candidate) == 0 ? 0 : edit_distance(s->written, candidate);
        if (allowed == 0)
                allowed = 1;
        /* a word of which nothing is left is not what was meant */
        if (d > allowed || d >= strlen(candidate) || (s->best && d >= s->distance))
                return;
        s->best = candidate;
        s->distance = d;
}
