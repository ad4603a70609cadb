#include "change/key.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "change/binary.h"
#include "change/json.h"

static const uint8_t *skip_zeros(const uint8_t *p, const uint8_t *end)
{
        while (p < end && *p == '0')
                p++;
        return p;
}

static const uint8_t *skip_digits(const uint8_t *p, const uint8_t *end)
{
        while (p < end && *p >= '0' && *p <= '9')
                p++;
        return p;
}

static void put_length(struct buf *out, size_t n)
{
        buf_put_varint(out, (uint64_t)n + 1); /* 0 is NULL */
}

static void put_text(struct buf *out, const uint8_t *p, size_t n)
{
        put_length(out, n);
        buf_put(out, p, n);
}

/* numeric: 007.50 is 7.5, -0.00 is 0. NaN, Infinity and what is not plain digits stay as they are. */
static void put_numeric(struct buf *out, const uint8_t *s, size_t n)
{
        const uint8_t *end = s + n, *p = s + (n > 0 && (*s == '-' || *s == '+'));
        const uint8_t *whole_end = skip_digits(p, end), *frac = whole_end, *frac_end = whole_end;
        if (whole_end < end && *whole_end == '.') {
                frac = whole_end + 1;
                frac_end = skip_digits(frac, end);
        }
        if (frac_end != end || (whole_end == p && frac_end == frac)) {
                put_text(out, s, n);
                return;
        }
        const uint8_t *whole = skip_zeros(p, whole_end);
        while (frac_end > frac && frac_end[-1] == '0')
                frac_end--;
        size_t nwhole = (size_t)(whole_end - whole), nfrac = (size_t)(frac_end - frac);
        bool neg = *s == '-' && nwhole + nfrac > 0;
        put_length(out, neg + (nwhole ? nwhole : 1) + (nfrac ? nfrac + 1 : 0));
        if (neg)
                buf_put_u8(out, '-');
        if (nwhole)
                buf_put(out, whole, nwhole);
        else
                buf_put_u8(out, '0');
        if (nfrac) {
                buf_put_u8(out, '.');
                buf_put(out, frac, nfrac);
        }
}

/* Floats by value: the bits, as binary text gives them, with one zero and one NaN. */
static bool put_float(struct buf *out, enum binary_type type, const struct value *v)
{
        uint8_t room[16] = {0};
        struct buf bits = {.data = room, .cap = sizeof room, .max = sizeof room}; /* never grows */
        uint32_t want = type == BINARY_FLOAT4 ? 4 : 8;
        if (v->kind == VALUE_BINARY)
                buf_put(&bits, v->data, v->len == want ? v->len : 0);
        else if (!binary_from_text(type, v->data, v->len, &bits))
                return false;
        if (bits.len != want)
                return false;
        char text[40];
        double d;
        if (want == 4) {
                uint32_t b = (uint32_t)room[0] << 24 | (uint32_t)room[1] << 16 | (uint32_t)room[2] << 8 | room[3];
                float f;
                memcpy(&f, &b, sizeof f);
                d = (double)f;
        } else {
                uint64_t b = 0;
                for (unsigned i = 0; i < 8; i++)
                        b = b << 8 | room[i];
                memcpy(&d, &b, sizeof d);
        }
        if (isnan(d))
                snprintf(text, sizeof text, "NaN");
        else
                snprintf(text, sizeof text, "%.*g", want == 4 ? 9 : 17, fpclassify(d) == FP_ZERO ? 0.0 : d);
        put_text(out, (const uint8_t *)text, strlen(text));
        return true;
}

static void put_binary(struct buf *out, enum binary_type type, const struct value *v)
{
        if (type == BINARY_BYTEA) { /* of any length: no detour */
                put_length(out, 2 + 2 * (size_t)v->len);
                binary_to_text(type, v->data, v->len, out);
                return;
        }
        uint8_t room[64] = {0};
        struct buf text = {.data = room, .cap = sizeof room, .max = sizeof room}; /* never grows */
        if (binary_to_text(type, v->data, v->len, &text))
                put_text(out, text.data, text.len);
        else
                put_text(out, v->data, v->len);
}

