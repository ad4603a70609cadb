/* node: one value of a YAML document with its place: what the checker works on and, checked, what is read from.
 * Owner: the arena it was made in.  Thread: one.  Pure. */
#ifndef PANGEA_CONFIG_NODE_H
#define PANGEA_CONFIG_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/problem.h"

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };
enum { NODE_KIND_COUNT = NODE_MAP + 1 };

struct node {
        enum node_kind kind;
        struct place at;
        const struct node *parent;
        size_t index;     /* in parent */
        const char *name; /* the key, when parent is a map */
        struct place name_at;
        const char *raw;  /* scalar: as it stands in the file */
        const char *text; /* scalar: with ${ENV} expanded; raw until it has been checked */
        bool null;        /* scalar: nothing, or ~ */
        size_t n;         /* list, map */
        struct node **items;
        bool filled; /* not in the file: the default */
        bool bad;    /* an error was reported for it: it is as if it were not there */
        int64_t num; /* checked: number, microseconds, bytes, bool, index of the word */
};

const char *node_kind_name(enum node_kind k); /* "text" "a list" "a map" */
/* "regions.us.kafka.brokers[0]", cut when it is long. */
const char *node_path(struct arena *a, const struct node *n);
/* The path of a key that n does not have. */
const char *node_path_of(struct arena *a, const struct node *n, const char *key);

/* Reading what was checked. NULL: not there, or bad. map may be NULL. */
const struct node *node_get(const struct node *map, const char *key);
const char *node_text(const struct node *map, const char *key);
/* 0 when it is not there. */
int64_t node_num(const struct node *map, const char *key);

#endif
