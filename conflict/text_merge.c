/* Three-way merge of texts, by lines or by words, as diff3 does it:
 *
 *     old    a b c d e        what both sides left alone (a, c, e) cuts the texts into pieces; in each piece at most one side may differ
 *     one    a X c d e        from the old text (or both in the same way).
 *     other  a b c e
 *     ->     a X c e
 *
 * The longest common subsequence is found by the table of the textbook, after what begins and ends alike is set aside; the table has a
 * maximum, beyond which texts are not merged. */
#include "conflict/parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define TOKENS_MAX 50000     /* of one text */
#define TABLE_MAX (4u << 20) /* cells of two bytes */
#define NOT_THERE UINT32_MAX

struct text {
        uint32_t n;
        struct cell *token;
};

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A line with its end; or a word, or the blanks between two. */
static uint32_t token_length(struct cell s, bool words)
{
        uint32_t n = 1;
        if (!words)
                while (n < s.len && s.data[n - 1] != '\n')
                        n++;
        else
                while (n < s.len && is_blank(s.data[n]) == is_blank(s.data[0]))
                        n++;
        return n;
}

static bool cut(struct cell s, bool words, struct arena *arena, struct text *out)
{
        *out = (struct text){0, NULL};
        struct cell rest = s;
        while (rest.len) {
                uint32_t n = token_length(rest, words);
                rest = (struct cell){rest.data + n, rest.len - n};
                if (++out->n > TOKENS_MAX)
                        return false;
        }
        out->token = ARENA_ARRAY(arena, struct cell, out->n);
        for (uint32_t i = 0; i < out->n; i++) {
                out->token[i] = (struct cell){s.data, token_length(s, words)};
                s = (struct cell){s.data + out->token[i].len, s.len - out->token[i].len};
        }
        return true;
}

/* length[i][j]: of the longest common subsequence of old from i and neu from j. */
static void fill(uint16_t *length, const struct cell *old, uint32_t n, const struct cell *neu, uint32_t m)
{
        size_t width = (size_t)m + 1;
        for (uint32_t i = n; i-- > 0;)
                for (uint32_t j = m; j-- > 0;) {
                        uint16_t right = length[i * width + j + 1], below = length[(i + 1) * width + j];
                        length[i * width + j] = cell_equal(old[i], neu[j]) ? (uint16_t)(length[(i + 1) * width + j + 1] + 1)
                                                : right > below            ? right
                                                                           : below;
                }
}

/* at[i]: where token i of old is in neu, NOT_THERE when it is gone. */
static bool align(const struct text *old, const struct text *neu, uint32_t *at)
{
        uint32_t head = 0, n = old->n, m = neu->n;
        for (; head < n && head < m && cell_equal(old->token[head], neu->token[head]); head++)
                at[head] = head;
        for (; n > head && m > head && cell_equal(old->token[n - 1], neu->token[m - 1]); n--, m--)
                at[n - 1] = m - 1;
        n -= head, m -= head;
        for (uint32_t i = 0; i < n; i++)
                at[head + i] = NOT_THERE;
        size_t cells = ((size_t)n + 1) * ((size_t)m + 1);
        if (n == 0 || m == 0)
                return true;
        if (cells > TABLE_MAX || (n < m ? n : m) >= UINT16_MAX)
                return false;
        uint16_t *length = mem_zalloc(cells * sizeof *length);
        const struct cell *a = old->token + head, *b = neu->token + head;
        fill(length, a, n, b, m);
        size_t width = (size_t)m + 1;
        for (uint32_t i = 0, j = 0; i < n && j < m;) {
                if (cell_equal(a[i], b[j])) {
                        at[head + i++] = head + j++;
                } else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) {
                        i++;
                } else {
                        j++;
                }
        }
        free(length);
        return true;
}

/* Tokens [from, to) of a text, which lie side by side. */
static struct cell piece(const struct text *t, uint32_t from, uint32_t to)
{
        if (from == to)
                return (struct cell){"", 0};
        struct cell last = t->token[to - 1];
        return (struct cell){t->token[from].data, (uint32_t)(last.data + last.len - t->token[from].data)};
}

static bool pick(struct cell old, struct cell one, struct cell other, struct cell *out)
{
        bool one_kept = cell_equal(one, old);
        *out = one_kept ? other : one;
        return one_kept || cell_equal(other, old) || cell_equal(one, other);
}

static char *put(char *p, struct cell c)
{
        if (c.len)
                memcpy(p, c.data, c.len);
        return p + c.len;
}

static bool three_way(const struct text *old, const struct text *one, const struct text *other, const uint32_t *at_one,
                      const uint32_t *at_other, char *out, uint32_t *len)
{
        char *p = out;
        uint32_t i = 0, a = 0, b = 0;
        for (;;) {
                uint32_t k = i;
                while (k < old->n && (at_one[k] == NOT_THERE || at_other[k] == NOT_THERE))
                        k++;
                bool end = k == old->n;
                uint32_t to_a = end ? one->n : at_one[k], to_b = end ? other->n : at_other[k];
                struct cell picked;
                if (!pick(piece(old, i, k), piece(one, a, to_a), piece(other, b, to_b), &picked))
                        return false;
                p = put(p, picked);
                if (end)
                        break;
                p = put(p, old->token[k]);
                i = k + 1, a = to_a + 1, b = to_b + 1;
        }
        *len = (uint32_t)(p - out);
        return true;
}

static bool merge_two(struct cell old, struct cell one, struct cell other, bool words, struct arena *arena, struct cell *out)
{
        struct text o, x, y;
        if (!cut(old, words, arena, &o) || !cut(one, words, arena, &x) || !cut(other, words, arena, &y))
                return false;
        uint32_t *at_one = ARENA_ARRAY(arena, uint32_t, o.n), *at_other = ARENA_ARRAY(arena, uint32_t, o.n);
        if (!align(&o, &x, at_one) || !align(&o, &y, at_other))
                return false;
        char *text = arena_alloc(arena, (size_t)old.len + one.len + other.len);
        *out = (struct cell){text, 0};
        return three_way(&o, &x, &y, at_one, at_other, text, &out->len);
}

bool text_merge(struct cell old, const struct cell *values, size_t n, bool words, struct arena *arena, struct cell *out)
{
        *out = old;
        for (size_t i = 0; i < n; i++) {
                if (cell_equal(values[i], old) || cell_equal(values[i], *out))
                        continue;
                if (cell_equal(*out, old))
                        *out = values[i];
                else if (!old.data || !out->data || !values[i].data)
                        return false; /* NULL has no lines: written by one side, something else by the other */
                else if (!merge_two(old, *out, values[i], words, arena, out))
                        return false;
        }
        return true;
}
