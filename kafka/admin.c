/* admin: topics of logs: made, checked, deleted, shortened. Each call has a librdkafka handle of its own and a time limit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kafka/client.h"

#define FENCED_MS 300 /* between two tries to make a topic while brokers are fenced */
#define LIMIT_MS 15000
#define ID_LIMIT_MS 3000
#define SPREADS_MS 2000 /* a topic made elsewhere a moment ago may be unknown here for this long */

struct admin {
        struct client client;
        const struct kafka_conf *conf; /* borrowed */
        const char *topic;             /* borrowed */
        rd_kafka_topic_t *rkt;
        rd_kafka_queue_t *queue;
        int64_t deadline;
};

static void admin_close(struct admin *a)
{
        if (a->rkt)
                rd_kafka_topic_destroy(a->rkt);
        if (a->queue)
                rd_kafka_queue_destroy(a->queue);
        client_close(&a->client);
}

/* Closed by admin_close also after a failure. */
static enum status admin_open(struct admin *a, const struct kafka_conf *c, const char *topic, struct err *e)
{
        *a = (struct admin){.conf = c, .topic = topic, .deadline = client_deadline(LIMIT_MS)};
        enum status st = client_open(&a->client, c, &(struct client_opts){.kind = CLIENT_ADMIN}, e);
        if (st)
                return st;
        a->queue = rd_kafka_queue_new(a->client.rk);
        a->rkt = rd_kafka_topic_new(a->client.rk, topic, NULL);
        return a->rkt ? ST_OK : client_fail(&a->client, e, rd_kafka_last_error(), "topic %s", topic);
}

static enum status fail(struct admin *a, struct err *e, rd_kafka_resp_err_t code, const char *what, const char *why)
{
        if (why && strcmp(why, rd_kafka_err2str(code)) != 0 && client_classify(code, &(const char *){NULL}) != ST_RETRY)
                return client_fail(&a->client, e, code, "topic %s: %s: %s", a->topic, what, why);
        return client_fail(&a->client, e, code, "topic %s: %s", a->topic, what);
}

/* Waits a little between two questions, serving callbacks meanwhile. */
static void pause_ms(struct admin *a, int ms)
{
        rd_kafka_poll(a->client.rk, ms);
}

static rd_kafka_AdminOptions_t *options(struct admin *a, rd_kafka_admin_op_t op)
{
        char ignored[64];
        int left = client_left_ms(a->deadline);
        rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(a->client.rk, op);
        (void)rd_kafka_AdminOptions_set_request_timeout(o, left > 1000 ? left : 1000, ignored, sizeof ignored);
        return o;
}

/* The answer to an admin request; NULL with *e filled when there is none. The caller destroys it. */
static rd_kafka_event_t *answer(struct admin *a, const char *what, struct err *e)
{
        /* librdkafka ends the request by itself within the time it was given */
        rd_kafka_event_t *ev = rd_kafka_queue_poll(a->queue, LIMIT_MS + 5000);
        rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        if (!code)
                return ev;
        fail(a, e, code, what, ev ? rd_kafka_event_error_string(ev) : NULL);
        if (ev)
                rd_kafka_event_destroy(ev);
        return NULL;
}

/* ---- what is there ---------------------------------------------------------------------------------------------------------------- */

/* ST_OK with the facts, ST_DATA topic_missing (after patience_ms of asking), or why nobody answers. */
static enum status look(struct admin *a, int patience_ms, struct topic_facts *t, struct err *e)
{
        int64_t patience = client_deadline(patience_ms);
        for (;;) {
                client_topic(&a->client, a->rkt, client_left_ms(a->deadline), t);
                if (!t->code)
                        return ST_OK;
                enum status st = fail(a, e, t->code, "asking for it", NULL);
                bool more = st == ST_RETRY || (t->code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && client_left_ms(patience) > 0);
                if (!more || client_left_ms(a->deadline) == 0)
                        return st;
                pause_ms(a, 20);
        }
}

