/* The binary interface of a resolver that is a shared object (`resolver: plugin`, `path: /..`).  This header is all that a plug-in needs;
 * `make install` puts it into PREFIX/include/pangea/plugin.h, and an example is in deploy/examples/plugin.
 *
 * A plug-in exports one object:
 *
 *     const struct pangea_plugin pangea_plugin = {PANGEA_PLUGIN_ABI, "name", settle};
 *
 * settle gets all living versions of a row that are concurrent, two or more, in ascending order of (hlc, region), and says which row stands.
 * It must be a pure function of its arguments: no clock, no random number, no file, no memory of earlier calls, nothing that differs between
 * hosts (locale, addresses). Every region calls it with the same versions and has to get the same row: what depends on anything else
 * makes the regions differ. It is called in the thread that applies; it may not start threads, nor take longer than some milliseconds, and
 * it runs inside the daemon: when it crashes, the daemon does.
 *
 * The interface has a number. A daemon loads only plug-ins with its own; a change of anything in here makes a new one. */
#ifndef PANGEA_CONFLICT_PLUGIN_H
#define PANGEA_CONFLICT_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#define PANGEA_PLUGIN_ABI 1

/* A value as PostgreSQL prints it (DateStyle ISO, UTC, extra_float_digits 1, bytea as hex), UTF-8, not 0-terminated; data NULL: SQL NULL. */
struct pangea_value {
        const char *data;
        uint32_t len;
};

struct pangea_table {
        const char *schema, *name;
        uint32_t ncolumns;
        const char *const *columns; /* names, in the order of the values */
        const char *const *types;   /* "pg_catalog.int4", arrays "pg_catalog._int4" */
        const uint8_t *key;         /* 1: a column of the key; it is the same in all versions and has to stay so */
};

struct pangea_version {
        const char *region;
        uint64_t hlc;                      /* Unix microseconds, strictly increasing in a region */
        const struct pangea_value *values; /* ncolumns */
};

/* What stands. values: ncolumns, set to those of the last version before the call. What is put there must be memory of the arguments, of
 * alloc, or constant. error: 0-terminated, why there is no answer. */
struct pangea_result {
        struct pangea_value *values;
        void *(*alloc)(struct pangea_result *r, size_t size); /* never NULL; freed by the daemon */
        void *context;                                        /* alloc's own */
        char error[200];
};

/* 0: there is an answer. Anything else: the change cannot be applied, its region waits with the error's text until the plug-in is mended. */
typedef int pangea_settle(const struct pangea_table *table, const struct pangea_version *versions, size_t n,
                          struct pangea_result *result);

struct pangea_plugin {
        uint32_t abi;     /* PANGEA_PLUGIN_ABI */
        const char *name; /* for logs */
        pangea_settle *settle;
};

#endif
