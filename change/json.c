#include "change/json.h"

#include <string.h>

/* Length of the UTF-8 sequence at p, 0 when it is none (RFC 3629: no surrogates, no overlong forms). */
static size_t utf8_len(const uint8_t *p, size_t n)
{
        uint8_t c = p[0];
        size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
        if (len == 0 || len > n)
                return 0;
        for (size_t i = 1; i < len; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f))
                return 0;
        return len;
}

static void put_special(struct buf *out, uint8_t c)
{
        static const char hex[] = "0123456789abcdef";
        switch (c) {
        case '"': buf_put_str(out, "\\\""); break;
        case '\\': buf_put_str(out, "\\\\"); break;
        case '\n': buf_put_str(out, "\\n"); break;
        case '\r': buf_put_str(out, "\\r"); break;
        case '\t': buf_put_str(out, "\\t"); break;
        default: {
                char esc[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
                buf_put(out, esc, sizeof esc);
        }
        }
}

void json_put_string(struct buf *out, const void *data, size_t n)
{
        const uint8_t *p = data;
        buf_put_u8(out, '"');
        size_t from = 0, i = 0; /* [from, i) goes out as it is */
        while (i < n) {
                bool special = p[i] < 0x20 || p[i] == '"' || p[i] == '\\' || p[i] == 0x7f;
                size_t len = special ? 0 : utf8_len(p + i, n - i);
                if (len > 0) {
                        i += len;
                        continue;
                }
                buf_put(out, p + from, i - from);
                if (special)
                        put_special(out, p[i]);
                else
                        buf_put_str(out, "\xef\xbf\xbd");
                from = ++i;
        }
        if (n > from)
                buf_put(out, p + from, n - from);
        buf_put_u8(out, '"');
}

void json_put_cstr(struct buf *out, const char *s)
{
        json_put_string(out, s, strlen(s));
}

void json_put_hex(struct buf *out, const void *data, size_t n)
{
        static const char hex[] = "0123456789abcdef";
        const uint8_t *p = data;
        uint8_t *to = buf_reserve(out, 2 * n + 2);
        if (!to)
                return;
        *to++ = '"';
        for (size_t i = 0; i < n; i++) {
                *to++ = (uint8_t)hex[p[i] >> 4];
                *to++ = (uint8_t)hex[p[i] & 15];
        }
        *to = '"';
        out->len += 2 * n + 2;
}