struct wrong {
        char what[300];    /* "cleanup.policy=compact, .." */
        char command[300]; /* "cleanup.policy=delete,.." */
};

static void add_wrong(struct wrong *w, const char *key, const char *is, const char *should)
{
        size_t n = strlen(w->what), m = strlen(w->command);
        snprintf(w->what + n, sizeof w->what - n, "%s%s=%s", n ? ", " : "", key, is);
        snprintf(w->command + m, sizeof w->command - m, "%s%s=%s", m ? "," : "", key, should);
}

static const char *setting_of(const rd_kafka_ConfigEntry_t **entries, size_t n, const char *key)
{
        for (size_t i = 0; i < n; i++)
                if (!strcmp(rd_kafka_ConfigEntry_name(entries[i]), key)) {
                        const char *v = rd_kafka_ConfigEntry_value(entries[i]);
                        return v ? v : "";
                }
        return "";
}

static void take_settings(const rd_kafka_ConfigEntry_t **entries, size_t n, struct kafka_topic_settings *s)
{
        snprintf(s->cleanup_policy, sizeof s->cleanup_policy, "%s", setting_of(entries, n, "cleanup.policy"));
        snprintf(s->retention_ms, sizeof s->retention_ms, "%s", setting_of(entries, n, "retention.ms"));
        snprintf(s->retention_bytes, sizeof s->retention_bytes, "%s", setting_of(entries, n, "retention.bytes"));
        snprintf(s->compression, sizeof s->compression, "%s", setting_of(entries, n, "compression.type"));
        s->max_message_bytes = strtoll(setting_of(entries, n, "max.message.bytes"), NULL, 10);
        s->min_insync = (int)strtol(setting_of(entries, n, "min.insync.replicas"), NULL, 10);
}

static void judge(const struct kafka_topic_settings *s, int64_t max_message, struct wrong *w)
{
        const struct {
                const char *key, *is, *should;
        } exact[] = {{"cleanup.policy", s->cleanup_policy, "delete"},
                     {"retention.ms", s->retention_ms, "-1"},
                     {"retention.bytes", s->retention_bytes, "-1"}};
        char is[24], number[24];
        for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
                if (strcmp(exact[i].is, exact[i].should) != 0)
                        add_wrong(w, exact[i].key, exact[i].is, exact[i].should);
        if (s->max_message_bytes < max_message) {
                snprintf(is, sizeof is, "%" PRId64, s->max_message_bytes);
                snprintf(number, sizeof number, "%" PRId64, max_message);
                add_wrong(w, "max.message.bytes", is, number);
        }
        if (s->min_insync > s->replicas) {
                snprintf(is, sizeof is, "%d", s->min_insync);
                snprintf(number, sizeof number, "%d", s->replicas > 1 ? s->replicas - 1 : 1);
                add_wrong(w, "min.insync.replicas", is, number);
        }
}

static enum status read_settings(struct admin *a, struct kafka_topic_settings *s, struct err *e)
{
        rd_kafka_ConfigResource_t *ask = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, a->topic);
        rd_kafka_AdminOptions_t *o = options(a, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
        rd_kafka_DescribeConfigs(a->client.rk, &ask, 1, o, a->queue);
        rd_kafka_AdminOptions_destroy(o);
        rd_kafka_ConfigResource_destroy(ask);

        rd_kafka_event_t *ev = answer(a, "reading its settings", e);
        if (!ev)
                return e ? e->code : ST_RETRY;
        enum status st = ST_OK;
        size_t n = 0;
        const rd_kafka_ConfigResource_t **found =
                rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &n);
        rd_kafka_resp_err_t code = n == 1 ? rd_kafka_ConfigResource_error(found[0]) : RD_KAFKA_RESP_ERR__FAIL;
        if (code) {
                st = fail(a, e, code, "reading its settings", n == 1 ? rd_kafka_ConfigResource_error_string(found[0]) : NULL);
        } else {
                const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(found[0], &n);
                take_settings(entries, n, s);
        }
        rd_kafka_event_destroy(ev);
        return st;
}

