/* session: everything one capture session holds in memory, from taking the slot to losing the database, Kafka or the wish to run.
 * When it ends all of it is forgotten (finding F24): the next one starts from the log's tail (DESIGN 5.1).
 * Private to capture/.  Owner and thread: the capture thread (view has its own lock). */
#ifndef PANGEA_CAPTURE_SESSION_H
#define PANGEA_CAPTURE_SESSION_H

#include "capture/groups.h"
#include "capture/outlet.h"
#include "capture/progress.h"
#include "capture/relcache.h"
#include "capture/standbys.h"
#include "capture/tail.h"
#include "capture/txread.h"
#include "capture/view.h"
#include "postgres/stream.h"
#include "topology/control.h"

struct session {
        const struct topology *topo; /* borrowed for the session */
        const struct region *region;
        region_id me;
        struct control *control;
        struct view *view;
        char slot[64], publication[64], topic[256], application[96];

        struct pg *side; /* catalog look-ups, xmin pairs, the epoch */
        struct pgstream *stream;
        struct regset regs; /* of the topology, and whoever the log names beside */
        struct outlet outlet;
        struct groups groups;
        struct progress progress;
        struct relcache tables;
        struct txread tx;

        struct standbys standbys;
        struct stream_msg held; /* while standbys.need is not 0; borrowed from the stream, which is not read on */
        int64_t blamed_at;      /* when the view last said which standby is waited for; 0: none is */
        char blamed[1000];

        lsn_t received, fed; /* the last message's end; the last flush position that was reported */
        int64_t fed_at;      /* clock_mono_us */
        int64_t pair_at, viewed_at;
        int64_t heard_at;         /* the last message came; clock_mono_us */
        int64_t sent_us;          /* the server's clock when it sent the last message */
        size_t gulped;            /* bytes that the socket held last */
        int64_t pause_us;         /* until it is looked at again, while data flows */
        uint64_t handled, paired; /* stream messages; how many there were at the last pair */
        int64_t drain_until;      /* 0: not asked to stop */
};

/* Ends with ST_STOP when asked to, ST_RETRY to start anew, or a named stop. */
MUSTCHECK enum status session_run(struct session *s, struct err *e);

/* start.c: DESIGN 5.1 and 5.2, up to the moment when the stream may be read. */
MUSTCHECK enum status session_start(struct session *s, struct err *e);
/* loop.c: until something ends it. */
MUSTCHECK enum status session_loop(struct session *s, struct err *e);

/* For whoever waits: tells the slot's server once a second that we are there (flush: what is delivered), and looks at the control.
 * ST_STOP when asked to stop at once, or to drain and there is no time left; ST_RETRY when the stream is lost. */
MUSTCHECK enum status session_idle(void *session, struct err *e);
MUSTCHECK enum status session_feedback(struct session *s, struct err *e);
/* The groups' sink: the outlet. */
struct record_head session_group_head(void *session);
enum status session_group_put(void *session, const struct record_head *h, const struct buf *record, lsn_t confirms, struct err *e);

#endif
