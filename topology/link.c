#include <stdio.h>
#include <string.h>

#include "topology/build.h"

/* Links out of the document: who reads which log where. */

static const char *path(const struct build *b, const struct node *n)
{
        return node_path(b->arena, n);
}

/* REGION_NONE: not there, or said to be wrong. */
static region_id region_of(struct build *b, const struct node *link, const char *key)
{
        const struct node *n = node_get(link, key);
        if (!n)
                return REGION_NONE;
        region_id id = regset_find(&b->t->names, n->text, strlen(n->text));
        if (id.i == REGION_NONE.i && b->names_known)
                build_unknown_region(b, n);
        return id;
}

static const char *name_of(const struct build *b, region_id r)
{
        return regset_name(&b->t->names, r);
}

/* A broker that stands in both lists: one cluster. */
static const char *shared_broker(struct build *b, region_id x, region_id y)
{
        const char *list = b->t->regions[x.i].kafka.brokers, *other = b->t->regions[y.i].kafka.brokers;
        while (list && other && *list) {
                size_t n = strcspn(list, ",");
                for (const char *o = other; *o;) {
                        size_t m = strcspn(o, ",");
                        if (n == m && strncmp(list, o, n) == 0)
                                return arena_strndup(b->arena, list, n);
                        o += m + (o[m] == ',');
                }
                list += n + (list[n] == ',');
        }
        return NULL;
}

static void check_mirror(struct build *b, const struct node *n, const struct link *l)
{
        const char *broker = shared_broker(b, l->log, l->at);
        const struct node *key = node_get(n, "mirror");
        if (l->mirror && broker)
                problem_error(b->p, key->name_at, path(b, key),
                              "%s and %s have broker %s in common: the mirror would write into the log that it reads; "
                              "regions that share a Kafka need no mirror, remove the link",
                              name_of(b, l->log), name_of(b, l->at), broker);
}

#define TOPIC_MAX 249
#define TOPIC_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static void check_topic(struct build *b, const struct node *n, const struct link *l)
{
        const struct node *key = node_get(n, "topic");
        char own[256];
        if (!l->topic)
                return;
        if (l->topic[strspn(l->topic, TOPIC_BYTES)] || strlen(l->topic) > TOPIC_MAX || strcmp(l->topic, ".") == 0 ||
            strcmp(l->topic, "..") == 0)
                problem_error(b->p, key->at, path(b, key),
                              "%s is no name of a Kafka topic; it is made of a-z, A-Z, 0-9, '.', '_' and '-', at most %d bytes",
                              problem_quote(b->p, key->raw), TOPIC_MAX);
        else if (strcmp(l->topic, topology_topic(b->t, l->at, own, sizeof own)) == 0)
                problem_error(b->p, key->at, path(b, key), "is %s's own log, it cannot be a copy of %s's", name_of(b, l->at),
                              name_of(b, l->log));
}

/* One way, and only one, to come by the log. */
static void check_kind(struct build *b, const struct node *n, const struct link *l)
{
        const struct node *topic = node_get(n, "topic"), *via = node_get(n, "via");
        for (size_t i = 0; i < n->n; i++)
                if (n->items[i]->bad)
                        return; /* what it wanted to say is not known */
        if (!l->mirror && !via && !topic)
                problem_error(b->p, n->at, path(b, n), "says nothing; give it mirror: true, via or topic, or remove it");
        else if (l->mirror + (via != NULL) + (topic != NULL) > 1)
                problem_error(b->p, n->at, path(b, n), "mirror, via and topic exclude each other; keep one of them");
}