static enum status check_settings(struct admin *a, int64_t max_message, int replicas, struct err *e)
{
        struct kafka_topic_settings s = {.replicas = replicas};
        struct wrong w = {.what = ""};
        enum status st = read_settings(a, &s, e);
        if (st != ST_OK)
                return st;
        judge(&s, max_message, &w);
        if (w.what[0])
                st = err_named(e, ST_DATA, "topic_unfit",
                               "topic %s has %s; change it: kafka-configs.sh --bootstrap-server %s --alter --entity-type topics "
                               "--entity-name %s --add-config %s",
                               a->topic, w.what, a->conf->brokers, a->topic, w.command);
        return st;
}

enum status kafka_topic_look(const struct kafka_conf *c, const char *topic, struct kafka_topic_settings *out, struct err *e)
{
        struct admin a;
        struct topic_facts t;
        *out = (struct kafka_topic_settings){.partitions = 0};
        enum status st = admin_open(&a, c, topic, e);
        if (st == ST_OK)
                st = look(&a, 0, &t, e);
        if (st == ST_OK) {
                out->partitions = t.partitions;
                out->replicas = t.replicas;
                out->insync = t.insync;
                out->brokers = t.brokers;
                st = read_settings(&a, out, e);
        }
        admin_close(&a);
        return st;
}

static enum status check(struct admin *a, const struct topic_facts *t, int64_t max_message, struct err *e)
{
        if (t->partitions != 1)
                return err_named(
                        e, ST_DATA, "topic_unfit",
                        "topic %s has %d partitions, a log has exactly one: delete it (kafka-topics.sh --bootstrap-server %s "
                        "--delete --topic %s) when it is no log of Pangea, and run init again",
                        a->topic, t->partitions, a->conf->brokers, a->topic);
        return check_settings(a, max_message, t->replicas, e);
}

enum status kafka_topic_check(const struct kafka_conf *c, const char *topic, struct err *e)
{
        struct admin a;
        struct topic_facts t;
        enum status st = admin_open(&a, c, topic, e);
        if (st == ST_OK)
                st = look(&a, SPREADS_MS, &t, e);
        if (st == ST_OK)
                st = check(&a, &t, client_max_message(c), e);
        admin_close(&a);
        return st;
}

/* ---- made, deleted ------------------------------------------------------------------------------------------------------------------ */

static enum status first_topic_result(struct admin *a, const rd_kafka_topic_result_t **results, size_t n, const char *what,
                                      rd_kafka_resp_err_t fine, bool *was_fine, struct err *e)
{
        rd_kafka_resp_err_t code = n == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__FAIL;
        *was_fine = code == fine;
        if (!code || code == fine)
                return ST_OK;
        return fail(a, e, code, what, n == 1 ? rd_kafka_topic_result_error_string(results[0]) : NULL);
}

static int cut_replication(const struct kafka_topic_spec *t, int brokers)
{
        int replicas = t->replication > 0 ? t->replication : 1;
        if (replicas > brokers && brokers > 0) {
                log_event(LOG_WARN, "kafka.replication_cut", "topic=%s\twanted=%d\tbrokers=%d\tdo=%s", t->name, replicas, brokers,
                          "one lost disk may lose this log: add brokers, or set log.replication");
                return brokers;
        }
        return replicas;
}

static rd_kafka_NewTopic_t *describe(const struct kafka_topic_spec *t, int replicas, int64_t max_message, struct err *e)
{
        char why[256], insync[16], max[24];
        rd_kafka_NewTopic_t *n = rd_kafka_NewTopic_new(t->name, 1, replicas, why, sizeof why);
        if (!n) {
                err_set(e, ST_CONFIG, "topic %s: %s", t->name, why);
                return NULL;
        }
        int least = t->min_insync < 1 ? 1 : t->min_insync > replicas ? replicas : t->min_insync;
        snprintf(insync, sizeof insync, "%d", least);
        snprintf(max, sizeof max, "%" PRId64, max_message);
        (void)rd_kafka_NewTopic_set_config(n, "cleanup.policy", "delete");
        (void)rd_kafka_NewTopic_set_config(n, "retention.ms", "-1");
        (void)rd_kafka_NewTopic_set_config(n, "retention.bytes", "-1");
        (void)rd_kafka_NewTopic_set_config(n, "min.insync.replicas", insync);
        (void)rd_kafka_NewTopic_set_config(n, "max.message.bytes", max);
        return n;
}

