/* json: strings as JSON text, appended to a buffer.  What is not UTF-8 becomes U+FFFD: the result can always be parsed.  Pure. */
#ifndef PANGEA_CHANGE_JSON_H
#define PANGEA_CHANGE_JSON_H

#include "base/buf.h"

void json_put_string(struct buf *out, const void *p, size_t n); /* with the quotes */
void json_put_cstr(struct buf *out, const char *s);
void json_put_hex(struct buf *out, const void *p, size_t n); /* with the quotes */

#endif
