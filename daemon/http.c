/* http: the server: where it listens, whom it answers, which answer. */
#include "daemon/http_internal.h"
#include "daemon/http_slow.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"

#define CONNECTIONS 64
#define HEAD_BYTES 16384 /* of one request, and what is needed to answer it */
#define IDLE_S 10
#define TICK_S 1
#define BODY_MAX (64u << 20)

struct route_row {
        const char *path;
        void (*answer)(struct http *h, const struct request *q, struct reply *out);
        const char *location; /* instead of an answer */
        bool shared;          /* the pages of the topology's other daemons may read it */
};

static const struct route_row routes[] = {
        {.path = "/healthz", .answer = http_healthz},
        {.path = "/readyz", .answer = http_readyz},
        {.path = "/metrics", .answer = http_metrics, .shared = true},
        {.path = "/status", .answer = http_status, .shared = true},
        {.path = "/topology", .answer = http_topology_answer},
        {.path = "/conflicts", .answer = http_conflicts, .shared = true},
        {.path = "/ui/", .answer = http_page},
        {.path = "/ui", .location = "ui/"}, /* relative: also behind a proxy that adds a path */
        {.path = "/", .location = "ui/"},
};
static const size_t nroutes = sizeof routes / sizeof *routes;

struct request {
        struct MHD_Connection *connection;
};

const char *request_argument(const struct request *r, const char *name)
{
        return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* ---- replies -------------------------------------------------------------------------------------------------------------------------- */
void reply_json(struct reply *out, unsigned code, json_t *value)
{
        char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        json_decref(value);
        out->code = code;
        out->type = "application/json";
        buf_reset(&out->body);
        buf_put_str(&out->body, text ? text : "{}");
        buf_put_str(&out->body, "\n");
        free(text);
}

void reply_error(struct reply *out, unsigned code, const char *fmt, ...)
{
        char text[1200];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        reply_json(out, code, json_pack("{s:s}", "error", text));
}

/* ---- who may ask ---------------------------------------------------------------------------------------------------------------------- */
static bool same_authority(const char *host, const char *url)
{
        const char *at = strstr(url, "://");
        return at && strcasecmp(host, at + 3) == 0;
}

/* On loopback only names that are loopback's: else any web page could have its own name resolved to it and read the answers. */
static bool host_ok(const struct http *h, const char *host)
{
        struct in_addr v4;
        char name[256];
        if (!h->at.loopback || !host || same_authority(host, h->region->http.url ? h->region->http.url : ""))
                return true;
        if (host[0] == '[')
                return true; /* an address */
        snprintf(name, sizeof name, "%.*s", (int)strcspn(host, ":"), host);
        return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &v4) == 1;
}

/* Is the page that asks one of the topology's daemons? */
static bool origin_ok(const struct http *h, const char *origin)
{
        for (size_t i = 0; origin && i < h->topology->nregions; i++) {
                const char *url = h->topology->regions[i].http.url;
                if (url && strcasecmp(url, origin) == 0)
                        return true;
        }
        return false;
}

/* ---- answering ------------------------------------------------------------------------------------------------------------------------ */
static const struct route_row *route_of(const char *path)
{
        for (size_t i = 0; i < nroutes; i++)
                if (strcmp(routes[i].path, path) == 0)
                        return &routes[i];
        return NULL;
}

static void not_found(struct reply *out, const char *path)
{
        char list[400] = "";
        for (size_t i = 0; i < nroutes; i++)
                if (!routes[i].location)
                        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? " " : "", routes[i].path);
        reply_error(out, MHD_HTTP_NOT_FOUND, "there is no %.200s; there are %s", path, list);
}

static enum MHD_Result send_reply(struct http *h, struct MHD_Connection *c, struct reply *out, const struct route_row *row)
{
        const char *origin = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Origin");
        struct MHD_Response *r = MHD_create_response_from_buffer(out->body.len, out->body.data, MHD_RESPMEM_MUST_COPY);
        if (!r)
                return MHD_NO;
        MHD_add_response_header(r, "Content-Type", out->type);
        MHD_add_response_header(r, "Cache-Control", "no-store");
        MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
        MHD_add_response_header(r, "Vary", "Origin");
        if (out->policy.len)
                MHD_add_response_header(r, "Content-Security-Policy", buf_cstr(&out->policy));
        MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
        if (out->location)
                MHD_add_response_header(r, "Location", out->location);
        if (out->code == MHD_HTTP_METHOD_NOT_ALLOWED)
                MHD_add_response_header(r, "Allow", "GET, HEAD");
        if (row && row->shared && origin_ok(h, origin))
                MHD_add_response_header(r, "Access-Control-Allow-Origin", origin);
        enum MHD_Result done = MHD_queue_response(c, out->code, r);
        MHD_destroy_response(r);
        char code[8];
        snprintf(code, sizeof code, "%u", out->code);
        metrics_add(h->metrics, METRIC_HTTP_REQUESTS, METRIC_LABELS(row ? row->path : "other", code), 1);
        return done;
}

