#include "capture/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"

static void delivered(void *ctx, uint64_t tag, koffset_t offset, enum status code, const char *why)
{
        struct outlet *o = ctx;
        if (o->dead)
                return; /* whatever comes behind a record that failed is not in order any more */
        if (code != ST_OK) {
                o->dead = true;
                snprintf(o->why, sizeof o->why, "%s", why ? why : "not delivered");
                return;
        }
        if (offset.v <= o->offset.v) {
                o->dead = true; /* the next start says by name what has become of the log */
                snprintf(o->why, sizeof o->why, "the log went back from offset %lld to %lld: the topic was deleted and made anew",
                         (long long)o->offset.v, (long long)offset.v);
                return;
        }
        o->offset = offset;
        o->delivered_at = clock_mono_us();
        if (tag)
                FAILPOINT("capture.delivered");
        o->delivered = lsn_max(o->delivered, (lsn_t){tag});
}

enum status outlet_open(struct outlet *o, const struct kafka_conf *conf, const char *topic, struct err *e)
{
        o->offset = (koffset_t){-1};
        o->delivered_at = clock_mono_us();
        if (pipe2(o->wake, O_NONBLOCK | O_CLOEXEC) != 0) {
                o->wake[0] = o->wake[1] = -1;
                return err_set(e, ST_RETRY, "cannot make a pipe: %s", strerror(errno));
        }
        enum status st = kafka_producer_open(&o->producer, conf, topic, delivered, o, e);
        if (st == ST_OK)
                kafka_producer_wake_fd(o->producer, o->wake[1]);
        return st;
}

void outlet_close(struct outlet *o)
{
        kafka_producer_close(o->producer);
        o->producer = NULL;
        for (int i = 0; i < 2; i++) {
                if (o->wake[i] >= 0)
                        close(o->wake[i]);
                o->wake[i] = -1;
        }
}

struct record_head outlet_head(const struct outlet *o, enum record_kind kind)
{
        struct record_head h = o->head;
        h.kind = kind;
        h.seq = kind == RECORD_GROUP || kind == RECORD_PROGRESS ? o->head.seq + 1 : 0;
        return h;
}

static enum status gone(const struct outlet *o, struct err *e)
{
        return err_set(e, ST_RETRY, "the Kafka producer must be made anew: %s", o->why);
}

enum status outlet_put(struct outlet *o, const struct record_head *h, const struct buf *record, lsn_t confirms, struct err *e)
{
        enum status st;
        while (!o->dead && (st = kafka_produce(o->producer, o->key, record->data, record->len, confirms.v, e)) != ST_OK) {
                if (st == ST_FATAL) {
                        o->dead = true;
                        snprintf(o->why, sizeof o->why, "%.190s", e->msg);
                        break;
                }
                if (st != ST_RETRY)
                        return err_wrap(e, "own log");
                if ((st = outlet_poll(o, 10, e)) != ST_OK || (st = o->idle(o->ctx, e)) != ST_OK)
                        return st;
        }
        if (o->dead)
                return gone(o, e);
        if (h->seq)
                o->head.seq = h->seq;
        o->records++;
        o->bytes += record->len;
        if (h->kind == RECORD_GROUP)
                FAILPOINT("capture.produced");
        return ST_OK;
}

enum status outlet_poll(struct outlet *o, int timeout_ms, struct err *e)
{
        char drop[64];
        while (read(o->wake[0], drop, sizeof drop) > 0)
                continue;
        struct err why = {0};
        enum status st = kafka_producer_poll(o->producer, timeout_ms, &why);
        if (!o->dead && st != ST_OK && st != ST_RETRY) {
                o->dead = true;
                snprintf(o->why, sizeof o->why, "%.190s", why.msg);
        }
        return o->dead ? gone(o, e) : ST_OK;
}

size_t outlet_pending(const struct outlet *o)
{
        return o->producer ? kafka_producer_pending(o->producer) : 0;
}
