/* tail: where the own log ends: the last accepted record, without reading the whole log (DESIGN 5.1c).
 *
 *     offset   o-100 ..................................... o
 *              | p p g g E7 g p . 6g 6g . g p E8(late) ... | E9 = ours
 *                        ^epoch 7 begins   ^ignored: 6 < 7
 *
 * Every reader ignores an EPOCH that is not higher than the last, and every record of a lower epoch behind an EPOCH.  A window that
 * begins in the middle cannot know which epoch was in force before it; the scan says whether that could matter (tail_scan_certain), and
 * the reader doubles its window until it cannot.  Epochs come from one counter in the database, so a record of epoch e is accepted for
 * certain when every number between e and the counter was seen to land behind it; or when it stands behind the EPOCH whose landing the
 * database remembers and that one is in the window; or when the window is the whole log.
 * The scan is pure.  tail_read fails: ST_RETRY (Kafka away, asked to stop), ST_DATA (a record cannot be decoded, the log lost records). */
#ifndef PANGEA_CAPTURE_TAIL_H
#define PANGEA_CAPTURE_TAIL_H

#include "change/wire.h"
#include "kafka/kafka.h"

struct tail {
        bool found;        /* a finished record: the last chunk of a GROUP, or a PROGRESS */
        uint64_t epoch;    /* of the finished record */
        koffset_t at;      /* where it stands */
        lsn_t lsn;         /* everything that committed before it is in the log */
        uint64_t seq;      /* of the last accepted record, chunks of an unfinished group included; 0 = none */
        hlc_t hlc;         /* the highest HLC of an accepted record */
        struct vector vec; /* of the finished record; the own component is 0 */
        bool has_tx;       /* the last transaction of the last finished GROUP that the window held */
        fullxid_t xid;
        int64_t commit_us;
        uint64_t max_epoch; /* the highest epoch that any record bore, accepted or not */
};

struct tail_scan {
        region_id me;
        uint64_t epoch;        /* in force now */
        uint64_t landed_after; /* EPOCH records behind the finished record, each with a higher epoch than its own */
        struct tail tail;
};

void tail_scan_init(struct tail_scan *s, region_id me);
void tail_scan_record(struct tail_scan *s, const struct record *r, koffset_t at);
/* Is the finished record accepted whatever stood before the window? counter: no EPOCH before the scan's end can be higher. */
bool tail_scan_certain(const struct tail_scan *s, uint64_t counter);

struct tail_reader {
        struct kafka_reader *reader;
        struct regset *regs;
        region_id me;
        koffset_t low;    /* the first offset that is there */
        koffset_t landed; /* of the EPOCH that the database remembers; -1 none */
        uint64_t counter; /* as above */
        /* called between records, so that the slot's server hears of us; an error ends the reading */
        enum status (*idle)(void *ctx, struct err *e);
        void *ctx;
};
/* Reads the end of the log, before offset `end`. */
MUSTCHECK enum status tail_read(const struct tail_reader *t, koffset_t end, struct tail *out, struct err *e);
/* The one record at an offset, its head decoded into the arena; the bytes live in *copy (taken by the caller: free). */
MUSTCHECK enum status tail_record_at(const struct tail_reader *t, koffset_t at, struct arena *arena, uint8_t **copy,
                                     struct record *out, struct err *e);

#endif
