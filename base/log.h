/* log: events, not sentences.  One line per event on stderr: text on a terminal, JSON lines otherwise.
 *     log_event(LOG_INFO, "apply.group", "origin=%s\trows=%zu", origin, rows);
 * The format is `key=value` pairs separated by tabs; values may hold anything but a tab.
 * A warning or error that says the same as one within the last minute (numbers under keys that end in _ms and `tries` aside) is counted
 * instead of written: the next line that says it, or the end of the minute, tells how often (repeats=N).
 * Thread: any (one write(2) per line).  A line is cut at 4 kB. */
#ifndef PANGEA_BASE_LOG_H
#define PANGEA_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Set once at start, before the first thread: what every line carries, the least level that is written, text or JSON. */
void log_setup(const char *cluster, const char *region, enum log_level least, bool json);
void log_event(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Writes the counts of repeats whose minute is over; for whoever has a clock that ticks. all: of every one,
 * and what follows is written anew: at the end, and when a person has asked for something. */
void log_repeats(bool all);
bool log_wants(enum log_level level);
enum { LOG_LEVELS = LOG_ERROR + 1 };
const char *log_level_name(enum log_level level);
/* Events of this level so far. */
uint64_t log_count(enum log_level level);

#endif
