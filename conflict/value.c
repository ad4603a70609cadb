#include "conflict/parts.h"

#include <gmp.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which type ---------------------------------------------------------------------------------------------------------------------- */
static const struct {
        const char *name;
        enum value_type type;
} types[] = {
        {"bool", TYPE_BOOL},
        {"int2", TYPE_INT},
        {"int4", TYPE_INT},
        {"int8", TYPE_INT},
        {"oid", TYPE_INT},
        {"numeric", TYPE_NUMERIC},
        {"text", TYPE_TEXT},
        {"varchar", TYPE_TEXT},
        {"name", TYPE_TEXT},
        {"bpchar", TYPE_BPCHAR},
        {"bytea", TYPE_BYTEA},
        {"uuid", TYPE_UUID},
        {"date", TYPE_DATE},
        {"timestamp", TYPE_TIMESTAMP},
        {"timestamptz", TYPE_TIMESTAMP},
        {"jsonb", TYPE_JSONB},
};

enum value_type value_type_of(const struct rule_table_column *c)
{
        const char *dot = strrchr(c->type, '.'), *last = dot ? dot + 1 : c->type;
        /* PostgreSQL names the array of t "_t"; box is the one type whose arrays have another delimiter than a comma */
        if (last[0] == '_')
                return strcmp(last, "_box") ? TYPE_ARRAY : TYPE_OTHER;
        if (dot && strncmp(c->type, "pg_catalog.", 11) != 0)
                return TYPE_OTHER;
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
                if (strcmp(last, types[i].name) != 0)
                        continue;
                bool text = types[i].type == TYPE_TEXT || types[i].type == TYPE_BPCHAR;
                return text && !c->bytewise ? TYPE_OTHER : types[i].type;
        }
        return TYPE_OTHER;
}

