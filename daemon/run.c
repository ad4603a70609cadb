#include "daemon/run.h"

#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/command.h"
#include "daemon/errors.h"
#include "daemon/http.h"
#include "daemon/notify.h"

/* One agent. Its thread writes st and err, then ended; the main thread reads them once ended is set. */
struct job {
        const char *name;
        agent_main *main;
        struct control control;
        struct agent_opts opts;
        pthread_t thread;
        int ended_fd; /* the supervisor's */
        enum status st;
        struct err err;
        _Atomic bool ended;
        bool reaped;
};

struct supervisor {
        const struct run_opts *opts;
        struct job jobs[2];
        struct notify notify;
        size_t njobs, running;
        int signal_fd, ended_fd;
        bool draining;
        int64_t drain_timeout_us; /* of the newest topology */
        int64_t drain_us, now_us; /* monotonic: STOP_NOW then; gone for good then */
        int code;                 /* of the agents that stopped by name */
        struct metrics *metrics;
        struct http *http; /* NULL: none */
};

static sigset_t signals(void)
{
        sigset_t s;
        sigemptyset(&s);
        sigaddset(&s, SIGTERM);
        sigaddset(&s, SIGINT);
        sigaddset(&s, SIGHUP);
        return s;
}

void run_block_signals(void)
{
        sigset_t s = signals();
        pthread_sigmask(SIG_BLOCK, &s, NULL);
        signal(SIGHUP, SIG_DFL);  /* under nohup it is ignored, and would not even be remembered */
        signal(SIGPIPE, SIG_IGN); /* a closed stderr or socket is an error where it is written, not an end */
}

static void wake(int fd)
{
        uint64_t one = 1;
        ssize_t n = write(fd, &one, sizeof one); /* an eventfd is full only when it is readable anyway */
        (void)n;
}

static void *job_thread(void *arg)
{
        struct job *j = arg;
        j->st = j->main(&j->opts, &j->err);
        atomic_store(&j->ended, true);
        wake(j->ended_fd);
        return NULL;
}

/* ---- topology ---------------------------------------------------------------------------------------------------------------------- */
/* What accumulates in a row cannot be taken out of it again: such a change needs a quiet table, and a restart that says so. */
static enum status rules_may_change(const struct topology *now, const struct topology *next, struct err *e)
{
        struct arena arena;
        arena_init(&arena);
        const char *table = rulebook_hard_change(&now->rules, &next->rules, &arena);
        enum status st = ST_OK;
        if (table)
                st = err_named(
                        e, ST_CONFIG, "rules_need_quiet",
                        "conflicts: the rule of %s changes from or to one that adds up (delta, union, json_merge, column_merge) or under which deletes win; that "
                        "needs a table to which no region writes: see `rules_need_quiet` in docs/errors.md",
                        table);
        arena_release(&arena);
        return st;
}

enum status run_may_change(const struct topology *now, const struct topology *next, region_id me, struct err *e)
{
        if (strcmp(now->cluster, next->cluster) != 0)
                return err_set(e, ST_CONFIG, "cluster: '%s' cannot become '%s' while the daemon runs", now->cluster, next->cluster);
        const char *name = regset_name(&now->names, me);
        if (!topology_region(next, name))
                return err_set(e, ST_CONFIG, "regions: '%s', the region of this daemon, is not in it any more", name);
        for (size_t i = 0; i < now->nregions; i++)
                if (!topology_region(next, now->regions[i].name))
                        return err_set(e, ST_CONFIG, "regions: '%s' is not in it any more; regions come and go with a restart",
                                       now->regions[i].name);
        for (size_t i = 0; i < next->nregions; i++) {
                const struct region *r = topology_region(now, next->regions[i].name);
                if (!r)
                        return err_set(e, ST_CONFIG, "regions: '%s' is new; regions come and go with a restart",
                                       next->regions[i].name);
                if (r->role != next->regions[i].role)
                        return err_set(e, ST_CONFIG, "regions.%s.role: it cannot change while the daemon runs", r->name);
        }
        return rules_may_change(now, next, e);
}

static void log_lines(enum log_level level, const char *event, const char *text)
{
        while (*text) {
                size_t n = strcspn(text, "\n");
                if (n)
                        log_event(level, event, "why=%.*s", (int)n, text);
                text += n + (text[n] == '\n');
        }
}

static struct topology *load(const struct run_opts *o)
{
        struct topology *t = NULL;
        struct buf errors;
        struct err e;
        buf_init(&errors, 1u << 20);
        if (topology_load(o->file, &t, &errors) != ST_OK) {
                log_lines(LOG_ERROR, "topology.refused", buf_cstr(&errors));
                t = NULL;
        } else if (run_may_change(o->topology, t, o->region->id, &e) != ST_OK) {
                log_event(LOG_ERROR, "topology.refused", "why=%s: %s", o->file, e.msg);
                topology_free(t);
                t = NULL;
        }
        buf_release(&errors);
        return t;
}

