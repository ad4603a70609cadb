#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

static const double bounds[HISTOGRAM_BOUNDS] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300};

struct series {
        struct series *next;
        bool known; /* false: unset */
        double value;
        struct histogram *histogram;
        char labels[]; /* as they are printed: region="eu",origin="us" */
};

struct row_state {
        struct series *first, **last;
        unsigned n;
};

struct metrics {
        pthread_mutex_t lock;
        const struct metric_row *rows;
        unsigned nrows;
        struct map by_labels; /* row number and labels -> series */
        struct row_state *states;
        uint64_t dropped;
        struct buf key;
        char common[200];
};

void histogram_add(struct histogram *h, double seconds, uint64_t times)
{
        unsigned i = 0;
        if (seconds < 0)
                seconds = 0; /* two clocks */
        while (i < HISTOGRAM_BOUNDS && seconds > bounds[i])
                i++;
        h->count[i] += times;
        h->sum += seconds * (double)times;
}

/* ---- label values ------------------------------------------------------------------------------------------------------------------ */
static void put_label(struct buf *b, const char *name, const char *value)
{
        buf_printf(b, "%s%s=\"", b->len ? "," : "", name);
        for (; *value; value++) {
                if (*value == '\\' || *value == '"')
                        buf_put_u8(b, '\\');
                if (*value == '\n')
                        buf_put_str(b, "\\n");
                else
                        buf_put_u8(b, (uint8_t)*value);
        }
        buf_put_u8(b, '"');
}

struct metrics *metrics_new(const struct metric_row *rows, unsigned n, const char *label, const char *value)
{
        struct metrics *m = MEM_NEW(struct metrics);
        pthread_mutex_init(&m->lock, NULL);
        m->rows = rows;
        m->nrows = n;
        m->states = mem_zalloc(sizeof *m->states * n);
        for (unsigned i = 0; i < n; i++)
                m->states[i].last = &m->states[i].first;
        map_init(&m->by_labels, 0);
        buf_init(&m->key, 1u << 16);
        put_label(&m->key, label, value);
        snprintf(m->common, sizeof m->common, "%s", buf_cstr(&m->key));
        return m;
}

void metrics_free(struct metrics *m)
{
        if (!m)
                return;
        for (unsigned i = 0; i < m->nrows; i++)
                for (struct series *s = m->states[i].first, *next; s; s = next) {
                        next = s->next;
                        free(s->histogram);
                        free(s);
                }
        map_release(&m->by_labels);
        buf_release(&m->key);
        pthread_mutex_destroy(&m->lock);
        free(m->states);
        free(m);
}

/* The series of these label values, made when there is none and make is true. Under the lock. */
static struct series *find(struct metrics *m, unsigned row, const char *const labels[], bool make)
{
        const struct metric_row *r = &m->rows[row];
        buf_reset(&m->key);
        buf_put_str(&m->key, m->common);
        for (unsigned i = 0; i < METRICS_LABELS_MAX && r->labels[i]; i++)
                put_label(&m->key, r->labels[i], labels[i]);
        size_t n = m->key.len; /* the row's number follows: the text before it is what is printed */
        buf_put_u8(&m->key, 0);
        buf_put_u32(&m->key, row);
        if (m->key.full)
                return NULL;
        struct series *s = map_get(&m->by_labels, m->key.data, m->key.len);
        if (s || !make)
                return s;
        if (m->states[row].n == METRICS_SERIES_MAX) {
                m->dropped++;
                return NULL;
        }
        s = mem_zalloc(sizeof *s + n + 1);
        memcpy(s->labels, m->key.data, n);
        *m->states[row].last = s;
        m->states[row].last = &s->next;
        m->states[row].n++;
        map_put(&m->by_labels, m->key.data, m->key.len, s);
        return s;
}

static void change(struct metrics *m, unsigned row, const char *const labels[], double value, bool add)
{
        if (!m)
                return;
        pthread_mutex_lock(&m->lock);
        struct series *s = find(m, row, labels, true);
        if (s) {
                s->value = add && s->known ? s->value + value : value;
                s->known = true;
        }
        pthread_mutex_unlock(&m->lock);
}

void metrics_set(struct metrics *m, unsigned row, const char *const labels[], double value)
{
        change(m, row, labels, value, false);
}

void metrics_add(struct metrics *m, unsigned row, const char *const labels[], double value)
{
        change(m, row, labels, value, true);
}

