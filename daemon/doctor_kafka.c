/* doctor: the logs' topics. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/doctor.h"

struct topic_view {
        struct patient *p;
        struct kafka_topic_settings s;
        const char *name;
        int64_t record_bytes; /* the largest that is written to it */
        struct kafka_conf conf;
};

static const char *set_config(const struct topic_view *v, const char *what)
{
        return arena_printf(&v->p->arena,
                            "kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s",
                            v->conf.brokers, v->name, what);
}

/* What Kafka would drop by itself. */
static void judge_keeping(const struct topic_view *v)
{
        const struct {
                const char *key, *is, *should;
        } rows[] = {{"cleanup.policy", v->s.cleanup_policy, "delete"},
                    {"retention.ms", v->s.retention_ms, "-1"},
                    {"retention.bytes", v->s.retention_bytes, "-1"}};
        char set[64];
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                if (strcmp(rows[i].is, rows[i].should) == 0)
                        continue;
                snprintf(set, sizeof set, "%s=%s", rows[i].key, rows[i].should);
                find(v->p, SEVERITY_ERROR, v->name, set_config(v, set), "%s is %s, it must be %s", rows[i].key, rows[i].is,
                     rows[i].should);
        }
}

static void judge_replicas(const struct topic_view *v)
{
        const struct topology *t = v->p->t;
        const struct kafka_topic_settings *s = &v->s;
        char set[64];
        snprintf(set, sizeof set, "min.insync.replicas=%d", t->log_min_insync < s->replicas ? t->log_min_insync : s->replicas);
        if (s->replicas < t->log_replication)
                find(v->p, SEVERITY_WARNING, v->name,
                     s->brokers < t->log_replication
                             ? arena_printf(
                                       &v->p->arena,
                                       "add brokers (there are %d), then kafka-reassign-partitions.sh; or say log: {replication: "
                                       "%d} in %s",
                                       s->brokers, s->replicas, t->file)
                             : "kafka-reassign-partitions.sh --execute, with a plan that gives partition 0 more replicas",
                     "%d replica%s, the topology asks for %d: that many lost disks lose the log", s->replicas,
                     s->replicas == 1 ? "" : "s", t->log_replication);
        if (s->min_insync > s->replicas)
                find(v->p, SEVERITY_ERROR, v->name, set_config(v, set),
                     "min.insync.replicas is %d and there are %d replicas: nothing can be "
                     "published",
                     s->min_insync, s->replicas);
        else if (s->min_insync < t->log_min_insync && s->min_insync < s->replicas)
                find(v->p, SEVERITY_WARNING, v->name, set_config(v, set),
                     "min.insync.replicas is %d, the topology asks for %d: what was "
                     "published may be lost with one broker",
                     s->min_insync, t->log_min_insync);
        if (s->insync < s->min_insync && s->min_insync <= s->replicas)
                find(v->p, SEVERITY_ERROR, v->name, "start the brokers that are away",
                     "%d of %d replicas are in sync, %d are needed: nothing "
                     "can be published",
                     s->insync, s->replicas, s->min_insync);
        else if (s->insync < s->replicas)
                find(v->p, SEVERITY_WARNING, v->name, "see why the others do not follow (kafka-topics.sh --describe)",
                     "%d of %d replicas are in sync", s->insync, s->replicas);
}

static void judge_topic(const struct topic_view *v)
{
        char set[64];
        if (v->s.partitions != 1)
                find(v->p, SEVERITY_ERROR, v->name,
                     "delete it when it is no log of Pangea (kafka-topics.sh --delete), then pangea init",
                     "%d partitions, a log has exactly one", v->s.partitions);
        judge_keeping(v);
        judge_replicas(v);
        if (v->s.max_message_bytes < v->record_bytes) {
                snprintf(set, sizeof set, "max.message.bytes=%" PRId64, v->record_bytes);
                find(v->p, SEVERITY_ERROR, v->name, set_config(v, set),
                     "max.message.bytes is %" PRId64 ", records may have %" PRId64 " bytes: they would be refused",
                     v->s.max_message_bytes, v->record_bytes);
        }
        if (strcmp(v->s.compression, "uncompressed") == 0) {
                find(v->p, SEVERITY_WARNING, v->name, set_config(v, "compression.type=producer"),
                     "the brokers store its records uncompressed (compression.type=uncompressed)");
                v->p->last->check = doctor_check_find("compression");
        }
}