/* An agent's own. The file is read once for all of them: it may change between two readings. */
static struct topology *copy(const struct topology *of)
{
        struct topology *t = NULL;
        struct buf errors;
        buf_init(&errors, 1u << 20);
        if (topology_copy(of, &t, &errors) != ST_OK)
                log_lines(LOG_ERROR, "topology.refused", buf_cstr(&errors));
        buf_release(&errors);
        return t;
}

/* Every agent, and the HTTP server, gets a copy of its own, or none does. */
static void take_new_topology(struct supervisor *s)
{
        log_repeats(true); /* who asks again is told again */
        struct topology *copies[2] = {NULL, NULL}, *shown = NULL, *next = load(s->opts);
        bool all = next != NULL;
        for (size_t i = 0; i < s->njobs && all; i++)
                all = (copies[i] = copy(next)) != NULL;
        if (all && s->http)
                all = (shown = copy(next)) != NULL;
        int64_t drain_timeout_us = next ? next->drain_timeout_us : 0;
        topology_free(next);
        if (!all) {
                topology_free(copies[0]);
                topology_free(copies[1]);
                log_event(LOG_ERROR, "topology.kept", "why=the new one is refused, the old one stays\tfile=%s", s->opts->file);
                return;
        }
        for (size_t i = 0; i < s->njobs; i++) {
                topology_free(atomic_exchange(&s->jobs[i].control.next, copies[i])); /* one that was not taken yet, or NULL */
                wake(s->jobs[i].control.wake_fd);
        }
        if (s->http)
                http_topology(s->http, shown);
        s->drain_timeout_us = drain_timeout_us;
        log_event(LOG_INFO, "topology.reloaded", "file=%s", s->opts->file);
}

static void reload(struct supervisor *s)
{
        notify_reloading();
        take_new_topology(s);
        notify_ready();
}

/* ---- stopping ---------------------------------------------------------------------------------------------------------------------- */
static void ask_to_stop(struct supervisor *s, enum stop_level level)
{
        for (size_t i = 0; i < s->njobs; i++) {
                atomic_store(&s->jobs[i].control.stop, level);
                wake(s->jobs[i].control.wake_fd);
        }
}

static void drain(struct supervisor *s)
{
        int64_t now = clock_mono_us(), reserve = s->drain_timeout_us / 5 < 1000000 ? s->drain_timeout_us / 5 : 1000000;
        s->draining = true;
        s->code = EXIT_DONE; /* who is asked to stop and does is no failure, whatever stopped before */
        s->now_us = now + s->drain_timeout_us;
        s->drain_us = s->now_us - reserve; /* what is not drained by then has the rest of the time to let go */
        notify_stopping(s->drain_timeout_us);
        ask_to_stop(s, STOP_DRAIN);
}

static void on_signal(struct supervisor *s, int signo)
{
        if (signo == SIGHUP) {
                reload(s);
                return;
        }
        if (s->draining) {
                log_event(LOG_WARN, "run.left",
                          "why=asked to stop a second time: nothing is lost, the next start goes on from PostgreSQL and Kafka");
                _exit(EXIT_RUNTIME);
        }
        log_event(LOG_INFO, "run.draining", "signal=%s\tdrain_timeout_s=%.1f", signo == SIGTERM ? "TERM" : "INT",
                  (double)s->drain_timeout_us / 1e6);
        drain(s);
}

static void read_signals(struct supervisor *s)
{
        struct signalfd_siginfo info;
        while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
                on_signal(s, (int)info.ssi_signo);
}

static void on_time(struct supervisor *s, int64_t now)
{
        if (s->draining && now >= s->now_us) {
                log_event(LOG_ERROR, "run.left",
                          "why=drain_timeout passed: nothing is lost, the next start goes on from PostgreSQL and Kafka");
                _exit(EXIT_TIMEOUT);
        }
        if (s->draining && now >= s->drain_us) {
                s->drain_us = INT64_MAX;
                s->code = EXIT_TIMEOUT;
                log_event(LOG_WARN, "run.not_drained", "why=drain_timeout is nearly over, the agents are told to end at once");
                ask_to_stop(s, STOP_NOW);
        }
}

/* The line that `systemctl status` shows: an agent that has stopped must not hide behind "active (running)". */
static void say_what_runs(const struct supervisor *s)
{
        char line[400] = "";
        size_t n = 0;
        for (size_t i = 0; i < s->njobs && n < sizeof line; i++) {
                const struct job *j = &s->jobs[i];
                bool stopped = j->reaped && j->st != ST_OK && j->st != ST_STOP;
                n += (size_t)snprintf(line + n, sizeof line - n, "%s%s %s%s%s", i ? "; " : "", j->name,
                                      !j->reaped ? "runs"
                                      : stopped  ? "has stopped: "
                                                 : "has ended",
                                      stopped ? (*j->err.name ? j->err.name : status_name(j->st)) : "",
                                      stopped ? " (see the log, or pangea status)" : "");
        }
        notify_status("region %s: %s", s->opts->region->name, line);
}