static struct slow_place *place_of(struct MHD_Connection *c)
{
        const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        return i ? i->socket_context : NULL;
}

static void on_connection(void *ctx, struct MHD_Connection *c, void **place, enum MHD_ConnectionNotificationCode what)
{
        struct http *h = ctx;
        const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (what == MHD_CONNECTION_NOTIFY_CLOSED)
                slow_closed(h->slow, *place);
        else if (i)
                *place = slow_opened(h->slow, i->connect_fd, clock_mono_us());
}

static void on_answered(void *ctx, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
        struct http *h = ctx;
        (void)state;
        (void)why;
        slow_answered(h->slow, place_of(c), clock_mono_us());
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **state)
{
        struct http *h = ctx;
        struct request q = {.connection = c};
        struct reply out = {.code = MHD_HTTP_OK, .type = "text/plain; charset=utf-8"};
        const struct route_row *row = route_of(path);
        bool right_method = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
        (void)version;
        (void)upload;
        if (right_method && !*state) { /* the head is there; wait until the request is whole */
                *state = h;
                return MHD_YES;
        }
        if (*upload_size) { /* a body, for which nobody asked */
                *upload_size = 0;
                return MHD_YES;
        }
        slow_asked(h->slow, place_of(c), clock_mono_us());
        buf_init(&out.body, BODY_MAX);
        buf_init(&out.policy, 1u << 14);
        if (!right_method)
                reply_error(&out, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD: nothing can be changed here");
        else if (!host_ok(h, MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host")))
                reply_error(&out, MHD_HTTP_FORBIDDEN,
                            "this daemon listens on loopback and answers to addresses and localhost only, not to other names; "
                            "set http.url in the topology to the name under which it is reached");
        else if (!row)
                not_found(&out, path);
        else if (row->location) {
                out.code = MHD_HTTP_FOUND;
                out.location = row->location;
        } else {
                row->answer(h, &q, &out);
        }
        enum MHD_Result done = send_reply(h, c, &out, row);
        buf_release(&out.body);
        buf_release(&out.policy);
        return done;
}

/* ---- listening ------------------------------------------------------------------------------------------------------------------------ */
static void on_server_log(void *ctx, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void on_server_log(void *ctx, const char *fmt, va_list ap)
{
        char text[400];
        (void)ctx;
        vsnprintf(text, sizeof text, fmt, ap);
        text[strcspn(text, "\n")] = 0;
        log_event(LOG_DEBUG, "http.server", "why=%s", text);
}

/* The address of this daemon; false: none, it does not listen. */
static bool wanted_address(struct http *h)
{
        if (h->listen && strcmp(h->listen, "off") == 0)
                return false;
        if (h->listen)
                return http_listen_parse(h->listen, &h->at);
        h->at = h->region->http.at;
        return h->region->http.listen != NULL;
}

static socklen_t socket_address(const struct http_listen *at, struct sockaddr_storage *out)
{
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(at->port)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(at->port)};
        memset(out, 0, sizeof *out);
        if (inet_pton(AF_INET, at->host, &v4.sin_addr) == 1) {
                memcpy(out, &v4, sizeof v4);
                return sizeof v4;
        }
        (void)inet_pton(AF_INET6, at->host, &v6.sin6_addr);
        memcpy(out, &v6, sizeof v6);
        return sizeof v6;
}

/* A socket that listens, or -1 with errno. */
static int open_socket(const struct http_listen *at)
{
        struct sockaddr_storage address;
        socklen_t len = socket_address(at, &address);
        int one = 1, fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -1;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, CONNECTIONS) == 0)
                return fd;
        int error = errno;
        close(fd);
        errno = error;
        return -1;
}

/* Under the lock. */
static void try_to_listen(struct http *h)
{
        if (h->server || !wanted_address(h))
                return;
        int fd = open_socket(&h->at);
        if (fd >= 0)
                h->server = MHD_start_daemon(
                        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_USE_ERROR_LOG, 0, NULL,
                        NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_server_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
                        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_BYTES,
                        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_THREAD_STACK_SIZE, (size_t)1 << 20,
                        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_NOTIFY_COMPLETED, on_answered, h,
                        MHD_OPTION_END);
        if (h->server) {
                h->complained = false;
                log_event(LOG_INFO, "http.listening", "address=%s\tport=%u", h->at.host, h->at.port);
                return;
        }
        int error = errno;
        if (fd >= 0)
                close(fd);
        if (!h->complained)
                log_event(
                        LOG_ERROR, "http.not_listening",
                        "address=%s\tport=%u\twhy=%s\ttodo=free the port, or name another with http.listen or --http; tried again "
                        "every few seconds, replication goes on meanwhile",
                        h->at.host, h->at.port, strerror(error));
        h->complained = true;
}

/* Samples the history, tries again to listen, and lets the log tell its repeats. */
static void *ticker_thread(void *arg)
{
        struct http *h = arg;
        pthread_mutex_lock(&h->lock);
        while (!h->end) {
                struct timespec until;
                try_to_listen(h);
                size_t slow = slow_end(h->slow, clock_mono_us());
                if (slow)
                        log_event(LOG_INFO, "http.too_slow", "connections=%zu", slow);
                log_repeats(false);
                history_tick(h->history, h->metrics, (double)clock_wall_us() / 1e6);
                clock_gettime(CLOCK_MONOTONIC, &until);
                until.tv_sec += TICK_S;
                (void)pthread_cond_timedwait(&h->ending, &h->lock, &until);
        }
        pthread_mutex_unlock(&h->lock);
        return NULL;
}

/* ---- calls to a database ----------------------------------------------------------------------------------------------------------------- */
bool http_call_begin(struct http *h, int socket, size_t *place)
{
        bool found = false;
        pthread_mutex_lock(&h->lock);
        for (size_t i = 0; i < HTTP_CALLS && !found && !h->end; i++) {
                if (h->calls[i] >= 0)
                        continue;
                h->calls[i] = socket;
                *place = i;
                found = true;
        }
        pthread_mutex_unlock(&h->lock);
        return found;
}

void http_call_end(struct http *h, size_t place)
{
        pthread_mutex_lock(&h->lock);
        h->calls[place] = -1;
        pthread_mutex_unlock(&h->lock);
}

/* ---- life ---------------------------------------------------------------------------------------------------------------------------------- */
static void use_topology(struct http *h, struct topology *t)
{
        h->topology = t;
        h->region = &t->regions[h->me.i];
        h->watch = watch_start(t);
}

/* Ends every answer under way. Not under the lock: answers take it. */
static void stop_answering(struct http *h)
{
        pthread_mutex_lock(&h->lock);
        struct MHD_Daemon *server = h->server;
        h->server = NULL;
        watch_end(h->watch);
        for (size_t i = 0; i < HTTP_CALLS; i++)
                if (h->calls[i] >= 0)
                        shutdown(h->calls[i], SHUT_RDWR);
        pthread_mutex_unlock(&h->lock);
        if (server)
                MHD_stop_daemon(server);
}

static void add_fixed(struct http *h)
{
        metrics_set(h->metrics, METRIC_BUILD_INFO, METRIC_LABELS(PANGEA_VERSION, h->topology->cluster), 1);
        metrics_set(h->metrics, METRIC_START_TIME, METRIC_NO_LABELS, (double)h->started_us / 1e6);
}

struct http *http_start(const struct http_opts *o)
{
        struct http *h = MEM_NEW(struct http);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_mutex_init(&h->lock, NULL);
        pthread_cond_init(&h->ending, &attr);
        pthread_condattr_destroy(&attr);
        h->me = o->me;
        h->listen = o->listen;
        h->metrics = o->metrics;
        h->njobs = o->njobs;
        memcpy(h->jobs, o->jobs, sizeof *o->jobs * o->njobs);
        h->started_us = clock_wall_us();
        for (size_t i = 0; i < HTTP_CALLS; i++)
                h->calls[i] = -1;
        use_topology(h, o->topology);
        h->slow = slow_new(CONNECTIONS);
        h->history = history_new(&h->topology->names, h->me);
        add_fixed(h);
        h->ticking = pthread_create(&h->ticker, NULL, ticker_thread, h) == 0;
        return h;
}

/* The ticker may not begin to listen meanwhile: it has ended, and begins again. */
static void end_ticker(struct http *h)
{
        pthread_mutex_lock(&h->lock);
        h->end = true;
        pthread_cond_broadcast(&h->ending);
        pthread_mutex_unlock(&h->lock);
        if (h->ticking)
                pthread_join(h->ticker, NULL);
}

void http_topology(struct http *h, struct topology *t)
{
        end_ticker(h);
        stop_answering(h);
        watch_stop(h->watch);
        topology_free(h->topology);
        use_topology(h, t);
        history_regions(h->history, &t->names);
        h->end = h->complained = false;
        h->ticking = pthread_create(&h->ticker, NULL, ticker_thread, h) == 0;
}

void http_stop(struct http *h)
{
        if (!h)
                return;
        end_ticker(h);
        stop_answering(h);
        watch_stop(h->watch);
        slow_free(h->slow);
        history_free(h->history);
        topology_free(h->topology);
        pthread_cond_destroy(&h->ending);
        pthread_mutex_destroy(&h->lock);
        free(h);
}
