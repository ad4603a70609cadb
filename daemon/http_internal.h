/* http_internal: what the files of daemon/http*.c share.
 * Threads: a connection's thread runs its answer; topology and watch do not change while any runs (http_topology waits for them). */
#ifndef PANGEA_DAEMON_HTTP_INTERNAL_H
#define PANGEA_DAEMON_HTTP_INTERNAL_H

#include <pthread.h>

#include "daemon/history.h"
#include "daemon/http.h"
#include "daemon/watch.h"

#define HTTP_CALLS 4 /* answers that have a database connection of their own, at once */

struct http {
        pthread_mutex_t lock; /* of all below but what an answer reads */
        pthread_cond_t ending;
        bool end;
        struct MHD_Daemon *server; /* NULL: not listening (yet) */
        bool complained;           /* that it cannot listen */
        pthread_t ticker;
        bool ticking;
        struct topology *topology; /* owned */
        region_id me;
        const struct region *region;
        const char *listen; /* --http */
        struct http_listen at;
        struct metrics *metrics;
        struct http_job jobs[2];
        size_t njobs;
        int64_t started_us; /* wall clock */
        struct watch *watch;
        struct history *history;
        struct slow *slow;
        int calls[HTTP_CALLS]; /* sockets of those connections; -1: free */
};

/* What goes back. */
struct reply {
        unsigned code;
        const char *type; /* Content-Type */
        struct buf body;
        const char *location; /* of a redirect */
        struct buf policy;    /* Content-Security-Policy; empty: none */
};

/* One argument of the query string; NULL: it is not there. */
struct request;
const char *request_argument(const struct request *r, const char *name);

/* Answers: fill *out. */
void http_healthz(struct http *h, const struct request *q, struct reply *out);
void http_readyz(struct http *h, const struct request *q, struct reply *out);
void http_metrics(struct http *h, const struct request *q, struct reply *out);
void http_status(struct http *h, const struct request *q, struct reply *out);
void http_topology_answer(struct http *h, const struct request *q, struct reply *out);
void http_page(struct http *h, const struct request *q, struct reply *out);
void http_conflicts(struct http *h, const struct request *q, struct reply *out);

/* The value as the body, with a newline; taken. */
void reply_json(struct reply *out, unsigned code, json_t *value);
/* {"error": ..}: what is wrong and what to do. */
void reply_error(struct reply *out, unsigned code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A place for a database connection of an answer, so that http_stop can end it; false: too many at once. */
bool http_call_begin(struct http *h, int socket, size_t *place);
void http_call_end(struct http *h, size_t place);

#endif
