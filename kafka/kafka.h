/* kafka: how to reach one region's Kafka, and the errors every part of this folder gives.
 * The only folder that includes rdkafka.h.  A log is a topic with exactly one partition (0).
 * Errors: ST_RETRY (broker away, time-out: librdkafka goes on trying by itself), ST_DATA with a name (topic_missing, offset_gone,
 * topic_recreated ..), ST_FATAL (the producer must be destroyed and made anew), ST_CONFIG (a property librdkafka refuses).
 * No message of ours ever holds a property's value (passwords). */
#ifndef PANGEA_KAFKA_KAFKA_H
#define PANGEA_KAFKA_KAFKA_H

#include "base/err.h"
#include "base/types.h"

/* One Kafka cluster; borrowed by every open_*() call, which copies what it needs. */
struct kafka_conf {
        const char *brokers;          /* "host:port,host:port" */
        const char *client_id;        /* "pangea-<cluster>-<region>-.." */
        const char *const *prop_keys; /* librdkafka properties of the topology */
        const char *const *prop_values;
        size_t nprops;
};

/* Checks one property against librdkafka itself: ST_OK or ST_CONFIG with librdkafka's own words (value masked when it is secret). */
MUSTCHECK enum status kafka_check_property(const char *key, const char *value, struct err *e);

/* ---- producer: idempotent, acks=all, for one log --------------------------------------------------------------------------------- */
struct kafka_producer;
/* Called from kafka_producer_poll, _flush and kafka_produce for every record in the order of production. offset is valid when code is
 * ST_OK, or -1 when Kafka had the record already from an earlier try and no longer says where; ST_FATAL: the record was not (or not
 * surely) written and never will be by this producer. After the first such report every later one is ST_FATAL too, and kafka_produce
 * refuses: nothing is written, and nothing counts as delivered, behind a hole. */
typedef void kafka_delivered(void *ctx, uint64_t tag, koffset_t offset, enum status code, const char *why);
MUSTCHECK enum status kafka_producer_open(struct kafka_producer **out, const struct kafka_conf *c, const char *topic,
                                          kafka_delivered *cb, void *ctx, struct err *e);
/* Waits until the topic's metadata is there, so that the first record does not wait a second: ST_RETRY on time-out, ST_DATA
 * topic_missing. */
MUSTCHECK enum status kafka_producer_warm(struct kafka_producer *p, int timeout_ms, struct err *e);
/* Hands one record over (bytes are copied). ST_RETRY: the queue is full, or the very first record is not delivered
 * yet (poll and try again). ST_DATA record_too_large. */
MUSTCHECK enum status kafka_produce(struct kafka_producer *p, const char *key, const void *data, size_t len, uint64_t tag,
                                    struct err *e);
/* The same with a timestamp, Unix microseconds (Kafka keeps milliseconds); 0: now. */
MUSTCHECK enum status kafka_produce_at(struct kafka_producer *p, int64_t time_us, const char *key, const void *data, size_t len,
                                       uint64_t tag, struct err *e);
/* Serves delivery reports; waits up to timeout_ms for the first. ST_FATAL when the producer is dead. */
MUSTCHECK enum status kafka_producer_poll(struct kafka_producer *p, int timeout_ms, struct err *e);
/* Makes fd readable (one byte is written to it: a pipe or socket, which becomes non-blocking) when reports are waiting; for poll(2).
 * -1 ends it; the descriptor stays the caller's. After a wake read the bytes first, then poll until nothing is waiting. The first byte
 * comes at once. */
void kafka_producer_wake_fd(struct kafka_producer *p, int fd);
size_t kafka_producer_pending(const struct kafka_producer *p); /* records not yet reported */
MUSTCHECK enum status kafka_producer_flush(struct kafka_producer *p, int timeout_ms, struct err *e);
/* Drops what is pending (its reports are not called). NULL is fine. */
void kafka_producer_close(struct kafka_producer *p);

/* ---- reader: one log from one offset, manual assignment, no group, no commits ---------------------------------------------------- */
/* Every kafka_msg must be done before its reader is closed. */
struct kafka_reader;
struct kafka_msg {
        koffset_t offset;
        int64_t time_us;     /* Kafka's timestamp, Unix microseconds; 0 = none */
        const uint8_t *data; /* borrowed until kafka_msg_done */
        size_t len;
        void *handle;
};
#define KAFKA_FROM_START ((koffset_t){-2})
#define KAFKA_FROM_END ((koffset_t){-1})
/* max_queued_kb bounds what librdkafka reads ahead. Needs no broker to be there. KAFKA_FROM_END is where the log ends when the broker is
 * first reached: a record that comes before the first kafka_reader_next may be missed. */
MUSTCHECK enum status kafka_reader_open(struct kafka_reader **out, const struct kafka_conf *c, const char *topic, koffset_t from,
                                        int max_queued_kb, struct err *e);
