/* meter: what the apply agent counts for the metrics: plain numbers of its own thread, put into the registry once a second.
 * What a transaction discards is counted when it has committed.
 * Owner and thread: the apply agent's; the registry has a lock of its own. */
#ifndef PANGEA_APPLY_METER_H
#define PANGEA_APPLY_METER_H

#include "base/metrics.h"
#include "change/vector.h"

enum meter_op { METER_INSERT, METER_UPDATE, METER_DELETE, METER_TRUNCATE };
enum { METER_OPS = METER_TRUNCATE + 1 };
enum meter_retry { RETRY_LOCK, RETRY_DEADLOCK, RETRY_SERIALIZATION, RETRY_OWN_LOG, RETRY_OTHER };
enum { METER_RETRIES = RETRY_OTHER + 1 };

struct meter_origin {
        uint64_t groups, txs, ops[METER_OPS], retries[METER_RETRIES];
        struct histogram delay;
        int64_t waits_since_us; /* wall clock; 0: it does not wait for another origin */
        int64_t waited_us;      /* waits that are over */
        int64_t ahead_us[2];    /* greatest heartbeat minus time here, of this minute and of the one before */
        int64_t minute;         /* of ahead_us[0]; 0: nothing was heard */
        bool heard_before;      /* ahead_us[1] holds something */
};

/* What the transaction that is open has done to a table: versions discarded, or (kind NULL) rows processed. */
struct meter_lost {
        char *table;
        const char *kind, *rule; /* borrowed for good */
        uint64_t n;
};

struct meter {
        struct metrics *metrics; /* borrowed; NULL: nobody looks */
        struct meter_origin from[MAX_REGIONS];
        struct meter_lost *lost;
        size_t nlost, cap_lost;
};

void meter_init(struct meter *m, struct metrics *metrics);
void meter_release(struct meter *m);
/* A group has been committed here. */
void meter_applied(struct meter *m, struct dot dot, uint64_t txs, const uint64_t ops[METER_OPS]);
void meter_retry(struct meter *m, region_id origin, const struct err *why);
/* Does the origin's next group wait for changes of another one? */
void meter_waits(struct meter *m, region_id origin, bool waits);
/* A heartbeat was processed, with nothing behind it that waited. */
void meter_heard(struct meter *m, region_id origin, int64_t wall_us);
/* Rows of a table were processed. */
void meter_rows(struct meter *m, const char *table, uint64_t n);
/* kind and rule are string constants. */
void meter_lost(struct meter *m, const char *table, const char *kind, const char *rule);
void meter_committed(struct meter *m);
void meter_rolled_back(struct meter *m);

#endif
