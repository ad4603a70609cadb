/* conf: the settings of a librdkafka handle: what the topology may say, what only Pangea says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "kafka/client.h"

enum { PRODUCER = 1 << CLIENT_PRODUCER, READER = 1 << CLIENT_READER, ADMIN = 1 << CLIENT_ADMIN };
#define ALL (PRODUCER | READER | ADMIN)

struct setting {
        const char *key, *value;
        unsigned who;
};

/* The topology's properties go over these.. */
static const struct setting defaults[] = {
        {"linger.ms", "0", PRODUCER}, /* what waits is batched by our groups already */
        {"compression.type", "lz4", PRODUCER},
        {"message.max.bytes", "1000000", ALL},
        {"queue.buffering.max.kbytes", "65536", PRODUCER},
        {"queue.buffering.max.messages", "100000", PRODUCER},
        {"socket.nagle.disable", "true", ALL},
        {"socket.keepalive.enable", "true", ALL},
        {"socket.timeout.ms", "30000", ALL}, /* a frozen broker is given up after this long */
        {"reconnect.backoff.ms", "50", ALL},
        {"reconnect.backoff.max.ms", "1000", ALL},
        {"fetch.wait.max.ms", "500", READER},
};

/* ..and these go over the topology's: the guarantees rest on them, so kafka_check_property refuses them. */
static const struct setting fixed[] = {
        {"enable.idempotence", "true", PRODUCER},
        /* else a record that Kafka refuses for good leaves a hole, and those behind it are written nevertheless */
        {"enable.gapless.guarantee", "true", PRODUCER},
        {"acks", "all", PRODUCER},
        {"message.timeout.ms", "0", PRODUCER},
        {"allow.auto.create.topics", "false", ALL},
        {"auto.offset.reset", "error", READER},
        {"enable.partition.eof", "false", READER},
        {"enable.auto.commit", "false", READER},
        {"auto.commit.enable", "false", READER},
        {"check.crcs", "true", READER},
        {"fetch.min.bytes", "1", READER},
        {"queued.min.messages", "10000000", READER},        /* bytes bound it: at this count fetching would pause for a second */
        {"topic.metadata.propagation.max.ms", "0", READER}, /* the reader waits by itself, and says so */
};

