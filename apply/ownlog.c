#include "apply/ownlog.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define RING ((size_t)1 << 18) /* newest transactions: 8 MB */
#define BUCKETS ((size_t)1 << 16)
#define RANGES 1024
#define MARKS 4096

/* A transaction, at ring[n % RING] for n in [first, next). Chains of one bucket run from newer to older n. */
struct own_tx {
        int64_t commit_us;
        hlc_t hlc;
        koffset_t offset;
        uint64_t older; /* n of the next in the chain, +1; 0 = end */
        uint32_t xid;
};

/* Older groups: what fell out of the ring. */
struct range {
        koffset_t first, last;
        int64_t us_min, us_max;
        hlc_t hlc_max;
};

/* From own component >= hlc on, every xid below xmin is covered. */
struct step {
        hlc_t hlc;
        fullxid_t xmin;
};

/* Recent groups by first commit LSN, to find the last group before an insert position. */
struct mark {
        hlc_t hlc;
        lsn_t first_commit;
};

struct ownlog {
        region_id me;
        lsn_t read;
        struct own_tx *ring;
        uint64_t first, next;
        uint64_t *bucket; /* n+1 of the newest in the chain */
        struct range ranges[RANGES];
        size_t nranges;
        struct step steps[MARKS];
        size_t nsteps;
        struct mark marks[MARKS];
        size_t nmarks;
        hlc_t marks_before;   /* HLC of the newest mark that was dropped */
        int64_t forgotten_us; /* no transaction before those in the ring and the ranges has a later commit time */
};

struct ownlog *ownlog_new(region_id me)
{
        struct ownlog *o = MEM_NEW(struct ownlog);
        o->me = me;
        o->ring = mem_alloc(RING * sizeof *o->ring);
        o->bucket = mem_zalloc(BUCKETS * sizeof *o->bucket);
        return o;
}

void ownlog_from(struct ownlog *o, hlc_t at)
{
        o->forgotten_us = (int64_t)at.v; /* an HLC is never before the commit time */
}

void ownlog_free(struct ownlog *o)
{
        if (!o)
                return;
        free(o->ring);
        free(o->bucket);
        free(o);
}

static size_t slot(int64_t us)
{
        return (size_t)(((uint64_t)us * UINT64_C(0x9E3779B97F4A7C15)) >> 48) & (BUCKETS - 1);
}

/* Two neighbouring ranges become one: coarser, never wrong. */
static void merge_ranges(struct ownlog *o)
{
        size_t n = 0;
        for (size_t i = 0; i < o->nranges; i += 2) {
                struct range r = o->ranges[i];
                if (i + 1 < o->nranges) {
                        const struct range *b = &o->ranges[i + 1];
                        r.last = b->last;
                        r.us_min = r.us_min < b->us_min ? r.us_min : b->us_min;
                        r.us_max = r.us_max > b->us_max ? r.us_max : b->us_max;
                        r.hlc_max = hlc_max(r.hlc_max, b->hlc_max);
                }
                o->ranges[n++] = r;
        }
        o->nranges = n;
}

static void evict(struct ownlog *o)
{
        const struct own_tx *t = &o->ring[o->first % RING];
        struct range *r = o->nranges ? &o->ranges[o->nranges - 1] : NULL;
        if (!r || (t->offset.v != r->last.v && t->offset.v - r->first.v > 256)) {
                if (o->nranges == RANGES)
                        merge_ranges(o);
                r = &o->ranges[o->nranges++];
                *r = (struct range){.first = t->offset, .last = t->offset, .us_min = t->commit_us, .us_max = t->commit_us};
        }
        r->last = t->offset;
        r->us_min = t->commit_us < r->us_min ? t->commit_us : r->us_min;
        r->us_max = t->commit_us > r->us_max ? t->commit_us : r->us_max;
        r->hlc_max = hlc_max(r->hlc_max, t->hlc);
        o->first++;
}

static void note_tx(struct ownlog *o, const struct item_tx *t, const struct log_item *i)
{
        if (o->next - o->first == RING)
                evict(o);
        uint64_t *b = &o->bucket[slot(t->commit_us)];
        o->ring[o->next % RING] =
                (struct own_tx){.commit_us = t->commit_us, .hlc = i->hlc, .offset = i->first_offset, .older = *b, .xid = t->xid};
        *b = ++o->next;
}

static void note_group(struct ownlog *o, const struct log_item *i)
{
        if (!i->replay)
                for (uint32_t n = 0; i->txs && n < i->ntxs; n++)
                        note_tx(o, &i->txs[n], i);
        if (o->nmarks == MARKS) {
                o->marks_before = o->marks[MARKS / 2 - 1].hlc;
                memmove(o->marks, o->marks + MARKS / 2, sizeof *o->marks * (MARKS / 2));
                o->nmarks = MARKS / 2;
        }
        o->marks[o->nmarks++] = (struct mark){.hlc = i->hlc, .first_commit = i->first_commit};
}

