/* http_answers: health, readiness, metrics, status, topology. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <dirent.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "config/scalar.h"
#include "daemon/http_internal.h"

#define PROOF_S 10.0 /* Kafka acknowledges a heartbeat every second */

/* ---- /healthz: do the loops turn? Never what they depend on. -------------------------------------------------------------------------- */
static double loop_age_s(const struct http_job *j)
{
        int64_t at = atomic_load(&j->control->turned_us), now = clock_mono_us();
        return at == CONTROL_WAITS || at > now ? 0 : (double)(now - at) / 1e6;
}

void http_healthz(struct http *h, const struct request *q, struct reply *out)
{
        json_t *agents = json_array();
        bool ok = true;
        (void)q;
        for (size_t i = 0; i < h->njobs; i++) {
                double age = loop_age_s(&h->jobs[i]);
                bool ended = atomic_load(h->jobs[i].ended), turns = ended || !control_hangs(h->jobs[i].control, clock_mono_us());
                ok &= turns;
                json_array_append_new(agents, json_pack("{s:s, s:b, s:b, s:f}", "agent", h->jobs[i].name, "ok", turns, "ended",
                                                        ended, "loop_age_seconds", age));
        }
        reply_json(out, ok ? 200 : 503,
                   json_pack("{s:b, s:s, s:s, s:o}", "ok", ok, "region", h->region->name, "version", PANGEA_VERSION, "agents",
                             agents));
}

/* ---- /readyz: does everything that it needs work? -------------------------------------------------------------------------------------- */
struct readiness {
        struct http *h;
        json_t *checks;
        bool ready;
        bool limited;
        double max_lag_s;
};

static const char *text(const json_t *doc, const char *name)
{
        return json_string_value(json_object_get(doc, name));
}

/* why and todo may be NULL. */
static void check(struct readiness *r, const char *name, bool ok, const char *why, const char *since, const char *todo)
{
        r->ready &= ok;
        json_array_append_new(r->checks, json_pack("{s:s, s:b, s:s?, s:s?, s:s?}", "check", name, "ok", ok, "why", ok ? NULL : why,
                                                   "since", ok ? NULL : since, "todo", ok ? NULL : todo));
}

static bool moves(const char *state)
{
        return state && (strcmp(state, state_name(STATE_RUNNING)) == 0 || strcmp(state, state_name(STATE_CATCHING_UP)) == 0);
}

static void check_agent(struct readiness *r, const struct status_region *s, int agent, const char *name)
{
        const json_t *doc = s->docs[agent];
        const char *state = text(doc, "state"), *why = text(doc, "why");
        char said[1200];
        if (!status_alive(s, agent) && !status_stopped(s, agent)) {
                check(r, name, false, "it has said nothing in the database within the last 5 seconds", NULL,
                      "see /healthz and the log of the daemon");
                return;
        }
        snprintf(said, sizeof said, "%s%s%s", state ? state : "?", why ? ": " : "", why ? why : "");
        check(r, name, moves(state), said, text(doc, "since"), text(doc, "todo"));
}

static void check_slot(struct readiness *r, const struct status_region *s)
{
        const json_t *doc = s->docs[STATUS_CAPTURE];
        const char *error = text(doc, "error");
        bool held = json_is_number(json_object_get(doc, "retained_bytes")) && !(error && strncmp(error, "slot_", 5) == 0);
        check(r, "slot", held, error ? text(doc, "why") : "PostgreSQL has no such slot, or it holds no WAL", text(doc, "since"),
              text(doc, "todo"));
}

static void check_kafka(struct readiness *r, double now_s)
{
        double age = 0;
        char why[200];
        bool known = metrics_get(r->h->metrics, METRIC_AGENT_PROOF_AGE, METRIC_LABELS("capture"), now_s, &age);
        if (known)
                snprintf(why, sizeof why,
                         "the last record that Kafka acknowledged is %.0f s old; there is a heartbeat every second", age);
        else
                snprintf(why, sizeof why, "Kafka has acknowledged nothing yet");
        check(r, "kafka", known && age < PROOF_S, why, NULL,
              "is the region's Kafka reachable? pangea status says what capture waits for");
}

static void check_origin(struct readiness *r, const json_t *o)
{
        const json_t *lag = json_object_get(o, "lag_seconds");
        const char *name = text(o, "origin"), *state = text(o, "state"), *why = text(o, "why");
        char label[80], said[1200];
        bool stopped = !state || strcmp(state, state_name(STATE_STOPPED)) == 0;
        double s = json_is_number(lag) ? json_number_value(lag) : (double)INFINITY;
        snprintf(label, sizeof label, "origin %s", name ? name : "?");
        if (stopped || !r->limited || s <= r->max_lag_s) {
                snprintf(said, sizeof said, "%s%s%s", state ? state : "?", why ? ": " : "", why ? why : "");
                check(r, label, !stopped, said, text(o, "since"), text(o, "todo"));
                return;
        }
        if (isinf(s))
                snprintf(said, sizeof said, "its lag is not known: nothing has come from it yet; max_lag is %g s", r->max_lag_s);
        else
                snprintf(said, sizeof said, "lag %.1f s, max_lag is %g s", s, r->max_lag_s);
        check(r, label, false, said, NULL, text(o, "todo"));
}

