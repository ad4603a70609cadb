/* utf8: how long the character at p is.  Pure, any thread. */
#ifndef PANGEA_CONFIG_UTF8_H
#define PANGEA_CONFIG_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 character at p (n bytes are there); 0: it is none (cut, overlong, a surrogate, above U+10FFFF). */
static inline size_t utf8_len(const char *p, size_t n)
{
        const uint8_t *s = (const uint8_t *)p;
        if (n == 0)
                return 0;
        if (s[0] < 0x80)
                return 1;
        size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
        if (s[0] < 0xc2 || s[0] > 0xf4 || n < len)
                return 0;
        for (size_t i = 1; i < len; i++)
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
            (s[0] == 0xf4 && s[1] > 0x8f))
                return 0;
        return len;
}

#endif
