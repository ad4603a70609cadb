#include "conflict/elements.h"

#include <stdlib.h>
#include <string.h>

struct scan {
        const char *p, *end;
};

static void skip_blanks(struct scan *s)
{
        while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t'))
                s->p++;
}

static bool take(struct scan *s, char c)
{
        skip_blanks(s);
        if (s->p == s->end || *s->p != c)
                return false;
        s->p++;
        return true;
}

/* From a quote to behind the one that closes it. */
static void skip_string(struct scan *s)
{
        for (s->p++; s->p < s->end && *s->p != '"'; s->p++)
                if (*s->p == '\\' && s->p + 1 < s->end)
                        s->p++;
        if (s->p < s->end)
                s->p++;
}

/* What stands before the next comma or closing bracket of this level. array_out quotes braces but not brackets: only jsonb's count. */
static struct cell take_item(struct scan *s, bool json)
{
        skip_blanks(s);
        const char *start = s->p;
        for (unsigned depth = 0; s->p < s->end;) {
                char c = *s->p;
                if (c == '"') {
                        skip_string(s);
                        continue;
                }
                if (c == '{' || (json && c == '['))
                        depth++;
                if (depth == 0 && (c == ',' || c == '}' || (json && c == ']')))
                        break;
                if (c == '}' || (json && c == ']'))
                        depth--;
                s->p++;
        }
        return (struct cell){start, (uint32_t)(s->p - start)};
}

/* "[0:2]={..}": bounds that are not the usual ones. */
static void skip_bounds(struct scan *s)
{
        const char *equals = s->p < s->end && *s->p == '[' ? memchr(s->p, '=', (size_t)(s->end - s->p)) : NULL;
        if (equals)
                s->p = equals + 1;
}

/* The items between open and close; false when the value is not of that kind. */
static bool take_items(struct cell value, bool json, char open, char close, struct arena *arena, struct cells *out)
{
        *out = (struct cells){0, NULL};
        if (!value.data)
                return true;
        struct scan s = {value.data, value.data + value.len};
        if (!json)
                skip_bounds(&s);
        if (!take(&s, open))
                return false;
        struct scan counted = s;
        size_t most = 1;
        for (; counted.p < counted.end; counted.p++)
                most += *counted.p == ',';
        out->c = ARENA_ARRAY(arena, struct cell, most);
        if (take(&s, close))
                return true;
        do {
                struct cell item = take_item(&s, json);
                if (item.len == 0)
                        return false;
                out->c[out->n++] = item;
        } while (take(&s, ','));
        return take(&s, close);
}

/* ---- arrays ------------------------------------------------------------------------------------------------------------------------------ */
static int by_bytes(const void *a, const void *b)
{
        return value_cmp(TYPE_OTHER, *(const struct cell *)a, *(const struct cell *)b);
}

bool elements_split(enum value_type type, struct cell value, struct arena *arena, struct cells *out)
{
        bool json = type == TYPE_JSONB;
        bool array = take_items(value, json, json ? '[' : '{', json ? ']' : '}', arena, out);
        for (size_t i = 0; i < out->n && !json; i++)
                array = array && out->c[i].data[0] != '{';
        if (!array) {
                *out = (struct cells){0, NULL};
                return false;
        }
        if (out->n)
                qsort(out->c, out->n, sizeof *out->c, by_bytes);
        size_t n = 0;
        for (size_t i = 0; i < out->n; i++)
                if (n == 0 || !cell_equal(out->c[i], out->c[n - 1]))
                        out->c[n++] = out->c[i];
        out->n = n;
        return true;
}

static struct cell join(const struct cells *e, char open, const char *comma, char close, struct arena *arena)
{
        size_t size = 2, between = strlen(comma);
        for (size_t i = 0; i < e->n; i++)
                size += e->c[i].len + between;
        char *text = arena_alloc(arena, size), *p = text;
        *p++ = open;
        for (size_t i = 0; i < e->n; i++) {
                if (i)
                        p = mempcpy(p, comma, between);
                p = mempcpy(p, e->c[i].data, e->c[i].len);
        }
        *p++ = close;
        return (struct cell){text, (uint32_t)(p - text)};
}

struct cell elements_join(enum value_type type, const struct cells *e, struct arena *arena)
{
        return type == TYPE_JSONB ? join(e, '[', ", ", ']', arena) : join(e, '{', ",", '}', arena);
}

bool elements_have(const struct cells *sorted, struct cell c)
{
        return sorted->n && bsearch(&c, sorted->c, sorted->n, sizeof c, by_bytes);
}

struct cells elements_less(const struct cells *a, const struct cells *b, struct arena *arena)
{
        struct cells out = {0, ARENA_ARRAY(arena, struct cell, a->n)};
        for (size_t i = 0; i < a->n; i++)
                if (!elements_have(b, a->c[i]))
                        out.c[out.n++] = a->c[i];
        return out;
}

/* ---- objects ----------------------------------------------------------------------------------------------------------------------------- */
static struct scan key_of(struct cell member)
{
        struct scan s = {member.data, member.data + member.len};
        skip_string(&s);
        return (struct scan){member.data + 1, s.p - 1};
}

/* The next byte of a key as it is stored; jsonb_out escapes nothing but these and control characters (\u00xx). */
static uint8_t next_byte(struct scan *s)
{
        if (*s->p != '\\' || s->p + 1 >= s->end)
                return (uint8_t)*s->p++;
        char c = s->p[1];
        if (c == 'u' && s->p + 6 <= s->end) {
                char hex[3] = {s->p[4], s->p[5], 0};
                s->p += 6;
                return (uint8_t)strtoul(hex, NULL, 16);
        }
        s->p += 2;
        return (uint8_t)(c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c);
}

static size_t stored_length(struct scan s)
{
        size_t n = 0;
        while (s.p < s.end) {
                next_byte(&s);
                n++;
        }
        return n;
}

int member_cmp(struct cell a, struct cell b)
{
        struct scan x = key_of(a), y = key_of(b);
        size_t n = stored_length(x), m = stored_length(y);
        if (n != m)
                return n < m ? -1 : 1;
        while (x.p < x.end && y.p < y.end) {
                int c = (int)next_byte(&x) - (int)next_byte(&y);
                if (c)
                        return c;
        }
        return 0;
}

static int by_key(const void *a, const void *b)
{
        return member_cmp(*(const struct cell *)a, *(const struct cell *)b);
}

bool members_split(struct cell value, struct arena *arena, struct cells *out)
{
        bool object = take_items(value, true, '{', '}', arena, out);
        for (size_t i = 0; i < out->n; i++)
                object = object && out->c[i].data[0] == '"';
        if (!object) {
                *out = (struct cells){0, NULL};
                return false;
        }
        if (out->n)
                qsort(out->c, out->n, sizeof *out->c, by_key);
        return true;
}

struct cell members_join(const struct cells *m, struct arena *arena)
{
        return join(m, '{', ", ", '}', arena);
}

const struct cell *members_find(const struct cells *sorted, struct cell member)
{
        return sorted->n ? bsearch(&member, sorted->c, sorted->n, sizeof member, by_key) : NULL;
}
