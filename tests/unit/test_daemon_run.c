/* The supervisor: each case is a child process whose agents are stand-ins that tell the test through a pipe what they see. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/command.h"
#include "daemon/run.h"

#define LIMIT_MS 30000

static int told; /* the stand-ins' end of the pipe; written before they start */

static void tell(char c)
{
        if (write(told, &c, 1) != 1)
                abort();
}

/* Waits for the supervisor; s = started, n = took a new topology, d = asked to drain, N = asked to end now. */
static enum stop_level look(const struct agent_opts *o)
{
        struct pollfd f = {.fd = o->control->wake_fd, .events = POLLIN};
        uint64_t n;
        (void)poll(&f, 1, -1);
        if (read(f.fd, &n, sizeof n) != (ssize_t)sizeof n)
                abort();
        struct topology *next = atomic_exchange(&o->control->next, NULL);
        if (next)
                tell('n');
        topology_free(next);
        return (enum stop_level)atomic_load(&o->control->stop);
}

static enum status obeys(const struct agent_opts *o, struct err *e)
{
        tell('s');
        while (look(o) == STOP_NO)
                ;
        tell('d');
        topology_free(o->topology);
        return err_set(e, ST_STOP, "drained");
}

static enum status drains_too_long(const struct agent_opts *o, struct err *e)
{
        tell('s');
        while (look(o) != STOP_NOW)
                tell('d');
        tell('N');
        topology_free(o->topology);
        return err_set(e, ST_STOP, "ended");
}

static enum status never_ends(const struct agent_opts *o, struct err *e)
{
        tell('s');
        while (told >= 0)
                tell(look(o) == STOP_NOW ? 'N' : 'd');
        return err_set(e, ST_STOP, "not reached");
}

/* Its loop turns no more, as far as anybody can see. */
static enum status hangs(const struct agent_opts *o, struct err *e)
{
        atomic_store(&o->control->turned_us, clock_mono_us() - CONTROL_HANGS_US - 1000000);
        return obeys(o, e);
}

static enum status stops_by_name(const struct agent_opts *o, struct err *e)
{
        topology_free(o->topology);
        tell('x');
        return err_named(e, ST_FATAL, "slot_missing", "for the test");
}

/* ---- a topology file ------------------------------------------------------------------------------------------------------------------- */
static void write_topology(const char *file, const char *cluster, const char *regions, const char *drain)
{
        FILE *f = fopen(file, "w");
        assert_non_null(f);
        fprintf(f, "version: 1\ncluster: %s\nregions:\n", cluster);
        for (const char *r = regions; *r; r += strcspn(r, " "), r += strspn(r, " "))
                fprintf(f,
                        "  %.*s: {role: %s, postgres: {conninfo: 'host=127.0.0.1 dbname=%.*s'}, kafka: {brokers: ['127.0.0.1:1']}}\n",
                        (int)strcspn(r, " "), r, *r == 'f' ? "follower" : "leader", (int)strcspn(r, " "), r);
        fprintf(f, "drain_timeout: %s\n", drain);
        assert_int_equal(fclose(f), 0);
}

static struct topology *load(const char *file)
{
        struct topology *t = NULL;
        struct buf errors;
        buf_init(&errors, 0);
        if (topology_load(file, &t, &errors) != ST_OK)
                fail_msg("%s", buf_cstr(&errors));
        buf_release(&errors);
        return t;
}

struct child {
        pid_t pid;
        int heard, log;
        char file[64];
};

/* What happens in the child between reading the file and starting the agents. */
typedef void meanwhile(const char *file);

