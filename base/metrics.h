/* metrics: the numbers that a process shows, in Prometheus' text format.
 * A registry is made from a const table of rows, one for each metric (name, kind, labels, help); the same table prints the
 * documentation. A row has one series for each set of label values that was ever set.
 * Thread: any (a lock within): callers keep plain counters of their own and put them here about once a second.
 * Owner: whoever called metrics_new. Every function takes NULL for the registry and does nothing then: an agent may run without one.
 * Fails: a row that has METRICS_SERIES_MAX series takes no new one; metrics_dropped() counts. */
#ifndef PANGEA_BASE_METRICS_H
#define PANGEA_BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

#define METRICS_LABELS_MAX 3
#define METRICS_SERIES_MAX 5000

enum metric_kind {
        METRIC_COUNTER,
        METRIC_GAUGE,
        METRIC_AGE, /* a gauge: set to a Unix time in seconds, shown as the seconds since then; 0 is shown as 0 */
        METRIC_HISTOGRAM,
};

struct metric_row {
        const char *name;
        enum metric_kind kind;
        const char *labels[METRICS_LABELS_MAX]; /* NULL: no more */
        const char *help;                       /* one line */
};

#define HISTOGRAM_BOUNDS 16
/* Seconds, from 1 ms to 5 min. Zeroed is empty. */
struct histogram {
        uint64_t count[HISTOGRAM_BOUNDS + 1]; /* of each bucket alone; the last is what is above every bound */
        double sum;
};
void histogram_add(struct histogram *h, double seconds, uint64_t times);

/* The values of a row's labels, in order: METRIC_LABELS("eu", "running"). */
#define METRIC_LABELS(...) ((const char *const[METRICS_LABELS_MAX]){__VA_ARGS__})
#define METRIC_NO_LABELS METRIC_LABELS(NULL)

struct metrics;
/* rows are borrowed. Every series bears label="value" first (both are copied). */
struct metrics *metrics_new(const struct metric_row *rows, unsigned n, const char *label, const char *value);
void metrics_free(struct metrics *m);
void metrics_set(struct metrics *m, unsigned row, const char *const labels[], double value);
void metrics_add(struct metrics *m, unsigned row, const char *const labels[], double value);
void metrics_histogram(struct metrics *m, unsigned row, const char *const labels[], const struct histogram *h);
/* Takes the series away, until it is set again: what is not known is not shown as 0. */
void metrics_unset(struct metrics *m, unsigned row, const char *const labels[]);
/* What it shows at now_s (Unix seconds; matters to ages only); false: there is no such series. */
bool metrics_get(struct metrics *m, unsigned row, const char *const labels[], double now_s, double *value);
uint64_t metrics_dropped(struct metrics *m);
/* Every series, in the order of the rows. */
void metrics_print(struct metrics *m, double now_s, struct buf *out);
/* The rows as a Markdown table. */
void metrics_print_docs(const struct metric_row *rows, unsigned n, struct buf *out);

#endif