static void look_at_region(void *ctx, const struct status_region *s)
{
        struct readiness *r = ctx;
        double now_s = (double)clock_wall_us() / 1e6;
        size_t i;
        json_t *o;
        bool answers = !s->err.msg[0];
        check(r, "postgres", answers && s->initialised, answers ? "the database is not prepared" : s->err.msg, NULL,
              answers ? "pangea init" : "is the region's PostgreSQL reachable?");
        if (!answers || !s->initialised)
                return;
        for (size_t k = 0; k < r->h->njobs; k++) {
                bool capture = strcmp(r->h->jobs[k].name, "capture") == 0;
                check_agent(r, s, capture ? STATUS_CAPTURE : STATUS_APPLY, r->h->jobs[k].name);
                if (capture) {
                        check_slot(r, s);
                        check_kafka(r, now_s);
                        continue;
                }
                json_array_foreach(json_object_get(s->docs[STATUS_APPLY], "origins"), i, o)
                {
                        check_origin(r, o);
                }
        }
}

void http_readyz(struct http *h, const struct request *q, struct reply *out)
{
        struct readiness r = {.h = h, .ready = true};
        const char *limit = request_argument(q, "max_lag");
        char hint[SCALAR_HINT];
        int64_t us;
        if (limit && !scalar_quantity(limit, duration_units, &us, hint)) {
                reply_error(out, 400, "max_lag=%.40s: a duration is needed, such as 30s", limit);
                return;
        }
        r.limited = limit != NULL;
        r.max_lag_s = limit ? (double)us / 1e6 : 0;
        r.checks = json_array();
        watch_region(h->watch, h->me, look_at_region, &r);
        reply_json(out, r.ready ? 200 : 503,
                   json_pack("{s:b, s:s, s:o}", "ready", r.ready, "region", h->region->name, "checks", r.checks));
}

/* ---- /metrics -------------------------------------------------------------------------------------------------------------------------- */
static double resident_bytes(void)
{
        char line[200];
        unsigned long pages = 0;
        FILE *f = fopen("/proc/self/statm", "re");
        if (!f)
                return 0;
        if (!fgets(line, sizeof line, f) || sscanf(line, "%*u %lu", &pages) != 1)
                pages = 0;
        fclose(f);
        return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void)
{
        double n = 0;
        DIR *d = opendir("/proc/self/fd");
        if (!d)
                return 0;
        while (readdir(d))
                n++;
        closedir(d);
        return n - 3; /* . and .. and the folder itself */
}

static double seconds(struct timeval t)
{
        return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void add_process(struct http *h, double now_s)
{
        struct rusage u;
        struct metrics *m = h->metrics;
        if (getrusage(RUSAGE_SELF, &u) == 0)
                metrics_set(m, METRIC_CPU_SECONDS, METRIC_NO_LABELS, seconds(u.ru_utime) + seconds(u.ru_stime));
        metrics_set(m, METRIC_MEMORY, METRIC_NO_LABELS, resident_bytes());
        metrics_set(m, METRIC_FILES, METRIC_NO_LABELS, open_files());
        metrics_set(m, METRIC_SERIES_DROPPED, METRIC_NO_LABELS, (double)metrics_dropped(m));
        for (int i = 0; i < LOG_LEVELS; i++)
                metrics_set(m, METRIC_EVENTS, METRIC_LABELS(log_level_name((enum log_level)i)),
                            (double)log_count((enum log_level)i));
        for (size_t i = 0; i < h->njobs; i++)
                if (!atomic_load(h->jobs[i].ended))
                        metrics_set(m, METRIC_AGENT_LOOP_AGE, METRIC_LABELS(h->jobs[i].name), now_s - loop_age_s(&h->jobs[i]));
}

void http_metrics(struct http *h, const struct request *q, struct reply *out)
{
        double now_s = (double)clock_wall_us() / 1e6;
        (void)q;
        add_process(h, now_s);
        out->type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_print(h->metrics, now_s, &out->body);
}

/* ---- /status ----------------------------------------------------------------------------------------------------------------------------- */
static json_t *topology_json(const struct topology *t)
{
        struct buf b;
        buf_init(&b, 0);
        topology_print_json(t, &b);
        json_t *j = json_loads(buf_cstr(&b), 0, NULL);
        buf_release(&b);
        return j ? j : json_null();
}

static json_t *topology_text(const struct topology *t)
{
        struct buf b;
        buf_init(&b, 0);
        topology_print(t, &b);
        json_t *j = json_string(buf_cstr(&b));
        buf_release(&b);
        return j ? j : json_null();
}

/* The value of `pangea status --json`; with ?page=1 also what only the page wants: which region this is, its last 15 minutes, and the
 * effective topology. */
void http_status(struct http *h, const struct request *q, struct reply *out)
{
        json_t *j = watch_status(h->watch);
        if (request_argument(q, "page")) {
                json_object_set_new(j, "here", json_string(h->region->name));
                json_object_set_new(j, "version", json_string(PANGEA_VERSION));
                json_object_set_new(j, "now", json_real((double)clock_wall_us() / 1e6));
                json_object_set_new(j, "history", history_json(h->history));
                json_object_set_new(j, "topology", topology_json(h->topology));
                json_object_set_new(j, "topology_text", topology_text(h->topology));
        }
        reply_json(out, 200, j);
}

/* ---- /topology --------------------------------------------------------------------------------------------------------------------------- */
void http_topology_answer(struct http *h, const struct request *q, struct reply *out)
{
        if (request_argument(q, "json")) {
                reply_json(out, 200, topology_json(h->topology));
                return;
        }
        topology_print(h->topology, &out->body);
        out->type = "application/yaml; charset=utf-8";
}
