#include "capture/tables_where.h"

#include <ctype.h>
#include <string.h>

static bool starts_name(char c)
{
        return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool in_name(char c)
{
        return starts_name(c) || isdigit((unsigned char)c) || c == '$';
}

/* Behind the quoted thing that begins at s; a doubled quote stays inside, a backslash too where escapes hold. */
static const char *skip_quoted(const char *s, char quote, bool escapes)
{
        for (s++; *s; s++) {
                if (escapes && *s == '\\' && s[1])
                        s++;
                else if (*s == quote && s[1] == quote)
                        s++;
                else if (*s == quote)
                        return s + 1;
        }
        return s;
}

/* Behind $tag$ .. $tag$, or behind the dollar sign when it begins no such string. */
static const char *skip_dollar(const char *s)
{
        const char *tag = s + 1;
        while (in_name(*tag) && *tag != '$')
                tag++;
        if (*tag != '$')
                return s + 1;
        size_t n = (size_t)(tag - s) + 1;
        for (const char *p = tag + 1; *p; p++)
                if (strncmp(p, s, n) == 0)
                        return p + n;
        return tag + strlen(tag);
}

/* Block comments nest in PostgreSQL. */
static const char *skip_comment(const char *s)
{
        int depth = 0;
        do {
                if (s[0] == '/' && s[1] == '*') {
                        depth++;
                        s += 2;
                } else if (s[0] == '*' && s[1] == '/') {
                        depth--;
                        s += 2;
                } else {
                        s++;
                }
        } while (*s && depth > 0);
        return s;
}

struct names {
        struct arena *arena;
        const char **v;
        size_t n, cap;
};

static void add_name(struct names *l, const char *s, size_t n, bool quoted)
{
        char *name = arena_strndup(l->arena, s, n);
        if (!quoted)
                for (char *p = name; *p; p++)
                        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
        if (l->n == l->cap) {
                size_t cap = l->cap ? l->cap * 2 : 16;
                const char **v = ARENA_ARRAY(l->arena, const char *, cap);
                if (l->n)
                        memcpy(v, l->v, l->n * sizeof *v);
                l->v = v;
                l->cap = cap;
        }
        l->v[l->n++] = name;
}

static const char *take_quoted(struct names *l, const char *s)
{
        const char *end = skip_quoted(s, '"', false);
        char *name = arena_strndup(l->arena, s + 1, (size_t)(end - s) - 1);
        size_t n = 0;
        for (const char *p = name; *p; p++) {
                if (*p == '"' && p[1] != '"')
                        break;
                if (*p == '"')
                        p++;
                name[n++] = *p;
        }
        add_name(l, name, n, true);
        return end;
}

static const char *take_word(struct names *l, const char *s)
{
        const char *end = s;
        while (in_name(*end))
                end++;
        if (*end == '\'' && end - s == 1 && (*s == 'e' || *s == 'E'))
                return skip_quoted(end, '\'', true);
        add_name(l, s, (size_t)(end - s), false);
        return end;
}

size_t where_names(const char *sql, struct arena *a, const char ***out)
{
        struct names l = {.arena = a};
        for (const char *s = sql; *s;) {
                if (s[0] == '-' && s[1] == '-')
                        s += strcspn(s, "\n");
                else if (s[0] == '/' && s[1] == '*')
                        s = skip_comment(s);
                else if (*s == '\'')
                        s = skip_quoted(s, '\'', false);
                else if (*s == '$')
                        s = skip_dollar(s);
                else if (*s == '"')
                        s = take_quoted(&l, s);
                else if (starts_name(*s))
                        s = take_word(&l, s);
                else if (isdigit((unsigned char)*s))
                        while (in_name(*s) || *s == '.')
                                s++;
                else
                        s++;
        }
        *out = l.v;
        return l.n;
}

/* Do the first and the last parenthesis belong together?  Parentheses inside strings make it say no, which costs a try, no more. */
static bool wrapped(const char *s, size_t n)
{
        int depth = 0;
        if (n < 2 || s[0] != '(' || s[n - 1] != ')')
                return false;
        for (size_t i = 0; i < n; i++) {
                if (s[i] == '\'' || s[i] == '"')
                        return false;
                depth += (s[i] == '(') - (s[i] == ')');
                if (depth == 0 && i + 1 < n)
                        return false;
        }
        return depth == 0;
}

static void peel(const char **s, size_t *n)
{
        for (;;) {
                while (*n && isspace((unsigned char)**s)) {
                        (*s)++;
                        (*n)--;
                }
                while (*n && isspace((unsigned char)(*s)[*n - 1]))
                        (*n)--;
                if (!wrapped(*s, *n))
                        return;
                (*s)++;
                *n -= 2;
        }
}

bool where_same(const char *a, const char *b)
{
        size_t an = strlen(a), bn = strlen(b);
        peel(&a, &an);
        peel(&b, &bn);
        return an == bn && memcmp(a, b, an) == 0;
}
