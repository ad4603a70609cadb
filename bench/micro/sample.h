/* sample: tables, the stream's messages about their rows, and groups made of these by the product's own capture path: the same bytes
 * each time.
 *
 *   narrow  (id int8 key, customer int4, amount numeric, note text)   about 100 bytes a row
 *   whole   8 columns of mixed types, REPLICA IDENTITY FULL           about 150 bytes, twice in an update
 *   wide    60 columns of mixed types, REPLICA IDENTITY FULL */
#ifndef PANGEA_BENCH_SAMPLE_H
#define PANGEA_BENCH_SAMPLE_H

#include "capture/txread.h"

enum sample_table { NARROW, WHOLE, WIDE, SAMPLE_TABLES };

/* Messages one behind the other; at[n] is where the n-th begins, at[count] the end. */
struct stream {
        struct buf bytes;
        size_t *at;
        unsigned count, cap;
};

void stream_init(struct stream *s);
void stream_release(struct stream *s);
void stream_begin(struct stream *s, unsigned tx);
void stream_origin(struct stream *s, const char *name);
void stream_commit(struct stream *s, unsigned tx);
void stream_insert(struct stream *s, enum sample_table table, unsigned row);
void stream_update(struct stream *s, enum sample_table table, unsigned row); /* of a full table: with its old row */
void stream_delete(struct stream *s, enum sample_table table, unsigned row);

enum sample_op { SAMPLE_INSERT, SAMPLE_UPDATE, SAMPLE_DELETE };
/* ntxs transactions of nrows rows each; rows are numbered on. distinct: so many keys are used in turn, 0: each row has its own. */
void stream_load(struct stream *s, enum sample_table table, enum sample_op op, unsigned ntxs, unsigned nrows, unsigned distinct);

/* Capture without a database and without Kafka: what it publishes is kept (the last record) and counted. */
struct reader {
        struct regset regs;
        struct groups groups;
        struct progress progress;
        struct relcache tables;
        struct txread tx;
        struct buf record;
        uint64_t seq;
        unsigned records;
};
void reader_init(struct reader *r);
void reader_release(struct reader *r);
/* Reads the whole stream; the open group is closed at its end. */
void reader_read(struct reader *r, const struct stream *s);

/* One group in a record, read back: everything lives in *arena and points into *record. */
struct sample_group {
        struct regset regs;
        struct buf record;
        struct arena arena;
        struct record decoded;
        const struct group *g;
};
void sample_group(struct sample_group *out, enum sample_table table, enum sample_op op, unsigned ntxs, unsigned nrows,
                  unsigned distinct);
void sample_group_release(struct sample_group *g);

struct mapping;
/* A target as the catalog would describe it for this relation (several leaders write it), every column mapped. In the arena. */
void sample_mapping(struct arena *a, const struct relation *rel, struct mapping *out);

#endif
