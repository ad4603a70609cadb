#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/suggest.h"
#include "postgres/conninfo.h"
#include "topology/build.h"
#include "topology/spec.h"

/* Regions: names, databases, Kafka clusters. */

static const char *path(const struct build *b, const struct node *n)
{
        return node_path(b->arena, n);
}

/* ---- postgres ----------------------------------------------------------------------------------------------------------------- */

static void refuse_conninfo(struct build *b, const struct node *n, const struct conninfo *c, const struct err *e)
{
        struct suggestion s = {.written = c->unknown};
        const char *const *options;
        /* what came from the environment may be a secret, whatever it is */
        if (c->unknown && strcmp(n->raw, n->text) != 0) {
                problem_error(b->p, n->at, path(b, n),
                              "libpq cannot read it once its ${NAME}s are expanded; write key=value pairs, or a URI");
                return;
        }
        for (size_t i = 0, count = c->unknown ? pg_conninfo_options(b->arena, &options) : 0; i < count; i++)
                suggest_offer(&s, options[i]);
        problem_error(b->p, n->at, path(b, n), "%s%s%s%s", e->msg, s.best ? "; did you mean " : "", s.best ? s.best : "",
                      s.best ? "?" : "");
}

static void build_postgres(struct build *b, const struct node *region, struct region *r, struct conninfo *c)
{
        const struct node *pg = node_get(region, "postgres"), *conninfo = node_get(pg, "conninfo");
        const char *file = node_text(pg, "password_file");
        struct err e;
        if (file)
                r->password_file = path_beside(b->arena, b->t->file, file);
        if (!conninfo)
                return;
        r->conninfo = conninfo->text;
        if (pg_conninfo_check(conninfo->text, b->arena, c, &e) != ST_OK)
                refuse_conninfo(b, conninfo, c, &e);
        else if (c->has_password)
                problem_warn(b->p, conninfo->at, path(b, conninfo), "holds a password; password_file keeps it out of this file");
}

static bool share_database(const struct conninfo *a, const struct conninfo *b, const char **host)
{
        if (!a->dbname || !b->dbname || strcmp(a->dbname, b->dbname) != 0)
                return false;
        for (size_t i = 0; i < a->nhosts; i++)
                for (size_t j = 0; j < b->nhosts; j++)
                        if (strcmp(a->hosts[i], b->hosts[j]) == 0) {
                                *host = a->hosts[i];
                                return true;
                        }
        return false;
}

/* found is in the order of the file, so that the later region is the one that is wrong. */
static void refuse_shared_databases(struct build *b, const struct node *regions, const struct conninfo *found)
{
        for (size_t i = 0; i < regions->n; i++) {
                const struct node *n = node_get(node_get(regions->items[i], "postgres"), "conninfo");
                const char *host = NULL;
                for (size_t j = 0; j < i && n && !host; j++)
                        if (share_database(&found[i], &found[j], &host))
                                problem_error(b->p, n->at, path(b, n),
                                              "is the database of region %s too (%s at %s); each region has its own",
                                              regions->items[j]->name, problem_quote(b->p, found[i].dbname),
                                              *host == ':' ? "the local socket" : host);
        }
}

/* ---- standbys ----------------------------------------------------------------------------------------------------------------- */

static bool application_name_ok(const char *s)
{
        size_t n = 0;
        while (s[n] >= ' ' && s[n] <= '~') /* PostgreSQL shows every other byte as '?' */
                n++;
        return n > 0 && n <= STANDBY_NAME_MAX && !s[n];
}

static bool named_before(const struct region *r, const char *name)
{
        for (size_t i = 0; i < r->nwait; i++)
                if (strcmp(r->wait[i], name) == 0)
                        return true;
        return false;
}

static void build_standbys(struct build *b, const struct node *region, struct region *r)
{
        const struct node *list = node_get(node_get(region, "postgres"), "wait_for_standbys");
        if (!list)
                return;
        if (r->role == ROLE_FOLLOWER)
                problem_error(b->p, list->at, path(b, list), "is for leaders: a follower publishes nothing; remove it");
        const char **names = ARENA_ARRAY(b->arena, const char *, list->n);
        r->wait = names;
        for (size_t i = 0; i < list->n; i++) {
                const struct node *n = list->items[i];
                if (n->bad)
                        continue;
                if (!application_name_ok(n->text))
                        problem_error(b->p, n->at, path(b, n),
                                      "%s is no application_name; it has 1 to %d printable ASCII characters",
                                      problem_quote(b->p, n->raw), STANDBY_NAME_MAX);
                else if (named_before(r, n->text))
                        problem_error(b->p, n->at, path(b, n), "stands here a second time");
                else if (r->nwait < STANDBYS_MAX) /* more: said by the table */
                        names[r->nwait++] = n->text;
        }
}