static void put_column(struct buf *out, const char *type, const struct value *v)
{
        if (v->kind == VALUE_NULL || v->kind == VALUE_UNSENT) {
                buf_put_varint(out, 0);
                return;
        }
        enum binary_type binary = binary_type_of(type);
        if ((binary == BINARY_FLOAT4 || binary == BINARY_FLOAT8) && put_float(out, binary, v))
                return;
        if (v->kind == VALUE_BINARY) {
                put_binary(out, binary, v);
                return;
        }
        size_t n = v->len;
        if (binary == BINARY_NONE && strcmp(type, "pg_catalog.numeric") == 0) {
                put_numeric(out, v->data, n);
                return;
        }
        if (binary == BINARY_NONE && strcmp(type, "pg_catalog.bpchar") == 0)
                while (n > 0 && v->data[n - 1] == ' ')
                        n--;
        put_text(out, v->data, n);
}

void key_bytes(struct buf *out, const struct relation *rel, const struct value *row)
{
        for (unsigned i = 0; i < rel->nkeys; i++)
                put_column(out, rel->cols[rel->keys[i]].type, &row[rel->keys[i]]);
}

bool key_has_unsent(const struct relation *rel, const struct value *row)
{
        for (unsigned i = 0; i < rel->nkeys; i++)
                if (row[rel->keys[i]].kind == VALUE_UNSENT)
                        return true;
        return false;
}

static bool same_value(const char *type, const struct value *a, const struct value *b)
{
        if (a->kind == VALUE_UNSENT || b->kind == VALUE_UNSENT)
                return true;
        if (a->kind == b->kind && a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0))
                return true;
        struct buf x, y;
        buf_init(&x, 0);
        buf_init(&y, 0);
        put_column(&x, type, a);
        put_column(&y, type, b);
        bool same = x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
        buf_release(&x);
        buf_release(&y);
        return same;
}

bool key_equal_rows(const struct relation *rel, const struct value *old_row, const struct value *new_row)
{
        if (!old_row || !new_row)
                return true;
        for (unsigned i = 0; i < rel->nkeys; i++)
                if (!same_value(rel->cols[rel->keys[i]].type, &old_row[rel->keys[i]], &new_row[rel->keys[i]]))
                        return false;
        return true;
}

/* ---- for people -------------------------------------------------------------------------------------------------------------------- */
static void put_json_value(struct buf *out, const char *type, const struct value *v)
{
        switch (v->kind) {
        case VALUE_NULL: buf_put_str(out, "null"); return;
        case VALUE_UNSENT: buf_put_str(out, "{\"unsent\":true}"); return;
        case VALUE_TEXT: json_put_string(out, v->data, v->len); return;
        case VALUE_BINARY: break;
        }
        struct buf text;
        buf_init(&text, 0);
        if (binary_to_text(binary_type_of(type), v->data, v->len, &text))
                json_put_string(out, text.data, text.len);
        else
                json_put_hex(out, v->data, v->len);
        buf_release(&text);
}

static void put_member(struct buf *out, bool first, const struct column *c, const struct value *v)
{
        buf_put_str(out, first ? "" : ",");
        json_put_cstr(out, c->name);
        buf_put_u8(out, ':');
        put_json_value(out, c->type, v);
}

void key_json(struct buf *out, const struct relation *rel, const struct value *row)
{
        buf_put_u8(out, '{');
        for (unsigned i = 0; i < rel->nkeys; i++)
                put_member(out, i == 0, &rel->cols[rel->keys[i]], &row[rel->keys[i]]);
        buf_put_u8(out, '}');
}

void row_json(struct buf *out, const struct relation *rel, const struct value *row)
{
        buf_put_u8(out, '{');
        for (unsigned i = 0; i < rel->ncols; i++)
                put_member(out, i == 0, &rel->cols[i], &row[i]);
        buf_put_u8(out, '}');
}
