/* view: what the capture agent shows of itself.  The capture thread writes it, the status thread turns it into the JSON document of
 * docs/status.md.  Thread: any; every function takes the lock. */
#ifndef PANGEA_CAPTURE_VIEW_H
#define PANGEA_CAPTURE_VIEW_H

#include <pthread.h>

#include "change/vector.h"
#include "topology/control.h"
#include "topology/pause.h"

#define BEHIND_BYTES (INT64_C(16) << 20) /* of WAL not decoded: more than that is catching up, not running */

/* What moves all the time. */
struct view_numbers {
        uint64_t epoch, groups, transactions, rows, bytes;
        lsn_t decoded, confirmed;
        hlc_t hlc;
        koffset_t offset;
        size_t pending;
        int64_t delivered_us; /* wall clock, of the last delivery */
        struct vector vec;
        struct regset regs;
};

struct view {
        pthread_mutex_t lock;
        pthread_cond_t changed; /* state, tables or asked to end */
        char region[REGION_NAME_MAX + 1], slot[64];
        enum agent_state state;
        int64_t since_us; /* wall clock */
        char why[1000], todo[400], error[32];
        struct pause pause; /* what an operator has paused */
        struct view_numbers now;
        char *tables;            /* JSON array; NULL: not known yet */
        uint64_t version;        /* counts changes of state and tables */
        struct metrics *metrics; /* borrowed; may be NULL */
        bool end;                /* the status thread writes once more and ends */
};

void view_init(struct view *v, const char *region, const char *slot);
void view_release(struct view *v);
/* A state without an error: why "" when running. Logged when it is a change. */
void view_state(struct view *v, enum agent_state state, const char *why);
/* Waiting for, or stopped by, an error. */
void view_error(struct view *v, enum agent_state state, const struct err *e);
/* What an operator has paused, from whichever thread has just looked; p NULL or off: nothing. True when that is a change. */
bool view_pause(struct view *v, const struct pause *p);
bool view_paused(struct view *v);
/* State, why and what to do of the pause. */
void view_show_pause(struct view *v);
void view_numbers(struct view *v, const struct view_numbers *n);
/* Taken: free()d by the view. */
void view_tables(struct view *v, char *json);

#endif
