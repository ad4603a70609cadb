/* binary: values of a few built-in types between PostgreSQL's text and its binary send format.
 * Only types whose binary format is the same in every supported PostgreSQL are here; everything else travels as text.
 *
 *     bool   1 byte 0/1         int2 int4 int8 oid   big-endian        uuid    16 bytes
 *     bytea  the bytes          float4 float8        IEEE 754, big-endian
 *
 * Nothing is guessed: text that is not exactly what PostgreSQL prints for the type (extra_float_digits=1, bytea_output=hex) is refused,
 * so that text -> binary -> text gives the same bytes.  Pure, any thread; the process keeps the C locale for numbers. */
#ifndef PANGEA_CHANGE_BINARY_H
#define PANGEA_CHANGE_BINARY_H

#include "base/buf.h"

enum binary_type {
        BINARY_NONE, /* travels as text */
        BINARY_BOOL,
        BINARY_INT2,
        BINARY_INT4,
        BINARY_INT8,
        BINARY_OID,
        BINARY_UUID,
        BINARY_BYTEA,
        BINARY_FLOAT4,
        BINARY_FLOAT8,
};

/* Of a schema-qualified type name ("pg_catalog.int4"). Look it up once for a column, not for each value. */
enum binary_type binary_type_of(const char *type);
/* Append the converted value to *out. false: leave the value as it is; nothing was appended. */
bool binary_from_text(enum binary_type type, const uint8_t *text, uint32_t len, struct buf *out);
bool binary_to_text(enum binary_type type, const uint8_t *data, uint32_t len, struct buf *out);

#endif