static const struct {
        const char *key, *why;
} refused[] = {
        {"bootstrap.servers", "say it as brokers"},
        {"metadata.broker.list", "say it as brokers"},
        {"client.id", "Pangea makes it from the names of cluster and region"},
        {"plugin.library.paths", "librdkafka shall load no code into the daemon's process"},
        {"delivery.timeout.ms", "records are never given up"},
        {"request.required.acks", "it is always all"},
        {"transactional.id", "Pangea fences by epochs, without Kafka's transactions"},
        {"transaction.timeout.ms", "Pangea fences by epochs, without Kafka's transactions"},
        {"message.send.max.retries", "records are never given up"},
        {"retries", "records are never given up"},
        {"max.in.flight", "the idempotent producer needs its own"},
        {"max.in.flight.requests.per.connection", "the idempotent producer needs its own"},
        {"queuing.strategy", "the idempotent producer needs its own"},
        {"group.id", "logs are read without a group"},
        {"group.instance.id", "logs are read without a group"},
        {"enable.auto.offset.store", "positions are kept in PostgreSQL"},
        {"isolation.level", "logs hold no Kafka transactions"},
        {"queued.max.messages.kbytes", "Pangea divides its own limit between the logs"},
        {"test.mock.num.brokers", "it is for tests of librdkafka"},
        {"builtin.features", "it cannot be set"},
        {"enabled_events", "it is not for configuration files"},
        {"log.queue", "it is not for configuration files"},
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool secret_key(const char *key)
{
        static const char *const parts[] = {"password", "secret", "pem", "username", "oauthbearer.config", "token", "key"};
        for (size_t i = 0; i < COUNT(parts); i++)
                if (strstr(key, parts[i]))
                        return true;
        return false;
}

/* librdkafka quotes the value it refuses. Numbers stay (its words about ranges need them), unless the property is a secret one. */
static void mask(char *text, const char *key, const char *value)
{
        size_t n = strlen(value);
        if (n == 0 || (!secret_key(key) && strspn(value, "0123456789.-") == n))
                return;
        for (char *at = text; (at = strstr(at, value)) != NULL;) {
                memset(at, '*', n);
                at += n;
        }
}

enum status kafka_check_property(const char *key, const char *value, struct err *e)
{
        char why[512] = "";
        for (size_t i = 0; i < COUNT(refused); i++)
                if (!strcmp(key, refused[i].key))
                        return err_set(e, ST_CONFIG, "%s is not for the topology: %s", key, refused[i].why);
        for (size_t i = 0; i < COUNT(fixed); i++)
                if (!strcmp(key, fixed[i].key))
                        return err_set(e, ST_CONFIG, "%s is not for the topology: Pangea always sets it to %s", key,
                                       fixed[i].value);

        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_res_t res = rd_kafka_conf_set(conf, key, value, why, sizeof why);
        rd_kafka_conf_destroy(conf);
        if (res == RD_KAFKA_CONF_OK)
                return ST_OK;
        if (res == RD_KAFKA_CONF_UNKNOWN)
                return err_set(e, ST_CONFIG, "librdkafka has no property %s (its CONFIGURATION.md lists them)", key);
        mask(why, key, value);
        return err_set(e, ST_CONFIG, "librdkafka refuses the value of %s: %s", key, why);
}

static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
        /* advice on properties: that one is experimental, another not for this kind of client (one topology serves all kinds) */
        enum log_level as = !strcmp(fac, "CONFWARN") ? LOG_DEBUG : level <= 4 ? LOG_WARN : level <= 6 ? LOG_INFO : LOG_DEBUG;
        if (!log_wants(as))
                return;
        char line[2000];
        snprintf(line, sizeof line, "%s", text);
        for (char *p = line; *p; p++)
                if (*p == '\t' || *p == '\n' || *p == '\r')
                        *p = ' ';
        log_event(as, "kafka.client", "client=%s\tfacility=%s\tmsg=%s", rk ? rd_kafka_name(rk) : "", fac, line);
}

static void on_trouble(rd_kafka_t *rk, int code, const char *why, void *client)
{
        struct client *cl = client;
        const char *name = "";
        (void)client_classify((rd_kafka_resp_err_t)code, &name);
        rd_kafka_yield(rk); /* whoever waits in a poll is to look at it now */
        /* "1/1 brokers are down" comes behind the reason and says less */
        if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && cl->trouble_name[0] && clock_mono_us() - cl->trouble_at < 1000000) {
                cl->trouble_at = clock_mono_us();
                return;
        }
        if (code == RD_KAFKA_RESP_ERR__TRANSPORT && strstr(why, "SSL routines"))
                name = "kafka_tls"; /* TLS 1.3: the broker refuses our certificate after the handshake, as a broken connection */
        snprintf(cl->trouble, sizeof cl->trouble, "%s", why);
        snprintf(cl->trouble_name, sizeof cl->trouble_name, "%s", name[0] ? name : "kafka_trouble");
        cl->trouble_at = clock_mono_us();
        log_event(LOG_DEBUG, "kafka.trouble", "client=%s\tname=%s\tmsg=%s", rd_kafka_name(rk), cl->trouble_name, why);
}

struct applying {
        rd_kafka_conf_t *conf;
        char why[512];
};

static enum status apply(struct applying *a, const char *key, const char *value, struct err *e)
{
        if (rd_kafka_conf_set(a->conf, key, value, a->why, sizeof a->why) == RD_KAFKA_CONF_OK)
                return ST_OK;
        mask(a->why, key, value);
        return err_set(e, ST_CONFIG, "librdkafka refuses %s: %s", key, a->why);
}

static enum status apply_table(struct applying *a, const struct setting *t, size_t n, enum client_kind kind, struct err *e)
{
        enum status st = ST_OK;
        for (size_t i = 0; i < n && st == ST_OK; i++)
                if (t[i].who & 1u << kind)
                        st = apply(a, t[i].key, t[i].value, e);
        return st;
}

