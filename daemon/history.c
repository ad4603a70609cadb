#include "daemon/history.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"

/* NAN: not known. */
struct sample {
        double at, published, capture_lag;
        double lag[MAX_REGIONS], applied[MAX_REGIONS];
};

struct history {
        pthread_mutex_t lock;
        const struct regset *regions;
        region_id me;
        struct sample *ring;
        uint64_t n; /* taken so far */
};

struct history *history_new(const struct regset *regions, region_id me)
{
        struct history *h = MEM_NEW(struct history);
        pthread_mutex_init(&h->lock, NULL);
        h->regions = regions;
        h->me = me;
        h->ring = mem_zalloc(sizeof *h->ring * HISTORY_SAMPLES);
        return h;
}

void history_regions(struct history *h, const struct regset *regions)
{
        pthread_mutex_lock(&h->lock);
        h->regions = regions;
        pthread_mutex_unlock(&h->lock);
}

void history_free(struct history *h)
{
        if (!h)
                return;
        pthread_mutex_destroy(&h->lock);
        free(h->ring);
        free(h);
}

static double value(struct metrics *m, enum metric row, const char *label, double now_s)
{
        double v;
        return metrics_get(m, row, METRIC_LABELS(label), now_s, &v) ? v : (double)NAN;
}

void history_tick(struct history *h, struct metrics *m, double now_s)
{
        pthread_mutex_lock(&h->lock);
        const struct sample *last = h->n ? &h->ring[(h->n - 1) % HISTORY_SAMPLES] : NULL;
        bool due = !last || now_s - last->at >= HISTORY_STEP_S - 0.5 || now_s < last->at;
        pthread_mutex_unlock(&h->lock);
        if (!due)
                return;
        struct sample s = {.at = now_s,
                           .published = value(m, METRIC_CAPTURE_TRANSACTIONS, NULL, now_s),
                           .capture_lag = value(m, METRIC_CAPTURE_LAG_SECONDS, NULL, now_s)};
        for (unsigned r = 0; r < h->regions->n; r++) {
                s.lag[r] = value(m, METRIC_LAG_SECONDS, h->regions->name[r], now_s);
                s.applied[r] = value(m, METRIC_APPLY_TRANSACTIONS, h->regions->name[r], now_s);
        }
        pthread_mutex_lock(&h->lock);
        h->ring[h->n++ % HISTORY_SAMPLES] = s;
        pthread_mutex_unlock(&h->lock);
}

static json_t *number(double v)
{
        return isnan(v) ? json_null() : json_real(v);
}

/* A counter's growth per second; one that went back began anew. */
static json_t *rate(double before, double after, double seconds)
{
        if (isnan(before) || isnan(after) || seconds <= 0)
                return json_null();
        return json_real((after >= before ? after - before : after) / seconds);
}

static json_t *column(const struct history *h, uint64_t first, const double *(*of)(const struct sample *, unsigned), unsigned r,
                      bool counter)
{
        json_t *list = json_array();
        for (uint64_t i = first; i < h->n; i++) {
                const struct sample *s = &h->ring[i % HISTORY_SAMPLES];
                const struct sample *before = i > first ? &h->ring[(i - 1) % HISTORY_SAMPLES] : NULL;
                if (!counter)
                        json_array_append_new(list, number(*of(s, r)));
                else
                        json_array_append_new(list, before ? rate(*of(before, r), *of(s, r), s->at - before->at) : json_null());
        }
        return list;
}

static const double *of_at(const struct sample *s, unsigned r)
{
        (void)r;
        return &s->at;
}
static const double *of_published(const struct sample *s, unsigned r)
{
        (void)r;
        return &s->published;
}
static const double *of_capture_lag(const struct sample *s, unsigned r)
{
        (void)r;
        return &s->capture_lag;
}
static const double *of_lag(const struct sample *s, unsigned r)
{
        return &s->lag[r];
}
static const double *of_applied(const struct sample *s, unsigned r)
{
        return &s->applied[r];
}

json_t *history_json(struct history *h)
{
        json_t *lag = json_object(), *applied = json_object();
        pthread_mutex_lock(&h->lock);
        uint64_t first = h->n > HISTORY_SAMPLES ? h->n - HISTORY_SAMPLES : 0;
        for (unsigned r = 0; r < h->regions->n; r++) {
                if (r == h->me.i)
                        continue;
                json_object_set_new(lag, h->regions->name[r], column(h, first, of_lag, r, false));
                json_object_set_new(applied, h->regions->name[r], column(h, first, of_applied, r, true));
        }
        json_t *j = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "step_seconds", HISTORY_STEP_S, "at",
                              column(h, first, of_at, 0, false), "lag_seconds", lag, "applied_per_second", applied,
                              "published_per_second", column(h, first, of_published, 0, true), "capture_lag_seconds",
                              column(h, first, of_capture_lag, 0, false));
        pthread_mutex_unlock(&h->lock);
        return j;
}