static struct child start_while(agent_main *capture, agent_main *apply, const char *drain, meanwhile *f)
{
        struct child c = {.file = "/tmp/pangea-run-XXXXXX"};
        int fds[2], log[2], fd = mkstemp(c.file);
        assert_true(fd >= 0);
        close(fd);
        write_topology(c.file, "shop", "eu us", drain);
        assert_int_equal(pipe(fds), 0);
        assert_int_equal(pipe(log), 0);
        fflush(NULL);
        c.pid = fork();
        assert_true(c.pid >= 0);
        if (c.pid == 0) {
                close(fds[0]);
                told = fds[1];
                if (dup2(log[1], STDERR_FILENO) < 0)
                        _exit(99);
                run_block_signals();
                struct topology *t = load(c.file);
                if (f)
                        f(c.file);
                struct run_opts o = {
                        .file = c.file, .topology = t, .region = topology_region(t, "us"), .capture = capture, .apply = apply};
                int code = run_agents(&o);
                topology_free(t);
                _exit(code);
        }
        close(fds[1]);
        close(log[1]);
        c.heard = fds[0];
        c.log = log[0];
        return c;
}

static struct child start(agent_main *capture, agent_main *apply, const char *drain)
{
        return start_while(capture, apply, drain, NULL);
}

/* The stand-ins say these, in any order. */
static void hears(struct child *c, const char *want)
{
        for (size_t n = strlen(want); n > 0; n--) {
                struct pollfd f = {.fd = c->heard, .events = POLLIN};
                char got;
                if (poll(&f, 1, LIMIT_MS) != 1 || read(c->heard, &got, 1) != 1)
                        fail_msg("nothing more from the agents, waiting for %zu of '%s'", n, want);
                if (!strchr(want, got))
                        fail_msg("'%c' from an agent, want '%s'", got, want);
        }
}

/* Reads the log up to an event of this name. */
static void logs(struct child *c, const char *event)
{
        char line[4096];
        size_t n = 0;
        for (;;) {
                struct pollfd f = {.fd = c->log, .events = POLLIN};
                if (poll(&f, 1, LIMIT_MS) != 1 || read(c->log, &line[n], 1) != 1)
                        fail_msg("no event %s in the log", event);
                bool end = line[n] == '\n' || n + 2 == sizeof line;
                line[n + 1] = 0;
                if (end && strstr(line, event))
                        return;
                n = end ? 0 : n + 1;
        }
}

static void ends(struct child *c, int want)
{
        struct pollfd f = {.fd = c->heard, .events = 0}; /* POLLHUP: the child is gone */
        int status;
        if (poll(&f, 1, LIMIT_MS) != 1) {
                kill(c->pid, SIGKILL);
                fail_msg("it still runs");
        }
        assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != want)
                fail_msg("wait status %#x, want exit code %d", (unsigned)status, want);
        close(c->heard);
        close(c->log);
        unlink(c->file);
}

static void term_drains_and_exits_0(void **state)
{
        (void)state;
        struct child c = start(obeys, obeys, "20s");
        hears(&c, "ss");
        kill(c.pid, SIGTERM);
        hears(&c, "dd");
        ends(&c, EXIT_DONE);
}

static void what_does_not_drain_is_told_to_end(void **state)
{
        (void)state;
        struct child c = start(obeys, drains_too_long, "1s");
        hears(&c, "ss");
        kill(c.pid, SIGINT);
        hears(&c, "dd");
        hears(&c, "N");
        ends(&c, EXIT_TIMEOUT);
}

static void an_agent_that_hangs_holds_nobody(void **state)
{
        (void)state;
        struct child c = start(never_ends, NULL, "1s");
        hears(&c, "s");
        kill(c.pid, SIGTERM);
        hears(&c, "d");
        hears(&c, "N");
        ends(&c, EXIT_TIMEOUT);
}

static void a_second_term_leaves_at_once(void **state)
{
        (void)state;
        struct child c = start(never_ends, never_ends, "1h");
        hears(&c, "ss");
        kill(c.pid, SIGTERM);
        hears(&c, "dd");
        kill(c.pid, SIGTERM);
        ends(&c, EXIT_RUNTIME);
}

static void the_only_job_stopped_by_name(void **state)
{
        (void)state;
        struct child c = start(NULL, stops_by_name, "1s");
        hears(&c, "x");
        ends(&c, EXIT_POSTGRES);
}

