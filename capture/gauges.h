/* gauges: what the capture agent shows as metrics: its view's numbers, and what the slot and the WAL look like, once a second.
 * Owner and thread: the status thread; the registry has a lock of its own. */
#ifndef PANGEA_CAPTURE_GAUGES_H
#define PANGEA_CAPTURE_GAUGES_H

#include "capture/view.h"
#include "postgres/pg.h"

#define GAUGES_MARKS 512
#define GAUGES_RATE 64

/* Where the WAL ended at some time (wall clock). */
struct wal_mark {
        int64_t at_us;
        lsn_t end;
};

struct gauges {
        struct wal_mark marks[GAUGES_MARKS]; /* oldest first: not confirmed yet; [0] is the newest confirmed one, if any is */
        size_t n;
        struct wal_mark recent[GAUGES_RATE]; /* a ring: the last minute */
        uint64_t nrecent;
        int64_t lag_bytes;
};

/* The numbers of the view, and its state; asks nobody. */
void gauges_show(const struct gauges *g, struct view *v);
/* The slot and the WAL. */
MUSTCHECK enum status gauges_read(struct gauges *g, struct view *v, struct pg *c, int64_t lag_bytes, struct err *e);

/* Pure: notes where the WAL ends now; returns since when everything is confirmed (wall clock; 0: not known yet). */
int64_t gauges_mark(struct gauges *g, struct wal_mark now, lsn_t confirmed);
/* Pure: bytes of WAL a second in the last minute, now included. */
double gauges_rate(struct gauges *g, struct wal_mark now);

#endif
