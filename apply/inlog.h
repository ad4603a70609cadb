/* inlog: one region's log as the apply agent reads it: fenced, in sequence, queued.  DESIGN 5.1, 6.1.
 * Reads ahead into a bounded queue; what it hands out is in log order and accepted: records of a lower epoch behind an EPOCH are gone,
 * sequence numbers are contiguous, the region and incarnation are the right ones.
 * When the record at the stored offset is not the one that was applied there (the log is read somewhere else now: a changed link, a copy
 * that was made anew), it is searched from the topic's start by epoch and sequence number, and reading goes on behind it.
 * Owner: the apply agent's thread.  Fails: ST_DATA with the name of the stop (seq_gap, record_corrupt, region_mismatch,
 * incarnation_changed, topic_recreated, offset_gone, topic_missing); ST_RETRY: nothing yet, or the broker is away. */
#ifndef PANGEA_APPLY_INLOG_H
#define PANGEA_APPLY_INLOG_H

#include "change/wire.h"
#include "kafka/kafka.h"

/* Where to begin, and what was true there: a row of pangea.position. */
struct log_position {
        uint32_t incarnation;
        uint64_t epoch, seq;
        hlc_t hlc;
        lsn_t lsn;
        koffset_t offset; /* of the last record that counts; -1: none yet */
};

enum item_kind {
        ITEM_EPOCH,
        ITEM_GROUP, /* an ordinary group: its record is held */
        ITEM_BIG,   /* the last chunk of a chunked group: first_offset .. offset are read again from Kafka */
        ITEM_PROGRESS,
        ITEM_MARKER,
};

/* One accepted record (or one whole chunked group). */
struct log_item {
        struct log_item *next;
        enum item_kind kind;
        uint64_t epoch, seq;
        koffset_t offset, first_offset;
        int64_t time_us;
        struct kafka_msg msg;        /* ITEM_GROUP: the bytes, for wire_decode */
        hlc_t hlc;                   /* of a group */
        lsn_t first_commit, end_lsn; /* of a group: first transaction's commit, last one's end; PROGRESS: end_lsn = decoded */
        struct vector vec;           /* of the last transaction, own component = hlc; PROGRESS: as sent */
        struct vector vec_first;     /* of the first transaction (a lower bound for all of the group) */
        uint32_t ntxs;
        struct item_tx {
                uint32_t xid;
                int64_t commit_us;
        } * txs;        /* for the index of local versions; owned */
        fullxid_t xmin; /* PROGRESS */
        lsn_t xmin_lsn;
        int64_t wall_us;   /* PROGRESS, EPOCH: the region's clock */
        char *what, *text; /* MARKER; owned */
        size_t bytes;
        uint64_t log_from; /* bytes of records that were read before its first one */
        bool no_start;     /* reading cannot begin at it: it carries no seq, or a chunked group was not finished yet */
        bool sets_done;    /* own log: processed already for tables whose rule needs siblings, inside another group's transaction */
        bool replay;       /* the record at the stored position, read again for its vector only: it is applied already */
};

struct inlog;
struct inlog_opts {
        const struct kafka_conf *conf;
        const char *topic;
        region_id region;
        struct regset *regs; /* shared with the agent; grows */
        struct log_position from;
        bool copy;        /* not the log itself but a mirror of it: what is not in it yet may still come */
        size_t max_bytes; /* of the queue */
        int wake_fd;
        /* The own log: every item is also shown to note, with txs filled; reading goes on when the queue is full: groups are then kept as
         * offsets only (ITEM_BIG) and read again when their turn comes. */
        void (*note)(void *ctx, const struct log_item *i);
        void *note_ctx;
};
MUSTCHECK enum status inlog_open(struct inlog **out, const struct inlog_opts *o, struct err *e);
void inlog_close(struct inlog *l);
/* Takes what has arrived into the queue, without waiting, up to the queue's limit. ST_OK: at least one record came; ST_RETRY: none. */
MUSTCHECK enum status inlog_pump(struct inlog *l, struct err *e);
struct log_item *inlog_head(struct inlog *l);
/* Gives the head away; the caller frees it with log_item_free. */
struct log_item *inlog_take(struct inlog *l);
void log_item_free(struct log_item *i);

koffset_t inlog_read_offset(const struct inlog *l); /* last record read; -1 none */
koffset_t inlog_end_offset(struct inlog *l);        /* one past the last in Kafka; -1 unknown. May ask the broker, for 100 ms */
uint64_t inlog_epoch(const struct inlog *l);
/* What it looks for while it reads nothing: "" when it reads. */
const char *inlog_searches(const struct inlog *l);
size_t inlog_queued(const struct inlog *l); /* records */
/* Records from the first that waits to the end of the log, and their bytes; -1: not known. What is read was counted; what is not is taken to be like the
 * records read last. */
int64_t inlog_behind(const struct inlog *l, koffset_t end);
int64_t inlog_behind_bytes(const struct inlog *l, koffset_t end);

/* Reads groups again, chunk by chunk: cb gets each decoded chunk (fragments put together), whose memory is gone after the call. epoch:
 * only records of that epoch; 0: all but what a later epoch in between has fenced. */
typedef enum status inlog_chunk(void *ctx, const struct group *g, struct err *e);
MUSTCHECK enum status inlog_reread(struct inlog *l, koffset_t first, koffset_t last, uint64_t epoch, inlog_chunk *cb, void *ctx,
                                   struct err *e);

#endif
