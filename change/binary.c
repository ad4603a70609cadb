#include "change/binary.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "IEEE 754 is what PostgreSQL sends");

enum binary_type binary_type_of(const char *type)
{
        static const struct {
                const char *name;
                enum binary_type type;
        } known[] = {
                {"int4", BINARY_INT4},     {"int8", BINARY_INT8},     {"bool", BINARY_BOOL},
                {"uuid", BINARY_UUID},     {"bytea", BINARY_BYTEA},   {"int2", BINARY_INT2},
                {"float8", BINARY_FLOAT8}, {"float4", BINARY_FLOAT4}, {"oid", BINARY_OID},
        };
        static const char prefix[] = "pg_catalog.";
        if (strncmp(type, prefix, sizeof prefix - 1) != 0)
                return BINARY_NONE;
        type += sizeof prefix - 1;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
                if (known[i].name[0] == type[0] && strcmp(known[i].name, type) == 0)
                        return known[i].type;
        return BINARY_NONE;
}

/* ---- integers ---------------------------------------------------------------------------------------------------------------------- */
static size_t int_width(enum binary_type type)
{
        return type == BINARY_INT2 ? 2 : type == BINARY_INT8 ? 8 : 4;
}

/* Digits as PostgreSQL prints them: no blanks, no plus, no leading zero, no minus zero. */
static bool parse_int(const uint8_t *s, uint32_t n, uint64_t max, bool is_signed, uint64_t *out)
{
        bool neg = is_signed && n > 0 && s[0] == '-';
        uint32_t i = neg ? 1 : 0;
        uint64_t v = 0;
        if (i == n || n > 20 || (s[i] == '0' && (n > i + 1 || neg)))
                return false;
        for (; i < n; i++) {
                unsigned digit = (unsigned)s[i] - '0';
                if (digit > 9 || v > (max + neg - digit) / 10)
                        return false;
                v = v * 10 + digit;
        }
        *out = neg ? 0 - v : v;
        return true;
}