static void lives_on_while_the_other_agent_runs(void **state)
{
        (void)state;
        struct child c = start(stops_by_name, obeys, "20s");
        hears(&c, "sx");
        kill(c.pid, SIGHUP); /* it is alive: it gives the new topology to whoever is there */
        hears(&c, "n");
        kill(c.pid, SIGTERM);
        hears(&c, "d");
        ends(&c, EXIT_DONE);
}

static void hup_gives_a_new_topology_or_keeps_the_old(void **state)
{
        (void)state;
        static const struct {
                const char *why, *cluster, *regions;
                bool taken;
        } t[] = {
                {"another cluster", "other", "eu us", false}, {"valid", "shop", "eu us", true},
                {"own region gone", "shop", "ap eu", false},  {"a region more", "shop", "ap eu us", false},
                {"not valid at all", "", "eu us", false},     {"valid again", "shop", "eu us", true},
        };
        struct child c = start(obeys, obeys, "20s");
        hears(&c, "ss");
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                write_topology(c.file, t[i].cluster, t[i].regions, "20s");
                kill(c.pid, SIGHUP);
                logs(&c, t[i].taken ? "topology.reloaded" : "topology.kept");
                if (t[i].taken) /* one that was taken all the same shows as an 'n' too many */
                        hears(&c, "nn");
        }
        kill(c.pid, SIGTERM);
        hears(&c, "dd");
        ends(&c, EXIT_DONE);
}

static void file_is_spoiled(const char *file)
{
        write_topology(file, "", "eu us", "20s");
}

static void the_file_is_read_once(void **state)
{
        (void)state;
        struct child c = start_while(obeys, obeys, "20s", file_is_spoiled);
        hears(&c, "ss");
        kill(c.pid, SIGTERM);
        hears(&c, "dd");
        ends(&c, EXIT_DONE);
}

static void hup_comes_early(const char *file)
{
        (void)file;
        kill(getpid(), SIGHUP);
}

static void a_hup_while_starting_is_remembered(void **state)
{
        (void)state;
        struct child c = start_while(obeys, obeys, "20s", hup_comes_early);
        hears(&c, "ssnn"); /* a second 'n' of one of them would be one letter too many */
        kill(c.pid, SIGTERM);
        hears(&c, "dd");
        ends(&c, EXIT_DONE);
}

/* ---- the service manager: a socket that the child is given as systemd would give it ------------------------------------------------------- */
static struct sockaddr_un manager = {.sun_family = AF_UNIX}; /* read in the child */

static int manager_listens(void)
{
        snprintf(manager.sun_path, sizeof manager.sun_path, "/tmp/pangea-run-%d.notify", (int)getpid());
        unlink(manager.sun_path);
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&manager, sizeof manager), 0);
        return fd;
}

static void manager_gone(int fd)
{
        close(fd);
        unlink(manager.sun_path);
}

static void has_a_manager(const char *file)
{
        (void)file;
        setenv("NOTIFY_SOCKET", manager.sun_path, 1);
        setenv("WATCHDOG_USEC", "150000", 1);
        unsetenv("WATCHDOG_PID");
}

/* Takes messages up to one that holds this; signs of the watchdog may come between, anything else may not. */
static void manager_hears(int fd, const char *want)
{
        char got[1024];
        do {
                struct pollfd f = {.fd = fd, .events = POLLIN};
                ssize_t n = poll(&f, 1, LIMIT_MS) == 1 ? recv(fd, got, sizeof got - 1, 0) : -1;
                if (n < 0)
                        fail_msg("the manager hears nothing more, want '%s'", want);
                got[n] = 0;
        } while (!strstr(got, want) && strcmp(got, "WATCHDOG=1") == 0);
        if (!strstr(got, want))
                fail_msg("the manager heard '%s', want '%s'", got, want);
}

