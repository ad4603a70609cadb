/* status: what every region's agents say about themselves (pangea.status, shape in docs/status.md), gathered by `pangea status`.
 * Owner: cmd_status.c, and watch.c for HTTP.  Thread: each struct status_region belongs to its thread while it is read, else to main.
 * Fails: never as a whole; what cannot be read stands in status_region.err and is shown. */
#ifndef PANGEA_DAEMON_STATUS_H
#define PANGEA_DAEMON_STATUS_H

#include <jansson.h>

#include "daemon/term.h"
#include "postgres/pg.h"
#include "topology/topology.h"

#define STATUS_STALE_S 5.0 /* an agent that said nothing for so long is taken for gone */

struct status_region {
        const struct region *region;
        struct pg *pg;  /* kept between two looks of --watch */
        struct err err; /* msg "" = it was read */
        bool initialised;
        json_t *docs[2]; /* capture, apply; NULL = nothing there */
        double age_s[2];
        void (*opened)(void *ctx, int socket); /* may be NULL: told of a new connection, and with -1 before it is closed */
        void *ctx;
};

enum { STATUS_CAPTURE, STATUS_APPLY };

struct status_view {
        const struct topology *topology;
        struct status_region *regions;
        bool degraded;        /* anything stopped, waits, silent or unreachable: exit code 3. Set by status_problems */
        struct buf *problems; /* one line each */
};

/* Begins with nothing read; status_read asks every region at once (again, keeping connections). problems may be NULL. */
void status_open(struct status_view *v, const struct topology *t, struct buf *problems);
void status_read(struct status_view *v);
void status_close(struct status_view *v);
/* Reads the region's documents, over the connection that is there or a new one. connect_timeout_s: 0 = 10. */
void status_region_read(struct status_region *r, int connect_timeout_s);
void status_region_forget(struct status_region *r); /* what was read */
void status_region_close(struct status_region *r);  /* the connection too */
/* Should this region have that agent?  A follower has no capture. */
bool status_expected(const struct status_region *r, int agent);
/* Expected, there, and heard of lately. */
bool status_alive(const struct status_region *r, int agent);
/* The last that it said is that it stopped by name: it will say nothing more, and that stays true. */
bool status_stopped(const struct status_region *r, int agent);
/* The apply agent's word about one origin; NULL: none. Borrowed. */
const json_t *status_origin(const struct status_region *target, const char *origin);
/* "12 s", "5 min", "3.2 h", "4 d" */
const char *status_span(char *buf, size_t size, double seconds);
const char *status_bytes(char *buf, size_t size, double n);
/* How a state is shown on a terminal. */
enum term_style status_style(const char *state);
/* "cluster shop, 2026-11-20 17:03:12 UTC" and an empty line. */
void status_print_head(const struct topology *t);
/* Fills view->problems and view->degraded. */
void status_problems(struct status_view *v);
void status_print_text(const struct status_view *v);
json_t *status_json(const struct status_view *v);

#endif
