/* client: what producer, reader and admin of this folder share: making a librdkafka handle from a region's settings, hearing its
 * troubles, and turning its errors into ours.  Private to kafka/.
 * Thread: the handle's owner; only the log callback comes from librdkafka's own threads, and it touches nothing but the log. */
#ifndef PANGEA_KAFKA_CLIENT_H
#define PANGEA_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>

#include "kafka/kafka.h"

enum client_kind { CLIENT_PRODUCER, CLIENT_READER, CLIENT_ADMIN };

/* Lives inside its owner and may not move: librdkafka holds its address. */
struct client {
        rd_kafka_t *rk;
        /* The last thing librdkafka complained of and when (monotonic, microseconds); name is that of the error, "" = no trouble. */
        char trouble[400], trouble_name[32];
        int64_t trouble_at;
        void *owner;
};

struct client_opts {
        enum client_kind kind;
        int max_queued_kb;                                                         /* reader */
        void (*delivered)(rd_kafka_t *, const rd_kafka_message_t *, void *client); /* producer */
        int (*stats)(rd_kafka_t *, char *json, size_t len, void *client);          /* every stats_ms; NULL: never */
        int stats_ms;
};

/* Nothing: threads.c says why. */
void client_threads(void);

MUSTCHECK enum status client_open(struct client *cl, const struct kafka_conf *c, const struct client_opts *o, struct err *e);
void client_close(struct client *cl);

/* Serves callbacks that wait on the main queue, then fills *e for a librdkafka error: "<context>: <librdkafka's words>", and, when a
 * time-out or a lost connection has a better reason that librdkafka told before, that reason. Returns the code. */
enum status client_fail(struct client *cl, struct err *e, rd_kafka_resp_err_t code, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/* ST_RETRY with the trouble that lasts, if there is one; else ST_RETRY and `otherwise`. */
enum status client_waits(const struct client *cl, struct err *e, const char *otherwise);

/* What a librdkafka error means for the caller; *name is "" when it is no named stop. */
enum status client_classify(rd_kafka_resp_err_t code, const char **name);

struct topic_facts {
        rd_kafka_resp_err_t code; /* of the question, or of the topic; 0: it is there and has a leader */
        int partitions, replicas, insync, brokers;
};
/* Asks a broker; never creates the topic. */
void client_topic(struct client *cl, rd_kafka_topic_t *rkt, int timeout_ms, struct topic_facts *out);

/* One byte into fd whenever the queue may have become non-empty, and one now; -1 ends it. */
void client_wake_fd(rd_kafka_queue_t *q, int fd);

/* The largest record of a producer with these settings. */
int64_t client_max_message(const struct kafka_conf *c);

/* Milliseconds left until a deadline of clock_mono_us, never below 0; and such a deadline. */
int client_left_ms(int64_t deadline_us);
int64_t client_deadline(int timeout_ms);

#endif
