#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/document.h"
#include "topology/build.h"
#include "topology/spec.h"

/* File -> document -> checked document -> struct topology. */

/* The struct that is handed out, and what it lives in. */
struct holder {
        struct topology t;
        struct arena arena;
        const char *text; /* for copies */
        size_t len;
};

static void check_log(struct build *b)
{
        const struct node *log = node_get(b->root, "log"), *min = node_get(log, "min_insync"), *all = node_get(log, "replication");
        if (!min || !all || min->num <= all->num)
                return;
        const struct node *at = min->filled ? all : min;
        problem_error(b->p, at->at, node_path(b->arena, at), "min_insync (%d%s) must not be greater than replication (%d%s)",
                      (int)min->num, min->filled ? ", the default" : "", (int)all->num, all->filled ? ", the default" : "");
}

/* What Kafka takes as one message unless the region's properties say otherwise, and what a record's head adds to its rows. */
#define MESSAGE_MAX 1000000
#define RECORD_HEAD 16384

static bool mirrors_any(const struct topology *t, region_id at)
{
        for (size_t i = 0; i < t->nlinks; i++)
                if (t->links[i].at.i == at.i && t->links[i].mirror)
                        return true;
        return false;
}

static void check_record_size(struct build *b)
{
        const struct node *group = node_get(b->root, "group"), *max = node_get(group, "max_bytes");
        for (size_t i = 0; max && i < b->t->nregions; i++) {
                const struct region *r = &b->t->regions[i];
                long long message = MESSAGE_MAX;
                for (size_t k = 0; k < r->kafka.nprops; k++)
                        if (strcmp(r->kafka.prop_keys[k], "message.max.bytes") == 0)
                                message = strtoll(r->kafka.prop_values[k], NULL, 10);
                if ((r->role != ROLE_LEADER && !mirrors_any(b->t, r->id)) || max->num + RECORD_HEAD <= message)
                        continue;
                problem_error(b->p, max->at, node_path(b->arena, max),
                              "does not fit into one message of region %s's Kafka (message.max.bytes is %lld); make it smaller, or "
                              "set message.max.bytes in the region's kafka.properties and allow it in the brokers",
                              r->name, message);
                return;
        }
}

static void build_limits(struct build *b)
{
        struct topology *t = b->t;
        const struct node *group = node_get(b->root, "group"), *log = node_get(b->root, "log");
        t->max_skew_us = node_num(node_get(b->root, "clock"), "max_skew");
        t->group_max_rows = (uint32_t)node_num(group, "max_rows");
        t->group_max_bytes = (size_t)node_num(group, "max_bytes");
        t->log_replication = (int)node_num(log, "replication");
        t->log_min_insync = (int)node_num(log, "min_insync");
        t->log_retention_us = node_num(log, "retention");
        t->drain_timeout_us = node_num(b->root, "drain_timeout");
        t->conflict_keep_us = node_num(node_get(b->root, "conflicts"), "keep");
        check_log(b);
}

enum status topology_parse(const char *file, const char *text, size_t len, struct topology **out, struct problems *p)
{
        struct holder *h = MEM_NEW(struct holder);
        struct build b = {.t = &h->t, .arena = &h->arena, .p = p};
        *out = NULL;
        arena_init(&h->arena);
        h->t.file = arena_strdup(&h->arena, file);
        h->t.cluster = "";
        h->text = arena_strndup(&h->arena, text, len);
        h->len = len;
        struct node *root = document_parse(text, len, &h->arena, p);
        if (root && !root->bad) {
                config_check(root, topology_keys, &h->arena, p);
                b.root = root;
                const char *cluster = node_text(root, "cluster");
                h->t.cluster = cluster ? cluster : "";
                build_limits(&b);
                build_regions(&b);
                build_routes(&b);
                build_links(&b);
                build_rules(&b);
                check_record_size(&b);
        }
        problems_sort(p);
        if (p->errors > 0) {
                topology_free(&h->t);
                return ST_CONFIG;
        }
        *out = &h->t;
        return ST_OK;
}

enum status topology_check(const char *file, struct topology **out, struct problems *p)
{
        struct buf text;
        enum status s = ST_CONFIG;
        *out = NULL;
        buf_init(&text, 2 * DOCUMENT_MAX_BYTES);
        if (document_read(file, &text, p))
                s = topology_parse(file, buf_cstr(&text), text.len, out, p);
        if (text.data)
                explicit_bzero(text.data, text.cap);
        buf_release(&text);
        return s;
}

enum status topology_load(const char *file, struct topology **out, struct buf *errors)
{
        struct problems p;
        problems_init(&p, file);
        enum status s = topology_check(file, out, &p);
        problems_print(&p, false, errors);
        problems_release(&p);
        return s;
}

enum status topology_copy(const struct topology *t, struct topology **out, struct buf *errors)
{
        const struct holder *h = (const struct holder *)t; /* t is its first member */
        struct problems p;
        problems_init(&p, t->file);
        enum status s = topology_parse(t->file, h->text, h->len, out, &p);
        problems_print(&p, false, errors);
        problems_release(&p);
        return s;
}

void topology_free(struct topology *t)
{
        struct holder *h = (struct holder *)t; /* t is its first member */
        if (!h)
                return;
        arena_release(&h->arena);
        free(h);
}
