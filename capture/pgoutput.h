/* pgoutput: the messages of PostgreSQL's logical decoding plugin pgoutput, protocol version 1, as plain data.
 * Pure: bytes in, struct out; nothing is allocated.  Strings and values point into the message (borrowed as long as it lives), rows and
 * columns into the pgout_msg itself (valid until the next decode into it).
 * Fails: ST_DATA, saying which message and at which byte, when a message is cut, too long, or holds a kind or flag this version of the
 * protocol does not have; *out is then of no use.
 *
 *   B  lsn:8 time:8 xid:4                                     begin
 *   C  flags:1 lsn:8 end:8 time:8                             commit
 *   O  lsn:8 name:s                                           origin
 *   R  oid:4 schema:s name:s identity:1 n:2 {flags:1 name:s type:4 typmod:4}*n
 *   Y  oid:4 schema:s name:s                                  type
 *   I  oid:4 'N' row          U  oid:4 ['K'|'O' row] 'N' row          D  oid:4 'K'|'O' row
 *   T  n:4 flags:1 {oid:4}*n                                  truncate
 *   M  flags:1 lsn:8 prefix:s length:4 bytes                  pg_logical_emit_message
 *   row = n:2 {'n' | 'u' | 't' length:4 bytes | 'b' length:4 bytes}*n;  s = text up to a 0; numbers big-endian; times since 2000 */
#ifndef PANGEA_CAPTURE_PGOUTPUT_H
#define PANGEA_CAPTURE_PGOUTPUT_H

#include "base/err.h"
#include "base/types.h"
#include "change/change.h"

#define PGOUT_MAX_COLS 1664 /* PostgreSQL's MaxTupleAttributeNumber; a table has at most 1600 */

enum pgout_kind {
        PGOUT_BEGIN = 'B',
        PGOUT_COMMIT = 'C',
        PGOUT_ORIGIN = 'O',
        PGOUT_RELATION = 'R',
        PGOUT_TYPE = 'Y',
        PGOUT_INSERT = 'I',
        PGOUT_UPDATE = 'U',
        PGOUT_DELETE = 'D',
        PGOUT_TRUNCATE = 'T',
        PGOUT_MESSAGE = 'M',
};

/* Which old row a change brought. */
enum pgout_old {
        PGOUT_OLD_NONE = 0,
        PGOUT_OLD_KEY = 'K',  /* the identity's columns; the others are VALUE_NULL */
        PGOUT_OLD_FULL = 'O', /* REPLICA IDENTITY FULL: the whole row */
};

struct pgout_col {
        const char *name;
        uint32_t type_oid;
        int32_t typmod;
        bool identity; /* flagged as part of the replica identity (under FULL: every column) */
};

struct pgout_row {
        uint16_t ncols;
        const struct value *values;
};

struct pgout_msg {
        enum pgout_kind kind;
        union {
                struct {
                        lsn_t final_lsn;   /* of the commit record */
                        int64_t commit_us; /* Unix microseconds */
                        uint32_t xid;
                } begin;
                struct {
                        lsn_t commit_lsn, end_lsn;
                        int64_t commit_us;
                } commit;
                struct {
                        lsn_t lsn;
                        const char *name;
                } origin;
                struct {
                        uint32_t oid;
                        const char *schema, *name; /* schema is never "": the protocol's "" is said as pg_catalog */
                        char identity;             /* d default, n nothing, f full, i index */
                        uint16_t ncols;
                        const struct pgout_col *cols;
                } relation;
                struct {
                        uint32_t oid;
                        const char *schema, *name;
                } type;
                struct {
                        uint32_t oid; /* of the relation */
                        enum pgout_old old_kind;
                        struct pgout_row old, row; /* old: update and delete; row: insert and update; else 0 columns and NULL */
                } change;
                struct {
                        bool cascade, restart_identity;
                        uint32_t n;
                        const uint8_t *oids; /* read with pgout_truncated() */
                } truncate;
                struct {
                        bool transactional;
                        lsn_t lsn;
                        const char *prefix;
                        const uint8_t *content;
                        uint32_t len;
                } message;
        } u;
        /* Memory for the arrays above. About 90 kB: keep one and use it again, not on a small stack. */
        struct value old_values[PGOUT_MAX_COLS], new_values[PGOUT_MAX_COLS];
        struct pgout_col col_memory[PGOUT_MAX_COLS];
};

MUSTCHECK enum status pgoutput_decode(const uint8_t *p, size_t n, struct pgout_msg *out, struct err *e);

/* The i-th relation of a truncate. */
static inline uint32_t pgout_truncated(const struct pgout_msg *m, uint32_t i)
{
        const uint8_t *p = m->u.truncate.oids + (size_t)i * 4;
        return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