/* The next record, waiting up to timeout_ms: ST_OK; ST_RETRY nothing yet (e->name is "", or says why: kafka_away, kafka_login,
 * kafka_tls; it goes on by itself); ST_DATA: topic_missing (for longer than 2 s; wait for it by name: calling on finds it when it
 * comes), offset_gone (retention passed, or the topic was recreated; told at every call, after its wait, until somebody seeks), log_damaged (a record
 * with a wrong checksum; the same), kafka_denied (rights are missing; it goes on trying).
 * While the topic or the offset is in doubt a call may take 250 ms more, once a second, to ask the broker; so call it at least every
 * second even when nothing wakes you. */
MUSTCHECK enum status kafka_reader_next(struct kafka_reader *r, int timeout_ms, struct kafka_msg *out, struct err *e);
/* While it reads on: a reader that has taken all of what librdkafka may hold at once wakes it by a question to the broker, which may take 100 ms (at
 * most a tenth of the time). Not this one: it is read while somebody holds locks, and may rest for a second. */
void kafka_reader_asks_nobody(struct kafka_reader *r);
void kafka_msg_done(struct kafka_msg *m);
/* Makes fd readable when records arrive; for poll(2). As kafka_producer_wake_fd. */
void kafka_reader_wake_fd(struct kafka_reader *r, int fd);
/* Begin anew at another offset. Asks no broker: whether the offset is there, kafka_reader_next tells. */
MUSTCHECK enum status kafka_reader_seek(struct kafka_reader *r, koffset_t to, int timeout_ms, struct err *e);
/* First offset that is there, and the one after the last, asked from the broker. */
MUSTCHECK enum status kafka_reader_watermarks(struct kafka_reader *r, int timeout_ms, koffset_t *low, koffset_t *high,
                                              struct err *e);
/* The offset after the last as the last fetch told it; -1 unknown. librdkafka stops fetching when it has read ahead enough and nobody takes: the
 * broker is then asked, at most once a second for 100 ms, and not for a while when it does not answer. */
koffset_t kafka_reader_end(struct kafka_reader *r);
void kafka_reader_close(struct kafka_reader *r);

/* ---- admin ----------------------------------------------------------------------------------------------------------------------- */
/* Each call connects anew and takes at most about 15 s. ST_RETRY kafka_away, kafka_login, kafka_tls; ST_DATA topic_missing, kafka_denied. */
struct kafka_topic_spec {
        const char *name;
        int replication, min_insync; /* replication is cut to the number of brokers: the event kafka.replication_cut says so */
        int64_t max_message_bytes;
};
/* Creates the log's topic (one partition, delete, retention.ms=-1, retention.bytes=-1, lz4 left to the producer); an existing one is
 * checked: one partition, cleanup.policy=delete, retention -1, max.message.bytes. *created tells which. ST_DATA topic_unfit with the
 * setting that must change and the command that changes it. */
MUSTCHECK enum status kafka_topic_ensure(const struct kafka_conf *c, const struct kafka_topic_spec *t, bool *created,
                                         struct err *e);
/* ST_OK there; ST_DATA topic_missing / topic_unfit (checked as above). */
MUSTCHECK enum status kafka_topic_check(const struct kafka_conf *c, const char *topic, struct err *e);
/* A topic as it is, for whoever wants to judge it himself. Asked once: a topic made a moment ago may still be topic_missing. */
struct kafka_topic_settings {
        int partitions, replicas, insync, brokers; /* replicas and those in sync: of partition 0 */
        int min_insync;
        int64_t max_message_bytes;
        char cleanup_policy[64], retention_ms[24], retention_bytes[24], compression[24];
};
MUSTCHECK enum status kafka_topic_look(const struct kafka_conf *c, const char *topic, struct kafka_topic_settings *out,
                                       struct err *e);
/* How a producer with these settings compresses: "lz4", "none" .. */
const char *kafka_compression(const struct kafka_conf *c);
/* What the youngest records of a log take, measured: they are read. */
struct kafka_measure {
        int64_t records, looked_at; /* that were read, and the bytes that they hold */
        int64_t packed;        /* the same, each packed by itself with a quick compressor (igzip): could they be smaller at all? */
        int64_t payload, wire; /* what records held that came over the wire (a few more), and all bytes that came */
        bool all;              /* the log has no more */
        bool enough;           /* 64 kB at least: it says something */
};
/* Takes some tenths of a second, 15 s at most. *out holds what was seen also after a failure. */
MUSTCHECK enum status kafka_measure(const struct kafka_conf *c, const char *topic, struct kafka_measure *out, struct err *e);
/* ST_DATA topic_missing when it is not there. Returns when the broker has forgotten it. */
MUSTCHECK enum status kafka_topic_delete(const struct kafka_conf *c, const char *topic, struct err *e);
/* The id that the cluster gave itself: two addresses with one id are one cluster. */
MUSTCHECK enum status kafka_cluster_id(const struct kafka_conf *c, char *buf, size_t size, struct err *e);
/* Deletes every record before `before`. */
MUSTCHECK enum status kafka_delete_records(const struct kafka_conf *c, const char *topic, koffset_t before, struct err *e);
/* The first offset whose record is not older than time_us (the end when all are older). */
MUSTCHECK enum status kafka_offset_at(const struct kafka_conf *c, const char *topic, int64_t time_us, koffset_t *out,
                                      struct err *e);

#endif