/* ---- kafka -------------------------------------------------------------------------------------------------------------------- */

static bool broker_ok(const char *s)
{
        static const char *const schemes[] = {"PLAINTEXT://", "SSL://", "SASL_PLAINTEXT://", "SASL_SSL://"};
        for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
                if (strncmp(s, schemes[i], strlen(schemes[i])) == 0) {
                        s += strlen(schemes[i]);
                        break;
                }
        size_t host = *s == '[' ? strcspn(s, "]") : strcspn(s, ":");
        if (*s == '[' && s[host] == ']')
                host++;
        size_t good = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-[]:%");
        if (host == 0 || host > 255 || s[good])
                return false;
        s += host;
        if (!*s)
                return true;
        size_t digits = strspn(s + 1, "0123456789");
        return *s == ':' && digits > 0 && digits < 6 && !s[1 + digits] && atoi(s + 1) >= 1 && atoi(s + 1) <= 65535;
}

static const char *join_brokers(struct build *b, const struct node *list)
{
        const char *all = "";
        for (size_t i = 0; list && i < list->n; i++) {
                const struct node *n = list->items[i];
                if (n->bad)
                        continue;
                if (!broker_ok(n->text))
                        problem_error(b->p, n->at, path(b, n), "%s is no broker; write host:port, such as kafka-0.us:9092",
                                      problem_quote(b->p, n->raw));
                all = arena_printf(b->arena, "%s%s%s", all, *all ? "," : "", n->text);
        }
        return all;
}

/* "sasl.password_file: f" gives sasl.password what f holds; *value is NULL after an error. Other keys are taken as they are. */
static void resolve_property(struct build *b, const struct node *n, const char **key, const char **value)
{
        static const char suffix[] = "_file";
        size_t len = strlen(n->name), cut = sizeof suffix - 1;
        *key = n->name;
        *value = n->text;
        if (len <= cut || strcmp(n->name + len - cut, suffix) != 0 || !property_is_secret(n->name))
                return;
        struct err e;
        char *secret;
        *key = arena_strndup(b->arena, n->name, len - cut);
        *value = NULL;
        if (secret_read(path_beside(b->arena, b->t->file, n->text), &secret, &e) != ST_OK) {
                problem_error(b->p, n->at, path(b, n), "%s", e.msg);
                return;
        }
        *value = arena_strdup(b->arena, secret);
        explicit_bzero(secret, strlen(secret));
        free(secret);
}

static void check_property(struct build *b, const struct node *n, const char *key, const char *value)
{
        struct err e;
        if (kafka_check_property(key, value, &e) == ST_OK)
                return;
        if (strcmp(n->raw, value) != 0 && strstr(e.msg, value)) /* from the environment or a file */
                problem_error(b->p, n->name_at, path(b, n),
                              "librdkafka refuses this value (not shown: it does not stand in this file)");
        else
                problem_error(b->p, n->name_at, path(b, n), "%s", e.msg);
}

static void build_kafka(struct build *b, const struct node *region, struct region *r)
{
        const struct node *kafka = node_get(region, "kafka"), *props = node_get(kafka, "properties");
        size_t max = props ? props->n : 0;
        const char **keys = ARENA_ARRAY(b->arena, const char *, max), **values = ARENA_ARRAY(b->arena, const char *, max);
        r->kafka.brokers = join_brokers(b, node_get(kafka, "brokers"));
        r->kafka.prop_keys = keys;
        r->kafka.prop_values = values;
        for (size_t i = 0; i < max; i++) {
                const struct node *n = props->items[i];
                const char *key, *value;
                if (n->bad)
                        continue;
                resolve_property(b, n, &key, &value);
                if (!value)
                        continue;
                if (key != n->name && node_get(props, key)) {
                        problem_error(b->p, n->name_at, path(b, n), "%s is given as well; keep one of the two", key);
                        continue;
                }
                check_property(b, n, key, value);
                keys[r->kafka.nprops] = key;
                values[r->kafka.nprops++] = value;
        }
}