static void reap(struct supervisor *s, struct job *j)
{
        pthread_join(j->thread, NULL);
        j->reaped = true;
        s->running--;
        say_what_runs(s);
        topology_free(atomic_exchange(&j->control.next, NULL));
        if (j->st == ST_OK || j->st == ST_STOP) {
                log_event(LOG_INFO, "agent.ended", "agent=%s", j->name);
                return;
        }
        const struct error_row *row = error_find(j->err.name);
        log_event(LOG_ERROR, "agent.stopped", "agent=%s\terror=%s\twhy=%s\ttodo=%s%s", j->name,
                  *j->err.name ? j->err.name : status_name(j->st), j->err.msg, row ? row->cure : "see the message",
                  s->running ? "\tnote=the other agent goes on" : "");
        if (!s->draining)
                s->code = exit_code_of(&j->err);
        if (!s->draining && s->code == EXIT_DONE)
                s->code = EXIT_RUNTIME;
}

/* ---- start and loop ------------------------------------------------------------------------------------------------------------------ */
static bool start_job(struct supervisor *s, const char *name, agent_main *main)
{
        struct job *j = &s->jobs[s->njobs];
        j->name = name;
        j->main = main;
        j->ended_fd = s->ended_fd;
        j->control.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        j->control.accept_rules = s->opts->accept_rules;
        j->control.metrics = s->metrics;
        control_turned(&j->control);
        j->control.allow_plugins = s->opts->allow_plugins;
        j->opts = (struct agent_opts){.topology = copy(s->opts->topology), .me = s->opts->region->id, .control = &j->control};
        if (!j->opts.topology)
                return false;
        if (j->control.wake_fd < 0 || pthread_create(&j->thread, NULL, job_thread, j) != 0)
                mem_die("thread", sizeof *j);
        s->njobs++;
        s->running++;
        return true;
}

static void start_http(struct supervisor *s)
{
        struct http_opts o = {
                .topology = copy(s->opts->topology), .me = s->opts->region->id, .listen = s->opts->http, .metrics = s->metrics};
        struct http_job jobs[2];
        for (size_t i = 0; i < s->njobs; i++)
                jobs[i] = (struct http_job){.name = s->jobs[i].name, .control = &s->jobs[i].control, .ended = &s->jobs[i].ended};
        o.jobs = jobs;
        o.njobs = s->njobs;
        if (o.topology)
                s->http = http_start(&o);
}

static int wait_ms(const struct supervisor *s)
{
        int64_t until = s->notify.due_us;
        if (s->draining && s->drain_us < until)
                until = s->drain_us;
        if (s->draining && s->now_us < until)
                until = s->now_us;
        if (until == INT64_MAX)
                return -1;
        int64_t left = until - clock_mono_us();
        return left <= 0 ? 0 : (int)(left / 1000 + 1);
}

/* systemd's watchdog: a thread that hangs is ended with the process, and started again. */
static void watch(struct supervisor *s, int64_t now)
{
        const char *hangs = NULL;
        for (size_t i = 0; i < s->njobs; i++)
                if (!s->jobs[i].reaped && control_hangs(&s->jobs[i].control, now))
                        hangs = s->jobs[i].name;
        if (notify_watchdog(&s->notify, now, hangs != NULL))
                log_event(
                        LOG_ERROR, "run.hangs",
                        "agent=%s\twhy=its loop has not turned for two minutes\ttodo=systemd starts the daemon anew; report the log",
                        hangs);
}

static void loop(struct supervisor *s)
{
        while (s->running > 0) {
                struct pollfd fds[] = {{.fd = s->signal_fd, .events = POLLIN}, {.fd = s->ended_fd, .events = POLLIN}};
                uint64_t n;
                (void)poll(fds, 2, wait_ms(s));
                read_signals(s);
                if (read(s->ended_fd, &n, sizeof n) == (ssize_t)sizeof n)
                        for (size_t i = 0; i < s->njobs; i++)
                                if (!s->jobs[i].reaped && atomic_load(&s->jobs[i].ended))
                                        reap(s, &s->jobs[i]);
                on_time(s, clock_mono_us());
                watch(s, clock_mono_us());
        }
}

int run_agents(const struct run_opts *o)
{
        struct supervisor s = {.opts = o, .drain_timeout_us = o->topology->drain_timeout_us};
        sigset_t set = signals();
        s.signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        s.ended_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (s.signal_fd < 0 || s.ended_fd < 0)
                mem_die("signalfd", 0);
        notify_init(&s.notify);
        s.metrics = metrics_new(metric_table, METRIC_COUNT, "region", o->region->name);
        bool ok = (!o->capture || start_job(&s, "capture", o->capture)) && (!o->apply || start_job(&s, "apply", o->apply));
        if (!ok) {
                drain(&s);
                s.code = EXIT_USAGE;
        }
        start_http(&s);
        if (ok) {
                say_what_runs(&s);
                notify_ready();
        }
        loop(&s);
        http_stop(s.http);
        metrics_free(s.metrics);
        for (size_t i = 0; i < 2; i++)
                if (s.jobs[i].name && s.jobs[i].control.wake_fd >= 0)
                        close(s.jobs[i].control.wake_fd);
        close(s.signal_fd);
        close(s.ended_fd);
        log_repeats(true);
        log_event(s.code ? LOG_ERROR : LOG_INFO, "run.ended", "exit=%d", s.code);
        return s.code;
}
