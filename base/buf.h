/* buf: a growing byte buffer with a maximum at birth, and big-endian writers into it.
 * Owner: whoever called buf_init.  Thread: one.  Reaching the maximum is sticky: buf.full is set, later writes do nothing; check once. */
#ifndef PANGEA_BASE_BUF_H
#define PANGEA_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
        uint8_t *data;
        size_t len, cap, max;
        bool full;
};

void buf_init(struct buf *b, size_t max); /* max 0 = 1 GiB */
void buf_reset(struct buf *b);            /* keeps the memory, clears full */
void buf_release(struct buf *b);
/* Room for n more bytes, or NULL when that would pass the maximum; does not move len. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_str(struct buf *b, const char *s); /* without the final 0 */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *buf_cstr(struct buf *b); /* 0-terminated view, valid until the next write */
char *buf_taken(struct buf *b);      /* a string of its own (free), and the buffer is released */

/* Big-endian fixed width, and LEB128 for numbers that are small most of the time. */
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_varint(struct buf *b, uint64_t v);
void buf_put_bytes(struct buf *b, const void *p, size_t n); /* varint length, then the bytes */

#endif