/* ---- regions ------------------------------------------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
        const struct node *const *x = a, *const *y = b;
        return strcmp((*x)->name, (*y)->name);
}

/* Ids are the order of the names as bytes: the same in every process, whatever the order in the file. */
static void number_regions(struct build *b, const struct node *regions)
{
        const struct node **sorted = ARENA_ARRAY(b->arena, const struct node *, regions->n);
        size_t n = 0;
        b->names_known = true;
        for (size_t i = 0; i < regions->n; i++)
                if (config_name_ok(regions->items[i]->name, REGION_NAME_MAX))
                        sorted[n++] = regions->items[i];
                else
                        b->names_known = false;
        if (n > 0)
                qsort(sorted, n, sizeof *sorted, by_name);
        for (size_t i = 0; i < n; i++)
                if (regset_add(&b->t->names, sorted[i]->name, strlen(sorted[i]->name)).i == REGION_NONE.i)
                        b->names_known = false; /* too many: said by the table */
}

static void check_slot_name(struct build *b, const struct node *n)
{
        size_t len = strlen("pangea__") + strlen(b->t->cluster) + strlen(n->name);
        if (len > PG_NAME_MAX)
                problem_error(b->p, n->name_at, path(b, n),
                              "makes a slot name pangea_<cluster>_<region> of %zu bytes, PostgreSQL has at most %d; "
                              "shorten it or the cluster's name",
                              len, PG_NAME_MAX);
}

/* Origins are cluster-wide in PostgreSQL: us_a reading b and us reading a_b would share pangea_shop_us_a_b. */
static void refuse_equal_origins(struct build *b, const struct node *regions)
{
        const struct regset *s = &b->t->names;
        for (unsigned i = 0; i < s->n; i++)
                for (unsigned j = 0; j < s->n; j++) {
                        size_t n = strlen(s->name[i]), m = strlen(s->name[j]);
                        if (m <= n + 1 || strncmp(s->name[i], s->name[j], n) != 0 || s->name[j][n] != '_')
                                continue;
                        /* j = i "_" rest: reading x from j meets reading rest "_" x from i */
                        for (unsigned x = 0; x < s->n; x++) {
                                char other[2 * REGION_NAME_MAX + 2];
                                const struct node *at = node_get(regions, s->name[j]);
                                size_t len = (size_t)snprintf(other, sizeof other, "%s_%s", s->name[j] + n + 1, s->name[x]);
                                if (at && regset_find(s, other, len).i != REGION_NONE.i)
                                        problem_error(
                                                b->p, at->name_at, path(b, at),
                                                "reading %s here and reading %s in %s would share the replication origin pangea_%s_%s_%s; "
                                                "choose names that cannot be joined to the same text",
                                                s->name[x], other, s->name[i], b->t->cluster, s->name[j], s->name[x]);
                        }
                }
}

static void check_leaders(struct build *b, const struct node *regions)
{
        for (size_t i = 0; i < b->t->nregions; i++)
                if (b->t->regions[i].role == ROLE_LEADER)
                        return;
        if (b->t->nregions > 0 && b->names_known)
                problem_error(b->p, regions->name_at, path(b, regions),
                              "no region is a leader, so nothing could ever be written; "
                              "give one of them role: leader");
}

void build_regions(struct build *b)
{
        const struct node *regions = node_get(b->root, "regions");
        if (!regions)
                return;
        number_regions(b, regions);
        struct region *list = ARENA_ARRAY(b->arena, struct region, b->t->names.n);
        struct conninfo *found = ARENA_ARRAY(b->arena, struct conninfo, regions->n);
        b->t->regions = list;
        b->t->nregions = b->t->names.n;
        for (size_t i = 0; i < regions->n; i++) {
                const struct node *n = regions->items[i];
                region_id id = regset_find(&b->t->names, n->name, strlen(n->name));
                if (n->bad || id.i == REGION_NONE.i)
                        continue;
                struct region *r = &list[id.i];
                r->role = node_num(n, "role") ? ROLE_FOLLOWER : ROLE_LEADER;
                build_postgres(b, n, r, &found[i]);
                build_standbys(b, n, r);
                build_kafka(b, n, r);
                build_http(b, n, r);
                check_slot_name(b, n);
        }
        for (unsigned i = 0; i < b->t->names.n; i++) {
                list[i].id = (region_id){(uint8_t)i};
                list[i].name = b->t->names.name[i];
        }
        refuse_shared_databases(b, regions, found);
        refuse_equal_origins(b, regions);
        check_leaders(b, regions);
}
