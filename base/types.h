/* types: positions and ids that must not be mixed up, each a type of its own.  Pure, any thread. */
#ifndef PANGEA_BASE_TYPES_H
#define PANGEA_BASE_TYPES_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A byte position in one database's WAL. 0 = none. */
typedef struct {
        uint64_t v;
} lsn_t;

/* Hybrid logical clock: microseconds since 1970-01-01 UTC. 0 = before everything. */
typedef struct {
        uint64_t v;
} hlc_t;

/* An offset in one Kafka topic's only partition; -1 = none. */
typedef struct {
        int64_t v;
} koffset_t;

/* Full 64-bit transaction id of one database (epoch in the high half). 0 = none. */
typedef struct {
        uint64_t v;
} fullxid_t;

/* PostgreSQL's epoch (2000-01-01 UTC) in Unix microseconds: timestamptz on the wire counts from there. */
#define PG_EPOCH_US INT64_C(946684800000000)

static inline bool lsn_before(lsn_t a, lsn_t b)
{
        return a.v < b.v;
}
static inline lsn_t lsn_max(lsn_t a, lsn_t b)
{
        return a.v < b.v ? b : a;
}
static inline bool hlc_before(hlc_t a, hlc_t b)
{
        return a.v < b.v;
}
static inline hlc_t hlc_max(hlc_t a, hlc_t b)
{
        return a.v < b.v ? b : a;
}
/* The full id that is nearest to `near` among those with these low 32 bits; 0: it would lie before the first. */
static inline fullxid_t fullxid_near(fullxid_t near, uint32_t xid)
{
        int32_t ahead = (int32_t)(xid - (uint32_t)near.v);
        uint64_t full = near.v + (uint64_t)(int64_t)ahead;
        return (fullxid_t){ahead < 0 && full > near.v ? 0 : full};
}
static inline int64_t hlc_to_pg(hlc_t h)
{
        return (int64_t)h.v - PG_EPOCH_US;
}
static inline hlc_t hlc_from_pg(int64_t ts)
{
        return (hlc_t){(uint64_t)(ts + PG_EPOCH_US)};
}

#define LSN_STRLEN 20
/* Writes "16/B374D848" into buf, which it returns. */
const char *lsn_str(char buf[LSN_STRLEN], lsn_t lsn);
/* Reads the same; false when s is not an LSN. */
bool lsn_parse(const char *s, lsn_t *out);

#endif