/* *created stays false when somebody else was quicker. *fenced: the controller counts fewer brokers than the metadata name, because the others'
 * heartbeats are late. */
static enum status create_once(struct admin *a, const struct kafka_topic_spec *t, int brokers, int64_t max_message, bool *created,
                               bool *fenced, struct err *e)
{
        rd_kafka_NewTopic_t *topic = describe(t, cut_replication(t, brokers), max_message, e);
        if (!topic)
                return ST_CONFIG;
        rd_kafka_AdminOptions_t *o = options(a, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        rd_kafka_CreateTopics(a->client.rk, &topic, 1, o, a->queue);
        rd_kafka_AdminOptions_destroy(o);
        rd_kafka_NewTopic_destroy(topic);

        struct err why = {.code = ST_RETRY};
        rd_kafka_event_t *ev = answer(a, "making it", &why);
        enum status st = why.code;
        if (ev) {
                size_t n = 0;
                bool was_there;
                const rd_kafka_topic_result_t **r = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
                st = first_topic_result(a, r, n, "making it", RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, &was_there, &why);
                *created = st == ST_OK && !was_there;
                *fenced = n == 1 && rd_kafka_topic_result_error(r[0]) == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR;
                rd_kafka_event_destroy(ev);
        }
        if (st && e)
                *e = why;
        return st;
}

static enum status create(struct admin *a, const struct kafka_topic_spec *t, int brokers, int64_t max_message, bool *created,
                          struct err *e)
{
        for (;;) {
                bool fenced = false;
                enum status st = create_once(a, t, brokers, max_message, created, &fenced, e);
                if (!fenced || client_left_ms(a->deadline) < FENCED_MS)
                        return st;
                pause_ms(a, FENCED_MS);
        }
}

enum status kafka_topic_ensure(const struct kafka_conf *c, const struct kafka_topic_spec *spec, bool *created, struct err *e)
{
        struct admin a;
        struct topic_facts t = {.code = 0};
        struct err why = {.code = ST_OK};
        int64_t max = client_max_message(c) > spec->max_message_bytes ? client_max_message(c) : spec->max_message_bytes;
        enum status st = admin_open(&a, c, spec->name, &why);
        *created = false;
        if (st == ST_OK)
                st = look(&a, 0, &t, &why);
        if (st == ST_DATA && !strcmp(why.name, "topic_missing")) {
                st = create(&a, spec, t.brokers, max, created, &why);
                if (st == ST_OK)
                        st = look(&a, LIMIT_MS, &t, &why);
        }
        if (st == ST_OK)
                st = check(&a, &t, max, &why);
        admin_close(&a);
        if (st && e)
                *e = why;
        return st;
}

enum status kafka_topic_delete(const struct kafka_conf *c, const char *topic, struct err *e)
{
        struct admin a;
        struct err why = {.code = ST_OK};
        enum status st = admin_open(&a, c, topic, &why);
        if (st)
                goto out;
        rd_kafka_DeleteTopic_t *d = rd_kafka_DeleteTopic_new(topic);
        rd_kafka_AdminOptions_t *o = options(&a, RD_KAFKA_ADMIN_OP_DELETETOPICS);
        rd_kafka_DeleteTopics(a.client.rk, &d, 1, o, a.queue);
        rd_kafka_AdminOptions_destroy(o);
        rd_kafka_DeleteTopic_destroy(d);

        rd_kafka_event_t *ev = answer(&a, "deleting it", &why);
        st = why.code;
        if (ev) {
                size_t n = 0;
                bool unused;
                const rd_kafka_topic_result_t **r = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev), &n);
                st = first_topic_result(&a, r, n, "deleting it", RD_KAFKA_RESP_ERR_NO_ERROR, &unused, &why);
                rd_kafka_event_destroy(ev);
        }
        /* the answer comes before every broker has forgotten it */
        struct topic_facts t = {.code = 0};
        while (st == ST_OK && t.code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && client_left_ms(a.deadline) > 0) {
                client_topic(&a.client, a.rkt, client_left_ms(a.deadline), &t);
                if (t.code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
                        pause_ms(&a, 20);
        }
out:
        admin_close(&a);
        if (st && e)
                *e = why;
        return st;
}