static bool int_from_text(enum binary_type type, const uint8_t *s, uint32_t n, struct buf *out)
{
        size_t width = int_width(type);
        uint64_t v, max = UINT64_MAX >> (64 - 8 * width + (type != BINARY_OID));
        if (!parse_int(s, n, max, type != BINARY_OID, &v))
                return false;
        uint8_t p[8];
        for (size_t i = 0; i < width; i++)
                p[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
        buf_put(out, p, width);
        return true;
}

static uint64_t be(const uint8_t *p, size_t n)
{
        uint64_t v = 0;
        for (size_t i = 0; i < n; i++)
                v = v << 8 | p[i];
        return v;
}

/* Of a negative number of n bytes. */
static uint64_t magnitude(uint64_t v, uint32_t n)
{
        return (0 - v) & UINT64_MAX >> (64 - 8 * n);
}

/* Keys are integers most of the time: printf would be the larger part of folding them. */
static void put_decimal(struct buf *out, uint64_t v, bool neg)
{
        uint8_t s[20], *p = s + sizeof s;
        do
                *--p = (uint8_t)('0' + v % 10);
        while (v /= 10);
        if (neg)
                *--p = '-';
        buf_put(out, p, (size_t)(s + sizeof s - p));
}

static bool int_to_text(enum binary_type type, const uint8_t *p, uint32_t n, struct buf *out)
{
        if (n != int_width(type))
                return false;
        uint64_t v = be(p, n);
        bool neg = type != BINARY_OID && v >> (8 * n - 1);
        put_decimal(out, neg ? magnitude(v, n) : v, neg);
        return true;
}

/* ---- uuid, bytea ------------------------------------------------------------------------------------------------------------------- */
static int hex_digit(uint8_t c)
{
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_byte(const uint8_t *s, uint8_t *out)
{
        int hi = hex_digit(s[0]), lo = hex_digit(s[1]);
        *out = (uint8_t)((unsigned)hi << 4 | ((unsigned)lo & 15));
        return hi >= 0 && lo >= 0;
}

static void put_hex(struct buf *out, const uint8_t *p, size_t n)
{
        static const char digits[] = "0123456789abcdef";
        uint8_t *to = buf_reserve(out, 2 * n);
        if (!to)
                return;
        for (size_t i = 0; i < n; i++) {
                *to++ = (uint8_t)digits[p[i] >> 4];
                *to++ = (uint8_t)digits[p[i] & 15];
        }
        out->len += 2 * n;
}

static bool is_dash_of_uuid(uint32_t at)
{
        return at == 8 || at == 13 || at == 18 || at == 23;
}

static bool uuid_from_text(const uint8_t *s, uint32_t n, struct buf *out)
{
        uint8_t p[16];
        size_t got = 0;
        if (n != 36)
                return false;
        for (uint32_t i = 0; i < n;) {
                if (is_dash_of_uuid(i)) {
                        if (s[i++] != '-')
                                return false;
                        continue;
                }
                if (!hex_byte(s + i, &p[got++]))
                        return false;
                i += 2;
        }
        buf_put(out, p, sizeof p);
        return true;
}

static bool uuid_to_text(const uint8_t *p, uint32_t n, struct buf *out)
{
        if (n != 16)
                return false;
        for (uint32_t i = 0; i < n; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        buf_put_u8(out, '-');
                put_hex(out, p + i, 1);
        }
        return true;
}

static bool bytea_from_text(const uint8_t *s, uint32_t n, struct buf *out)
{
        if (n < 2 || n % 2 != 0 || s[0] != '\\' || s[1] != 'x')
                return false;
        uint8_t *to = buf_reserve(out, n / 2 - 1);
        if (out->full)
                return false;
        for (uint32_t i = 2; i < n; i += 2)
                if (!hex_byte(s + i, to++))
                        return false;
        out->len += n / 2 - 1;
        return true;
}

/* ---- floats ------------------------------------------------------------------------------------------------------------------------ */
static double parse_as(enum binary_type type, const char *s)
{
        return type == BINARY_FLOAT4 ? (double)strtof(s, NULL) : strtod(s, NULL);
}

/* Is digits * 10^exp strictly nearer to v than to any other number of its type? (PostgreSQL's Ryu does not take the bounds either.)
 * strtod rounds exactly, so nudging the decimal by far less than its last digit shows on which side of a bound it lies. */
static bool inside(enum binary_type type, uint64_t digits, int exp, double v)
{
        char s[80];
        snprintf(s, sizeof s, "%" PRIu64 "00000000000000000001e%d", digits, exp - 20);
        if (parse_as(type, s) != v)
                return false;
        snprintf(s, sizeof s, "%" PRIu64 "99999999999999999999e%d", digits - 1, exp - 20);
        return parse_as(type, s) == v;
}

/* The shortest digits that read back as v > 0: v = digits * 10^exp. At a power of two the nearest decimal may lie outside while a
 * neighbour lies inside: the numbers below it are twice as dense. */
static uint64_t shortest(enum binary_type type, double v, int *exp)
{
        int most = type == BINARY_FLOAT4 ? 9 : 17;
        char s[40];
        uint64_t digits = 0;
        for (int n = 1; n <= most; n++) {
                snprintf(s, sizeof s, "%.*e", n - 1, v);
                const char *e = strchr(s, 'e');
                *exp = (int)strtol(e + 1, NULL, 10) - (n - 1);
                digits = (uint64_t)(s[0] - '0');
                for (const char *d = s + 1; d < e; d++)
                        if (*d != '.')
                                digits = digits * 10 + (uint64_t)(*d - '0');
                if (inside(type, digits, *exp, v))
                        return digits;
                if (inside(type, digits + 1, *exp, v))
                        return digits + 1;
                if (digits > 1 && inside(type, digits - 1, *exp, v))
                        return digits - 1;
        }
        return digits;
}

/* As float8out does: plain from 0.0001 to below 10^15 (float4: 10^6), else with an exponent. */
static void put_float(enum binary_type type, double v, struct buf *out)
{
        char s[24];
        int exp;
        uint64_t digits = shortest(type, v, &exp);
        while (digits % 10 == 0) {
                digits /= 10;
                exp++;
        }
        int n = snprintf(s, sizeof s, "%" PRIu64, digits);
        int point = n + exp, sci = point - 1; /* the decimal point stands behind this many digits */
        if (sci < -4 || sci >= (type == BINARY_FLOAT4 ? 6 : 15))
                buf_printf(out, "%c%s%se%c%02d", s[0], n > 1 ? "." : "", s + 1, sci < 0 ? '-' : '+', abs(sci));
        else if (point <= 0)
                buf_printf(out, "0.%.*s%s", -point, "0000", s);
        else if (exp >= 0)
                buf_printf(out, "%s%.*s", s, exp, "00000000000000000000");
        else
                buf_printf(out, "%.*s.%s", point, s, s + point);
}

static bool float_to_text(enum binary_type type, const uint8_t *p, uint32_t n, struct buf *out)
{
        uint64_t bits = be(p, n <= 8 ? n : 0);
        double v;
        if (type == BINARY_FLOAT4 && n == 4) {
                uint32_t bits4 = (uint32_t)bits;
                float v4;
                memcpy(&v4, &bits4, sizeof v4);
                v = (double)v4;
        } else if (type == BINARY_FLOAT8 && n == 8) {
                memcpy(&v, &bits, sizeof v);
        } else {
                return false;
        }
        if (isnan(v)) {
                buf_put_str(out, "NaN");
                return true;
        }
        if (signbit(v))
                buf_put_u8(out, '-');
        if (isinf(v))
                buf_put_str(out, "Infinity");
        else if (fpclassify(v) == FP_ZERO)
                buf_put_u8(out, '0');
        else
                put_float(type, fabs(v), out);
        return true;
}

static bool looks_like_float(const char *s)
{
        s += *s == '-';
        return strcmp(s, "Infinity") == 0 || (*s >= '0' && *s <= '9' && s[strspn(s, "0123456789.e+-")] == 0);
}

static bool float_from_text(enum binary_type type, const uint8_t *text, uint32_t n, struct buf *out)
{
        char s[40], *end;
        if (n == 0 || n >= sizeof s || memchr(text, 0, n))
                return false;
        memcpy(s, text, n);
        s[n] = 0;
        if (strcmp(s, "NaN") == 0) { /* the bits that float8in gives, not those of strtod */
                if (type == BINARY_FLOAT4)
                        buf_put_u32(out, UINT32_C(0x7fc00000));
                else
                        buf_put_u64(out, UINT64_C(0x7ff8000000000000));
                return true;
        }
        if (!looks_like_float(s))
                return false;
        uint64_t bits = 0;
        if (type == BINARY_FLOAT4) {
                float v = strtof(s, &end);
                uint32_t bits4;
                memcpy(&bits4, &v, sizeof bits4);
                bits = bits4;
                if (isinf(v) && !strchr(s, 'I'))
                        return false;
        } else {
                double v = strtod(s, &end);
                memcpy(&bits, &v, sizeof bits);
                if (isinf(v) && !strchr(s, 'I'))
                        return false;
        }
        if (*end)
                return false;
        if (type == BINARY_FLOAT4)
                buf_put_u32(out, (uint32_t)bits);
        else
                buf_put_u64(out, bits);
        return true;
}

/* ---- all together ------------------------------------------------------------------------------------------------------------------ */
bool binary_from_text(enum binary_type type, const uint8_t *s, uint32_t n, struct buf *out)
{
        switch (type) {
        case BINARY_NONE: return false;
        case BINARY_BOOL:
                if (n != 1 || (s[0] != 't' && s[0] != 'f'))
                        return false;
                buf_put_u8(out, s[0] == 't');
                return true;
        case BINARY_INT2:
        case BINARY_INT4:
        case BINARY_INT8:
        case BINARY_OID: return int_from_text(type, s, n, out);
        case BINARY_UUID: return uuid_from_text(s, n, out);
        case BINARY_BYTEA: return bytea_from_text(s, n, out);
        case BINARY_FLOAT4:
        case BINARY_FLOAT8: return float_from_text(type, s, n, out);
        }
        return false;
}

bool binary_to_text(enum binary_type type, const uint8_t *p, uint32_t n, struct buf *out)
{
        switch (type) {
        case BINARY_NONE: return false;
        case BINARY_BOOL:
                if (n != 1 || p[0] > 1)
                        return false;
                buf_put_u8(out, p[0] ? 't' : 'f');
                return true;
        case BINARY_INT2:
        case BINARY_INT4:
        case BINARY_INT8:
        case BINARY_OID: return int_to_text(type, p, n, out);
        case BINARY_UUID: return uuid_to_text(p, n, out);
        case BINARY_BYTEA:
                buf_put_str(out, "\\x");
                put_hex(out, p, n);
                return true;
        case BINARY_FLOAT4:
        case BINARY_FLOAT8: return float_to_text(type, p, n, out);
        }
        return false;
}