/* Every local commit before xmin_lsn is in a group up to the last one that began before it. */
static void note_xmin(struct ownlog *o, const struct log_item *i)
{
        size_t n = o->nmarks;
        while (n > 0 && !lsn_before(o->marks[n - 1].first_commit, i->xmin_lsn))
                n--;
        if (n == 0 && o->marks_before.v && o->nmarks)
                return; /* behind everything that is remembered: of no use */
        hlc_t hlc = n ? o->marks[n - 1].hlc : o->marks_before;
        struct step *last = o->nsteps ? &o->steps[o->nsteps - 1] : NULL;
        if (last && (i->xmin.v <= last->xmin.v || hlc.v < last->hlc.v))
                return;
        if (last && last->hlc.v == hlc.v) {
                last->xmin = i->xmin;
                return;
        }
        if (o->nsteps == MARKS) {
                memmove(o->steps, o->steps + MARKS / 2, sizeof *o->steps * (MARKS / 2));
                o->nsteps = MARKS / 2;
        }
        o->steps[o->nsteps++] = (struct step){.hlc = hlc, .xmin = i->xmin};
}

void ownlog_note(struct ownlog *o, const struct log_item *i)
{
        switch (i->kind) {
        case ITEM_GROUP:
        case ITEM_BIG:
                note_group(o, i);
                o->read = lsn_max(o->read, i->end_lsn);
                break;
        case ITEM_PROGRESS:
                if (i->xmin.v && !i->replay)
                        note_xmin(o, i);
                o->read = lsn_max(o->read, i->end_lsn);
                break;
        case ITEM_EPOCH:
        case ITEM_MARKER: break;
        }
}

lsn_t ownlog_read_lsn(const struct ownlog *o)
{
        return o->read;
}

fullxid_t ownlog_h(const struct ownlog *o, hlc_t v)
{
        size_t lo = 0, hi = o->nsteps;
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (o->steps[mid].hlc.v <= v.v)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo ? o->steps[lo - 1].xmin : (fullxid_t){0};
}

bool ownlog_knows(const struct ownlog *o, int64_t commit_us, uint32_t xid)
{
        for (uint64_t n = o->bucket[slot(commit_us)]; n > o->first; n = o->ring[(n - 1) % RING].older) {
                const struct own_tx *t = &o->ring[(n - 1) % RING];
                if (t->commit_us == commit_us && t->xid == xid)
                        return true;
        }
        return false;
}

enum own_found ownlog_find(const struct ownlog *o, int64_t commit_us, uint32_t xid, hlc_t *hlc, koffset_t *first, koffset_t *last)
{
        bool found = false, one = true;
        for (uint64_t n = o->bucket[slot(commit_us)]; n > o->first; n = o->ring[(n - 1) % RING].older) {
                const struct own_tx *t = &o->ring[(n - 1) % RING];
                if (t->commit_us != commit_us)
                        continue;
                one &= !found || hlc->v == t->hlc.v;
                *hlc = t->hlc;
                if (t->xid == xid)
                        return OWN_FOUND;
                *last = found ? *last : t->offset;
                *first = t->offset;
                found = true;
        }
        bool in_range = false; /* several hold that time: commits are not in the order of their times */
        for (size_t i = 0; i < o->nranges; i++) {
                const struct range *r = &o->ranges[i];
                if (commit_us < r->us_min || commit_us > r->us_max)
                        continue;
                *first = in_range ? *first : r->first;
                *last = found ? *last : r->last;
                in_range = true;
        }
        if (in_range)
                return OWN_RANGE;
        if (!found)
                return OWN_OLDER;
        /* written in a savepoint, and nobody else committed in that microsecond: rows of programs that use savepoints are not rare, and reading a
         * record back from Kafka takes as long as a hundred rows */
        return one && commit_us > o->forgotten_us ? OWN_FOUND : OWN_AMBIGUOUS;
}

static void forget_time(struct ownlog *o, int64_t us)
{
        o->forgotten_us = us > o->forgotten_us ? us : o->forgotten_us;
}

void ownlog_forget(struct ownlog *o, hlc_t stable)
{
        for (; o->first < o->next && o->ring[o->first % RING].hlc.v <= stable.v; o->first++)
                forget_time(o, o->ring[o->first % RING].commit_us);
        size_t n = 0;
        for (; n < o->nranges && o->ranges[n].hlc_max.v <= stable.v; n++)
                forget_time(o, o->ranges[n].us_max);
        memmove(o->ranges, o->ranges + n, sizeof *o->ranges * (o->nranges - n));
        o->nranges -= n;
        for (n = 0; n + 1 < o->nsteps && o->steps[n + 1].hlc.v <= stable.v; n++)
                ;
        memmove(o->steps, o->steps + n, sizeof *o->steps * (o->nsteps - n));
        o->nsteps -= n;
}

size_t ownlog_size(const struct ownlog *o)
{
        return (size_t)(o->next - o->first);
}
