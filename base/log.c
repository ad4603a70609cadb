#include "base/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"

/* written by log_setup before the first thread starts, read-only afterwards */
static struct {
        char cluster[64], region[64];
        enum log_level least;
        bool json;
} setup = {.least = LOG_INFO};

static _Atomic uint64_t counts[LOG_LEVELS]; /* for the metrics */

static const char *const level_names[] = {[LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

/* ---- repeats -------------------------------------------------------------------------------------------------------------------------- */
#define REPEAT_US INT64_C(60000000)
#define REPEATS_KEPT 32
#define PAIRS_MAX 3000

/* A line that was written within the last minute, and how often it was not written again. */
struct repeat {
        uint64_t hash;      /* 0: none */
        int64_t written_at; /* monotonic */
        uint64_t n;
        enum log_level level;
        char event[64], pairs[1000];
};

/* written under its lock */
static struct {
        pthread_mutex_t lock;
        struct repeat kept[REPEATS_KEPT];
} repeats = {.lock = PTHREAD_MUTEX_INITIALIZER};

void log_setup(const char *cluster, const char *region, enum log_level least, bool json)
{
        snprintf(setup.cluster, sizeof setup.cluster, "%s", cluster);
        snprintf(setup.region, sizeof setup.region, "%s", region);
        setup.least = least;
        setup.json = json;
        memset(repeats.kept, 0, sizeof repeats.kept);
}

bool log_wants(enum log_level level)
{
        return level >= setup.least;
}

const char *log_level_name(enum log_level level)
{
        return level_names[level];
}

uint64_t log_count(enum log_level level)
{
        return atomic_load_explicit(&counts[level], memory_order_relaxed);
}

struct line {
        char s[4096];
        size_t n;
        bool cut; /* a string did not fit: nothing follows but the end of the line */
};

static void put_char(struct line *l, char c)
{
        if (l->n < sizeof l->s - 8) /* room for the end of the line */
                l->s[l->n++] = c;
}

static void put(struct line *l, const char *s)
{
        while (*s)
                put_char(l, *s++);
}

static void put_json(struct line *l, const char *s, size_t n)
{
        put_char(l, '"');
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)s[i];
                char esc[8];
                if (l->n > sizeof l->s - 32) { /* whole escapes only, and room for what closes them: a cut line is still JSON */
                        l->cut = true;
                        break;
                }
                if (c == '"' || c == '\\') {
                        put_char(l, '\\');
                        put_char(l, (char)c);
                } else if (c < 0x20) {
                        snprintf(esc, sizeof esc, "\\u%04x", c);
                        put(l, esc);
                } else {
                        put_char(l, (char)c);
                }
        }
        put_char(l, '"');
}

/* `a=1<tab>b=2` as JSON members or as words; a value with a blank is quoted in text */
static void put_pairs(struct line *l, const char *pairs)
{
        while (*pairs && !l->cut) {
                size_t n = strcspn(pairs, "\t");
                const char *eq = memchr(pairs, '=', n);
                size_t key = eq ? (size_t)(eq - pairs) : 0, at = eq ? key + 1 : 0;
                const char *value = pairs + at;
                if (setup.json) {
                        put_char(l, ',');
                        put_json(l, eq ? pairs : "msg", eq ? key : 3);
                        put_char(l, ':');
                        put_json(l, value, n - at);
                } else {
                        put_char(l, ' ');
                        for (size_t i = 0; i < key; i++)
                                put_char(l, pairs[i]);
                        put(l, eq ? "=" : "");
                        if (n - at == 0 || memchr(value, ' ', n - at)) {
                                put_json(l, value, n - at);
                        } else {
                                for (size_t i = at; i < n; i++)
                                        put_char(l, pairs[i]);
                        }
                }
                pairs += n + (pairs[n] == '\t');
        }
}

/* Of what a line says: without the values that differ each time it is said. */
static uint64_t hash_of(const char *event, const char *pairs)
{
        uint64_t h = hash64(event, strlen(event), 1);
        while (*pairs) {
                size_t n = strcspn(pairs, "\t"), key = strcspn(pairs, "=\t");
                bool varies = (key > 3 && memcmp(pairs + key - 3, "_ms", 3) == 0) || (key == 5 && memcmp(pairs, "tries", 5) == 0);
                h = hash64(pairs, varies ? key : n, h);
                pairs += n + (pairs[n] == '\t');
        }
        return h ? h : 1;
}