/* What one link says by itself; false: log or at is not known, so that nothing follows from it. */
static bool make_link(struct build *b, const struct node *n, struct link *l)
{
        const struct node *at = node_get(n, "at"), *via = node_get(n, "via");
        *l = (struct link){.log = region_of(b, n, "log"),
                           .at = region_of(b, n, "at"),
                           .via = region_of(b, n, "via"),
                           .mirror = node_num(n, "mirror"),
                           .topic = node_text(n, "topic")};
        check_kind(b, n, l);
        if (l->log.i == REGION_NONE.i || l->at.i == REGION_NONE.i)
                return false;
        check_topic(b, n, l);
        if (l->log.i == l->at.i) {
                problem_error(b->p, at->at, path(b, at), "a region reads its own log in its own Kafka; remove the link");
                return false;
        }
        check_mirror(b, n, l);
        if (via && (l->via.i == l->at.i || l->via.i == l->log.i))
                problem_error(b->p, via->at, path(b, via), "%s",
                              l->via.i == l->at.i ? "a region cannot read via itself; use mirror: true or topic"
                                                  : "the log's own region is where it is read anyway; remove the link");
        return true;
}

/* A via needs a copy at its other end: it leads there in one step. */
static void check_via(struct build *b, const struct node *n, const struct link *l)
{
        const struct node *via = node_get(n, "via");
        if (l->via.i == REGION_NONE.i || l->via.i == l->at.i || l->via.i == l->log.i)
                return;
        const struct link *next = topology_link(b->t, l->log, l->via);
        if (next && next->via.i != REGION_NONE.i)
                problem_error(b->p, via->at, path(b, via),
                              "%s reads the log via %s itself; a via must lead to the region that mirrors it, say via: %s",
                              name_of(b, l->via), name_of(b, next->via), name_of(b, next->via));
        else if (!next || (!next->mirror && !next->topic))
                problem_error(b->p, via->at, path(b, via),
                              "leads nowhere: %s does not mirror the log of %s; add {log: %s, at: %s, mirror: true}",
                              name_of(b, l->via), name_of(b, l->log), name_of(b, l->log), name_of(b, l->via));
}

void build_links(struct build *b)
{
        const struct node *list = node_get(b->root, "links");
        if (!list || b->t->nregions == 0)
                return;
        struct link *links = ARENA_ARRAY(b->arena, struct link, list->n);
        const struct node **nodes = ARENA_ARRAY(b->arena, const struct node *, list->n);
        b->t->links = links;
        for (size_t i = 0; i < list->n; i++) {
                const struct node *n = list->items[i];
                struct link *l = &links[b->t->nlinks];
                if (n->bad || !make_link(b, n, l))
                        continue;
                const struct link *first = topology_link(b->t, l->log, l->at);
                if (first) {
                        problem_error(
                                b->p, n->at, path(b, n),
                                "how %s reads the log of %s is said in line %d already; there is one way for each log and reader",
                                name_of(b, l->at), name_of(b, l->log), nodes[first - links]->at.line);
                        continue;
                }
                nodes[b->t->nlinks++] = n;
        }
        for (size_t i = 0; i < b->t->nlinks; i++)
                check_via(b, nodes[i], &links[i]);
}

/* ---- the questions ---------------------------------------------------------------------------------------------------------------- */
const struct link *topology_link(const struct topology *t, region_id log, region_id at)
{
        for (size_t i = 0; i < t->nlinks; i++)
                if (t->links[i].log.i == log.i && t->links[i].at.i == at.i)
                        return &t->links[i];
        return NULL;
}

bool topology_mirrors(const struct topology *t, region_id log, region_id at)
{
        const struct link *l = topology_link(t, log, at);
        return l && l->mirror;
}

int64_t topology_retention_every_us(const struct topology *t)
{
        const int64_t most = INT64_C(60000000), half = t->log_retention_us / 2;
        return half < most ? half : most;
}

const struct region *topology_log_place(const struct topology *t, region_id log, region_id at, char *buf, size_t size)
{
        const struct link *l = topology_link(t, log, at);
        region_id place = log;
        if (l && l->via.i != REGION_NONE.i) {
                place = l->via;
                l = topology_link(t, log, place);
        } else if (l) {
                place = at;
        }
        topology_topic(t, log, buf, size);
        if (l && l->topic)
                snprintf(buf, size, "%s", l->topic);
        return &t->regions[place.i];
}