void metrics_histogram(struct metrics *m, unsigned row, const char *const labels[], const struct histogram *h)
{
        if (!m)
                return;
        pthread_mutex_lock(&m->lock);
        struct series *s = find(m, row, labels, true);
        if (s) {
                if (!s->histogram)
                        s->histogram = MEM_NEW(struct histogram);
                *s->histogram = *h;
                s->known = true;
        }
        pthread_mutex_unlock(&m->lock);
}

void metrics_unset(struct metrics *m, unsigned row, const char *const labels[])
{
        if (!m)
                return;
        pthread_mutex_lock(&m->lock);
        struct series *s = find(m, row, labels, false);
        if (s)
                s->known = false;
        pthread_mutex_unlock(&m->lock);
}

static double shown(const struct metric_row *r, const struct series *s, double now_s)
{
        if (r->kind != METRIC_AGE || s->value == 0)
                return s->value;
        return now_s > s->value ? now_s - s->value : 0;
}

bool metrics_get(struct metrics *m, unsigned row, const char *const labels[], double now_s, double *value)
{
        if (!m)
                return false;
        pthread_mutex_lock(&m->lock);
        struct series *s = find(m, row, labels, false);
        bool known = s && s->known;
        if (known)
                *value = shown(&m->rows[row], s, now_s);
        pthread_mutex_unlock(&m->lock);
        return known;
}

uint64_t metrics_dropped(struct metrics *m)
{
        if (!m)
                return 0;
        pthread_mutex_lock(&m->lock);
        uint64_t n = m->dropped;
        pthread_mutex_unlock(&m->lock);
        return n;
}

/* ---- printing ---------------------------------------------------------------------------------------------------------------------- */
static const char *const kind_names[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_AGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

static void put_value(struct buf *out, double v)
{
        if (isinf(v))
                buf_put_str(out, v > 0 ? "+Inf\n" : "-Inf\n");
        else if (v == floor(v) && fabs(v) < 1e15)
                buf_printf(out, "%.0f\n", v);
        else
                buf_printf(out, "%.9g\n", v);
}

static void put_histogram(struct buf *out, const char *name, const struct series *s)
{
        uint64_t n = 0;
        for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
                n += s->histogram->count[i];
                if (i < HISTOGRAM_BOUNDS)
                        buf_printf(out, "%s_bucket{%s,le=\"%g\"} ", name, s->labels, bounds[i]);
                else
                        buf_printf(out, "%s_bucket{%s,le=\"+Inf\"} ", name, s->labels);
                put_value(out, (double)n);
        }
        buf_printf(out, "%s_sum{%s} ", name, s->labels);
        put_value(out, s->histogram->sum);
        buf_printf(out, "%s_count{%s} ", name, s->labels);
        put_value(out, (double)n);
}

static void put_row(const struct metric_row *r, const struct row_state *state, double now_s, struct buf *out)
{
        bool begun = false;
        for (const struct series *s = state->first; s; s = s->next) {
                if (!s->known)
                        continue;
                if (!begun)
                        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", r->name, r->help, r->name, kind_names[r->kind]);
                begun = true;
                if (r->kind == METRIC_HISTOGRAM) {
                        put_histogram(out, r->name, s);
                } else {
                        buf_printf(out, "%s{%s} ", r->name, s->labels);
                        put_value(out, shown(r, s, now_s));
                }
        }
}

void metrics_print(struct metrics *m, double now_s, struct buf *out)
{
        if (!m)
                return;
        pthread_mutex_lock(&m->lock);
        for (unsigned i = 0; i < m->nrows; i++)
                put_row(&m->rows[i], &m->states[i], now_s, out);
        pthread_mutex_unlock(&m->lock);
}

void metrics_print_docs(const struct metric_row *rows, unsigned n, struct buf *out)
{
        buf_put_str(out, "| metric | type | labels | meaning |\n|---|---|---|---|\n");
        for (unsigned i = 0; i < n; i++) {
                buf_printf(out, "| `%s` | %s | ", rows[i].name, kind_names[rows[i].kind]);
                for (unsigned k = 0; k < METRICS_LABELS_MAX && rows[i].labels[k]; k++)
                        buf_printf(out, "%s`%s`", k ? ", " : "", rows[i].labels[k]);
                buf_printf(out, " | %s |\n", rows[i].help);
        }
}