/* ---- order --------------------------------------------------------------------------------------------------------------------------- */
bool cell_equal(struct cell a, struct cell b)
{
        if (!a.data || !b.data)
                return !a.data && !b.data;
        return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static int cmp_bytes(struct cell a, struct cell b)
{
        uint32_t n = a.len < b.len ? a.len : b.len;
        int c = n ? memcmp(a.data, b.data, n) : 0;
        return c ? c : (a.len > b.len) - (a.len < b.len);
}

static bool cell_is(struct cell c, const char *s)
{
        return c.len == strlen(s) && memcmp(c.data, s, c.len) == 0;
}

/* Where the value is in the order of what is no number: -1, 0 (a number), 1, 2. Also for dates, which know the same words. */
static int beyond(struct cell c)
{
        if (cell_is(c, "NaN"))
                return 2;
        if (cell_is(c, "Infinity") || cell_is(c, "infinity"))
                return 1;
        return cell_is(c, "-Infinity") || cell_is(c, "-infinity") ? -1 : 0;
}

/* A decimal number: its sign, the digits before the point without leading zeros, those behind it without trailing ones. */
struct decimal {
        bool negative;
        struct cell whole, part;
};

static struct decimal decimal_of(struct cell c)
{
        struct decimal d = {.negative = c.len && c.data[0] == '-'};
        uint32_t at = d.negative;
        while (at < c.len && c.data[at] == '0')
                at++;
        const char *point = memchr(c.data + at, '.', c.len - at);
        uint32_t end = point ? (uint32_t)(point - c.data) : c.len;
        d.whole = (struct cell){c.data + at, end - at};
        if (point)
                d.part = (struct cell){point + 1, c.len - end - 1};
        while (d.part.len && d.part.data[d.part.len - 1] == '0')
                d.part.len--;
        if (!d.whole.len && !d.part.len)
                d.negative = false;
        return d;
}

static int cmp_decimal(struct cell a, struct cell b)
{
        int beyond_a = beyond(a), beyond_b = beyond(b);
        if (beyond_a || beyond_b)
                return beyond_a - beyond_b;
        struct decimal x = decimal_of(a), y = decimal_of(b);
        if (x.negative != y.negative)
                return x.negative ? -1 : 1;
        int c = x.whole.len != y.whole.len ? (x.whole.len < y.whole.len ? -1 : 1) : cmp_bytes(x.whole, y.whole);
        if (!c)
                c = cmp_bytes(x.part, y.part);
        return x.negative ? -c : c;
}

/* ISO output, in UTC: "2024-02-29 12:00:00.5+00", "12024-01-01", "0044-03-15 BC". */
struct moment {
        bool bc;
        struct cell year, rest;
};

static struct moment moment_of(struct cell c)
{
        struct moment m = {.bc = c.len > 3 && memcmp(c.data + c.len - 3, " BC", 3) == 0};
        if (m.bc)
                c.len -= 3;
        const char *dash = memchr(c.data, '-', c.len);
        uint32_t year = dash ? (uint32_t)(dash - c.data) : c.len;
        m.year = (struct cell){c.data, year};
        const char *zone = memchr(c.data + year, '+', c.len - year);
        m.rest = (struct cell){c.data + year, (zone ? (uint32_t)(zone - c.data) : c.len) - year};
        return m;
}

static int cmp_moment(struct cell a, struct cell b)
{
        int beyond_a = beyond(a), beyond_b = beyond(b);
        if (beyond_a || beyond_b)
                return beyond_a - beyond_b;
        struct moment x = moment_of(a), y = moment_of(b);
        if (x.bc != y.bc)
                return x.bc ? -1 : 1;
        /* years have four digits or more, without further zeros before them */
        int c = x.year.len != y.year.len ? (x.year.len < y.year.len ? -1 : 1) : cmp_bytes(x.year, y.year);
        if (c)
                return x.bc ? -c : c;
        return cmp_bytes(x.rest, y.rest);
}

static struct cell without_blanks(struct cell c)
{
        while (c.len && c.data[c.len - 1] == ' ')
                c.len--;
        return c;
}

int value_cmp(enum value_type type, struct cell a, struct cell b)
{
        if (!a.data || !b.data)
                return (a.data != NULL) - (b.data != NULL);
        switch (type) {
        case TYPE_INT:
        case TYPE_NUMERIC: return cmp_decimal(a, b);
        case TYPE_DATE:
        case TYPE_TIMESTAMP: return cmp_moment(a, b);
        case TYPE_BPCHAR: return cmp_bytes(without_blanks(a), without_blanks(b));
        case TYPE_BOOL: /* f, t */
        case TYPE_TEXT:
        case TYPE_BYTEA: /* \x.. */
        case TYPE_UUID:
        case TYPE_OTHER:
        case TYPE_ARRAY:
        case TYPE_JSONB: break;
        }
        return cmp_bytes(a, b);
}

/* ---- sums ---------------------------------------------------------------------------------------------------------------------------- */
uint32_t scale_of(struct cell c)
{
        const char *point = c.data ? memchr(c.data, '.', c.len) : NULL;
        return point ? c.len - (uint32_t)(point - c.data) - 1 : 0;
}

struct cell scale_to(struct cell c, uint32_t scale, struct arena *arena)
{
        uint32_t has = scale_of(c);
        if (!c.data || has == scale)
                return c;
        while (has > scale && c.data[c.len - 1] == '0')
                c.len--, has--;
        if (has == 0 && c.data[c.len - 1] == '.')
                c.len--;
        if (has >= scale)
                return c;
        char *s = arena_alloc(arena, (size_t)c.len + 1 + scale), *p = mempcpy(s, c.data, c.len);
        if (has == 0)
                *p++ = '.';
        memset(p, '0', scale - has);
        return (struct cell){s, (uint32_t)(p - s) + scale - has};
}

/* x times ten to the power of scale, which is at least that of x; NULL is 0. */
static void scaled(mpz_t out, struct cell x, uint32_t scale, struct arena *arena)
{
        char *digits = arena_alloc(arena, (size_t)x.len + scale + 2);
        size_t n = 0;
        for (uint32_t i = 0; x.data && i < x.len; i++)
                if (x.data[i] != '.')
                        digits[n++] = x.data[i];
        for (uint32_t i = scale_of(x); i < scale; i++)
                digits[n++] = '0';
        if (n)
                mpz_set_str(out, digits, 10);
}

/* The digits of z with the point before the last scale of them. */
static struct cell printed(const mpz_t z, uint32_t scale, struct arena *arena)
{
        char *digits = arena_alloc(arena, mpz_sizeinbase(z, 10) + 2);
        mpz_get_str(digits, 10, z);
        bool negative = digits[0] == '-';
        digits += negative;
        size_t n = strlen(digits), whole = n > scale ? n - scale : 0;
        char *out = arena_alloc(arena, n + scale + 4), *p = out;
        if (negative)
                *p++ = '-';
        if (whole)
                memcpy(p, digits, whole);
        else
                *p = '0';
        p += whole ? whole : 1;
        if (scale) {
                *p++ = '.';
                size_t zeros = scale - (n - whole);
                memset(p, '0', zeros);
                memcpy(p + zeros, digits + whole, n - whole);
                p += scale;
        }
        return (struct cell){out, (uint32_t)(p - out)};
}

static struct cell sum_exactly(struct cell base, struct cell from, struct cell to, struct arena *arena)
{
        uint32_t scale = scale_of(base);
        scale = scale_of(from) > scale ? scale_of(from) : scale;
        scale = scale_of(to) > scale ? scale_of(to) : scale;
        mpz_t b, f, t;
        mpz_inits(b, f, t, NULL);
        scaled(b, base, scale, arena);
        scaled(f, from, scale, arena);
        scaled(t, to, scale, arena);
        mpz_sub(t, t, f);
        mpz_add(b, b, t);
        struct cell sum = printed(b, scale, arena);
        mpz_clears(b, f, t, NULL);
        return sum;
}

static bool small(struct cell c)
{
        return !c.data || c.len <= 18;
}

static int64_t small_int(struct cell c)
{
        uint64_t v = 0;
        bool negative = c.data && c.len && c.data[0] == '-';
        for (uint32_t i = negative; c.data && i < c.len; i++)
                v = v * 10 + ((uint8_t)c.data[i] - (unsigned)'0') % 10;
        return negative ? -(int64_t)(v & INT64_MAX) : (int64_t)(v & INT64_MAX);
}

/* What is not finite stays so, and plus and minus infinity together are no number: as doubles have it, and PostgreSQL's numeric. */
static double special(struct cell c)
{
        static const double as[] = {(double)-INFINITY, 0, (double)INFINITY, (double)NAN};
        return as[(c.data ? beyond(c) : 0) + 1];
}

struct cell value_add_delta(enum value_type type, struct cell base, struct cell from, struct cell to, struct arena *arena)
{
        if (!base.data && !from.data && !to.data)
                return (struct cell){NULL, 0};
        if (type == TYPE_INT && small(base) && small(from) && small(to)) {
                char *s = arena_printf(arena, "%" PRId64, small_int(base) + (small_int(to) - small_int(from)));
                return (struct cell){s, (uint32_t)strlen(s)};
        }
        double s = special(base) + (special(to) - special(from));
        if (isnan(s))
                return (struct cell){"NaN", 3};
        if (isinf(s))
                return s > 0 ? (struct cell){"Infinity", 8} : (struct cell){"-Infinity", 9};
        return sum_exactly(base, from, to, arena);
}
