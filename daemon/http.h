/* http: a region's daemon over HTTP: health, metrics, status, topology, conflicts and a page (docs/http.md).
 * Answers GET and HEAD only, changes nothing, needs no login; limits on the size of a request's head, on connections and on time.  A
 * thread for each connection, so that an answer that waits for a database holds up no other.
 * Owner and thread: the supervisor (run.c).  Fails: never for its caller; an address that is taken is tried again every few seconds. */
#ifndef PANGEA_DAEMON_HTTP_H
#define PANGEA_DAEMON_HTTP_H

#include "topology/control.h"
#include "topology/metrics.h"

/* One agent of this process. */
struct http_job {
        const char *name; /* capture | apply */
        struct control *control;
        const _Atomic bool *ended;
};

struct http_opts {
        struct topology *topology; /* taken */
        region_id me;
        const char *listen; /* --http: address:port, off, or NULL: as the topology says */
        struct metrics *metrics;
        const struct http_job *jobs; /* copied; what they point to must outlive the server */
        size_t njobs;
};

struct http;
struct http *http_start(const struct http_opts *o);
/* Another topology (taken): answers from it, and listens where it says. */
void http_topology(struct http *h, struct topology *t);
void http_stop(struct http *h);

#endif
