/* values: what applications write. Small alphabets, so that values meet; printed as PostgreSQL prints them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/sim.h"

enum { ELEMENTS = 8, FIELDS = 3, LINES = 3, ABSENT = -1000 };

static struct cell text(struct world *w, const char *s)
{
        return cell_of(arena_strdup(w->arena, s));
}

static struct cell number(struct world *w, int n)
{
        char s[16];
        snprintf(s, sizeof s, "%d", n);
        return text(w, s);
}

static int number_of(const struct cell *c)
{
        return c->data ? atoi(c->data) : 0;
}

/* {a,c}: elements are letters */
static unsigned elements_of(const struct cell *c)
{
        unsigned set = 0;
        for (uint32_t i = 0; c->data && i < c->len; i++)
                if (c->data[i] >= 'a' && c->data[i] < 'a' + ELEMENTS)
                        set |= 1u << (c->data[i] - 'a');
        return set;
}

static struct cell elements(struct world *w, unsigned set)
{
        char s[2 * ELEMENTS + 3], *p = s;
        *p++ = '{';
        for (int i = 0; i < ELEMENTS; i++)
                if (set >> i & 1) {
                        if (p[-1] != '{')
                                *p++ = ',';
                        *p++ = (char)('a' + i);
                }
        *p++ = '}';
        *p = 0;
        return text(w, s);
}

/* {"a": 1, "c": 2}: fields are letters, values numbers */
static void fields_of(const struct cell *c, int f[FIELDS])
{
        for (int i = 0; i < FIELDS; i++)
                f[i] = ABSENT;
        for (uint32_t i = 0; c->data && i + 4 < c->len; i++)
                if (c->data[i] == '"' && c->data[i + 2] == '"')
                        f[c->data[i + 1] - 'a'] = atoi(c->data + i + 4);
}

static struct cell fields(struct world *w, const int f[FIELDS])
{
        char s[64];
        int n = snprintf(s, sizeof s, "{");
        for (int i = 0; i < FIELDS; i++)
                if (f[i] != ABSENT)
                        n += snprintf(s + n, sizeof s - (size_t)n, "%s\"%c\": %d", n > 1 ? ", " : "", 'a' + i, f[i]);
        snprintf(s + n, sizeof s - (size_t)n, "}");
        return text(w, s);
}

static struct cell edit_set(struct world *w, const struct cell *old, enum edit e, int value)
{
        unsigned set = elements_of(old), one = 1u << ((unsigned)value % ELEMENTS);
        switch (e) {
        case EDIT_SET: set = one; break;
        case EDIT_PLUS:
        case EDIT_ADD: set |= one; break;
        case EDIT_REMOVE: set = set & one ? set & ~one : set & (set - 1); break;
        }
        return elements(w, set);
}

static struct cell edit_object(struct world *w, const struct cell *old, enum edit e, int value)
{
        int f[FIELDS], at = value % FIELDS;
        fields_of(old, f);
        if (e == EDIT_SET)
                for (int i = 0; i < FIELDS; i++)
                        f[i] = ABSENT;
        if (e == EDIT_REMOVE)
                for (int i = 0; i < FIELDS && f[at] == ABSENT; i++)
                        at = (at + 1) % FIELDS;
        f[at] = e == EDIT_REMOVE ? ABSENT : value;
        return fields(w, f);
}

/* three lines; one of them changes */
static struct cell edit_text(struct world *w, const struct cell *old, enum edit e, int value)
{
        char line[LINES][16] = {"one", "two", "three"}, s[64];
        if (old->data)
                sscanf(old->data, "%15[^\n]\n%15[^\n]\n%15[^\n]", line[0], line[1], line[2]);
        if (e == EDIT_SET)
                for (int i = 0; i < LINES; i++)
                        snprintf(line[i], sizeof line[i], "%c", "abc"[i]);
        else
                snprintf(line[value % LINES], sizeof line[0], "L%d", value);
        snprintf(s, sizeof s, "%s\n%s\n%s\n", line[0], line[1], line[2]);
        return text(w, s);
}

static struct cell edited(struct world *w, const struct cell *old, unsigned col, enum edit e, int value)
{
        char s[16];
        switch ((enum col)col) {
        case C_G: return value < 0 ? (struct cell){NULL, 0} : number(w, value);
        case C_N: return number(w, e == EDIT_PLUS ? number_of(old) + value : value);
        case C_S: return edit_set(w, old, e, value);
        case C_J: return edit_object(w, old, e, value);
        case C_T: return edit_text(w, old, e, value);
        case C_U:
        case C_W:
                if (value < 0)
                        return (struct cell){NULL, 0};
                snprintf(s, sizeof s, "%c", "pqr"[value % UNIQUE_VALUES]);
                return text(w, s);
        case C_K:
        case C_V:
        case C_X: break;
        }
        snprintf(s, sizeof s, "%d", value);
        return text(w, s);
}

int unique_value(const struct cell *c)
{
        return c->data ? c->data[0] - 'p' : -1;
}

image image_edit(struct world *w, unsigned key, image old, const struct op *op)
{
        struct cell *c = ARENA_ARRAY(w->arena, struct cell, NCOLS);
        if (old) {
                memcpy(c, old, sizeof *c * NCOLS);
        } else {
                c[C_K] = number(w, (int)(key % PER_TABLE) + 1);
                unsigned cols = w->set.rules->cols[table_of(key)];
                if (cols >> C_N & 1)
                        c[C_N] = cell_of("0");
                if (cols >> C_S & 1)
                        c[C_S] = cell_of("{}");
                if (cols >> C_J & 1)
                        c[C_J] = cell_of("{}");
        }
        for (unsigned i = 0; i < op->nsets; i++)
                if (w->set.rules->cols[table_of(key)] >> op->set[i].col & 1)
                        c[op->set[i].col] = edited(w, &c[op->set[i].col], op->set[i].col, op->set[i].edit, op->set[i].value);
        return c;
}

image image_rekey(struct world *w, unsigned key, image old)
{
        struct cell *c = ARENA_ARRAY(w->arena, struct cell, NCOLS);
        memcpy(c, old, sizeof *c * NCOLS);
        c[C_K] = number(w, (int)(key % PER_TABLE) + 1);
        return c;
}

void image_str(char *buf, size_t size, image img)
{
        static const char names[NCOLS + 1] = "kvxgnsjtuw";
        size_t n = 0;
        if (!img) {
                snprintf(buf, size, "absent");
                return;
        }
        n += (size_t)snprintf(buf, size, "{");
        for (int i = 1; i < NCOLS && n < size; i++)
                if (img[i].data)
                        n += (size_t)snprintf(buf + n, size - n, "%s%c=%.*s", n > 1 ? " " : "", names[i], (int)img[i].len,
                                              img[i].data);
        if (n < size)
                snprintf(buf + n, size - n, "}");
        for (char *p = buf; *p; p++)
                if (*p == '\n')
                        *p = '/';
}