static void the_service_manager_hears_what_happens(void **state)
{
        (void)state;
        int fd = manager_listens();
        struct child c = start_while(obeys, obeys, "20s", has_a_manager);
        manager_hears(fd, "STATUS=region us: capture runs; apply runs");
        manager_hears(fd, "READY=1");
        for (int i = 0; i < 3; i++)
                manager_hears(fd, "WATCHDOG=1");
        kill(c.pid, SIGHUP);
        manager_hears(fd, "RELOADING=1\nMONOTONIC_USEC=");
        manager_hears(fd, "READY=1");
        kill(c.pid, SIGTERM);
        manager_hears(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000");
        hears(&c, "ssnndd");
        ends(&c, EXIT_DONE);
        manager_gone(fd);
}

static void what_has_stopped_does_not_hide_behind_active(void **state)
{
        (void)state;
        int fd = manager_listens();
        struct child c = start_while(stops_by_name, obeys, "20s", has_a_manager);
        hears(&c, "sx");
        manager_hears(fd, "STATUS=region us: capture runs; apply runs");
        manager_hears(fd, "READY=1");
        manager_hears(fd, "STATUS=region us: capture has stopped: slot_missing (see the log, or pangea status); apply runs");
        kill(c.pid, SIGTERM);
        hears(&c, "d");
        ends(&c, EXIT_DONE);
        manager_gone(fd);
}

static void a_loop_that_hangs_gets_no_sign(void **state)
{
        (void)state;
        char got[256];
        int fd = manager_listens();
        struct child c = start_while(obeys, hangs, "20s", has_a_manager);
        hears(&c, "ss");
        logs(&c, "run.hangs");
        while (recv(fd, got, sizeof got, MSG_DONTWAIT) > 0)
                ; /* what was said before */
        struct pollfd f = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&f, 1, 500), 0); /* ten signs would have come */
        kill(c.pid, SIGTERM);
        manager_hears(fd, "STOPPING=1");
        hears(&c, "dd");
        ends(&c, EXIT_DONE);
        manager_gone(fd);
}

static void what_may_change(void **state)
{
        (void)state;
        static const struct {
                const char *why, *cluster, *regions;
                enum status want;
        } t[] = {
                {"nothing changed", "shop", "eu us", ST_OK},
                {"another cluster", "shops", "eu us", ST_CONFIG},
                {"own region gone", "shop", "eu", ST_CONFIG},
                {"another region gone", "shop", "us", ST_CONFIG},
                {"a region more", "shop", "eu us zz", ST_CONFIG},
                {"a follower more", "shop", "eu fo us", ST_CONFIG},
                {"another region instead", "shop", "ap us", ST_CONFIG},
        };
        char file[] = "/tmp/pangea-run-XXXXXX";
        int fd = mkstemp(file);
        assert_true(fd >= 0);
        close(fd);
        write_topology(file, "shop", "eu us", "1s");
        struct topology *now = load(file);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct err e = {0};
                write_topology(file, t[i].cluster, t[i].regions, "2s");
                struct topology *next = load(file);
                if (run_may_change(now, next, topology_region(now, "us")->id, &e) != t[i].want)
                        fail_msg("%s: %s", t[i].why, e.msg);
                topology_free(next);
        }
        topology_free(now);
        unlink(file);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(term_drains_and_exits_0),
                cmocka_unit_test(what_does_not_drain_is_told_to_end),
                cmocka_unit_test(an_agent_that_hangs_holds_nobody),
                cmocka_unit_test(a_second_term_leaves_at_once),
                cmocka_unit_test(the_only_job_stopped_by_name),
                cmocka_unit_test(lives_on_while_the_other_agent_runs),
                cmocka_unit_test(hup_gives_a_new_topology_or_keeps_the_old),
                cmocka_unit_test(the_file_is_read_once),
                cmocka_unit_test(a_hup_while_starting_is_remembered),
                cmocka_unit_test(the_service_manager_hears_what_happens),
                cmocka_unit_test(what_has_stopped_does_not_hide_behind_active),
                cmocka_unit_test(a_loop_that_hangs_gets_no_sign),
                cmocka_unit_test(what_may_change),
        };
        return cmocka_run_group_tests_name("daemon: run", tests, NULL, NULL);
}
