/* check: what may stand in a configuration, as const tables; the same tables print the documentation (config/docs.h).
 * config_check walks a parsed document along a table, reports everything that does not fit, expands ${ENV}, turns text into numbers and
 * fills in the defaults, so that afterwards every key that was not refused can be read with node_get/node_text/node_num.
 * Pure but for getenv; one thread per document. */
#ifndef PANGEA_CONFIG_CHECK_H
#define PANGEA_CONFIG_CHECK_H

#include "config/node.h"

enum cfg_type {
        CFG_TEXT,     /* at least one byte */
        CFG_NAME,     /* [a-z0-9_], at most max bytes */
        CFG_INT,      /* min..max */
        CFG_BOOL,     /* true, false */
        CFG_DURATION, /* min..max microseconds */
        CFG_SIZE,     /* min..max bytes */
        CFG_WORD,     /* one of words; num is its index */
        CFG_LIST,     /* min..max elements, each as *of says */
        CFG_MAP,      /* the keys that are listed in of */
        CFG_NAMED,    /* a map from names ([a-z0-9_], at most max_name bytes) to what *of says; min..max of them */
        CFG_KEYED,    /* a map from any text to what *of says; key says what the text is */
        CFG_PAIRS,    /* a map from any text to text */
};
enum { CFG_TYPE_COUNT = CFG_PAIRS + 1 };

/* A word that other products have, or that one might try, and why it is not to be had. */
struct cfg_refused {
        const char *word, *why; /* word NULL ends the list */
};

struct cfg_key {
        const char *name; /* NULL ends a CFG_MAP's list */
        enum cfg_type type;
        bool required;
        bool later;           /* its feature is not built yet: refused as "not supported yet" */
        const char *standard; /* default, as it would stand in the file; NULL: none, or given in doc */
        int64_t min, max;
        int64_t max_name;
        const char *const *words;       /* NULL-terminated */
        const char *const *later_words; /* refused as "not supported yet" */
        const struct cfg_refused *refused;
        const char *key; /* CFG_KEYED: what its keys are, such as "table" */
        const struct cfg_key *of;
        const char *doc; /* one line of Markdown */
};

/* root must be what the CFG_MAP of keys says. */
void config_check(struct node *root, const struct cfg_key *keys, struct arena *arena, struct problems *p);
/* "a whole number from 1 to 100", for messages and documentation. */
void config_allowed(const struct cfg_key *k, struct buf *out);

/* Used by config_check: the value of one scalar; false when it was reported. */
bool config_check_scalar(struct node *n, const struct cfg_key *k, struct arena *arena, struct problems *p);
/* [a-z0-9_], 1..max bytes */
bool config_name_ok(const char *s, int64_t max);

/* The keys as Markdown tables, a heading (## ..) per map; appended to *out. */
void config_print_docs(const struct cfg_key *keys, struct buf *out);
/* Every key with its path as the documentation writes it ("regions.<name>.role", "routes[].tables"), those of planned features included. */
typedef void config_key_seen(void *ctx, const char *path, const struct cfg_key *k);
void config_each_key(const struct cfg_key *keys, config_key_seen *seen, void *ctx);
/* What the documentation says about a key, without what is allowed and its default. */
void config_key_doc(const struct cfg_key *k, struct buf *out);

#endif