static void write_line(enum log_level level, const char *event, const char *pairs, uint64_t repeated);

/* True: it was said within the last minute, and counted. *before: how often it was counted since it was written last. */
static bool counted(enum log_level level, const char *event, const char *pairs, uint64_t *before)
{
        uint64_t h = hash_of(event, pairs);
        int64_t now = clock_mono_us();
        struct repeat *place = &repeats.kept[0];
        bool again = false;
        *before = 0;
        pthread_mutex_lock(&repeats.lock);
        for (size_t i = 0; i < REPEATS_KEPT; i++) {
                struct repeat *r = &repeats.kept[i];
                if (r->hash == h) {
                        place = r;
                        break;
                }
                if (r->n < place->n || (r->n == place->n && r->written_at < place->written_at))
                        place = r; /* whose loss says least */
        }
        if (place->hash == h && now - place->written_at < REPEAT_US) {
                place->n++;
                again = true;
        } else {
                *before = place->hash == h ? place->n : 0;
                *place = (struct repeat){.hash = h, .written_at = now, .level = level};
                snprintf(place->event, sizeof place->event, "%s", event);
                snprintf(place->pairs, sizeof place->pairs, "%.*s", (int)sizeof place->pairs - 1, pairs);
        }
        pthread_mutex_unlock(&repeats.lock);
        return again;
}

void log_repeats(bool all)
{
        int64_t now = clock_mono_us();
        for (size_t i = 0; i < REPEATS_KEPT; i++) {
                struct repeat r = {0};
                pthread_mutex_lock(&repeats.lock);
                if (all || now - repeats.kept[i].written_at >= REPEAT_US) {
                        r = repeats.kept[i];
                        repeats.kept[i] = (struct repeat){0};
                }
                pthread_mutex_unlock(&repeats.lock);
                if (r.n)
                        write_line(r.level, r.event, r.pairs, r.n);
        }
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
        char pairs[PAIRS_MAX];
        uint64_t before = 0;
        va_list ap;
        if (level < setup.least)
                return;
        atomic_fetch_add_explicit(&counts[level], 1, memory_order_relaxed);
        va_start(ap, fmt);
        vsnprintf(pairs, sizeof pairs, fmt, ap);
        va_end(ap);
        if (level >= LOG_WARN && counted(level, event, pairs, &before))
                return;
        write_line(level, event, pairs, before);
}

static void write_line(enum log_level level, const char *event, const char *pairs, uint64_t repeated)
{
        char when[40];
        struct timeval tv;
        struct tm tm;
        gettimeofday(&tv, NULL);
        gmtime_r(&tv.tv_sec, &tm);
        size_t at = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(when + at, sizeof when - at, ".%03dZ", (int)(tv.tv_usec / 1000));

        struct line l = {.n = 0};
        if (setup.json) {
                put(&l, "{\"at\":\"");
                put(&l, when);
                put(&l, "\",\"level\":\"");
                put(&l, level_names[level]);
                put(&l, "\",\"event\":");
                put_json(&l, event, strlen(event));
                put(&l, ",\"cluster\":");
                put_json(&l, setup.cluster, strlen(setup.cluster));
                put(&l, ",\"region\":");
                put_json(&l, setup.region, strlen(setup.region));
        } else {
                put(&l, when);
                put_char(&l, ' ');
                put(&l, level_names[level]);
                put_char(&l, ' ');
                put(&l, setup.region[0] ? setup.region : "-");
                put_char(&l, ' ');
                put(&l, event);
        }
        put_pairs(&l, pairs);
        if (repeated && !l.cut) {
                char text[40];
                snprintf(text, sizeof text, "repeats=%" PRIu64, repeated);
                put_pairs(&l, text);
        }
        l.s[l.n++] = setup.json ? '}' : '\n';
        if (setup.json)
                l.s[l.n++] = '\n';
        size_t done = 0;
        while (done < l.n) {
                ssize_t w = write(STDERR_FILENO, l.s + done, l.n - done);
                if (w <= 0)
                        break; /* nobody to tell */
                done += (size_t)w;
        }
}
