/* Where reading goes on: the record that was applied last must stand at the stored offset, else it is looked for in the whole topic. */
#include "apply/inlog_parts.h"

#include "base/log.h"

#define ASK_MS 1000

/* Is it the record that was applied last? */
static bool is_stored(const struct inlog *l, const struct record *r)
{
        bool group = r->head.kind == RECORD_GROUP;
        return r->head.epoch == l->at.epoch && r->head.seq == l->at.seq && (!group || r->u.group.hlc.v == l->at.hlc.v);
}

enum status inlog_check_stored(struct inlog *l, const struct record *r, koffset_t offset, struct err *e)
{
        if (offset.v == l->stored.v && is_stored(l, r))
                return ST_OK;
        return err_named(e, ST_DATA, "topic_recreated",
                         "topic %s: offset %" PRId64 " held epoch %" PRIu64 " seq %" PRIu64
                         " when it was applied, now offset %" PRId64 " holds epoch %" PRIu64 " seq %" PRIu64
                         ": the topic was recreated or its records were deleted; "
                         "all regions must be set up again together (pangea deinit in each, copy, pangea init in each)",
                         l->topic, l->stored.v, l->at.epoch, l->at.seq, offset.v, r->head.epoch, r->head.seq);
}

enum status inlog_search(struct inlog *l, const struct err *why, struct err *e)
{
        koffset_t low;
        l->misplaced = *why;
        enum status s = kafka_reader_watermarks(l->reader, ASK_MS, &low, &l->search_end, e);
        if (s == ST_OK && low.v >= l->search_end.v && !l->copy) { /* nothing to look through */
                *e = l->misplaced;
                return e->code;
        }
        if (s == ST_OK)
                s = kafka_reader_seek(l->reader, KAFKA_FROM_START, ASK_MS, e);
        if (s != ST_OK)
                return s; /* asked again: the next call meets the same record */
        l->searching = true;
        log_event(LOG_INFO, "apply.searching", "topic=%s\tepoch=%" PRIu64 "\tseq=%" PRIu64 "\tstored_offset=%" PRId64 "\twhy=%s",
                  l->topic, l->at.epoch, l->at.seq, l->stored.v, why->msg);
        return ST_OK;
}

enum status inlog_look(struct inlog *l, const struct record *r, koffset_t offset, bool *take, struct err *e)
{
        if (is_stored(l, r)) {
                log_event(LOG_WARN, "apply.repositioned",
                          "topic=%s\tepoch=%" PRIu64 "\tseq=%" PRIu64 "\tfrom=%" PRId64 "\tto=%" PRId64, l->topic, l->at.epoch,
                          l->at.seq, l->stored.v, offset.v);
                l->stored = offset;
                l->searching = false;
                *take = true;
                return ST_OK;
        }
        bool beyond = r->head.epoch >= l->at.epoch && r->head.seq > l->at.seq;
        if (!beyond && (l->copy || offset.v < l->search_end.v - 1))
                return ST_OK;
        *e = l->misplaced;
        return e->code;
}

const char *inlog_searches(const struct inlog *l)
{
        return l->searching && l->copy ? "this region's mirror of its log, which does not hold the last record applied here yet"
                                       : "";
}