/* True when a broker answered. */
static bool look_at_topic(struct patient *p, const struct region *log)
{
        char client[96], name[128], todo[120];
        struct err e = {0};
        struct topic_view v = {.p = p, .conf = p->region->kafka};
        snprintf(client, sizeof client, "pangea-%s-%s-doctor", p->t->cluster, p->region->name);
        v.conf.client_id = client;
        v.name = topology_topic(p->t, log->id, name, sizeof name);
        v.record_bytes = init_message_bytes(&p->init, log);
        if (kafka_topic_look(&v.conf, name, &v.s, &e) == ST_OK) {
                judge_topic(&v);
                p->log_there |= log == p->region;
                return true;
        }
        bool missing = strcmp(e.name, "topic_missing") == 0;
        snprintf(todo, sizeof todo, "pangea init --region %s", p->region->name);
        if (missing && p->known && !p->init.has_meta)
                return true; /* `prepared` says it */
        find_error(p, SEVERITY_ERROR, name, &e);
        if (missing)
                p->last->todo = arena_strdup(&p->arena, todo);
        return missing;
}

void check_topic(struct patient *p)
{
        bool mirrors = false, answered = look_at_topic(p, p->region);
        for (size_t i = 0; i < p->t->nlinks; i++)
                mirrors |= p->t->links[i].mirror;
        for (size_t i = 0; i < p->t->nregions && answered; i++)
                if (topology_mirrors(p->t, p->t->regions[i].id, p->region->id))
                        look_at_topic(p, &p->t->regions[i]);
        if (mirrors && answered) {
                struct err ignored;
                (void)!kafka_cluster_id(&p->region->kafka, p->cluster_id, sizeof p->cluster_id, &ignored);
        }
}

#define SQUEEZABLE 0.75 /* records that a compressor makes no smaller than this may well travel as they are */
#define AS_IT_IS 0.9    /* of what they hold: nothing was packed */

/* What is in effect, not what is set: the daemon that publishes may have been started with other settings, or another topology. */
static void measure_compression(struct patient *p)
{
        char client[96], name[128];
        struct err e = {0};
        struct kafka_measure m;
        struct kafka_conf conf = p->region->kafka;
        snprintf(client, sizeof client, "pangea-%s-%s-doctor", p->t->cluster, p->region->name);
        conf.client_id = client;
        topology_topic(p->t, p->region->id, name, sizeof name);
        if (kafka_measure(&conf, name, &m, &e) != ST_OK || !m.enough)
                return; /* `topic` says why no broker answers; a log that holds little says nothing */
        double takes = (double)m.wire / (double)m.payload, could = (double)m.packed / (double)m.looked_at;
        const char *todo = arena_printf(&p->arena,
                                        "look at compression.type of the topology that the daemon of %s runs with, then restart it "
                                        "(what is published from then on is compressed)",
                                        p->region->name);
        if (could < SQUEEZABLE && takes > AS_IT_IS)
                find(p, SEVERITY_WARNING, name, todo,
                     "measured: the last %" PRId64
                     " records travel with %.0f %% of their size; a quick compressor makes %.0f %% of them",
                     m.records, takes * 100, could * 100);
        else
                find(p, SEVERITY_NOTE, name, "nothing",
                     "measured: the last %" PRId64 " records travel with %.0f %% of their size%s", m.records, takes * 100,
                     could < SQUEEZABLE ? "" : ", and no compressor would make them much smaller");
}

void check_compression(struct patient *p)
{
        if (strcmp(kafka_compression(&p->region->kafka), "none") == 0)
                find(p, SEVERITY_WARNING, NULL,
                     arena_printf(&p->arena,
                                  "in %s take compression.type out of regions.%s.kafka.properties (the default "
                                  "is lz4)",
                                  p->t->file, p->region->name),
                     "the topology switches compression off");
        if (p->log_there)
                measure_compression(p);
}

void check_clusters(struct doctor *d)
{
        for (size_t i = 0; i < d->t->nlinks; i++) {
                const struct link *l = &d->t->links[i];
                const struct patient *log = &d->patients[l->log.i], *at = &d->patients[l->at.i];
                if (!l->mirror || !*log->cluster_id || strcmp(log->cluster_id, at->cluster_id) != 0)
                        continue;
                find(&d->together, SEVERITY_ERROR, NULL,
                     arena_printf(&d->together.arena,
                                  "in %s: correct the brokers of %s or %s, or remove the link {log: %s, at: %s, mirror: true}",
                                  d->t->file, log->region->name, at->region->name, log->region->name, at->region->name),
                     "%s mirrors the log of %s within one Kafka cluster", at->region->name, log->region->name);
        }
}
