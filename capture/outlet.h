/* outlet: the producer's end of the own log: heads with contiguous seq, back-pressure, and how far the log is safe.
 *
 * The tag of a produced record is the LSN up to which it lets the slot move once it is delivered (0: none: EPOCH, and every chunk of a
 * group but the last).  Reports come in the order of production, so `delivered` never passes an undelivered record; the first failed
 * report makes the outlet dead: the producer is destroyed and everything starts again from the log's tail (DESIGN 5.5).
 * Owner: one capture session.  Thread: capture only. */
#ifndef PANGEA_CAPTURE_OUTLET_H
#define PANGEA_CAPTURE_OUTLET_H

#include "change/wire.h"
#include "kafka/kafka.h"

struct outlet {
        struct kafka_producer *producer;
        const char *key;         /* the region's name, borrowed */
        int wake[2];             /* a byte in wake[0] = delivery reports wait */
        struct record_head head; /* epoch, region, incarnation; seq of the last record produced */

        bool dead;
        char why[200];
        lsn_t delivered;      /* the slot may move here */
        koffset_t offset;     /* of the last record delivered; -1 */
        int64_t delivered_at; /* clock_mono_us of the last report */
        uint64_t records, bytes;

        /* called while the queue is full, so that the slot's server hears of us; an error ends the waiting */
        enum status (*idle)(void *ctx, struct err *e);
        void *ctx;
};

MUSTCHECK enum status outlet_open(struct outlet *o, const struct kafka_conf *conf, const char *topic, struct err *e);
void outlet_close(struct outlet *o);
/* The head of the next record of this kind: seq counted on for GROUP and PROGRESS, 0 for the others. Taken by outlet_put. */
struct record_head outlet_head(const struct outlet *o, enum record_kind kind);
/* Produces one encoded record whose head came from outlet_head. Waits while the queue is full (this is the back-pressure). */
MUSTCHECK enum status outlet_put(struct outlet *o, const struct record_head *h, const struct buf *record, lsn_t confirms,
                                 struct err *e);
/* Serves delivery reports, waiting up to timeout_ms for the first. ST_RETRY: the producer died; start from step 1. */
MUSTCHECK enum status outlet_poll(struct outlet *o, int timeout_ms, struct err *e);
size_t outlet_pending(const struct outlet *o);

#endif