/* A larger answer for each request carries a long link; a quarter of what may wait leaves room for the next ones. */
static enum status apply_reader(struct applying *a, int max_queued_kb, struct err *e)
{
        char kb[16], bytes[16];
        int quarter = max_queued_kb * 256;
        if (max_queued_kb > 60 * 1024)
                quarter = 16 * 1024 * 1024;
        snprintf(kb, sizeof kb, "%d", max_queued_kb);
        snprintf(bytes, sizeof bytes, "%d", quarter < 1048576 ? 1048576 : quarter);
        enum status st = apply(a, "queued.max.messages.kbytes", kb, e);
        return st ? st : apply(a, "max.partition.fetch.bytes", bytes, e);
}

static enum status apply_all(struct applying *a, const struct kafka_conf *c, const struct client_opts *o, struct err *e)
{
        enum status st = apply(a, "bootstrap.servers", c->brokers ? c->brokers : "", e);
        if (st == ST_OK)
                st = apply(a, "client.id", c->client_id ? c->client_id : "pangea", e);
        if (st == ST_OK && o->kind == CLIENT_READER)
                st = apply_reader(a, o->max_queued_kb, e);
        if (st == ST_OK)
                st = apply_table(a, defaults, COUNT(defaults), o->kind, e);
        for (size_t i = 0; i < c->nprops && st == ST_OK; i++)
                st = apply(a, c->prop_keys[i], c->prop_values[i], e);
        if (st == ST_OK)
                st = apply_table(a, fixed, COUNT(fixed), o->kind, e);
        if (st == ST_OK && o->stats) {
                char ms[16];
                snprintf(ms, sizeof ms, "%d", o->stats_ms);
                st = apply(a, "statistics.interval.ms", ms, e);
        }
        return st;
}

enum status client_open(struct client *cl, const struct kafka_conf *c, const struct client_opts *o, struct err *e)
{
        client_threads();
        struct applying a = {.conf = rd_kafka_conf_new()};
        enum status st = apply_all(&a, c, o, e);
        if (st) {
                rd_kafka_conf_destroy(a.conf);
                return st;
        }
        rd_kafka_conf_set_opaque(a.conf, cl);
        rd_kafka_conf_set_log_cb(a.conf, on_log);
        rd_kafka_conf_set_error_cb(a.conf, on_trouble);
        if (o->delivered)
                rd_kafka_conf_set_dr_msg_cb(a.conf, o->delivered);
        if (o->stats)
                rd_kafka_conf_set_stats_cb(a.conf, o->stats);
        rd_kafka_type_t type = o->kind == CLIENT_READER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER;
        cl->rk = rd_kafka_new(type, a.conf, a.why, sizeof a.why);
        if (cl->rk)
                return ST_OK;
        rd_kafka_conf_destroy(a.conf); /* not taken on failure */
        for (size_t i = 0; i < c->nprops; i++)
                if (secret_key(c->prop_keys[i]))
                        mask(a.why, c->prop_keys[i], c->prop_values[i]);
        return err_set(e, ST_CONFIG, "librdkafka refuses the Kafka settings: %s", a.why);
}

void client_close(struct client *cl)
{
        if (cl->rk)
                rd_kafka_destroy(cl->rk);
        cl->rk = NULL;
}

int64_t client_max_message(const struct kafka_conf *c)
{
        int64_t max = 1000000;
        for (size_t i = 0; i < c->nprops; i++)
                if (!strcmp(c->prop_keys[i], "message.max.bytes"))
                        max = strtoll(c->prop_values[i], NULL, 10);
        return max;
}

/* The property has two names. */
const char *kafka_compression(const struct kafka_conf *c)
{
        const char *is = "none";
        for (size_t i = 0; i < COUNT(defaults); i++)
                if (!strcmp(defaults[i].key, "compression.type"))
                        is = defaults[i].value;
        for (size_t i = 0; i < c->nprops; i++)
                if (!strcmp(c->prop_keys[i], "compression.type") || !strcmp(c->prop_keys[i], "compression.codec"))
                        is = c->prop_values[i];
        return is;
}

int64_t client_deadline(int timeout_ms)
{
        return clock_mono_us() + (int64_t)timeout_ms * 1000;
}

int client_left_ms(int64_t deadline_us)
{
        int64_t left = (deadline_us - clock_mono_us()) / 1000;
        return left < 0 ? 0 : (int)left;
}
