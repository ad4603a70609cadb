/* rd: a bounded reader with sticky failure: read the whole message, check rd.bad once.  Never reads past its end; after a failure
 * every read gives 0 or NULL.  Pure; the bytes are borrowed for as long as the reader is used. */
#ifndef PANGEA_BASE_RD_H
#define PANGEA_BASE_RD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rd {
        const uint8_t *p;
        size_t left;
        bool bad;
};

static inline struct rd rd_init(const void *p, size_t n)
{
        return (struct rd){.p = p, .left = n};
}

/* n bytes, borrowed; NULL when they are not there. */
static inline const uint8_t *rd_take(struct rd *r, size_t n)
{
        if (r->bad || n > r->left) {
                r->bad = true;
                return NULL;
        }
        const uint8_t *p = r->p;
        r->p += n;
        r->left -= n;
        return p;
}

static inline uint8_t rd_u8(struct rd *r)
{
        const uint8_t *p = rd_take(r, 1);
        return p ? *p : 0;
}

static inline uint16_t rd_u16(struct rd *r)
{
        const uint8_t *p = rd_take(r, 2);
        return (uint16_t)(p ? (unsigned)p[0] << 8 | p[1] : 0u);
}

static inline uint32_t rd_u32(struct rd *r)
{
        const uint8_t *p = rd_take(r, 4);
        return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

static inline uint64_t rd_u64(struct rd *r)
{
        uint64_t hi = rd_u32(r);
        return hi << 32 | rd_u32(r);
}

static inline uint64_t rd_varint(struct rd *r)
{
        uint64_t v = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
                uint8_t b = rd_u8(r);
                if (shift == 63 && b > 1)
                        break;
                v |= (uint64_t)(b & 0x7f) << shift;
                if (!(b & 0x80))
                        return r->bad ? 0 : v;
        }
        r->bad = true;
        return 0;
}

/* A varint length and that many bytes, borrowed; *n is 0 on failure. */
static inline const uint8_t *rd_bytes(struct rd *r, size_t *n)
{
        uint64_t want = rd_varint(r);
        if (r->bad || want > r->left) {
                r->bad = true;
                *n = 0;
                return NULL;
        }
        *n = (size_t)want;
        return rd_take(r, *n);
}

/* A 0-terminated string inside the message, borrowed; "" on failure. */
static inline const char *rd_cstr(struct rd *r)
{
        const uint8_t *end = r->bad || !r->left ? NULL : memchr(r->p, 0, r->left);
        if (!end) {
                r->bad = true;
                return "";
        }
        return (const char *)rd_take(r, (size_t)(end - r->p) + 1);
}

#endif
