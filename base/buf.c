#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void buf_init(struct buf *b, size_t max)
{
        memset(b, 0, sizeof *b);
        b->max = max ? max : (size_t)1 << 30;
}

void buf_reset(struct buf *b)
{
        b->len = 0;
        b->full = false;
}

void buf_release(struct buf *b)
{
        size_t max = b->max;
        free(b->data);
        buf_init(b, max);
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
        if (b->full || n > b->max - b->len) {
                b->full = true;
                return NULL;
        }
        if (b->cap - b->len < n) {
                size_t cap = b->cap ? b->cap : 256;
                while (cap - b->len < n)
                        cap *= 2;
                b->data = mem_realloc(b->data, cap);
                b->cap = cap;
        }
        return b->data + b->len;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
        uint8_t *to = buf_reserve(b, n);
        if (to && n) {
                memcpy(to, p, n);
                b->len += n;
        }
}

void buf_put_str(struct buf *b, const char *s)
{
        buf_put(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
        va_list ap, again;
        va_start(ap, fmt);
        va_copy(again, ap);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        uint8_t *to = buf_reserve(b, (size_t)n + 1);
        if (to) {
                vsnprintf((char *)to, (size_t)n + 1, fmt, again);
                b->len += (size_t)n;
        }
        va_end(again);
}

const char *buf_cstr(struct buf *b)
{
        uint8_t *end = buf_reserve(b, 1);
        if (!end)
                return "";
        *end = 0;
        return (const char *)b->data;
}

char *buf_taken(struct buf *b)
{
        char *s = mem_strdup(buf_cstr(b));
        buf_release(b);
        return s;
}

void buf_put_u8(struct buf *b, uint8_t v)
{
        buf_put(b, &v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
        uint8_t p[2] = {(uint8_t)(v >> 8), (uint8_t)v};
        buf_put(b, p, sizeof p);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
        uint8_t p[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        buf_put(b, p, sizeof p);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
        buf_put_u32(b, (uint32_t)(v >> 32));
        buf_put_u32(b, (uint32_t)v);
}

void buf_put_varint(struct buf *b, uint64_t v)
{
        uint8_t p[10];
        size_t n = 0;
        while (v >= 0x80) {
                p[n++] = (uint8_t)(v | 0x80);
                v >>= 7;
        }
        p[n++] = (uint8_t)v;
        buf_put(b, p, n);
}

void buf_put_bytes(struct buf *b, const void *p, size_t n)
{
        buf_put_varint(b, n);
        buf_put(b, p, n);
}
