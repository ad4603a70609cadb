/* acks: how far the followers are.  Stability does not ask them, but the records they have not applied yet must stay in the log
 * (DESIGN 9): the own position, which log.retention goes by, waits for them.  Their logs are read from the end: a PROGRESS a second. */
#include "apply/applier.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

static enum status open_one(struct applier *a, unsigned i, struct err *e)
{
        char topic[256], client[128];
        struct kafka_conf conf = topology_log_place(a->topo, (region_id){(uint8_t)i}, a->me, topic, sizeof topic)->kafka;
        snprintf(client, sizeof client, "pangea-%s-%s-acks", a->topo->cluster, regset_name(&a->topo->names, a->me));
        conf.client_id = client;
        return kafka_reader_open(&a->ack_log[i], &conf, topic, KAFKA_FROM_END, 256, e);
}

static void take(struct applier *a, unsigned i, const struct kafka_msg *m)
{
        struct record r;
        struct err e;
        struct arena arena;
        arena_init(&arena);
        if (wire_decode_head(m->data, m->len, &a->regs, &arena, &r, &e) != ST_OK)
                log_event(LOG_WARN, "apply.follower", "region=%s\twhy=%s", a->regs.name[i], e.msg);
        else if (r.head.kind == RECORD_PROGRESS && r.head.region.i == i)
                a->acked[i] = r.u.progress.vec;
        arena_release(&arena);
}

void acks_read(struct applier *a)
{
        if (a->follower)
                return;
        for (unsigned i = 0; i < a->topo->names.n; i++) {
                struct err e;
                struct kafka_msg m;
                if (a->leaders >> i & 1)
                        continue;
                if (!a->ack_log[i] && open_one(a, i, &e) != ST_OK)
                        continue; /* asked again in a second; until then nothing of the log is let go */
                while (kafka_reader_next(a->ack_log[i], 0, &m, &e) == ST_OK) {
                        take(a, i, &m);
                        kafka_msg_done(&m);
                }
        }
}

void acks_close(struct applier *a)
{
        for (unsigned i = 0; i < MAX_REGIONS; i++) {
                if (a->ack_log[i])
                        kafka_reader_close(a->ack_log[i]);
                a->ack_log[i] = NULL;
        }
        memset(a->acked, 0, sizeof a->acked);
}

hlc_t acks_of_mine(const struct applier *a)
{
        hlc_t least = a->stable.at[a->me.i];
        for (unsigned i = 0; i < a->topo->names.n; i++)
                if (!(a->leaders >> i & 1) && a->acked[i].at[a->me.i].v < least.v)
                        least = a->acked[i].at[a->me.i];
        return least;
}

uint32_t acks_missing(const struct applier *a)
{
        size_t n = 0;
        uint32_t missing = 0;
        while (n < a->nown_marks && a->own_marks[n].at.hlc.v <= a->own_stable.hlc.v)
                n++;
        if (a->follower || n == a->nown_marks)
                return 0;
        hlc_t next = a->own_marks[n].at.hlc;
        if ((int64_t)next.v > clock_wall_us() - a->topo->log_retention_us)
                return 0;
        for (unsigned i = 0; i < a->topo->names.n; i++) {
                const struct vector *v = a->leaders >> i & 1 ? &a->seen[i] : &a->acked[i];
                if (i != a->me.i && v->at[a->me.i].v < next.v)
                        missing |= UINT32_C(1) << i;
        }
        return missing;
}