/* ---- records ------------------------------------------------------------------------------------------------------------------------ */

enum status kafka_delete_records(const struct kafka_conf *c, const char *topic, koffset_t before, struct err *e)
{
        struct admin a;
        struct err why = {.code = ST_OK};
        enum status st = admin_open(&a, c, topic, &why);
        if (st)
                goto out;
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, 0)->offset = before.v;
        rd_kafka_DeleteRecords_t *d = rd_kafka_DeleteRecords_new(list);
        rd_kafka_AdminOptions_t *o = options(&a, RD_KAFKA_ADMIN_OP_DELETERECORDS);
        rd_kafka_DeleteRecords(a.client.rk, &d, 1, o, a.queue);
        rd_kafka_AdminOptions_destroy(o);
        rd_kafka_DeleteRecords_destroy(d);
        rd_kafka_topic_partition_list_destroy(list);

        rd_kafka_event_t *ev = answer(&a, "deleting its old records", &why);
        st = why.code;
        if (ev) {
                const rd_kafka_topic_partition_list_t *got =
                        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(ev));
                rd_kafka_resp_err_t code = got->cnt == 1 ? got->elems[0].err : RD_KAFKA_RESP_ERR__FAIL;
                if (code)
                        st = fail(&a, &why, code, "deleting its old records", NULL);
                rd_kafka_event_destroy(ev);
        }
out:
        admin_close(&a);
        if (st && e)
                *e = why;
        return st;
}

/* The end of the log, as an offset. */
static rd_kafka_resp_err_t end_of(struct admin *a, koffset_t *out)
{
        int64_t low, high = -1;
        rd_kafka_resp_err_t code =
                rd_kafka_query_watermark_offsets(a->client.rk, a->topic, 0, &low, &high, client_left_ms(a->deadline));
        *out = (koffset_t){high};
        return code;
}

enum status kafka_offset_at(const struct kafka_conf *c, const char *topic, int64_t time_us, koffset_t *out, struct err *e)
{
        struct admin a;
        *out = (koffset_t){-1};
        enum status st = admin_open(&a, c, topic, e);
        if (st)
                goto out;
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        /* Kafka counts milliseconds: the first record that is not older has at least the next whole one */
        rd_kafka_topic_partition_list_add(list, topic, 0)->offset = time_us <= 0 ? 0 : (time_us - 1) / 1000 + 1;
        rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(a.client.rk, list, client_left_ms(a.deadline));
        if (!code)
                code = list->elems[0].err;
        out->v = list->elems[0].offset;
        rd_kafka_topic_partition_list_destroy(list);
        if (!code && out->v < 0)
                code = end_of(&a, out);
        if (code)
                st = fail(&a, e, code, "looking for a time", NULL);
out:
        admin_close(&a);
        return st;
}

enum status kafka_cluster_id(const struct kafka_conf *c, char *buf, size_t size, struct err *e)
{
        struct client cl = {0};
        enum status st = client_open(&cl, c, &(struct client_opts){.kind = CLIENT_ADMIN}, e);
        char *id = st ? NULL : rd_kafka_clusterid(cl.rk, ID_LIMIT_MS);
        buf[0] = 0;
        if (id)
                snprintf(buf, size, "%s", id);
        else if (!st)
                st = client_waits(&cl, e, "the cluster does not tell its id");
        if (id)
                rd_kafka_mem_free(cl.rk, id);
        client_close(&cl);
        return st;
}
